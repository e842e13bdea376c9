// Cross-entropy of resized logits, and its gradient to the logits, without a resized logit in memory.
//
// A block of columns in up to four result rows makes three passes over its classes, in the L1 and L2 caches:
//   1. interpolate, keep in a tile, find the maximum;
//   2. exp(logit - maximum) in place of the logit, and the sum; with the target's logit that is the loss;
//   3. the gradient of the resized logits, weight * (p - onehot), added along the height to the two source
//      rows that the result rows read.
// When the last result row that reads a source row is done, its sums are summed horizontally, by the
// transposed table, which gives the gradient. The intermediate storage is a tile, and two rows of sums as
// wide as a strip.
//
// Each thread owns source rows of a strip. For a gradient it recomputes the result rows just above its own
// and the blocks next to them, so that a sum has the same terms in the same order for any number of threads.
#pragma once

#include "class_logits.h"
#include "exp_log.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Scratch of a thread per source column: its logits, and the gradient sums of its result columns.
template <class acc>
inline int64_t cross_entropy_column_bytes(const CrossEntropyParams<acc>& p) {
  const int64_t results = p.grad_input == nullptr ? 0 : p.logits.width.out_size / p.logits.width.in_size + 1;
  return 2 * p.logits.channels * (1 + results) * static_cast<int64_t>(sizeof(acc));
}

// A strip, and the blocks of its neighbours that reach its gradient: they are computed in both.
struct LossStrip {
  Strip strip;
  int64_t block, block_end;

  bool owns(int64_t b) const { return strip.block <= b && b < strip.block_end; }
  int64_t blocks() const { return block_end - block; }
};

template <class acc>
inline LossStrip add_neighbours(const CrossEntropyParams<acc>& p, const Strip& strip) {
  LossStrip loss{strip, strip.block, strip.block_end};
  if (p.grad_input != nullptr) {
    const AxisTaps<acc>& transposed = p.width_transposed;
    const int64_t tap = transposed.offset[strip.source], tap_end = transposed.offset[strip.source_end];
    if (tap < tap_end) {
      loss.block = smaller(strip.block, transposed.index[tap] / lanes<acc>);
      loss.block_end = larger(strip.block_end, transposed.index[tap_end - 1] / lanes<acc> + 1);
    }
    set_copied(p.logits, loss.block, loss.block_end, loss.strip);
  }
  return loss;
}

template <class acc>
struct CrossEntropyScratch {
  acc* tile;         // [class][result row][lane]
  acc *sum0, *sum1;  // the gradient's source rows above and below, [class][result column of the strip]
  acc* row;          // one class of a gradient row, if its pixels are not adjacent
  int64_t sum_stride, sum_values;
};

// Places the arrays of the scratch from `memory` on (null: only counts); returns the total in bytes.
template <class acc>
inline int64_t lay_out(const CrossEntropyParams<acc>& p, const LossStrip& strip,
                       CrossEntropyScratch<acc>& scratch, void* memory) {
  char* next = static_cast<char*>(memory);
  const auto take = [&](int64_t values) {
    char* start = next;
    next += whole_vectors(values * static_cast<int64_t>(sizeof(acc)));
    return reinterpret_cast<acc*>(start);
  };
  scratch.tile = take(p.logits.channels * kGroupRows * lanes<acc>);
  scratch.sum_stride = scratch.sum_values = 0;
  if (p.grad_input != nullptr) {
    // One vector more than the columns, so that classes are not a multiple of the cache's period apart.
    scratch.sum_stride = (strip.blocks() + 1) * lanes<acc>;
    scratch.sum_values = p.logits.channels * scratch.sum_stride;
    take(kRowPadding<acc>);  // windows of the transposed table may begin before and end behind the strip
    scratch.sum0 = take(scratch.sum_values);
    scratch.sum1 = take(scratch.sum_values);
    take(kRowPadding<acc>);
    scratch.row = take(p.logits.width.in_size);
  }
  return next - static_cast<char*>(memory);
}

// ---- one block of columns -------------------------------------------------------------------------------

// A group of result rows, the first of which is row `first` of all images' rows. Rows above those that the
// thread owns are computed only for the gradient.
template <class acc>
struct PixelRows {
  ClassGroup<acc> group;
  int64_t first;
  bool own;
};

// The pixels of one vector: their classes (-1: no loss), the class's weight (0 there), and the sums.
template <class acc>
struct PixelVector {
  vec_index<acc> target;
  vec<acc> weight, maximum, sum, weighted, target_logit;
};

// Targets of `count` pixels.
template <class acc>
inline void read_targets(const CrossEntropyParams<acc>& p, int64_t pixel, int64_t count,
                         PixelVector<acc>& v) {
  using Targets = vec_of<acc, int64_t>;
  Targets target;
  if (count == lanes<acc>) {
    __builtin_memcpy(&target, p.target + pixel, sizeof target);
  } else {
    for (int64_t i = 0; i < lanes<acc>; ++i) target[i] = i < count ? p.target[pixel + i] : p.ignore_index;
  }
  target = target != p.ignore_index ? target : Targets{} - 1;
  v.target = __builtin_convertvector(target, vec_index<acc>);
  const vec_index<acc> valid = v.target >= 0;
  v.weight = valid ? splat(acc(1)) : vec<acc>{};
  if (p.weight != nullptr) v.weight = valid ? gather<acc>(p.weight, valid & v.target) : v.weight;
}

template <Reach kReach, int kRows, class acc>
[[gnu::noinline]] void interpolate_tile(const CrossEntropyParams<acc>& p, const PixelRows<acc>& rows,
                                        int64_t b, acc* tile, PixelVector<acc>* pixels) {
  vec<acc> maximum[kRows];
  for (int r = 0; r < kRows; ++r) maximum[r] = splat(static_cast<acc>(-__builtin_inf()));
  each_class<kReach, kRows>(p.logits, rows.group, b, [&](int64_t c, int r, vec<acc> value) {
    store(tile + (c * kRows + r) * lanes<acc>, value);
    maximum[r] = larger_lanes(value, maximum[r]);  // drops a NaN, which the sum propagates
  });
  for (int r = 0; r < kRows; ++r) pixels[r].maximum = maximum[r];
}

// The target's logit less the maximum, from the tile as pass 1 has left it.
template <int kRows, class acc>
inline vec<acc> target_distance(const acc* tile, const PixelVector<acc>& v, int r) {
  vec_index<acc> index = v.target >= 0 ? v.target : vec_index<acc>{};
  index = index * static_cast<lane_index<acc>>(kRows * lanes<acc>) + lane_numbers<acc>();
  return gather<acc>(tile + r * lanes<acc>, index) - v.maximum;
}

// kSmooth: also the sum over classes of weight * (logit - maximum).
template <int kRows, bool kSmooth, class acc>
inline void exponentiate_tile(const CrossEntropyParams<acc>& p, acc* tile, PixelVector<acc>* pixels) {
  vec<acc> sum[kRows], weighted[kRows], maximum[kRows];
  for (int r = 0; r < kRows; ++r) {
    sum[r] = weighted[r] = vec<acc>{};
    maximum[r] = pixels[r].maximum;
  }
  for (int64_t c = 0; c < p.logits.channels; ++c) {
    const vec<acc> weight = splat(kSmooth && p.weight != nullptr ? p.weight[c] : acc(1));
    for (int r = 0; r < kRows; ++r) {
      acc* at = tile + (c * kRows + r) * lanes<acc>;
      const vec<acc> distance = load(at) - maximum[r];
      if (kSmooth) weighted[r] = multiply_add_vector(weight, distance, weighted[r]);
      const vec<acc> e = exponential(distance);
      sum[r] += e;
      store(at, e);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    pixels[r].sum = sum[r];
    pixels[r].weighted = weighted[r];
  }
}

// The loss of each pixel; 0 where there is none.
template <bool kSmooth, class acc>
inline vec<acc> pixel_loss(const CrossEntropyParams<acc>& p, const PixelVector<acc>& v) {
  const vec<acc> log_sum = logarithm(v.sum);
  vec<acc> loss = v.weight * (log_sum - v.target_logit);
  if (kSmooth) {
    const vec<acc> all = splat(p.weight_sum) * log_sum - v.weighted;
    loss = splat(1 - p.smoothing) * loss + splat(p.smoothing / static_cast<acc>(p.logits.channels)) * all;
  }
  return v.target >= 0 ? loss : vec<acc>{};
}

// What turns exp(logit - maximum) into the gradient of a resized logit: factor * e, less `target` at the
// target class, less `every` times the class's weight.
template <class acc>
struct PixelGradient {
  vec<acc> factor, target, every;
};

template <bool kSmooth, class acc>
inline PixelGradient<acc> pixel_gradient(const CrossEntropyParams<acc>& p, const PixelVector<acc>& v,
                                         int64_t pixel, int64_t count) {
  vec<acc> scale = splat(p.scale);
  if (p.grad_output != nullptr) {
    scale = count == lanes<acc> ? load(p.grad_output + pixel) : load_part(p.grad_output + pixel, count);
  }
  scale = v.target >= 0 ? scale : vec<acc>{};
  PixelGradient<acc> g;
  g.target = scale * v.weight;
  vec<acc> total = g.target;
  if (kSmooth) {
    g.target *= 1 - p.smoothing;
    g.every = scale * splat(p.smoothing / static_cast<acc>(p.logits.channels));
    total = multiply_add_vector(g.every, splat(p.weight_sum), g.target);
  }
  g.factor = total / v.sum;
  return g;
}

template <int kRows, bool kSmooth, class acc>
inline void add_gradient(const CrossEntropyParams<acc>& p, const PixelRows<acc>& rows,
                         const CrossEntropyScratch<acc>& scratch, const acc* tile,
                         const PixelVector<acc>* pixels, const PixelGradient<acc>* gradients,
                         int64_t column) {
  vec<acc> down0[kRows], down1[kRows], factor[kRows], at_target[kRows];
  vec_index<acc> target[kRows];
  const bool alone = rows.group.y0 == rows.group.y1;  // both taps on one source row: one sum, one weight
  for (int r = 0; r < kRows; ++r) {
    down0[r] = splat(alone ? rows.group.weight0[r] + rows.group.weight1[r] : rows.group.weight0[r]);
    down1[r] = splat(alone ? acc(0) : rows.group.weight1[r]);
    factor[r] = gradients[r].factor;
    at_target[r] = gradients[r].target;
    target[r] = pixels[r].target;
  }
  acc *sum0 = scratch.sum0 + column, *sum1 = scratch.sum1 + column;
  for (int64_t c = 0; c < p.logits.channels; ++c) {
    vec<acc> above = load(sum0), below = load(sum1);
    const vec<acc> weight = splat(kSmooth && p.weight != nullptr ? p.weight[c] : acc(1));
    for (int r = 0; r < kRows; ++r) {
      const vec<acc> p_part = factor[r] * load(tile + (c * kRows + r) * lanes<acc>);
      vec<acc> g = target[r] == static_cast<lane_index<acc>>(c) ? p_part - at_target[r] : p_part;
      if (kSmooth) g -= gradients[r].every * weight;
      above = multiply_add_vector(down0[r], g, above);
      below = multiply_add_vector(down1[r], g, below);
    }
    store(sum0, above);
    store(sum1, below);
    sum0 += scratch.sum_stride;
    sum1 += scratch.sum_stride;
  }
}

// Block b of a group of rows; returns the sum of its losses. One function for all dtypes of the logits.
template <int kRows, bool kSmooth, class acc>
[[gnu::noinline]] double cross_entropy_block(const CrossEntropyParams<acc>& p, const PixelRows<acc>& rows,
                                             const LossStrip& strip, int64_t b,
                                             const CrossEntropyScratch<acc>& scratch) {
  const int64_t width = p.logits.width.out_size, column = b * lanes<acc>;
  const int64_t count = smaller(lanes<acc>, width - column);
  const int64_t pixel = rows.first * width + column;
  PixelVector<acc> pixels[kRows];
  PixelGradient<acc> gradients[kRows];
  with_reach(p.logits, b, [&](auto reach) {
    interpolate_tile<decltype(reach)::value, kRows>(p, rows, b, scratch.tile, pixels);
  });
  for (int r = 0; r < kRows; ++r) {
    read_targets(p, pixel + r * width, count, pixels[r]);
    pixels[r].target_logit = target_distance<kRows>(scratch.tile, pixels[r], r);
  }
  exponentiate_tile<kRows, kSmooth>(p, scratch.tile, pixels);
  double sum = 0;
  const bool own = rows.own && strip.owns(b);
  for (int r = 0; own && r < kRows; ++r) {
    const vec<acc> loss = pixel_loss<kSmooth>(p, pixels[r]);
    if (p.loss != nullptr) store_lanes(p.loss + pixel + r * width, loss, count);
    sum += sum_lanes(loss);
  }
  if (p.grad_input != nullptr) {
    for (int r = 0; r < kRows; ++r) {
      gradients[r] = pixel_gradient<kSmooth>(p, pixels[r], pixel + r * width, count);
    }
    add_gradient<kRows, kSmooth>(p, rows, scratch, scratch.tile, pixels, gradients,
                                 column - strip.block * lanes<acc>);
  }
  return sum;
}

// ---- rows -----------------------------------------------------------------------------------------------

template <class acc>
inline double cross_entropy_group(const CrossEntropyParams<acc>& p, const PixelRows<acc>& rows,
                                  const LossStrip& strip, const CrossEntropyScratch<acc>& scratch) {
  double sum = 0;
  with_rows(rows.group.count, [&](auto count) {
    constexpr int kRows = decltype(count)::value;
    for (int64_t b = strip.block; b < strip.block_end; ++b) {
      sum += p.smoothing > 0 ? cross_entropy_block<kRows, true>(p, rows, strip, b, scratch)
                             : cross_entropy_block<kRows, false>(p, rows, strip, b, scratch);
    }
  });
  return sum;
}

// The strip's part of source row y of the gradient of image n, from its sums along the height.
template <class acc>
inline void write_gradient_row(const CrossEntropyParams<acc>& p, int64_t n, int64_t y, const LossStrip& strip,
                               const CrossEntropyScratch<acc>& scratch) {
  const ColumnPlan<acc>& plan = *static_cast<const ColumnPlan<acc>*>(p.plan_transposed);
  const AxisTaps<acc>& transposed = p.width_transposed;
  const int64_t first = strip.strip.source, last = strip.strip.source_end;
  acc* out = static_cast<acc*>(p.grad_input) + n * p.grad.batch + y * p.grad.height;
  for (int64_t c = 0; c < p.logits.channels; ++c) {
    const acc* sums = scratch.sum0 + c * scratch.sum_stride - strip.block * lanes<acc>;
    acc* target = out + c * p.grad.channel;
    if (p.grad.width == 1) {
      write_columns<Put::kStore>(Store<acc>(), target, sums, plan, transposed, first, last);
      continue;
    }
    write_columns<Put::kStore>(Store<acc>(), scratch.row, sums, plan, transposed, first, last);
    for (int64_t x = first; x < last; ++x) target[x * p.grad.width] = scratch.row[x];
  }
}

// Source rows begin .. end of a strip of image n; row_loss is that of the strip's row 0.
template <class T, class acc>
inline void cross_entropy_strip(const CrossEntropyParams<acc>& p, int64_t n, const LossStrip& strip,
                                int64_t begin, int64_t end, double* row_loss, char* memory) {
  const TwoTapRows<acc>& height = p.logits.height;
  CrossEntropyScratch<acc> scratch;
  memory += lay_out(p, strip, scratch, memory);
  ClassRows<T, acc> source(p.logits, strip.strip, n, memory);
  const bool with_gradient = p.grad_input != nullptr;
  const auto clear = [&](acc* sums) {
    for (int64_t i = 0; i < scratch.sum_values; i += lanes<acc>) store(sums + i, vec<acc>{});
  };
  if (with_gradient) {
    clear(scratch.sum0);
    clear(scratch.sum1);
  }
  int64_t y = with_gradient && begin > 0 ? begin - 1 : begin;
  for (int64_t oy = first_reading(height, 1, height.out_size, y); y < end; ++y) {
    const bool own = y >= begin;
    double loss = 0;
    bool reaches_below = false;
    while (oy < height.out_size && height.first(oy) == y) {
      const PixelRows<acc> rows{take_group(p.logits, source, oy, height.out_size), n * height.out_size + oy,
                                own};
      loss += cross_entropy_group(p, rows, strip, scratch);
      reaches_below = reaches_below || rows.group.y1 != y;
      oy += rows.group.count;
    }
    if (own) row_loss[y] = loss;
    if (!with_gradient) continue;
    if (own) write_gradient_row(p, n, y, strip, scratch);
    if (reaches_below) {
      acc* next = scratch.sum1;
      scratch.sum1 = scratch.sum0;
      scratch.sum0 = next;
    } else {  // the row below has received only products with 0, which may be NaN
      clear(scratch.sum0);
    }
    clear(scratch.sum1);
  }
}

template <class acc>
int64_t cross_entropy_plan_bytes(const CrossEntropyParams<acc>& p) {
  return column_plan_bytes(p.logits.width);
}
template <class acc>
int64_t cross_entropy_plan_transposed_bytes(const CrossEntropyParams<acc>& p) {
  return column_plan_bytes(p.width_transposed);
}
template <class acc>
void cross_entropy_build_plans(const CrossEntropyParams<acc>& p, void* plan, void* plan_transposed) {
  build_column_plan(plan, p.logits.width);
  if (p.grad_input != nullptr) build_column_plan(plan_transposed, p.width_transposed);
}
template <class acc>
int64_t cross_entropy_units(const CrossEntropyParams<acc>& p) {
  return p.logits.batch * count_strips(p.logits, cross_entropy_column_bytes(p)) * p.logits.height.in_size;
}
template <class acc>
int64_t cross_entropy_scratch_bytes(const CrossEntropyParams<acc>& p) {
  const int64_t bytes = cross_entropy_column_bytes(p);
  int64_t most = 0;
  for (int64_t i = 0; i < count_strips(p.logits, bytes); ++i) {
    const LossStrip strip = add_neighbours(p, strip_at(p.logits, bytes, i));
    CrossEntropyScratch<acc> scratch;
    most = larger(most, lay_out(p, strip, scratch, nullptr) + class_rows_bytes(p.logits, strip.strip));
  }
  return most;
}

// Units are (n, strip, source row).
template <class T, class acc = acc_of<T>>
void cross_entropy_rows(const CrossEntropyParams<acc>& p, int64_t begin, int64_t end, void* scratch) {
  const int64_t height = p.logits.height.in_size;
  int64_t unit = begin;
  each_strip(p.logits, cross_entropy_column_bytes(p), height, begin, end,
             [&](int64_t n, const Strip& strip, int64_t first, int64_t last) {
               cross_entropy_strip<T>(p, n, add_neighbours(p, strip), first, last, p.row_loss + unit - first,
                                      static_cast<char*>(scratch));
               unit += last - first;
             });
}

// ---- targets --------------------------------------------------------------------------------------------

// Counts, among `count` targets, those that are neither a class nor ignore_index; *sum becomes the sum of the
// weights of the classes.
template <class acc>
int64_t check_targets(const CrossEntropyParams<acc>& p, int64_t begin, int64_t count, double* sum) {
  const int64_t* target = p.target + begin;
  const uint64_t classes = static_cast<uint64_t>(p.logits.channels);
  int64_t wrong = 0, valid = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t counts = target[i] != p.ignore_index;
    wrong += counts & static_cast<int64_t>(static_cast<uint64_t>(target[i]) >= classes);
    valid += counts;
  }
  *sum = static_cast<double>(valid);
  if (p.weight == nullptr || wrong > 0) return wrong;
  double weights = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (target[i] != p.ignore_index) weights += p.weight[target[i]];
  }
  *sum = weights;
  return 0;
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
