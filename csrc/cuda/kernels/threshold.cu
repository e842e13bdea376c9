#include "../kernels.h"
#include "resample_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resample_threshold(const ResampleParams<acc, Axis>& params,
                               const ThresholdOperands<acc>& operands, const Device& device) {
  return launch_resample<T>(params, Threshold<T>(operands), device);
}

template cudaError_t resample_threshold<float>(const ResampleParams<float, LinearAxis<float>>&,
                                               const ThresholdOperands<float>&, const Device&);
template cudaError_t resample_threshold<half_t>(const ResampleParams<float, LinearAxis<float>>&,
                                                const ThresholdOperands<float>&, const Device&);
template cudaError_t resample_threshold<bfloat16_t>(const ResampleParams<float, LinearAxis<float>>&,
                                                    const ThresholdOperands<float>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
