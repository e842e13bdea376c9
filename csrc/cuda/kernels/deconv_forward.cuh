// Depthwise transposed convolution, forward.
//
// A thread owns V neighbours, 16 bytes of output if alignment allows, and walks down rows that are `stride`
// apart: all of these take the same taps, so that the weights, at most 2 x 2 per result, stay in registers. A
// source row, once loaded, is added to the result it reaches through its first tap and to the next one, which
// it reaches through its second: each thread loads a source once.
//
//   what a result takes          layout of the images        kernel          V                      index
//   at most 2 taps an axis,      channels side by side       channels-last   16 bytes, if they      32 bits
//     on neighbouring samples      in both                                   divide all, else 1
//                                output rows side by side    planar vector   16 bytes               32 bits
//                                any other                   planar          4 columns, far apart   32 bits
//   more, or further apart       any                         general         4 columns of a phase   32 bits
//   anything                     too large for 32 bits       general         4 columns of a phase   64 bits
//
// Kernel 4, stride 2, planar, where a multiprocessor gets 15 bytes of DRAM, 128 bytes of L1 (a wavefront) and
// 128 lanes' instructions a cycle. Float32 writes 4 bytes a result and reads 1: 3 results a cycle. Of a row,
// a thread loads 2 sources for each of its results, 8 bytes apart from lane to lane: 8 loads of 2 wavefronts
// for 4 x 32 results, 0.4 wavefronts a cycle, and about 2 loads, 4 multiply-adds and 5 others a result, 33
// lanes' instructions a cycle. Half types: 6 results a cycle, 0.75 wavefronts, 70 instructions.
#pragma once

#include "deconv_general.cuh"
#include "resample_forward.cuh"

namespace upsample_ext {
namespace gpu {

// ---- what a thread owns ---------------------------------------------------------------------------------

// The taps of V columns of a plane, `step` apart; those of columns beyond the row are those of the last. Tap
// t of column v is sources(row)[t][v] times weight[r][t][v], and both are 0 where there is none.
template <class T, int V>
class PlanarTaps {
 public:
  typedef acc_of<T> acc;
  typedef DeconvAxis<int32_t> Axis;
  acc weight[2][2][V];

  __device__ __forceinline__ PlanarTaps(const Axis& axis, int32_t stride, int32_t first, int32_t step,
                                        const DeconvWeights<T>& weights, const int64_t (&kernel_row)[2])
      : stride_(stride) {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const int32_t column = first + v * step;
      const auto tap = axis.first(column < axis.out_size ? column : axis.out_size - 1);
      const int32_t ix0 = axis.sample(tap.position), ix1 = axis.sample(tap.position - 1);
      const bool has0 = tap.tap < axis.kernel_size && ix0 >= 0;
      const bool has1 = tap.tap + axis.period < axis.kernel_size && ix1 >= 0;
      offset_[v] = (has0 ? ix0 : ix1) * stride;
      // Without a first tap the offset is that of the second.
      if (has0) exists_ |= 1u << v;
      if (has1) exists_ |= 1u << (V + v);
      if (has0 && ix1 < ix0) back_ |= 1u << v;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int64_t at = kernel_row[r] + tap.tap * weights.width;
        weight[r][0][v] = has0 && kernel_row[r] >= 0 ? weights.at(at) : acc(0);
        weight[r][1][v] = has1 && kernel_row[r] >= 0 ? weights.at(at + axis.period * weights.width) : acc(0);
      }
    }
  }

  __device__ __forceinline__ void sources(const T* row, acc (&values)[2][V]) const {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T* at = row + offset_[v];
      values[0][v] = exists_ >> v & 1 ? widen(load(at)) : acc(0);
      values[1][v] = exists_ >> (V + v) & 1 ? widen(load(at - (back_ >> v & 1 ? stride_ : 0))) : acc(0);
    }
  }

 private:
  int32_t stride_, offset_[V];
  unsigned exists_ = 0, back_ = 0;  // exists_: bit t * V + v
};

// The taps of V channels of one column.
template <class T, int V>
class PixelTaps {
 public:
  typedef acc_of<T> acc;
  typedef DeconvAxis<int32_t> Axis;
  acc weight[2][2][V];

  __device__ __forceinline__ PixelTaps(const Axis& axis, int32_t stride, int32_t column,
                                       const DeconvWeights<T>& weights, const int64_t (&kernel_row)[2]) {
    const auto tap = axis.first(column);
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      const int32_t k = tap.tap + t * axis.period, ix = axis.sample(tap.position - t);
      const bool exists = k < axis.kernel_size && ix >= 0;
      offset_[t] = exists ? ix * stride : -1;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        if (exists && kernel_row[r] >= 0) {
          channels(weights, kernel_row[r] + k * weights.width, weight[r][t]);
        } else {
#pragma unroll
          for (int v = 0; v < V; ++v) weight[r][t][v] = acc(0);
        }
      }
    }
  }

  __device__ __forceinline__ void sources(const T* row, acc (&values)[2][V]) const {
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      const Pack<T, V> pixel = offset_[t] >= 0 ? load_pack<V>(row + offset_[t]) : Pack<T, V>{};
#pragma unroll
      for (int v = 0; v < V; ++v) values[t][v] = widen(pixel.value[v]);
    }
  }

 private:
  int32_t offset_[2];

  static __device__ __forceinline__ void channels(const DeconvWeights<T>& weights, int64_t offset,
                                                  acc (&values)[V]) {
    constexpr int kPack = V < kWide<acc> ? V : kWide<acc>;
    if (weights.packed) {
#pragma unroll
      for (int v = 0; v < V; v += kPack) {
        const auto pack = load_pack<kPack>(static_cast<const acc*>(weights.data) + offset + v);
#pragma unroll
        for (int i = 0; i < kPack; ++i) values[v + i] = pack.value[i];
      }
    } else {
#pragma unroll
      for (int v = 0; v < V; ++v) values[v] = weights.at(offset + v * weights.channel);
    }
  }
};

// ---- kernels --------------------------------------------------------------------------------------------

template <class T>
struct DeconvForward {
  const T* input;
  T* output;
  DeconvWeights<T> weight;
  const T* bias;
  int64_t bias_stride;
  Strides in, out;
  DeconvAxis<int32_t> height, width;
  // Threads are numbered (batch, channel, rows, tile of columns, phase, column), in channels-last with the
  // channels of a block last of all: all phases of a tile, which read the same sources, are in one block.
  int32_t threads, rows_per_thread, column_count, channel_count;
  Divider<int32_t> inner_channels, tile_columns, phases, tiles, row_groups, outer_channels;
};

// Which rows of which plane a thread computes, if any.
struct DeconvWalk {
  int32_t n, c, column, first_row, rows;
};
template <class T>
__device__ __forceinline__ DeconvWalk walk_of(const DeconvForward<T>& p, int32_t number) {
  DeconvWalk walk;
  walk.c = p.inner_channels.take(number);
  walk.column = p.tile_columns.take(number);
  const int32_t phase = p.phases.take(number);
  walk.column += p.tiles.take(number) * static_cast<int32_t>(p.tile_columns.divisor);
  walk.first_row = phase + p.row_groups.take(number) * p.rows_per_thread * p.height.stride;
  walk.c += p.outer_channels.take(number) * static_cast<int32_t>(p.inner_channels.divisor);
  walk.n = number;
  const bool exists =
      walk.column < p.column_count && walk.c < p.channel_count && walk.first_row < p.height.out_size;
  walk.rows = exists ? p.rows_per_thread : 0;
  return walk;
}

// Where in the weights of channel c the kernel rows of a walk's two taps begin, -1 where there is none.
template <class T>
__device__ __forceinline__ void kernel_rows(const DeconvForward<T>& p, int32_t c, int32_t tap,
                                            int64_t (&kernel_row)[2]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int32_t ky = tap + r * p.height.period;
    kernel_row[r] = ky < p.height.kernel_size ? c * p.weight.channel + ky * p.weight.height : -1;
  }
}

// Calls put(row, values) for each row of a walk.
template <int V, class T, class acc, class Taps, class Put>
__device__ __forceinline__ void walk_phase(const DeconvForward<T>& p, const DeconvWalk& walk,
                                           const Taps& taps, const T* plane, int32_t position,
                                           const int64_t (&kernel_row)[2], const acc (&bias)[V], Put&& put) {
  acc next[V];
  const auto add = [&](const acc(&weight)[2][V], const acc(&values)[2][V], acc(&sums)[V]) {
#pragma unroll
    for (int t = 0; t < 2; ++t) {
#pragma unroll
      for (int v = 0; v < V; ++v) sums[v] = fused_multiply_add(weight[t][v], values[t][v], sums[v]);
    }
  };
#pragma unroll
  for (int v = 0; v < V; ++v) next[v] = bias[v];
  const int32_t above = p.height.sample(position - 1);
  if (kernel_row[1] >= 0 && above >= 0) {
    acc values[2][V];
    taps.sources(plane + above * p.in.height, values);
    add(taps.weight[1], values, next);
  }
  for (int32_t m = 0; m < walk.rows; ++m) {
    const int32_t o = walk.first_row + m * p.height.stride;
    if (o >= p.height.out_size) return;
    acc sums[V];
#pragma unroll
    for (int v = 0; v < V; ++v) {
      sums[v] = next[v];
      next[v] = bias[v];
    }
    const int32_t iy = p.height.sample(position + m);
    if (kernel_row[0] >= 0 && iy >= 0) {
      acc values[2][V];
      taps.sources(plane + iy * p.in.height, values);
      add(taps.weight[0], values, sums);
      if (kernel_row[1] >= 0) add(taps.weight[1], values, next);
    }
    put(o, sums);
  }
}

template <class T, int V, bool kVector>
__global__ void __launch_bounds__(kDeconvThreads, kDeconvBlocks<V>)
    deconv_forward_planar(const DeconvForward<T> p) {
  typedef acc_of<T> acc;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kDeconvThreads + threadIdx.x;
  if (number >= p.threads) return;
  const DeconvWalk walk = walk_of(p, static_cast<int32_t>(number));
  const int32_t step = kVector ? 1 : p.column_count;
  const int32_t first = kVector ? walk.column * V : walk.column;
  if (walk.rows == 0) return;

  const auto tap = p.height.first(walk.first_row);
  int64_t kernel_row[2];
  kernel_rows(p, walk.c, tap.tap, kernel_row);
  const PlanarTaps<T, V> taps(p.width, static_cast<int32_t>(p.in.width), first, step, p.weight, kernel_row);
  acc bias[V];
#pragma unroll
  for (int v = 0; v < V; ++v) bias[v] = p.bias ? widen(load(p.bias + walk.c * p.bias_stride)) : acc(0);
  T* output = p.output + walk.n * p.out.batch + walk.c * p.out.channel;
  walk_phase<V>(p, walk, taps, p.input + walk.n * p.in.batch + walk.c * p.in.channel, tap.position,
                kernel_row, bias, [&](int32_t o, const acc(&sums)[V]) {
                  T* row = output + o * p.out.height;
                  if constexpr (kVector) {
                    Pack<T, V> pack;
#pragma unroll
                    for (int v = 0; v < V; ++v) pack.value[v] = Narrow<T>::of(sums[v]);
                    store_pack(row + first, pack);
                  } else {
#pragma unroll
                    for (int v = 0; v < V; ++v) {
                      const int32_t column = first + v * step;
                      if (column < p.width.out_size) {
                        store(row + column * p.out.width, Narrow<T>::of(sums[v]));
                      }
                    }
                  }
                });
}

template <class T, int V>
__global__ void __launch_bounds__(kDeconvThreads, kDeconvBlocks<V>)
    deconv_forward_channels_last(const DeconvForward<T> p) {
  typedef acc_of<T> acc;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kDeconvThreads + threadIdx.x;
  if (number >= p.threads) return;
  DeconvWalk walk = walk_of(p, static_cast<int32_t>(number));
  if (walk.rows == 0) return;
  walk.c *= V;

  const auto tap = p.height.first(walk.first_row);
  int64_t kernel_row[2];
  kernel_rows(p, walk.c, tap.tap, kernel_row);
  const PixelTaps<T, V> taps(p.width, static_cast<int32_t>(p.in.width), walk.column, p.weight, kernel_row);
  acc bias[V];
#pragma unroll
  for (int v = 0; v < V; ++v) {
    bias[v] = p.bias ? widen(load(p.bias + (walk.c + v) * p.bias_stride)) : acc(0);
  }
  T* output = p.output + walk.n * p.out.batch + walk.column * p.out.width + walk.c;
  walk_phase<V>(p, walk, taps, p.input + walk.n * p.in.batch + walk.c, tap.position, kernel_row, bias,
                [&](int32_t o, const acc(&sums)[V]) {
                  Pack<T, V> pack;
#pragma unroll
                  for (int v = 0; v < V; ++v) pack.value[v] = Narrow<T>::of(sums[v]);
                  store_pack(output + o * p.out.height, pack);
                });
}

// ---- choice and launch ----------------------------------------------------------------------------------

// `columns` threads to a row of one channel, or of `inner` times `outer` vectors of channels.
template <class T, class Kernel>
cudaError_t launch_walk(Kernel kernel, const DeconvParams& p, bool weight_in_acc, int64_t channels,
                        int64_t inner, int64_t columns, const Device& device) {
  const int64_t height = p.height.out_size(), stride = p.height.stride, outer = divide_up(channels, inner);
  const int64_t phases = stride < height ? stride : height, rows_of_phase = divide_up(height, stride);
  const int64_t tile = kDeconvThreads > inner * phases ? kDeconvThreads / (inner * phases) : 1;
  const int64_t tiles = divide_up(columns, tile), tile_columns = divide_up(columns, tiles);
  const int64_t threads_of_a_row = p.batch * inner * outer * tile_columns * tiles * phases;
  const int64_t rows = rows_per_thread(device, rows_of_phase, threads_of_a_row);
  const int64_t row_groups = divide_up(rows_of_phase, rows), threads = threads_of_a_row * row_groups;
  if (!can_number<int32_t>(threads)) return launch_forward_general<T, int64_t>(p, weight_in_acc, device);
  const DeconvForward<T> arguments{static_cast<const T*>(p.input),
                                   static_cast<T*>(p.output),
                                   DeconvWeights<T>(p, weight_in_acc),
                                   static_cast<const T*>(p.bias),
                                   p.bias_stride,
                                   p.in,
                                   p.out,
                                   DeconvAxis<int32_t>(p.height),
                                   DeconvAxis<int32_t>(p.width),
                                   static_cast<int32_t>(threads),
                                   static_cast<int32_t>(rows),
                                   static_cast<int32_t>(columns),
                                   static_cast<int32_t>(channels),
                                   Divider<int32_t>(inner),
                                   Divider<int32_t>(tile_columns),
                                   Divider<int32_t>(phases),
                                   Divider<int32_t>(tiles),
                                   Divider<int32_t>(row_groups),
                                   Divider<int32_t>(outer)};
  return launch(kernel, device, divide_up(threads, kDeconvThreads), kDeconvThreads, 0, arguments);
}

// Which kernel takes a call; kNone where there is nothing to do.
enum class DeconvForwardKernel {
  kNone,
  kGeneral,              // any number of taps
  kGeneralBeyond32Bits,  // the same, too large for 32 bits
  kChannelsLast,         // the others: at most two taps along each axis
  kChannelsLastSingle,   // one channel a thread
  kVector,
  kScattered
};

template <class T>
DeconvForwardKernel choose_deconv_forward(const DeconvParams& p) {
  constexpr int V = kWide<T>;
  if (p.batch == 0) return DeconvForwardKernel::kNone;
  if (!fits_32_bits(p)) return DeconvForwardKernel::kGeneralBeyond32Bits;
  if (!at_most_two_taps(p.height) || !at_most_two_taps(p.width)) return DeconvForwardKernel::kGeneral;
  if (p.channels_last) {
    const bool wide = p.channels % V == 0 &&
                      aligned_strides<T>(p.input, 16, p.in.batch, p.in.height, p.in.width) &&
                      aligned_strides<T>(p.output, 16, p.out.batch, p.out.height, p.out.width);
    return wide ? DeconvForwardKernel::kChannelsLast : DeconvForwardKernel::kChannelsLastSingle;
  }
  const bool vector = p.out.width == 1 && p.width.out_size() % V == 0 &&
                      aligned_strides<T>(p.output, 16, p.out.batch, p.out.channel, p.out.height);
  return vector ? DeconvForwardKernel::kVector : DeconvForwardKernel::kScattered;
}

template <class T>
cudaError_t launch_deconv_forward(const DeconvParams& p, bool weight_in_acc, const Device& device) {
  constexpr int V = kWide<T>, kScattered = V < 4 ? V : 4;
  const int64_t width = p.width.out_size(), vectors = p.channels / V;
  switch (choose_deconv_forward<T>(p)) {
    case DeconvForwardKernel::kNone:
      return cudaSuccess;
    case DeconvForwardKernel::kGeneral:
      return launch_forward_general<T, int32_t>(p, weight_in_acc, device);
    case DeconvForwardKernel::kGeneralBeyond32Bits:
      return launch_forward_general<T, int64_t>(p, weight_in_acc, device);
    case DeconvForwardKernel::kChannelsLast:
      return launch_walk<T>(deconv_forward_channels_last<T, V>, p, weight_in_acc, vectors,
                            channels_of_block(vectors, 128 / sizeof(T) / V), width, device);
    case DeconvForwardKernel::kChannelsLastSingle:
      return launch_walk<T>(deconv_forward_channels_last<T, 1>, p, weight_in_acc, p.channels,
                            channels_of_block(p.channels, kWarp), width, device);
    case DeconvForwardKernel::kVector:
      return launch_walk<T>(deconv_forward_planar<T, V, true>, p, weight_in_acc, p.channels, 1, width / V,
                            device);
    case DeconvForwardKernel::kScattered:
      return launch_walk<T>(deconv_forward_planar<T, kScattered, false>, p, weight_in_acc, p.channels, 1,
                            divide_up(width, kScattered), device);
  }
  return cudaErrorInvalidValue;
}

}  // namespace gpu
}  // namespace upsample_ext
