// What one source gave to the results along one axis, as the gradient gathers it: the transposed row of the
// axis's matrix, listed in shared memory by one thread and read by many.
#pragma once

#include "values.cuh"

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

// At most so many outputs read one source: between two neighbours on either side, and at the ends what is
// clamped.
template <class Axis>
int64_t most_outputs(const Axis& axis) {
  const auto inside = static_cast<int64_t>(2 * axis.outputs_per_source()) + 2;
  const int64_t first = axis.end(0) - axis.begin(0), last = axis.in_size - 1;
  const int64_t ends = axis.end(last) - axis.begin(last) > first ? axis.end(last) - axis.begin(last) : first;
  const int64_t most = inside > ends ? inside : ends;
  return most < axis.out_size ? most : static_cast<int64_t>(axis.out_size);
}

}  // namespace gpu
}  // namespace upsample_ext
