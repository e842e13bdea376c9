// Decides, from the tensors and numbers of a plain call, whether it is ours and what size it asks for: the
// only place in C++ that does, for the doors (bindings.cpp) and for the dispatcher's override of native ops.
//
// upsample_ext/_judge.py judges what only Python sees: subclasses, symbols, numpy's numbers. Both read the
// modes from one table (ops/resample_modes.h), and test_judge.py asks both about the same calls.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "ops/resample_modes.h"

namespace upsample_ext {

// Whether an image's memory is what it shows, on a device that this build has kernels for.
bool is_dense(const at::Tensor& image);
bool all_positive(at::IntArrayRef sizes);

// Whether our kernels resize this image in this mode. All sizes but the batch's must be above 0.
bool takes_image(const at::Tensor& image, const NamedMode& mode, bool antialias);
// The same for the fused ops, which resize floating-point images (N, C, H, W).
bool takes_logits(const at::Tensor& image, const NamedMode& mode = kBilinear);

// The size of an axis times a factor, truncated as natively; 0 if the product is not a valid size.
int64_t scaled_size(int64_t size, double factor);

// The size and the coordinates that a resize asks for.
struct Resize {
  int64_t axes;
  c10::SymInt size[3];
  double scales[3];  // where has_scales; otherwise the sizes set the coordinates
  bool has_scales;
  bool align_corners;

  c10::SymIntArrayRef output_size() const { return {size, static_cast<size_t>(axes)}; }
  OptionalScales scale_factors() const {
    if (!has_scales) return std::nullopt;
    return at::ArrayRef<double>(scales, static_cast<size_t>(axes));
  }
  std::optional<double> scale(int64_t axis) const {
    return has_scales ? std::optional<double>(scales[axis]) : std::nullopt;
  }
};

}  // namespace upsample_ext
