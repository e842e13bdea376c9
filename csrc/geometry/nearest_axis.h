// One tap of weight 1: nearest neighbours, and an axis that is copied.
#pragma once

#include "taps.h"

namespace upsample_ext {

// Output o is sample o.
template <class T, class Index = int64_t>
struct IdentityAxis {
  static constexpr int kTaps = 1;
  template <class Other>
  using with_index = IdentityAxis<T, Other>;

  Index in_size, out_size;

  explicit IdentityAxis(int64_t size) : in_size(static_cast<Index>(size)), out_size(in_size) {}

  UPSAMPLE_HOST_DEVICE Taps<T, 1, Index> taps(Index o) const { return {{o}, {T(1)}}; }
  UPSAMPLE_HOST_DEVICE Index begin(Index i) const { return i; }
  UPSAMPLE_HOST_DEVICE Index end(Index i) const { return i + 1; }
};

// The size up to which all centres of an axis, o + 0.5, are numbers of float32: one of that size that stays
// is its own nearest-exact axis. Beyond it, rounding moves them.
constexpr int64_t kMostExactCentres = int64_t{1} << 23;

// mode="nearest" and, if `exact`, "nearest-exact": the coordinate of the output's corner or centre, rounded
// down. float32 for every dtype.
template <class T, class Index = int64_t>
struct NearestAxis {
  static constexpr int kTaps = 1;
  template <class Other>
  using with_index = NearestAxis<T, Other>;

  Index in_size, out_size;
  bool exact;
  bool on_cpu;  // native's rules there
  int shift;    // where native shifts the index in place of scaling it; otherwise -1
  float scale;  // source samples per output sample

  NearestAxis(int64_t in, int64_t out, bool exact_centres, double scale_factor, NativeRules rules)
      : in_size(static_cast<Index>(in)),
        out_size(static_cast<Index>(out)),
        exact(exact_centres),
        on_cpu(follows_cpu(rules)),
        shift(-1),
        scale(sampling_scale<float>(in, out, false, scale_factor)) {
    // Equal and doubled sizes, whatever the scale factor is.
    if (on_cpu && !exact && out == in) shift = 0;
    if (on_cpu && !exact && out / 2 == in && out % 2 == 0) shift = 1;
    if (rules == NativeRules::kCudaCopy) shift = 0;
  }

  template <class Other>
  explicit NearestAxis(const NearestAxis<T, Other>& axis)
      : in_size(static_cast<Index>(axis.in_size)),
        out_size(static_cast<Index>(axis.out_size)),
        exact(axis.exact),
        on_cpu(axis.on_cpu),
        shift(axis.shift),
        scale(axis.scale) {}

  bool fits_32_bits() const { return in_size < kFar && out_size < kFar; }

  UPSAMPLE_HOST_DEVICE Taps<T, 1, Index> taps(Index o) const { return {{source(o)}, {T(1)}}; }
  // Outputs begin(i) .. end(i) - 1 are those of source i, and begin(i + 1) is end(i).
  UPSAMPLE_HOST_DEVICE Index begin(Index i) const {
    const float about = shift >= 0    ? static_cast<float>(i << shift)
                        : scale > 0.f ? static_cast<float>(i) / scale
                                      : 0.f;
    return first_output_about(about, out_size, [&](Index o) { return source(o) >= i; });
  }
  UPSAMPLE_HOST_DEVICE Index end(Index i) const { return begin(i + 1); }

  UPSAMPLE_HOST_DEVICE Index source(Index o) const {
    if (shift >= 0) return o >> shift;
    float position;
    if (!exact) {
      position = static_cast<float>(o) * scale;
    } else if (on_cpu) {
      position = static_cast<float>((static_cast<double>(o) + 0.5) * static_cast<double>(scale));
    } else {
      position = (static_cast<float>(o) + 0.5f) * scale;
    }
    const Index last = in_size - 1;
    // The comparison is false for NaN too (an infinite scale at output 0).
    return position < static_cast<float>(last) ? static_cast<Index>(position) : last;
  }
};

}  // namespace upsample_ext
