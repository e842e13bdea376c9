#!/usr/bin/env bash
# For whoever has an NVIDIA GPU: builds with CUDA for it, tests on it, runs every kernel under compute-sanitizer, and
# measures and profiles. What comes out is one folder, with gpu-result.md to read first.
#
#   scripts/gpu.sh STEP... [--quick] [--part I/N] [--output FOLDER] [--limit SECONDS] [--jobs N] [--dry-run]
#                          [--rehearse]
#
#   build     the extension, for the GPUs that are visible
#   smoke     every kernel once, in every dtype and layout
#   tests     all tests that run on a device
#   sanitize  memcheck, racecheck, initcheck and synccheck over every kernel
#   bench     speed against PyTorch, torch.compile and a copy; --quick: fewer rows; --part 1/3: a third of them
#   profile   what each kernel is bound by, as Nsight Compute counts it
#   all       one after the other
#
#   --output    the folder (gpu-result); a later call adds to what earlier ones found
#   --limit     seconds for this call: what is cut short tells how far it came
#   --dry-run   say what would run, and run nothing
#   --rehearse  on the CPU, where there is no GPU, to see that the steps work
#
# PYTHON's torch is used if it fits and has CUDA, and with it all of PYTHON's packages where those are enough: nothing
# is then installed and no index is asked. Otherwise as in prepare.sh: TORCH_PACKAGE (torch==2.14.1) and the rest go
# to .venv; nvcc is the machine's, or PyPI's. What is missing is left out and named. A step that fails does not keep the
# next ones from running; the exit status is then 1. Without git, commit.txt says of which commit the checkout is.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
arguments=() preparing=1 rehearse=
if [ $# -eq 0 ]; then set -- --help; fi
while [ $# -gt 0 ]; do
  case $1 in
    --output)
      output=${2:?--output needs a folder}
      case $output in /*) ;; *) output=$PWD/$output ;; esac  # prepare.sh changes to the checkout
      arguments+=(--output "$output")
      shift
      ;;
    -h | --help)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
      exit
      ;;
    *)
      case $1 in
        --dry-run) preparing= ;;
        --rehearse) rehearse=1 ;;
      esac
      arguments+=("$1")
      ;;
  esac
  shift
done

if command -v "${PYTHON:=python3}" >/dev/null; then  # mistakes and plans need neither torch nor minutes
  "$PYTHON" "$here/gpu_steps.py" --check "${arguments[@]}"
fi
python=$PYTHON
if [ -n "$preparing" ]; then
  [ -n "$rehearse" ] || export FORCE_CUDA=1
  export TORCH_PACKAGE=${TORCH_PACKAGE:-torch==2.14.1} IN_PLACE=1 NO_BUILD=1
  # shellcheck source=prepare.sh
  source "$here/prepare.sh" bench test
fi
GPU_SH_SECONDS=$SECONDS exec "$python" "$here/gpu_steps.py" "${arguments[@]}"
