// What the launchers of both devices need of the depthwise transposed convolution: its checks and its
// outputs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

#include <optional>

#include "resample.h"

namespace upsample_ext {

// Each allocates an output with native's layout, after checking shapes and dtypes.
at::Tensor make_depthwise_output(const at::Tensor& input, const at::Tensor& weight,
                                 const std::optional<at::Tensor>& bias, const ConvTransposeArgs& args);
at::Tensor make_depthwise_grad_input(const at::Tensor& grad_output, const at::Tensor& weight,
                                     c10::SymIntArrayRef input_size, const ConvTransposeArgs& args,
                                     std::optional<bool> channels_last);
at::Tensor make_depthwise_grad_weight(const at::Tensor& grad_output, const at::Tensor& input,
                                      c10::SymIntArrayRef kernel_size, const ConvTransposeArgs& args,
                                      std::optional<bool> channels_last);
at::Tensor make_channel_sum(const at::Tensor& input);

}  // namespace upsample_ext
