// exp, and an online sum of exponentials over the classes, for softmax.
#pragma once

#include "class_logits.cuh"

namespace upsample_ext {
namespace gpu {

// exp(x) of x <= 0. float: 2^(x log2(e)) by the hardware instruction, accurate to 2^-22 where the result is
// significant relative to 1, and 0 instead of a subnormal number.
__device__ __forceinline__ float exponential(float x) {
  const float power = x * 1.44269504f;
#if defined(__CUDA_ARCH__)
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(power));
  return result;
#else
  return exp2f(power);
#endif
}
__device__ __forceinline__ double exponential(double x) { return exp(x); }

// 1 / x, to one unit in the last place; of a subnormal number infinity.
__device__ __forceinline__ float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return 1.0f / x;
#endif
}
__device__ __forceinline__ double reciprocal(double x) { return 1.0 / x; }

__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }

// The larger of two values; if one is NaN, the other.
__device__ __forceinline__ float larger_number(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ double larger_number(double a, double b) { return fmax(a, b); }

template <class acc>
struct Limits;
template <>
struct Limits<float> {
  static constexpr float kLargest = 3.402823466e38f, kInfinity = __builtin_inff();
};
template <>
struct Limits<double> {
  static constexpr double kLargest = 1.7976931348623157e308, kInfinity = __builtin_inf();
};

// The sum of exp(logit - maximum) over the classes so far. The maximum is updated once per group of classes:
// this takes one exponential per class, and one per kClassGroup classes to rescale the sum. Special values
// are as in native: NaN if a logit is NaN or infinite, 0 if all are minus infinity (the maximum starts as a
// finite number, so that minus infinity minus the maximum is not NaN).
template <class acc>
struct ExponentialSum {
  acc maximum = -Limits<acc>::kLargest;
  acc sum = 0;

  __device__ __forceinline__ void add(const acc (&values)[kClassGroup]) {
    acc raised = maximum;
#pragma unroll
    for (int k = 0; k < kClassGroup; ++k) raised = larger_number(raised, values[k]);
    acc e[kClassGroup];
#pragma unroll
    for (int k = 0; k < kClassGroup; ++k) e[k] = exponential(values[k] - raised);
    sum = fused_multiply_add(sum, exponential(maximum - raised), (e[0] + e[1]) + (e[2] + e[3]));
    maximum = raised;
  }
};

// The sum of the weights of all classes.
template <class acc>
__device__ __forceinline__ acc weight_of_classes(const CrossEntropyParams<acc>& p) {
  return p.weight_sum != nullptr ? load(p.weight_sum) : static_cast<acc>(p.logits.channels);
}

// What multiplies the softmax in the gradient of a pixel whose target has that weight.
template <class acc>
__device__ __forceinline__ acc total_weight(const CrossEntropyParams<acc>& p, acc weight_sum, acc weight) {
  return fused_multiply_add(p.smoothing / static_cast<acc>(p.logits.channels), weight_sum,
                            (acc(1) - p.smoothing) * weight);
}

}  // namespace gpu
}  // namespace upsample_ext
