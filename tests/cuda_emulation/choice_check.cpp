// Which CUDA kernel a resize takes: the table at the top of resample_forward.cuh, and that of
// resample_backward.cuh, as assertions. No memory is read; test_cuda_emulation.py builds and runs it.
#include <cstdio>

#include "../../csrc/cuda/kernels/epilogue.cuh"
#include "../../csrc/cuda/kernels/resample_backward.cuh"
#include "../../csrc/cuda/kernels/resample_forward.cuh"

namespace upsample_ext {
namespace gpu {
namespace {

int wrong = 0;

struct Image {
  int64_t batch, channels, height, width;
  bool channels_last = false;
  int64_t gap = 0;     // elements between rows
  int64_t offset = 0;  // of the first element from an aligned address, in bytes

  Strides strides() const {
    if (channels_last) {
      const int64_t row = width * channels + gap;
      return {height * row, 1, row, channels};
    }
    return {channels * height * (width + gap), height * (width + gap), width + gap, 1};
  }
};

template <class acc>
ResampleParams<acc, LinearAxis<acc>> params_of(const Image& input, const Image& output) {
  const auto address = [](const Image& image) {
    return reinterpret_cast<void*>(static_cast<uintptr_t>(4096 + image.offset));
  };
  const auto axis = [](int64_t in, int64_t out) {
    return LinearAxis<acc>(in, out, false, 0.0, NativeRules::kCuda);
  };
  return {address(input),
          address(output),
          input.batch,
          input.channels,
          input.strides(),
          output.strides(),
          axis(input.height, output.height),
          axis(input.width, output.width),
          nullptr,
          acc(0)};
}

template <class T>
void forward(const char* what, const Image& input, const Image& output, ForwardKernel expected) {
  const ForwardKernel chosen = choose_forward<T, T>(params_of<acc_of<T>>(input, output));
  if (chosen == expected) return;
  std::printf("forward, %s: expected kernel %d, got %d\n", what, static_cast<int>(expected),
              static_cast<int>(chosen));
  ++wrong;
}

template <class T>
void backward(const char* what, const Image& input, const Image& output, BackwardKernel expected) {
  const BackwardKernel chosen = choose_backward<T>(params_of<acc_of<T>>(input, output));
  if (chosen == expected) return;
  std::printf("backward, %s: expected kernel %d, got %d\n", what, static_cast<int>(expected),
              static_cast<int>(chosen));
  ++wrong;
}

void check_forward() {
  using K = ForwardKernel;
  forward<float>("empty batch", {0, 3, 8, 8}, {0, 3, 16, 16}, K::kNone);
  forward<float>("x2", {2, 3, 8, 8}, {2, 3, 16, 16}, K::kDoubled);
  forward<half_t>("x2 of halves", {2, 3, 8, 8}, {2, 3, 16, 16}, K::kDoubled);
  forward<half_t>("x2 of rows that are not aligned", {2, 3, 8, 9, false, 1}, {2, 3, 16, 18}, K::kStaged);
  forward<float>("x2 of an input with gaps of one", {2, 3, 8, 8, false, 1}, {2, 3, 16, 16}, K::kVector);
  forward<float>("x3", {2, 3, 8, 8}, {2, 3, 24, 24}, K::kVector);
  forward<float>("odd width", {2, 3, 8, 8}, {2, 3, 11, 13}, K::kStaged);
  forward<float>("odd width with gaps", {2, 3, 8, 8}, {2, 3, 11, 13, false, 3}, K::kScattered);
  forward<float>("output at an odd address", {2, 3, 8, 8}, {2, 3, 24, 24, false, 0, 4}, K::kScattered);
  forward<float>("channels-last", {2, 16, 8, 8, true}, {2, 16, 24, 24, true}, K::kChannelsLast);
  forward<float>("channels-last of 3", {2, 3, 8, 8, true}, {2, 3, 16, 16, true}, K::kPixels);
  forward<float>("channels-last of 3, odd", {2, 3, 8, 8, true}, {2, 3, 11, 13, true}, K::kChannelsLastSingle);
  forward<float>("channels-last into planar", {2, 16, 8, 8, true}, {2, 16, 24, 24}, K::kVector);
  forward<float>("beyond 32 bits", {1, 1, 1 << 15, 1 << 16}, {1, 1, 1 << 16, 1 << 16}, K::kBeyond32Bits);
}

void check_backward() {
  using K = BackwardKernel;
  backward<float>("empty batch", {0, 3, 8, 8}, {0, 3, 16, 16}, K::kNone);
  backward<float>("x2", {2, 3, 8, 8}, {2, 3, 16, 16}, K::kDoubled);
  backward<half_t>("x3", {2, 3, 8, 8}, {2, 3, 24, 24}, K::kVector);
  backward<float>("odd width", {2, 3, 8, 8}, {2, 3, 11, 13}, K::kScattered);
  backward<float>("channels-last", {2, 16, 8, 8, true}, {2, 16, 24, 24, true}, K::kChannelsLast);
  backward<float>("channels-last of 3", {2, 3, 8, 8, true}, {2, 3, 16, 16, true}, K::kChannelsLastSingle);
  backward<float>("a factor of 40", {2, 3, 8, 8}, {2, 3, 320, 320}, K::kOneSource);
  backward<float>("beyond 32 bits", {1, 1, 1 << 15, 1 << 16}, {1, 1, 1 << 16, 1 << 16}, K::kOneSource);
}

}  // namespace
}  // namespace gpu
}  // namespace upsample_ext

int main() {
  upsample_ext::gpu::check_forward();
  upsample_ext::gpu::check_backward();
  if (upsample_ext::gpu::wrong == 0) std::printf("all choices are right\n");
  return upsample_ext::gpu::wrong != 0;
}
