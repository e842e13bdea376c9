// CPU launchers of the resample family: tensors to parameter structs, tables, threads, memory.
#include "../ops/resample.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../geometry/nearest_axis.h"
#include "../ops/op_handles.h"
#include "../ops/resample_modes.h"
#include "copy_pixels.h"
#include "deconv.h"
#include "pick_pixels.h"
#include "run_resample.h"

namespace upsample_ext {

using at::Tensor;
using c10::SymIntArrayRef;
using std::optional;

template <class scalar_t, class acc>
static void resample(const Tensor& input, const Tensor& output, const AxisOfCall<acc>& height,
                     const AxisOfCall<acc>& width, bool stream, const AxisTaps<acc>& height_forward = {}) {
  ResampleParams<acc> params{};
  params.stream = stream;
  params.height_forward = height_forward;
  run_resample(active_level().resample.of(storage_of<scalar_t>{}), input, output, height, width, params);
}

// ---- bilinear resize ------------------------------------------------------------------------------------

static AxisSpec linear_spec(int64_t in_size, int64_t out_size, bool align_corners, optional<double> scale,
                            NativeRules rules) {
  return {Mode::kLinear, false, in_size, out_size, align_corners, scale.value_or(0.0), rules};
}

// A few long lines, or columns, without a table; false if they are not of that kind.
static bool interpolate_lines(const Tensor& input, const Tensor& output, const AxisSpec& height,
                              const AxisSpec& width) {
  constexpr int64_t kLong = 1 << 14, kFew = 8;
  if (input.size(3) == 1 && output.size(3) == 1 && output.size(2) > 1) {
    return interpolate_lines(input.transpose(2, 3), output.transpose(2, 3), width, height);
  }
  const int64_t lines = input.size(0) * input.size(1), samples = input.size(3), outputs = output.size(3);
  const bool fits = at::isFloatingType(input.scalar_type()) && input.size(2) == 1 && output.size(2) == 1 &&
                    lines < kFew && outputs >= kLong && samples >= kLeastLine &&
                    std::max(samples, outputs) < kFar && input.stride(3) == 1 && output.stride(3) == 1;
  if (!fits) return false;
  bool done = false;
  dispatch_floating("upsample_bilinear2d", input.scalar_type(), [&](auto scalar, auto) {
    const auto kernel = active_level().line.of(storage_of<decltype(scalar)>{});
    if (!kernel.outputs) return;
    constexpr int64_t kPart = 1 << 12;
    const int64_t parts = (outputs + kPart - 1) / kPart, size = input.element_size();
    const LinearAxis<float> axis(samples, outputs, width.align_corners, width.scale, width.rules);
    parallel_for(0, lines * parts, grain_of(lines * parts, lines * outputs), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / parts / input.size(1), c = i / parts % input.size(1), first = i % parts * kPart;
        const auto offset = [&](const Tensor& image) {
          return (n * image.stride(0) + c * image.stride(1)) * size;
        };
        const LineParams line{static_cast<const char*>(input.const_data_ptr()) + offset(input),
                              static_cast<char*>(output.mutable_data_ptr()) + offset(output), axis,
                              height.mode == Mode::kLinear};
        kernel.outputs(line, first, std::min(first + kPart, outputs));
      }
    });
    done = true;
  });
  return done;
}

void upsample_into(const Tensor& input, const Tensor& output, bool align_corners, optional<double> scale_h,
                   optional<double> scale_w, bool stream) {
  if (output.numel() == 0) return;  // tables need sizes above 0
  if (input.size(2) == output.size(2) && input.size(3) == output.size(3)) {
    return resize_to_same_size(input, output, stream);
  }
  const auto spec = [&](int64_t d, optional<double> scale) {
    return linear_spec(input.size(d), output.size(d), align_corners, scale, NativeRules::kCpu);
  };
  if (interpolate_lines(input, output, spec(2, scale_h), spec(3, scale_w))) return;
  dispatch_floating_or_byte("upsample_bilinear2d", input.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    constexpr bool kBytes = std::is_same_v<decltype(scalar), uint8_t>;
    const NativeRules rules = kBytes ? NativeRules::kCpuBytes : NativeRules::kCpu;
    const auto axis = [&](int64_t d, optional<double> scale) {
      return AxisOfCall<acc>::of(linear_spec(input.size(d), output.size(d), align_corners, scale, rules));
    };
    const auto height = axis(2, scale_h), width = axis(3, scale_w);
    resample<decltype(scalar)>(input, output, height, width, stream);
  });
}

static Tensor upsample_cpu(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                           optional<double> scale_h, optional<double> scale_w) {
  Tensor output = fresh(make_upsample_output(input, output_size));
  upsample_into(input, output, align_corners, scale_h, scale_w, exceeds_cache(output));
  return output;
}

static void upsample_out_cpu(const Tensor& input, SymIntArrayRef output_size, bool align_corners,
                             optional<double> scale_h, optional<double> scale_w, Tensor& out) {
  prepare_upsample_out(input, output_size, out);
  if (may_share_elements(out, input)) {
    out.copy_(upsample_cpu(input, output_size, align_corners, scale_h, scale_w));
  } else {
    upsample_into(input, out, align_corners, scale_h, scale_w, exceeds_cache(out));
  }
}

static Tensor upsample_backward_cpu(const Tensor& grad_output, SymIntArrayRef input_size, bool align_corners,
                                    optional<double> scale_h, optional<double> scale_w) {
  Tensor grad_input = fresh(make_upsample_grad_input(grad_output, input_size));
  if (grad_input.numel() == 0) return grad_input;
  if (grad_input.sizes() == grad_output.sizes()) {
    resize_to_same_size(grad_output, grad_input, exceeds_cache(grad_input));
    return grad_input;
  }
  dispatch_floating("upsample_bilinear2d_backward", grad_output.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    const auto spec = [&](int64_t d, optional<double> scale) {
      return linear_spec(grad_input.size(d), grad_output.size(d), align_corners, scale, NativeRules::kCpu);
    };
    const auto height = AxisOfCall<acc>::of(spec(2, scale_h));
    resample<decltype(scalar)>(grad_output, grad_input, height.transposed(),
                               AxisOfCall<acc>::transposed_of(spec(3, scale_w)), exceeds_cache(grad_input),
                               height.taps());
  });
  return grad_input;
}

// ---- resize in any mode and rank --------------------------------------------------------------------------

// The table of an image's rows, see resample_modes.h.
template <class acc>
static AxisOfCall<acc> rows_table(const AxisSpec& depth, const AxisSpec& height) {
  auto rows = AxisOfCall<acc>::of(height);
  if (depth.mode == Mode::kCopy) return rows;
  return AxisTable<acc>::product(AxisOfCall<acc>::of(depth).table(), rows.table());
}

// Nearest, of any dtype. Of a volume whose rows are not evenly spaced, such as a crop, slice by slice: as
// planes it would be copied whole.
template <class acc>
static void pick(const Tensor& input, const Tensor& output, const std::array<AxisSpec, 3>& specs) {
  const auto width = AxisOfCall<acc>::of(specs[2]);
  if (!planes_are_a_view(input)) {
    const auto depth = AxisOfCall<acc>::of(specs[0]), height = AxisOfCall<acc>::of(specs[1]);
    for (int64_t d = 0; d < output.size(2); ++d) {
      pick_pixels(input.select(2, depth.taps().index[d]), output.select(2, d), height.taps().index,
                  width.taps().index, exceeds_cache(output));
    }
    return;
  }
  const auto rows = rows_table<acc>(specs[0], specs[1]);
  pick_pixels(as_planes(input), as_planes(output), rows.taps().index, width.taps().index,
              exceeds_cache(output));
}

// Bytes by filters, rounded between the passes, in one go; false if the kernel does not take such images.
static bool filter_bytes(const Tensor& input, const Tensor& output, const AxisSpec& height,
                         const AxisSpec& width) {
  const auto& kernel = active_level().resample.u8;
  const int64_t channels = input.size(1);
  const auto by_pixel = [&](const Tensor& image) { return channels > 1 && image.stride(1) == 1; };
  const bool pixels = by_pixel(input) || by_pixel(output);
  if (!kernel.rounds_between || (pixels && channels > kFewChannels)) return false;
  // A few long lines of pixels as planes: a table of all their values would cost more than the lines.
  constexpr int64_t kLong = 1 << 14, kFew = 8;
  const int64_t length = std::max(output.size(2), output.size(3));
  if (pixels && length > kLong && output.numel() < kFew * channels * length) {
    const Tensor from = at::empty(input.sizes(), input.options()),
                 to = at::empty(output.sizes(), output.options());
    copy_pixels(input, from);
    filter_bytes(from, to, height, width);
    copy_pixels(to, output);
    return true;
  }
  // Pixels with gaps between them, such as three of four channels, are none that the kernel takes as they
  // are.
  const int64_t along = input.size(3) == 1 && output.size(3) == 1 ? 2 : 3;
  Tensor source = input;
  if (by_pixel(input) && by_pixel(output) && input.size(along) > 1 && input.stride(along) != channels) {
    source = at::empty(input.sizes(), input.options(), at::MemoryFormat::ChannelsLast);
    copy_pixels(input, source);
  }
  ResampleParams<float> params{};
  params.stream = exceeds_cache(output);
  params.rounds_between = true;
  run_resample(kernel, source, output, AxisOfCall<float>::of(height), AxisOfCall<float>::of(width), params);
  return true;
}

// The same of any bytes, in two passes over memory.
static void filter_bytes_twice(const Tensor& input, const Tensor& output, const AxisSpec& height,
                               const AxisSpec& width) {
  const bool keeps_width = width.in_size == width.out_size;
  Tensor wide = input;
  if (!keeps_width) {
    wide = height.in_size == height.out_size
               ? output
               : at::empty({input.size(0), input.size(1), height.in_size, width.out_size}, input.options(),
                           output.suggest_memory_format());
    resample<uint8_t>(input, wide, AxisOfCall<float>::of(copied_axis(height.in_size)),
                      AxisOfCall<float>::of(width), false);
  }
  if (wide.is_same(output)) return;
  resample<uint8_t>(wide, output, AxisOfCall<float>::of(height),
                    AxisOfCall<float>::of(copied_axis(width.out_size)), exceeds_cache(output));
}

// Of planes, or of one slice of a volume after the other where the rows are not evenly spaced.
template <class Copy>
static void copy_slices(const Tensor& from, const Tensor& to, Copy copy) {
  if (planes_are_a_view(from)) return copy(as_planes(from), as_planes(to));
  for (int64_t d = 0; d < to.size(2); ++d) copy(from.select(2, d), to.select(2, d));
}

// A resize to the same size, or its gradient, where that is a copy: true if it was one. Of floating images it
// is none where a tap of weight 0 turns an infinity into NaN, but linearly that tap reads the same sample,
// and natively the gradient of bicubic is a copy though its result is none.
static bool copied(const ResampleSettings& settings, const Tensor& from, const Tensor& to, bool is_gradient) {
  if (from.sizes() != to.sizes()) return false;
  const Mode mode = settings.mode->mode;
  const bool bytes = from.scalar_type() == at::kByte;
  const bool by_size = std::all_of(settings.scales.begin(), settings.scales.end(),
                                   [](double scale) { return scale == 0.0 || scale == 1.0; });
  const at::IntArrayRef extents = from.sizes().slice(2);
  const bool exact =
      std::all_of(extents.begin(), extents.end(), [](int64_t n) { return n <= kMostExactCentres; });
  if (settings.antialias || mode == Mode::kArea || mode == Mode::kNearest ||
      (by_size && bytes && mode != Mode::kNearestExact) ||
      (by_size && exact && mode == Mode::kNearestExact) || (is_gradient && mode == Mode::kCubic)) {
    copy_slices(from, to, [&](const Tensor& slice, const Tensor& result) {
      copy_pixels(slice, result, exceeds_cache(to));
    });
  } else if (mode == Mode::kLinear && !bytes) {
    copy_slices(from, to, [&](const Tensor& slice, const Tensor& result) {
      resize_to_same_size(slice, result, exceeds_cache(to));
    });
  } else {
    return false;
  }
  return true;
}

static Tensor resample_cpu(const Tensor& input, SymIntArrayRef output_size, string_view mode, bool antialias,
                           bool align_corners, OptionalScales scale_factors) {
  const ResampleSettings settings("resample", input.dim() - 2, mode, antialias, align_corners, scale_factors);
  Tensor output = fresh(make_resampled(input, output_size, settings));
  if (output.numel() == 0) return output;
  const at::ScalarType dtype = input.scalar_type();
  const bool bytes = dtype == at::kByte;
  if (copied(settings, input, output, /*is_gradient=*/false)) return output;
  const auto specs = settings.specs(input, output, bytes ? NativeRules::kCpuBytes : NativeRules::kCpu);
  if (settings.mode->picks()) {
    dtype == at::kDouble ? pick<double>(input, output, specs) : pick<float>(input, output, specs);
    return output;
  }
  if (bytes && !settings.mode->is_bilinear(antialias)) {
    const auto kept = [](const AxisSpec& spec) {
      return spec.in_size == spec.out_size ? copied_axis(spec.in_size) : spec;
    };
    const AxisSpec height = kept(specs[1]), width = kept(specs[2]);
    if (!filter_bytes(input, output, height, width)) filter_bytes_twice(input, output, height, width);
    return output;
  }
  if (settings.mode->mode == Mode::kLinear && !antialias && specs[0].mode == Mode::kCopy &&
      planes_are_a_view(input) &&
      interpolate_lines(as_planes(input), as_planes(output), specs[1], specs[2])) {
    return output;
  }
  dispatch_floating_or_byte("resample", dtype, [&](auto scalar, auto sum) {
    const auto rows = rows_table<decltype(sum)>(specs[0], specs[1]);
    const auto width = AxisOfCall<decltype(sum)>::of(specs[2]);
    resample<decltype(scalar)>(as_planes(input), as_planes(output), rows, width, exceeds_cache(output));
  });
  return output;
}

void resize_plane_into(const Tensor& input, const Tensor& output, const ResampleSettings& settings,
                       bool stream) {
  if (output.numel() == 0) return;
  if (settings.is_bilinear()) {
    return upsample_into(input, output, settings.align_corners, settings.scale_or_none(1),
                         settings.scale_or_none(2), stream);
  }
  const at::ScalarType dtype = input.scalar_type();
  const bool picks = settings.mode->picks() && can_pick_into(output);
  if (!picks && !at::isFloatingType(dtype)) {
    const c10::SymInt size[] = {output.size(2), output.size(3)};
    output.copy_(resize_plane(input, size, settings));
    return;
  }
  const auto specs = settings.specs(input, output, NativeRules::kCpu);
  if (picks) {
    return dtype == at::kDouble ? pick<double>(input, output, specs) : pick<float>(input, output, specs);
  }
  dispatch_floating("resample", dtype, [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    resample<decltype(scalar)>(input, output, AxisOfCall<acc>::of(specs[1]), AxisOfCall<acc>::of(specs[2]),
                               stream);
  });
}

static Tensor resample_backward_cpu(const Tensor& grad_output, SymIntArrayRef input_size, string_view mode,
                                    bool antialias, bool align_corners, OptionalScales scale_factors) {
  const ResampleSettings settings("resample_backward", grad_output.dim() - 2, mode, antialias, align_corners,
                                  scale_factors);
  Tensor grad_input = fresh(make_resampled_grad_input(grad_output, input_size, settings));
  if (grad_input.numel() == 0) return grad_input;
  if (copied(settings, grad_output, grad_input, /*is_gradient=*/true)) return grad_input;
  const auto specs = settings.specs(grad_input, grad_output, NativeRules::kCpu);
  dispatch_floating("resample_backward", grad_output.scalar_type(), [&](auto scalar, auto sum) {
    const auto rows = rows_table<decltype(sum)>(specs[0], specs[1]);
    const auto width = AxisOfCall<decltype(sum)>::of(specs[2]);
    resample<decltype(scalar)>(as_planes(grad_output), as_planes(grad_input), rows.transposed(),
                               width.transposed(), exceeds_cache(grad_input), rows.taps());
  });
  return grad_input;
}

// ---- separable transposed convolution -------------------------------------------------------------------

static Deconv separable_geometry(const Tensor& input, const Tensor& output, const Tensor& kernel_h,
                                 const Tensor& kernel_w, const ConvTransposeArgs& args, bool replicate) {
  Deconv geometry{};
  geometry.batch = input.size(0);
  geometry.channels = input.size(1);
  geometry.in = strides_of(input);
  geometry.out = strides_of(output);
  geometry.height = conv_transpose_axis(0, input.size(2), output.size(2), kernel_h.size(0), args, replicate);
  geometry.width = conv_transpose_axis(1, input.size(3), output.size(3), kernel_w.size(0), args, replicate);
  return geometry;
}

template <class acc>
static AxisOfCall<acc> conv_transpose_table(const Tensor& kernel, const ConvTransposeAxis& axis) {
  const Tensor values = kernel.to(c10::CppTypeToScalarType<acc>::value).contiguous();
  return AxisTable<acc>::conv_transpose(axis, values.template const_data_ptr<acc>());
}

// Its transpose. Only an edge that is repeated has several taps of one output; of an interpolation these are
// two, which stay as a resize has them.
template <class acc>
static AxisOfCall<acc> conv_transpose_gradient(const AxisOfCall<acc>& axis, bool replicate) {
  AxisOfCall<acc> transposed = axis.transposed();
  if (!replicate || axis.taps().interpolates) return transposed;
  return transposed.table().merged();
}

static Tensor outer_product(const Tensor& kernel_h, const Tensor& kernel_w) {
  const Tensor column = kernel_h.to(at::kDouble).unsqueeze(1), row = kernel_w.to(at::kDouble);
  return (column * row).to(at::kFloat);
}

static Tensor separable_cpu(const Tensor& input, const Tensor& kernel_h, const Tensor& kernel_w,
                            SymIntArrayRef stride, SymIntArrayRef padding, SymIntArrayRef output_padding,
                            SymIntArrayRef dilation, bool replicate, bool) {
  const ConvTransposeArgs args{stride, padding, output_padding, dilation};
  Tensor output = fresh(make_separable_output(input, kernel_h, kernel_w, args));
  if (output.numel() == 0) return output;
  const Deconv geometry = separable_geometry(input, output, kernel_h, kernel_w, args, replicate);
  dispatch_floating("fixed_conv_transpose2d", input.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    if (choose_separable<decltype(scalar)>(geometry) == SeparableLoops::kTapByTap) {
      const Tensor kernel = outer_product(kernel_h, kernel_w);
      return depthwise_into(input, kernel.expand({input.size(1), 1, kernel.size(0), kernel.size(1)}), {},
                            stride, padding, dilation, replicate, output);
    }
    resample<decltype(scalar)>(input, output, conv_transpose_table<acc>(kernel_h, geometry.height),
                               conv_transpose_table<acc>(kernel_w, geometry.width), exceeds_cache(output));
  });
  return output;
}

static Tensor separable_backward_cpu(const Tensor& grad_output, const Tensor& kernel_h,
                                     const Tensor& kernel_w, SymIntArrayRef input_size, SymIntArrayRef stride,
                                     SymIntArrayRef padding, SymIntArrayRef dilation, bool replicate,
                                     optional<bool> channels_last, bool as_resize) {
  const ConvTransposeArgs args{stride, padding, {}, dilation};
  Tensor grad_input =
      fresh(make_separable_grad_input(grad_output, kernel_h, kernel_w, input_size, args, channels_last));
  if (grad_input.numel() == 0) return grad_input;
  const Deconv geometry = separable_geometry(grad_input, grad_output, kernel_h, kernel_w, args, replicate);
  if (sums_in_double(grad_output, geometry.height, geometry.width)) {
    return grad_input.copy_(separable_backward_cpu(grad_output.to(at::kDouble), kernel_h, kernel_w,
                                                   input_size, stride, padding, dilation, replicate,
                                                   channels_last, as_resize));
  }
  dispatch_floating("fixed_conv_transpose2d_backward", grad_output.scalar_type(), [&](auto scalar, auto sum) {
    using acc = decltype(sum);
    const auto height = conv_transpose_table<acc>(kernel_h, geometry.height);
    const auto width = conv_transpose_table<acc>(kernel_w, geometry.width);
    resample<decltype(scalar)>(grad_output, grad_input, conv_transpose_gradient(height, replicate),
                               conv_transpose_gradient(width, replicate), exceeds_cache(grad_input),
                               height.taps());
  });
  return grad_input;
}

TORCH_LIBRARY_IMPL(upsample_ext, CPU, m) {
  m.impl("upsample_bilinear2d", on_cpu<upsample_cpu>);
  m.impl("upsample_bilinear2d.out", on_cpu<upsample_out_cpu>);
  m.impl("upsample_bilinear2d_backward", on_cpu<upsample_backward_cpu>);
  m.impl("resample", on_cpu<resample_cpu>);
  m.impl("resample_backward", on_cpu<resample_backward_cpu>);
  m.impl("separable_conv_transpose2d", on_cpu<separable_cpu>);
  m.impl("separable_conv_transpose2d_backward", on_cpu<separable_backward_cpu>);
}

}  // namespace upsample_ext
