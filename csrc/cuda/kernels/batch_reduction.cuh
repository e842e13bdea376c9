// Sums over a whole batch, in an order that depends only on the sizes: a block sums a slice of the positions,
// first per thread and then in a tree, and slices are summed sequentially.
#pragma once

#include "config.cuh"
#include "element.cuh"
#include "launch.cuh"

namespace upsample_ext {
namespace gpu {

// How many of `positions` a slice takes, a multiple of a block's threads. A thread sums 64 sequentially,
// which bounds the rounding error in acc, and fewer if there would be too few blocks to fill a GPU.
inline int64_t positions_of_slice(int64_t positions, int64_t lanes, int64_t blocks_of_slice) {
  const int64_t beside = kSumThreads / lanes;
  int64_t run = kMostPositionsOfThread;
  while (run > kFewestPositionsOfThread &&
         divide_up(positions, beside * run) * blocks_of_slice < kEnoughSumBlocks)
    run /= 2;
  return beside * run;
}

// Channels of a block: lanes of a warp if channels are adjacent.
inline int64_t channel_lanes(bool channels_last, int64_t channels) {
  int64_t lanes = 1;
  while (channels_last && lanes < kWarp && lanes < channels) lanes *= 2;
  return lanes;
}

// Adds up sums[i], i < kCount, of every `lanes`-th thread; the first `lanes` threads get the results. Must be
// called by all threads of the block.
template <int kCount, class acc>
__device__ __forceinline__ void sum_block(acc (&sums)[kCount], int lanes) {
  UPSAMPLE_DYNAMIC_SHARED(acc, shared);  // [kCount][kSumThreads]
  const int t = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < kCount; ++i) shared[i * kSumThreads + t] = sums[i];
  for (int half = kSumThreads / 2; half >= lanes; half /= 2) {
    __syncthreads();
    if (t < half) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        sums[i] += shared[i * kSumThreads + t + half];
        shared[i * kSumThreads + t] = sums[i];
      }
    }
  }
}
template <int kCount, class acc>
constexpr size_t kSumBytes = kCount * kSumThreads * sizeof(acc);

// result[c][k] = the sum over slices of partial[slice][k][c], in double.
template <class T, class acc>
__global__ void __launch_bounds__(kSumThreads)
    sum_slices(const acc* partial, T* result, int64_t channels, int64_t taps, int64_t slices) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kSumThreads + threadIdx.x;
  if (i >= channels * taps) return;
  double sum = 0;
#pragma unroll 8
  for (int64_t slice = 0; slice < slices; ++slice) sum += load(partial + slice * channels * taps + i);
  store(result + i % channels * taps + i / channels, Narrow<T>::of(static_cast<acc>(sum)));
}

template <class T, class acc>
cudaError_t launch_sum_slices(const acc* partial, void* result, int64_t channels, int64_t taps,
                              int64_t slices, const Device& device) {
  return launch(sum_slices<T, acc>, device, divide_up(channels * taps, kSumThreads), kSumThreads, 0, partial,
                static_cast<T*>(result), channels, taps, slices);
}

}  // namespace gpu
}  // namespace upsample_ext
