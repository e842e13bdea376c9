// The weight gradient of deconv_planar.h. Rows of work are (c, group of kernel rows).
#pragma once

#include "deconv_planar_sources.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

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
      if (blocks.full && b >= blocks.inner_begin && b < blocks.inner_end) {
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

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
