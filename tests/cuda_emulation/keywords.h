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

// One block runs at a time, so a static variable can be its shared memory; it lies in a section of its own,
// which shared_memory.ld gathers, so that it is poisoned for each block and known to the tracer. Sections
// are numbered because g++ cannot put variables of templates and of plain functions into one.
#define CUDA_EMULATION_TEXT_OF(x) #x
#define CUDA_EMULATION_TEXT(x) CUDA_EMULATION_TEXT_OF(x)
#define __shared__ static __attribute__((section(".cuda_shared." CUDA_EMULATION_TEXT(__COUNTER__))))

#define warpSize 32
