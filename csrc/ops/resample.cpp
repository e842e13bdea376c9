// Bilinear resize and separable transposed convolution: checks, outputs, meta kernels, autograd.
#include "resample.h"

#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/SavedTensorHooks.h>
#include <ATen/autocast_mode.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "autograd_node.h"
#include "op_handles.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;
using std::optional;

// ---- shapes ----------------------------------------------------------------------------------------------

static bool prefers_channels_last(const Tensor& image) {
  return image.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
}

static Tensor empty_image(const Tensor& like, SymInt height, SymInt width,
                          optional<bool> channels_last = {}) {
  return at::empty_symint({like.sym_size(0), like.sym_size(1), std::move(height), std::move(width)},
                          like.options(),
                          channels_last.value_or(prefers_channels_last(like)) ? at::MemoryFormat::ChannelsLast
                                                                              : at::MemoryFormat::Contiguous);
}

static void check_image(const char* op, const char* name, const Tensor& image) {
  TORCH_CHECK(image.dim() == 4, op, ": expected a 4-D ", name, " (N, C, H, W), got ", image.sym_sizes());
  TORCH_CHECK(image.sym_size(1) != 0 && image.sym_size(2) != 0 && image.sym_size(3) != 0, op, ": expected a ",
              name, " (N, C, H, W) that is non-empty in all but the batch, got ", image.sym_sizes());
}

static void check_extent(const char* op, const char* name, SymIntArrayRef size) {
  TORCH_CHECK(size.size() == 2, op, ": expected ", name, " to be (H, W), got ", size);
  TORCH_CHECK(size[0] > 0 && size[1] > 0, op, ": expected ", name, " greater than 0, got ", size);
}

void check_resize(const char* op, const Tensor& input, SymIntArrayRef output_size) {
  check_image(op, "input", input);
  check_extent(op, "output_size", output_size);
}

Tensor make_upsample_output(const Tensor& input, SymIntArrayRef output_size) {
  check_resize("upsample_bilinear2d", input, output_size);
  return empty_image(input, output_size[0], output_size[1]);
}

Tensor make_upsample_grad_input(const Tensor& grad_output, SymIntArrayRef input_size) {
  check_image("upsample_bilinear2d_backward", "grad_output", grad_output);
  check_extent("upsample_bilinear2d_backward", "input_size", input_size);
  return empty_image(grad_output, input_size[0], input_size[1]);
}

static void check_upsample_out(const Tensor& input, SymIntArrayRef output_size, const Tensor& out) {
  check_resize("upsample_bilinear2d", input, output_size);
  TORCH_CHECK(out.scalar_type() == input.scalar_type(), "upsample_bilinear2d: expected out to have dtype ",
              input.scalar_type(), ", got ", out.scalar_type());
  TORCH_CHECK(out.device() == input.device(), "upsample_bilinear2d: expected out on device ", input.device(),
              ", got ", out.device());
}

void prepare_upsample_out(const Tensor& input, SymIntArrayRef output_size, const Tensor& out) {
  check_upsample_out(input, output_size, out);
  const SymInt shape[] = {input.sym_size(0), input.sym_size(1), output_size[0], output_size[1]};
  if (at::native::resize_output_symint(out, shape)) {
    const at::MemoryFormat format = input.suggest_memory_format();
    if (format != at::MemoryFormat::Contiguous) out.unsafeGetTensorImpl()->empty_tensor_restride(format);
  }
}

bool may_share_elements(const Tensor& out, const Tensor& input) {
  at::assert_no_internal_overlap(out);
  at::assert_no_overlap(out, input);
  return at::get_overlap_status(out, input) == at::MemOverlapStatus::TooHard;
}

Tensor in_order_of(const Tensor& image, const Tensor& other) {
  const bool by_pixel = image.stride(1) == 1, other_by_pixel = other.stride(1) == 1;
  if (image.size(1) == 1 || by_pixel == other_by_pixel) return image;
  if (!by_pixel && image.stride(3) != 1) return image;  // neither, such as an expanded one
  return image.contiguous(other_by_pixel ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
}

// ---- the geometry of transposed convolutions -------------------------------------------------------------

void check_pairs(const char* op, const ConvTransposeArgs& args) {
  TORCH_CHECK(args.stride.size() == 2 && args.padding.size() == 2 && args.dilation.size() == 2, op,
              ": expected stride, padding and dilation of two numbers each, got ", args.stride, ", ",
              args.padding, " and ", args.dilation);
}

// The output size that `axis` describes; symbolic sizes are computed in SymInt arithmetic, which does not
// wrap.
static SymInt checked_extent(const char* op, const SymInt& in, const SymInt& kernel,
                             const ConvTransposeArgs& args, int axis, const SymInt& extra) {
  const SymInt &stride = args.stride[axis], &padding = args.padding[axis], &dilation = args.dilation[axis];
  for (const SymInt* number : {&in, &kernel, &stride, &padding, &extra, &dilation}) {
    if (number->is_symbolic()) return (in - 1) * stride - padding * 2 + dilation * (kernel - 1) + extra + 1;
  }
  const ConvTransposeAxis numbers{in.expect_int(),      kernel.expect_int(), stride.expect_int(),
                                  padding.expect_int(), extra.expect_int(),  dilation.expect_int(),
                                  /*replicate=*/false};
  TORCH_CHECK(numbers.fits_64_bits(), op, ": expected positions that can be counted in 64 bits, got stride ",
              args.stride, ", padding ", args.padding, ", dilation ", args.dilation, " and output_padding ",
              extra, " with an input of ", in, " and a kernel of ", kernel, " along axis ", axis - 2);
  return numbers.out_size();
}

SymInt conv_transpose_extent(const char* op, const SymInt& in, const SymInt& kernel,
                             const ConvTransposeArgs& args, int axis) {
  const SymInt &stride = args.stride[axis], &dilation = args.dilation[axis];
  TORCH_CHECK(stride > 0, op, ": expected a stride greater than 0, got ", args.stride);
  TORCH_CHECK(args.padding[axis] >= 0, op, ": expected a padding of at least 0, got ", args.padding);
  TORCH_CHECK(dilation > 0, op, ": expected a dilation greater than 0, got ", args.dilation);
  TORCH_CHECK(kernel > 0, op, ": expected a non-empty kernel");
  if (args.output_padding.empty()) return checked_extent(op, in, kernel, args, axis, 0);
  const SymInt& extra = args.output_padding[axis];
  TORCH_CHECK(extra >= 0 && (extra < stride || extra < dilation), op,
              ": expected an output_padding of at least 0 and smaller than the stride or the dilation, got ",
              args.output_padding, " with stride ", args.stride, " and dilation ", args.dilation);
  SymInt out = checked_extent(op, in, kernel, args, axis, extra);
  TORCH_CHECK(out > 0, op, ": the output size along axis ", axis - 2, " would be ", out, " for an input of ",
              in);
  return out;
}

std::array<SymInt, 2> conv_transpose_size(const char* op, const Tensor& input, SymIntArrayRef kernel_size,
                                          const ConvTransposeArgs& args) {
  check_pairs(op, args);
  TORCH_CHECK(args.output_padding.size() == 2, op, ": expected output_padding of two numbers, got ",
              args.output_padding);
  return {conv_transpose_extent(op, input.sym_size(2), kernel_size[0], args, 0),
          conv_transpose_extent(op, input.sym_size(3), kernel_size[1], args, 1)};
}

std::vector<SymInt> output_padding_of(const char* op, const Tensor& grad_output, SymIntArrayRef input_size,
                                      SymIntArrayRef kernel_size, const ConvTransposeArgs& args) {
  check_pairs(op, args);
  check_extent(op, "input_size", input_size);
  TORCH_CHECK(kernel_size.size() == 2, op, ": expected kernel_size to be (kH, kW), got ", kernel_size);
  std::vector<SymInt> extra(2);
  for (int axis = 0; axis < 2; ++axis) {
    const SymInt least = conv_transpose_extent(op, input_size[axis], kernel_size[axis], args, axis);
    extra[axis] = grad_output.sym_size(2 + axis) - least;
    TORCH_CHECK(extra[axis] >= 0 && (extra[axis] < args.stride[axis] || extra[axis] < args.dilation[axis]),
                op, ": grad_output ", grad_output.sym_sizes(), " does not fit an input of size ", input_size,
                " and a kernel of size ", kernel_size);
  }
  return extra;
}

ConvTransposeAxis conv_transpose_axis(int axis, int64_t in_size, int64_t out_size, int64_t kernel_size,
                                      const ConvTransposeArgs& args, bool replicate) {
  ConvTransposeAxis geometry{in_size,
                             kernel_size,
                             args.stride[axis].expect_int(),
                             args.padding[axis].expect_int(),
                             0,
                             args.dilation[axis].expect_int(),
                             replicate};
  geometry.output_padding = out_size - geometry.out_size();
  return geometry.with_near_steps();
}

static void check_kernels(const char* op, const Tensor& image, const Tensor& kernel_h,
                          const Tensor& kernel_w) {
  for (const Tensor* kernel : {&kernel_h, &kernel_w}) {
    TORCH_CHECK(kernel->dim() == 1 && at::isFloatingType(kernel->scalar_type()), op,
                ": expected 1-D floating-point kernels, got ", kernel->scalar_type(), " ",
                kernel->sym_sizes());
    TORCH_CHECK(kernel->device() == image.device(), op, ": expected the kernels on device ", image.device(),
                ", got ", kernel->device());
    TORCH_CHECK(!kernel->requires_grad() && !has_tangent(*kernel), op,
                ": a fixed kernel has no gradient; use conv_transpose2d to learn one");
  }
}

Tensor make_separable_output(const Tensor& input, const Tensor& kernel_h, const Tensor& kernel_w,
                             const ConvTransposeArgs& args) {
  const char* op = "fixed_conv_transpose2d";
  check_image(op, "input", input);
  check_kernels(op, input, kernel_h, kernel_w);
  const SymInt kernel_size[] = {kernel_h.sym_size(0), kernel_w.sym_size(0)};
  auto [height, width] = conv_transpose_size(op, input, kernel_size, args);
  return empty_image(input, height, width);
}

Tensor make_separable_grad_input(const Tensor& grad_output, const Tensor& kernel_h, const Tensor& kernel_w,
                                 SymIntArrayRef input_size, const ConvTransposeArgs& args,
                                 optional<bool> channels_last) {
  const char* op = "fixed_conv_transpose2d_backward";
  check_image(op, "grad_output", grad_output);
  check_kernels(op, grad_output, kernel_h, kernel_w);
  const SymInt kernel_size[] = {kernel_h.sym_size(0), kernel_w.sym_size(0)};
  output_padding_of(op, grad_output, input_size, kernel_size, args);
  return empty_image(grad_output, input_size[0], input_size[1], channels_last);
}

// ---- bilinear resize: meta, autograd -------------------------------------------------------------------

static Tensor upsample_meta(const Tensor& input, SymIntArrayRef output_size, bool, optional<double>,
                            optional<double>) {
  return make_upsample_output(input, output_size);
}

static void upsample_out_meta(const Tensor& input, SymIntArrayRef output_size, bool, optional<double>,
                              optional<double>, Tensor& out) {
  prepare_upsample_out(input, output_size, out);
}

static Tensor upsample_backward_meta(const Tensor& grad_output, SymIntArrayRef input_size, bool,
                                     optional<double>, optional<double>) {
  return make_upsample_grad_input(grad_output, input_size);
}

// Each of the two ops is the gradient of the other: `Adjoint` is the op that backward calls.
template <bool kForward>
struct UpsampleRule {
  static constexpr const char* name =
      kForward ? "UpsampleBilinear2DBackward" : "UpsampleBilinear2DBackwardBackward";
  SymInt height, width;  // of the tensor that backward returns
  bool align_corners;
  optional<double> scale_h, scale_w;

  static UpsampleRule of(const Tensor& input, bool align_corners, optional<double> scale_h,
                         optional<double> scale_w) {
    return {input.sym_size(2), input.sym_size(3), align_corners, scale_h, scale_w};
  }
  template <class F>
  void visit(F&& f) {
    f(height), f(width), f(align_corners), f(scale_h), f(scale_w);
  }
  void backward(const Tensor& grad, const NeedsGradient&, variable_list& grads) {
    const SymInt size[] = {height, width};
    grads[0] =
        (kForward ? upsample_backward_op() : upsample_op()).call(grad, size, align_corners, scale_h, scale_w);
  }
};

void record_upsample(const Tensor& output, const Tensor& input, bool align_corners, optional<double> scale_h,
                     optional<double> scale_w) {
  using Rule = UpsampleRule<true>;
  record_node<Rule>(
      output, [&](Rule& rule) { rule = Rule::of(input, align_corners, scale_h, scale_w); }, input);
}

template <bool kForward>
static Tensor upsample_autograd(const Tensor& input, SymIntArrayRef size, bool align_corners,
                                optional<double> scale_h, optional<double> scale_w) {
  const auto& op = kForward ? upsample_op() : upsample_backward_op();
  using Rule = UpsampleRule<kForward>;
  Tensor output =
      with_history<Rule>([&] { return op.call(input, size, align_corners, scale_h, scale_w); },
                         [&](Rule& rule) { rule = Rule::of(input, align_corners, scale_h, scale_w); }, input);
  if (has_tangent(input)) {
    set_tangent(output, op.call(input._fw_grad(0), size, align_corners, scale_h, scale_w));
  }
  return output;
}

// ---- bilinear resize into `out`: autograd, and tensors that are not what they show ----------------------

static void upsample_out_autograd(const Tensor& input, SymIntArrayRef size, bool align_corners,
                                  optional<double> scale_h, optional<double> scale_w, Tensor& out) {
  if (torch::autograd::compute_requires_grad(input, out)) {
    torch::autograd::throw_error_out_requires_grad("upsample_bilinear2d");
  }
  TORCH_CHECK_NOT_IMPLEMENTED(!has_tangent(input) && !has_tangent(out),
                              "upsample_bilinear2d: expected no tangents where out= is given, which has no "
                              "forward derivative; call it without out=");
  at::AutoDispatchBelowAutograd below_autograd;
  upsample_out_op().call(input, size, align_corners, scale_h, scale_w, out);
}

// Counts the write to `out`, also in inference mode, where the kernel above is skipped: tensors that autograd
// has saved of it are no longer valid.
static void upsample_out_counted(const Tensor& input, SymIntArrayRef size, bool align_corners,
                                 optional<double> scale_h, optional<double> scale_w, Tensor& out) {
  {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    upsample_out_op().call(input, size, align_corners, scale_h, scale_w, out);
  }
  torch::autograd::increment_version(out);
}

// Views whose memory holds negated or conjugated values. (PyTorch's own fallback for them needs an op that
// returns what it has written.)
static void upsample_out_of_lazy_views(const Tensor& input, SymIntArrayRef size, bool align_corners,
                                       optional<double> scale_h, optional<double> scale_w, Tensor& out) {
  Tensor plain = out.resolve_conj().resolve_neg();
  upsample_out_op().call(input.resolve_conj().resolve_neg(), size, align_corners, scale_h, scale_w, plain);
  if (plain.is_same(out)) return;
  at::native::resize_output_symint(out, plain.sym_sizes());
  out.copy_(plain);
}

// torch.func.functionalize: turns the write into a new tensor.
static void upsample_out_functionalized(const Tensor& input, SymIntArrayRef size, bool align_corners,
                                        optional<double> scale_h, optional<double> scale_w, Tensor& out) {
  namespace impl = at::functionalization::impl;
  const auto value_of = [](const Tensor& t) {
    if (!impl::isFunctionalTensor(t)) return t;
    impl::sync(t);
    return impl::from_functional_tensor(t);
  };
  const Tensor source = value_of(input);
  Tensor target = value_of(out);
  at::AutoDispatchSkipFunctionalize below_functionalization;
  if (!impl::isFunctionalTensor(out)) {
    TORCH_CHECK(!impl::isFunctionalTensor(input),
                "upsample_bilinear2d: expected an out that functionalize knows where it knows the input");
    upsample_out_op().call(source, size, align_corners, scale_h, scale_w, target);
    return;
  }
  check_upsample_out(source, size, target);
  impl::replace_(out, upsample_op().call(source, size, align_corners, scale_h, scale_w));
  impl::commit_update(out);
  impl::sync(out);
}

// ---- separable transposed convolution: meta, autograd ---------------------------------------------------

static Tensor separable_meta(const Tensor& input, const Tensor& kernel_h, const Tensor& kernel_w,
                             SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                             SymIntArrayRef dilation, bool, bool) {
  return make_separable_output(input, kernel_h, kernel_w, {stride, padding, output_padding, dilation});
}

static Tensor separable_backward_meta(const Tensor& grad_output, const Tensor& kernel_h,
                                      const Tensor& kernel_w, SymIntArrayRef input_size,
                                      SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation,
                                      bool, optional<bool> channels_last, bool) {
  return make_separable_grad_input(grad_output, kernel_h, kernel_w, input_size,
                                   {stride, padding, {}, dilation}, channels_last);
}

// What both ops of the pair save for backward.
struct SeparableSettings {
  SavedVariable kernel_h, kernel_w;
  Tensor constant_h, constant_w;                        // instead of them if as_resize
  std::vector<SymInt> stride, padding, dilation, size;  // size: input_size, or output_padding
  bool replicate, as_resize;

  // User hooks may modify saved tensors, and a kernel may be shared by all calls.
  void save_kernels(const Tensor& height, const Tensor& width) {
    if (as_resize) {
      constant_h = height;
      constant_w = width;
      return;
    }
    const bool hooked = at::SavedTensorDefaultHooks::get_hooks().has_value();
    kernel_h = SavedVariable(hooked || height.is_inference() ? height.clone() : height, false);
    kernel_w = SavedVariable(hooked || width.is_inference() ? width.clone() : width, false);
  }

  Tensor height() const { return as_resize ? constant_h : kernel_h.unpack(); }
  Tensor width() const { return as_resize ? constant_w : kernel_w.unpack(); }

  template <class F>
  void visit(F&& f) {
    f(kernel_h), f(kernel_w), f(constant_h), f(constant_w), f(stride), f(padding), f(dilation), f(size);
    f(replicate), f(as_resize);
  }
};

struct SeparableRule : SeparableSettings {
  static constexpr const char* name = "SeparableConvTranspose2DBackward";
  // The gradient's layout, as natively: whether it is channels-last, if grad_output does not decide that; and
  // its strides, if the batch is empty.
  optional<bool> channels_last;
  std::vector<SymInt> shape, strides;

  template <class F>
  void visit(F&& f) {
    SeparableSettings::visit(f);
    f(channels_last), f(shape), f(strides);
  }
  void backward(const Tensor& grad, const NeedsGradient&, variable_list& grads) {
    grads[0] = separable_backward_op().call(grad, height(), width(), size, stride, padding, dilation,
                                            replicate, channels_last, as_resize);
    if (!strides.empty()) grads[0] = grads[0].as_strided_symint(shape, strides);
  }
};

struct SeparableBackwardRule : SeparableSettings {
  static constexpr const char* name = "SeparableConvTranspose2DBackwardBackward";
  void backward(const Tensor& grad, const NeedsGradient&, variable_list& grads) {
    grads[0] =
        separable_op().call(grad, height(), width(), stride, padding, size, dilation, replicate, as_resize);
  }
};

static Tensor separable_autograd(const Tensor& input, const Tensor& kernel_h, const Tensor& kernel_w,
                                 SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                                 SymIntArrayRef dilation, bool replicate, bool as_resize) {
  check_kernels("fixed_conv_transpose2d", input, kernel_h, kernel_w);
  const auto call = [&](const Tensor& x) {
    return separable_op().call(x, kernel_h, kernel_w, stride, padding, output_padding, dilation, replicate,
                               as_resize);
  };
  Tensor output = with_history<SeparableRule>([&] { return call(input); },
                                              [&](SeparableRule& rule) {
                                                rule.as_resize = as_resize;
                                                rule.save_kernels(kernel_h, kernel_w);
                                                rule.stride = stride.vec();
                                                rule.padding = padding.vec();
                                                rule.dilation = dilation.vec();
                                                rule.size = {input.sym_size(-2), input.sym_size(-1)};
                                                rule.replicate = replicate;
                                                if (!as_resize)
                                                  rule.channels_last = prefers_channels_last(input);
                                                if (is_empty_batch(input) && !replicate) {
                                                  rule.shape = input.sym_sizes().vec();
                                                  rule.strides = input.sym_strides().vec();
                                                }
                                              },
                                              input);
  if (has_tangent(input)) set_tangent(output, call(input._fw_grad(0)));
  return output;
}

static Tensor separable_backward_autograd(const Tensor& grad_output, const Tensor& kernel_h,
                                          const Tensor& kernel_w, SymIntArrayRef input_size,
                                          SymIntArrayRef stride, SymIntArrayRef padding,
                                          SymIntArrayRef dilation, bool replicate,
                                          optional<bool> channels_last, bool as_resize) {
  check_kernels("fixed_conv_transpose2d_backward", grad_output, kernel_h, kernel_w);
  const auto call = [&](const Tensor& g) {
    return separable_backward_op().call(g, kernel_h, kernel_w, input_size, stride, padding, dilation,
                                        replicate, channels_last, as_resize);
  };
  Tensor output = with_history<SeparableBackwardRule>(
      [&] { return call(grad_output); },
      [&](SeparableBackwardRule& rule) {
        rule.as_resize = as_resize;
        rule.save_kernels(kernel_h, kernel_w);
        rule.stride = stride.vec();
        rule.padding = padding.vec();
        rule.dilation = dilation.vec();
        const SymInt kernel_size[] = {kernel_h.sym_size(0), kernel_w.sym_size(0)};
        rule.size = output_padding_of("fixed_conv_transpose2d_backward", grad_output, input_size, kernel_size,
                                      {stride, padding, {}, dilation});
        rule.replicate = replicate;
      },
      grad_output);
  if (has_tangent(grad_output)) set_tangent(output, call(grad_output._fw_grad(0)));
  return output;
}

// As native's conv_transpose2d; the kernels stay as they are, and are applied in float32.
template <at::DeviceType kDevice>
static Tensor separable_autocast(const Tensor& input, const Tensor& kernel_h, const Tensor& kernel_w,
                                 SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                                 SymIntArrayRef dilation, bool replicate, bool as_resize) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      c10::DispatchKeySet(at::autocast::get_autocast_dispatch_key_from_device_type(kDevice)));
  const at::ScalarType dtype = at::autocast::get_lower_precision_fp_from_device_type(kDevice);
  return separable_op().call(at::autocast::cached_cast(dtype, input, kDevice), kernel_h, kernel_w, stride,
                             padding, output_padding, dilation, replicate, as_resize);
}

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) {
  m.impl("upsample_bilinear2d", upsample_meta);
  m.impl("upsample_bilinear2d.out", upsample_out_meta);
  m.impl("upsample_bilinear2d_backward", upsample_backward_meta);
  m.impl("separable_conv_transpose2d", separable_meta);
  m.impl("separable_conv_transpose2d_backward", separable_backward_meta);
}

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) {
  m.impl("upsample_bilinear2d", upsample_autograd<true>);
  m.impl("upsample_bilinear2d.out", upsample_out_autograd);
  m.impl("upsample_bilinear2d_backward", upsample_autograd<false>);
  m.impl("separable_conv_transpose2d", separable_autograd);
  m.impl("separable_conv_transpose2d_backward", separable_backward_autograd);
}

TORCH_LIBRARY_IMPL(upsample_ext, ADInplaceOrView, m) {
  m.impl("upsample_bilinear2d.out", upsample_out_counted);
}
TORCH_LIBRARY_IMPL(upsample_ext, Negative, m) {
  m.impl("upsample_bilinear2d.out", upsample_out_of_lazy_views);
}
TORCH_LIBRARY_IMPL(upsample_ext, Conjugate, m) {
  m.impl("upsample_bilinear2d.out", upsample_out_of_lazy_views);
}
TORCH_LIBRARY_IMPL(upsample_ext, Functionalize, m) {
  m.impl("upsample_bilinear2d.out", upsample_out_functionalized);
}

TORCH_LIBRARY_IMPL(upsample_ext, AutocastCPU, m) {
  m.impl("separable_conv_transpose2d", separable_autocast<at::kCPU>);
}
TORCH_LIBRARY_IMPL(upsample_ext, AutocastCUDA, m) {
  m.impl("separable_conv_transpose2d", separable_autocast<at::kCUDA>);
}

}  // namespace upsample_ext
