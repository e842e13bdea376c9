// The kernels of every instruction-set level (PyTorch calls it CPU capability), and which level runs.
//
// Each file of levels/ compiles the same headers (kernels/*.h) for its instruction set, in its own namespace,
// into one table of function pointers. The level is chosen once, as the highest that the processor supports,
// and can be lowered by the environment variable UPSAMPLE_EXT_LEVEL or, in tests, by set_level.
#pragma once

#include "../params.h"

namespace upsample_ext {

// How a launcher runs a resample: allocate and build the plan, store it in the parameters, then ask for the
// scratch size (which depends on the plan) and give every thread its rows and its own scratch.
template <class acc>
struct ResampleKernel {
  int64_t lanes;  // values in a vector; pixels of fewer channels are better treated as an interleaved row
  int64_t (*plan_bytes)(const ResampleParams<acc>&);
  void (*build_plan)(const ResampleParams<acc>&, void* plan);
  int64_t (*scratch_bytes)(const ResampleParams<acc>&);
  void (*rows)(const ResampleParams<acc>&, int64_t begin, int64_t end, void* scratch);
};

// Transposed convolution: plan and scratch as above; rows are units of what is written (the launcher counts
// the rows of images, the kernel those of weights).
struct DeconvKernel {
  int64_t (*plan_bytes)(const DeconvParams&);
  void (*build_plan)(const DeconvParams&, bool reads_weight, void* plan);
  int64_t (*scratch_bytes)(const DeconvParams&);
  void (*forward)(const DeconvParams&, int64_t begin, int64_t end, void* scratch);
  void (*backward_input)(const DeconvParams&, int64_t begin, int64_t end, void* scratch);
  void (*backward_weight)(const DeconvParams&, int64_t begin, int64_t end, void* scratch);
  int64_t (*backward_weight_rows)(const DeconvParams&);
  void (*channel_sum)(const ChannelSumParams&, int64_t begin, int64_t end);
  int64_t (*channel_sum_rows)(const ChannelSumParams&);
};

// Reductions over the classes of a pixel: plans as above; the work is counted in units (one row of one strip
// of one image), whose number the kernel knows once it has its plan.
struct ArgmaxKernel {
  int64_t (*plan_bytes)(const ArgmaxParams&);
  void (*build_plan)(const ArgmaxParams&, void* plan);
  int64_t (*units)(const ArgmaxParams&);
  int64_t (*scratch_bytes)(const ArgmaxParams&);
  void (*rows)(const ArgmaxParams&, int64_t begin, int64_t end, void* scratch);
};

template <class acc>
struct CrossEntropyKernel {
  int64_t (*plan_bytes)(const CrossEntropyParams<acc>&);
  int64_t (*plan_transposed_bytes)(const CrossEntropyParams<acc>&);
  void (*build_plans)(const CrossEntropyParams<acc>&, void* plan, void* plan_transposed);
  int64_t (*units)(const CrossEntropyParams<acc>&);
  int64_t (*scratch_bytes)(const CrossEntropyParams<acc>&);
  int64_t (*check_targets)(const CrossEntropyParams<acc>&, int64_t begin, int64_t count, double* weight_sum);
  void (*rows)(const CrossEntropyParams<acc>&, int64_t begin, int64_t end, void* scratch);
};

struct LevelKernels {
  const char* name;
  bool (*supported)();
  ResampleKernel<double> resample_f64;
  ResampleKernel<float> resample_f32, resample_f16, resample_bf16, resample_u8;
  ResampleKernel<double> add_f64;  // resize + other
  ResampleKernel<float> add_f32, add_f16, add_bf16;
  ResampleKernel<float> threshold_f32, threshold_f16, threshold_bf16;  // resize > threshold
  DeconvKernel deconv_f64, deconv_f32, deconv_f16, deconv_bf16;
  ArgmaxKernel argmax_f64, argmax_f32, argmax_f16, argmax_bf16;
  CrossEntropyKernel<double> cross_entropy_f64;
  CrossEntropyKernel<float> cross_entropy_f32, cross_entropy_f16, cross_entropy_bf16;
};

// All levels compiled in, lowest first.
int level_count();
const LevelKernels& level_at(int i);

const LevelKernels& active_level();
// False when there is no such level, or this processor cannot run it.
bool set_level(const char* name);
// The value of UPSAMPLE_EXT_LEVEL when it named no level this processor can run, otherwise null.
const char* refused_level();

}  // namespace upsample_ext
