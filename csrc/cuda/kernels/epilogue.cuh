// Epilogues: what is done to a resized value, as the last step of resize and of the ops fused to it, all of
// which see the same value in acc. An epilogue is a small object that kernels take by value. It has:
//   typedef result            an element of the output
//   explicit Epilogue(const Operands&)            what it takes besides (epilogue_operands.h), if anything
//   bool vectors_start_at(int64_t bytes) const    whether what it reads is aligned as the output's vectors
//   result of(acc value, int64_t offset) const    at an offset of the output, in elements
//   Pack<result, V> of<V>(const acc (&values)[V], int64_t offset) const    at V neighbours, aligned as one
#pragma once

#include "../../epilogue_operands.h"
#include "element.cuh"
#include "resample_limits.cuh"

namespace upsample_ext {
namespace gpu {

// output = value
template <class T>
struct Store {
  typedef T result;
  typedef acc_of<T> acc;

  bool vectors_start_at(int64_t) const { return true; }

  __device__ __forceinline__ T of(acc value, int64_t) const { return narrow_blended<T>(value); }
  template <int V>
  __device__ __forceinline__ Pack<T, V> of(const acc (&values)[V], int64_t) const {
    Pack<T, V> pack;
#pragma unroll
    for (int v = 0; v < V; ++v) pack.value[v] = narrow_blended<T>(values[v]);
    return pack;
  }
};

// output = value + other, rounded once
template <class T>
struct Add {
  typedef T result;
  typedef acc_of<T> acc;
  const T* other;

  explicit Add(const AddOperands& operands) : other(static_cast<const T*>(operands.other)) {}
  bool vectors_start_at(int64_t bytes) const { return aligned(other, bytes); }

  __device__ __forceinline__ T of(acc value, int64_t offset) const {
    return Narrow<T>::of(value + widen(load_written(other + offset)));
  }
  template <int V>
  __device__ __forceinline__ Pack<T, V> of(const acc (&values)[V], int64_t offset) const {
    const auto added = load_written(reinterpret_cast<const Pack<T, V>*>(other + offset));
    Pack<T, V> pack;
#pragma unroll
    for (int v = 0; v < V; ++v) pack.value[v] = Narrow<T>::of(values[v] + widen(added.value[v]));
    return pack;
  }
};

// output = value > threshold
template <class T>
struct Threshold {
  typedef bool result;
  typedef acc_of<T> acc;
  acc threshold;

  explicit Threshold(const ThresholdOperands<acc>& operands) : threshold(operands.threshold) {}
  bool vectors_start_at(int64_t) const { return true; }

  __device__ __forceinline__ bool of(acc value, int64_t) const { return value > threshold; }
  // Ones are put side by side as floats, in the last bits of a sum with 2^23: on the ALU, which has half as
  // many units, selecting and packing bytes would take three instructions each.
  template <int V>
  __device__ __forceinline__ Pack<bool, V> of(const acc (&values)[V], int64_t) const {
    static_assert(V == 1 || V % 4 == 0, "a value, or words");
    if constexpr (V == 1) return {of(values[0], 0)};
    const auto one = [&](int v) { return values[v] > threshold ? 1.0f : 0.0f; };
    const auto two = [&](int v) {
      return __float_as_uint(fused_multiply_add(256.0f, one(v + 1), 0x1p23f + one(v)));
    };
    Pack<bool, V> pack;
#pragma unroll
    for (int v = 0; v < V; v += 4) {
      const unsigned four = (two(v) & 0xffff) | two(v + 2) << 16;
      memcpy(pack.value + v, &four, sizeof four);
    }
    return pack;
  }
};

}  // namespace gpu
}  // namespace upsample_ext
