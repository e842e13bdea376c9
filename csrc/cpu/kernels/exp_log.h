// exp and log of a vector, for softmax.
//
// float: the textbook reduction, exp(x) = 2^n exp(r) with |r| <= ln(2) / 2 and log(2^n m) = n ln(2) + log(m)
// with m around 1; the polynomials are least-squares fits of relative error 3e-9 and 6e-9, so that the
// result is within two units in the last place. double: the C library's, lane by lane.
#pragma once

#include "simd.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

constexpr float kLog2E = 1.44269504f;
// ln(2) in two parts: the first has few enough digits for n * kLn2High to be exact.
constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;

// Highest power first: exp(r), and (log(1 + f) - f) / f^2.
constexpr float kExp[] = {0.0013814582f, 0.0083687241f, 0.041668389f, 0.16666521f, 0.49999993f, 1.0f, 1.0f};
constexpr float kLog[] = {-0.076344298f, 0.1276155f,   -0.13160195f, 0.14201762f, -0.16623356f,
                          0.20001227f,   -0.25000821f, 0.33333332f,  -0.5f};

template <int kCount>
inline vec<float> polynomial(const float (&coefficients)[kCount], vec<float> x) {
  vec<float> sum = splat(coefficients[0]);
  for (int i = 1; i < kCount; ++i) sum = multiply_add_vector(sum, x, splat(coefficients[i]));
  return sum;
}

// Of x <= 0; exactly 0 from some -104 on (-87 at the lower levels), and for minus infinity. NaN stays NaN.
inline vec<float> exponential(vec<float> x) {
  constexpr float kRounds = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the last bits
#if UPSAMPLE_VECTOR_BYTES == 64
  const vec<float> t = larger_lanes(splat(-110.0f), x);  // exp underflows to 0 there
#else
  constexpr float kLeast = -87.0f;
  const vec<float> t = x < kLeast ? splat(kLeast) : x;
#endif
  const vec<float> shifted = multiply_add_vector(t, splat(kLog2E), splat(kRounds));
  const vec<float> n = shifted - kRounds;
  const vec<float> r = multiply_add_vector(n, splat(-kLn2Low), multiply_add_vector(n, splat(-kLn2High), t));
  const vec<float> p = polynomial(kExp, r);
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec<float>)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  // n sits in the low bits of `shifted`: moved up, it is added to the exponent.
  const vec<float> scaled = (vec<float>)((vec_u32)p + ((vec_u32)shifted << 23));
  return x < kLeast ? vec<float>{} : scaled;
#endif
}

// Of finite x >= 1, or NaN.
inline vec<float> logarithm(vec<float> x) {
  constexpr uint32_t kRootHalf = 0x3f3504f3;  // the bits of sqrt(1/2): m lies in [sqrt(1/2), sqrt(2))
  const vec_index<float> n = (vec_index<float>)((vec_u32)x - kRootHalf) >> 23;
  const vec<float> f = (vec<float>)((vec_u32)x - ((vec_u32)n << 23)) - 1.0f;
  const vec<float> p = polynomial(kLog, f);
  const vec<float> exponent = __builtin_convertvector(n, vec<float>);
  const vec<float> small = multiply_add_vector(exponent, splat(kLn2Low), f * f * p);
  const vec<float> log = multiply_add_vector(exponent, splat(kLn2High), small + f);
  return x == x ? log : x;
}

inline vec<double> exponential(vec<double> x) {
  for (int64_t i = 0; i < lanes<double>; ++i) x[i] = __builtin_exp(x[i]);
  return x;
}
inline vec<double> logarithm(vec<double> x) {
  for (int64_t i = 0; i < lanes<double>; ++i) x[i] = __builtin_log(x[i]);
  return x;
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
