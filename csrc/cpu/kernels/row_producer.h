// One output row of y = A_h x A_w^T in two steps: blend the source rows into a buffer of acc (once per output
// row, vector after vector), then expand or reduce that buffer along the width.
//
// Every op of the package takes its rows from here, so that a fused op sees bit for bit what resize would
// store.
#pragma once

#include "simd.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// buffer[x] = sum over taps t of weight[t] * input[index[t] * row_stride + x * stride], x < count.
template <class T, class acc = acc_of<T>>
inline void blend_rows(acc* buffer, const T* input, int64_t row_stride, int64_t stride, int64_t count,
                       const AxisTaps<acc>& axis, int64_t out_row) {
  const int64_t begin = axis.offset[out_row], taps = axis.offset[out_row + 1] - begin;
  const int64_t* index = axis.index + begin;
  const acc* weight = axis.weight + begin;
  int64_t x = 0;
  if (taps == 0) {
    for (; x < count; ++x) buffer[x] = acc(0);
    return;
  }
  if (taps == 2 && stride == 1) {
    const T* row0 = input + index[0] * row_stride;
    const T* row1 = input + index[1] * row_stride;
    const vec<acc> w0 = splat(weight[0]), w1 = splat(weight[1]);
    for (; x + lanes<acc> <= count; x += lanes<acc>) {
      store(buffer + x, multiply_add_vector(w1, load(row1 + x), w0 * load(row0 + x)));
    }
  } else if (stride == 1) {
    constexpr int64_t step = 2 * lanes<acc>;
    for (; x + step <= count; x += step) {
      const T* source = input + index[0] * row_stride + x;
      vec<acc> sum0 = splat(weight[0]) * load(source), sum1 = splat(weight[0]) * load(source + lanes<acc>);
      for (int64_t t = 1; t < taps; ++t) {
        source = input + index[t] * row_stride + x;
        sum0 = multiply_add_vector(splat(weight[t]), load(source), sum0);
        sum1 = multiply_add_vector(splat(weight[t]), load(source + lanes<acc>), sum1);
      }
      store(buffer + x, sum0);
      store(buffer + x + lanes<acc>, sum1);
    }
  }
  for (; x < count; ++x) {
    acc sum = weight[0] * to_acc(input[index[0] * row_stride + x * stride]);
    for (int64_t t = 1; t < taps; ++t) {
      sum = multiply_add(weight[t], to_acc(input[index[t] * row_stride + x * stride]), sum);
    }
    buffer[x] = sum;
  }
}

// sum over the taps of one output column, for a buffer of one value per column.
template <class acc>
inline acc sum_taps(const acc* buffer, const AxisTaps<acc>& axis, int64_t out_column) {
  int64_t t = axis.offset[out_column];
  const int64_t end = axis.offset[out_column + 1];
  if (t == end) return acc(0);
  acc sum = axis.weight[t] * buffer[axis.index[t]];
  for (++t; t < end; ++t) sum = multiply_add(axis.weight[t], buffer[axis.index[t]], sum);
  return sum;
}

// ---- expansion: at most two taps per output column
// ----------------------------------------------------------

// A block of `lanes` neighbouring output columns: where each has two taps and they lie close together
// (everywhere inside an image when upsampling), each tap of the whole block is one load and one permutation.
template <class acc>
struct ColumnBlock {
  vec_index<acc> lane0, lane1;
  vec<acc> weight0, weight1;
  int64_t base0, base1;
  bool compact;
};

template <class acc>
constexpr int64_t column_blocks(int64_t out_size) {
  return (out_size + lanes<acc> - 1) / lanes<acc>;
}

template <class acc>
inline void plan_columns(ColumnBlock<acc>* blocks, const AxisTaps<acc>& axis) {
  for (int64_t b = 0; b < column_blocks<acc>(axis.out_size); ++b) {
    ColumnBlock<acc>& block = blocks[b];
    int64_t least0 = INT64_MAX, least1 = INT64_MAX, most0 = 0, most1 = 0;
    int64_t index0[lanes<acc>], index1[lanes<acc>];
    block.compact = true;
    for (int64_t i = 0; i < lanes<acc>; ++i) {
      int64_t o = b * lanes<acc> + i;
      if (o >= axis.out_size) o = axis.out_size - 1;
      const int64_t t = axis.offset[o];
      if (axis.offset[o + 1] - t != 2) {
        block.compact = false;
        break;
      }
      index0[i] = axis.index[t];
      index1[i] = axis.index[t + 1];
      block.weight0[i] = axis.weight[t];
      block.weight1[i] = axis.weight[t + 1];
      least0 = index0[i] < least0 ? index0[i] : least0;
      least1 = index1[i] < least1 ? index1[i] : least1;
      most0 = index0[i] > most0 ? index0[i] : most0;
      most1 = index1[i] > most1 ? index1[i] : most1;
    }
    block.compact = block.compact && most0 - least0 < lanes<acc> && most1 - least1 < lanes<acc>;
    if (!block.compact) continue;
    block.base0 = least0;
    block.base1 = least1;
    for (int64_t i = 0; i < lanes<acc>; ++i) {
      block.lane0[i] = index0[i] - least0;
      block.lane1[i] = index1[i] - least1;
    }
  }
}

// The columns of a compact block. The buffer must be readable `lanes` beyond its end.
template <class acc>
inline vec<acc> expand_columns(const acc* buffer, const ColumnBlock<acc>& block) {
  const vec<acc> v0 = permute(load(buffer + block.base0), block.lane0);
  const vec<acc> v1 = permute(load(buffer + block.base1), block.lane1);
  return multiply_add_vector(block.weight1, v1, block.weight0 * v0);
}

// ---- reduction: many neighbouring taps per output column, as in the gradient of an upsampling
// ---------------------

// The taps of one column as whole vectors of the buffer from `start` on; the last is filled up with NaN
// weights, whose products are dropped (a zero weight would make NaN of an infinity that is not the column's).
template <class acc>
struct ColumnWindow {
  int64_t start;
  int64_t first_vector, vectors;  // into the plan's weights; none where the taps are not neighbours
};

template <class acc>
inline int64_t window_vectors(const AxisTaps<acc>& axis, int64_t column) {
  const int64_t begin = axis.offset[column], end = axis.offset[column + 1];
  for (int64_t t = begin + 1; t < end; ++t) {
    if (axis.index[t] != axis.index[begin] + t - begin) return 0;
  }
  return (end - begin + lanes<acc> - 1) / lanes<acc>;
}

template <class acc>
inline int64_t window_plan_vectors(const AxisTaps<acc>& axis) {
  int64_t vectors = 0;
  for (int64_t o = 0; o < axis.out_size; ++o) vectors += window_vectors(axis, o);
  return vectors;
}

template <class acc>
inline void plan_windows(vec<acc>* weights, ColumnWindow<acc>* windows, const AxisTaps<acc>& axis) {
  int64_t next = 0;
  for (int64_t o = 0; o < axis.out_size; ++o) {
    const int64_t begin = axis.offset[o], taps = axis.offset[o + 1] - begin;
    windows[o] = {taps > 0 ? axis.index[begin] : 0, next, window_vectors(axis, o)};
    for (int64_t i = 0; i < windows[o].vectors * lanes<acc>; ++i) {
      weights[next + i / lanes<acc>][i % lanes<acc>] =
          i < taps ? axis.weight[begin + i] : acc(__builtin_nan(""));
    }
    next += windows[o].vectors;
  }
}

// Like the expansion, this reads up to `lanes` beyond the buffer's end.
template <class acc>
inline acc reduce_window(const acc* buffer, const vec<acc>* weights, const ColumnWindow<acc>& window) {
  const acc* source = buffer + window.start;
  const vec<acc>* weight = weights + window.first_vector;
  const int64_t last = window.vectors - 1;
  const vec<acc> product = weight[last] * load(source + last * lanes<acc>);
  vec<acc> sum = (vec<acc>)((weight[last] == weight[last]) & (vec_index<acc>)product);
  for (int64_t k = 0; k < last; ++k) sum = multiply_add_vector(weight[k], load(source + k * lanes<acc>), sum);
  return sum_lanes(sum);
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
