// Conditions by which kernels are chosen: whether 32 bits suffice, and where vectors may be loaded and
// stored.
#pragma once

#include "../params.h"

namespace upsample_ext {
namespace gpu {

// The offset of the last of `size` elements.
inline int64_t extent(int64_t size, int64_t stride) { return (size - 1) * (stride < 0 ? -stride : stride); }

// Whether offsets within a plane and everything computed along an axis stay far inside 32 bits.
template <class acc, class Axis>
bool fits_32_bits(const ResampleParams<acc, Axis>& p) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const int64_t planes = p.batch * p.channels;
  const int64_t results = planes * p.height.out_size * p.width.out_size;
  const int64_t sources = planes * p.height.in_size * p.width.in_size;
  return p.height.fits_32_bits() && p.width.fits_32_bits() && extent(p.width.in_size, p.in.width) < kMost &&
         extent(p.width.out_size, p.out.width) < kMost && results < 2 * kMost && sources < 2 * kMost;
}

// Whether EnlargedColumns by this factor, a power of two, equal the axis to the last bit: beyond these sizes
// float32 rounds coordinates.
template <class T, class Index>
bool multiplies(const LinearAxis<T, Index>& axis, int factor) {
  return !axis.align_corners && axis.scale == T(1) / static_cast<T>(factor) &&
         axis.out_size == factor * axis.in_size && axis.in_size > 1 && axis.out_size < (1 << 22);
}

inline bool aligned(const void* p, int64_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

// Whether vectors of `bytes` can start at every multiple of V elements of an image; tests all strides but the
// last.
template <class T>
bool aligned_strides(const void* data, int64_t bytes, int64_t batch, int64_t a, int64_t b) {
  const auto whole = [&](int64_t stride) { return stride * static_cast<int64_t>(sizeof(T)) % bytes == 0; };
  return aligned(data, bytes) && whole(batch) && whole(a) && whole(b);
}

}  // namespace gpu
}  // namespace upsample_ext
