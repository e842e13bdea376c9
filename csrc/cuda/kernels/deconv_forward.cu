#include "deconv_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T>
cudaError_t deconv_forward(const DeconvParams& params, bool weight_in_acc, const Device& device) {
  return launch_deconv_forward<T>(params, weight_in_acc, device);
}

template cudaError_t deconv_forward<double>(const DeconvParams&, bool, const Device&);
template cudaError_t deconv_forward<float>(const DeconvParams&, bool, const Device&);
template cudaError_t deconv_forward<half_t>(const DeconvParams&, bool, const Device&);
template cudaError_t deconv_forward<bfloat16_t>(const DeconvParams&, bool, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
