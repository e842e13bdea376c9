// Where kernels run, as the host functions that choose and launch them are told.
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
