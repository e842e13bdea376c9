// What the devices' launchers need of the combine family: its checks and its outputs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

namespace upsample_ext {

// `other` broadcasts to `input` resized to its height and width; the output is laid out as native's sum.
at::Tensor make_add_output(const at::Tensor& input, const at::Tensor& other);
// The output of torch.cat of the resized inputs, along the channels.
at::Tensor make_concat_output(at::TensorList inputs, c10::SymIntArrayRef output_size);

}  // namespace upsample_ext
