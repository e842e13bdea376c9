#include "deconv_backward_weight.cuh"

namespace upsample_ext {
namespace gpu {

int64_t deconv_weight_slices(const DeconvParams& params) { return WeightSlices(params).slices; }

template <class T>
cudaError_t deconv_backward_weight(const DeconvParams& params, void* partial, const Device& device) {
  return launch_deconv_backward_weight<T>(params, partial, device);
}

template cudaError_t deconv_backward_weight<double>(const DeconvParams&, void*, const Device&);
template cudaError_t deconv_backward_weight<float>(const DeconvParams&, void*, const Device&);
template cudaError_t deconv_backward_weight<half_t>(const DeconvParams&, void*, const Device&);
template cudaError_t deconv_backward_weight<bfloat16_t>(const DeconvParams&, void*, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
