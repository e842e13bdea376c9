// Depthwise transposed convolution of planar images, forward and both gradients.
//
// Vectors lie along the rows of the output image, also in backward. For a block of outputs and a slot t (the
// t-th tap of each of its outputs) there are a vector of sources S_t, picked from a source row by one
// permutation, and for every kernel row a vector of weights W_t, which repeats from block to block. With them
//
//   forward          out = bias + sum over kernel rows and slots of S_t * W_t. Output rows that read the same
//                    source rows are summed together: what was picked serves all of them.
//   backward_input   A_t = sum over kernel rows of grad_output * W_t, for one row of inputs; only then, once
//                    for all kernel rows, a source gathers its lanes of A_t.
//   backward_weight  G_t += S_t * grad_output for several kernel rows at once, over all rows of a channel; a
//                    weight is the sum of its lanes of G_t.
//
// A replicated border is a source row extended by its edge samples before, and a gradient row folded onto its
// edge samples after: the taps know nothing of it.
#pragma once

#include "deconv_plan.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Lanes from anywhere; where the sources of a block lie further apart than a vector, never in a usual kernel.
template <class acc>
[[gnu::noinline]] vec<acc> gather(const acc* p, const lane_index<acc>* index) {
  vec<acc> r{};
  for (int i = 0; i < lanes<acc>; ++i) r[i] = p[index[i]];
  return r;
}

// The sources of an edge block: `exists` gets the lanes that have one.
template <class acc>
inline vec<acc> pick_existing(const acc* row, const lane_index<acc>* source, const BlockSource& from,
                              bool narrow, vec_index<acc>* exists) {
  const vec_index<acc> index = load_bits<vec_index<acc>>(source) + static_cast<lane_index<acc>>(from.shift);
  *exists = (index >= 0) & (index < static_cast<lane_index<acc>>(from.limit));
#if UPSAMPLE_VECTOR_BYTES >= 32
  if (narrow) return permute(load(row + from.start), index);  // the other lanes take any sample
#endif
  static_cast<void>(narrow);
  lane_index<acc> safe[lanes<acc>];
  store_bits(safe, index & *exists);
  return gather(row + from.start, safe);
}

template <class acc>
inline vec<acc> select(vec_index<acc> condition, vec<acc> yes, vec<acc> no) {
  return condition ? yes : no;
}

// The source row from blocks.begin, its ends repeated as far as the kernel reaches: as it lies in the image
// where it can be read there, otherwise a copy in `row`, which holds a vector at least.
template <class T, class acc>
inline const acc* source_row(acc* row, const T* image, int64_t stride, const DeconvPlan<acc>& plan) {
  const WidthBlocks<acc>& blocks = plan.blocks;
  if constexpr (sizeof(T) == sizeof(acc)) {
    if (stride == 1 && blocks.extent == plan.in_width && blocks.extent >= lanes<acc>) return image;
  }
  acc* samples = row - blocks.begin;
  read_row(samples, image, stride, plan.in_width);
  fill(row, -blocks.begin, samples[0]);
  fill(samples + plan.in_width, blocks.extent + blocks.begin - plan.in_width, samples[plan.in_width - 1]);
  return row;
}
template <class acc>
inline int64_t source_row_length(const WidthBlocks<acc>& blocks) {
  return larger(blocks.extent, lanes<acc>);
}

// ---- the weights of one channel in vectors ----------------------------------------------------------------

// weights[pattern][slot][kernel row][lane]
template <class acc>
inline int64_t weight_vectors_length(const DeconvParams& p, const WidthBlocks<acc>& blocks) {
  return blocks.patterns * blocks.slots * p.height.kernel_size * lanes<acc>;
}
template <class acc>
inline void spread_weights(acc* weights, const DeconvParams& p, const DeconvPlan<acc>& plan, int64_t c) {
  const int64_t rows = p.height.kernel_size, columns = p.width.kernel_size;
  const acc* kernel = plan.weight + c * rows * columns;
  for (int64_t v = 0; v < plan.blocks.patterns * plan.blocks.slots; ++v) {
    const lane_index<acc>* column = plan.blocks.column + v * lanes<acc>;
    for (int64_t ky = 0; ky < rows; ++ky, weights += lanes<acc>) {
      const acc* row = kernel + ky * columns;
      store(weights, columns <= lanes<acc> ? LanePicker<acc>(column)(row, 0) : gather(row, column));
    }
  }
}

// ---- forward: rows are (n, c, output row) -----------------------------------------------------------------

// Output rows that read the same source rows: row r through kernel rows ky + r.
template <class acc>
struct SourceTap {
  const acc* source;
  const acc* weights;  // of kernel row ky, pattern 0, slot 0
};

template <class acc>
struct ForwardScratch {
  acc* weights;
  acc* sources;  // one row for every tap of the height axis
  SourceTap<acc>* taps;
  acc* row;  // of outputs
};
template <class acc>
inline ForwardScratch<acc> forward_scratch(const DeconvParams& p, const DeconvPlan<acc>& plan,
                                           Arrays& arrays) {
  ForwardScratch<acc> scratch;
  scratch.weights = arrays.take<acc>(weight_vectors_length(p, plan.blocks));
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

// As many of `rows` output rows as one go takes; returns their number.
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
    spread_weights(scratch.weights, p, plan, c);
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

// ---- backward_input: rows are (n, c, input row) -----------------------------------------------------------

// Rows of grad_output that meet successive kernel rows, `step` elements apart.
template <class S, class acc>
struct GradRows {
  const S* first;
  int64_t step, count;
  const acc* weights;  // of the first one's kernel row, pattern 0, slot 0
};
// Rows read side by side. Many rows a power of two apart would share a set of the cache.
constexpr int64_t kGradRows = 8;

template <class acc>
struct BackwardInputScratch {
  acc* weights;
  acc* sums;    // [slot][output]
  acc* dealt;   // [slot][phase][output of the phase]
  acc* copies;  // of rows of grad_output
  acc* source;  // a row of positions
};
template <class acc>
inline BackwardInputScratch<acc> backward_input_scratch(const DeconvParams& p, const DeconvPlan<acc>& plan,
                                                        Arrays& arrays) {
  BackwardInputScratch<acc> scratch;
  const int64_t slots = plan.blocks.slots;
  scratch.weights = arrays.take<acc>(weight_vectors_length(p, plan.blocks));
  scratch.dealt = arrays.take<acc>(plan.fold.dealt ? slots * p.width.stride * plan.fold.phase : 0);
  scratch.sums = arrays.take<acc>(slots * plan.fold.row);
  scratch.copies = arrays.take<acc>(p.out.width == 1 ? 0 : kGradRows * plan.out_width);
  scratch.source = arrays.take<acc>(plan.blocks.extent + 4 * lanes<acc>);
  return scratch;
}

// Deals kStride vectors of outputs that follow each other out into one vector of each phase.
template <int kStride, class acc>
inline void deal(const vec<acc>* v, acc* phases, int64_t phase_step) {
  if constexpr (kStride == 1) {
    store(phases, v[0]);
  } else {
    vec<acc> even[kStride / 2], odd[kStride / 2];
    for (int i = 0; i < kStride / 2; ++i) {
      even[i] = even_lanes(v[2 * i], v[2 * i + 1]);
      odd[i] = odd_lanes(v[2 * i], v[2 * i + 1]);
    }
    deal<kStride / 2, acc>(even, phases, 2 * phase_step);
    deal<kStride / 2, acc>(odd, phases + phase_step, 2 * phase_step);
  }
}

// Where a group of rows stands in the sum over all rows that reach a row of inputs. With the last group go
// the rows that only the next row of inputs will read: they are fetched ahead, block by block.
struct Progress {
  bool resumes, ends;
  int64_t ahead;  // how many
  int64_t step;   // elements from the group's last row to the first of them, and between them
};

// The sums of kSlots slots and kBlocks blocks from output o on over a group of rows. At the end they are
// dealt out into the phases of a stride of kDeal; until then, and for other strides (kDeal = 0), they are
// kept in `sums`. kPart: the row ends inside these blocks.
template <int kDeal, int kSlots, int kBlocks, bool kPart, class S, class acc>
inline void multiply_blocks(const DeconvParams& p, const DeconvPlan<acc>& plan,
                            const BackwardInputScratch<acc>& scratch, const GradRows<S, acc>& rows,
                            Progress progress, int64_t slot, int64_t o) {
  constexpr int64_t kPatterns = kDeal > lanes<acc> ? kDeal / lanes<acc> : 1;  // where kDeal > 0
  const int64_t slot_step = p.height.kernel_size * lanes<acc>, slots = plan.blocks.slots;
  const int64_t first = kDeal > 0 ? 0 : o / lanes<acc> % plan.blocks.patterns;
  acc* kept = scratch.sums + slot * plan.fold.row + o;
  vec<acc> sum[kSlots][kBlocks] = {};
  if (progress.resumes) {
    for (int t = 0; t < kSlots; ++t) {
      for (int b = 0; b < kBlocks; ++b) sum[t][b] = load(kept + t * plan.fold.row + b * lanes<acc>);
    }
  }
  for (int64_t j = 0; j < rows.count; ++j) {
    vec<acc> weight[kPatterns][kSlots];
    for (int64_t pattern = 0; pattern < kPatterns; ++pattern) {
      const acc* weights = rows.weights + ((first + pattern) * slots + slot) * slot_step + j * lanes<acc>;
      for (int t = 0; t < kSlots; ++t) weight[pattern][t] = load(weights + t * slot_step);
    }
    for (int64_t b = 0; b < kBlocks; ++b) {
      const S* at = rows.first + j * rows.step + o + b * lanes<acc>;
      const int64_t left = plan.out_width - o - b * lanes<acc>;
      const vec<acc> grad = kPart ? load_part(at, clamp(left, 0, lanes<acc>)) : load(at);
      for (int t = 0; t < kSlots; ++t) {
        sum[t][b] = multiply_add_vector(grad, weight[b % kPatterns][t], sum[t][b]);
      }
    }
  }
  for (int64_t r = 1; slot == 0 && r <= progress.ahead; ++r) {
    const S* at = rows.first + (rows.count - 1) * rows.step + r * progress.step + o;
    for (int64_t i = 0; i < kBlocks * lanes<acc>; i += 64 / static_cast<int64_t>(sizeof(S))) {
      __builtin_prefetch(at + i);
    }
  }
  for (int t = 0; t < kSlots; ++t) {
    for (int64_t b = 0; kPart && b < kBlocks; ++b) {  // 0 * an infinite weight
      sum[t][b] = select<acc>(lanes_below<acc>(plan.out_width - o - b * lanes<acc>), sum[t][b], vec<acc>{});
    }
    if (kDeal == 0 || !progress.ends) {
      for (int b = 0; b < kBlocks; ++b) store(kept + t * plan.fold.row + b * lanes<acc>, sum[t][b]);
      continue;
    }
    constexpr int kStride = kDeal > 0 ? kDeal : 1;
    acc* phases = scratch.dealt + (slot + t) * kStride * plan.fold.phase + plan.fold.before + o / kStride;
    for (int b = 0; b < kBlocks; b += kStride) {
      deal<kStride, acc>(sum[t] + b, phases + b / kStride * lanes<acc>, plan.fold.phase);
    }
  }
}

template <int kDeal, int kSlots, class S, class acc>
inline void multiply_slots(const DeconvParams& p, const DeconvPlan<acc>& plan,
                           const BackwardInputScratch<acc>& scratch, const GradRows<S, acc>& rows,
                           Progress progress, int64_t slot) {
  constexpr int kFew = kDeal > 0 ? kDeal : 1, kMany = kDeal == 0 ? 1 : (kDeal < 4 ? 4 : kDeal);
  const auto run = [&](auto blocks, auto part, int64_t o) {
    multiply_blocks<kDeal, kSlots, decltype(blocks)::value, decltype(part)::value>(p, plan, scratch, rows,
                                                                                   progress, slot, o);
  };
  int64_t o = 0;
  for (; o + kMany * lanes<acc> <= plan.out_width; o += kMany * lanes<acc>) {
    run(Constant<kMany>{}, Constant<false>{}, o);
  }
  for (; o + kFew * lanes<acc> <= plan.out_width; o += kFew * lanes<acc>) {
    run(Constant<kFew>{}, Constant<false>{}, o);
  }
  if (o < plan.out_width) run(Constant<kFew>{}, Constant<true>{}, o);
}

// Adds a group of rows of grad_output to the sums of a row of inputs.
template <int kDeal, class S, class acc>
inline void multiply_rows(const DeconvParams& p, const DeconvPlan<acc>& plan,
                          const BackwardInputScratch<acc>& scratch, const GradRows<S, acc>& rows,
                          Progress progress) {
  constexpr int kSlots = kDeal == 8 && kVectorBytes < 64 ? 1 : 2;  // sums that fit into the registers
  int64_t t = 0;
  for (; t + kSlots <= plan.blocks.slots; t += kSlots) {
    multiply_slots<kDeal, kSlots>(p, plan, scratch, rows, progress, t);
  }
  if (t < plan.blocks.slots) multiply_slots<kDeal, 1>(p, plan, scratch, rows, progress, t);
}
template <class S, class acc>
inline void multiply_rows(const DeconvParams& p, const DeconvPlan<acc>& plan,
                          const BackwardInputScratch<acc>& scratch, const GradRows<S, acc>& rows,
                          Progress progress) {
  const int64_t deal = plan.fold.dealt ? p.width.stride : 0;
  if (deal == 1) return multiply_rows<1>(p, plan, scratch, rows, progress);
  if (deal == 2) return multiply_rows<2>(p, plan, scratch, rows, progress);
  if (deal == 4) return multiply_rows<4>(p, plan, scratch, rows, progress);
  if (deal == 8) return multiply_rows<8>(p, plan, scratch, rows, progress);
  multiply_rows<0>(p, plan, scratch, rows, progress);
}

// All rows of grad_output that reach input row iy, ky after ky, and at a replicated edge position after
// position.
template <class T, class acc>
inline void multiply_reached_rows(const DeconvParams& p, const DeconvPlan<acc>& plan,
                                  const BackwardInputScratch<acc>& scratch, const T* grad, int64_t iy) {
  const int64_t begin = first_position(p.height, iy), end = last_position(p.height, iy) + 1;
  const int64_t rows = p.height.kernel_size, dilation = p.height.dilation;
  Progress progress{false, false, 0, p.out.height};
  for (int64_t i = begin; i < end; ++i) {
    int64_t oy = p.height.target(i, 0), ky = 0;
    for (; ky < rows && oy < 0; ++ky) oy += dilation;
    int64_t last = ky;
    while (last < rows && oy + (last - ky) * dilation < plan.out_height) ++last;
    do {  // a group without rows ends the sums, too
      const int64_t count = smaller(kGradRows, last - ky);
      const acc* weights = scratch.weights + ky * lanes<acc>;
      const T* first = grad + oy * p.out.height;
      ky += count;
      oy += count * dilation;
      progress.ends = i + 1 == end && ky == last;
      if (p.out.width == 1) {
        progress.ahead =
            progress.ends && count > 0 ? clamp(plan.out_height - 1 - (oy - dilation), 0, p.height.stride) : 0;
        multiply_rows<T, acc>(p, plan, scratch, {first, dilation * p.out.height, count, weights}, progress);
      } else {
        for (int64_t j = 0; j < count; ++j) {
          read_row(scratch.copies + j * plan.out_width, first + j * dilation * p.out.height, p.out.width,
                   plan.out_width);
        }
        multiply_rows<acc, acc>(p, plan, scratch, {scratch.copies, plan.out_width, count, weights}, progress);
      }
      progress.resumes = true;
    } while (ky < last);
  }
}

// source[i] = sum over taps of dealt[offset + i], for kVectors vectors.
template <int kVectors, class T, class acc>
inline void add_dealt(T* source, int64_t left, const acc* dealt, const WidthFold& fold, int64_t i) {
  vec<acc> sum[kVectors] = {};
  for (int64_t k = 0; k < fold.taps; ++k) {
    const acc* at = dealt + fold.offset[k] + i;
    for (int v = 0; v < kVectors; ++v) sum[v] += load(at + v * lanes<acc>);
  }
  for (int v = 0; v + 1 < kVectors; ++v) store(source + i + v * lanes<acc>, sum[v]);
  const int64_t last = (kVectors - 1) * lanes<acc>;
  if (left - last >= lanes<acc>) {
    store(source + i + last, sum[kVectors - 1]);
  } else {
    store_part(source + i + last, sum[kVectors - 1], left - last);
  }
}

// The row of positions: source[i] = sum over taps of the sums that position i reaches.
template <class T, class acc>
inline void fold_row(const DeconvPlan<acc>& plan, const BackwardInputScratch<acc>& scratch, T* source) {
  const WidthFold& fold = plan.fold;
  const int64_t extent = plan.blocks.extent;
  constexpr int64_t kMany = 4;
  int64_t i = 0;
  for (; i + (kMany - 1) * lanes<acc> < extent; i += kMany * lanes<acc>) {
    add_dealt<kMany>(source, extent - i, scratch.dealt, fold, i);
  }
  for (; i < extent; i += lanes<acc>) add_dealt<1>(source, extent - i, scratch.dealt, fold, i);
}
template <class acc>
inline void fold_row_one_by_one(const DeconvParams& p, const DeconvPlan<acc>& plan,
                                const BackwardInputScratch<acc>& scratch, acc* source) {
  const WidthFold& fold = plan.fold;
  fill(source, plan.blocks.extent, acc(0));
  for (int64_t t = 0; t < fold.taps; ++t) {
    const acc* sums = scratch.sums + fold.slot[t] * fold.row;
    const int64_t first = p.width.target(plan.blocks.begin, fold.k[t]);
    int64_t i = first < 0 ? ceil_div(-first, p.width.stride) : 0;
    for (int64_t o = first + i * p.width.stride; i < plan.blocks.extent && o < plan.out_width;
         ++i, o += p.width.stride) {
      source[i] += sums[o];
    }
  }
}

template <class T, class acc>
inline void backward_input_planar(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  const WidthBlocks<acc>& blocks = plan.blocks;
  Arrays arrays(memory);
  const BackwardInputScratch<acc> scratch = backward_input_scratch<acc>(p, plan, arrays);
  // The zeros around a phase are never written again.
  if (plan.fold.dealt) fill(scratch.dealt, blocks.slots * p.width.stride * plan.fold.phase, acc(0));
  const bool in_place = plan.fold.dealt && p.in.width == 1 && blocks.extent == plan.in_width;
  acc* samples = scratch.source - blocks.begin;
  for (int64_t work = begin; work < end;) {
    const int64_t plane = work / plan.in_height, n = plane / p.channels, c = plane % p.channels;
    const T* grad = static_cast<const T*>(p.output) + n * p.out.batch + c * p.out.channel;
    T* in = static_cast<T*>(p.input) + n * p.in.batch + c * p.in.channel;
    const int64_t first = work % plan.in_height, last = smaller(plan.in_height, first + end - work);
    spread_weights(scratch.weights, p, plan, c);
    for (int64_t iy = first; iy < last; ++iy, ++work) {
      // Loads from the dealt sums wait for all stores before them: let those to the image find their lines.
      for (int64_t x = 0; in_place && x < plan.in_width; x += 64 / static_cast<int64_t>(sizeof(T))) {
        __builtin_prefetch(in + iy * p.in.height + x, 1);
      }
      multiply_reached_rows(p, plan, scratch, grad, iy);
      if (in_place) {
        fold_row(plan, scratch, in + iy * p.in.height);
        continue;
      }
      if (plan.fold.dealt) {
        fold_row(plan, scratch, scratch.source);
      } else {
        fold_row_one_by_one(p, plan, scratch, scratch.source);
      }
      for (int64_t x = blocks.begin; x < 0; ++x) samples[0] += samples[x];
      for (int64_t x = plan.in_width; x < blocks.extent + blocks.begin; ++x) {
        samples[plan.in_width - 1] += samples[x];
      }
      write_row(in + iy * p.in.height, p.in.width, samples, plan.in_width);
    }
  }
}

// ---- backward_weight: rows are (c, group of kernel rows) --------------------------------------------------

constexpr int64_t kKernelRows = 4;  // of a group
constexpr int64_t kRunLength =
    64;  // products that a lane sums in acc before the sum joins the total in double

template <class acc>
struct BackwardWeightScratch {
  acc* sums;       // [pattern][slot][kernel row of the group][lane]
  double* totals;  // the same
  double* kernel;  // [kernel row of the group][column]
  acc* source;
  acc* copies;  // of rows of grad_output
};
template <class acc>
inline BackwardWeightScratch<acc> backward_weight_scratch(const DeconvParams& p, const DeconvPlan<acc>& plan,
                                                          Arrays& arrays) {
  BackwardWeightScratch<acc> scratch;
  const int64_t sums = plan.blocks.patterns * plan.blocks.slots * kKernelRows * lanes<acc>;
  scratch.sums = arrays.take<acc>(sums);
  scratch.totals = arrays.take<double>(sums);
  scratch.kernel = arrays.take<double>(kKernelRows * p.width.kernel_size);
  scratch.source = arrays.take<acc>(source_row_length(plan.blocks));
  scratch.copies = arrays.take<acc>(kKernelRows * plan.out_width);
  return scratch;
}

// sums[pattern][slot][r] += picked source * grads[r]. The next source row meets the rows `ahead` elements on,
// which are fetched meanwhile.
template <int kRows, int kSlots, class S, class acc>
inline void add_products(acc* sums, const DeconvPlan<acc>& plan, const acc* row, const S* grads, int64_t step,
                         int64_t ahead, int64_t slot) {
  const WidthBlocks<acc>& blocks = plan.blocks;
  for (int64_t pattern = 0; pattern < blocks.patterns; ++pattern) {
    const int64_t vector = pattern * blocks.slots + slot;
    const lane_index<acc>* source = blocks.source + vector * lanes<acc>;
    acc* at = sums + vector * kKernelRows * lanes<acc>;
    vec<acc> sum[kSlots][kRows];
    for (int t = 0; t < kSlots; ++t) {
      for (int r = 0; r < kRows; ++r) sum[t][r] = load(at + (t * kKernelRows + r) * lanes<acc>);
    }
    for (int64_t b = pattern; b < blocks.count; b += blocks.patterns) {
      const BlockSource* from = blocks.from + b * blocks.slots + slot;
      const int64_t o = b * lanes<acc>, left = plan.out_width - o;
      if (b >= blocks.inner_begin && b < blocks.inner_end) {
        vec<acc> samples[kSlots];
        for (int t = 0; t < kSlots; ++t) {
          const LanePicker<acc> pick(source + t * lanes<acc>);
          samples[t] = pick(row + from[t].start, from[t].shift);
        }
        for (int r = 0; r < kRows; ++r) {
          const vec<acc> grad = load(grads + r * step + o);
          for (int t = 0; t < kSlots; ++t) sum[t][r] = multiply_add_vector(samples[t], grad, sum[t][r]);
          if (slot == 0) __builtin_prefetch(grads + r * step + ahead + o);
        }
        continue;
      }
      vec<acc> samples[kSlots];
      vec_index<acc> exists[kSlots];
      for (int t = 0; t < kSlots; ++t) {
        samples[t] = pick_existing(row, source + t * lanes<acc>, from[t], blocks.narrow, &exists[t]);
        exists[t] &= lanes_below<acc>(left);
      }
      for (int r = 0; r < kRows; ++r) {
        const vec<acc> grad = load_part(grads + r * step + o, smaller(left, lanes<acc>));
        for (int t = 0; t < kSlots; ++t) {
          sum[t][r] = select<acc>(exists[t], multiply_add_vector(samples[t], grad, sum[t][r]), sum[t][r]);
        }
        if (slot == 0) __builtin_prefetch(grads + r * step + ahead + o);
      }
    }
    for (int t = 0; t < kSlots; ++t) {
      for (int r = 0; r < kRows; ++r) store(at + (t * kKernelRows + r) * lanes<acc>, sum[t][r]);
    }
  }
}

template <int kRows, class S, class acc>
inline void add_row_products(acc* sums, const DeconvPlan<acc>& plan, const acc* row, const S* grads,
                             int64_t step, int64_t ahead) {
  int64_t t = 0;
  for (; t + 2 <= plan.blocks.slots; t += 2) add_products<kRows, 2>(sums, plan, row, grads, step, ahead, t);
  if (t < plan.blocks.slots) add_products<kRows, 1>(sums, plan, row, grads, step, ahead, t);
}

// Kernel rows begin .. end of the group.
template <class S, class acc>
inline void add_group_products(acc* sums, const DeconvPlan<acc>& plan, const acc* row, const S* grads,
                               int64_t step, int64_t ahead, int64_t begin, int64_t end) {
  if (begin == 0 && end == kKernelRows)
    return add_row_products<kKernelRows>(sums, plan, row, grads, step, ahead);
  for (int64_t r = begin; r < end; ++r)
    add_row_products<1>(sums + r * lanes<acc>, plan, row, grads + (r - begin) * step, step, ahead);
}

template <class T, class acc>
inline void backward_weight_planar(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  const WidthBlocks<acc>& blocks = plan.blocks;
  Arrays arrays(memory);
  const BackwardWeightScratch<acc> scratch = backward_weight_scratch(p, plan, arrays);
  const int64_t groups = ceil_div(p.height.kernel_size, kKernelRows), columns = p.width.kernel_size;
  const int64_t vectors = blocks.patterns * blocks.slots, count = vectors * kKernelRows * lanes<acc>;
  const int64_t products = ceil_div(blocks.count, larger(1, blocks.patterns));  // of a lane in a row
  const auto flush = [&] {
    for (int64_t i = 0; i < count; ++i) scratch.totals[i] += static_cast<double>(scratch.sums[i]);
    fill(scratch.sums, count, acc(0));
  };
  for (int64_t work = begin; work < end; ++work) {
    const int64_t c = work / groups, ky = work % groups * kKernelRows;
    const int64_t rows = smaller(kKernelRows, p.height.kernel_size - ky);
    fill(scratch.sums, count, acc(0));
    fill(scratch.totals, count, 0.0);
    int64_t length = 0;
    for (int64_t n = 0; n < p.batch; ++n) {
      const T* in = static_cast<const T*>(p.input) + n * p.in.batch + c * p.in.channel;
      const T* out = static_cast<const T*>(p.output) + n * p.out.batch + c * p.out.channel;
      for (int64_t i = p.height.begin(); i < p.height.end(); ++i) {
        // Targets ascend with the kernel row: those inside the image follow each other.
        int64_t first = 0, last = rows;
        while (first < last && p.height.target(i, ky + first) < 0) ++first;
        while (first < last && p.height.target(i, ky + last - 1) >= plan.out_height) --last;
        if (first == last) continue;
        int64_t iy;
        p.height.sample(i, &iy);
        const acc* row = source_row(scratch.source, in + iy * p.in.height, p.in.width, plan);
        const T* grads = out + p.height.target(i, ky + first) * p.out.height;
        const int64_t step = p.height.dilation * p.out.height;
        if (p.out.width == 1) {
          const int64_t ahead = p.height.stride * p.out.height;
          add_group_products(scratch.sums, plan, row, grads, step, ahead, first, last);
        } else {
          for (int64_t r = 0; r < last - first; ++r) {
            read_row(scratch.copies + r * plan.out_width, grads + r * step, p.out.width, plan.out_width);
          }
          const acc* copies = scratch.copies;
          add_group_products(scratch.sums, plan, row, copies, plan.out_width, 0, first, last);
        }
        length += products;
        if (length + products > kRunLength) flush(), length = 0;
      }
    }
    flush();
    fill(scratch.kernel, rows * columns, 0.0);
    for (int64_t v = 0; v < vectors; ++v) {
      for (int64_t l = 0; l < lanes<acc>; ++l) {
        if (blocks.source[v * lanes<acc> + l] == kNoTap) continue;
        const int64_t column = blocks.column[v * lanes<acc> + l];
        for (int64_t r = 0; r < rows; ++r) {
          scratch.kernel[r * columns + column] += scratch.totals[(v * kKernelRows + r) * lanes<acc> + l];
        }
      }
    }
    T* weight = static_cast<T*>(p.weight) + c * p.weight_channel + ky * p.weight_height;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t kx = 0; kx < columns; ++kx) {
        from_acc(static_cast<acc>(scratch.kernel[r * columns + kx]),
                 weight + r * p.weight_height + kx * p.weight_width);
      }
    }
  }
}

template <class T, class acc>
int64_t planar_scratch_bytes(const DeconvParams& p) {
  DeconvPlan<acc> plan;
  Arrays plan_arrays(nullptr), forward(nullptr), backward_input(nullptr), backward_weight(nullptr);
  take_plan(plan, p, plan_arrays);
  forward_scratch(p, plan, forward);
  backward_input_scratch(p, plan, backward_input);
  backward_weight_scratch(p, plan, backward_weight);
  return larger(forward.bytes(), larger(backward_input.bytes(), backward_weight.bytes()));
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
