// The weight gradient of deconv_channels_last.h. Rows of work are (block of channels, kernel row).
#pragma once

#include "deconv_channels_last_sums.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Pixels whose products stay in acc before they join the total in double: bounds the rounding of many.
constexpr int64_t kPixelRun = 64;

// sums[tap][channel] += sum over pixels of input * grad, for kTaps taps of a row.
template <int kTaps, int kVectors, bool kPart, class T, class acc>
inline void add_pixel_products(acc* sums, const T* input, int64_t in_step, const T* grad, int64_t grad_step,
                               int64_t tap_step, int64_t pixels, int64_t left) {
  vec<acc> sum[kTaps][kVectors];
  for (int t = 0; t < kTaps; ++t) {
    for (int v = 0; v < kVectors; ++v) sum[t][v] = load(sums + t * weight_block<acc> + v * lanes<acc>);
  }
  for (int64_t x = 0; x < pixels; ++x, input += in_step, grad += grad_step) {
    for (int v = 0; v < kVectors; ++v) {
      const vec<acc> samples = load_channels<kPart>(input + v * lanes<acc>, left);
      for (int t = 0; t < kTaps; ++t) {
        const vec<acc> grads = load_channels<kPart>(grad + t * tap_step + v * lanes<acc>, left);
        sum[t][v] = multiply_add_vector(samples, grads, sum[t][v]);
      }
    }
  }
  for (int t = 0; t < kTaps; ++t) {
    for (int v = 0; v < kVectors; ++v) store(sums + t * weight_block<acc> + v * lanes<acc>, sum[t][v]);
  }
}

template <int kTaps, class T, class acc>
inline void add_block_products(acc* sums, const T* input, int64_t in_step, const T* grad, int64_t grad_step,
                               int64_t tap_step, int64_t pixels, int64_t channels) {
  constexpr int64_t kVector = lanes<acc>;
  if (channels == 2 * kVector) {
    add_pixel_products<kTaps, 2, false>(sums, input, in_step, grad, grad_step, tap_step, pixels, 0);
    return;
  }
  int64_t c = 0;
  if (channels >= kVector) {
    add_pixel_products<kTaps, 1, false>(sums, input, in_step, grad, grad_step, tap_step, pixels, 0);
    c = kVector;
  }
  if (c < channels) {
    add_pixel_products<kTaps, 1, true>(sums + c, input + c, in_step, grad + c, grad_step, tap_step, pixels,
                                       channels - c);
  }
}

// Samples first .. last of a row with all taps of a kernel row. Taps whose outputs are inside the image for
// all of these samples are processed together.
template <class T, class acc>
inline void add_row_of_products(acc* sums, const DeconvParams& p, const DeconvPlan<acc>& plan, const T* in,
                                const T* grad, int64_t first, int64_t last, int64_t channels) {
  const int64_t grad_step = p.width.stride * p.out.width, tap_step = p.width.dilation * p.out.width;
  for (int64_t kx = 0; kx < p.width.kernel_size;) {
    const int64_t taps = kx + 4 <= p.width.kernel_size ? 4 : 1;
    acc* at = sums + kx * weight_block<acc>;
    // Bounds for all taps together: the lower end of the first and the upper end of the last.
    const auto lowest = [&](int64_t k) {
      const int64_t o = p.width.target(0, k);
      return clamp(o < 0 ? ceil_div(-o, p.width.stride) : 0, first, last);
    };
    const auto highest = [&](int64_t k, int64_t low) {
      const int64_t room = plan.out_width - 1 - p.width.target(0, k);
      return clamp(room < 0 ? low : room / p.width.stride + 1, low, last);
    };
    const int64_t begin = lowest(kx), end = highest(kx + taps - 1, begin);
    const T* input = in + begin * p.in.width;
    const T* grads = grad + p.width.target(begin, kx) * p.out.width;
    if (taps == 1) {
      add_block_products<1>(at, input, p.in.width, grads, grad_step, tap_step, end - begin, channels);
    } else if (begin < end) {
      add_block_products<4>(at, input, p.in.width, grads, grad_step, tap_step, end - begin, channels);
    }
    for (int64_t t = 0; taps > 1 && t < taps; ++t) {
      const int64_t low = lowest(kx + t), high = highest(kx + t, low);
      const auto rest = [&](int64_t from, int64_t to) {
        if (from >= to) return;
        add_block_products<1>(at + t * weight_block<acc>, in + from * p.in.width, p.in.width,
                              grad + p.width.target(from, kx + t) * p.out.width, grad_step, tap_step,
                              to - from, channels);
      };
      rest(low, smaller(high, begin));
      rest(larger(low, end), high);
    }
    kx += taps;
  }
}

template <class T, class acc>
inline void backward_weight_channels_last(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  Arrays arrays(memory);
  const ChannelsLastScratch<T, acc> scratch = channels_last_scratch<T, acc>(p, arrays);
  const int64_t columns = p.width.kernel_size, sums = columns * weight_block<acc>;
  const int64_t last_position_x = p.width.end();
  for (int64_t work = begin; work < end; ++work) {
    const int64_t c0 = work / p.height.kernel_size * weight_block<acc>, ky = work % p.height.kernel_size;
    const int64_t channels = smaller(weight_block<acc>, p.channels - c0);
    fill(scratch.sums, sums, acc(0));
    fill(scratch.totals, sums, 0.0);
    int64_t length = 0;
    const auto add = [&](int64_t pixels, auto products) {
      if (length + pixels > kPixelRun) {
        for (int64_t i = 0; i < sums; ++i) scratch.totals[i] += static_cast<double>(scratch.sums[i]);
        fill(scratch.sums, sums, acc(0));
        length = 0;
      }
      products();
      length += pixels;
    };
    for (int64_t n = 0; n < p.batch; ++n) {
      for (int64_t i = p.height.begin(); i < p.height.end(); ++i) {
        const int64_t oy = p.height.target(i, ky);
        if (oy < 0 || oy >= plan.out_height) continue;
        int64_t iy;
        p.height.sample(i, &iy);
        const T* in = static_cast<const T*>(p.input) + n * p.in.batch + iy * p.in.height + c0;
        const T* grad = static_cast<const T*>(p.output) + n * p.out.batch + oy * p.out.height + c0;
        for (int64_t x = 0; x < plan.in_width; x += kPixelRun) {
          const int64_t to = smaller(x + kPixelRun, plan.in_width);
          add(to - x, [&] { add_row_of_products(scratch.sums, p, plan, in, grad, x, to, channels); });
        }
        for (int64_t x = p.width.begin(); x < last_position_x; ++x) {  // the continued edges, if any
          if (x == 0) x = plan.in_width;
          if (x >= last_position_x) break;
          int64_t ix;
          p.width.sample(x, &ix);
          add(1, [&] {
            for (int64_t kx = 0; kx < columns; ++kx) {
              const int64_t ox = p.width.target(x, kx);
              if (ox < 0 || ox >= plan.out_width) continue;
              add_block_products<1>(scratch.sums + kx * weight_block<acc>, in + ix * p.in.width, 0,
                                    grad + ox * p.out.width, 0, 0, 1, channels);
            }
          });
        }
      }
    }
    for (int64_t i = 0; i < sums; ++i) scratch.totals[i] += static_cast<double>(scratch.sums[i]);
    for (int64_t kx = 0; kx < columns; ++kx) {
      T* weight =
          static_cast<T*>(p.weight) + c0 * p.weight_channel + ky * p.weight_height + kx * p.weight_width;
      for (int64_t c = 0; c < channels; ++c) {
        from_acc(static_cast<acc>(scratch.totals[kx * weight_block<acc> + c]), weight + c * p.weight_channel);
      }
    }
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
