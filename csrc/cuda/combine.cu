#include "kernels.h"
#include "resize_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resize_add(const ResizeParams<acc, Axis>& params, const Device& device) {
  return launch_resize<T, Add<T>>(params, device);
}

template cudaError_t resize_add<double>(const ResizeParams<double, LinearAxis<double>>&, const Device&);
template cudaError_t resize_add<float>(const ResizeParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resize_add<half_t>(const ResizeParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resize_add<bfloat16_t>(const ResizeParams<float, LinearAxis<float>>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
