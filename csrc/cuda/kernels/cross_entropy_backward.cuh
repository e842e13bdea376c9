// The gradient of the cross-entropy with respect to the logits, gathered: no resized gradient in memory, no
// atomics.
//
// A block owns a tile of source pixels of one image and K classes, and walks down its source rows. A thread
// owns a result column. Between two source rows it keeps, per class, both rows blended horizontally and the
// vertical sums of the two rows:
//   gradient of a resized logit = factor * (exp(logit - maximum) - sum at the target),
// with the pixel's maximum and sum of exponentials from the forward pass, loaded a result row ahead; the
// factor, 1 / sum and what scales the pixel, is part of the row's two weights. When the last result row that
// reads a source row is done, its sums go to shared memory, where each source pixel gathers its columns. Only
// the halo (result rows between a tile and the one above it, and columns next to it) is computed twice. A
// source's sum has the same terms in the same order in any tiling. The gradient is of acc, in half types too.
//
//   footprint of a source                 kernel
//   at most kGradientThreads columns      gradient_of_tiles
//   wider, or beyond 32 bits              gradient_of_one
//
// K is the number of classes that leaves the fewest idle in the last group (classes_of_group):
//   with smoothing, channels-last in fours, double    8; 4 of double
//   channels-last in twos                             8, 10
//   any other                                         4, 7, 8, 10
//
// What a thread does at x4 for 10 classes, planar float32, as compiled for sm_90: a result row takes 117
// instructions, of which per class 2 to blend, 3 for the exponential's distance, product and power and 2 to
// add; 20 more where a target of the warp is among the classes, and 25 once in 32 rows for the rows' taps.
// Between two source rows (4 result rows) come up to 780 to load and blend a row, hand over sums and gather
// the 8 taps of two classes of a source: 31 per pixel and class, one of them on the special function unit,
// times (rows + 1) / rows of the tile and (columns + 1) / columns.
#pragma once

#include "softmax.cuh"
#include "transposed_taps.cuh"

namespace upsample_ext {
namespace gpu {

// Elements of a class's columns in shared memory, where column j is stored at j + j / 32: lanes that gather
// read every 2nd, 4th, 8th or 16th column without bank conflicts.
constexpr int kGradientPitch = kGradientThreads + kGradientThreads / kWarp;

// What is read of a pixel: loaded a result row ahead, and not used before.
template <class acc>
struct PixelRead {
  SoftmaxOfPixel<acc> softmax;
  int64_t target;
  acc grad;

  template <class Index>
  __device__ __forceinline__ PixelRead(const CrossEntropyParams<acc>& p, Index pixel)
      : softmax(load(p.softmax + pixel)),
        target(load(p.target + pixel)),
        grad(load(p.grad_output + pixel * static_cast<Index>(p.grad_step))) {}
};

// What turns e = exp(logit - maximum) into the gradient of a resized logit:
//   factor * (e - share at the target)
//   factor * e - share at the target - every * weight of the class, with smoothing.
// Without it, the factor is left to the weights of the pixel's row.
template <class acc, bool kSmooth>
struct PixelGradient {
  acc maximum, factor, share, every = 0;
  int32_t target;  // or -1

  __device__ __forceinline__ PixelGradient(const CrossEntropyParams<acc>& p, acc weight_sum,
                                           const PixelRead<acc>& pixel)
      : maximum(pixel.softmax.maximum), share(pixel.softmax.sum) {
    // A class or ignore_index: checked in the forward pass.
    target = pixel.target == p.ignore_index ? -1 : static_cast<int32_t>(pixel.target);
    const acc weight = p.weight != nullptr && target >= 0 ? load(p.weight + target) : acc(1);
    const acc scale = target < 0 ? acc(0) : pixel.grad;
    factor = scale * reciprocal(pixel.softmax.sum);
    if constexpr (kSmooth) {
      factor *= total_weight(p, weight_sum, weight);
      share = scale * weight * (acc(1) - p.smoothing);
      every = scale * (p.smoothing / static_cast<acc>(p.logits.channels));
    } else {
      factor *= weight;
    }
  }
};

// ---- tiles ----------------------------------------------------------------------------------------------

template <class T, class acc>
struct GradientArguments {
  CrossEntropyParams<acc> p;
  LinearAxis<acc, int32_t> height, width;
  int32_t tile_rows, tile_columns, list_length;
  Divider<int32_t> class_groups, column_tiles, row_tiles;  // blocks are (n, row, column, class)
  bool classes_first;        // lanes that gather are classes before they are columns
  Divider<int32_t> gathers;  // pairs of classes then, otherwise columns of a tile
};

__device__ __forceinline__ int shared_column(int j) { return j + (j >> 5); }

// Shared memory of a tile: the vertical sums of two source rows in turn, and for each source the columns that
// it gathers with their weights. Lists have an odd length, so that lanes read them without bank conflicts.
template <class acc, int K>
struct GradientTile {
  static constexpr int kClasses = K + K % 2;  // classes are gathered in twos

  Tap<acc>* lists;
  acc* sums;
  int32_t* counts;

  UPSAMPLE_HOST_DEVICE GradientTile(unsigned char* shared, int32_t sources, int32_t length) {
    lists = reinterpret_cast<Tap<acc>*>(shared);
    sums = reinterpret_cast<acc*>(lists + sources * length);
    counts = reinterpret_cast<int32_t*>(sums + 2 * kClasses * kGradientPitch);
  }
  static int64_t bytes(int64_t sources, int64_t length) {
    return sources * (length * static_cast<int64_t>(sizeof(Tap<acc>)) + 4) +
           2 * kClasses * kGradientPitch * static_cast<int64_t>(sizeof(acc));
  }
};

// The taps of result rows in ascending order. Each lane of a warp computes those of one row in kWarp and the
// lanes exchange them by shuffles: the threads of a warp walk down the same rows.
template <class acc>
struct RowTaps {
  int32_t source = -1;  // the first tap; -1 after the last row
  acc weight0, weight1;

  __device__ __forceinline__ void take(const LinearAxis<acc, int32_t>& height, int32_t row, bool first) {
    const auto lane = static_cast<int32_t>(static_cast<uint32_t>(row) % kWarp);
    if (first || lane == 0) {
      const int32_t mine = row - lane + static_cast<int32_t>(threadIdx.x % kWarp);
      const auto taps = height.taps(mine < height.out_size ? mine : height.out_size - 1);
      source_of_lane_ = mine < height.out_size ? taps.index0 : -1;
      weight1_of_lane_ = taps.weight1;
    }
    source = __shfl_sync(0xffffffffu, source_of_lane_, lane);
    weight1 = __shfl_sync(0xffffffffu, weight1_of_lane_, lane);
    weight0 = acc(1) - weight1;
  }

 private:
  int32_t source_of_lane_;
  acc weight1_of_lane_;
};

// K classes of a group, V of a load.
template <class T, class acc, int K, int V, bool kSmooth>
__global__ void __launch_bounds__(kGradientThreads, kGradientBlocks<acc, V, kSmooth>)
    gradient_of_tiles(const GradientArguments<T, acc> a) {
  UPSAMPLE_DYNAMIC_SHARED(unsigned char, shared);
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
  const GradientTile<acc, K> tile(shared, a.tile_columns, a.list_length);
  const int32_t first_column = a.width.begin(x), columns = a.width.end(x_end - 1) - first_column;
  const int32_t column = first_column + (thread < columns ? thread : columns - 1);
  const auto taps = a.width.taps(column);
  const int32_t place = shared_column(thread);
  for (int32_t s = thread; s < sources; s += threads) {
    Tap<acc>* list = tile.lists + s * a.list_length;
    tile.counts[s] = list_taps(a.width, x + s, list);
    for (int i = 0; i < tile.counts[s]; ++i) list[i].output = shared_column(list[i].output - first_column);
  }
  const ClassColumn<T, acc, K, V> source(static_cast<const T*>(p.logits.input) + n * p.logits.in.batch,
                                         p.logits.in, 0, 0, taps);
  const T* const top = source.above + c * source.stride;
  const acc weight_sum = kSmooth ? weight_of_classes(p) : acc(0);
  acc row0[K], row1[K], above[K], below[K], spread[kSmooth ? K : 1];
#pragma unroll
  for (int k = 0; k < K; ++k) {
    above[k] = below[k] = acc(0);
    if (kSmooth) spread[k] = p.weight != nullptr && k < count ? load(p.weight + c + k) : acc(1);
  }
  int32_t held = -1;  // the source row in row1

  int32_t sy = y > 0 ? y - 1 : 0, oy = first_reading(a.height, sy);
  RowTaps<acc> row;
  row.take(a.height, oy, true);
  const int32_t last = a.height.out_size - 1;  // the tile may read no result row
  auto pixel = static_cast<uint32_t>((n * (last + 1) + (oy < last ? oy : last)) * a.width.out_size + column);
  PixelRead<acc> next(p, pixel);
  acc* const grad =
      static_cast<acc*>(p.grad_input) + n * p.grad.batch + c * p.grad.channel + x * p.grad.width;
  for (int32_t turn = 0; sy < y_end; ++sy) {
    if (row.source == sy) {
      if (held == sy) {
#pragma unroll
        for (int k = 0; k < K; ++k) row0[k] = row1[k];
      } else {
        source.blended(top + sy * p.logits.in.height, count, row0);
      }
      held = a.height.taps(oy).index1;
      source.blended(top + held * p.logits.in.height, count, row1);
      do {
        const PixelGradient<acc, kSmooth> g(p, weight_sum, next);
        pixel += oy < last ? a.width.out_size : 0;
        next = PixelRead<acc>(p, pixel);
        const acc weight0 = kSmooth ? row.weight0 : row.weight0 * g.factor;
        const acc weight1 = kSmooth ? row.weight1 : row.weight1 * g.factor;
        const int32_t at = g.target - c;
        const auto add = [&](auto has_target) {
#pragma unroll
          for (int k = 0; k < K; ++k) {
            const acc z = blend(row.weight0, row0[k], row.weight1, row1[k]);
            acc value = exponential(z - g.maximum);
            if constexpr (kSmooth) value = fused_multiply_add(-g.every, spread[k], g.factor * value);
            if constexpr (decltype(has_target)::value) value = k == at ? value - g.share : value;
            above[k] = fused_multiply_add(weight0, value, above[k]);
            below[k] = fused_multiply_add(weight1, value, below[k]);
          }
        };
        // A warp's targets are rarely among the classes: there are many classes. Lanes do not part.
        if (__any_sync(0xffffffffu, at >= 0 && at < K)) {
          add(std::true_type{});
        } else {
          add(std::false_type{});
        }
        row.take(a.height, ++oy, false);
      } while (row.source == sy);
      if (held == sy) {  // both taps on the one row
#pragma unroll
        for (int k = 0; k < K; ++k) {
          above[k] += below[k];
          below[k] = acc(0);
        }
      }
    }
    if (sy >= y) {
      acc* const sums = tile.sums + turn * tile.kClasses * kGradientPitch;
      turn = 1 - turn;
#pragma unroll
      for (int k = 0; k < K; ++k) sums[k * kGradientPitch + place] = above[k];
      __syncthreads();
      // Two classes at a time read the list once.
      for (int32_t i = thread; i < a.tile_columns * (tile.kClasses / 2); i += threads) {
        int32_t outer = i;
        const int32_t inner = a.gathers.take(outer);
        const int32_t k = 2 * (a.classes_first ? inner : outer), s = a.classes_first ? outer : inner;
        if (k >= count || s >= sources) continue;
        acc* at = grad + sy * p.grad.height + s * p.grad.width + k * p.grad.channel;
        const acc* of_class = sums + k * kGradientPitch;
        const Tap<acc>* list = tile.lists + s * a.list_length;
        acc sum0 = 0, sum1 = 0;
        for (int32_t t = 0, taps = tile.counts[s]; t < taps; ++t) {
          const Tap<acc> tap = list[t];
          sum0 = fused_multiply_add(tap.weight, of_class[tap.output], sum0);
          sum1 = fused_multiply_add(tap.weight, of_class[tap.output + kGradientPitch], sum1);
        }
        store(at, sum0);
        if (k + 1 < count) store(at + p.grad.channel, sum1);
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

// Lanes share the columns of the source's footprint and add up in a fixed tree.
template <class T, class acc>
__global__ void __launch_bounds__(kGradientOfOneThreads, kGradientOfOneBlocks)
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
  const acc weight = p.weight != nullptr ? load(p.weight + c) : acc(1), weight_sum = weight_of_classes(p);
  acc sum = 0;
  const int64_t top = height.begin(y), bottom = height.end(y), right = width.end(x);
  for (int64_t ox = width.begin(x) + lane; ox < right; ox += kWarp) {
    const auto column = width.taps(ox);
    acc along_height = 0;
    for (int64_t oy = top; oy < bottom; ++oy) {
      const auto row = height.taps(oy);
      const PixelRead<acc> pixel(p, (n * height.out_size + oy) * width.out_size + ox);
      const PixelGradient<acc, true> g(p, weight_sum, pixel);
      const acc z = resized_logit(plane, p.logits.in, row, column);
      acc value = g.factor * exponential(z - g.maximum);
      if (p.smoothing > acc(0)) value = fused_multiply_add(-g.every, weight, value);
      if (g.target == c) value -= g.share;
      add_taps(row, y, value, along_height);
    }
    add_taps(column, x, along_height, sum);
  }
  sum = sum_of_warp(sum);
  if (lane != 0) return;
  store(static_cast<acc*>(p.grad_input) + n * p.grad.batch + c * p.grad.channel + y * p.grad.height +
            x * p.grad.width,
        sum);
}

// ---- choice and launch ----------------------------------------------------------------------------------

template <class T, class acc>
cudaError_t launch_gradient_of_one(const CrossEntropyParams<acc>& p, const Device& device) {
  const int64_t sources =
      p.logits.batch * p.logits.channels * p.logits.height.in_size * p.logits.width.in_size;
  return launch(gradient_of_one<T, acc>, device, divide_up(sources * kWarp, kGradientOfOneThreads),
                kGradientOfOneThreads, 0, p, sources);
}

// Source columns of a tile: as many as fill a block with their result columns; 0 if even one has too many.
template <class acc>
int64_t tile_columns(const LinearAxis<acc>& width) {
  const auto most_sources = static_cast<int64_t>(kGradientThreads / width.outputs_per_source());
  for (int64_t tile = smaller(kGradientThreads, smaller(most_sources, width.in_size)); tile > 0;
       tile = tile * 7 / 8) {
    const int64_t even = divide_up(width.in_size, divide_up(width.in_size, tile));
    if (most_outputs(width, even) <= kGradientThreads) return even;
  }
  return 0;
}

// Source rows of a tile: many, because each tile computes one extra row, but such that the tiles are divided
// evenly among those that run at once, `resident` of them on a multiprocessor.
inline int64_t tile_rows(int64_t rows, int64_t tiles_of_a_row, int64_t resident) {
  int64_t best = 1, least = INT64_MAX;
  for (int64_t tile = 1; tile <= smaller(kMostGradientRows, rows); ++tile) {
    const int64_t rounds = divide_up(divide_up(rows, tile) * tiles_of_a_row, resident);
    if (rounds * (tile + 1) > least) continue;
    best = tile;
    least = rounds * (tile + 1);
  }
  return best;
}

// Blocks of a multiprocessor, as __launch_bounds__ has them.
template <class acc>
int gradient_blocks(int classes_of_load, bool smooth) {
  if (smooth) return kGradientBlocks<acc, 1, true>;
  return classes_of_load == 2 ? kGradientBlocks<acc, 2, false> : kGradientBlocks<acc, 1, false>;
}

// The classes of a group that a kernel is compiled for, beside those of any other case.
template <class acc>
constexpr int kGradientClasses = 32 / sizeof(acc);
template <class acc>
constexpr bool has_gradient_kernel(int group, int classes_of_load, bool smooth) {
  if (group == kGradientClasses<acc>) return true;
  return sizeof(acc) == 4 && !smooth && (classes_of_load == 1 || (classes_of_load == 2 && group == 10));
}

// Classes of a group: those that take the fewest instructions, as counted for sm_90 at x4.
template <class acc>
int classes_of_group(int64_t channels, int classes_of_load, bool smooth) {
  constexpr int kOfGroup = 9;  // as many as of so many classes
  int best = 0;
  int64_t least = INT64_MAX;
  for (const int group : {4, 7, 8, 10}) {
    const int64_t cost = divide_up(channels, group) * (kOfGroup + group);
    if (!has_gradient_kernel<acc>(group, classes_of_load, smooth) || cost > least) continue;
    best = group;
    least = cost;
  }
  return best;
}

// Which kernel computes the gradient, and where it is tiles: their size in sources, and how many.
enum class GradientKernel {
  kNone,
  kTiles,
  kOneSource  // a warp to a source: of footprints larger than a block, and beyond 32 bits
};
struct GradientChoice {
  GradientKernel kernel;
  int classes = 1, group = 0;  // of a load, and of a tile
  int64_t rows = 0, columns = 0;
  int64_t row_tiles = 0, column_tiles = 0, class_groups = 0;
};

template <class T, class acc>
GradientChoice choose_gradient(const LogitsParams<acc>& p, bool smooth, const Device& device) {
  if (p.batch == 0) return {GradientKernel::kNone};
  GradientChoice tiles{GradientKernel::kTiles};
  tiles.columns = fits_32_bits(p) ? tile_columns(p.width) : 0;
  if (tiles.columns == 0) return {GradientKernel::kOneSource};
  tiles.classes = classes_of_load<T>(p);
  tiles.group = classes_of_group<acc>(p.channels, tiles.classes, smooth);
  tiles.column_tiles = divide_up(p.width.in_size, tiles.columns);
  tiles.class_groups = divide_up(p.channels, tiles.group);
  const int64_t tiles_of_a_row = p.batch * tiles.column_tiles * tiles.class_groups;
  tiles.rows = tile_rows(p.height.in_size, tiles_of_a_row,
                         device.multiprocessors * gradient_blocks<acc>(tiles.classes, smooth));
  tiles.row_tiles = divide_up(p.height.in_size, tiles.rows);
  if (tiles_of_a_row * tiles.row_tiles > kMostBlocks) return {GradientKernel::kOneSource};
  return tiles;
}

template <class T, class acc, int K, int V, bool kSmooth>
cudaError_t launch_gradient_of_tiles(const CrossEntropyParams<acc>& p, const GradientChoice& choice,
                                     const Device& device) {
  const LogitsParams<acc>& logits = p.logits;
  const int64_t columns = choice.columns;
  const int64_t blocks = logits.batch * choice.class_groups * choice.column_tiles * choice.row_tiles;
  const int64_t threads = divide_up(larger(most_outputs(logits.width, columns), columns), kWarp) * kWarp;
  const int64_t length = 2 * most_outputs(logits.width) + 1;  // a result may read a source with both taps
  const bool classes_first = logits.channels > 1 && p.grad.channel == 1;
  const GradientArguments<T, acc> arguments{
      p,
      LinearAxis<acc, int32_t>(logits.height),
      LinearAxis<acc, int32_t>(logits.width),
      static_cast<int32_t>(choice.rows),
      static_cast<int32_t>(columns),
      static_cast<int32_t>(length),
      Divider<int32_t>(choice.class_groups),
      Divider<int32_t>(choice.column_tiles),
      Divider<int32_t>(choice.row_tiles),
      classes_first,
      Divider<int32_t>(classes_first ? GradientTile<acc, K>::kClasses / 2 : columns)};
  const auto bytes = static_cast<size_t>(GradientTile<acc, K>::bytes(columns, length));
  return launch(gradient_of_tiles<T, acc, K, V, kSmooth>, device, blocks, static_cast<int>(threads), bytes,
                arguments);
}

template <class T, class acc, bool kSmooth>
cudaError_t launch_cross_entropy_backward(const CrossEntropyParams<acc>& p, const Device& device) {
  const GradientChoice choice = choose_gradient<T>(p.logits, kSmooth, device);
  if (choice.kernel == GradientKernel::kNone) return cudaSuccess;
  if (choice.kernel == GradientKernel::kOneSource) return launch_gradient_of_one<T>(p, device);
  return with_classes<T>(choice.classes, [&](auto classes) {
    constexpr int V = decltype(classes)::value;
    const auto launched = [&](auto group) {
      constexpr int K = decltype(group)::value;  // what is not compiled is not chosen
      constexpr int kCompiled = has_gradient_kernel<acc>(K, V, kSmooth) ? K : kGradientClasses<acc>;
      return launch_gradient_of_tiles<T, acc, kCompiled, V, kSmooth>(p, choice, device);
    };
    switch (choice.group) {
      case 4:
        return launched(std::integral_constant<int, 4>{});
      case 7:
        return launched(std::integral_constant<int, 7>{});
      case 10:
        return launched(std::integral_constant<int, 10>{});
      default:
        return launched(std::integral_constant<int, kGradientClasses<acc>>{});
    }
  });
}

}  // namespace gpu
}  // namespace upsample_ext
