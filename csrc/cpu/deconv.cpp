// CPU launchers of the depthwise transposed convolution: tensors to parameter structs, threads, memory.
#include "../ops/deconv.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "copy_pixels.h"
#include "deconv.h"
#include "last_level_cache.h"
#include "levels.h"
#include "on_cpu.h"
#include "parallel.h"
#include "scratch.h"
#include "tensor_view.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

// Calls f with the kernels of the active level for `dtype`.
template <class F>
static void with_kernel(const char* op, at::ScalarType dtype, F&& f) {
  dispatch_floating(op, dtype,
                    [&](auto scalar, auto) { f(active_level().deconv.of(storage_of<decltype(scalar)>{})); });
}

// The geometry of a call and the strides of its three tensors; `input` and `output` are the images of the
// forward op. A kernel writes one of the three; the caller fills in the pointers, mutable for that one.
static DeconvParams params_of(DeconvPass pass, const Tensor& input, const Tensor& output,
                              const Tensor& weight, SymIntArrayRef stride, SymIntArrayRef padding,
                              SymIntArrayRef dilation, bool replicate) {
  DeconvParams params{};
  params.pass = pass;
  params.batch = input.size(0);
  params.channels = input.size(1);
  params.in = strides_of(input);
  params.out = strides_of(output);
  params.weight_channel = weight.stride(0);
  params.weight_height = weight.stride(2);
  params.weight_width = weight.stride(3);
  const auto axis = [&](int i) {
    return conv_transpose_axis(i, input.size(2 + i), output.size(2 + i), weight.size(2 + i),
                               {stride, padding, {}, dilation}, replicate);
  };
  params.height = axis(0);
  params.width = axis(1);
  params.channels_last = params.channels > 1 && params.in.channel == 1 && params.out.channel == 1;
  return params;
}

// grad_output in the order of the other image, as one that the kernels' fast loops read: of a sum's gradient,
// one number expanded, a copy is made, as natively.
static Tensor readable(const Tensor& grad_output, const Tensor& other) {
  const auto by_pixel = [](const Tensor& image) { return image.size(1) > 1 && image.stride(1) == 1; };
  const bool by_row = grad_output.stride(3) == 1 || grad_output.size(3) == 1;
  if (by_pixel(other) ? by_pixel(grad_output) : by_row) return grad_output;
  const Tensor image =
      at::empty(grad_output.sizes(), grad_output.options(),
                by_pixel(other) ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  copy_pixels(grad_output, image);
  return image;
}

static Tensor planes_like(const Tensor& image) { return at::empty(image.sizes(), image.options()); }

static Tensor in_planes(const Tensor& image) {
  const Tensor planes = planes_like(image);
  copy_pixels(image, planes);
  return planes;
}

static void* read_only(const Tensor& t) { return const_cast<void*>(t.const_data_ptr()); }

// The work of a plane, in elements: what is read or written, or what its multiply-adds, about one per source
// and tap, cost if they are what takes the time.
static int64_t plane_work(const DeconvParams& p) {
  constexpr int64_t kMultiplyAddsPerElement = 8;
  const int64_t input = p.height.in_size * p.width.in_size;
  const int64_t multiply_adds = input * p.height.kernel_size * p.width.kernel_size;
  return std::max({input, p.height.out_size() * p.width.out_size(), multiply_adds / kMultiplyAddsPerElement});
}

// Plans, and calls each(begin, end, scratch) for parts of what `units` counts, on all threads.
template <class Kernel, class F>
static void run_units(const Kernel& kernel, DeconvParams& params, int64_t units, F&& each) {
  ScratchBuffer<4096> plan(kernel.plan_bytes(params));
  kernel.build_plan(params, plan.data());
  params.plan = plan.data();
  const int64_t scratch_bytes = kernel.scratch_bytes(params);
  const int64_t work = params.batch * params.channels * plane_work(params);
  parallel_for(0, units, grain_of(units, std::max<int64_t>(1, work)), [&](int64_t begin, int64_t end) {
    ScratchBuffer<16384> scratch(scratch_bytes);
    each(begin, end, scratch.data());
  });
}

template <class Kernel>
static void run(const Kernel& kernel, DeconvParams& params) {
  run_units(kernel, params, kernel.rows(params),
            [&](int64_t begin, int64_t end, void* scratch) { kernel.run(params, begin, end, scratch); });
}

// ---- pixels of a few channels ---------------------------------------------------------------------------
//
// They fill no vector, and are turned into planes: of the larger image, which is read or written in the order
// of pixels, a band of rows at a time, which stays in cache.

static bool has_small_pixels(const DeconvParams& p) {
  const int64_t most = p.pass == DeconvPass::kForward ? 8 : 6;
  return p.channels_last && p.channels <= most;
}

struct RowRange {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
};

// The rows of the larger image that are written, or read, for rows `of` of the one that a pass writes.
static RowRange rows_of_larger(const DeconvParams& p, RowRange of) {
  if (p.pass == DeconvPass::kForward) return of;
  const ConvTransposeAxis& height = p.height;
  const int64_t out_size = height.out_size();
  const int64_t first = of.begin == 0 ? 0 : height.target(of.begin, 0);
  const int64_t last =
      of.end == height.in_size ? out_size - 1 : height.target(of.end - 1, height.kernel_size - 1);
  const int64_t begin = std::clamp<int64_t>(first, 0, out_size - 1);
  return {begin, std::clamp<int64_t>(last, begin, out_size - 1) + 1};
}

static DeconvParams of_planes(DeconvParams params) {
  params.channels_last = false;
  params.stream = false;
  return params;
}

// A window slides over an image in any order.
template <class Kernel>
static bool goes_in_bands(const Kernel& kernel, const DeconvParams& params) {
  return kernel.choose(of_planes(params)) != DeconvLoops::kSliding;
}

// The forward pass or the input's gradient, of which the smaller image is in planes and `larger` is not.
template <class Kernel>
static void run_in_bands(const Kernel& kernel, DeconvParams params, const Tensor& larger) {
  constexpr int64_t kBandBytes = 128 << 10;
  const bool forward = params.pass == DeconvPass::kForward;
  const int64_t height = forward ? params.height.out_size() : params.height.in_size;
  const int64_t width = larger.size(3), size = larger.element_size(),
                row_bytes = params.channels * width * size;
  // Whole strides of the larger image's rows: those of a stride may be computed together.
  const int64_t stride =
      std::min(params.height.stride, params.height.out_size());  // of one sample it is any number
  const int64_t strides = std::max<int64_t>(1, kBandBytes / (row_bytes * stride));
  const int64_t rows = std::min(height, forward ? strides * stride : strides);
  const int64_t bands = (height + rows - 1) / rows;
  const auto rows_of_band = [&](int64_t b) { return RowRange{b * rows, std::min((b + 1) * rows, height)}; };
  int64_t most = 0;
  for (int64_t b = 0; b < bands; ++b) most = std::max(most, rows_of_larger(params, rows_of_band(b)).count());

  const Strides pixel_strides = strides_of(larger), plane_strides{0, most * width, width, 1};
  const bool streams = forward && params.stream;
  params = of_planes(params);
  params.out = plane_strides;
  char* const pixels = static_cast<char*>(params.output);
  run_units(kernel, params, params.batch * bands, [&](int64_t begin, int64_t end, void* scratch) {
    ScratchBuffer<64> planes(most * row_bytes);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / bands;
      const RowRange band = rows_of_band(i % bands), copied = rows_of_larger(params, band);
      char* rows_of_pixels = pixels + (n * pixel_strides.batch + copied.begin * pixel_strides.height) * size;
      const auto copy = [&](const void* from, const Strides& from_strides, void* to,
                            const Strides& to_strides) {
        active_level().copy(
            {from, to, params.channels, copied.count(), width, from_strides, to_strides, nullptr}, size,
            streams);
      };
      DeconvParams of_band = params;
      of_band.output = before_first_row(planes.data(), copied.begin, width * size);
      if (!forward) copy(rows_of_pixels, pixel_strides, planes.data(), plane_strides);
      for (int64_t c = 0; c < params.channels; ++c) {
        const int64_t plane = (n * params.channels + c) * height;
        kernel.run(of_band, plane + band.begin, plane + band.end, scratch);
      }
      if (forward) copy(planes.data(), plane_strides, rows_of_pixels, pixel_strides);
    }
  });
}

void depthwise_into(const Tensor& input, const Tensor& weight, const optional<Tensor>& bias,
                    SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation, bool replicate,
                    const Tensor& output) {
  const auto params_with = [&](const Tensor& image, const Tensor& result) {
    DeconvParams params =
        params_of(DeconvPass::kForward, image, result, weight, stride, padding, dilation, replicate);
    params.input = read_only(image);
    params.weight = read_only(weight);
    params.output = result.mutable_data_ptr();
    params.stream = exceeds_cache(result);
    if (bias.has_value() && bias->defined()) {
      params.bias = bias->const_data_ptr();
      params.bias_stride = bias->stride(0);
    }
    return params;
  };
  with_kernel("conv_transpose2d", input.scalar_type(), [&](const auto& kernel) {
    DeconvParams params = params_with(input, output);
    if (!has_small_pixels(params)) return run(kernel, params);
    const Tensor planes = in_planes(input);
    params = params_with(planes, output);
    if (goes_in_bands(kernel, params)) return run_in_bands(kernel, params, output);
    const Tensor result = planes_like(output);
    params = params_with(planes, result);
    params.stream = false;
    run(kernel, params);
    copy_pixels(result, output);
  });
}

static Tensor depthwise_cpu(const Tensor& input, const Tensor& weight, const optional<Tensor>& bias,
                            SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                            SymIntArrayRef dilation, bool replicate) {
  Tensor output = make_depthwise_output(input, weight, bias, {stride, padding, output_padding, dilation});
  if (output.numel() == 0) return output;
  depthwise_into(input, weight, bias, stride, padding, dilation, replicate, output);
  return output;
}

static Tensor backward_input_cpu(const Tensor& grad_output, const Tensor& weight, SymIntArrayRef input_size,
                                 SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation,
                                 bool replicate, optional<bool> channels_last) {
  Tensor grad_input = make_depthwise_grad_input(grad_output, weight, input_size,
                                                {stride, padding, {}, dilation}, channels_last);
  if (grad_input.numel() == 0) return grad_input;
  Tensor result = grad_input;
  const auto params_with = [&](const Tensor& output) {
    return params_of(DeconvPass::kBackwardInput, result, output, weight, stride, padding, dilation,
                     replicate);
  };
  DeconvParams geometry = params_with(grad_output);
  if (sums_in_double(grad_output, geometry.height, geometry.width)) {
    return grad_input.copy_(backward_input_cpu(grad_output.to(at::kDouble), weight.to(at::kDouble),
                                               input_size, stride, padding, dilation, replicate,
                                               channels_last));
  }
  const bool small_pixels = has_small_pixels(geometry);
  if (small_pixels) {
    result = planes_like(grad_input);
    geometry = params_with(grad_output);
  }
  with_kernel("conv_transpose2d_backward", grad_output.scalar_type(), [&](const auto& kernel) {
    DeconvParams params = geometry;
    Tensor output = grad_output;
    if (small_pixels && goes_in_bands(kernel, params)) {
      params.output = read_only(grad_output);
      params.weight = read_only(weight);
      params.input = result.mutable_data_ptr();
      return run_in_bands(kernel, params, grad_output);
    }
    if (kernel.choose(params) != DeconvLoops::kSliding) {
      output = readable(grad_output, result);
      params = params_with(output);
    }
    params.output = read_only(output);
    params.weight = read_only(weight);
    params.input = result.mutable_data_ptr();
    run(kernel, params);
  });
  if (!result.is_same(grad_input)) copy_pixels(result, grad_input);
  return grad_input;
}

static Tensor backward_weight_cpu(const Tensor& grad_output, const Tensor& input, SymIntArrayRef kernel_size,
                                  SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef dilation,
                                  bool replicate, optional<bool> channels_last) {
  Tensor grad_weight = make_depthwise_grad_weight(grad_output, input, kernel_size,
                                                  {stride, padding, {}, dilation}, channels_last);
  if (input.numel() == 0) return grad_weight.zero_();
  Tensor image = input, output = readable(grad_output, input);
  const auto params_of_images = [&] {
    return params_of(DeconvPass::kBackwardWeight, image, output, grad_weight, stride, padding, dilation,
                     replicate);
  };
  if (has_small_pixels(params_of_images())) {
    image = in_planes(input);
    output = readable(grad_output, image);
  }
  DeconvParams params = params_of_images();
  params.output = read_only(output);
  params.input = read_only(image);
  params.weight = grad_weight.mutable_data_ptr();
  with_kernel("conv_transpose2d_backward", grad_output.scalar_type(),
              [&](const auto& kernel) { run(kernel, params); });
  return grad_weight;
}

static Tensor channel_sum_cpu(const Tensor& input) {
  Tensor output = make_channel_sum(input);
  ChannelSumParams params{};
  params.input = input.const_data_ptr();
  params.output = output.mutable_data_ptr();
  params.batch = input.size(0);
  params.channels = input.size(1);
  params.height = input.size(2);
  params.width = input.size(3);
  params.in = strides_of(input);
  params.channels_last = params.channels > 1 && params.in.channel == 1;
  with_kernel("channel_sum", input.scalar_type(), [&](const auto& kernel) {
    const int64_t rows = kernel.channel_sum_rows(params);
    parallel_for(0, rows, grain_of(rows, input.numel()),
                 [&](int64_t begin, int64_t end) { kernel.channel_sum(params, begin, end); });
  });
  return output;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) {
  m.impl("depthwise_conv_transpose2d", on_cpu<depthwise_cpu>);
  m.impl("depthwise_conv_transpose2d_backward_input", on_cpu<backward_input_cpu>);
  m.impl("depthwise_conv_transpose2d_backward_weight", on_cpu<backward_weight_cpu>);
  m.impl("channel_sum", on_cpu<channel_sum_cpu>);
}

}  // namespace upsample_ext
