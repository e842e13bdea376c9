// exp, and the sum of exponentials as classes pass, for softmax.
#pragma once

#include "class_columns.cuh"

namespace upsample_ext {
namespace gpu {

// exp(x) of x <= 0. float: 2^(x log2(e)) by the processor's own instruction, within 2^-22 of it where the
// result counts beside 1, and 0 instead of a subnormal number.
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

__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }

// The larger of two, the other one of a NaN.
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

// The sum of exp(logit - maximum) over the classes so far. A group of classes raises the maximum once: per
// class one exponential, and one in kClassGroup more to scale what was summed before. It comes out as
// native's does: NaN if a logit is NaN or infinite, 0 if all are minus infinity (the maximum is a finite
// number before the first class, so that minus infinity less it is no NaN).
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

}  // namespace gpu
}  // namespace upsample_ext
