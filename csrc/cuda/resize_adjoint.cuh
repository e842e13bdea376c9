// The gradient of a resize: every source gathers what it gave to the results, in a fixed order.
#pragma once

#include "launch.cuh"
#include "params.h"
#include "values.cuh"
#include "work.cuh"

namespace upsample_ext {
namespace gpu {

constexpr int kAdjointThreads = 256;

// ---- any strides, any factor: a thread to a source ------------------------------------------------------

template <class T, class acc, class Axis>
__global__ void __launch_bounds__(kAdjointThreads)
    adjoint_of_one(const ResizeParams<acc, Axis> p, int64_t sources) {
  int64_t rest = static_cast<int64_t>(blockIdx.x) * kAdjointThreads + threadIdx.x;
  if (rest >= sources) return;
  const int64_t x = rest % p.width.in_size;
  rest /= p.width.in_size;
  const int64_t y = rest % p.height.in_size;
  rest /= p.height.in_size;
  const int64_t c = rest % p.channels, n = rest / p.channels;
  const T* grad = static_cast<const T*>(p.output) + n * p.out.batch + c * p.out.channel;
  const int64_t begin = p.width.begin(x), end = p.width.end(x);
  // A tap of weight 0 counts, and two on one source count as two: that is how infinities spread in native.
  const auto add = [](const auto& taps, int64_t source, acc value, acc& sum) {
    if (taps.index0 == source) sum = fused_multiply_add(taps.weight0, value, sum);
    if (taps.index1 == source) sum = fused_multiply_add(taps.weight1, value, sum);
  };
  acc sum = 0;
  for (int64_t oy = p.height.begin(y), last = p.height.end(y); oy < last; ++oy) {
    acc row = 0;
    for (int64_t ox = begin; ox < end; ++ox) {
      add(p.width.taps(ox), x, widen(load(grad + oy * p.out.height + ox * p.out.width)), row);
    }
    add(p.height.taps(oy), y, row, sum);
  }
  T* result = static_cast<T*>(p.input) + n * p.in.batch + c * p.in.channel + y * p.in.height + x * p.in.width;
  *result = Narrow<T>::of(sum);
}

template <class T, class acc, class Axis>
cudaError_t launch_adjoint(const ResizeParams<acc, Axis>& p, const Device& device) {
  const int64_t sources = p.batch * p.channels * p.height.in_size * p.width.in_size;
  return launch(adjoint_of_one<T, acc, Axis>, device, divide_up(sources, kAdjointThreads), kAdjointThreads, 0,
                p, sources);
}

}  // namespace gpu
}  // namespace upsample_ext
