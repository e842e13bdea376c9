// Argmax and threshold of a resized image: checks, outputs, meta kernels. argmax, its score and threshold are
// not differentiable.
#include <torch_headers.h>

#include "select.h"

#include <ATen/core/LegacyTypeDispatch.h>

#include <limits>

#include "resample.h"
#include "typed_ops.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;
using std::optional;

// ---- argmax ---------------------------------------------------------------------------------------------

static int64_t largest_index(at::ScalarType dtype) {
  switch (dtype) {
    case at::kByte:
      return std::numeric_limits<uint8_t>::max();
    case at::kShort:
      return std::numeric_limits<int16_t>::max();
    case at::kInt:
      return std::numeric_limits<int32_t>::max();
    case at::kLong:
      return std::numeric_limits<int64_t>::max();
    default:
      TORCH_CHECK(false, "upsample_argmax: expected dtype uint8, int16, int32 or int64, got ", dtype);
  }
}

Tensor make_argmax_index(const Tensor& input, SymIntArrayRef output_size, at::ScalarType dtype) {
  check_resize("upsample_argmax", input, output_size);
  TORCH_CHECK(input.sym_size(1) - 1 <= largest_index(dtype), "upsample_argmax: expected at most ",
              largest_index(dtype), " + 1 classes, which is what ", dtype, " can hold, got ",
              input.sym_size(1));
  return at::empty_symint({input.sym_size(0), output_size[0], output_size[1]}, input.options().dtype(dtype));
}

static Tensor argmax_meta(const Tensor& input, SymIntArrayRef output_size, bool, optional<double>,
                          optional<double>, at::ScalarType dtype) {
  return make_argmax_index(input, output_size, dtype);
}

static std::tuple<Tensor, Tensor> argmax_with_score_meta(const Tensor& input, SymIntArrayRef output_size,
                                                         bool, optional<double>, optional<double>,
                                                         at::ScalarType dtype) {
  Tensor index = make_argmax_index(input, output_size, dtype);
  Tensor score = at::empty_like(index, index.options().dtype(at::kFloat));
  return {index, score};
}

static Tensor argmax_autograd(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                              optional<double> scale_h, optional<double> scale_w, at::ScalarType dtype) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return argmax_op().call(input, output_size, align_corners, scale_h, scale_w, dtype);
}

static std::tuple<Tensor, Tensor> argmax_with_score_autograd(const Tensor& input, SymIntArrayRef output_size,
                                                             bool align_corners, optional<double> scale_h,
                                                             optional<double> scale_w, at::ScalarType dtype) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return argmax_with_score_op().call(input, output_size, align_corners, scale_h, scale_w, dtype);
}

// ---- threshold ------------------------------------------------------------------------------------------

// The strides of `resized > threshold` for an empty batch, which natively are unlike those of other batches.
// They are asked of the CPU: natively the meta device has others.
static std::vector<int64_t> strides_of_no_masks(at::IntArrayRef shape) {
  const Tensor resized = at::empty(shape, at::TensorOptions(at::kCPU).dtype(at::kFloat));
  return at::gt(resized, 0.0).strides().vec();
}

Tensor make_threshold_output(const Tensor& input, SymIntArrayRef output_size) {
  check_resize("upsample_threshold", input, output_size);
  const SymInt shape[] = {input.sym_size(0), input.sym_size(1), output_size[0], output_size[1]};
  const auto options = input.options().dtype(at::kBool);
  const auto numbers = c10::asIntArrayRefSlowOpt(shape);
  if (is_empty_batch(input) && numbers) {
    return at::empty_strided(*numbers, strides_of_no_masks(*numbers), options);
  }
  return at::empty_symint(shape, options, input.suggest_memory_format());
}

static Tensor threshold_meta(const Tensor& input, SymIntArrayRef output_size, bool, optional<double>,
                             optional<double>, double) {
  return make_threshold_output(input, output_size);
}

static Tensor threshold_autograd(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                                 optional<double> scale_h, optional<double> scale_w, double threshold) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return upsample_threshold_op().call(input, output_size, align_corners, scale_h, scale_w, threshold);
}

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) {
  m.impl("upsample_argmax", argmax_meta);
  m.impl("upsample_argmax_with_score", argmax_with_score_meta);
  m.impl("upsample_threshold", threshold_meta);
}

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) {
  m.impl("upsample_argmax", argmax_autograd);
  m.impl("upsample_argmax_with_score", argmax_with_score_autograd);
  m.impl("upsample_threshold", threshold_autograd);
}

}  // namespace upsample_ext
