#include "kernels.h"
#include "resize_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resize(const ResizeParams<acc, Axis>& params, const Device& device) {
  return launch_resize<T, Store<T>>(params, device);
}

template cudaError_t resize<double>(const ResizeParams<double, LinearAxis<double>>&, const Device&);
template cudaError_t resize<float>(const ResizeParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resize<half_t>(const ResizeParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resize<bfloat16_t>(const ResizeParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resize<uint8_t>(const ResizeParams<float, LinearAxis<float>>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
