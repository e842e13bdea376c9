// What the launchers of both devices need of add and concat: their checks and outputs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>
#include <c10/util/FunctionRef.h>

namespace upsample_ext {

// `other` broadcasts to `input` resized to its height and width; the output has the layout of native's sum.
at::Tensor make_add_output(const at::Tensor& input, const at::Tensor& other);
// Whether two tensors of one shape have the same strides, apart from those of dimensions of size 1.
bool lie_alike(const at::Tensor& a, const at::Tensor& b);
// The output of torch.cat of the resized inputs, along the channels.
at::Tensor make_concat_output(at::TensorList inputs, c10::SymIntArrayRef output_size);
// Fills it: `resize_into(input, slice)` is called for each input that has the output's dtype but not its
// size.
void fill_concat_output(
    const at::Tensor& output, at::TensorList inputs, c10::SymIntArrayRef output_size, bool align_corners,
    c10::function_ref<void(const at::Tensor& input, const at::Tensor& slice)> resize_into);

}  // namespace upsample_ext
