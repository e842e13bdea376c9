// Sums of an image over everything but the channels, in two deterministic steps (batch_reduction.cuh): the
// bias gradient.
//
// A block takes a slice of the pixels of one channel, or of 32 adjacent channels, one per lane. If the pixels
// of a channel are adjacent, a thread loads 16 bytes of them at once.
#pragma once

#include "../kernels.h"
#include "batch_reduction.cuh"
#include "resample_limits.cuh"
#include "thread_partition.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class Index>
struct ChannelSums {
  const T* input;
  acc_of<T>* partial;  // (slices, channels)
  Strides in;
  Index channels, positions, slice_positions;  // positions: vectors of pixels
  int lanes, beside;
  Divider<Index> columns, rows, channel_blocks;
};

template <class T, int V, class Index>
__global__ void __launch_bounds__(kSumThreads) sum_channel_slices(const ChannelSums<T, Index> p) {
  typedef acc_of<T> acc;
  Index slice = static_cast<Index>(blockIdx.x);
  const Index lane = static_cast<Index>(threadIdx.x % static_cast<unsigned>(p.lanes));
  const Index c = p.channel_blocks.take(slice) * p.lanes + lane;
  const Index begin = slice * p.slice_positions;
  const Index end = begin + p.slice_positions < p.positions ? begin + p.slice_positions : p.positions;
  Index position = begin + static_cast<Index>(threadIdx.x / static_cast<unsigned>(p.lanes));
  if (c >= p.channels) position = end;
  acc sums[V] = {};
  for (; position < end; position += p.beside) {
    Index n = position;
    const Index x = p.columns.take(n) * V, y = p.rows.take(n);
    const auto pack =
        load_pack<V>(p.input + n * p.in.batch + c * p.in.channel + y * p.in.height + x * p.in.width);
#pragma unroll
    for (int v = 0; v < V; ++v) sums[v] += widen(pack.value[v]);
  }
  acc sum[1] = {sums[0]};
#pragma unroll
  for (int v = 1; v < V; ++v) sum[0] += sums[v];
  sum_block(sum, p.lanes);
  if (static_cast<int>(threadIdx.x) >= p.lanes || c >= p.channels) return;
  p.partial[static_cast<int64_t>(slice) * p.channels + c] = sum[0];
}

// ---- launch ---------------------------------------------------------------------------------------------

// How the work is divided among blocks if threads take `pixels` at once: never more slices than one by one.
struct ChannelSlices {
  int64_t lanes, channel_blocks, columns, rows, positions, slice_positions, slices;

  explicit ChannelSlices(const ChannelSumParams& p, int64_t pixels = 1)
      : lanes(channel_lanes(p.channels_last, p.channels)),
        channel_blocks(divide_up(p.channels, lanes)),
        columns(p.width / pixels),
        rows(p.height),
        positions(p.batch * rows * columns),
        slice_positions(positions_of_slice(positions, lanes, channel_blocks)),
        slices(divide_up(positions, slice_positions)) {}
};

// The same image, with rows that follow each other without a gap merged into one.
inline ChannelSumParams with_long_rows(ChannelSumParams p) {
  if (p.height == 1 || (p.width > 1 && p.in.height != p.width * p.in.width)) return p;
  if (p.width == 1) p.in.width = p.in.height;
  p.width *= p.height;
  p.height = 1;
  p.in.height = 0;
  return p;
}

template <class T, int V, class Index>
cudaError_t launch_channel_slices(const ChannelSumParams& p, const ChannelSlices& s, acc_of<T>* partial,
                                  const Device& device) {
  const ChannelSums<T, Index> arguments{static_cast<const T*>(p.input),
                                        partial,
                                        p.in,
                                        static_cast<Index>(p.channels),
                                        static_cast<Index>(s.positions),
                                        static_cast<Index>(s.slice_positions),
                                        static_cast<int>(s.lanes),
                                        static_cast<int>(kSumThreads / s.lanes),
                                        Divider<Index>(s.columns),
                                        Divider<Index>(s.rows),
                                        Divider<Index>(s.channel_blocks)};
  return launch(sum_channel_slices<T, V, Index>, device, s.slices * s.channel_blocks, kSumThreads,
                kSumBytes<1, acc_of<T>>, arguments);
}

// Which kernel sums the slices.
enum class ChannelSumKernel {
  kVector,        // 16 bytes a load
  kSingle,        // one element
  kBeyond32Bits,  // the same, too large for 32 bits
};

// Of rows that with_long_rows has joined.
template <class T>
ChannelSumKernel choose_channel_sum(const ChannelSumParams& p) {
  if (2 * ChannelSlices(p).positions >= kFar || p.channels >= kFar) return ChannelSumKernel::kBeyond32Bits;
  const bool vector = !p.channels_last && p.in.width == 1 && p.width % kWide<T> == 0 &&
                      aligned_strides<T>(p.input, 16, p.in.batch, p.in.channel, p.in.height);
  return vector ? ChannelSumKernel::kVector : ChannelSumKernel::kSingle;
}

template <class T>
cudaError_t launch_channel_sum(const ChannelSumParams& params, void* memory, const Device& device) {
  constexpr int V = kWide<T>;
  acc_of<T>* partial = static_cast<acc_of<T>*>(memory);
  const ChannelSumParams p = with_long_rows(params);
  const ChannelSumKernel kernel = choose_channel_sum<T>(p);
  const ChannelSlices s(p, kernel == ChannelSumKernel::kVector ? V : 1);
  const cudaError_t error =
      kernel == ChannelSumKernel::kBeyond32Bits ? launch_channel_slices<T, 1, int64_t>(p, s, partial, device)
      : kernel == ChannelSumKernel::kVector     ? launch_channel_slices<T, V, int32_t>(p, s, partial, device)
                                                : launch_channel_slices<T, 1, int32_t>(p, s, partial, device);
  if (error != cudaSuccess) return error;
  return launch_sum_slices<T>(partial, p.output, p.channels, 1, s.slices, device);
}

}  // namespace gpu
}  // namespace upsample_ext
