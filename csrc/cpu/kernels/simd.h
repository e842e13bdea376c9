// Vectors of one instruction-set level, over the compiler's own vector types.
//
// The including level file sets UPSAMPLE_LEVEL (its namespace) and UPSAMPLE_VECTOR_BYTES, on aarch64
// UPSAMPLE_NEON, and enables its instructions by a pragma. Everything here is in that namespace, and no
// template of the standard library is used: the linker would merge a std function instantiated under AVX-512
// with the baseline's.
#pragma once

#include "../../params.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

constexpr int64_t kVectorBytes = UPSAMPLE_VECTOR_BYTES;

struct False {
  static constexpr bool value = false;
};
struct True {
  static constexpr bool value = true;
};

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

template <class T>
struct Vector;
template <>
struct Vector<float> {
  typedef float type __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES)));
  typedef int32_t index __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES)));
};
template <>
struct Vector<double> {
  typedef double type __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES)));
  typedef int64_t index __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES)));
};
template <class acc>
using vec = typename Vector<acc>::type;
template <class acc>
using vec_index = typename Vector<acc>::index;
template <class acc>
constexpr int64_t lanes = kVectorBytes / static_cast<int64_t>(sizeof(acc));

// As many integers of another type as there are lanes.
template <class acc, class I>
struct Integers {
  typedef I type __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES / sizeof(acc) * sizeof(I))));
};
template <class acc, class I>
using vec_of = typename Integers<acc, I>::type;

// What one lane of vec_index holds.
template <class acc>
struct LaneIndex {
  typedef int32_t type;
};
template <>
struct LaneIndex<double> {
  typedef int64_t type;
};
template <class acc>
using lane_index = typename LaneIndex<acc>::type;

typedef uint8_t packed_u8 __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES / 4)));
typedef uint16_t packed_u16 __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES / 2)));
typedef uint32_t vec_u32 __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES)));
typedef int16_t vec_i16 __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES)));
typedef uint16_t vec_u16 __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES)));
typedef uint8_t vec_u8 __attribute__((vector_size(UPSAMPLE_VECTOR_BYTES)));

template <class V>
inline V load_bits(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V>
inline void store_bits(void* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}

template <class acc>
inline vec<acc> splat(acc a) {
  return a - vec<acc>{};  // a + 0 is not a where that is -0, so that the compiler would add
}

// a * b + c, rounded once if the level has an FMA instruction, otherwise twice. Never left to the compiler's
// contraction.
inline float multiply_add(float a, float b, float c) {
#if UPSAMPLE_HAS_FMA
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
inline double multiply_add(double a, double b, double c) {
#if UPSAMPLE_HAS_FMA
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}
template <class V>
inline V multiply_add_vector(V a, V b, V c) {
#if !UPSAMPLE_HAS_FMA
  return a * b + c;
#elif defined(__x86_64__)
  if constexpr (sizeof(a[0]) == 4 && sizeof(V) == 16) return (V)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
  if constexpr (sizeof(a[0]) == 4 && sizeof(V) == 32)
    return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  if constexpr (sizeof(a[0]) == 8 && sizeof(V) == 32)
    return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#if UPSAMPLE_VECTOR_BYTES == 64
  if constexpr (sizeof(a[0]) == 4 && sizeof(V) == 64)
    return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  if constexpr (sizeof(a[0]) == 8 && sizeof(V) == 64)
    return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#endif
#else
#if UPSAMPLE_NEON
  if constexpr (sizeof(a[0]) == 4 && sizeof(V) == 16)
    return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
  if constexpr (sizeof(a[0]) == 8 && sizeof(V) == 16)
    return (V)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#endif
  V r;
  for (unsigned i = 0; i < sizeof(V) / sizeof(a[0]); ++i) r[i] = multiply_add(a[i], b[i], c[i]);
  return r;
#endif
}

// Whether permuting lanes in registers is cheaper than loading them one by one.
#if UPSAMPLE_VECTOR_BYTES > 16 || UPSAMPLE_NEON
#define UPSAMPLE_PERMUTES 1
#else
#define UPSAMPLE_PERMUTES 0
#endif
constexpr bool kPermutes = UPSAMPLE_PERMUTES;
// Whether a permutation gives 0 where the index is -1.
#if UPSAMPLE_NEON
constexpr bool kAbsentIsZero = true;
#else
constexpr bool kAbsentIsZero = false;
#endif

#if UPSAMPLE_NEON
// Of lanes, the numbers of their bytes, by which NEON permutes. Those of lane -1 are beyond every table,
// which gives 0.
inline uint8x16_t bytes_of(vec_index<float> lane) {
  return (uint8x16_t)((vec_u32)lane * 0x04040404u + 0x03020100u);
}
inline uint8x16_t bytes_of(vec_index<double> lane) {
  const vec_u32 twice = (vec_u32)vtrn1q_u32((uint32x4_t)lane, (uint32x4_t)lane);
  const vec_u32 first = {0x03020100u, 0x07060504u, 0x03020100u, 0x07060504u};
  return (uint8x16_t)(twice * 0x08080808u + first);
}
// lane i of the result is lane index[i] of v, or of the concatenation of all; 0 where the index is -1
template <class V, class I>
inline V permute(V v, I index) {
  return (V)vqtbl1q_u8((uint8x16_t)v, bytes_of(index));
}
template <class V, class I>
inline V permute_two(V a, V b, I index) {
  return (V)vqtbl2q_u8({{(uint8x16_t)a, (uint8x16_t)b}}, bytes_of(index));
}
template <class V, class I>
inline V permute_four(V a, V b, V c, V d, I index) {
  return (V)vqtbl4q_u8({{(uint8x16_t)a, (uint8x16_t)b, (uint8x16_t)c, (uint8x16_t)d}}, bytes_of(index));
}
#else
// lane i of the result is lane index[i] of v
inline vec<float> permute(vec<float> v, vec_index<float> index) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec<float>)_mm512_permutexvar_ps((__m512i)index, (__m512)v);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec<float>)_mm256_permutevar8x32_ps((__m256)v, (__m256i)index);
#else
  vec<float> r;
  for (int i = 0; i < lanes<float>; ++i) r[i] = v[index[i]];
  return r;
#endif
}
inline vec<double> permute(vec<double> v, vec_index<double> index) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec<double>)_mm512_permutexvar_pd((__m512i)index, (__m512d)v);
#elif UPSAMPLE_VECTOR_BYTES == 32
  const __m256i twice = _mm256_slli_epi64((__m256i)index, 1);  // a 64-bit lane is two 32-bit lanes
  const __m256i pairs =
      _mm256_or_si256(twice, _mm256_slli_epi64(_mm256_add_epi64(twice, _mm256_set1_epi64x(1)), 32));
  return (vec<double>)_mm256_permutevar8x32_ps((__m256)v, pairs);
#else
  vec<double> r;
  for (int i = 0; i < lanes<double>; ++i) r[i] = v[index[i]];
  return r;
#endif
}

// lane i of the result is lane index[i] of the concatenation of both vectors
#if UPSAMPLE_VECTOR_BYTES == 64
inline vec<float> permute_two(vec<float> a, vec<float> b, vec_index<float> index) {
  return (vec<float>)_mm512_permutex2var_ps((__m512)a, (__m512i)index, (__m512)b);
}
inline vec<double> permute_two(vec<double> a, vec<double> b, vec_index<double> index) {
  return (vec<double>)_mm512_permutex2var_pd((__m512d)a, (__m512i)index, (__m512d)b);
}
#else
template <class V, class I>
inline V permute_two(V a, V b, I index) {
  return (index & static_cast<int64_t>(sizeof(V) / sizeof(a[0]))) != 0 ? permute(b, index)
                                                                       : permute(a, index);
}
#endif

// ... of four
template <class V, class I>
inline V permute_four(V a, V b, V c, V d, I index) {
  const V lower = permute_two(a, b, index), upper = permute_two(c, d, index);
  return (index & static_cast<int64_t>(2 * sizeof(V) / sizeof(a[0]))) != 0 ? upper : lower;
}
#endif

// 16 bytes, and a choice among them: byte i of the result is byte index[i] of v, 0 where index[i] is above
// 127.
typedef uint8_t bytes16 __attribute__((vector_size(16)));
#if UPSAMPLE_VECTOR_BYTES > 16
constexpr bool kShufflesBytes = true;
inline bytes16 shuffle_bytes(bytes16 v, bytes16 index) {
  return (bytes16)_mm_shuffle_epi8((__m128i)v, (__m128i)index);
}
#elif UPSAMPLE_NEON
constexpr bool kShufflesBytes = true;
inline bytes16 shuffle_bytes(bytes16 v, bytes16 index) {
  return (bytes16)vqtbl1q_u8((uint8x16_t)v, (uint8x16_t)index);
}
#else
constexpr bool kShufflesBytes = false;
inline bytes16 shuffle_bytes(bytes16 v, bytes16) { return v; }
#endif

// ---- one element: storage type <-> acc ------------------------------------------------------------------

// The bits of one number or vector as those of another type.
template <class To, class From>
inline To bits_as(From from) {
  To to;
  static_assert(sizeof to == sizeof from, "the same bits");
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

// Between float16 and float32 where there is no instruction for it, without branches, in numbers (F float, U
// uint32_t) or in vectors of them (vec<float>, vec_u32); a float16 is the lower half of a U.
//
// Shifts exponent and mantissa into place and rebiases the exponent. A subnormal, m * 2^-24, is computed as
// (2^-14 + m * 2^-24) - 2^-14, so that no subnormal float32 occurs, which the processor may be set to flush
// to 0. An exponent of all ones (inf, NaN) is kept.
template <class F, class U>
inline F widen_half(U half) {
  const U magnitude = (half & 0x7fffu) << 13, sign = (half & 0x8000u) << 16;
  const U subnormal = bits_as<U>(bits_as<F>(magnitude + 0x38800000u) - 0x1p-14f);
  const U finite = magnitude < 0x00800000u ? subnormal : magnitude + 0x38000000u;
  return bits_as<F>((magnitude < 0x0f800000u ? finite : magnitude | 0x7f800000u) | sign);
}
// Rounds to nearest even.
template <class U, class F>
inline U narrow_half(F x) {
  const U sign = bits_as<U>(x) & 0x80000000u, u = bits_as<U>(x) ^ sign;
  // 65536 and above, inf, NaN
  const U large = u > 0x7f800000u ? 0x7e00u | ((u >> 13) & 0x3ffu) : U{} + 0x7c00u;
  // Below 2^-14: adding 0.5 aligns the subnormal's last bit with float's and rounds
  const U small = bits_as<U>(bits_as<F>(u) + 0.5f) - 0x3f000000u;
  const U normal =
      (u + 0xc8000fffu + ((u >> 13) & 1u)) >> 13;  // rebiases the exponent, rounds to nearest even
  const U finite = u < 0x38800000u ? small : normal;
  return (u < 0x47800000u ? finite : large) | (sign >> 16);
}

inline double to_acc(double x) { return x; }
inline float to_acc(float x) { return x; }
inline float to_acc(uint8_t x) { return static_cast<float>(x); }
inline float to_acc(bfloat16_t x) { return bits_as<float>(uint32_t{x.bits} << 16); }
inline float to_acc(half_t x) {
#if UPSAMPLE_NEON
  float16_t half;
  __builtin_memcpy(&half, &x, sizeof half);
  return half;
#elif UPSAMPLE_VECTOR_BYTES > 16
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(x.bits)));
#else
  return widen_half<float>(uint32_t{x.bits});
#endif
}

inline void from_acc(double x, double* p) { *p = x; }
inline void from_acc(float x, float* p) { *p = x; }
inline void from_acc(float x, uint8_t* p) {
  const float rounded = x + 0.5f;  // halves up; the cast truncates
  *p = rounded >= 255.0f ? 255 : (rounded > 0.0f ? static_cast<uint8_t>(rounded) : 0);
}
inline void from_acc(float x, bfloat16_t* p) {
  const auto u = bits_as<uint32_t>(x);
  p->bits = x != x ? 0x7fc0
                   : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);  // nearest, ties to even
}
inline void from_acc(float x, half_t* p) {
#if UPSAMPLE_NEON
  const float16_t half = static_cast<float16_t>(x);
  __builtin_memcpy(p, &half, sizeof half);
#elif UPSAMPLE_VECTOR_BYTES > 16
  const __m128i half = _mm_cvtps_ph(_mm_set_ss(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  p->bits = static_cast<uint16_t>(_mm_cvtsi128_si32(half));
#else
  p->bits = static_cast<uint16_t>(narrow_half<uint32_t>(x));
#endif
}

// ---- one vector ------------------------------------------------------------------------------------------

inline vec<double> load(const double* p) { return load_bits<vec<double>>(p); }
inline vec<float> load(const float* p) { return load_bits<vec<float>>(p); }
inline vec<float> load(const uint8_t* p) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec<float>)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)));
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec<float>)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)));
#elif defined(__x86_64__)
  const __m128i zero = _mm_setzero_si128();
  const __m128i words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(load_bits<int>(p)), zero);
  return (vec<float>)_mm_cvtepi32_ps(_mm_unpacklo_epi16(words, zero));
#elif UPSAMPLE_NEON
  const uint8x8_t bytes = (uint8x8_t)vset_lane_u32(load_bits<uint32_t>(p), vdup_n_u32(0), 0);
  return (vec<float>)vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
#else
  return __builtin_convertvector(load_bits<packed_u8>(p), vec<float>);
#endif
}
inline vec<float> load(const bfloat16_t* p) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec<float>)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16);
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec<float>)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16);
#elif UPSAMPLE_NEON
  return (vec<float>)vshll_n_u16(load_bits<uint16x4_t>(p), 16);
#else
  return (vec<float>)(__builtin_convertvector(load_bits<packed_u16>(p), vec_u32) << 16);
#endif
}
inline vec<float> load(const half_t* p) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec<float>)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
#elif UPSAMPLE_VECTOR_BYTES == 32
  return (vec<float>)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#elif UPSAMPLE_NEON
  return (vec<float>)vcvt_f32_f16(load_bits<float16x4_t>(p));
#else
  return widen_half<vec<float>>(__builtin_convertvector(load_bits<packed_u16>(p), vec_u32));
#endif
}

inline void store(double* p, vec<double> v) { store_bits(p, v); }
inline void store(float* p, vec<float> v) { store_bits(p, v); }
inline void store(uint8_t* p, vec<float> v) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const __m512i rounded = _mm512_cvttps_epi32((__m512)(v + 0.5f));
  _mm_storeu_si128((__m128i*)p, _mm512_cvtusepi32_epi8(_mm512_max_epi32(rounded, _mm512_setzero_si512())));
#elif UPSAMPLE_VECTOR_BYTES == 32
  const __m256i rounded = _mm256_cvttps_epi32((__m256)(v + 0.5f));
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
  _mm_storel_epi64((__m128i*)p, _mm_packus_epi16(words, words));
#elif defined(__x86_64__)
  const __m128i words = _mm_packs_epi32(_mm_cvttps_epi32((__m128)(v + 0.5f)), _mm_setzero_si128());
  const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  __builtin_memcpy(p, &bytes, sizeof bytes);
#elif UPSAMPLE_NEON
  const uint16x4_t words = vqmovn_u32(vcvtq_u32_f32((float32x4_t)(v + 0.5f)));
  store_bits(p, vget_lane_u32((uint32x2_t)vqmovn_u16(vcombine_u16(words, words)), 0));
#else
  for (int i = 0; i < lanes<float>; ++i) from_acc(v[i], p + i);
#endif
}
inline void store(bfloat16_t* p, vec<float> v) {
#if UPSAMPLE_NEON
  const uint32x4_t u = (uint32x4_t)(v == v ? v : (vec<float>)(vec_u32{} + 0x7fc00000u));
  const uint32x4_t odd = vsraq_n_u32(u, vshlq_n_u32(u, 15), 31);  // u, and 1 if its upper half is odd
  store_bits(p, vaddhn_u32(odd, vdupq_n_u32(0x7fff)));
#elif UPSAMPLE_VECTOR_BYTES == 64
  const __m512i odd = (__m512i)(((vec_u32)v >> 16) & 1u),
                half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  const __mmask16 number = _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_ORD_Q);
  const __m512i rounded = _mm512_mask_add_epi32(_mm512_set1_epi32(0x7fc00000), number, (__m512i)v, half);
  // The upper halves: words 1, 3, 5, ...
  const vec_u32 upper = {0x30001, 0x70005, 0xb0009, 0xf000d, 0x130011, 0x170015, 0x1b0019, 0x1f001d};
  const __m512i words = _mm512_permutexvar_epi16((__m512i)upper, rounded);
  _mm256_storeu_si256((__m256i*)p, _mm512_castsi512_si256(words));
#else
  const vec_u32 u = (vec_u32)v;
  const vec_u32 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const vec_u32 bits = v != v ? vec_u32{} + 0x7fc0u : rounded;
#if UPSAMPLE_VECTOR_BYTES == 32
  const __m128i low = _mm256_castsi256_si128((__m256i)bits),
                high = _mm256_extracti128_si256((__m256i)bits, 1);
  _mm_storeu_si128((__m128i*)p, _mm_packus_epi32(low, high));
#else
  store_bits(p, __builtin_convertvector(bits, packed_u16));
#endif
#endif
}
inline void store(half_t* p, vec<float> v) {
#if UPSAMPLE_VECTOR_BYTES == 64
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif UPSAMPLE_VECTOR_BYTES == 32
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif UPSAMPLE_NEON
  store_bits(p, vcvt_f16_f32((float32x4_t)v));
#else
  store_bits(p, __builtin_convertvector(narrow_half<vec_u32>(v), packed_u16));
#endif
}

// ---- 16-bit integers --------------------------------------------------------------------------------------

// Non-temporal stores: for a large output they avoid reading each line before it is overwritten. The address
// must be aligned to the number of bytes written; types without such a store use the ordinary one.
template <class T, class V>
inline void stream(T* p, V v) {
  store(p, v);
}
#if defined(__x86_64__)
constexpr bool kHasStreams = true;
template <class P, class V>
inline void stream_bits(P* p, V v) {
#if UPSAMPLE_VECTOR_BYTES == 64
  if constexpr (sizeof(V) == 64) _mm512_stream_si512((__m512i*)p, (__m512i)v);
#endif
#if UPSAMPLE_VECTOR_BYTES >= 32
  if constexpr (sizeof(V) == 32) _mm256_stream_si256((__m256i*)p, (__m256i)v);
#endif
  if constexpr (sizeof(V) == 16) _mm_stream_si128((__m128i*)p, (__m128i)v);
}
inline void stream(double* p, vec<double> v) { stream_bits(p, v); }
inline void stream(float* p, vec<float> v) { stream_bits(p, v); }
#if UPSAMPLE_VECTOR_BYTES >= 32
inline void stream(half_t* p, vec<float> v) {
  packed_u16 bits;
  store((half_t*)&bits, v);
  stream_bits(p, bits);
}
inline void stream(bfloat16_t* p, vec<float> v) {
  packed_u16 bits;
  store((bfloat16_t*)&bits, v);
  stream_bits(p, bits);
}
#endif
#else
constexpr bool kHasStreams = false;
template <class P, class V>
inline void stream_bits(P* p, V v) {
  store_bits(p, v);
}
#endif

// What goes past the cache is gathered to lines in a few buffers, of which older processors have as many as a
// kernel writes rows or pixels: a line that is not written as a whole, at once, may leave in parts, each of
// which costs what the line does.
constexpr int64_t kLineBytes = 64;

// Whether the level has such a store for vectors of results.
template <class R>
constexpr bool kMayStream = kHasStreams && sizeof(R) * kVectorBytes >= 64;

// Vectors of results that fill a line, at most as many as registers allow.
template <class R, class acc>
constexpr int kLineVectors =
    kMayStream<R> ? smaller(4, larger(1, kLineBytes / (lanes<acc> * int64_t{sizeof(R)}))) : 1;

template <class R>
inline bool is_whole_lines(int64_t elements) {
  return elements % (kLineBytes / int64_t{sizeof(R)}) == 0;
}
inline bool starts_line(const void* p) { return reinterpret_cast<uintptr_t>(p) % kLineBytes == 0; }

// Makes streamed stores visible to other threads.
inline void end_stream() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// a > b lane by lane, as consecutive bytes 0 or 1; false if either is NaN.
#if UPSAMPLE_VECTOR_BYTES == 64
inline __m128i greater_bytes(vec<float> a, vec<float> b) {
  return _mm_maskz_set1_epi8(_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ), 1);
}
inline void store_greater(uint8_t* p, vec<float> a, vec<float> b) {
  _mm_storeu_si128((__m128i*)p, greater_bytes(a, b));
}
inline void stream_greater(uint8_t* p, vec<float> a, vec<float> b) {
  _mm_stream_si128((__m128i*)p, greater_bytes(a, b));
}
inline void store_greater_part(uint8_t* p, vec<float> a, vec<float> b, int64_t count) {
  _mm_mask_storeu_epi8(p, static_cast<__mmask16>((1u << count) - 1), greater_bytes(a, b));
}
#else
inline void store_greater(uint8_t* p, vec<float> a, vec<float> b) {
#if UPSAMPLE_VECTOR_BYTES == 32
  const __m256i greater = (__m256i)(a > b);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(greater), _mm256_extracti128_si256(greater, 1));
  _mm_storel_epi64((__m128i*)p, _mm_and_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(1)));
#elif UPSAMPLE_NEON
  const uint16x4_t words = vmovn_u32((uint32x4_t)(a > b));
  const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
  store_bits(p, vget_lane_u32((uint32x2_t)vshr_n_u8(bytes, 7), 0));
#else
  store_bits(p, __builtin_convertvector((a > b) & 1, packed_u8));
#endif
}
inline void stream_greater(uint8_t* p, vec<float> a, vec<float> b) { store_greater(p, a, b); }
inline void store_greater_part(uint8_t* p, vec<float> a, vec<float> b, int64_t count) {
  for (int64_t i = 0; i < count; ++i) p[i] = a[i] > b[i];
}
#endif

// The sum of a vector's lanes, in a fixed order that is not that of the lanes.
inline float sum_lanes(vec<float> v) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return _mm512_reduce_add_ps((__m512)v);
#elif UPSAMPLE_VECTOR_BYTES == 32
  __m128 s = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
#elif UPSAMPLE_NEON
  return vaddvq_f32((float32x4_t)v);
#else
  return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}
inline double sum_lanes(vec<double> v) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return _mm512_reduce_add_pd((__m512d)v);
#elif UPSAMPLE_VECTOR_BYTES == 32
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128((__m256d)v), _mm256_extractf128_pd((__m256d)v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
#else
  return v[0] + v[1];
#endif
}

// The type in which values of a storage type are summed.
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

// ---- parts of a vector, and lanes of two ------------------------------------------------------------------

#if defined(__x86_64__)
// The first `count` <= 16 bytes and zeros above them, in pieces that overlap: a vector loaded from memory
// that was just written in parts would wait for them.
inline __m128i load_bytes(const void* from, int64_t count) {
  const char* p = static_cast<const char*>(from);
  if (count >= 8) {
    const __m128i high = _mm_loadl_epi64((const __m128i*)(p + count - 8));
    return _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i*)p),
                              _mm_srl_epi64(high, _mm_cvtsi64_si128(8 * (16 - count))));
  }
  uint64_t bits = 0;
  if (count >= 4) {
    bits = load_bits<uint32_t>(p) | uint64_t{load_bits<uint32_t>(p + count - 4)} << 8 * (count - 4);
  } else if (count >= 2) {
    bits = load_bits<uint16_t>(p) | uint64_t{load_bits<uint16_t>(p + count - 2)} << 8 * (count - 2);
  } else if (count == 1) {
    bits = load_bits<uint8_t>(p);
  }
  return _mm_cvtsi64_si128(static_cast<int64_t>(bits));
}
#endif

// Elements p[0] .. p[count - 1] and zeros above them, 0 <= count <= lanes; touches no memory beyond.
template <class T>
inline vec<acc_of<T>> load_part(const T* p, int64_t count) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const uint32_t mask = (1u << count) - 1;
  if constexpr (sizeof(T) == 8) return (vec<double>)_mm512_maskz_loadu_epi64(static_cast<__mmask8>(mask), p);
  if constexpr (sizeof(T) == 4) return (vec<float>)_mm512_maskz_loadu_epi32(static_cast<__mmask16>(mask), p);
  if constexpr (sizeof(T) == 2) {
    const __m256i bits = _mm256_maskz_loadu_epi16(static_cast<__mmask16>(mask), p);
    return load((const T*)&bits);
  }
  if constexpr (sizeof(T) == 1) {
    const __m128i bits = _mm_maskz_loadu_epi8(static_cast<__mmask16>(mask), p);
    return load((const T*)&bits);
  }
#elif UPSAMPLE_VECTOR_BYTES == 32
  const __m256i number = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  if constexpr (sizeof(T) == 8) {
    const __m256i mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
    return (vec<double>)_mm256_maskload_pd(p, mask);
  }
  if constexpr (sizeof(T) == 4) {
    return (vec<float>)_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), number));
  }
#endif
#if UPSAMPLE_NEON
  vec<acc_of<T>> v{};
#pragma GCC unroll 4
  for (int i = 0; i < lanes<acc_of<T>>; ++i) {  // lane by lane, as load_bytes in pieces
    if (i < count) v[i] = to_acc(p[i]);
  }
  return v;
#elif defined(__x86_64__)
  const __m128i bits = load_bytes(p, count * static_cast<int64_t>(sizeof(T)));
  return load((const T*)&bits);
#else
  T whole[lanes<acc_of<T>>] = {};
  for (int64_t i = 0; i < count; ++i) whole[i] = p[i];
  return load(whole);
#endif
}
#if UPSAMPLE_VECTOR_BYTES >= 32
// The first `count` <= 16 bytes, in pieces: the processor may take a masked store of bytes from microcode.
inline void store_bytes(char* p, __m128i v, int64_t count) {
  if (count & 16) return _mm_storeu_si128((__m128i*)p, v);
  if (count & 8) {
    _mm_storel_epi64((__m128i*)p, v);
    v = _mm_unpackhi_epi64(v, v);
    p += 8;
  }
  if (count & 4) {
    store_bits(p, _mm_cvtsi128_si32(v));
    v = _mm_srli_epi64(v, 32);
    p += 4;
  }
  if (count & 2) {
    store_bits(p, static_cast<uint16_t>(_mm_cvtsi128_si32(v)));
    v = _mm_srli_epi64(v, 16);
    p += 2;
  }
  if (count & 1) *p = static_cast<char>(_mm_cvtsi128_si32(v));
}
#endif
template <class T>
inline void store_part(T* p, vec<acc_of<T>> v, int64_t count) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const uint32_t mask = (1u << count) - 1;
  if constexpr (sizeof(T) == 8) return _mm512_mask_storeu_epi64(p, static_cast<__mmask8>(mask), (__m512i)v);
  if constexpr (sizeof(T) == 4) return _mm512_mask_storeu_epi32(p, static_cast<__mmask16>(mask), (__m512i)v);
  if constexpr (sizeof(T) == 2) {
    __m256i bits;
    store((T*)&bits, v);
    return _mm256_mask_storeu_epi16(p, static_cast<__mmask16>(mask), bits);
  }
  if constexpr (sizeof(T) == 1) {
    __m128i bits;
    store((T*)&bits, v);
    store_bytes((char*)p, bits, count);
  }
#elif UPSAMPLE_VECTOR_BYTES == 32
  const __m256i number = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  if constexpr (sizeof(T) == 8) {
    const __m256i mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
    return _mm256_maskstore_pd(p, mask, (__m256d)v);
  }
  if constexpr (sizeof(T) == 4) {
    return _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), number), (__m256)v);
  }
  if constexpr (sizeof(T) <= 2) {
    __m128i bits = _mm_setzero_si128();
    store((T*)&bits, v);
    store_bytes((char*)p, bits, count * static_cast<int64_t>(sizeof(T)));
  }
#else
  T whole[lanes<acc_of<T>>];
  store(whole, v);
#if UPSAMPLE_NEON
#pragma GCC unroll 4
  for (int i = 0; i < lanes<acc_of<T>>; ++i) {  // such a loop does not become a call of memcpy
    if (i < count) p[i] = whole[i];
  }
#else
  for (int64_t i = 0; i < count; ++i) p[i] = whole[i];
#endif
#endif
}

// Picks lanes: lane i of the result is p[index[i] + shift], all of them among the `lanes` elements at p.
template <class acc>
class LanePicker {
 public:
#if UPSAMPLE_PERMUTES
  explicit LanePicker(const lane_index<acc>* index) : index_(load_bits<vec_index<acc>>(index)) {}
  vec<acc> operator()(const acc* p, int64_t shift) const {
    return permute(load(p), index_ + static_cast<lane_index<acc>>(shift));
  }

 private:
  vec_index<acc> index_;
#else
  explicit LanePicker(const lane_index<acc>* index) : index_(index) {}
  vec<acc> operator()(const acc* p, int64_t shift) const {
    vec<acc> r{};
    for (int i = 0; i < lanes<acc>; ++i) r[i] = (p + shift)[index_[i]];
    return r;
  }

 private:
  const lane_index<acc>* index_;
#endif
};

// ---- choosing and gathering ------------------------------------------------------------------------------

// The larger of two lanes; b's where either is NaN.
inline vec<float> larger_lanes(vec<float> a, vec<float> b) {
#if UPSAMPLE_VECTOR_BYTES == 64
  return (vec<float>)_mm512_max_ps((__m512)a, (__m512)b);
#else
  return a > b ? a : b;
#endif
}
inline vec<double> larger_lanes(vec<double> a, vec<double> b) { return a > b ? a : b; }

// Sets best = value and where = index in the lanes where value is greater than best, or is the first NaN.
inline void keep_greater_or_nan(vec<float>& best, vec_index<float>& where, vec<float> value,
                                vec_index<float> index) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const __mmask16 ordered = _mm512_cmp_ps_mask((__m512)best, (__m512)best, _CMP_ORD_Q);
  const __mmask16 greater = _mm512_mask_cmp_ps_mask(ordered, (__m512)value, (__m512)best, _CMP_NLE_UQ);
  best = (vec<float>)_mm512_mask_mov_ps((__m512)best, greater, (__m512)value);
  where = (vec_index<float>)_mm512_mask_mov_epi32((__m512i)where, greater, (__m512i)index);
#else
  const vec_index<float> greater = ~(value <= best) & (best == best);
  best = greater != 0 ? value : best;
  where = greater != 0 ? index : where;
#endif
}
// The same if nothing is NaN: `best` then does not depend on the comparison.
inline void keep_greater(vec<float>& best, vec_index<float>& where, vec<float> value,
                         vec_index<float> index) {
#if UPSAMPLE_VECTOR_BYTES == 64
  const __mmask16 greater = _mm512_cmp_ps_mask((__m512)value, (__m512)best, _CMP_GT_OQ);
  where = (vec_index<float>)_mm512_mask_mov_epi32((__m512i)where, greater, (__m512i)index);
#else
  where = value > best ? index : where;
#endif
#if UPSAMPLE_NEON
  best = (vec<float>)vmaxnmq_f32((float32x4_t)value, (float32x4_t)best);
#else
  best = larger_lanes(value, best);
#endif
}

// 0, 1, 2, ...
template <class acc>
inline vec_index<acc> lane_numbers() {
  vec_index<acc> number{};
  for (int i = 0; i < lanes<acc>; ++i) number[i] = i;
  return number;
}

// p[index[i]] in lane i.
template <class acc>
inline vec<acc> gather(const acc* p, vec_index<acc> index) {
#if UPSAMPLE_VECTOR_BYTES == 64
  if constexpr (sizeof(acc) == 4) return (vec<acc>)_mm512_i32gather_ps((__m512i)index, p, 4);
#endif
  vec<acc> v;
  for (int64_t i = 0; i < lanes<acc>; ++i) v[i] = p[index[i]];
  return v;
}

// Lanes 0 .. count - 1.
template <class acc>
inline vec_index<acc> lanes_below(int64_t count) {
  return lane_numbers<acc>() < static_cast<lane_index<acc>>(count);
}

// Every second lane of a and b one after the other, from lane 0 (even) or lane 1 (odd).
template <int64_t... i>
struct LaneList {};
template <int64_t n, int64_t... i>
struct CountLanes : CountLanes<n - 1, n - 1, i...> {};
template <int64_t... i>
struct CountLanes<0, i...> {
  typedef LaneList<i...> list;
};
// Lanes of a, which have the numbers from 0 on, and of b, which have those after them.
template <int64_t... lane, class V>
inline V choose_lanes(V a, V b) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, lane...);
#else
  typedef decltype(a == b) Lanes;
  return __builtin_shuffle(a, b, Lanes{lane...});
#endif
}
template <int64_t kFirst, class V, int64_t... i>
inline V every_second(V a, V b, LaneList<i...>) {
  return choose_lanes<(2 * i + kFirst)...>(a, b);
}
template <class V>
inline V even_lanes(V a, V b) {
  return every_second<0>(a, b, typename CountLanes<sizeof(V) / sizeof(a[0])>::list{});
}
template <class V>
inline V odd_lanes(V a, V b) {
  return every_second<1>(a, b, typename CountLanes<sizeof(V) / sizeof(a[0])>::list{});
}

// The values of each channel of as many pixels as there are lanes, from vectors of adjacent ones: channel c
// of pixel i is lane kChannels * i + c of what the vectors hold together.
template <int kChannels, class V>
struct PixelVectors {
  V of[kChannels];
};

// Three is prime to the number of lanes: the values of a channel are in different lanes of the three vectors,
// so that one vector takes them all, in an order that a permutation then mends.
template <int64_t kChannel, int64_t... i, class V>
inline V channel_of_three(const PixelVectors<3, V>& v, LaneList<i...>) {
  constexpr int64_t n = sizeof...(i);
  constexpr auto from = [](int64_t lane, int64_t vector) { return (lane + vector * n) % 3 == kChannel; };
  const V two = choose_lanes<(from(i, 1) ? n + i : i)...>(v.of[0], v.of[1]);
  const V all = choose_lanes<(from(i, 2) ? n + i : i)...>(two, v.of[2]);
  return choose_lanes<((3 * i + kChannel) % n)...>(all, all);
}

template <int kChannels, class V>
inline PixelVectors<kChannels, V> split_channels(const PixelVectors<kChannels, V>& v) {
  static_assert(kChannels >= 2 && kChannels <= 4, "pixels of a few channels");
  if constexpr (kChannels == 2) {
    return {even_lanes(v.of[0], v.of[1]), odd_lanes(v.of[0], v.of[1])};
  } else if constexpr (kChannels == 3) {
    using Numbers = typename CountLanes<sizeof(V) / sizeof(v.of[0][0])>::list;
    return {channel_of_three<0>(v, Numbers{}), channel_of_three<1>(v, Numbers{}),
            channel_of_three<2>(v, Numbers{})};
  } else {
    const V even0 = even_lanes(v.of[0], v.of[1]), even1 = even_lanes(v.of[2], v.of[3]);
    const V odd0 = odd_lanes(v.of[0], v.of[1]), odd1 = odd_lanes(v.of[2], v.of[3]);
    return {even_lanes(even0, even1), even_lanes(odd0, odd1), odd_lanes(even0, even1), odd_lanes(odd0, odd1)};
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
