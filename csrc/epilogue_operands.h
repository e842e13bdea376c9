// What each epilogue takes besides the finished value: one struct for each, the same on both devices. The
// epilogues themselves are classes of cpu/kernels/epilogue.h and cuda/kernels/epilogue.cuh.
#pragma once

#include <stdint.h>

namespace upsample_ext {

struct NoOperands {};

// value + other: `other` has the strides of the result, and may be the result itself.
struct AddOperands {
  const void* other;
  const void* result;  // where the result begins
};

// A plane of a sum, picked + other, with the bytes from row to row.
struct PickedSum {
  const void *from, *other;
  void* to;
  int64_t other_row, to_row;
  bool stream;  // the result is too large to stay in cache: use streaming stores
};

// value > threshold
template <class acc>
struct ThresholdOperands {
  acc threshold;
};

}  // namespace upsample_ext
