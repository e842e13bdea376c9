// CPU launchers of chains of resizes, and of what consumes them.
//
// A pass computes as many stages as possible at once, by composed tables. An image between two stages is made
// only where it is smaller than what it is made from, or where more stages would take more taps than an
// enlargement does: reading it is then cheaper than doing without.
#include "../ops/chain.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "argmax.h"
#include "run_resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::IntArrayRef;
using c10::SymIntArrayRef;
using OptionalScales = std::optional<at::ArrayRef<double>>;

// Stages begin .. end of a chain as one map.
template <class acc>
struct ChainPass {
  size_t begin, end;
  AxisOfCall<acc> height, width;
};

using Extent = std::array<int64_t, 2>;

static double pixels(const Extent& extent) { return static_cast<double>(extent[0]) * extent[1]; }

template <class acc>
static AxisOfCall<acc> chain_axis(const std::vector<ChainStage>& stages, size_t begin, size_t end,
                                  size_t axis, int64_t in_size) {
  const ChainStage& only = stages[begin];
  if (end - begin == 1 && !only.crops()) {
    return AxisOfCall<acc>::linear(in_size, only.size[axis], only.align_corners,
                                   only.scale[axis].value_or(0.0));
  }
  std::vector<AxisStage> of_axis;
  for (size_t i = begin; i < end; ++i) {
    const ChainStage& stage = stages[i];
    of_axis.push_back({{Mode::kLinear, false, in_size, stage.size[axis], stage.align_corners,
                        stage.scale[axis].value_or(0.0), NativeRules::kCpu},
                       stage.first[axis],
                       stage.count[axis]});
    in_size = stage.count[axis];
  }
  return AxisTable<acc>::chain(of_axis.data(), of_axis.size());
}

// The passes of a chain from an image of size `extent`.
template <class acc>
static std::vector<ChainPass<acc>> chain_passes(const std::vector<ChainStage>& stages, Extent extent) {
  const auto pass = [&](size_t begin, size_t end) {
    return ChainPass<acc>{begin, end, chain_axis<acc>(stages, begin, end, 0, extent[0]),
                          chain_axis<acc>(stages, begin, end, 1, extent[1])};
  };
  const auto takes_few_taps = [](const ChainPass<acc>& pass) {
    constexpr int64_t kMost = AxisTable<acc>::kMostEvenTaps;
    return pass.height.taps().max_taps <= kMost && pass.width.taps().max_taps <= kMost;
  };
  std::vector<ChainPass<acc>> passes;
  for (size_t begin = 0; begin < stages.size(); begin = passes.back().end) {
    ChainPass<acc> longest = pass(begin, begin + 1);
    while (longest.end < stages.size() && pixels(stages[longest.end - 1].count) >= pixels(extent)) {
      ChainPass<acc> longer = pass(begin, longest.end + 1);
      if (!takes_few_taps(longer)) break;
      longest = std::move(longer);
    }
    extent = stages[longest.end - 1].count;
    passes.push_back(std::move(longest));
  }
  return passes;
}

template <class acc>
static void resize(const Tensor& input, const Tensor& output, const std::vector<ChainStage>& stages,
                   const ChainPass<acc>& pass) {
  const ChainStage& last = stages[pass.end - 1];
  if (pass.end - pass.begin == 1 && !last.crops()) {
    return upsample_into(input, output, last.align_corners, last.scale[0], last.scale[1],
                         exceeds_cache(output));
  }
  dispatch_floating("upsample_chain", input.scalar_type(), [&](auto scalar, auto sum) {
    if constexpr (std::is_same_v<decltype(sum), acc>) {
      ResampleParams<acc> params{};
      params.stream = exceeds_cache(output);
      run_resample(active_level().resample.of(storage_of<decltype(scalar)>{}), input, output, pass.height,
                   pass.width, params);
    }
  });
}

// An image between two passes.
static Tensor image_of(const Tensor& like, const Extent& extent) {
  return fresh(at::empty({like.size(0), like.size(1), extent[0], extent[1]}, like.options(),
                         like.suggest_memory_format()));
}

// What the passes but the last make of the input: in float32, which a consumer compares in.
template <class acc>
static Tensor before_last_pass(const Tensor& input, const std::vector<ChainStage>& stages,
                               const std::vector<ChainPass<acc>>& passes) {
  if (passes.size() == 1) return input;
  Tensor image = input.to(at::kFloat);
  for (size_t i = 0; i + 1 < passes.size(); ++i) {
    const Tensor next = image_of(image, stages[passes[i].end - 1].count);
    resize(image, next, stages, passes[i]);
    image = next;
  }
  return image;
}

static Extent extent_of(const Tensor& image) { return {image.size(2), image.size(3)}; }

static Tensor chain_cpu(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                        IntArrayRef align_corners, OptionalScales scale_factors) {
  const ChainArgs args{sizes, crops, align_corners, scale_factors};
  const Tensor output = fresh(make_chain_output(input, args));
  if (output.numel() == 0) return output;
  const auto stages = chain_stages(args);
  dispatch_floating("upsample_chain", input.scalar_type(), [&](auto, auto sum) {
    const auto passes = chain_passes<decltype(sum)>(stages, extent_of(input));
    Tensor image = input;
    for (const auto& pass : passes) {
      const bool is_last = &pass == &passes.back();
      const Tensor next = is_last ? output : image_of(image, stages[pass.end - 1].count);
      resize(image, next, stages, pass);
      image = next;
    }
  });
  return output;
}

static Tensor chain_backward_cpu(const Tensor& grad_output, SymIntArrayRef input_size, SymIntArrayRef sizes,
                                 SymIntArrayRef crops, IntArrayRef align_corners,
                                 OptionalScales scale_factors) {
  const ChainArgs args{sizes, crops, align_corners, scale_factors};
  const Tensor grad_input = fresh(make_chain_grad_input(grad_output, input_size, args));
  if (grad_input.numel() == 0) return grad_input;
  const auto stages = chain_stages(args);
  dispatch_floating("upsample_chain_backward", grad_output.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    const auto passes = chain_passes<acc>(stages, extent_of(grad_input));
    Tensor grad = grad_output;
    for (size_t i = passes.size(); i-- > 0;) {
      const Tensor next = i == 0 ? grad_input : image_of(grad, stages[passes[i - 1].end - 1].count);
      ResampleParams<acc> params{};
      params.stream = exceeds_cache(next);
      params.height_forward = passes[i].height.taps();
      run_resample(active_level().resample.of(storage_of<decltype(scalar)>{}), grad, next,
                   passes[i].height.transposed(), passes[i].width.transposed(), params);
      grad = next;
    }
  });
  return grad_input;
}

static Tensor chain_threshold_cpu(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                                  IntArrayRef align_corners, OptionalScales scale_factors, double threshold) {
  const ChainArgs args{sizes, crops, align_corners, scale_factors};
  TORCH_CHECK_NOT_IMPLEMENTED(input.scalar_type() != at::kDouble,
                              "\"upsample_chain_threshold\" not implemented for 'Double'");
  const Tensor output = fresh(make_chain_mask(input, args));
  dispatch_floating("upsample_chain_threshold", input.scalar_type(), [&](auto, auto) {
    if (output.numel() == 0) return;
    const auto stages = chain_stages(args);
    const auto passes = chain_passes<float>(stages, extent_of(input));
    const Tensor image = before_last_pass(input, stages, passes);
    dispatch_floating("upsample_chain_threshold", image.scalar_type(), [&](auto scalar, auto sum) {
      if constexpr (!std::is_same_v<decltype(sum), double>) {
        run_resample(active_level().threshold.of(storage_of<decltype(scalar)>{}), image, output,
                     passes.back().height, passes.back().width,
                     ThresholdOperands<float>{static_cast<float>(threshold)}, exceeds_cache(output));
      }
    });
  });
  return output;
}

// Fills `index`, and `score` where it is defined.
static void chain_argmax_into(const Tensor& input, const Tensor& index, const Tensor& score,
                              const ChainArgs& args) {
  dispatch_floating("upsample_chain_argmax", input.scalar_type(), [&](auto, auto) {
    if (index.numel() == 0) return;
    const auto stages = chain_stages(args);
    const auto passes = chain_passes<float>(stages, extent_of(input));
    const Tensor image = before_last_pass(input, stages, passes);
    argmax_into(image, index, score, passes.back().height, passes.back().width);
  });
}

static Tensor chain_argmax_cpu(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                               IntArrayRef align_corners, OptionalScales scale_factors,
                               at::ScalarType dtype) {
  const ChainArgs args{sizes, crops, align_corners, scale_factors};
  Tensor index = fresh(make_chain_index(input, args, dtype));
  chain_argmax_into(input, index, Tensor(), args);
  return index;
}

static std::tuple<Tensor, Tensor> chain_argmax_with_score_cpu(const Tensor& input, SymIntArrayRef sizes,
                                                              SymIntArrayRef crops, IntArrayRef align_corners,
                                                              OptionalScales scale_factors,
                                                              at::ScalarType dtype) {
  const ChainArgs args{sizes, crops, align_corners, scale_factors};
  Tensor index = fresh(make_chain_index(input, args, dtype));
  Tensor score = fresh(at::empty(index.sizes(), index.options().dtype(at::kFloat)));
  chain_argmax_into(input, index, score, args);
  return {index, score};
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) {
  m.impl("upsample_chain", on_cpu<chain_cpu>);
  m.impl("upsample_chain_backward", on_cpu<chain_backward_cpu>);
  m.impl("upsample_chain_threshold", on_cpu<chain_threshold_cpu>);
  m.impl("upsample_chain_argmax", on_cpu<chain_argmax_cpu>);
  m.impl("upsample_chain_argmax_with_score", on_cpu<chain_argmax_with_score_cpu>);
}

}  // namespace upsample_ext
