// CPU launcher of add.
#include <torch_headers.h>

#include "../ops/add.h"

#include "copy_pixels.h"
#include "run_resample.h"

namespace upsample_ext {

using at::Tensor;

static Tensor add_cpu(const Tensor& input, const Tensor& other, bool align_corners) {
  const Tensor output = fresh(make_add_output(input, other));
  if (output.numel() == 0) return output;
  Tensor beside = other.expand(output.sizes());
  bool stream = exceeds_cache(output);
  if (!same_strides(beside, output)) {
    copy_pixels(beside, output);
    beside = output;
    stream = false;  // in place: a cache line is read, then written back
  }
  dispatch_floating("upsample_add", input.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    const AddOperands operands{beside.const_data_ptr(), output.const_data_ptr()};
    const auto height = AxisOfCall<acc>::linear(input.size(2), output.size(2), align_corners, 0.0);
    const auto width = AxisOfCall<acc>::linear(input.size(3), output.size(3), align_corners, 0.0);
    run_resample(active_level().add.of(storage_of<decltype(scalar)>{}), input, output, height, width,
                 operands, stream);
  });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) { m.impl("upsample_add", on_cpu<add_cpu>); }

}  // namespace upsample_ext
