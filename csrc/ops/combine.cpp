// Bilinear resize fused with an addition or a concatenation: checks, outputs, meta kernels, autograd.
#include <torch_headers.h>

#include "combine.h"

#include <ATen/ExpandUtils.h>
#include <ATen/native/TypeProperties.h>

#include <algorithm>

#include "linear_op.h"
#include "resample.h"
#include "typed_ops.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;

// ---- add: output ----------------------------------------------------------------------------------------

// Native chooses the layout of `resized + other` from the strides of both. Two images of one shape and
// format, the usual case, are recognised directly; otherwise native itself is called on meta tensors, for
// which it computes nothing; for an empty batch, whose strides on the meta device are others, on the CPU.
static Tensor empty_sum(const Tensor& input, const Tensor& other) {
  const SymInt shape[] = {input.sym_size(0), input.sym_size(1), other.sym_size(-2), other.sym_size(-1)};
  const at::MemoryFormat format = input.suggest_memory_format();
  const bool is_empty = is_empty_batch(input);
  if (!is_empty && other.sym_sizes() == SymIntArrayRef(shape)) {
    const bool contiguous =
        format == at::MemoryFormat::Contiguous || shape[1] == 1 || (shape[2] == 1 && shape[3] == 1);
    if (contiguous && other.is_contiguous()) return at::empty_symint(shape, input.options());
    if (!contiguous && other.is_contiguous(format)) return at::empty_symint(shape, input.options(), format);
  }
  const auto options = input.options().device(is_empty ? at::kCPU : at::kMeta);
  const Tensor sum = at::add(at::empty_symint(shape, options, format),
                             at::empty_strided_symint(other.sym_sizes(), other.sym_strides(), options));
  return at::empty_strided_symint(sum.sym_sizes(), sum.sym_strides(), input.options());
}

Tensor make_add_output(const Tensor& input, const Tensor& other) {
  const char* op = "upsample_add";
  TORCH_CHECK(other.dim() >= 2 && other.dim() <= 4, op, ": expected other to have 2 to 4 dimensions, got ",
              other.sym_sizes());
  const SymInt size[] = {other.sym_size(-2), other.sym_size(-1)};
  check_resize(op, input, size);
  TORCH_CHECK(other.scalar_type() == input.scalar_type(), op, ": expected other to have dtype ",
              input.scalar_type(), ", got ", other.scalar_type());
  TORCH_CHECK(other.device() == input.device(), op, ": expected other on device ", input.device(), ", got ",
              other.device());
  for (int64_t axis = 0; axis < other.dim() - 2; ++axis) {
    const SymInt &given = other.sym_size(axis), &wanted = input.sym_size(axis + 4 - other.dim());
    TORCH_CHECK(given == wanted || given == 1, op, ": expected other to broadcast to ", input.sym_size(0),
                " images of ", input.sym_size(1), " channels, got ", other.sym_sizes());
  }
  return empty_sum(input, other);
}

bool lie_alike(const Tensor& a, const Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) > 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// ---- add: meta, autograd --------------------------------------------------------------------------------

static Tensor add_meta(const Tensor& input, const Tensor& other, bool) {
  return make_add_output(input, other);
}

struct AddRule {
  static constexpr const char* name = "UpsampleAddBackward";
  SymInt height, width;  // of the input
  std::vector<SymInt> other;
  bool align_corners;

  template <class F>
  void visit(F&& f) {
    f(height), f(width), f(other), f(align_corners);
  }
  void backward(const Tensor& grad, const NeedsGradient& needs, variable_list& grads) {
    const SymInt size[] = {height, width};
    if (needs(0)) {
      grads[0] = upsample_backward_op().call(grad, size, align_corners, std::nullopt, std::nullopt);
    }
    if (needs(1)) grads[1] = at::sum_to(grad, SymIntArrayRef(other));
  }
};

static Tensor add_autograd(const Tensor& input, const Tensor& other, bool align_corners) {
  Tensor output = with_history<AddRule>([&] { return upsample_add_op().call(input, other, align_corners); },
                                        [&](AddRule& rule) {
                                          rule.height = input.sym_size(2);
                                          rule.width = input.sym_size(3);
                                          rule.other = other.sym_sizes().vec();
                                          rule.align_corners = align_corners;
                                        },
                                        input, other);
  if (has_tangent(input) && has_tangent(other)) {
    set_tangent(output, upsample_add_op().call(input._fw_grad(0), other._fw_grad(0), align_corners));
  } else if (has_tangent(input)) {
    const SymInt size[] = {other.sym_size(-2), other.sym_size(-1)};
    set_tangent(output,
                upsample_op().call(input._fw_grad(0), size, align_corners, std::nullopt, std::nullopt));
  } else if (has_tangent(other)) {
    set_tangent(output, other._fw_grad(0).expand_symint(output.sym_sizes()).clone());
  }
  return output;
}

// ---- concat: output -------------------------------------------------------------------------------------

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

void fill_concat_output(const Tensor& output, at::TensorList inputs, SymIntArrayRef output_size,
                        bool align_corners,
                        c10::function_ref<void(const Tensor& input, const Tensor& slice)> resize_into) {
  int64_t first = 0;
  for (const Tensor& input : inputs) {
    const Tensor slice = output.narrow(1, first, input.size(1));
    first += input.size(1);
    if (input.size(2) == output.size(2) && input.size(3) == output.size(3)) {
      slice.copy_(input);
    } else if (input.scalar_type() == output.scalar_type()) {
      resize_into(input, slice);
    } else {  // rounded to its own dtype first
      slice.copy_(upsample_op().call(input, output_size, align_corners, std::nullopt, std::nullopt));
    }
  }
}

// ---- concat: meta, autograd -----------------------------------------------------------------------------

static Tensor concat_meta(at::TensorList inputs, SymIntArrayRef output_size, bool) {
  return make_concat_output(inputs, output_size);
}

struct ConcatRule {
  static constexpr const char* name = "UpsampleConcatBackward";
  std::vector<SymInt> channels, heights, widths;  // of each input
  std::vector<int64_t> dtypes;
  bool align_corners;

  template <class F>
  void visit(F&& f) {
    f(channels), f(heights), f(widths), f(dtypes), f(align_corners);
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
    if (slice.sym_size(2) == heights[i] && slice.sym_size(3) == widths[i]) {
      return slice.clone(slice.suggest_memory_format());  // native returns a separate tensor too
    }
    const SymInt size[] = {heights[i], widths[i]};
    return upsample_backward_op().call(slice, size, align_corners, std::nullopt, std::nullopt);
  }
};

static Tensor concat_autograd(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners) {
  const auto call = [&](at::TensorList images) {
    return upsample_concat_op().call(images, output_size, align_corners);
  };
  Tensor output =
      with_history<ConcatRule>([&] { return call(inputs); },
                               [&](ConcatRule& rule) {
                                 for (const Tensor& input : inputs) {
                                   rule.channels.push_back(input.sym_size(1));
                                   rule.heights.push_back(input.sym_size(2));
                                   rule.widths.push_back(input.sym_size(3));
                                   rule.dtypes.push_back(static_cast<int64_t>(input.scalar_type()));
                                 }
                                 rule.align_corners = align_corners;
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
static Tensor concat_batched(at::TensorList inputs, SymIntArrayRef output_size, bool align_corners) {
  std::vector<Tensor> resized;
  for (const Tensor& input : inputs) {
    const bool same = input.sym_size(2) == output_size[0] && input.sym_size(3) == output_size[1];
    resized.push_back(
        same ? input : upsample_op().call(input, output_size, align_corners, std::nullopt, std::nullopt));
  }
  return at::cat(resized, 1);
}

TORCH_LIBRARY_IMPL(upsample_ext, Batched, m) { m.impl("upsample_concat", concat_batched); }

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) {
  m.impl("upsample_add", add_meta);
  m.impl("upsample_concat", concat_meta);
}

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) {
  m.impl("upsample_add", add_autograd);
  m.impl("upsample_concat", concat_autograd);
}

}  // namespace upsample_ext
