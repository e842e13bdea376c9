#include "deconv_backward_input.cuh"

namespace upsample_ext {
namespace gpu {

template <class T>
cudaError_t deconv_backward_input(const DeconvParams& params, bool weight_in_acc, const Device& device) {
  return launch_deconv_backward_input<T>(params, weight_in_acc, device);
}

template cudaError_t deconv_backward_input<double>(const DeconvParams&, bool, const Device&);
template cudaError_t deconv_backward_input<float>(const DeconvParams&, bool, const Device&);
template cudaError_t deconv_backward_input<half_t>(const DeconvParams&, bool, const Device&);
template cudaError_t deconv_backward_input<bfloat16_t>(const DeconvParams&, bool, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
