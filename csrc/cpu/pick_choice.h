// How the CPU picks the pixels of one image from another: a description, decided before anything runs.
#pragma once

#include "../params.h"

namespace upsample_ext {

// An image without its data.
struct ImageLayout {
  int64_t batch, channels, height, width;
  Strides strides;

  int64_t elements() const { return batch * channels * height * width; }
  // Dense pixels, or rows of adjacent elements.
  bool by_pixel() const {
    return channels > 1 && strides.channel == 1 && (width == 1 || strides.width == channels);
  }
  bool by_row() const { return width == 1 || strides.width == 1; }
  bool by_column() const { return height == 1 || strides.height == 1; }
};

enum class PickLoops {
  kRows,           // elements of a plane's row (pick_pixels.h)
  kPixels,         // the same with pixels of all channels in place of elements
  kRowsTurned,     // elements, a block of rows at a time, which then becomes one of pixels
  kPixelsTurned,   // pixels, which then become rows of planes
  kColumnsTurned,  // elements of a plane's column, a block of columns at a time, which then become rows
  kOneByOne,       // from any strides, where a copy of the whole image would be the larger part
  kFromOrdered     // from a copy of the whole image in the order of the result
};

// `to` is dense, by rows or by pixels.
inline PickLoops choose_pick(const ImageLayout& from, const ImageLayout& to) {
  const bool pixels = to.by_pixel();
  if (pixels ? from.by_pixel() : from.by_row()) return pixels ? PickLoops::kPixels : PickLoops::kRows;
  if (from.by_pixel()) return PickLoops::kPixelsTurned;
  if (from.by_row()) return PickLoops::kRowsTurned;
  if (from.elements() <= to.elements()) return PickLoops::kFromOrdered;
  return from.by_column() && !pixels ? PickLoops::kColumnsTurned : PickLoops::kOneByOne;
}

}  // namespace upsample_ext
