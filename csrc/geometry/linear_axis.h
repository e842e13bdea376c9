// Bilinear resize along one axis: two taps around the source coordinate.
#pragma once

#include <float.h>

#include "taps.h"

namespace upsample_ext {

// Bilinear resize along one axis, as F.interpolate(mode="bilinear") samples it.
template <class T, class Index = int64_t>
struct LinearAxis {
  static constexpr int kTaps = 2;
  static constexpr bool kMayLackTaps = false;
  template <class Other>
  using with_index = LinearAxis<T, Other>;

  Index in_size, out_size;
  bool align_corners;
  bool copies;           // output o is sample o
  bool floors_in_float;  // of a double, as native's CPU kernels do
  T scale;               // source samples per output sample
  T copied_weight1;      // of the second tap where the axis copies

  LinearAxis() = default;
  // scale_factor <= 0 means "not given": the scale is then the ratio of the sizes.
  UPSAMPLE_HOST_DEVICE LinearAxis(int64_t in, int64_t out, bool corners, double scale_factor,
                                  NativeRules rules)
      : in_size(static_cast<Index>(in)),
        out_size(static_cast<Index>(out)),
        align_corners(corners),
        copies(follows_cpu(rules) ? in == out : rules == NativeRules::kCudaCopy),
        floors_in_float(rules == NativeRules::kCpu),
        // Both taps of a copy are on one sample. So small a second weight is lost in rounding for finite
        // values and keeps an infinity an infinity, where a weight of 0 would make it NaN.
        copied_weight1(follows_cpu(rules) ? T(0) : static_cast<T>(sizeof(T) == 4 ? FLT_MIN : DBL_MIN)) {
    scale = copies ? T(1) : sampling_scale<T>(in, out, corners, scale_factor);
  }

  template <class Other>
  explicit LinearAxis(const LinearAxis<T, Other>& axis)
      : in_size(static_cast<Index>(axis.in_size)),
        out_size(static_cast<Index>(axis.out_size)),
        align_corners(axis.align_corners),
        copies(axis.copies),
        floors_in_float(axis.floors_in_float),
        scale(axis.scale),
        copied_weight1(axis.copied_weight1) {}

  bool fits_32_bits() const { return in_size < kFar && out_size < kFar; }

  // align_corners: the corner samples coincide. Otherwise samples are areas with their centres at +0.5, and
  // coordinates before the first centre are clamped to it.
  UPSAMPLE_HOST_DEVICE T source_index(Index out_index) const {
    if (align_corners) return scale * static_cast<T>(out_index);
    const T source = fused_multiply_add(scale, static_cast<T>(out_index) + T(0.5), T(-0.5));
    return source < T(0) ? T(0) : source;
  }

  UPSAMPLE_HOST_DEVICE Taps<T, 2, Index> taps(Index out_index) const {
    if (copies) return {out_index, out_index, T(1), copied_weight1};
    const T source = source_index(out_index);
    const Index last = in_size - 1;
    // No source is negative: the cast floors. Beyond the exact range of T the index may pass the end.
    const T floored = sizeof(T) == 8 && floors_in_float ? static_cast<T>(static_cast<float>(source)) : source;
    constexpr T kBeyond = sizeof(Index) == 4 ? T(0x1p31) : T(0x1p63);
    Index index0 = floored < kBeyond ? static_cast<Index>(floored) : last;
    index0 = index0 < last ? index0 : last;
    T weight1 = source - static_cast<T>(index0);
    weight1 = weight1 < T(0) ? T(0) : (weight1 > T(1) ? T(1) : weight1);
    return {index0, index0 + (index0 < last ? 1 : 0), T(1) - weight1, weight1};
  }

  // The outputs that read source i are among begin(i) .. end(i) - 1; both grow with i.
  UPSAMPLE_HOST_DEVICE Index begin(Index i) const {
    return first_output(i - 1, [&](const Taps<T, 2, Index>& t) { return t.index1 >= i; });
  }
  UPSAMPLE_HOST_DEVICE Index end(Index i) const {
    return first_output(i + 1, [&](const Taps<T, 2, Index>& t) { return t.index0 > i; });
  }

  // Near begin(i), as a rule one or two before it: where lanes that look for it together begin.
  UPSAMPLE_HOST_DEVICE Index begin_about(Index i) const {
    const Index guess = guessed_output(about(i - 1), out_size);
    return guess > 0 ? guess - 1 : 0;
  }

  // About how many outputs lie between two sources.
  double outputs_per_source() const { return scale > T(0) ? 1.0 / static_cast<double>(scale) : out_size; }

  // An upper bound on the outputs that read any of `sources` neighbouring sources, if none is clamped to an
  // end: their source indices are between one below the first source and one above the last. Rounding widens
  // that range: of the source index, by up to half a unit in the last place, and before it of the output's
  // index plus 0.5, by up to one, which matters beyond 2^23.
  double most_outputs_inside(int64_t sources) const {
    const double unit = floors_in_float || sizeof(T) == 4 ? FLT_EPSILON : DBL_EPSILON;
    const double width = static_cast<double>(sources) + 1.0 + unit * static_cast<double>(in_size);
    return ceil(width * outputs_per_source() + 2.0 * unit * static_cast<double>(out_size));
  }

 private:
  // The first output whose taps are `far` enough, which is near `source`.
  template <class Far>
  UPSAMPLE_HOST_DEVICE Index first_output(Index source, Far&& far) const {
    return first_output_about(about(source), out_size, [&](Index o) { return far(taps(o)); });
  }
  UPSAMPLE_HOST_DEVICE T about(Index source) const {
    const T centre = align_corners ? T(0) : T(0.5);
    return scale > T(0) ? (static_cast<T>(source) + centre) / scale : T(0);
  }
};

}  // namespace upsample_ext
