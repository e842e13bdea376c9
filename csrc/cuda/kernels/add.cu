#include "../kernels.h"
#include "resample_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resample_add(const ResampleParams<acc, Axis>& params, const Device& device) {
  return launch_resample<T, Add<T>>(params, device);
}

template cudaError_t resample_add<double>(const ResampleParams<double, LinearAxis<double>>&, const Device&);
template cudaError_t resample_add<float>(const ResampleParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resample_add<half_t>(const ResampleParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resample_add<bfloat16_t>(const ResampleParams<float, LinearAxis<float>>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
