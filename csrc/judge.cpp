#include "judge.h"

#include <algorithm>

#include "ops/dtypes.h"
#include "our_devices.h"

namespace upsample_ext {

bool is_dense(const at::Tensor& image) {
  return on_our_device(image) && image.layout() == at::kStrided && !image.is_nested();
}

bool all_positive(at::IntArrayRef sizes) {
  return std::all_of(sizes.begin(), sizes.end(), [](int64_t size) { return size > 0; });
}

bool takes_image(const at::Tensor& image, const NamedMode& mode, bool antialias) {
  return (UPSAMPLE_HAS_LANCZOS || mode.mode != Mode::kLanczos) && mode.takes_axes(image.dim() - 2) &&
         (antialias ? mode.antialiased : mode.plain) && mode.takes(image.scalar_type()) && is_dense(image) &&
         all_positive(image.sizes().slice(1));
}

bool takes_logits(const at::Tensor& image, const NamedMode& mode) {
  return image.dim() == 4 && is_floating(image.scalar_type()) && takes_image(image, mode, false);
}

int64_t scaled_size(int64_t size, double factor) {
  const double scaled = static_cast<double>(size) * factor;
  return scaled >= 1.0 && scaled < 9e18 ? static_cast<int64_t>(scaled) : 0;
}

}  // namespace upsample_ext
