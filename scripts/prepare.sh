# shellcheck shell=bash
# Sourced by demo.sh, docs.sh, test.sh and gpu.sh: changes to the checkout, makes .venv in it with torch and the
# extras named as arguments, and builds the extension in place. Everything already there is kept, so that a second run
# is fast.
#
#   PYTHON         the Python to start from (python3). If it has a torch that fits, that torch is used.
#   TORCH_PACKAGE  what to install where it has none (torch==2.13.0)
#   FORCE_CUDA     1: a torch fits only if it has CUDA, and nvcc is installed where the machine has none
#   IN_PLACE       1: where PYTHON has all that is needed it is used as it is: no .venv, no index is asked
#   NO_BUILD       1: leave the build to the caller
#
# Sets `python`, the one to use, and puts its folder first on the PATH.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
PYTHON=${PYTHON:-python3}
TORCH_PACKAGE=${TORCH_PACKAGE:-torch==2.13.0}

# Installs Debian packages where that is possible without asking; otherwise says which are missing.
install_system_packages() {
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  else
    echo "These system packages are missing: $*" >&2
    return 1
  fi
}

# What PYTHON lacks to build with, one a line. The tests need more, which lacking_to_test tells.
lacking_to_build() {
  [ -n "$(fitting_torch "$1")" ] || echo "a torch that fits"
  "$1" - <<'END' || true
import importlib.util, os, shutil, sysconfig
for name in ("setuptools", "ninja"):
    if importlib.util.find_spec(name) is None and shutil.which(name) is None:
        print(name)
if shutil.which(os.environ.get("CXX", "g++").split()[-1]) is None:
    print("g++")
if not os.path.exists(sysconfig.get_path("include") + "/Python.h"):
    print("Python.h")
END
  [ "${FORCE_CUDA:-}" != 1 ] || "$1" tests/cuda_build/toolkit.py >/dev/null || echo nvcc
}

lacking_to_test() {
  "$1" -c 'import importlib.util as i; [print(n) for n in ("pytest", "numpy", "hypothesis") if not i.find_spec(n)]'
}

# With IN_PLACE=1: PYTHON as it is if nothing is missing, or if only tests would need more and none of it can be had.
# Otherwise .venv.
choose_python() {
  local base='' lacking=python more='' status=0
  if [ "${IN_PLACE:-}" = 1 ] && base=$("$PYTHON" -c 'import sys; print(sys.executable)' 2>/dev/null); then
    lacking=$(lacking_to_build "$base") more=$(lacking_to_test "$base")
  fi
  if [ -n "$lacking$more" ]; then
    set +e  # in a condition, or a list of them, set -e would not end the subshell
    (
      set -e
      prepare_system
      prepare_environment "$@"
    )
    status=$?
    set -e
    python=$PWD/.venv/bin/python
    [ "$status" -ne 0 ] || return 0
    [ -z "$lacking" ] || return "$status"
    echo "Going on with $base, which lacks what tests need: ${more//$'\n'/, }" >&2
  fi
  python=$base
  export PIP_NO_INDEX=1
}

prepare_system() {
  command -v "$PYTHON" >/dev/null || install_system_packages python3
  local missing=()
  command -v "${CXX:-g++}" >/dev/null || missing+=(g++)
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  "$PYTHON" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
    missing+=(python3-dev)
  [ ${#missing[@]} -eq 0 ] || install_system_packages "${missing[@]}"
}

# The folder of a Python's torch if it fits: a supported version (setup.py has the range), with CUDA where that is
# forced. Otherwise nothing.
fitting_torch() {
  "$1" - <<'END' 2>/dev/null || true
import os, pathlib, runpy, torch
low, high = runpy.run_path("setup.py", run_name="range")["TORCH_RANGE"]
fits = low <= tuple(map(int, torch.__version__.split(".")[:2])) < high
if fits and (torch.version.cuda or os.environ.get("FORCE_CUDA") != "1"):
    print(pathlib.Path(torch.__file__).parent.parent)
END
}

# Prints the requirements of the extras named as arguments, one a line.
requirements() {
  .venv/bin/python - "$@" <<'END'
import pathlib, sys
try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib
project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())
print(*project["build-system"]["requires"], sep="\n")
for extra in sys.argv[1:]:
    print(*project["project"]["optional-dependencies"][extra], sep="\n")
END
}

prepare_environment() {
  local packages
  if [ "${FORCE_CUDA:-}" = 1 ] && .venv/bin/python -c 'import torch' 2>/dev/null &&
    [ -z "$(fitting_torch .venv/bin/python)" ]; then
    echo "The torch in .venv has no CUDA"
    rm -rf .venv
  fi
  if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    echo "Making .venv"
    "$PYTHON" -m venv --clear .venv
    packages=$(fitting_torch "$PYTHON")
    if [ -n "$packages" ]; then
      # A path file reaches the packages of a virtual environment too, --system-site-packages would not.
      echo "$packages" >"$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/base.pth"
    fi
  fi
  # Installing what is installed takes seconds, so remember what was asked for.
  requirements "$@" >.venv/wanted.txt
  touch .venv/installed.txt
  if grep -qvxFf .venv/installed.txt .venv/wanted.txt; then
    echo "Installing what the build needs, and the extras $*"
    .venv/bin/python -c 'import torch' 2>/dev/null || .venv/bin/python -m pip install -q "$TORCH_PACKAGE"
    .venv/bin/python -m pip install -q -r .venv/wanted.txt
    cat .venv/wanted.txt >>.venv/installed.txt
  fi
}

# nvcc and CUDA's headers: the machine's, or PyPI's, one of whose versions fits any torch of that major version.
prepare_cuda() {
  if ! CUDA_HOME=$("$python" tests/cuda_build/toolkit.py); then
    if ! .venv/bin/python -c 'import sys, torch; sys.exit(not torch.version.cuda.startswith("13."))'; then
      echo "No nvcc was found; install the CUDA toolkit that torch was built with, or set CUDA_HOME" >&2
      return 1
    fi
    echo "Installing nvcc"
    requirements cuda >.venv/cuda.txt
    # All of it into .venv, also what the packages of a torch outside have: nvcc looks for its parts beside it.
    .venv/bin/python -m pip install -q --ignore-installed -r <(grep '^nvidia-' .venv/cuda.txt)
    CUDA_HOME=$(.venv/bin/python tests/cuda_build/toolkit.py)
  fi
  export CUDA_HOME
  # The wheels have no name for the linker.
  if [ ! -e "$CUDA_HOME/lib64/libcudart.so" ] && [ -e "$CUDA_HOME/lib/libcudart.so.13" ]; then
    mkdir -p build/link
    ln -sf "$CUDA_HOME/lib/libcudart.so.13" build/link/libcudart.so
    export LIBRARY_PATH="$PWD/build/link${LIBRARY_PATH:+:$LIBRARY_PATH}"
  fi
}

build() {
  echo "Building the extension (the first time takes some minutes)"
  local log=build/build.log
  mkdir -p build
  "$python" setup.py build_ext --inplace >"$log" 2>&1 || {
    cat "$log" >&2
    return 1
  }
  grep -A1 -B1 'CPU ONLY' "$log" || true
}

choose_python "$@"
[ "${FORCE_CUDA:-}" != 1 ] || prepare_cuda
# ninja, ruff and clang-format are found there, also where PYTHON is a link to it from elsewhere
PATH="${python%/*}:$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$PATH"
export PATH
if [ "${NO_BUILD:-}" != 1 ]; then
  build
  python -m upsample_ext info
fi
