#!/usr/bin/env bash
# Builds the extension with a sanitizer, beside the one in use, and runs tests of the CPU ops through PyTorch with it:
#
#   scripts/sanitize.sh [address|thread] [pytest's arguments]
#
# address (the default) is AddressSanitizer and UBSan; thread is ThreadSanitizer, for which the extension's parallel
# regions run on four threads of tests/native/openmp_threads.cpp. The environment is the one that scripts/test.sh made.
# Without further arguments the tests are those of values, layouts, geometry and gradients, or of any number of threads.
# (The kernels without torch are tested under the first two on every run, tests/test_levels.py.)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=/dev/null
[ ! -d .venv ] || source .venv/bin/activate

kind=address
if [ "${1-}" = address ] || [ "${1-}" = thread ]; then
  kind=$1
  shift
fi

folder=$PWD/build/$kind-sanitizer
mkdir -p "$folder"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp -u --parents -t "$folder"
cd "$folder"

# Optimized, the instrumented kernels would take four times as long to compile.
compiler=${CXX:-g++}
if [ "$kind" = address ]; then
  export CFLAGS="-O0 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1"
  export LDFLAGS=$CFLAGS
  libraries="libasan.so libubsan.so"
else
  export CFLAGS="-O0 -fsanitize=thread -g1"
  mkdir -p build
  "$compiler" -fsanitize=thread -g1 -std=c++17 -O1 -fPIC -c tests/native/openmp_threads.cpp -o build/openmp_threads.o
  export LDFLAGS="$CFLAGS $PWD/build/openmp_threads.o"
  libraries=libtsan.so
fi
FORCE_CPU=1 python setup.py build_ext --inplace >build.log 2>&1 || {
  tail -n 20 build.log
  exit 1
}

if [ $# -eq 0 ] && [ "$kind" = address ]; then
  set -- tests/test_far_geometry.py tests/test_resample_random.py tests/test_smoke.py tests/test_argmax.py \
    tests/test_threshold.py tests/test_add.py tests/test_concat.py tests/test_chain.py tests/test_deconv_geometry.py \
    tests/test_cross_entropy.py -k "not larger_than and not memory and not compile" -p no:cacheprovider
elif [ $# -eq 0 ]; then # large enough for several threads
  set -- tests/test_contract.py tests/test_argmax.py tests/test_threshold.py tests/test_add.py tests/test_concat.py \
    tests/test_cross_entropy.py tests/test_deconv.py tests/test_deconv_geometry.py tests/test_resample_gradients.py \
    tests/test_resample.py -k "thread or larger_than" -p no:cacheprovider
fi
preload=$(for library in $libraries; do "$compiler" -print-file-name="$library"; done | xargs)

# Python and torch are not instrumented and hold on to much until the end: leaks are not asked for. Allocations that
# must fail are to fail as they do for a user. The first fault or race ends the run; what is found goes to files
# or past pytest, which is not to keep what libraries print. ThreadSanitizer wants its part of the address space
# free: no random addresses.
rm -f report.*
common=log_path=$PWD/report:allocator_may_return_null=1
status=0
LD_PRELOAD=$preload ASAN_OPTIONS=$common:detect_leaks=0 UBSAN_OPTIONS=$common:print_stacktrace=1 \
  TSAN_OPTIONS=$common:halt_on_error=1:report_signal_unsafe=0:ignore_noninstrumented_modules=1 \
  setarch --addr-no-randomize python -m pytest -q --capture=sys "$@" || status=$?
cat report.* 2>/dev/null || true
exit "$status"
