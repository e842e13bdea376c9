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

// kRows output rows, `out_row` elements apart. kTaps is the number of source rows and also of slots where
// both are known to the compiler, otherwise 0: then the weights and pickers of a pattern stay in registers.
template <int kRows, int kTaps, class T, class acc>
inline void forward_rows(const DeconvParams& p, const DeconvPlan<acc>& plan, const SourceTap<acc>* taps,
                         int64_t tap_count, T* out, int64_t out_row, acc bias, bool streams) {
  const WidthBlocks<acc> blocks = plan.blocks;  // a copy: no store can change it, so it is loaded once
  const int64_t count = kTaps > 0 ? kTaps : tap_count, slots = kTaps > 0 ? kTaps : blocks.slots;
  const int64_t slot_step = p.height.kernel_size * lanes<acc>, out_width = plan.out_width;
  constexpr bool kHold = kTaps > 0 && kTaps * kTaps * kRows <= kVectorBytes / 4;
  for (int64_t pattern = 0; pattern < blocks.patterns; ++pattern) {
    const lane_index<acc>* source = blocks.source + pattern * slots * lanes<acc>;
    const auto weight_in_memory = [&](int64_t j, int64_t t, int r) {
      return load(taps[j].weights + (pattern * slots + t) * slot_step + r * lanes<acc>);
    };
    vec<acc> held[kHold ? kTaps : 1][kHold ? kTaps : 1][kHold ? kRows : 1];
    for (int j = 0; kHold && j < kTaps; ++j) {
      for (int t = 0; t < kTaps; ++t) {
        for (int r = 0; r < kRows; ++r) held[j][t][r] = weight_in_memory(j, t, r);
      }
    }
    const auto weight = [&](int64_t j, int64_t t, int r) {
      if constexpr (kHold) return held[j][t][r];
      return weight_in_memory(j, t, r);
    };
    const auto block = [&](auto inner, int64_t b) {
      const BlockSource* from = blocks.from + b * slots;
      vec<acc> sums[kRows];
      for (int r = 0; r < kRows; ++r) sums[r] = splat(bias);
      for (int64_t j = 0; j < count; ++j) {
        for (int64_t t = 0; t < slots; ++t) {
          if constexpr (decltype(inner)::value) {
            const LanePicker<acc> pick(source + t * lanes<acc>);
            const vec<acc> samples = pick(taps[j].source + from[t].start, from[t].shift);
            for (int r = 0; r < kRows; ++r) {
              sums[r] = multiply_add_vector(weight(j, t, r), samples, sums[r]);
            }
          } else {
            vec_index<acc> exists;
            const vec<acc> samples = pick_existing(taps[j].source, source + t * lanes<acc>, from[t],
                                                   kTaps > 0 || blocks.narrow, &exists);
            for (int r = 0; r < kRows; ++r) {
              sums[r] = select<acc>(exists, multiply_add_vector(weight(j, t, r), samples, sums[r]), sums[r]);
            }
          }
        }
      }
      T* at = out + b * lanes<acc>;
      for (int r = 0; r < kRows; ++r, at += out_row) {
        // A masked store is slow where it misses the cache, even if its mask is full.
        if (!decltype(inner)::value && out_width - b * lanes<acc> < lanes<acc>) {
          store_part(at, sums[r], out_width - b * lanes<acc>);
        } else if (streams) {
          stream(at, sums[r]);
        } else {
          store(at, sums[r]);
          __builtin_prefetch(at + kRows * out_row, 1);  // the next rows to be written
        }
      }
    };
    int64_t inner_end = pattern;
    for (; inner_end < blocks.inner_end; inner_end += blocks.patterns) {
      if (inner_end >= blocks.inner_begin) block(Constant<true>{}, inner_end);
    }
    for (int64_t b = pattern; b < blocks.count; b += blocks.patterns) {
      if (b >= blocks.inner_begin && b < inner_end) b = inner_end;
      if (b < blocks.count) block(Constant<false>{}, b);
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
    if (count == 2 && plan.blocks.slots == 2 && plan.blocks.narrow) {
      forward_rows<kRows, 2>(p, plan, taps, count, out, out_row, bias, streams);
    } else {
      forward_rows<kRows, 0>(p, plan, taps, count, out, out_row, bias, streams);
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
  for (int64_t work = begin; work < end;) {
    const int64_t plane = work / plan.out_height, n = plane / p.channels, c = plane % p.channels;
    const T* in = static_cast<const T*>(p.input) + n * p.in.batch + c * p.in.channel;
    T* out = static_cast<T*>(p.output) + n * p.out.batch + c * p.out.channel;
    const int64_t first = work % plan.out_height, last = smaller(plan.out_height, first + end - work);
    spread_weights(scratch.weights, p, plan, plan.blocks.column, plan.blocks.patterns * plan.blocks.slots, c);
    int64_t f = first % p.height.stride, q = first / p.height.stride;
    for (int64_t oy = first; oy < last;) {
      int64_t count = 0;
      for (int64_t t = plan.height.first[f]; t < plan.height.first[f + 1]; ++t) {
        int64_t iy;
        if (!p.height.sample(q + plan.height.taps[t].shift, &iy)) continue;
        acc* copy = scratch.sources + count * source_row_length(plan.blocks);
        scratch.taps[count++] = {source_row(copy, in + iy * p.in.height, p.in.width, plan),
                                 scratch.weights + plan.height.taps[t].k * lanes<acc>};
      }
      T* row = out + oy * p.out.height;
      const bool streams = p.stream && reinterpret_cast<uintptr_t>(row) % kVector == 0 &&
                           p.out.height * static_cast<int64_t>(sizeof(T)) % kVector == 0;
      int64_t rows = 1;
      if (p.out.width == 1) {
        rows = forward_some_rows(p, plan, scratch.taps, count, smaller(plan.run[f], last - oy), row,
                                 p.out.height, plan.bias[c], streams);
      } else {
        forward_some_rows(p, plan, scratch.taps, count, 1, scratch.row, 0, plan.bias[c], false);
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
