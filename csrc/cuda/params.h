// What the host functions of csrc/cuda take: plain numbers, pointers into device memory, and the geometry of
// both axes as it is computed on the device. No tensor, no dtype: template parameters say what pointers hold.
#pragma once

#include "../params.h"

namespace upsample_ext {
namespace gpu {

// output = A_h input A_w^T for every plane of an (N, C, H, W) image, or input = A_h^T output A_w: whichever
// of the two is written. Axis is one of geometry/axis.h: what a result reads along one axis.
template <class acc, class Axis>
struct ResizeParams {
  void* input;
  void* output;
  int64_t batch, channels;
  Strides in, out;
  Axis height, width;
  // What the fused kernels take besides: an image that lies as the output does, and a number.
  const void* other;
  acc threshold;
};

}  // namespace gpu
}  // namespace upsample_ext
