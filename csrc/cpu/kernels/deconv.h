// Depthwise transposed convolution, forward and both gradients: one entry for planar and channels-last
// images.
//
// Only taps that exist are multiplied, so that an infinity affects exactly the outputs that the kernel
// reaches from it. Each thread owns whole rows of what is written (backward_weight: whole kernel rows), and
// every sum has a fixed order: the same bits for any number of threads.
#pragma once

#include "channel_sum.h"
#include "deconv_channels_last.h"
#include "deconv_planar.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// Scratch of one thread, in bytes.
template <class T, class acc = acc_of<T>>
int64_t deconv_scratch_bytes(const DeconvParams& p) {
  if (!p.channels_last) return planar_scratch_bytes<T, acc>(p);
  Arrays arrays(nullptr);
  channels_last_scratch<T, acc>(p, arrays);
  return arrays.bytes();
}

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
  if (!p.channels_last) return p.channels * ceil_div(p.height.kernel_size, kKernelRows);
  return ceil_div(p.channels, weight_block<acc>) * p.height.kernel_size;
}

template <class T, class acc = acc_of<T>>
void deconv_backward_weight(const DeconvParams& p, int64_t begin, int64_t end, void* scratch) {
  if (p.channels_last) {
    backward_weight_channels_last<T, acc>(p, begin, end, scratch);
  } else {
    backward_weight_planar<T, acc>(p, begin, end, scratch);
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
