// CPU launchers of the combine family.
#include <torch_headers.h>

#include "../ops/combine.h"

#include "resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;

// ---- add ------------------------------------------------------------------------------------------------

static const ResampleKernel<double>& add_kernel(double) { return active_level().add_f64; }
static const ResampleKernel<float>& add_kernel(float) { return active_level().add_f32; }
static const ResampleKernel<float>& add_kernel(at::Half) { return active_level().add_f16; }
static const ResampleKernel<float>& add_kernel(at::BFloat16) { return active_level().add_bf16; }

static Tensor add_cpu(const Tensor& input, const Tensor& other, bool align_corners) {
  const Tensor output = fresh(make_add_output(input, other));
  if (output.numel() == 0) return output;
  Tensor beside = other.expand(output.sizes());
  bool stream = exceeds_cache(output);
  if (!lie_alike(beside, output)) {
    output.copy_(beside);
    beside = output;
    stream = false;  // in place: a cache line is read, then written back
  }
  dispatch_floating("upsample_add", input.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    ResampleParams<acc> params{};
    params.other = beside.const_data_ptr();
    params.stream = stream;
    const auto height = AxisTable<acc>::linear(input.size(2), output.size(2), align_corners, 0.0);
    const auto width = AxisTable<acc>::linear(input.size(3), output.size(3), align_corners, 0.0);
    run_resample(add_kernel(scalar), input, output, height, width, params);
  });
  return output;
}

// ---- concat ---------------------------------------------------------------------------------------------

static Tensor concat_cpu(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners) {
  const Tensor output = fresh(make_concat_output(inputs, output_size));
  const bool stream = exceeds_cache(output);
  fill_concat_output(output, inputs, output_size, align_corners,
                     [&](const Tensor& input, const Tensor& slice) {
                       upsample_into(input, slice, align_corners, std::nullopt, std::nullopt, stream);
                     });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) {
  m.impl("upsample_add", on_cpu<add_cpu>);
  m.impl("upsample_concat", on_cpu<concat_cpu>);
}

}  // namespace upsample_ext
