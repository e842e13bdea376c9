// What all rows of a depthwise transposed convolution share: which taps contribute to an output, and for
// planar images how they are arranged in vectors. Built once per call, read by all threads.
#pragma once

#include "simd.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

inline int64_t clamp(int64_t i, int64_t low, int64_t high) { return larger(low, smaller(i, high)); }
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t greatest_common_divisor(int64_t a, int64_t b) {
  return b == 0 ? a : greatest_common_divisor(b, a % b);
}

// A compile-time constant, passed as a value.
template <auto kValue>
struct Constant {
  static constexpr auto value = kValue;
};

// Allocates arrays consecutively from a block of memory; constructed with null it only counts the bytes.
class Arrays {
 public:
  explicit Arrays(void* memory) : start_(reinterpret_cast<uintptr_t>(memory)) {}
  template <class E>
  E* take(int64_t count) {
    const uintptr_t array = start_ + static_cast<uintptr_t>(bytes_);
    bytes_ += ceil_div(count * static_cast<int64_t>(sizeof(E)), kVectorBytes) * kVectorBytes;
    return reinterpret_cast<E*>(array);
  }
  int64_t bytes() const { return bytes_; }

 private:
  uintptr_t start_;
  int64_t bytes_ = 0;
};

// ---- one axis ---------------------------------------------------------------------------------------------

// The outputs of an axis fall into `stride` phases; output f + q * stride is the q-th of phase f. All outputs
// of a phase take the same taps: tap k brings position q + shift to the q-th output.
struct PhaseTap {
  int64_t k, shift;
};
struct Phases {
  int64_t count;   // phases without an output are not counted
  int64_t most;    // maximum number of taps of a phase
  int64_t* first;  // taps of phase f, ascending in k: first[f] .. first[f + 1]
  PhaseTap* taps;
};

inline void take_phases(Phases& phases, const ConvTransposeAxis& axis, Arrays& arrays) {
  // Tap k serves the phase of k * dilation: every so many taps the same one.
  const int64_t period = axis.stride / greatest_common_divisor(axis.stride, axis.dilation);
  phases.count = smaller(axis.stride, axis.out_size());
  phases.most = ceil_div(axis.kernel_size, period);
  phases.first = arrays.take<int64_t>(phases.count + 1);
  phases.taps = arrays.take<PhaseTap>(axis.kernel_size);
}

// A counting sort of the taps by phase.
inline void fill_phases(Phases& phases, const ConvTransposeAxis& axis) {
  const auto phase_of = [&](int64_t k) {
    const int64_t remainder = (k * axis.dilation - axis.padding) % axis.stride;
    return remainder < 0 ? remainder + axis.stride : remainder;
  };
  // first[f] counts the taps of phase f, then holds the end of its range, then, filled from behind, the
  // beginning.
  for (int64_t f = 0; f <= phases.count; ++f) phases.first[f] = 0;
  for (int64_t k = 0; k < axis.kernel_size; ++k) {
    if (phase_of(k) < phases.count) ++phases.first[phase_of(k)];
  }
  for (int64_t f = 0; f < phases.count; ++f) phases.first[f + 1] += phases.first[f];
  for (int64_t k = axis.kernel_size - 1; k >= 0; --k) {
    const int64_t f = phase_of(k);
    if (f >= phases.count) continue;
    PhaseTap& tap = phases.taps[--phases.first[f]];
    tap.k = k;
    axis.source(f, k, &tap.shift);
  }
}

// The positions that stand for sample i: itself, and at an edge all that continue it.
inline int64_t first_position(const ConvTransposeAxis& axis, int64_t i) { return i == 0 ? axis.begin() : i; }
inline int64_t last_position(const ConvTransposeAxis& axis, int64_t i) {
  return i == axis.in_size - 1 ? axis.end() - 1 : i;
}

// ---- a row of outputs in vectors, planar images -----------------------------------------------------------

// Where the sources of a block's lanes begin: lane l reads start + shift + source[l], if that is in start ..
// start + limit. For narrow blocks all of these are among the `lanes` samples from start on.
struct BlockSource {
  int64_t start;
  int32_t shift, limit;
};

// The outputs of a row in blocks of one vector. An output has up to `slots` taps; slot t of a block is the
// t-th tap of each lane. Which source (counted from the block's first) and which kernel column that is
// repeats from block to block in `patterns` patterns; a stride that divides the vector has one.
template <class acc>
struct WidthBlocks {
  int64_t count, slots, patterns;
  int64_t begin, extent;    // positions of the source row: the first, and how many
  lane_index<acc>* source;  // [pattern][slot][lane], kNoTap where the lane has fewer taps
  lane_index<acc>* column;  // [pattern][slot][lane], 0 where the lane has fewer taps
  BlockSource* from;        // [block][slot]
  int64_t* pattern_start;   // [pattern][slot]: position of the first source in the pattern's first block
  int64_t* pattern_span;    // [pattern][slot]: how many sources from there, 0 where no lane has one
  int64_t inner_begin, inner_end;  // whole blocks none of whose taps lies beyond the row
  bool full;                       // every output has all slots
  bool narrow;                     // the sources of a slot of a block fit into a vector
};
constexpr int32_t kNoTap = -(1 << 30);
constexpr int32_t kFarShift = 1 << 29;

template <class acc>
inline void take_blocks(WidthBlocks<acc>& blocks, const Phases& phases, const ConvTransposeAxis& axis,
                        Arrays& arrays) {
  blocks.count = ceil_div(axis.out_size(), lanes<acc>);
  blocks.slots = phases.most;
  blocks.patterns = smaller(axis.stride / greatest_common_divisor(axis.stride, lanes<acc>), blocks.count);
  blocks.begin = axis.begin();
  blocks.extent = axis.end() - blocks.begin;
  const int64_t vectors = blocks.patterns * blocks.slots;
  blocks.source = arrays.take<lane_index<acc>>(vectors * lanes<acc>);
  blocks.column = arrays.take<lane_index<acc>>(vectors * lanes<acc>);
  blocks.from = arrays.take<BlockSource>(blocks.count * blocks.slots);
  blocks.pattern_start = arrays.take<int64_t>(vectors);
  blocks.pattern_span = arrays.take<int64_t>(vectors);
}

template <class acc>
inline void fill_pattern(WidthBlocks<acc>& blocks, const Phases& phases, const ConvTransposeAxis& axis,
                         int64_t pattern, int64_t slot) {
  const int64_t vector = pattern * blocks.slots + slot;
  int64_t f = pattern * lanes<acc> % axis.stride, q = pattern * lanes<acc> / axis.stride;
  int64_t position[lanes<acc>] = {}, low = 0, high = 0, taps = 0;
  bool has_tap[lanes<acc>];
  for (int64_t l = 0; l < lanes<acc>; ++l) {
    const int64_t tap = f < phases.count ? phases.first[f] + slot : 0;
    has_tap[l] = f < phases.count && tap < phases.first[f + 1];
    blocks.column[vector * lanes<acc> + l] = 0;
    if (has_tap[l]) {
      position[l] = q + phases.taps[tap].shift - blocks.begin;
      blocks.column[vector * lanes<acc> + l] = static_cast<lane_index<acc>>(phases.taps[tap].k);
      low = taps == 0 ? position[l] : smaller(low, position[l]);
      high = taps == 0 ? position[l] : larger(high, position[l]);
      ++taps;
    }
    if (++f == axis.stride) f = 0, ++q;
  }
  for (int64_t l = 0; l < lanes<acc>; ++l) {
    blocks.source[vector * lanes<acc> + l] =
        has_tap[l] ? static_cast<lane_index<acc>>(position[l] - low) : kNoTap;
  }
  blocks.pattern_start[vector] = low;
  blocks.pattern_span[vector] = taps > 0 ? high - low + 1 : 0;
  blocks.full = blocks.full && taps == lanes<acc>;
  blocks.narrow = blocks.narrow && high - low < lanes<acc>;
}

template <class acc>
inline void fill_blocks(WidthBlocks<acc>& blocks, const Phases& phases, const ConvTransposeAxis& axis) {
  blocks.narrow = blocks.full = true;
  for (int64_t p = 0; p < blocks.patterns; ++p) {
    for (int64_t t = 0; t < blocks.slots; ++t) fill_pattern(blocks, phases, axis, p, t);
  }
  const int64_t window = blocks.narrow ? lanes<acc> : 1;
  const int64_t advance = blocks.patterns * lanes<acc> / axis.stride;  // exact where a pattern repeats
  const int64_t whole = axis.out_size() / lanes<acc>;
  blocks.inner_begin = blocks.inner_end = 0;
  int64_t pattern = 0, moved = 0;
  for (int64_t b = 0; b < blocks.count; ++b) {
    bool inner = blocks.narrow && b < whole;
    for (int64_t t = 0; t < blocks.slots; ++t) {
      const int64_t start = blocks.pattern_start[pattern * blocks.slots + t] + moved;
      const int64_t span = blocks.pattern_span[pattern * blocks.slots + t];
      BlockSource& from = blocks.from[b * blocks.slots + t];
      from.start = clamp(start, 0, larger(0, blocks.extent - window));
      from.shift = static_cast<int32_t>(clamp(start - from.start, -kFarShift, kFarShift));
      from.limit =
          static_cast<int32_t>(smaller(blocks.extent - from.start, blocks.narrow ? lanes<acc> : kFarShift));
      inner = inner && span > 0 && start >= 0 && start + span <= blocks.extent;
    }
    if (inner && blocks.inner_end == blocks.inner_begin) blocks.inner_begin = blocks.inner_end = b;
    if (inner && blocks.inner_end == b) ++blocks.inner_end;
    if (++pattern == blocks.patterns) pattern = 0, moved += advance;
  }
}

// ---- back from the outputs of a row to its sources, planar images -----------------------------------------

// Tap k of position i reads output i * stride - padding + k * dilation. Where the stride is a power of two,
// the taps of a vector of positions fall into windows of `stride` vectors: window w holds, for each position,
// the `stride` outputs from i * stride - padding + start[w] on, and the taps that lie there. The lanes of all
// windows repeat in `patterns` patterns.
template <class acc>
struct WidthWindows {
  int64_t count;  // 0 where there are none: for other strides and passes
  int64_t patterns;
  int64_t* start;
  lane_index<acc>* column;  // [window][pattern][lane], 0 where there is no tap
  lane_index<acc>* exists;  // the same: -1 for a tap, 0 for none
  bool full;                // all lanes have a tap
  // Position q's outputs from q * stride - padding on, for blocks of one vector of positions and one position
  // beyond the row.
  lane_index<acc>* inside;         // [block][vector][lane], -1 for an output inside the row
  int64_t whole_begin, whole_end;  // blocks that lie inside
};
constexpr int64_t kMostWindowStride = 8;

// Whether the input's gradient of planar images is summed in windows.
inline bool sums_in_windows(const DeconvParams& p) {
  const int64_t stride = p.width.stride;
  return p.pass == DeconvPass::kBackwardInput && stride <= kMostWindowStride && (stride & (stride - 1)) == 0;
}

// The number of windows; their starts, if wanted.
inline int64_t list_windows(const ConvTransposeAxis& axis, int64_t* start) {
  int64_t count = 0, last = -1;
  for (int64_t k = 0; k < axis.kernel_size; ++k) {
    const int64_t at = k * axis.dilation / axis.stride * axis.stride;
    if (at == last) continue;
    if (start != nullptr) start[count] = at;
    last = at;
    ++count;
  }
  return count;
}

template <class acc>
inline int64_t position_blocks(const ConvTransposeAxis& axis) {
  return (axis.end() - axis.begin()) / lanes<acc> + 1;
}

template <class acc>
inline void take_windows(WidthWindows<acc>& windows, const DeconvParams& p, Arrays& arrays) {
  const ConvTransposeAxis& axis = p.width;
  windows.count = sums_in_windows(p) ? list_windows(axis, nullptr) : 0;
  windows.patterns = larger(1, axis.stride / lanes<acc>);
  windows.start = arrays.take<int64_t>(windows.count);
  windows.column = arrays.take<lane_index<acc>>(windows.count * windows.patterns * lanes<acc>);
  windows.exists = arrays.take<lane_index<acc>>(windows.count * windows.patterns * lanes<acc>);
  windows.inside = arrays.take<lane_index<acc>>(
      windows.count > 0 ? position_blocks<acc>(axis) * axis.stride * lanes<acc> : 0);
}

template <class acc>
inline void fill_inside(WidthWindows<acc>& windows, const ConvTransposeAxis& axis) {
  const int64_t outputs = axis.stride * lanes<acc>, width = axis.out_size();
  windows.whole_begin = windows.whole_end = 0;
  for (int64_t b = 0; b < position_blocks<acc>(axis); ++b) {
    const int64_t o = axis.target(axis.begin() + b * lanes<acc>, 0);
    for (int64_t i = 0; i < outputs; ++i) {
      windows.inside[b * outputs + i] = o + i >= 0 && o + i < width ? -1 : 0;
    }
    if (o < 0) windows.whole_begin = b + 1;
    if (o < 0 || o + outputs <= width) windows.whole_end = b + 1;
  }
}

template <class acc>
inline void fill_windows(WidthWindows<acc>& windows, const ConvTransposeAxis& axis) {
  if (windows.count == 0) return;
  fill_inside(windows, axis);
  list_windows(axis, windows.start);
  windows.full = true;
  const int64_t lanes_of_window = windows.patterns * lanes<acc>;
  for (int64_t i = 0; i < windows.count * lanes_of_window; ++i) {
    const int64_t offset = windows.start[i / lanes_of_window] + i % lanes_of_window % axis.stride;
    const bool exists = offset % axis.dilation == 0 && offset / axis.dilation < axis.kernel_size;
    windows.column[i] = exists ? static_cast<lane_index<acc>>(offset / axis.dilation) : 0;
    windows.exists[i] = exists ? -1 : 0;
    windows.full = windows.full && exists;
  }
}

// ---- the plan ---------------------------------------------------------------------------------------------

// Weights are in acc: channel after channel for planar images, tap after tap for channels-last; a vector may
// be read from each.
template <class acc>
struct DeconvPlan {
  int64_t in_height, in_width, out_height, out_width;
  Phases height, width;
  int64_t* run;  // output rows from phase f on that read the same source rows through successive kernel rows
  bool* pairs;   // whether the row after one of phase f reads its only source row so, and another one before
  WidthBlocks<acc> blocks;
  WidthWindows<acc> windows;
  acc* weight;
  acc* bias;
};

template <class acc>
inline DeconvPlan<acc>* take_plan(DeconvPlan<acc>& plan, const DeconvParams& p, Arrays& arrays) {
  DeconvPlan<acc>* place = arrays.take<DeconvPlan<acc>>(1);
  plan.in_height = p.height.in_size;
  plan.in_width = p.width.in_size;
  plan.out_height = p.height.out_size();
  plan.out_width = p.width.out_size();
  take_phases(plan.height, p.height, arrays);
  take_phases(plan.width, p.width, arrays);
  plan.run = arrays.take<int64_t>(plan.height.count);
  plan.pairs = arrays.take<bool>(plan.height.count);
  if (!p.channels_last) {
    take_blocks(plan.blocks, plan.width, p.width, arrays);
    take_windows(plan.windows, p, arrays);
  }
  plan.weight = arrays.take<acc>(p.channels * p.height.kernel_size * p.width.kernel_size + lanes<acc>);
  plan.bias = arrays.take<acc>(p.channels + lanes<acc>);
  return place;
}

template <class acc>
int64_t plan_bytes(const DeconvParams& p) {
  DeconvPlan<acc> plan;
  Arrays arrays(nullptr);
  take_plan(plan, p, arrays);
  return arrays.bytes();
}

// The row after one of phase f is of phase f + 1, or of phase 0 one step further on: how many of the taps of
// phase f it continues, by the same source row and the next kernel row, if these are its last ones; otherwise
// 0.
inline int64_t taps_continued(const Phases& phases, int64_t f, int64_t stride) {
  const int64_t next = f + 1 == stride ? 0 : f + 1, step = next == 0 ? 1 : 0;
  if (next >= phases.count) return 0;
  const int64_t count = phases.first[f + 1] - phases.first[f];
  const int64_t more = phases.first[next + 1] - phases.first[next] - count;
  for (int64_t t = 0; t < count; ++t) {
    if (more < 0) return 0;
    const PhaseTap &a = phases.taps[phases.first[f] + t], &b = phases.taps[phases.first[next] + more + t];
    if (b.k != a.k + 1 || b.shift + step != a.shift) return 0;
  }
  return count;
}

inline void fill_runs(int64_t* run, bool* pairs, const Phases& phases, int64_t stride) {
  const auto next_of = [&](int64_t f) { return f + 1 == stride ? 0 : f + 1; };
  const auto taps_of = [&](int64_t f) { return phases.first[f + 1] - phases.first[f]; };
  // Twice around: the second time a run's continuation beyond the last phase is known.
  for (int64_t f = 0; f < phases.count; ++f) run[f] = 1;
  for (int64_t i = 2 * phases.count - 1; i >= 0; --i) {
    const int64_t f = i % phases.count, continued = taps_continued(phases, f, stride);
    const int64_t more = continued > 0 ? taps_of(next_of(f)) - continued : 0;
    run[f] = continued > 0 && more == 0 ? smaller(stride, run[next_of(f)] + 1) : 1;
    pairs[f] = continued == 1 && more == 1;
  }
}

// All but the weights and the bias: the same for all dtypes.
template <class acc>
[[gnu::noinline]] DeconvPlan<acc>* build_geometry(const DeconvParams& p, void* memory) {
  Arrays arrays(memory);
  DeconvPlan<acc> plan;
  DeconvPlan<acc>* place = take_plan(plan, p, arrays);
  fill_phases(plan.height, p.height);
  fill_phases(plan.width, p.width);
  fill_runs(plan.run, plan.pairs, plan.height, p.height.stride);
  if (!p.channels_last) {
    fill_blocks(plan.blocks, plan.width, p.width);
    fill_windows(plan.windows, p.width);
  }
  *place = plan;
  return place;
}

template <class T, class acc = acc_of<T>>
void build_plan(const DeconvParams& p, void* memory) {
  const DeconvPlan<acc>& plan = *build_geometry<acc>(p, memory);
  for (int64_t c = 0; c < p.channels; ++c) {
    plan.bias[c] = p.bias ? to_acc(static_cast<const T*>(p.bias)[c * p.bias_stride]) : acc(0);
  }
  if (p.pass == DeconvPass::kBackwardWeight) return;  // it writes them
  const int64_t columns = p.width.kernel_size, taps = p.height.kernel_size * columns;
  for (int64_t c = 0; c < p.channels; ++c) {
    for (int64_t ky = 0; ky < p.height.kernel_size; ++ky) {
      const T* row = static_cast<const T*>(p.weight) + c * p.weight_channel + ky * p.weight_height;
      for (int64_t kx = 0; kx < columns; ++kx) {
        const int64_t k = ky * columns + kx;
        plan.weight[p.channels_last ? k * p.channels + c : c * taps + k] = to_acc(row[kx * p.weight_width]);
      }
    }
  }
}

// ---- rows -------------------------------------------------------------------------------------------------

template <class acc>
inline void fill(acc* row, int64_t count, acc value) {
  for (int64_t i = 0; i < count; ++i) row[i] = value;
}

template <class T, class acc>
inline void read_row(acc* row, const T* image, int64_t stride, int64_t count) {
  int64_t i = 0;
  if (stride == 1) {
    for (; i + lanes<acc> <= count; i += lanes<acc>) store(row + i, load(image + i));
    if (i < count) store_part(row + i, load_part(image + i, count - i), count - i);
    return;
  }
  for (; i < count; ++i) row[i] = to_acc(image[i * stride]);
}

template <class T, class acc>
inline void write_row(T* image, int64_t stride, const acc* row, int64_t count) {
  int64_t i = 0;
  if (stride == 1) {
    for (; i + lanes<acc> <= count; i += lanes<acc>) store(image + i, load(row + i));
    if (i < count) store_part(image + i, load_part(row + i, count - i), count - i);
    return;
  }
  for (; i < count; ++i) from_acc(row[i], image + i * stride);
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
