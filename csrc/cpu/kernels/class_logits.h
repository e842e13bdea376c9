// The resized logits of a pixel, class after class, for the ops that reduce over classes.
//
// The classes of a pixel are a plane apart, or adjacent, in any of the storage types. The two source rows
// that a result row reads are therefore copied first: all classes, planar, as acc, once for all result rows
// between them, and each source row once on the way down a strip (strips.h). From the copies a block of
// columns is interpolated class by class, up to four result rows at a time, by the function that resize
// itself uses (interpolate_block), and passed on in registers: no resized logit is ever stored.
#pragma once

#include "copy_image.h"
#include "strips.h"
#include "vertical.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

constexpr int kGroupRows = 4;

template <class acc>
inline const ColumnPlan<acc>& column_plan(const LogitsParams<acc>& x) {
  return *static_cast<const ColumnPlan<acc>*>(x.plan);
}

// ---- source rows ----------------------------------------------------------------------------------------

// Samples from one class to the next in a copied row. An odd number of cache lines, so that the classes of a
// pixel do not map to the same cache set.
template <class acc>
inline int64_t class_stride(const Strip& strip) {
  constexpr int64_t kLine = 64 / sizeof(acc);
  return ((strip.copied_end - strip.copied + kLine - 1) / kLine | 1) * kLine;
}

// A window may begin before the samples that its lanes pick and end after them: padding on both sides.
template <class acc>
inline int64_t class_rows_bytes(const LogitsParams<acc>& x, const Strip& strip) {
  return (3 * x.channels * class_stride<acc>(strip) + 2 * kRowPadding<acc>)*static_cast<int64_t>(sizeof(acc));
}

template <class acc, class T>
inline acc as(T value) {
  if constexpr (sizeof(T) == sizeof(double)) {
    return static_cast<acc>(value);  // argmax compares doubles in float
  } else {
    return to_acc(value);
  }
}

// Copies of two neighbouring source rows of one image, as far as a strip reads them, and of the next row.
template <class T, class acc>
class ClassRows {
 public:
  ClassRows(const LogitsParams<acc>& x, const Strip& strip, int64_t n, void* memory)
      : x_(x),
        image_(static_cast<const T*>(x.input) + n * x.in.batch + strip.copied * x.in.width),
        first_(strip.copied),
        count_(strip.copied_end - strip.copied),
        stride_(class_stride<acc>(strip)) {
    row_[0] = static_cast<acc*>(memory) + kRowPadding<acc>;
    row_[1] = row_[0] + x.channels * stride_;
    row_[2] = row_[1] + x.channels * stride_;
  }

  // Makes y0 the source row above and y1 the one below.
  void take(int64_t y0, int64_t y1) {
    if (held_[0] != y0) use(0, y0);
    if (y1 != y0 && held_[1] != y1) use(1, y1);
    below_ = y1 == y0 ? row_[0] : row_[1];
  }

  // Whether no weighted sum of these two rows can be NaN: all samples are finite and below 1e37 in magnitude.
  bool bounded() const { return bounded_[0] && (below_ == row_[0] || bounded_[1]); }

  // Copies part `part` of `parts` of source row y, which will be taken next, and prefetches the part after
  // it: classes are a plane apart, a pattern that the hardware prefetcher does not follow, and if planes are
  // a power of two apart few of their lines fit into a cache together.
  void copy_ahead(int64_t y, int64_t part, int64_t parts) {
    if (x_.in.width != 1 || y >= x_.height.in_size || held_[2] == y) return;
    if (x_.height.out_size < x_.height.in_size) return;  // it may be skipped
    if (part == 0) {
      held_[2] = -1;
      bounded_[2] = true;
    }
    const T* source = image_ + y * x_.in.height;
    const int64_t first = x_.channels * part / parts, last = x_.channels * (part + 1) / parts;
    const int64_t after = x_.channels * (part + 2) / parts;
    constexpr int64_t kLine = 64 / sizeof(T);
    for (int64_t c = last; c < smaller(after, x_.channels); ++c) {
      for (int64_t x = 0; x < count_; x += kLine) __builtin_prefetch(source + c * x_.in.channel + x);
    }
    copy_classes(2, source, first, last);
    if (part == parts - 1) held_[2] = y;
  }

  // Class 0 of a row; samples are counted from the image's first column.
  const acc* above() const { return row_[0] - first_; }
  const acc* below() const { return below_ - first_; }
  int64_t stride() const { return stride_; }

 private:
  // Makes y the i-th row, from a copy that is held already or from a new one.
  void use(int i, int64_t y) {
    for (int held = i + 1; held < 3; ++held) {
      if (held_[held] != y) continue;
      exchange(row_[i], row_[held]);
      exchange(held_[i], held_[held]);
      exchange(bounded_[i], bounded_[held]);
      return;
    }
    held_[i] = y;
    bounded_[i] = true;
    copy_classes(i, image_ + y * x_.in.height, 0, x_.channels);
  }

  // Classes first .. last of a source row into the i-th row.
  void copy_classes(int i, const T* source, int64_t first, int64_t last) {
    vec_index<acc> bounded = ~vec_index<acc>{};
    acc* row = row_[i];
    if (x_.in.width == 1) {
      for (int64_t c = first; c < last; ++c) {
        bounded &= copy_row(row + c * stride_, source + c * x_.in.channel);
      }
    } else if (x_.in.channel == 1 && sizeof(T) <= sizeof(acc)) {
      // Transposed as they are stored, to the ends of the rows, then widened from there to the whole rows.
      constexpr int64_t kWider = sizeof(acc) / sizeof(T);
      T* ends = reinterpret_cast<T*>(row) + (kWider - 1) * count_;
      const auto pixel = [&](int64_t x) { return source + x * x_.in.width + first; };
      transpose(pixel, ends + first * stride_ * kWider, stride_ * kWider, count_, last - first);
      for (int64_t c = first; c < last; ++c) {
        bounded &= copy_row(row + c * stride_, ends + c * stride_ * kWider);
      }
    } else {
      for (int64_t x = 0; x < count_; ++x) {
        const T* pixel = source + x * x_.in.width;
        for (int64_t c = first; c < last; ++c) row[c * stride_ + x] = as<acc>(pixel[c * x_.in.channel]);
      }
      for (int64_t c = first; c < last; ++c) bounded &= copy_row(row + c * stride_, row + c * stride_);
    }
    for (int64_t lane = 0; lane < lanes<acc>; ++lane) bounded_[i] = bounded_[i] && bounded[lane] != 0;
  }

  // Copies one class, and returns which lanes held only bounded samples (finite and below 1e37 in magnitude).
  template <class U>
  vec_index<acc> copy_row(acc* row, const U* source) const {
    constexpr acc kLimit = acc(1e37);  // well inside float
    vec_index<acc> bounded = ~vec_index<acc>{};
    int64_t x = 0;
    if constexpr (sizeof(acc_of<U>) == sizeof(acc)) {
      const auto take = [&](vec<acc> value) {
        store(row + x, value);  // a row is padded to whole vectors
        bounded &= (value < kLimit) & (value > -kLimit);
      };
      for (; x + lanes<acc> <= count_; x += lanes<acc>) {
        take(load(source + x));
      }
      if (x < count_) take(load_part(source + x, count_ - x));
      return bounded;
    }
    for (; x < count_; ++x) {
      row[x] = as<acc>(source[x]);
      if (!(row[x] < kLimit && row[x] > -kLimit)) bounded = vec_index<acc>{};
    }
    return bounded;
  }

  template <class V>
  static void exchange(V& a, V& b) {
    const V c = a;
    a = b;
    b = c;
  }

  const LogitsParams<acc> x_;
  const T* image_;  // at the first column that is copied
  const int64_t first_, count_, stride_;
  acc* row_[3];
  const acc* below_ = nullptr;
  int64_t held_[3] = {-1, -1, -1};
  bool bounded_[3] = {};
};

// Result rows oy .. oy + count between the same two source rows, ready to be interpolated.
template <class acc>
struct ClassGroup {
  const acc *above, *below;  // class 0
  int64_t stride;            // to the next class
  int count;                 // 1, 2 or 4
  int64_t y0, y1;
  bool bounded;  // no logit is NaN
  acc weight0[kGroupRows], weight1[kGroupRows];
};

// How many rows the group takes that begins at result row oy and ends before `end`: 1, 2 or 4.
template <class acc>
inline int choose_group(const TwoTapRows<acc>& height, int64_t oy, int64_t end) {
  const int count = height.same_sources(oy, end, kGroupRows);
  return count == 3 ? 2 : count;
}

// That group.
template <class T, class acc>
inline ClassGroup<acc> take_group(const LogitsParams<acc>& x, ClassRows<T, acc>& rows, int64_t oy,
                                  int64_t end) {
  ClassGroup<acc> group;
  group.y0 = x.height.first(oy);
  group.y1 = x.height.second(oy);
  group.count = choose_group(x.height, oy, end);
  for (int r = 0; r < group.count; ++r) {
    group.weight0[r] = x.height.first_weight(oy + r);
    group.weight1[r] = x.height.second_weight(oy + r);
  }
  rows.take(group.y0, group.y1);
  group.bounded = rows.bounded();
  group.above = rows.above();
  group.below = rows.below();
  group.stride = rows.stride();
  return group;
}

// The logits of block b, one class after the other: sink(c, r, values).
template <Reach kReach, int kRows, class acc, class Sink>
inline void each_class(const LogitsParams<acc>& x, const ClassGroup<acc>& group, int64_t b, Sink&& sink) {
  const ColumnBlock<acc>& block = column_plan(x).blocks[b];
  vec<acc> down0[kRows], down1[kRows];
  for (int r = 0; r < kRows; ++r) {
    down0[r] = splat(group.weight0[r]);
    down1[r] = splat(group.weight1[r]);
  }
  if constexpr (kReach == Reach::kFar) {
    const TwoTapRows<acc>& width = x.width;
    for (int64_t c = 0; c < x.channels; ++c) {
      const acc *above = group.above + c * group.stride, *below = group.below + c * group.stride;
      for (int r = 0; r < kRows; ++r) {
        vec<acc> values;
        for (int64_t i = 0; i < lanes<acc>; ++i) {
          const int64_t o = smaller(b * lanes<acc> + i, width.out_size - 1);
          const auto sample = [&](int64_t s) {
            return multiply_add(group.weight1[r], below[s], group.weight0[r] * above[s]);
          };
          const acc left = width.first_weight(o) * sample(width.first(o));
          values[i] = multiply_add(width.second_weight(o), sample(width.second(o)), left);
        }
        sink(c, r, values);
      }
    }
  } else {
    const ColumnTap<acc>* taps = column_plan(x).taps + block.tap;
    const ColumnTap<acc> tap0 = taps[0], tap1 = taps[1];
    const acc *above = group.above + block.base, *below = group.below + block.base;
    for (int64_t c = 0; c < x.channels; ++c) {
      interpolate_block<kReach, kRows>(above, below, down0, down1, tap0, tap1,
                                       [&](int r, vec<acc> values) { sink(c, r, values); });
      above += group.stride;
      below += group.stride;
    }
  }
}

// The first `count` lanes.
template <class acc>
inline void store_lanes(acc* p, vec<acc> values, int64_t count) {
  if (count == lanes<acc>) {
    store(p, values);
  } else {
    store_part(p, values, count);
  }
}

// Calls f with the reach of block b and the number of rows as compile-time constants.
template <Reach kReach>
struct ReachConstant {
  static constexpr Reach value = kReach;
};
template <int kCount>
struct RowsConstant {
  static constexpr int value = kCount;
};

template <class acc, class F>
inline void with_reach(const LogitsParams<acc>& x, int64_t b, F&& f) {
  switch (column_plan(x).blocks[b].reach) {
    case Reach::kShared:
      return f(ReachConstant<occurring(Reach::kShared)>{});
    case Reach::kPair:
      return f(ReachConstant<occurring(Reach::kPair)>{});
    case Reach::kNear:
    case Reach::kGaps:  // every column of an interpolation has both taps
      return f(ReachConstant<Reach::kNear>{});
    case Reach::kWide:
      return f(ReachConstant<occurring(Reach::kWide)>{});
    case Reach::kWidest:
      return f(ReachConstant<occurring(Reach::kWidest)>{});
    case Reach::kFar:
      break;
  }
  f(ReachConstant<Reach::kFar>{});
}

template <class F>
inline void with_rows(int count, F&& f) {
  if (count == 4) return f(RowsConstant<4>{});
  if (count == 2) return f(RowsConstant<2>{});
  f(RowsConstant<1>{});
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
