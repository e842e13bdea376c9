// Launches, their limits, and the few functions of CUDA's runtime that kernels' host functions call.
#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <tuple>
#include <typeinfo>
#include <utility>

#include "../../csrc/cuda/device.h"
#include "scheduler.h"

namespace cuda_emulation {

// Checks the launch as a device would, then runs it. Host threads take turns.
cudaError_t launch_grid(const Grid& grid);

// What went wrong in the last launch of this host thread that failed, in words; see error_text.
void set_last_failure(const std::string& what);
// An error as torch words it after "CUDA error: ", with what the emulation knows of it.
std::string error_text(cudaError_t error);

bool inside_a_kernel();

template <class... Parameters>
struct Call {
  void (*kernel)(Parameters...);
  std::tuple<Parameters...> arguments;

  static void run(const void* call) {
    const Call& self = *static_cast<const Call*>(call);
    std::apply(self.kernel, self.arguments);
  }
};

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, size_t shared_bytes,
                   const Arguments&... arguments) {
  const Call<Parameters...> call{kernel, std::tuple<Parameters...>(arguments...)};
  return launch_grid({reinterpret_cast<const void*>(kernel), blocks, threads, shared_bytes,
                      &Call<Parameters...>::run, &call, sizeof call, typeid(kernel).name()});
}

}  // namespace cuda_emulation

namespace upsample_ext {
namespace gpu {

// csrc/cuda/launch.cuh
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), const Device&, int64_t blocks, int threads,
                   size_t shared_bytes, const Arguments&... arguments) {
  if (blocks == 0) return cudaSuccess;
  if (blocks < 0 || blocks > INT32_MAX || threads < 0) {
    cuda_emulation::set_last_failure(std::to_string(blocks) + " blocks of " + std::to_string(threads) +
                                     " threads");
    return cudaErrorInvalidConfiguration;
  }
  return cuda_emulation::launch(kernel, dim3(static_cast<unsigned>(blocks)),
                                dim3(static_cast<unsigned>(threads)), shared_bytes, arguments...);
}

}  // namespace gpu
}  // namespace upsample_ext

// What nvcc's own cuda_runtime.h adds to the C interface.
template <class... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}
