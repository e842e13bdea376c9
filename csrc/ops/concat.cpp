// Resize of several images, concatenated along the channels: checks, output, meta kernel, autograd.
#include "concat.h"

#include <ATen/native/TypeProperties.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <algorithm>

#include "autograd_node.h"
#include "op_handles.h"
#include "resample.h"
#include "resample_modes.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;

// ---- output ----------------------------------------------------------------------------------------------

// Whether the resized input is channels-last; with one channel or one pixel that is indistinguishable from
// contiguous.
static bool resizes_to_channels_last(const Tensor& input, SymIntArrayRef output_size) {
  if (input.suggest_memory_format() != at::MemoryFormat::ChannelsLast) return false;
  const SymInt shape[] = {input.sym_size(0), input.sym_size(1), output_size[0], output_size[1]};
  return c10::is_channels_last_strides_2d<SymInt>(shape, c10::get_channels_last_strides_2d<SymInt>(shape));
}

Tensor make_concat_output(at::TensorList inputs, SymIntArrayRef output_size) {
  const char* op = "upsample_concat";
  TORCH_CHECK_VALUE(!inputs.empty(), op, ": expected a non-empty list of tensors");
  TORCH_CHECK(inputs.size() <= kMostConcatInputs, op, ": expected at most ", kMostConcatInputs,
              " tensors, got ", inputs.size());
  SymInt channels = 0;
  bool channels_last = true;
  for (const Tensor& input : inputs) {
    check_resize(op, input, output_size);
    TORCH_CHECK(input.sym_size(0) == inputs[0].sym_size(0), op, ": expected inputs with a batch of ",
                inputs[0].sym_size(0), " as the first has, got ", input.sym_sizes());
    TORCH_CHECK(input.device() == inputs[0].device(), op, ": expected inputs on device ", inputs[0].device(),
                " as the first is, got ", input.device());
    channels = channels + input.sym_size(1);
    channels_last = channels_last && resizes_to_channels_last(input, output_size);
  }
  const SymInt shape[] = {inputs[0].sym_size(0), channels, output_size[0], output_size[1]};
  return at::empty_symint(shape, inputs[0].options().dtype(at::native::result_type(inputs)),
                          channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
}

void fill_concat_output(const Tensor& output, at::TensorList inputs, FillSlice copy_into,
                        FillSlice resize_into) {
  const int64_t height = output.size(2), width = output.size(3);
  int64_t first = 0;
  for (const Tensor& input : inputs) {
    const Tensor slice = output.narrow(1, first, input.size(1));
    first += input.size(1);
    const bool same_size = input.size(2) == height && input.size(3) == width;
    const bool same_dtype = input.scalar_type() == output.scalar_type();
    if (same_size) {
      same_dtype ? copy_into(input, slice) : (void)slice.copy_(input);
    } else if (same_dtype && input.scalar_type() != at::kByte) {
      resize_into(input, slice);
    } else {  // rounded to its own dtype first; bytes by an arithmetic that depends on the memory order
      const SymInt size[] = {height, width};
      const Tensor resized = make_upsample_output(input, size);
      resize_into(input, resized);
      slice.copy_(resized);
    }
  }
}

// ---- meta, autograd --------------------------------------------------------------------------------------

static ResampleSettings concat_settings(string_view mode, bool align_corners) {
  return ResampleSettings::of_plane("upsample_concat", mode, align_corners);
}

static Tensor concat_meta(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners,
                          string_view mode) {
  concat_settings(mode, align_corners);
  return make_concat_output(inputs, output_size);
}

struct ConcatRule {
  static constexpr const char* name = "UpsampleConcatBackward";
  std::vector<SymInt> channels, heights, widths;  // of each input
  std::vector<int64_t> dtypes, channels_last;
  bool align_corners;
  int64_t mode;  // its place in kModes

  template <class F>
  void visit(F&& f) {
    f(channels), f(heights), f(widths), f(dtypes), f(channels_last), f(align_corners), f(mode);
  }
  void backward(const Tensor& grad, const NeedsGradient& needs, variable_list& grads) {
    SymInt first = 0;
    for (size_t i = 0; i < channels.size(); ++i) {
      if (needs(i)) grads[i] = gradient_of(i, grad.narrow_symint(1, first, channels[i]));
      first = first + channels[i];
    }
  }
  Tensor gradient_of(size_t i, Tensor slice) {
    const auto dtype = static_cast<at::ScalarType>(dtypes[i]);
    if (slice.scalar_type() != dtype) slice = slice.to(dtype);
    const ResampleSettings settings = concat_settings(kModes[mode].name, align_corners);
    const bool is_channels_last = channels_last[i] != 0;
    if (slice.sym_size(2) == heights[i] && slice.sym_size(3) == widths[i]) {
      return copy_plane_backward(slice, settings, is_channels_last);  // native returns a separate tensor too
    }
    const SymInt size[] = {heights[i], widths[i]};
    return resize_plane_backward(slice, size, settings, is_channels_last);
  }
};

static Tensor concat_autograd(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners,
                              string_view mode) {
  const auto call = [&](at::TensorList images) {
    return upsample_concat_op().call(images, output_size, align_corners, mode);
  };
  Tensor output = with_history<ConcatRule>(
      [&] { return call(inputs); },
      [&](ConcatRule& rule) {
        for (const Tensor& input : inputs) {
          rule.channels.push_back(input.sym_size(1));
          rule.heights.push_back(input.sym_size(2));
          rule.widths.push_back(input.sym_size(3));
          rule.dtypes.push_back(static_cast<int64_t>(input.scalar_type()));
          rule.channels_last.push_back(input.suggest_memory_format() == at::MemoryFormat::ChannelsLast);
        }
        rule.align_corners = align_corners;
        rule.mode = find_mode(mode) - kModes;
      },
      inputs);
  if (std::any_of(inputs.begin(), inputs.end(), has_tangent)) {
    std::vector<Tensor> tangents;
    for (const Tensor& input : inputs) {
      tangents.push_back(has_tangent(input) ? input._fw_grad(0) : at::zeros_like(input));
    }
    set_tangent(output, call(tangents));
  }
  return output;
}

// The vmap that autograd's checks and is_grads_batched use does not support lists of tensors.
static Tensor concat_batched(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners,
                             string_view mode) {
  std::vector<Tensor> resized;
  for (const Tensor& input : inputs) {
    const bool same = input.sym_size(2) == output_size[0] && input.sym_size(3) == output_size[1];
    resized.push_back(same ? input : resize_plane(input, output_size, concat_settings(mode, align_corners)));
  }
  return at::cat(resized, 1);
}

TORCH_LIBRARY_IMPL(upsample_ext, Batched, m) { m.impl("upsample_concat", concat_batched); }

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) { m.impl("upsample_concat", concat_meta); }

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) { m.impl("upsample_concat", concat_autograd); }

}  // namespace upsample_ext
