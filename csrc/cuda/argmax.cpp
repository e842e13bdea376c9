// CUDA launcher of argmax.
#include "../ops/argmax.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../ops/resample_modes.h"
#include "kernels.h"
#include "resample_params.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

// In modes that have no kernel: by the expression that it equals.
static void argmax_by_resize(const Tensor& input, const Tensor& index, const Tensor& score,
                             SymIntArrayRef output_size, const ResampleSettings& settings) {
  const Tensor logits = resize_plane(input.to(at::kFloat), output_size, settings);
  index.copy_(logits.argmax(1));
  if (score.defined()) score.copy_(logits.softmax(1).amax(1));
}

// Fills `index`, and `score` where it is defined.
static void argmax_into(const Tensor& input, const Tensor& index, const Tensor& score,
                        SymIntArrayRef output_size, const ResampleSettings& settings) {
  if (!settings.is_bilinear()) return argmax_by_resize(input, index, score, output_size, settings);
  const optional<double> scale_h = settings.scale_or_none(1), scale_w = settings.scale_or_none(2);
  const OnDeviceOf on(input);
  const LinearAxes<float> axes(input, index.size(1), index.size(2), settings.align_corners, scale_h, scale_w);
  const ArgmaxParams params{logits_params(input, axes), index.mutable_data_ptr(), index.element_size(),
                            score.defined() ? score.mutable_data_ptr<float>() : nullptr};
  dispatch_floating("upsample_argmax", input.scalar_type(), [&](auto scalar, auto) {
    check_launch(argmax<storage_of<decltype(scalar)>>(params, on.device()));
  });
}

static Tensor argmax_cuda(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                          optional<double> scale_h, optional<double> scale_w, at::ScalarType dtype,
                          string_view mode) {
  const auto settings = ResampleSettings::of_plane("upsample_argmax", mode, align_corners, scale_h, scale_w);
  const Tensor index = make_argmax_index(input, output_size, dtype);
  argmax_into(input, index, Tensor(), output_size, settings);
  return index;
}

static std::tuple<Tensor, Tensor> argmax_with_score_cuda(const Tensor& input, SymIntArrayRef output_size,
                                                         bool align_corners, optional<double> scale_h,
                                                         optional<double> scale_w, at::ScalarType dtype,
                                                         string_view mode) {
  const auto settings = ResampleSettings::of_plane("upsample_argmax", mode, align_corners, scale_h, scale_w);
  const Tensor index = make_argmax_index(input, output_size, dtype);
  const Tensor score = at::empty(index.sizes(), index.options().dtype(at::kFloat));
  argmax_into(input, index, score, output_size, settings);
  return {index, score};
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) {
  m.impl("upsample_argmax", argmax_cuda);
  m.impl("upsample_argmax_with_score", argmax_with_score_cuda);
}

}  // namespace gpu
}  // namespace upsample_ext
