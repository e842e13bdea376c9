// CUDA launchers of chains of resizes: one stage after the other, and what consumes the last in one kernel.
#include "../ops/chain.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../ops/op_handles.h"
#include "../ops/resample_modes.h"
#include "resample_params.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using c10::IntArrayRef;
using c10::SymInt;
using c10::SymIntArrayRef;
using OptionalScales = std::optional<at::ArrayRef<double>>;

// What `consume` makes of the last stage, given the image before it and the stage's size; of its result the
// crop.
template <class Consume>
static Tensor of_last_stage(const Tensor& input, const std::vector<ChainStage>& stages, Consume&& consume) {
  const std::vector<ChainStage> before(stages.begin(), stages.end() - 1);
  const ChainStage& last = stages.back();
  const SymInt size[] = {last.size[0], last.size[1]};
  const Tensor image = before.empty() ? input : chain_by_stages(input.to(at::kFloat), before);
  return cropped(consume(image, SymIntArrayRef(size), last), last);
}

static Tensor chain_cuda(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                         IntArrayRef align_corners, OptionalScales scale_factors) {
  const ChainArgs args{sizes, crops, align_corners, scale_factors};
  const Tensor output = make_chain_output(input, args);
  return output.copy_(chain_by_stages(input, chain_stages(args)));
}

static Tensor chain_backward_cuda(const Tensor& grad_output, SymIntArrayRef input_size, SymIntArrayRef sizes,
                                  SymIntArrayRef crops, IntArrayRef align_corners,
                                  OptionalScales scale_factors) {
  const ChainArgs args{sizes, crops, align_corners, scale_factors};
  const Tensor grad_input = make_chain_grad_input(grad_output, input_size, args);
  return grad_input.copy_(
      chain_backward_by_stages(grad_output, {grad_input.size(2), grad_input.size(3)}, chain_stages(args)));
}

static Tensor chain_threshold_cuda(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                                   IntArrayRef align_corners, OptionalScales scale_factors,
                                   double threshold) {
  const ChainArgs args{sizes, crops, align_corners, scale_factors};
  TORCH_CHECK_NOT_IMPLEMENTED(input.scalar_type() != at::kDouble,
                              "\"upsample_chain_threshold\" not implemented for 'Double'");
  const Tensor output = make_chain_mask(input, args);
  return output.copy_(of_last_stage(
      input, chain_stages(args), [&](const Tensor& image, SymIntArrayRef size, const ChainStage& stage) {
        return upsample_threshold_op().call(image, size, stage.align_corners, stage.scale[0], stage.scale[1],
                                            threshold, kBilinear.name);
      }));
}

static Tensor chain_argmax_cuda(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                                IntArrayRef align_corners, OptionalScales scale_factors,
                                at::ScalarType dtype) {
  const ChainArgs args{sizes, crops, align_corners, scale_factors};
  const Tensor index = make_chain_index(input, args, dtype);
  return index.copy_(of_last_stage(input, chain_stages(args),
                                   [&](const Tensor& image, SymIntArrayRef size, const ChainStage& stage) {
                                     return argmax_op().call(image, size, stage.align_corners, stage.scale[0],
                                                             stage.scale[1], dtype, kBilinear.name);
                                   }));
}

static std::tuple<Tensor, Tensor> chain_argmax_with_score_cuda(const Tensor& input, SymIntArrayRef sizes,
                                                               SymIntArrayRef crops,
                                                               IntArrayRef align_corners,
                                                               OptionalScales scale_factors,
                                                               at::ScalarType dtype) {
  const ChainArgs args{sizes, crops, align_corners, scale_factors};
  const Tensor index = make_chain_index(input, args, dtype);
  const Tensor score = at::empty(index.sizes(), index.options().dtype(at::kFloat));
  const auto stages = chain_stages(args);
  of_last_stage(input, stages, [&](const Tensor& image, SymIntArrayRef size, const ChainStage& stage) {
    const auto [whole_index, whole_score] = argmax_with_score_op().call(
        image, size, stage.align_corners, stage.scale[0], stage.scale[1], dtype, kBilinear.name);
    index.copy_(cropped(whole_index, stage));
    score.copy_(cropped(whole_score, stage));
    return whole_index;
  });
  return {index, score};
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) {
  m.impl("upsample_chain", chain_cuda);
  m.impl("upsample_chain_backward", chain_backward_cuda);
  m.impl("upsample_chain_threshold", chain_threshold_cuda);
  m.impl("upsample_chain_argmax", chain_argmax_cuda);
  m.impl("upsample_chain_argmax_with_score", chain_argmax_with_score_cuda);
}

}  // namespace gpu
}  // namespace upsample_ext
