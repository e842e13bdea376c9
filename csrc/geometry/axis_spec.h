// What a call asks for along one axis of an image, and the axis type that follows from it: the only place
// that turns a mode into geometry. An AxisSpec is made once per call and read by both devices.
#pragma once

#include "axis.h"

namespace upsample_ext {

// The modes of F.interpolate, and kCopy for an axis that is left as it is.
enum class Mode : uint8_t { kCopy, kNearest, kNearestExact, kLinear, kCubic, kLanczos, kArea };

struct AxisSpec {
  Mode mode;
  bool antialias;
  int64_t in_size, out_size;
  bool align_corners;  // of linear and cubic
  double scale;        // the user's scale factor, 0 where there is none; area has none
  NativeRules rules;
};

// An axis that is left as it is.
inline AxisSpec copied_axis(int64_t size) {
  return {Mode::kCopy, false, size, size, false, 0.0, NativeRules::kCpu};
}

// A resize of one axis, and which of its outputs are kept.
struct AxisStage {
  AxisSpec spec;
  int64_t first, count;
};

// Calls f with the axis, whose weights are of type T.
template <class T, class F>
decltype(auto) with_axis(const AxisSpec& spec, F&& f) {
  const auto filtered = [&](Filter filter) {
    return AntialiasAxis<T>(spec.in_size, spec.out_size, spec.align_corners, spec.scale, filter, spec.rules);
  };
  switch (spec.mode) {
    case Mode::kCopy:
      return f(IdentityAxis<T>(spec.in_size));
    case Mode::kNearest:
    case Mode::kNearestExact:
      return f(NearestAxis<T>(spec.in_size, spec.out_size, spec.mode == Mode::kNearestExact, spec.scale,
                              spec.rules));
    case Mode::kLinear:
      if (spec.antialias) return f(filtered(Filter::kLinear));
      break;
    case Mode::kCubic:
      if (spec.antialias) return f(filtered(Filter::kCubic));
      return f(CubicAxis<T>(spec.in_size, spec.out_size, spec.align_corners, spec.scale, spec.rules));
    case Mode::kLanczos:
      return f(filtered(Filter::kLanczos));
    case Mode::kArea:
      return f(AreaAxis<T>(spec.in_size, spec.out_size));
  }
  return f(LinearAxis<T>(spec.in_size, spec.out_size, spec.align_corners, spec.scale, spec.rules));
}

}  // namespace upsample_ext
