// Argmax over the classes of a resized image: checks, outputs, meta kernels. Neither the index nor its score
// is differentiable.
#include "argmax.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <limits>

#include "op_handles.h"
#include "resample.h"
#include "resample_modes.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;
using std::optional;

int64_t largest_index(at::ScalarType dtype) {
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
      return -1;
  }
}

Tensor make_argmax_index(const Tensor& input, SymIntArrayRef output_size, at::ScalarType dtype) {
  check_resize("upsample_argmax", input, output_size);
  TORCH_CHECK(largest_index(dtype) >= 0, "upsample_argmax: expected dtype uint8, int16, int32 or int64, got ",
              dtype);
  TORCH_CHECK(input.sym_size(1) - 1 <= largest_index(dtype), "upsample_argmax: expected at most ",
              largest_index(dtype), " + 1 classes, which is what ", dtype, " can hold, got ",
              input.sym_size(1));
  return at::empty_symint({input.sym_size(0), output_size[0], output_size[1]}, input.options().dtype(dtype));
}

static Tensor argmax_meta(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                          optional<double>, optional<double>, at::ScalarType dtype, string_view mode) {
  ResampleSettings::of_plane("upsample_argmax", mode, align_corners);
  return make_argmax_index(input, output_size, dtype);
}

static std::tuple<Tensor, Tensor> argmax_with_score_meta(const Tensor& input, SymIntArrayRef output_size,
                                                         bool align_corners, optional<double>,
                                                         optional<double>, at::ScalarType dtype,
                                                         string_view mode) {
  ResampleSettings::of_plane("upsample_argmax", mode, align_corners);
  Tensor index = make_argmax_index(input, output_size, dtype);
  Tensor score = at::empty_like(index, index.options().dtype(at::kFloat));
  return {index, score};
}

static Tensor argmax_autograd(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                              optional<double> scale_h, optional<double> scale_w, at::ScalarType dtype,
                              string_view mode) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return argmax_op().call(input, output_size, align_corners, scale_h, scale_w, dtype, mode);
}

static std::tuple<Tensor, Tensor> argmax_with_score_autograd(const Tensor& input, SymIntArrayRef output_size,
                                                             bool align_corners, optional<double> scale_h,
                                                             optional<double> scale_w, at::ScalarType dtype,
                                                             string_view mode) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return argmax_with_score_op().call(input, output_size, align_corners, scale_h, scale_w, dtype, mode);
}

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) {
  m.impl("upsample_argmax", argmax_meta);
  m.impl("upsample_argmax_with_score", argmax_with_score_meta);
}

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) {
  m.impl("upsample_argmax", argmax_autograd);
  m.impl("upsample_argmax_with_score", argmax_with_score_autograd);
}

}  // namespace upsample_ext
