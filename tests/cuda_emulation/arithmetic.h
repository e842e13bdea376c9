// Arithmetic that CUDA has and C++ has not, or has otherwise.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>

#include <cstdint>
#include <cstring>

// ---- min and max: of a number and a NaN the number, as fmin and fmax ------------------------------------

#define CUDA_EMULATION_MIN_MAX(T)                         \
  static inline T max(T a, T b) { return a < b ? b : a; } \
  static inline T min(T a, T b) { return b < a ? b : a; }
CUDA_EMULATION_MIN_MAX(int)
CUDA_EMULATION_MIN_MAX(unsigned)
CUDA_EMULATION_MIN_MAX(long)
CUDA_EMULATION_MIN_MAX(unsigned long)
CUDA_EMULATION_MIN_MAX(long long)
CUDA_EMULATION_MIN_MAX(unsigned long long)
#undef CUDA_EMULATION_MIN_MAX
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline float min(float a, float b) { return fminf(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(float a, double b) { return fmax(a, b); }
static inline double min(float a, double b) { return fmin(a, b); }
static inline double max(double a, float b) { return fmax(a, b); }
static inline double min(double a, float b) { return fmin(a, b); }
static inline unsigned max(int a, unsigned b) { return max(static_cast<unsigned>(a), b); }
static inline unsigned min(int a, unsigned b) { return min(static_cast<unsigned>(a), b); }
static inline unsigned max(unsigned a, int b) { return max(a, static_cast<unsigned>(b)); }
static inline unsigned min(unsigned a, int b) { return min(a, static_cast<unsigned>(b)); }

// ---- float and double -----------------------------------------------------------------------------------

static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fadd_rd(float a, float b) {
  const double exact = static_cast<double>(a) + b;  // of numbers within 2^29 of each other
  const auto rounded = static_cast<float>(exact);
  return rounded > exact ? nextafterf(rounded, -INFINITY) : rounded;
}
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1.0f / a; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
static inline double rsqrt(double a) { return 1.0 / sqrt(a); }

// The fast ones, computed the device's way, so that they err where it does: by the base-2 function, and a
// quotient of 0 for a divisor beyond 2^126. Macros, because the C library declares functions of these names.
namespace cuda_emulation {
inline float fast_exp(float a) { return exp2f(a * 1.442695041f); }
inline float fast_exp10(float a) { return exp2f(a * 3.321928095f); }
inline float fast_log(float a) { return log2f(a) * 0.693147181f; }
inline float fast_log2(float a) { return log2f(a); }
}  // namespace cuda_emulation
#define __expf cuda_emulation::fast_exp
#define __exp10f cuda_emulation::fast_exp10
#define __logf cuda_emulation::fast_log
#define __log2f cuda_emulation::fast_log2
static inline float __fdividef(float a, float b) {
  const float magnitude = fabsf(b);
  return magnitude > 8.507059173e37f && magnitude < INFINITY ? a * 0.0f : a / b;
}
static inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }

// Conversions to integers on a device: explicit rounding mode, saturating, NaN becomes 0.
namespace cuda_emulation {
template <class Integer>
Integer saturated(double rounded, double lowest, double highest) {
  if (!(rounded == rounded)) return 0;
  if (rounded <= lowest) return static_cast<Integer>(lowest);
  if (rounded >= highest) return static_cast<Integer>(highest);
  return static_cast<Integer>(rounded);
}
inline int to_int(double rounded) { return saturated<int>(rounded, INT32_MIN, INT32_MAX); }
inline unsigned to_unsigned(double rounded) { return saturated<unsigned>(rounded, 0.0, UINT32_MAX); }
}  // namespace cuda_emulation
static inline int __float2int_rn(float a) { return cuda_emulation::to_int(nearbyint(a)); }
static inline int __float2int_rd(float a) { return cuda_emulation::to_int(floor(a)); }
static inline int __float2int_ru(float a) { return cuda_emulation::to_int(ceil(a)); }
static inline int __float2int_rz(float a) { return cuda_emulation::to_int(trunc(a)); }
static inline int __double2int_rd(double a) { return cuda_emulation::to_int(floor(a)); }
static inline int __double2int_rz(double a) { return cuda_emulation::to_int(trunc(a)); }
static inline unsigned __float2uint_rn(float a) { return cuda_emulation::to_unsigned(nearbyint(a)); }
static inline unsigned __float2uint_rz(float a) { return cuda_emulation::to_unsigned(trunc(a)); }
static inline float __int2float_rn(int a) { return static_cast<float>(a); }
static inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }

// ---- half types: the toolkit's headers have the rest for the host ---------------------------------------

static inline __half __hfma(__half a, __half b, __half c) {
  return __float2half_rn(fmaf(__half2float(a), __half2float(b), __half2float(c)));
}
static inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
  return __halves2half2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y));
}

// ---- bits -----------------------------------------------------------------------------------------------

namespace cuda_emulation {
template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace cuda_emulation
static inline int __float_as_int(float a) { return cuda_emulation::bits_as<int>(a); }
static inline float __int_as_float(int a) { return cuda_emulation::bits_as<float>(a); }
static inline unsigned __float_as_uint(float a) { return cuda_emulation::bits_as<unsigned>(a); }
static inline float __uint_as_float(unsigned a) { return cuda_emulation::bits_as<float>(a); }
static inline long long __double_as_longlong(double a) { return cuda_emulation::bits_as<long long>(a); }
static inline double __longlong_as_double(long long a) { return cuda_emulation::bits_as<double>(a); }

static inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
static inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<int64_t>(a) * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
static inline int __ffs(int a) { return __builtin_ffs(a); }
static inline int __clz(int a) { return a == 0 ? 32 : __builtin_clz(static_cast<unsigned>(a)); }
static inline int __clzll(long long a) {
  return a == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(a));
}
static inline unsigned __brev(unsigned a) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (a >> i & 1) << (31 - i);
  return reversed;
}
