// The kernels of every instruction-set level (PyTorch calls it CPU capability), and which level runs.
//
// Each file of levels/ compiles the same headers (kernels/*.h) for its instruction set, in its own namespace,
// into one table of function pointers. The level is chosen once, as the highest that the processor supports,
// and can be lowered by the environment variable UPSAMPLE_EXT_LEVEL or, in tests, by set_level.
#pragma once

#include "../epilogue_operands.h"
#include "../params.h"

namespace upsample_ext {

// How a launcher runs a resample: allocate and build the plan, store it in the parameters, then ask for the
// scratch size (which depends on the plan) and give every thread its rows and its own scratch.
template <class acc>
struct ResampleKernel {
  int64_t lanes;     // values in a vector; pixels of fewer channels are better treated as an interleaved row
  bool reads_y;      // the epilogue reads memory that has y's strides
  bool takes_words;  // pixels of four bytes can be taken whole
  bool rounds_between;  // takes parameters that say so
  int64_t (*plan_bytes)(const ResampleParams<acc>&);
  void (*build_plan)(const ResampleParams<acc>&, void* plan);
  int64_t (*scratch_bytes)(const ResampleParams<acc>&);
  void (*rows)(const ResampleParams<acc>&, int64_t begin, int64_t end, void* scratch);
};

// A resample kernel whose epilogue takes operands: what ResampleParams::operands must point to.
template <class acc, class Operands>
struct FusedKernel : ResampleKernel<acc> {};
template <class acc>
using AddKernel = FusedKernel<acc, AddOperands>;
template <class acc>
using ThresholdKernel = FusedKernel<acc, ThresholdOperands<acc>>;

// Transposed convolution: plan and scratch as above; rows are units of what is written.
template <class acc>
struct DeconvKernel {
  DeconvLoops (*choose)(const DeconvParams&);
  int64_t (*plan_bytes)(const DeconvParams&);
  void (*build_plan)(const DeconvParams&, void* plan);
  int64_t (*scratch_bytes)(const DeconvParams&);
  int64_t (*rows)(const DeconvParams&);
  void (*run)(const DeconvParams&, int64_t begin, int64_t end, void* scratch);
  void (*channel_sum)(const ChannelSumParams&, int64_t begin, int64_t end);
  int64_t (*channel_sum_rows)(const ChannelSumParams&);
};

// Reductions over the classes of a pixel: plans as above; the work is counted in units (one row of one strip
// of one image), whose number the kernel knows once it has its plan.
template <class Params>
struct ArgmaxKernelOf {
  int64_t (*plan_bytes)(const Params&);
  void (*build_plan)(const Params&, void* plan);
  int64_t (*units)(const Params&);
  int64_t (*scratch_bytes)(const Params&);
  void (*rows)(const Params&, int64_t begin, int64_t end, void* scratch);
};
template <class acc>
struct ArgmaxKernel : ArgmaxKernelOf<ArgmaxParams> {};
using ChainArgmaxKernel = ArgmaxKernelOf<ChainArgmaxParams>;

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

// Picks pixels of any type from a plane, for rows begin .. end of the result's plane. Reads no memory outside
// the rows of the source.
struct PickKernel {
  int64_t (*plan_bytes)(const PickParams&);
  void (*build_plan)(const PickParams&, void* plan);
  void (*rows)(const PickParams&, const void* from, void* to, int64_t begin, int64_t end);
};

// The same plus another image, of floating images; `picked` has room for a row.
template <class acc>
struct PickSumKernel {
  void (*rows)(const PickParams&, const PickedSum&, int64_t begin, int64_t end, void* picked);
};

// Outputs begin .. end of a line, of at least kLeastLine samples; null where the level has none.
constexpr int64_t kLeastLine = 64;
template <class acc>
struct LineKernel {
  void (*outputs)(const LineParams&, int64_t begin, int64_t end);
};

// A row of an image resized to its own size. The result may be the input itself.
template <class acc>
struct SameSizeKernel {
  void (*row)(const void* from, void* to, int64_t count, bool stream);
};

// A kernel for each type that images are stored in; empty where the op does not take that type.
template <template <class acc> class Kernel>
struct PerDtype {
  Kernel<double> f64;
  Kernel<float> f32, f16, bf16, u8;

  constexpr const Kernel<double>& of(double) const { return f64; }
  constexpr const Kernel<float>& of(float) const { return f32; }
  constexpr const Kernel<float>& of(half_t) const { return f16; }
  constexpr const Kernel<float>& of(bfloat16_t) const { return bf16; }
  constexpr const Kernel<float>& of(uint8_t) const { return u8; }
};

// The same for all types of a size. `stream`: the copy is part of a result too large to stay in cache.
struct CopyKernels {
  void (*bytes1)(const CopyParams&, bool stream);
  void (*bytes2)(const CopyParams&, bool stream);
  void (*bytes4)(const CopyParams&, bool stream);
  void (*bytes8)(const CopyParams&, bool stream);

  void operator()(const CopyParams& p, int64_t element_size, bool stream = false) const {
    const auto copy = element_size == 1   ? bytes1
                      : element_size == 2 ? bytes2
                      : element_size == 4 ? bytes4
                                          : bytes8;
    copy(p, stream);
  }
};

struct LevelKernels {
  const char* name;
  bool (*supported)();
  CopyKernels copy;
  PickKernel pick;
  PerDtype<ResampleKernel> resample;
  PerDtype<LineKernel> line;
  PerDtype<SameSizeKernel> same_size;
  PerDtype<AddKernel> add;
  PerDtype<PickSumKernel> pick_sum;
  PerDtype<ThresholdKernel> threshold;
  PerDtype<DeconvKernel> deconv;
  PerDtype<ArgmaxKernel> argmax;
  ChainArgmaxKernel chain_argmax;
  PerDtype<CrossEntropyKernel> cross_entropy;
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
