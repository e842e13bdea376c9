#!/usr/bin/env bash
# For whoever has an NVIDIA GPU: builds with CUDA, runs all tests on it, a few under compute-sanitizer, and the
# benchmark, and writes one file to send back.
#
#   scripts/gpu.sh [--quick] [--output FILE] [--dry-run]
#
#   --quick    fewer rows of the benchmark
#   --output   where the result goes (gpu-result.md)
#   --dry-run  say what would run, and run nothing
#
# As in prepare.sh, PYTHON's torch is used if it fits and has CUDA, otherwise TORCH_PACKAGE (torch==2.14.1) is
# installed; nvcc is the machine's, or PyPI's. A step that fails does not keep the next ones from running; the exit
# status is then 1.
set -euo pipefail

quick=() output=gpu-result.md dry_run=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=(--quick) ;;
    --output)
      output=${2:?--output needs a file}
      shift
      ;;
    --dry-run) dry_run=1 ;;
    *)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
      exit 2
      ;;
  esac
  shift
done
case $output in /*) ;; *) output=$PWD/$output ;; esac

gpus=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null) || gpus=
if [ -z "$dry_run" ]; then
  if [ -z "$gpus" ]; then
    echo "scripts/gpu.sh: nvidia-smi shows no NVIDIA GPU; without one there is nothing to measure" >&2
    exit 2
  fi
  export FORCE_CUDA=1 TORCH_PACKAGE=${TORCH_PACKAGE:-torch==2.14.1}
  # shellcheck source=prepare.sh
  source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh" bench test
  if ! python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "scripts/gpu.sh: torch cannot use the GPU that nvidia-smi shows ($gpus):" >&2
    python -c 'import torch; print(torch.__version__); torch.cuda.init()' 2>&1 | tail -n 1 >&2 || true
    exit 2
  fi
else
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
fi

work=build/gpu
if [ -z "$dry_run" ]; then
  rm -rf "$work"
  mkdir -p "$work"
  printf '%s\n' "$gpus" >"$work/gpus.txt"
fi

# step NAME COMMAND...: runs it, keeps what it prints, its exit status and its seconds.
step() {
  local name=$1 start=$SECONDS status=0
  shift
  if [ -n "$dry_run" ]; then
    echo "$name: $*"
    return
  fi
  echo "==== $name: $*"
  "$@" >"$work/$name.log" 2>&1 || status=$?
  tail -n 3 "$work/$name.log"
  printf '%s\t%s\t%s\t%s\n' "$name" "$status" "$((SECONDS - start))" "$*" >>"$work/steps.tsv"
}

# Small tests of every kernel; a sanitizer makes them a hundred times slower.
sanitized=(tests/test_every_kernel.py -k cuda)
find_sanitizer() {
  local path
  for path in "$(command -v compute-sanitizer)" "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer" \
    .venv/lib/python3*/site-packages/nvidia/cu13/bin/compute-sanitizer; do
    if [ -x "$path" ]; then
      echo "$path"
      return
    fi
  done
}
sanitizer=$(find_sanitizer)
if [ -z "$sanitizer$dry_run" ]; then
  python -m pip install -q "nvidia-cuda-sanitizer-api==13.0.*" || true
  sanitizer=$(find_sanitizer)
fi

step tests python -m pytest -q -rfE -n 2 --dist loadgroup
for tool in memcheck racecheck initcheck; do
  if [ -n "$sanitizer$dry_run" ]; then
    # Without torch's caching each tensor is an allocation, whose bounds are then known.
    step "$tool" env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "${sanitizer:-compute-sanitizer}" --tool "$tool" --error-exitcode 99 \
      --kernel-name kns=upsample_ext python -m pytest -q -x "${sanitized[@]}"
  else
    echo "==== $tool: skipped, there is no compute-sanitizer (it comes with the CUDA toolkit)"
    printf '%s\tskipped\t0\tno compute-sanitizer\n' "$tool" >>"$work/steps.tsv"
  fi
done
step benchmark python -m benchmarks --device cuda "${quick[@]}" --csv "$work/benchmark.csv" \
  --markdown "$work/benchmark.md"
if [ -n "$dry_run" ]; then
  echo "report: python scripts/gpu_report.py $work $output"
  exit
fi
python scripts/gpu_report.py "$work" "$output"
echo "Please send back $output"
# Failed steps are in it, and in the exit status.
! cut -f2 "$work/steps.tsv" | grep -qvxE '0|skipped'
