// Compiled as one source, see setup.py: the ops fused to a resize.

#include "../cpu/add.cpp"
#include "../cpu/argmax.cpp"
#include "../cpu/concat.cpp"
#include "../cpu/threshold.cpp"
#include "../ops/add.cpp"
#include "../ops/argmax.cpp"
#include "../ops/concat.cpp"
#include "../ops/threshold.cpp"
