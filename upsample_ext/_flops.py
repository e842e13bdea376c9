"""FLOP counts of our transposed convolutions for `torch.utils.flop_counter.FlopCounterMode`.

They are those of the PyTorch convolutions that they equal. For the gradient of a depthwise weight PyTorch
counts a convolution between all channels, C times what is computed, and so is it counted here.
"""

from collections.abc import Sequence

from torch.utils.flop_counter import conv_flop_count, register_flop_formula

from upsample_ext._transforms import _OPS

Shape = Sequence[int]


@register_flop_formula(_OPS.depthwise_conv_transpose2d)
def _depthwise(input_shape: Shape, weight_shape: Shape, *_: object, out_shape: Shape, **__: object) -> int:
    return conv_flop_count(list(input_shape), list(weight_shape), list(out_shape), transposed=True)


@register_flop_formula(_OPS.depthwise_conv_transpose2d_backward_input)
def _depthwise_backward_input(
    grad_output_shape: Shape, weight_shape: Shape, *_: object, out_shape: Shape, **__: object
) -> int:
    return conv_flop_count(list(out_shape), list(weight_shape), list(grad_output_shape), transposed=True)


@register_flop_formula(_OPS.depthwise_conv_transpose2d_backward_weight)
def _depthwise_backward_weight(
    grad_output_shape: Shape, input_shape: Shape, *_: object, out_shape: Shape, **__: object
) -> int:
    return conv_flop_count(_swapped(grad_output_shape), _swapped(input_shape), _swapped(out_shape))


def _swapped(shape: Shape) -> list[int]:
    """Of an image or weight whose channels take the place of the batch, and the other way round."""
    return [shape[1], shape[0], *shape[2:]]


def _plane(image_shape: Shape, kernel_h_shape: Shape, kernel_w_shape: Shape) -> list[int]:
    return [image_shape[1], 1, kernel_h_shape[0], kernel_w_shape[0]]


@register_flop_formula(_OPS.separable_conv_transpose2d)
def _separable(
    input_shape: Shape,
    kernel_h_shape: Shape,
    kernel_w_shape: Shape,
    *_: object,
    out_shape: Shape,
    **__: object,
) -> int:
    weight_shape = _plane(input_shape, kernel_h_shape, kernel_w_shape)
    return conv_flop_count(list(input_shape), weight_shape, list(out_shape), transposed=True)


@register_flop_formula(_OPS.separable_conv_transpose2d_backward)
def _separable_backward(
    grad_output_shape: Shape,
    kernel_h_shape: Shape,
    kernel_w_shape: Shape,
    *_: object,
    out_shape: Shape,
    **__: object,
) -> int:
    weight_shape = _plane(grad_output_shape, kernel_h_shape, kernel_w_shape)
    return conv_flop_count(list(out_shape), weight_shape, list(grad_output_shape), transposed=True)
