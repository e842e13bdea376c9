// Wraps a launcher for registration under the CPU dispatch key.
#pragma once

#include <c10/util/Exception.h>

#include <new>
#include <utility>

namespace upsample_ext {

template <auto kLauncher>
struct OnCpu;

template <class Result, class... Args, Result (*kLauncher)(Args...)>
struct OnCpu<kLauncher> {
  // Turns a failed allocation of tables or scratch into PyTorch's error for it: std::bad_alloc would reach
  // Python as MemoryError from one caller and as RuntimeError from another.
  static Result call(Args... args) {
    try {
      return kLauncher(std::forward<Args>(args)...);
    } catch (const std::bad_alloc&) {
      TORCH_CHECK(false, "upsample_ext: can't allocate memory: not enough for what is computed on the way");
    }
  }
};

template <auto kLauncher>
constexpr auto* on_cpu = &OnCpu<kLauncher>::call;

}  // namespace upsample_ext
