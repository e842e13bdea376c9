// Resize by tables with rows of any length: the modes of more than two taps, and fixed kernels.
//
// A block computes a tile of results, 8 rows of 128 elements (columns, or channels of columns), in the order
// of the CPU's kernels: vertically first. The source columns that the tile reads are taken in chunks that fit
// shared memory; for each chunk
//   1. a thread sums the taps of a result row in one source column, into shared memory;
//   2. a thread continues the sums of one result column in 4 rows, over its taps that lie in the chunk.
// So a result costs the taps of its column, and its share of the taps of its row; windows may be of any
// length; and the sums run in the tables' order, whatever the chunks are.
//
//   layout of input and output     elements of a tile
//   channels side by side in both  up to 32 channels, then columns
//   any other                      columns, then channels where rows are short
//
// Tables are built on the device by the axis functors themselves. The transposed one is made from the forward
// one, a thread to a source, which searches the results that may read it. Nothing is read back to the host.
#pragma once

#include "../params.h"
#include "config.cuh"
#include "epilogue.cuh"
#include "launch.cuh"

namespace upsample_ext {
namespace gpu {

// ---- tables ---------------------------------------------------------------------------------------------

// Appends the taps of one row.
template <class acc>
struct RowWriter {
  int64_t* index;
  acc* weight;
  int64_t next;

  UPSAMPLE_HOST_DEVICE void operator()(int64_t source, acc value) {
    index[next] = source;
    weight[next++] = value;
  }
};

template <class acc, class Axis>
__global__ void __launch_bounds__(kBuildThreads, kBuildBlocks)
    build_rows(const Axis axis, const DeviceTable<acc> table, int64_t room) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBuildThreads;
  for (int64_t o = static_cast<int64_t>(blockIdx.x) * kBuildThreads + threadIdx.x; o < table.rows;
       o += step) {
    RowWriter<acc> row{table.index, table.weight, o * room};
    table.begin[o] = row.next;
    each_tap(axis, o, row);
    table.end[o] = row.next;
  }
}

struct IndexAtLeast {
  const int64_t* index;
  int64_t source;

  UPSAMPLE_HOST_DEVICE bool operator()(int64_t t) const { return index[t] >= source; }
};

// The first tap of row o whose source is at least i.
template <class acc>
__device__ __forceinline__ int64_t first_tap_at(const DeviceTable<acc>& table, int64_t o, int64_t i) {
  const int64_t begin = table.begin[o];
  return begin + first_output(table.end[o] - begin, IndexAtLeast{table.index + begin, i});
}

// Row i begins behind as many places as outputs before it have room, and as taps on smaller sources are among
// those that may read it: rows never overlap, and no thread needs to know how long the others are.
template <class acc, class Axis>
__global__ void __launch_bounds__(kBuildThreads, kBuildBlocks)
    transpose_rows(const Axis axis, const DeviceTable<acc> table, const DeviceTable<acc> transposed,
                   int64_t room) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBuildThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBuildThreads + threadIdx.x; i < transposed.rows;
       i += step) {
    const int64_t first = axis.begin(i), last = axis.end(i);
    RowWriter<acc> row{transposed.index, transposed.weight, first * room};
    for (int64_t o = first; o < last; ++o) row.next += first_tap_at(table, o, i) - table.begin[o];
    transposed.begin[i] = row.next;
    for (int64_t o = first; o < last; ++o) {
      MergedTaps<acc> taps;
      for (int64_t t = first_tap_at(table, o, i); t < table.end[o] && table.index[t] == i; ++t) {
        taps.add(table.weight[t]);
      }
      taps.each([&](acc weight) { row(o, weight); });
    }
    transposed.end[i] = row.next;
  }
}

// The rows of a volume, all slices one after the other: row r of slice s takes what `inner` takes for r from
// each slice that `outer` takes for s. Each row has a place of its own: the taps of a slice begin after as
// many places as all rows of `inner` have room, for each tap of the slices before it.
template <class acc>
__global__ void __launch_bounds__(kBuildThreads, kBuildBlocks)
    product_rows(const DeviceTable<acc> outer, const DeviceTable<acc> inner, int64_t inner_sources,
                 int64_t inner_room, const DeviceTable<acc> product) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBuildThreads;
  for (int64_t o = static_cast<int64_t>(blockIdx.x) * kBuildThreads + threadIdx.x; o < product.rows;
       o += step) {
    const int64_t slice = o / inner.rows, r = o - slice * inner.rows;
    const int64_t slice_begin = outer.begin[slice], slice_end = outer.end[slice];
    RowWriter<acc> row{product.index, product.weight,
                       slice_begin * inner_room + (slice_end - slice_begin) * inner.begin[r]};
    product.begin[o] = row.next;
    for (int64_t s = slice_begin; s < slice_end; ++s) {
      for (int64_t t = inner.begin[r]; t < inner.end[r]; ++t) {
        row(outer.index[s] * inner_sources + inner.index[t], outer.weight[s] * inner.weight[t]);
      }
    }
    product.end[o] = row.next;
  }
}

template <class... Parameters, class... Arguments>
cudaError_t launch_rows_of_table(void (*kernel)(Parameters...), int64_t rows, const Device& device,
                                 const Arguments&... arguments) {
  constexpr int64_t kMost = 1 << 20;
  return launch(kernel, device, smaller(divide_up(rows, kBuildThreads), kMost), kBuildThreads, 0,
                arguments...);
}

// ---- resampling -----------------------------------------------------------------------------------------

constexpr int kTableRowsOfThread = kTableRows * kTableElements / kTableThreads;
constexpr int kTableWarps = kTableThreads / kWarp;

template <class T>
struct TableArguments {
  typedef acc_of<T> acc;
  const T* x;
  T* y;
  Strides x_strides, y_strides;
  DeviceTable<acc> height, width;
  int64_t channels, tiles;
  // Channels and columns of a tile, and columns of a chunk.
  int32_t tile_channels, tile_columns, chunk_columns;
  // Of the grid, fastest first: tiles across, down, and of the channels; the rest is the batch.
  Divider<int64_t> across, down, deep;
};

// The source columns first .. end that `count` result columns from `column` on read. Called by all threads.
template <class acc>
__device__ __forceinline__ void sources_of_columns(const DeviceTable<acc>& width, int64_t column, int count,
                                                   int64_t* shared, int64_t& first, int64_t& end) {
  const int thread = static_cast<int>(threadIdx.x);
  first = INT64_MAX;
  end = 0;
  if (thread < count) {
    const int64_t begin = load(width.begin + column + thread), last = load(width.end + column + thread);
    if (begin < last) {
      first = load(width.index + begin);
      end = load(width.index + last - 1) + 1;
    }
  }
  for (int step = kWarp / 2; step > 0; step /= 2) {
    first = smaller(first, __shfl_xor_sync(0xffffffffu, first, step));
    end = larger(end, __shfl_xor_sync(0xffffffffu, end, step));
  }
  if (thread % kWarp == 0) {
    shared[thread / kWarp] = first;
    shared[kTableWarps + thread / kWarp] = end;
  }
  __syncthreads();
  for (int warp = 0; warp < kTableWarps; ++warp) {
    first = smaller(first, shared[warp]);
    end = larger(end, shared[kTableWarps + warp]);
  }
}

// Step 1: one result row in one source column, whose elements are `stride` apart.
template <class T, class acc>
__device__ __forceinline__ acc sum_of_row(const DeviceTable<acc>& height, int64_t row, const T* column,
                                          int64_t stride) {
  const int64_t begin = load(height.begin + row), end = load(height.end + row);
  acc sum = begin < end ? acc(-0.0) : acc(0);  // -0 plus a product is that product, to the last bit
#pragma unroll 4
  for (int64_t t = begin; t < end; ++t) {
    sum = fused_multiply_add(load(height.weight + t), widen(load(column + load(height.index + t) * stride)),
                             sum);
  }
  return sum;
}

template <class T, bool kChannelsLast>
__global__ void __launch_bounds__(kTableThreads, kTableBlocks) resample_by_table(const TableArguments<T> p) {
  typedef acc_of<T> acc;
  UPSAMPLE_DYNAMIC_SHARED(char, memory);
  auto* ranges = reinterpret_cast<int64_t*>(memory);               // of warps
  auto* chunk = reinterpret_cast<acc*>(ranges + 2 * kTableWarps);  // [row][element]
  const int thread = static_cast<int>(threadIdx.x);
  // The result column and channel that the thread owns, within a tile, and the first of its rows.
  const int element = thread % kTableElements, first_of_rows = thread / kTableElements * kTableRowsOfThread;
  const int own_column = kChannelsLast ? element / p.tile_channels : element % p.tile_columns;
  const int own_channel = kChannelsLast ? element % p.tile_channels : element / p.tile_columns;

  for (int64_t tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
    int64_t n = tile;
    const int64_t column = p.across.take(n) * p.tile_columns, row = p.down.take(n) * kTableRows;
    const int64_t channel = p.deep.take(n) * p.tile_channels;
    const auto columns = static_cast<int>(smaller(p.tile_columns, p.width.rows - column));
    const auto rows = static_cast<int>(smaller(kTableRows, p.height.rows - row));
    const auto channels = static_cast<int>(smaller(p.tile_channels, p.channels - channel));
    const T* image = p.x + n * p.x_strides.batch + channel * p.x_strides.channel;
    int64_t first, end;
    sources_of_columns(p.width, column, columns, ranges, first, end);

    const bool owns = own_column < columns && own_channel < channels && first_of_rows < rows;
    int64_t tap = owns ? load(p.width.begin + column + own_column) : 0;
    const int64_t last_tap = owns ? load(p.width.end + column + own_column) : 0;
    acc sums[kTableRowsOfThread];
#pragma unroll
    for (int r = 0; r < kTableRowsOfThread; ++r) sums[r] = tap < last_tap ? acc(-0.0) : acc(0);

    for (int64_t source = first; source < end; source += p.chunk_columns) {
      const auto span = static_cast<int>(smaller(p.chunk_columns, end - source));
      const int cells = span * channels;
      for (int unit = thread; unit < rows * cells; unit += kTableThreads) {
        const int r = unit / cells, cell = unit - r * cells;
        const int x = kChannelsLast ? cell / channels : cell % span;
        const int c = kChannelsLast ? cell - x * channels : cell / span;
        const int at = kChannelsLast ? x * p.tile_channels + c : c * p.chunk_columns + x;
        chunk[r * kChunkElements + at] = sum_of_row<T, acc>(
            p.height, row + r, image + c * p.x_strides.channel + (source + x) * p.x_strides.width,
            p.x_strides.height);
      }
      __syncthreads();
      for (; tap < last_tap; ++tap) {
        const int64_t x = load(p.width.index + tap) - source;
        if (x >= span) break;
        const auto place = static_cast<int>(x);
        const acc weight = load(p.width.weight + tap);
        const acc* cell =
            chunk + first_of_rows * kChunkElements +
            (kChannelsLast ? place * p.tile_channels + own_channel : own_channel * p.chunk_columns + place);
#pragma unroll
        for (int r = 0; r < kTableRowsOfThread; ++r) {
          if (first_of_rows + r < rows)
            sums[r] = fused_multiply_add(weight, cell[r * kChunkElements], sums[r]);
        }
      }
      __syncthreads();
    }

    if (owns) {
      T* result = p.y + n * p.y_strides.batch + (channel + own_channel) * p.y_strides.channel +
                  (column + own_column) * p.y_strides.width;
#pragma unroll
      for (int r = 0; r < kTableRowsOfThread; ++r) {
        if (first_of_rows + r < rows) {
          store(result + (row + first_of_rows + r) * p.y_strides.height, Narrow<T>::of(sums[r]));
        }
      }
    }
    __syncthreads();  // `ranges` is written again
  }
}

// The tiles of a call, in results.
struct TableTiles {
  bool channels_last;  // threads side by side have channels side by side, otherwise columns
  int64_t channels, columns;
};
template <class acc>
TableTiles choose_table_tiles(const TableParams<DeviceTable<acc>>& p) {
  if (p.channels > 1 && p.x_strides.channel == 1 && p.y_strides.channel == 1) {
    const int64_t channels = smaller(p.channels, kWarp);
    return {true, channels, kTableElements / channels};
  }
  const int64_t columns = smaller(p.width.rows, kTableElements);
  return {false, smaller(p.channels, kTableElements / columns), columns};
}

template <class T, class acc>
cudaError_t launch_resample_table(const TableParams<DeviceTable<acc>>& p, const Device& device) {
  if (p.batch == 0) return cudaSuccess;
  const auto [channels_last, channels, of_tile] = choose_table_tiles(p);
  const int64_t across = divide_up(p.width.rows, of_tile), down = divide_up(p.height.rows, kTableRows);
  const int64_t deep = divide_up(p.channels, channels), tiles = across * down * deep * p.batch;
  const TableArguments<T> arguments{static_cast<const T*>(p.x),
                                    static_cast<T*>(p.y),
                                    p.x_strides,
                                    p.y_strides,
                                    p.height,
                                    p.width,
                                    p.channels,
                                    tiles,
                                    static_cast<int32_t>(channels),
                                    static_cast<int32_t>(of_tile),
                                    static_cast<int32_t>(kChunkElements / channels),
                                    Divider<int64_t>(across),
                                    Divider<int64_t>(down),
                                    Divider<int64_t>(deep)};
  const size_t bytes = 2 * kTableWarps * sizeof(int64_t) + kTableRows * kChunkElements * sizeof(acc);
  const auto kernel = channels_last ? resample_by_table<T, true> : resample_by_table<T, false>;
  return launch(kernel, device, smaller(tiles, kMostBlocks), kTableThreads, bytes, arguments);
}

}  // namespace gpu
}  // namespace upsample_ext
