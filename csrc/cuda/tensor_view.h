// From tensors to what the CUDA kernels take.
#pragma once

#include <ATen/core/Tensor.h>

#include "../ops/dtypes.h"
#include "params.h"
#include "runtime.h"

namespace upsample_ext {
namespace gpu {

// The stride of a dimension of size 1 may be any number and is never used: 0 makes it count as aligned.
inline Strides strides_of(const at::Tensor& image) {
  const auto stride = [&](int64_t dim) { return image.size(dim) == 1 ? 0 : image.stride(dim); };
  return {stride(0), stride(1), stride(2), stride(3)};
}

inline void* read_only(const at::Tensor& t) { return const_cast<void*>(t.const_data_ptr()); }

}  // namespace gpu
}  // namespace upsample_ext
