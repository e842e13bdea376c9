#!/usr/bin/env bash
# Builds the package and shows what it is for: why bilinear interpolation and a transposed convolution with
# bilinear weights differ, on a 2x2 matrix and on a photo, then the benchmark. Pictures go to demo_output/.
set -euo pipefail
# shellcheck source=prepare.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh" plot bench

mkdir -p demo_output
photo=$(python -c 'import pathlib, skimage; print(pathlib.Path(skimage.__file__).parent / "data" / "astronaut.png")')

python -m upsample_ext compare --factor 2 --matrix "1 2; 3 4" --plot demo_output/matrix.png
python -m upsample_ext compare --factor 2 --image "$photo" --plot demo_output/photo.png
python -m upsample_ext compare --factor 4 --image "$photo" --shrink --plot demo_output/shrunk.png
python -m benchmarks --quick
