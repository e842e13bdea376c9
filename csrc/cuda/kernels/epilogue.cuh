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

  __device__ __forceinline__ T of(acc value, int64_t) const { return Narrow<T>::of(value); }
  template <int V>
  __device__ __forceinline__ Pack<T, V> of(const acc (&values)[V], int64_t) const {
    Pack<T, V> pack;
#pragma unroll
    for (int v = 0; v < V; ++v) pack.value[v] = Narrow<T>::of(values[v]);
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
  template <int V>
  __device__ __forceinline__ Pack<bool, V> of(const acc (&values)[V], int64_t) const {
    Pack<bool, V> pack;
#pragma unroll
    for (int v = 0; v < V; ++v) pack.value[v] = values[v] > threshold;
    return pack;
  }
};

}  // namespace gpu
}  // namespace upsample_ext
