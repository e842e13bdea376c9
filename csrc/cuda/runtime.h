// What the launchers ask of CUDA's runtime: the device, the stream, whether a launch went well. The seam at
// which the host emulation (tests/cuda_emulation) takes the place of a GPU.
#pragma once

#if defined(UPSAMPLE_EXT_CUDA_EMULATION)
#include "emulated_runtime.h"
#else

#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "device.h"

// The dispatch key that the launchers register under.
#define UPSAMPLE_CUDA_KEY CUDA

namespace upsample_ext {
namespace gpu {

// Makes the device of a tensor the current one while it lives, and says where kernels are to run.
class OnDeviceOf {
 public:
  explicit OnDeviceOf(const at::Tensor& tensor) : guard_(tensor.device()) {
    const auto index = tensor.get_device();
    device_.stream = c10::cuda::getCurrentCUDAStream(index).stream();
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&device_.multiprocessors, cudaDevAttrMultiProcessorCount, index));
  }
  const Device& device() const { return device_; }

 private:
  c10::cuda::CUDAGuard guard_;
  Device device_;
};

inline void check_launch(cudaError_t error) { C10_CUDA_CHECK(error); }

}  // namespace gpu
}  // namespace upsample_ext

#endif
