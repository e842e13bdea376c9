// Compiled as one source, see setup.py: depthwise transposed convolution.

#include "../ops/deconv.cpp"

#include "../cpu/deconv.cpp"
