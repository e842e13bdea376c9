// The level that every processor runs: 16-byte vectors (SSE2, NEON, or what the compiler emulates them by).
#if defined(__x86_64__)
// Of all levels it takes longest to compile, and runs on processors of before 2013 alone: not at -O3.
#if defined(__OPTIMIZE__) && !defined(__clang__)
#pragma GCC optimize("O2", "peel-loops")
#endif
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define UPSAMPLE_LEVEL baseline
#define UPSAMPLE_VECTOR_BYTES 16
#if defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define UPSAMPLE_NEON 1
#define UPSAMPLE_HAS_FMA 1
#else
#define UPSAMPLE_HAS_FMA 0
#endif

namespace upsample_ext {
namespace baseline {
static bool supported() { return true; }
}  // namespace baseline
}  // namespace upsample_ext

#include "../kernels/level_table.h"
