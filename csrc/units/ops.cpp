// Compiled as one source, see setup.py: depthwise transposed convolution, and cross-entropy of resized
// logits.

#include "../ops/cross_entropy.cpp"
#include "../ops/deconv.cpp"
