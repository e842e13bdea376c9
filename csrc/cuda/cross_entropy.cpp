// CUDA launchers of cross-entropy over resized logits. Nothing is read back to the host: the mean's
// denominator and the scale of the gradient stay on the device.
#include "../ops/cross_entropy.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "kernels.h"
#include "resample_params.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using std::optional;

// If grad_output is defined, the gradient; otherwise the loss and, if `with_gradient`, its gradient.
static CrossEntropyResult cross_entropy_on_cuda(const Tensor& input, const CrossEntropyArgs& args,
                                                bool with_gradient, const Tensor& grad_output) {
  const bool reduces = args.reduction != kReduceNone, mean = args.reduction == kReduceMean;
  CrossEntropyResult result;
  if (!grad_output.defined()) result.loss = make_cross_entropy_loss(input, args);
  if (with_gradient || grad_output.defined()) result.gradient = make_cross_entropy_gradient(input);
  const OnDeviceOf on(input);
  dispatch_floating("upsample_cross_entropy", input.scalar_type(), [&](auto scalar, auto sum) {
    using scalar_t = decltype(scalar);
    using T = storage_of<scalar_t>;
    using acc = decltype(sum);
    const auto options = input.options().dtype(c10::CppTypeToScalarType<acc>::value);
    const Tensor target = args.target.contiguous();
    const Tensor weight = args.weight ? args.weight->to(options).contiguous() : Tensor();
    const Tensor weight_sum = weight.defined() ? weight.sum(at::kDouble).to(options) : Tensor();
    const LinearAxes<acc> axes(input, target.size(1), target.size(2), args.align_corners, std::nullopt,
                               std::nullopt);
    const auto logits = logits_params(input, axes);
    CrossEntropyParams<acc> params{{logits}};
    params.target = target.const_data_ptr<int64_t>();
    params.ignore_index = args.ignore_index;
    if (weight.defined()) {
      params.weight = weight.const_data_ptr<acc>();
      params.weight_sum = weight_sum.const_data_ptr<acc>();
    }
    params.smoothing = static_cast<acc>(args.label_smoothing);

    Tensor of_pixels, partial, softmax, scale;
    if (!reduces && result.loss.defined()) {
      of_pixels = std::is_same_v<scalar_t, acc> ? result.loss : at::empty(target.sizes(), options);
      params.loss = of_pixels.template mutable_data_ptr<acc>();
    }
    const int64_t blocks = cross_entropy_blocks(logits);
    if (reduces) {
      partial = at::empty({blocks, 2}, input.options().dtype(at::kDouble));
      params.partial = partial.mutable_data_ptr<double>();
    }
    if (result.gradient.defined()) {
      softmax = at::empty({target.numel(), 2}, options);
      params.softmax = static_cast<SoftmaxOfPixel<acc>*>(softmax.mutable_data_ptr());
    }
    check_launch(cross_entropy_forward<T>(params, on.device()));

    if (reduces) {
      LossSumParams<T, acc> sums{params.partial, blocks, mean};
      if (result.loss.defined()) sums.loss = static_cast<T*>(result.loss.mutable_data_ptr());
      if (result.gradient.defined()) {
        scale = at::empty({}, options);
        sums.scale = scale.template mutable_data_ptr<acc>();
        params.grad_output = sums.scale;
        params.grad_step = 0;
      }
      if (grad_output.defined()) sums.grad_output = static_cast<const T*>(grad_output.const_data_ptr());
      check_launch(cross_entropy_sum(sums, on.device()));
    } else if (of_pixels.defined() && !std::is_same_v<scalar_t, acc>) {
      result.loss.copy_(of_pixels);
    }
    if (!result.gradient.defined()) return;
    Tensor of_losses;
    if (!reduces) {
      of_losses = grad_output.to(options).contiguous();
      params.grad_output = of_losses.template const_data_ptr<acc>();
    }
    params.grad_input = result.gradient.mutable_data_ptr();
    params.grad = strides_of(result.gradient);
    check_launch(cross_entropy_backward<T>(params, on.device()));
  });
  return result;
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) {
  m.impl("upsample_cross_entropy", cross_entropy_loss_on<cross_entropy_on_cuda>);
  m.impl("upsample_cross_entropy_with_gradient", cross_entropy_with_gradient_on<cross_entropy_on_cuda>);
  m.impl("upsample_cross_entropy_backward", cross_entropy_backward_on<cross_entropy_on_cuda>);
}

}  // namespace gpu
}  // namespace upsample_ext
