// What the devices' launchers need of the resample family: its checks and its outputs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

#include <optional>

namespace upsample_ext {

// What shapes can tell of a bilinear resize of `input`; `op` is named in the messages.
void check_upsample(const char* op, const at::Tensor& input, c10::SymIntArrayRef output_size);
// Output of upsample_bilinear2d, allocated with the layout native gives. Checks all that shapes can tell.
at::Tensor make_upsample_output(const at::Tensor& input, c10::SymIntArrayRef output_size);
at::Tensor make_upsample_grad_input(const at::Tensor& grad_output, c10::SymIntArrayRef input_size);
// Gives `out` the shape and layout of a fresh output by PyTorch's rules for out=, and refuses what cannot be
// one.
void prepare_upsample_out(const at::Tensor& input, c10::SymIntArrayRef output_size, const at::Tensor& out);
// Raises where `out` overlaps itself or the input; true where the latter cannot be told cheaply (two strided
// views of one memory), so that the launcher must not write before it has read.
bool may_share_elements(const at::Tensor& out, const at::Tensor& input);

// Sizes and settings of a separable transposed convolution, checked.
struct ConvTransposeArgs {
  c10::SymIntArrayRef stride, padding, output_padding, dilation;
};
at::Tensor make_separable_output(const at::Tensor& input, const at::Tensor& kernel_h,
                                 const at::Tensor& kernel_w, const ConvTransposeArgs& args);
at::Tensor make_separable_grad_input(const at::Tensor& grad_output, const at::Tensor& kernel_h,
                                     const at::Tensor& kernel_w, c10::SymIntArrayRef input_size,
                                     const ConvTransposeArgs& args);

// The output extent along one axis; checks stride, padding and dilation. `op` is named in the messages.
c10::SymInt conv_transpose_extent(const char* op, const c10::SymInt& in, const c10::SymInt& kernel,
                                  const ConvTransposeArgs& args, int axis);

}  // namespace upsample_ext
