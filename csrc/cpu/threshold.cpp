// CPU launcher of threshold.
#include "../ops/threshold.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/gt.h>
#include <torch/library.h>

#include "../ops/resample_modes.h"
#include "pick_pixels.h"
#include "run_resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

static Tensor threshold_cpu(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                            optional<double> scale_h, optional<double> scale_w, double threshold,
                            string_view mode) {
  TORCH_CHECK_NOT_IMPLEMENTED(input.scalar_type() != at::kDouble,
                              "\"upsample_threshold\" not implemented for 'Double'");
  const auto settings =
      ResampleSettings::of_plane("upsample_threshold", mode, align_corners, scale_h, scale_w);
  const Tensor output = fresh(make_threshold_output(input, output_size));
  dispatch_floating("upsample_threshold", input.scalar_type(), [&](auto scalar, auto sum) {
    if constexpr (!std::is_same_v<decltype(scalar), double>) {
      if (output.numel() == 0) return;
      using Axis = AxisOfCall<decltype(sum)>;
      const auto run = [&](const Tensor& mask, const Axis& height, const Axis& width) {
        run_resample(active_level().threshold.of(storage_of<decltype(scalar)>{}), input, mask, height, width,
                     ThresholdOperands<float>{static_cast<float>(threshold)}, exceeds_cache(mask));
      };
      const auto axis = [&](int64_t d) {
        return Axis::of(settings.spec(d, input.size(d + 1), output.size(d + 1), NativeRules::kCpu));
      };
      const auto height = axis(1), width = axis(2);
      if (settings.mode->picks() && output.numel() > input.numel()) {
        const Tensor mask = at::empty(input.sizes(), output.options(), output.suggest_memory_format());
        run(mask, Axis::of(copied_axis(input.size(2))), Axis::of(copied_axis(input.size(3))));
        pick_pixels(mask, output, height.taps().index, width.taps().index, exceeds_cache(output));
      } else if (has_many_taps(height.taps(), width.taps())) {
        Tensor mask = output;
        at::gt_out(mask, resize_plane(input.to(at::kFloat), output_size, settings), threshold);
      } else {
        run(output, height, width);
      }
    }
  });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) { m.impl("upsample_threshold", on_cpu<threshold_cpu>); }

}  // namespace upsample_ext
