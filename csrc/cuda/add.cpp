// CUDA launcher of add.
#include "../ops/add.h"

#include <ATen/TensorOperators.h>
#include <torch/library.h>

#include "../ops/resample_modes.h"
#include "kernels.h"
#include "resample_params.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using c10::SymIntArrayRef;

static Tensor add_cuda(const Tensor& input, const Tensor& other, bool align_corners, string_view mode) {
  const auto settings = ResampleSettings::of_plane("upsample_add", mode, align_corners);
  const Tensor output = make_add_output(input, other);
  if (!settings.is_bilinear()) {  // there is no kernel: by the expression that it equals
    return output.copy_(resize_plane(input, other.sym_sizes().slice(other.dim() - 2), settings) + other);
  }
  const OnDeviceOf on(input);
  Tensor addend = other.expand(output.sizes());
  if (!same_strides(addend, output)) {
    output.copy_(addend);
    addend = output;
  }
  dispatch_floating("upsample_add", input.scalar_type(), [&](auto scalar, auto sum) {
    const auto params =
        linear_params<decltype(sum)>(input, output, align_corners, std::nullopt, std::nullopt);
    const AddOperands operands{addend.const_data_ptr(), params.output};
    check_launch(resample_add<storage_of<decltype(scalar)>>(params, operands, on.device()));
  });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) { m.impl("upsample_add", add_cuda); }

}  // namespace gpu
}  // namespace upsample_ext
