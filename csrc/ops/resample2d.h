// Resize of an image in any mode of F.interpolate: what the launchers of both devices need of the op.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

#include <array>
#include <optional>

#include "../geometry/axis_spec.h"
#include "torch_versions.h"

namespace upsample_ext {

// The settings of a call, checked; `op` is named in the messages.
struct Resample2dSettings {
  Mode mode;
  bool antialias, align_corners;
  double scale_h, scale_w;  // 0 where none is given

  Resample2dSettings(const char* op, string_view mode, bool antialias, bool align_corners,
                     std::optional<double> scale_h, std::optional<double> scale_w);

  // Both axes of a resize from the sizes of one image to those of another.
  std::array<AxisSpec, 2> axes(const at::Tensor& input, const at::Tensor& output, NativeRules rules) const;
  // Bilinear by two taps along each axis, which has kernels of its own.
  bool is_bilinear() const { return mode == Mode::kLinear && !antialias; }
};

// Allocates the results with the layout of the argument, after checking shapes and dtypes.
at::Tensor make_resample2d_output(const at::Tensor& input, c10::SymIntArrayRef output_size,
                                  const Resample2dSettings& settings);
at::Tensor make_resample2d_grad_input(const at::Tensor& grad_output, c10::SymIntArrayRef input_size);

}  // namespace upsample_ext
