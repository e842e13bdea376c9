// The gradient of the cross-entropy to the logits, gathered: no resized gradient in memory, no atomics.
//
// A block owns a tile of source pixels of one image and kGradientClasses classes, and walks down its source
// rows. A thread owns a result column. Between two source rows it keeps, per class, both rows blended along
// the width and the two rows' sums along the height:
//   gradient of a resized logit = factor * exp(logit - maximum), less the target's share,
// with the pixel's maximum and factor from the forward pass. When the last result row that reads a source row
// is done, its sums go to shared memory, where each source pixel gathers its columns. So result rows between
// a tile and the one above, and columns beside it, are computed twice: that is all that is. A source's sum
// has the same terms in the same order in any tiling.
//
//   footprint of a source                 kernel
//   at most kGradientThreads columns      gradient_of_tiles
//   wider, or beyond 32 bits              gradient_of_one
//
// What a block's thread of 8 classes does at x4, float32: per result row some 25 instructions for its pixel
// and per class 2 to blend, 3 for the exponential's distance, product and power, 1 for the factor and 2 to
// add; between two source rows (4 result rows) per class 2 loads, 4 for their addresses, 2 to blend, and for
// the sum along the width of a quarter of a source 2 columns of 3 plus 10 for loop and store, 1 store to
// shared memory: 14 per pixel and class, 1 of them on the special function unit; times (rows + 1) / rows of
// the tile and as much along the width. In shared memory column j lies at j + j / 32: lanes that gather read
// every 2nd, 4th, 8th or 16th column without a conflict of banks.
#pragma once

#include "softmax.cuh"

namespace upsample_ext {
namespace gpu {

template <class acc>
constexpr int kGradientClasses = 32 / sizeof(acc);
constexpr int kGradientThreads = 256;

// What turns exp(logit - maximum) into the gradient of a resized logit: factor * e, less `target` at the
// target class, less `every` times the class's weight.
template <class acc>
struct PixelGradient {
  acc maximum, factor, scale, every;
  int64_t target;  // or -1

  __device__ __forceinline__ PixelGradient(const CrossEntropyParams<acc>& p, acc common_scale,
                                           int64_t pixel) {
    const SoftmaxOfPixel<acc> softmax = load(p.softmax + pixel);
    target = load(p.target + pixel);
    if (target == p.ignore_index) target = -1;
    scale = p.grad_output != nullptr ? load(p.grad_output + pixel) : common_scale;
    scale = target < 0 ? acc(0) : scale;
    maximum = softmax.maximum;
    factor = softmax.factor * scale;
    every = scale * (p.smoothing / static_cast<acc>(p.logits.channels));
  }
  __device__ __forceinline__ acc at_target(const CrossEntropyParams<acc>& p) const {
    const acc weight = p.weight != nullptr ? load(p.weight + target) : acc(1);
    return scale * weight * (acc(1) - p.smoothing);
  }
};

// ---- tiles ----------------------------------------------------------------------------------------------

template <class T, class acc>
struct GradientArguments {
  CrossEntropyParams<acc> p;
  LinearAxis<acc, int32_t> height, width;
  int32_t tile_rows, tile_columns;
  Divider<int32_t> class_groups, column_tiles, row_tiles;  // blocks are (n, row, column, class)
  Divider<int32_t> sources;                                // columns of a tile
  int32_t pitch;                                           // of a class's columns in shared memory
  bool classes_first;  // lanes that gather are classes before they are columns
};

__device__ __forceinline__ int shared_column(int j) { return j + (j >> 5); }

// Shared memory of a tile: sums along the height, of two source rows in turn, the columns' weights, and which
// columns each source gathers: those whose second tap it is, then those whose first.
template <class acc>
struct GradientTile {
  acc *sums, *weight0, *weight1;
  int32_t *begin, *middle, *end;

  UPSAMPLE_HOST_DEVICE GradientTile(acc* shared, int32_t pitch, int32_t sources) {
    sums = shared;
    weight0 = sums + 2 * kGradientClasses<acc> * pitch;
    weight1 = weight0 + pitch;
    begin = reinterpret_cast<int32_t*>(weight1 + pitch);
    middle = begin + sources;
    end = middle + sources;
  }
  static int64_t bytes(int64_t pitch, int64_t sources) {
    return (2 * kGradientClasses<acc> + 2) * pitch * static_cast<int64_t>(sizeof(acc)) +
           3 * sources * static_cast<int64_t>(sizeof(int32_t));
  }
};

template <class T, class acc, int V, bool kSmooth>
__global__ void __launch_bounds__(kGradientThreads, sizeof(acc) == 8 || kSmooth ? 2 : 3)
    gradient_of_tiles(const GradientArguments<T, acc> a) {
  constexpr int K = kGradientClasses<acc>;
  UPSAMPLE_DYNAMIC_SHARED(acc, shared);
  const CrossEntropyParams<acc>& p = a.p;
  const auto thread = static_cast<int32_t>(threadIdx.x), threads = static_cast<int32_t>(blockDim.x);
  auto number = static_cast<int32_t>(blockIdx.x);
  const int32_t c = a.class_groups.take(number) * K;
  const int32_t x = a.column_tiles.take(number) * a.tile_columns, y = a.row_tiles.take(number) * a.tile_rows;
  const int32_t n = number;
  const auto channels = static_cast<int32_t>(p.logits.channels);
  const int32_t count = channels - c < K ? channels - c : K;
  const int32_t x_end = a.width.in_size - x < a.tile_columns ? a.width.in_size : x + a.tile_columns;
  const int32_t y_end = a.height.in_size - y < a.tile_rows ? a.height.in_size : y + a.tile_rows;
  const int32_t sources = x_end - x;

  // What does not change from row to row: the tile's columns.
  const GradientTile<acc> tile(shared, a.pitch, a.tile_columns);
  const int32_t first_column = a.width.begin(x), columns = a.width.end(x_end - 1) - first_column;
  const int32_t column = first_column + (thread < columns ? thread : columns - 1);
  const auto taps = a.width.taps(column);
  const int32_t place = shared_column(thread);
  tile.weight0[place] = taps.weight0;
  tile.weight1[place] = taps.weight1;
  for (int32_t s = thread; s < sources; s += threads) {
    tile.begin[s] = a.width.begin(x + s) - first_column;
    tile.middle[s] = first_reading(a.width, x + s) - first_column;
    tile.end[s] = a.width.end(x + s) - first_column;
  }
  const bool identity = a.width.in_size == a.width.out_size;

  const ClassColumn<T, acc, K, V> source(static_cast<const T*>(p.logits.input) + n * p.logits.in.batch,
                                         p.logits.in, 0, 0, taps);
  const T* const top = source.above + c * source.stride;
  const acc common_scale = p.scale != nullptr ? load(p.scale) : acc(0);
  acc row0[K], row1[K], above[K], below[K], spread[kSmooth ? K : 1];
#pragma unroll
  for (int k = 0; k < K; ++k) {
    above[k] = below[k] = acc(0);
    if (kSmooth) spread[k] = p.weight != nullptr && k < count ? load(p.weight + c + k) : acc(1);
  }
  int32_t held = -1;  // the source row in row1

  int32_t sy = y > 0 ? y - 1 : 0, oy = first_reading(a.height, sy);
  T* grad = static_cast<T*>(p.grad_input) + n * p.grad.batch + c * p.grad.channel + x * p.grad.width;
  for (int32_t turn = 0; sy < y_end; ++sy) {
    auto row = a.height.taps(oy < a.height.out_size ? oy : 0);
    if (oy < a.height.out_size && row.index0 == sy) {
      if (held == sy) {
#pragma unroll
        for (int k = 0; k < K; ++k) row0[k] = row1[k];
      } else {
        source.blended(top + sy * p.logits.in.height, count, row0);
      }
      held = row.index1;
      source.blended(top + held * p.logits.in.height, count, row1);
      do {
        const int64_t pixel = (static_cast<int64_t>(n) * a.height.out_size + oy) * a.width.out_size + column;
        const PixelGradient<acc> g(p, common_scale, pixel);
        acc values[K];
#pragma unroll
        for (int k = 0; k < K; ++k) {
          const acc z = blend(row.weight0, row0[k], row.weight1, row1[k]);
          values[k] = g.factor * exponential(z - g.maximum);
          if constexpr (kSmooth) values[k] = fused_multiply_add(-g.every, spread[k], values[k]);
        }
        if (g.target >= c && g.target < c + count) {  // few pixels: a class is one of many
          const acc share = g.at_target(p);
          const auto at = static_cast<int>(g.target - c);
#pragma unroll
          for (int k = 0; k < K; ++k) values[k] = k == at ? values[k] - share : values[k];
        }
#pragma unroll
        for (int k = 0; k < K; ++k) {
          above[k] = fused_multiply_add(row.weight0, values[k], above[k]);
          below[k] = fused_multiply_add(row.weight1, values[k], below[k]);
        }
        if (++oy < a.height.out_size) row = a.height.taps(oy);
      } while (oy < a.height.out_size && row.index0 == sy);
      if (held == sy) {  // both taps on the one row
#pragma unroll
        for (int k = 0; k < K; ++k) {
          above[k] += below[k];
          below[k] = acc(0);
        }
      }
    }
    if (sy >= y) {
      acc* const sums = tile.sums + turn * K * a.pitch;
      turn = 1 - turn;
#pragma unroll
      for (int k = 0; k < K; ++k) sums[k * a.pitch + place] = above[k];
      __syncthreads();
      for (int32_t i = thread; i < a.tile_columns * K; i += threads) {
        int32_t quotient = i / K, rest = i % K;
        if (!a.classes_first) rest = a.sources.take(quotient = i);
        const int32_t s = a.classes_first ? quotient : rest, k = a.classes_first ? rest : quotient;
        if (s >= sources || k >= count) continue;
        const acc* of_class = sums + k * a.pitch;
        const int32_t middle = tile.middle[s], end = tile.end[s];
        acc sum = 0;
        for (int32_t j = tile.begin[s]; j < middle; ++j) {
          sum = fused_multiply_add(tile.weight1[shared_column(j)], of_class[shared_column(j)], sum);
        }
        const bool alone = identity || x + s == a.width.in_size - 1;  // both taps on the one source
        for (int32_t j = middle; j < end; ++j) {
          sum = fused_multiply_add(tile.weight0[shared_column(j)], of_class[shared_column(j)], sum);
          if (alone)
            sum = fused_multiply_add(tile.weight1[shared_column(j)], of_class[shared_column(j)], sum);
        }
        store(grad + sy * p.grad.height + k * p.grad.channel + s * p.grad.width, Narrow<T>::of(sum));
      }
    }
#pragma unroll
    for (int k = 0; k < K; ++k) {
      above[k] = below[k];
      below[k] = acc(0);
    }
  }
}

// ---- any factor: a warp to a source ---------------------------------------------------------------------

constexpr int kGradientOfOneThreads = 256;

// Lanes share the columns of the source's footprint and add up in a fixed tree.
template <class T, class acc>
__global__ void __launch_bounds__(kGradientOfOneThreads)
    gradient_of_one(const CrossEntropyParams<acc> p, int64_t sources) {
  int64_t rest = (static_cast<int64_t>(blockIdx.x) * kGradientOfOneThreads + threadIdx.x) / kWarp;
  if (rest >= sources) return;
  const LinearAxis<acc>&height = p.logits.height, &width = p.logits.width;
  const auto lane = static_cast<int64_t>(threadIdx.x % kWarp);
  const int64_t x = rest % width.in_size;
  rest /= width.in_size;
  const int64_t y = rest % height.in_size;
  rest /= height.in_size;
  const int64_t c = rest % p.logits.channels, n = rest / p.logits.channels;
  const T* plane = static_cast<const T*>(p.logits.input) + n * p.logits.in.batch + c * p.logits.in.channel;
  const acc common_scale = p.scale != nullptr ? load(p.scale) : acc(0);
  const acc weight = p.weight != nullptr ? load(p.weight + c) : acc(1);
  const auto add = [](const auto& taps, int64_t source, acc value, acc& sum) {
    if (taps.index0 == source) sum = fused_multiply_add(taps.weight0, value, sum);
    if (taps.index1 == source) sum = fused_multiply_add(taps.weight1, value, sum);
  };
  acc sum = 0;
  const int64_t top = height.begin(y), bottom = height.end(y), right = width.end(x);
  for (int64_t ox = width.begin(x) + lane; ox < right; ox += kWarp) {
    const auto column = width.taps(ox);
    acc along_height = 0;
    for (int64_t oy = top; oy < bottom; ++oy) {
      const auto row = height.taps(oy);
      const PixelGradient<acc> g(p, common_scale, (n * height.out_size + oy) * width.out_size + ox);
      const acc z = resized_logit(plane, p.logits.in, row, column);
      acc value = g.factor * exponential(z - g.maximum);
      if (p.smoothing > acc(0)) value = fused_multiply_add(-g.every, weight, value);
      if (g.target == c) value -= g.at_target(p);
      add(row, y, value, along_height);
    }
    add(column, x, along_height, sum);
  }
  for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane != 0) return;
  store(static_cast<T*>(p.grad_input) + n * p.grad.batch + c * p.grad.channel + y * p.grad.height +
            x * p.grad.width,
        Narrow<T>::of(sum));
}

// ---- choice and launch ----------------------------------------------------------------------------------

template <class T, class acc>
cudaError_t launch_gradient_of_one(const CrossEntropyParams<acc>& p, const Device& device) {
  const int64_t sources =
      p.logits.batch * p.logits.channels * p.logits.height.in_size * p.logits.width.in_size;
  return launch(gradient_of_one<T, acc>, device, divide_up(sources * kWarp, kGradientOfOneThreads),
                kGradientOfOneThreads, 0, p, sources);
}

// The most result columns that a tile of so many source columns reads.
template <class acc>
int64_t most_columns(const LinearAxis<acc>& width, int64_t tile) {
  int64_t most = 0;
  for (int64_t x = 0; x < width.in_size; x += tile) {
    most = larger(most, width.end(smaller(x + tile, width.in_size) - 1) - width.begin(x));
  }
  return most;
}

// Source columns of a tile: as many as fill a block with their result columns; 0 if one is too many.
template <class acc>
int64_t tile_columns(const LinearAxis<acc>& width) {
  const auto most_sources = static_cast<int64_t>(kGradientThreads / width.outputs_per_source());
  for (int64_t tile = smaller(kGradientThreads, smaller(most_sources, width.in_size)); tile > 0;
       tile = tile * 7 / 8) {
    const int64_t even = divide_up(width.in_size, divide_up(width.in_size, tile));
    if (most_columns(width, even) <= kGradientThreads) return even;
  }
  return 0;
}

// Source rows of a tile: many, because one more is computed with them, but such that the multiprocessors
// share the tiles evenly.
inline int64_t tile_rows(int64_t rows, int64_t tiles_of_a_row, const Device& device) {
  int64_t best = 1, least = INT64_MAX;
  for (int64_t tile = 1; tile <= 32 && tile < 2 * rows; tile *= 2) {
    const int64_t rounds = divide_up(divide_up(rows, tile) * tiles_of_a_row, device.multiprocessors);
    if (rounds * (tile + 1) > least) continue;
    best = tile;
    least = rounds * (tile + 1);
  }
  return best;
}

template <class T, class acc, bool kSmooth>
cudaError_t launch_cross_entropy_backward(const CrossEntropyParams<acc>& p, const Device& device) {
  const LogitsParams<acc>& logits = p.logits;
  if (logits.batch == 0) return cudaSuccess;
  const int64_t columns = fits_32_bits(logits) ? tile_columns(logits.width) : 0;
  if (columns == 0) return launch_gradient_of_one<T>(p, device);
  const int64_t column_tiles = divide_up(logits.width.in_size, columns);
  const int64_t class_groups = divide_up(logits.channels, kGradientClasses<acc>);
  const int64_t tiles_of_a_row = logits.batch * column_tiles * class_groups;
  const int64_t rows = tile_rows(logits.height.in_size, tiles_of_a_row, device);
  const int64_t row_tiles = divide_up(logits.height.in_size, rows), blocks = tiles_of_a_row * row_tiles;
  if (blocks > kMostBlocks) return launch_gradient_of_one<T>(p, device);
  const int64_t threads = divide_up(most_columns(logits.width, columns), kWarp) * kWarp;
  const int64_t pitch = threads + threads / 32;
  const GradientArguments<T, acc> arguments{p,
                                            LinearAxis<acc, int32_t>(logits.height),
                                            LinearAxis<acc, int32_t>(logits.width),
                                            static_cast<int32_t>(rows),
                                            static_cast<int32_t>(columns),
                                            Divider<int32_t>(class_groups),
                                            Divider<int32_t>(column_tiles),
                                            Divider<int32_t>(row_tiles),
                                            Divider<int32_t>(columns),
                                            static_cast<int32_t>(pitch),
                                            logits.channels > 1 && p.grad.channel == 1};
  const auto bytes = static_cast<size_t>(GradientTile<acc>::bytes(pitch, columns));
  return with_vector<T>(logits, [&](auto vector) {
    constexpr int V = decltype(vector)::value;
    return launch(gradient_of_tiles<T, acc, V, kSmooth>, device, blocks, static_cast<int>(threads), bytes,
                  arguments);
  });
}

}  // namespace gpu
}  // namespace upsample_ext
