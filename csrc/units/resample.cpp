// Compiled as one source, see setup.py: resize, its other modes, and separable transposed convolution.

#include "../ops/resample.cpp"

#include "../cpu/copy_pixels.cpp"
#include "../cpu/resample.cpp"
#include "../ops/resample_modes.cpp"
