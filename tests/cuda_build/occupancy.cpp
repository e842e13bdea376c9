// How many blocks of a kernel one multiprocessor holds at once, by the toolkit's own cuda_occupancy.h.
// Reads lines "major minor threads registers static_shared" and prints for each the number of blocks.
#include <cuda_occupancy.h>

#include <cstdio>

// What the CUDA C++ Programming Guide's table of compute capabilities says of a multiprocessor.
struct Multiprocessor {
  int major, minor, threads, shared_kilobytes, shared_kilobytes_of_a_block, reserved_bytes;
};
constexpr Multiprocessor kKnown[] = {
    {7, 5, 1024, 64, 64, 0},      {8, 0, 2048, 164, 163, 1024}, {8, 6, 1536, 100, 99, 1024},
    {8, 9, 1536, 100, 99, 1024},  {9, 0, 2048, 228, 227, 1024}, {10, 0, 2048, 228, 227, 1024},
    {12, 0, 1536, 100, 99, 1024},
};

static int blocks_per_multiprocessor(const Multiprocessor& of, int threads, int registers, int shared) {
  cudaOccDeviceProp device;
  device.computeMajor = of.major;
  device.computeMinor = of.minor;
  device.maxThreadsPerBlock = 1024;
  device.maxThreadsPerMultiprocessor = of.threads;
  device.regsPerBlock = device.regsPerMultiprocessor = 65536;
  device.warpSize = 32;
  device.sharedMemPerBlock = 48 << 10;
  device.sharedMemPerMultiprocessor = static_cast<size_t>(of.shared_kilobytes) << 10;
  device.sharedMemPerBlockOptin = static_cast<size_t>(of.shared_kilobytes_of_a_block) << 10;
  device.reservedSharedMemPerBlock = static_cast<size_t>(of.reserved_bytes);
  device.numSms = 1;
  cudaOccFuncAttributes kernel;
  kernel.maxThreadsPerBlock = 1024;
  kernel.numRegs = registers;
  kernel.sharedSizeBytes = static_cast<size_t>(shared);
  kernel.maxDynamicSharedSizeBytes = device.sharedMemPerBlockOptin;
  const cudaOccDeviceState state;
  cudaOccResult result;
  const auto error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, 0);
  return error == CUDA_OCC_SUCCESS ? result.activeBlocksPerMultiprocessor : -1;
}

int main() {
  int major, minor, threads, registers, shared;
  while (std::scanf("%d %d %d %d %d", &major, &minor, &threads, &registers, &shared) == 5) {
    int blocks = -1;
    for (const Multiprocessor& known : kKnown) {
      if (known.major == major && known.minor == minor) {
        blocks = blocks_per_multiprocessor(known, threads, registers, shared);
      }
    }
    std::printf("%d\n", blocks);
  }
}
