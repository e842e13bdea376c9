#include "../kernels.h"
#include "resample_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resample(const ResampleParams<acc, Axis>& params, const Device& device) {
  return launch_resample<T>(params, Store<T>(), device);
}

template <class acc>
using TwoTapParams = ResampleParams<acc, TwoTapConvTransposeAxis<acc>>;

template cudaError_t resample<double>(const TwoTapParams<double>&, const Device&);
template cudaError_t resample<float>(const TwoTapParams<float>&, const Device&);
template cudaError_t resample<half_t>(const TwoTapParams<float>&, const Device&);
template cudaError_t resample<bfloat16_t>(const TwoTapParams<float>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
