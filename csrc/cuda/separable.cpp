// CUDA launchers of the separable transposed convolution: one kernel for all channels, ky x kx.
//
//   taps of an output, along each axis       kernel
//   two at most, neighbours, dilation 1      resize by two axes of two taps (the bilinear layer, any factor)
//   more                                     tables of rows of any length (resample_table.cuh)
//
// The kernels' values stay on the device.
#include <torch_headers.h>

#include "../ops/resample.h"
#include "deconv.h"
#include "kernels.h"
#include "resample_params.h"
#include "resample_table.h"

namespace upsample_ext {
namespace gpu {

using at::Tensor;
using c10::SymIntArrayRef;

// The values of both 1-D kernels, for either way.
struct SeparableKernel {
  Tensor height, width;

  SeparableKernel(const Tensor& kernel_h, const Tensor& kernel_w, at::ScalarType image)
      : height(kernel_h.to(sum_type(image)).contiguous()), width(kernel_w.to(sum_type(image)).contiguous()) {}

  bool has_two_taps(const DeconvParams& geometry) const {
    return TwoTapConvTransposeAxis<float>::fits(geometry.height) &&
           TwoTapConvTransposeAxis<float>::fits(geometry.width);
  }
  template <class acc>
  auto height_of(const DeconvParams& geometry) const {
    return TwoTapConvTransposeAxis<acc>(geometry.height, height.const_data_ptr<acc>());
  }
  template <class acc>
  auto width_of(const DeconvParams& geometry) const {
    return TwoTapConvTransposeAxis<acc>(geometry.width, width.const_data_ptr<acc>());
  }
  template <class acc>
  auto any_height_of(const DeconvParams& geometry) const {
    return FixedKernelAxis<acc>(geometry.height, height.const_data_ptr<acc>());
  }
  template <class acc>
  auto any_width_of(const DeconvParams& geometry) const {
    return FixedKernelAxis<acc>(geometry.width, width.const_data_ptr<acc>());
  }
};

static Tensor separable_cuda(const Tensor& input, const Tensor& kernel_h, const Tensor& kernel_w,
                             SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                             SymIntArrayRef dilation, bool replicate, bool) {
  Tensor output =
      make_separable_output(input, kernel_h, kernel_w, {stride, padding, output_padding, dilation});
  const OnDeviceOf on(input);
  const SeparableKernel kernel(kernel_h, kernel_w, input.scalar_type());
  DeconvParams params = deconv_params(input, output, {kernel_h.size(0), kernel_w.size(0)},
                                      {stride, padding, dilation, replicate});
  params.input = read_only(input);
  params.output = output.mutable_data_ptr();
  dispatch_floating("fixed_conv_transpose2d", input.scalar_type(), [&](auto scalar, auto sum) {
    typedef storage_of<decltype(scalar)> T;
    typedef decltype(sum) acc;
    if (kernel.has_two_taps(params)) {
      check_launch(resample<T>(
          forward_params<acc>(input, output, kernel.height_of<acc>(params), kernel.width_of<acc>(params)),
          on.device()));
    } else if (output.numel() > 0) {
      run_tables<decltype(scalar)>(
          input, output, table_of<acc>(kernel.any_height_of<acc>(params), output, on.device()),
          table_of<acc>(kernel.any_width_of<acc>(params), output, on.device()), on.device());
    }
  });
  return output;
}

static Tensor separable_backward_cuda(const Tensor& grad_output, const Tensor& kernel_h,
                                      const Tensor& kernel_w, SymIntArrayRef input_size,
                                      SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation,
                                      bool replicate, std::optional<bool> channels_last, bool) {
  Tensor grad_input = make_separable_grad_input(grad_output, kernel_h, kernel_w, input_size,
                                                {stride, padding, {}, dilation}, channels_last);
  const OnDeviceOf on(grad_output);
  const Tensor output = in_order_of(grad_output, grad_input);
  const SeparableKernel kernel(kernel_h, kernel_w, grad_output.scalar_type());
  DeconvParams params = deconv_params(grad_input, output, {kernel_h.size(0), kernel_w.size(0)},
                                      {stride, padding, dilation, replicate});
  params.output = read_only(output);
  params.input = grad_input.mutable_data_ptr();
  dispatch_floating("fixed_conv_transpose2d_backward", grad_output.scalar_type(), [&](auto scalar, auto sum) {
    typedef storage_of<decltype(scalar)> T;
    typedef decltype(sum) acc;
    if (kernel.has_two_taps(params)) {
      check_launch(
          resample_backward<T>(backward_params<acc>(grad_input, output, kernel.height_of<acc>(params),
                                                    kernel.width_of<acc>(params)),
                               on.device()));
    } else if (grad_input.numel() > 0) {
      run_tables<decltype(scalar)>(
          output, grad_input,
          transposed_table_of<acc>(kernel.any_height_of<acc>(params), grad_input, on.device()),
          transposed_table_of<acc>(kernel.any_width_of<acc>(params), grad_input, on.device()), on.device());
    }
  });
  return grad_input;
}

TORCH_LIBRARY_IMPL(upsample_ext, UPSAMPLE_CUDA_KEY, m) {
  m.impl("separable_conv_transpose2d", separable_cuda);
  m.impl("separable_conv_transpose2d_backward", separable_backward_cuda);
}

}  // namespace gpu
}  // namespace upsample_ext
