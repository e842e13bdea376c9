// CPU launcher of argmax.
#include "../ops/argmax.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../ops/resample_modes.h"
#include "argmax.h"
#include "logits_choice.h"
#include "pick_pixels.h"
#include "run_resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

template <class Params, class Kernel, class Table>
static void run_argmax(const Kernel& kernel, const Tensor& input, const Tensor& index, const Tensor& score,
                       const Table& height, const Table& width) {
  Params params{};
  params.logits.input = input.const_data_ptr();
  params.logits.batch = input.size(0);
  params.logits.channels = input.size(1);
  params.logits.in = strides_of(input);
  params.logits.height = height;
  params.logits.width = width;
  params.index = index.mutable_data_ptr();
  params.index_bytes = index.element_size();
  params.score = score.defined() ? score.mutable_data_ptr<float>() : nullptr;

  ScratchBuffer<4096> plan(kernel.plan_bytes(params));
  kernel.build_plan(params, plan.data());
  params.logits.plan = plan.data();
  const int64_t scratch_bytes = kernel.scratch_bytes(params);
  const int64_t units = kernel.units(params);
  const int64_t logits = index.numel() * input.size(1);
  parallel_for(0, units, grain_of(units, std::max<int64_t>(1, logits)), [&](int64_t begin, int64_t end) {
    ScratchBuffer<16384> scratch(scratch_bytes);
    kernel.rows(params, begin, end, scratch.data());
  });
}

void argmax_into(const Tensor& input, const Tensor& index, const Tensor& score,
                 const AxisOfCall<float>& height, const AxisOfCall<float>& width) {
  switch (choose_logits(height.taps(), width.taps(), strides_of(input).by_column())) {
    case LogitsLoops::kPixelsRead: {
      const auto read = PixelsRead<float>::of(input, height, width);
      return argmax_into(read.image, index, score, read.height, read.width);
    }
    case LogitsLoops::kTwoTaps:
      return dispatch_floating("upsample_argmax", input.scalar_type(), [&](auto scalar, auto) {
        run_argmax<ArgmaxParams>(active_level().argmax.of(storage_of<decltype(scalar)>{}), input, index,
                                 score, TwoTapRows<float>(height.taps()), TwoTapRows<float>(width.taps()));
      });
    case LogitsLoops::kTables:
      return run_argmax<ChainArgmaxParams>(active_level().chain_argmax, input.to(at::kFloat).contiguous(),
                                           index, score, height.taps(), width.taps());
  }
}

// Nearest, where it enlarges: the classes of copied pixels are copies too.
static void argmax_of_copies(const Tensor& input, const Tensor& index, const Tensor& score,
                             const AxisOfCall<float>& height, const AxisOfCall<float>& width) {
  const auto before = [&](const Tensor& map) {
    return map.defined() ? at::empty({input.size(0), input.size(2), input.size(3)}, map.options()) : map;
  };
  const auto pick = [&](const Tensor& from, const Tensor& to) {
    pick_pixels(from.unsqueeze(1), to.unsqueeze(1), height.taps().index, width.taps().index,
                exceeds_cache(to));
  };
  const Tensor classes = before(index), probabilities = before(score);
  argmax_into(input, classes, probabilities, AxisOfCall<float>::of(copied_axis(input.size(2))),
              AxisOfCall<float>::of(copied_axis(input.size(3))));
  pick(classes, index);
  if (score.defined()) pick(probabilities, score);
}

static void argmax_into(const Tensor& input, const Tensor& index, const Tensor& score,
                        const ResampleSettings& settings) {
  dispatch_floating("upsample_argmax", input.scalar_type(), [&](auto, auto) {
    if (index.numel() == 0) return;
    const auto axis = [&](int64_t d) {
      return AxisOfCall<float>::of(settings.spec(d, input.size(d + 1), index.size(d), NativeRules::kCpu));
    };
    const bool enlarges = index.numel() > input.size(0) * input.size(2) * input.size(3);
    const auto height = axis(1), width = axis(2);
    if (settings.mode->picks() && enlarges) return argmax_of_copies(input, index, score, height, width);
    if (!has_many_taps(height.taps(), width.taps())) return argmax_into(input, index, score, height, width);
    const c10::SymInt size[] = {index.size(1), index.size(2)};
    argmax_into(resize_plane(input.to(at::kFloat), size, settings), index, score,
                AxisOfCall<float>::of(copied_axis(index.size(1))),
                AxisOfCall<float>::of(copied_axis(index.size(2))));
  });
}

static Tensor argmax_cpu(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                         optional<double> scale_h, optional<double> scale_w, at::ScalarType dtype,
                         string_view mode) {
  const auto settings = ResampleSettings::of_plane("upsample_argmax", mode, align_corners, scale_h, scale_w);
  Tensor index = fresh(make_argmax_index(input, output_size, dtype));
  argmax_into(input, index, Tensor(), settings);
  return index;
}

static std::tuple<Tensor, Tensor> argmax_with_score_cpu(const Tensor& input, SymIntArrayRef output_size,
                                                        bool align_corners, optional<double> scale_h,
                                                        optional<double> scale_w, at::ScalarType dtype,
                                                        string_view mode) {
  const auto settings = ResampleSettings::of_plane("upsample_argmax", mode, align_corners, scale_h, scale_w);
  Tensor index = fresh(make_argmax_index(input, output_size, dtype));
  Tensor score = fresh(at::empty(index.sizes(), index.options().dtype(at::kFloat)));
  argmax_into(input, index, score, settings);
  return {index, score};
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) {
  m.impl("upsample_argmax", on_cpu<argmax_cpu>);
  m.impl("upsample_argmax_with_score", on_cpu<argmax_with_score_cpu>);
}

}  // namespace upsample_ext
