// The emulation's side of csrc/cuda/runtime.h: CPU tensors, one stream, launches that run at once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdlib>
#include <string>

#include "../../csrc/cuda/device.h"

#define UPSAMPLE_CUDA_KEY CPU

namespace cuda_emulation {
std::string error_text(cudaError_t error);
}

namespace upsample_ext {
namespace gpu {

class OnDeviceOf {
 public:
  explicit OnDeviceOf(const at::Tensor&) {
    // Few, so that small images leave each as much work as large ones leave a real device's.
    const char* given = std::getenv("CUSIM_MULTIPROCESSORS");
    device_.multiprocessors = given == nullptr ? 2 : std::atoi(given);
  }
  const Device& device() const { return device_; }

 private:
  Device device_;
};

inline void check_launch(cudaError_t error) {
  TORCH_CHECK(error == cudaSuccess, "CUDA error: ", cuda_emulation::error_text(error));
}

}  // namespace gpu
}  // namespace upsample_ext
