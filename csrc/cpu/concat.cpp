// CPU launcher of concat.
#include "../ops/concat.h"

#include <torch/library.h>

#include "../ops/resample_modes.h"
#include "copy_pixels.h"
#include "run_resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;

static Tensor concat_cpu(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners,
                         string_view mode) {
  const auto settings = ResampleSettings::of_plane("upsample_concat", mode, align_corners);
  const Tensor output = fresh(make_concat_output(inputs, output_size));
  const bool stream = exceeds_cache(output);
  fill_concat_output(output, inputs, copy_pixels, [&](const Tensor& input, const Tensor& slice) {
    resize_plane_into(input, slice, settings, stream);
  });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) { m.impl("upsample_concat", on_cpu<concat_cpu>); }

}  // namespace upsample_ext
