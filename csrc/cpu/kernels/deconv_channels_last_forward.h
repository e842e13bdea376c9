// The forward pass of deconv_channels_last.h. Rows of work are (n, output row).
#pragma once

#include "deconv_channels_last_sums.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// A row of outputs from the source rows that reach it. Takes some pixels of each phase in turn, so that the
// image is written from left to right.
template <bool kStreams, class T, class acc>
inline void forward_row(const DeconvParams& p, const DeconvPlan<acc>& plan,
                        const ChannelsLastScratch<T, acc>& scratch, int64_t rows, T* out) {
  const PhaseTap* taps = plan.width.taps;
  const int64_t* first = plan.width.first;
  const int64_t stride = p.width.stride, out_step = stride * p.out.width;
  const auto weight = [&](int64_t ky, int64_t kx) {
    return plan.weight + (ky * p.width.kernel_size + kx) * p.channels;
  };
  // Pixels begin .. end of every phase have all their taps; their lists follow each other.
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
  const auto taps_of_pixel = [&](int64_t f) {
    return f < plan.width.count ? rows * (first[f + 1] - first[f]) : 0;
  };
  // Phase f, and the next one if both are summed at once: the first that is not.
  const auto sum_phases = [&](int64_t f, int64_t q, int64_t q_end) {
    const PixelTap<T, acc>* list = scratch.taps + rows * first[f];
    T* const to = out + f * p.out.width;
    int64_t next = f + 1;
    const bool is_run =
        p.channels >= lanes<acc> &&
        with_phase_pair(taps_of_pixel(f), taps_of_pixel(f + 1), p.out.width, [&](auto pair) {
          sum_run<kStreams>(pair, list, p.in.width, q, q_end, p.channels, plan.bias, to, out_step);
          if (pair.kBoth) ++next;
        });
    if (!is_run) {
      sum_taps<kStreams>(list, taps_of_pixel(f), p.in.width, q, q_end, p.channels, plan.bias, to, out_step);
    }
    return next;
  };
  // So many pixels that the lines of all their phases are complete before they leave the first cache.
  constexpr int64_t kRunBytes = 8192, kLeastRun = 8;
  const int64_t run = larger(kLeastRun, kRunBytes / (out_step * static_cast<int64_t>(sizeof(T))));
  for (int64_t q = begin; q < end; q += run) {
    const int64_t q_end = smaller(q + run, end);
    for (int64_t f = 0; f < plan.width.count;) f = sum_phases(f, q, q_end);
  }
  // The pixels before and after them, each with a separate list.
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
    sum_channels<1, kStreams>(scratch.taps, count, 0, 0, p.channels, plan.bias, out + ox * p.out.width, 0);
  }
}

// Whether pixels are whole cache lines.
template <class T>
inline bool streams_pixels(const DeconvParams& p) {
  return p.stream && is_whole_lines<T>(p.channels | p.out.width | p.out.height | p.out.batch) &&
         starts_line(p.output);
}

template <class T, class acc>
inline void forward_channels_last(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const DeconvPlan<acc>& plan = *static_cast<const DeconvPlan<acc>*>(p.plan);
  Arrays arrays(memory);
  const ChannelsLastScratch<T, acc> scratch = channels_last_scratch<T, acc>(p, arrays);
  const bool streams = streams_pixels<T>(p);
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
    streams ? forward_row<true>(p, plan, scratch, rows, out)
            : forward_row<false>(p, plan, scratch, rows, out);
  }
  if (streams) end_stream();
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
