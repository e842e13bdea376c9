// The size of the last-level cache that one core sees, and which results are written past it: their first
// lines would be evicted before they are read.
#pragma once

#include <ATen/core/Tensor.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>

namespace upsample_ext {

inline int64_t last_level_cache_bytes() {
  static const int64_t bytes = [] {
    // The kernel's figure first: on some processors sysconf adds up the caches of all cores.
    int64_t kilobytes = 0;
    if (std::ifstream("/sys/devices/system/cpu/cpu0/cache/index3/size") >> kilobytes && kilobytes > 0) {
      return kilobytes << 10;
    }
#if defined(_SC_LEVEL3_CACHE_SIZE)
    const long size = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (size > 0) return static_cast<int64_t>(size);
#endif
    return int64_t{32} << 20;
  }();
  return bytes;
}

// Whether a result is too large to stay in cache, beside what it is made from: half of the last cache.
inline bool exceeds_cache(const at::Tensor& result) {
  return 2 * result.numel() * result.element_size() >= last_level_cache_bytes();
}

}  // namespace upsample_ext
