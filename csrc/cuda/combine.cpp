// CUDA launchers of the combine family.
#include <torch_headers.h>

#include "../ops/combine.h"

#include "kernels.h"
#include "resize.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using c10::SymIntArrayRef;

// ---- add ------------------------------------------------------------------------------------------------

static Tensor add_cuda(const Tensor& input, const Tensor& other, bool align_corners) {
  const Tensor output = make_add_output(input, other);
  const OnDeviceOf on(input);
  Tensor beside = other.expand(output.sizes());
  if (!lie_alike(beside, output)) {
    output.copy_(beside);
    beside = output;
  }
  dispatch_floating("upsample_add", input.scalar_type(), [&](auto scalar, auto sum) {
    auto params = linear_params<decltype(sum)>(input, output, align_corners, std::nullopt, std::nullopt);
    params.other = beside.const_data_ptr();
    check_launch(resize_add<storage_of<decltype(scalar)>>(params, on.device()));
  });
  return output;
}

// ---- concat ---------------------------------------------------------------------------------------------

static Tensor concat_cuda(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners) {
  const Tensor output = make_concat_output(inputs, output_size);
  const OnDeviceOf on(output);
  fill_concat_output(output, inputs, output_size, align_corners,
                     [&](const Tensor& input, const Tensor& slice) {
                       upsample_into(input, slice, align_corners, std::nullopt, std::nullopt);
                     });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) {
  m.impl("upsample_add", add_cuda);
  m.impl("upsample_concat", concat_cuda);
}

}  // namespace gpu
}  // namespace upsample_ext
