#include "../kernels.h"
#include "resample_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resample(const ResampleParams<acc, Axis>& params, const Device& device) {
  return launch_resample<T>(params, Store<T>(), device);
}

template cudaError_t resample<double>(const ResampleParams<double, LinearAxis<double>>&, const Device&);
template cudaError_t resample<float>(const ResampleParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resample<half_t>(const ResampleParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resample<bfloat16_t>(const ResampleParams<float, LinearAxis<float>>&, const Device&);
template cudaError_t resample<uint8_t>(const ResampleParams<float, LinearAxis<float>>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
