// The class with the largest resized logit at every pixel, and its softmax probability.
//
// Each thread owns rows of a strip of the result. A block of columns in up to four rows keeps its best value
// and class in registers during the loop over classes: per logit the interpolation, one comparison and two
// moves. The probability takes one more exponential, of the distance to the best so far: if the best changes,
// the sum of the other exponentials is scaled by it, otherwise it is added to that sum.
#pragma once

#include "class_logits.h"
#include "exp_log.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Stores the first `count` indices at p, as type I.
template <class I>
inline void store_indices(void* p, int64_t offset, vec_index<float> index, int64_t count) {
  I* out = static_cast<I*>(p) + offset;
  const vec_of<float, I> values = __builtin_convertvector(index, vec_of<float, I>);
  if (count == lanes<float>) {
    __builtin_memcpy(out, &values, sizeof values);
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = values[i];
  }
}

inline void store_indices(void* p, int64_t index_bytes, int64_t offset, vec_index<float> index,
                          int64_t count) {
  switch (index_bytes) {
    case 1:
      return store_indices<uint8_t>(p, offset, index, count);
    case 2:
      return store_indices<int16_t>(p, offset, index, count);
    case 4:
      return store_indices<int32_t>(p, offset, index, count);
    default:
      return store_indices<int64_t>(p, offset, index, count);
  }
}

// The softmax probability of the best: sum is that of exp(v - best) over all classes.
inline vec<float> winner_probability(vec<float> best, vec<float> sum) {
  constexpr float kInfinity = __builtin_inff();
  const vec<float> nan = splat(__builtin_nanf(""));
  return ((best == kInfinity) | (best == -kInfinity)) ? nan : 1.0f / sum;  // softmax of an infinity is NaN
}

// Adds a class of logit `value` to the sum; `before` is the best logit without it, `best` the best with it.
inline void add_to_sum(vec<float>& sum, vec<float> before, vec<float> value, vec<float> best) {
  const vec<float> distance = value - before;
  // Two equal infinities are at distance NaN, but count as equal.
  const vec<float> e = value == before ? splat(1.0f) : exponential(distance > 0 ? -distance : distance);
  const vec<float> grown = multiply_add_vector(sum, e, splat(1.0f)), more = sum + e;
  sum = best == before ? more : grown;
}

enum class Keep { kNumbers, kAny, kAnyWithScore };

// The best of a block of columns in kRows rows, in registers.
template <int kRows, Keep kKeep>
class Best {
 public:
  Best() {
    for (int r = 0; r < kRows; ++r) {
      best_[r] = splat(-__builtin_inff());
      sum_[r] = vec<float>{};
      where_[r] = vec_index<float>{};
    }
  }

  // The logits of row r; all rows of a class, then those of the next.
  void take(int r, vec<float> value) {
    if (r == 0) number_ += 1;
    const vec<float> before = best_[r];
    if constexpr (kKeep == Keep::kNumbers) {
      keep_greater(best_[r], where_[r], value, number_);
    } else {
      keep_greater_or_nan(best_[r], where_[r], value, number_);
    }
    if (kScore) add_to_sum(sum_[r], before, value, best_[r]);
  }

  // As block b of rows the first of which begins at `offset` of the result.
  template <class Params>
  void store(const Params& p, int64_t offset, int64_t b) const {
    const int64_t width = p.logits.width.out_size, column = b * lanes<float>;
    const int64_t count = smaller(lanes<float>, width - column);
    for (int r = 0; r < kRows; ++r) {
      const int64_t at = offset + r * width + column;
      store_indices(p.index, p.index_bytes, at, where_[r], count);
      if (kScore) store_lanes(p.score + at, winner_probability(best_[r], sum_[r]), count);
    }
  }

 private:
  static constexpr bool kScore = kKeep == Keep::kAnyWithScore;

  vec<float> best_[kRows], sum_[kRows];
  vec_index<float> where_[kRows];
  vec_index<float> number_ = vec_index<float>{} - 1;  // the class; incremented, because a splat is slower
};

// Block b of the group's rows, the first of which begins at `offset` of the result. One function for all
// dtypes of the logits.
template <Reach kReach, int kRows, Keep kKeep>
[[gnu::noinline]] void argmax_block(const ArgmaxParams& p, const ClassGroup<float>& group, int64_t b,
                                    int64_t offset) {
  Best<kRows, kKeep> best;
  each_class<kReach, kRows>(p.logits, group, b,
                            [&](int64_t, int r, vec<float> value) { best.take(r, value); });
  best.store(p, offset, b);
}

inline int64_t argmax_plan_bytes(const ArgmaxParams& p) { return column_plan_bytes(p.logits.width); }
inline void argmax_build_plan(const ArgmaxParams& p, void* plan) { build_column_plan(plan, p.logits.width); }

// Scratch of a thread per source column: the logits of the two rows that are read repeatedly.
inline int64_t argmax_column_bytes(const ArgmaxParams& p) {
  return 2 * p.logits.channels * static_cast<int64_t>(sizeof(float));
}

inline int64_t argmax_units(const ArgmaxParams& p) {
  return p.logits.batch * count_strips(p.logits, argmax_column_bytes(p)) * p.logits.height.out_size;
}

inline int64_t argmax_scratch_bytes(const ArgmaxParams& p) {
  int64_t most = 0;
  for (int64_t i = 0; i < count_strips(p.logits, argmax_column_bytes(p)); ++i) {
    most = larger(most, class_rows_bytes(p.logits, strip_at(p.logits, argmax_column_bytes(p), i)));
  }
  return most;
}

// Blocks of the strip in the group's rows, the first of which begins at `offset` of the result.
template <int kRows, class T>
inline void argmax_group(const ArgmaxParams& p, ClassRows<T, float>& rows, const Strip& strip,
                         const ClassGroup<float>& group, int64_t offset) {
  for (int64_t b = strip.block; b < strip.block_end; ++b) {
    rows.copy_ahead(group.y1 + 1, b - strip.block, strip.block_end - strip.block);
    with_reach(p.logits, b, [&](auto reach) {
      constexpr Reach kReach = decltype(reach)::value;
      if (p.score != nullptr) {
        argmax_block<kReach, kRows, Keep::kAnyWithScore>(p, group, b, offset);
      } else if (group.bounded) {
        argmax_block<kReach, kRows, Keep::kNumbers>(p, group, b, offset);
      } else {
        argmax_block<kReach, kRows, Keep::kAny>(p, group, b, offset);
      }
    });
  }
}

// Units are (n, strip, result row).
template <class T>
void argmax_rows(const ArgmaxParams& p, int64_t begin, int64_t end, void* scratch) {
  const int64_t height = p.logits.height.out_size, width = p.logits.width.out_size;
  each_strip(p.logits, argmax_column_bytes(p), height, begin, end,
             [&](int64_t n, const Strip& strip, int64_t first, int64_t last) {
               ClassRows<T, float> rows(p.logits, strip, n, scratch);
               for (int64_t oy = first; oy < last;) {
                 const ClassGroup<float> group = take_group(p.logits, rows, oy, last);
                 with_rows(group.count, [&](auto count) {
                   argmax_group<decltype(count)::value>(p, rows, strip, group, (n * height + oy) * width);
                 });
                 oy += group.count;
               }
             });
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
