// The geometry of one axis: which source samples an output index reads, and with what weight.
//
// Host and device. Everything here follows PyTorch's own coordinates to the last rounding (float32 for
// float, half and uint8 inputs, float64 for double), because a drop-in must read the same taps: at x3 and
// width 700 native's own float32 error reaches 2e-4, and a better formula would differ from it by as much.
//
// Products that feed a sum are written as explicit fma and the project is built with -ffp-contract=off, so
// that g++ at every instruction-set level and nvcc compute the same taps.
#pragma once

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "divider.h"

namespace upsample_ext {

UPSAMPLE_HOST_DEVICE float fused_multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
UPSAMPLE_HOST_DEVICE double fused_multiply_add(double a, double b, double c) { return fma(a, b, c); }

// Sizes below this leave room for what is computed from them in 32 bits.
constexpr int64_t kFar = int64_t{1} << 29;

// Two taps of an output: weight0 * x[index0] + weight1 * x[index1]. Index is int64_t, or int32_t on a device
// where that suffices. An index of -1 is no tap at all, and its weight 0: nothing is read. A tap that is
// alone is the first.
template <class T, class Index = int64_t>
struct LinearTaps {
  Index index0, index1;
  T weight0, weight1;
};

// Which device's rules a resize follows where native's CPU and CUDA kernels differ.
enum class NativeRules : uint8_t {
  // An axis whose size does not change is copied, whatever its scale factor and the other axis are. The
  // second tap is on the same sample with weight 0: an infinity becomes NaN (0 * inf). The source index is
  // floored in float32 even for double.
  kCpu,
  // Every axis is sampled by the formula: one whose size does not change takes its second tap, with weight 0,
  // from the next sample, and its scale factor counts. For double the source index is floored in double.
  kCuda,
  // CUDA, if neither size changes: the image is copied, infinities included.
  kCudaCopy,
};

// Which of CUDA's rules apply to an image.
inline NativeRules cuda_rules(int64_t in_height, int64_t in_width, int64_t out_height, int64_t out_width) {
  return in_height == out_height && in_width == out_width ? NativeRules::kCudaCopy : NativeRules::kCuda;
}

// Bilinear resize along one axis, as F.interpolate(mode="bilinear") samples it.
template <class T, class Index = int64_t>
struct LinearAxis {
  static constexpr bool kMayLackTaps = false;
  template <class Other>
  using with_index = LinearAxis<T, Other>;

  Index in_size, out_size;
  bool align_corners;
  bool copies;           // output o is sample o
  bool floors_in_float;  // of a double, as native's CPU kernels do
  T scale;               // source samples per output sample
  T copied_weight1;      // of the second tap where the axis copies

  // scale_factor <= 0 means "not given": the scale is then the ratio of the sizes.
  UPSAMPLE_HOST_DEVICE LinearAxis(int64_t in, int64_t out, bool corners, double scale_factor,
                                  NativeRules rules)
      : in_size(static_cast<Index>(in)),
        out_size(static_cast<Index>(out)),
        align_corners(corners),
        copies(rules == NativeRules::kCpu ? in == out : rules == NativeRules::kCudaCopy),
        floors_in_float(rules == NativeRules::kCpu),
        // Both taps of a copy are on one sample. So small a second weight is lost in rounding for finite
        // values and keeps an infinity an infinity, where a weight of 0 would make it NaN.
        copied_weight1(rules == NativeRules::kCpu ? T(0)
                                                  : static_cast<T>(sizeof(T) == 4 ? FLT_MIN : DBL_MIN)) {
    if (copies) {
      scale = T(1);
    } else if (corners) {
      scale = out > 1 ? static_cast<T>(in - 1) / static_cast<T>(out - 1) : T(0);
    } else {
      scale =
          scale_factor > 0.0 ? static_cast<T>(1.0 / scale_factor) : static_cast<T>(in) / static_cast<T>(out);
    }
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

  UPSAMPLE_HOST_DEVICE LinearTaps<T, Index> taps(Index out_index) const {
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
    return first_output(i - 1, [&](const LinearTaps<T, Index>& t) { return t.index1 >= i; });
  }
  UPSAMPLE_HOST_DEVICE Index end(Index i) const {
    return first_output(i + 1, [&](const LinearTaps<T, Index>& t) { return t.index0 > i; });
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
  // The first output whose taps are `far` enough, which is near `source`. Searches the taps themselves,
  // because no inverse formula rounds as they do; the formula only gives the starting point.
  template <class Far>
  UPSAMPLE_HOST_DEVICE Index first_output(Index source, Far&& far) const {
    Index low = 0, high = out_size;
    const T centre = align_corners ? T(0) : T(0.5);
    const T about = scale > T(0) ? (static_cast<T>(source) + centre) / scale : T(0);
    const Index guess = about > T(0) && about < static_cast<T>(out_size) ? static_cast<Index>(about) : 0;
    for (int side = -2; side <= 2; side += 4) {
      const Index probe = guess + side;
      if (probe < low || probe >= high) continue;
      if (far(taps(probe))) {
        high = probe;
      } else {
        low = probe + 1;
      }
    }
    while (low < high) {
      const Index middle = low + (high - low) / 2;
      if (far(taps(middle))) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
};

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

  UPSAMPLE_HOST_DEVICE LinearTaps<T, Index> taps(Index o) const {
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

  double outputs_per_source() const { return static_cast<double>(stride); }
  double most_outputs_inside(int64_t sources) const { return static_cast<double>((sources + 1) * stride); }

 private:
  UPSAMPLE_HOST_DEVICE Index sample(Index i) const { return sample_at(i, in_size, replicate); }
  UPSAMPLE_HOST_DEVICE Index inside(Index o) const { return o < 0 ? 0 : (o > out_size ? out_size : o); }
};

// The maximum number of outputs that read a tile of `sources` neighbouring samples, tiles starting at
// multiples of `sources`: a bound for the inner tiles, and the exact number for those at the ends, where
// outputs are clamped to the edge. (Outputs before the first sample's centre read the second sample too, with
// weight 0: hence the second tile.)
template <class Axis>
int64_t most_outputs(const Axis& axis, int64_t sources = 1) {
  const int64_t in_size = axis.in_size, out_size = axis.out_size;
  if (sources >= in_size) return out_size;
  const int64_t after = 2 * sources < in_size ? 2 * sources : in_size;
  const int64_t second = axis.end(after - 1) - axis.begin(sources);
  const int64_t last = axis.end(in_size - 1) - axis.begin(in_size - sources);
  const double inside = axis.most_outputs_inside(sources);
  int64_t most = inside < static_cast<double>(out_size) ? static_cast<int64_t>(inside) : out_size;
  most = most > second ? most : second;
  return most > last ? most : last;
}

// The matrix of one axis in compressed rows, as kernels read it: output o sums the taps
// offset[o] .. offset[o + 1], in that order. AxisTable (axis_table.h) builds and owns it.
template <class T>
struct AxisTaps {
  int64_t in_size = 0, out_size = 0;
  const int64_t* offset = nullptr;
  const int64_t* index = nullptr;
  const T* weight = nullptr;
  int64_t taps_per_row = 0;  // when every row has the same number, otherwise 0
  int64_t max_taps = 0;
  // Every output has at most two taps and some have two, on the same or neighbouring samples, and from one
  // output to the next samples never go back: true of resizing up or down, not of an upsampling's gradient.
  bool interpolates = false;
};

}  // namespace upsample_ext
