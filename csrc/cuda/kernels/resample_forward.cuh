// Resize along two axes of two taps each, followed by an epilogue.
//
// A thread owns V neighbours, 16 bytes of output if alignment allows, and walks down R result rows. It keeps
// two source rows, already blended horizontally: the next result row reuses both or one of them and loads
// what is new. So each thread loads and blends a source row once, each result costs two multiply-adds plus
// its share of a row's loads, and the order is that of native's CUDA kernels: horizontal first, then
// vertical. (The CPU kernels blend vertically first, so that the last bits of the two devices may differ.)
//
//   planar          V columns of one plane: neighbours where rows are aligned, otherwise as far apart as
//                   a row has threads, so that a warp's stores are side by side.
//   channels-last   V channels of one column.
//
//   layout of the result          kernel          V                       index
//   channels side by side         channels-last   16 bytes, if they       32 bits
//     in input and output                         divide all, else 1
//   the same, few channels        planar, pixels  16 bytes                32 bits
//     without a gap, rows aligned
//   elements of a row side by     planar vector   16 bytes                32 bits
//     side, rows aligned            (enlarged: factor 2 or 4 along the width)
//   the same, not aligned         staged          up to 4 (8 of bytes),   32 bits
//     (resample_staged.cuh)                         and 16 bytes stored
//   any other                     planar          up to 4, scattered      32 bits
//   too large for 32 bits         planar          2, scattered            64 bits
#pragma once

#include "../params.h"
#include "epilogue.cuh"
#include "launch.cuh"
#include "resample_columns.cuh"
#include "resample_limits.cuh"
#include "resample_staged.cuh"
#include "thread_partition.cuh"

namespace upsample_ext {
namespace gpu {

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
  Index channels, threads, rows_per_thread;
  Divider<Index> column_groups, row_groups, channel_groups, block_channels;
};

// What a thread owns: rows begin .. end, of V columns from `column` on or of V channels of a column, in
// planes that begin at these offsets.
template <class Index>
struct RowsOfThread {
  Index column, begin, end;
  int64_t input, output;
};

template <int V, bool kVector, class Arguments, class Index>
__device__ __forceinline__ RowsOfThread<Index> planar_rows(const Arguments& p, Index number) {
  Index rest = number;
  const Index group = p.column_groups.take(rest);
  const Index begin = p.row_groups.take(rest) * p.rows_per_thread;
  const Index c = p.channel_groups.take(rest), n = rest;
  const Index end =
      begin + p.rows_per_thread < p.height.out_size ? begin + p.rows_per_thread : p.height.out_size;
  return {kVector ? group * V : group, begin, end, n * p.in.batch + c * p.in.channel,
          n * p.out.batch + c * p.out.channel};
}

// None, if the thread is one of those that fill up a block of channels.
template <int V, class Arguments, class Index>
__device__ __forceinline__ RowsOfThread<Index> channels_last_rows(const Arguments& p, Index number) {
  Index rest = number;
  const Index within = p.block_channels.take(rest);
  const Index column = p.column_groups.take(rest);
  const Index begin = p.row_groups.take(rest) * p.rows_per_thread;
  const Index c = (p.channel_groups.take(rest) * static_cast<Index>(p.block_channels.divisor) + within) * V;
  const Index n = rest;
  if (c >= p.channels) return {column, 0, 0, 0, 0};
  const Index end =
      begin + p.rows_per_thread < p.height.out_size ? begin + p.rows_per_thread : p.height.out_size;
  return {column, begin, end, n * p.in.batch + c, n * p.out.batch + column * p.out.width + c};
}

template <class T, int V, bool kVector, template <class, int, class, class> class Columns, class Axis,
          class Index, class Epilogue>
__device__ __forceinline__ void resample_rows(const ForwardArguments<T, Axis, Index, Epilogue>& p,
                                              const RowsOfThread<Index>& own) {
  typedef acc_of<T> acc;
  const Index first = own.column, step = kVector ? 1 : static_cast<Index>(p.column_groups.divisor);
  const Columns<T, V, Axis, Index> columns(opaque(p.input + own.input), p.width,
                                           static_cast<Index>(p.in.width), first, step);
  walk_down<V, acc>(columns, p.height, p.in.height, own.begin, own.end, [&](Index o, const acc(&values)[V]) {
    const int64_t row = own.output + o * p.out.height;
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
__device__ __forceinline__ void resample_channels(const ForwardArguments<T, Axis, Index, Epilogue>& p,
                                                  const RowsOfThread<Index>& own) {
  typedef acc_of<T> acc;
  const ChannelColumn<T, V, Axis, Index> columns(p.input + own.input, p.width, static_cast<Index>(p.in.width),
                                                 own.column);
  walk_down<V, acc>(columns, p.height, p.in.height, own.begin, own.end, [&](Index o, const acc(&values)[V]) {
    const int64_t offset = own.output + o * p.out.height;
    store_pack(p.output + offset, p.epilogue.of(values, offset));
  });
}

template <class T, int V, bool kVector, template <class, int, class, class> class Columns, class Axis,
          class Index, class Epilogue, class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocks)
    resample_planar(const ForwardArguments<T, Axis, Index, Epilogue> p) {
  const int64_t number = static_cast<int64_t>(blockIdx.x) * Config::kThreads + threadIdx.x;
  if (number >= p.threads) return;
  resample_rows<T, V, kVector, Columns>(p, planar_rows<V, kVector>(p, static_cast<Index>(number)));
}

template <class T, int V, class Axis, class Index, class Epilogue, class Config>
__global__ void __launch_bounds__(Config::kThreads, Config::kBlocks)
    resample_channels_last(const ForwardArguments<T, Axis, Index, Epilogue> p) {
  const int64_t number = static_cast<int64_t>(blockIdx.x) * Config::kThreads + threadIdx.x;
  if (number >= p.threads) return;
  const auto own = channels_last_rows<V>(p, static_cast<Index>(number));
  if (own.begin < own.end) resample_channels<T, V>(p, own);
}

// ---- choice and launch ----------------------------------------------------------------------------------

template <class T, class Index, class Epilogue, class acc, class Axis>
auto forward_arguments(const ResampleParams<acc, Axis>& p, const Epilogue& epilogue) {
  typedef typename Axis::template with_index<Index> NarrowAxis;
  return ForwardArguments<T, NarrowAxis, Index, Epilogue>{static_cast<const T*>(p.input),
                                                          static_cast<typename Epilogue::result*>(p.output),
                                                          p.in,
                                                          p.out,
                                                          NarrowAxis(p.height),
                                                          NarrowAxis(p.width),
                                                          epilogue,
                                                          static_cast<Index>(p.channels)};
}

template <class T, class Config, class Epilogue, class acc, class Axis>
cudaError_t launch_beyond_32_bits(const ResampleParams<acc, Axis>& p, const Epilogue& epilogue,
                                  const Device& device);

// Numbers the threads, each of `rows` rows of one of `columns` columns or groups of them, in `blocks` planes
// or blocks of channels of an image. Returns their number, which may be too large for Index.
template <class Index, class Arguments>
int64_t number_threads(Arguments& arguments, int64_t batch, int64_t blocks, int64_t columns, int64_t within,
                       int64_t rows) {
  const int64_t row_groups = divide_up(arguments.height.out_size, rows);
  const int64_t threads = batch * blocks * row_groups * columns * within;
  arguments.threads = static_cast<Index>(threads);
  arguments.rows_per_thread = static_cast<Index>(rows);
  arguments.block_channels = Divider<Index>(within);
  arguments.column_groups = Divider<Index>(columns);
  arguments.row_groups = Divider<Index>(row_groups);
  arguments.channel_groups = Divider<Index>(blocks);
  return threads;
}

template <class T, int V, bool kVector, template <class, int, class, class> class Columns, class Index,
          class Config, class Epilogue, class acc, class Axis>
cudaError_t launch_rows(const ResampleParams<acc, Axis>& p, const Epilogue& epilogue, int64_t row_elements,
                        int64_t planes_of_image, const Device& device) {
  auto arguments = forward_arguments<T, Index>(p, epilogue);
  const int64_t groups = divide_up(row_elements, V);
  const int64_t rows = rows_per_thread(device, p.height.out_size, groups * p.batch * planes_of_image);
  const int64_t threads = number_threads<Index>(arguments, p.batch, planes_of_image, groups, 1, rows);
  if constexpr (sizeof(Index) < 8) {
    if (!can_number<Index>(threads)) return launch_beyond_32_bits<T, Config>(p, epilogue, device);
  }
  return launch(resample_planar<T, V, kVector, Columns, decltype(arguments.height), Index, Epilogue, Config>,
                device, divide_up(threads, Config::kThreads), Config::kThreads, 0, arguments);
}

template <class T, int V, bool kVector, template <class, int, class, class> class Columns, class Index,
          class Config, class Epilogue, class acc, class Axis>
cudaError_t launch_planar(const ResampleParams<acc, Axis>& p, const Epilogue& epilogue,
                          const Device& device) {
  return launch_rows<T, V, kVector, Columns, Index, Config>(p, epilogue, p.width.out_size, p.channels,
                                                            device);
}

template <class T, class Config, class Epilogue, class acc, class Axis>
cudaError_t launch_beyond_32_bits(const ResampleParams<acc, Axis>& p, const Epilogue& epilogue,
                                  const Device& device) {
  return launch_planar<T, 2, false, PlanarColumns, int64_t, Config>(p, epilogue, device);
}

template <class T, int V, class Index, class Config, class Epilogue, class acc, class Axis>
cudaError_t launch_channels_last(const ResampleParams<acc, Axis>& p, const Epilogue& epilogue,
                                 const Device& device) {
  auto arguments = forward_arguments<T, Index>(p, epilogue);
  const ChannelBlocks of = channel_blocks<T, V>(p.channels);
  const int64_t columns = p.width.out_size;
  const int64_t rows = rows_per_thread(device, p.height.out_size, of.blocks * of.within * columns * p.batch);
  const int64_t threads = number_threads<Index>(arguments, p.batch, of.blocks, columns, of.within, rows);
  if (!can_number<Index>(threads)) return launch_beyond_32_bits<T, Config>(p, epilogue, device);
  return launch(resample_channels_last<T, V, decltype(arguments.height), Index, Epilogue, Config>, device,
                divide_up(threads, Config::kThreads), Config::kThreads, 0, arguments);
}

// Which kernel resizes, see the table above; kNone where there is nothing to do.
enum class ForwardKernel {
  kNone,
  kBeyond32Bits,
  kChannelsLast,
  kChannelsLastSingle,  // one channel a thread
  kPixels,
  kVector,
  kDoubled,
  kQuadrupled,
  kStaged,
  kScattered,
};

template <class T, class Config = ForwardConfig, class Epilogue, class acc, class Axis>
ForwardKernel choose_forward(const ResampleParams<acc, Axis>& p, const Epilogue& epilogue) {
  typedef typename Epilogue::result result;
  constexpr int V = Config::template kValues<result>;
  constexpr int64_t kIn = V * sizeof(T) < 16 ? V * sizeof(T) : 16, kOut = V * sizeof(result);
  if (p.batch == 0) return ForwardKernel::kNone;
  if (!fits_32_bits(p)) return ForwardKernel::kBeyond32Bits;
  const bool aligned_operands = epilogue.vectors_start_at(kOut);
  if (p.channels > 1 && p.in.channel == 1 && p.out.channel == 1) {
    if (p.channels % V == 0 && aligned_operands &&
        aligned_strides<T>(p.input, kIn, p.in.batch, p.in.height, p.in.width) &&
        aligned_strides<result>(p.output, kOut, p.out.batch, p.out.height, p.out.width)) {
      return ForwardKernel::kChannelsLast;
    }
    const bool dense = p.in.width == p.channels && p.out.width == p.channels;
    const bool aligned_rows = p.width.out_size * p.channels % V == 0 && aligned_operands &&
                              aligned_strides<result>(p.output, kOut, p.out.batch, p.out.height, 0);
    return dense && aligned_rows ? ForwardKernel::kPixels : ForwardKernel::kChannelsLastSingle;
  }
  const bool vector = p.out.width == 1 && p.width.out_size % V == 0 && aligned_operands &&
                      aligned_strides<result>(p.output, kOut, p.out.batch, p.out.channel, p.out.height);
  if (!vector) return can_be_staged<result>(p) ? ForwardKernel::kStaged : ForwardKernel::kScattered;
  if constexpr (!Axis::kMayLackTaps) {
    const auto enlarges = [&](int factor) {
      const int64_t bytes = smaller(16, V / factor * static_cast<int64_t>(sizeof(T)));
      return multiplies(p.width, factor) && p.in.width == 1 &&
             aligned_strides<T>(p.input, bytes, p.in.batch, p.in.channel, p.in.height);
    };
    if (enlarges(2)) return ForwardKernel::kDoubled;
    if (V >= 4 && enlarges(4)) return ForwardKernel::kQuadrupled;
  }
  return ForwardKernel::kVector;
}

template <class T, class Config = ForwardConfig, class Epilogue, class acc, class Axis>
cudaError_t launch_resample(const ResampleParams<acc, Axis>& p, const Epilogue& epilogue,
                            const Device& device) {
  typedef typename Epilogue::result result;
  constexpr int V = Config::template kValues<result>;
  constexpr int kFew = V < 4 ? V : 4, kStagedColumns = V < 8 ? kFew : V / 2;
  switch (choose_forward<T, Config>(p, epilogue)) {
    case ForwardKernel::kNone:
      return cudaSuccess;
    case ForwardKernel::kBeyond32Bits:
      return launch_beyond_32_bits<T, Config>(p, epilogue, device);
    case ForwardKernel::kChannelsLast:
      return launch_channels_last<T, V, int32_t, Config>(p, epilogue, device);
    case ForwardKernel::kChannelsLastSingle:
      return launch_channels_last<T, 1, int32_t, Config>(p, epilogue, device);
    case ForwardKernel::kPixels:
      return launch_rows<T, V, true, PixelColumns, int32_t, Config>(p, epilogue,
                                                                    p.width.out_size * p.channels, 1, device);
    case ForwardKernel::kVector:
      return launch_planar<T, V, true, PlanarColumns, int32_t, Config>(p, epilogue, device);
    case ForwardKernel::kDoubled:
      if constexpr (!Axis::kMayLackTaps) {
        return launch_planar<T, V, true, DoubledColumns, int32_t, Config>(p, epilogue, device);
      }
      break;
    case ForwardKernel::kQuadrupled:
      if constexpr (!Axis::kMayLackTaps && V >= 4) {
        return launch_planar<T, V, true, QuadrupledColumns, int32_t, Config>(p, epilogue, device);
      }
      break;
    case ForwardKernel::kStaged:
      return launch_staged<T, kStagedColumns>(p, epilogue, device);
    case ForwardKernel::kScattered:
      return launch_planar<T, kFew, false, PlanarColumns, int32_t, Config>(p, epilogue, device);
  }
  return cudaErrorInvalidValue;
}

}  // namespace gpu
}  // namespace upsample_ext
