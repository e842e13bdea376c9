// Which loop of the CPU's resample kernels an image pair takes: a description, decided before anything runs.
#pragma once

#include "../params.h"

namespace upsample_ext {

enum class PixelOrder {
  kPlanar,       // vectors of neighbouring columns of one plane
  kInterleaved,  // the same of pixels of few channels, whose row is one plane's
  kChannelsLast  // vectors of the channels of a pixel
};

// `lanes`: values in a vector. In both images the channels of a pixel must be adjacent for any order but the
// first; for an interleaved row the pixels must follow each other without a gap too, and the pixels that are
// read must not be far apart, of which most of a row's windows would be skipped.
template <class acc>
PixelOrder choose_order(const ResampleParams<acc>& p, int64_t lanes) {
  if (p.channels <= 1 || p.x_strides.channel != 1 || p.y_strides.channel != 1) return PixelOrder::kPlanar;
  const auto dense = [&](int64_t width, int64_t stride) { return width == 1 || stride == p.channels; };
  const bool far_apart = p.channels <= 4 && p.width.in_size > 3 * p.width.out_size;
  const bool interleaves = p.channels < lanes && !far_apart && dense(p.width.in_size, p.x_strides.width) &&
                           dense(p.width.out_size, p.y_strides.width);
  return interleaves ? PixelOrder::kInterleaved : PixelOrder::kChannelsLast;
}

}  // namespace upsample_ext
