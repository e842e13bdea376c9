#include "../kernels.h"
#include "resample_nearest.cuh"

namespace upsample_ext {
namespace gpu {

cudaError_t resample_nearest(const NearestParams& params, int64_t element_bytes, const Device& device) {
  return launch_nearest_forward(params, element_bytes, device);
}

template <class T>
cudaError_t resample_nearest_backward(const NearestParams& params, const Device& device) {
  return launch_nearest_backward<T>(params, device);
}

template cudaError_t resample_nearest_backward<double>(const NearestParams&, const Device&);
template cudaError_t resample_nearest_backward<float>(const NearestParams&, const Device&);
template cudaError_t resample_nearest_backward<half_t>(const NearestParams&, const Device&);
template cudaError_t resample_nearest_backward<bfloat16_t>(const NearestParams&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
