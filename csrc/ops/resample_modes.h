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

// Dtypes of images: those that can have a gradient; also bytes, whose averages are rounded; or, where values
// are only picked, every number and bool.
enum class Dtypes : uint8_t { kFloating, kFloatingAndBytes, kAll };

// A mode as users name it, and the images that it takes here.
struct NamedMode {
  const char* name;
  Mode mode;
  int64_t least_axes, most_axes;  // of an image
  bool plain, antialiased;        // whether there is the one, and the other (natively of two axes alone)
  Dtypes dtypes;
  bool aligns;  // has align_corners

  bool takes_axes(int64_t axes) const { return axes >= least_axes && axes <= most_axes; }
  // F.interpolate insists on None where there is no such choice, except for lanczos, which accepts False.
  bool takes_align_corners(bool given, bool value) const {
    return aligns || !given || (mode == Mode::kLanczos && !value);
  }
  bool takes(at::ScalarType dtype) const;
  // Whether each value is one of the image's.
  bool picks() const { return mode == Mode::kNearest || mode == Mode::kNearestExact; }
  // Two taps along each axis of an (N, C, H, W) image, which have an op of their own.
  bool is_bilinear(bool antialias) const { return mode == Mode::kLinear && least_axes == 2 && !antialias; }
};

constexpr NamedMode kModes[] = {
    {"bilinear", Mode::kLinear, 2, 2, true, true, Dtypes::kFloatingAndBytes, true},
    {"nearest", Mode::kNearest, 1, 3, true, false, Dtypes::kAll, false},
    {"nearest-exact", Mode::kNearestExact, 1, 3, true, false, Dtypes::kAll, false},
    {"linear", Mode::kLinear, 1, 1, true, true, Dtypes::kFloating, true},
    {"trilinear", Mode::kLinear, 3, 3, true, true, Dtypes::kFloating, true},
    {"bicubic", Mode::kCubic, 2, 2, true, true, Dtypes::kFloatingAndBytes, true},
    {"lanczos", Mode::kLanczos, 2, 2, false, true, Dtypes::kFloatingAndBytes, false},
    {"area", Mode::kArea, 1, 3, true, false, Dtypes::kFloating, false},
};
inline constexpr const NamedMode& kBilinear = kModes[0];

// Null if there is no such mode.
const NamedMode* find_mode(string_view name);

// The settings of a call, checked; `op` is named in the messages.
struct ResampleSettings {
  const NamedMode* mode;
  bool antialias, align_corners;
  int64_t axes;                  // of the image, 1 to 3
  std::array<double, 3> scales;  // of depth, height and width; 0 where none is given

  // Of an image (N, C, ...) of `axes` axes, which the mode must take.
  ResampleSettings(const char* op, int64_t axes, string_view mode, bool antialias, bool align_corners,
                   OptionalScales scale_factors);

  // Of an image (N, C, H, W), as the fused ops resize it.
  static ResampleSettings of_plane(const char* op, string_view mode, bool align_corners,
                                   std::optional<double> scale_h = {}, std::optional<double> scale_w = {});

  // One axis, 0 the depth to 2 the width, of a resize between two sizes.
  AxisSpec spec(int64_t axis, int64_t in_size, int64_t out_size, NativeRules rules) const {
    return {mode->mode, antialias, in_size, out_size, align_corners, scales[axis], rules};
  }
  std::optional<double> scale_or_none(int64_t axis) const {
    return scales[axis] > 0.0 ? std::optional<double>(scales[axis]) : std::nullopt;
  }
  bool is_bilinear() const { return mode->is_bilinear(antialias); }
  // Depth, height and width of a resize from the sizes of one image to those of another; an axis that the
  // images lack is copied.
  std::array<AxisSpec, 3> specs(const at::Tensor& input, const at::Tensor& output, NativeRules rules) const;
};

// Resizes an image (N, C, H, W) by the op of these settings, and its gradient by that of the gradient, whose
// memory format can depend on the input's.
at::Tensor resize_plane(const at::Tensor& input, c10::SymIntArrayRef output_size,
                        const ResampleSettings& settings);
at::Tensor resize_plane_backward(const at::Tensor& grad_output, c10::SymIntArrayRef input_size,
                                 const ResampleSettings& settings, bool input_is_channels_last);
// The gradient of an image that kept its size and was copied: a tensor of its own.
at::Tensor copy_plane_backward(const at::Tensor& grad_output, const ResampleSettings& settings,
                               bool input_is_channels_last);

// Makes `output`, to autograd, the resized image, whatever it holds.
void record_resize(const at::Tensor& output, const at::Tensor& input, const ResampleSettings& settings);

// Allocates the results in native's memory formats, after checking shapes and dtypes.
at::Tensor make_resampled(const at::Tensor& input, c10::SymIntArrayRef output_size,
                          const ResampleSettings& settings);
at::Tensor make_resampled_grad_input(const at::Tensor& grad_output, c10::SymIntArrayRef input_size,
                                     const ResampleSettings& settings);

// The image as planes of rows, (N, C, rows, W): a view, or a copy where the slices of a volume are not evenly
// spaced. For a result allocated by the functions above it is always a view.
at::Tensor as_planes(const at::Tensor& image);
bool planes_are_a_view(const at::Tensor& image);

}  // namespace upsample_ext
