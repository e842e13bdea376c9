// CPU launchers of cross-entropy over resized logits: targets checked, parameters, threads, memory, the sum.
#include "../ops/cross_entropy.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "logits_choice.h"
#include "run_resample.h"

namespace upsample_ext {

using at::Tensor;
using std::optional;

// Targets per block of the check and of the sum of weights; a constant, so that the sum's order is fixed.
constexpr int64_t kTargetBlock = 16384;

// Raises native's error if a target is not a class; returns the sum of the targets' weights, in an order that
// does not depend on the number of threads.
template <class acc>
static double check_all_targets(const CrossEntropyKernel<acc>& kernel, const CrossEntropyParams<acc>& params,
                                int64_t count) {
  const int64_t blocks = (count + kTargetBlock - 1) / kTargetBlock;
  std::vector<double> weight(static_cast<size_t>(blocks));
  std::vector<int64_t> wrong(static_cast<size_t>(blocks));
  parallel_for(0, blocks, 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * kTargetBlock;
      wrong[i] = kernel.check_targets(params, first, std::min(kTargetBlock, count - first), &weight[i]);
    }
  });
  double sum = 0;
  for (int64_t i = 0; i < blocks; ++i) {
    sum += weight[i];
    if (wrong[i] == 0) continue;
    const int64_t* target = params.target + i * kTargetBlock;
    while (*target == params.ignore_index || (*target >= 0 && *target < params.logits.channels)) ++target;
    TORCH_CHECK_INDEX(false, "upsample_cross_entropy: Target ", *target, " is out of bounds: expected ",
                      params.ignore_index, " (ignore_index) or one of ", params.logits.channels, " classes.");
  }
  return sum;
}

// If grad_output is defined, the gradient; otherwise the loss and, if `with_gradient`, its gradient.
static CrossEntropyResult cross_entropy_on_cpu(const Tensor& input, const CrossEntropyArgs& args,
                                               bool with_gradient, const Tensor& grad_output) {
  const bool reduces = args.reduction != kReduceNone;
  CrossEntropyResult result;
  if (!grad_output.defined()) result.loss = make_cross_entropy_loss(input, args);
  dispatch_floating("upsample_cross_entropy", input.scalar_type(), [&](auto scalar, auto sum) {
    using scalar_t = decltype(scalar);
    using acc = decltype(sum);
    const auto acc_type = c10::CppTypeToScalarType<acc>::value;
    const CrossEntropyKernel<acc>& kernel = active_level().cross_entropy.of(storage_of<scalar_t>{});
    const Tensor target = args.target.contiguous();
    const Tensor weight = args.weight ? args.weight->to(acc_type).contiguous() : Tensor();
    const Tensor scale = grad_output.defined() ? grad_output.to(acc_type).contiguous() : Tensor();
    auto height = AxisOfCall<acc>::linear(input.size(2), target.size(1), args.align_corners, 0.0);
    auto width = AxisOfCall<acc>::linear(input.size(3), target.size(2), args.align_corners, 0.0);
    const bool wants_gradient = with_gradient || grad_output.defined();
    Tensor logits = input;
    std::optional<PixelsRead<acc>> read;
    if (choose_logits(height.taps(), width.taps(), strides_of(input).by_column()) ==
        LogitsLoops::kPixelsRead) {
      read = PixelsRead<acc>::of(input, height, width);
      logits = read->image, height = read->height, width = read->width;
    }
    std::optional<AxisOfCall<acc>> width_transposed;
    if (wants_gradient) width_transposed = width.transposed();

    CrossEntropyParams<acc> params{};
    params.logits.input = logits.const_data_ptr();
    params.logits.batch = logits.size(0);
    params.logits.channels = logits.size(1);
    params.logits.in = strides_of(logits);
    params.logits.height = height.taps();
    params.logits.width = width.taps();
    params.target = target.const_data_ptr<int64_t>();
    params.ignore_index = args.ignore_index;
    if (weight.defined()) params.weight = weight.const_data_ptr<acc>();
    params.weight_sum = static_cast<acc>(input.size(1));
    if (weight.defined()) params.weight_sum = static_cast<acc>(weight.sum(at::kDouble).item<double>());
    params.smoothing = static_cast<acc>(args.label_smoothing);
    const double denominator = check_all_targets(kernel, params, target.numel());

    Tensor gradient;
    if (wants_gradient) {
      result.gradient = fresh(make_cross_entropy_gradient(input));
      gradient = read ? at::empty_like(logits, logits.options().dtype(acc_type)) : result.gradient;
      params.grad_input = gradient.mutable_data_ptr();
      params.grad = strides_of(gradient);
      params.width_transposed = width_transposed->taps();
      params.scale = acc(1);
      if (scale.defined() && reduces) params.scale = *scale.const_data_ptr<acc>();
      if (scale.defined() && !reduces) params.grad_output = scale.const_data_ptr<acc>();
      if (args.reduction == kReduceMean) params.scale = static_cast<acc>(params.scale / denominator);
    }
    Tensor of_pixels;
    if (!reduces && result.loss.defined()) {
      of_pixels = std::is_same_v<scalar_t, acc> ? result.loss
                                                : at::empty(target.sizes(), input.options().dtype(acc_type));
      params.loss = of_pixels.template mutable_data_ptr<acc>();
    }
    ScratchBuffer<4096> plan(kernel.plan_bytes(params));
    ScratchBuffer<4096> plan_transposed(params.grad_input ? kernel.plan_transposed_bytes(params) : 0);
    kernel.build_plans(params, plan.data(), plan_transposed.data());
    params.logits.plan = plan.data();
    params.plan_transposed = plan_transposed.data();
    const int64_t scratch_bytes = kernel.scratch_bytes(params);
    const int64_t units = kernel.units(params), terms = target.numel() * input.size(1);
    std::vector<double> row_loss(static_cast<size_t>(units));
    params.row_loss = row_loss.data();
    parallel_for(0, units, grain_of(units, std::max<int64_t>(1, terms)), [&](int64_t begin, int64_t end) {
      ScratchBuffer<16384> scratch(scratch_bytes);
      kernel.rows(params, begin, end, scratch.data());
    });
    if (wants_gradient && read) read->spread(gradient, result.gradient);

    if (!result.loss.defined()) return;
    if (!reduces) {
      if (!std::is_same_v<scalar_t, acc>) result.loss.copy_(of_pixels);
      return;
    }
    double total = 0;
    for (const double loss : row_loss) total += loss;
    result.loss.fill_(args.reduction == kReduceMean ? total / denominator : total);
  });
  return result;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) {
  m.impl("upsample_cross_entropy", on_cpu<cross_entropy_loss_on<cross_entropy_on_cpu>>);
  m.impl("upsample_cross_entropy_with_gradient",
         on_cpu<cross_entropy_with_gradient_on<cross_entropy_on_cpu>>);
  m.impl("upsample_cross_entropy_backward", on_cpu<cross_entropy_backward_on<cross_entropy_on_cpu>>);
}

}  // namespace upsample_ext
