// A launcher as it is registered for the CPU.
#pragma once

#include <c10/util/Exception.h>

#include <new>
#include <utility>

namespace upsample_ext {

template <auto kLauncher>
struct OnCpu;

template <class Result, class... Args, Result (*kLauncher)(Args...)>
struct OnCpu<kLauncher> {
  // Where memory for tables and threads is refused, PyTorch's error for it: std::bad_alloc reaches Python as
  // MemoryError from one caller and as RuntimeError from another.
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
