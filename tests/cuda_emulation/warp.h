// Shuffles, votes and barriers of a warp. Each is an error where its mask lacks the calling lane, names a
// lane that has exited, or is not what the other lanes gave, and where a shuffle reads a lane outside the
// mask.
#pragma once

#include <cstdint>
#include <cstring>

#include "scheduler.h"

namespace cuda_emulation {

// The value of T that `from` brings.
template <class T>
T shuffle(unsigned mask, T value, int from, Place place) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "shuffles move at most 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  wait_for_warp(mask, place, bits);
  bits = shown_by(static_cast<unsigned>(from), mask, place);
  std::memcpy(static_cast<void*>(&value), &bits, sizeof value);
  return value;
}

// The lanes of `mask` that bring the bits of `value`.
inline unsigned lanes_with(unsigned mask, uint64_t value, Place place) {
  wait_for_warp(mask, place, value);
  unsigned lanes = 0;
  for (unsigned i = 0; i < kWarpLanes; ++i) {
    if ((mask >> i & 1) != 0 && shown_by(i, mask, place) == value) lanes |= 1u << i;
  }
  return lanes;
}

inline unsigned vote(unsigned mask, bool predicate, Place place) {
  const unsigned alike = lanes_with(mask, predicate ? 1 : 0, place);
  return predicate ? alike : mask & ~alike;
}

// The first lane of the calling lane's segment of `width` lanes.
inline int segment(int width) { return static_cast<int>(lane()) & ~(width - 1); }

}  // namespace cuda_emulation

static inline void __syncwarp(unsigned mask = cuda_emulation::kAllLanes, CUDA_EMULATION_CALLER) {
  cuda_emulation::wait_for_warp(mask, {"__syncwarp", file, line});
}

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = warpSize, CUDA_EMULATION_CALLER) {
  return cuda_emulation::shuffle(mask, value, cuda_emulation::segment(width) + (from & (width - 1)),
                                 {"__shfl_sync", file, line});
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, CUDA_EMULATION_CALLER) {
  const int self = static_cast<int>(cuda_emulation::lane());
  const int from = self ^ lane_mask;
  return cuda_emulation::shuffle(mask, value, from < cuda_emulation::segment(width) + width ? from : self,
                                 {"__shfl_xor_sync", file, line});
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CUDA_EMULATION_CALLER) {
  const int self = static_cast<int>(cuda_emulation::lane());
  const int from = self - static_cast<int>(delta);
  return cuda_emulation::shuffle(mask, value, from >= cuda_emulation::segment(width) ? from : self,
                                 {"__shfl_up_sync", file, line});
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CUDA_EMULATION_CALLER) {
  const int self = static_cast<int>(cuda_emulation::lane());
  const int from = self + static_cast<int>(delta);
  return cuda_emulation::shuffle(mask, value, from < cuda_emulation::segment(width) + width ? from : self,
                                 {"__shfl_down_sync", file, line});
}

static inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_EMULATION_CALLER) {
  return cuda_emulation::vote(mask, predicate != 0, {"__ballot_sync", file, line});
}
static inline int __any_sync(unsigned mask, int predicate, CUDA_EMULATION_CALLER) {
  return cuda_emulation::vote(mask, predicate != 0, {"__any_sync", file, line}) != 0;
}
static inline int __all_sync(unsigned mask, int predicate, CUDA_EMULATION_CALLER) {
  return cuda_emulation::vote(mask, predicate != 0, {"__all_sync", file, line}) == mask;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, CUDA_EMULATION_CALLER) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return cuda_emulation::lanes_with(mask, bits, {"__match_any_sync", file, line});
}

// Which lanes run together is the device's choice: it may be the caller alone, and here it always is, so that
// code which counts on more fails.
static inline unsigned __activemask() { return 1u << cuda_emulation::lane(); }

static inline void __threadfence_block() {}
static inline void __threadfence() {}
