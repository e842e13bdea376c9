// What the launchers of both devices need of argmax.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

namespace upsample_ext {

// The largest class that an index of this dtype can hold; -1 of a dtype that is none of an index.
int64_t largest_index(at::ScalarType dtype);

// Allocates the index of upsample_argmax, (N, H, W), after checking shapes and dtypes.
at::Tensor make_argmax_index(const at::Tensor& input, c10::SymIntArrayRef output_size, at::ScalarType dtype);

}  // namespace upsample_ext
