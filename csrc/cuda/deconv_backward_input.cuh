// The gradient of the depthwise transposed convolution to its input.
#pragma once

#include "deconv_general.cuh"

namespace upsample_ext {
namespace gpu {

template <class T>
cudaError_t launch_deconv_backward_input(const DeconvParams& p, bool weight_in_acc, const Device& device) {
  if (p.batch == 0) return cudaSuccess;
  if (!fits_32_bits(p)) return launch_backward_input_general<T, int64_t>(p, weight_in_acc, device);
  return launch_backward_input_general<T, int32_t>(p, weight_in_acc, device);
}

}  // namespace gpu
}  // namespace upsample_ext
