// What the launchers need of CUDA's runtime: the device, the stream, and error checks of launches. The host
// emulation (tests/cuda_emulation) replaces the contents of this file.
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

// Device guard: makes the device of a tensor the current one, and provides the device and stream for kernels.
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
