// Epilogues: what is done to a finished value, as the last step of resize and of the ops fused to it. Resize
// stores it; a fused op first adds to it or compares it, in acc, and so sees bit for bit the value that
// resize would round and store.
//
// An epilogue is a small object that kernels pass by value, so that its fields stay in registers. It has:
//   typedef result            an element of the output
//   typedef Operands          what it takes besides the value (epilogue_operands.h)
//   static constexpr bool kUnchanged     the value is stored as it is: a zero is a zero of the output
//   static constexpr bool kFewTaps       it serves interpolation and chains of it alone: its kernels leave
//                                        out what only other tables need, or run faster by
//   static constexpr bool kReads         it reads as much as it writes: one row after the other, for both
//   explicit Epilogue(const Operands&)
//   void put<kPut>(result* p, vec<acc> v, int64_t count) const   the lanes of v, or the first `count` of them
//   void put_one(result* p, acc x) const
//   bool repeats() const      an element may be put twice
#pragma once

#include "../../epilogue_operands.h"
#include "simd.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// ---- how a vector leaves --------------------------------------------------------------------------------

// Into the cache, past it, or in part.
enum class Put { kStore, kStream, kPart };

// A store prefetches the line this many bytes ahead: kernels write several rows or pixels at a time, a
// pattern that the hardware prefetcher does not follow.
constexpr int64_t kWriteAhead = 2048;
// An epilogue that reads prefetches its operand this many bytes ahead: the hardware prefetcher does not
// follow rows of 2 KiB that are each in a different plane.
constexpr int64_t kReadAhead = 4096;

template <Put kPut, class T, class V>
inline void put(T* p, V v, int64_t count) {
  if constexpr (kPut == Put::kStream) {
    stream(p, v);
  } else if constexpr (kPut == Put::kPart) {
    store_part(p, v, count);
  } else {
    store(p, v);
    __builtin_prefetch(p + kWriteAhead / static_cast<int64_t>(sizeof(T)), 1);
  }
}

// Whether vectors of acc from p on may be streamed.
template <class acc, class T>
inline bool streamable(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % (lanes<acc> * sizeof(T)) == 0;
}

// Whole vectors, or the first `count` lanes of the last one.
template <bool kPart, class T>
inline auto load_some(const T* p, int64_t count) {
  if constexpr (kPart) {
    return load_part(p, count);
  } else {
    return load(p);
  }
}
template <bool kPart, class T, class V>
inline void store_some(T* p, V v, int64_t count) {
  if constexpr (kPart) {
    store_part(p, v, count);
  } else {
    store(p, v);
  }
}

// ---- epilogues ------------------------------------------------------------------------------------------

// output = value
template <class T>
class Store {
 public:
  typedef T result;
  typedef NoOperands Operands;
  static constexpr bool kUnchanged = true, kFewTaps = false, kReads = false;

  Store() = default;

  template <Put kPut, class V>
  void put(T* p, V v, int64_t count) const {
    UPSAMPLE_LEVEL::put<kPut>(p, v, count);
  }
  template <class acc>
  void put_one(T* p, acc x) const {
    from_acc(x, p);
  }
  bool repeats() const { return true; }
};

// output = value + other, rounded once.
template <class T>
class Add {
 public:
  typedef T result;
  typedef AddOperands Operands;
  static constexpr bool kUnchanged = false, kFewTaps = true, kReads = true;

  explicit Add(const AddOperands& operands)
      : output_(static_cast<const T*>(operands.result)), other_(static_cast<const T*>(operands.other)) {}

  template <Put kPut, class V>
  void put(T* p, V v, int64_t count) const {
    const T* other = other_at(p);
    __builtin_prefetch(other + kReadAhead / static_cast<int64_t>(sizeof(T)));
    UPSAMPLE_LEVEL::put<kPut>(p, v + load_some<kPut == Put::kPart>(other, count), count);
  }
  template <class acc>
  void put_one(T* p, acc x) const {
    from_acc(x + to_acc(*other_at(p)), p);
  }
  bool repeats() const { return other_ != output_; }

 private:
  const T* other_at(const T* p) const { return other_ + (p - output_); }

  const T *output_, *other_;
};

// output = value > threshold, as the byte 0 or 1; false for NaN.
class Threshold {
 public:
  typedef uint8_t result;
  typedef ThresholdOperands<float> Operands;
  static constexpr bool kUnchanged = false, kFewTaps = true, kReads = false;

  explicit Threshold(const Operands& operands) : threshold_(splat(operands.threshold)) {}

  template <Put kPut>
  void put(uint8_t* p, vec<float> v, int64_t count) const {
    if constexpr (kPut == Put::kStream) {
      stream_greater(p, v, threshold_);
    } else if constexpr (kPut == Put::kPart) {
      store_greater_part(p, v, threshold_, count);
    } else {
      store_greater(p, v, threshold_);
      __builtin_prefetch(p + kWriteAhead, 1);
    }
  }
  void put_one(uint8_t* p, float x) const { *p = x > threshold_[0]; }
  bool repeats() const { return true; }

 private:
  vec<float> threshold_;
};

// The epilogue of a call.
template <class E, class acc>
inline E epilogue_of(const ResampleParams<acc>& p) {
  if constexpr (__is_empty(typename E::Operands)) {
    return E();
  } else {
    return E(*static_cast<const typename E::Operands*>(p.operands));
  }
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
