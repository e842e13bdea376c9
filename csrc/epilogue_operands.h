// What each epilogue takes besides the finished value: one struct for each, the same on both devices. The
// epilogues themselves are classes of cpu/kernels/epilogue.h and cuda/kernels/epilogue.cuh.
#pragma once

namespace upsample_ext {

struct NoOperands {};

// value + other: `other` has the strides of the result, and may be the result itself.
struct AddOperands {
  const void* other;
  const void* result;  // where the result begins
};

// value > threshold
template <class acc>
struct ThresholdOperands {
  acc threshold;
};

}  // namespace upsample_ext
