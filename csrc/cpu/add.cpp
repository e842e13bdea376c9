// CPU launcher of add.
#include "../ops/add.h"

#include <torch/library.h>

#include <utility>

#include "../ops/resample_modes.h"
#include "copy_pixels.h"
#include "pick_pixels.h"
#include "run_resample.h"

namespace upsample_ext {

using at::Tensor;

// The tables of both axes.
template <class acc>
static std::pair<AxisOfCall<acc>, AxisOfCall<acc>> tables_of(const ResampleSettings& settings,
                                                             const Tensor& input, const Tensor& output) {
  const auto axis = [&](int64_t d) {
    return AxisOfCall<acc>::of(settings.spec(d, input.size(d + 1), output.size(d + 1), NativeRules::kCpu));
  };
  return {axis(1), axis(2)};
}

// Nearest; false if the images are in different orders.
static bool add_picked(const Tensor& input, const Tensor& addend, const Tensor& output,
                       const ResampleSettings& settings, bool stream) {
  const auto add = [&](auto sum) {
    const auto [height, width] = tables_of<decltype(sum)>(settings, input, output);
    return pick_into_sum(input, addend, output, height.taps().index, width.taps().index, stream);
  };
  return input.scalar_type() == at::kDouble ? add(double{}) : add(float{});
}

static Tensor add_cpu(const Tensor& input, const Tensor& other, bool align_corners, string_view mode) {
  const auto settings = ResampleSettings::of_plane("upsample_add", mode, align_corners);
  const Tensor output = fresh(make_add_output(input, other));
  if (output.numel() == 0) return output;
  Tensor addend = other.expand(output.sizes());
  bool stream = exceeds_cache(output);
  if (settings.mode->picks() && add_picked(input, addend, output, settings, stream)) return output;
  dispatch_floating("upsample_add", input.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    const auto [height, width] = tables_of<acc>(settings, input, output);
    if (has_many_taps(height.taps(), width.taps())) {
      const c10::SymInt size[] = {output.size(2), output.size(3)};
      const Tensor wide = input.to(c10::CppTypeToScalarType<acc>::value);
      output.copy_(resize_plane(wide, size, settings).add_(addend));
      return;
    }
    if (!same_strides(addend, output)) {
      copy_pixels(addend, output);
      addend = output;
      stream = false;  // in place: a cache line is read, then written back
    }
    const AddOperands operands{addend.const_data_ptr(), output.const_data_ptr()};
    run_resample(active_level().add.of(storage_of<decltype(scalar)>{}), input, output, height, width,
                 operands, stream);
  });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) { m.impl("upsample_add", on_cpu<add_cpu>); }

}  // namespace upsample_ext
