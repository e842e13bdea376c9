// What the launchers of both devices need of add: its checks and output.
#pragma once

#include <ATen/core/Tensor.h>

namespace upsample_ext {

// `other` broadcasts to `input` resized to its height and width; the output has the layout of native's sum.
at::Tensor make_add_output(const at::Tensor& input, const at::Tensor& other);
// Whether two tensors of one shape have the same strides, apart from those of dimensions of size 1.
bool same_strides(const at::Tensor& a, const at::Tensor& b);

}  // namespace upsample_ext
