// Sums of an image over everything but the channels: the bias gradient.
//
// Runs of a row of the image are summed in acc, the runs in double, in a fixed order: the same bits for any
// number of threads.
#pragma once

#include "deconv_plan.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Channels per unit of work, channels-last.
template <class acc>
constexpr int64_t channel_block = 4 * lanes<acc>;

// Pixels of a row whose sum stays in acc before it joins the total in double: bounds the rounding of wide
// rows. Channels-last a chain of additions is as long, otherwise it is a vector's share of them.
constexpr int64_t kSumRun = 64;
constexpr int64_t kPlanarSumRun = 1024;

template <class acc>
int64_t channel_sum_rows(const ChannelSumParams& p) {
  return p.channels_last ? ceil_div(p.channels, channel_block<acc>) : p.channels;
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
  } else {  // several independent sums: shorter chains of additions have smaller errors
    for (; i + lanes<acc> <= count; i += lanes<acc>) {
      for (int64_t j = 0; j < lanes<acc>; ++j) sum0[j] += to_acc(row[(i + j) * stride]);
    }
  }
  acc sum = sum_lanes(sum0 + sum1);
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

// Rows are channels, or channels-last, blocks of them. Runs of a row are summed in acc, the runs in double.
template <class T, class acc = acc_of<T>>
void channel_sum(const ChannelSumParams& p, int64_t begin, int64_t end) {
  for (int64_t work = begin; work < end; ++work) {
    const int64_t block = p.channels_last ? channel_block<acc> : 1;
    const int64_t c0 = work * block, channels = smaller(block, p.channels - c0);
    double totals[channel_block<acc>] = {};
    for (int64_t row = 0; row < p.batch * p.height; ++row) {
      const T* in = static_cast<const T*>(p.input) + row / p.height * p.in.batch +
                    row % p.height * p.in.height + c0 * p.in.channel;
      if (!p.channels_last) {
        for (int64_t x = 0; x < p.width; x += kPlanarSumRun) {
          totals[0] += sum_row<T, acc>(in + x * p.in.width, p.in.width, smaller(kPlanarSumRun, p.width - x));
        }
        continue;
      }
      for (int64_t x = 0; x < p.width; x += kSumRun) {
        add_pixels<T, acc>(totals, channels, in + x * p.in.width, p.in.width, smaller(kSumRun, p.width - x));
      }
    }
    for (int64_t c = 0; c < channels; ++c) {
      from_acc(static_cast<acc>(totals[c]), static_cast<T*>(p.output) + c0 + c);
    }
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
