#!/usr/bin/env bash
# Builds the package, checks the style of all sources, builds the documentation and runs the test suite; then runs it
# again over the CUDA code, emulated on the CPU: all of it, and a part under sanitizers and under a check for races.
# Arguments go to pytest; with any, only the first run is made.
#
#   scripts/test.sh --quick     before a commit: the style, and tests that touch every op, at the highest level only
set -euo pipefail
quick=
if [ "${1-}" = --quick ]; then
  quick=1
  shift
fi
# shellcheck source=prepare.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh" lint plot bench test docs

lint() {
  ruff check .
  ruff format --check .
  mypy
  find csrc tests -regex '.*\.\(cpp\|h\|cu\|cuh\)' -print0 | xargs -0 clang-format --dry-run -Werror
}

if [ -n "$quick" ]; then
  lint
  tests=()
  for name in smoke registrations contract docstrings devices resample resample_gradients deconv deconv_geometry argmax \
    threshold add concat chain cross_entropy modules patch; do
    tests+=("tests/test_$name.py")
  done
  export UPSAMPLE_EXT_LEVELS=highest
  exec python -m pytest -q -n 2 --dist loadgroup -m "not slow" \
    -k "not compile and not one_graph and not gradcheck and not opcheck" "${tests[@]}" "$@"
fi

# For the tests of the portable path, which are skipped where this cannot be installed.
if ! command -v aarch64-linux-gnu-g++ >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
  install_system_packages g++-aarch64-linux-gnu qemu-user || true
fi

# For the checks of the CUDA kernels (no GPU needed), which are skipped where this cannot be installed.
if ! python tests/cuda_build/toolkit.py >/dev/null; then
  requirements cuda >.venv/cuda.txt
  python -m pip install -q -r .venv/cuda.txt || true
fi

lint
NO_BUILD=1 scripts/docs.sh
python -m pytest -q -n 2 --dist loadgroup "$@"
if [ $# -gt 0 ]; then exit; fi

for flavour in plain sanitized traced; do
  echo "The CUDA code, emulated: $flavour"
  python tests/cuda_emulation/run_suite.py "$flavour" -n 2
done
