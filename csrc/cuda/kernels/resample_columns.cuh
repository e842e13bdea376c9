// What a thread of a resize owns, and its walk down the result rows.
#pragma once

#include <type_traits>

#include "../../geometry/axis.h"
#include "element.cuh"

namespace upsample_ext {
namespace gpu {

// V columns of a plane, `step` apart, the first at `first`. Columns beyond the row have the taps of the last
// one. Offsets are unsigned, so that an address takes one instruction; that of an absent tap is kAbsent.
template <class T, int V, class Axis, class Index>
struct PlanarColumns {
  typedef acc_of<T> acc;
  typedef std::make_unsigned_t<Index> Offset;
  static constexpr Offset kAbsent = static_cast<Offset>(-1);
  const T* plane;
  Offset offset0[V], offset1[V];
  acc weight1[V], weight0[Axis::kMayLackTaps ? V : 1];  // those of a resize add up to one

  __device__ __forceinline__ PlanarColumns(const T* source, const Axis& axis, Index stride, Index first,
                                           Index step)
      : plane(source) {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const Index column = first + v * step;
      set(v, axis.taps(column < axis.out_size ? column : axis.out_size - 1), stride, 0);
    }
  }

  // The source row at `row`, blended for each of the columns.
  __device__ __forceinline__ void blended(const T* row, acc (&values)[V]) const {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      acc first_weight;
      if constexpr (Axis::kMayLackTaps) {
        first_weight = weight0[v];
      } else {
        first_weight = acc(1) - weight1[v];
      }
      values[v] = blend(first_weight, element(row, offset0[v]), weight1[v], element(row, offset1[v]));
    }
  }

 protected:
  explicit __device__ __forceinline__ PlanarColumns(const T* source) : plane(source) {}

  __device__ __forceinline__ void set(int v, const Taps<acc, 2, Index>& taps, Index stride, Index shift) {
    offset0[v] = taps.index0 < 0 ? kAbsent : static_cast<Offset>(taps.index0 * stride + shift);
    offset1[v] = taps.index1 < 0 ? kAbsent : static_cast<Offset>(taps.index1 * stride + shift);
    weight1[v] = taps.weight1;
    if constexpr (Axis::kMayLackTaps) weight0[v] = taps.weight0;
  }

 private:
  static __device__ __forceinline__ acc element(const T* row, Offset offset) {
    if (Axis::kMayLackTaps && offset == kAbsent) return acc(0);
    return widen(load(row + offset));
  }
};

// V neighbouring elements of a row whose pixels hold `channels` elements each, without a gap.
template <class T, int V, class Axis, class Index>
struct PixelColumns : PlanarColumns<T, V, Axis, Index> {
  __device__ __forceinline__ PixelColumns(const T* source, const Axis& axis, Index channels, Index first,
                                          Index)
      : PlanarColumns<T, V, Axis, Index>(source) {
    Index column = first / channels, c = first - column * channels;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      this->set(v, axis.taps(column), channels, c);
      if (++c == channels) {
        c = 0;
        ++column;
      }
    }
  }
};

// V neighbouring columns of a row that is kFactor times as wide as its source, for a power of two, whose taps
// are known: column kFactor * i + r is at i + (r + 0.5) / kFactor - 0.5. A thread reads the elements of a row
// that lie under its columns, as vectors, and one on either side, instead of two elements per column.
template <class T, int V, int kFactor, class Axis, class Index>
struct EnlargedColumns {
  typedef acc_of<T> acc;
  typedef std::make_unsigned_t<Index> Offset;
  static constexpr int kSources = V / kFactor;
  const T* plane;
  Offset left, middle, right;

  __device__ __forceinline__ EnlargedColumns(const T* source, const Axis& axis, Index, Index first, Index)
      : plane(source),
        left(first == 0 ? 0 : first / kFactor - 1),
        middle(first / kFactor),
        right(first / kFactor + kSources < axis.in_size ? first / kFactor + kSources : axis.in_size - 1) {}

  __device__ __forceinline__ void blended(const T* row, acc (&values)[V]) const {
    const Pack<T, kSources> inside = load_pack<kSources>(row + middle);
    acc source[kSources + 2];
    source[0] = widen(load(row + left));
#pragma unroll
    for (int i = 0; i < kSources; ++i) source[i + 1] = widen(inside.value[i]);
    source[kSources + 1] = widen(load(row + right));
#pragma unroll
    for (int v = 0; v < V; ++v) {
      constexpr acc kStep = acc(1) / kFactor;
      const int i = (v + kFactor / 2) / kFactor, r = (v + kFactor / 2) % kFactor;  // from source[i] on
      const acc weight1 = (acc(r) + acc(0.5)) * kStep;
      values[v] = blend(acc(1) - weight1, source[i], weight1, source[i + 1]);
    }
    if (middle == 0) {  // clamped to the first centre
#pragma unroll
      for (int v = 0; v < kFactor / 2; ++v) values[v] = blend(acc(1), source[1], acc(0), source[2]);
    }
  }
};
template <class T, int V, class Axis, class Index>
using DoubledColumns = EnlargedColumns<T, V, 2, Axis, Index>;
template <class T, int V, class Axis, class Index>
using QuadrupledColumns = EnlargedColumns<T, V, 4, Axis, Index>;

// V channels of one column.
template <class T, int V, class Axis, class Index>
struct ChannelColumn {
  typedef acc_of<T> acc;
  typedef std::make_unsigned_t<Index> Offset;
  static constexpr Offset kAbsent = static_cast<Offset>(-1);
  const T* plane;
  Offset offset0, offset1;
  acc weight0, weight1;

  __device__ __forceinline__ ChannelColumn(const T* source, const Axis& axis, Index stride, Index column)
      : plane(source) {
    const auto taps = axis.taps(column);
    offset0 = taps.index0 < 0 ? kAbsent : static_cast<Offset>(taps.index0 * stride);
    offset1 = taps.index1 < 0 ? kAbsent : static_cast<Offset>(taps.index1 * stride);
    weight0 = taps.weight0;
    weight1 = taps.weight1;
  }

  __device__ __forceinline__ void blended(const T* row, acc (&values)[V]) const {
    const Pack<T, V> a = pixel(row, offset0), b = pixel(row, offset1);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      values[v] = blend(weight0, widen(a.value[v]), weight1, widen(b.value[v]));
    }
  }

 private:
  static __device__ __forceinline__ Pack<T, V> pixel(const T* row, Offset offset) {
    if (Axis::kMayLackTaps && offset == kAbsent) return Pack<T, V>{};
    return load_pack<V>(row + offset);
  }
};

// Computes result rows begin .. end of what `columns` owns, and calls put(o, values) for each.
template <int V, class acc, class Columns, class Axis, class Index, class Put>
__device__ __forceinline__ void walk_down(const Columns& columns, const Axis& height, int64_t row_stride,
                                          Index begin, Index end, Put&& put) {
  acc above[V], below[V];
  Index above_row = -2, below_row = -2;  // nothing yet
  const auto take = [&](Index row, acc(&values)[V]) {
    if (Axis::kMayLackTaps && row < 0) {
#pragma unroll
      for (int v = 0; v < V; ++v) values[v] = acc(0);
    } else {
      columns.blended(opaque(columns.plane + row * row_stride), values);
    }
  };
  for (Index o = begin; o < end; ++o) {
    const auto taps = height.taps(o);
    if (taps.index0 != above_row) {
      if (taps.index0 == below_row) {
#pragma unroll
        for (int v = 0; v < V; ++v) above[v] = below[v];
      } else {
        take(taps.index0, above);
      }
      above_row = taps.index0;
    }
    if (taps.index1 != below_row) {
      if (taps.index1 == above_row) {
#pragma unroll
        for (int v = 0; v < V; ++v) below[v] = above[v];
      } else {
        take(taps.index1, below);
      }
      below_row = taps.index1;
    }
    acc values[V];
#pragma unroll
    for (int v = 0; v < V; ++v) values[v] = blend(taps.weight0, above[v], taps.weight1, below[v]);
    put(o, values);
  }
}

}  // namespace gpu
}  // namespace upsample_ext
