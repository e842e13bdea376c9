// The host functions of csrc/cuda's kernels, as launchers call them: each chooses a kernel, launches it on
// the device's stream and returns what the launch returned. T is the type in memory, acc that of weights and
// sums.
#pragma once

#include "device.h"
#include "params.h"

namespace upsample_ext {
namespace gpu {

// output = A_h input A_w^T; and that plus `other`, or compared with `threshold` (bool).
template <class T, class acc, class Axis>
cudaError_t resize(const ResizeParams<acc, Axis>& params, const Device& device);
template <class T, class acc, class Axis>
cudaError_t resize_add(const ResizeParams<acc, Axis>& params, const Device& device);
template <class T, class acc, class Axis>
cudaError_t resize_threshold(const ResizeParams<acc, Axis>& params, const Device& device);

// input = A_h^T output A_w: the gradient.
template <class T, class acc, class Axis>
cudaError_t resize_adjoint(const ResizeParams<acc, Axis>& params, const Device& device);

}  // namespace gpu
}  // namespace upsample_ext
