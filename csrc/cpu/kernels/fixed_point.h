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
#elif UPSAMPLE_NEON
  store_bits(p, vmovn_s32(vcvtq_s32_f32((float32x4_t)v)));
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
#elif UPSAMPLE_NEON
  return (vec_i16)vqrdmulhq_s16((int16x8_t)a, (int16x8_t)b);
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
#elif UPSAMPLE_NEON
  return (vec_u8)vmovn_high_u16(vmovn_u16((uint16x8_t)a), (uint16x8_t)b);
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
#elif defined(__x86_64__)
  const __m128i bytes = (__m128i)v, zero = _mm_setzero_si128();
  return {(vec_i16)_mm_unpacklo_epi8(bytes, zero), (vec_i16)_mm_unpackhi_epi8(bytes, zero)};
#elif UPSAMPLE_NEON
  return {(vec_i16)vmovl_u8(vget_low_u8((uint8x16_t)v)), (vec_i16)vmovl_high_u8((uint8x16_t)v)};
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
#elif UPSAMPLE_NEON
  return {(vec_i16)vzip1q_u32((uint32x4_t)v, (uint32x4_t)v),
          (vec_i16)vzip2q_u32((uint32x4_t)v, (uint32x4_t)v)};
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

// Bytes of a and b in turns: a's first, b's first, a's second ...; on x86 within 16 bytes.
inline vec_u8 zip_low(vec_u8 a, vec_u8 b) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec_u8)_mm512_unpacklo_epi8((__m512i)a, (__m512i)b);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_u8)_mm256_unpacklo_epi8((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (vec_u8)_mm_unpacklo_epi8((__m128i)a, (__m128i)b);
#else
  return (vec_u8)vzip1q_u8((uint8x16_t)a, (uint8x16_t)b);
#endif
}
inline vec_u8 zip_high(vec_u8 a, vec_u8 b) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec_u8)_mm512_unpackhi_epi8((__m512i)a, (__m512i)b);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_u8)_mm256_unpackhi_epi8((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (vec_u8)_mm_unpackhi_epi8((__m128i)a, (__m128i)b);
#else
  return (vec_u8)vzip2q_u8((uint8x16_t)a, (uint8x16_t)b);
#endif
}

// The products of 16-bit numbers, of which those of each two neighbours are added.
inline vec_index<float> multiply_pairs(vec_i16 a, vec_i16 b) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec_index<float>)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_index<float>)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (vec_index<float>)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  const int32x4_t low = vmull_s16(vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
  return (vec_index<float>)vpaddq_s32(low, vmull_high_s16((int16x8_t)a, (int16x8_t)b));
#endif
}

// Numbers as bytes, those beyond 0 to 255 as the nearer of these: on x86 16 bytes of each in turn, from a's
// first four to d's.
inline vec_u8 saturate_sums(vec_index<float> a, vec_index<float> b, vec_index<float> c, vec_index<float> d) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec_u8)_mm512_packus_epi16(_mm512_packs_epi32((__m512i)a, (__m512i)b),
                                     _mm512_packs_epi32((__m512i)c, (__m512i)d));
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_u8)_mm256_packus_epi16(_mm256_packs_epi32((__m256i)a, (__m256i)b),
                                     _mm256_packs_epi32((__m256i)c, (__m256i)d));
#elif defined(__x86_64__)
  return (vec_u8)_mm_packus_epi16(_mm_packs_epi32((__m128i)a, (__m128i)b),
                                  _mm_packs_epi32((__m128i)c, (__m128i)d));
#else
  const int16x8_t low = vqmovn_high_s32(vqmovn_s32((int32x4_t)a), (int32x4_t)b);
  const int16x8_t high = vqmovn_high_s32(vqmovn_s32((int32x4_t)c), (int32x4_t)d);
  return (vec_u8)vqmovun_high_s16(vqmovun_s16(low), high);
#endif
}

constexpr int kVectorsOfSums = 4;  // of a vector of bytes

// A vector of 16 bytes each from anywhere; and a choice among them within each 16 (shuffle_bytes).
inline vec_u8 join_lanes(const bytes16* lane) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const __m512i two = _mm512_inserti32x4(_mm512_castsi128_si512((__m128i)lane[0]), (__m128i)lane[1], 1);
  const __m512i three = _mm512_inserti32x4(two, (__m128i)lane[2], 2);
  return (vec_u8)_mm512_inserti32x4(three, (__m128i)lane[3], 3);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_u8)_mm256_inserti128_si256(_mm256_castsi128_si256((__m128i)lane[0]), (__m128i)lane[1], 1);
#else
  return lane[0];
#endif
}
inline vec_u8 shuffle_in_lanes(vec_u8 v, vec_u8 index) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec_u8)_mm512_shuffle_epi8((__m512i)v, (__m512i)index);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_u8)_mm256_shuffle_epi8((__m256i)v, (__m256i)index);
#else
  return shuffle_bytes(v, index);
#endif
}

// 16 bytes in every lane of as many.
inline vec_u8 repeat_lane(bytes16 v) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec_u8)_mm512_broadcast_i32x4((__m128i)v);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_u8)_mm256_broadcastsi128_si256((__m128i)v);
#else
  return v;
#endif
}

// Half a vector of bytes as 16-bit numbers.
inline vec_i16 load_words(const uint8_t* p) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec_i16)_mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i*)p));
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_i16)_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)p));
#elif defined(__x86_64__)
  return (vec_i16)_mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i*)p), _mm_setzero_si128());
#elif UPSAMPLE_NEON
  return (vec_i16)vmovl_u8(vld1_u8(p));
#else
  typedef uint8_t half __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES / 2)));
  return __builtin_convertvector(load_bits<half>(p), vec_i16);
#endif
}

// The sums of each vector's four numbers within 16 bytes, side by side.
inline vec_index<float> sum_four(vec_index<float> a, vec_index<float> b, vec_index<float> c,
                                 vec_index<float> d) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const auto add = [](__m512i v, __m512i w) {
    return _mm512_add_epi32(_mm512_unpacklo_epi32(v, w), _mm512_unpackhi_epi32(v, w));
  };
  const __m512i ab = add((__m512i)a, (__m512i)b), cd = add((__m512i)c, (__m512i)d);
  return (vec_index<float>)_mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec_index<float>)_mm256_hadd_epi32(_mm256_hadd_epi32((__m256i)a, (__m256i)b),
                                             _mm256_hadd_epi32((__m256i)c, (__m256i)d));
#elif defined(__x86_64__)
  const auto add = [](__m128i v, __m128i w) {
    return _mm_add_epi32(_mm_unpacklo_epi32(v, w), _mm_unpackhi_epi32(v, w));
  };
  const __m128i ab = add((__m128i)a, (__m128i)b), cd = add((__m128i)c, (__m128i)d);
  return (vec_index<float>)_mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd));
#else
  return (vec_index<float>)vpaddq_s32(vpaddq_s32((int32x4_t)a, (int32x4_t)b),
                                      vpaddq_s32((int32x4_t)c, (int32x4_t)d));
#endif
}
// Of as many vectors as a vector has 16 bytes: lane l of the result is the sum of the lanes of v[l].
inline vec_index<float> sum_lanes(const vec_index<float>* v) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const auto add = [](__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  };
  return (vec_index<float>)add(add((__m512i)v[0], (__m512i)v[1]), add((__m512i)v[2], (__m512i)v[3]));
#elif UPSAMPLE_VECTOR_BYTES == 32
  const __m256i a = (__m256i)v[0], b = (__m256i)v[1];
  return (vec_index<float>)_mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                                            _mm256_permute2x128_si256(a, b, 0x31));
#else
  return v[0];
#endif
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
