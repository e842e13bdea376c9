// The gradient of the depthwise transposed convolution with respect to its weight, in two deterministic steps
// (batch_reduction.cuh).
//
// A block takes a channel (or 32 adjacent channels, one per lane), a slice of the positions of all images of
// the batch, and a tile of up to 4 x 4 taps. A thread loops over positions: it loads the sample there and the
// 16 outputs that the taps map it to; its neighbours load the same outputs, from L1.
//
// Where a layer doubles planes (doubles_aligned_rows) a thread takes the sources of 16 bytes of a row of
// grad_output at once, whose loads serve all 16 taps.
#pragma once

#include "batch_reduction.cuh"
#include "deconv.cuh"

namespace upsample_ext {
namespace gpu {

constexpr int kTile = 4;  // taps along each axis

template <class T, class Index>
struct DeconvWeightSums {
  typedef acc_of<T> acc;
  const T* input;
  const T* grad_output;
  acc* partial;  // (slices, kernel height, kernel width, channels)
  Strides in, out;
  DeconvAxis<Index> height, width;
  Index channels, positions, slice_positions;
  int lanes, beside;  // channels of a block, positions that its threads take at once
  Divider<Index> columns, rows, tiles, tiles_x, channel_blocks;
};

// kRun: outputs loaded at once (outputs_at_once).
template <class T, int kRun, class Index>
__global__ void __launch_bounds__(kSumThreads, sizeof(Index) == 8 || sizeof(T) == 8 ? 2 : 4)
    sum_weight_slices(const DeconvWeightSums<T, Index> p) {
  typedef acc_of<T> acc;
  Index slice = static_cast<Index>(blockIdx.x);
  const Index tile = p.tiles.take(slice);
  const Index lane = static_cast<Index>(threadIdx.x % static_cast<unsigned>(p.lanes));
  const Index c = p.channel_blocks.take(slice) * p.lanes + lane;
  Index tile_y = tile;
  const Index kx0 = p.tiles_x.take(tile_y) * kTile, ky0 = tile_y * kTile;

  acc sums[kTile * kTile] = {};
  const Index begin = slice * p.slice_positions;
  const Index end = begin + p.slice_positions < p.positions ? begin + p.slice_positions : p.positions;
  Index position = begin + static_cast<Index>(threadIdx.x / static_cast<unsigned>(p.lanes));
  if (c >= p.channels) position = end;
  for (; position < end; position += p.beside) {
    Index n = position;
    const Index x = p.width.first_position + p.columns.take(n);
    const Index y = p.height.first_position + p.rows.take(n);
    const T* sample = p.input + n * p.in.batch + c * p.in.channel + p.height.sample(y) * p.in.height +
                      p.width.sample(x) * p.in.width;
    const acc value = widen(load(sample));
    const T* grad = p.grad_output + n * p.out.batch + c * p.out.channel;
#pragma unroll
    for (int i = 0; i < kTile; ++i) {
      const Index oy = p.height.target(y) + (ky0 + i) * p.height.dilation;
      if (ky0 + i >= p.height.kernel_size || oy < 0 || oy >= p.height.out_size) continue;
      const T* row = grad + oy * p.out.height;
#pragma unroll
      for (int j = 0; j < kTile; j += kRun) {
        const Index ox = p.width.target(x) + (kx0 + j) * p.width.dilation;
        if (kx0 + j >= p.width.kernel_size || ox < 0 || ox >= p.width.out_size) continue;
        const Pack<T, kRun> grads = load_pack<kRun>(row + ox * p.out.width);
#pragma unroll
        for (int r = 0; r < kRun; ++r) {
          acc& sum = sums[i * kTile + j + r];
          sum = fused_multiply_add(value, widen(grads.value[r]), sum);
        }
      }
    }
  }
  sum_block(sums, p.lanes);
  if (static_cast<int>(threadIdx.x) >= p.lanes || c >= p.channels) return;
  const int64_t taps = static_cast<int64_t>(p.height.kernel_size) * p.width.kernel_size;
  acc* partial = p.partial + static_cast<int64_t>(slice) * taps * p.channels + c;
#pragma unroll
  for (int i = 0; i < kTile; ++i) {
#pragma unroll
    for (int j = 0; j < kTile; ++j) {
      const Index ky = ky0 + i, kx = kx0 + j;
      if (ky < p.height.kernel_size && kx < p.width.kernel_size) {
        partial[(static_cast<int64_t>(ky) * p.width.kernel_size + kx) * p.channels] = sums[i * kTile + j];
      }
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kSumThreads, kWeightBlocks<T>)
    sum_weight_slices_doubled(const DeconvWeightSums<T, int32_t> p) {
  typedef acc_of<T> acc;
  constexpr int V = kWide<T>, kSources = V / 2;
  int32_t slice = static_cast<int32_t>(blockIdx.x);
  const int32_t c = p.channel_blocks.take(slice);
  acc sums[kTile * kTile] = {};
  const int32_t begin = slice * p.slice_positions;
  const int32_t end = begin + p.slice_positions < p.positions ? begin + p.slice_positions : p.positions;
  for (int32_t position = begin + static_cast<int32_t>(threadIdx.x); position < end;
       position += kSumThreads) {
    int32_t n = position;
    const int32_t group = p.columns.take(n), y = p.rows.take(n);
    const bool has_left = group > 0, has_right = group + 1 < static_cast<int32_t>(p.columns.divisor);
    const auto sources =
        load_pack<kSources>(p.input + n * p.in.batch + c * p.in.channel + y * p.in.height + group * kSources);
    const T* rows = opaque(p.grad_output + n * p.out.batch + c * p.out.channel + group * V);
#pragma unroll
    for (int ky = 0; ky < kTile; ++ky) {
      const int32_t oy = 2 * y - 1 + ky;
      if (oy < 0 || oy >= p.height.out_size) continue;
      const T* row = opaque(rows + oy * p.out.height);
      const Pack<T, V> inside = load_pack<V>(row);
      acc values[V + 2];
      values[0] = has_left ? widen(load(row - 1)) : acc(0);
      values[V + 1] = has_right ? widen(load(row + V)) : acc(0);
#pragma unroll
      for (int v = 0; v < V; ++v) values[v + 1] = widen(inside.value[v]);
#pragma unroll
      for (int s = 0; s < kSources; ++s) {
        const acc value = widen(sources.value[s]);
#pragma unroll
        for (int kx = 0; kx < kTile; ++kx) {
          const bool is_there =
              (s > 0 || kx > 0 || has_left) && (s + 1 < kSources || kx + 1 < kTile || has_right);
          acc& sum = sums[ky * kTile + kx];
          if (is_there) sum = fused_multiply_add(value, values[2 * s + kx], sum);
        }
      }
    }
  }
  sum_block(sums, 1);
  if (threadIdx.x != 0) return;
  acc* partial = p.partial + static_cast<int64_t>(slice) * kTile * kTile * p.channels + c;
#pragma unroll
  for (int k = 0; k < kTile * kTile; ++k) partial[static_cast<int64_t>(k) * p.channels] = sums[k];
}

// ---- launch ---------------------------------------------------------------------------------------------

// How the work is divided among blocks.
struct WeightSlices {
  int64_t lanes, channel_blocks, tiles_x, tiles, columns, rows, positions, slice_positions, slices;

  explicit WeightSlices(const DeconvParams& p)
      : lanes(channel_lanes(p.channels_last, p.channels)),
        channel_blocks(divide_up(p.channels, lanes)),
        tiles_x(divide_up(p.width.kernel_size, kTile)),
        tiles(tiles_x * divide_up(p.height.kernel_size, kTile)),
        columns(p.width.end() - p.width.begin()),
        rows(p.height.end() - p.height.begin()),
        positions(p.batch * rows * columns),
        slice_positions(positions_of_slice(positions, lanes, channel_blocks * tiles)),
        slices(divide_up(positions, slice_positions)) {}
};

template <class T>
cudaError_t launch_weight_slices_doubled(const DeconvParams& p, acc_of<T>* partial, const Device& device) {
  constexpr int64_t kSources =
      kWide<T> / 2;  // of a position here; rows are whole numbers of them, slices too
  const WeightSlices s(p);
  DeconvWeightSums<T, int32_t> arguments{static_cast<const T*>(p.input),
                                         static_cast<const T*>(p.output),
                                         partial,
                                         p.in,
                                         p.out,
                                         DeconvAxis<int32_t>(p.height),
                                         DeconvAxis<int32_t>(p.width),
                                         static_cast<int32_t>(p.channels),
                                         static_cast<int32_t>(s.positions / kSources),
                                         static_cast<int32_t>(s.slice_positions / kSources),
                                         1,
                                         kSumThreads,
                                         Divider<int32_t>(s.columns / kSources),
                                         Divider<int32_t>(s.rows),
                                         Divider<int32_t>(1),
                                         Divider<int32_t>(1),
                                         Divider<int32_t>(s.channel_blocks)};
  return launch(sum_weight_slices_doubled<T>, device, s.slices * s.channel_blocks, kSumThreads,
                kSumBytes<kTile * kTile, acc_of<T>>, arguments);
}

template <class T, int kRun, class Index>
cudaError_t launch_weight_slices(const DeconvParams& p, acc_of<T>* partial, const Device& device) {
  const WeightSlices s(p);
  const DeconvWeightSums<T, Index> arguments{static_cast<const T*>(p.input),
                                             static_cast<const T*>(p.output),
                                             partial,
                                             p.in,
                                             p.out,
                                             DeconvAxis<Index>(p.height),
                                             DeconvAxis<Index>(p.width),
                                             static_cast<Index>(p.channels),
                                             static_cast<Index>(s.positions),
                                             static_cast<Index>(s.slice_positions),
                                             static_cast<int>(s.lanes),
                                             static_cast<int>(kSumThreads / s.lanes),
                                             Divider<Index>(s.columns),
                                             Divider<Index>(s.rows),
                                             Divider<Index>(s.tiles),
                                             Divider<Index>(s.tiles_x),
                                             Divider<Index>(s.channel_blocks)};
  return launch(sum_weight_slices<T, kRun, Index>, device, s.slices * s.channel_blocks * s.tiles, kSumThreads,
                kSumBytes<kTile * kTile, acc_of<T>>, arguments);
}

// Which kernel sums the slices: how many adjacent outputs a load brings.
enum class DeconvBackwardWeightKernel {
  kDoubled,
  kSingle,
  kPairs,
  kMost,          // kMostOutputs
  kBeyond32Bits,  // one, too large for 32 bits
};

template <class T>
DeconvBackwardWeightKernel choose_deconv_backward_weight(const DeconvParams& p) {
  const WeightSlices s(p);
  const bool narrow = fits_32_bits(p) && s.positions + s.slice_positions < int64_t{1} << 30;
  if (!narrow) return DeconvBackwardWeightKernel::kBeyond32Bits;
  if (doubles_aligned_rows<T>(p)) return DeconvBackwardWeightKernel::kDoubled;
  switch (outputs_at_once<T>(p)) {
    case 4:
      return DeconvBackwardWeightKernel::kMost;
    case 2:
      return DeconvBackwardWeightKernel::kPairs;
    default:
      return DeconvBackwardWeightKernel::kSingle;
  }
}

template <class T>
cudaError_t launch_chosen_slices(const DeconvParams& p, acc_of<T>* partial, const Device& device) {
  switch (choose_deconv_backward_weight<T>(p)) {
    case DeconvBackwardWeightKernel::kDoubled:
      return launch_weight_slices_doubled<T>(p, partial, device);
    case DeconvBackwardWeightKernel::kSingle:
      return launch_weight_slices<T, 1, int32_t>(p, partial, device);
    case DeconvBackwardWeightKernel::kPairs:
      return launch_weight_slices<T, 2, int32_t>(p, partial, device);
    case DeconvBackwardWeightKernel::kMost:
      return launch_weight_slices<T, kMostOutputs<T>, int32_t>(p, partial, device);
    case DeconvBackwardWeightKernel::kBeyond32Bits:
      return launch_weight_slices<T, 1, int64_t>(p, partial, device);
  }
  return cudaErrorInvalidValue;
}

template <class T>
cudaError_t launch_deconv_backward_weight(const DeconvParams& p, void* memory, const Device& device) {
  typedef acc_of<T> acc;
  acc* partial = static_cast<acc*>(memory);
  const cudaError_t error = launch_chosen_slices<T>(p, partial, device);
  if (error != cudaSuccess) return error;
  return launch_sum_slices<T>(partial, p.weight, p.channels, p.height.kernel_size * p.width.kernel_size,
                              WeightSlices(p).slices, device);
}

}  // namespace gpu
}  // namespace upsample_ext
