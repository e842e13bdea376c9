// CPU launchers of argmax and threshold.
#include <torch_headers.h>

#include "../ops/select.h"

#include "resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

// ---- argmax ---------------------------------------------------------------------------------------------

static const ArgmaxKernel& argmax_kernel_for(at::ScalarType dtype) {
  const LevelKernels& level = active_level();
  switch (dtype) {
    case at::kDouble:
      return level.argmax_f64;
    case at::kFloat:
      return level.argmax_f32;
    case at::kHalf:
      return level.argmax_f16;
    case at::kBFloat16:
      return level.argmax_bf16;
    default:
      TORCH_CHECK_NOT_IMPLEMENTED(false, "\"upsample_argmax\" not implemented for '", at::toString(dtype),
                                  "'");
  }
}

// Fills `index`, and `score` where it is defined.
static void argmax_into(const ArgmaxKernel& kernel, const Tensor& input, const Tensor& index,
                        const Tensor& score, const AxisTable<float>& height, const AxisTable<float>& width) {
  ArgmaxParams params{};
  params.logits.input = input.const_data_ptr();
  params.logits.batch = input.size(0);
  params.logits.channels = input.size(1);
  params.logits.in = strides_of(input);
  params.logits.height = height.taps();
  params.logits.width = width.taps();
  params.index = index.mutable_data_ptr();
  params.index_bytes = index.element_size();
  params.score = score.defined() ? score.mutable_data_ptr<float>() : nullptr;

  WorkMemory<4096> plan(kernel.plan_bytes(params));
  kernel.build_plan(params, plan.data());
  params.logits.plan = plan.data();
  const int64_t scratch_bytes = kernel.scratch_bytes(params);
  if (scratch_bytes > kMuchScratch && reads_few_columns(width)) {
    const auto columns = width.sources();
    return argmax_into(kernel, take_columns(input, columns), index, score, height, width.of_sources(columns));
  }
  const int64_t units = kernel.units(params);
  const int64_t logits = index.numel() * input.size(1);
  parallel_for(0, units, std::max<int64_t>(1, kGrain * units / std::max<int64_t>(1, logits)),
               [&](int64_t begin, int64_t end) {
                 WorkMemory<16384> scratch(scratch_bytes);
                 kernel.rows(params, begin, end, scratch.data());
               });
}

static void argmax_into(const Tensor& input, const Tensor& index, const Tensor& score, bool align_corners,
                        optional<double> scale_h, optional<double> scale_w) {
  const ArgmaxKernel& kernel = argmax_kernel_for(input.scalar_type());
  if (index.numel() == 0) return;
  argmax_into(kernel, input, index, score,
              AxisTable<float>::linear(input.size(2), index.size(1), align_corners, scale_h.value_or(0.0)),
              AxisTable<float>::linear(input.size(3), index.size(2), align_corners, scale_w.value_or(0.0)));
}

static Tensor argmax_cpu(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                         optional<double> scale_h, optional<double> scale_w, at::ScalarType dtype) {
  Tensor index = fresh(make_argmax_index(input, output_size, dtype));
  argmax_into(input, index, Tensor(), align_corners, scale_h, scale_w);
  return index;
}

static std::tuple<Tensor, Tensor> argmax_with_score_cpu(const Tensor& input, SymIntArrayRef output_size,
                                                        bool align_corners, optional<double> scale_h,
                                                        optional<double> scale_w, at::ScalarType dtype) {
  Tensor index = fresh(make_argmax_index(input, output_size, dtype));
  Tensor score = fresh(at::empty(index.sizes(), index.options().dtype(at::kFloat)));
  argmax_into(input, index, score, align_corners, scale_h, scale_w);
  return {index, score};
}

// ---- threshold ------------------------------------------------------------------------------------------

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
  if (output.numel() == 0) return output;
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

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) {
  m.impl("upsample_argmax", on_cpu<argmax_cpu>);
  m.impl("upsample_argmax_with_score", on_cpu<argmax_with_score_cpu>);
  m.impl("upsample_threshold", on_cpu<threshold_cpu>);
}

}  // namespace upsample_ext
