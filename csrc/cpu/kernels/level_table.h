// Included last by each level file: instantiates the kernels of that level into its table.
#pragma once

#include "../levels.h"
#include "argmax.h"
#include "cross_entropy.h"
#include "deconv.h"
#include "resample.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

template <class T, class E = Store<T>, class acc = acc_of<T>>
constexpr ResampleKernel<acc> resample_kernel() {
  return {lanes<acc>, resample_plan_bytes<acc>, resample_build_plan<E, acc>, resample_scratch_bytes<acc>,
          resample_rows<T, E>};
}

template <class T, class acc = acc_of<T>>
constexpr DeconvKernel deconv_kernel() {
  return {deconv_plan_bytes<acc>,
          deconv_build_plan<T>,
          deconv_scratch_bytes<T>,
          deconv_forward<T>,
          deconv_backward_input<T>,
          deconv_backward_weight<T>,
          deconv_backward_weight_rows<acc>,
          channel_sum<T>,
          channel_sum_rows<acc>};
}

template <class T>
constexpr ArgmaxKernel argmax_kernel() {
  return {argmax_plan_bytes, argmax_build_plan, argmax_units, argmax_scratch_bytes, argmax_rows<T>};
}

template <class T, class acc = acc_of<T>>
constexpr CrossEntropyKernel<acc> cross_entropy_kernel() {
  return {
      cross_entropy_plan_bytes<acc>, cross_entropy_plan_transposed_bytes<acc>, cross_entropy_build_plans<acc>,
      cross_entropy_units<acc>,      cross_entropy_scratch_bytes<acc>,         check_targets<acc>,
      cross_entropy_rows<T>};
}

}  // namespace UPSAMPLE_LEVEL

#define UPSAMPLE_STRING_OF(name) #name
#define UPSAMPLE_STRING(name) UPSAMPLE_STRING_OF(name)
#define UPSAMPLE_JOIN_OF(a, b) a##b
#define UPSAMPLE_JOIN(a, b) UPSAMPLE_JOIN_OF(a, b)

extern const LevelKernels UPSAMPLE_JOIN(level_, UPSAMPLE_LEVEL);
const LevelKernels UPSAMPLE_JOIN(level_, UPSAMPLE_LEVEL) = {
    UPSAMPLE_STRING(UPSAMPLE_LEVEL),
    UPSAMPLE_LEVEL::supported,
    UPSAMPLE_LEVEL::resample_kernel<double>(),
    UPSAMPLE_LEVEL::resample_kernel<float>(),
    UPSAMPLE_LEVEL::resample_kernel<half_t>(),
    UPSAMPLE_LEVEL::resample_kernel<bfloat16_t>(),
    UPSAMPLE_LEVEL::resample_kernel<uint8_t>(),
    UPSAMPLE_LEVEL::resample_kernel<double, UPSAMPLE_LEVEL::Add<double>>(),
    UPSAMPLE_LEVEL::resample_kernel<float, UPSAMPLE_LEVEL::Add<float>>(),
    UPSAMPLE_LEVEL::resample_kernel<half_t, UPSAMPLE_LEVEL::Add<half_t>>(),
    UPSAMPLE_LEVEL::resample_kernel<bfloat16_t, UPSAMPLE_LEVEL::Add<bfloat16_t>>(),
    UPSAMPLE_LEVEL::resample_kernel<float, UPSAMPLE_LEVEL::Threshold>(),
    UPSAMPLE_LEVEL::resample_kernel<half_t, UPSAMPLE_LEVEL::Threshold>(),
    UPSAMPLE_LEVEL::resample_kernel<bfloat16_t, UPSAMPLE_LEVEL::Threshold>(),
    UPSAMPLE_LEVEL::deconv_kernel<double>(),
    UPSAMPLE_LEVEL::deconv_kernel<float>(),
    UPSAMPLE_LEVEL::deconv_kernel<half_t>(),
    UPSAMPLE_LEVEL::deconv_kernel<bfloat16_t>(),
    UPSAMPLE_LEVEL::argmax_kernel<double>(),
    UPSAMPLE_LEVEL::argmax_kernel<float>(),
    UPSAMPLE_LEVEL::argmax_kernel<half_t>(),
    UPSAMPLE_LEVEL::argmax_kernel<bfloat16_t>(),
    UPSAMPLE_LEVEL::cross_entropy_kernel<double>(),
    UPSAMPLE_LEVEL::cross_entropy_kernel<float>(),
    UPSAMPLE_LEVEL::cross_entropy_kernel<half_t>(),
    UPSAMPLE_LEVEL::cross_entropy_kernel<bfloat16_t>(),
};

}  // namespace upsample_ext
