// CPU launcher of concat.
#include "../ops/concat.h"

#include <ATen/ops/cat_cpu_dispatch.h>
#include <torch/library.h>

#include <algorithm>

#include "../ops/resample_modes.h"
#include "copy_pixels.h"
#include "run_resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;

// Whether no pixel of the slice ends within a cache line, whose rest is another input's: written past the
// caches, memory would get it in parts.
static bool fills_lines(const Tensor& slice) {
  constexpr int64_t kLine = 64;
  return slice.stride(1) != 1 || slice.size(1) * slice.element_size() % kLine == 0;
}

static Tensor concat_cpu(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners,
                         string_view mode) {
  const auto settings = ResampleSettings::of_plane("upsample_concat", mode, align_corners);
  Tensor output = fresh(make_concat_output(inputs, output_size));
  const bool stream = exceeds_cache(output);
  const auto fits = [&](const Tensor& input) {
    return input.size(2) == output.size(2) && input.size(3) == output.size(3);
  };
  if (std::all_of(inputs.begin(), inputs.end(), fits)) return at::cpu::cat_out(output, inputs, 1);
  const auto copy = [&](const Tensor& input, const Tensor& slice) {
    copy_pixels(input, slice, stream && slice.stride(1) != 1);
  };
  const auto resize = [&](const Tensor& input, const Tensor& slice) {
    resize_plane_into(input, slice, settings, stream && fills_lines(slice));
  };
  fill_concat_output(output, inputs, copy, resize);
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) { m.impl("upsample_concat", on_cpu<concat_cpu>); }

}  // namespace upsample_ext
