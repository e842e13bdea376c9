// Resize of an image in any mode: checks, outputs, meta kernels, autograd.
#include <torch_headers.h>

#include "resample2d.h"

#include "autograd_node.h"
#include "op_handles.h"
#include "resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;
using std::optional;

// ---- settings ---------------------------------------------------------------------------------------------

static const struct {
  const char* name;
  Mode mode;
} kModes[] = {{"nearest", Mode::kNearest}, {"nearest-exact", Mode::kNearestExact},
              {"bilinear", Mode::kLinear}, {"bicubic", Mode::kCubic},
              {"lanczos", Mode::kLanczos}, {"area", Mode::kArea}};

static Mode mode_named(const char* op, string_view name) {
  for (const auto& known : kModes) {
    if (name == known.name) return known.mode;
  }
  TORCH_CHECK_VALUE(false, op, ": expected mode to be nearest, nearest-exact, bilinear, bicubic, lanczos or ",
                    "area, got '", name, "'");
}

static const char* name_of(Mode mode) {
  for (const auto& known : kModes) {
    if (known.mode == mode) return known.name;
  }
  return "";
}

Resample2dSettings::Resample2dSettings(const char* op, string_view name, bool antialiased, bool corners,
                                       optional<double> scale_of_height, optional<double> scale_of_width)
    : mode(mode_named(op, name)),
      antialias(antialiased),
      align_corners(corners),
      scale_h(mode == Mode::kArea ? 0.0 : scale_of_height.value_or(0.0)),
      scale_w(mode == Mode::kArea ? 0.0 : scale_of_width.value_or(0.0)) {
  const bool filters = mode == Mode::kLinear || mode == Mode::kCubic || mode == Mode::kLanczos;
  TORCH_CHECK_VALUE(!antialias || filters, op, ": expected antialias with bilinear, bicubic or lanczos, got ",
                    name);
  TORCH_CHECK_VALUE(antialias || mode != Mode::kLanczos, op, ": expected lanczos with antialias");
  TORCH_CHECK_VALUE(!align_corners || mode == Mode::kLinear || mode == Mode::kCubic, op,
                    ": expected align_corners with bilinear or bicubic, got ", name);
}

std::array<AxisSpec, 2> Resample2dSettings::axes(const Tensor& input, const Tensor& output,
                                                 NativeRules rules) const {
  return {AxisSpec{mode, antialias, input.size(2), output.size(2), align_corners, scale_h, rules},
          AxisSpec{mode, antialias, input.size(3), output.size(3), align_corners, scale_w, rules}};
}

// ---- outputs and meta kernels -----------------------------------------------------------------------------

Tensor make_resample2d_output(const Tensor& input, SymIntArrayRef output_size,
                              const Resample2dSettings& settings) {
  // In the other modes native rounds bytes after each axis, which a table of both cannot.
  const bool takes_bytes =
      settings.is_bilinear() || settings.mode == Mode::kNearest || settings.mode == Mode::kNearestExact;
  TORCH_CHECK_NOT_IMPLEMENTED(input.scalar_type() != at::kByte || takes_bytes,
                              "\"resample2d\" not implemented for 'Byte' with mode '", name_of(settings.mode),
                              "'", settings.antialias ? " and antialias" : "");
  return make_resized("resample2d", input, output_size);
}

Tensor make_resample2d_grad_input(const Tensor& grad_output, SymIntArrayRef input_size) {
  return make_resized_grad_input("resample2d_backward", grad_output, input_size);
}

static Tensor resample2d_meta(const Tensor& input, SymIntArrayRef output_size, string_view mode,
                              bool antialias, bool align_corners, optional<double> scale_h,
                              optional<double> scale_w) {
  return make_resample2d_output(input, output_size,
                                {"resample2d", mode, antialias, align_corners, scale_h, scale_w});
}

static Tensor resample2d_backward_meta(const Tensor& grad_output, SymIntArrayRef input_size, string_view mode,
                                       bool antialias, bool align_corners, optional<double> scale_h,
                                       optional<double> scale_w) {
  const Resample2dSettings checked("resample2d_backward", mode, antialias, align_corners, scale_h, scale_w);
  return make_resample2d_grad_input(grad_output, input_size);
}

// ---- autograd ---------------------------------------------------------------------------------------------

// Each of the two ops is the gradient of the other.
template <bool kForward>
struct Resample2dRule {
  static constexpr const char* name = kForward ? "Resample2DBackward" : "Resample2DBackwardBackward";
  SymInt height, width;  // of the tensor that backward returns
  int64_t mode;          // its place in kModes
  bool antialias, align_corners;
  optional<double> scale_h, scale_w;

  template <class F>
  void visit(F&& f) {
    f(height), f(width), f(mode), f(antialias), f(align_corners), f(scale_h), f(scale_w);
  }
  void backward(const Tensor& grad, const NeedsGradient&, variable_list& grads) {
    const SymInt size[] = {height, width};
    const auto& op = kForward ? resample2d_backward_op() : resample2d_op();
    grads[0] = op.call(grad, size, kModes[mode].name, antialias, align_corners, scale_h, scale_w);
  }
};

template <bool kForward>
static Tensor resample2d_autograd(const Tensor& input, SymIntArrayRef size, string_view mode, bool antialias,
                                  bool align_corners, optional<double> scale_h, optional<double> scale_w) {
  const auto& op = kForward ? resample2d_op() : resample2d_backward_op();
  using Rule = Resample2dRule<kForward>;
  Tensor output = with_history<Rule>(
      [&] { return op.call(input, size, mode, antialias, align_corners, scale_h, scale_w); },
      [&](Rule& rule) {
        int64_t place = 0;
        while (mode != kModes[place].name) ++place;  // the op has checked that it is there
        rule = Rule{input.sym_size(2), input.sym_size(3), place, antialias, align_corners, scale_h, scale_w};
      },
      input);
  if (has_tangent(input)) {
    set_tangent(output, op.call(input._fw_grad(0), size, mode, antialias, align_corners, scale_h, scale_w));
  }
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) {
  m.impl("resample2d", resample2d_meta);
  m.impl("resample2d_backward", resample2d_backward_meta);
}

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) {
  m.impl("resample2d", resample2d_autograd<true>);
  m.impl("resample2d_backward", resample2d_autograd<false>);
}

}  // namespace upsample_ext
