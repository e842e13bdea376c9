// What the devices' launchers need of the select family: its checks and its outputs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

namespace upsample_ext {

// A bool image, laid out as the resized input.
at::Tensor make_threshold_output(const at::Tensor& input, c10::SymIntArrayRef output_size);

}  // namespace upsample_ext
