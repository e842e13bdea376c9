// Threshold of a resized image: checks, output, meta kernel. Not differentiable.
#include "threshold.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/gt.h>
#include <torch/library.h>

#include "op_handles.h"
#include "resample.h"
#include "resample_modes.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;
using std::optional;

// The strides of `resized > threshold` for an empty batch, which natively differ from those of other batches.
// They are taken from the CPU: native's meta device gives yet others.
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

static Tensor threshold_meta(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                             optional<double>, optional<double>, double, string_view mode) {
  ResampleSettings::of_plane("upsample_threshold", mode, align_corners);
  return make_threshold_output(input, output_size);
}

static Tensor threshold_autograd(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                                 optional<double> scale_h, optional<double> scale_w, double threshold,
                                 string_view mode) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return upsample_threshold_op().call(input, output_size, align_corners, scale_h, scale_w, threshold, mode);
}

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) { m.impl("upsample_threshold", threshold_meta); }

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) { m.impl("upsample_threshold", threshold_autograd); }

}  // namespace upsample_ext
