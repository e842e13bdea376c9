// Kernels with the bugs that the emulation is meant to find, each next to its corrected twin: the same kernel
// called with fault = false. tests/test_cuda_emulation_faults.py sees every check fail and pass.
#include <assert.h>
#include <string.h>

#include <vector>

#include "../../csrc/cuda/device.h"

namespace upsample_ext {
namespace gpu {
namespace {

constexpr int kThreads = 64;
constexpr cudaError_t kWrongResult = cudaErrorUnknown;  // what a test of values would find

// Memory as cudaMalloc aligns it, with nothing beyond its end.
template <class T>
struct Memory {
  T* data;
  int64_t count;

  explicit Memory(int64_t n, T value = T()) : count(n) {
    void* bytes = nullptr;
    if (posix_memalign(&bytes, 256, n * sizeof(T)) != 0) abort();
    data = static_cast<T*>(bytes);
    for (int64_t i = 0; i < n; ++i) data[i] = value;
  }
  Memory(const Memory&) = delete;
  ~Memory() { free(data); }
  T* begin() { return data; }
  T* end() { return data + count; }
};

template <class... Parameters, class... Arguments>
cudaError_t run(void (*kernel)(Parameters...), int64_t blocks, int threads, size_t shared_bytes,
                const Arguments&... arguments) {
  return launch(kernel, Device(), blocks, threads, shared_bytes, arguments...);
}

// ---- out of bounds --------------------------------------------------------------------------------------

__global__ void read_next(const float* x, float* y, int n, bool fault) {
  const int i = threadIdx.x;
  y[i] = x[fault || i + 1 < n ? i + 1 : i];
}
cudaError_t global_read_out_of_bounds(bool fault) {
  Memory<float> x(kThreads), y(kThreads);
  return run(read_next, 1, kThreads, 0, x.data, y.data, kThreads, fault);
}

__global__ void write_next(float* y, int n, bool fault) {
  const int i = threadIdx.x;
  if (fault || i + 1 < n) y[i + 1] = 1.0f;
}
cudaError_t global_write_out_of_bounds(bool fault) {
  Memory<float> y(kThreads);
  return run(write_next, 1, kThreads, 0, y.data, kThreads, fault);
}

__global__ void write_dynamic_shared(bool fault) {
  UPSAMPLE_DYNAMIC_SHARED(float, tile);
  tile[fault ? threadIdx.x + 1 : threadIdx.x] = 1.0f;
}
cudaError_t dynamic_shared_out_of_bounds(bool fault) {
  return run(write_dynamic_shared, 1, kThreads, kThreads * sizeof(float), fault);
}

__global__ void write_static_shared(float* y, bool fault) {
  __shared__ float tile[kThreads];
  tile[fault ? threadIdx.x + 1 : threadIdx.x] = 1.0f;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}
cudaError_t static_shared_out_of_bounds(bool fault) {
  Memory<float> y(kThreads);
  return run(write_static_shared, 1, kThreads, 0, y.data, fault);
}

// The static variables of templates are linked otherwise than those of plain functions.
template <class T>
__global__ void write_static_shared_of(T* y, bool fault) {
  __shared__ T tile[kThreads];
  tile[fault ? threadIdx.x + 1 : threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}
cudaError_t static_shared_of_a_template(bool fault) {
  Memory<float> y(kThreads);
  return run(write_static_shared_of<float>, 1, kThreads, 0, y.data, fault);
}

// For tests that bring memory of their own.
__global__ void copy_all(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }

// ---- undefined behaviour --------------------------------------------------------------------------------

__global__ void read_vector(const float* x, float4* y, bool fault) {
  y[threadIdx.x] = *reinterpret_cast<const float4*>(x + 4 * threadIdx.x + (fault ? 1 : 0));
}
cudaError_t misaligned_vector(bool fault) {
  Memory<float> x(4 * kThreads + 4);
  Memory<float4> y(kThreads);
  return run(read_vector, 1, kThreads, 0, x.data, y.data, fault);
}

__global__ void offset_in_int(int* y, int rows, bool fault) {
  y[threadIdx.x] = fault ? rows * rows : static_cast<int>(static_cast<int64_t>(rows) * rows % 7);
}
cudaError_t signed_overflow(bool fault) {
  Memory<int> y(kThreads);
  return run(offset_in_int, 1, kThreads, 0, y.data, 65536, fault);
}

__global__ void index_of(int* y, float source, bool fault) {
  y[threadIdx.x] = fault || source == source ? static_cast<int>(source) : 0;
}
cudaError_t nan_to_int(bool fault) {
  Memory<int> y(kThreads);
  return run(index_of, 1, kThreads, 0, y.data, NAN, fault);
}

// ---- barriers and warps ---------------------------------------------------------------------------------

__global__ void barrier_in_half(bool fault) {
  if (!fault || threadIdx.x < kThreads / 2) __syncthreads();
}
cudaError_t divergent_barrier(bool fault) { return run(barrier_in_half, 1, kThreads, 0, fault); }

__global__ void barrier_in_both_branches(bool fault) {
  if (fault && threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
cudaError_t barriers_at_two_places(bool fault) {
  return run(barrier_in_both_branches, 1, kThreads, 0, fault);
}

__global__ void leave_early(bool fault) {
  if (fault && threadIdx.x == 5) return;
  __shfl_xor_sync(0xffffffffu, 1, 1);
}
cudaError_t collective_after_exit(bool fault) { return run(leave_early, 1, 32, 0, fault); }

__global__ void shuffle_in_a_short_warp(bool fault) {
  __shfl_xor_sync(fault ? 0xffffffffu : 0x0000ffffu, 1, 1);
}
cudaError_t mask_names_absent_lanes(bool fault) { return run(shuffle_in_a_short_warp, 1, 16, 0, fault); }

__global__ void vote_of_others(bool fault) { __ballot_sync(fault ? 0xfffffffeu : 0xffffffffu, 1); }
cudaError_t mask_without_the_caller(bool fault) { return run(vote_of_others, 1, 32, 0, fault); }

__global__ void shuffle_by_halves(bool fault) {
  const unsigned mask = threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u;
  __shfl_sync(mask, 1, fault ? 0 : threadIdx.x & 16);
}
cudaError_t shuffle_from_outside_the_mask(bool fault) { return run(shuffle_by_halves, 1, 32, 0, fault); }

__global__ void disagree(bool fault) {
  const unsigned mask = fault && threadIdx.x == 0 ? 0x0000ffffu : 0xffffffffu;
  __syncwarp(mask);
}
cudaError_t masks_that_differ(bool fault) { return run(disagree, 1, 32, 0, fault); }

__global__ void sum_of_those_who_run(int* y, bool fault) {
  int sum = 1;
  const unsigned mask = fault ? __activemask() : 0xffffffffu;
  for (int i = 16; i > 0; i /= 2) sum += __shfl_xor_sync(mask, sum, i);
  y[threadIdx.x] = sum;
}
cudaError_t activemask_is_no_promise(bool fault) {
  Memory<int> y(32);
  return run(sum_of_those_who_run, 1, 32, 0, y.data, fault);
}

// ---- memory that nobody wrote ---------------------------------------------------------------------------

__global__ void add_to_dynamic_shared(float* y, bool fault) {
  UPSAMPLE_DYNAMIC_SHARED(float, sums);
  if (!fault) sums[threadIdx.x] = 0.0f;
  sums[threadIdx.x] += 1.0f;
  y[blockIdx.x * kThreads + threadIdx.x] = sums[threadIdx.x];
}
cudaError_t uninitialised_dynamic_shared(bool fault) {
  Memory<float> y(2 * kThreads);
  const cudaError_t error = run(add_to_dynamic_shared, 2, kThreads, kThreads * sizeof(float), y.data, fault);
  for (const float value : y) {
    if (value != 1.0f) return kWrongResult;
  }
  return error;
}

template <class T>
__global__ void add_to_static_shared(T* y, bool fault) {
  __shared__ T sums[kThreads];
  if (!fault || blockIdx.x == 0) sums[threadIdx.x] = 0;  // the second block does not inherit the first's
  sums[threadIdx.x] += 1;
  y[blockIdx.x * kThreads + threadIdx.x] = sums[threadIdx.x];
}
cudaError_t uninitialised_static_shared(bool fault) {
  Memory<float> y(2 * kThreads);
  const cudaError_t error = run(add_to_static_shared<float>, 2, kThreads, 0, y.data, fault);
  for (const float value : y) {
    if (!(value >= 1.0f && value <= 2.0f)) return kWrongResult;
  }
  return error;
}

// ---- limits, assertions, arithmetic ---------------------------------------------------------------------

__global__ void nothing() {}
cudaError_t too_many_threads(bool fault) { return run(nothing, 1, fault ? 1025 : 1024, 0); }
cudaError_t too_many_blocks(bool fault) { return run(nothing, fault ? int64_t{INT32_MAX} + 1 : 1000, 1, 0); }
cudaError_t too_many_blocks_along_y(bool fault) {
  return cuda_emulation::launch(nothing, dim3(1, fault ? 65536 : 65535), dim3(1), 0);
}
cudaError_t too_much_shared(bool fault) {  // without asking for more than the ordinary 48 KiB
  return run(nothing, 1, 1, (48 << 10) + (fault ? 1 : 0));
}
__global__ void nothing_much() {}
cudaError_t too_much_shared_asked_for(bool fault) {
  const int bytes = (227 << 10) + (fault ? 1 : 0);
  const cudaError_t error =
      cudaFuncSetAttribute(nothing_much, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  return error == cudaSuccess ? run(nothing_much, 1, 1, bytes) : error;
}

__global__ void check_target(int target, int classes) { assert(target >= 0 && target < classes); }
cudaError_t failed_assert(bool fault) { return run(check_target, 2, kThreads, 0, fault ? 7 : 3, 5); }

__global__ void trap_if(bool fault) {
  if (fault) __trap();
}
cudaError_t trap(bool fault) { return run(trap_if, 1, kThreads, 0, fault); }

__global__ void largest(const float* x, float* y, bool fault) {
  const float a = x[0], b = x[1];
  *y = fault ? max(a, b) : (a > b || a != a ? a : b);  // a NaN is to win: CUDA's max lets the number win
}
cudaError_t max_of_nan(bool fault) {
  Memory<float> x(2, 1.0f), y(1);
  for (int place = 0; place < 2; ++place) {
    x.data[place] = NAN;
    x.data[1 - place] = 1.0f;
    const cudaError_t error = run(largest, 1, 1, 0, x.data, y.data, fault);
    if (error != cudaSuccess) return error;
    if (*y.data == *y.data) return kWrongResult;
  }
  return cudaSuccess;
}

// ---- races ----------------------------------------------------------------------------------------------

__global__ void reverse_block(float* y, bool fault) {
  UPSAMPLE_DYNAMIC_SHARED(float, tile);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (!fault) __syncthreads();
  y[threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
}
cudaError_t missing_syncthreads(bool fault) {
  Memory<float> y(kThreads);
  return run(reverse_block, 1, kThreads, kThreads * sizeof(float), y.data, fault);
}

// The second barrier, which keeps the next round from overwriting what is still being read.
__global__ void reverse_twice(float* y, bool fault) {
  __shared__ float tile[kThreads];
  for (int round = 0; round < 2; ++round) {
    tile[threadIdx.x] = static_cast<float>(threadIdx.x + round);
    __syncthreads();
    y[round * kThreads + threadIdx.x] = tile[kThreads - 1 - threadIdx.x];
    if (!fault) __syncthreads();
  }
}
cudaError_t missing_second_syncthreads(bool fault) {
  Memory<float> y(2 * kThreads);
  return run(reverse_twice, 1, kThreads, 0, y.data, fault);
}

__global__ void reverse_warp(float* y, bool fault) {
  UPSAMPLE_DYNAMIC_SHARED(float, tile);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (!fault) __syncwarp();
  y[threadIdx.x] = tile[threadIdx.x ^ 31];
}
cudaError_t missing_syncwarp(bool fault) {
  Memory<float> y(kThreads);
  return run(reverse_warp, 1, kThreads, kThreads * sizeof(float), y.data, fault);
}

__global__ void reverse_warp_by_halves(float* y, bool fault) {
  UPSAMPLE_DYNAMIC_SHARED(float, tile);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u);
  y[threadIdx.x] = tile[threadIdx.x ^ (fault ? 31 : 15)];
}
cudaError_t syncwarp_of_the_wrong_lanes(bool fault) {
  Memory<float> y(32);
  return run(reverse_warp_by_halves, 1, 32, 32 * sizeof(float), y.data, fault);
}

__global__ void reverse_across_warps(float* y, bool fault) {  // a barrier of a warp orders no other warp
  UPSAMPLE_DYNAMIC_SHARED(float, tile);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncwarp();
  y[threadIdx.x] = tile[threadIdx.x ^ (fault ? 32 : 1)];
}
cudaError_t syncwarp_across_warps(bool fault) {
  Memory<float> y(kThreads);
  return run(reverse_across_warps, 1, kThreads, kThreads * sizeof(float), y.data, fault);
}

__global__ void write_bytes(unsigned char* y, bool fault) {  // neighbours in one word are no race
  y[fault ? threadIdx.x / 2 : threadIdx.x] = 1;
}
cudaError_t race_in_global_memory(bool fault) {
  Memory<unsigned char> y(kThreads);
  return run(write_bytes, 1, kThreads, 0, y.data, fault);
}

__global__ void scatter_to_neighbours(float* y, bool fault) {
  const int64_t i = blockIdx.x * kThreads + threadIdx.x;
  y[i] = 1.0f;
  if (fault && threadIdx.x == kThreads - 1) y[i + 1] = 1.0f;  // the next block's
}
cudaError_t race_between_writing_blocks(bool fault) {
  Memory<float> y(3 * kThreads + 1);
  return run(scatter_to_neighbours, 3, kThreads, 0, y.data, fault);
}

__global__ void smooth(float* y, bool fault) {
  const int64_t i = blockIdx.x * kThreads + threadIdx.x;
  const float before = y[fault || threadIdx.x > 0 ? (i > 0 ? i - 1 : 0) : i];
  __syncthreads();
  y[i] = before;
}
cudaError_t race_with_a_reading_block(bool fault) {
  Memory<float> y(3 * kThreads);
  return run(smooth, 3, kThreads, 0, y.data, fault);
}

__global__ void count_blocks(int* y, bool fault) {
  if (threadIdx.x != 0) return;
  if (fault) {
    *y += 1;
  } else {
    atomicAdd(y, 1);
  }
}
cudaError_t count_without_atomics(bool fault) {
  Memory<int> y(1);
  return run(count_blocks, 3, kThreads, 0, y.data, fault);
}

// ---- traffic --------------------------------------------------------------------------------------------

constexpr int kMany = 32 * 128;

__global__ void copy_scattered(const float* x, float* y, bool fault) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  const int to = fault ? i % 32 * 128 + i / 32 : i;
  y[to] = x[i];
}
cudaError_t uncoalesced_stores(bool fault) {
  Memory<float> x(kMany), y(kMany);
  return run(copy_scattered, kMany / 128, 128, 0, x.data, y.data, fault);
}

__global__ void copy_narrow(const float* x, float* y, bool fault) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (fault) {
    for (int k = 0; k < 4; ++k) y[k * (kMany / 4) + i] = x[k * (kMany / 4) + i];
  } else {
    reinterpret_cast<float4*>(y)[i] = reinterpret_cast<const float4*>(x)[i];
  }
}
cudaError_t narrow_lanes(bool fault) {
  Memory<float> x(kMany), y(kMany);
  return run(copy_narrow, kMany / 512, 128, 0, x.data, y.data, fault);
}

__global__ void copy_rereading(const float* x, float* y, bool fault) {
  const int i = blockIdx.x * 128 + threadIdx.x;
  float value = x[i];
  for (int k = 1; fault && k < 4; ++k) value += 0.0f * x[(i + k * 128) % kMany];  // of other blocks
  y[i] = value;
}
cudaError_t loads_of_every_block(bool fault) {
  Memory<float> x(kMany), y(kMany);
  return run(copy_rereading, kMany / 128, 128, 0, x.data, y.data, fault);
}

__global__ void transpose(const float* x, float* y, bool fault) {
  UPSAMPLE_DYNAMIC_SHARED(float, tile);
  const int pitch = fault ? 32 : 33;
  const int column = threadIdx.x % 32, row = threadIdx.x / 32;
  tile[row * pitch + column] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[column * pitch + row];
}
cudaError_t bank_conflicts(bool fault) {
  Memory<float> x(1024), y(1024);
  return run(transpose, 1, 1024, 33 * 32 * sizeof(float), x.data, y.data, fault);
}

// ---- by name --------------------------------------------------------------------------------------------

struct Fault {
  const char* name;
  cudaError_t (*run)(bool fault);
};

#define FAULT(name) {#name, name}
constexpr Fault kFaults[] = {
    FAULT(global_read_out_of_bounds),
    FAULT(global_write_out_of_bounds),
    FAULT(dynamic_shared_out_of_bounds),
    FAULT(static_shared_out_of_bounds),
    FAULT(static_shared_of_a_template),
    FAULT(misaligned_vector),
    FAULT(signed_overflow),
    FAULT(nan_to_int),
    FAULT(divergent_barrier),
    FAULT(barriers_at_two_places),
    FAULT(collective_after_exit),
    FAULT(mask_names_absent_lanes),
    FAULT(mask_without_the_caller),
    FAULT(shuffle_from_outside_the_mask),
    FAULT(masks_that_differ),
    FAULT(activemask_is_no_promise),
    FAULT(uninitialised_dynamic_shared),
    FAULT(uninitialised_static_shared),
    FAULT(too_many_threads),
    FAULT(too_many_blocks),
    FAULT(too_many_blocks_along_y),
    FAULT(too_much_shared),
    FAULT(too_much_shared_asked_for),
    FAULT(failed_assert),
    FAULT(trap),
    FAULT(max_of_nan),
    FAULT(missing_syncthreads),
    FAULT(missing_second_syncthreads),
    FAULT(missing_syncwarp),
    FAULT(syncwarp_of_the_wrong_lanes),
    FAULT(syncwarp_across_warps),
    FAULT(race_in_global_memory),
    FAULT(race_between_writing_blocks),
    FAULT(race_with_a_reading_block),
    FAULT(count_without_atomics),
    FAULT(uncoalesced_stores),
    FAULT(narrow_lanes),
    FAULT(loads_of_every_block),
    FAULT(bank_conflicts),
};

}  // namespace
}  // namespace gpu
}  // namespace upsample_ext

extern "C" {

// The error of a fault's kernel, or of its corrected twin's; -1 where there is no fault of this name.
__attribute__((visibility("default"))) int cuda_emulation_fault(const char* name, bool fault) {
  for (const auto& known : upsample_ext::gpu::kFaults) {
    if (strcmp(known.name, name) == 0) return known.run(fault);
  }
  return -1;
}

// Reads, or writes, n floats that the caller owns and `past` floats beyond.
__attribute__((visibility("default"))) int cuda_emulation_read(const float* x, int n, int past) {
  upsample_ext::gpu::Memory<float> y(n + past);
  return upsample_ext::gpu::run(upsample_ext::gpu::copy_all, 1, n + past, 0, x, y.data);
}
__attribute__((visibility("default"))) int cuda_emulation_write(float* y, int n, int past) {
  upsample_ext::gpu::Memory<float> x(n + past);
  return upsample_ext::gpu::run(upsample_ext::gpu::copy_all, 1, n + past, 0, x.data, y);
}

}  // extern "C"
