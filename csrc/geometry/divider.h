// Division by a divisor known in advance, for indices that are decomposed repeatedly.
#pragma once

#include <stdint.h>

#if defined(__CUDACC__)
#define UPSAMPLE_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define UPSAMPLE_HOST_DEVICE inline
#endif

namespace upsample_ext {

// Division by a number that the host knows. In 32 bits by a multiplication: for n < 2^31 and 2^s >= divisor,
// n / divisor = (n + high32(n * m)) >> s with m = 2^32 (2^s - divisor) / divisor + 1 (Granlund and
// Montgomery, "Division by invariant integers using multiplication", 1994).
template <class Index>
struct Divider;

template <>
struct Divider<int32_t> {
  uint32_t divisor = 1, multiplier = 1;
  int shift = 0;

  Divider() = default;
  explicit Divider(int64_t by) : divisor(static_cast<uint32_t>(by)) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    multiplier =
        static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - divisor)) / divisor + 1);
  }
  UPSAMPLE_HOST_DEVICE int32_t quotient(int32_t n) const {
    const auto value = static_cast<uint32_t>(n);
    const auto high = static_cast<uint32_t>((static_cast<uint64_t>(value) * multiplier) >> 32);
    return static_cast<int32_t>((value + high) >> shift);
  }
  // Leaves the quotient in n and returns the remainder.
  UPSAMPLE_HOST_DEVICE int32_t take(int32_t& n) const {
    const int32_t q = quotient(n), rest = n - q * static_cast<int32_t>(divisor);
    n = q;
    return rest;
  }
};

template <>
struct Divider<int64_t> {
  int64_t divisor = 1;

  Divider() = default;
  explicit Divider(int64_t by) : divisor(by) {}
  UPSAMPLE_HOST_DEVICE int64_t take(int64_t& n) const {
    const int64_t q = n / divisor, rest = n - q * divisor;
    n = q;
    return rest;
  }
};

}  // namespace upsample_ext
