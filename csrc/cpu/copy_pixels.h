// Copies of images on the CPU, from any strides to any others.
#pragma once

#include <ATen/core/Tensor.h>

namespace upsample_ext {

// to = from, of one shape and dtype. `stream`: `to` is part of a result too large to stay in cache.
void copy_pixels(const at::Tensor& from, const at::Tensor& to, bool stream = false);

// The resize of an image to its own size: 1 * x + 0 * x, as natively, which is x where x is finite and
// otherwise NaN. `stream` as above.
void resize_to_same_size(const at::Tensor& from, const at::Tensor& to, bool stream);

}  // namespace upsample_ext
