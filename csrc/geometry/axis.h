// The geometry of one axis: which source samples an output index reads, and with what weight.
//
// Host and device. Everything here follows PyTorch's own coordinates to the last rounding (float32 for
// float, half and uint8 inputs, float64 for double), because a drop-in must read the same taps: at x3 and
// width 700 native's own float32 error reaches 2e-4, and a better formula would differ from it by as much.
//
// Products that feed a sum are written as explicit fma and the project is built with -ffp-contract=off, so
// that g++ at every instruction-set level and nvcc compute the same taps.
#pragma once

#include <math.h>
#include <stdint.h>

#if defined(__CUDACC__)
#define UPSAMPLE_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define UPSAMPLE_HOST_DEVICE inline
#endif

namespace upsample_ext {

UPSAMPLE_HOST_DEVICE float fused_multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
UPSAMPLE_HOST_DEVICE double fused_multiply_add(double a, double b, double c) { return fma(a, b, c); }

// Two taps of a linear interpolation: output = weight0 * x[index0] + weight1 * x[index1].
template <class T>
struct LinearTaps {
  int64_t index0, index1;
  T weight0, weight1;
};

// Bilinear resize along one axis, as F.interpolate(mode="bilinear") samples it.
template <class T>
struct LinearAxis {
  int64_t in_size, out_size;
  bool align_corners;
  T scale;  // source samples per output sample

  // scale_factor <= 0 means "not given": the scale is then the ratio of the sizes.
  UPSAMPLE_HOST_DEVICE LinearAxis(int64_t in, int64_t out, bool corners, double scale_factor)
      : in_size(in), out_size(out), align_corners(corners) {
    if (corners) {
      scale = out > 1 ? static_cast<T>(in - 1) / static_cast<T>(out - 1) : T(0);
    } else {
      scale =
          scale_factor > 0.0 ? static_cast<T>(1.0 / scale_factor) : static_cast<T>(in) / static_cast<T>(out);
    }
  }

  // align_corners: the corner samples coincide. Otherwise samples are areas whose centres are at +0.5, and
  // what falls before the first centre is clamped to it.
  UPSAMPLE_HOST_DEVICE T source_index(int64_t out_index) const {
    if (align_corners) return scale * static_cast<T>(out_index);
    const T source = fused_multiply_add(scale, static_cast<T>(out_index) + T(0.5), T(-0.5));
    return source < T(0) ? T(0) : source;
  }

  UPSAMPLE_HOST_DEVICE LinearTaps<T> taps(int64_t out_index) const {
    // Equal sizes are the identity whatever the scale factor says. The second tap stays, with weight 0, on
    // the same sample: that is what makes an infinity a NaN (0 * inf) in native, and so here.
    if (in_size == out_size) return {out_index, out_index, T(1), T(0)};
    const T source = source_index(out_index);
    const int64_t last = in_size - 1;
    // Native floors in float32 even for double (no source is negative: the cast floors), and beyond float's
    // exact range the index may pass the end.
    const int64_t floored = static_cast<int64_t>(static_cast<float>(source));
    const int64_t index0 = floored < last ? floored : last;
    T weight1 = source - static_cast<T>(index0);
    weight1 = weight1 < T(0) ? T(0) : (weight1 > T(1) ? T(1) : weight1);
    return {index0, index0 + (index0 < last ? 1 : 0), T(1) - weight1, weight1};
  }
};

// Transposed convolution along one axis. Kernel tap k carries source i to output i * stride - padding + k *
// dilation. With `replicate` the input continues beyond its ends with its edge samples; without, with nothing
// (zeros).
struct ConvTransposeAxis {
  int64_t in_size, kernel_size, stride, padding, output_padding, dilation;
  bool replicate;

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

  // The sample that stands at position i: itself inside, the edge or nothing (false) outside.
  UPSAMPLE_HOST_DEVICE bool sample(int64_t i, int64_t* index) const {
    *index = i < 0 ? 0 : (i >= in_size ? in_size - 1 : i);
    return replicate || *index == i;
  }
};

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
  // Every output has at most two taps, some have two, on the same or neighbouring samples, and samples only
  // go forward from one output to the next: resize either way, not the gradient of an upsampling.
  bool interpolates = false;
};

}  // namespace upsample_ext
