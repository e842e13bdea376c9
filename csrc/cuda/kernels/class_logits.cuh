// The resized logits of the pixels of one result column, a few classes at a time, for the ops that reduce
// over the classes: argmax and cross-entropy.
//
// A thread owns one column and loops over the classes with up to R result rows that read the same two source
// rows, so that a class costs it four loads and two horizontal blends, and each of the R pixels one vertical
// blend. No resized logit is stored. Threads of a warp own neighbouring columns: their loads fall into few
// cache lines, and they process the same rows.
//
//   classes of a pixel             loads of a class
//   side by side, aligned          one of up to 16 bytes for 4 or 2 classes
//   any other                      one element
#pragma once

#include <type_traits>

#include "../params.h"
#include "config.cuh"
#include "element.cuh"
#include "launch.cuh"
#include "resample_limits.cuh"
#include "thread_partition.cuh"

namespace upsample_ext {
namespace gpu {

// ---- classes --------------------------------------------------------------------------------------------

// An element, converted to the type of computation. Argmax compares doubles in float32.
template <class acc, class T>
__device__ __forceinline__ acc logit(T value) {
  return static_cast<acc>(widen(value));
}

// The two source rows that some rows of a column read, blended horizontally, N classes at a time. One load
// brings V classes: 1, or several if they are adjacent.
template <class T, class acc, int N, int V>
struct ClassColumn {
  const T *above, *below;  // class 0 at the first tap of either row
  int64_t second;          // from there to the second tap
  int64_t stride;          // to the next class
  acc weight0, weight1;

  template <class Index>
  __device__ __forceinline__ ClassColumn(const T* image, const Strides& in, int64_t row0, int64_t row1,
                                         const Taps<acc, 2, Index>& column)
      : above(image + row0 * in.height + column.index0 * in.width),
        below(image + row1 * in.height + column.index0 * in.width),
        second((column.index1 - column.index0) * in.width),
        stride(V > 1 ? 1 : in.channel),
        weight0(column.weight0),
        weight1(column.weight1) {}

  // Classes c .. c + count of one row (count is a constant where there are N); beyond, the last ones again.
  __device__ __forceinline__ void blended(const T* row, int count, acc (&values)[N]) const {
    Pack<T, V> first[N / V], next[N / V];
#pragma unroll
    for (int i = 0; i < N / V; ++i) {
      first[i] = load_pack<V>(row);
      next[i] = load_pack<V>(row + second);
      row = opaque(row + ((i + 1) * V < count ? V * stride : 0));
    }
#pragma unroll
    for (int k = 0; k < N; ++k) {
      values[k] = blend(weight0, logit<acc>(first[k / V].value[k % V]), weight1,
                        logit<acc>(next[k / V].value[k % V]));
    }
  }

  // The next N classes: `above` and `below` move on.
  __device__ __forceinline__ void take(int count, acc (&values0)[N], acc (&values1)[N]) {
    blended(above, count, values0);
    blended(below, count, values1);
    above += N * stride;
    below += N * stride;
  }
};

// One resized logit, equal to what ClassColumn's blends give.
template <class T, class acc, class Index>
__device__ __forceinline__ acc resized_logit(const T* plane, const Strides& in,
                                             const Taps<acc, 2, Index>& row,
                                             const Taps<acc, 2, Index>& column) {
  const auto along_width = [&](Index y) {
    const T* at = plane + y * in.height;
    return blend(column.weight0, logit<acc>(load(at + column.index0 * in.width)), column.weight1,
                 logit<acc>(load(at + column.index1 * in.width)));
  };
  return blend(row.weight0, along_width(row.index0), row.weight1, along_width(row.index1));
}

// ---- what a thread owns ---------------------------------------------------------------------------------

// The first result whose first source is >= `source`.
template <class acc, class Index>
__device__ __forceinline__ Index first_reading(const LinearAxis<acc, Index>& axis, Index source) {
  return source == 0 ? 0 : axis.end(source - 1);
}

// How pixels are divided among threads: each has a column, and rows of one group, which all read the same
// source rows. Groups are the rows between two source rows if there are more results than sources, otherwise
// single rows. The rows of a long group are distributed, R at a time, to `shares` threads.
template <class acc, class Index>
struct PixelGrid {
  LinearAxis<acc, Index> height, width;
  bool between_sources;
  Index threads;
  Divider<Index> columns, shares, groups;

  struct Place {
    Index n, column, begin, end, step;  // rows begin, begin + step, ..., R from each, before `end`
  };

  template <int R>
  __device__ __forceinline__ Place place(Index number) const {
    Place at;
    at.column = columns.take(number);
    const Index share = shares.take(number), group = groups.take(number);
    at.n = number;
    at.begin = between_sources ? first_reading(height, group) : group;
    at.end = between_sources ? first_reading(height, group + 1) : group + 1;
    at.begin += share * R;
    at.step = static_cast<Index>(shares.divisor) * R;
    return at;
  }
};

template <class acc>
struct PixelGridChoice {
  int64_t groups, shares, threads;
  bool between_sources;

  PixelGridChoice(const LogitsParams<acc>& p, int rows) {
    between_sources = p.height.out_size > p.height.in_size;
    groups = between_sources ? p.height.in_size : p.height.out_size;
    // The first source has half as many rows more, without align_corners: its threads take two turns.
    const int64_t factor = between_sources ? divide_up(p.height.out_size, p.height.in_size) : 1;
    shares = divide_up(factor, rows);
    threads = p.batch * groups * shares * p.width.out_size;
  }
  int64_t blocks() const { return divide_up(threads, kClassThreads); }
};

// Rows of a thread: as many as read the same two sources; depends only on the factor.
template <class acc>
int rows_between_sources(const LogitsParams<acc>& p, int most) {
  int rows = 2;
  while (rows < most && rows * p.height.in_size < p.height.out_size) rows *= 2;
  return rows;
}

template <class Index, class acc>
PixelGrid<acc, Index> pixel_grid(const LogitsParams<acc>& p, int rows) {
  const PixelGridChoice<acc> choice(p, rows);
  return {LinearAxis<acc, Index>(p.height),   LinearAxis<acc, Index>(p.width),  choice.between_sources,
          static_cast<Index>(choice.threads), Divider<Index>(p.width.out_size), Divider<Index>(choice.shares),
          Divider<Index>(choice.groups)};
}

template <class acc>
bool fits_32_bits(const LogitsParams<acc>& p) {
  return p.height.fits_32_bits() && p.width.fits_32_bits() && p.channels < kFar &&
         PixelGridChoice<acc>(p, 1).threads < int64_t{1} << 31;
}

// How a kernel that reduces the classes of a pixel reads them: `rows` results a thread, `classes` a load.
struct ClassesChoice {
  bool fits_32_bits;
  int rows, classes;
};

// The number of classes in one load: 16 bytes, two, or one.
template <class T>
constexpr int kMostClasses = kWide<T> < kClassGroup ? kWide<T> : kClassGroup;
template <class T, class acc>
int classes_of_load(const LogitsParams<acc>& p) {
  const auto fits = [&](int v) {
    return p.channels > 1 && p.in.channel == 1 && p.channels % v == 0 &&
           aligned_strides<T>(p.input, v * static_cast<int64_t>(sizeof(T)), p.in.batch, p.in.height,
                              p.in.width);
  };
  if (fits(kMostClasses<T>)) return kMostClasses<T>;
  return kMostClasses<T> > 2 && fits(2) ? 2 : 1;
}

// Calls f with that number as a constant.
template <class T, class F>
cudaError_t with_classes(int classes, F&& f) {
  if (classes == kMostClasses<T>) return f(std::integral_constant<int, kMostClasses<T>>{});
  if (classes == 2) return f(std::integral_constant<int, 2>{});
  return f(std::integral_constant<int, 1>{});
}

}  // namespace gpu
}  // namespace upsample_ext
