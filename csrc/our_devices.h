// Which devices this build has kernels for. Tensors on any other are left to PyTorch.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <atomic>

namespace upsample_ext {

#if defined(UPSAMPLE_EXT_WITH_CUDA)
constexpr bool kBuiltWithCuda = true;
#else
constexpr bool kBuiltWithCuda = false;
#endif

// One cached answer per GPU, determined at its first tensor: querying a GPU's architecture initialises CUDA,
// which importing a package must not do.
enum class GpuAnswer : signed char { kUnknown, kServed, kNotServed };
inline std::array<std::atomic<GpuAnswer>, 128> gpu_answers{};

// Asks Python, caches the answer if there is one, and warns about the first GPU that is not served.
bool ask_whether_gpu_is_served(int index);

// Whether the machine code of this build runs on the GPU of this index.
inline bool gpu_is_served(int index) {
  const GpuAnswer answer = gpu_answers[index].load(std::memory_order_relaxed);
  return answer == GpuAnswer::kUnknown ? ask_whether_gpu_is_served(index) : answer == GpuAnswer::kServed;
}

inline bool on_our_device(const at::Tensor& t) {
  return t.is_cpu() || (kBuiltWithCuda && t.is_cuda() && gpu_is_served(t.get_device()));
}

}  // namespace upsample_ext
