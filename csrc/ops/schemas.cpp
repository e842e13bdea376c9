// Every op of the package, in one place. The other files of this folder implement them; the launchers of
// csrc/cpu and csrc/cuda register under their device's dispatch key.
#include <torch/library.h>

TORCH_LIBRARY(upsample_ext, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};

  // Bilinear resize. scale_* is the user's scale factor where one was given: it then sets the step between
  // source coordinates, as in F.interpolate without recompute_scale_factor.
  m.def(
      "upsample_bilinear2d(Tensor input, SymInt[2] output_size, bool align_corners, float? scale_h=None, "
      "float? scale_w=None) -> Tensor",
      tags);
  m.def(
      "upsample_bilinear2d.out(Tensor input, SymInt[2] output_size, bool align_corners, float? scale_h=None, "
      "float? scale_w=None, *, Tensor(a!) out) -> ()",
      tags);
  // torch.jit.trace records overloads `vec` and `tensors`, here and below, see traced.cpp.
  m.def(
      "upsample_bilinear2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? "
      "scale_factors) "
      "-> Tensor",
      tags);
  m.def("upsample_bilinear2d.tensors(Tensor input, Tensor[] output_size, bool align_corners) -> Tensor",
        tags);
  m.def(
      "upsample_bilinear2d_backward(Tensor grad_output, SymInt[2] input_size, bool align_corners, "
      "float? scale_h=None, float? scale_w=None) -> Tensor",
      tags);

  // Resize of an image (N, C, ...) of one to three axes in any mode of F.interpolate (nearest, nearest-exact,
  // linear, bilinear, trilinear, bicubic, lanczos, area), and its gradient; each is the gradient of the
  // other.
  m.def(
      "resample(Tensor input, SymInt[] output_size, str mode, bool antialias, bool align_corners, "
      "float[]? scale_factors) -> Tensor",
      tags);
  m.def(
      "resample.vec(Tensor input, SymInt[]? output_size, str mode, bool antialias, bool align_corners, "
      "float[]? scale_factors) -> Tensor",
      tags);
  m.def(
      "resample.tensors(Tensor input, Tensor[] output_size, str mode, bool antialias, bool align_corners) "
      "-> Tensor",
      tags);
  m.def(
      "resample_backward(Tensor grad_output, SymInt[] input_size, str mode, bool antialias, "
      "bool align_corners, float[]? scale_factors) -> Tensor",
      tags);

  // Transposed convolution of every channel with one separable kernel, kernel_h x kernel_w. channels_last of
  // a backward op is the memory format of its result, which natively is that of the forward op's images; if
  // None, that of the op's own arguments. as_resize: the kernels are those of an interpolation, and constant.
  // Like a native resize, such a call saves no tensors, and its gradient has grad_output's memory format.
  m.def(
      "separable_conv_transpose2d(Tensor input, Tensor kernel_h, Tensor kernel_w, SymInt[2] stride, "
      "SymInt[2] padding, SymInt[2] output_padding, SymInt[2] dilation, bool replicate, "
      "bool as_resize=False) -> Tensor",
      tags);
  m.def(
      "separable_conv_transpose2d_backward(Tensor grad_output, Tensor kernel_h, Tensor kernel_w, "
      "SymInt[2] input_size, SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, bool replicate, "
      "bool? channels_last=None, bool as_resize=False) -> Tensor",
      tags);

  // Transposed convolution of every channel with its own kernel: weight is (C, 1, kH, kW), possibly an
  // expanded view. The three depthwise ops are closed under differentiation: the gradient of each consists of
  // calls of the other two.
  m.def(
      "depthwise_conv_transpose2d(Tensor input, Tensor weight, Tensor? bias, SymInt[2] stride, SymInt[2] "
      "padding, "
      "SymInt[2] output_padding, SymInt[2] dilation, bool replicate) -> Tensor",
      tags);
  m.def(
      "depthwise_conv_transpose2d_backward_input(Tensor grad_output, Tensor weight, SymInt[2] input_size, "
      "SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, bool replicate, bool? channels_last=None) -> "
      "Tensor",
      tags);
  m.def(
      "depthwise_conv_transpose2d_backward_weight(Tensor grad_output, Tensor input, SymInt[2] kernel_size, "
      "SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, bool replicate, bool? channels_last=None) -> "
      "Tensor",
      tags);
  // The bias gradient: the sum over all dimensions but the channels, in an order that does not depend on the
  // number of threads.
  m.def("channel_sum(Tensor input) -> Tensor", tags);

  // interpolate(input.float()).argmax(1), and with it the winner's softmax probability. `mode`, here and
  // below, is one of F.interpolate for images; programs that were saved before there was a choice lack it.
  m.def(
      "upsample_argmax(Tensor input, SymInt[2] output_size, bool align_corners, float? scale_h, float? "
      "scale_w, ScalarType dtype, str mode='bilinear') -> Tensor",
      tags);
  m.def(
      "upsample_argmax_with_score(Tensor input, SymInt[2] output_size, bool align_corners, float? scale_h, "
      "float? scale_w, ScalarType dtype, str mode='bilinear') -> (Tensor, Tensor)",
      tags);

  // For traces, of this family and of the last.
  m.def(
      "upsample_argmax.tensors(Tensor input, Tensor[] output_size, bool align_corners, float? scale_h, "
      "float? "
      "scale_w, ScalarType dtype, str mode='bilinear') -> Tensor",
      tags);
  m.def(
      "upsample_argmax_with_score.tensors(Tensor input, Tensor[] output_size, bool align_corners, "
      "float? scale_h, float? scale_w, ScalarType dtype, str mode='bilinear') -> (Tensor, Tensor)",
      tags);
  m.def(
      "upsample_concat.tensors(Tensor[] inputs, Tensor[] output_size, bool align_corners, "
      "str mode='bilinear') -> Tensor",
      tags);
  m.def(
      "upsample_threshold.tensors(Tensor input, Tensor[] output_size, bool align_corners, float? scale_h, "
      "float? scale_w, float threshold, str mode='bilinear') -> Tensor",
      tags);

  // cross_entropy(interpolate(input, target.shape[-2:]), target, ...); reduction 0: none, 1: mean, 2: sum.
  m.def(
      "upsample_cross_entropy(Tensor input, Tensor target, Tensor? weight, int reduction, int ignore_index, "
      "float label_smoothing, bool align_corners) -> Tensor",
      tags);
  // A mean or sum, and its gradient with respect to the input, in one pass over the logits. The gradient of
  // half types is float32.
  m.def(
      "upsample_cross_entropy_with_gradient(Tensor input, Tensor target, Tensor? weight, int reduction, int "
      "ignore_index, float label_smoothing, bool align_corners) -> (Tensor, Tensor)",
      tags);
  // The gradient with respect to the input: `gradient`, as the op above returns it, times grad_output; if
  // None, computed from the logits.
  m.def(
      "upsample_cross_entropy_backward(Tensor grad_output, Tensor? gradient, Tensor input, Tensor target, "
      "Tensor? weight, int reduction, int ignore_index, float label_smoothing, bool align_corners) -> Tensor",
      tags);

  // Resize fused with what follows it. upsample_add: to the size of `other`, which must broadcast to the
  // resized image. upsample_concat: along the channels. upsample_threshold: bool, resized > threshold.
  m.def("upsample_add(Tensor input, Tensor other, bool align_corners, str mode='bilinear') -> Tensor", tags);
  m.def(
      "upsample_concat(Tensor[] inputs, SymInt[2] output_size, bool align_corners, str mode='bilinear') -> "
      "Tensor",
      tags);
  m.def(
      "upsample_threshold(Tensor input, SymInt[2] output_size, bool align_corners, float? scale_h, "
      "float? scale_w, float threshold, str mode='bilinear') -> Tensor",
      tags);

  // A chain: bilinear resizes one after the other, each of whose results is cropped, and what consumes the
  // last, all read from the first image. Its arguments are those of its stages one after the other: 2 sizes,
  // (top, left, height, width) of the crop, which may be all, align_corners as 0 or 1 (a trace cannot record
  // a list of bool), and 2 scale factors, 0 where the sizes set the coordinates.
  m.def(
      "upsample_chain(Tensor input, SymInt[] sizes, SymInt[] crops, int[] align_corners, float[]? "
      "scale_factors) -> Tensor",
      tags);
  m.def(
      "upsample_chain_backward(Tensor grad_output, SymInt[] input_size, SymInt[] sizes, SymInt[] crops, "
      "int[] align_corners, float[]? scale_factors) -> Tensor",
      tags);
  m.def(
      "upsample_chain_threshold(Tensor input, SymInt[] sizes, SymInt[] crops, int[] align_corners, float[]? "
      "scale_factors, float threshold) -> Tensor",
      tags);
  m.def(
      "upsample_chain_argmax(Tensor input, SymInt[] sizes, SymInt[] crops, int[] align_corners, float[]? "
      "scale_factors, ScalarType dtype) -> Tensor",
      tags);
  m.def(
      "upsample_chain_argmax_with_score(Tensor input, SymInt[] sizes, SymInt[] crops, int[] align_corners, "
      "float[]? scale_factors, ScalarType dtype) -> (Tensor, Tensor)",
      tags);
}
