// The gradient of a resize by large factors, whose footprints or lists of taps are too large for the other
// kernels. Nothing that a block keeps grows with the factor.
//
// A block owns some source rows and columns, of one channel or, where those of a pixel are adjacent, of a
// slice of them. It passes over their footprint in grad_output by segments, stretches of result columns:
//   1. along the height: a thread has V elements of a row, adjacent or some threads apart, and some threads
//      ("walkers") share the rows. Rows between two sources are added to two running sums, of the source
//      above and of that below, so that a block loads a result once;
//   2. along the width, when a source row is done: some lanes share the columns that read one source. They
//      add the sums of all walkers, and each other's in a fixed tree, to the block's gradient.
// Taps are computed where they are used: along the height once for 16 bytes of a lane, along the width once
// for all rows between two sources.
#pragma once

#include <type_traits>

#include "../params.h"
#include "launch.cuh"
#include "resample_limits.cuh"
#include "thread_partition.cuh"
#include "transposed_taps.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class Axis>
struct LargeBackward {
  const T* grad_output;
  T* grad_input;
  Strides in, out;
  Axis height, width;
  int32_t channels;
  int32_t rows, columns;  // sources of a block
  int32_t segment;        // result columns
  int32_t walkers;
  int32_t lanes_shift;       // 2^it lanes share the columns that read a source
  Divider<int32_t> threads;  // of a segment's row
  Divider<int32_t> vectors;  // threads of a pixel, with kChannels; else 1
  Divider<int32_t> slice;    // channels of a block
  Divider<int32_t> tiles_across, tiles_down, slices;
};

// A block in shared memory, all of it 16-byte aligned.
template <class T>
struct LargeTile {
  typedef acc_of<T> acc;
  struct Range {
    int32_t begin, end;
  };
  acc* sums;        // [walker][element of the segment's row]
  acc* gradient;    // [source row][source column][channel]
  Range* read_by;   // [source column], the results that read it
  int32_t* splits;  // [source row, from the one above the block's], the first result that reads none before

  UPSAMPLE_HOST_DEVICE int64_t lay_out(char* memory, int64_t of_a_row, int64_t rows, int64_t columns,
                                       int64_t slice) {
    int64_t used = 0;
    const auto take = [&](auto*& part, int64_t count) {
      part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(memory + used);
      used += divide_up(count * static_cast<int64_t>(sizeof(*part)), 16) * 16;
    };
    take(sums, of_a_row);
    take(gradient, rows * columns * slice);
    take(read_by, columns);
    take(splits, rows + 2);
    return used;
  }
};

// Step 1: adds a thread's elements of the results `from` .. `to` - 1 by `step`, which lie between row
// `source` and the next, to the sums of both. All loads of a turn come before their sums.
template <class Axis, class acc, int V, class Load>
__device__ __forceinline__ void add_rows(const Axis& axis, int32_t from, int32_t to, int32_t step,
                                         int32_t source, acc (&above)[V], acc (&below)[V], Load&& load) {
  constexpr int kLoads = V == 1 ? 2 * kLargeLoads : kLargeLoads;
  const auto add = [](acc weight, const auto& row, acc(&sums)[V]) {
#pragma unroll
    for (int v = 0; v < V; ++v) sums[v] = fused_multiply_add(weight, widen(row.value[v]), sums[v]);
  };
#pragma unroll 1
  for (int32_t first = from; first < to; first += kLoads * step) {
    decltype(load(0)) rows[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      if (first + i * step < to) rows[i] = load(first + i * step);
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      if (first + i * step >= to) break;
      const auto taps = axis.taps(first + i * step);
      if (!Axis::kMayLackTaps || taps.index0 == source) {
        add(taps.weight0, rows[i], above);
      } else if (taps.index0 >= 0) {  // alone
        add(taps.weight0, rows[i], below);
      }
      if (taps.index1 == source) {
        add(taps.weight1, rows[i], above);
      } else if (!Axis::kMayLackTaps || taps.index1 >= 0) {
        add(taps.weight1, rows[i], below);
      }
    }
  }
}

// Step 2, of the block's source row `row`, by the segment that begins at result column `first`.
template <class T, class Axis>
__device__ __forceinline__ void add_columns(const LargeBackward<T, Axis>& p, const LargeTile<T>& tile,
                                            int32_t row, int32_t begin, int32_t columns, int32_t first,
                                            int32_t of_a_row) {
  typedef acc_of<T> acc;
  const int32_t thread = static_cast<int32_t>(threadIdx.x), lanes = 1 << p.lanes_shift;
  const int32_t lane = thread & (lanes - 1), slice = static_cast<int32_t>(p.slice.divisor);
  const int32_t units = columns * slice;
  for (int32_t start = 0; start < units; start += kLargeThreads >> p.lanes_shift) {
    const int32_t unit = start + (thread >> p.lanes_shift);
    acc sum = acc(0);
    if (unit < units) {
      int32_t x = unit;
      const acc* sums = tile.sums + p.slice.take(x);
      const int32_t from = tile.read_by[x].begin - first, to = tile.read_by[x].end - first;
      for (int32_t o = (from > 0 ? from : 0) + lane; o < (to < p.segment ? to : p.segment); o += lanes) {
        acc value = acc(0);
        for (int32_t w = 0; w < p.walkers; ++w) value += sums[w * of_a_row + o * slice];
        add_taps(p.width.taps(first + o), begin + x, value, sum);
      }
    }
    for (int32_t step = lanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (unit < units && lane == 0) tile.gradient[row * p.columns * slice + unit] += sum;
  }
}

// The V elements are adjacent with kVector: channels of a pixel with kChannels, else columns, or elements of
// pixels without gaps between them.
template <class T, int V, bool kVector, bool kChannels, class Axis>
__global__ void __launch_bounds__(kLargeThreads, kLargeBlocks)
    resample_backward_large(const LargeBackward<T, Axis> p) {
  typedef acc_of<T> acc;
  constexpr bool kDense = kVector && !kChannels;  // columns, with all channels of a block
  UPSAMPLE_DYNAMIC_SHARED(char, memory);
  const auto threads = static_cast<int32_t>(p.threads.divisor);
  const auto slice = static_cast<int32_t>(p.slice.divisor);
  const int32_t of_a_row = threads * V;
  LargeTile<T> tile;
  tile.lay_out(memory, p.walkers * of_a_row, p.rows, p.columns, slice);

  auto block = static_cast<int32_t>(blockIdx.x);
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const int32_t x = p.tiles_across.take(block) * p.columns, y = p.tiles_down.take(block) * p.rows;
  const int32_t channel = p.slices.take(block) * slice;
  const int32_t columns = x + p.columns < p.width.in_size ? p.columns : p.width.in_size - x;
  const int32_t rows = y + p.rows < p.height.in_size ? p.rows : p.height.in_size - y;
  const T* grad = p.grad_output + block * p.out.batch + channel * p.out.channel;

  for (int32_t r = thread; r < rows + 2; r += kLargeThreads) {
    tile.splits[r] = y + r > 1 ? p.height.end(y + r - 2) : 0;
  }
  for (int32_t i = thread; i < columns; i += kLargeThreads) {
    tile.read_by[i] = {p.width.begin(x + i), p.width.end(x + i)};
  }
  for (int32_t i = thread; i < rows * p.columns * slice; i += kLargeThreads) tile.gradient[i] = acc(0);
  __syncthreads();

  const int32_t last = tile.read_by[columns - 1].end;
  int32_t first = tile.read_by[0].begin;
  if constexpr (kDense) first = first / V * V;
  int32_t walker = thread;
  const int32_t group = p.threads.take(walker);
  int32_t pixel = group;  // of the segment
  const int32_t vector = p.vectors.take(pixel) * V;
  const int64_t apart = threads * p.out.width;
  for (; first < last; first += p.segment) {
    // Whatever is loaded lies in the footprint, or in a vector of columns with a part of it.
    const int32_t column = first + pixel, element = first * slice + group * V;
    const bool loads = walker < p.walkers &&
                       (kDense ? element < last * slice : column < last && channel + vector < p.channels);
    const T* from = grad + (kDense ? element : column * p.out.width + vector);
    const auto load_row = [&](int32_t o) {
      const T* row = from + o * p.out.height;
      if constexpr (kVector) return load_pack<V>(row);
      Pack<T, V> pack{};
#pragma unroll
      for (int v = 0; v < V; ++v) {
        if (column + v * threads < last) pack.value[v] = load(row + v * apart);
      }
      return pack;
    };
    acc above[V], below[V];
#pragma unroll
    for (int v = 0; v < V; ++v) below[v] = acc(0);
    for (int32_t row = -1; row < rows; ++row) {
#pragma unroll
      for (int v = 0; v < V; ++v) {
        above[v] = below[v];
        below[v] = acc(0);
      }
      const int32_t end = loads ? tile.splits[row + 2] : 0;
      add_rows(p.height, tile.splits[row + 1] + walker, end, p.walkers, y + row, above, below, load_row);
      if (row < 0) continue;
      if (walker < p.walkers) {
        acc* sums = tile.sums + walker * of_a_row;
        if constexpr (kVector) {
          store_quads(above, [&](int v) { return sums + group * V + v; });
        } else {
#pragma unroll
          for (int v = 0; v < V; ++v) sums[group + v * threads] = above[v];
        }
      }
      __syncthreads();
      add_columns(p, tile, row, x, columns, first, of_a_row);
      __syncthreads();
    }
  }

  for (int32_t row = 0; row < rows; ++row) {
    T* line = p.grad_input + block * p.in.batch + channel * p.in.channel + (y + row) * p.in.height;
    for (int32_t unit = thread; unit < columns * slice; unit += kLargeThreads) {
      int32_t i = unit;
      const int32_t c = p.slice.take(i);
      if (channel + c >= p.channels) continue;
      store(line + c * p.in.channel + (x + i) * p.in.width,
            Narrow<T>::of(tile.gradient[row * p.columns * slice + unit]));
    }
  }
}

// ---- launch ---------------------------------------------------------------------------------------------

// How the width is divided: sources of a block, and the threads of a row of results.
struct LargeCut {
  int64_t columns, tiles_across, segment, threads, lanes_shift;
};

template <int V, bool kChannels, class Axis>
LargeCut cut_width(const Axis& width, int64_t slice) {
  // A row is made of steps: a pixel, or as many of them as begin at a vector.
  const int64_t threads_of_step = kChannels ? slice / V : slice, columns_of_step = kChannels ? 1 : V;
  const int64_t most_steps = kLargeThreads / threads_of_step, of_source = most_outputs(width);
  // As many sources as one segment can hold the footprint of.
  const double fit =
      static_cast<double>((most_steps - 1) * columns_of_step) / width.outputs_per_source() - 1.0;
  const int64_t room = smaller(width.in_size, kLargeSources / slice);
  LargeCut cut;
  cut.columns = larger(fit < static_cast<double>(room) ? static_cast<int64_t>(fit) : room, 1);
  cut.tiles_across = divide_up(width.in_size, cut.columns);
  cut.columns = divide_up(width.in_size, cut.tiles_across);
  const double inside = static_cast<double>(cut.columns - 1) * width.outputs_per_source();
  const auto whole = static_cast<double>(width.out_size);
  const int64_t footprint = static_cast<int64_t>(inside < whole ? inside : whole) + of_source;
  int64_t steps = divide_up(smaller(footprint, width.out_size) + columns_of_step - 1, columns_of_step);
  // Whole quarters of a warp, the threads whose 16 bytes are loaded at once.
  if (threads_of_step == 1) steps = divide_up(steps, kWarp / 4) * (kWarp / 4);
  steps = smaller(steps, most_steps);
  cut.segment = steps * columns_of_step;
  cut.threads = steps * threads_of_step;
  const int64_t sharing = smaller(smaller(of_source, kWarp), kLargeThreads / (cut.columns * slice));
  cut.lanes_shift = 0;
  while ((int64_t{2} << cut.lanes_shift) <= sharing) ++cut.lanes_shift;
  return cut;
}

// Whether rows of `p.output` are without gaps between pixels, few enough channels for a block to have all.
template <class T, class acc, class Axis>
bool has_dense_rows(const ResampleParams<acc, Axis>& p) {
  return p.channels <= kLargeThreads / 4 && p.out.width == p.channels &&
         p.width.out_size * p.channels % kWide<T> == 0 &&
         aligned_strides<T>(p.output, 16, p.out.batch, p.out.height, 0);
}

// `slice` channels a block.
template <class T, int V, bool kVector, bool kChannels, class acc, class Axis>
cudaError_t launch_backward_large(const ResampleParams<acc, Axis>& p, int64_t slice, const Device& device) {
  typedef typename Axis::template with_index<int32_t> NarrowAxis;
  const LargeCut cut = cut_width<V, kChannels>(p.width, slice);
  const int64_t slices = divide_up(p.channels, slice);
  const int64_t walkers = kLargeThreads / cut.threads, of_a_row = cut.threads * V;
  const int64_t of_a_source_row = cut.tiles_across * slices * p.batch * kLargeThreads;
  const int64_t rows =
      larger(smaller(rows_per_thread(device, p.height.in_size, of_a_source_row),
                     kLargeGradientBytes / (cut.columns * slice * static_cast<int64_t>(sizeof(acc)))),
             1);
  const int64_t tiles_down = divide_up(p.height.in_size, rows);
  LargeTile<T> tile;
  const int64_t shared_bytes = tile.lay_out(nullptr, walkers * of_a_row, rows, cut.columns, slice);
  const LargeBackward<T, NarrowAxis> arguments{static_cast<const T*>(p.output),
                                               static_cast<T*>(p.input),
                                               p.in,
                                               p.out,
                                               NarrowAxis(p.height),
                                               NarrowAxis(p.width),
                                               static_cast<int32_t>(p.channels),
                                               static_cast<int32_t>(rows),
                                               static_cast<int32_t>(cut.columns),
                                               static_cast<int32_t>(cut.segment),
                                               static_cast<int32_t>(walkers),
                                               static_cast<int32_t>(cut.lanes_shift),
                                               Divider<int32_t>(cut.threads),
                                               Divider<int32_t>(kChannels ? slice / V : 1),
                                               Divider<int32_t>(slice),
                                               Divider<int32_t>(cut.tiles_across),
                                               Divider<int32_t>(tiles_down),
                                               Divider<int32_t>(slices)};
  return launch(resample_backward_large<T, V, kVector, kChannels, NarrowAxis>, device,
                cut.tiles_across * tiles_down * slices * p.batch, kLargeThreads,
                static_cast<size_t>(shared_bytes), arguments);
}

}  // namespace gpu
}  // namespace upsample_ext
