// The horizontal pass: how a vector of neighbouring output columns takes its taps from a row.
//
// Neighbouring columns read neighbouring samples, so that tap t of `lanes` columns is a load of one, two or
// four vectors (windows) and a permutation of their lanes. A plan, built once per call from the width's
// table, records where the windows of each block of columns start, which lane goes where, and with what
// weight. Blocks that repeat the lanes and weights of an earlier one bit for bit share its taps: with a
// factor that is a power of two all blocks inside the image do, and the taps then stay in registers.
//
// If columns have many taps (the gradient of a large factor) the roles are swapped: a column is the sum over
// the lanes of its own windows. What fits neither scheme is summed one column at a time.
#pragma once

#include "epilogue.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// How far apart the samples of a block are. kShared: one window holds all taps; kPair: two do; kNear: one
// window per tap; kGaps: the same, but some columns lack a tap; kWide, kWidest: two or four windows per tap,
// which columns may lack; kFar: anything else.
enum class Reach : int32_t { kShared, kPair, kNear, kGaps, kWide, kWidest, kFar };

constexpr int64_t kWindows[] = {1, 2, 1, 1, 2, 4, 0};
constexpr int64_t windows_of(Reach reach) { return kWindows[static_cast<int>(reach)]; }
constexpr bool has_every_tap(Reach reach) { return reach <= Reach::kNear; }
constexpr bool shares_windows(Reach reach) { return reach <= Reach::kPair; }

// `reach`, or where lanes are loaded one by one, and it does not occur, one that does: no code for it alone
// is then compiled.
constexpr Reach occurring(Reach reach) {
  return kPermutes || reach == Reach::kGaps || reach == Reach::kFar ? reach : Reach::kNear;
}

// One tap of all columns of a block: samples base + offset + lane, or lane -1 where it is absent.
template <class acc>
struct ColumnTap {
  vec_index<acc> lane;
  vec<acc> weight;
  int64_t offset;
};

template <class acc>
struct ColumnBlock {
  int64_t base, tap, taps;  // the first of its taps in the plan, and how many
  // This many whole blocks from here on have the same reach and number of taps; either all of them share the
  // same taps, or each has separate ones.
  int64_t run;
  Reach reach;
  bool shares;
};

// The taps of one column as whole vectors of the row from `start` on; the last is padded with NaN weights,
// whose products are dropped (a zero weight would turn an infinity that is not the column's into NaN).
template <class acc>
struct ColumnWindow {
  int64_t start;
  int64_t first_vector, vectors;  // into the plan's weights; none where the taps are not neighbours
};

// A column that has taps, where most have none: the first of them, which usually is the only one.
template <class acc>
struct FilledColumn {
  int64_t column, source, tap, taps;
  acc weight;
};

// Stored at the start of the plan's memory; blocks and taps, windows and weights, or filled columns follow.
template <class acc>
struct ColumnPlan {
  ColumnBlock<acc>* blocks;
  ColumnTap<acc>* taps;
  ColumnWindow<acc>* windows;
  vec<acc>* weights;
  FilledColumn<acc>* filled;
  int64_t filled_count;
  int64_t block_count;
  // Samples a row must have for its windows to lie inside it, unless it is shorter than a vector: such a row
  // is padded to one.
  int64_t needed;
};

// Columns with more taps than this are summed over the lanes of their own windows.
constexpr int64_t kMostBlockTaps = 10;

template <class acc>
inline bool plans_windows(const AxisTaps<acc>& axis) {
  return axis.max_taps > kMostBlockTaps;
}

template <class acc>
inline int64_t count_blocks(const AxisTaps<acc>& axis) {
  return (axis.out_size + lanes<acc> - 1) / lanes<acc>;
}

inline int64_t whole_vectors(int64_t bytes) {
  return (bytes + kVectorBytes - 1) / kVectorBytes * kVectorBytes;
}

template <class acc>
inline int64_t window_vectors(const AxisTaps<acc>& axis, int64_t column) {
  const int64_t begin = axis.offset[column], end = axis.offset[column + 1];
  for (int64_t t = begin + 1; t < end; ++t) {
    if (axis.index[t] != axis.index[begin] + t - begin) return 0;
  }
  return (end - begin + lanes<acc> - 1) / lanes<acc>;
}

template <class acc>
inline int64_t column_plan_bytes(const AxisTaps<acc>& axis) {
  const int64_t head = whole_vectors(sizeof(ColumnPlan<acc>));
  if (plans_windows(axis)) {
    int64_t vectors = 0;
    for (int64_t o = 0; o < axis.out_size; ++o) vectors += window_vectors(axis, o);
    return head + whole_vectors(axis.out_size * static_cast<int64_t>(sizeof(ColumnWindow<acc>))) +
           vectors * kVectorBytes;
  }
  return head + whole_vectors(count_blocks(axis) * static_cast<int64_t>(sizeof(ColumnBlock<acc>))) +
         count_blocks(axis) * axis.max_taps * static_cast<int64_t>(sizeof(ColumnTap<acc>));
}

// ---- building the plan ----------------------------------------------------------------------------------

// The samples that tap t of `lanes` columns from `first` on takes, -1 where a column has no such tap.
template <class acc>
struct TapSamples {
  int64_t index[lanes<acc>];
  acc weight[lanes<acc>];
  int64_t least, most;
  bool everywhere;
};

template <class acc>
inline TapSamples<acc> samples_of_tap(const AxisTaps<acc>& axis, int64_t first, int64_t t) {
  TapSamples<acc> samples;
  samples.everywhere = true;
  const int64_t step = axis.taps_per_row;
  if (step > 0 && first + lanes<acc> <= axis.out_size) {  // no checks needed lane by lane
    const int64_t* index = axis.index + axis.offset[first] + t;
    const acc* weight = axis.weight + axis.offset[first] + t;
    for (int64_t i = 0; i < lanes<acc>; ++i) samples.index[i] = index[i * step];
    for (int64_t i = 0; i < lanes<acc>; ++i) samples.weight[i] = weight[i * step];
  } else {
    for (int64_t i = 0; i < lanes<acc>; ++i) {
      const int64_t o = smaller(first + i, axis.out_size - 1), at = axis.offset[o] + t;
      const bool present = at < axis.offset[o + 1];
      samples.index[i] = present ? axis.index[at] : -1;
      samples.weight[i] = present ? axis.weight[at] : acc(0);
      samples.everywhere = samples.everywhere && present;
    }
  }
  samples.least = INT64_MAX;
  samples.most = -1;
  for (int64_t i = 0; i < lanes<acc>; ++i) {
    samples.most = larger(samples.most, samples.index[i]);
    samples.least = smaller(samples.least, samples.index[i] < 0 ? INT64_MAX : samples.index[i]);
  }
  if (samples.most < 0) samples.least = samples.most = 0;  // no column has the tap
  return samples;
}

template <class acc>
inline Reach reach_of(const TapSamples<acc>& samples) {
  const int64_t span = samples.most - samples.least + 1;
  if (!kPermutes && span > INT32_MAX / 2) return Reach::kFar;
  if (!kPermutes || span <= lanes<acc>) return samples.everywhere ? Reach::kNear : Reach::kGaps;
  if (span <= 2 * lanes<acc>) return Reach::kWide;
  return span <= 4 * lanes<acc> ? Reach::kWidest : Reach::kFar;
}

inline Reach farther(Reach a, Reach b) { return a > b ? a : b; }

template <class acc>
inline bool same_tap(const ColumnTap<acc>& a, const ColumnTap<acc>& b) {
  return a.offset == b.offset && __builtin_memcmp(&a.lane, &b.lane, sizeof a.lane) == 0 &&
         __builtin_memcmp(&a.weight, &b.weight, sizeof a.weight) == 0;
}

// The block of columns from `first` on; its taps are appended at plan.taps[next]. Windows are placed so that
// they are inside the row as a whole, provided that the row is long enough.
template <class acc>
inline ColumnBlock<acc> plan_block(ColumnPlan<acc>& plan, const AxisTaps<acc>& axis, int64_t first,
                                   int64_t next) {
  using Lane = lane_index<acc>;
  int64_t taps = axis.max_taps > 2 ? 0 : axis.max_taps;
  for (int64_t o = first; o < smaller(first + lanes<acc>, axis.out_size); ++o) {
    taps = larger(taps, axis.offset[o + 1] - axis.offset[o]);
  }
  ColumnBlock<acc> block{0, next, taps, 1, Reach::kNear, false};
  TapSamples<acc> samples_of[kMostBlockTaps];
  int64_t least = INT64_MAX, most = 0;
  bool everywhere = true;
  for (int64_t t = 0; t < taps; ++t) {
    samples_of[t] = samples_of_tap(axis, first, t);
    everywhere = everywhere && samples_of[t].everywhere;
    block.reach = farther(block.reach, reach_of(samples_of[t]));
    least = smaller(least, samples_of[t].least);
    most = larger(most, samples_of[t].most);
  }
  if (block.reach == Reach::kFar) return block;
  if (kPermutes && everywhere && most - least < 2 * lanes<acc>) {
    block.reach = most - least < lanes<acc>     ? Reach::kShared
                  : block.reach == Reach::kWide ? Reach::kPair
                                                : block.reach;
  }
  for (int64_t t = 0; t < taps; ++t) {
    const TapSamples<acc>& samples = samples_of[t];
    const int64_t start = shares_windows(block.reach) ? least : samples.least;
    const int64_t latest = axis.in_size - windows_of(block.reach) * lanes<acc>;
    const int64_t base = kPermutes ? larger(0, smaller(start, latest)) : start;
    if (t == 0) block.base = base;
    ColumnTap<acc>& tap = plan.taps[next + t];
    tap.offset = base - block.base;
    for (int64_t i = 0; i < lanes<acc>; ++i) {
      tap.lane[i] = samples.index[i] < 0 ? Lane{-1} : static_cast<Lane>(samples.index[i] - base);
      tap.weight[i] = samples.weight[i];
    }
  }
  return block;
}

// How many blocks back to look for the same taps: pixels of three channels repeat after three blocks.
constexpr int64_t kRemembered = 6;

template <class acc>
inline bool takes_alike(const ColumnPlan<acc>& plan, const ColumnBlock<acc>& a, const ColumnBlock<acc>& b) {
  if (a.reach == Reach::kFar || a.reach != b.reach || a.taps != b.taps) return false;
  for (int64_t t = 0; t < a.taps; ++t) {
    if (!same_tap(plan.taps[a.tap + t], plan.taps[b.tap + t])) return false;
  }
  return true;
}

template <class acc>
inline void plan_blocks(ColumnPlan<acc>& plan, const AxisTaps<acc>& axis) {
  plan.block_count = count_blocks(axis);
  plan.needed = 0;
  int64_t next = 0;
  for (int64_t b = 0; b < plan.block_count; ++b) {
    ColumnBlock<acc> block = plan_block(plan, axis, b * lanes<acc>, next);
    const ColumnBlock<acc>* earlier = plan.blocks + larger(0, b - kRemembered);
    while (earlier < plan.blocks + b && !takes_alike(plan, *earlier, block)) ++earlier;
    if (earlier < plan.blocks + b) {
      block.tap = earlier->tap;
    } else if (block.reach != Reach::kFar) {
      next += block.taps;
    }
    plan.blocks[b] = block;
    if (kPermutes && axis.in_size >= lanes<acc>) {
      plan.needed = larger(plan.needed, windows_of(block.reach) * lanes<acc>);
    }
  }
  plan_runs(plan, axis.out_size / lanes<acc>);
}

template <class acc>
inline void plan_runs(ColumnPlan<acc>& plan, int64_t whole) {
  for (int64_t b = whole - 2; b >= 0; --b) {
    ColumnBlock<acc>& block = plan.blocks[b];
    const ColumnBlock<acc>& next = plan.blocks[b + 1];
    if (block.reach != next.reach || block.taps != next.taps) continue;
    const bool same = block.tap == next.tap && block.reach != Reach::kFar;
    if (next.run > 1 && next.shares != same) continue;
    block.run = next.run + 1;
    block.shares = same;
  }
}

template <class acc>
inline void plan_windows(ColumnPlan<acc>& plan, const AxisTaps<acc>& axis) {
  plan.block_count = 0;
  int64_t next = 0;
  for (int64_t o = 0; o < axis.out_size; ++o) {
    const int64_t begin = axis.offset[o], taps = axis.offset[o + 1] - begin;
    plan.windows[o] = {taps > 0 ? axis.index[begin] : 0, next, window_vectors(axis, o)};
    for (int64_t i = 0; i < plan.windows[o].vectors * lanes<acc>; ++i) {
      plan.weights[next + i / lanes<acc>][i % lanes<acc>] =
          i < taps ? axis.weight[begin + i] : acc(__builtin_nan(""));
    }
    next += plan.windows[o].vectors;
  }
}

// ... for resample_planar.h alone, whose sparse rows are zeros but for the columns that have taps: the
// gradient of shrinking. Rows shorter than two vectors gain by it even where many of their columns have one.
template <class acc>
inline bool is_sparse(const AxisTaps<acc>& axis) {
  return axis.is_sparse();
}

template <class acc>
inline int64_t sparse_plan_bytes(const AxisTaps<acc>& axis) {
  return whole_vectors(sizeof(ColumnPlan<acc>)) +
         axis.offset[axis.out_size] * static_cast<int64_t>(sizeof(FilledColumn<acc>));
}

template <class acc>
[[gnu::noinline]] void build_sparse_plan(void* memory, const AxisTaps<acc>& axis) {
  ColumnPlan<acc>& plan = *static_cast<ColumnPlan<acc>*>(memory);
  plan.filled = reinterpret_cast<FilledColumn<acc>*>(static_cast<char*>(memory) + whole_vectors(sizeof plan));
  plan.filled_count = 0;
  for (int64_t o = 0; o < axis.out_size; ++o) {
    const int64_t tap = axis.offset[o], taps = axis.offset[o + 1] - tap;
    if (taps > 0) plan.filled[plan.filled_count++] = {o, axis.index[tap], tap, taps, axis.weight[tap]};
  }
}

template <class acc>
[[gnu::noinline]] void build_column_plan(void* memory, const AxisTaps<acc>& axis) {
  ColumnPlan<acc>& plan = *static_cast<ColumnPlan<acc>*>(memory);
  char* rest = static_cast<char*>(memory) + whole_vectors(sizeof plan);
  plan.blocks = reinterpret_cast<ColumnBlock<acc>*>(rest);
  plan.taps = reinterpret_cast<ColumnTap<acc>*>(
      rest + whole_vectors(count_blocks(axis) * static_cast<int64_t>(sizeof(ColumnBlock<acc>))));
  plan.windows = reinterpret_cast<ColumnWindow<acc>*>(rest);
  plan.weights = reinterpret_cast<vec<acc>*>(
      rest + whole_vectors(axis.out_size * static_cast<int64_t>(sizeof(ColumnWindow<acc>))));
  if (plans_windows(axis)) {
    plan_windows(plan, axis);
  } else {
    plan_blocks(plan, axis);
  }
}

// ---- using it -------------------------------------------------------------------------------------------

// The lanes of a window; zero where the tap is absent.
template <Reach kReach, class acc>
inline vec<acc> pick(vec<acc> window, vec_index<acc> lane) {
  const vec<acc> v = permute(window, lane);
  if constexpr (has_every_tap(kReach) || kAbsentIsZero) {
    return v;
  } else {
    return lane < 0 ? vec<acc>{} : v;
  }
}

// The samples p[lane] of a tap; zero where it is absent.
template <Reach kReach, class acc, class T>
inline vec<acc> fetch(const T* p, vec_index<acc> lane) {
  if constexpr (!kPermutes && sizeof(T) == 2) {  // all lanes are widened at once
    packed_u16 bits;
    for (int64_t i = 0; i < lanes<acc>; ++i) {
      bits[i] = !has_every_tap(kReach) && lane[i] < 0 ? uint16_t{0} : p[lane[i]].bits;
    }
    return load(reinterpret_cast<const T*>(&bits));
  } else if constexpr (!kPermutes) {
    vec<acc> v;
    for (int64_t i = 0; i < lanes<acc>; ++i) {
      v[i] = !has_every_tap(kReach) && lane[i] < 0 ? acc(0) : to_acc(p[lane[i]]);
    }
    return v;
  } else if constexpr (windows_of(kReach) == 1) {
    return pick<kReach, acc>(load(p), lane);
  } else {
    vec<acc> v;
    if constexpr (kReach == Reach::kWidest) {
      v = permute_four(load(p), load(p + lanes<acc>), load(p + 2 * lanes<acc>), load(p + 3 * lanes<acc>),
                       lane);
    } else {
      v = permute_two(load(p), load(p + lanes<acc>), lane);
    }
    if constexpr (has_every_tap(kReach) || kAbsentIsZero) return v;
    return lane < 0 ? vec<acc>{} : v;
  }
}

// The one or two windows that all taps of a block share.
template <Reach kReach, class acc>
struct SharedWindows {
  static_assert(shares_windows(kReach), "each tap has windows of its own");
  vec<acc> first, second;

  vec<acc> pick(vec_index<acc> lane) const {
    if constexpr (kReach == Reach::kPair) return permute_two(first, second, lane);
    return permute(first, lane);
  }
};

template <Reach kReach, class acc, class T>
inline SharedWindows<kReach, acc> load_windows(const T* p) {
  if constexpr (kReach == Reach::kPair) return {load(p), load(p + lanes<acc>)};
  return {load(p), vec<acc>{}};
}

// A block's columns: the sum over its taps of a row of samples.
template <Reach kReach, class acc>
inline vec<acc> sum_block(const acc* row, const ColumnBlock<acc>& block, const ColumnTap<acc>* taps) {
  vec<acc> sum = taps[0].weight * fetch<kReach, acc>(row + block.base, taps[0].lane);
  for (int64_t t = 1; t < block.taps; ++t) {
    const acc* p = row + (block.base + taps[t].offset);
    sum = multiply_add_vector(taps[t].weight, fetch<kReach, acc>(p, taps[t].lane), sum);
  }
  return sum;
}

// One column, tap by tap.
template <class acc>
inline acc sum_taps(const acc* row, const AxisTaps<acc>& axis, int64_t column) {
  int64_t t = axis.offset[column];
  const int64_t end = axis.offset[column + 1];
  if (t == end) return acc(0);
  acc sum = axis.weight[t] * row[axis.index[t]];
  for (++t; t < end; ++t) sum = multiply_add(axis.weight[t], row[axis.index[t]], sum);
  return sum;
}

// One column, over the lanes of its windows.
template <class acc>
inline acc sum_window(const acc* row, const ColumnPlan<acc>& plan, const ColumnWindow<acc>& window) {
  const acc* source = row + window.start;
  const vec<acc>* weight = plan.weights + window.first_vector;
  const int64_t last = window.vectors - 1;
  const vec<acc> product = weight[last] * load(source + last * lanes<acc>);
  vec<acc> sum = (vec<acc>)((weight[last] == weight[last]) & (vec_index<acc>)product);
  for (int64_t k = 0; k < last; ++k) sum = multiply_add_vector(weight[k], load(source + k * lanes<acc>), sum);
  return sum_lanes(sum);
}

// Samples that a row must be readable beyond its end for the functions below.
template <class acc>
constexpr int64_t kRowPadding = 4 * lanes<acc>;

// `count` columns of block b.
template <Put kPut, class E, class acc>
inline void write_block(E finish, typename E::result* out, const acc* row, const ColumnPlan<acc>& plan,
                        const AxisTaps<acc>& axis, int64_t b, int64_t count) {
  const ColumnBlock<acc>& block = plan.blocks[b];
  const ColumnTap<acc>* taps = plan.taps + block.tap;
  if (block.reach == Reach::kFar || block.taps == 0) {
    for (int64_t o = 0; o < count; ++o) finish.put_one(out + o, sum_taps(row, axis, b * lanes<acc> + o));
  } else if (kPermutes && block.reach == Reach::kPair) {
    finish.template put<kPut>(out, sum_block<Reach::kPair>(row, block, taps), count);
  } else if (has_every_tap(block.reach)) {
    finish.template put<kPut>(out, sum_block<Reach::kNear>(row, block, taps), count);
  } else if (!kPermutes || windows_of(block.reach) == 1) {
    finish.template put<kPut>(out, sum_block<Reach::kGaps>(row, block, taps), count);
  } else if (block.reach == Reach::kWide) {
    finish.template put<kPut>(out, sum_block<Reach::kWide>(row, block, taps), count);
  } else {
    finish.template put<kPut>(out, sum_block<Reach::kWidest>(row, block, taps), count);
  }
}

// The same of kTaps within one window.
template <int kTaps, class acc>
inline vec<acc> sum_shared_window(const acc* row, const ColumnBlock<acc>& block, const ColumnTap<acc>* taps) {
  const vec<acc> window = load(row + block.base);
  vec<acc> sum = taps[0].weight * pick<Reach::kShared, acc>(window, taps[0].lane);
  for (int t = 1; t < kTaps; ++t) {
    sum = multiply_add_vector(taps[t].weight, pick<Reach::kShared, acc>(window, taps[t].lane), sum);
  }
  return sum;
}

// Whole blocks begin .. end, which share their taps: as many of these as fit stay in registers.
template <Reach kReach, int kTaps, Put kPut, class E, class acc>
inline void write_shared(E finish, typename E::result* out, const acc* row, const ColumnPlan<acc>& plan,
                         int64_t begin, int64_t end) {
  ColumnTap<acc> taps[kTaps];
  for (int t = 0; t < kTaps; ++t) taps[t] = plan.taps[plan.blocks[begin].tap + t];
  for (int64_t b = begin; b < end; ++b) {
    const acc* p = row + plan.blocks[b].base;
    const vec<acc> window = load(p);
    const auto samples = [&](int t) {
      if constexpr (kReach == Reach::kShared) return pick<kReach, acc>(window, taps[t].lane);
      return fetch<kReach, acc>(p + taps[t].offset, taps[t].lane);
    };
    vec<acc> sum = taps[0].weight * samples(0);
    for (int t = 1; t < kTaps; ++t) sum = multiply_add_vector(taps[t].weight, samples(t), sum);
    finish.template put<kPut>(out + b * lanes<acc>, sum, lanes<acc>);
  }
}

// Whole blocks begin .. end of two taps each, which no column lacks. kShares: their taps are the same.
template <Reach kReach, bool kShares, Put kPut, class E, class acc>
inline void write_two_taps(E finish, typename E::result* out, const acc* row, const ColumnPlan<acc>& plan,
                           int64_t begin, int64_t end) {
  const ColumnTap<acc>* taps = plan.taps + plan.blocks[begin].tap;
  const ColumnTap<acc> tap0 = taps[0], tap1 = taps[1];
  for (int64_t b = begin; b < end; ++b) {
    const acc* p = row + plan.blocks[b].base;
    if (!kShares) taps = plan.taps + plan.blocks[b].tap;
    const ColumnTap<acc>&first = kShares ? tap0 : taps[0], &second = kShares ? tap1 : taps[1];
    vec<acc> left, right;
    if constexpr (shares_windows(kReach)) {
      const auto windows = load_windows<kReach, acc>(p);
      left = windows.pick(first.lane), right = windows.pick(second.lane);
    } else {
      left = fetch<kReach, acc>(p, first.lane), right = fetch<kReach, acc>(p + second.offset, second.lane);
    }
    finish.template put<kPut>(out + b * lanes<acc>,
                              multiply_add_vector(second.weight, right, first.weight * left), lanes<acc>);
  }
}

template <Reach kReach, Put kPut, class E, class acc>
inline void write_two_taps(E finish, typename E::result* out, const acc* row, const ColumnPlan<acc>& plan,
                           int64_t begin, int64_t end) {
  if (plan.blocks[begin].shares) {
    write_two_taps<kReach, true, kPut>(finish, out, row, plan, begin, end);
  } else {
    write_two_taps<kReach, false, kPut>(finish, out, row, plan, begin, end);
  }
}

// Whole blocks begin .. end, a run.
template <Put kPut, class E, class acc>
inline void write_run(E finish, typename E::result* out, const acc* row, const ColumnPlan<acc>& plan,
                      const AxisTaps<acc>& axis, int64_t begin, int64_t end) {
  const ColumnBlock<acc>& block = plan.blocks[begin];
  if (block.taps == 2) {
    if constexpr (kPermutes) {
      if (block.reach == Reach::kShared)
        return write_two_taps<Reach::kShared, kPut>(finish, out, row, plan, begin, end);
      if (block.reach == Reach::kPair)
        return write_two_taps<Reach::kPair, kPut>(finish, out, row, plan, begin, end);
    }
    if (block.reach == Reach::kNear)
      return write_two_taps<Reach::kNear, kPut>(finish, out, row, plan, begin, end);
  }
  if constexpr (kPermutes && !E::kFewTaps) {
    if (block.taps == 4 && block.reach == Reach::kShared) {  // four taps, enlarging
      if (block.shares) return write_shared<Reach::kShared, 4, kPut>(finish, out, row, plan, begin, end);
      for (int64_t b = begin; b < end; ++b) {
        const vec<acc> sum = sum_shared_window<4>(row, plan.blocks[b], plan.taps + plan.blocks[b].tap);
        finish.template put<kPut>(out + b * lanes<acc>, sum, lanes<acc>);
      }
      return;
    }
    if (block.shares && block.taps == 4 && block.reach == Reach::kWide) {  // the gradient of x2
      return write_shared<Reach::kWide, 4, kPut>(finish, out, row, plan, begin, end);
    }
    if (block.shares && block.taps == 8 && block.reach == Reach::kWidest) {  // and of x4
      return write_shared<Reach::kWidest, 8, kPut>(finish, out, row, plan, begin, end);
    }
  }
  for (int64_t b = begin; b < end; ++b)
    write_block<kPut>(finish, out + b * lanes<acc>, row, plan, axis, b, lanes<acc>);
}

// Whole blocks begin .. end, a run, of kTaps within one window each, in kRows rows: their taps are loaded
// once for all rows.
template <int kTaps, int kRows, Put kPut, class E, class acc>
inline void write_run_of_rows(E finish, typename E::result* const* out, const acc* const* row,
                              const ColumnPlan<acc>& plan, int64_t begin, int64_t end) {
  for (int64_t b = begin; b < end; ++b) {
    const ColumnBlock<acc>& block = plan.blocks[b];
    ColumnTap<acc> taps[kTaps];
    for (int t = 0; t < kTaps; ++t) taps[t] = plan.taps[block.tap + t];
    for (int r = 0; r < kRows; ++r) {
      const vec<acc> sum = sum_shared_window<kTaps>(row[r], block, taps);
      finish.template put<kPut>(out[r] + b * lanes<acc>, sum, lanes<acc>);
    }
  }
}

// Columns first .. last of a padded row where the plan has windows.
template <class E, class acc>
inline void write_windows(E finish, typename E::result* out, const acc* row, const ColumnPlan<acc>& plan,
                          const AxisTaps<acc>& axis, int64_t first, int64_t last) {
  static_assert(!E::kFewTaps, "what serves interpolation alone has no windows");
  for (int64_t o = first; o < last; ++o) {
    const ColumnWindow<acc>& window = plan.windows[o];
    finish.put_one(out + o, window.vectors > 0 ? sum_window(row, plan, window) : sum_taps(row, axis, o));
  }
}

// Columns first .. last of a padded row, to unit stride; each of the two begins a block, or is the row's end.
template <Put kPut, class E, class acc>
inline void write_columns(E finish, typename E::result* out, const acc* row, const ColumnPlan<acc>& plan,
                          const AxisTaps<acc>& axis, int64_t first, int64_t last) {
  if constexpr (!E::kFewTaps) {
    if (plans_windows(axis)) return write_windows(finish, out, row, plan, axis, first, last);
  }
  const int64_t whole = last / lanes<acc>, rest = last % lanes<acc>;
  for (int64_t b = first / lanes<acc>; b < whole;) {
    const int64_t end = smaller(b + plan.blocks[b].run, whole);
    write_run<kPut>(finish, out, row, plan, axis, b, end);
    b = end;
  }
  if (rest > 0) write_block<Put::kPart>(finish, out + whole * lanes<acc>, row, plan, axis, whole, rest);
}

// All of them.
template <Put kPut, class E, class acc>
inline void write_columns(E finish, typename E::result* out, const acc* row, const ColumnPlan<acc>& plan,
                          const AxisTaps<acc>& axis) {
  write_columns<kPut>(finish, out, row, plan, axis, 0, axis.out_size);
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
