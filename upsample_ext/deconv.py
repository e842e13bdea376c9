"""Transposed convolution: the drop-ins for two axes and for one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from upsample_ext import _native, _transforms
from upsample_ext._judge import FLOATING, is_floating_image, is_strided, untraced
from upsample_ext._library import C
from upsample_ext._numbers import Int, as_int, as_ints

_door = C.depthwise_conv_transpose2d
_is_compiling = torch.compiler.is_compiling
_tracing_state = torch._C._get_tracing_state
_PLAIN = (Tensor, torch.nn.Parameter)

Pair = int | Sequence[int]

# Of stride, padding, output_padding and dilation the height's and the width's
_Geometry = tuple[list[Int], list[Int], list[Int], list[Int]]


@_native.scripts_as(_native.conv_transpose2d)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Drop-in for `torch.nn.functional.conv_transpose2d`: same signature, results, memory format and errors.

    A depthwise one (``groups == in_channels == out_channels``) runs on this package's kernels, with gradients
    with respect to input, weight and bias that are bit for bit the same for any number of threads. Every
    other call, including one with invalid arguments, is passed to PyTorch unchanged, which then raises its
    own errors.

    Args:
        input: ``(N, C, H, W)`` or ``(C, H, W)``, float64, float32, float16 or bfloat16, any strides.
        weight: ``(C, 1, kH, kW)`` in the input's dtype, any strides; an expanded view is read without a copy.
        bias: ``(C,)`` or None.
        stride: output pixels per input pixel, ``(H, W)`` or one int for both; at least 1.
        padding: output pixels cut off at each end, so that a convolution with the same padding maps the
            output's size back to the input's.
        output_padding: output pixels added at the bottom and right; smaller than the stride or the dilation.
        groups: C for a depthwise convolution.
        dilation: output pixels between neighbouring kernel taps; at least 1.

    Returns:
        ``(N, C, (H - 1) * stride - 2 * padding + dilation * (kH - 1) + output_padding + 1, ...)``,
        channels-last if the input or the weight is. Half types are summed in float32. Under autocast the
        arguments are cast as for PyTorch's function.

    Raises:
        What `torch.nn.functional.conv_transpose2d` raises for the same arguments.

    Example:
        >>> from upsample_ext import make_bilinear_weights
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> conv_transpose2d(x, make_bilinear_weights(4, 1), stride=2, padding=1, groups=1)[0, 0, 0]
        tensor([0.5625, 0.9375, 1.3125, 1.1250])
    """
    if has_torch_function_variadic(input, weight, bias) and not _native.only_default_device(
        input, weight, bias
    ):
        return handle_torch_function(
            _native.as_called(conv_transpose2d),
            (input, weight, bias),
            input,
            weight,
            bias=bias,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            groups=groups,
            dilation=dilation,
        )
    if not _is_compiling():
        if _is_dense(weight, groups):
            return _native.conv_transpose2d(
                input, weight, bias, stride, padding, output_padding, groups, dilation
            )
        output = _door(input, weight, bias, stride, padding, output_padding, groups, dilation)
        if output is not None:
            return output
    geometry = _depthwise_geometry(input, weight, bias, stride, padding, output_padding, groups, dilation)
    if geometry is None:
        return _native.conv_transpose2d(
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    return _depthwise(input, weight, bias, geometry, False)


@_native.scripts_as(_native.conv_transpose1d)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Drop-in for `torch.nn.functional.conv_transpose1d`: same signature, results and errors.

    A depthwise one (``groups == in_channels == out_channels``) runs on this package's kernels, as an image of
    one row. Every other call, including one with invalid arguments, is passed to PyTorch unchanged, which
    then raises its own errors.

    Args:
        input: ``(N, C, W)`` or ``(C, W)``, float64, float32, float16 or bfloat16, any strides.
        weight: ``(C, 1, kW)`` in the input's dtype, any strides.
        bias: ``(C,)`` or None.
        stride: output samples per input sample, an int or a list of one; at least 1.
        padding: output samples cut off at each end.
        output_padding: output samples added at the end; smaller than the stride or the dilation.
        groups: C for a depthwise convolution.
        dilation: output samples between neighbouring kernel taps; at least 1.

    Returns:
        ``(N, C, (W - 1) * stride - 2 * padding + dilation * (kW - 1) + output_padding + 1)``. Half types are
        summed in float32.

    Raises:
        What `torch.nn.functional.conv_transpose1d` raises for the same arguments.

    Example:
        >>> x = torch.tensor([[[1.0, 2.0]]])
        >>> conv_transpose1d(x, torch.tensor([[[0.25, 0.75, 0.75, 0.25]]]), stride=2, padding=1)
        tensor([[[0.7500, 1.2500, 1.7500, 1.5000]]])
    """
    if has_torch_function_variadic(input, weight, bias) and not _native.only_default_device(
        input, weight, bias
    ):
        return handle_torch_function(
            _native.as_called(conv_transpose1d),
            (input, weight, bias),
            input,
            weight,
            bias=bias,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            groups=groups,
            dilation=dilation,
        )
    if _is_compiling() or not _is_dense(weight, groups):
        output = _as_a_row(input, weight, bias, stride, padding, output_padding, groups, dilation)
        if output is not None:
            return output
    return _native.conv_transpose1d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def _as_a_row(
    input: object,
    weight: object,
    bias: Any,
    stride: object,
    padding: object,
    output_padding: object,
    groups: object,
    dilation: object,
) -> Tensor | None:
    """A depthwise `conv_transpose1d`; None if PyTorch must decide."""
    if not (isinstance(input, Tensor) and isinstance(weight, Tensor)):
        return None
    if input.dim() not in (2, 3) or weight.dim() != 3 or not is_strided(input):
        return None
    numbers = [as_ints(value, 1) for value in (stride, padding, output_padding, dilation)]
    if None in numbers:
        return None
    along = [[at_height, *number] for at_height, number in zip((1, 0, 0, 1), numbers, strict=True) if number]
    # Natively the result is contiguous, whatever the input is.
    arguments = (input.contiguous().unsqueeze(-2), weight.unsqueeze(-2), bias, *along[:3], groups, along[3])
    output = None if _is_compiling() else _door(*arguments)
    if output is None:
        geometry = _depthwise_geometry(*arguments)
        if geometry is None:
            return None
        output = _depthwise(arguments[0], arguments[1], bias, geometry, False)
    return output.squeeze(-2)


# ---- which calls are ours, and their geometry --------------------------------------------------------------


def _is_dense(weight: object, groups: object) -> bool:
    """Whether it is plain, and soon seen, that a convolution is not depthwise: in most models none is."""
    return (
        type(groups) is int
        and type(weight) in _PLAIN
        and weight.dim() > 0  # type: ignore[attr-defined]
        and _tracing_state() is None
        and weight.size(0) != groups  # type: ignore[attr-defined]
    )


def _output_size(input: Tensor, kernel_size: Sequence[int], geometry: _Geometry) -> list[Int]:
    """``[H_out, W_out]`` of stride, padding, output_padding and dilation as pairs; may be 0 or less."""
    return [
        (size - 1) * step - 2 * cut + spread * (kernel - 1) + extra + 1
        for size, kernel, step, cut, extra, spread in zip(
            input.shape[-2:], kernel_size, *geometry, strict=True
        )
    ]


def _pair(value: object, least: int) -> list[Int] | None:
    """Two numbers from an int or a sequence of one or two; None if PyTorch would raise."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    pair = as_ints(value, 2)
    return pair if pair is not None and all(item >= least for item in pair) else None


def _depthwise_geometry(input: Tensor, weight: object, *settings: object) -> _Geometry | None:
    """None where the call is PyTorch's."""
    return None if _native.is_wanted() else untraced(_judge_depthwise, input, weight, *settings)


def _judge_depthwise(
    input: Tensor,
    weight: object,
    bias: object,
    stride: object,
    padding: object,
    output_padding: object,
    groups: object,
    dilation: object,
) -> _Geometry | None:
    if not (is_floating_image(input) and isinstance(weight, Tensor) and weight.dim() == 4):
        return None
    channels = input.shape[-3]
    if as_int(groups) != channels:
        return None
    if not (weight.shape[0] == channels and weight.shape[1] == 1 and _goes_with(weight, input)):
        return None
    if bias is not None:
        if not (isinstance(bias, Tensor) and bias.dim() == 1 and bias.shape[0] == channels):
            return None
        if not _goes_with(bias, input):
            return None
    strides, paddings = _pair(stride, 1), _pair(padding, 0)
    output_paddings, dilations = _pair(output_padding, 0), _pair(dilation, 1)
    if strides is None or paddings is None or output_paddings is None or dilations is None:
        return None
    if not all(extent > 0 for extent in (*input.shape[-3:], *weight.shape[2:])):
        return None
    for step, extra, spread in zip(strides, output_paddings, dilations, strict=True):
        if not (extra < step or extra < spread):
            return None
    pairs = (strides, paddings, output_paddings, dilations)
    return pairs if all(extent > 0 for extent in _output_size(input, weight.shape[2:], pairs)) else None


def _goes_with(tensor: Tensor, input: Tensor) -> bool:
    """Same device, same dtype after autocast, and both distributed or neither."""
    if tensor.device != input.device or not is_strided(tensor):
        return False
    if _transforms.is_distributed(tensor) != _transforms.is_distributed(input):
        return False
    if tensor.dtype == input.dtype:
        return True
    device = input.device.type
    return (
        device in ("cpu", "cuda")
        and torch.is_autocast_enabled(device)
        and tensor.dtype in FLOATING
        and torch.float64 not in (tensor.dtype, input.dtype)
    )


# ---- calls -------------------------------------------------------------------------------------------------


def _depthwise(
    input: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry, replicate: bool
) -> Tensor:
    _transforms.register_sharding_if_distributed(input)
    op = torch.ops.upsample_ext.depthwise_conv_transpose2d.default
    batched = input if input.dim() == 4 else input.unsqueeze(0)
    output: Tensor = op(batched, weight, bias, *geometry, replicate)
    return output if input.dim() == 4 else output.squeeze(0)


def _margins(
    weight: Tensor, stride: Sequence[Int], output_padding: Sequence[Int], dilation: Sequence[Int]
) -> list[Int]:
    """How many samples beyond the image's edge a weight reads, along the height and along the width."""
    return [
        max(0, -(-((kernel - 1) * spread + extra) // step))
        for kernel, spread, extra, step in zip(
            weight.shape[2:], dilation, output_padding, stride, strict=True
        )
    ]


def _conv_transpose_by_pytorch(
    input: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry, replicate: bool
) -> Tensor:
    """The same through PyTorch, for devices and dtypes that our ops do not support, and for exporters."""
    stride, padding, output_padding, dilation = geometry
    if replicate:
        if min(stride) < 1:
            raise RuntimeError(f"fixed_conv_transpose2d: expected a stride greater than 0, got {stride}")
        # Pad by as many edge samples as the kernel reaches, and cut off the additional output.
        reach = untraced(_margins, weight, stride, output_padding, dilation)
        if any(isinstance(samples, int) and samples >= 2**31 for samples in reach):
            raise RuntimeError(
                f"fixed_conv_transpose2d: expected a kernel that reaches less than 2**31 samples beyond the "
                f"image, got dilation {dilation}, output_padding {output_padding} and stride {stride} with a "
                f"kernel {tuple(weight.shape[2:])}"
            )
        margins: list[Any] = [reach[1], reach[1], reach[0], reach[0]]
        input = torch.nn.functional.pad(input, margins, mode="replicate")
        padding = [cut + more * step for cut, more, step in zip(padding, reach, stride, strict=True)]
    channels = untraced(len, weight)
    return _native.conv_transpose2d(input, weight, bias, stride, padding, output_padding, channels, dilation)
