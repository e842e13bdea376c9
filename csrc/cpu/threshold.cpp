// CPU launcher of threshold.
#include <torch_headers.h>

#include "../ops/threshold.h"

#include "run_resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

static Tensor threshold_cpu(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                            optional<double> scale_h, optional<double> scale_w, double threshold) {
  TORCH_CHECK_NOT_IMPLEMENTED(input.scalar_type() != at::kDouble,
                              "\"upsample_threshold\" not implemented for 'Double'");
  const Tensor output = fresh(make_threshold_output(input, output_size));
  dispatch_floating("upsample_threshold", input.scalar_type(), [&](auto scalar, auto sum) {
    if constexpr (!std::is_same_v<decltype(scalar), double>) {
      if (output.numel() == 0) return;
      using acc = decltype(sum);
      const ThresholdOperands<acc> operands{static_cast<acc>(threshold)};
      const auto height =
          AxisOfCall<acc>::linear(input.size(2), output.size(2), align_corners, scale_h.value_or(0.0));
      const auto width =
          AxisOfCall<acc>::linear(input.size(3), output.size(3), align_corners, scale_w.value_or(0.0));
      run_resample(active_level().threshold.of(storage_of<decltype(scalar)>{}), input, output, height, width,
                   operands, exceeds_cache(output));
    }
  });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) { m.impl("upsample_threshold", on_cpu<threshold_cpu>); }

}  // namespace upsample_ext
