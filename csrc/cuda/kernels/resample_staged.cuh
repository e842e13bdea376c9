// Resize of planes whose rows are not aligned, with aligned stores all the same.
//
// The rows of a contiguous result follow each other without a gap, across planes too. A block computes some
// of them into shared memory, with threads as in resample_planar with scattered columns, and then stores them
// as one contiguous piece of memory, 16 bytes per thread. Vectors have the same alignment in shared memory as
// in global memory.
#pragma once

#include "epilogue.cuh"
#include "launch.cuh"
#include "resample_columns.cuh"
#include "resample_limits.cuh"
#include "thread_partition.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class Axis, class Epilogue>
struct StagedArguments {
  const T* input;
  typename Epilogue::result* output;
  Strides in;
  Axis height, width;
  Epilogue epilogue;
  int32_t rows;  // of all planes
  int32_t rows_of_block, rows_of_thread;
  Divider<int32_t> column_threads, plane_rows, channels;
};

template <class T, int V, class Axis, class Epilogue>
__global__ void __launch_bounds__(kStagedThreads, kStagedBlocks)
    resample_staged(const StagedArguments<T, Axis, Epilogue> p) {
  typedef acc_of<T> acc;
  typedef typename Epilogue::result result;
  constexpr int kPack = 16 / sizeof(result), kSector = 2 * kPack;
  UPSAMPLE_DYNAMIC_SHARED(char, memory);
  const int32_t width = p.width.out_size, height = p.height.out_size;
  const int32_t step = static_cast<int32_t>(p.column_threads.divisor);
  const int32_t first = static_cast<int32_t>(blockIdx.x) * p.rows_of_block;
  const int32_t end = p.rows - first < p.rows_of_block ? p.rows : first + p.rows_of_block;
  const int64_t start = static_cast<int64_t>(first) * width;
  const auto shift = static_cast<int32_t>(start % kSector);
  result* const stage = reinterpret_cast<result*>(memory) + shift;

  const int32_t chunks = (end - first + p.rows_of_thread - 1) / p.rows_of_thread;
  for (int32_t unit = static_cast<int32_t>(threadIdx.x); unit < chunks * step; unit += kStagedThreads) {
    int32_t chunk = unit;
    const int32_t group = p.column_threads.take(chunk);
    if (group >= width) continue;
    PlanarColumns<T, V, Axis, int32_t> columns(p.input, p.width, static_cast<int32_t>(p.in.width), group,
                                               step);
    int32_t row = first + chunk * p.rows_of_thread;
    const int32_t last = end - row < p.rows_of_thread ? end : row + p.rows_of_thread;
    while (row < last) {  // one iteration per plane
      int32_t n = row;
      const int32_t y = p.plane_rows.take(n), c = p.channels.take(n);
      const int32_t y_end = height - y < last - row ? height : y + last - row;
      columns.plane = opaque(p.input + n * p.in.batch + c * p.in.channel);
      walk_down<V, acc>(columns, p.height, p.in.height, y, y_end, [&](int32_t o, const acc(&values)[V]) {
        const int32_t line = (row - first + o - y) * width;
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const int32_t column = group + v * step;
          if (column < width) stage[line + column] = p.epilogue.of(values[v], start + line + column);
        }
      });
      row += y_end - y;
    }
  }
  __syncthreads();

  result* const output = p.output + start;
  const int32_t count = (end - first) * width;
  for (int32_t i = static_cast<int32_t>(threadIdx.x) * kPack - shift; i < count;
       i += kStagedThreads * kPack) {
    if (i >= 0 && i + kPack <= count) {
      store_pack(output + i, *reinterpret_cast<const Pack<result, kPack>*>(stage + i));
    } else {
      for (int32_t k = i < 0 ? 0 : i; k < i + kPack && k < count; ++k) store(output + k, stage[k]);
    }
  }
}

template <class result, class acc, class Axis>
bool can_be_staged(const ResampleParams<acc, Axis>& p) {
  const int64_t width = p.width.out_size, plane = width * p.height.out_size;
  return p.out.width == 1 && aligned(p.output, 32) &&
         width * static_cast<int64_t>(sizeof(result)) <= kStagedBytes &&
         (p.height.out_size == 1 || p.out.height == width) && (p.channels == 1 || p.out.channel == plane) &&
         (p.batch == 1 || p.out.batch == p.channels * plane);
}

template <class T, int V, class Epilogue, class acc, class Axis>
cudaError_t launch_staged(const ResampleParams<acc, Axis>& p, const Epilogue& epilogue,
                          const Device& device) {
  typedef typename Axis::template with_index<int32_t> NarrowAxis;
  typedef typename Epilogue::result result;
  const int64_t width = p.width.out_size, rows = p.batch * p.channels * p.height.out_size;
  int64_t of_block = kStagedBytes / static_cast<int64_t>(sizeof(result)) / width;
  while (of_block > 1 && divide_up(rows, of_block) < 4 * device.multiprocessors) of_block /= 2;
  // The threads of a row are whole warps, whose stores to shared memory are then contiguous.
  const int64_t step = divide_up(divide_up(width, V), kWarp) * kWarp;
  const int64_t chunks = larger(1, kStagedThreads / step);
  const StagedArguments<T, NarrowAxis, Epilogue> arguments{static_cast<const T*>(p.input),
                                                           static_cast<result*>(p.output),
                                                           p.in,
                                                           NarrowAxis(p.height),
                                                           NarrowAxis(p.width),
                                                           epilogue,
                                                           static_cast<int32_t>(rows),
                                                           static_cast<int32_t>(of_block),
                                                           static_cast<int32_t>(divide_up(of_block, chunks)),
                                                           Divider<int32_t>(step),
                                                           Divider<int32_t>(p.height.out_size),
                                                           Divider<int32_t>(p.channels)};
  const auto bytes = static_cast<size_t>(of_block * width * static_cast<int64_t>(sizeof(result)) + 48);
  return launch(resample_staged<T, V, NarrowAxis, Epilogue>, device, divide_up(rows, of_block),
                kStagedThreads, bytes, arguments);
}

}  // namespace gpu
}  // namespace upsample_ext
