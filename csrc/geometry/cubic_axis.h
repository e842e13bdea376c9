// Bicubic resize along one axis: four taps around the source coordinate, by Keys' cubic convolution.
#pragma once

#include "taps.h"

namespace upsample_ext {

// The cubic convolution kernel with parameter `a`, for distances from 0 to 1 and from 1 to 2.
template <class T>
UPSAMPLE_HOST_DEVICE T cubic_near(T x, T a) {
  return fused_multiply_add(fused_multiply_add(a + T(2), x, -(a + T(3))) * x, x, T(1));
}
template <class T>
UPSAMPLE_HOST_DEVICE T cubic_far(T x, T a) {
  const T inner = fused_multiply_add(fused_multiply_add(a, x, T(-5) * a), x, T(8) * a);
  return fused_multiply_add(inner, x, T(-4) * a);
}

// As F.interpolate(mode="bicubic") samples it, with a = -0.75. Beyond the ends the edge sample is read again,
// by taps of their own: merged into one they would spread an infinity differently.
template <class T, class Index = int64_t>
struct CubicAxis {
  static constexpr int kTaps = 4;

  Index in_size, out_size;
  bool align_corners;
  bool on_cpu;  // native's rules there: the fraction is clamped together with the index
  T scale;      // source samples per output sample

  CubicAxis(int64_t in, int64_t out, bool corners, double scale_factor, NativeRules rules)
      : in_size(static_cast<Index>(in)),
        out_size(static_cast<Index>(out)),
        align_corners(corners),
        on_cpu(follows_cpu(rules)),
        scale(sampling_scale<T>(in, out, corners, scale_factor)) {}

  UPSAMPLE_HOST_DEVICE Taps<T, 4, Index> taps(Index o) const {
    const T source = source_index(o);
    const float floored = floorf(static_cast<float>(source));  // in float32 even of a double
    // How far an index lies beyond the last sample does not matter.
    const float beyond = static_cast<float>(in_size) + 2.0f;
    Index first = floored < beyond ? static_cast<Index>(floored) : in_size + 2;
    T fraction = source - static_cast<T>(floored);
    if (on_cpu) {
      const Index last = in_size - 1;
      first = first < last ? first : last;
      fraction = source - static_cast<T>(first);
      fraction = fraction < T(0) ? T(0) : (fraction > T(1) ? T(1) : fraction);
    }
    constexpr T kA = T(-0.75);
    const T rest = T(1) - fraction;
    return {{inside(first - 1), inside(first), inside(first + 1), inside(first + 2)},
            {cubic_far(fraction + T(1), kA), cubic_near(fraction, kA), cubic_near(rest, kA),
             cubic_far(rest + T(1), kA)}};
  }
  UPSAMPLE_HOST_DEVICE Index begin(Index i) const {
    return first_output(out_size, [&](Index o) { return taps(o).index[3] >= i; });
  }
  UPSAMPLE_HOST_DEVICE Index end(Index i) const {
    return first_output(out_size, [&](Index o) { return taps(o).index[0] > i; });
  }

 private:
  UPSAMPLE_HOST_DEVICE T source_index(Index o) const {
    if (align_corners) return scale * static_cast<T>(o);
    return fused_multiply_add(scale, static_cast<T>(o) + T(0.5), T(-0.5));
  }
  UPSAMPLE_HOST_DEVICE Index inside(Index i) const { return i < 0 ? 0 : (i < in_size ? i : in_size - 1); }
};

}  // namespace upsample_ext
