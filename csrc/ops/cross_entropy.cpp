// Cross-entropy of resized logits: checks, outputs, meta kernels, autograd.
//
// First order is fused: a mean or sum computes its gradient together with the loss, because another pass over
// the logits costs more than keeping one low-resolution tensor (float32 for half types: the gradient of a
// mean is too small for them before it is scaled). If it is not known yet (reduction "none"), backward reads
// the logits again, from a copy: natively they may change once the loss is known. Higher orders and forward
// mode use the unfused expression, written here in PyTorch's own differentiable ops.
#include "cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/library.h>

#include "autograd_node.h"
#include "dtypes.h"
#include "op_handles.h"
#include "resample.h"

namespace upsample_ext {

using at::Tensor;
using std::optional;

constexpr const char* kOp = "upsample_cross_entropy";

// ---- checks and outputs ---------------------------------------------------------------------------------

void check_cross_entropy(const Tensor& input, const CrossEntropyArgs& args) {
  const Tensor& target = args.target;
  TORCH_CHECK(target.dim() == 3 && target.scalar_type() == at::kLong, kOp,
              ": expected an int64 target (N, H, W) of class indices, got ", target.scalar_type(), " ",
              target.sym_sizes());
  const c10::SymInt size[] = {target.sym_size(1), target.sym_size(2)};
  check_resize(kOp, input, size);
  TORCH_CHECK_VALUE(input.sym_size(0) == target.sym_size(0), kOp, ": expected input batch_size (",
                    input.sym_size(0), ") to match target batch_size (", target.sym_size(0), ")");
  TORCH_CHECK(target.device() == input.device(), kOp, ": expected the target on device ", input.device(),
              ", got ", target.device());
  TORCH_CHECK(at::isFloatingType(input.scalar_type()), kOp, ": expected a floating-point input, got ",
              input.scalar_type());
  if (args.weight) {
    TORCH_CHECK(args.weight->dim() == 1 && args.weight->sym_size(0) == input.sym_size(1), kOp,
                ": expected a weight for each of ", input.sym_size(1), " classes, got a tensor of shape ",
                args.weight->sym_sizes());
    TORCH_CHECK(args.weight->scalar_type() == input.scalar_type() && args.weight->device() == input.device(),
                kOp, ": expected the weight in ", input.scalar_type(), " on ", input.device(),
                " as the input, got ", args.weight->scalar_type(), " on ", args.weight->device());
  }
  TORCH_CHECK(args.reduction >= kReduceNone && args.reduction <= kReduceSum, kOp,
              ": expected reduction 0 (none), 1 (mean) or 2 (sum), got ", args.reduction);
  TORCH_CHECK(args.label_smoothing >= 0.0 && args.label_smoothing <= 1.0, kOp,
              ": label_smoothing must be between 0.0 and 1.0. Got: ", args.label_smoothing);
}

Tensor make_cross_entropy_loss(const Tensor& input, const CrossEntropyArgs& args) {
  check_cross_entropy(input, args);
  return args.reduction == kReduceNone ? at::empty_symint(args.target.sym_sizes(), input.options())
                                       : at::empty({}, input.options());
}

Tensor make_cross_entropy_gradient(const Tensor& input) {
  return at::empty_symint(input.sym_sizes(), input.options().dtype(sum_type(input.scalar_type())),
                          at::MemoryFormat::Contiguous);
}

void check_cross_entropy_grad_output(const Tensor& grad_output, const Tensor& input,
                                     const CrossEntropyArgs& args) {
  check_cross_entropy(input, args);
  const bool fits = args.reduction == kReduceNone ? grad_output.sym_sizes() == args.target.sym_sizes()
                                                  : grad_output.dim() == 0;
  TORCH_CHECK(fits && grad_output.scalar_type() == input.scalar_type(), kOp,
              "_backward: expected a grad_output like the loss, got ", grad_output.scalar_type(), " ",
              grad_output.sym_sizes(), " for an input of ", input.scalar_type(), " and a target ",
              args.target.sym_sizes());
  TORCH_CHECK(grad_output.device() == input.device(), kOp, "_backward: expected the grad_output on device ",
              input.device(), ", got ", grad_output.device());
}

// In the dtype of the factor. A product with a number changes the strides of an empty tensor.
static Tensor scaled(const Tensor& gradient, const Tensor& factor) {
  const Tensor product = is_empty_batch(gradient) ? at::empty_like(gradient) : at::mul(gradient, factor);
  return product.to(factor.scalar_type());
}

Tensor scaled_gradient(const Tensor& gradient, const Tensor& grad_output, const Tensor& input) {
  const at::ScalarType wide = sum_type(input.scalar_type());
  TORCH_CHECK(gradient.sym_sizes() == input.sym_sizes() && gradient.scalar_type() == wide &&
                  gradient.device() == input.device(),
              kOp, "_backward: expected a gradient like the input, ", wide, " ", input.sym_sizes(), " on ",
              input.device(), ", got ", gradient.scalar_type(), " ", gradient.sym_sizes(), " on ",
              gradient.device());
  TORCH_CHECK(grad_output.dim() == 0, kOp,
              "_backward: expected a reduction, mean or sum, where a gradient is given");
  return scaled(gradient, grad_output);
}

// ---- the unfused expression -----------------------------------------------------------------------------

static Tensor resize_to_target(const Tensor& input, const CrossEntropyArgs& args) {
  const c10::SymInt size[] = {args.target.sym_size(1), args.target.sym_size(2)};
  return upsample_op().call(input.to(sum_type(input.scalar_type())), size, args.align_corners, std::nullopt,
                            std::nullopt);
}

static Tensor unfused_loss(const Tensor& input, const CrossEntropyArgs& args) {
  optional<Tensor> weight;
  if (args.weight) weight = args.weight->to(sum_type(input.scalar_type()));
  return at::cross_entropy_loss_symint(resize_to_target(input, args), args.target, weight, args.reduction,
                                       args.ignore_index, args.label_smoothing)
      .to(input.scalar_type());
}

// The gradient of the resized logits z is scale * (total * softmax(z) - share), all of them (N, 1 or C, H,
// W).
struct UnfusedGradient {
  Tensor valid, share, total, probability, scale;
  optional<Tensor> denominator;  // if the loss is a mean
};

static UnfusedGradient unfused_parts(const Tensor& grad_output, const Tensor& input,
                                     const CrossEntropyArgs& args) {
  UnfusedGradient parts;
  const Tensor logits = resize_to_target(input, args);
  const c10::SymInt classes = input.sym_size(1);
  parts.valid = args.target.ne(args.ignore_index).unsqueeze(1);
  const Tensor target = args.target.unsqueeze(1).masked_fill(parts.valid.logical_not(), 0);
  const Tensor weight =
      args.weight ? args.weight->to(logits.scalar_type()) : at::ones_symint({classes}, logits.options());
  const Tensor of_target = at::index_select(weight, 0, target.flatten()).view_as(target) * parts.valid;
  const Tensor everywhere = weight.view_symint({1, classes, 1, 1}) * parts.valid;
  const double smoothing = args.label_smoothing;
  parts.share = at::zeros_like(logits.detach()).scatter(1, target, of_target * (1 - smoothing)) +
                everywhere * smoothing / classes;
  parts.total = parts.share.sum(1, /*keepdim=*/true);
  parts.probability = at::softmax(logits, 1);
  if (args.reduction == kReduceMean) parts.denominator = of_target.sum();
  const Tensor wide = grad_output.to(logits.scalar_type());
  if (args.reduction == kReduceNone) {
    parts.scale = wide.unsqueeze(1);
  } else {
    parts.scale = (parts.denominator ? wide / *parts.denominator : wide).expand_as(parts.valid);
  }
  parts.scale = parts.scale.masked_fill(parts.valid.logical_not(), 0);
  return parts;
}

static Tensor to_input(const Tensor& resized, const Tensor& input, const CrossEntropyArgs& args) {
  const c10::SymInt size[] = {input.sym_size(2), input.sym_size(3)};
  return upsample_backward_op()
      .call(resized, size, args.align_corners, std::nullopt, std::nullopt)
      .to(input.scalar_type());
}

static Tensor unfused_gradient(const Tensor& grad_output, const Tensor& input, const CrossEntropyArgs& args) {
  const UnfusedGradient parts = unfused_parts(grad_output, input, args);
  return to_input(parts.scale * (parts.total * parts.probability - parts.share), input, args);
}

// ---- autograd -------------------------------------------------------------------------------------------

static optional<Tensor> if_defined(const Tensor& t) {
  return t.defined() ? optional<Tensor>(t) : std::nullopt;
}

// What both nodes save.
struct CrossEntropyFields {
  SavedVariable input, target, weight;
  int64_t reduction, ignore_index;
  double label_smoothing;
  bool align_corners;

  template <class F>
  void visit(F&& f) {
    f(input), f(target), f(weight), f(reduction), f(ignore_index), f(label_smoothing), f(align_corners);
  }
  void save(const Tensor& x, const CrossEntropyArgs& args) {
    input = SavedVariable(x, false);
    target = SavedVariable(args.target, false);
    if (args.weight) weight = SavedVariable(*args.weight, false);
    reduction = args.reduction;
    ignore_index = args.ignore_index;
    label_smoothing = args.label_smoothing;
    align_corners = args.align_corners;
  }
  // Calls f(input, args).
  template <class F>
  auto with_args(F&& f) {
    const Tensor x = input.unpack(), classes = target.unpack();
    const optional<Tensor> class_weight = if_defined(weight.unpack());
    return f(
        x, CrossEntropyArgs{classes, class_weight, reduction, ignore_index, label_smoothing, align_corners});
  }
};

// Whether grad is exactly 1, as in loss.backward(). Only checked for plain CPU tensors, whose value can be
// read without waiting, and not where a mode may be recording a graph.
static bool is_one(const Tensor& grad) {
  using c10::DispatchKey;
  const c10::DispatchKeySet wrappers{DispatchKey::Python, DispatchKey::Functionalize, DispatchKey::Batched,
                                     DispatchKey::FuncTorchBatched, DispatchKey::FuncTorchGradWrapper};
  return grad.is_cpu() && !grad.key_set().has_any(wrappers) && !grad._is_zerotensor() &&
         !c10::impl::TorchDispatchModeTLS::any_modes_set() && grad.item<double>() == 1.0;
}

struct CrossEntropyRule {
  static constexpr const char* name = "UpsampleCrossEntropyBackward";
  SavedVariable gradient;  // of the loss to the input, where it was computed with the loss
  CrossEntropyFields fields;

  template <class F>
  void visit(F&& f) {
    f(gradient);
    fields.visit(f);
  }
  void backward(const Tensor& grad, const NeedsGradient&, variable_list& grads) {
    const optional<Tensor> known = if_defined(gradient.unpack());
    if (known && !at::GradMode::is_enabled()) {  // the other saved tensors may have changed since
      // In the last backward with a factor of 1, the saved tensor itself is returned, not a copy; but of half
      // types.
      const bool is_last = !torch::autograd::get_current_graph_task_keep_graph();
      grads[0] = is_last && is_one(grad) ? known->to(grad.scalar_type()) : scaled(*known, grad);
      return;
    }
    grads[0] = fields.with_args([&](const Tensor& input, const CrossEntropyArgs& args) {
      return cross_entropy_backward_op().call(grad, known, input, args.target, args.weight, args.reduction,
                                              args.ignore_index, args.label_smoothing, args.align_corners);
    });
  }
};

// The second derivative: the gradient of the gradient, with respect to grad_output and to the input.
struct CrossEntropyBackwardRule {
  static constexpr const char* name = "UpsampleCrossEntropyBackwardBackward";
  SavedVariable grad_output;
  CrossEntropyFields fields;

  template <class F>
  void visit(F&& f) {
    f(grad_output);
    fields.visit(f);
  }
  void backward(const Tensor& grad, const NeedsGradient& needs, variable_list& grads) {
    const Tensor grad_loss = grad_output.unpack();
    fields.with_args([&](const Tensor& input, const CrossEntropyArgs& args) {
      const UnfusedGradient parts = unfused_parts(grad_loss, input, args);
      const Tensor u = resize_to_target(grad, args);
      if (needs(0)) {
        const Tensor of_pixel = ((parts.total * parts.probability - parts.share) * u).sum(1);
        const Tensor sum = args.reduction == kReduceNone ? of_pixel : of_pixel.sum();
        grads[0] = (parts.denominator ? sum / *parts.denominator : sum).to(grad_loss.scalar_type());
      }
      if (needs(1)) {
        const Tensor mean = (parts.probability * u).sum(1, /*keepdim=*/true);
        grads[1] = to_input(parts.scale * parts.total * parts.probability * (u - mean), input, args);
      }
    });
  }
};

// Whether the weight takes part in differentiation, which is then left to the unfused expression.
static bool learns_weight(const optional<Tensor>& weight) {
  return weight && ((at::GradMode::is_enabled() && weight->requires_grad()) || has_tangent(*weight));
}

static Tensor cross_entropy_autograd(const Tensor& input, const Tensor& target,
                                     const optional<Tensor>& weight, int64_t reduction, int64_t ignore_index,
                                     double label_smoothing, bool align_corners) {
  const CrossEntropyArgs args{target, weight, reduction, ignore_index, label_smoothing, align_corners};
  if (has_tangent(input) || learns_weight(weight)) {
    check_cross_entropy(input, args);
    return unfused_loss(input, args);
  }
  if (!torch::autograd::compute_requires_grad(input)) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    return cross_entropy_op().call(input, target, weight, reduction, ignore_index, label_smoothing,
                                   align_corners);
  }
  const bool with_gradient = reduction != kReduceNone;
  NodePointer<RuleNode<CrossEntropyRule>> node = make_node<RuleNode<CrossEntropyRule>>();
  node->set_next_edges(torch::autograd::collect_next_edges(input));
  // A tensor that may not be saved (of inference mode) is refused before the targets are read, as natively.
  node->rule.fields.save(with_gradient ? input : input.clone(), args);
  Tensor loss, gradient;
  {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    if (with_gradient) {
      std::tie(loss, gradient) = cross_entropy_with_gradient_op().call(
          input, target, weight, reduction, ignore_index, label_smoothing, align_corners);
    } else {
      loss = cross_entropy_op().call(input, target, weight, reduction, ignore_index, label_smoothing,
                                     align_corners);
    }
  }
  if (with_gradient) node->rule.gradient = SavedVariable(gradient, false);
  torch::autograd::set_history(loss, node);
  return loss;
}

// Under nested differentiation (functorch) the fused pair is computed by its two differentiable ops.
static std::tuple<Tensor, Tensor> cross_entropy_with_gradient_autograd(
    const Tensor& input, const Tensor& target, const optional<Tensor>& weight, int64_t reduction,
    int64_t ignore_index, double label_smoothing, bool align_corners) {
  if (torch::autograd::compute_requires_grad(input) || has_tangent(input) || learns_weight(weight)) {
    const Tensor loss = cross_entropy_op().call(input, target, weight, reduction, ignore_index,
                                                label_smoothing, align_corners);
    const at::ScalarType wide = sum_type(input.scalar_type());
    const Tensor gradient = cross_entropy_backward_op().call(
        at::ones_like(loss, loss.options().dtype(wide)), std::nullopt, input.to(wide), target,
        weight ? optional<Tensor>(weight->to(wide)) : std::nullopt, reduction, ignore_index, label_smoothing,
        align_corners);
    return {loss, gradient};
  }
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return cross_entropy_with_gradient_op().call(input, target, weight, reduction, ignore_index,
                                               label_smoothing, align_corners);
}

static Tensor cross_entropy_backward_autograd(const Tensor& grad_output, const optional<Tensor>& gradient,
                                              const Tensor& input, const Tensor& target,
                                              const optional<Tensor>& weight, int64_t reduction,
                                              int64_t ignore_index, double label_smoothing,
                                              bool align_corners) {
  const CrossEntropyArgs args{target, weight, reduction, ignore_index, label_smoothing, align_corners};
  if (has_tangent(grad_output) || has_tangent(input) || learns_weight(weight)) {
    check_cross_entropy_grad_output(grad_output, input, args);
    return unfused_gradient(grad_output, input, args);
  }
  return with_history<CrossEntropyBackwardRule>(
      [&] {
        return cross_entropy_backward_op().call(grad_output, gradient, input, target, weight, reduction,
                                                ignore_index, label_smoothing, align_corners);
      },
      [&](CrossEntropyBackwardRule& rule) {
        rule.grad_output = SavedVariable(grad_output, false);
        rule.fields.save(input, args);
      },
      grad_output, input);
}

// ---- meta, autocast -------------------------------------------------------------------------------------

static Tensor cross_entropy_meta(const Tensor& input, const Tensor& target, const optional<Tensor>& weight,
                                 int64_t reduction, int64_t ignore_index, double label_smoothing,
                                 bool align_corners) {
  return make_cross_entropy_loss(input,
                                 {target, weight, reduction, ignore_index, label_smoothing, align_corners});
}

static std::tuple<Tensor, Tensor> cross_entropy_with_gradient_meta(const Tensor& input, const Tensor& target,
                                                                   const optional<Tensor>& weight,
                                                                   int64_t reduction, int64_t ignore_index,
                                                                   double label_smoothing,
                                                                   bool align_corners) {
  return {cross_entropy_meta(input, target, weight, reduction, ignore_index, label_smoothing, align_corners),
          make_cross_entropy_gradient(input)};
}

static Tensor cross_entropy_backward_meta(const Tensor& grad_output, const optional<Tensor>& gradient,
                                          const Tensor& input, const Tensor& target,
                                          const optional<Tensor>& weight, int64_t reduction,
                                          int64_t ignore_index, double label_smoothing, bool align_corners) {
  check_cross_entropy_grad_output(grad_output, input,
                                  {target, weight, reduction, ignore_index, label_smoothing, align_corners});
  return gradient ? scaled_gradient(*gradient, grad_output, input)
                  : make_cross_entropy_gradient(input).to(input.scalar_type());
}

// Losses are float32 under autocast, as F.cross_entropy's are.
template <at::DeviceType kDevice>
static Tensor cross_entropy_autocast(const Tensor& input, const Tensor& target,
                                     const optional<Tensor>& weight, int64_t reduction, int64_t ignore_index,
                                     double label_smoothing, bool align_corners) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      c10::DispatchKeySet(at::autocast::get_autocast_dispatch_key_from_device_type(kDevice)));
  optional<Tensor> wide_weight;
  if (weight) wide_weight = at::autocast::cached_cast(at::kFloat, *weight, kDevice);
  return cross_entropy_op().call(at::autocast::cached_cast(at::kFloat, input, kDevice), target, wide_weight,
                                 reduction, ignore_index, label_smoothing, align_corners);
}

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) {
  m.impl("upsample_cross_entropy", cross_entropy_meta);
  m.impl("upsample_cross_entropy_with_gradient", cross_entropy_with_gradient_meta);
  m.impl("upsample_cross_entropy_backward", cross_entropy_backward_meta);
}

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) {
  m.impl("upsample_cross_entropy", cross_entropy_autograd);
  m.impl("upsample_cross_entropy_with_gradient", cross_entropy_with_gradient_autograd);
  m.impl("upsample_cross_entropy_backward", cross_entropy_backward_autograd);
}

TORCH_LIBRARY_IMPL(upsample_ext, AutocastCPU, m) {
  m.impl("upsample_cross_entropy", cross_entropy_autocast<at::kCPU>);
}
TORCH_LIBRARY_IMPL(upsample_ext, AutocastCUDA, m) {
  m.impl("upsample_cross_entropy", cross_entropy_autocast<at::kCUDA>);
}

}  // namespace upsample_ext
