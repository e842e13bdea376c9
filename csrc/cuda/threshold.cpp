// CUDA launcher of threshold.
#include "../ops/threshold.h"

#include <ATen/TensorOperators.h>
#include <torch/library.h>

#include "../ops/resample_modes.h"
#include "kernels.h"
#include "resample_params.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

static Tensor threshold_cuda(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                             optional<double> scale_h, optional<double> scale_w, double threshold,
                             string_view mode) {
  TORCH_CHECK_NOT_IMPLEMENTED(input.scalar_type() != at::kDouble,
                              "\"upsample_threshold\" not implemented for 'Double'");
  const auto settings =
      ResampleSettings::of_plane("upsample_threshold", mode, align_corners, scale_h, scale_w);
  const Tensor output = make_threshold_output(input, output_size);
  if (!settings.is_bilinear()) {  // there is no kernel: by the expression that it equals
    return output.copy_(resize_plane(input.to(at::kFloat), output_size, settings) > threshold);
  }
  const OnDeviceOf on(input);
  const auto params = linear_params<float>(input, output, align_corners, scale_h, scale_w);
  const ThresholdOperands<float> operands{static_cast<float>(threshold)};
  dispatch_floating("upsample_threshold", input.scalar_type(), [&](auto scalar, auto) {
    if constexpr (!std::is_same_v<decltype(scalar), double>) {
      check_launch(resample_threshold<storage_of<decltype(scalar)>>(params, operands, on.device()));
    }
  });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) { m.impl("upsample_threshold", threshold_cuda); }

}  // namespace gpu
}  // namespace upsample_ext
