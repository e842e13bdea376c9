// The vertical pass: the source rows of one result row, summed into a row of acc. horizontal.h is the
// horizontal pass, which continues from there.
//
// Resize and every op fused to it use these functions, so that a fused op sees bit for bit what resize would
// store.
#pragma once

#include "horizontal.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// The order in which a row of an image is traversed: `segments` segments of `length` adjacent samples,
// `stride` apart. One segment of all pixels, or of all pixels' channels; or one segment per pixel, if only
// some of its channels are taken.
struct RowShape {
  int64_t segments, length, stride;
  int64_t size() const { return segments * length; }
};

// ---- interpolating: straight from two source rows ---------------------------------------------------------

// A block of columns in kRows result rows between the same two source rows: the corners
// are loaded once, blended vertically, then horizontally. sink(r, values) receives the columns of row r:
// resize stores them, a fused op reduces them.
template <Reach kReach, int kRows, class T, class acc, class Sink>
inline void interpolate_block(const T* source0, const T* source1, const vec<acc>* down0,
                              const vec<acc>* down1, const ColumnTap<acc>& tap0, const ColumnTap<acc>& tap1,
                              Sink&& sink) {
  if constexpr (shares_windows(kReach)) {
    const auto above = load_windows<kReach, acc>(source0), below = load_windows<kReach, acc>(source1);
    for (int r = 0; r < kRows; ++r) {
      SharedWindows<kReach, acc> row;
      row.first = multiply_add_vector(down1[r], below.first, down0[r] * above.first);
      row.second = multiply_add_vector(down1[r], below.second, down0[r] * above.second);
      const vec<acc> left = tap0.weight * row.pick(tap0.lane);
      sink(r, multiply_add_vector(tap1.weight, row.pick(tap1.lane), left));
    }
  } else {
    const vec<acc> corner00 = fetch<kReach, acc>(source0, tap0.lane);
    const vec<acc> corner01 = fetch<kReach, acc>(source0 + tap1.offset, tap1.lane);
    const vec<acc> corner10 = fetch<kReach, acc>(source1, tap0.lane);
    const vec<acc> corner11 = fetch<kReach, acc>(source1 + tap1.offset, tap1.lane);
    for (int r = 0; r < kRows; ++r) {
      const vec<acc> left = multiply_add_vector(down1[r], corner10, down0[r] * corner00);
      const vec<acc> right = multiply_add_vector(down1[r], corner11, down0[r] * corner01);
      sink(r, multiply_add_vector(tap1.weight, right, tap0.weight * left));
    }
  }
}

// ---- gathering: one result row at a time ----------------------------------------------------------------

// The sum over taps t of weight[t] * input[index[t] * row_stride + x], in lane x < count. kAsks: what lies
// kReadAhead bytes further is asked for, in rows so short that the hardware follows none of them.
template <bool kPart, bool kAsks = false, class T, class acc>
inline vec<acc> blend_vector(const T* input, int64_t row_stride, int64_t count, const int64_t* index,
                             const acc* weight, int64_t taps) {
  constexpr int64_t kAhead = kReadAhead / static_cast<int64_t>(sizeof(T));
  vec<acc> sum = splat(weight[0]) * load_some<kPart>(input + index[0] * row_stride, count);
  if (kAsks) __builtin_prefetch(input + index[0] * row_stride + kAhead);
  for (int64_t t = 1; t < taps; ++t) {
    const vec<acc> row = load_some<kPart>(input + index[t] * row_stride, count);
    if (kAsks) __builtin_prefetch(input + index[t] * row_stride + kAhead);
    sum = multiply_add_vector(splat(weight[t]), row, sum);
  }
  return sum;
}

// sum[x] += the products of kTaps rows; kFresh: the sum has no value yet.
template <int kTaps, bool kFresh, class T, class acc>
inline void add_taps(acc* sum, const T* input, int64_t row_stride, int64_t count, const int64_t* index,
                     const acc* weight) {
  const T* rows[kTaps];
  vec<acc> factor[kTaps];
  for (int t = 0; t < kTaps; ++t) rows[t] = input + index[t] * row_stride, factor[t] = splat(weight[t]);
  const auto add = [&](auto part, int64_t x, int64_t some) {
    constexpr bool kPart = decltype(part)::value;
    vec<acc> total{};
    if (!kFresh) total = load_some<kPart>(sum + x, some);
    for (int t = 0; t < kTaps; ++t) {
      const vec<acc> value = load_some<kPart>(rows[t] + x, some);
      total = kFresh && t == 0 ? factor[t] * value : multiply_add_vector(factor[t], value, total);
    }
    store_some<kPart>(sum + x, total, some);
  };
  int64_t x = 0;
  for (; x + lanes<acc> <= count; x += lanes<acc>) add(False{}, x, lanes<acc>);
  if (x < count) add(True{}, x, count - x);
}

// buffer[x] = the sum of many rows, x < count: a few at a time, of stretches that stay in the first cache. Of
// more rows side by side, each in pages of its own, none is fetched ahead.
template <class T, class acc>
[[gnu::noinline]] void blend_many_rows(acc* buffer, const T* input, int64_t row_stride, int64_t count,
                                       const int64_t* index, const acc* weight, int64_t taps) {
  constexpr int64_t kStretch = (8 << 10) / static_cast<int64_t>(sizeof(acc));
  for (int64_t x = 0; x < count; x += kStretch) {
    const int64_t some = smaller(kStretch, count - x);
    add_taps<4, true>(buffer + x, input + x, row_stride, some, index, weight);
    int64_t t = 4;
    for (; t + 4 <= taps; t += 4) {
      add_taps<4, false>(buffer + x, input + x, row_stride, some, index + t, weight + t);
    }
    const auto add_rest = taps - t == 1   ? add_taps<1, false, T, acc>
                          : taps - t == 2 ? add_taps<2, false, T, acc>
                                          : add_taps<3, false, T, acc>;
    if (t < taps) add_rest(buffer + x, input + x, row_stride, some, index + t, weight + t);
  }
}

// buffer[x] = the same, x < count.
template <bool kAsks = false, class T, class acc>
inline void blend_segment(acc* buffer, const T* input, int64_t row_stride, int64_t count,
                          const int64_t* index, const acc* weight, int64_t taps) {
  constexpr int64_t kManyTaps = 11, kShortest = 512;
  if (taps > kManyTaps && count >= kShortest) {
    return blend_many_rows(buffer, input, row_stride, count, index, weight, taps);
  }
  int64_t x = 0;
  while (x + lanes<acc> <= count) {
    store(buffer + x, blend_vector<false, kAsks>(input + x, row_stride, lanes<acc>, index, weight, taps));
    x += lanes<acc>;
    // The remainder is a whole vector too, which overlaps the one before.
    if (x < count && x + lanes<acc> > count) x = count - lanes<acc>;
  }
  if (x < count)
    store_part(buffer + x, blend_vector<true>(input + x, row_stride, count - x, index, weight, taps),
               count - x);
}

// The same of kTaps source rows, for kRows result rows that read them: weights and samples stay in registers.
template <int kTaps, int kRows, bool kAsks = false, class T, class acc>
inline void blend_known_taps(acc* const* buffer, const T* input, int64_t row_stride, int64_t count,
                             const int64_t* index, const acc* const* weight) {
  const T* source[kTaps];
  vec<acc> factor[kRows][kTaps];
  for (int t = 0; t < kTaps; ++t) {
    source[t] = input + index[t] * row_stride;
    for (int r = 0; r < kRows; ++r) factor[r][t] = splat(weight[r][t]);
  }
  const auto blend = [&](auto part, int64_t x, int64_t some) {
    constexpr bool kPart = decltype(part)::value;
    vec<acc> value[kTaps];
    for (int t = 0; t < kTaps; ++t) {
      value[t] = load_some<kPart>(source[t] + x, some);
      if (kAsks) __builtin_prefetch(source[t] + x + kReadAhead / static_cast<int64_t>(sizeof(T)));
    }
    for (int r = 0; r < kRows; ++r) {
      vec<acc> sum = factor[r][0] * value[0];
      for (int t = 1; t < kTaps; ++t) sum = multiply_add_vector(factor[r][t], value[t], sum);
      store_some<kPart>(buffer[r] + x, sum, some);
    }
  };
  int64_t x = 0;
  while (x + lanes<acc> <= count) {
    blend(False{}, x, lanes<acc>);
    x += lanes<acc>;
    if (x < count && x + lanes<acc> > count) x = count - lanes<acc>;
  }
  if (x < count) blend(True{}, x, count - x);
}

// Whether two result rows read the same source rows, four of them.
template <class acc>
inline bool share_four_rows(const AxisTaps<acc>& axis, int64_t a, int64_t b) {
  const int64_t *p = axis.index + axis.offset[a], *q = axis.index + axis.offset[b];
  return axis.offset[a + 1] - axis.offset[a] == 4 && axis.offset[b + 1] - axis.offset[b] == 4 &&
         p[0] == q[0] && p[1] == q[1] && p[2] == q[2] && p[3] == q[3];
}

template <class T, class acc>
inline void blend_two_rows(acc* buffer0, acc* buffer1, const T* input, int64_t row_stride,
                           const RowShape& shape, const AxisTaps<acc>& axis, int64_t out_row) {
  const int64_t begin = axis.offset[out_row];
  const acc* weight[] = {axis.weight + begin, axis.weight + begin + 4};
  for (int64_t s = 0; s < shape.segments; ++s) {
    acc* const buffer[] = {buffer0 + s * shape.length, buffer1 + s * shape.length};
    blend_known_taps<4, 2>(buffer, input + s * shape.stride, row_stride, shape.length, axis.index + begin,
                           weight);
  }
}

template <class T, class acc>
inline void blend_rows(acc* buffer, const T* input, int64_t row_stride, const RowShape& shape,
                       const AxisTaps<acc>& axis, int64_t out_row) {
  const int64_t begin = axis.offset[out_row], taps = axis.offset[out_row + 1] - begin;
  if (taps == 0) {
    for (int64_t x = 0; x < shape.size(); ++x) buffer[x] = acc(0);
    return;
  }
  const int64_t* index = axis.index + begin;
  const acc* const weight = axis.weight + begin;
  // Where rows are many more than results they are read about once.
  const bool asks = axis.in_size > axis.out_size;
  const auto blend_four = asks ? blend_known_taps<4, 1, true, T, acc> : blend_known_taps<4, 1, false, T, acc>;
  const auto blend = asks ? blend_segment<true, T, acc> : blend_segment<false, T, acc>;
  for (int64_t s = 0; s < shape.segments; ++s) {
    acc* const part = buffer + s * shape.length;
    const T* from = input + s * shape.stride;
    if (taps == 4) {
      blend_four(&part, from, row_stride, shape.length, index, &weight);
    } else {
      blend(part, from, row_stride, shape.length, index, weight, taps);
    }
  }
}

// ---- scattering: one pass over the input ----------------------------------------------------------------
//
// The gradient of an interpolation: each row of the input is read once and added to the one or two result
// rows that it contributes to, in the order of the input's rows. That is also the order in which gathering
// would sum, so that the bits do not depend on where a thread's rows begin.

// sum0[x] += weight0[r] * rows[r][x], and the same for sum1; kFresh: sum1 has no value yet.
template <int kRows, bool kFresh, bool kPart, class T, class acc>
inline void scatter_vector(acc* sum0, acc* sum1, const T* const* rows, const vec<acc>* weight0,
                           const vec<acc>* weight1, int64_t ahead, int64_t x, int64_t count) {
  vec<acc> a = load_some<kPart>(sum0 + x, count), b{};
  if (!kFresh) b = load_some<kPart>(sum1 + x, count);
  for (int r = 0; r < kRows; ++r) {
    const vec<acc> value = load_some<kPart>(rows[r] + x, count);
    __builtin_prefetch(rows[r] + x + ahead);
    a = multiply_add_vector(weight0[r], value, a);
    b = kFresh && r == 0 ? weight1[r] * value : multiply_add_vector(weight1[r], value, b);
  }
  store_some<kPart>(sum0 + x, a, count);
  store_some<kPart>(sum1 + x, b, count);
}

template <int kRows, bool kFresh, class T, class acc>
inline void scatter_segment(acc* sum0, acc* sum1, const T* const* rows, const vec<acc>* weight0,
                            const vec<acc>* weight1, int64_t ahead, int64_t count) {
  int64_t x = 0;
  for (; x + lanes<acc> <= count; x += lanes<acc>) {
    scatter_vector<kRows, kFresh, false>(sum0, sum1, rows, weight0, weight1, ahead, x, lanes<acc>);
  }
  if (x < count) {
    scatter_vector<kRows, kFresh, true>(sum0, sum1, rows, weight0, weight1, ahead, x, count - x);
  }
}

// sum[x] += weight * row[x]
template <bool kPart, class T, class acc>
inline void add_vector(acc* sum, const T* row, vec<acc> weight, int64_t count) {
  const vec<acc> value = load_some<kPart>(row, count);
  store_some<kPart>(sum, multiply_add_vector(weight, value, load_some<kPart>(sum, count)), count);
}

template <class T, class acc>
inline void add_segment(acc* sum, const T* row, vec<acc> weight, int64_t count) {
  int64_t x = 0;
  for (; x + lanes<acc> <= count; x += lanes<acc>) add_vector<false>(sum + x, row + x, weight, lanes<acc>);
  if (x < count) add_vector<true>(sum + x, row + x, weight, count - x);
}

// Whether scattering is possible and saves work compared with gathering.
template <class acc>
inline bool scatters_rows(const ResampleParams<acc>& p) {
  return p.height_forward.interpolates && p.height.max_taps > 2;
}

template <class T, class acc>
class RowScatter {
 public:
  // `forward` is the interpolation and `transposed` its transpose; rows of `shape` are row_stride apart; sum0
  // and sum1 hold shape.size() elements each.
  RowScatter(const T* input, int64_t row_stride, const RowShape& shape, const AxisTaps<acc>& transposed,
             const AxisTaps<acc>& forward, acc* sum0, acc* sum1)
      : input_(input),
        row_stride_(row_stride),
        shape_(shape),
        transposed_(transposed),
        forward_(forward),
        sum_{sum0, sum1} {}

  // Starts at result row `begin`; rows >= end belong to another thread.
  void start(int64_t begin, int64_t end) {
    row_ = begin;
    end_ = end;
    fresh_[0] = fresh_[1] = true;
    const int64_t tap = transposed_.offset[begin];  // the first of this row, or of the next that has one
    next_ = tap < transposed_.offset[transposed_.out_size] ? transposed_.index[tap] : forward_.out_size;
  }

  // The next result row; valid until the next call.
  const acc* produce() {
    while (next_ < forward_.out_size && first_touched(next_) <= row_) take_rows();
    make_sum(0);
    acc* finished = sum_[0];
    sum_[0] = sum_[1];
    sum_[1] = finished;
    fresh_[0] = fresh_[1];
    fresh_[1] = true;
    ++row_;
    return finished;
  }

 private:
  static constexpr int kMostRows = 4;

  // The first result row that an input row contributes to; -1, before all of them, if it has no taps.
  int64_t first_touched(int64_t input_row) const {
    const int64_t tap = forward_.offset[input_row];
    return tap < forward_.offset[input_row + 1] ? forward_.index[tap] : -1;
  }

  bool alike(int64_t a, int64_t b) const {
    const int64_t *p = forward_.index + forward_.offset[a], *q = forward_.index + forward_.offset[b];
    return p[0] == q[0] && p[1] == q[1];
  }

  // A sum that has no value yet becomes -0, which added to any value leaves its bits unchanged.
  void make_sum(int i) {
    if (!fresh_[i]) return;
    for (int64_t x = 0; x < shape_.size(); ++x) sum_[i][x] = acc(-0.0);
    fresh_[i] = false;
  }

  // Adds the next input row, or as many as contribute to the same two result rows.
  void take_rows() {
    const int64_t first = next_, taps = forward_.offset[first + 1] - forward_.offset[first];
    const int64_t* index = forward_.index + forward_.offset[first];
    if (taps != 2 || index[0] != row_ || index[1] != row_ + 1 || row_ + 1 == end_) return take_row();
    int count = 1;
    while (count < kMostRows && first + count < forward_.out_size &&
           forward_.offset[first + count + 1] - forward_.offset[first + count] == 2 &&
           alike(first, first + count)) {
      ++count;
    }
    next_ += count;
    make_sum(0);
    const bool fresh = fresh_[1];
    fresh_[1] = false;
    switch (count) {
      case 1:
        return fresh ? add_to_both<1, true>(first) : add_to_both<1, false>(first);
      case 2:
        return fresh ? add_to_both<2, true>(first) : add_to_both<2, false>(first);
      case 3:
        return fresh ? add_to_both<3, true>(first) : add_to_both<3, false>(first);
      default:
        return fresh ? add_to_both<4, true>(first) : add_to_both<4, false>(first);
    }
  }

  // How many samples ahead to prefetch: within the row if it is long, otherwise beyond all rows of this step,
  // which the hardware prefetcher, tuned for a single stream, does not do.
  int64_t prefetch_distance(int rows) const {
    constexpr int64_t kAhead = 4096 / sizeof(T);
    const int64_t step = larger(1, rows * row_stride_);
    return row_stride_ >= kAhead ? kAhead / 2 : (kAhead + step - 1) / step * step;
  }

  template <int kRows, bool kFresh>
  void add_to_both(int64_t first) {
    vec<acc> weight0[kRows], weight1[kRows];
    for (int r = 0; r < kRows; ++r) {
      weight0[r] = splat(forward_.weight[forward_.offset[first + r]]);
      weight1[r] = splat(forward_.weight[forward_.offset[first + r] + 1]);
    }
    for (int64_t s = 0; s < shape_.segments; ++s) {
      const T* rows[kRows];
      for (int r = 0; r < kRows; ++r) rows[r] = input_ + (first + r) * row_stride_ + s * shape_.stride;
      scatter_segment<kRows, kFresh>(sum_[0] + s * shape_.length, sum_[1] + s * shape_.length, rows, weight0,
                                     weight1, prefetch_distance(kRows), shape_.length);
    }
  }

  // One input row with fewer than two taps, with both on one row, or with one that is another thread's.
  void take_row() {
    const int64_t input_row = next_++;
    for (int64_t t = forward_.offset[input_row]; t < forward_.offset[input_row + 1]; ++t) {
      const int64_t target = forward_.index[t] - row_;
      if (target < 0 || target > 1 || row_ + target >= end_) continue;
      make_sum(static_cast<int>(target));
      const vec<acc> weight = splat(forward_.weight[t]);
      for (int64_t s = 0; s < shape_.segments; ++s) {
        add_segment(sum_[target] + s * shape_.length, input_ + input_row * row_stride_ + s * shape_.stride,
                    weight, shape_.length);
      }
    }
  }

  const T* input_;
  int64_t row_stride_;
  RowShape shape_;
  AxisTaps<acc> transposed_, forward_;
  acc* sum_[2];
  bool fresh_[2];
  int64_t row_, end_, next_;
};

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
