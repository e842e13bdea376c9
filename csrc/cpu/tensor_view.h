// From tensors to what the CPU kernels take.
#pragma once

#include <ATen/core/Tensor.h>

#include "../ops/dtypes.h"
#include "../params.h"
#include "huge_pages.h"

namespace upsample_ext {

inline Strides strides_of(const at::Tensor& image) {
  return {image.stride(0), image.stride(1), image.stride(2), image.stride(3)};
}

// Requests huge pages for a newly allocated result, whose pages are not yet faulted in.
inline at::Tensor fresh(at::Tensor result) {
  request_huge_pages(result.mutable_data_ptr(), result.numel() * result.element_size());
  return result;
}

}  // namespace upsample_ext
