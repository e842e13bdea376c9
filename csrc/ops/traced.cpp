// Overloads that torch.jit.trace records so that a trace is valid for other sizes: `vec` takes either a size
// or the factors for the axes, `tensors` a size of numbers that the trace computes, each a tensor of one
// element. All are made of the ops with a size of ints.
#include <torch/library.h>

#include "op_handles.h"
#include "resample_modes.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using std::optional;

static std::vector<SymInt> size_or_scaled(const char* op, const Tensor& input,
                                          at::OptionalSymIntArrayRef output_size,
                                          optional<at::ArrayRef<double>> scale_factors) {
  TORCH_CHECK(output_size.has_value() != scale_factors.has_value(), op,
              ": expected either a size or scale factors, got ",
              output_size.has_value() ? "both" : "neither");
  if (output_size) return output_size->vec();
  const auto axes = static_cast<size_t>(input.dim() - 2);
  TORCH_CHECK(scale_factors->size() == axes, op, ": expected ", axes, " scale factors, got ",
              scale_factors->size());
  std::vector<SymInt> size;
  for (size_t axis = 0; axis < axes; ++axis) {
    const double scale = (*scale_factors)[axis];
    const SymInt& in = input.sym_size(static_cast<int64_t>(2 + axis));
    // The product truncated, as native computes it; a factor that is a whole number keeps the size symbolic.
    if (scale == static_cast<double>(static_cast<int64_t>(scale))) {
      size.push_back(in * static_cast<int64_t>(scale));
    } else {
      size.emplace_back(static_cast<int64_t>(static_cast<double>(in.guard_int(__FILE__, __LINE__)) * scale));
    }
  }
  return size;
}

// The ints that single elements hold.
static std::vector<SymInt> numbers_of(at::TensorList scalars) {
  std::vector<SymInt> numbers;
  for (const Tensor& scalar : scalars) numbers.emplace_back(scalar.item<int64_t>());
  return numbers;
}

static Tensor upsample_vec(const Tensor& input, at::OptionalSymIntArrayRef output_size, bool align_corners,
                           optional<at::ArrayRef<double>> scale_factors) {
  TORCH_CHECK(input.dim() == 4, "upsample_bilinear2d: expected a 4-D input (N, C, H, W), got ",
              input.sym_sizes());
  const std::vector<SymInt> size = size_or_scaled("upsample_bilinear2d", input, output_size, scale_factors);
  if (output_size) return upsample_op().call(input, size, align_corners, std::nullopt, std::nullopt);
  return upsample_op().call(input, size, align_corners, (*scale_factors)[0], (*scale_factors)[1]);
}

static Tensor upsample_tensors(const Tensor& input, at::TensorList output_size, bool align_corners) {
  return upsample_op().call(input, numbers_of(output_size), align_corners, std::nullopt, std::nullopt);
}

static Tensor resample_vec(const Tensor& input, at::OptionalSymIntArrayRef output_size, string_view mode,
                           bool antialias, bool align_corners, OptionalScales scale_factors) {
  const std::vector<SymInt> size = size_or_scaled("resample", input, output_size, scale_factors);
  return resample_op().call(input, size, mode, antialias, align_corners, scale_factors);
}

static Tensor resample_tensors(const Tensor& input, at::TensorList output_size, string_view mode,
                               bool antialias, bool align_corners) {
  return resample_op().call(input, numbers_of(output_size), mode, antialias, align_corners, std::nullopt);
}

static Tensor argmax_tensors(const Tensor& input, at::TensorList output_size, bool align_corners,
                             optional<double> scale_h, optional<double> scale_w, at::ScalarType dtype,
                             string_view mode) {
  return argmax_op().call(input, numbers_of(output_size), align_corners, scale_h, scale_w, dtype, mode);
}

static std::tuple<Tensor, Tensor> argmax_with_score_tensors(const Tensor& input, at::TensorList output_size,
                                                            bool align_corners, optional<double> scale_h,
                                                            optional<double> scale_w, at::ScalarType dtype,
                                                            string_view mode) {
  return argmax_with_score_op().call(input, numbers_of(output_size), align_corners, scale_h, scale_w, dtype,
                                     mode);
}

static Tensor concat_tensors(at::TensorList inputs, at::TensorList output_size, bool align_corners,
                             string_view mode) {
  return upsample_concat_op().call(inputs, numbers_of(output_size), align_corners, mode);
}

static Tensor threshold_tensors(const Tensor& input, at::TensorList output_size, bool align_corners,
                                optional<double> scale_h, optional<double> scale_w, double threshold,
                                string_view mode) {
  return upsample_threshold_op().call(input, numbers_of(output_size), align_corners, scale_h, scale_w,
                                      threshold, mode);
}

TORCH_LIBRARY_IMPL(upsample_ext, CompositeImplicitAutograd, m) {
  m.impl("upsample_bilinear2d.vec", upsample_vec);
  m.impl("upsample_bilinear2d.tensors", upsample_tensors);
  m.impl("resample.vec", resample_vec);
  m.impl("resample.tensors", resample_tensors);
  m.impl("upsample_argmax.tensors", argmax_tensors);
  m.impl("upsample_argmax_with_score.tensors", argmax_with_score_tensors);
  m.impl("upsample_concat.tensors", concat_tensors);
  m.impl("upsample_threshold.tensors", threshold_tensors);
}

}  // namespace upsample_ext
