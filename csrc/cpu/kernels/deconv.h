// Depthwise transposed convolution, forward and both gradients, and the bias gradient.
//
// Planar images. The outputs of one row fall in `stride` phases, output f + q * stride being the q-th of
// phase f. Within a phase all outputs take the same taps, from consecutive sources: phase[q] += weight *
// source[q + shift], a contiguous multiply-add. Forward sums the phases side by side and interleaves them
// when it stores the row; backward_input deals a row of grad_output out into its phases and runs the same
// multiply-adds the other way round; backward_weight takes dot products of the same two rows. A replicated
// border is a source row extended by its edge samples before, and a gradient row folded onto its edge samples
// after: the taps know nothing of it.
//
// Channels-last images: the same taps pixel by pixel, with vectors over the channels.
//
// Only taps that exist are multiplied, so that an infinity spreads exactly as far as the kernel reaches. Each
// thread owns whole rows of what is written (backward_weight: whole kernel taps), and every sum has a fixed
// order: the same bits for any number of threads.
#pragma once

#include "simd.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Tap `k` of the width axis: it brings source[q + shift] to the q-th output of its phase, begin <= q < end.
// Sources are counted from width.begin(), phases lie one after the other in a row of all outputs.
struct WidthTap {
  int64_t k, phase_offset, shift, begin, end;
};

// A row of multiply-adds: sum[q] += weight * source[q], begin <= q < end.
template <class acc>
struct Term {
  const acc* source;
  acc weight;
  int64_t begin, end;
};

// What all rows share. Weights are in acc: channel after channel for planar images, tap after tap for
// channels-last.
template <class acc>
struct DeconvPlan {
  WidthTap* taps;
  int64_t* phase_tap;  // taps of phase f: phase_tap[f] .. phase_tap[f + 1]
  acc* weight;
  acc* bias;
  int64_t in_height, in_width, out_height, out_width, phases;
  int64_t begin, extent;  // the extended source row: its first position, its length
};

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Phases without an output are not counted.
inline int64_t phase_count(const ConvTransposeAxis& axis) { return least(axis.stride, axis.out_size()); }
inline int64_t phase_length(int64_t out_size, int64_t stride, int64_t phase) {
  return (out_size - phase + stride - 1) / stride;
}
// Where phase f starts when the phases lie one after the other.
inline int64_t phase_start(int64_t out_size, int64_t stride, int64_t phase) {
  const int64_t shortest = out_size / stride, longer = out_size % stride;
  return phase * shortest + least(phase, longer);
}

template <class acc>
int64_t deconv_plan_bytes(const DeconvParams& p) {
  return static_cast<int64_t>(sizeof(DeconvPlan<acc>) + p.width.kernel_size * sizeof(WidthTap) +
                              (phase_count(p.width) + 1) * sizeof(int64_t) +
                              p.channels * (p.height.kernel_size * p.width.kernel_size + 1) * sizeof(acc));
}

// The taps of each phase, in ascending order of k (a counting sort by phase).
template <class acc>
inline void plan_taps(DeconvPlan<acc>& plan, const ConvTransposeAxis& axis) {
  const auto phase_of = [&](int64_t k) {
    const int64_t remainder = (k * axis.dilation - axis.padding) % axis.stride;
    return remainder < 0 ? remainder + axis.stride : remainder;
  };
  // phase_tap[f] counts the taps of phase f, then holds the end of its range, then, filled from behind, the
  // beginning.
  for (int64_t f = 0; f <= plan.phases; ++f) plan.phase_tap[f] = 0;
  for (int64_t k = 0; k < axis.kernel_size; ++k) {
    if (phase_of(k) < plan.phases) ++plan.phase_tap[phase_of(k)];
  }
  for (int64_t f = 0; f < plan.phases; ++f) plan.phase_tap[f + 1] += plan.phase_tap[f];
  for (int64_t k = axis.kernel_size - 1; k >= 0; --k) {
    const int64_t f = phase_of(k);
    if (f >= plan.phases) continue;
    int64_t i;
    axis.source(f, k, &i);
    WidthTap& tap = plan.taps[--plan.phase_tap[f]];
    tap.k = k;
    tap.phase_offset = phase_start(plan.out_width, axis.stride, f);
    tap.shift = i - plan.begin;
    tap.begin = most(0, -tap.shift);
    tap.end = most(tap.begin, least(phase_length(plan.out_width, axis.stride, f), plan.extent - tap.shift));
  }
}

// backward_weight writes p.weight instead of reading it.
template <class T, class acc = acc_of<T>>
void deconv_build_plan(const DeconvParams& p, bool reads_weight, void* memory) {
  DeconvPlan<acc>& plan = *static_cast<DeconvPlan<acc>*>(memory);
  const int64_t taps = p.height.kernel_size * p.width.kernel_size;
  plan.in_height = p.height.in_size;
  plan.in_width = p.width.in_size;
  plan.out_height = p.height.out_size();
  plan.out_width = p.width.out_size();
  plan.phases = phase_count(p.width);
  plan.begin = p.width.begin();
  plan.extent = p.width.end() - plan.begin;
  plan.taps = reinterpret_cast<WidthTap*>(&plan + 1);
  plan.phase_tap = reinterpret_cast<int64_t*>(plan.taps + p.width.kernel_size);
  plan.weight = reinterpret_cast<acc*>(plan.phase_tap + plan.phases + 1);
  plan.bias = plan.weight + p.channels * taps;
  plan_taps(plan, p.width);
  for (int64_t c = 0; c < p.channels; ++c) {
    plan.bias[c] = p.bias ? to_acc(static_cast<const T*>(p.bias)[c * p.bias_stride]) : acc(0);
  }
  if (!reads_weight) return;
  for (int64_t c = 0; c < p.channels; ++c) {
    for (int64_t k = 0; k < taps; ++k) {
      const int64_t ky = k / p.width.kernel_size, kx = k % p.width.kernel_size;
      plan.weight[p.channels_last ? k * p.channels + c : c * taps + k] = to_acc(
          static_cast<const T*>(p.weight)[c * p.weight_channel + ky * p.weight_height + kx * p.weight_width]);
    }
  }
}

// Memory of one thread: terms and totals of one row of taps, an extended source row, two rows of outputs; or
// channels-last, the sums of one pixel.
template <class acc>
int64_t deconv_scratch_bytes(const DeconvParams& p) {
  if (p.channels_last) return p.channels * static_cast<int64_t>(sizeof(acc));
  const int64_t extent = p.width.end() - p.width.begin();
  return static_cast<int64_t>(p.width.kernel_size * (sizeof(Term<acc>) + sizeof(double)) +
                              (extent + 2 * p.width.out_size()) * sizeof(acc));
}

template <class acc>
struct DeconvScratch {
  Term<acc>* terms;
  double* totals;
  acc *source, *phases, *row;
};

template <class acc>
inline DeconvScratch<acc> deconv_scratch(const DeconvParams& p, const DeconvPlan<acc>& plan, void* memory) {
  DeconvScratch<acc> scratch;
  scratch.terms = static_cast<Term<acc>*>(memory);
  scratch.totals = reinterpret_cast<double*>(scratch.terms + p.width.kernel_size);
  scratch.source = reinterpret_cast<acc*>(scratch.totals + p.width.kernel_size);
  scratch.phases = scratch.source + plan.extent;
  scratch.row = scratch.phases + plan.out_width;
  return scratch;
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
  }
  for (; i < count; ++i) row[i] = to_acc(image[i * stride]);
}

template <class T, class acc>
inline void write_row(T* image, int64_t stride, const acc* row, int64_t count) {
  int64_t i = 0;
  if (stride == 1) {
    for (; i + lanes<acc> <= count; i += lanes<acc>) store(image + i, load(row + i));
  }
  for (; i < count; ++i) from_acc(row[i], image + i * stride);
}

// A row of acc as it lies in the image where it can be read there, otherwise a copy in `row`.
template <class T, class acc>
inline const acc* row_in_place_or_read(acc* row, const T* image, int64_t stride, int64_t count) {
  if constexpr (sizeof(T) == sizeof(acc)) {
    if (stride == 1) return image;
  }
  read_row(row, image, stride, count);
  return row;
}

// The source row from plan.begin, its ends repeated as far as the plan reaches.
template <class T, class acc>
inline const acc* source_row(acc* row, const T* image, int64_t stride, const DeconvPlan<acc>& plan) {
  if (plan.extent == plan.in_width) return row_in_place_or_read(row, image, stride, plan.in_width);
  acc* samples = row - plan.begin;
  read_row(samples, image, stride, plan.in_width);
  fill(row, -plan.begin, samples[0]);
  fill(samples + plan.in_width, plan.extent + plan.begin - plan.in_width, samples[plan.in_width - 1]);
  return row;
}

template <int64_t kPhases, class acc>
inline void interleave_fixed(acc* __restrict row, const acc* __restrict phases, int64_t length) {
  for (int64_t q = 0; q < length; ++q) {
    for (int64_t f = 0; f < kPhases; ++f) row[q * kPhases + f] = phases[f * length + q];
  }
}
template <int64_t kPhases, class acc>
inline void deinterleave_fixed(acc* __restrict phases, const acc* __restrict row, int64_t length) {
  for (int64_t q = 0; q < length; ++q) {
    for (int64_t f = 0; f < kPhases; ++f) phases[f * length + q] = row[q * kPhases + f];
  }
}

// row[f + q * stride] = the q-th of phase f
template <class acc>
inline void interleave(acc* row, const acc* phases, int64_t out_size, int64_t stride) {
  if (out_size % stride == 0 && stride == 2) return interleave_fixed<2>(row, phases, out_size / 2);
  if (out_size % stride == 0 && stride == 4) return interleave_fixed<4>(row, phases, out_size / 4);
  for (int64_t f = 0; f < least(stride, out_size); ++f) {
    for (int64_t o = f; o < out_size; o += stride) row[o] = *phases++;
  }
}
template <class acc>
inline void deinterleave(acc* phases, const acc* row, int64_t out_size, int64_t stride) {
  if (out_size % stride == 0 && stride == 2) return deinterleave_fixed<2>(phases, row, out_size / 2);
  if (out_size % stride == 0 && stride == 4) return deinterleave_fixed<4>(phases, row, out_size / 4);
  for (int64_t f = 0; f < least(stride, out_size); ++f) {
    for (int64_t o = f; o < out_size; o += stride) *phases++ = row[o];
  }
}

// A row of the output image, dealt out into its phases.
template <class T, class acc>
inline const acc* phase_row(const DeconvScratch<acc>& scratch, const T* image, const DeconvParams& p,
                            const DeconvPlan<acc>& plan) {
  const acc* row = row_in_place_or_read(scratch.row, image, p.out.width, plan.out_width);
  if (p.width.stride == 1) return row;
  deinterleave(scratch.phases, row, plan.out_width, p.width.stride);
  return scratch.phases;
}

template <class acc>
inline void add_term(acc* sum, const Term<acc>& term, int64_t begin, int64_t end) {
  int64_t q = begin;
  const vec<acc> weight = splat(term.weight);
  for (; q + lanes<acc> <= end; q += lanes<acc>) {
    store(sum + q, multiply_add_vector(weight, load(term.source + q), load(sum + q)));
  }
  for (; q < end; ++q) sum[q] = multiply_add(term.weight, term.source[q], sum[q]);
}

// sum[q] += all terms. Where all of them reach, the sums of a block stay in registers over the terms; beside
// it, and where there is no such part, the terms go one after the other. The order at each q is that of the
// terms.
template <class acc>
inline void add_terms(acc* sum, const Term<acc>* terms, int64_t count) {
  if (count == 0) return;
  int64_t begin = terms[0].begin, end = terms[0].end;
  for (int64_t t = 1; t < count; ++t) {
    begin = most(begin, terms[t].begin);
    end = least(end, terms[t].end);
  }
  constexpr int64_t step = 2 * lanes<acc>;
  if (count == 1 || end - begin < step) {
    for (int64_t t = 0; t < count; ++t) add_term(sum, terms[t], terms[t].begin, terms[t].end);
    return;
  }
  end = begin + (end - begin) / step * step;
  for (int64_t q = begin; q < end; q += step) {
    vec<acc> sum0 = load(sum + q), sum1 = load(sum + q + lanes<acc>);
    for (int64_t t = 0; t < count; ++t) {
      const vec<acc> weight = splat(terms[t].weight);
      sum0 = multiply_add_vector(weight, load(terms[t].source + q), sum0);
      sum1 = multiply_add_vector(weight, load(terms[t].source + q + lanes<acc>), sum1);
    }
    store(sum + q, sum0);
    store(sum + q + lanes<acc>, sum1);
  }
  for (int64_t t = 0; t < count; ++t) {
    add_term(sum, terms[t], terms[t].begin, begin);
    add_term(sum, terms[t], end, terms[t].end);
  }
}

// ---- forward, planar: rows are (n, c, output row) ---------------------------------------------------------

// phases += one source row through one row of the kernel.
template <class acc>
inline void add_source_row(const DeconvScratch<acc>& scratch, const acc* source, const acc* weight,
                           const DeconvPlan<acc>& plan) {
  for (int64_t f = 0; f < plan.phases; ++f) {
    const int64_t first = plan.phase_tap[f], count = plan.phase_tap[f + 1] - first;
    if (count == 0) continue;
    for (int64_t t = 0; t < count; ++t) {
      const WidthTap& tap = plan.taps[first + t];
      scratch.terms[t] = {source + tap.shift, weight[tap.k], tap.begin, tap.end};
    }
    add_terms(scratch.phases + plan.taps[first].phase_offset, scratch.terms, count);
  }
}

template <class T, class acc>
inline void forward_planar(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  const DeconvScratch<acc> scratch = deconv_scratch(p, plan, memory);
  for (int64_t work = begin; work < end; ++work) {
    const int64_t oy = work % plan.out_height, plane = work / plan.out_height;
    const int64_t n = plane / p.channels, c = plane % p.channels;
    const T* in = static_cast<const T*>(p.input) + n * p.in.batch + c * p.in.channel;
    T* out = static_cast<T*>(p.output) + n * p.out.batch + c * p.out.channel + oy * p.out.height;
    fill(scratch.phases, plan.out_width, plan.bias[c]);
    for (int64_t ky = 0; ky < p.height.kernel_size; ++ky) {
      int64_t i, iy;
      if (!p.height.source(oy, ky, &i) || !p.height.sample(i, &iy)) continue;
      const acc* source = source_row(scratch.source, in + iy * p.in.height, p.in.width, plan);
      add_source_row(scratch, source, plan.weight + (c * p.height.kernel_size + ky) * p.width.kernel_size,
                     plan);
    }
    if (p.width.stride == 1) {
      write_row(out, p.out.width, scratch.phases, plan.out_width);
    } else {
      interleave(scratch.row, scratch.phases, plan.out_width, p.width.stride);
      write_row(out, p.out.width, scratch.row, plan.out_width);
    }
  }
}

// ---- backward_input, planar: rows are (n, c, input row) ---------------------------------------------------

// The positions that stand for sample row iy: itself, and at an edge all that continue it.
inline int64_t first_position(const ConvTransposeAxis& axis, int64_t i) { return i == 0 ? axis.begin() : i; }
inline int64_t last_position(const ConvTransposeAxis& axis, int64_t i) {
  return i == axis.in_size - 1 ? axis.end() - 1 : i;
}

// source += one row of the output image (in phases) through one row of the kernel, the other way round.
template <class acc>
inline void add_phase_row(const DeconvScratch<acc>& scratch, const acc* phases, const acc* weight,
                          const DeconvPlan<acc>& plan) {
  const int64_t count = plan.phase_tap[plan.phases];
  for (int64_t t = 0; t < count; ++t) {
    const WidthTap& tap = plan.taps[t];
    scratch.terms[t] = {phases + (tap.phase_offset - tap.shift), weight[tap.k], tap.begin + tap.shift,
                        tap.end + tap.shift};
  }
  add_terms(scratch.source, scratch.terms, count);
}

template <class T, class acc>
inline void backward_input_planar(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  const DeconvScratch<acc> scratch = deconv_scratch(p, plan, memory);
  acc* samples = scratch.source - plan.begin;
  for (int64_t work = begin; work < end; ++work) {
    const int64_t iy = work % plan.in_height, plane = work / plan.in_height;
    const int64_t n = plane / p.channels, c = plane % p.channels;
    const T* out = static_cast<const T*>(p.output) + n * p.out.batch + c * p.out.channel;
    T* in = static_cast<T*>(p.input) + n * p.in.batch + c * p.in.channel + iy * p.in.height;
    fill(scratch.source, plan.extent, acc(0));
    for (int64_t i = first_position(p.height, iy); i <= last_position(p.height, iy); ++i) {
      for (int64_t ky = 0; ky < p.height.kernel_size; ++ky) {
        const int64_t oy = p.height.target(i, ky);
        if (oy < 0 || oy >= plan.out_height) continue;
        const acc* phases = phase_row(scratch, out + oy * p.out.height, p, plan);
        add_phase_row(scratch, phases, plan.weight + (c * p.height.kernel_size + ky) * p.width.kernel_size,
                      plan);
      }
    }
    for (int64_t x = plan.begin; x < 0; ++x) samples[0] += samples[x];
    for (int64_t x = plan.in_width; x < plan.extent + plan.begin; ++x)
      samples[plan.in_width - 1] += samples[x];
    write_row(in, p.in.width, samples, plan.in_width);
  }
}

// ---- backward_weight, planar: rows are (c, kernel row) ----------------------------------------------------

template <class acc>
inline acc sum_lanes(vec<acc> v) {
  acc sum = v[0];
  for (int64_t i = 1; i < lanes<acc>; ++i) sum += v[i];
  return sum;
}

template <class acc>
inline acc dot(const acc* a, const acc* b, int64_t count) {
  int64_t i = 0;
  vec<acc> sum0{}, sum1{};
  for (; i + 2 * lanes<acc> <= count; i += 2 * lanes<acc>) {
    sum0 = multiply_add_vector(load(a + i), load(b + i), sum0);
    sum1 = multiply_add_vector(load(a + i + lanes<acc>), load(b + i + lanes<acc>), sum1);
  }
  acc sum = sum_lanes<acc>(sum0 + sum1);
  for (; i < count; ++i) sum = multiply_add(a[i], b[i], sum);
  return sum;
}

template <class T, class acc>
inline void backward_weight_planar(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  const DeconvScratch<acc> scratch = deconv_scratch(p, plan, memory);
  for (int64_t work = begin; work < end; ++work) {
    const int64_t c = work / p.height.kernel_size, ky = work % p.height.kernel_size;
    fill(scratch.totals, p.width.kernel_size, 0.0);
    for (int64_t n = 0; n < p.batch; ++n) {
      const T* in = static_cast<const T*>(p.input) + n * p.in.batch + c * p.in.channel;
      const T* out = static_cast<const T*>(p.output) + n * p.out.batch + c * p.out.channel;
      for (int64_t i = p.height.begin(); i < p.height.end(); ++i) {
        const int64_t oy = p.height.target(i, ky);
        if (oy < 0 || oy >= plan.out_height) continue;
        int64_t iy;
        p.height.sample(i, &iy);
        const acc* source = source_row(scratch.source, in + iy * p.in.height, p.in.width, plan);
        const acc* phases = phase_row(scratch, out + oy * p.out.height, p, plan);
        for (int64_t t = 0; t < plan.phase_tap[plan.phases]; ++t) {
          const WidthTap& tap = plan.taps[t];
          scratch.totals[tap.k] += dot(source + (tap.shift + tap.begin),
                                       phases + (tap.phase_offset + tap.begin), tap.end - tap.begin);
        }
      }
    }
    T* weight = static_cast<T*>(p.weight) + c * p.weight_channel + ky * p.weight_height;
    for (int64_t kx = 0; kx < p.width.kernel_size; ++kx) {
      from_acc(static_cast<acc>(scratch.totals[kx]), weight + kx * p.weight_width);
    }
  }
}

// ---- channels-last: vectors over the channels -------------------------------------------------------------

// The sums of one pixel: terms are gathered and added a batch at a time, so that the sums stay in registers.
template <class T, class acc>
class PixelSum {
 public:
  PixelSum(acc* sum, int64_t channels) : sum_(sum), channels_(channels) {}

  void start(const acc* bias) {
    count_ = 0;
    for (int64_t c = 0; c < channels_; ++c) sum_[c] = bias[c];
  }
  void add(const T* pixel, const acc* weight) {
    if (count_ == kBatch) flush();
    pixel_[count_] = pixel;
    weight_[count_++] = weight;
  }
  void finish(T* pixel) {
    flush();
    write_row(pixel, 1, sum_, channels_);
  }

 private:
  void flush() {
    constexpr int64_t step = 2 * lanes<acc>;
    int64_t c = 0;
    for (; c + step <= channels_; c += step) {
      vec<acc> sum0 = load(sum_ + c), sum1 = load(sum_ + c + lanes<acc>);
      for (int t = 0; t < count_; ++t) {
        sum0 = multiply_add_vector(load(weight_[t] + c), load(pixel_[t] + c), sum0);
        sum1 = multiply_add_vector(load(weight_[t] + c + lanes<acc>), load(pixel_[t] + c + lanes<acc>), sum1);
      }
      store(sum_ + c, sum0);
      store(sum_ + c + lanes<acc>, sum1);
    }
    for (; c < channels_; ++c) {
      acc sum = sum_[c];
      for (int t = 0; t < count_; ++t) sum = multiply_add(weight_[t][c], to_acc(pixel_[t][c]), sum);
      sum_[c] = sum;
    }
    count_ = 0;
  }

  static constexpr int kBatch = 64;
  acc* sum_;
  int64_t channels_;
  int count_ = 0;
  const T* pixel_[kBatch];
  const acc* weight_[kBatch];
};

// Rows are (n, output row).
template <class T, class acc>
inline void forward_channels_last(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  PixelSum<T, acc> sum(static_cast<acc*>(memory), p.channels);
  for (int64_t work = begin; work < end; ++work) {
    const int64_t n = work / plan.out_height, oy = work % plan.out_height;
    const T* in = static_cast<const T*>(p.input) + n * p.in.batch;
    T* out = static_cast<T*>(p.output) + n * p.out.batch + oy * p.out.height;
    for (int64_t ox = 0; ox < plan.out_width; ++ox) {
      const int64_t phase = ox % p.width.stride, q = ox / p.width.stride;
      sum.start(plan.bias);
      for (int64_t ky = 0; ky < p.height.kernel_size; ++ky) {
        int64_t i, iy;
        if (!p.height.source(oy, ky, &i) || !p.height.sample(i, &iy)) continue;
        for (int64_t t = plan.phase_tap[phase]; t < plan.phase_tap[phase + 1]; ++t) {
          const WidthTap& tap = plan.taps[t];
          int64_t ix;
          if (!p.width.sample(q + tap.shift + plan.begin, &ix)) continue;
          sum.add(in + iy * p.in.height + ix * p.in.width,
                  plan.weight + (ky * p.width.kernel_size + tap.k) * p.channels);
        }
      }
      sum.finish(out + ox * p.out.width);
    }
  }
}

// Rows are (n, input row).
template <class T, class acc>
inline void backward_input_channels_last(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  PixelSum<T, acc> sum(static_cast<acc*>(memory), p.channels);
  for (int64_t work = begin; work < end; ++work) {
    const int64_t n = work / plan.in_height, iy = work % plan.in_height;
    const T* out = static_cast<const T*>(p.output) + n * p.out.batch;
    T* in = static_cast<T*>(p.input) + n * p.in.batch + iy * p.in.height;
    for (int64_t ix = 0; ix < plan.in_width; ++ix) {
      sum.start(plan.bias);
      for (int64_t i = first_position(p.height, iy); i <= last_position(p.height, iy); ++i) {
        for (int64_t ky = 0; ky < p.height.kernel_size; ++ky) {
          const int64_t oy = p.height.target(i, ky);
          if (oy < 0 || oy >= plan.out_height) continue;
          for (int64_t j = first_position(p.width, ix); j <= last_position(p.width, ix); ++j) {
            for (int64_t kx = 0; kx < p.width.kernel_size; ++kx) {
              const int64_t ox = p.width.target(j, kx);
              if (ox < 0 || ox >= plan.out_width) continue;
              sum.add(out + oy * p.out.height + ox * p.out.width,
                      plan.weight + (ky * p.width.kernel_size + kx) * p.channels);
            }
          }
        }
      }
      sum.finish(in + ix * p.in.width);
    }
  }
}

// Channels that one piece of work takes when it sums over everything else.
template <class acc>
constexpr int64_t channel_block = 4 * lanes<acc>;
template <class acc>
inline int64_t channel_blocks(int64_t channels) {
  return (channels + channel_block<acc> - 1) / channel_block<acc>;
}

// Pixels of a row whose sum stays in acc before it joins the total in double: bounds the rounding of wide
// rows.
constexpr int64_t kPixelRun = 64;

// totals[c] += sum over x in begin..end of a[c] * b[c], where pixels(x) gives a and b, null where there is no
// such pair.
template <class acc, class Pixels>
inline void add_pixel_products(double* totals, int64_t channels, int64_t begin, int64_t end, Pixels pixels) {
  acc sum[channel_block<acc>] = {};
  if (channels == channel_block<acc>) {
    vec<acc> sums[4] = {};
    for (int64_t x = begin; x < end; ++x) {
      const auto at = pixels(x);
      if (at.a == nullptr) continue;
      for (int64_t v = 0; v < 4; ++v) {
        sums[v] = multiply_add_vector(load(at.a + v * lanes<acc>), load(at.b + v * lanes<acc>), sums[v]);
      }
    }
    for (int64_t v = 0; v < 4; ++v) store(sum + v * lanes<acc>, sums[v]);
  } else {
    for (int64_t x = begin; x < end; ++x) {
      const auto at = pixels(x);
      if (at.a == nullptr) continue;
      for (int64_t c = 0; c < channels; ++c) {
        sum[c] = multiply_add(to_acc(at.a[c]), to_acc(at.b[c]), sum[c]);
      }
    }
  }
  for (int64_t c = 0; c < channels; ++c) totals[c] += sum[c];
}

// Rows are (block of channels, kernel tap).
template <class T, class acc>
inline void backward_weight_channels_last(const DeconvParams& p, int64_t begin, int64_t end) {
  struct Pair {
    const T *a, *b;
  };
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  const int64_t taps = p.height.kernel_size * p.width.kernel_size, last = plan.begin + plan.extent;
  for (int64_t work = begin; work < end; ++work) {
    const int64_t c0 = work / taps * channel_block<acc>, ky = work % taps / p.width.kernel_size;
    const int64_t kx = work % p.width.kernel_size;
    const int64_t channels = least(channel_block<acc>, p.channels - c0);
    double totals[channel_block<acc>] = {};
    for (int64_t n = 0; n < p.batch; ++n) {
      for (int64_t i = p.height.begin(); i < p.height.end(); ++i) {
        const int64_t oy = p.height.target(i, ky);
        if (oy < 0 || oy >= plan.out_height) continue;
        int64_t iy;
        p.height.sample(i, &iy);
        const T* in = static_cast<const T*>(p.input) + n * p.in.batch + iy * p.in.height + c0;
        const T* out = static_cast<const T*>(p.output) + n * p.out.batch + oy * p.out.height + c0;
        const auto pixels = [&](int64_t x) -> Pair {
          const int64_t ox = p.width.target(x, kx);
          if (ox < 0 || ox >= plan.out_width) return {nullptr, nullptr};
          int64_t ix;
          p.width.sample(x, &ix);
          return {in + ix * p.in.width, out + ox * p.out.width};
        };
        for (int64_t x = plan.begin; x < last; x += kPixelRun) {
          add_pixel_products<acc>(totals, channels, x, least(x + kPixelRun, last), pixels);
        }
      }
    }
    T* weight = static_cast<T*>(p.weight) + ky * p.weight_height + kx * p.weight_width;
    for (int64_t c = 0; c < channels; ++c) {
      from_acc(static_cast<acc>(totals[c]), weight + (c0 + c) * p.weight_channel);
    }
  }
}

// ---- entries ----------------------------------------------------------------------------------------------

template <class T, class acc = acc_of<T>>
void deconv_forward(const DeconvParams& p, int64_t begin, int64_t end, void* scratch) {
  if (p.channels_last) {
    forward_channels_last<T, acc>(p, begin, end, scratch);
  } else {
    forward_planar<T, acc>(p, begin, end, scratch);
  }
}

template <class T, class acc = acc_of<T>>
void deconv_backward_input(const DeconvParams& p, int64_t begin, int64_t end, void* scratch) {
  if (p.channels_last) {
    backward_input_channels_last<T, acc>(p, begin, end, scratch);
  } else {
    backward_input_planar<T, acc>(p, begin, end, scratch);
  }
}

template <class acc>
int64_t deconv_backward_weight_rows(const DeconvParams& p) {
  if (!p.channels_last) return p.channels * p.height.kernel_size;
  return channel_blocks<acc>(p.channels) * p.height.kernel_size * p.width.kernel_size;
}

template <class T, class acc = acc_of<T>>
void deconv_backward_weight(const DeconvParams& p, int64_t begin, int64_t end, void* scratch) {
  if (p.channels_last) {
    backward_weight_channels_last<T, acc>(p, begin, end);
  } else {
    backward_weight_planar<T, acc>(p, begin, end, scratch);
  }
}

template <class acc>
int64_t channel_sum_rows(const ChannelSumParams& p) {
  return p.channels_last ? channel_blocks<acc>(p.channels) : p.channels;
}

template <class T, class acc>
inline acc sum_row(const T* row, int64_t stride, int64_t count) {
  int64_t i = 0;
  vec<acc> sum0{}, sum1{};
  if (stride == 1) {
    for (; i + 2 * lanes<acc> <= count; i += 2 * lanes<acc>) {
      sum0 += load(row + i);
      sum1 += load(row + i + lanes<acc>);
    }
  } else {  // as many sums side by side: the fewer additions one after the other, the smaller the error
    for (; i + lanes<acc> <= count; i += lanes<acc>) {
      for (int64_t j = 0; j < lanes<acc>; ++j) sum0[j] += to_acc(row[(i + j) * stride]);
    }
  }
  acc sum = sum_lanes<acc>(sum0 + sum1);
  for (; i < count; ++i) sum += to_acc(row[i * stride]);
  return sum;
}

// totals[c] += sum of `count` pixels.
template <class T, class acc>
inline void add_pixels(double* totals, int64_t channels, const T* pixel, int64_t stride, int64_t count) {
  acc sum[channel_block<acc>] = {};
  if (channels == channel_block<acc>) {
    vec<acc> sums[4] = {};
    for (int64_t x = 0; x < count; ++x) {
      for (int64_t v = 0; v < 4; ++v) sums[v] += load(pixel + x * stride + v * lanes<acc>);
    }
    for (int64_t v = 0; v < 4; ++v) store(sum + v * lanes<acc>, sums[v]);
  } else {
    for (int64_t x = 0; x < count; ++x) {
      for (int64_t c = 0; c < channels; ++c) sum[c] += to_acc(pixel[x * stride + c]);
    }
  }
  for (int64_t c = 0; c < channels; ++c) totals[c] += sum[c];
}

// Rows are channels, or channels-last, blocks of them. A row of the image is summed in acc, rows in double.
template <class T, class acc = acc_of<T>>
void channel_sum(const ChannelSumParams& p, int64_t begin, int64_t end) {
  for (int64_t work = begin; work < end; ++work) {
    const int64_t block = p.channels_last ? channel_block<acc> : 1;
    const int64_t c0 = work * block, channels = least(block, p.channels - c0);
    double totals[channel_block<acc>] = {};
    for (int64_t row = 0; row < p.batch * p.height; ++row) {
      const T* in = static_cast<const T*>(p.input) + row / p.height * p.in.batch +
                    row % p.height * p.in.height + c0 * p.in.channel;
      if (!p.channels_last) {
        totals[0] += sum_row<T, acc>(in, p.in.width, p.width);
        continue;
      }
      for (int64_t x = 0; x < p.width; x += kPixelRun) {
        add_pixels<T, acc>(totals, channels, in + x * p.in.width, p.in.width, least(kPixelRun, p.width - x));
      }
    }
    for (int64_t c = 0; c < channels; ++c) {
      from_acc(static_cast<acc>(totals[c]), static_cast<T*>(p.output) + c0 + c);
    }
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
