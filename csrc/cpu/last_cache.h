// The size of the last cache: results larger than it are better written past it.
#pragma once

#include <unistd.h>

#include <cstdint>

namespace upsample_ext {

// Whether a result of so many bytes would push itself out of the last cache before anyone reads it.
inline bool exceeds_cache(int64_t bytes) {
  static const int64_t cache = [] {
    long size = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    size = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return size > 0 ? static_cast<int64_t>(size) : int64_t{32} << 20;
  }();
  return bytes > cache;
}

}  // namespace upsample_ext
