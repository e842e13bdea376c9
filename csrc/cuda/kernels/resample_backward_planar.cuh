// The gradient of a resize of planar images.
//
// A block owns 32 source rows, of one plane or of several consecutive ones, and some source columns. It reads
// every element of their footprint in grad_output once, 16 bytes at a time (the block's warps share rows
// through L1), and sums in two steps, the reverse of forward:
//   1. vertically: a thread sums V result columns over the taps of one source row, into shared memory;
//   2. horizontally: a warp walks along the result columns, each lane in a different source row, with two
//      running sums. All lanes are at the same column, so that no branch diverges, whatever the factor.
// Step 1 writes and step 2 reads 16 bytes a lane from rows whose pitch is 16 bytes more than a multiple of
// all banks, which avoids bank conflicts. Then the block's gradient is stored row by row.
#pragma once

#include <type_traits>

#include "../params.h"
#include "launch.cuh"
#include "resample_limits.cuh"
#include "thread_partition.cuh"
#include "transposed_taps.cuh"

namespace upsample_ext {
namespace gpu {

constexpr int kPlanarWarps = kPlanarThreads / kWarp;

// Result columns per row of the buffer, and the pitch of its rows. Half types have more columns, so that the
// vectors and sectors at the ends of a tile, which neighbouring tiles read too, are a small share of them.
template <class T>
constexpr int kTileColumns = (sizeof(T) == 2 ? kTileRowBytes * 3 / 4 : kTileRowBytes) / sizeof(T);
template <class T>
constexpr int kTilePitch = kTileColumns<T> + 16 / sizeof(acc_of<T>);

template <class T, class Axis>
struct PlanarBackward {
  const T* grad_output;
  T* grad_input;
  Strides in, out;
  Axis height, width;
  int32_t rows;       // of all planes
  int32_t columns;    // source columns of a tile
  int32_t pitch;      // of a tile's gradient in shared memory, odd
  int32_t most_taps;  // odd too, to avoid bank conflicts when lanes write lists
  int32_t results;    // columns of a tile at most
  int32_t enlarged;   // the height, by this factor, if all of its taps are known; or 0
  bool pairs;         // sources can be stored by twos, in 32 bits
  Divider<int32_t> tiles_across, groups, plane_rows, channels;
};

// Which sources a result column contributes to in the horizontal pass.
template <class acc>
struct ColumnTaps {
  int32_t anchor;  // the first running sum is that of this source, the second that of the next
  int32_t adds;    // which weights count, and to which sum
  acc weight0, weight1;
};

constexpr int32_t kFirst = 1, kSecond = 2, kSecondToFirst = 4;

template <class acc, class Axis>
__device__ __forceinline__ ColumnTaps<acc> column_taps(const Axis& axis, int32_t o) {
  if (o >= axis.out_size) return {-2, 0, acc(0), acc(0)};
  const auto taps = axis.taps(o);
  const bool has0 = taps.index0 >= 0, has1 = taps.index1 >= 0;
  const bool together = has0 && has1 && taps.index0 == taps.index1;
  return {has0 ? taps.index0 : -2,
          (has0 ? kFirst : 0) | (!has1      ? 0
                                 : together ? kSecondToFirst
                                            : kSecond),
          taps.weight0, taps.weight1};
}

// A tile in shared memory, all of it 16-byte aligned.
template <class T>
struct PlanarTile {
  typedef acc_of<T> acc;
  acc* sums;                 // [row][result column], pitch kTilePitch
  ColumnTaps<acc>* columns;  // [result column]
  Tap<acc>* taps;            // [row][tap along the height]
  int64_t* source;           // [row], offset of the row in grad_input
  int64_t* result;           // [row], offset of its plane in grad_output
  int32_t* count;            // [row], taps
  acc* gradient;             // [row][source column]

  UPSAMPLE_HOST_DEVICE int64_t lay_out(char* memory, int32_t most_taps, int32_t pitch) {
    int64_t used = 0;
    const auto take = [&](auto*& part, int64_t count) {
      part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(memory + used);
      used += divide_up(count * static_cast<int64_t>(sizeof(*part)), 16) * 16;
    };
    take(sums, kTileRows * kTilePitch<T>);
    take(columns, kTileColumns<T>);
    take(taps, kTileRows * most_taps);
    take(source, kTileRows);
    take(result, kTileRows);
    take(count, kTileRows);
    take(gradient, kTileRows * pitch);
    return used;
  }
};

// The taps of the tile's rows along the height, which all threads list, some lanes to a row.
template <class T, class Axis>
__device__ __forceinline__ void list_rows(const PlanarBackward<T, Axis>& p, const PlanarTile<T>& tile,
                                          int32_t first_row, int rows) {
  constexpr int kLanes = kPlanarThreads / kTileRows;
  const int row = static_cast<int>(threadIdx.x) / kLanes;
  Tap<acc_of<T>>* list = tile.taps + row * p.most_taps;
  int32_t plane = first_row + (row < rows ? row : 0);
  const int32_t y = p.plane_rows.take(plane);
  const bool known = p.enlarged > 0 && y > 1 && y < p.height.in_size - 1;
  int count = list_taps_together<kLanes, acc_of<T>>(p.height, row < rows && !known ? y : -1, list);
  if (known) count = list_enlarged_taps<kLanes>(p.enlarged, y, list);
  if (threadIdx.x % kLanes == 0) tile.count[row] = count;
}

// Where the tile's rows are, by the lanes of a warp.
template <class T, class Axis>
__device__ __forceinline__ void locate_rows(const PlanarBackward<T, Axis>& p, const PlanarTile<T>& tile,
                                            int32_t first_row, int rows) {
  static_assert(kTileRows == kWarp, "a lane to a row");
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (lane >= rows) return;
  int32_t plane = first_row + lane;
  const int32_t y = p.plane_rows.take(plane), c = p.channels.take(plane);
  tile.source[lane] = plane * p.in.batch + c * p.in.channel + y * p.in.height;
  tile.result[lane] = plane * p.out.batch + c * p.out.channel;
}

// Where result column c of the tile is stored in a row of sums. The two halves of a thread's 32 bytes are
// stored apart, so that each half is contiguous over a warp.
template <class T, int V, bool kVector>
__device__ __forceinline__ int sum_position(int c) {
  constexpr int kQuad = 16 / sizeof(acc_of<T>);
  if (!kVector || V <= kQuad) return c;
  return (c / kQuad) % (V / kQuad) * (kTileColumns<T> / (V / kQuad)) + c / V * kQuad + c % kQuad;
}

// Adds V adjacent columns of the listed results to sums. All loads of a turn come before their sums; of the
// last turns, those there are. `results` has the columns of the first result, `pitch` apart.
template <int V, class T, class acc>
__device__ __forceinline__ void sum_taps(const Tap<acc>* taps, int count, const T* results, int64_t pitch,
                                         acc (&sums)[V]) {
  const auto turn = [&](auto most, int t, int loads) {
    constexpr int kMost = decltype(most)::value;
    Pack<T, V> grads[kMost];
    acc weights[kMost];
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      if (i >= loads) continue;
      const Tap<acc> tap = taps[t + i];
      grads[i] = load_pack<V>(results + tap.output * pitch);
      weights[i] = tap.weight;
    }
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      if (i >= loads) continue;
#pragma unroll
      for (int v = 0; v < V; ++v) sums[v] = fused_multiply_add(weights[i], widen(grads[i].value[v]), sums[v]);
    }
  };
  constexpr std::integral_constant<int, kPlanarLoads> kAll{};
  constexpr std::integral_constant<int, V <= 4 ? kPlanarLoads - 1 : kPlanarLoads / 2> kFewer{};  // registers
  int t = 0;
#pragma unroll 1
  for (; t + kPlanarLoads <= count; t += kPlanarLoads) turn(kAll, t, kPlanarLoads);
#pragma unroll 1
  for (; t < count; t += kFewer.value) turn(kFewer, t, count - t);
}

// Step 1: V result columns of a source row, adjacent or a warp apart.
template <class T, int V, bool kVector, class Axis>
__device__ __forceinline__ void sum_along_height(const PlanarBackward<T, Axis>& p, const PlanarTile<T>& tile,
                                                 int row, int group, int32_t first) {
  typedef acc_of<T> acc;
  acc sums[V];
#pragma unroll
  for (int v = 0; v < V; ++v) sums[v] = acc(0);
  const Tap<acc>* taps = tile.taps + row * p.most_taps;
  const T* plane = p.grad_output + tile.result[row];
  const int count = tile.count[row];
  if constexpr (kVector) {
    const int32_t column = first + group * V;
    if (group * V < p.results && column < p.width.out_size) {
      plane += column;
      sum_taps<V>(taps, count, plane, p.out.height, sums);
    }
    acc* to = tile.sums + row * kTilePitch<T>;
    store_quads(sums, [&](int v) { return to + sum_position<T, V, kVector>(group * V + v); });
  } else {
#pragma unroll 2
    for (int t = 0; t < count; ++t) {
      const Tap<acc> tap = taps[t];
      const T* line = plane + tap.output * p.out.height;
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const int c = group + v * kWarp;
        if (c < p.results && first + c < p.width.out_size) {
          sums[v] = fused_multiply_add(tap.weight, widen(load(line + (first + c) * p.out.width)), sums[v]);
        }
      }
    }
#pragma unroll
    for (int v = 0; v < V; ++v) tile.sums[row * kTilePitch<T> + group + v * kWarp] = sums[v];
  }
}

// Step 2: sources begin .. end of the lane's row, which `results` read.
template <class T, int V, bool kVector, class Axis>
__device__ __forceinline__ void sum_along_width(const PlanarBackward<T, Axis>& p, const PlanarTile<T>& tile,
                                                int lane, int32_t tile_begin, int32_t begin, int32_t end,
                                                int32_t first, const ResultRange& results) {
  typedef acc_of<T> acc;
  constexpr int kQuad = 16 / sizeof(acc);
  const acc* line = tile.sums + lane * kTilePitch<T>;
  acc* gradient = tile.gradient + lane * p.pitch - tile_begin;
  acc current_sum = acc(0), next_sum = acc(0);
  int32_t current = begin - 1;
  const auto step = [&] {
    if (current >= begin) gradient[current] = current_sum;
    current_sum = next_sum;
    next_sum = acc(0);
    ++current;
  };
  const int from = results.begin - first, to = results.end - first;
  for (int quad = from / kQuad * kQuad; quad < to; quad += kQuad) {
    const auto sums = *reinterpret_cast<const Pack<acc, kQuad>*>(line + sum_position<T, V, kVector>(quad));
#pragma unroll
    for (int q = 0; q < kQuad; ++q) {
      if (quad + q < from || quad + q >= to) continue;
      const ColumnTaps<acc> taps = tile.columns[quad + q];
      while (current < taps.anchor) step();
      const acc value = sums.value[q];
      if (!Axis::kMayLackTaps || taps.adds & kFirst) {
        current_sum = fused_multiply_add(taps.weight0, value, current_sum);
      }
      if (taps.adds & kSecondToFirst) {
        current_sum = fused_multiply_add(taps.weight1, value, current_sum);
      } else if (!Axis::kMayLackTaps || taps.adds & kSecond) {
        next_sum = fused_multiply_add(taps.weight1, value, next_sum);
      }
    }
  }
  while (current < end) step();
}

// The same where the width doubles, away from its ends: source i is the sum of columns 2i - 1 .. 2i + 2 with
// weights 1/4, 3/4, 3/4, 1/4, and two quads of columns give all that the sources of one need. `begin` and
// `end` are multiples of the sources of a quad.
template <class T, int V, class Axis>
__device__ __forceinline__ void sum_along_doubled_width(const PlanarBackward<T, Axis>& p,
                                                        const PlanarTile<T>& tile, int lane,
                                                        int32_t tile_begin, int32_t begin, int32_t end,
                                                        int32_t first) {
  typedef acc_of<T> acc;
  constexpr int kQuad = 16 / sizeof(acc), kSources = kQuad / 2;
  const acc* line = tile.sums + lane * kTilePitch<T>;
  acc* gradient = tile.gradient + lane * p.pitch - tile_begin;
  const auto quad_at = [&](int column) {
    return *reinterpret_cast<const Pack<acc, kQuad>*>(line + sum_position<T, V, true>(column));
  };
  int column = 2 * begin - first;
  acc left = quad_at(column - kQuad).value[kQuad - 1];
  Pack<acc, kQuad> quad = quad_at(column);
  for (int32_t i = begin; i < end; i += kSources) {
    column += kQuad;
    const Pack<acc, kQuad> next = quad_at(column);
#pragma unroll
    for (int j = 0; j < kSources; ++j) {
      acc sum = acc(0.25) * (j == 0 ? left : quad.value[2 * j - 1]);
      sum = fused_multiply_add(acc(0.75), quad.value[2 * j], sum);
      sum = fused_multiply_add(acc(0.75), quad.value[2 * j + 1], sum);
      gradient[i + j] =
          fused_multiply_add(acc(0.25), j == kSources - 1 ? next.value[0] : quad.value[2 * j + 2], sum);
    }
    left = quad.value[kQuad - 1];
    quad = next;
  }
}

// Step 3: the block's gradient, row by row.
template <class T, class Axis>
__device__ __forceinline__ void store_gradient(const PlanarBackward<T, Axis>& p, const PlanarTile<T>& tile,
                                               int rows, int32_t begin, int32_t end) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int row = static_cast<int>(threadIdx.x) / kWarp; row < rows; row += kPlanarWarps) {
    T* line = p.grad_input + tile.source[row];
    const acc_of<T>* gradient = tile.gradient + row * p.pitch - begin;
    if (sizeof(T) == 2 && p.pairs) {
      // Half of the lanes load their second source first: banks of all lanes differ then.
      const int32_t odd = lane / (kWarp / 2);
#pragma unroll 2
      for (int32_t x = begin + 2 * lane; x < end; x += 2 * kWarp) {
        const T a = Narrow<T>::of(gradient[x + odd]), b = Narrow<T>::of(gradient[x + 1 - odd]);
        store_pack(line + x, odd != 0 ? Pack<T, 2>{b, a} : Pack<T, 2>{a, b});
      }
    } else {
      for (int32_t x = begin + lane; x < end; x += kWarp) {
        store(line + x * p.in.width, Narrow<T>::of(gradient[x]));
      }
    }
  }
}

template <class T, int V, bool kVector, bool kDoubled, class Axis>
__global__ void __launch_bounds__(kPlanarThreads, kPlanarBlocks)
    resample_backward_planar(const PlanarBackward<T, Axis> p) {
  typedef acc_of<T> acc;
  UPSAMPLE_DYNAMIC_SHARED(char, memory);
  PlanarTile<T> tile;
  tile.lay_out(memory, p.most_taps, p.pitch);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  auto rest = static_cast<int32_t>(blockIdx.x);
  const int32_t begin = p.tiles_across.take(rest) * p.columns;
  const int32_t end = begin + p.columns < p.width.in_size ? begin + p.columns : p.width.in_size;
  const int32_t first_row = rest * kTileRows;
  const int rows = p.rows - first_row < kTileRows ? p.rows - first_row : kTileRows;
  const auto columns_of = [&](int32_t from, int32_t to) {
    return kDoubled ? results_of_doubled(p.width, from, to - 1) : results_of(p.width, from, to - 1);
  };
  const ResultRange footprint = columns_of(begin, end);
  const int32_t first = kVector ? footprint.begin / V * V : footprint.begin;

  list_rows(p, tile, first_row, rows);
  if (warp == kPlanarWarps - 1) locate_rows(p, tile, first_row, rows);
  for (int c = thread; c < kTileColumns<T>; c += kPlanarThreads) {
    tile.columns[c] = column_taps<acc>(p.width, first + c);
  }
  __syncthreads();

  for (int32_t unit = thread; unit < rows * static_cast<int32_t>(p.groups.divisor); unit += kPlanarThreads) {
    int32_t row = unit;
    const int32_t group = p.groups.take(row);
    sum_along_height<T, V, kVector>(p, tile, row, group, first);
  }
  __syncthreads();

  // Shares begin at even sources, where the quads of a doubled width begin.
  const int32_t share = ((end - begin + kPlanarWarps - 1) / kPlanarWarps + 1) / 2 * 2;
  const int32_t from = begin + warp * share, to = from + share < end ? from + share : end;
  if (from < to) {
    const auto sum = [&](int32_t from, int32_t to, const ResultRange& results) {
      if (lane < rows) sum_along_width<T, V, kVector>(p, tile, lane, begin, from, to, first, results);
    };
    if constexpr (kDoubled) {
      const int32_t inside = from == 0 ? 2 : from, edge = p.width.in_size - 1;
      const int32_t outside = (to < edge ? to : edge) / 2 * 2;
      if (inside < outside) {
        if (from < inside) sum(from, inside, columns_of(from, inside));
        if (lane < rows) sum_along_doubled_width<T, V>(p, tile, lane, begin, inside, outside, first);
        if (outside < to) sum(outside, to, columns_of(outside, to));
      } else {
        sum(from, to, columns_of(from, to));
      }
    } else {
      sum(from, to, columns_of(from, to));
    }
  }
  __syncthreads();

  store_gradient(p, tile, rows, begin, end);
}

// ---- launch ---------------------------------------------------------------------------------------------

// How a gradient is divided into tiles; `columns` is 0 if the footprint of one source is too wide or too
// high.
struct PlanarCut {
  int64_t columns = 0, tiles_across = 0, results = 0, most_taps = 0, shared_bytes = 0;
};

template <class T, class Axis>
PlanarCut cut_planes(const Axis& height, const Axis& width) {
  constexpr int64_t kSector = 32 / sizeof(T);  // sources; tiles that begin and end at sectors write each once
  constexpr int64_t kAligned = kWide<T>;
  const int64_t of_source = most_outputs(width);
  const auto footprint = [&](int64_t columns) {  // at most, from an aligned column on
    return static_cast<int64_t>(static_cast<double>(columns) * width.outputs_per_source()) + of_source +
           kAligned;
  };
  PlanarCut cut;
  cut.most_taps = 2 * most_outputs(height) | 1;
  PlanarTile<T> tile;
  const auto bytes = [&](int64_t columns) {
    return tile.lay_out(nullptr, static_cast<int32_t>(cut.most_taps), static_cast<int32_t>(columns | 1));
  };
  const auto whole = [](int64_t columns) {
    return columns > kSector ? columns - columns % kSector : columns;
  };
  int64_t most = static_cast<int64_t>(static_cast<double>(kTileColumns<T> - kAligned - of_source) /
                                      width.outputs_per_source());
  most = whole(smaller(most, kTileColumns<T>));
  while (most > 0 && bytes(most) > kPlanarSharedBytes)
    most = most > kSector ? whole(most - kSector) : most - 1;
  if (most > 1) most -= most % 2;
  if (most <= 0) return cut;
  cut.tiles_across = divide_up(width.in_size, most);
  // As even as they can be.
  const int64_t even = divide_up(width.in_size, cut.tiles_across);
  cut.columns = smaller(divide_up(even, smaller(kSector, most)) * smaller(kSector, most), most);
  cut.results = smaller(footprint(cut.columns), kTileColumns<T>);
  cut.shared_bytes = bytes(cut.columns);
  return cut;
}

// The factor of an axis for list_enlarged_taps, or 0.
template <class Axis>
int32_t enlarged_by(const Axis& axis) {
  if constexpr (!Axis::kMayLackTaps) {
    for (int32_t factor = 2; 2 * factor <= kMostListedOutputs; factor *= 2) {
      if (multiplies(axis, factor)) return factor;
    }
  }
  return 0;
}

template <class T, int V, bool kVector, bool kDoubled, class acc, class Axis>
cudaError_t launch_backward_planar(const ResampleParams<acc, Axis>& p, const PlanarCut& cut,
                                   const Device& device) {
  typedef typename Axis::template with_index<int32_t> NarrowAxis;
  const int64_t rows = p.batch * p.channels * p.height.in_size;
  // Threads of a source row: a warp where columns are scattered; otherwise whole quarters of one, the threads
  // whose 16 bytes are stored at once.
  const int64_t needed = smaller(divide_up(cut.results, V), divide_up(p.width.out_size, V));
  const int64_t groups = kVector ? divide_up(needed, kWarp / 4) * (kWarp / 4) : kWarp;
  const bool pairs = p.in.width == 1 && p.width.in_size % 2 == 0 && cut.columns % 2 == 0 &&
                     aligned_strides<T>(p.input, 2 * sizeof(T), p.in.batch, p.in.channel, p.in.height);
  const PlanarBackward<T, NarrowAxis> arguments{static_cast<const T*>(p.output),
                                                static_cast<T*>(p.input),
                                                p.in,
                                                p.out,
                                                NarrowAxis(p.height),
                                                NarrowAxis(p.width),
                                                static_cast<int32_t>(rows),
                                                static_cast<int32_t>(cut.columns),
                                                static_cast<int32_t>(cut.columns | 1),
                                                static_cast<int32_t>(cut.most_taps),
                                                static_cast<int32_t>(cut.results),
                                                enlarged_by(p.height),
                                                pairs,
                                                Divider<int32_t>(cut.tiles_across),
                                                Divider<int32_t>(groups),
                                                Divider<int32_t>(p.height.in_size),
                                                Divider<int32_t>(p.channels)};
  return launch(resample_backward_planar<T, V, kVector, kDoubled, NarrowAxis>, device,
                cut.tiles_across * divide_up(rows, kTileRows), kPlanarThreads,
                static_cast<size_t>(cut.shared_bytes), arguments);
}

}  // namespace gpu
}  // namespace upsample_ext
