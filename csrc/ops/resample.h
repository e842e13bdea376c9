// What the launchers of both devices need of the resample family: its checks and its outputs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

#include <array>
#include <optional>
#include <vector>

#include "../geometry/axis.h"

namespace upsample_ext {

// Checks that an input (N, C, H, W) can be resized to the output size; `op` is named in the messages.
void check_resize(const char* op, const at::Tensor& input, c10::SymIntArrayRef output_size);

// Allocates the output of upsample_bilinear2d with native's layout, after checking the shapes.
at::Tensor make_upsample_output(const at::Tensor& input, c10::SymIntArrayRef output_size);
at::Tensor make_upsample_grad_input(const at::Tensor& grad_output, c10::SymIntArrayRef input_size);
// Gives `out` the shape and layout of a newly allocated output by PyTorch's rules for out=, and raises if it
// cannot be one.
void prepare_upsample_out(const at::Tensor& input, c10::SymIntArrayRef output_size, const at::Tensor& out);
// Raises if `out` overlaps itself or the input; returns true if the latter cannot be decided cheaply (two
// strided views of one storage), so that the launcher must not write before it has read.
bool may_share_elements(const at::Tensor& out, const at::Tensor& input);

// Makes `output`, to autograd, the resized input, whatever it holds.
void record_upsample(const at::Tensor& output, const at::Tensor& input, bool align_corners,
                     std::optional<double> scale_h, std::optional<double> scale_w);

// The image itself, or a copy in the memory order of `other` if one of the two is channels-last and the other
// planar: no kernel handles two orders at once.
at::Tensor in_order_of(const at::Tensor& image, const at::Tensor& other);

// Whether the batch is empty. The gradients of such a convolution natively have the strides of what they are
// gradients of. False for a symbolic batch, which is never 0.
inline bool is_empty_batch(const at::Tensor& image) {
  return image.dim() > 0 && image.sym_size(0).maybe_as_int() == 0;
}

// The geometry of a transposed convolution; the backward ops have no output_padding, which follows from their
// sizes.
struct ConvTransposeArgs {
  c10::SymIntArrayRef stride, padding, output_padding, dilation;
};
at::Tensor make_separable_output(const at::Tensor& input, const at::Tensor& kernel_h,
                                 const at::Tensor& kernel_w, const ConvTransposeArgs& args);
at::Tensor make_separable_grad_input(const at::Tensor& grad_output, const at::Tensor& kernel_h,
                                     const at::Tensor& kernel_w, c10::SymIntArrayRef input_size,
                                     const ConvTransposeArgs& args, std::optional<bool> channels_last);

// The output size (H, W) of a transposed convolution of `input`, all numbers checked. `op` is named in the
// messages.
std::array<c10::SymInt, 2> conv_transpose_size(const char* op, const at::Tensor& input,
                                               c10::SymIntArrayRef kernel_size,
                                               const ConvTransposeArgs& args);
// The output_padding that leads from the input's size to that of grad_output, all numbers checked.
std::vector<c10::SymInt> output_padding_of(const char* op, const at::Tensor& grad_output,
                                           c10::SymIntArrayRef input_size, c10::SymIntArrayRef kernel_size,
                                           const ConvTransposeArgs& args);
// Whether a gradient of float32 is computed in float64, see ConvTransposeAxis::repeats_edge_often. (The
// rounding of half types is larger than that of their sums.)
inline bool sums_in_double(const at::Tensor& grad_output, const ConvTransposeAxis& height,
                           const ConvTransposeAxis& width) {
  return grad_output.scalar_type() == at::kFloat &&
         (height.repeats_edge_often() || width.repeats_edge_often());
}
// One axis (0: height, 1: width) of a call whose numbers have been checked, for kernels.
ConvTransposeAxis conv_transpose_axis(int axis, int64_t in_size, int64_t out_size, int64_t kernel_size,
                                      const ConvTransposeArgs& args, bool replicate);

}  // namespace upsample_ext
