// Launching a kernel, and the limits of a launch. nvcc understands <<<>>>; the host emulation, whose header
// is included before any other, defines its own `launch`.
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#include <limits>

#include "../../geometry/axis.h"
#include "../device.h"

namespace upsample_ext {
namespace gpu {

constexpr int kWarp = 32;
constexpr int64_t kMostBlocks = INT32_MAX;  // of a grid along x, the only axis we use

// Whether a kernel can number this many threads in Index. Because of padding there may be more threads than
// results, so that it does not follow from sizes that fit 32 bits; a number that overflows to negative would
// leave results unwritten.
template <class Index>
bool can_number(int64_t threads) {
  return threads <= std::numeric_limits<Index>::max();
}

#if !defined(UPSAMPLE_EXT_CUDA_EMULATION)
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), const Device& device, int64_t blocks, int threads,
                   size_t shared_bytes, const Arguments&... arguments) {
  if (blocks == 0) return cudaSuccess;
  if (blocks > kMostBlocks) return cudaErrorInvalidConfiguration;
  kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), shared_bytes, device.stream>>>(
      arguments...);
  return cudaGetLastError();
}

// Dynamic shared memory, as an array of T.
#define UPSAMPLE_DYNAMIC_SHARED(T, name)                        \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  T* const name = reinterpret_cast<T*>(name##_bytes)
#endif

UPSAMPLE_HOST_DEVICE int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }
UPSAMPLE_HOST_DEVICE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
UPSAMPLE_HOST_DEVICE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

}  // namespace gpu
}  // namespace upsample_ext
