// Argmax over the classes of an image resized by any tables, for the launchers of argmax and of chains.
#pragma once

#include <ATen/core/Tensor.h>

#include "axis_cache.h"

namespace upsample_ext {

// Fills `index` (N, H, W), and `score` where it is defined, neither of them empty.
void argmax_into(const at::Tensor& input, const at::Tensor& index, const at::Tensor& score,
                 const AxisOfCall<float>& height, const AxisOfCall<float>& width);

}  // namespace upsample_ext
