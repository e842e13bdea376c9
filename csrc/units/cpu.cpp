// Compiled as one source, see setup.py: the launchers of the CPU, which the emulation of CUDA does without.

#include "../cpu/add.cpp"
#include "../cpu/argmax.cpp"
#include "../cpu/chain.cpp"
#include "../cpu/concat.cpp"
#include "../cpu/copy_pixels.cpp"
#include "../cpu/cross_entropy.cpp"
#include "../cpu/deconv.cpp"
#include "../cpu/pick_pixels.cpp"
#include "../cpu/resample.cpp"
#include "../cpu/threshold.cpp"
