// CPU launchers of the resample family: tensors to parameter structs, tables, threads, memory.
#include "../ops/resample.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include "../geometry/axis_table.h"
#include "../ops/typed_ops.h"
#include "last_level_cache.h"
#include "levels.h"
#include "tensor_params.h"
#include "work_memory.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

// The kernel of a scalar type at the level in use.
static const ResampleKernel<double>& kernel_of(const LevelKernels& level, double) {
  return level.resample_f64;
}
static const ResampleKernel<float>& kernel_of(const LevelKernels& level, float) { return level.resample_f32; }
static const ResampleKernel<float>& kernel_of(const LevelKernels& level, at::Half) {
  return level.resample_f16;
}
static const ResampleKernel<float>& kernel_of(const LevelKernels& level, at::BFloat16) {
  return level.resample_bf16;
}
static const ResampleKernel<float>& kernel_of(const LevelKernels& level, uint8_t) {
  return level.resample_u8;
}

// About as many output elements as are worth a thread's waking.
constexpr int64_t kGrain = 16384;

// Whether the pixels of a row follow each other without a gap.
static bool dense_pixels(const Tensor& image) {
  return image.size(3) == 1 || image.stride(3) == image.size(1);
}

// output = A_h input A_w^T. Both images may have any strides; a stride of a size-1 dimension is never used.
template <class scalar_t, class acc>
static void resample(const Tensor& input, const Tensor& output, const AxisTable<acc>& height,
                     const AxisTable<acc>& width, const AxisTaps<acc>& height_forward = {}) {
  const ResampleKernel<acc>& kernel = kernel_of(active_level(), scalar_t{});
  ResampleParams<acc> params{};
  params.input = input.const_data_ptr();
  params.output = output.mutable_data_ptr();
  params.batch = input.size(0);
  params.channels = input.size(1);
  params.in = strides_of(input);
  params.out = strides_of(output);
  params.height = height.taps();
  params.width = width.taps();
  params.height_forward = height_forward;
  params.stream = output.numel() * output.element_size() > last_level_cache_bytes();
  params.channels_last = params.channels > 1 && params.in.channel == 1 && params.out.channel == 1;
  optional<AxisTable<acc>> interleaved;
  // Few channels are taken as one row of interleaved samples, unless the pixels that are read lie far apart.
  const bool far_apart = params.channels <= 4 && input.size(3) > 3 * output.size(3);
  if (params.channels_last && params.channels < kernel.lanes && !far_apart && dense_pixels(input) &&
      dense_pixels(output)) {
    interleaved = width.interleaved(params.channels);
    params.width = interleaved->taps();
    params.channels = 1;
    params.in.width = params.out.width = 1;
    params.channels_last = false;
  }

  WorkMemory<4096> plan(kernel.plan_bytes(params));
  kernel.build_plan(params, plan.data());
  params.plan = plan.data();
  const int64_t scratch_bytes = kernel.scratch_bytes(params);
  const int64_t row_elements = params.width.out_size * (params.channels_last ? params.channels : 1);
  at::parallel_for(0, params.rows(), std::max<int64_t>(1, kGrain / row_elements),
                   [&](int64_t begin, int64_t end) {
                     WorkMemory<16384> scratch(scratch_bytes);
                     kernel.rows(params, begin, end, scratch.data());
                   });
}

template <class F>
static void dispatch_dtype(const char* op, at::ScalarType dtype, bool with_byte, F&& f) {
  switch (dtype) {
    case at::kDouble:
      return f(double{}, double{});
    case at::kFloat:
      return f(float{}, float{});
    case at::kHalf:
      return f(at::Half{}, float{});
    case at::kBFloat16:
      return f(at::BFloat16{}, float{});
    case at::kByte:
      if (with_byte) return f(uint8_t{}, float{});
      [[fallthrough]];
    default:
      TORCH_CHECK_NOT_IMPLEMENTED(false, "\"", op, "\" not implemented for '", at::toString(dtype), "'");
  }
}

// ---- bilinear resize ------------------------------------------------------------------------------------

static void upsample_into(const Tensor& input, const Tensor& output, bool align_corners,
                          optional<double> scale_h, optional<double> scale_w) {
  dispatch_dtype("upsample_bilinear2d", input.scalar_type(), true, [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    const auto height =
        AxisTable<acc>::linear(input.size(2), output.size(2), align_corners, scale_h.value_or(0.0));
    const auto width =
        AxisTable<acc>::linear(input.size(3), output.size(3), align_corners, scale_w.value_or(0.0));
    resample<decltype(scalar)>(input, output, height, width);
  });
}

static Tensor upsample_cpu(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                           optional<double> scale_h, optional<double> scale_w) {
  Tensor output = fresh(make_upsample_output(input, output_size));
  upsample_into(input, output, align_corners, scale_h, scale_w);
  return output;
}

static void upsample_out_cpu(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                             optional<double> scale_h, optional<double> scale_w, Tensor& out) {
  prepare_upsample_out(input, output_size, out);
  if (may_share_elements(out, input)) {
    out.copy_(upsample_cpu(input, output_size, align_corners, scale_h, scale_w));
  } else {
    upsample_into(input, out, align_corners, scale_h, scale_w);
  }
}

static Tensor upsample_backward_cpu(const Tensor& grad_output, SymIntArrayRef input_size, bool align_corners,
                                    optional<double> scale_h, optional<double> scale_w) {
  Tensor grad_input = fresh(make_upsample_grad_input(grad_output, input_size));
  dispatch_dtype("upsample_bilinear2d_backward", grad_output.scalar_type(), false,
                 [&](auto scalar, auto sum) {
                   using acc = decltype(sum);
                   const auto height = AxisTable<acc>::linear(grad_input.size(2), grad_output.size(2),
                                                              align_corners, scale_h.value_or(0.0));
                   const auto width = AxisTable<acc>::linear(grad_input.size(3), grad_output.size(3),
                                                             align_corners, scale_w.value_or(0.0));
                   resample<decltype(scalar)>(grad_output, grad_input, height.transposed(),
                                              width.transposed(), height.taps());
                 });
  return grad_input;
}

// ---- separable transposed convolution -------------------------------------------------------------------

template <class acc>
static AxisTable<acc> conv_transpose_table(const Tensor& kernel, int64_t in_size, int axis,
                                           SymIntArrayRef stride, SymIntArrayRef padding,
                                           int64_t output_padding, SymIntArrayRef dilation, bool replicate) {
  const Tensor values = kernel.to(c10::CppTypeToScalarType<acc>::value).contiguous();
  const ConvTransposeAxis geometry{in_size,
                                   values.size(0),
                                   stride[axis].expect_int(),
                                   padding[axis].expect_int(),
                                   output_padding,
                                   dilation[axis].expect_int(),
                                   replicate};
  return AxisTable<acc>::conv_transpose(geometry, values.template const_data_ptr<acc>());
}

static Tensor separable_cpu(const Tensor& input, const Tensor& kernel_h, const Tensor& kernel_w,
                            SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                            SymIntArrayRef dilation, bool replicate) {
  Tensor output =
      fresh(make_separable_output(input, kernel_h, kernel_w, {stride, padding, output_padding, dilation}));
  dispatch_dtype("fixed_conv_transpose2d", input.scalar_type(), false, [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    const auto height = conv_transpose_table<acc>(kernel_h, input.size(2), 0, stride, padding,
                                                  output_padding[0].expect_int(), dilation, replicate);
    const auto width = conv_transpose_table<acc>(kernel_w, input.size(3), 1, stride, padding,
                                                 output_padding[1].expect_int(), dilation, replicate);
    resample<decltype(scalar)>(input, output, height, width);
  });
  return output;
}

static Tensor separable_backward_cpu(const Tensor& grad_output, const Tensor& kernel_h,
                                     const Tensor& kernel_w, SymIntArrayRef input_size, SymIntArrayRef stride,
                                     SymIntArrayRef padding, SymIntArrayRef dilation, bool replicate) {
  const ConvTransposeArgs args{stride, padding, {}, dilation};
  Tensor grad_input = fresh(make_separable_grad_input(grad_output, kernel_h, kernel_w, input_size, args));
  dispatch_dtype(
      "fixed_conv_transpose2d_backward", grad_output.scalar_type(), false, [&](auto scalar, auto sum) {
        using acc = decltype(sum);
        const auto forward = [&](const Tensor& kernel, int axis) {
          const char* op = "fixed_conv_transpose2d_backward";
          const int64_t least =
              conv_transpose_extent(op, input_size[axis], kernel.size(0), args, axis).expect_int();
          return conv_transpose_table<acc>(kernel, grad_input.size(2 + axis), axis, stride, padding,
                                           grad_output.size(2 + axis) - least, dilation, replicate);
        };
        const auto height = forward(kernel_h, 0), width = forward(kernel_w, 1);
        resample<decltype(scalar)>(grad_output, grad_input, height.transposed(), width.transposed(),
                                   height.taps());
      });
  return grad_input;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) {
  m.impl("upsample_bilinear2d", upsample_cpu);
  m.impl("upsample_bilinear2d.out", upsample_out_cpu);
  m.impl("upsample_bilinear2d_backward", upsample_backward_cpu);
  m.impl("separable_conv_transpose2d", separable_cpu);
  m.impl("separable_conv_transpose2d_backward", separable_backward_cpu);
}

}  // namespace upsample_ext
