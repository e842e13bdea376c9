// CUDA launchers of the resample family: tensors to parameter structs.
#include "../ops/resample.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../ops/op_handles.h"
#include "../ops/resample_modes.h"
#include "deconv.h"
#include "kernels.h"
#include "resample_choice.h"
#include "resample_params.h"
#include "resample_table.h"
#include "tensor_view.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

// ---- bilinear resize ------------------------------------------------------------------------------------

void upsample_into(const Tensor& input, const Tensor& output, bool align_corners, optional<double> scale_h,
                   optional<double> scale_w) {
  const OnDeviceOf on(input);
  if (input.sizes() == output.sizes()) {
    output.copy_(input);
    return;
  }
  dispatch_floating_or_byte("upsample_bilinear2d", input.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    const auto params = linear_params<acc>(input, output, align_corners, scale_h, scale_w);
    check_launch(resample<storage_of<decltype(scalar)>>(params, on.device()));
  });
}

static Tensor upsample_cuda(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                            optional<double> scale_h, optional<double> scale_w) {
  Tensor output = make_upsample_output(input, output_size);
  upsample_into(input, output, align_corners, scale_h, scale_w);
  return output;
}

static void upsample_out_cuda(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                              optional<double> scale_h, optional<double> scale_w, Tensor& out) {
  prepare_upsample_out(input, output_size, out);
  if (may_share_elements(out, input)) {
    out.copy_(upsample_cuda(input, output_size, align_corners, scale_h, scale_w));
  } else {
    upsample_into(input, out, align_corners, scale_h, scale_w);
  }
}

static Tensor upsample_backward_cuda(const Tensor& grad_output, SymIntArrayRef input_size, bool align_corners,
                                     optional<double> scale_h, optional<double> scale_w) {
  Tensor grad_input = make_upsample_grad_input(grad_output, input_size);
  const OnDeviceOf on(grad_output);
  if (grad_input.sizes() == grad_output.sizes()) return grad_input.copy_(grad_output);
  dispatch_floating("upsample_bilinear2d_backward", grad_output.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    const LinearAxes<acc> axes(grad_input, grad_output.size(2), grad_output.size(3), align_corners, scale_h,
                               scale_w);
    const auto params = backward_params<acc>(grad_input, grad_output, axes.height, axes.width);
    check_launch(resample_backward<storage_of<decltype(scalar)>>(params, on.device()));
  });
  return grad_input;
}

// ---- resize in any mode and rank ----------------------------------------------------------------------
//
// Bilinear without antialias by the kernels above, nearest by those that pick, all others by tables.

// Whether native copies an image whose sizes stay, whatever the scale factors are. Its CUDA kernels for
// antialiased modes, and for nearest in lines and volumes, sample it like any other.
static bool copies(const ResampleSettings& settings, const Tensor& input, const Tensor& output) {
  if (input.sizes() != output.sizes()) return false;
  if (settings.mode->picks()) return settings.axes == 2;
  return !settings.antialias || input.scalar_type() == at::kByte;
}

// By native's rules on CUDA; averages of bytes, which it lacks there, by those of its CPU kernels.
static std::array<AxisSpec, 3> axes_of(const ResampleSettings& settings, const Tensor& input,
                                       const Tensor& output) {
  const bool of_cpu = input.scalar_type() == at::kByte && !settings.mode->picks();
  auto specs = settings.specs(input, output, of_cpu ? NativeRules::kCpu : NativeRules::kCuda);
  if (settings.mode->picks() && settings.axes == 2) {
    for (AxisSpec& spec : specs) {
      if (spec.in_size == spec.out_size) spec.rules = NativeRules::kCudaCopy;
    }
  }
  return specs;
}

static NearestAxis<float> nearest_axis(const AxisSpec& spec) {
  const NativeRules rules = spec.mode == Mode::kCopy ? NativeRules::kCudaCopy : spec.rules;
  return NearestAxis<float>(spec.in_size, spec.out_size, spec.mode == Mode::kNearestExact, spec.scale, rules);
}

// Of an image and its result; the one that is written is given as planes of mutable memory.
static NearestParams nearest_params(void* input, void* output, const Tensor& of_input,
                                    const Tensor& of_output, const std::array<AxisSpec, 3>& specs) {
  return {{input, output, of_input.size(0), of_input.size(1), strides_of(of_input), strides_of(of_output),
           nearest_axis(specs[1]), nearest_axis(specs[2])},
          nearest_axis(specs[0])};
}

// The table of an image's rows, see resample_modes.h; table(axis) makes that of one axis.
template <class acc, class MakeTable>
static OwnedTable<acc> rows_table(const AxisSpec& depth, const AxisSpec& height, const Tensor& like,
                                  const Device& device, MakeTable&& table) {
  OwnedTable<acc> rows = with_axis<acc>(height, table);
  if (depth.mode == Mode::kCopy) return rows;
  return product_of(with_axis<acc>(depth, table), rows, like, device);
}

// Bytes along the width, rounded, and then along the height, as native's CPU kernels take them. One size at
// least changes.
static void resample_bytes(const Tensor& input, const Tensor& output, const std::array<AxisSpec, 3>& specs,
                           const Device& device) {
  const AxisSpec &height = specs[1], &width = specs[2];
  const auto pass = [&](const Tensor& from, const Tensor& to, const AxisSpec& down, const AxisSpec& across) {
    const auto table = [&](const auto& axis) { return table_of<float>(axis, output, device); };
    run_tables<uint8_t>(from, to, with_axis<float>(down, table), with_axis<float>(across, table), device);
  };
  if (height.in_size == height.out_size) return pass(input, output, copied_axis(height.in_size), width);
  if (width.in_size == width.out_size) return pass(input, output, height, copied_axis(width.in_size));
  const Tensor wide = at::empty({input.size(0), input.size(1), height.in_size, width.out_size},
                                input.options(), output.suggest_memory_format());
  pass(input, wide, copied_axis(height.in_size), width);
  pass(wide, output, height, copied_axis(width.out_size));
}

static Tensor resample_cuda(const Tensor& input, SymIntArrayRef output_size, string_view mode, bool antialias,
                            bool align_corners, OptionalScales scale_factors) {
  const ResampleSettings settings("resample", input.dim() - 2, mode, antialias, align_corners, scale_factors);
  Tensor output = make_resampled(input, output_size, settings);
  if (settings.is_bilinear()) {
    upsample_into(input, output, align_corners, settings.scale_or_none(1), settings.scale_or_none(2));
    return output;
  }
  if (output.numel() == 0) return output;
  const OnDeviceOf on(input);
  if (copies(settings, input, output)) return output.copy_(input);
  const auto specs = axes_of(settings, input, output);
  const Tensor from = as_planes(input), to = as_planes(output);
  if (settings.mode->picks()) {
    const auto params = nearest_params(read_only(from), to.mutable_data_ptr(), from, to, specs);
    check_launch(resample_nearest(params, input.element_size(), on.device()));
    return output;
  }
  if (input.scalar_type() == at::kByte) {
    resample_bytes(input, output, specs, on.device());
    return output;
  }
  dispatch_floating("resample", input.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    const auto table = [&](const auto& axis) { return table_of<acc>(axis, output, on.device()); };
    run_tables<decltype(scalar)>(from, to, rows_table<acc>(specs[0], specs[1], output, on.device(), table),
                                 with_axis<acc>(specs[2], table), on.device());
  });
  return output;
}

static Tensor resample_backward_cuda(const Tensor& grad_output, SymIntArrayRef input_size, string_view mode,
                                     bool antialias, bool align_corners, OptionalScales scale_factors) {
  const ResampleSettings settings("resample_backward", grad_output.dim() - 2, mode, antialias, align_corners,
                                  scale_factors);
  if (settings.is_bilinear()) {
    return upsample_backward_cuda(grad_output, input_size, align_corners, settings.scale_or_none(1),
                                  settings.scale_or_none(2));
  }
  Tensor grad_input = make_resampled_grad_input(grad_output, input_size, settings);
  if (grad_input.numel() == 0) return grad_input;
  const OnDeviceOf on(grad_output);
  if (copies(settings, grad_input, grad_output)) return grad_input.copy_(grad_output);
  const auto specs = axes_of(settings, grad_input, grad_output);
  const Tensor from = as_planes(grad_output), to = as_planes(grad_input);
  dispatch_floating("resample_backward", grad_output.scalar_type(), [&](auto scalar, auto sum) {
    typedef storage_of<decltype(scalar)> T;
    using acc = decltype(sum);
    if (settings.mode->picks()) {
      const auto params = nearest_params(to.mutable_data_ptr(), read_only(from), to, from, specs);
      check_launch(resample_nearest_backward<T>(params, on.device()));
      return;
    }
    const auto table = [&](const auto& axis) {
      return transposed_table_of<acc>(axis, grad_input, on.device());
    };
    run_tables<decltype(scalar)>(from, to,
                                 rows_table<acc>(specs[0], specs[1], grad_input, on.device(), table),
                                 with_axis<acc>(specs[2], table), on.device());
  });
  return grad_input;
}

// ---- separable transposed convolution -------------------------------------------------------------------
//
// One kernel for all channels, ky x kx, whose values stay on the device.

// The geometry and the values of both 1-D kernels, as axes for either way.
class FixedKernels {
 public:
  FixedKernels(const Tensor& kernel_h, const Tensor& kernel_w, const Tensor& input, const Tensor& output,
               const ConvTransposeArgs& args, bool replicate)
      : height_(deconv_axis(0, input, output, kernel_h.size(0), args, replicate)),
        width_(deconv_axis(1, input, output, kernel_w.size(0), args, replicate)),
        down_(kernel_h.to(sum_type(input.scalar_type())).contiguous()),
        across_(kernel_w.to(sum_type(input.scalar_type())).contiguous()) {}

  SeparableKernel choice() const { return choose_separable(height_, width_); }
  bool gradient_in_double(const Tensor& grad_output) const {
    return sums_in_double(grad_output, height_, width_);
  }
  template <class Axis, class acc>
  Axis height() const {
    return Axis(height_, down_.const_data_ptr<acc>());
  }
  template <class Axis, class acc>
  Axis width() const {
    return Axis(width_, across_.const_data_ptr<acc>());
  }

 private:
  ConvTransposeAxis height_, width_;
  Tensor down_, across_;
};

static Tensor separable_cuda(const Tensor& input, const Tensor& kernel_h, const Tensor& kernel_w,
                             SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                             SymIntArrayRef dilation, bool replicate, bool) {
  const ConvTransposeArgs args{stride, padding, output_padding, dilation};
  Tensor output = make_separable_output(input, kernel_h, kernel_w, args);
  const OnDeviceOf on(input);
  const FixedKernels kernel(kernel_h, kernel_w, input, output, args, replicate);
  dispatch_floating("fixed_conv_transpose2d", input.scalar_type(), [&](auto scalar, auto sum) {
    typedef storage_of<decltype(scalar)> T;
    typedef decltype(sum) acc;
    if (kernel.choice() == SeparableKernel::kTwoTaps) {
      check_launch(
          resample<T>(forward_params<acc>(input, output, kernel.height<TwoTapConvTransposeAxis<acc>, acc>(),
                                          kernel.width<TwoTapConvTransposeAxis<acc>, acc>()),
                      on.device()));
    } else if (output.numel() > 0) {
      run_tables<decltype(scalar)>(
          input, output, table_of<acc>(kernel.height<FixedKernelAxis<acc>, acc>(), output, on.device()),
          table_of<acc>(kernel.width<FixedKernelAxis<acc>, acc>(), output, on.device()), on.device());
    }
  });
  return output;
}

static Tensor separable_backward_cuda(const Tensor& grad_output, const Tensor& kernel_h,
                                      const Tensor& kernel_w, SymIntArrayRef input_size,
                                      SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation,
                                      bool replicate, optional<bool> channels_last, bool as_resize) {
  const ConvTransposeArgs args{stride, padding, {}, dilation};
  Tensor grad_input =
      make_separable_grad_input(grad_output, kernel_h, kernel_w, input_size, args, channels_last);
  const OnDeviceOf on(grad_output);
  const Tensor output = in_order_of(grad_output, grad_input);
  const FixedKernels kernel(kernel_h, kernel_w, grad_input, output, args, replicate);
  if (kernel.gradient_in_double(grad_output)) {
    return grad_input.copy_(separable_backward_cuda(grad_output.to(at::kDouble), kernel_h, kernel_w,
                                                    input_size, stride, padding, dilation, replicate,
                                                    channels_last, as_resize));
  }
  dispatch_floating("fixed_conv_transpose2d_backward", grad_output.scalar_type(), [&](auto scalar, auto sum) {
    typedef storage_of<decltype(scalar)> T;
    typedef decltype(sum) acc;
    if (kernel.choice() == SeparableKernel::kTwoTaps) {
      check_launch(resample_backward<T>(
          backward_params<acc>(grad_input, output, kernel.height<TwoTapConvTransposeAxis<acc>, acc>(),
                               kernel.width<TwoTapConvTransposeAxis<acc>, acc>()),
          on.device()));
    } else if (grad_input.numel() > 0) {
      run_tables<decltype(scalar)>(
          output, grad_input,
          transposed_table_of<acc>(kernel.height<FixedKernelAxis<acc>, acc>(), grad_input, on.device()),
          transposed_table_of<acc>(kernel.width<FixedKernelAxis<acc>, acc>(), grad_input, on.device()),
          on.device());
    }
  });
  return grad_input;
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) {
  m.impl("resample", resample_cuda);
  m.impl("resample_backward", resample_backward_cuda);
  m.impl("upsample_bilinear2d", upsample_cuda);
  m.impl("upsample_bilinear2d.out", upsample_out_cuda);
  m.impl("upsample_bilinear2d_backward", upsample_backward_cuda);
  m.impl("separable_conv_transpose2d", separable_cuda);
  m.impl("separable_conv_transpose2d_backward", separable_backward_cuda);
}

}  // namespace gpu
}  // namespace upsample_ext
