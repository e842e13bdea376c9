// Scratch memory for one call or one thread: on the stack while it is small, so that a small input needs no
// allocation, and aligned for the widest vector.
#pragma once

#include <cstdint>
#include <new>

namespace upsample_ext {

template <int64_t kStackBytes>
class ScratchBuffer {
 public:
  explicit ScratchBuffer(int64_t bytes)
      : heap_(bytes > kStackBytes ? ::operator new(static_cast<size_t>(bytes), kAlignment) : nullptr) {}
  ~ScratchBuffer() {
    if (heap_ != nullptr) ::operator delete(heap_, kAlignment);
  }
  ScratchBuffer(const ScratchBuffer&) = delete;
  ScratchBuffer& operator=(const ScratchBuffer&) = delete;

  void* data() { return heap_ != nullptr ? heap_ : stack_; }
  const void* data() const { return heap_ != nullptr ? heap_ : stack_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  void* heap_;
  alignas(64) unsigned char stack_[kStackBytes];
};

// The pointer from which a kernel that counts rows from 0 reaches a copy whose first row is `first`.
inline char* before_first_row(void* copy, int64_t first, int64_t row_bytes) {
  return reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(copy) -
                                 static_cast<uintptr_t>(first * row_bytes));
}

}  // namespace upsample_ext
