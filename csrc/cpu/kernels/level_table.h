// Included last by each level file: instantiates the kernels of that level into its table.
#pragma once

#include "../levels.h"
#include "argmax.h"
#include "chain_argmax.h"
#include "copy_image.h"
#include "cross_entropy.h"
#include "deconv.h"
#include "pick_pixels.h"
#include "resample.h"
#include "resample_line.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

template <class T, class E, class Kernel, class acc = acc_of<T>>
constexpr Kernel kernel_with_epilogue() {
  Kernel kernel{};
  kernel.lanes = lanes<acc>;
  kernel.reads_y = E::kReads;
  kernel.takes_words = takes_words<T, E>;
  kernel.rounds_between = filters_bytes<T, E>;
  kernel.plan_bytes = resample_plan_bytes<T, E, acc>;
  kernel.build_plan = resample_build_plan<T, E, acc>;
  kernel.scratch_bytes = resample_scratch_bytes<T, E>;
  kernel.rows = resample_rows<T, E>;
  return kernel;
}

template <class T>
constexpr ResampleKernel<acc_of<T>> resample_kernel() {
  return kernel_with_epilogue<T, Store<T>, ResampleKernel<acc_of<T>>>();
}
template <class T, class E>
constexpr FusedKernel<acc_of<T>, typename E::Operands> fused_kernel() {
  return kernel_with_epilogue<T, E, FusedKernel<acc_of<T>, typename E::Operands>>();
}

template <class T, class acc = acc_of<T>>
constexpr DeconvKernel<acc> deconv_kernel() {
  DeconvKernel<acc> kernel{};
  kernel.choose = choose_deconv;
  kernel.plan_bytes = deconv_plan_bytes<acc>;
  kernel.build_plan = deconv_build_plan<T>;
  kernel.scratch_bytes = deconv_scratch_bytes<T>;
  kernel.rows = deconv_rows<T>;
  kernel.run = deconv_run<T>;
  kernel.channel_sum = channel_sum<T>;
  kernel.channel_sum_rows = channel_sum_rows<acc>;
  return kernel;
}

template <class T>
constexpr ArgmaxKernel<acc_of<T>> argmax_kernel() {
  ArgmaxKernel<acc_of<T>> kernel{};
  kernel.plan_bytes = argmax_plan_bytes;
  kernel.build_plan = argmax_build_plan;
  kernel.units = argmax_units;
  kernel.scratch_bytes = argmax_scratch_bytes;
  kernel.rows = argmax_rows<T>;
  return kernel;
}

template <class T, class acc = acc_of<T>>
constexpr CrossEntropyKernel<acc> cross_entropy_kernel() {
  CrossEntropyKernel<acc> kernel{};
  kernel.plan_bytes = cross_entropy_plan_bytes<acc>;
  kernel.plan_transposed_bytes = cross_entropy_plan_transposed_bytes<acc>;
  kernel.build_plans = cross_entropy_build_plans<acc>;
  kernel.units = cross_entropy_units<acc>;
  kernel.scratch_bytes = cross_entropy_scratch_bytes<acc>;
  kernel.check_targets = check_targets<acc>;
  kernel.rows = cross_entropy_rows<T>;
  return kernel;
}

// Kernels are assigned by name: a forgotten one is null, and a wrong one has another type or looks wrong
// here.
constexpr LevelKernels level_kernels(const char* name) {
  LevelKernels level{};
  level.name = name;
  level.supported = supported;

  level.copy.bytes1 = copy_image<uint8_t>;
  level.copy.bytes2 = copy_image<uint16_t>;
  level.copy.bytes4 = copy_image<uint32_t>;
  level.copy.bytes8 = copy_image<uint64_t>;

  level.pick.plan_bytes = pick_plan_bytes;
  level.pick.build_plan = build_pick_plan;
  level.pick.rows = pick_rows;

  level.resample.f64 = resample_kernel<double>();
  level.resample.f32 = resample_kernel<float>();
  level.resample.f16 = resample_kernel<half_t>();
  level.resample.bf16 = resample_kernel<bfloat16_t>();
  level.resample.u8 = resample_kernel<uint8_t>();

  if constexpr (kComputesTaps) {
    level.line.f32.outputs = interpolate_line<float>;
    level.line.f16.outputs = interpolate_line<half_t>;
    level.line.bf16.outputs = interpolate_line<bfloat16_t>;
  }

  level.same_size.f64.row = same_size_row<double>;
  level.same_size.f32.row = same_size_row<float>;
  level.same_size.f16.row = same_size_row<half_t>;
  level.same_size.bf16.row = same_size_row<bfloat16_t>;
  level.same_size.u8.row = same_size_row<uint8_t>;

  level.add.f64 = fused_kernel<double, Add<double>>();
  level.add.f32 = fused_kernel<float, Add<float>>();
  level.add.f16 = fused_kernel<half_t, Add<half_t>>();
  level.add.bf16 = fused_kernel<bfloat16_t, Add<bfloat16_t>>();

  level.pick_sum.f64.rows = pick_into_sum<double>;
  level.pick_sum.f32.rows = pick_into_sum<float>;
  level.pick_sum.f16.rows = pick_into_sum<half_t>;
  level.pick_sum.bf16.rows = pick_into_sum<bfloat16_t>;

  level.threshold.f32 = fused_kernel<float, Threshold>();
  level.threshold.f16 = fused_kernel<half_t, Threshold>();
  level.threshold.bf16 = fused_kernel<bfloat16_t, Threshold>();

  level.deconv.f64 = deconv_kernel<double>();
  level.deconv.f32 = deconv_kernel<float>();
  level.deconv.f16 = deconv_kernel<half_t>();
  level.deconv.bf16 = deconv_kernel<bfloat16_t>();

  level.argmax.f64 = argmax_kernel<double>();
  level.argmax.f32 = argmax_kernel<float>();
  level.argmax.f16 = argmax_kernel<half_t>();
  level.argmax.bf16 = argmax_kernel<bfloat16_t>();

  level.chain_argmax.plan_bytes = chain_argmax_plan_bytes;
  level.chain_argmax.build_plan = chain_argmax_build_plan;
  level.chain_argmax.units = chain_argmax_units;
  level.chain_argmax.scratch_bytes = chain_argmax_scratch_bytes;
  level.chain_argmax.rows = chain_argmax_rows;

  level.cross_entropy.f64 = cross_entropy_kernel<double>();
  level.cross_entropy.f32 = cross_entropy_kernel<float>();
  level.cross_entropy.f16 = cross_entropy_kernel<half_t>();
  level.cross_entropy.bf16 = cross_entropy_kernel<bfloat16_t>();
  return level;
}

}  // namespace UPSAMPLE_LEVEL

#define UPSAMPLE_STRING_OF(name) #name
#define UPSAMPLE_STRING(name) UPSAMPLE_STRING_OF(name)
#define UPSAMPLE_JOIN_OF(a, b) a##b
#define UPSAMPLE_JOIN(a, b) UPSAMPLE_JOIN_OF(a, b)

extern const LevelKernels UPSAMPLE_JOIN(level_, UPSAMPLE_LEVEL);
constexpr LevelKernels UPSAMPLE_JOIN(level_, UPSAMPLE_LEVEL) =
    UPSAMPLE_LEVEL::level_kernels(UPSAMPLE_STRING(UPSAMPLE_LEVEL));

}  // namespace upsample_ext
