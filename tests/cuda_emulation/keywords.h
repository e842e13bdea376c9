// CUDA's keywords, in g++'s words.
#pragma once

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __align__
#undef __grid_constant__

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__

// One block runs at a time, so a static variable of a function can be its shared memory. shared_memory.ld
// gathers those of all .cu files, so that they are poisoned for each block and known to the tracer.
#define __shared__ static

#define warpSize 32
