// Which devices this build has kernels for. What lies on any other is PyTorch's.
#pragma once

#include <ATen/core/Tensor.h>

namespace upsample_ext {

#if defined(UPSAMPLE_EXT_WITH_CUDA)
constexpr bool kBuiltWithCuda = true;
#else
constexpr bool kBuiltWithCuda = false;
#endif

inline bool on_our_device(const at::Tensor& t) { return t.is_cpu() || (kBuiltWithCuda && t.is_cuda()); }

}  // namespace upsample_ext
