#include "../kernels.h"
#include "argmax.cuh"

namespace upsample_ext {
namespace gpu {

template <class T>
cudaError_t argmax(const ArgmaxParams& params, const Device& device) {
  return params.score != nullptr ? launch_argmax<T, true>(params, device)
                                 : launch_argmax<T, false>(params, device);
}

template cudaError_t argmax<double>(const ArgmaxParams&, const Device&);
template cudaError_t argmax<float>(const ArgmaxParams&, const Device&);
template cudaError_t argmax<half_t>(const ArgmaxParams&, const Device&);
template cudaError_t argmax<bfloat16_t>(const ArgmaxParams&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
