#include "../kernels.h"
#include "cross_entropy_forward.cuh"

namespace upsample_ext {
namespace gpu {

template <class T, class acc>
cudaError_t cross_entropy_forward(const CrossEntropyParams<acc>& params, const Device& device) {
  return params.smoothing > acc(0) ? launch_cross_entropy_forward<T, acc, true>(params, device)
                                   : launch_cross_entropy_forward<T, acc, false>(params, device);
}

template <class acc>
int64_t cross_entropy_blocks(const LogitsParams<acc>& logits) {
  return PixelGridChoice<acc>(logits, rows_of_thread(logits)).blocks();
}

template <class T, class acc>
cudaError_t cross_entropy_sum(const LossSumParams<T, acc>& params, const Device& device) {
  return launch(sum_of_losses<T, acc>, device, 1, kLossSumThreads, 0, params);
}

template cudaError_t cross_entropy_forward<double>(const CrossEntropyParams<double>&, const Device&);
template cudaError_t cross_entropy_forward<float>(const CrossEntropyParams<float>&, const Device&);
template cudaError_t cross_entropy_forward<half_t>(const CrossEntropyParams<float>&, const Device&);
template cudaError_t cross_entropy_forward<bfloat16_t>(const CrossEntropyParams<float>&, const Device&);

template int64_t cross_entropy_blocks(const LogitsParams<double>&);
template int64_t cross_entropy_blocks(const LogitsParams<float>&);

template cudaError_t cross_entropy_sum(const LossSumParams<double, double>&, const Device&);
template cudaError_t cross_entropy_sum(const LossSumParams<float, float>&, const Device&);
template cudaError_t cross_entropy_sum(const LossSumParams<half_t, float>&, const Device&);
template cudaError_t cross_entropy_sum(const LossSumParams<bfloat16_t, float>&, const Device&);

}  // namespace gpu
}  // namespace upsample_ext
