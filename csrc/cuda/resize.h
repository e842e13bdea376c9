// The parameters of a resize, for the family itself and for the ops fused to it.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "tensors.h"

namespace upsample_ext {
namespace gpu {

// Of two images of one batch and as many channels; a kernel reads one and writes the other.
template <class acc, class Axis>
ResizeParams<acc, Axis> resize_params(const at::Tensor& input, const at::Tensor& output, const Axis& height,
                                      const Axis& width) {
  return {read_only(input),
          read_only(output),
          input.size(0),
          input.size(1),
          strides_of(input),
          strides_of(output),
          height,
          width,
          nullptr,
          acc(0)};
}

template <class acc>
auto linear_params(const at::Tensor& input, const at::Tensor& output, bool align_corners,
                   std::optional<double> scale_h, std::optional<double> scale_w) {
  const LinearAxis<acc> height(input.size(2), output.size(2), align_corners, scale_h.value_or(0.0));
  const LinearAxis<acc> width(input.size(3), output.size(3), align_corners, scale_w.value_or(0.0));
  return resize_params<acc>(input, output, height, width);
}

// The logits of the ops that reduce over the classes of a pixel.
template <class acc>
LogitsParams<acc> logits_params(const at::Tensor& input, const LinearAxis<acc>& height,
                                const LinearAxis<acc>& width) {
  return {input.const_data_ptr(), input.size(0), input.size(1), strides_of(input), height, width};
}

// Bilinear resize into `output`, of the input's dtype and any strides.
void upsample_into(const at::Tensor& input, const at::Tensor& output, bool align_corners,
                   std::optional<double> scale_h, std::optional<double> scale_w);

}  // namespace gpu
}  // namespace upsample_ext
