// Transposed convolution along one axis, with a 1-D kernel of any size, stride, padding and dilation.
#pragma once

#include "taps.h"

namespace upsample_ext {

// The index of the sample at a position of an axis: the position itself if it is inside, otherwise the edge
// sample (replicate) or none (-1).
template <class Index>
UPSAMPLE_HOST_DEVICE Index sample_at(Index position, Index in_size, bool replicate) {
  const Index edge = position < 0 ? 0 : (position >= in_size ? in_size - 1 : position);
  return replicate || edge == position ? edge : -1;
}

// Transposed convolution along one axis. Kernel tap k carries source i to output i * stride - padding + k *
// dilation. With `replicate` the input continues beyond its ends with its edge samples; without, with nothing
// (zeros).
struct ConvTransposeAxis {
  int64_t in_size, kernel_size, stride, padding, output_padding, dilation;
  bool replicate;

  // For positions up to this, everything computed along an axis (sums of a few of them) fits 64 bits.
  static constexpr int64_t kFarthest = int64_t{1} << 58;

  // Whether that holds for all positions of this axis; of sizes and steps of at least 1 and paddings of at
  // least 0. Only then may the other functions be called.
  bool fits_64_bits() const {
    int64_t last_source, last_tap;
    return !__builtin_mul_overflow(in_size - 1, stride, &last_source) && last_source <= kFarthest &&
           !__builtin_mul_overflow(kernel_size - 1, dilation, &last_tap) && last_tap <= kFarthest &&
           padding <= kFarthest && output_padding <= kFarthest;
  }

  // The same map with bounded steps: the stride of an axis with a single sample and the dilation of a kernel
  // with a single tap have no effect, and fits_64_bits does not bound them.
  ConvTransposeAxis with_near_steps() const {
    ConvTransposeAxis axis = *this;
    if (kernel_size == 1) axis.dilation = 1;
    const int64_t out = out_size();
    const int64_t beyond = (out > 0 ? out : 0) + padding + axis.dilation * (kernel_size - 1) + 1;
    if (in_size == 1 && stride > beyond) axis.stride = beyond;
    return axis;
  }

  UPSAMPLE_HOST_DEVICE int64_t out_size() const {
    return (in_size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1;
  }

  // The source that tap k brings to output o, before clamping; false where tap k's lattice misses o.
  UPSAMPLE_HOST_DEVICE bool source(int64_t o, int64_t k, int64_t* i) const {
    const int64_t shifted = o + padding - k * dilation;
    const int64_t quotient = shifted >= 0 ? shifted / stride : -((-shifted + stride - 1) / stride);
    *i = quotient;
    return quotient * stride == shifted;
  }

  // All positions that some tap of some output can read, first to last (exclusive): the samples themselves,
  // and with `replicate` their continuation as far as the kernel reaches.
  UPSAMPLE_HOST_DEVICE int64_t begin() const {
    if (!replicate) return 0;
    int64_t i;
    source(0, kernel_size - 1, &i);
    return i < 0 ? i : 0;
  }
  UPSAMPLE_HOST_DEVICE int64_t end() const {
    if (!replicate) return in_size;
    int64_t i;
    source(out_size() - 1, 0, &i);
    return i >= in_size ? i + 1 : in_size;
  }

  // Whether an edge sample stands for so many positions that its gradient, the sum of theirs, wants a wider
  // type: terms of either sign that add up to more, on the way, than to the sum.
  bool repeats_edge_often() const {
    constexpr int64_t kFew = 4;
    return begin() < -kFew || end() > in_size + kFew;
  }

  // The output that tap k carries position i to; may lie outside.
  UPSAMPLE_HOST_DEVICE int64_t target(int64_t i, int64_t k) const {
    return i * stride - padding + k * dilation;
  }

  // The sample that stands at position i; false where there is none.
  UPSAMPLE_HOST_DEVICE bool sample(int64_t i, int64_t* index) const {
    *index = sample_at(i, in_size, replicate);
    return *index >= 0;
  }
};

// The same for geometries in which every output has at most two taps, on neighbouring samples: kernel_size <=
// 2 * stride, dilation 1. Kernels without tables can use it in place of LinearAxis.
template <class T, class Index = int64_t>
struct TwoTapConvTransposeAxis {
  static constexpr int kTaps = 2;
  static constexpr bool kMayLackTaps = true;
  template <class Other>
  using with_index = TwoTapConvTransposeAxis<T, Other>;

  Index in_size, out_size, kernel_size, stride, padding;
  bool replicate;
  const T* kernel;
  Divider<Index> by_stride;

  static bool fits(const ConvTransposeAxis& axis) {
    return axis.dilation == 1 && axis.kernel_size <= 2 * axis.stride;
  }
  TwoTapConvTransposeAxis(const ConvTransposeAxis& axis, const T* values)
      : in_size(static_cast<Index>(axis.in_size)),
        out_size(static_cast<Index>(axis.out_size())),
        kernel_size(static_cast<Index>(axis.kernel_size)),
        stride(static_cast<Index>(axis.stride)),
        padding(static_cast<Index>(axis.padding)),
        replicate(axis.replicate),
        kernel(values),
        by_stride(axis.stride) {}

  template <class Other>
  explicit TwoTapConvTransposeAxis(const TwoTapConvTransposeAxis<T, Other>& axis)
      : in_size(static_cast<Index>(axis.in_size)),
        out_size(static_cast<Index>(axis.out_size)),
        kernel_size(static_cast<Index>(axis.kernel_size)),
        stride(static_cast<Index>(axis.stride)),
        padding(static_cast<Index>(axis.padding)),
        replicate(axis.replicate),
        kernel(axis.kernel),
        by_stride(axis.stride) {}

  bool fits_32_bits() const {
    return in_size < kFar && out_size < kFar && padding < kFar && stride < kFar &&
           (in_size + 2) * stride < kFar;
  }

  UPSAMPLE_HOST_DEVICE Taps<T, 2, Index> taps(Index o) const {
    Index source = o + padding;
    const Index k = by_stride.take(source);
    const Index before = k + stride < kernel_size ? sample(source - 1) : -1;
    const Index at = k < kernel_size ? sample(source) : -1;
    // A tap that is alone is the first, so that index0 never goes back from one output to the next.
    if (before < 0) return {at, -1, at < 0 ? T(0) : kernel[k], T(0)};
    return {before, at, kernel[k + stride], at < 0 ? T(0) : kernel[k]};
  }

  // The outputs that read source i are among begin(i) .. end(i) - 1; both grow with i.
  UPSAMPLE_HOST_DEVICE Index begin(Index i) const {
    return replicate && i == 0 ? 0 : inside(i * stride - padding);
  }
  UPSAMPLE_HOST_DEVICE Index end(Index i) const {
    return replicate && i == in_size - 1 ? out_size : inside((i + 2) * stride - padding);
  }

  UPSAMPLE_HOST_DEVICE Index begin_about(Index i) const {
    const Index first = begin(i);
    return first > 0 ? first - 1 : 0;
  }

  double outputs_per_source() const { return static_cast<double>(stride); }
  double most_outputs_inside(int64_t sources) const { return static_cast<double>((sources + 1) * stride); }

 private:
  UPSAMPLE_HOST_DEVICE Index sample(Index i) const { return sample_at(i, in_size, replicate); }
  UPSAMPLE_HOST_DEVICE Index inside(Index o) const { return o < 0 ? 0 : (o > out_size ? out_size : o); }
};

// The same for every geometry: as many taps as the kernel and the stride give an output. Dilation lets
// sources go back from one output to the next.
template <class T>
struct FixedKernelAxis {
  static constexpr int kTaps = 0;

  int64_t in_size, out_size;
  ConvTransposeAxis axis;
  const T* kernel;
  int64_t period;  // an output takes every period-th tap: those that agree with it modulo stride

  FixedKernelAxis(const ConvTransposeAxis& geometry, const T* values)
      : in_size(geometry.in_size),
        out_size(geometry.out_size()),
        axis(geometry),
        kernel(values),
        period(tap_period(geometry)) {}

  static int64_t tap_period(const ConvTransposeAxis& axis) {
    int64_t a = axis.stride, b = axis.dilation;
    while (b != 0) {
      const int64_t rest = a % b;
      a = b;
      b = rest;
    }
    return axis.stride / a;
  }

  // Without replicate each tap reads a different sample.
  int64_t most_taps() const {
    const int64_t matching = (axis.kernel_size - 1) / period + 1;
    return axis.replicate || matching < in_size ? matching : in_size;
  }

  // In ascending order of sources.
  template <class F>
  UPSAMPLE_HOST_DEVICE void each_tap(int64_t o, F&& f) const {
    int64_t i, index, first = 0;
    const int64_t most = period < axis.kernel_size ? period : axis.kernel_size;
    while (first < most && !axis.source(o, first, &i)) ++first;
    if (first == most) return;
    for (int64_t k = first + (axis.kernel_size - 1 - first) / period * period; k >= first; k -= period) {
      if (axis.source(o, k, &i) && axis.sample(i, &index)) f(index, kernel[k]);
    }
  }

  UPSAMPLE_HOST_DEVICE int64_t begin(int64_t i) const {
    return axis.replicate && i == 0 ? 0 : inside(axis.target(i, 0));
  }
  UPSAMPLE_HOST_DEVICE int64_t end(int64_t i) const {
    return axis.replicate && i == in_size - 1 ? out_size : inside(axis.target(i, axis.kernel_size - 1) + 1);
  }

 private:
  UPSAMPLE_HOST_DEVICE int64_t inside(int64_t o) const { return o < 0 ? 0 : (o > out_size ? out_size : o); }
};

}  // namespace upsample_ext
