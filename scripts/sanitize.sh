#!/usr/bin/env bash
# Builds the extension under AddressSanitizer and UBSan, beside the one in use, and runs tests of the CPU ops through
# PyTorch with it: scripts/sanitize.sh [pytest's arguments]
#
# The environment is the one that scripts/test.sh made. Without arguments the tests are those of values, layouts, far
# geometry and the fuzzer's raw ops. (The kernels without torch are tested so on every run, tests/test_levels.py.)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=/dev/null
[ ! -d .venv ] || source .venv/bin/activate

folder=$PWD/build/sanitized
mkdir -p "$folder"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp -u --parents -t "$folder"
cd "$folder"

export CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1"
LDFLAGS=$CFLAGS FORCE_CPU=1 python setup.py build_ext --inplace >build.log 2>&1 || {
  tail -n 20 build.log
  exit 1
}

if [ $# -eq 0 ]; then
  set -- tests/test_far_geometry.py tests/test_any_resize.py tests/test_every_kernel.py tests/test_argmax.py \
    tests/test_threshold.py tests/test_combine.py tests/test_deconv_geometry.py tests/test_cross_entropy.py \
    -k "not larger_than and not memory" -p no:cacheprovider
fi
# Python and torch are not instrumented and hold on to much until the end: leaks are not asked for. Allocations that
# must fail are to fail as they do for a user.
LD_PRELOAD="$(${CXX:-g++} -print-file-name=libasan.so) $(${CXX:-g++} -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
  python -m pytest -q "$@"
