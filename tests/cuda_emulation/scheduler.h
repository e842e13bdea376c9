// The threads of a block as fibres: they run one after another, and one gives way to the next only at a
// barrier or a collective of its warp, or when it ends.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

// What a kernel knows of itself. They never change while a thread runs, hence const: the tracer does not
// see reads of them. They are set (in scheduler.cpp) whenever a thread is taken up.
extern const uint3 threadIdx, blockIdx;
extern const dim3 blockDim, gridDim;

namespace cuda_emulation {

constexpr unsigned kWarpLanes = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Where in the source a thread waits, and at what. Threads that wait together must do so at one place.
struct Place {
  const char* operation;
  const char* file;
  int line;
};
// As the last parameter of a device function, the place of its call.
#define CUDA_EMULATION_CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()

struct Grid {
  const void* kernel;
  dim3 blocks, threads;
  size_t shared_bytes;
  void (*run)(const void* arguments);  // calls the kernel, as one thread
  const void* arguments;
  size_t arguments_bytes;
  const char* signature = nullptr;  // the kernel's type, as typeid names it
};

// Runs all blocks of a grid. What a device would call an error ends it and is returned; last_failure() then
// says what happened, and in which thread.
cudaError_t run_grid(const Grid& grid);

// ---- for a kernel's thread ------------------------------------------------------------------------------

// Ends the grid with an error.
[[noreturn]] void fail(cudaError_t error, const char* format, ...) __attribute__((format(printf, 2, 3)));

// __syncthreads
void wait_for_block(Place place);
// Waits for the lanes of `mask`, to which it shows `value`.
void wait_for_warp(unsigned mask, Place place, uint64_t value = 0);
// What a lane of the calling thread's warp has shown to the others of `mask` when they last met.
uint64_t shown_by(unsigned lane, unsigned mask, Place place);

unsigned lane();
void* dynamic_shared_memory();

}  // namespace cuda_emulation

static inline void __syncthreads(CUDA_EMULATION_CALLER) {
  cuda_emulation::wait_for_block({"__syncthreads", file, line});
}
// Taken for a failed assertion, which is what our kernels mean by it. A GPU calls it an unspecified launch
// failure: where the words matter, use assert().
[[noreturn]] static inline void __trap() {
  cuda_emulation::fail(cudaErrorAssert, "__trap(), which a GPU calls an unspecified launch failure");
}

// csrc/cuda/launch.cuh: shared memory whose size the launch says.
#define UPSAMPLE_DYNAMIC_SHARED(T, name) \
  T* const name = static_cast<T*>(cuda_emulation::dynamic_shared_memory())
