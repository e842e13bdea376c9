#include "launch.h"

#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>

namespace cuda_emulation {
namespace {

// Of every device of compute capability 7.5 and above, but for the shared memory to opt in to: 64 KiB on
// 7.5, 99 on 8.6 and 8.9, 163 on 8.0, 227 on 9.0 and above. A kernel that wants more than 48 KiB must ask
// the device how much it has.
constexpr unsigned kMostThreads = 1024, kMostThreadsZ = 64;
constexpr unsigned kMostBlocksX = INT32_MAX, kMostBlocksYZ = 65535;
constexpr size_t kSharedBytes = 48 << 10, kMostSharedBytes = 227 << 10;

std::mutex one_grid_at_a_time;
std::map<const void*, size_t>& opted_in() {  // of a kernel: dynamic shared memory beyond 48 KiB
  static std::map<const void*, size_t> bytes;
  return bytes;
}
thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string last_failure;

cudaError_t refuse(cudaError_t error, const std::string& what) {
  set_last_failure(what);
  return error;
}

std::string text(dim3 extent) {
  return "(" + std::to_string(extent.x) + ", " + std::to_string(extent.y) + ", " + std::to_string(extent.z) +
         ")";
}

cudaError_t check_limits(const Grid& grid) {
  const dim3 &threads = grid.threads, &blocks = grid.blocks;
  const uint64_t count = uint64_t{threads.x} * threads.y * threads.z;
  if (count == 0 || count > kMostThreads || threads.z > kMostThreadsZ) {
    return refuse(cudaErrorInvalidConfiguration, "a block of " + text(threads) + " threads");
  }
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0 || blocks.x > kMostBlocksX ||
      blocks.y > kMostBlocksYZ || blocks.z > kMostBlocksYZ) {
    return refuse(cudaErrorInvalidConfiguration, "a grid of " + text(blocks) + " blocks");
  }
  const auto found = opted_in().find(grid.kernel);
  const size_t most = found == opted_in().end() ? kSharedBytes : found->second;
  if (grid.shared_bytes > most) {
    return refuse(cudaErrorInvalidValue, std::to_string(grid.shared_bytes) +
                                             " bytes of dynamic shared memory where " + std::to_string(most) +
                                             " are allowed");
  }
  return cudaSuccess;
}

// Instead of running a grid, says what would run: for launches too large to emulate.
void record(const Grid& grid, const char* path) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> readable(
      abi::__cxa_demangle(grid.signature, nullptr, nullptr, &status), &std::free);
  std::ofstream(path, std::ios::app) << grid.blocks.x << " x " << grid.threads.x << " "
                                     << (readable ? readable.get() : grid.signature) << "\n";
}

}  // namespace

cudaError_t launch_grid(const Grid& grid) {
  const std::lock_guard<std::mutex> lock(one_grid_at_a_time);
  set_last_failure("");
  cudaError_t error = check_limits(grid);
  const char* const record_to = std::getenv("CUSIM_ONLY_RECORD");
  if (error == cudaSuccess && record_to != nullptr) {
    record(grid, record_to);
  } else if (error == cudaSuccess) {
    error = run_grid(grid);
  }
  if (error != cudaSuccess) {
    last_error = error;
    std::fprintf(stderr, "cuda_emulation: %s\n", error_text(error).c_str());
  }
  return error;
}

void set_last_failure(const std::string& what) { last_failure = what; }

std::string error_text(cudaError_t error) {
  std::string words = cudaGetErrorString(error);
  if (!last_failure.empty()) words += " (" + last_failure + ")";
  return words;
}

}  // namespace cuda_emulation

// ---- CUDA's runtime -------------------------------------------------------------------------------------

#pragma GCC visibility push(hidden)
extern "C" {

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorAssert:
      return "device-side assert triggered";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    default:
      return "unknown error";
  }
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = cuda_emulation::last_error;
  cuda_emulation::last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return cuda_emulation::last_error; }

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<size_t>(value) > cuda_emulation::kMostSharedBytes) {
    return cudaErrorInvalidValue;
  }
  const std::lock_guard<std::mutex> lock(cuda_emulation::one_grid_at_a_time);
  cuda_emulation::opted_in()[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

// A failed assert() of <assert.h>. In a kernel it ends the grid as it does on a device; elsewhere it is the
// C library's.
[[noreturn]] void __assert_fail(const char* expression, const char* file, unsigned line,
                                const char* function) noexcept {
  if (cuda_emulation::inside_a_kernel()) {
    cuda_emulation::fail(cudaErrorAssert, "%s:%u: %s: assertion `%s` failed", file, line, function,
                         expression);
  }
  const auto real = reinterpret_cast<decltype(&__assert_fail)>(dlsym(RTLD_NEXT, "__assert_fail"));
  if (real != nullptr) real(expression, file, line, function);
  std::abort();
}

}  // extern "C"
#pragma GCC visibility pop
