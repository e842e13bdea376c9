// How the CPU's resample kernels take an image pair: a description, decided before anything runs.
#pragma once

#include <type_traits>

#include "../params.h"

namespace upsample_ext {

enum class PixelOrder {
  kPlanar,       // vectors of neighbouring columns of one plane
  kInterleaved,  // the same of pixels of few channels, whose row is one plane's
  kWords,        // the same of pixels of four bytes, each a lane
  kSplit,        // the same of pixels of few channels, whose rows are split into those of planes
  kChannelsLast  // vectors of the channels of a pixel
};

// Whether the columns that are read are so far apart that most samples of a row are not.
template <class acc>
bool is_far_apart(const ResampleParams<acc>& p) {
  return p.width.in_size > 3 * p.width.out_size;
}

// Whether x has pixels of a few channels, one after the other, and y rows of planes, and how they get there.
// Where columns are skipped, interpolation takes the others one by one. (Of a line there is one row, which
// would be all of x; sparse rows have a plan of another kind.)
template <class acc>
Split choose_split(const ResampleParams<acc>& p) {
  constexpr int64_t kLongestRow = 1 << 14;
  const bool fits = !p.rounds_between && p.channels > 1 && p.channels <= kFewChannels &&
                    p.width.in_size > 1 && p.width.in_size < kLongestRow && p.x_strides.channel == 1 &&
                    !p.width.is_sparse() && p.x_strides.width == p.channels && p.y_strides.channel != 1 &&
                    (p.y_strides.width == 1 || p.width.out_size == 1);
  if (!fits) return Split::kNone;
  const bool two_taps = p.height.interpolates && p.height.taps_per_row == 2 && p.width.interpolates &&
                        p.width.taps_per_row == 2;
  if (two_taps && p.width.in_size > 2 * p.width.out_size) return Split::kPixels;
  return is_far_apart(p) ? Split::kNone : Split::kRows;
}

// Whether both images have pixels of four values, side by side, and a result has two taps along both axes:
// worth it for bytes, of which a lane can hold a pixel. The columns that are read are not far apart.
template <class acc>
bool has_words(const ResampleParams<acc>& p, int64_t lanes) {
  const auto two_taps = [](const AxisTaps<acc>& axis) { return axis.interpolates && axis.taps_per_row == 2; };
  return p.channels == 4 && p.x_strides.channel == 1 && p.y_strides.channel == 1 && p.x_strides.width == 4 &&
         p.y_strides.width == 4 && two_taps(p.height) && two_taps(p.width) && p.width.in_size >= 2 * lanes &&
         2 * p.width.out_size > p.width.in_size;
}

// `lanes`: values in a vector; `takes_words`: the kernel's. In both images the channels of a pixel must be
// adjacent for any order but the first; for an interleaved row the pixels must follow each other without a
// gap too, the pixels that are read must not be far apart, of which most of a row's windows would be skipped,
// and there must be enough rows to make up for a table of every value in a row.
template <class acc>
PixelOrder choose_order(const ResampleParams<acc>& p, int64_t lanes, bool takes_words) {
  if (takes_words && has_words(p, lanes)) return PixelOrder::kWords;
  if (choose_split(p) != Split::kNone) return PixelOrder::kSplit;
  if (p.channels <= 1 || p.x_strides.channel != 1 || p.y_strides.channel != 1) return PixelOrder::kPlanar;
  if (p.rounds_between) return PixelOrder::kInterleaved;
  const auto dense = [&](int64_t width, int64_t stride) { return width == 1 || stride == p.channels; };
  const bool far_apart = p.channels <= kFewChannels && is_far_apart(p);
  const bool is_line = p.width.out_size > 1 << 14 && p.batch * p.height.out_size < 8;
  const bool interleaves = p.channels < lanes && !far_apart && !is_line &&
                           dense(p.width.in_size, p.x_strides.width) &&
                           dense(p.width.out_size, p.y_strides.width);
  return interleaves ? PixelOrder::kInterleaved : PixelOrder::kChannelsLast;
}

// Which of the images are copied, block by block, into another memory order: kernels want samples that are
// adjacent in both images, along rows or along the channels of a pixel.
struct Conversion {
  bool by_pixel;   // the channels of a pixel are adjacent in what the kernel sees; otherwise rows
  bool packs_x;    // x is copied before the kernel reads it
  bool unpacks_y;  // y is copied from what the kernel writes
  bool any() const { return packs_x || unpacks_y; }
};

// How many of an axis's sources are read, about.
template <class acc>
int64_t samples_read(const AxisTaps<acc>& axis) {
  const int64_t taps = axis.offset[axis.out_size];
  return taps < axis.in_size ? taps : axis.in_size;
}

// Whether the pixels that are read are so few, `share` of all, that a copy of them takes less memory than a
// row, or time than what it saves.
template <class acc>
bool reads_few_pixels(const AxisTaps<acc>& height, const AxisTaps<acc>& width, double share = 0.25) {
  const double read = static_cast<double>(samples_read(height)) * samples_read(width);
  return read > 0 && read <= share * static_cast<double>(height.in_size) * width.in_size;
}

// Converts the image of which less is read or written. `may_unpack`: the epilogue does not read y's memory.
template <class acc>
Conversion choose_conversion(const ResampleParams<acc>& p, bool may_unpack) {
  const bool x_by_row = p.x_strides.width == 1 || p.width.in_size == 1;
  const bool y_by_row = p.y_strides.width == 1 || p.width.out_size == 1;
  const bool x_by_pixel = p.channels > 1 && p.x_strides.channel == 1;
  const bool y_by_pixel = p.channels > 1 && p.y_strides.channel == 1;
  if (x_by_pixel && y_by_pixel) return {true, false, false};
  if ((x_by_row && y_by_row) || choose_split(p) != Split::kNone) return {false, false, false};
  const int64_t x_samples = samples_read(p.height) * samples_read(p.width);
  if (x_samples == 0) return {false, false, false};  // zeros alone, as a transposed convolution can give
  const int64_t y_samples = p.height.out_size * p.width.out_size;
  const auto cost = [&](bool x_fits, bool y_fits) {
    if (!y_fits && !may_unpack) return INT64_MAX;
    return (x_fits ? 0 : x_samples) + (y_fits ? 0 : y_samples);
  };
  const int64_t by_row = cost(x_by_row, y_by_row), by_pixel = cost(x_by_pixel, y_by_pixel);
  if (p.channels > 1 && by_pixel < by_row) return {true, !x_by_pixel, !y_by_pixel};
  return {false, !x_by_row, !y_by_row && may_unpack};
}

// Whether an axis has more taps than the kernels with an epilogue, or those of chains, take: as area has
// where it shrinks by far. The image is then resized by itself.
template <class acc>
bool has_many_taps(const AxisTaps<acc>& height, const AxisTaps<acc>& width) {
  constexpr int64_t kMostFusedTaps = 4;
  return height.max_taps > kMostFusedTaps || width.max_taps > kMostFusedTaps;
}

// A transposed convolution whose kernel is separable, in two passes by tables or as one of each tap.
enum class SeparableLoops { kTables, kTapByTap };

// In float32, results of a small kernel take fewer operations tap by tap: channels-last ones, and those of
// planes with at most two taps along each axis. (Planes by the kernel of a bilinear layer stay to the bit
// what interpolation gives.)
template <class T>
SeparableLoops choose_separable(const Deconv& p) {
  constexpr int64_t kLeastChannels = 16, kMostTaps = 32, kLeastWidth = 16, kMostStride = 4;
  const bool by_pixel = p.channels >= kLeastChannels && p.in.channel == 1 && p.out.channel == 1;
  const auto has_two_taps = [](const ConvTransposeAxis& axis) {
    return axis.stride > 1 && axis.stride <= kMostStride && axis.dilation == 1 &&
           axis.kernel_size <= 2 * axis.stride;
  };
  const auto may_be_bilinear = [](const ConvTransposeAxis& axis) {
    return axis.kernel_size == 2 * axis.stride - axis.stride % 2;  // as caffe_upsample_params
  };
  const bool by_row = p.in.width == 1 && p.out.width == 1 && p.width.in_size >= kLeastWidth &&
                      has_two_taps(p.height) && has_two_taps(p.width) &&
                      !(may_be_bilinear(p.height) && may_be_bilinear(p.width));
  const bool faster = by_row || (by_pixel && p.height.kernel_size * p.width.kernel_size <= kMostTaps);
  return std::is_same_v<T, float> && !p.height.replicate && faster ? SeparableLoops::kTapByTap
                                                                   : SeparableLoops::kTables;
}

}  // namespace upsample_ext
