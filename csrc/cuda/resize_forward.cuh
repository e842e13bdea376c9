// Resize along two axes of two taps each, and what an epilogue makes of the value.
//
// A thread owns V neighbours, 16 bytes of output where alignment allows, and walks down R result rows with
// them. It keeps two source rows, already blended along the width: the next result row takes them as they
// are, or one of them, and loads what is new. So a source row is loaded and blended once by each thread, each
// result costs two multiply-adds and what is left of a row's loads, and the arithmetic is native's: along the
// width first, then along the height.
//
//   planar          V columns of one plane: neighbours where rows are aligned, otherwise as far apart as
//   there
//                   are threads to a row, so that a warp's stores are side by side.
//   channels-last   V channels of one column.
//
//   layout of the result          kernel          V                       index
//   channels side by side         channels-last   16 bytes, if they       32 bits
//     in input and output                         divide all, else 1
//   the same, few channels        planar, pixels  16 bytes (8 of bytes)   32 bits
//     without a gap, rows aligned
//   elements of a row side by     planar vector   16 bytes (8 of bytes)   32 bits
//     side, rows aligned            (doubled: factor 2 along the width)
//   any other                     planar          up to 4, scattered      32 bits
//   too large for 32 bits         planar          2, scattered            64 bits
#pragma once

#include <type_traits>

#include "epilogue.cuh"
#include "launch.cuh"
#include "params.h"
#include "resize_limits.cuh"
#include "work.cuh"

namespace upsample_ext {
namespace gpu {

constexpr int kResizeThreads = 256;

// ---- what a thread owns ---------------------------------------------------------------------------------

// V columns of a plane, `step` apart, the first at `first`. Taps of columns beyond the row are those of the
// last. Offsets are unsigned, so that an address is one instruction; an absent tap's is kAbsent.
template <class T, int V, class Axis, class Index>
struct PlanarColumns {
  typedef acc_of<T> acc;
  typedef std::make_unsigned_t<Index> Offset;
  static constexpr Offset kAbsent = static_cast<Offset>(-1);
  const T* plane;
  Offset offset0[V], offset1[V];
  acc weight1[V], weight0[Axis::kMayLackTaps ? V : 1];  // those of a resize add up to one

  __device__ __forceinline__ PlanarColumns(const T* source, const Axis& axis, Index stride, Index first,
                                           Index step)
      : plane(source) {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const Index column = first + v * step;
      set(v, axis.taps(column < axis.out_size ? column : axis.out_size - 1), stride, 0);
    }
  }

  // The source row at `row`, blended for each of the columns.
  __device__ __forceinline__ void blended(const T* row, acc (&values)[V]) const {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      acc first_weight;
      if constexpr (Axis::kMayLackTaps) {
        first_weight = weight0[v];
      } else {
        first_weight = acc(1) - weight1[v];
      }
      values[v] = blend(first_weight, element(row, offset0[v]), weight1[v], element(row, offset1[v]));
    }
  }

 protected:
  explicit __device__ __forceinline__ PlanarColumns(const T* source) : plane(source) {}

  __device__ __forceinline__ void set(int v, const LinearTaps<acc, Index>& taps, Index stride, Index shift) {
    offset0[v] = taps.index0 < 0 ? kAbsent : static_cast<Offset>(taps.index0 * stride + shift);
    offset1[v] = taps.index1 < 0 ? kAbsent : static_cast<Offset>(taps.index1 * stride + shift);
    weight1[v] = taps.weight1;
    if constexpr (Axis::kMayLackTaps) weight0[v] = taps.weight0;
  }

 private:
  static __device__ __forceinline__ acc element(const T* row, Offset offset) {
    if (Axis::kMayLackTaps && offset == kAbsent) return acc(0);
    return widen(load(row + offset));
  }
};

// V neighbouring elements of a row whose pixels hold `channels` elements each, without a gap.
template <class T, int V, class Axis, class Index>
struct PixelColumns : PlanarColumns<T, V, Axis, Index> {
  __device__ __forceinline__ PixelColumns(const T* source, const Axis& axis, Index channels, Index first,
                                          Index)
      : PlanarColumns<T, V, Axis, Index>(source) {
    Index column = first / channels, c = first - column * channels;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      this->set(v, axis.taps(column), channels, c);
      if (++c == channels) {
        c = 0;
        ++column;
      }
    }
  }
};

// V neighbouring columns of a row of twice as many as its source has, the taps of which are known: (i - 1, i)
// with weights 1/4 and 3/4, then (i, i + 1) with 3/4 and 1/4. All that a thread reads of a row is one vector
// and an element on either side, instead of two elements a column.
template <class T, int V, class Axis, class Index>
struct DoubledColumns {
  typedef acc_of<T> acc;
  typedef std::make_unsigned_t<Index> Offset;
  const T* plane;
  Offset left, middle, right;

  __device__ __forceinline__ DoubledColumns(const T* source, const Axis& axis, Index, Index first, Index)
      : plane(source),
        left(first == 0 ? 0 : first / 2 - 1),
        middle(first / 2),
        right(first / 2 + V / 2 < axis.in_size ? first / 2 + V / 2 : axis.in_size - 1) {}

  __device__ __forceinline__ void blended(const T* row, acc (&values)[V]) const {
    const Pack<T, V / 2> inside = load_pack<V / 2>(row + middle);
    acc source[V / 2 + 2];
    source[0] = widen(load(row + left));
#pragma unroll
    for (int i = 0; i < V / 2; ++i) source[i + 1] = widen(inside.value[i]);
    source[V / 2 + 1] = widen(load(row + right));
#pragma unroll
    for (int i = 0; i < V / 2; ++i) {
      values[2 * i] = blend(acc(0.25), source[i], acc(0.75), source[i + 1]);
      values[2 * i + 1] = blend(acc(0.75), source[i + 1], acc(0.25), source[i + 2]);
    }
    if (middle == 0) values[0] = blend(acc(1), source[1], acc(0), source[2]);  // clamped to the first centre
  }
};

// V channels of one column.
template <class T, int V, class Axis, class Index>
struct ChannelColumn {
  typedef acc_of<T> acc;
  typedef std::make_unsigned_t<Index> Offset;
  static constexpr Offset kAbsent = static_cast<Offset>(-1);
  const T* plane;
  Offset offset0, offset1;
  acc weight0, weight1;

  __device__ __forceinline__ ChannelColumn(const T* source, const Axis& axis, Index stride, Index column)
      : plane(source) {
    const auto taps = axis.taps(column);
    offset0 = taps.index0 < 0 ? kAbsent : static_cast<Offset>(taps.index0 * stride);
    offset1 = taps.index1 < 0 ? kAbsent : static_cast<Offset>(taps.index1 * stride);
    weight0 = taps.weight0;
    weight1 = taps.weight1;
  }

  __device__ __forceinline__ void blended(const T* row, acc (&values)[V]) const {
    const Pack<T, V> a = pixel(row, offset0), b = pixel(row, offset1);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      values[v] = blend(weight0, widen(a.value[v]), weight1, widen(b.value[v]));
    }
  }

 private:
  static __device__ __forceinline__ Pack<T, V> pixel(const T* row, Offset offset) {
    if (Axis::kMayLackTaps && offset == kAbsent) return Pack<T, V>{};
    return load_pack<V>(row + offset);
  }
};

// Result rows begin .. end of what `columns` owns; put(o, values) takes each.
template <int V, class acc, class Columns, class Axis, class Index, class Put>
__device__ __forceinline__ void walk_down(const Columns& columns, const Axis& height, int64_t row_stride,
                                          Index begin, Index end, Put&& put) {
  acc above[V], below[V];
  Index above_row = -2, below_row = -2;  // nothing yet
  const auto take = [&](Index row, acc(&values)[V]) {
    if (Axis::kMayLackTaps && row < 0) {
#pragma unroll
      for (int v = 0; v < V; ++v) values[v] = acc(0);
    } else {
      columns.blended(opaque(columns.plane + row * row_stride), values);
    }
  };
  for (Index o = begin; o < end; ++o) {
    const auto taps = height.taps(o);
    if (taps.index0 != above_row) {
      if (taps.index0 == below_row) {
#pragma unroll
        for (int v = 0; v < V; ++v) above[v] = below[v];
      } else {
        take(taps.index0, above);
      }
      above_row = taps.index0;
    }
    if (taps.index1 != below_row) {
      if (taps.index1 == above_row) {
#pragma unroll
        for (int v = 0; v < V; ++v) below[v] = above[v];
      } else {
        take(taps.index1, below);
      }
      below_row = taps.index1;
    }
    acc values[V];
#pragma unroll
    for (int v = 0; v < V; ++v) values[v] = blend(taps.weight0, above[v], taps.weight1, below[v]);
    put(o, values);
  }
}

// ---- kernels --------------------------------------------------------------------------------------------

template <class T, class Axis, class Index, class Epilogue>
struct ForwardArguments {
  const T* input;
  typename Epilogue::result* output;
  Strides in, out;
  Axis height, width;
  Epilogue epilogue;
  // Threads are numbered (batch, channel or block of channels, rows, columns), in channels-last with the
  // channels of a block last of all.
  Index threads, rows_per_thread, channels;
  Divider<Index> column_groups, row_groups, channel_groups, block_channels;
};

template <class T, int V, bool kVector, template <class, int, class, class> class Columns, class Axis,
          class Index, class Epilogue>
__global__ void __launch_bounds__(kResizeThreads, 2)
    resize_planar(const ForwardArguments<T, Axis, Index, Epilogue> p) {
  typedef acc_of<T> acc;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kResizeThreads + threadIdx.x;
  if (number >= p.threads) return;
  Index rest = static_cast<Index>(number);
  const Index group = p.column_groups.take(rest);
  const Index begin = p.row_groups.take(rest) * p.rows_per_thread;
  const Index c = p.channel_groups.take(rest), n = rest;
  const Index end =
      begin + p.rows_per_thread < p.height.out_size ? begin + p.rows_per_thread : p.height.out_size;
  const Index step = kVector ? 1 : static_cast<Index>(p.column_groups.divisor);
  const Index first = kVector ? group * V : group;

  const Columns<T, V, Axis, Index> columns(opaque(p.input + n * p.in.batch + c * p.in.channel), p.width,
                                           static_cast<Index>(p.in.width), first, step);
  const int64_t plane = n * p.out.batch + c * p.out.channel;
  walk_down<V, acc>(columns, p.height, p.in.height, begin, end, [&](Index o, const acc(&values)[V]) {
    const int64_t row = plane + o * p.out.height;
    if constexpr (kVector) {
      store_pack(p.output + row + first, p.epilogue.of(values, row + first));
    } else {
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const Index column = first + v * step;
        if (column < p.width.out_size) {
          const int64_t offset = row + column * p.out.width;
          store(p.output + offset, p.epilogue.of(values[v], offset));
        }
      }
    }
  });
}

template <class T, int V, class Axis, class Index, class Epilogue>
__global__ void __launch_bounds__(kResizeThreads, 2)
    resize_channels_last(const ForwardArguments<T, Axis, Index, Epilogue> p) {
  typedef acc_of<T> acc;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kResizeThreads + threadIdx.x;
  if (number >= p.threads) return;
  Index rest = static_cast<Index>(number);
  const Index within = p.block_channels.take(rest);
  const Index column = p.column_groups.take(rest);
  const Index begin = p.row_groups.take(rest) * p.rows_per_thread;
  const Index c = (p.channel_groups.take(rest) * static_cast<Index>(p.block_channels.divisor) + within) * V;
  const Index n = rest;
  if (c >= p.channels) return;
  const Index end =
      begin + p.rows_per_thread < p.height.out_size ? begin + p.rows_per_thread : p.height.out_size;

  const ChannelColumn<T, V, Axis, Index> columns(p.input + n * p.in.batch + c, p.width,
                                                 static_cast<Index>(p.in.width), column);
  const int64_t plane = n * p.out.batch + column * p.out.width + c;
  walk_down<V, acc>(columns, p.height, p.in.height, begin, end, [&](Index o, const acc(&values)[V]) {
    const int64_t offset = plane + o * p.out.height;
    store_pack(p.output + offset, p.epilogue.of(values, offset));
  });
}

// ---- choice and launch ----------------------------------------------------------------------------------

// Rows a thread walks down: as many as leave every multiprocessor its fill of threads, 16 at most.
inline int64_t rows_per_thread(const Device& device, int64_t rows, int64_t threads_of_a_row) {
  constexpr int kThreadsPerMultiprocessor = 1024;
  int64_t chosen = 1;
  while (chosen < 16 && divide_up(rows, 2 * chosen) * threads_of_a_row >=
                            int64_t{kThreadsPerMultiprocessor} * device.multiprocessors) {
    chosen *= 2;
  }
  return chosen;
}

template <class T, int V, class Index, class Epilogue, class acc, class Axis>
auto forward_arguments(const ResizeParams<acc, Axis>& p) {
  typedef typename Axis::template with_index<Index> NarrowAxis;
  return ForwardArguments<T, NarrowAxis, Index, Epilogue>{static_cast<const T*>(p.input),
                                                          static_cast<typename Epilogue::result*>(p.output),
                                                          p.in,
                                                          p.out,
                                                          NarrowAxis(p.height),
                                                          NarrowAxis(p.width),
                                                          Epilogue(p)};
}

template <class T, int V, bool kVector, template <class, int, class, class> class Columns, class Index,
          class Epilogue, class acc, class Axis>
cudaError_t launch_rows(const ResizeParams<acc, Axis>& p, int64_t row_elements, int64_t planes_of_image,
                        const Device& device) {
  auto arguments = forward_arguments<T, V, Index, Epilogue>(p);
  const int64_t groups = divide_up(row_elements, V), planes = p.batch * planes_of_image;
  const int64_t rows = rows_per_thread(device, p.height.out_size, groups * planes);
  const int64_t row_groups = divide_up(p.height.out_size, rows), threads = groups * row_groups * planes;
  arguments.threads = static_cast<Index>(threads);
  arguments.rows_per_thread = static_cast<Index>(rows);
  arguments.column_groups = Divider<Index>(groups);
  arguments.row_groups = Divider<Index>(row_groups);
  arguments.channel_groups = Divider<Index>(planes_of_image);
  return launch(resize_planar<T, V, kVector, Columns, decltype(arguments.height), Index, Epilogue>, device,
                divide_up(threads, kResizeThreads), kResizeThreads, 0, arguments);
}

template <class T, int V, bool kVector, template <class, int, class, class> class Columns, class Index,
          class Epilogue, class acc, class Axis>
cudaError_t launch_planar(const ResizeParams<acc, Axis>& p, const Device& device) {
  return launch_rows<T, V, kVector, Columns, Index, Epilogue>(p, p.width.out_size, p.channels, device);
}

template <class T, int V, class Index, class Epilogue, class acc, class Axis>
cudaError_t launch_channels_last(const ResizeParams<acc, Axis>& p, const Device& device) {
  auto arguments = forward_arguments<T, V, Index, Epilogue>(p);
  // Blocks of channels of 128 to 256 bytes: the rest of a block of threads is columns, which share sources.
  constexpr int64_t kBlock = 256 / (V * sizeof(T)) < 32 ? 256 / (V * sizeof(T)) : 32;
  const int64_t vectors = p.channels / V, blocks = divide_up(vectors, kBlock);
  const int64_t within = vectors <= kBlock ? vectors : 2 * divide_up(divide_up(vectors, blocks), 2);
  const int64_t threads_of_a_row = blocks * within * p.width.out_size * p.batch;
  const int64_t rows = rows_per_thread(device, p.height.out_size, threads_of_a_row);
  const int64_t row_groups = divide_up(p.height.out_size, rows), threads = threads_of_a_row * row_groups;
  arguments.threads = static_cast<Index>(threads);
  arguments.rows_per_thread = static_cast<Index>(rows);
  arguments.channels = static_cast<Index>(p.channels);
  arguments.block_channels = Divider<Index>(within);
  arguments.column_groups = Divider<Index>(p.width.out_size);
  arguments.row_groups = Divider<Index>(row_groups);
  arguments.channel_groups = Divider<Index>(blocks);
  return launch(resize_channels_last<T, V, decltype(arguments.height), Index, Epilogue>, device,
                divide_up(threads, kResizeThreads), kResizeThreads, 0, arguments);
}

template <class T, class Epilogue, class acc, class Axis>
cudaError_t launch_resize(const ResizeParams<acc, Axis>& p, const Device& device) {
  typedef typename Epilogue::result result;
  // 16 bytes of the wider element, but no more than 8 values: each takes registers.
  constexpr int kBytes = sizeof(T) > sizeof(result) ? sizeof(T) : sizeof(result);
  constexpr int V = 16 / kBytes < 8 ? 16 / kBytes : 8;
  constexpr int kScattered = V < 4 ? V : 4;
  constexpr int64_t kIn = V * sizeof(T), kOut = V * sizeof(result);
  if (p.batch == 0) return cudaSuccess;
  if (!fits_32_bits(p)) return launch_planar<T, 2, false, PlanarColumns, int64_t, Epilogue>(p, device);
  if (p.channels > 1 && p.in.channel == 1 && p.out.channel == 1) {
    const bool aligned_images =
        aligned_strides<T>(p.input, kIn, p.in.batch, p.in.height, p.in.width) &&
        aligned_strides<result>(p.output, kOut, p.out.batch, p.out.height, p.out.width) &&
        (p.other == nullptr || aligned(p.other, kOut));
    if (p.channels % V == 0 && aligned_images) {
      return launch_channels_last<T, V, int32_t, Epilogue>(p, device);
    }
    const bool dense = p.in.width == p.channels && p.out.width == p.channels;
    const bool aligned_rows = p.width.out_size * p.channels % V == 0 &&
                              aligned_strides<result>(p.output, kOut, p.out.batch, p.out.height, 0) &&
                              (p.other == nullptr || aligned(p.other, kOut));
    if (dense && aligned_rows) {
      return launch_rows<T, V, true, PixelColumns, int32_t, Epilogue>(p, p.width.out_size * p.channels, 1,
                                                                      device);
    }
    return launch_channels_last<T, 1, int32_t, Epilogue>(p, device);
  }
  const bool vector = p.out.width == 1 && p.width.out_size % V == 0 &&
                      aligned_strides<result>(p.output, kOut, p.out.batch, p.out.channel, p.out.height) &&
                      (p.other == nullptr || aligned(p.other, kOut));
  if (!vector) return launch_planar<T, kScattered, false, PlanarColumns, int32_t, Epilogue>(p, device);
  if constexpr (!Axis::kMayLackTaps) {
    if (doubles(p.width) && p.in.width == 1 &&
        aligned_strides<T>(p.input, kIn / 2, p.in.batch, p.in.channel, p.in.height)) {
      return launch_planar<T, V, true, DoubledColumns, int32_t, Epilogue>(p, device);
    }
  }
  return launch_planar<T, V, true, PlanarColumns, int32_t, Epilogue>(p, device);
}

}  // namespace gpu
}  // namespace upsample_ext
