// CUDA launchers of the depthwise transposed convolution: tensors to parameter structs, memory.
#include "deconv.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../ops/deconv.h"
#include "kernels.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

ConvTransposeAxis deconv_axis(int axis, const Tensor& input, const Tensor& output, int64_t kernel_size,
                              const ConvTransposeArgs& args, bool replicate) {
  const ConvTransposeAxis geometry =
      conv_transpose_axis(axis, input.size(2 + axis), output.size(2 + axis), kernel_size, args, replicate);
  // Kernels multiply two numbers below the stride.
  TORCH_CHECK(geometry.stride <= INT32_MAX || output.numel() == 0,
              "conv_transpose2d: expected strides below 2^31 on CUDA, got ", args.stride);
  return geometry;
}

// The geometry of a call and the strides of its images; `input` and `output` are those of the forward op.
static DeconvParams deconv_params(const Tensor& input, const Tensor& output, c10::IntArrayRef kernel_size,
                                  const ConvTransposeArgs& args, bool replicate) {
  DeconvParams params{};
  params.batch = input.size(0);
  params.channels = input.size(1);
  params.in = strides_of(input);
  params.out = strides_of(output);
  params.height = deconv_axis(0, input, output, kernel_size[0], args, replicate);
  params.width = deconv_axis(1, input, output, kernel_size[1], args, replicate);
  params.channels_last = params.channels > 1 && params.in.channel == 1 && params.out.channel == 1;
  return params;
}

// The weight (C, 1, kH, kW) that kernels read: if the images are channels-last, with the channels of a tap
// adjacent and in the type of sums.
class ReadWeight {
 public:
  ReadWeight(DeconvParams& params, const Tensor& weight, at::ScalarType image) : kept_(weight) {
    const at::ScalarType sums = sum_type(image);
    // Of (kH, kW, 1, C).
    if (params.channels_last && weight.stride(0) != 0) {
      kept_ = weight.permute({2, 3, 1, 0})
                  .to(sums, /*non_blocking=*/false, /*copy=*/false, at::MemoryFormat::Contiguous)
                  .permute({3, 2, 0, 1});
    }
    in_acc_ = kept_.scalar_type() == sums && sums != image;
    const Strides strides = strides_of(kept_);
    params.weight = read_only(kept_);
    params.weight_channel = strides.batch;
    params.weight_height = strides.height;
    params.weight_width = strides.width;
  }
  bool in_acc() const { return in_acc_; }

 private:
  Tensor kept_;
  bool in_acc_;
};

// ---- the ops --------------------------------------------------------------------------------------------

static Tensor depthwise_cuda(const Tensor& input, const Tensor& weight, const optional<Tensor>& bias,
                             SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                             SymIntArrayRef dilation, bool replicate) {
  const ConvTransposeArgs args{stride, padding, output_padding, dilation};
  Tensor output = make_depthwise_output(input, weight, bias, args);
  const OnDeviceOf on(input);
  DeconvParams params = deconv_params(input, output, weight.sizes().slice(2), args, replicate);
  params.input = read_only(input);
  params.output = output.mutable_data_ptr();
  if (bias.has_value() && bias->defined()) {
    params.bias = bias->const_data_ptr();
    params.bias_stride = bias->stride(0);
  }
  const ReadWeight read(params, weight, input.scalar_type());
  dispatch_floating("conv_transpose2d", input.scalar_type(), [&](auto scalar, auto) {
    check_launch(deconv_forward<storage_of<decltype(scalar)>>(params, read.in_acc(), on.device()));
  });
  return output;
}

static Tensor backward_input_cuda(const Tensor& grad_output, const Tensor& weight, SymIntArrayRef input_size,
                                  SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation,
                                  bool replicate, optional<bool> channels_last) {
  const ConvTransposeArgs args{stride, padding, {}, dilation};
  Tensor grad_input = make_depthwise_grad_input(grad_output, weight, input_size, args, channels_last);
  const OnDeviceOf on(grad_output);
  const Tensor output = in_order_of(grad_output, grad_input);
  DeconvParams params = deconv_params(grad_input, output, weight.sizes().slice(2), args, replicate);
  if (sums_in_double(grad_output, params.height, params.width)) {
    return grad_input.copy_(backward_input_cuda(grad_output.to(at::kDouble), weight.to(at::kDouble),
                                                input_size, stride, padding, dilation, replicate,
                                                channels_last));
  }
  params.output = read_only(output);
  params.input = grad_input.mutable_data_ptr();
  const ReadWeight read(params, weight, grad_output.scalar_type());
  dispatch_floating("conv_transpose2d_backward", grad_output.scalar_type(), [&](auto scalar, auto) {
    check_launch(deconv_backward_input<storage_of<decltype(scalar)>>(params, read.in_acc(), on.device()));
  });
  return grad_input;
}

static Tensor backward_weight_cuda(const Tensor& grad_output, const Tensor& input, SymIntArrayRef kernel_size,
                                   SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation,
                                   bool replicate, optional<bool> channels_last) {
  const ConvTransposeArgs args{stride, padding, {}, dilation};
  Tensor grad_weight = make_depthwise_grad_weight(grad_output, input, kernel_size, args, channels_last);
  const OnDeviceOf on(grad_output);
  const Tensor output = in_order_of(grad_output, input);
  DeconvParams params = deconv_params(input, output, grad_weight.sizes().slice(2), args, replicate);
  params.output = read_only(output);
  params.input = read_only(input);
  params.weight = grad_weight.mutable_data_ptr();
  const Tensor partial = at::empty({deconv_weight_slices(params), grad_weight.numel()},
                                   grad_output.options().dtype(sum_type(grad_output.scalar_type())));
  dispatch_floating("conv_transpose2d_backward", grad_output.scalar_type(), [&](auto scalar, auto) {
    check_launch(deconv_backward_weight<storage_of<decltype(scalar)>>(params, partial.mutable_data_ptr(),
                                                                      on.device()));
  });
  return grad_weight;
}

static Tensor channel_sum_cuda(const Tensor& input) {
  Tensor output = make_channel_sum(input);
  const OnDeviceOf on(input);
  ChannelSumParams params{};
  params.input = input.const_data_ptr();
  params.output = output.mutable_data_ptr();
  params.batch = input.size(0);
  params.channels = input.size(1);
  params.height = input.size(2);
  params.width = input.size(3);
  params.in = strides_of(input);
  params.channels_last = params.channels > 1 && params.in.channel == 1;
  const Tensor partial = at::empty({channel_sum_slices(params), params.channels},
                                   input.options().dtype(sum_type(input.scalar_type())));
  dispatch_floating("channel_sum", input.scalar_type(), [&](auto scalar, auto) {
    check_launch(channel_sum<storage_of<decltype(scalar)>>(params, partial.mutable_data_ptr(), on.device()));
  });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) {
  m.impl("depthwise_conv_transpose2d", depthwise_cuda);
  m.impl("depthwise_conv_transpose2d_backward_input", backward_input_cuda);
  m.impl("depthwise_conv_transpose2d_backward_weight", backward_weight_cuda);
  m.impl("channel_sum", channel_sum_cuda);
}

}  // namespace gpu
}  // namespace upsample_ext
