// What the programs that check the kernels without torch share: values in every storage type, and layouts.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstring>

#include "cpu/levels.h"
#include "params.h"

namespace upsample_ext {

// How a storage type holds a value.
inline double decode(double x) { return x; }
inline double decode(float x) { return x; }
inline double decode(uint8_t x) { return x; }
inline double decode(half_t x) {
  const int exponent = x.bits >> 10 & 31, mantissa = x.bits & 1023;
  const double magnitude = exponent == 0
                               ? std::ldexp(mantissa, -24)
                               : (exponent == 31 ? HUGE_VAL : std::ldexp(1024 + mantissa, exponent - 25));
  return x.bits >> 15 ? -magnitude : magnitude;
}
inline double decode(bfloat16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
// Values are whole numbers up to 255, exact in every type.
template <class T>
void encode(int value, T* x) {
  *x = static_cast<T>(value);
}
inline void encode(int value, half_t* x) {
  const int magnitude = value < 0 ? -value : value, sign = value < 0 ? 0x8000 : 0;
  const int exponent = magnitude == 0 ? 0 : std::ilogb(magnitude);
  x->bits = static_cast<uint16_t>(
      magnitude == 0 ? 0 : sign | (exponent + 15) << 10 | (magnitude << (10 - exponent) & 1023));
}
inline void encode(int value, bfloat16_t* x) {
  const float single = static_cast<float>(value);
  uint32_t bits;
  std::memcpy(&bits, &single, sizeof bits);
  x->bits = static_cast<uint16_t>(bits >> 16);
}

enum class Layout { kPlanar, kChannelsLast, kEverySecondColumn };

inline Strides strides_of(Layout layout, int64_t channels, int64_t height, int64_t width) {
  switch (layout) {
    case Layout::kPlanar:
      return {channels * height * width, height * width, width, 1};
    case Layout::kChannelsLast:
      return {height * width * channels, 1, width * channels, channels};
    default:
      return {channels * height * width * 2, height * width * 2, width * 2, 2};
  }
}

// The rest of a program's main: what it has to say of the count of wrong results, and its exit status.
template <class Count>
int report(Count&& count_wrong) {
  if (refused_level() != nullptr) {
    std::printf("no level %s\n", refused_level());
    return 2;
  }
  const int wrong = count_wrong();
  if (wrong == 0) std::printf("level %s: all results are right\n", active_level().name);
  return wrong == 0 ? 0 : 1;
}

}  // namespace upsample_ext
