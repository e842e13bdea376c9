// How work is divided among the threads of a grid.
#pragma once

#include "../../geometry/divider.h"
#include "config.cuh"
#include "launch.cuh"

namespace upsample_ext {
namespace gpu {

// Rows per thread, at least `least`: as many as still leave enough threads for every SM.
inline int64_t rows_per_thread(const Device& device, int64_t rows, int64_t threads_of_a_row,
                               int64_t least = 1) {
  int64_t chosen = least;
  while (chosen < kMostRowsOfThread && divide_up(rows, 2 * chosen) * threads_of_a_row >=
                                           int64_t{kThreadsPerMultiprocessor} * device.multiprocessors) {
    chosen *= 2;
  }
  return chosen;
}

// Vectors of V adjacent channels, in blocks of 128 to 256 bytes: the other dimension of a block of threads is
// pixels, which share what they read.
struct ChannelBlocks {
  int64_t vectors, blocks, within;  // `within` a block; whole sectors where there are several
};
template <class T, int V>
ChannelBlocks channel_blocks(int64_t channels) {
  constexpr int64_t kFit = kChannelBytesOfBlock / (V * sizeof(T)), kMost = kFit < kWarp ? kFit : kWarp;
  const int64_t vectors = channels / V, blocks = divide_up(vectors, kMost);
  return {vectors, blocks, blocks <= 1 ? vectors : 2 * divide_up(divide_up(vectors, blocks), 2)};
}

}  // namespace gpu
}  // namespace upsample_ext
