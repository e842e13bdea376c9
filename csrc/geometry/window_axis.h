// Axes whose outputs read a window of neighbouring sources, as many as the scale requires: the antialiased
// modes, whose filters widen when they shrink an image, and area.
#pragma once

#include "cubic_axis.h"
#include "taps.h"

namespace upsample_ext {

// Sources first .. end - 1; both grow with the output.
template <class Index>
struct Window {
  Index first, end;
};

// What all window axes derive from a member window(o).
template <class Axis, class Index>
struct WindowSearch {
  static constexpr int kTaps = 0;

  UPSAMPLE_HOST_DEVICE Index begin(Index i) const {
    const Axis& axis = *static_cast<const Axis*>(this);
    return first_output(axis.out_size, [&](Index o) { return axis.window(o).end > i; });
  }
  UPSAMPLE_HOST_DEVICE Index end(Index i) const {
    const Axis& axis = *static_cast<const Axis*>(this);
    return first_output(axis.out_size, [&](Index o) { return axis.window(o).first > i; });
  }
};

enum class Filter : uint8_t { kLinear, kCubic, kLanczos };

// F.interpolate(antialias=True): the filter is centred on the output, stretched if that shrinks the axis, and
// its values at the samples are divided by their sum.
template <class T, class Index = int64_t>
struct AntialiasAxis : WindowSearch<AntialiasAxis<T, Index>, Index> {
  Index in_size, out_size;
  Filter filter;
  bool on_cpu;  // native's rules there: halves are added in double, and an axis whose size stays is copied
  bool copies;
  T scale, support, inverse_scale;  // inverse_scale: from samples to the filter's own unit
  Index most;                       // taps at most, as native allocates them

  AntialiasAxis(int64_t in, int64_t out, bool corners, double scale_factor, Filter f, NativeRules rules)
      : in_size(static_cast<Index>(in)),
        out_size(static_cast<Index>(out)),
        filter(f),
        on_cpu(follows_cpu(rules)),
        copies(follows_cpu(rules) ? in == out : rules == NativeRules::kCudaCopy),
        scale(sampling_scale<T>(in, out, corners, scale_factor)) {
    const T reach = f == Filter::kLinear ? T(1) : (f == Filter::kCubic ? T(2) : T(3));
    support = scale >= T(1) ? reach * scale : reach;
    inverse_scale = scale >= T(1) ? T(1) / scale : T(1);
    most = support < static_cast<T>(in) ? 2 * static_cast<Index>(ceil(support)) + 1 : 2 * in_size + 1;
  }

  int64_t most_taps() const { return copies ? 1 : (most < in_size ? most : in_size); }

  UPSAMPLE_HOST_DEVICE Window<Index> window(Index o) const {
    if (copies) return {o, o + 1};
    const T centre = centre_of(o);
    const Index first = sample_below(centre - support), end = sample_below(centre + support);
    if (end <= first) return {first, first};
    return {first, end - first > most ? first + most : end};
  }

  template <class F>
  UPSAMPLE_HOST_DEVICE void each_tap(Index o, F&& f) const {
    const Window<Index> taps = window(o);
    if (copies) return f(o, T(1));
    const T centre = centre_of(o);
    T total = T(0);
    for (Index i = taps.first; i < taps.end; ++i) total += value(i, taps.first, centre);
    for (Index i = taps.first; i < taps.end; ++i) {
      const T weight = value(i, taps.first, centre);
      f(i, total != T(0) ? weight / total : weight);
    }
  }

 private:
  UPSAMPLE_HOST_DEVICE T centre_of(Index o) const { return scale * (static_cast<T>(o) + T(0.5)); }

  // x + 0.5 rounded down, as far as there are samples; 0 for NaN.
  UPSAMPLE_HOST_DEVICE Index sample_below(T x) const {
    const double shifted = on_cpu ? static_cast<double>(x) + 0.5 : static_cast<double>(x + T(0.5));
    if (!(shifted > 0.0)) return 0;
    return shifted < static_cast<double>(in_size) ? static_cast<Index>(shifted) : in_size;
  }

  UPSAMPLE_HOST_DEVICE T value(Index i, Index first, T centre) const {
    if (on_cpu) {
      const double distance = static_cast<double>(static_cast<T>(i) - centre) + 0.5;
      return filter_at(static_cast<T>(distance * static_cast<double>(inverse_scale)));
    }
    const T distance = static_cast<T>(i - first) + (static_cast<T>(first) - centre) + T(0.5);
    return filter_at(distance * inverse_scale);
  }

  UPSAMPLE_HOST_DEVICE T filter_at(T x) const {
    x = x < T(0) ? -x : x;
    if (filter == Filter::kLinear) return x < T(1) ? T(1) - x : T(0);
    if (filter == Filter::kLanczos) return x < T(3) ? sinc(x) * sinc(x / T(3)) : T(0);
    constexpr T kA = T(-0.5);
    if (x < T(1)) return cubic_near(x, kA);
    return x < T(2) ? cubic_far(x, kA) : T(0);
  }
  UPSAMPLE_HOST_DEVICE static T sinc(T x) {
    if (x == T(0)) return T(1);
    const T angle = x * T(3.14159265358979323846);
#if defined(__CUDA_ARCH__)
    return sinpi(x) / angle;  // the device's sin keeps an array for large angles
#else
    return sin(angle) / angle;
#endif
  }
};

// mode="area": the mean of the samples that the output overlaps, however little.
template <class T, class Index = int64_t>
struct AreaAxis : WindowSearch<AreaAxis<T, Index>, Index> {
  Index in_size, out_size;

  AreaAxis(int64_t in, int64_t out) : in_size(static_cast<Index>(in)), out_size(static_cast<Index>(out)) {}

  int64_t most_taps() const { return in_size < in_size / out_size + 2 ? in_size : in_size / out_size + 2; }

  UPSAMPLE_HOST_DEVICE Window<Index> window(Index o) const {
    // floor(o * in / out) and ceil((o + 1) * in / out), without products that exceed the size of the axes.
    const Index whole = in_size / out_size, rest = in_size % out_size;
    return {o * whole + o * rest / out_size, (o + 1) * whole + ((o + 1) * rest + out_size - 1) / out_size};
  }

  template <class F>
  UPSAMPLE_HOST_DEVICE void each_tap(Index o, F&& f) const {
    const Window<Index> taps = window(o);
    const T weight = T(1) / static_cast<T>(taps.end - taps.first);
    for (Index i = taps.first; i < taps.end; ++i) f(i, weight);
  }
};

}  // namespace upsample_ext
