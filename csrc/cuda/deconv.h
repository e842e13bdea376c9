// The geometry of a transposed convolution on CUDA, depthwise or by a separable kernel.
#pragma once

#include <ATen/core/Tensor.h>

#include "../ops/resample.h"
#include "tensor_view.h"

namespace upsample_ext {
namespace gpu {

// Along height (axis 0) or width (1); `input` and `output` are the images of the forward op.
ConvTransposeAxis deconv_axis(int axis, const at::Tensor& input, const at::Tensor& output,
                              int64_t kernel_size, const ConvTransposeArgs& args, bool replicate);

}  // namespace gpu
}  // namespace upsample_ext
