#!/usr/bin/env bash
# Builds the package and runs its core tests (values, gradients, transforms, patch) with other versions of torch, each
# in an environment of its own that is deleted afterwards, and prints a table: scripts/torch_matrix.sh 2.5 2.11 2.14
#
#   scripts/torch_matrix.sh [--keep] [--output FILE] VERSION...
#
#   VERSION   of torch, as 2.9 or 2.9.1; a wheel from PyPI may be a CUDA build of several GB. Only the CPU part of the
#             package is built.
#   --keep    do not delete the environments (build/torch_matrix/VERSION)
#   --output  also append each version's row to this file as soon as it is known
#   PYTHON    the Python to use (python3); torch before 2.9 has no wheels for Python 3.14, before 2.6 none for 3.13
#
# The exit status is 1 if a version did not build or a test failed. Logs stay in build/torch_matrix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

keep='' output='' versions=()
while [ $# -gt 0 ]; do
  case $1 in
    --keep) keep=1 ;;
    --output)
      output=${2:?--output needs a file}
      shift
      ;;
    [0-9]*) versions+=("$1") ;;
    *)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
      exit 2
      ;;
  esac
  shift
done
if [ ${#versions[@]} -eq 0 ]; then
  echo "scripts/torch_matrix.sh: expected versions of torch, as 2.5 2.11" >&2
  exit 2
fi

work=$PWD/build/torch_matrix
core=(resample resample_random resample_gradients resample_transforms resample_opinfo axes modes judge smoke contract deconv
  deconv_geometry deconv_transforms argmax threshold add concat chain cross_entropy modules convert patch devices
  decompositions fuse fuse_traps report onnx quantization trace counters)
packages=("setuptools>=77.0.3" ninja numpy "pytest<9.2" pytest-xdist hypothesis expecttest onnx onnxruntime
  onnxscript pillow)

# An environment with that torch in it, and in `source` a copy of what git tracks or would track.
prepare() {
  local version=$1 folder=$2 wanted=$1
  [[ $version == *.*.* ]] || wanted="$version.*"
  "${PYTHON:-python3}" -m venv --clear "$folder/venv"
  "$folder/venv/bin/python" -m pip install -q --no-cache-dir "torch==$wanted" "${packages[@]}"
  mkdir -p "$folder/source"
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$folder/source"
}

# Prints "CPU seconds of the build".
build() {
  local TIMEFORMAT='%U'
  { time FORCE_CPU=1 python setup.py build_ext --inplace >build.log 2>&1; } 2>&1
}

# A row of the table: what was built with what, and pytest's own last line.
try() {
  local version=$1 folder=$work/$1 log=$work/$1.log names='' seconds='' summary='' status=0
  rm -rf "$folder"
  mkdir -p "$folder"
  : >"$log"
  if prepare "$version" "$folder" >>"$log" 2>&1; then
    pushd "$folder/source" >/dev/null
    local PATH="$folder/venv/bin:$PATH"
    names=$(python -c 'import platform, torch; print(torch.__version__, "|", platform.python_version())')
    if seconds=$(build); then
      python -m pytest -q -n 2 --dist loadgroup -rfEs "${core[@]/%/.py}" >>"$log" 2>&1 || status=$?
      summary=$(tail -n 1 "$log")
    else
      status=1 summary="did not build"
    fi
    cat build.log >>"$log"
    popd >/dev/null
  else
    status=1 names="$version |" summary="no environment"
  fi
  [ -n "$keep" ] || rm -rf "$folder"
  printf '| %s | %s | %s |\n' "$names" "$seconds" "${summary//=/}" | tee -a ${output:+"$output"}
  return $status
}

core=("${core[@]/#/tests/test_}")
echo "| torch | Python | build, CPU seconds | core tests |"
echo "|---|---|--:|---|"
failed=0
for version in "${versions[@]}"; do
  try "$version" || failed=1
done
exit $failed
