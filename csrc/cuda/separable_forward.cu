#include "kernels.h"
#include "resize_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc, class Axis>
cudaError_t resize(const ResizeParams<acc, Axis>& params, const Device& device) {
  return launch_resize<T, Store<T>>(params, device);
}

template <class acc>
using TwoTapParams = ResizeParams<acc, TwoTapConvTransposeAxis<acc>>;

template cudaError_t resize<double>(const TwoTapParams<double>&, const Device&);
template cudaError_t resize<float>(const TwoTapParams<float>&, const Device&);
template cudaError_t resize<half_t>(const TwoTapParams<float>&, const Device&);
template cudaError_t resize<bfloat16_t>(const TwoTapParams<float>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
