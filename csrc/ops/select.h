// What the devices' launchers need of the ops that choose at each pixel.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

namespace upsample_ext {

// The index of upsample_argmax, (N, H, W), allocated; checks all that shapes and dtypes can tell.
at::Tensor make_argmax_index(const at::Tensor& input, c10::SymIntArrayRef output_size, at::ScalarType dtype);

// A bool image, laid out as the resized input.
at::Tensor make_threshold_output(const at::Tensor& input, c10::SymIntArrayRef output_size);

}  // namespace upsample_ext
