#include "kernels.h"
#include "resize_adjoint.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resize_adjoint(const ResizeParams<acc, Axis>& params, const Device& device) {
  return launch_adjoint<T>(params, device);
}

template <class acc>
using TwoTapParams = ResizeParams<acc, TwoTapConvTransposeAxis<acc>>;

template cudaError_t resize_adjoint<double>(const TwoTapParams<double>&, const Device&);
template cudaError_t resize_adjoint<float>(const TwoTapParams<float>&, const Device&);
template cudaError_t resize_adjoint<half_t>(const TwoTapParams<float>&, const Device&);
template cudaError_t resize_adjoint<bfloat16_t>(const TwoTapParams<float>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
