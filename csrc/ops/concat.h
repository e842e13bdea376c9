// What the launchers of both devices need of concat: its checks and output.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>
#include <c10/util/FunctionRef.h>

namespace upsample_ext {

// NeedsGradient keeps one bit per input in an int64_t.
constexpr size_t kMostConcatInputs = 63;

// The output of torch.cat of the resized inputs, along the channels.
at::Tensor make_concat_output(at::TensorList inputs, c10::SymIntArrayRef output_size);
// Fills it: by `copy_into` from inputs of the output's size, by `resize_into` from others. An input of
// another dtype than the output's is resized in its own.
using FillSlice = c10::function_ref<void(const at::Tensor& input, const at::Tensor& slice)>;
void fill_concat_output(const at::Tensor& output, at::TensorList inputs, FillSlice copy_into,
                        FillSlice resize_into);

}  // namespace upsample_ext
