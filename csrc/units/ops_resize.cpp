// Compiled as one source, see setup.py: resize, and the ops fused to it.

#include "../ops/add.cpp"
#include "../ops/argmax.cpp"
#include "../ops/chain.cpp"
#include "../ops/concat.cpp"
#include "../ops/resample.cpp"
#include "../ops/resample_modes.cpp"
#include "../ops/threshold.cpp"
