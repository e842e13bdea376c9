// Resize fused with an addition: checks, output, meta kernel, autograd.
#include "add.h"

#include <ATen/ExpandUtils.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <torch/library.h>

#include "autograd_node.h"
#include "op_handles.h"
#include "resample.h"
#include "resample_modes.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymInt;
using c10::SymIntArrayRef;

// ---- output ----------------------------------------------------------------------------------------------

// The sum of meta tensors, as native lays it out. The iterator that native's kernels build decides that; the
// operator, in which shapes may be symbols, is written in Python for meta tensors and takes a hundred times
// as long.
static Tensor meta_sum(const Tensor& first, const Tensor& second) {
  const auto is_symbolic = [](const Tensor& x) {
    return x.unsafeGetTensorImpl()->has_symbolic_sizes_strides();
  };
  if (is_symbolic(first) || is_symbolic(second)) return at::add(first, second);
  return at::TensorIteratorConfig()
      .add_owned_output(Tensor())
      .add_owned_const_input(first)
      .add_owned_const_input(second)
      .build()
      .output();
}

// Native derives the layout of `resized + other` from the strides of both. Two images of one shape and memory
// format, the usual case, are recognised directly; otherwise native itself is asked, on meta tensors, which
// costs no computation, or for an empty batch, whose strides differ on the meta device, on the CPU.
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
  // The first operand's order decides wherever its strides differ, as those of a dense image do that has no
  // dimension of size 1 but the batch.
  if (!is_empty && shape[1] > 1 && shape[2] > 1 && shape[3] > 1) {
    return at::empty_symint(shape, input.options(), format);
  }
  const auto options = input.options().device(is_empty ? at::kCPU : at::kMeta);
  const Tensor resized = at::empty_symint(shape, options, format);
  const Tensor addend = at::empty_strided_symint(other.sym_sizes(), other.sym_strides(), options);
  const Tensor sum = is_empty ? at::add(resized, addend) : meta_sum(resized, addend);
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

bool same_strides(const Tensor& a, const Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) > 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// ---- meta, autograd --------------------------------------------------------------------------------------

static ResampleSettings add_settings(string_view mode, bool align_corners) {
  return ResampleSettings::of_plane("upsample_add", mode, align_corners);
}

static Tensor add_meta(const Tensor& input, const Tensor& other, bool align_corners, string_view mode) {
  add_settings(mode, align_corners);
  return make_add_output(input, other);
}

struct AddRule {
  static constexpr const char* name = "UpsampleAddBackward";
  SymInt height, width;  // of the input
  std::vector<SymInt> other;
  bool align_corners, channels_last;
  int64_t mode;  // its place in kModes

  template <class F>
  void visit(F&& f) {
    f(height), f(width), f(other), f(align_corners), f(channels_last), f(mode);
  }
  void backward(const Tensor& grad, const NeedsGradient& needs, variable_list& grads) {
    const SymInt size[] = {height, width};
    if (needs(0)) {
      grads[0] =
          resize_plane_backward(grad, size, add_settings(kModes[mode].name, align_corners), channels_last);
    }
    if (needs(1)) grads[1] = at::sum_to(grad, SymIntArrayRef(other));
  }
};

static Tensor add_autograd(const Tensor& input, const Tensor& other, bool align_corners, string_view mode) {
  const auto call = [&](const Tensor& image, const Tensor& addend) {
    return upsample_add_op().call(image, addend, align_corners, mode);
  };
  Tensor output = with_history<AddRule>([&] { return call(input, other); },
                                        [&](AddRule& rule) {
                                          rule.height = input.sym_size(2);
                                          rule.width = input.sym_size(3);
                                          rule.other = other.sym_sizes().vec();
                                          rule.align_corners = align_corners;
                                          rule.mode = find_mode(mode) - kModes;
                                          rule.channels_last =
                                              input.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
                                        },
                                        input, other);
  if (has_tangent(input) && has_tangent(other)) {
    set_tangent(output, call(input._fw_grad(0), other._fw_grad(0)));
  } else if (has_tangent(input)) {
    const SymInt size[] = {other.sym_size(-2), other.sym_size(-1)};
    set_tangent(output, resize_plane(input._fw_grad(0), size, add_settings(mode, align_corners)));
  } else if (has_tangent(other)) {
    set_tangent(output, other._fw_grad(0).expand_symint(output.sym_sizes()).clone());
  }
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, Meta, m) { m.impl("upsample_add", add_meta); }

TORCH_LIBRARY_IMPL(upsample_ext, Autograd, m) { m.impl("upsample_add", add_autograd); }

}  // namespace upsample_ext
