#!/usr/bin/env bash
# What binds each kernel, by Nsight Compute: the rows of benchmarks/cuda/tune.cu, one launch each, as CSV. Needs a GPU,
# nvcc and ncu, and no torch. (scripts/gpu.sh profile does so for every op of the package.)
#
#   scripts/ncu.sh [words of a row] > kernels.csv
#   scripts/ncu.sh nearest, float16, 16x64x128x128
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
nvcc -std=c++17 -O3 --fmad=false -I. -Icsrc -arch=native benchmarks/cuda/tune.cu -o "$folder/tune"
sections=()
for section in SpeedOfLight MemoryWorkloadAnalysis SchedulerStats WarpStateStats Occupancy InstructionStats LaunchStats; do
  sections+=(--section "$section")
done
# The kernel that flushes the L2 between launches is not profiled.
ncu --csv --page raw "${sections[@]}" --kernel-name 'regex:^(resample|backward|pick|sum|adjoint)' \
  --launch-count "${NCU_LAUNCHES:-64}" "$folder/tune" "$@"
