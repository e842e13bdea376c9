// Depthwise transposed convolution, forward and both gradients: one entry for planar and channels-last
// images, and for what is computed alike in any order (deconv_sliding.h).
//
// Only taps that exist are multiplied, so that an infinity affects exactly the outputs that the kernel
// reaches from it. Each thread owns whole rows of what is written (backward_weight: whole kernel rows), and
// every sum has a fixed order: the same bits for any number of threads.
#pragma once

#include "deconv_channel_sum.h"
#include "deconv_channels_last.h"
#include "deconv_planar.h"
#include "deconv_sliding.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

inline DeconvLoops choose_deconv(const DeconvParams& p) {
  if (slides(p)) return DeconvLoops::kSliding;
  if (p.channels_last) return DeconvLoops::kChannelsLast;
  return sums_in_windows(p) ? DeconvLoops::kPlanarWindows : DeconvLoops::kPlanar;
}
inline bool is_planar(DeconvLoops loops) {
  return loops == DeconvLoops::kPlanar || loops == DeconvLoops::kPlanarWindows;
}

template <class acc>
int64_t deconv_plan_bytes(const DeconvParams& p) {
  return choose_deconv(p) == DeconvLoops::kSliding ? 0 : plan_bytes<acc>(p);
}
template <class T, class acc = acc_of<T>>
void deconv_build_plan(const DeconvParams& p, void* memory) {
  if (choose_deconv(p) != DeconvLoops::kSliding) build_plan<T, acc>(p, memory);
}

// Scratch of one thread, in bytes.
template <class T, class acc = acc_of<T>>
int64_t deconv_scratch_bytes(const DeconvParams& p) {
  const DeconvLoops loops = choose_deconv(p);
  if (loops == DeconvLoops::kSliding) return sliding_scratch_bytes<T, acc>(p);
  if (is_planar(loops)) return planar_scratch_bytes<T, acc>(p);
  Arrays arrays(nullptr);
  channels_last_scratch<T, acc>(p, arrays);
  return arrays.bytes();
}

// The number of rows of work that a call can be divided into.
template <class T, class acc = acc_of<T>>
int64_t deconv_rows(const DeconvParams& p) {
  const DeconvLoops loops = choose_deconv(p);
  if (loops == DeconvLoops::kSliding) return SlidingSum<acc>(p).units();
  if (p.pass != DeconvPass::kBackwardWeight) {
    const int64_t planes = p.batch * (is_planar(loops) ? p.channels : 1);
    return planes * (p.pass == DeconvPass::kForward ? p.height.out_size() : p.height.in_size);
  }
  if (is_planar(loops)) return p.channels * ceil_div(p.height.kernel_size, kKernelRows);
  return ceil_div(p.channels, weight_block<acc>) * p.height.kernel_size;
}

template <class T, class acc = acc_of<T>>
void deconv_run(const DeconvParams& p, int64_t begin, int64_t end, void* scratch) {
  const DeconvLoops loops = choose_deconv(p);
  if (loops == DeconvLoops::kSliding) return sum_sliding_units<T, acc>(p, begin, end, scratch);
  const bool planar = is_planar(loops);
  if (p.pass == DeconvPass::kForward) {
    planar ? forward_planar<T, acc>(p, begin, end, scratch)
           : forward_channels_last<T, acc>(p, begin, end, scratch);
  } else if (p.pass == DeconvPass::kBackwardInput) {
    planar ? backward_input_planar<T, acc>(p, begin, end, scratch)
           : backward_input_channels_last<T, acc>(p, begin, end, scratch);
  } else {
    planar ? backward_weight_planar<T, acc>(p, begin, end, scratch)
           : backward_weight_channels_last<T, acc>(p, begin, end, scratch);
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
