// AVX-512 (F, BW, DQ, VL): 64-byte vectors.
#if defined(__x86_64__)

// System headers first: their inline functions must not be compiled with the level's instructions. (GCC 12
// warns about deliberately uninitialised vectors in its own headers.)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "../../params.h"

namespace upsample_ext {
namespace avx512 {
static bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
}  // namespace avx512
}  // namespace upsample_ext

#define UPSAMPLE_LEVEL avx512
#define UPSAMPLE_VECTOR_BYTES 64
#define UPSAMPLE_HAS_FMA 1
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#endif

#include "../kernels/level_table.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
