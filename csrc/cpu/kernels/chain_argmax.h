// The class with the largest logit at every pixel of a chain of resizes, whose outputs have a few taps.
//
// First up to four result rows are summed from their source rows, for all classes and one strip of columns:
// little work, since chains mostly enlarge. Then a block of columns keeps its best value and class in
// registers during the loop over classes, as in argmax.h, together with its taps.
#pragma once

#include "argmax.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Blocks of result columns, and the source columns that they read.
struct ChainStrip {
  int64_t block, block_end;
  int64_t first, end;
};

inline const ColumnPlan<float>& column_plan(const ChainLogits& x) {
  return *static_cast<const ColumnPlan<float>*>(x.plan);
}

inline int64_t count_chain_strips(const ChainLogits& x) {
  const int64_t column_bytes = kGroupRows * x.channels * static_cast<int64_t>(sizeof(float));
  return smaller(count_blocks(x.width), 1 + x.width.in_size * column_bytes / kStripBytes);
}

inline ChainStrip chain_strip(const ChainLogits& x, int64_t i) {
  const int64_t blocks = count_blocks(x.width), strips = count_chain_strips(x);
  ChainStrip strip{blocks * i / strips, blocks * (i + 1) / strips, x.width.in_size, 0};
  const int64_t last = smaller(strip.block_end * lanes<float>, x.width.out_size);
  for (int64_t t = x.width.offset[strip.block * lanes<float>]; t < x.width.offset[last]; ++t) {
    strip.first = smaller(strip.first, x.width.index[t]);
    strip.end = larger(strip.end, x.width.index[t] + 1);
  }
  return strip;
}

// Samples from one class to the next in a summed row, an odd number of cache lines.
inline int64_t class_stride(const ChainStrip& strip) {
  constexpr int64_t kLine = 64 / sizeof(float);
  return ((strip.end - strip.first + kLine - 1) / kLine | 1) * kLine;
}

// A window may begin before the samples that its lanes pick and end after them: padding on both sides.
inline int64_t chain_rows_bytes(const ChainLogits& x, const ChainStrip& strip) {
  return (kGroupRows * x.channels * class_stride(strip) +
          2 * kRowPadding<float>)*static_cast<int64_t>(sizeof(float));
}

// The summed rows of one strip; samples are counted from the image's first column.
struct ChainRows {
  float* row[kGroupRows];  // class 0
  int64_t stride;          // to the next class
  bool bounded;            // no logit is NaN
};

// Result row oy of all classes into `row`, which begins at the strip's first column. Returns whether all
// samples are finite and well below the largest float.
inline bool sum_chain_row(const ChainLogits& x, int64_t n, int64_t oy, const ChainStrip& strip, float* row) {
  constexpr float kLimit = 1e37f;
  const int64_t begin = x.height.offset[oy], taps = x.height.offset[oy + 1] - begin;
  const int64_t count = strip.end - strip.first, stride = class_stride(strip);
  vec_index<float> bounded = ~vec_index<float>{};
  for (int64_t c = 0; c < x.channels; ++c, row += stride) {
    const float* plane = static_cast<const float*>(x.input) + n * x.in.batch + c * x.in.channel + strip.first;
    const auto sum = [&](auto part, int64_t column, int64_t some) {
      const vec<float> values = blend_vector<decltype(part)::value>(
          plane + column, x.in.height, some, x.height.index + begin, x.height.weight + begin, taps);
      store(row + column, values);  // a row is padded to whole vectors
      bounded &= (values < kLimit) & (values > -kLimit);
    };
    int64_t column = 0;
    for (; column + lanes<float> <= count; column += lanes<float>) sum(False{}, column, lanes<float>);
    if (column < count) sum(True{}, column, count - column);
  }
  bool all = true;
  for (int64_t lane = 0; lane < lanes<float>; ++lane) all = all && bounded[lane] != 0;
  return all;
}

// Passes on the logits of block b, one class after the other: sink(r, values). kTaps: the number of taps of
// all its columns, which lie in one window; 0: any number, anywhere.
template <int kTaps, int kRows, class Sink>
inline void each_chain_class(const ChainLogits& x, const ChainRows& rows, int64_t b, Sink&& sink) {
  const ColumnPlan<float>& plan = column_plan(x);
  const ColumnBlock<float>& block = plan.blocks[b];
  const ColumnTap<float>* taps = plan.taps + block.tap;
  ColumnTap<float> tap[kTaps > 0 ? kTaps : 1];
  for (int t = 0; t < kTaps; ++t) tap[t] = taps[t];
  for (int64_t c = 0; c < x.channels; ++c) {
    for (int r = 0; r < kRows; ++r) {
      const float* row = rows.row[r] + c * rows.stride;
      vec<float> sum;
      if constexpr (kTaps > 0) {
        const vec<float> window = load(row + block.base);
        sum = tap[0].weight * pick<Reach::kShared, float>(window, tap[0].lane);
        for (int t = 1; t < kTaps; ++t) {
          sum = multiply_add_vector(tap[t].weight, pick<Reach::kShared, float>(window, tap[t].lane), sum);
        }
      } else if (block.reach == Reach::kFar) {
        for (int64_t i = 0; i < lanes<float>; ++i) {
          sum[i] = sum_taps(row, x.width, smaller(b * lanes<float> + i, x.width.out_size - 1));
        }
      } else {
        sum = sum_block<Reach::kWidest>(row, block, taps);  // rows are padded: any reach will do
      }
      sink(r, sum);
    }
  }
}

template <int kTaps, int kRows, Keep kKeep>
[[gnu::noinline]] void chain_argmax_block(const ChainArgmaxParams& p, const ChainRows& rows, int64_t b,
                                          int64_t offset) {
  Best<kRows, kKeep> best;
  each_chain_class<kTaps, kRows>(p.logits, rows, b, [&](int r, vec<float> value) { best.take(r, value); });
  best.store(p, offset, b);
}

// Blocks of the strip in kRows result rows, the first of which begins at `offset` of the result.
template <int kRows>
inline void chain_argmax_group(const ChainArgmaxParams& p, const ChainRows& rows, const ChainStrip& strip,
                               int64_t offset) {
  const auto with_taps = [&](auto taps, int64_t b) {
    constexpr int kTaps = decltype(taps)::value;
    if (p.score != nullptr) {
      chain_argmax_block<kTaps, kRows, Keep::kAnyWithScore>(p, rows, b, offset);
    } else if (rows.bounded) {
      chain_argmax_block<kTaps, kRows, Keep::kNumbers>(p, rows, b, offset);
    } else {
      chain_argmax_block<kTaps, kRows, Keep::kAny>(p, rows, b, offset);
    }
  };
  for (int64_t b = strip.block; b < strip.block_end; ++b) {
    const ColumnBlock<float>& block = column_plan(p.logits).blocks[b];
    const int64_t taps = kPermutes && block.reach == Reach::kShared ? block.taps : 0;
    if (taps == 2) {
      with_taps(RowsConstant<2>{}, b);
    } else if (taps == 3) {
      with_taps(RowsConstant<3>{}, b);
    } else if (taps == 4) {
      with_taps(RowsConstant<4>{}, b);
    } else {
      with_taps(RowsConstant<0>{}, b);
    }
  }
}

inline int64_t chain_argmax_plan_bytes(const ChainArgmaxParams& p) {
  return column_plan_bytes(p.logits.width);
}
inline void chain_argmax_build_plan(const ChainArgmaxParams& p, void* plan) {
  build_column_plan(plan, p.logits.width);
}

inline int64_t chain_argmax_units(const ChainArgmaxParams& p) {
  return p.logits.batch * count_chain_strips(p.logits) * p.logits.height.out_size;
}

inline int64_t chain_argmax_scratch_bytes(const ChainArgmaxParams& p) {
  int64_t most = 0;
  for (int64_t i = 0; i < count_chain_strips(p.logits); ++i) {
    most = larger(most, chain_rows_bytes(p.logits, chain_strip(p.logits, i)));
  }
  return most;
}

// Units are (n, strip, result row).
inline void chain_argmax_rows(const ChainArgmaxParams& p, int64_t begin, int64_t end, void* scratch) {
  const int64_t height = p.logits.height.out_size, width = p.logits.width.out_size;
  const int64_t strips = count_chain_strips(p.logits);
  for (int64_t unit = begin; unit < end;) {
    const int64_t n = unit / height / strips, first = unit % height;
    const int64_t last = smaller(height, first + end - unit);
    const ChainStrip strip = chain_strip(p.logits, unit / height % strips);
    ChainRows rows;
    rows.stride = class_stride(strip);
    for (int64_t oy = first; oy < last;) {
      const int64_t count = last - oy < kGroupRows ? 1 : kGroupRows;
      rows.bounded = true;
      for (int64_t r = 0; r < count; ++r) {
        float* row = static_cast<float*>(scratch) + kRowPadding<float> + r * p.logits.channels * rows.stride;
        rows.row[r] = row - strip.first;
        rows.bounded = sum_chain_row(p.logits, n, oy + r, strip, row) && rows.bounded;
      }
      const int64_t offset = (n * height + oy) * width;
      if (count == kGroupRows) {
        chain_argmax_group<kGroupRows>(p, rows, strip, offset);
      } else {
        chain_argmax_group<1>(p, rows, strip, offset);
      }
      oy += count;
    }
    unit += last - first;
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
