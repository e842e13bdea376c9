// Chains of resizes, and what follows them: checks, outputs, meta kernels, autograd.
#include "chain.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "argmax.h"
#include "autograd_node.h"
#include "op_handles.h"
#include "resample.h"
#include "threshold.h"

namespace upsample_ext {

using at::Tensor;
using c10::IntArrayRef;
using c10::SymInt;
using c10::SymIntArrayRef;
using OptionalScales = std::optional<at::ArrayRef<double>>;

// ---- arguments --------------------------------------------------------------------------------------------

std::array<SymInt, 2> check_chain(const char* op, const Tensor& input, const ChainArgs& args) {
  const size_t stages = args.align_corners.size();
  TORCH_CHECK(stages > 0, op, ": expected at least one stage, got none");
  TORCH_CHECK(args.sizes.size() == 2 * stages, op, ": expected 2 sizes for each of ", stages, " stages, got ",
              args.sizes);
  TORCH_CHECK(args.crops.size() == 4 * stages, op, ": expected (top, left, height, width) for each of ",
              stages, " stages, got ", args.crops);
  TORCH_CHECK(!args.scale_factors || args.scale_factors->size() == 2 * stages, op,
              ": expected 2 scale factors for each of ", stages, " stages, got ",
              args.scale_factors ? args.scale_factors->size() : 0);
  for (size_t i = 0; i < stages; ++i) {
    const SymIntArrayRef size = args.sizes.slice(2 * i, 2), crop = args.crops.slice(4 * i, 4);
    check_resize(op, input, size);
    for (int axis = 0; axis < 2; ++axis) {
      const SymInt &first = crop[axis], &count = crop[2 + axis];
      TORCH_CHECK(first >= 0 && count > 0 && count <= size[axis] && first <= size[axis] - count, op,
                  ": expected a crop (top, left, height, width) inside ", size, ", got ", crop);
    }
  }
  return {args.crops[4 * stages - 2], args.crops[4 * stages - 1]};
}

std::vector<ChainStage> chain_stages(const ChainArgs& args) {
  std::vector<ChainStage> stages(args.align_corners.size());
  for (size_t i = 0; i < stages.size(); ++i) {
    ChainStage& stage = stages[i];
    for (size_t axis = 0; axis < 2; ++axis) {
      stage.size[axis] = args.sizes[2 * i + axis].guard_int(__FILE__, __LINE__);
      stage.first[axis] = args.crops[4 * i + axis].guard_int(__FILE__, __LINE__);
      stage.count[axis] = args.crops[4 * i + 2 + axis].guard_int(__FILE__, __LINE__);
      const double scale = args.scale_factors ? (*args.scale_factors)[2 * i + axis] : 0.0;
      if (scale > 0.0) stage.scale[axis] = scale;
    }
    stage.align_corners = args.align_corners[i] != 0;
  }
  return stages;
}

// ---- outputs ----------------------------------------------------------------------------------------------

Tensor make_chain_output(const Tensor& input, const ChainArgs& args) {
  return make_upsample_output(input, check_chain("upsample_chain", input, args));
}

Tensor make_chain_grad_input(const Tensor& grad_output, SymIntArrayRef input_size, const ChainArgs& args) {
  const char* op = "upsample_chain_backward";
  const std::array<SymInt, 2> size = check_chain(op, grad_output, args);
  TORCH_CHECK(grad_output.sym_size(2) == size[0] && grad_output.sym_size(3) == size[1], op,
              ": expected a grad_output of the last crop's size ", SymIntArrayRef(size), ", got ",
              grad_output.sym_sizes());
  check_resize(op, grad_output, input_size);
  return make_upsample_grad_input(grad_output, input_size);
}

Tensor make_chain_mask(const Tensor& input, const ChainArgs& args) {
  return make_threshold_output(input, check_chain("upsample_chain_threshold", input, args));
}

Tensor make_chain_index(const Tensor& input, const ChainArgs& args, at::ScalarType dtype) {
  return make_argmax_index(input, check_chain("upsample_chain_argmax", input, args), dtype);
}

// ---- stage by stage ---------------------------------------------------------------------------------------

Tensor cropped(const Tensor& image, const ChainStage& stage) {
  return image.narrow(-2, stage.first[0], stage.count[0]).narrow(-1, stage.first[1], stage.count[1]);
}

Tensor chain_by_stages(const Tensor& input, const std::vector<ChainStage>& stages) {
  Tensor image = input;
  for (const ChainStage& stage : stages) {
    const SymInt size[] = {stage.size[0], stage.size[1]};
    image =
        cropped(upsample_op().call(image, size, stage.align_corners, stage.scale[0], stage.scale[1]), stage);
  }
  return image;
}

Tensor chain_backward_by_stages(const Tensor& grad_output, c10::IntArrayRef input_size,
                                const std::vector<ChainStage>& stages) {
  Tensor grad = grad_output;
  for (size_t i = stages.size(); i-- > 0;) {
    const ChainStage& stage = stages[i];
    if (stage.crops()) {
      const Tensor whole = at::empty({grad.size(0), grad.size(1), stage.size[0], stage.size[1]},
                                     grad.options(), grad.suggest_memory_format())
                               .zero_();
      cropped(whole, stage).copy_(grad);
      grad = whole;
    }
    const SymInt size[] = {i > 0 ? stages[i - 1].count[0] : input_size[0],
                           i > 0 ? stages[i - 1].count[1] : input_size[1]};
    grad = upsample_backward_op().call(grad, size, stage.align_corners, stage.scale[0], stage.scale[1]);
  }
  return grad;
}

// ---- meta -------------------------------------------------------------------------------------------------

static Tensor chain_meta(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                         IntArrayRef align_corners, OptionalScales scale_factors) {
  return make_chain_output(input, {sizes, crops, align_corners, scale_factors});
}

static Tensor chain_backward_meta(const Tensor& grad_output, SymIntArrayRef input_size, SymIntArrayRef sizes,
                                  SymIntArrayRef crops, IntArrayRef align_corners,
                                  OptionalScales scale_factors) {
  return make_chain_grad_input(grad_output, input_size, {sizes, crops, align_corners, scale_factors});
}

static Tensor chain_threshold_meta(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                                   IntArrayRef align_corners, OptionalScales scale_factors, double) {
  return make_chain_mask(input, {sizes, crops, align_corners, scale_factors});
}

static Tensor chain_argmax_meta(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                                IntArrayRef align_corners, OptionalScales scale_factors,
                                at::ScalarType dtype) {
  return make_chain_index(input, {sizes, crops, align_corners, scale_factors}, dtype);
}

static std::tuple<Tensor, Tensor> chain_argmax_with_score_meta(const Tensor& input, SymIntArrayRef sizes,
                                                               SymIntArrayRef crops,
                                                               IntArrayRef align_corners,
                                                               OptionalScales scale_factors,
                                                               at::ScalarType dtype) {
  Tensor index = make_chain_index(input, {sizes, crops, align_corners, scale_factors}, dtype);
  Tensor score = at::empty_like(index, index.options().dtype(at::kFloat));
  return {index, score};
}

// ---- autograd ---------------------------------------------------------------------------------------------

// Each of the two ops is the gradient of the other.
template <bool kForward>
struct ChainRule {
  static constexpr const char* name = kForward ? "UpsampleChainBackward" : "UpsampleChainBackwardBackward";
  std::vector<SymInt> input_size, sizes, crops;
  std::vector<int64_t> align_corners;
  bool has_scales;
  std::vector<double> scales;

  template <class F>
  void visit(F&& f) {
    f(input_size), f(sizes), f(crops), f(align_corners), f(has_scales), f(scales);
  }
  void backward(const Tensor& grad, const NeedsGradient&, variable_list& grads) {
    const OptionalScales factors = has_scales ? OptionalScales(scales) : std::nullopt;
    grads[0] = kForward ? chain_backward_op().call(grad, input_size, sizes, crops, align_corners, factors)
                        : chain_op().call(grad, sizes, crops, align_corners, factors);
  }
  void fill(SymIntArrayRef size, const ChainArgs& args) {
    input_size = size.vec();
    sizes = args.sizes.vec();
    crops = args.crops.vec();
    align_corners = args.align_corners.vec();
    has_scales = args.scale_factors.has_value();
    if (has_scales) scales = args.scale_factors->vec();
  }
};

static Tensor chain_autograd(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                             IntArrayRef align_corners, OptionalScales scale_factors) {
  const auto call = [&](const Tensor& image) {
    return chain_op().call(image, sizes, crops, align_corners, scale_factors);
  };
  Tensor output = with_history<ChainRule<true>>([&] { return call(input); },
                                                [&](ChainRule<true>& rule) {
                                                  rule.fill(input.sym_sizes().slice(2),
                                                            {sizes, crops, align_corners, scale_factors});
                                                },
                                                input);
  if (has_tangent(input)) set_tangent(output, call(input._fw_grad(0)));
  return output;
}

static Tensor chain_backward_autograd(const Tensor& grad_output, SymIntArrayRef input_size,
                                      SymIntArrayRef sizes, SymIntArrayRef crops, IntArrayRef align_corners,
                                      OptionalScales scale_factors) {
  const auto call = [&](const Tensor& image) {
    return chain_backward_op().call(image, input_size, sizes, crops, align_corners, scale_factors);
  };
  Tensor grad_input = with_history<ChainRule<false>>(
      [&] { return call(grad_output); },
      [&](ChainRule<false>& rule) { rule.fill(input_size, {sizes, crops, align_corners, scale_factors}); },
      grad_output);
  if (has_tangent(grad_output)) set_tangent(grad_input, call(grad_output._fw_grad(0)));
  return grad_input;
}

static Tensor chain_threshold_autograd(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                                       IntArrayRef align_corners, OptionalScales scale_factors,
                                       double threshold) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return chain_threshold_op().call(input, sizes, crops, align_corners, scale_factors, threshold);
}

static Tensor chain_argmax_autograd(const Tensor& input, SymIntArrayRef sizes, SymIntArrayRef crops,
                                    IntArrayRef align_corners, OptionalScales scale_factors,
                                    at::ScalarType dtype) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return chain_argmax_op().call(input, sizes, crops, align_corners, scale_factors, dtype);
}

static std::tuple<Tensor, Tensor> chain_argmax_with_score_autograd(const Tensor& input, SymIntArrayRef sizes,
                                                                   SymIntArrayRef crops,
                                                                   IntArrayRef align_corners,
                                                                   OptionalScales scale_factors,
                                                                   at::ScalarType dtype) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  return chain_argmax_with_score_op().call(input, sizes, crops, align_corners, scale_factors, dtype);
}

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) {
  m.impl("upsample_chain", chain_meta);
  m.impl("upsample_chain_backward", chain_backward_meta);
  m.impl("upsample_chain_threshold", chain_threshold_meta);
  m.impl("upsample_chain_argmax", chain_argmax_meta);
  m.impl("upsample_chain_argmax_with_score", chain_argmax_with_score_meta);
}

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) {
  m.impl("upsample_chain", chain_autograd);
  m.impl("upsample_chain_backward", chain_backward_autograd);
  m.impl("upsample_chain_threshold", chain_threshold_autograd);
  m.impl("upsample_chain_argmax", chain_argmax_autograd);
  m.impl("upsample_chain_argmax_with_score", chain_argmax_with_score_autograd);
}

}  // namespace upsample_ext
