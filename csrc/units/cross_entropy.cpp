// Compiled as one source, see setup.py: cross-entropy of resized logits.

#include "../ops/cross_entropy.cpp"

#include "../cpu/cross_entropy.cpp"
