// AVX2, FMA and F16C: 32-byte vectors.
#if defined(__x86_64__)

// System headers first: their inline functions must not be compiled with the level's instructions.
#include <immintrin.h>

#include "../../params.h"

namespace upsample_ext {
namespace avx2 {
static bool supported() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
}  // namespace avx2
}  // namespace upsample_ext

#define UPSAMPLE_LEVEL avx2
#define UPSAMPLE_VECTOR_BYTES 32
#define UPSAMPLE_HAS_FMA 1
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#include "../kernels/level_table.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
