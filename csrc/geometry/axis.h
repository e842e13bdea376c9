// The geometry of one axis: which source samples an output index reads, and with what weight.
//
// Host and device. Everything here follows PyTorch's own coordinates to the last rounding (float32 for
// float, half and uint8 inputs, float64 for double), because a drop-in must read the same taps: at x3 and
// width 700 native's own float32 error reaches 2e-4, and a better formula would differ from it by as much.
//
//   taps.h                  what an axis is
//   linear_axis.h           two taps: bilinear
//   nearest_axis.h          one tap: nearest, nearest-exact, identity
//   cubic_axis.h            four taps: bicubic
//   window_axis.h           any number: antialiased modes, area
//   conv_transpose_axis.h   transposed convolution, two taps and any number
// axis_spec.h turns the name of a mode into one of them, axis_table.h any of them into a table.
#pragma once

#include "conv_transpose_axis.h"
#include "cubic_axis.h"
#include "linear_axis.h"
#include "nearest_axis.h"
#include "taps.h"
#include "window_axis.h"

namespace upsample_ext {

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
  int weight_bits = 0;  // where weights are rounded to integers, as for bytes: of 1 / 2^weight_bits

  // Whether most outputs have no taps: the gradient of shrinking, by nearest or two taps.
  bool is_sparse() const { return 4 * offset[out_size] < out_size; }
};

// The rows of a table in which every row has exactly two taps: 2 * o and 2 * o + 1, wherever they are stored.
// Kernels that do not look at offsets take this type, which no other table can become.
template <class T>
struct TwoTapRows : AxisTaps<T> {
  TwoTapRows() = default;  // no rows
  TwoTapRows(const AxisTaps<T>& taps) : AxisTaps<T>(taps) {
    if (taps.taps_per_row != 2) __builtin_trap();
  }

  int64_t first(int64_t o) const { return this->index[2 * o]; }
  int64_t second(int64_t o) const { return this->index[2 * o + 1]; }
  T first_weight(int64_t o) const { return this->weight[2 * o]; }
  T second_weight(int64_t o) const { return this->weight[2 * o + 1]; }

  // How many outputs from o on, and before `end`, read the same two sources; at most `most`.
  int same_sources(int64_t o, int64_t end, int most) const {
    int count = 1;
    while (count < most && o + count < end && first(o + count) == first(o) &&
           second(o + count) == second(o)) {
      ++count;
    }
    return count;
  }
};

}  // namespace upsample_ext
