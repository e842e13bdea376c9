// CUDA launcher of concat.
#include "../ops/concat.h"

#include <torch/library.h>

#include <vector>

#include "../ops/resample_modes.h"
#include "kernels.h"
#include "resample_params.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using c10::SymIntArrayRef;

struct Part {
  Tensor input, slice;
};

// Images of one dtype into slices of one tensor, in as few launches as there can be.
static void resize_together(const std::vector<Part>& parts, bool align_corners, const Device& device) {
  if (parts.empty()) return;
  dispatch_floating("upsample_concat", parts[0].input.scalar_type(), [&](auto scalar, auto sum) {
    typedef storage_of<decltype(scalar)> T;
    using acc = decltype(sum);
    std::vector<ResampleParams<acc, LinearAxis<acc>>> images;
    for (const Part& part : parts) {
      images.push_back(linear_params<acc>(part.input, part.slice, align_corners, std::nullopt, std::nullopt));
    }
    for (size_t i = 0; i < images.size();) {
      const int64_t count = images_of_launch<T>(&images[i], static_cast<int64_t>(images.size() - i));
      if (count == 1 && parts[i].input.sizes() == parts[i].slice.sizes()) {
        parts[i].slice.copy_(parts[i].input);
      } else {
        check_launch(resample_images<T>(&images[i], count, device));
      }
      i += static_cast<size_t>(count);
    }
  });
}

static Tensor concat_cuda(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners,
                          string_view mode) {
  const auto settings = ResampleSettings::of_plane("upsample_concat", mode, align_corners);
  const Tensor output = make_concat_output(inputs, output_size);
  const OnDeviceOf on(output);
  std::vector<Part> together;
  const auto joins = [&](const Tensor& slice) {
    return settings.is_bilinear() && slice.is_alias_of(output) && slice.scalar_type() != at::kByte;
  };
  fill_concat_output(
      output, inputs,
      [&](const Tensor& input, const Tensor& slice) {
        joins(slice) ? together.push_back({input, slice}) : (void)slice.copy_(input);
      },
      [&](const Tensor& input, const Tensor& slice) {
        if (joins(slice)) {
          together.push_back({input, slice});
        } else if (settings.is_bilinear()) {
          upsample_into(input, slice, align_corners, std::nullopt, std::nullopt);
        } else {
          slice.copy_(resize_plane(input, output_size, settings));
        }
      });
  resize_together(together, align_corners, on.device());
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) { m.impl("upsample_concat", concat_cuda); }

}  // namespace gpu
}  // namespace upsample_ext
