// Depthwise transposed convolution: checks, outputs, meta kernels, autograd, autocast.
//
// Three ops, each linear in both of its tensors, are closed under differentiation: with y = conv(x, w),
// backward_input and backward_weight are its adjoints in x and in w, and the adjoints of each are the other
// two.
#include "deconv.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "autograd_node.h"
#include "op_handles.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;
using std::optional;

// ---- shapes ----------------------------------------------------------------------------------------------

static void check_companion(const char* op, const char* name, const Tensor& tensor, const Tensor& image) {
  TORCH_CHECK(tensor.scalar_type() == image.scalar_type(), op, ": expected ", name, " of dtype ",
              image.scalar_type(), ", got ", tensor.scalar_type());
  TORCH_CHECK(tensor.device() == image.device(), op, ": expected ", name, " on device ", image.device(),
              ", got ", tensor.device());
}

static void check_float_image(const char* op, const char* name, const Tensor& image) {
  TORCH_CHECK(image.dim() == 4, op, ": expected a 4-D ", name, " (N, C, H, W), got ", image.sym_sizes());
  TORCH_CHECK(image.sym_size(1) != 0 && image.sym_size(2) != 0 && image.sym_size(3) != 0, op, ": expected a ",
              name, " (N, C, H, W) that is non-empty in all but the batch, got ", image.sym_sizes());
  TORCH_CHECK(at::isFloatingType(image.scalar_type()), op, ": expected a floating-point ", name, ", got ",
              image.scalar_type());
}

static void check_weight(const char* op, const Tensor& weight, const Tensor& image) {
  TORCH_CHECK(weight.dim() == 4 && weight.sym_size(0) == image.sym_size(1) && weight.sym_size(1) == 1, op,
              ": expected a weight (", image.sym_size(1), ", 1, kH, kW), got ", weight.sym_sizes());
  check_companion(op, "a weight", weight, image);
}

static void check_both_images(const char* op, const Tensor& grad_output, const Tensor& input) {
  check_float_image(op, "grad_output", grad_output);
  check_float_image(op, "input", input);
  check_companion(op, "an input", input, grad_output);
  TORCH_CHECK(input.sym_size(0) == grad_output.sym_size(0) && input.sym_size(1) == grad_output.sym_size(1),
              op, ": expected input and grad_output of one batch and as many channels, got ",
              input.sym_sizes(), " and ", grad_output.sym_sizes());
}

static bool prefers_channels_last(const Tensor& a, const Tensor& b) {
  return a.suggest_memory_format() == at::MemoryFormat::ChannelsLast ||
         b.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
}

// Whether PyTorch has such a convolution done by oneDNN. Half types depend on the machine.
static bool is_natively_onednn(const Tensor& image) {
  if (!at::hasMKLDNN() || !at::globalContext().userEnabledMkldnn()) return false;
  const auto supports = [](const char* question) {
    const auto op = c10::Dispatcher::singleton().findSchema({question, ""});
    return op.has_value() && op->typed<bool()>().call();
  };
  static const bool half = supports("mkldnn::_is_mkldnn_fp16_supported");
  static const bool bfloat16 = supports("mkldnn::_is_mkldnn_bf16_supported");
  const at::ScalarType dtype = image.scalar_type();
  return dtype == at::kFloat || (dtype == at::kHalf && half) || (dtype == at::kBFloat16 && bfloat16);
}

// Whether native's gradient of the weight is channels-last if the convolution is: with oneDNN always; with
// PyTorch's own CPU kernels if the weight is, which they first copy to that format where it has another.
static bool has_channels_last_gradient(const Tensor& weight, const Tensor& input) {
  return !input.is_cpu() || is_natively_onednn(input) ||
         !weight.is_contiguous(at::MemoryFormat::ChannelsLast) ||
         weight.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
}

static at::MemoryFormat format_of(const Tensor& a, const Tensor& b, optional<bool> channels_last = {}) {
  return channels_last.value_or(prefers_channels_last(a, b)) ? at::MemoryFormat::ChannelsLast
                                                             : at::MemoryFormat::Contiguous;
}

Tensor make_depthwise_output(const Tensor& input, const Tensor& weight, const optional<Tensor>& bias,
                             const ConvTransposeArgs& args) {
  const char* op = "depthwise_conv_transpose2d";
  check_float_image(op, "input", input);
  check_weight(op, weight, input);
  if (bias.has_value() && bias->defined()) {
    TORCH_CHECK(bias->dim() == 1 && bias->sym_size(0) == input.sym_size(1), op, ": expected a bias (",
                input.sym_size(1), "), got ", bias->sym_sizes());
    check_companion(op, "a bias", *bias, input);
  }
  auto [height, width] = conv_transpose_size(op, input, weight.sym_sizes().slice(2), args);
  return at::empty_symint({input.sym_size(0), input.sym_size(1), height, width}, input.options(),
                          is_empty_batch(input) ? at::MemoryFormat::Contiguous : format_of(input, weight));
}

Tensor make_depthwise_grad_input(const Tensor& grad_output, const Tensor& weight, SymIntArrayRef input_size,
                                 const ConvTransposeArgs& args, optional<bool> channels_last) {
  const char* op = "depthwise_conv_transpose2d_backward_input";
  check_float_image(op, "grad_output", grad_output);
  check_weight(op, weight, grad_output);
  output_padding_of(op, grad_output, input_size, weight.sym_sizes().slice(2), args);
  return at::empty_symint({grad_output.sym_size(0), grad_output.sym_size(1), input_size[0], input_size[1]},
                          grad_output.options(), format_of(grad_output, weight, channels_last));
}

Tensor make_depthwise_grad_weight(const Tensor& grad_output, const Tensor& input, SymIntArrayRef kernel_size,
                                  const ConvTransposeArgs& args, optional<bool> channels_last) {
  const char* op = "depthwise_conv_transpose2d_backward_weight";
  check_both_images(op, grad_output, input);
  output_padding_of(op, grad_output, input.sym_sizes().slice(2), kernel_size, args);
  return at::empty_symint({input.sym_size(1), 1, kernel_size[0], kernel_size[1]}, input.options(),
                          format_of(grad_output, input, channels_last));
}

Tensor make_channel_sum(const Tensor& input) {
  TORCH_CHECK(input.dim() == 4, "channel_sum: expected a 4-D input (N, C, H, W), got ", input.sym_sizes());
  TORCH_CHECK(at::isFloatingType(input.scalar_type()), "channel_sum: expected a floating-point input, got ",
              input.scalar_type());
  return at::empty_symint({input.sym_size(1)}, input.options());
}

// ---- meta ------------------------------------------------------------------------------------------------

static Tensor depthwise_meta(const Tensor& input, const Tensor& weight, const optional<Tensor>& bias,
                             SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                             SymIntArrayRef dilation, bool) {
  return make_depthwise_output(input, weight, bias, {stride, padding, output_padding, dilation});
}

static Tensor backward_input_meta(const Tensor& grad_output, const Tensor& weight, SymIntArrayRef input_size,
                                  SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation,
                                  bool, optional<bool> channels_last) {
  return make_depthwise_grad_input(grad_output, weight, input_size, {stride, padding, {}, dilation},
                                   channels_last);
}

static Tensor backward_weight_meta(const Tensor& grad_output, const Tensor& input, SymIntArrayRef kernel_size,
                                   SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation,
                                   bool, optional<bool> channels_last) {
  return make_depthwise_grad_weight(grad_output, input, kernel_size, {stride, padding, {}, dilation},
                                    channels_last);
}

// ---- autograd: the rules ---------------------------------------------------------------------------------

// What the three ops share: two tensors and the whole geometry, sizes included.
struct DepthwiseSettings {
  SavedVariable first, second;  // each kept only where the other one's gradient is wanted
  std::vector<SymInt> input_size, kernel_size, stride, padding, output_padding, dilation;
  bool replicate;

  template <class F>
  void visit(F&& f) {
    f(first), f(second), f(input_size), f(kernel_size), f(stride), f(padding), f(output_padding), f(dilation);
    f(replicate);
  }

  Tensor forward(const Tensor& input, const Tensor& weight) const {
    // A backward under autocast computes in the dtype of its gradients.
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    return depthwise_op().call(input, weight, std::nullopt, stride, padding, output_padding, dilation,
                               replicate);
  }
  Tensor backward_input(const Tensor& grad_output, const Tensor& weight,
                        optional<bool> channels_last = {}) const {
    return depthwise_backward_input_op().call(grad_output, weight, input_size, stride, padding, dilation,
                                              replicate, channels_last);
  }
  Tensor backward_weight(const Tensor& grad_output, const Tensor& input,
                         optional<bool> channels_last = {}) const {
    return depthwise_backward_weight_op().call(grad_output, input, kernel_size, stride, padding, dilation,
                                               replicate, channels_last);
  }
};

// grad_output in the memory order of the input, converted once for both gradients instead of by each op.
// Tensors that stand for others (under vmap, while tracing) are left to the ops, and so are those on the CPU,
// whose launchers copy faster.
static Tensor in_common_order(const Tensor& grad_output, const Tensor& input) {
  if (grad_output.is_cpu()) return grad_output;
  constexpr auto stand_ins =
      c10::DispatchKeySet({c10::DispatchKey::FuncTorchBatched, c10::DispatchKey::FuncTorchGradWrapper,
                           c10::DispatchKey::Functionalize, c10::DispatchKey::Python});
  for (const Tensor* image : {&grad_output, &input}) {
    if (image->key_set().has_any(stand_ins) || image->numel() == 0) return grad_output;
  }
  return in_order_of(grad_output, input);
}

struct DepthwiseRule : DepthwiseSettings {  // first: input, second: weight
  static constexpr const char* name = "DepthwiseConvTranspose2DBackward";
  // The gradients' layouts, as natively, whatever grad_output's is; and their strides, if the batch is empty.
  bool channels_last, weight_channels_last;
  std::vector<SymInt> input_shape, input_strides, weight_shape, weight_strides;

  template <class F>
  void visit(F&& f) {
    DepthwiseSettings::visit(f);
    f(channels_last), f(weight_channels_last);
    f(input_shape), f(input_strides), f(weight_shape), f(weight_strides);
  }
  void set_layouts(const Tensor& input, const Tensor& weight) {
    channels_last = prefers_channels_last(input, weight);
    weight_channels_last = channels_last && has_channels_last_gradient(weight, input);
    if (!is_empty_batch(input) || replicate) return;
    input_shape = input.sym_sizes().vec();
    input_strides = input.sym_strides().vec();
    weight_shape = weight.sym_sizes().vec();
    weight_strides = at::empty_like(weight).sym_strides().vec();  // without overlap
  }
  void backward(const Tensor& grad, const NeedsGradient& needs, variable_list& grads) {
    const Tensor input = needs(1) ? first.unpack() : Tensor();
    const Tensor grad_output = needs(0) && needs(1) ? in_common_order(grad, input) : grad;
    if (needs(0)) grads[0] = backward_input(grad_output, second.unpack(), channels_last);
    if (needs(1)) grads[1] = backward_weight(grad_output, input, weight_channels_last);
    if (needs(2)) grads[2] = channel_sum_op().call(grad);
    if (input_strides.empty()) return;
    if (needs(0)) grads[0] = grads[0].as_strided_symint(input_shape, input_strides);
    if (needs(1)) grads[1] = grads[1].as_strided_symint(weight_shape, weight_strides);  // all zeros
  }
};

struct DepthwiseBackwardInputRule : DepthwiseSettings {  // first: grad_output, second: weight
  static constexpr const char* name = "DepthwiseConvTranspose2DBackwardInputBackward";
  void backward(const Tensor& grad, const NeedsGradient& needs, variable_list& grads) {
    if (needs(0)) grads[0] = forward(grad, second.unpack());
    if (needs(1)) grads[1] = backward_weight(first.unpack(), grad);
  }
};

struct DepthwiseBackwardWeightRule : DepthwiseSettings {  // first: grad_output, second: input
  static constexpr const char* name = "DepthwiseConvTranspose2DBackwardWeightBackward";
  void backward(const Tensor& grad, const NeedsGradient& needs, variable_list& grads) {
    if (needs(0)) grads[0] = forward(second.unpack(), grad);
    if (needs(1)) grads[1] = backward_input(first.unpack(), grad);
  }
};

struct ChannelSumRule {
  static constexpr const char* name = "ChannelSumBackward";
  std::vector<SymInt> sizes;
  template <class F>
  void visit(F&& f) {
    f(sizes);
  }
  void backward(const Tensor& grad, const NeedsGradient&, variable_list& grads) {
    grads[0] = grad.view_symint({1, sizes[1], 1, 1}).expand_symint(sizes);
  }
};

// ---- autograd: the ops -----------------------------------------------------------------------------------

static void save_both(DepthwiseSettings& rule, const Tensor& first, const Tensor& second) {
  if (torch::autograd::compute_requires_grad(second)) rule.first = SavedVariable(first, false);
  if (torch::autograd::compute_requires_grad(first)) rule.second = SavedVariable(second, false);
}

// The value without its tangent.
static Tensor primal(const Tensor& t) { return has_tangent(t) ? t._fw_primal(/*level=*/0) : t; }

// The tangent of an op that is linear in each of its two tensors.
template <class Call>
static Tensor bilinear_tangent(const Tensor& first, const Tensor& second, Call&& call) {
  Tensor tangent;
  if (has_tangent(first)) add_tangent(tangent, call(first._fw_grad(0), primal(second)));
  if (has_tangent(second)) add_tangent(tangent, call(primal(first), second._fw_grad(0)));
  return tangent;
}

static Tensor depthwise_autograd(const Tensor& input, const Tensor& weight,
                                 const optional<Tensor>& optional_bias, SymIntArrayRef stride,
                                 SymIntArrayRef padding, SymIntArrayRef output_padding,
                                 SymIntArrayRef dilation, bool replicate) {
  const Tensor bias = optional_bias.value_or(Tensor());
  Tensor output = with_history<DepthwiseRule>(
      [&] {
        return depthwise_op().call(input, weight, optional_bias, stride, padding, output_padding, dilation,
                                   replicate);
      },
      [&](DepthwiseRule& rule) {
        save_both(rule, input, weight);
        rule.input_size = {input.sym_size(2), input.sym_size(3)};
        rule.kernel_size = {weight.sym_size(2), weight.sym_size(3)};
        rule.stride = stride.vec();
        rule.padding = padding.vec();
        rule.output_padding = output_padding.vec();
        rule.dilation = dilation.vec();
        rule.replicate = replicate;
        rule.set_layouts(input, weight);
      },
      input, weight, bias);
  if (!has_tangent(input) && !has_tangent(weight) && !has_tangent(bias)) return output;
  Tensor tangent = bilinear_tangent(input, weight, [&](const Tensor& x, const Tensor& w) {
    return depthwise_op().call(x, w, std::nullopt, stride, padding, output_padding, dilation, replicate);
  });
  if (has_tangent(bias)) {
    const Tensor shift = bias._fw_grad(0).view_symint({1, output.sym_size(1), 1, 1});
    add_tangent(tangent, tangent.defined() ? shift : shift.expand_symint(output.sym_sizes()));
  }
  set_tangent(output, tangent);
  return output;
}

static Tensor backward_input_autograd(const Tensor& grad_output, const Tensor& weight,
                                      SymIntArrayRef input_size, SymIntArrayRef stride,
                                      SymIntArrayRef padding, SymIntArrayRef dilation, bool replicate,
                                      optional<bool> channels_last) {
  const auto call = [&](const Tensor& g, const Tensor& w) {
    return depthwise_backward_input_op().call(g, w, input_size, stride, padding, dilation, replicate,
                                              channels_last);
  };
  Tensor output = with_history<DepthwiseBackwardInputRule>(
      [&] { return call(grad_output, weight); },
      [&](DepthwiseBackwardInputRule& rule) {
        save_both(rule, grad_output, weight);
        rule.input_size = input_size.vec();
        rule.kernel_size = {weight.sym_size(2), weight.sym_size(3)};
        rule.stride = stride.vec();
        rule.padding = padding.vec();
        rule.output_padding =
            output_padding_of("depthwise_conv_transpose2d_backward_input", grad_output, input_size,
                              rule.kernel_size, {stride, padding, {}, dilation});
        rule.dilation = dilation.vec();
        rule.replicate = replicate;
      },
      grad_output, weight);
  set_tangent(output, bilinear_tangent(grad_output, weight, call));
  return output;
}

static Tensor backward_weight_autograd(const Tensor& grad_output, const Tensor& input,
                                       SymIntArrayRef kernel_size, SymIntArrayRef stride,
                                       SymIntArrayRef padding, SymIntArrayRef dilation, bool replicate,
                                       optional<bool> channels_last) {
  const auto call = [&](const Tensor& g, const Tensor& x) {
    return depthwise_backward_weight_op().call(g, x, kernel_size, stride, padding, dilation, replicate,
                                               channels_last);
  };
  Tensor output = with_history<DepthwiseBackwardWeightRule>(
      [&] { return call(grad_output, input); },
      [&](DepthwiseBackwardWeightRule& rule) {
        save_both(rule, grad_output, input);
        rule.input_size = {input.sym_size(2), input.sym_size(3)};
        rule.kernel_size = kernel_size.vec();
        rule.stride = stride.vec();
        rule.padding = padding.vec();
        rule.output_padding =
            output_padding_of("depthwise_conv_transpose2d_backward_weight", grad_output, rule.input_size,
                              kernel_size, {stride, padding, {}, dilation});
        rule.dilation = dilation.vec();
        rule.replicate = replicate;
      },
      grad_output, input);
  set_tangent(output, bilinear_tangent(grad_output, input, call));
  return output;
}

static Tensor channel_sum_autograd(const Tensor& input) {
  Tensor output = with_history<ChannelSumRule>(
      [&] { return channel_sum_op().call(input); },
      [&](ChannelSumRule& rule) { rule.sizes = input.sym_sizes().vec(); }, input);
  if (has_tangent(input)) set_tangent(output, channel_sum_op().call(input._fw_grad(0)));
  return output;
}

// ---- autocast: the casts of native's conv_transpose2d ----------------------------------------------------

template <at::DeviceType kDevice>
static Tensor depthwise_autocast(const Tensor& input, const Tensor& weight, const optional<Tensor>& bias,
                                 SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                                 SymIntArrayRef dilation, bool replicate) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      c10::DispatchKeySet(at::autocast::get_autocast_dispatch_key_from_device_type(kDevice)));
  const at::ScalarType dtype = at::autocast::get_lower_precision_fp_from_device_type(kDevice);
  return depthwise_op().call(
      at::autocast::cached_cast(dtype, input, kDevice), at::autocast::cached_cast(dtype, weight, kDevice),
      at::autocast::cached_cast(dtype, bias, kDevice), stride, padding, output_padding, dilation, replicate);
}

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) {
  m.impl("depthwise_conv_transpose2d", depthwise_meta);
  m.impl("depthwise_conv_transpose2d_backward_input", backward_input_meta);
  m.impl("depthwise_conv_transpose2d_backward_weight", backward_weight_meta);
  m.impl("channel_sum", make_channel_sum);
}

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) {
  m.impl("depthwise_conv_transpose2d", depthwise_autograd);
  m.impl("depthwise_conv_transpose2d_backward_input", backward_input_autograd);
  m.impl("depthwise_conv_transpose2d_backward_weight", backward_weight_autograd);
  m.impl("channel_sum", channel_sum_autograd);
}

TORCH_LIBRARY_IMPL(upsample_ext, AutocastCPU, m) {
  m.impl("depthwise_conv_transpose2d", depthwise_autocast<at::kCPU>);
}
TORCH_LIBRARY_IMPL(upsample_ext, AutocastCUDA, m) {
  m.impl("depthwise_conv_transpose2d", depthwise_autocast<at::kCUDA>);
}

}  // namespace upsample_ext
