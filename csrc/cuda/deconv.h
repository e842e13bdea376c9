// The parameters of a depthwise transposed convolution, for the family itself and for separable kernels.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

#include "tensor_view.h"

namespace upsample_ext {
namespace gpu {

struct DeconvSettings {
  c10::SymIntArrayRef stride, padding, dilation;
  bool replicate;
};

// The geometry of a call and the strides of its images; `input` and `output` are those of the forward op.
DeconvParams deconv_params(const at::Tensor& input, const at::Tensor& output, c10::IntArrayRef kernel_size,
                           const DeconvSettings& settings);

// The weight (C, 1, kH, kW) that kernels read: if the images are channels-last, with the channels of a tap
// adjacent and in the type of sums.
class ReadWeight {
 public:
  ReadWeight(DeconvParams& params, const at::Tensor& weight, at::ScalarType image);
  bool in_acc() const { return in_acc_; }

 private:
  at::Tensor kept_;
  bool in_acc_;
};

}  // namespace gpu
}  // namespace upsample_ext
