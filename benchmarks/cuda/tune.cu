// Times the CUDA kernels by themselves, without torch, and sweeps what csrc/cuda/kernels/config.cuh lets be
// chosen:
//
//   nvcc -std=c++17 -O3 --fmad=false -I. -Icsrc -arch=native benchmarks/cuda/tune.cu -o tune && ./tune [words
//   of a row]
//
// Prints, for each row, GB/s of what is read and written once, and the share of a copy of as many bytes.
// A measured launch is a CUDA graph between two events, after a kernel that reads more than the L2 holds, so
// that its lines are clean; medians of kRuns. "division" multiplies the multiprocessors that a launch is told
// of: more of them give a thread fewer rows. -include another.cuh tries another config.cuh.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "csrc/cuda/kernels/resample_backward.cuh"
#include "csrc/cuda/kernels/resample_forward.cuh"
#include "csrc/cuda/kernels/resample_nearest.cuh"

namespace {

using namespace upsample_ext;
using namespace upsample_ext::gpu;

constexpr int kRuns = 21;

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
  std::exit(1);
}

class Memory {
 public:
  explicit Memory(size_t bytes) {
    check(cudaMalloc(&data_, bytes));
    check(cudaMemset(data_, 0, bytes));
  }
  ~Memory() { cudaFree(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  char* get() const { return static_cast<char*>(data_); }

 private:
  void* data_ = nullptr;
};

__global__ void read_all(const uint4* from, size_t count, unsigned* to) {
  unsigned sum = 0;
  for (size_t i = blockIdx.x * size_t{256} + threadIdx.x; i < count; i += gridDim.x * size_t{256}) {
    sum += from[i].x;
  }
  if (sum == 1) *to = sum;  // never: the memory is zero
}

class Bench {
 public:
  Bench() : other_(kFlush + 16) {
    check(cudaStreamCreate(&device_.stream));
    check(cudaDeviceGetAttribute(&device_.multiprocessors, cudaDevAttrMultiProcessorCount, 0));
    check(cudaEventCreate(&begin_));
    check(cudaEventCreate(&end_));
  }

  Device device(double division) const {
    Device device = device_;
    device.multiprocessors = std::max(1, static_cast<int>(device.multiprocessors * division));
    return device;
  }

  // Microseconds of what `launch` puts on the stream.
  template <class Launch>
  double time(Launch&& launch) {
    cudaGraph_t graph;
    cudaGraphExec_t runnable;
    check(cudaStreamBeginCapture(device_.stream, cudaStreamCaptureModeGlobal));
    check(launch());
    check(cudaStreamEndCapture(device_.stream, &graph));
    check(cudaGraphInstantiate(&runnable, graph, 0));
    std::vector<float> found;
    for (int run = 0; run < kRuns + 2; ++run) {
      read_all<<<1024, 256, 0, device_.stream>>>(reinterpret_cast<const uint4*>(other_.get()), kFlush / 16,
                                                 reinterpret_cast<unsigned*>(other_.get() + kFlush));
      check(cudaEventRecord(begin_, device_.stream));
      check(cudaGraphLaunch(runnable, device_.stream));
      check(cudaEventRecord(end_, device_.stream));
      check(cudaEventSynchronize(end_));
      float milliseconds;
      check(cudaEventElapsedTime(&milliseconds, begin_, end_));
      if (run >= 2) found.push_back(milliseconds);
    }
    check(cudaGraphExecDestroy(runnable));
    check(cudaGraphDestroy(graph));
    std::nth_element(found.begin(), found.begin() + kRuns / 2, found.end());
    return 1e3 * found[kRuns / 2];
  }

 private:
  static constexpr size_t kFlush = size_t{256} << 20;
  Memory other_;
  Device device_;
  cudaEvent_t begin_, end_;
};

struct Shape {
  const char* name;
  int64_t batch, channels, height, width, factor;
  bool channels_last;

  Strides strides(int64_t scale) const {
    const int64_t h = height * scale, w = width * scale;
    if (channels_last) return {h * w * channels, 1, w * channels, channels};
    return {channels * h * w, h * w, w, 1};
  }
  int64_t elements(int64_t scale) const { return batch * channels * height * width * scale * scale; }
};

constexpr Shape kShapes[] = {
    {"8x64x56x56 x2 nchw", 8, 64, 56, 56, 2, false},
    {"8x64x56x56 x2 nhwc", 8, 64, 56, 56, 2, true},
    {"16x64x128x128 x2 nchw", 16, 64, 128, 128, 2, false},
    {"16x64x128x128 x2 nhwc", 16, 64, 128, 128, 2, true},
    {"4x19x128x256 x8 nchw", 4, 19, 128, 256, 8, false},
    {"8x64x128x128 x4 nhwc", 8, 64, 128, 128, 4, true},
    {"8x21x16x16 x32 nchw", 8, 21, 16, 16, 32, false},
    {"8x21x16x16 x32 nhwc", 8, 21, 16, 16, 32, true},
};

template <int threads, int blocks>
struct Tried : ForwardConfig {
  static constexpr int kThreads = threads, kBlocks = blocks;
};

// One line of the table for each way to launch.
template <class T>
class Rows {
 public:
  Rows(Bench& bench, const Shape& shape, const char* dtype, const std::string& wanted)
      : bench_(bench),
        shape_(shape),
        dtype_(dtype),
        wanted_(wanted),
        input_(shape.elements(1) * sizeof(T)),
        output_(shape.elements(shape.factor) * sizeof(T)),
        bytes_((shape.elements(1) + shape.elements(shape.factor)) * sizeof(T)),
        copy_(bytes_),
        copied_(bench.time([&] {
          return cudaMemcpyAsync(copy_.get(), copy_.get() + bytes_ / 2, bytes_ / 2, cudaMemcpyDeviceToDevice,
                                 bench.device(1).stream);
        })) {}

  void all() {
    forward<Tried<128, 2>>("forward 128 threads, 2 blocks");
    forward<Tried<128, 4>>("forward 128 threads, 4 blocks");
    forward<ForwardConfig>("forward as configured");
    forward<Tried<256, 3>>("forward 256 threads, 3 blocks");
    forward<Tried<512, 1>>("forward 512 threads, 1 block");
    row("backward as configured", 1,
        [&](const Device& device) { return launch_backward<T>(linear(), device); });
    for (const double division : {0.5, 1.0, 2.0}) {
      row("nearest", division,
          [&](const Device& device) { return launch_nearest_forward(nearest(), sizeof(T), device); });
      row("nearest backward", division,
          [&](const Device& device) { return launch_nearest_backward<T>(nearest(), device); });
    }
  }

 private:
  typedef acc_of<T> acc;

  template <class Config>
  void forward(const char* name) {
    for (const double division : {0.5, 1.0, 2.0}) {
      row(name, division,
          [&](const Device& device) { return launch_resample<T, Config>(linear(), Store<T>(), device); });
    }
  }

  template <class Launch>
  void row(const char* name, double division, Launch&& launch) {
    const std::string line = std::string(name) + ", " + dtype_ + ", " + shape_.name;
    if (line.find(wanted_) == std::string::npos) return;
    const Device device = bench_.device(division);
    const double microseconds = bench_.time([&] { return launch(device); });
    std::printf("%-72s division %3.1f %9.1f us %7.0f GB/s %5.0f%% of copy\n", line.c_str(), division,
                microseconds, bytes_ / microseconds / 1e3, 100 * copied_ / microseconds);
    std::fflush(stdout);
  }

  gpu::ResampleParams<acc, LinearAxis<acc>> linear() const {
    const auto axis = [&](int64_t size) {
      return LinearAxis<acc>(size, size * shape_.factor, false, 0.0, NativeRules::kCuda);
    };
    return {{input_.get(), output_.get(), shape_.batch, shape_.channels, shape_.strides(1),
             shape_.strides(shape_.factor), axis(shape_.height), axis(shape_.width)}};
  }
  NearestParams nearest() const {
    const auto axis = [&](int64_t size, int64_t factor) {
      return NearestAxis<float>(size, size * factor, false, 0.0, NativeRules::kCuda);
    };
    return {{input_.get(), output_.get(), shape_.batch, shape_.channels, shape_.strides(1),
             shape_.strides(shape_.factor), axis(shape_.height, shape_.factor),
             axis(shape_.width, shape_.factor)},
            axis(1, 1)};
  }

  Bench& bench_;
  const Shape& shape_;
  const char* dtype_;
  std::string wanted_;
  Memory input_, output_;
  size_t bytes_;
  Memory copy_;
  double copied_;  // microseconds of a copy that moves as many bytes
};

}  // namespace

int main(int count, char** words) {
  std::string wanted;
  for (int i = 1; i < count; ++i) wanted += (i > 1 ? " " : "") + std::string(words[i]);
  Bench bench;
  for (const Shape& shape : kShapes) {
    Rows<float>(bench, shape, "float32", wanted).all();
    Rows<half_t>(bench, shape, "float16", wanted).all();
  }
}
