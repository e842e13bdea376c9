// CUDA launcher of concat.
#include "../ops/concat.h"

#include <torch/library.h>

#include "../ops/resample_modes.h"
#include "kernels.h"
#include "resample_params.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using c10::SymIntArrayRef;

static Tensor concat_cuda(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners,
                          string_view mode) {
  const auto settings = ResampleSettings::of_plane("upsample_concat", mode, align_corners);
  const Tensor output = make_concat_output(inputs, output_size);
  const OnDeviceOf on(output);
  fill_concat_output(
      output, inputs, [](const Tensor& input, const Tensor& slice) { slice.copy_(input); },
      [&](const Tensor& input, const Tensor& slice) {
        if (settings.is_bilinear()) {
          upsample_into(input, slice, align_corners, std::nullopt, std::nullopt);
        } else {
          slice.copy_(resize_plane(input, output_size, settings));
        }
      });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) { m.impl("upsample_concat", concat_cuda); }

}  // namespace gpu
}  // namespace upsample_ext
