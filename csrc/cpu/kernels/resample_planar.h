// Planar images: the samples of a row are adjacent in memory (interleaved: those of few channels are).
//
// Interpolation, with two neighbouring taps along each axis, goes straight from the input to the output: a
// block of columns loads its four corners once for all result rows between the same two source rows, blends
// them vertically, then horizontally, and stores. There is no buffer in between: short rows of it would be
// read before the stores to them have reached the cache. Everything else sums its source rows into a padded
// row of acc first (vertical.h); the arithmetic of an element is the same in both cases.
#pragma once

#include "vertical.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

template <class acc>
inline const ColumnPlan<acc>& column_plan(const ResampleParams<acc>& p) {
  return *static_cast<const ColumnPlan<acc>*>(p.plan);
}

// ---- interpolation --------------------------------------------------------------------------------------

constexpr int kMostRows = 4;

// Result rows between the same two source rows.
template <class T, class E, class acc>
struct RowGroup {
  explicit RowGroup(E epilogue) : finish(epilogue) {}

  E finish;
  const T *source0, *source1;
  int count;
  int64_t ahead;  // how much further the source rows of the next group are
  bool streams;
  typename E::result* out[kMostRows];
  acc weight0[kMostRows], weight1[kMostRows];
};

template <class acc>
inline bool interpolates(const ResampleParams<acc>& p) {
  return p.height.interpolates && p.width.max_taps == 2 && p.x_strides.width == 1 && p.y_strides.width == 1 &&
         p.width.in_size >= column_plan(p).needed;
}

// A row without taps, as between the rows that the gradient of a downsampling reaches.
template <class acc>
inline bool is_zero(const ResampleParams<acc>& p, int64_t oy) {
  return p.height.offset[oy] == p.height.offset[oy + 1];
}

// Copies of two source rows that are shorter than a vector, at the end of a plane: behind all others there
// are the next rows, which may be read.
template <class T, class acc>
struct PaddedRows {
  T row[2][lanes<acc>] = {};
};

// The result row oy and those after it, before `end`, that read the same two source rows.
template <class T, class E, class acc>
inline RowGroup<T, E, acc> group_rows(const ResampleParams<acc>& p, E finish, const T* in,
                                      typename E::result* out, int64_t oy, int64_t end,
                                      PaddedRows<T, acc>& padded) {
  const int64_t* index = p.height.index + p.height.offset[oy];
  RowGroup<T, E, acc> group(finish);
  group.source0 = in + index[0] * p.x_strides.height;
  group.source1 = in + index[1] * p.x_strides.height;
  const T* end_of_plane = in + (p.height.in_size - 1) * p.x_strides.height + p.width.in_size;
  const T* lower = group.source0 > group.source1 ? group.source0 : group.source1;
  if (kPermutes && p.width.in_size < lanes<acc> && end_of_plane - lower < lanes<acc>) {
    const size_t bytes = static_cast<size_t>(p.width.in_size) * sizeof(T);
    __builtin_memcpy(padded.row[0], group.source0, bytes);
    __builtin_memcpy(padded.row[1], group.source1, bytes);
    group.source0 = padded.row[0];
    group.source1 = padded.row[1];
  }
  group.count = 0;
  group.streams = p.stream;
  while (group.count < kMostRows && oy < end) {
    const int64_t t = p.height.offset[oy];
    if (p.height.offset[oy + 1] - t != 2) break;
    if (p.height.index[t] != index[0] || p.height.index[t + 1] != index[1]) break;
    const int r = group.count++;
    group.out[r] = out + oy++ * p.y_strides.height;
    group.weight0[r] = p.height.weight[t];
    group.weight1[r] = p.height.weight[t + 1];
    group.streams = group.streams && streamable<acc>(group.out[r]);
  }
  group.ahead =
      oy < end && !is_zero(p, oy) ? (p.height.index[p.height.offset[oy]] - index[0]) * p.x_strides.height : 0;
  return group;
}

// One block of columns in kRows rows; kPart: only `count` of its columns exist.
template <Reach kReach, int kRows, Put kPut, class T, class E, class acc>
inline void write_interpolated(E finish, typename E::result* const* out, const T* source0, const T* source1,
                               const vec<acc>* down0, const vec<acc>* down1, const ColumnTap<acc>& tap0,
                               const ColumnTap<acc>& tap1, int64_t column, int64_t count) {
  interpolate_block<kReach, kRows>(source0, source1, down0, down1, tap0, tap1, [&](int r, vec<acc> value) {
    finish.template put<kPut>(out[r] + column, value, count);
  });
}

// Blocks begin .. end of rows first .. first + kRows of the group. kShares: their taps are the same.
template <Reach kReach, int kRows, bool kShares, Put kPut, class T, class E, class acc>
inline void interpolate_blocks(const RowGroup<T, E, acc>& group, int first, const ColumnPlan<acc>& plan,
                               int64_t begin, int64_t end, int64_t count) {
  const E finish = group.finish;
  vec<acc> down0[kRows], down1[kRows];
  typename E::result* out[kRows];
  for (int r = 0; r < kRows; ++r) {
    down0[r] = splat(group.weight0[first + r]);
    down1[r] = splat(group.weight1[first + r]);
    out[r] = group.out[first + r];
  }
  const T *source0 = group.source0, *source1 = group.source1;  // copies, which no store can change
  const ColumnBlock<acc>* blocks = plan.blocks;
  const ColumnTap<acc>*all_taps = plan.taps, *taps = all_taps + blocks[begin].tap;
  const ColumnTap<acc> tap0 = taps[0], tap1 = taps[1];
  for (int64_t b = begin; b < end; ++b) {
    const int64_t base = blocks[b].base;
    if (!kShares) taps = all_taps + blocks[b].tap;
    if constexpr (kRows == 1) {  // of shrinking: rows are read once
      constexpr int64_t kAhead = kReadAhead / static_cast<int64_t>(sizeof(T)),
                        kLine = 64 / static_cast<int64_t>(sizeof(T));
      for (int64_t x = 0; x < windows_of(kReach) * lanes<acc>; x += kLine) {
        __builtin_prefetch(source0 + base + kAhead + x);
        __builtin_prefetch(source1 + base + kAhead + x);
      }
    }
    write_interpolated<kReach, kRows, kPut>(finish, out, source0 + base, source1 + base, down0, down1,
                                            kShares ? tap0 : taps[0], kShares ? tap1 : taps[1],
                                            b * lanes<acc>, count);
  }
}

// Columns begin .. end of one row, one by one. Rows that are far apart too are no stream that the hardware
// prefetcher follows: those of the next group are asked for.
template <class T, class E, class acc>
inline void interpolate_far(const RowGroup<T, E, acc>& group, int r, const AxisTaps<acc>& width,
                            int64_t begin, int64_t end) {
  const acc down0 = group.weight0[r], down1 = group.weight1[r];
  const auto sample = [&](int64_t index) {
    return multiply_add(down1, to_acc(group.source1[index]), down0 * to_acc(group.source0[index]));
  };
  if (width.taps_per_row == 2) {
    const int64_t* index = width.index + 2 * begin;
    const acc* weight = width.weight + 2 * begin;
    const T *next0 = group.source0 + group.ahead, *next1 = group.source1 + group.ahead;
    for (int64_t o = begin; o < end; ++o, index += 2, weight += 2) {
      __builtin_prefetch(next0 + index[0]);
      __builtin_prefetch(next1 + index[0]);
      const acc first = weight[0] * sample(index[0]);
      group.finish.put_one(group.out[r] + o, multiply_add(weight[1], sample(index[1]), first));
    }
    return;
  }
  for (int64_t o = begin; o < end; ++o) {
    const int64_t t = width.offset[o], taps = width.offset[o + 1] - t;
    acc sum = taps > 0 ? width.weight[t] * sample(width.index[t]) : acc(0);
    if (taps > 1) sum = multiply_add(width.weight[t + 1], sample(width.index[t + 1]), sum);
    group.finish.put_one(group.out[r] + o, sum);
  }
}

template <Reach kReach, bool kShares, Put kPut, class T, class E, class acc>
inline void interpolate_rows(const RowGroup<T, E, acc>& group, const ColumnPlan<acc>& plan, int64_t begin,
                             int64_t end, int64_t count) {
  int r = 0;
  // Cached stores run best one row at a time, unless converting the inputs once per row costs more; streaming
  // stores can interleave several rows.
  constexpr bool kTogether =
      !E::kReads &&
      (kPut == Put::kStream || (kPut == Put::kStore && sizeof(typename E::result) < sizeof(acc)));
  if constexpr (has_every_tap(kReach) && kTogether) {
    if (group.count == 4)
      return interpolate_blocks<kReach, 4, kShares, kPut>(group, 0, plan, begin, end, count);
    for (; r + 2 <= group.count; r += 2) {
      interpolate_blocks<kReach, 2, kShares, kPut>(group, r, plan, begin, end, count);
    }
  }
  for (; r < group.count; ++r)
    interpolate_blocks<kReach, 1, kShares, kPut>(group, r, plan, begin, end, count);
}

template <Reach kReach, Put kPut, class T, class E, class acc>
inline void interpolate_run(const RowGroup<T, E, acc>& group, const ColumnPlan<acc>& plan, int64_t begin,
                            int64_t end, int64_t count) {
  if (has_every_tap(kReach) && plan.blocks[begin].shares) {
    return interpolate_rows<kReach, has_every_tap(kReach), kPut>(group, plan, begin, end, count);
  }
  interpolate_rows<kReach, false, kPut>(group, plan, begin, end, count);
}

// Blocks begin .. end of all rows of the group, a run, or one block of `count` columns.
template <Put kPut, class T, class E, class acc>
inline void interpolate_run(const RowGroup<T, E, acc>& group, const ColumnPlan<acc>& plan,
                            const AxisTaps<acc>& width, int64_t begin, int64_t end, int64_t count) {
  switch (plan.blocks[begin].reach) {
    case Reach::kShared:
      return interpolate_run<occurring(Reach::kShared), kPut>(group, plan, begin, end, count);
    case Reach::kPair:
      return interpolate_run<occurring(Reach::kPair), kPut>(group, plan, begin, end, count);
    case Reach::kNear:
      return interpolate_run<Reach::kNear, kPut>(group, plan, begin, end, count);
    case Reach::kGaps:
      return interpolate_run<Reach::kGaps, kPut>(group, plan, begin, end, count);
    case Reach::kWide:
      return interpolate_run<occurring(Reach::kWide), kPut>(group, plan, begin, end, count);
    case Reach::kWidest:
      return interpolate_run<occurring(Reach::kWidest), kPut>(group, plan, begin, end, count);
    case Reach::kFar:
      for (int r = 0; r < group.count; ++r) {
        interpolate_far(group, r, width, begin * lanes<acc>, smaller(end * lanes<acc>, width.out_size));
      }
  }
}

template <class T, class E, class acc>
inline void interpolate_group(const RowGroup<T, E, acc>& group, const ColumnPlan<acc>& plan,
                              const AxisTaps<acc>& width) {
  const int64_t whole = width.out_size / lanes<acc>, rest = width.out_size % lanes<acc>;
  for (int64_t b = 0; b < whole; b += plan.blocks[b].run) {
    if (group.streams) {
      interpolate_run<Put::kStream>(group, plan, width, b, b + plan.blocks[b].run, lanes<acc>);
    } else {
      interpolate_run<Put::kStore>(group, plan, width, b, b + plan.blocks[b].run, lanes<acc>);
    }
  }
  if (rest > 0) interpolate_run<Put::kPart>(group, plan, width, whole, whole + 1, rest);
}

// ---- any tables -----------------------------------------------------------------------------------------

// A padded row of acc to the output.
template <class E, class acc>
inline void write_row_columns(const ResampleParams<acc>& p, E finish, typename E::result* out,
                              const acc* row) {
  const ColumnPlan<acc>& plan = column_plan(p);
  if (p.y_strides.width != 1) {
    for (int64_t o = 0; o < p.width.out_size; ++o) {
      finish.put_one(out + o * p.y_strides.width, sum_taps(row, p.width, o));
    }
  } else if (p.stream && streamable<acc>(out)) {
    write_columns<Put::kStream>(finish, out, row, plan, p.width);
  } else {
    write_columns<Put::kStore>(finish, out, row, plan, p.width);
  }
}

// kRows padded rows of acc, where columns have three or four taps: then loading a block's taps takes longer
// than a row.
template <int kTaps, int kRows, Put kPut, class E, class acc>
inline void write_row_batch(const ResampleParams<acc>& p, E finish, typename E::result* const* out,
                            const acc* const* row) {
  const ColumnPlan<acc>& plan = column_plan(p);
  const int64_t whole = p.width.out_size / lanes<acc>, rest = p.width.out_size % lanes<acc>;
  for (int64_t b = 0; b < whole;) {
    const int64_t end = b + plan.blocks[b].run;
    if (plan.blocks[b].reach == Reach::kShared) {
      write_run_of_rows<kTaps, kRows, kPut>(finish, out, row, plan, b, end);
    } else {
      for (int r = 0; r < kRows; ++r) write_run<kPut>(finish, out[r], row[r], plan, p.width, b, end);
    }
    b = end;
  }
  for (int r = 0; r < kRows && rest > 0; ++r) {
    write_block<Put::kPart>(finish, out[r] + whole * lanes<acc>, row[r], plan, p.width, whole, rest);
  }
}

// Whether columns have so many taps: three as those of two resizes after one another, four as cubics.
template <class E, class acc>
inline bool writes_rows_together(const ResampleParams<acc>& p) {
  const int64_t taps = p.width.taps_per_row;
  return kPermutes && !E::kReads && (taps == 3 || (taps == 4 && !E::kFewTaps)) && p.y_strides.width == 1;
}

// The rows from `first` on.
template <int kRows, class E, class acc>
inline void write_rows_together(const ResampleParams<acc>& p, E finish, typename E::result* first,
                                const acc* const* row) {
  typename E::result* out[kRows];
  bool streams = p.stream;
  for (int r = 0; r < kRows; ++r) {
    out[r] = first + r * p.y_strides.height;
    streams = streams && streamable<acc>(out[r]);
  }
  if constexpr (!E::kFewTaps) {
    if (p.width.taps_per_row == 4) {
      return streams ? write_row_batch<4, kRows, Put::kStream>(p, finish, out, row)
                     : write_row_batch<4, kRows, Put::kStore>(p, finish, out, row);
    }
  }
  streams ? write_row_batch<3, kRows, Put::kStream>(p, finish, out, row)
          : write_row_batch<3, kRows, Put::kStore>(p, finish, out, row);
}

// One segment, or if columns are not adjacent in memory one segment for each.
template <class acc>
inline RowShape planar_row(const ResampleParams<acc>& p) {
  return p.x_strides.width == 1 ? RowShape{1, p.width.in_size, 0}
                                : RowShape{p.width.in_size, 1, p.x_strides.width};
}

template <class acc>
inline int64_t planar_row_bytes(const ResampleParams<acc>& p) {
  return whole_vectors((p.width.in_size + kRowPadding<acc>)*static_cast<int64_t>(sizeof(acc)));
}

// Several rows are summed vertically before the first is read by the horizontal pass, so that no row is read
// back while the stores to it are still in flight.
constexpr int64_t kRowBatch = 4;

template <class acc>
int64_t planar_scratch_bytes(const ResampleParams<acc>& p) {
  if (is_sparse(p.width)) return 0;
  if (interpolates(p) && p.height.taps_per_row == 2) return 0;  // every row is taken directly
  return kRowBatch * planar_row_bytes(p);
}

// A row without taps.
template <class E, class acc>
inline void zero_row(const ResampleParams<acc>& p, E finish, typename E::result* out) {
  if (E::kUnchanged && p.y_strides.width == 1) {
    __builtin_memset(out, 0, static_cast<size_t>(p.width.out_size) * sizeof *out);
    return;
  }
  for (int64_t o = 0; o < p.width.out_size; ++o) finish.put_one(out + o * p.y_strides.width, acc(0));
}
// The rows without taps from row oy of the plane `out` on, before `end`; returns the row after them.
template <class E, class acc>
inline int64_t zero_rows(const ResampleParams<acc>& p, E finish, typename E::result* out, int64_t oy,
                         int64_t end) {
  int64_t last = oy + 1;
  while (last < end && is_zero(p, last)) ++last;
  if (E::kUnchanged && p.y_strides.width == 1 && p.y_strides.height == p.width.out_size) {
    const int64_t count = (last - oy) * p.width.out_size;
    __builtin_memset(out + oy * p.y_strides.height, 0, static_cast<size_t>(count) * sizeof *out);
  } else {
    for (; oy < last; ++oy) zero_row(p, finish, out + oy * p.y_strides.height);
  }
  return last;
}

// Rows begin .. end of a plane of which most elements are zeros, filled block by block so that they stay in
// cache; the arithmetic of the others is that of the passes above.
template <class T, class E, class acc>
inline void fill_sparse_rows(const ResampleParams<acc>& p, E finish, const T* in, typename E::result* out,
                             int64_t begin, int64_t end) {
  constexpr int64_t kBlockElements = 4096;
  const ColumnPlan<acc>& plan = column_plan(p);
  const int64_t rows = larger(1, kBlockElements / p.width.out_size), x_width = p.x_strides.width;
  const bool dense = p.y_strides.width == 1 && p.y_strides.height == p.width.out_size;
  for (int64_t first = begin, last; first < end; first = last) {
    last = smaller(first + rows, end);
    typename E::result* block = out + first * p.y_strides.height;
    if (dense) {
      __builtin_memset(block, 0, static_cast<size_t>((last - first) * p.width.out_size) * sizeof *out);
    }
    for (int64_t oy = first; oy < last; ++oy) {
      typename E::result* row = out + oy * p.y_strides.height;
      if (!dense) zero_row(p, finish, row);
      const int64_t t = p.height.offset[oy], taps = p.height.offset[oy + 1] - t;
      if (taps == 0) continue;
      const T* source = in + p.height.index[t] * p.x_strides.height;
      const acc weight = p.height.weight[t];
      const auto blended = [&](int64_t column) {
        acc sum = weight * to_acc(source[column * x_width]);
        for (int64_t i = t + 1; i < t + taps; ++i) {
          const T* next = in + p.height.index[i] * p.x_strides.height;
          sum = multiply_add(p.height.weight[i], to_acc(next[column * x_width]), sum);
        }
        return sum;
      };
      for (int64_t k = 0; k < plan.filled_count; ++k) {
        const FilledColumn<acc>& column = plan.filled[k];
        acc sum = column.weight * blended(column.source);
        for (int64_t i = column.tap + 1; i < column.tap + column.taps; ++i) {
          sum = multiply_add(p.width.weight[i], blended(p.width.index[i]), sum);
        }
        finish.put_one(row + column.column * p.y_strides.width, sum);
      }
    }
  }
}

// Whether a source row fits in a vector, from which all columns are then taken. (Where all rows have two taps
// and are longer than a vector, taking several at a time gains more.)
template <class acc>
inline bool is_short(const ResampleParams<acc>& p) {
  const bool gains = p.height.taps_per_row != 2 || p.width.out_size <= lanes<acc>;
  return kPermutes && gains && p.width.in_size <= lanes<acc> && p.x_strides.width == 1 &&
         p.y_strides.width == 1 && !plans_windows(p.width);
}

template <bool kPart, class T, class E, class acc>
inline void resample_short_rows(const ResampleParams<acc>& p, E finish, const T* in, typename E::result* out,
                                int64_t begin, int64_t end) {
  const ColumnPlan<acc>& plan = column_plan(p);
  for (int64_t oy = begin; oy < end;) {
    if (is_zero(p, oy)) {
      oy = zero_rows(p, finish, out, oy, end);
      continue;
    }
    const int64_t t = p.height.offset[oy], taps = p.height.offset[oy + 1] - t;
    typename E::result* row = out + oy++ * p.y_strides.height;
    const vec<acc> source = blend_vector<kPart>(in, p.x_strides.height, p.width.in_size, p.height.index + t,
                                                p.height.weight + t, taps);
    for (int64_t b = 0; b < plan.block_count; ++b) {
      const ColumnTap<acc>* tap = plan.taps + plan.blocks[b].tap;
      vec<acc> sum{};
      if (plan.blocks[b].taps > 0) sum = tap[0].weight * pick<Reach::kGaps, acc>(source, tap[0].lane);
      for (int64_t i = 1; i < plan.blocks[b].taps; ++i) {
        sum = multiply_add_vector(tap[i].weight, pick<Reach::kGaps, acc>(source, tap[i].lane), sum);
      }
      const int64_t column = b * lanes<acc>, count = p.width.out_size - column;
      if (count >= lanes<acc>) {
        finish.template put<Put::kStore>(row + column, sum, lanes<acc>);
      } else {
        finish.template put<Put::kPart>(row + column, sum, count);
      }
    }
  }
}

// Sums the source rows of the result rows from oy on that are written together, and returns how many these
// are. Not inlined, so that epilogues share it.
template <class T, class acc>
[[gnu::noinline]] int64_t sum_row_batch(const ResampleParams<acc>& p, const RowShape& shape, const T* in,
                                        int64_t oy, int64_t end, acc* const rows[kRowBatch]) {
  int64_t count = 0;
  while (count < kRowBatch && oy + count < end && !is_zero(p, oy + count)) {
    const int64_t row = oy + count;
    if (count + 1 < kRowBatch && row + 1 < end && share_four_rows(p.height, row, row + 1)) {
      blend_two_rows(rows[count], rows[count + 1], in, p.x_strides.height, shape, p.height, row);
      count += 2;
    } else {
      blend_rows(rows[count++], in, p.x_strides.height, shape, p.height, row);
    }
  }
  return count;
}

// Whether each row of the result is one of the source's, as in a line, and long enough that the horizontal
// pass stays inside it: no sum is made then.
template <class T, class acc>
inline bool takes_rows_as_they_are(const ResampleParams<acc>& p) {
  if (sizeof(T) != sizeof(acc) || p.x_strides.width != 1 || plans_windows(p.width)) return false;
  for (int64_t oy = 0; oy < p.height.out_size; ++oy) {
    if (p.height.offset[oy] != oy || p.height.weight[oy] != acc(1)) return false;
  }
  const int64_t least = kPermutes ? larger(lanes<acc>, column_plan(p).needed) : 1;
  return p.height.offset[p.height.out_size] == p.height.out_size && p.width.in_size >= least &&
         p.width.taps_per_row != 3 && p.width.taps_per_row != 4;  // of such rows several are written together
}

template <class T, class E, class acc>
inline void write_rows_as_they_are(const ResampleParams<acc>& p, E finish, const T* in,
                                   typename E::result* out, int64_t begin, int64_t end) {
  if constexpr (sizeof(T) == sizeof(acc)) {
    for (int64_t oy = begin; oy < end; ++oy) {
      write_row_columns(p, finish, out + oy * p.y_strides.height,
                        in + p.height.index[oy] * p.x_strides.height);
    }
  }
}

template <class T, class E, class acc>
inline void resample_rows_of_plane(const ResampleParams<acc>& p, E finish, const T* in,
                                   typename E::result* out, int64_t begin, int64_t end, char* scratch) {
  const auto row_buffer = [&](int64_t i) {
    return reinterpret_cast<acc*>(scratch + i * planar_row_bytes(p));
  };
  const RowShape shape = planar_row(p);
  if (!E::kFewTaps && scatters_rows(p) && shape.segments == 1) {
    RowScatter<T, acc> rows(in, p.x_strides.height, shape, p.height, p.height_forward, row_buffer(0),
                            row_buffer(1));
    rows.start(begin, end);
    for (int64_t oy = begin; oy < end; ++oy) {
      write_row_columns(p, finish, out + oy * p.y_strides.height, rows.produce());
    }
    return;
  }
  acc* const rows[] = {row_buffer(0), row_buffer(1), row_buffer(2), row_buffer(3)};
  static_assert(sizeof rows == kRowBatch * sizeof *rows, "one pointer for each");
  for (int64_t oy = begin; oy < end;) {
    if (is_zero(p, oy)) {
      oy = zero_rows(p, finish, out, oy, end);
      continue;
    }
    const int64_t count = sum_row_batch(p, shape, in, oy, end, rows);
    if (count == kRowBatch && writes_rows_together<E>(p)) {
      write_rows_together<kRowBatch>(p, finish, out + oy * p.y_strides.height, rows);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        write_row_columns(p, finish, out + (oy + i) * p.y_strides.height, rows[i]);
      }
    }
    oy += count;
  }
}

template <class T, class E, class acc>
inline void interpolate_rows_of_plane(const ResampleParams<acc>& p, E finish, const T* in,
                                      typename E::result* out, int64_t begin, int64_t end, char* scratch) {
  PaddedRows<T, acc> padded;
  for (int64_t oy = begin; oy < end;) {
    if (p.height.offset[oy + 1] - p.height.offset[oy] != 2) {
      resample_rows_of_plane(p, finish, in, out, oy, oy + 1, scratch);
      ++oy;
      continue;
    }
    const RowGroup<T, E, acc> group = group_rows(p, finish, in, out, oy, end, padded);
    interpolate_group(group, column_plan(p), p.width);
    oy += group.count;
  }
}

// Rows are (n, c, result row). f(in, out, first, last) for those of one plane.
template <class T, class R, class acc, class F>
inline void each_plane(const ResampleParams<acc>& p, int64_t begin, int64_t end, F&& f) {
  const int64_t height = p.height.out_size;
  int64_t n = begin / height / p.channels, c = begin / height % p.channels, first = begin % height;
  for (int64_t row = begin; row < end;) {
    const int64_t last = smaller(height, first + end - row);
    f(static_cast<const T*>(p.x) + n * p.x_strides.batch + c * p.x_strides.channel,
      static_cast<R*>(p.y) + n * p.y_strides.batch + c * p.y_strides.channel, first, last);
    row += last - first;
    first = 0;
    if (++c == p.channels) c = 0, ++n;
  }
}

template <class T, class E, class acc>
inline void resample_planar(const ResampleParams<acc>& p, int64_t begin, int64_t end, char* scratch) {
  using R = typename E::result;
  const bool sparse = !E::kFewTaps && is_sparse(p.width), shortly = !E::kFewTaps && is_short(p);
  const bool directly = !sparse && interpolates(p);
  const bool as_they_are = !sparse && !shortly && !directly && takes_rows_as_they_are<T>(p);
  const E finish = epilogue_of<E>(p);
  each_plane<T, R>(p, begin, end, [&](const T* in, R* out, int64_t first, int64_t last) {
    if (sparse) {
      fill_sparse_rows(p, finish, in, out, first, last);
    } else if (shortly && p.width.in_size == lanes<acc>) {
      resample_short_rows<false>(p, finish, in, out, first, last);
    } else if (shortly) {
      resample_short_rows<true>(p, finish, in, out, first, last);
    } else if (directly) {
      interpolate_rows_of_plane(p, finish, in, out, first, last, scratch);
    } else if (as_they_are) {
      write_rows_as_they_are(p, finish, in, out, first, last);
    } else {
      resample_rows_of_plane(p, finish, in, out, first, last, scratch);
    }
  });
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
