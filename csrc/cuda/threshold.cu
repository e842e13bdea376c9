#include "kernels.h"
#include "resize_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resize_threshold(const ResizeParams<acc, Axis>& params, const Device& device) {
  return launch_resize<T, Threshold<T>>(params, device);
}

template cudaError_t resize_threshold<float>(const ResizeParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resize_threshold<half_t>(const ResizeParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resize_threshold<bfloat16_t>(const ResizeParams<float, LinearAxis<float>>&,
                                                  const Device&);

}  // namespace gpu
}  // namespace upsample_ext
