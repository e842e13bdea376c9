// The matrix of one axis, y = A x, as a table of taps in compressed rows: the one description of an op's
// geometry that forward, backward, the comparison and the tests read.
//
// A resize of an image is y = A_h x A_w^T. Its gradient is the same with both tables transposed, so that
// <Ax, y> = <x, A^T y> holds by construction: no formula is inverted anywhere.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "axis_spec.h"

namespace upsample_ext {

template <class T>
class AxisTable {
 public:
  // Of an axis (axis.h), or of the one that a spec names.
  template <class Axis>
  static AxisTable of(const Axis& axis);
  static AxisTable of(const AxisSpec& spec);
  // Bilinear resize by the rules of native's CPU kernels; scale_factor <= 0 where none is given.
  static AxisTable linear(int64_t in_size, int64_t out_size, bool align_corners, double scale_factor) {
    return of({Mode::kLinear, false, in_size, out_size, align_corners, scale_factor, NativeRules::kCpu});
  }
  // Transposed convolution with a 1-D kernel of axis.kernel_size values.
  static AxisTable conv_transpose(const ConvTransposeAxis& axis, const T* kernel);
  // The map of a volume's rows, all slices one after the other: along the depth by `outer` and along the
  // height by `inner`. Row o * inner.out_size + p takes rows i * inner.in_size + j.
  static AxisTable product(const AxisTable& outer, const AxisTable& inner);
  // Rows first .. first + count of A.
  AxisTable rows(int64_t first, int64_t count) const;
  // This map followed by `next`: next's A times ours, in this table's own type. Taps on the same source are
  // merged. If no row has more than kMostEvenTaps, all rows get the same number: a row with fewer has its
  // largest weight split into halves, which changes no result, not even that of an infinity.
  AxisTable then(const AxisTable& next) const;
  static constexpr int64_t kMostEvenTaps = 4;
  // A chain of resizes, of each of which some outputs are kept. An axis that a stage copies is left alone.
  static AxisTable chain(const AxisStage* stages, size_t count);
  // A^T; the taps of each row in ascending order of the old row.
  AxisTable transposed() const;
  // The same map, of whose taps the adjacent ones of a row that are on the same source are merged
  // (MergedTaps): where an edge sample is repeated, its gradient has many of each output.
  AxisTable merged() const;
  // The same map for pixels of `channels` adjacent values: column o * channels + c reads index * channels +
  // c.
  AxisTable interleaved(int64_t channels) const;

  // The sources that at least one output reads, ascending; and the same map from those sources only.
  std::vector<int64_t> sources() const;
  AxisTable of_sources(const std::vector<int64_t>& sources) const;

  const AxisTaps<T>& taps() const { return taps_; }
  int64_t tap_count() const { return taps_.offset[taps_.out_size]; }
  int64_t bytes() const { return bytes_; }  // of its memory

 private:
  AxisTable(int64_t in_size, int64_t out_size, int64_t capacity);
  // The same, of weights of another type.
  template <class U>
  explicit AxisTable(const AxisTable<U>& other);
  template <class U>
  friend class AxisTable;
  void classify();
  AxisTable with_even_rows() const;
  void round_weights();
  int64_t* offset() { return const_cast<int64_t*>(taps_.offset); }
  int64_t* index() { return const_cast<int64_t*>(taps_.index); }
  T* weight() { return const_cast<T*>(taps_.weight); }

  AxisTaps<T> taps_;
  std::unique_ptr<int64_t[]> storage_;  // offsets, indices and weights in one allocation
  int64_t bytes_;
};

extern template class AxisTable<float>;
extern template class AxisTable<double>;

}  // namespace upsample_ext
