// Few and long lines by bilinear: taps are computed as they are used, in vectors, by LinearAxis's own
// operations. A table of them, and a plan, would take longer to make than the line to resize, and more
// memory.
#pragma once

#include "simd.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Whether a vector has the operations of the table's taps, whose products and sums are fused.
#if UPSAMPLE_PERMUTES && UPSAMPLE_HAS_FMA
constexpr bool kComputesTaps = true;
#else
constexpr bool kComputesTaps = false;
#endif

struct VectorTaps {
  vec_index<float> left, right;
  vec<float> left_weight, right_weight;
};

// Of outputs o, o + 1, ...
inline VectorTaps taps_from(const LinearAxis<float>& axis, int64_t o) {
  vec_index<float> output;
  for (int i = 0; i < lanes<float>; ++i) output[i] = static_cast<int32_t>(o) + i;
  const vec<float> zero{}, one = splat(1.0f), scale = splat(axis.scale);
  const vec<float> position = __builtin_convertvector(output, vec<float>);
  vec<float> source = scale * position;
  if (!axis.align_corners) {
    source = multiply_add_vector(scale, position + splat(0.5f), splat(-0.5f));
    source = source < zero ? zero : source;
  }
  const vec_index<float> last = vec_index<float>{} + static_cast<int32_t>(axis.in_size - 1);
  VectorTaps taps;
  taps.left = __builtin_convertvector(source, vec_index<float>);
  taps.left = taps.left < last ? taps.left : last;
  const vec<float> rest = source - __builtin_convertvector(taps.left, vec<float>);
  taps.right_weight = rest < zero ? zero : (rest > one ? one : rest);
  taps.left_weight = one - taps.right_weight;
  taps.right = taps.left - (taps.left < last);  // a comparison is -1 where it holds
  return taps;
}

// Outputs begin .. end.
template <class T>
void interpolate_line(const LineParams& p, int64_t begin, int64_t end) {
  const T* x = static_cast<const T*>(p.x);
  T* y = static_cast<T*>(p.y);
  const auto blend = [&](auto left, auto right, auto left_weight, auto right_weight, const auto& add) {
    if (p.adds_zero) left = add(decltype(left){}, left, left), right = add(decltype(right){}, right, right);
    return add(right_weight, right, left_weight * left);
  };
  const auto one_by_one = [&](int64_t o) {
    const auto taps = p.axis.taps(o);
    const auto add = [](float a, float b, float c) { return multiply_add(a, b, c); };
    from_acc(blend(to_acc(x[taps.index0]), to_acc(x[taps.index1]), taps.weight0, taps.weight1, add), y + o);
  };
  int64_t o = begin;
  for (; o + lanes<float> <= end; o += lanes<float>) {
    const VectorTaps taps = taps_from(p.axis, o);
    const int64_t base = smaller(taps.left[0], p.axis.in_size - 2 * lanes<float>);
    if (taps.right[lanes<float> - 1] - base >= 2 * lanes<float>) {
      for (int64_t i = o; i < o + lanes<float>; ++i) one_by_one(i);
      continue;
    }
    const vec<float> near = load(x + base), far = load(x + base + lanes<float>);
    const vec_index<float> from = vec_index<float>{} + static_cast<int32_t>(base);
    const vec<float> left = permute_two(near, far, taps.left - from);
    const vec<float> right = permute_two(near, far, taps.right - from);
    const auto add = [](vec<float> a, vec<float> b, vec<float> c) { return multiply_add_vector(a, b, c); };
    store(y + o, blend(left, right, taps.left_weight, taps.right_weight, add));
  }
  for (; o < end; ++o) one_by_one(o);
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
