// One axis of a transposed convolution for kernels that have no table: which taps contribute to an output, in
// 32 or 64 bits. Host and device.
#pragma once

#include <numeric>

#include "axis.h"

namespace upsample_ext {

// Tap k carries position i to output o where i * stride + k * dilation = o + padding (ConvTransposeAxis).
// With g = gcd(stride, dilation) that has solutions where g divides o + padding, and then every (stride /
// g)-th tap is one: first.tap + j * period at position first.position - j * step. Outputs that lie `stride`
// apart have the same taps, at successive positions.
template <class Index>
struct DeconvAxis {
  Index in_size, out_size, kernel_size, stride, padding, dilation;
  Index period, step, inverse;      // stride / g, dilation / g, and the inverse of step modulo period
  Index first_position, positions;  // all that some output reads: the samples, and their continuation
  bool replicate;
  Divider<Index> by_stride, by_gcd, by_period;

  DeconvAxis() = default;
  explicit DeconvAxis(const ConvTransposeAxis& axis)
      : in_size(static_cast<Index>(axis.in_size)),
        out_size(static_cast<Index>(axis.out_size())),
        kernel_size(static_cast<Index>(axis.kernel_size)),
        stride(static_cast<Index>(axis.stride)),
        padding(static_cast<Index>(axis.padding)),
        dilation(static_cast<Index>(axis.dilation)),
        first_position(static_cast<Index>(axis.begin())),
        positions(static_cast<Index>(axis.end() - axis.begin())),
        replicate(axis.replicate),
        by_stride(axis.stride) {
    const int64_t gcd = std::gcd(axis.stride, axis.dilation);
    by_gcd = Divider<Index>(gcd);
    period = static_cast<Index>(axis.stride / gcd);
    step = static_cast<Index>(axis.dilation / gcd);
    by_period = Divider<Index>(period);
    inverse = static_cast<Index>(inverse_modulo(axis.dilation / gcd, axis.stride / gcd));
  }

  struct Tap {
    Index tap, position;  // no tap at all where tap >= kernel_size
  };
  UPSAMPLE_HOST_DEVICE Tap first(Index o) const {
    Index quotient = o + padding;
    const Index phase = by_stride.take(quotient);
    Index multiple = phase;
    if (by_gcd.take(multiple) != 0) return {kernel_size, 0};
    Index tap = multiple * inverse;
    tap = by_period.take(tap);
    Index back = tap * dilation - phase;  // a multiple of stride, not negative
    by_stride.take(back);
    return {tap, quotient - back};
  }

  // See sample_at.
  UPSAMPLE_HOST_DEVICE Index sample(Index position) const { return sample_at(position, in_size, replicate); }

  // The output that tap 0 carries a position to.
  UPSAMPLE_HOST_DEVICE Index target(Index position) const { return position * stride - padding; }

 private:
  // The inverse of a modulo n, by Euclid's algorithm; a and n have no common divisor.
  static int64_t inverse_modulo(int64_t a, int64_t n) {
    int64_t r = n, next_r = a % n, t = 0, next_t = 1;
    while (next_r != 0) {
      const int64_t q = r / next_r, after_r = r - q * next_r, after_t = t - q * next_t;
      r = next_r, next_r = after_r;
      t = next_t, next_t = after_t;
    }
    return n == 1 ? 0 : (t < 0 ? t + n : t);
  }
};

// Whether everything computed along an axis stays far inside 32 bits.
inline bool fits_32_bits(const ConvTransposeAxis& axis) {
  constexpr int64_t kNear = 1 << 15;  // products of two below this fit
  return axis.in_size < kFar && axis.out_size() < kFar && axis.padding < kFar && axis.stride < kNear &&
         axis.dilation < kNear && axis.kernel_size < kNear && axis.out_size() + axis.padding < kFar &&
         (axis.in_size + axis.kernel_size * axis.dilation + axis.padding) < kFar / axis.stride;
}

// Whether no output takes more than two taps, at neighbouring positions.
inline bool at_most_two_taps(const ConvTransposeAxis& axis) {
  const int64_t gcd = std::gcd(axis.stride, axis.dilation), period = axis.stride / gcd;
  return axis.kernel_size <= period || (axis.kernel_size <= 2 * period && axis.dilation == gcd);
}

}  // namespace upsample_ext
