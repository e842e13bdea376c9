// The parameters of a resize, for the family itself and for the ops fused to it.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "tensor_view.h"

namespace upsample_ext {
namespace gpu {

// Parameters of two images with the same batch size and number of channels.
template <class acc, class Axis>
ResampleParams<acc, Axis> resample_params(void* input, void* output, const at::Tensor& of_input,
                                          const at::Tensor& of_output, const Axis& height,
                                          const Axis& width) {
  return {{input, output, of_input.size(0), of_input.size(1), strides_of(of_input), strides_of(of_output),
           height, width}};
}

// Parameters of a kernel that reads `input` and writes `output`. The pointer to what is written is taken as
// mutable: a tensor that shares its memory (copy on write) gets a copy then.
template <class acc, class Axis>
auto forward_params(const at::Tensor& input, const at::Tensor& output, const Axis& height,
                    const Axis& width) {
  void* const written = output.mutable_data_ptr();
  return resample_params<acc>(read_only(input), written, input, output, height, width);
}

// Parameters of a kernel that reads `grad_output` and writes `grad_input`.
template <class acc, class Axis>
auto backward_params(const at::Tensor& grad_input, const at::Tensor& grad_output, const Axis& height,
                     const Axis& width) {
  void* const written = grad_input.mutable_data_ptr();
  return resample_params<acc>(written, read_only(grad_output), grad_input, grad_output, height, width);
}

// Both axes of a bilinear resize from the size of `input` to height x width, by native's rules on CUDA; for
// uint8, which native does not support there, by its rules on the CPU.
template <class acc>
struct LinearAxes {
  LinearAxis<acc> height, width;

  LinearAxes(const at::Tensor& input, int64_t out_height, int64_t out_width, bool align_corners,
             std::optional<double> scale_h, std::optional<double> scale_w)
      : LinearAxes(input, out_height, out_width, align_corners, scale_h, scale_w,
                   input.scalar_type() == at::kByte
                       ? NativeRules::kCpu
                       : cuda_rules(input.size(2), input.size(3), out_height, out_width)) {}

 private:
  LinearAxes(const at::Tensor& input, int64_t out_height, int64_t out_width, bool align_corners,
             std::optional<double> scale_h, std::optional<double> scale_w, NativeRules rules)
      : height(input.size(2), out_height, align_corners, scale_h.value_or(0.0), rules),
        width(input.size(3), out_width, align_corners, scale_w.value_or(0.0), rules) {}
};

template <class acc>
auto linear_params(const at::Tensor& input, const at::Tensor& output, bool align_corners,
                   std::optional<double> scale_h, std::optional<double> scale_w) {
  const LinearAxes<acc> axes(input, output.size(2), output.size(3), align_corners, scale_h, scale_w);
  return forward_params<acc>(input, output, axes.height, axes.width);
}

// The logits of the ops that reduce over the classes of a pixel, resized to height x width.
template <class acc>
LogitsParams<acc> logits_params(const at::Tensor& input, const LinearAxes<acc>& axes) {
  return {input.const_data_ptr(), input.size(0), input.size(1), strides_of(input), axes.height, axes.width};
}

// Bilinear resize into `output`, of the input's dtype and any strides.
void upsample_into(const at::Tensor& input, const at::Tensor& output, bool align_corners,
                   std::optional<double> scale_h, std::optional<double> scale_w);

}  // namespace gpu
}  // namespace upsample_ext
