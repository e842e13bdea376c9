// The emulation's side of csrc/cuda/runtime.h: CPU tensors, one stream, launches that run at once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdlib>

#include "../../csrc/cuda/device.h"

#define UPSAMPLE_CUDA_KEY CPU

namespace upsample_ext {
namespace gpu {

class OnDeviceOf {
 public:
  explicit OnDeviceOf(const at::Tensor&) {
    const char* given = std::getenv("CUSIM_MULTIPROCESSORS");
    device_.multiprocessors = given == nullptr ? 2 : std::atoi(given);
  }
  const Device& device() const { return device_; }

 private:
  Device device_;
};

inline void check_launch(cudaError_t error) {
  TORCH_CHECK(error != cudaErrorAssert, "CUDA error: device-side assert triggered");
  TORCH_CHECK(error == cudaSuccess, "CUDA error: ", static_cast<int>(error));
}

}  // namespace gpu
}  // namespace upsample_ext
