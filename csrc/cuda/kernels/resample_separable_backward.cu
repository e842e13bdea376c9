#include "../kernels.h"
#include "resample_backward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resample_backward(const ResampleParams<acc, Axis>& params, const Device& device) {
  return launch_backward<T>(params, device);
}

template <class acc>
using TwoTapParams = ResampleParams<acc, TwoTapConvTransposeAxis<acc>>;

template cudaError_t resample_backward<double>(const TwoTapParams<double>&, const Device&);
template cudaError_t resample_backward<float>(const TwoTapParams<float>&, const Device&);
template cudaError_t resample_backward<half_t>(const TwoTapParams<float>&, const Device&);
template cudaError_t resample_backward<bfloat16_t>(const TwoTapParams<float>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
