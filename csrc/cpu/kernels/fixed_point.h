// Bytes as 16-bit fixed-point numbers: how they are stored, multiplied, and taken apart and joined again.
#pragma once

#include "simd.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// The integer parts of v, which fit.
inline void store_integers(int16_t* p, vec<float> v) {
#if UPSAMPLE_VECTOR_BYTES == 64
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(_mm512_cvttps_epi32((__m512)v)));
#elif UPSAMPLE_VECTOR_BYTES == 32
  const __m256i integers = _mm256_cvttps_epi32((__m256)v);
  _mm_storeu_si128((__m128i*)p,
                   _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1)));
#elif defined(__x86_64__)
  const __m128i integers = _mm_cvttps_epi32((__m128)v);
  _mm_storel_epi64((__m128i*)p, _mm_packs_epi32(integers, integers));
#else
  store_bits(p,
             __builtin_convertvector(__builtin_convertvector(v, vec_index<float>), vec_of<float, int16_t>));
#endif
}

// a * b / 2^15, to within 1; |a| < 2^14.
inline vec_i16 multiply_fixed(vec_i16 a, vec_i16 b) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec_i16)_mm512_mulhrs_epi16((__m512i)a, (__m512i)b);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_i16)_mm256_mulhrs_epi16((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  const auto twice = (vec_u16)a + (vec_u16)a;  // beyond a row's end there are any values
  return (vec_i16)_mm_mulhi_epi16((__m128i)twice, (__m128i)b);
#else
  vec_i16 r;
  for (unsigned i = 0; i < sizeof r / sizeof r[0]; ++i)
    r[i] = static_cast<int16_t>((a[i] * b[i] + (1 << 14)) >> 15);
  return r;
#endif
}

// The lanes of a, then those of b, all of them from 0 to 255.
inline vec_u8 join_bytes(vec_i16 a, vec_i16 b) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const __m512i in_parts = _mm512_packus_epi16((__m512i)a, (__m512i)b);
  return (vec_u8)_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), in_parts);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_u8)_mm256_permute4x64_epi64(_mm256_packus_epi16((__m256i)a, (__m256i)b), 0xd8);
#elif defined(__x86_64__)
  return (vec_u8)_mm_packus_epi16((__m128i)a, (__m128i)b);
#else
  vec_u8 r;
  constexpr int kHalf = sizeof r / 2;
  for (int i = 0; i < kHalf; ++i)
    r[i] = static_cast<uint8_t>(a[i]), r[kHalf + i] = static_cast<uint8_t>(b[i]);
  return r;
#endif
}

// Bytes as two vectors of numbers, in an order that join_split_bytes undoes: on x86 within 16 bytes, where no
// instruction crosses.
struct SplitBytes {
  vec_i16 low, high;
};
inline SplitBytes split_bytes(vec_u8 v) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const __m512i bytes = (__m512i)v, zero = _mm512_setzero_si512();
  return {(vec_i16)_mm512_unpacklo_epi8(bytes, zero), (vec_i16)_mm512_unpackhi_epi8(bytes, zero)};
#elif UPSAMPLE_VECTOR_BYTES == 32
  const __m256i bytes = (__m256i)v, zero = _mm256_setzero_si256();
  return {(vec_i16)_mm256_unpacklo_epi8(bytes, zero), (vec_i16)_mm256_unpackhi_epi8(bytes, zero)};
#else
  typedef uint8_t half __attribute__((vector_size(sizeof v / 2)));
  half parts[2];
  __builtin_memcpy(parts, &v, sizeof v);
  return {__builtin_convertvector(parts[0], vec_i16), __builtin_convertvector(parts[1], vec_i16)};
#endif
}
// Each lane twice: what belongs to the bytes of a lane, in the order of split_bytes.
inline SplitBytes repeat_words(vec_u32 v) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const __m512i words = (__m512i)v;
  return {(vec_i16)_mm512_unpacklo_epi32(words, words), (vec_i16)_mm512_unpackhi_epi32(words, words)};
#elif UPSAMPLE_VECTOR_BYTES == 32
  const __m256i words = (__m256i)v;
  return {(vec_i16)_mm256_unpacklo_epi32(words, words), (vec_i16)_mm256_unpackhi_epi32(words, words)};
#else
  return {(vec_i16)vec_u32{v[0], v[0], v[1], v[1]}, (vec_i16)vec_u32{v[2], v[2], v[3], v[3]}};
#endif
}
inline vec_u8 join_split_bytes(vec_i16 a, vec_i16 b) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec_u8)_mm512_packus_epi16((__m512i)a, (__m512i)b);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_u8)_mm256_packus_epi16((__m256i)a, (__m256i)b);
#else
  return join_bytes(a, b);
#endif
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
