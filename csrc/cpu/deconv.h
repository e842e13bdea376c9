// The depthwise transposed convolution on the CPU, for the launchers of other families.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

#include <optional>

namespace upsample_ext {

// output, of the right shape and any strides, from an input, weights and a bias that were checked.
void depthwise_into(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                    c10::SymIntArrayRef stride, c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                    bool replicate, const at::Tensor& output);

}  // namespace upsample_ext
