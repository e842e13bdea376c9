// What the launchers of both devices need of upsample_cross_entropy: its arguments, checked.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace upsample_ext {

// The values of at::Reduction.
enum Reduction : int64_t { kReduceNone = 0, kReduceMean = 1, kReduceSum = 2 };

struct CrossEntropyArgs {
  const at::Tensor& target;
  const std::optional<at::Tensor>& weight;
  int64_t reduction, ignore_index;
  double label_smoothing;
  bool align_corners;
};

// Checks shapes and dtypes.
void check_cross_entropy(const at::Tensor& input, const CrossEntropyArgs& args);
// Allocates the loss: one value per pixel, or a scalar.
at::Tensor make_cross_entropy_loss(const at::Tensor& input, const CrossEntropyArgs& args);
// Allocates the gradient with respect to the input in the type of sums, in which even the gradient of a mean
// of half types is exact enough to be scaled later; contiguous, as native's is.
at::Tensor make_cross_entropy_gradient(const at::Tensor& input);
// grad_output must have the shape of the loss.
void check_cross_entropy_grad_output(const at::Tensor& grad_output, const at::Tensor& input,
                                     const CrossEntropyArgs& args);

// The gradient of a mean or sum, which was computed with it, times grad_output, in the input's dtype.
at::Tensor scaled_gradient(const at::Tensor& gradient, const at::Tensor& grad_output,
                           const at::Tensor& input);

// A loss, its gradient to the input, or both.
struct CrossEntropyResult {
  at::Tensor loss, gradient;
};
// The function that each device implements: if grad_output is defined, the gradient; otherwise the loss and,
// if `with_gradient`, its gradient.
using CrossEntropyOfDevice = CrossEntropyResult(const at::Tensor& input, const CrossEntropyArgs& args,
                                                bool with_gradient, const at::Tensor& grad_output);

// Adapters from that function to the three ops.
template <CrossEntropyOfDevice* kOfDevice>
at::Tensor cross_entropy_loss_on(const at::Tensor& input, const at::Tensor& target,
                                 const std::optional<at::Tensor>& weight, int64_t reduction,
                                 int64_t ignore_index, double label_smoothing, bool align_corners) {
  return kOfDevice(input, {target, weight, reduction, ignore_index, label_smoothing, align_corners},
                   /*with_gradient=*/false, at::Tensor())
      .loss;
}

template <CrossEntropyOfDevice* kOfDevice>
std::tuple<at::Tensor, at::Tensor> cross_entropy_with_gradient_on(
    const at::Tensor& input, const at::Tensor& target, const std::optional<at::Tensor>& weight,
    int64_t reduction, int64_t ignore_index, double label_smoothing, bool align_corners) {
  TORCH_CHECK(reduction != kReduceNone,
              "upsample_cross_entropy_with_gradient: expected a reduction, mean or sum, got none");
  CrossEntropyResult result =
      kOfDevice(input, {target, weight, reduction, ignore_index, label_smoothing, align_corners},
                /*with_gradient=*/true, at::Tensor());
  return {result.loss, result.gradient};
}

template <CrossEntropyOfDevice* kOfDevice>
at::Tensor cross_entropy_backward_on(const at::Tensor& grad_output, const std::optional<at::Tensor>& gradient,
                                     const at::Tensor& input, const at::Tensor& target,
                                     const std::optional<at::Tensor>& weight, int64_t reduction,
                                     int64_t ignore_index, double label_smoothing, bool align_corners) {
  const CrossEntropyArgs args{target, weight, reduction, ignore_index, label_smoothing, align_corners};
  check_cross_entropy_grad_output(grad_output, input, args);
  if (gradient) return scaled_gradient(*gradient, grad_output, input);
  return kOfDevice(input, args, /*with_gradient=*/false, grad_output).gradient.to(input.scalar_type());
}

}  // namespace upsample_ext
