// Depthwise transposed convolution of channels-last images, forward and both gradients.
//
// Vectors lie along the channels. The pixels of a row that have the same list of taps (forward: those of a
// phase; backward_input: all but some at the ends) are taken several at a time, so that a vector of weights
// is loaded once for all of them and the sums stay in registers over the list. Pixels at the ends, which miss
// taps or read a replicated border, get a list of their own.
#pragma once

#include "deconv_plan.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// The q-th pixel of a list reads source + q * step.
template <class T, class acc>
struct PixelTap {
  const T* source;
  const acc* weight;
};

template <bool kPart, class T>
inline vec<acc_of<T>> load_channels(const T* p, int64_t left) {
  return kPart ? load_part(p, left) : load(p);
}

// out = start + sum over taps, for kPixels pixels and kVectors vectors of channels. The vectors of `start`
// and of the weights are read whole.
template <int kPixels, int kVectors, bool kPart, class T, class U, class acc>
inline void sum_pixels(const PixelTap<T, acc>* taps, int64_t count, int64_t step, int64_t first,
                       const acc* start, U* out, int64_t out_step, int64_t c, int64_t left) {
  vec<acc> sums[kPixels][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    for (int i = 0; i < kPixels; ++i) sums[i][v] = load(start + c + v * lanes<acc>);
  }
  for (int64_t t = 0; t < count; ++t) {
    const T* source = taps[t].source + first * step + c;
    vec<acc> weight[kVectors];
    for (int v = 0; v < kVectors; ++v) weight[v] = load(taps[t].weight + c + v * lanes<acc>);
    for (int i = 0; i < kPixels; ++i) {
      for (int v = 0; v < kVectors; ++v) {
        const vec<acc> samples = load_channels<kPart>(source + i * step + v * lanes<acc>, left);
        sums[i][v] = multiply_add_vector(weight[v], samples, sums[i][v]);
      }
    }
  }
  for (int i = 0; i < kPixels; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      U* at = out + (first + i) * out_step + c + v * lanes<acc>;
      if constexpr (kPart) {
        store_part(at, sums[i][v], left);
      } else {
        store(at, sums[i][v]);
      }
    }
  }
}

// All channels of kPixels pixels from `first` on.
template <int kPixels, class T, class U, class acc>
inline void sum_channels(const PixelTap<T, acc>* taps, int64_t count, int64_t step, int64_t first,
                         int64_t channels, const acc* start, U* out, int64_t out_step) {
  constexpr int64_t kVector = lanes<acc>;
  constexpr int kMany = 2;  // kPixels * kMany sums stay in registers
  int64_t c = 0;
  for (; c + kMany * kVector <= channels; c += kMany * kVector) {
    sum_pixels<kPixels, kMany, false>(taps, count, step, first, start, out, out_step, c, 0);
  }
  for (; c + kVector <= channels; c += kVector) {
    sum_pixels<kPixels, 1, false>(taps, count, step, first, start, out, out_step, c, 0);
  }
  if (c < channels) {
    sum_pixels<kPixels, 1, true>(taps, count, step, first, start, out, out_step, c, channels - c);
  }
}

constexpr int64_t kPixelGroup = 4;

// Fetches lines that are soon to be read, or written (kWrite = 1): the groups of pixels jump between phases,
// rows and channels, which the processor does not foresee.
template <int kWrite, class T>
inline void fetch_ahead(const T* p, int64_t count) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(p + i, kWrite);
}

// All channels of pixels begin .. end.
template <class T, class U, class acc>
inline void sum_taps(const PixelTap<T, acc>* taps, int64_t count, int64_t step, int64_t begin, int64_t end,
                     int64_t channels, const acc* start, U* out, int64_t out_step) {
  int64_t q = begin;
  for (; q + kPixelGroup <= end; q += kPixelGroup) {
    sum_channels<kPixelGroup>(taps, count, step, q, channels, start, out, out_step);
  }
  for (; q < end; ++q) sum_channels<1>(taps, count, step, q, channels, start, out, out_step);
}

// A row of the kernel and the row of the image that it meets.
template <class T>
struct RowTap {
  const T* row;
  int64_t k;
};

template <class T, class acc>
struct ChannelsLastScratch {
  RowTap<T>* rows;
  PixelTap<T, acc>* taps;
  acc* pixel;
  acc* sums;       // backward_weight: [column][channel of the block]
  double* totals;  // the same
};
template <class acc>
constexpr int64_t weight_block = 2 * lanes<acc>;  // channels
template <class T, class acc>
inline ChannelsLastScratch<T, acc> channels_last_scratch(const DeconvParams& p, Arrays& arrays) {
  ChannelsLastScratch<T, acc> scratch;
  scratch.rows = arrays.take<RowTap<T>>(p.height.kernel_size);
  scratch.taps = arrays.take<PixelTap<T, acc>>(p.height.kernel_size * p.width.kernel_size);
  scratch.pixel = arrays.take<acc>(p.channels + lanes<acc>);
  scratch.sums = arrays.take<acc>(p.width.kernel_size * weight_block<acc>);
  scratch.totals = arrays.take<double>(p.width.kernel_size * weight_block<acc>);
  return scratch;
}

// ---- forward: rows are (n, output row) --------------------------------------------------------------------

// A row of outputs from the source rows that reach it. A group of pixels of each phase after the other: the
// image is written from left to right.
template <class T, class acc>
inline void forward_row(const DeconvParams& p, const DeconvPlan<acc>& plan,
                        const ChannelsLastScratch<T, acc>& scratch, int64_t rows, T* out) {
  const PhaseTap* taps = plan.width.taps;
  const int64_t* first = plan.width.first;
  const int64_t stride = p.width.stride, out_step = stride * p.out.width;
  const auto weight = [&](int64_t ky, int64_t kx) {
    return plan.weight + (ky * p.width.kernel_size + kx) * p.channels;
  };
  // Pixels begin .. end of every phase have all their taps; their lists lie one after the other.
  int64_t begin = 0, end = plan.out_width / stride, count = 0;
  for (int64_t f = 0; f < plan.width.count; ++f) {
    for (int64_t t = first[f]; t < first[f + 1]; ++t) {
      begin = larger(begin, -taps[t].shift);
      end = smaller(end, plan.in_width - taps[t].shift);
    }
    for (int64_t j = 0; j < rows; ++j) {
      for (int64_t t = first[f]; t < first[f + 1]; ++t) {
        scratch.taps[count++] = {scratch.rows[j].row + taps[t].shift * p.in.width,
                                 weight(scratch.rows[j].k, taps[t].k)};
      }
    }
  }
  const auto sum_group = [&](auto pixels, int64_t q) {
    fetch_ahead<1>(out + (q + kPixelGroup) * out_step, decltype(pixels)::value * out_step);
    for (int64_t f = 0; f < plan.width.count; ++f) {
      sum_channels<decltype(pixels)::value>(scratch.taps + rows * first[f], rows * (first[f + 1] - first[f]),
                                            p.in.width, q, p.channels, plan.bias, out + f * p.out.width,
                                            out_step);
    }
  };
  int64_t q = begin;
  for (; q + kPixelGroup <= end; q += kPixelGroup) sum_group(Constant<kPixelGroup>{}, q);
  for (; q < end; ++q) sum_group(Constant<1>{}, q);
  // The pixels before and after them, each with a list of its own.
  const int64_t inner_begin = begin < end ? begin * stride : 0, inner_end = begin < end ? end * stride : 0;
  for (int64_t ox = 0; ox < plan.out_width; ++ox) {
    if (ox == inner_begin) ox = inner_end;
    if (ox >= plan.out_width) break;
    const int64_t f = ox % stride;
    count = 0;
    for (int64_t j = 0; j < rows; ++j) {
      for (int64_t t = first[f]; t < first[f + 1]; ++t) {
        int64_t ix;
        if (!p.width.sample(ox / stride + taps[t].shift, &ix)) continue;
        scratch.taps[count++] = {scratch.rows[j].row + ix * p.in.width, weight(scratch.rows[j].k, taps[t].k)};
      }
    }
    sum_channels<1>(scratch.taps, count, 0, 0, p.channels, plan.bias, out + ox * p.out.width, 0);
  }
}

template <class T, class acc>
inline void forward_channels_last(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  Arrays arrays(memory);
  const ChannelsLastScratch<T, acc> scratch = channels_last_scratch<T, acc>(p, arrays);
  for (int64_t work = begin; work < end; ++work) {
    const int64_t n = work / plan.out_height, oy = work % plan.out_height;
    const int64_t fy = oy % p.height.stride, qy = oy / p.height.stride;
    const T* in = static_cast<const T*>(p.input) + n * p.in.batch;
    T* out = static_cast<T*>(p.output) + n * p.out.batch + oy * p.out.height;
    int64_t rows = 0;
    for (int64_t t = plan.height.first[fy]; t < plan.height.first[fy + 1]; ++t) {
      int64_t iy;
      if (!p.height.sample(qy + plan.height.taps[t].shift, &iy)) continue;
      scratch.rows[rows++] = {in + iy * p.in.height, plan.height.taps[t].k};
    }
    forward_row(p, plan, scratch, rows, out);
  }
}

// ---- backward_input: rows are (n, input row) --------------------------------------------------------------

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

// Any pixel: all positions that stand for it, and those of their taps that exist.
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
  // Pixels that stand for themselves alone and whose taps all exist.
  const int64_t reach = p.width.target(0, p.width.kernel_size - 1), edge = p.width.replicate ? 1 : 0;
  const int64_t inner_begin = smaller(plan.in_width, larger(edge, ceil_div(p.width.padding, p.width.stride)));
  int64_t inner_end = plan.in_width - edge;
  while (inner_end > inner_begin && (inner_end - 1) * p.width.stride + reach >= plan.out_width) --inner_end;
  inner_end = larger(inner_begin, inner_end);
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

// ---- backward_weight: rows are (block of channels, kernel row) --------------------------------------------

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

// Samples first .. last of a row with all taps of a kernel row. Taps that lie inside for all of them go
// together.
template <class T, class acc>
inline void add_row_of_products(acc* sums, const DeconvParams& p, const DeconvPlan<acc>& plan, const T* in,
                                const T* grad, int64_t first, int64_t last, int64_t channels) {
  const int64_t grad_step = p.width.stride * p.out.width, tap_step = p.width.dilation * p.out.width;
  for (int64_t kx = 0; kx < p.width.kernel_size;) {
    const int64_t taps = kx + 4 <= p.width.kernel_size ? 4 : 1;
    acc* at = sums + kx * weight_block<acc>;
    // Of all taps together: the first one's lower end, the last one's upper end.
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
