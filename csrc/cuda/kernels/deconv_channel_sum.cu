#include "deconv_channel_sum.cuh"

namespace upsample_ext {
namespace gpu {

int64_t channel_sum_slices(const ChannelSumParams& params) {
  return params.height * params.width == 0 ? 0 : ChannelSlices(params).slices;
}

template <class T>
cudaError_t channel_sum(const ChannelSumParams& params, void* partial, const Device& device) {
  return launch_channel_sum<T>(params, partial, device);
}

template cudaError_t channel_sum<double>(const ChannelSumParams&, void*, const Device&);
template cudaError_t channel_sum<float>(const ChannelSumParams&, void*, const Device&);
template cudaError_t channel_sum<half_t>(const ChannelSumParams&, void*, const Device&);
template cudaError_t channel_sum<bfloat16_t>(const ChannelSumParams&, void*, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
