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

// kPixels neighbouring pixels and a vector of channels, all of whose taps exist, kTaps adjacent ones in a
// row: a pixel of the gradient is loaded, and converted, once for all of them. `rows` and `weight` begin at
// the first pixel's first tap and at the channel.
template <int kPixels, int kStride, int kTaps, bool kPart, class T, class acc>
inline void sum_neighbouring_pixels(const RowTap<T>* rows, int64_t count, int64_t offset, int64_t grad_step,
                                    const acc* weight, int64_t channels, T* in, int64_t in_step,
                                    int64_t left) {
  constexpr int kSamples = (kPixels - 1) * kStride + kTaps;
  vec<acc> sums[kPixels] = {};
  for (int64_t j = 0; j < count; ++j) {
    const T* at = rows[j].row + offset;
    vec<acc> weights[kTaps], samples[kSamples];
    for (int k = 0; k < kTaps; ++k) weights[k] = load(weight + (rows[j].k * kTaps + k) * channels);
    for (int u = 0; u < kSamples; ++u) samples[u] = load_channels<kPart>(at + u * grad_step, left);
    for (int k = 0; k < kTaps; ++k) {
      for (int i = 0; i < kPixels; ++i) {
        sums[i] = multiply_add_vector(weights[k], samples[i * kStride + k], sums[i]);
      }
    }
  }
  for (int i = 0; i < kPixels; ++i) {
    if constexpr (kPart) {
      store_part(in + i * in_step, sums[i], left);
    } else {
      store(in + i * in_step, sums[i]);
    }
  }
}

// All channels of kPixels pixels of the most usual kernel, from pixel q on.
template <int kPixels, class T, class acc>
inline void sum_doubled_pixels(const DeconvParams& p, const DeconvPlan<acc>& plan, const RowTap<T>* rows,
                               int64_t count, int64_t q, T* in) {
  const int64_t offset = p.width.target(q, 0) * p.out.width;
  const auto sum = [&](auto part, int64_t c) {
    sum_neighbouring_pixels<kPixels, 2, 4, decltype(part)::value>(
        rows, count, offset + c, p.out.width, plan.weight + c, p.channels, in + q * p.in.width + c,
        p.in.width, p.channels - c);
  };
  int64_t c = 0;
  for (; c + lanes<acc> <= p.channels; c += lanes<acc>) sum(Constant<false>{}, c);
  if (c < p.channels) sum(Constant<true>{}, c);
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
  // It saves conversions; without any to save, processing a single vector of channels at a time costs more.
  const bool doubles =
      sizeof(T) < sizeof(acc) && p.width.stride == 2 && p.width.kernel_size == 4 && p.width.dilation == 1;
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
      for (int64_t q = first; q < last; q += kPixelGroup) {
        for (int64_t r = 0; r < ahead; ++r) {
          fetch_ahead<0>(next + r * p.out.height + q * step, kPixelGroup * step);
        }
        fetch_ahead<1>(in + (q + 2 * kPixelGroup) * p.in.width, kPixelGroup * p.in.width);
        if (doubles && q + kPixelGroup <= last) {
          sum_doubled_pixels<kPixelGroup>(p, plan, scratch.rows, rows, q, in);
          continue;
        }
        sum_taps(scratch.taps, count, step, q, smaller(q + kPixelGroup, last), p.channels, plan.bias, in,
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
