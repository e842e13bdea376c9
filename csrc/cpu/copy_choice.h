// How the CPU copies an image into another memory order: a description, decided before anything runs.
#pragma once

#include <stdint.h>

#include <array>
#include <utility>

namespace upsample_ext {

// The dimensions of an image pair, those merged that one stride serves in both; the innermost first.
class CopyDimensions {
 public:
  struct Dimension {
    int64_t size, from_stride, to_stride;
  };

  CopyDimensions(const int64_t* size, const int64_t* from_stride, const int64_t* to_stride, int64_t count) {
    for (int64_t d = 0; d < count; ++d) {
      if (size[d] > 1) dimensions_[count_++] = {size[d], from_stride[d], to_stride[d]};
    }
    const auto is_inner = [](const Dimension& a, const Dimension& b) {
      return a.to_stride != b.to_stride ? a.to_stride < b.to_stride : a.from_stride < b.from_stride;
    };
    for (int d = 1; d < count_; ++d) {  // std::sort on four elements draws a false warning of g++ 12
      for (int e = d; e > 0 && is_inner(dimensions_[e], dimensions_[e - 1]); --e) {
        std::swap(dimensions_[e], dimensions_[e - 1]);
      }
    }
    int merged = 0;
    for (int d = 1; d < count_; ++d) {
      Dimension &last = dimensions_[merged], &next = dimensions_[d];
      if (next.from_stride == last.size * last.from_stride && next.to_stride == last.size * last.to_stride) {
        last.size *= next.size;
      } else {
        dimensions_[++merged] = next;
      }
    }
    if (count_ == 0) dimensions_[0] = {1, 1, 1};
    count_ = merged + 1;
    for (int d = count_; d < 4; ++d) dimensions_[d] = {1, 0, 0};
  }

  // Whether the innermost elements are adjacent in both: the images are copied row by row, otherwise block by
  // block (copy_image.h).
  bool in_rows() const { return dimensions_[0].from_stride == 1 && dimensions_[0].to_stride == 1; }
  int64_t row() const { return dimensions_[0].size; }
  int64_t rows() const {
    int64_t rows = 1;
    for (int d = 1; d < count_; ++d) rows *= dimensions_[d].size;
    return rows;
  }
  // From one row to the next.
  const Dimension& next() const { return dimensions_[1]; }
  // Where row i starts in both.
  std::pair<int64_t, int64_t> start(int64_t i) const {
    int64_t from = 0, to = 0;
    for (int d = 1; d < count_; ++d) {
      const int64_t at = i % dimensions_[d].size;
      i /= dimensions_[d].size;
      from += at * dimensions_[d].from_stride;
      to += at * dimensions_[d].to_stride;
    }
    return {from, to};
  }

 private:
  std::array<Dimension, 4> dimensions_{{{1, 0, 0}, {1, 0, 0}, {1, 0, 0}, {1, 0, 0}}};
  int count_ = 0;
};

}  // namespace upsample_ext
