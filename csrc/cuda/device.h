// The device and stream that are passed to the host functions that choose and launch kernels.
#pragma once

#include <cuda_runtime_api.h>

namespace upsample_ext {
namespace gpu {

struct Device {
  cudaStream_t stream = nullptr;
  int multiprocessors = 1;
};

}  // namespace gpu
}  // namespace upsample_ext
