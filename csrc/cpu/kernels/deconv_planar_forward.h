// The forward pass of deconv_planar.h. Rows of work are (n, c, output row).
#pragma once

#include "deconv_planar_sources.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Output rows that read the same source rows: row r through kernel rows ky + r.
template <class acc>
struct SourceTap {
  const acc* source;
  const acc* weights;  // of kernel row ky, pattern 0, slot 0
};

template <class acc>
struct ForwardScratch {
  acc* weights;  // [pattern][slot][kernel row][lane]
  acc* sources;  // one row for every tap of the height axis
  SourceTap<acc>* taps;
  acc* row;  // of outputs
};
template <class acc>
inline ForwardScratch<acc> forward_scratch(const DeconvParams& p, const DeconvPlan<acc>& plan,
                                           Arrays& arrays) {
  ForwardScratch<acc> scratch;
  scratch.weights =
      arrays.take<acc>(plan.blocks.patterns * plan.blocks.slots * p.height.kernel_size * lanes<acc>);
  scratch.sources = arrays.take<acc>(plan.height.most * source_row_length(plan.blocks));
  scratch.taps = arrays.take<SourceTap<acc>>(plan.height.most);
  scratch.row = arrays.take<acc>(plan.blocks.count * lanes<acc>);
  return scratch;
}

enum class BlockKind {
  kInner,    // all slots of all lanes have a source
  kPartial,  // those that do are the same in all blocks of a pattern
  kEdge      // some lie beyond the row
};

// kRows output rows, `out_row` elements apart. kTaps is the number of source rows, and kSlots that of slots,
// where they are known to the compiler, otherwise 0: then the weights and pickers of a pattern stay in
// registers. kPair: the first of two rows does not read the first source row.
template <int kRows, int kTaps, int kSlots, bool kPair, class T, class acc>
inline void forward_rows(const DeconvParams& p, const DeconvPlan<acc>& plan, const SourceTap<acc>* taps,
                         int64_t tap_count, T* out, int64_t out_row, acc bias, bool streams) {
  const WidthBlocks<acc> blocks = plan.blocks;  // a copy: no store can change it, so it is loaded once
  const int64_t count = kTaps > 0 ? kTaps : tap_count, slots = kSlots > 0 ? kSlots : blocks.slots;
  const int64_t slot_step = p.height.kernel_size * lanes<acc>, out_width = plan.out_width;
  constexpr bool kHold = kTaps > 0 && kTaps * kSlots * kRows <= kVectorBytes / 4;
  // Without a permutation, lanes are read one by one: also those that have no source.
  constexpr bool kMayBePartial = kPermutes && kSlots > 0 && (kRows == 1 || kPair);
  const auto reads = [](int64_t j, int r) { return !(kPair && j == 0 && r == 0); };
  for (int64_t pattern = 0; pattern < blocks.patterns; ++pattern) {
    const lane_index<acc>* source = blocks.source + pattern * slots * lanes<acc>;
    const auto weight_in_memory = [&](int64_t j, int64_t t, int r) {
      return load(taps[j].weights + (pattern * slots + t) * slot_step + r * lanes<acc>);
    };
    vec<acc> held[kHold ? kTaps : 1][kHold ? kSlots : 1][kHold ? kRows : 1];
    for (int j = 0; kHold && j < kTaps; ++j) {
      for (int t = 0; t < kSlots; ++t) {
        for (int r = 0; r < kRows; ++r) {
          if (reads(j, r)) held[j][t][r] = weight_in_memory(j, t, r);
        }
      }
    }
    const auto weight = [&](int64_t j, int64_t t, int r) {
      if constexpr (kHold) return held[j][t][r];
      return weight_in_memory(j, t, r);
    };
    vec_index<acc> has_tap[kMayBePartial ? kSlots : 1];
    for (int t = 0; kMayBePartial && t < kSlots; ++t) {
      has_tap[t] = load_bits<vec_index<acc>>(source + t * lanes<acc>) >= 0;
    }
    const auto block = [&](auto kind, int64_t b) __attribute__((always_inline)) {
      constexpr BlockKind kKind = decltype(kind)::value;
      const BlockSource* from = blocks.from + b * slots;
      vec<acc> sums[kRows];
      for (int r = 0; r < kRows; ++r) sums[r] = splat(bias);
      for (int64_t j = 0; j < count; ++j) {
        for (int64_t t = 0; t < slots; ++t) {
          if constexpr (kKind != BlockKind::kEdge) {
            const LanePicker<acc> pick(source + t * lanes<acc>);
            const vec<acc> samples = pick(taps[j].source + from[t].start, from[t].shift);
            for (int r = 0; r < kRows; ++r) {
              if (!reads(j, r)) continue;
              const vec<acc> sum = multiply_add_vector(weight(j, t, r), samples, sums[r]);
              sums[r] = kKind == BlockKind::kPartial ? select<acc>(has_tap[t], sum, sums[r]) : sum;
            }
          } else {
            vec_index<acc> exists;
            const vec<acc> samples = pick_existing(taps[j].source, source + t * lanes<acc>, from[t],
                                                   kSlots > 0 || blocks.narrow, &exists);
            for (int r = 0; r < kRows; ++r) {
              if (!reads(j, r)) continue;
              sums[r] = select<acc>(exists, multiply_add_vector(weight(j, t, r), samples, sums[r]), sums[r]);
            }
          }
        }
      }
      T* at = out + b * lanes<acc>;
      for (int r = 0; r < kRows; ++r, at += out_row) {
        // A masked store is slow where it misses the cache, even if its mask is full.
        if (kKind == BlockKind::kEdge && out_width - b * lanes<acc> < lanes<acc>) {
          store_part(at, sums[r], out_width - b * lanes<acc>);
        } else if (streams) {
          stream(at, sums[r]);
        } else {
          store(at, sums[r]);
          __builtin_prefetch(at + kRows * out_row, 1);  // the next rows to be written
        }
      }
    };
    const auto run = [&](auto kind) __attribute__((always_inline)) {
      int64_t inner_end = pattern;
      for (; inner_end < blocks.inner_end; inner_end += blocks.patterns) {
        if (inner_end >= blocks.inner_begin) block(kind, inner_end);
      }
      return inner_end;
    };
    int64_t inner_end = 0;  // none
    if (blocks.full) {
      inner_end = run(Constant<BlockKind::kInner>{});
    } else if constexpr (kMayBePartial) {
      inner_end = run(Constant<BlockKind::kPartial>{});
    }
    for (int64_t b = pattern; b < blocks.count; b += blocks.patterns) {
      if (b >= blocks.inner_begin && b < inner_end) b = inner_end;
      if (b < blocks.count) block(Constant<BlockKind::kEdge>{}, b);
    }
  }
}

// Computes as many of `rows` output rows as one pass handles; returns their number.
template <class T, class acc>
inline int64_t forward_some_rows(const DeconvParams& p, const DeconvPlan<acc>& plan,
                                 const SourceTap<acc>* taps, int64_t count, int64_t rows, T* out,
                                 int64_t out_row, acc bias, bool streams) {
  const auto run = [&](auto constant) -> int64_t {
    constexpr int kRows = decltype(constant)::value;
    const bool two_slots = plan.blocks.slots == 2 && plan.blocks.narrow;
    if (two_slots && count == 2) {
      forward_rows<kRows, 2, 2, false>(p, plan, taps, count, out, out_row, bias, streams);
    } else if (kRows == 1 && two_slots && count == 1) {
      forward_rows<1, 1, 2, false>(p, plan, taps, count, out, out_row, bias, streams);
    } else {
      forward_rows<kRows, 0, 0, false>(p, plan, taps, count, out, out_row, bias, streams);
    }
    return kRows;
  };
  if (rows >= 8) return run(Constant<8>{});
  if (rows >= 4) return run(Constant<4>{});
  if (rows >= 3) return run(Constant<3>{});
  if (rows >= 2) return run(Constant<2>{});
  return run(Constant<1>{});
}

template <class T, class acc>
inline void forward_planar(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  Arrays arrays(memory);
  const ForwardScratch<acc> scratch = forward_scratch(p, plan, arrays);
  constexpr int64_t kVector = lanes<acc> * static_cast<int64_t>(sizeof(T));
  const bool may_pair = p.out.width == 1 && plan.blocks.slots == 2 && plan.blocks.narrow;
  const bool writes_lines =
      kVector == kLineBytes || plan.blocks.patterns == 1;  // one pattern after the other
  for (int64_t work = begin; work < end;) {
    const int64_t plane = work / plan.out_height, n = plane / p.channels, c = plane % p.channels;
    const T* in = static_cast<const T*>(p.input) + n * p.in.batch + c * p.in.channel;
    T* out = static_cast<T*>(p.output) + n * p.out.batch + c * p.out.channel;
    const int64_t first = work % plan.out_height, last = smaller(plan.out_height, first + end - work);
    spread_weights(scratch.weights, p, plan, plan.blocks.column, plan.blocks.patterns * plan.blocks.slots, c);
    int64_t f = first % p.height.stride, q = first / p.height.stride;
    // The source rows of row `row` of phase `phase`, with the kernel rows of the row `before` rows before it.
    const auto find_taps = [&](int64_t phase, int64_t row, int64_t before) {
      int64_t count = 0;
      for (int64_t t = plan.height.first[phase]; t < plan.height.first[phase + 1]; ++t) {
        int64_t iy;
        if (!p.height.sample(row + plan.height.taps[t].shift, &iy)) continue;
        acc* copy = scratch.sources + count * source_row_length(plan.blocks);
        scratch.taps[count++] = {source_row(copy, in + iy * p.in.height, p.in.width, plan),
                                 scratch.weights + (plan.height.taps[t].k - before) * lanes<acc>};
      }
      return count;
    };
    for (int64_t oy = first; oy < last;) {
      T* row = out + oy * p.out.height;
      const bool streams = p.stream && writes_lines && reinterpret_cast<uintptr_t>(row) % kVector == 0 &&
                           p.out.height * static_cast<int64_t>(sizeof(T)) % kVector == 0;
      const int64_t next = f + 1 == p.height.stride ? 0 : f + 1;
      int64_t rows = 1;
      if (may_pair && plan.pairs[f] && oy + 1 < last && find_taps(next, next == 0 ? q + 1 : q, 1) == 2) {
        rows = 2;
        forward_rows<2, 2, 2, true>(p, plan, scratch.taps, 2, row, p.out.height, plan.bias[c], streams);
      } else if (p.out.width == 1) {
        rows = forward_some_rows(p, plan, scratch.taps, find_taps(f, q, 0), smaller(plan.run[f], last - oy),
                                 row, p.out.height, plan.bias[c], streams);
      } else {
        forward_some_rows(p, plan, scratch.taps, find_taps(f, q, 0), 1, scratch.row, 0, plan.bias[c], false);
        write_row(row, p.out.width, scratch.row, plan.out_width);
      }
      work += rows;
      oy += rows;
      for (f += rows; f >= p.height.stride; f -= p.height.stride) ++q;
    }
  }
  if (p.stream) end_stream();
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
