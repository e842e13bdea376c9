// CPU launchers of the select family.
#include "../ops/select.h"

#include <torch/library.h>

#include "resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

static const ResampleKernel<float>& threshold_kernel(at::ScalarType dtype) {
  const LevelKernels& level = active_level();
  switch (dtype) {
    case at::kFloat:
      return level.threshold_f32;
    case at::kHalf:
      return level.threshold_f16;
    case at::kBFloat16:
      return level.threshold_bf16;
    default:
      TORCH_CHECK_NOT_IMPLEMENTED(false, "\"upsample_threshold\" not implemented for '", at::toString(dtype),
                                  "'");
  }
}

static Tensor threshold_cpu(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                            optional<double> scale_h, optional<double> scale_w, double threshold) {
  const ResampleKernel<float>& kernel = threshold_kernel(input.scalar_type());
  const Tensor output = fresh(make_threshold_output(input, output_size));
  ResampleParams<float> params{};
  params.threshold = static_cast<float>(threshold);
  params.stream = exceeds_cache(output);
  const auto height =
      AxisTable<float>::linear(input.size(2), output.size(2), align_corners, scale_h.value_or(0.0));
  const auto width =
      AxisTable<float>::linear(input.size(3), output.size(3), align_corners, scale_w.value_or(0.0));
  run_resample(kernel, input, output, height, width, params);
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) { m.impl("upsample_threshold", threshold_cpu); }

}  // namespace upsample_ext
