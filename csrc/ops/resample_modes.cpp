// Resize of an image of any rank in any mode: checks, outputs, meta kernels, autograd.
#include "resample_modes.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>

#include "autograd_node.h"
#include "dtypes.h"
#include "op_handles.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;

// ---- settings ---------------------------------------------------------------------------------------------

const NamedMode* find_mode(string_view name) {
  for (const NamedMode& mode : kModes) {
    if (name == mode.name) return &mode;
  }
  return nullptr;
}

bool NamedMode::takes(at::ScalarType dtype) const {
  if (is_floating(dtype)) return true;
  return dtype == at::kByte ? dtypes != Dtypes::kFloating
                            : dtypes == Dtypes::kAll && c10::isIntegralType(dtype, /*includeBool=*/true);
}

ResampleSettings::ResampleSettings(const char* op, int64_t image_axes, string_view name, bool antialiased,
                                   bool corners, OptionalScales scale_factors)
    : mode(find_mode(name)), antialias(antialiased), align_corners(corners), axes(image_axes), scales{} {
  TORCH_CHECK_VALUE(mode != nullptr, op, ": expected mode to be nearest, nearest-exact, linear, bilinear, ",
                    "trilinear, bicubic, lanczos or area, got '", name, "'");
  const int64_t least = mode->least_axes, most = mode->most_axes;
  TORCH_CHECK(mode->takes_axes(axes), op, ": expected an image of ", least + 2, least == most ? "" : " to 5",
              " dimensions for mode '", name, "', got ", axes + 2);
  TORCH_CHECK_VALUE(!antialias || mode->antialiased, op,
                    ": expected antialias with linear modes, bicubic or lanczos, got ", name);
  TORCH_CHECK_VALUE(antialias || mode->plain, op, ": expected ", name, " with antialias");
  TORCH_CHECK_VALUE(!align_corners || mode->aligns, op,
                    ": expected align_corners with linear modes or bicubic, got ", name);
  if (!scale_factors.has_value()) return;
  TORCH_CHECK(static_cast<int64_t>(scale_factors->size()) == axes, op, ": expected ", axes,
              " scale factors, got ", scale_factors->size());
  if (mode->mode == Mode::kArea) return;
  std::copy_n(scale_factors->begin(), axes, scales.end() - axes);
}

ResampleSettings ResampleSettings::of_plane(const char* op, string_view mode, bool align_corners,
                                            std::optional<double> scale_h, std::optional<double> scale_w) {
  const double scales[] = {scale_h.value_or(0.0), scale_w.value_or(0.0)};
  return {op, 2, mode, false, align_corners, at::ArrayRef<double>(scales)};
}

std::array<AxisSpec, 3> ResampleSettings::specs(const Tensor& input, const Tensor& output,
                                                NativeRules rules) const {
  const auto of_image = [&](int64_t axis) {
    const int64_t dim = axis + axes - 1;  // of the image; axis 0 is the depth
    if (dim < 2) return copied_axis(1);
    return spec(axis, input.size(dim), output.size(dim), rules);
  };
  return {of_image(0), of_image(1), of_image(2)};
}

// Calls the op of bilinear resizes, or the other.
static Tensor call_op_of(const ResampleSettings& settings,
                         const c10::TypedOperatorHandle<UpsampleSignature>& two_taps,
                         const c10::TypedOperatorHandle<ResampleSignature>& any, const Tensor& image,
                         SymIntArrayRef size) {
  if (settings.is_bilinear()) {
    return two_taps.call(image, size, settings.align_corners, settings.scale_or_none(1),
                         settings.scale_or_none(2));
  }
  const at::ArrayRef<double> scales(&settings.scales[1], 2);
  const bool has_scales = scales[0] > 0.0 || scales[1] > 0.0;
  return any.call(image, size, settings.mode->name, settings.antialias, settings.align_corners,
                  has_scales ? OptionalScales(scales) : std::nullopt);
}

Tensor resize_plane(const Tensor& input, SymIntArrayRef output_size, const ResampleSettings& settings) {
  return call_op_of(settings, upsample_op(), resample_op(), input, output_size);
}

// ---- outputs and meta kernels -----------------------------------------------------------------------------

static void check_sizes(const char* op, const char* image_name, const Tensor& image, const char* size_name,
                        SymIntArrayRef size) {
  for (int64_t dim = 1; dim < image.dim(); ++dim) {
    TORCH_CHECK(image.sym_size(dim) != 0, op, ": expected ", image_name,
                " to be non-empty in all but the batch, got ", image.sym_sizes());
  }
  TORCH_CHECK(static_cast<int64_t>(size.size()) == image.dim() - 2, op, ": expected ", size_name, " of ",
              image.dim() - 2, " numbers, got ", size);
  for (const SymInt& extent : size) {
    TORCH_CHECK(extent > 0, op, ": expected ", size_name, " greater than 0, got ", size);
  }
}

// An image of the given size, in the memory format that the other suggests, or contiguous.
static Tensor empty_like_image(const Tensor& image, SymIntArrayRef size, bool follows) {
  std::vector<SymInt> shape{image.sym_size(0), image.sym_size(1)};
  shape.insert(shape.end(), size.begin(), size.end());
  return at::empty_symint(shape, image.options(),
                          follows ? image.suggest_memory_format() : at::MemoryFormat::Contiguous);
}

// Natively a volume's pooling is contiguous.
static bool output_follows(const ResampleSettings& settings) {
  return settings.mode->mode != Mode::kArea || settings.axes < 3;
}
// ... and so are these gradients. That of an area's mean follows the input, see ResampleRule.
static bool grad_input_follows(const ResampleSettings& settings) {
  const bool filters = settings.mode->mode == Mode::kCubic || settings.mode->mode == Mode::kLanczos;
  return !filters && output_follows(settings) && !(settings.mode->picks() && settings.axes == 3);
}

Tensor make_resampled(const Tensor& input, SymIntArrayRef output_size, const ResampleSettings& settings) {
  check_sizes("resample", "an input", input, "an output_size", output_size);
  const at::ScalarType dtype = input.scalar_type();
  TORCH_CHECK_NOT_IMPLEMENTED(settings.mode->takes(dtype), "\"resample\" not implemented for '",
                              at::toString(dtype), "' with mode '", settings.mode->name, "'",
                              settings.antialias ? " and antialias" : "");
  return empty_like_image(input, output_size, output_follows(settings));
}

Tensor make_resampled_grad_input(const Tensor& grad_output, SymIntArrayRef input_size,
                                 const ResampleSettings& settings) {
  check_sizes("resample_backward", "a grad_output", grad_output, "an input_size", input_size);
  return empty_like_image(grad_output, input_size, grad_input_follows(settings));
}

bool planes_are_a_view(const Tensor& image) {
  return image.dim() < 5 || image.size(2) == 1 || image.size(3) == 1 ||
         image.stride(2) == image.size(3) * image.stride(3);
}

Tensor as_planes(const Tensor& image) {
  if (image.dim() == 3) return image.unsqueeze(2);
  if (image.dim() == 4) return image;
  return (planes_are_a_view(image) ? image : image.contiguous(image.suggest_memory_format())).flatten(2, 3);
}

static Tensor resample_meta(const Tensor& input, SymIntArrayRef output_size, string_view mode, bool antialias,
                            bool align_corners, OptionalScales scale_factors) {
  return make_resampled(input, output_size,
                        {"resample", input.dim() - 2, mode, antialias, align_corners, scale_factors});
}

static Tensor resample_backward_meta(const Tensor& grad_output, SymIntArrayRef input_size, string_view mode,
                                     bool antialias, bool align_corners, OptionalScales scale_factors) {
  return make_resampled_grad_input(
      grad_output, input_size,
      {"resample_backward", grad_output.dim() - 2, mode, antialias, align_corners, scale_factors});
}

// ---- autograd ---------------------------------------------------------------------------------------------

// An (N, C, H, W) image in a memory format, in steps that the vmap of batched gradients knows.
static Tensor in_format(const Tensor& image, bool channels_last) {
  if (image.dim() != 4 ||
      channels_last == (image.suggest_memory_format() == at::MemoryFormat::ChannelsLast)) {
    return image;
  }
  if (!channels_last) return image.contiguous();
  return image.permute({0, 2, 3, 1}).contiguous().permute({0, 3, 1, 2});
}

static bool has_more_pixels(const Tensor& image, SymIntArrayRef size) {
  SymInt pixels = 1, of_size = 1;
  for (size_t axis = 0; axis < size.size(); ++axis) {
    const SymInt extent = image.sym_size(static_cast<int64_t>(axis) + 2);
    if (extent.is_symbolic() || size[axis].is_symbolic()) return false;
    pixels *= extent;
    of_size *= size[axis];
  }
  return pixels > of_size;
}

// The gradient of an area's mean has the memory format of the input. The result of `op`, of the given size,
// has that of its argument: of the two images, the one with fewer pixels is turned.
template <class Op>
static Tensor mean_backward(const Tensor& grad_output, SymIntArrayRef size, bool channels_last,
                            const Op& op) {
  if (has_more_pixels(grad_output, size)) return in_format(op(grad_output), channels_last);
  return op(in_format(grad_output, channels_last));
}

Tensor resize_plane_backward(const Tensor& grad_output, SymIntArrayRef input_size,
                             const ResampleSettings& settings, bool input_is_channels_last) {
  const auto op = [&](const Tensor& grad) {
    return call_op_of(settings, upsample_backward_op(), resample_backward_op(), grad, input_size);
  };
  if (settings.mode->mode != Mode::kArea) return op(grad_output);
  return mean_backward(grad_output, input_size, input_is_channels_last, op);
}

Tensor copy_plane_backward(const Tensor& grad_output, const ResampleSettings& settings,
                           bool input_is_channels_last) {
  const bool is_mean = settings.mode->mode == Mode::kArea;
  const Tensor grad = is_mean ? in_format(grad_output, input_is_channels_last) : grad_output;
  if (!grad_input_follows(settings) || grad.suggest_memory_format() != at::MemoryFormat::ChannelsLast) {
    return grad.clone(at::MemoryFormat::Contiguous);
  }
  // In steps that the vmap of batched gradients knows
  return grad.permute({0, 2, 3, 1}).clone(at::MemoryFormat::Contiguous).permute({0, 3, 1, 2});
}

// Each of the two ops is the gradient of the other.
template <bool kForward>
struct ResampleRule {
  static constexpr const char* name = kForward ? "ResampleBackward" : "ResampleBackwardBackward";
  std::vector<SymInt> size;  // of the tensor that backward returns
  int64_t mode;              // its place in kModes
  bool antialias, align_corners, has_scales;
  std::vector<double> scales;
  bool channels_last;  // of the input: natively the memory format of the gradient of an area's mean

  static ResampleRule of(const Tensor& input, string_view mode, bool antialias, bool align_corners,
                         OptionalScales scale_factors) {
    return {input.sym_sizes().slice(2).vec(),
            find_mode(mode) - kModes,
            antialias,
            align_corners,
            scale_factors.has_value(),
            scale_factors ? scale_factors->vec() : std::vector<double>(),
            input.suggest_memory_format() == at::MemoryFormat::ChannelsLast};
  }
  template <class F>
  void visit(F&& f) {
    f(size), f(mode), f(antialias), f(align_corners), f(has_scales), f(scales), f(channels_last);
  }
  void backward(const Tensor& grad, const NeedsGradient&, variable_list& grads) {
    const auto& op = kForward ? resample_backward_op() : resample_op();
    const auto resample = [&](const Tensor& image) {
      return op.call(image, size, kModes[mode].name, antialias, align_corners,
                     has_scales ? OptionalScales(scales) : std::nullopt);
    };
    const bool is_mean = kForward && kModes[mode].mode == Mode::kArea;
    grads[0] = is_mean ? mean_backward(grad, size, channels_last, resample) : resample(grad);
  }
};

void record_resize(const Tensor& output, const Tensor& input, const ResampleSettings& settings) {
  const auto scale_h = settings.scale_or_none(1), scale_w = settings.scale_or_none(2);
  if (settings.is_bilinear()) return record_upsample(output, input, settings.align_corners, scale_h, scale_w);
  using Rule = ResampleRule<true>;
  const double factors[] = {settings.scales[1], settings.scales[2]};
  const OptionalScales scales = scale_h || scale_w ? OptionalScales(factors) : std::nullopt;
  record_node<Rule>(
      output,
      [&](Rule& rule) {
        rule = Rule::of(input, settings.mode->name, settings.antialias, settings.align_corners, scales);
      },
      input);
}

template <bool kForward>
static Tensor resample_autograd(const Tensor& input, SymIntArrayRef size, string_view mode, bool antialias,
                                bool align_corners, OptionalScales scale_factors) {
  const auto& op = kForward ? resample_op() : resample_backward_op();
  using Rule = ResampleRule<kForward>;
  Tensor output = with_history<Rule>(
      [&] { return op.call(input, size, mode, antialias, align_corners, scale_factors); },
      [&](Rule& rule) { rule = Rule::of(input, mode, antialias, align_corners, scale_factors); }, input);
  if (has_tangent(input)) {
    set_tangent(output, op.call(input._fw_grad(0), size, mode, antialias, align_corners, scale_factors));
  }
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) {
  m.impl("resample", resample_meta);
  m.impl("resample_backward", resample_backward_meta);
}

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) {
  m.impl("resample", resample_autograd<true>);
  m.impl("resample_backward", resample_autograd<false>);
}

}  // namespace upsample_ext
