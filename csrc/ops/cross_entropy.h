// What the devices' launchers need of upsample_cross_entropy: its arguments, checked.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace upsample_ext {

// at::Reduction's numbers.
enum Reduction : int64_t { kReduceNone = 0, kReduceMean = 1, kReduceSum = 2 };

struct CrossEntropyArgs {
  const at::Tensor& target;
  const std::optional<at::Tensor>& weight;
  int64_t reduction, ignore_index;
  double label_smoothing;
  bool align_corners;
};

// Checks all that shapes and dtypes can tell.
void check_cross_entropy(const at::Tensor& input, const CrossEntropyArgs& args);
// The loss, allocated: one value a pixel, or a scalar.
at::Tensor make_cross_entropy_loss(const at::Tensor& input, const CrossEntropyArgs& args);
// The gradient to the input, allocated, in the input's dtype and suggested memory format.
at::Tensor make_cross_entropy_gradient(const at::Tensor& input);
// grad_output must have the shape of the loss.
void check_cross_entropy_grad_output(const at::Tensor& grad_output, const at::Tensor& input,
                                     const CrossEntropyArgs& args);

}  // namespace upsample_ext
