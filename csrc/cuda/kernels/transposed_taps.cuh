// The results that read one source along one axis, with their weights, as the gradient gathers them: a row of
// the transposed matrix of the axis, written to shared memory by one thread and read by many.
#pragma once

#include "element.cuh"
#include "launch.cuh"

namespace upsample_ext {
namespace gpu {

template <class acc>
struct Tap {
  int32_t output;
  acc weight;
};

// Writes the taps on `source` in ascending order; a result whose two taps meet there counts twice, because
// that is how infinities spread in native. Returns their number.
template <class acc, class Axis>
__device__ __forceinline__ int list_taps(const Axis& axis, int32_t source, Tap<acc>* list) {
  int count = 0;
  for (int32_t o = axis.begin(source), end = axis.end(source); o < end; ++o) {
    const auto taps = axis.taps(o);
    if (taps.index0 == source) list[count++] = {o, taps.weight0};
    if (taps.index1 == source) list[count++] = {o, taps.weight1};
  }
  return count;
}

// Adds the contribution of one result to `source`: a tap of weight 0 counts, and two on one source count
// twice.
template <class Taps, class acc>
__device__ __forceinline__ void add_taps(const Taps& taps, int64_t source, acc value, acc& sum) {
  if (taps.index0 == source) sum = fused_multiply_add(taps.weight0, value, sum);
  if (taps.index1 == source) sum = fused_multiply_add(taps.weight1, value, sum);
}

// The sum over all lanes of a warp, in a tree.
template <class acc>
__device__ __forceinline__ acc sum_of_warp(acc sum) {
  for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  return sum;
}

}  // namespace gpu
}  // namespace upsample_ext
