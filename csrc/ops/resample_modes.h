// Resize of an image of any rank in any mode of F.interpolate: what the launchers of both devices need of the
// op.
//
// Kernels resample planes, along rows and along the width. An (N, C, L) image is a plane of one row, whose
// axis is copied; the rows of an (N, C, D, H, W) image are those of all its slices, and their axis is the
// product of depth and height.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

#include <array>
#include <optional>

#include "../geometry/axis_spec.h"
#include "torch_versions.h"

namespace upsample_ext {

using OptionalScales = std::optional<at::ArrayRef<double>>;

// The settings of a call, checked; `op` is named in the messages.
struct ResampleSettings {
  Mode mode;
  bool antialias, align_corners;
  int64_t axes;                  // of the image, 1 to 3
  std::array<double, 3> scales;  // of depth, height and width; 0 where none is given

  // Of an image (N, C, ...) of `axes` axes, which the mode must take.
  ResampleSettings(const char* op, int64_t axes, string_view mode, bool antialias, bool align_corners,
                   OptionalScales scale_factors);

  // Depth, height and width of a resize from the sizes of one image to those of another; an axis that the
  // images lack is copied.
  std::array<AxisSpec, 3> specs(const at::Tensor& input, const at::Tensor& output, NativeRules rules) const;
  // Of an (N, C, H, W) image by two taps along each axis, which has kernels of its own.
  bool is_bilinear() const { return mode == Mode::kLinear && !antialias && axes == 2; }
};

// Allocates the results with the layout of the argument, after checking shapes and dtypes.
at::Tensor make_resampled(const at::Tensor& input, c10::SymIntArrayRef output_size,
                          const ResampleSettings& settings);
at::Tensor make_resampled_grad_input(const at::Tensor& grad_output, c10::SymIntArrayRef input_size);

// The image as planes of rows, (N, C, rows, W): a view, or a copy where the slices of a volume are not evenly
// spaced. Of a result, as made above, it is always a view.
at::Tensor as_planes(const at::Tensor& image);

}  // namespace upsample_ext
