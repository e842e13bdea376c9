// The gradient of a resize of images in which the channels of a pixel are adjacent.
//
// A thread owns V channels, 16 bytes if alignment allows, of one source column, and walks down the result
// rows. In each it sums the results that read its column, by the list of the column's taps in shared memory,
// and adds the sum to two running sums, those of the source rows above and below: a source row is done when
// the taps have moved beyond it. Nothing but the lists is shared. Each result is loaded by the two columns it
// reads, at the same time in one block: once from memory, once from L1.
#pragma once

#include <type_traits>

#include "../params.h"
#include "launch.cuh"
#include "thread_partition.cuh"
#include "transposed_taps.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class Axis>
struct ChannelsLastBackward {
  const T* grad_output;
  T* grad_input;
  Strides in, out;
  Axis height, width;
  int32_t channels, rows_per_thread, most_taps;
  // Dimensions of a block of threads, fastest first: vectors of channels, columns, chunks of rows.
  Divider<int32_t> block_channels, block_columns;
  int32_t block_chunks;
  // Dimensions of the grid: blocks of channels, of columns, of chunks; the rest is the batch.
  Divider<int32_t> channel_blocks, column_blocks, chunk_blocks;
};

template <class T, int V, class Axis>
__global__ void __launch_bounds__(kPixelThreads, kPixelBlocks)
    resample_backward_channels_last(const ChannelsLastBackward<T, Axis> p) {
  typedef acc_of<T> acc;
  UPSAMPLE_DYNAMIC_SHARED(char, memory);
  const auto columns = static_cast<int32_t>(p.block_columns.divisor);
  auto* lists = reinterpret_cast<Tap<acc>*>(memory);  // [column][tap]
  auto* counts = reinterpret_cast<int32_t*>(lists + columns * p.most_taps);

  auto block = static_cast<int32_t>(blockIdx.x), thread = static_cast<int32_t>(threadIdx.x);
  const int32_t first_channel = p.channel_blocks.take(block) * static_cast<int32_t>(p.block_channels.divisor);
  const int32_t first_column = p.column_blocks.take(block) * columns;
  const int32_t first_chunk = p.chunk_blocks.take(block) * p.block_chunks;
  const int32_t n = block;

  if (thread < columns && first_column + thread < p.width.in_size) {
    counts[thread] = list_taps<acc>(p.width, first_column + thread, lists + thread * p.most_taps);
  }
  __syncthreads();

  const int32_t c = (first_channel + p.block_channels.take(thread)) * V;
  const int32_t in_block = p.block_columns.take(thread), x = first_column + in_block;
  const int32_t begin = (first_chunk + thread) * p.rows_per_thread;
  if (thread >= p.block_chunks || c >= p.channels || x >= p.width.in_size || begin >= p.height.in_size)
    return;
  const int32_t end =
      begin + p.rows_per_thread < p.height.in_size ? begin + p.rows_per_thread : p.height.in_size;
  const Tap<acc>* taps = lists + in_block * p.most_taps;
  const int count = counts[in_block];
  const T* grad = p.grad_output + n * p.out.batch + c;
  T* result = p.grad_input + n * p.in.batch + x * p.in.width + c;

  acc above[V], below[V];
#pragma unroll
  for (int v = 0; v < V; ++v) above[v] = below[v] = acc(0);
  int32_t current = begin - 1;  // the source row that `above` is the sum of
  const auto step = [&] {
    Pack<T, V> pack;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      pack.value[v] = Narrow<T>::of(above[v]);
      above[v] = below[v];
      below[v] = acc(0);
    }
    if (current >= begin) store_pack(result + current * p.in.height, pack);
    ++current;
  };
  const auto add = [&](acc weight, const acc(&row)[V], acc(&sums)[V]) {
#pragma unroll
    for (int v = 0; v < V; ++v) sums[v] = fused_multiply_add(weight, row[v], sums[v]);
  };
  for (int32_t o = p.height.begin(begin), last = p.height.end(end - 1); o < last; ++o) {
    const auto down = p.height.taps(o);
    const T* line = grad + o * p.out.height;
    acc row[V];
#pragma unroll
    for (int v = 0; v < V; ++v) row[v] = acc(0);
#pragma unroll 4
    for (int t = 0; t < count; ++t) {
      const Tap<acc> tap = taps[t];
      const Pack<T, V> pixel = load_pack<V>(line + tap.output * p.out.width);
#pragma unroll
      for (int v = 0; v < V; ++v) row[v] = fused_multiply_add(tap.weight, widen(pixel.value[v]), row[v]);
    }
    while (current < down.index0) step();
    if (down.index0 >= 0) add(down.weight0, row, above);
    if (down.index1 >= 0) {
      if (down.index1 == current) {
        add(down.weight1, row, above);
      } else {
        add(down.weight1, row, below);
      }
    }
  }
  while (current < end) step();
}

template <class T, int V, class acc, class Axis>
cudaError_t launch_backward_channels_last(const ResampleParams<acc, Axis>& p, const Device& device) {
  typedef typename Axis::template with_index<int32_t> NarrowAxis;
  const ChannelBlocks channels = channel_blocks<T, V>(p.channels);
  const int64_t most_taps = 2 * most_outputs(p.width) | 1;  // odd, to avoid bank conflicts between lists
  const int64_t list_bytes = most_taps * static_cast<int64_t>(sizeof(Tap<acc>)) + 4;
  const int64_t room = smaller(kPixelThreads / channels.within, (48 << 10) / list_bytes);
  const int64_t column_blocks = divide_up(p.width.in_size, room);
  const int64_t columns = divide_up(p.width.in_size, column_blocks);
  const int64_t rows =
      rows_per_thread(device, p.height.in_size, p.width.in_size * channels.vectors * p.batch, /*least=*/2);
  const int64_t chunks = divide_up(p.height.in_size, rows), block_room = room / columns;
  const int64_t chunk_blocks = divide_up(chunks, block_room);
  ChannelsLastBackward<T, NarrowAxis> arguments{static_cast<const T*>(p.output),
                                                static_cast<T*>(p.input),
                                                p.in,
                                                p.out,
                                                NarrowAxis(p.height),
                                                NarrowAxis(p.width),
                                                static_cast<int32_t>(p.channels),
                                                static_cast<int32_t>(rows),
                                                static_cast<int32_t>(most_taps),
                                                Divider<int32_t>(channels.within),
                                                Divider<int32_t>(columns),
                                                static_cast<int32_t>(divide_up(chunks, chunk_blocks)),
                                                Divider<int32_t>(channels.blocks),
                                                Divider<int32_t>(column_blocks),
                                                Divider<int32_t>(chunk_blocks)};
  return launch(resample_backward_channels_last<T, V, NarrowAxis>, device,
                channels.blocks * column_blocks * chunk_blocks * p.batch, kPixelThreads,
                static_cast<size_t>(columns * list_bytes), arguments);
}

}  // namespace gpu
}  // namespace upsample_ext
