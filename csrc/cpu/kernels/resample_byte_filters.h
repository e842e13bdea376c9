// Bytes by filters of several taps, as native and Pillow compute them: along the width, rounded to bytes,
// then along the height, by weights that are integers. Rows that have passed are kept for as long as result
// rows read them.
#pragma once

#include "byte_pixels.h"
#include "resample_planar.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

template <class T, class E>
constexpr bool filters_bytes =
    kShufflesBytes && sizeof(T) == 1 && sizeof(typename E::result) == 1 && E::kUnchanged;

// How rows pass along the width: the first of these that the table allows.
enum class BytePass : int32_t { kOneWindow, kWindowOfPair, kPixels, kNeighbours };

// Followed by the plan of that pass.
struct alignas(kVectorBytes) BytePlan {
  IntegerWeights weights;
  BytePass pass;
  bool pads;  // takes copies of rows that are padded

  template <class Plan>
  const Plan& of() const {
    return *reinterpret_cast<const Plan*>(this + 1);
  }
};

// Calls f(pass, planner). The width's table is of all values of a row, and there are p.channels to a pixel.
template <class F>
auto with_byte_planner(const ResampleParams<float>& p, F&& f) {
  const WindowPlanner one(p.width, true), each(p.width, false);
  if (one.fits()) return f(BytePass::kOneWindow, one);
  if (p.channels <= 2 && each.fits()) return f(BytePass::kWindowOfPair, each);
  if (p.channels > 1) return f(BytePass::kPixels, PixelPlanner(p.width, p.channels));
  return f(BytePass::kNeighbours, NeighbourPlanner(p.width));
}

inline int64_t byte_plan_bytes(const ResampleParams<float>& p) {
  return with_byte_planner(
      p, [](BytePass, const auto& planner) { return int64_t{sizeof(BytePlan)} + planner.bytes(); });
}

inline void build_byte_plan(const ResampleParams<float>& p, void* memory) {
  with_byte_planner(p, [&](BytePass pass, const auto& planner) {
    BytePlan& plan = *static_cast<BytePlan*>(memory);
    plan.weights = IntegerWeights(p.width);
    plan.pass = pass;
    plan.pads = planner.pads();
    planner.build(&plan + 1, plan.weights);
  });
}

// The rows of one plane that have passed, and the result rows from them.
class FilteredRows {
 public:
  FilteredRows(const ResampleParams<float>& p, void* scratch)
      : p_(p), plan_(*static_cast<const BytePlan*>(p.plan)), weights_(p.height) {
    const int64_t rows = most_sources(p.height);
    while (slots_ < rows + rows_at_once() - 1) slots_ *= 2;
    PlanMemory all(scratch);
    slot_ = all.take<uint8_t>(slots_ * slot_bytes());
    padded_ = all.take<uint8_t>(plan_.pads ? rows_at_once() * padded_bytes(p_.width) : 0);
    const int64_t pairs = (p.height.max_taps + 1) / 2;
    for (auto& weights : pair_weight_) weights = all.take<vec_i16>(pairs);
    source_ = all.take<const uint8_t*>(2 * pairs);
    held_ = all.take<int64_t>(slots_);
    scratch_bytes_ = all.bytes();
  }

  static int64_t scratch_bytes(const ResampleParams<float>& p) {
    return FilteredRows(p, nullptr).scratch_bytes_;
  }

  void start(const uint8_t* in) {
    in_ = in;
    for (int64_t i = 0; i < slots_; ++i) held_[i] = -1;
  }

  // Result rows begin .. end.
  void write(uint8_t* out, int64_t begin, int64_t end) {
    const int64_t count = p_.width.out_size;
    for (int64_t oy = begin; oy < end;) {
      uint8_t* to[] = {out + oy * p_.y_strides.height, out + (oy + 1) * p_.y_strides.height};
      const int64_t t = p_.height.offset[oy], taps = p_.height.offset[oy + 1] - t;
      if (taps == 0) {
        __builtin_memset(to[0], 0, static_cast<size_t>(count));
        ++oy;
        continue;
      }
      pass_rows(oy, end);
      if (taps == 1) {
        copy(to[0], slot_of(p_.height.index[t]), count);
        ++oy;
        continue;
      }
      const int64_t pairs = (taps + 1) / 2;
      for (int64_t i = 0; i < 2 * pairs; ++i) source_[i] = slot_of(p_.height.index[t + smaller(i, taps - 1)]);
      const bool two = pairs <= 2 && oy + 1 < end && share_sources(oy, oy + 1);
      for (int r = 0; r <= two; ++r) set_weights(r, oy + r);
      const auto sum = pairs == 1   ? (two ? sum_byte_rows<1, 2> : sum_byte_rows<1, 1>)
                       : pairs == 2 ? (two ? sum_byte_rows<2, 2> : sum_byte_rows<2, 1>)
                                    : sum_byte_rows<0, 1>;
      sum(to, count, source_, pairs, pair_weight_, weights_, p_.stream);
      oy += two ? 2 : 1;
    }
  }

 private:
  // Slots are apart in the cache, too.
  int64_t slot_bytes() const { return whole_vectors(p_.width.out_size) + kVectorBytes; }
  int64_t rows_at_once() const { return plan_.pass == BytePass::kPixels ? kPixelRows : 1; }

  uint8_t* slot_of(int64_t row) const { return slot_ + (row & (slots_ - 1)) * slot_bytes(); }
  bool has(int64_t row) const { return held_[row & (slots_ - 1)] == row; }

  bool share_sources(int64_t a, int64_t b) const {
    const int64_t *offset = p_.height.offset, taps = offset[a + 1] - offset[a];
    if (offset[b + 1] - offset[b] != taps) return false;
    for (int64_t t = 0; t < taps; ++t) {
      if (p_.height.index[offset[a] + t] != p_.height.index[offset[b] + t]) return false;
    }
    return true;
  }

  // All source rows of result row oy, and of those after it as many as pass together.
  void pass_rows(int64_t oy, int64_t end) {
    const int64_t* next = p_.height.index + p_.height.offset[oy];
    const int64_t* const own = p_.height.index + p_.height.offset[oy + 1];
    const int64_t* const all = p_.height.index + p_.height.offset[end];
    const int64_t beyond = *next + slots_;  // would take the place of a row that is read
    while (true) {
      int64_t row[kPixelRows], count = 0;
      for (; next < (count > 0 ? all : own) && count < rows_at_once() && *next < beyond; ++next) {
        if (has(*next)) continue;
        held_[*next & (slots_ - 1)] = *next;
        row[count++] = *next;
      }
      if (count == 0) return;
      for (int64_t i = count; i < kPixelRows; ++i) row[i] = row[count - 1];
      pass(row);
    }
  }

  void pass(const int64_t* row) {
    const uint8_t* from[kPixelRows];
    uint8_t* to[kPixelRows];
    for (int64_t i = 0; i < rows_at_once(); ++i) {
      from[i] = in_ + row[i] * p_.x_strides.height;
      to[i] = slot_of(row[i]);
      if (plan_.pads) {
        copy(padded_ + i * padded_bytes(p_.width), from[i], p_.width.in_size);
        from[i] = padded_ + i * padded_bytes(p_.width);
      }
    }
    if (p_.width.max_taps == 1 && p_.width.in_size == p_.width.out_size) {
      for (int64_t i = 0; i < rows_at_once(); ++i) copy(to[i], from[i], p_.width.in_size);
    } else if (plan_.pass == BytePass::kPixels) {
      pass_pixels(plan_.of<PixelPlan>(), plan_.weights, from, to);
    } else if (plan_.pass == BytePass::kNeighbours) {
      pass_neighbours(plan_.of<NeighbourPlan>(), plan_.weights, from[0], to[0]);
    } else {
      pass_windows(plan_.of<WindowPlan>(), plan_.weights, from[0], to[0]);
    }
  }

  void set_weights(int i, int64_t oy) {
    const int64_t begin = p_.height.offset[oy], end = p_.height.offset[oy + 1];
    for (int64_t t = begin; t < end; t += 2) {
      const int16_t first = weights_.of(p_.height.weight[t]);
      const int16_t second = t + 1 < end ? weights_.of(p_.height.weight[t + 1]) : int16_t{0};
      pair_weight_[i][(t - begin) / 2] = splat_pair(join_pair(first, second));
    }
  }

  static void copy(uint8_t* to, const uint8_t* from, int64_t count) {
    __builtin_memcpy(to, from, static_cast<size_t>(count));
  }

  const ResampleParams<float>& p_;
  const BytePlan& plan_;
  const IntegerWeights weights_;
  int64_t slots_ = 1, scratch_bytes_;  // slots: a power of two
  uint8_t *slot_, *padded_;
  vec_i16* pair_weight_[2];
  const uint8_t** source_;
  int64_t* held_;  // the row in each slot
  const uint8_t* in_ = nullptr;
};

// Rows are (n, c, result row).
inline void filter_planes(const ResampleParams<float>& p, int64_t begin, int64_t end, void* scratch) {
  FilteredRows rows(p, scratch);
  each_plane<uint8_t, uint8_t>(p, begin, end,
                               [&](const uint8_t* in, uint8_t* out, int64_t first, int64_t last) {
                                 rows.start(in);
                                 rows.write(out, first, last);
                               });
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
