#include "../kernels.h"
#include "cross_entropy_backward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc>
cudaError_t cross_entropy_backward(const CrossEntropyParams<acc>& params, const Device& device) {
  return params.smoothing > acc(0) ? launch_cross_entropy_backward<T, acc, true>(params, device)
                                   : launch_cross_entropy_backward<T, acc, false>(params, device);
}

template cudaError_t cross_entropy_backward<double>(const CrossEntropyParams<double>&, const Device&);
template cudaError_t cross_entropy_backward<float>(const CrossEntropyParams<float>&, const Device&);
template cudaError_t cross_entropy_backward<half_t>(const CrossEntropyParams<float>&, const Device&);
template cudaError_t cross_entropy_backward<bfloat16_t>(const CrossEntropyParams<float>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
