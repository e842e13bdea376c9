#include "../kernels.h"
#include "resample_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resample_threshold(const ResampleParams<acc, Axis>& params, const Device& device) {
  return launch_resample<T, Threshold<T>>(params, device);
}

template cudaError_t resample_threshold<float>(const ResampleParams<float, LinearAxis<float>>&,
                                               const Device&);
template cudaError_t resample_threshold<half_t>(const ResampleParams<float, LinearAxis<float>>&,
                                                const Device&);
template cudaError_t resample_threshold<bfloat16_t>(const ResampleParams<float, LinearAxis<float>>&,
                                                    const Device&);

}  // namespace gpu
}  // namespace upsample_ext
