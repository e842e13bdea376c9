// Images whose pixels are all taken from another image, on the CPU: nearest, for any dtype.
#pragma once

#include <ATen/core/Tensor.h>

namespace upsample_ext {

// to[n, c, y, x] = from[n, c, row[y], column[x]]. `to` has adjacent elements in a row or, if dense, in a
// pixel: it can be picked into. `stream`: it is too large to stay in cache.
bool can_pick_into(const at::Tensor& to);
void pick_pixels(const at::Tensor& from, const at::Tensor& to, const int64_t* row, const int64_t* column,
                 bool stream);
// The same plus `addend`, which has the shape of `to`; of floating images whose rows, or pixels, are in one
// order. Otherwise false, and nothing is written.
bool pick_into_sum(const at::Tensor& from, const at::Tensor& addend, const at::Tensor& to, const int64_t* row,
                   const int64_t* column, bool stream);

}  // namespace upsample_ext
