// What the launchers of both devices need of threshold.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

namespace upsample_ext {

// Allocates a bool image with the layout of the resized input.
at::Tensor make_threshold_output(const at::Tensor& input, c10::SymIntArrayRef output_size);

}  // namespace upsample_ext
