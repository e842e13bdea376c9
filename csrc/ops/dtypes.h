// The dtypes that the kernels support.
#pragma once

#include <c10/core/ScalarType.h>
#include <c10/util/Exception.h>

#include "../params.h"

namespace upsample_ext {

// The kernels' storage type for a scalar type of torch.
template <class scalar_t>
struct StorageOf {
  typedef scalar_t type;
};
template <>
struct StorageOf<at::Half> {
  typedef half_t type;
};
template <>
struct StorageOf<at::BFloat16> {
  typedef bfloat16_t type;
};
template <class scalar_t>
using storage_of = typename StorageOf<scalar_t>::type;

// Whether an image of this type can have a gradient.
inline bool is_floating(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16 || dtype == at::kDouble;
}

// The type in which values of `dtype` are summed.
inline at::ScalarType sum_type(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

// Calls f with a value of the storage type and one of the type that its values are summed in.
template <class F>
void dispatch_floating(const char* op, at::ScalarType dtype, F&& f) {
  switch (dtype) {
    case at::kDouble:
      return f(double{}, double{});
    case at::kFloat:
      return f(float{}, float{});
    case at::kHalf:
      return f(at::Half{}, float{});
    case at::kBFloat16:
      return f(at::BFloat16{}, float{});
    default:
      TORCH_CHECK_NOT_IMPLEMENTED(false, "\"", op, "\" not implemented for '", at::toString(dtype), "'");
  }
}
template <class F>
void dispatch_floating_or_byte(const char* op, at::ScalarType dtype, F&& f) {
  if (dtype == at::kByte) return f(uint8_t{}, float{});
  dispatch_floating(op, dtype, f);
}

}  // namespace upsample_ext
