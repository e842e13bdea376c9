// Elements in memory and in registers: storage types, types of computation, and vectors of up to 16 bytes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
#include <string.h>

#include "../../params.h"

namespace upsample_ext {
namespace gpu {

// ---- one element ----------------------------------------------------------------------------------------

template <class T>
struct AccOf {
  typedef float type;
};
template <>
struct AccOf<double> {
  typedef double type;
};
template <class T>
using acc_of = typename AccOf<T>::type;

__device__ __forceinline__ double widen(double x) { return x; }
__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(uint8_t x) { return static_cast<float>(x); }
__device__ __forceinline__ float widen(half_t x) { return __half2float(__ushort_as_half(x.bits)); }
__device__ __forceinline__ float widen(bfloat16_t x) {
  return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
}

template <class T>
struct Narrow;
template <>
struct Narrow<double> {
  static __device__ __forceinline__ double of(double x) { return x; }
};
template <>
struct Narrow<float> {
  static __device__ __forceinline__ float of(float x) { return x; }
};
template <>
struct Narrow<half_t> {
  static __device__ __forceinline__ half_t of(float x) { return {__half_as_ushort(__float2half_rn(x))}; }
};
template <>
struct Narrow<bfloat16_t> {
  static __device__ __forceinline__ bfloat16_t of(float x) {
    return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
  }
};
template <>
struct Narrow<uint8_t> {
  // To the nearest, halves up.
  static __device__ __forceinline__ uint8_t of(float x) {
    return of_clamped(fminf(fmaxf(x + 0.5f, 0.0f), 255.0f));
  }
  // The whole part. Adding 2^23, downwards, leaves it in the last bits: there are few units for conversions.
  static __device__ __forceinline__ uint8_t of_clamped(float x) {
    return static_cast<uint8_t>(__float_as_uint(__fadd_rd(x, 0x1p23f)));
  }
};
template <>
struct Narrow<bool> {
  static __device__ __forceinline__ bool of(bool x) { return x; }
};

// Of what lies between values of T, which nothing need clamp.
template <class T>
__device__ __forceinline__ T narrow_blended(acc_of<T> x) {
  return Narrow<T>::of(x);
}
template <>
__device__ __forceinline__ uint8_t narrow_blended<uint8_t>(float x) {
  return Narrow<uint8_t>::of_clamped(x + 0.5f);
}

// w0 * a + w1 * b, the only form in which any kernel interpolates between two values.
template <class acc>
__device__ __forceinline__ acc blend(acc w0, acc a, acc w1, acc b) {
  return fused_multiply_add(w1, b, w0 * a);
}

// Hides a pointer's provenance from the optimiser, which otherwise decomposes it and computes a 64-bit
// address again for every element of a row.
template <class T>
__device__ __forceinline__ T* opaque(T* p) {
#if defined(__CUDA_ARCH__)
  asm("" : "+l"(p));
#endif
  return p;
}

// ---- several elements -----------------------------------------------------------------------------------

// N adjacent elements, aligned as one.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T value[N];
};

// How many elements fit 16 bytes.
template <class T>
constexpr int kWide = 16 / sizeof(T);

namespace words {
template <int bytes>
struct Word;
template <>
struct Word<1> {
  typedef unsigned char type;
};
template <>
struct Word<2> {
  typedef unsigned short type;
};
template <>
struct Word<4> {
  typedef unsigned type;
};
template <>
struct Word<8> {
  typedef uint2 type;
};
template <>
struct Word<16> {
  typedef uint4 type;
};
}  // namespace words

// One load through the read-only path (ld.global.nc), for memory that the kernel does not write.
template <class T>
__device__ __forceinline__ T load(const T* p) {
  typedef typename words::Word<sizeof(T)>::type Word;
  const Word word = __ldg(reinterpret_cast<const Word*>(p));
  T value;
  memcpy(&value, &word, sizeof value);
  return value;
}
// One load of memory that the kernel may also write.
template <class T>
__device__ __forceinline__ T load_written(const T* p) {
  typedef typename words::Word<sizeof(T)>::type Word;
  const Word word = *reinterpret_cast<const Word*>(p);
  T value;
  memcpy(&value, &word, sizeof value);
  return value;
}
// As many loads as there are 16 bytes.
template <int N, class T>
__device__ __forceinline__ Pack<T, N> load_pack(const T* p) {
  constexpr int kPart = N < kWide<T> ? N : kWide<T>;
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; i += kPart) {
    const auto part = load(reinterpret_cast<const Pack<T, kPart>*>(p + i));
    memcpy(pack.value + i, part.value, sizeof part);
  }
  return pack;
}

// One store.
template <class T>
__device__ __forceinline__ void store(T* p, const T& value) {
  typedef typename words::Word<sizeof(T)>::type Word;
  Word word;
  memcpy(&word, &value, sizeof word);
  *reinterpret_cast<Word*>(p) = word;
}
template <class T, int N>
__device__ __forceinline__ void store_pack(T* p, const Pack<T, N>& pack) {
  store(reinterpret_cast<Pack<T, N>*>(p), pack);
}

// Several values, 16 bytes at a time: those from value v on go to at(v).
template <class T, int N, class At>
__device__ __forceinline__ void store_quads(const T (&values)[N], At&& at) {
  constexpr int kQuad = N < kWide<T> ? N : kWide<T>;
#pragma unroll
  for (int v = 0; v < N; v += kQuad) {
    Pack<T, kQuad> quad;
#pragma unroll
    for (int q = 0; q < kQuad; ++q) quad.value[q] = values[v + q];
    store_pack(at(v), quad);
  }
}

}  // namespace gpu
}  // namespace upsample_ext
