// Images whose pixels are all taken from another image, on the CPU: nearest, for any dtype.
#pragma once

#include <ATen/core/Tensor.h>

namespace upsample_ext {

// to[n, c, y, x] = from[n, c, row[y], column[x]]. `to` is dense, by rows or by pixels. `stream`: it is too
// large to stay in cache.
void pick_pixels(const at::Tensor& from, const at::Tensor& to, const int64_t* row, const int64_t* column,
                 bool stream);

}  // namespace upsample_ext
