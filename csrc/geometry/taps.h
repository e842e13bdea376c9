// Taps, what an axis is, and what all axes share.
//
// An axis is a small object, for host and device, that says which sources each of its outputs reads:
//   in_size, out_size
//   static constexpr int kTaps   taps of every output, or 0 where their number varies
//   taps(o)                      if kTaps > 0: the taps of output o, ascending
//   most_taps(), each_tap(o, f)  if kTaps == 0: an upper bound of their number; f(source, weight) of each
//   begin(i), end(i)             the outputs that read source i are among begin(i) .. end(i) - 1
// Products that feed a sum are written as explicit fma and the project is built with -ffp-contract=off, so
// that g++ at every instruction-set level and nvcc compute the same taps.
#pragma once

#include <math.h>
#include <stdint.h>

#include "divider.h"

namespace upsample_ext {

UPSAMPLE_HOST_DEVICE float fused_multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
UPSAMPLE_HOST_DEVICE double fused_multiply_add(double a, double b, double c) { return fma(a, b, c); }

// Sizes below this leave room for what is computed from them in 32 bits.
constexpr int64_t kFar = int64_t{1} << 29;

// The taps of an output: the sum of weight[t] * x[index[t]]. Index is int64_t, or int32_t on a device where
// that suffices. An index of -1 is no tap at all, and its weight 0: nothing is read. A tap that is alone is
// the first.
template <class T, int kTaps, class Index = int64_t>
struct Taps {
  Index index[kTaps];
  T weight[kTaps];

  UPSAMPLE_HOST_DEVICE Index index_of(int t) const { return index[t]; }
  UPSAMPLE_HOST_DEVICE T weight_of(int t) const { return weight[t]; }
};

// Two taps have names: nvcc allocates other, and in places more, registers for arrays.
template <class T, class Index>
struct Taps<T, 2, Index> {
  Index index0, index1;
  T weight0, weight1;

  UPSAMPLE_HOST_DEVICE Index index_of(int t) const { return t == 0 ? index0 : index1; }
  UPSAMPLE_HOST_DEVICE T weight_of(int t) const { return t == 0 ? weight0 : weight1; }
};

// Calls f(source, weight) for each tap of an output, whatever the axis.
template <class Axis, class Index, class F>
UPSAMPLE_HOST_DEVICE void each_tap(const Axis& axis, Index o, F&& f) {
  if constexpr (Axis::kTaps > 0) {
    const auto taps = axis.taps(o);
    for (int t = 0; t < Axis::kTaps; ++t) {
      if (taps.index_of(t) >= 0) f(taps.index_of(t), taps.weight_of(t));
    }
  } else {
    axis.each_tap(o, f);
  }
}
template <class Axis>
int64_t most_taps(const Axis& axis) {
  if constexpr (Axis::kTaps > 0) {
    return Axis::kTaps;
  } else {
    return axis.most_taps();
  }
}

// Taps of one output on the same source as one tap, whose weight is their sum. Beside it there is one of
// weight 0 where their weights do not have one sign: an infinity then becomes NaN, as it does tap by tap.
template <class T>
class MergedTaps {
 public:
  UPSAMPLE_HOST_DEVICE void add(T weight) {
    const int sign = (weight > T(0)) - (weight < T(0));
    one_sign_ = count_ == 0 || (one_sign_ && sign == sign_);
    sign_ = sign;
    sum_ = count_++ == 0 ? static_cast<double>(weight) : sum_ + static_cast<double>(weight);
  }
  // Calls f(weight) for each tap.
  template <class F>
  UPSAMPLE_HOST_DEVICE void each(F&& f) const {
    if (count_ > 0) f(static_cast<T>(sum_));
    if (!one_sign_) f(T(0));
  }

 private:
  double sum_ = 0.0;
  int64_t count_ = 0;
  int sign_ = 0;
  bool one_sign_ = true;
};

// Which device's rules a resize follows where native's CPU and CUDA kernels differ.
enum class NativeRules : uint8_t {
  // An axis whose size does not change is copied, whatever its scale factor and the other axis are. The
  // second tap is on the same sample with weight 0: an infinity becomes NaN (0 * inf). The source index is
  // floored in float32 even for double.
  kCpu,
  // The same, but all modes that average compute coordinates in double, whatever the type of the weights:
  // results are rounded to whole bytes, so that even on the longest rows they must be exact to half a unit.
  // Used by AxisTable only.
  kCpuBytes,
  // Every axis is sampled by the formula: one whose size does not change takes its second tap, with weight 0,
  // from the next sample, and its scale factor counts. For double the source index is floored in double.
  kCuda,
  // CUDA, if neither size changes: the image is copied, infinities included.
  kCudaCopy,
};
UPSAMPLE_HOST_DEVICE bool follows_cpu(NativeRules rules) {
  return rules == NativeRules::kCpu || rules == NativeRules::kCpuBytes;
}

// Which of CUDA's rules apply to an image.
inline NativeRules cuda_rules(int64_t in_height, int64_t in_width, int64_t out_height, int64_t out_width) {
  return in_height == out_height && in_width == out_width ? NativeRules::kCudaCopy : NativeRules::kCuda;
}

// Source samples per output sample; scale_factor <= 0 means "not given": the scale is then the ratio of the
// sizes. align_corners: the corner samples coincide.
template <class T>
UPSAMPLE_HOST_DEVICE T sampling_scale(int64_t in, int64_t out, bool align_corners, double scale_factor) {
  if (align_corners) return out > 1 ? static_cast<T>(in - 1) / static_cast<T>(out - 1) : T(0);
  return scale_factor > 0.0 ? static_cast<T>(1.0 / scale_factor) : static_cast<T>(in) / static_cast<T>(out);
}

// The first of low .. high - 1 for which `far` is true, if it stays true from there on; `high` if there is
// none. Axes search their own taps with it, because no inverse formula rounds as they do.
template <class Index, class Far>
UPSAMPLE_HOST_DEVICE Index first_between(Index low, Index high, Far&& far) {
  while (low < high) {
    const Index middle = low + (high - low) / 2;
    if (far(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}
template <class Index, class Far>
UPSAMPLE_HOST_DEVICE Index first_output(Index count, Far&& far) {
  return first_between(Index(0), count, far);
}

// The same, where an inverse formula says that it is `about` there: the search then takes a few steps.
template <class T, class Index>
UPSAMPLE_HOST_DEVICE Index guessed_output(T about, Index count) {
  return about > T(0) && about < static_cast<T>(count) ? static_cast<Index>(about) : 0;
}
template <class T, class Index, class Far>
UPSAMPLE_HOST_DEVICE Index first_output_about(T about, Index count, Far&& far) {
  Index low = 0, high = count;
  const Index guess = guessed_output(about, count);
  for (int side = -2; side <= 2; side += 4) {
    const Index probe = guess + side;
    if (probe < low || probe >= high) continue;
    if (far(probe)) {
      high = probe;
    } else {
      low = probe + 1;
    }
  }
  return first_between(low, high, far);
}

}  // namespace upsample_ext
