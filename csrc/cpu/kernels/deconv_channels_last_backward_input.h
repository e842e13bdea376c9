// The input gradient of deconv_channels_last.h. Rows of work are (n, input row).
#pragma once

#include "deconv_channels_last_sums.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// The rows of grad_output that position i of the height reaches.
template <class T, class acc>
inline int64_t reached_rows(const DeconvParams& p, const DeconvPlan<acc>& plan, const T* grad, int64_t i,
                            RowTap<T>* rows) {
  int64_t count = 0;
  for (int64_t ky = 0; ky < p.height.kernel_size; ++ky) {
    const int64_t oy = p.height.target(i, ky);
    if (oy >= 0 && oy < plan.out_height) rows[count++] = {grad + oy * p.out.height, ky};
  }
  return count;
}

// Any pixel: sums over all positions that stand for it, and over those of their taps that exist.
template <class T, class acc>
inline void backward_pixel(const DeconvParams& p, const DeconvPlan<acc>& plan,
                           const ChannelsLastScratch<T, acc>& scratch, const T* grad, int64_t iy, int64_t ix,
                           T* in) {
  const acc* start = plan.bias;  // zeros
  for (int64_t i = first_position(p.height, iy); i <= last_position(p.height, iy); ++i) {
    const int64_t rows = reached_rows(p, plan, grad, i, scratch.rows);
    for (int64_t x = first_position(p.width, ix); x <= last_position(p.width, ix); ++x) {
      int64_t count = 0;
      for (int64_t j = 0; j < rows; ++j) {
        for (int64_t kx = 0; kx < p.width.kernel_size; ++kx) {
          const int64_t ox = p.width.target(x, kx);
          if (ox < 0 || ox >= plan.out_width) continue;
          const acc* weight = plan.weight + (scratch.rows[j].k * p.width.kernel_size + kx) * p.channels;
          scratch.taps[count++] = {scratch.rows[j].row + ox * p.out.width, weight};
        }
      }
      sum_taps(scratch.taps, count, 0, 0, 1, p.channels, start, scratch.pixel, 0);
      start = scratch.pixel;
    }
  }
  write_row(in, 1, scratch.pixel, p.channels);
}

template <class T, class acc>
inline void backward_input_channels_last(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  Arrays arrays(memory);
  const ChannelsLastScratch<T, acc> scratch = channels_last_scratch<T, acc>(p, arrays);
  // Pixels that no position beyond the edge maps to and whose taps all exist.
  const int64_t reach = p.width.target(0, p.width.kernel_size - 1), edge = p.width.replicate ? 1 : 0;
  const int64_t inner_begin = smaller(plan.in_width, larger(edge, ceil_div(p.width.padding, p.width.stride)));
  int64_t inner_end = plan.in_width - edge;
  while (inner_end > inner_begin && (inner_end - 1) * p.width.stride + reach >= plan.out_width) --inner_end;
  inner_end = larger(inner_begin, inner_end);
  const int64_t period = tap_period(p.width);
  const bool slides = p.channels >= lanes<acc> && taps_slide(p.width);
  for (int64_t work = begin; work < end; ++work) {
    const int64_t n = work / plan.in_height, iy = work % plan.in_height;
    const T* grad = static_cast<const T*>(p.output) + n * p.out.batch;
    T* in = static_cast<T*>(p.input) + n * p.in.batch + iy * p.in.height;
    const bool alone = first_position(p.height, iy) == last_position(p.height, iy);
    const int64_t first = alone ? inner_begin : plan.in_width, last = alone ? inner_end : plan.in_width;
    if (first < last) {
      const int64_t rows = reached_rows(p, plan, grad, iy, scratch.rows);
      int64_t count = 0;
      for (int64_t j = 0; j < rows; ++j) {
        for (int64_t kx = 0; kx < p.width.kernel_size; ++kx) {
          scratch.taps[count++] = {scratch.rows[j].row + p.width.target(0, kx) * p.out.width,
                                   plan.weight + (scratch.rows[j].k * p.width.kernel_size + kx) * p.channels};
        }
      }
      const int64_t step = p.width.stride * p.out.width,
                    last_row = p.height.target(iy, p.height.kernel_size - 1);
      const int64_t ahead = clamp(plan.out_height - 1 - last_row, 0, p.height.stride);
      const T* next = grad + (last_row + 1) * p.out.height;
      const auto fetch = [&](int64_t q, int64_t pixels) {
        for (int64_t r = 0; r < ahead; ++r) {
          fetch_ahead<0>(next + r * p.out.height + q * step, pixels * step);
        }
        fetch_ahead<1>(in + (q + 2 * pixels) * p.in.width, pixels * p.in.width);
      };
      bool slid = false;
      if (slides) {
        // Every `period` taps of a row one more pixel: such taps are a line.
        int64_t lines = 0;
        for (int64_t j = 0; j < rows; ++j) {
          for (int64_t k = 0; k < smaller(period, p.width.kernel_size); ++k) {
            scratch.lines[lines++] = {
                scratch.rows[j].row + p.width.target(0, k) * p.out.width,
                plan.weight + (scratch.rows[j].k * p.width.kernel_size + k) * p.channels,
                ceil_div(p.width.kernel_size - k, period)};
          }
        }
        const int64_t pixel_bytes = p.width.stride * p.channels * static_cast<int64_t>(sizeof(T));
        slid = each_sliding_group(first, last, pixel_bytes, [&](int64_t pixels, int64_t q) {
          fetch(q, pixels);
          sum_line<false>(SlidingOutput<T>{in + q * p.in.width, p.in.width, p.channels}, pixels,
                          plan.bias,  // zeros
                          SlidingLines<T, acc>{scratch.lines, lines, step, period * p.channels, q * step});
        });
      }
      const int64_t group = count > kMostTapsOfRun ? kPixelGroup : kMostPixelsOfRun;
      for (int64_t q = slid ? last : first; q < last; q += group) {
        fetch(q, group);
        sum_taps(scratch.taps, count, step, q, smaller(q + group, last), p.channels, plan.bias, in,
                 p.in.width);
      }
    }
    for (int64_t ix = 0; ix < first; ++ix)
      backward_pixel(p, plan, scratch, grad, iy, ix, in + ix * p.in.width);
    for (int64_t ix = last; ix < plan.in_width; ++ix) {
      backward_pixel(p, plan, scratch, grad, iy, ix, in + ix * p.in.width);
    }
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
