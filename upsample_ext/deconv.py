"""Transposed convolution: drop-ins for two axes and for one, fixed kernels, and Caffe's bilinear layer."""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary, has_torch_function_variadic
from torch.types import Device

from upsample_ext import _native, _transforms
from upsample_ext._judge import FLOATING, is_floating_image, is_strided, untraced
from upsample_ext._library import C
from upsample_ext._numbers import Int, as_int, as_ints

_door = C.depthwise_conv_transpose2d
_fixed_door = C.fixed_conv_transpose2d
_is_compiling = torch.compiler.is_compiling
_tracing_state = torch._C._get_tracing_state
_PLAIN = (Tensor, torch.nn.Parameter)

Pair = int | Sequence[int]
PaddingMode = Literal["zeros", "replicate"]
Convention = Literal["centered", "caffe"]

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


def fixed_conv_transpose2d(
    input: Tensor,
    kernel: Tensor | tuple[Tensor, Tensor],
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
) -> Tensor:
    """Depthwise transposed convolution with a kernel that is not learned.

    With ``padding_mode="zeros"`` it equals ``F.conv_transpose2d(input, weight, None, stride, padding,
    output_padding, C, dilation)``, where weight is the kernel expanded to ``(C, 1, kH, kW)``. Kernel values
    on a GPU are not read back to the host.

    Args:
        input: ``(N, C, H, W)`` or ``(C, H, W)``, float64, float32, float16 or bfloat16, any strides.
        kernel: the same kernel for all channels, ``(kH, kW)``, or a pair of 1-D tensors ``(kernel_h,
            kernel_w)`` that represents their outer product and takes two 1-D passes; or one for each channel,
            ``(C, kH, kW)``. Any floating dtype. A pair is applied in float32 (float64 for a float64 input)
            without rounding; the other forms are first rounded to the input's dtype, like a convolution's
            weight.
        stride: output pixels per input pixel, ``(H, W)`` or one int for both.
        padding: output pixels cut off at each end.
        output_padding: output pixels added at the bottom and right; smaller than the stride or the dilation.
        dilation: output pixels between neighbouring kernel taps.
        padding_mode: what the kernel reads beyond the input: zeros (``"zeros"``) or the nearest edge sample
            (``"replicate"``). The output's size is the same.

    Returns:
        ``(N, C, H_out, W_out)``, with ``H_out = (H - 1) * stride - 2 * padding + dilation * (kH - 1) +
        output_padding + 1``, in the input's dtype; under autocast in autocast's dtype, like that expression.
        Differentiable with respect to the input.

    Raises:
        TypeError: kernel is neither a tensor nor a pair of tensors, or not of a floating dtype.
        ValueError: shapes or padding_mode are not as above.
        RuntimeError: the kernel requires grad (use `conv_transpose2d` to learn one), the input is of an
            integer dtype, or the geometry is invalid.

    Example:
        >>> tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> fixed_conv_transpose2d(x, (tent, tent), stride=2, padding=1)[0, 0, 0]
        tensor([0.5625, 0.9375, 1.3125, 1.1250])
        >>> fixed_conv_transpose2d(x, (tent, tent), stride=2, padding=1, padding_mode="replicate")[0, 0, 0]
        tensor([1.0000, 1.2500, 1.7500, 2.0000])
    """
    kernels = tuple(kernel) if isinstance(kernel, (tuple, list)) else (kernel,)
    tensors = (input, *(k for k in kernels if isinstance(k, Tensor)))
    if has_torch_function_variadic(*tensors):
        return handle_torch_function(
            fixed_conv_transpose2d,
            tensors,
            input,
            kernel,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            padding_mode=padding_mode,
        )
    if not _is_compiling():
        output = _fixed_door(input, kernel, stride, padding, output_padding, dilation, padding_mode, False)
        if output is not None:
            return output
    _check_fixed("fixed_conv_transpose2d", input, kernels, padding_mode)
    kernels = tuple(_transforms.replicated_like(kernel, input) for kernel in kernels)
    geometry = (
        _checked_pair("fixed_conv_transpose2d", "stride", stride),
        _checked_pair("fixed_conv_transpose2d", "padding", padding),
        _checked_pair("fixed_conv_transpose2d", "output_padding", output_padding),
        _checked_pair("fixed_conv_transpose2d", "dilation", dilation),
    )
    return _fixed(input, kernels, geometry, padding_mode == "replicate")


def fixed_conv_transpose1d(
    input: Tensor,
    kernel: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    *,
    padding_mode: PaddingMode = "zeros",
) -> Tensor:
    """Depthwise transposed convolution of lines with a kernel that is not learned.

    With ``padding_mode="zeros"`` it equals ``F.conv_transpose1d(input, weight, None, stride, padding,
    output_padding, C, dilation)``, where weight is the kernel expanded to ``(C, 1, kW)``. A line is an image
    of one row to it.

    Args:
        input: ``(N, C, W)`` or ``(C, W)``, float64, float32, float16 or bfloat16, any strides.
        kernel: the same kernel for all channels, ``(kW,)``, applied in float32 (float64 for a float64 input)
            without rounding; or one for each channel, ``(C, kW)``, which is first rounded to the input's
            dtype, like a convolution's weight. Any floating dtype.
        stride: output samples per input sample, an int or a list of one.
        padding: output samples cut off at each end.
        output_padding: output samples added at the end; smaller than the stride or the dilation.
        dilation: output samples between neighbouring kernel taps.
        padding_mode: what the kernel reads beyond the input: zeros (``"zeros"``) or the edge sample
            (``"replicate"``). The output's size is the same.

    Returns:
        ``(N, C, (W - 1) * stride - 2 * padding + dilation * (kW - 1) + output_padding + 1)``, contiguous, in
        the input's dtype; under autocast in autocast's dtype. Differentiable with respect to the input.

    Raises:
        TypeError: kernel is not a tensor, or not of a floating dtype.
        ValueError: shapes or padding_mode are not as above.
        RuntimeError: the kernel requires grad (use `conv_transpose1d` to learn one), the input is of an
            integer dtype, or the geometry is invalid.

    Example:
        >>> tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
        >>> fixed_conv_transpose1d(torch.tensor([[[1.0, 2.0]]]), tent, stride=2, padding=1)
        tensor([[[0.7500, 1.2500, 1.7500, 1.5000]]])
    """
    if has_torch_function_variadic(input, kernel):
        return handle_torch_function(
            fixed_conv_transpose1d,
            (input, kernel),
            input,
            kernel,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            padding_mode=padding_mode,
        )
    op = "fixed_conv_transpose1d"
    _check_line(op, input, kernel, padding_mode)
    along = [
        [at_height, _checked_single(op, name, value)]
        for at_height, name, value in (
            (1, "stride", stride),
            (0, "padding", padding),
            (0, "output_padding", output_padding),
            (1, "dilation", dilation),
        )
    ]
    down = kernel.new_ones(1)
    kernels = (down, kernel) if kernel.dim() == 1 else (kernel.unsqueeze(-2),)
    return _fixed_of_a_row(input, kernels, (along[0], along[1], along[2], along[3]), padding_mode)


def bilinear_kernel(
    size: int,
    *,
    convention: Convention = "centered",
    dtype: torch.dtype | None = None,
    device: Device = None,
) -> Tensor:
    """The bilinear interpolation kernel of a transposed convolution, ``(size, size)``.

    It is the outer product with itself of ``1 - abs(i / f - c)``, ``i = 0 .. size - 1``, with
    ``f = ceil(size / 2)``.

    Args:
        size: at least 1.
        convention: ``"centered"``, the default: ``c = (size - 1) / (2 * f)``, symmetric for every size, as in
            newer Caffe and in common PyTorch code. ``"caffe"``: ``c = (2 * f - 1 - f % 2) / (2 * f)``, as in
            older Caffe and MXNet, off-centre if size mod 4 is 2 or 3 (never for a size that
            `caffe_upsample_params` returns).
        dtype: a floating dtype; default `torch.get_default_dtype()`. Values are computed in float64 and
            rounded once.
        device: default PyTorch's default device.

    Raises:
        TypeError: size is not an int of 64 bits, or dtype is not floating.
        ValueError: size is below 1, or the convention is unknown.

    Source of the formula: Caffe's `BilinearFiller`, http://caffe.berkeleyvision.org.

    Example:
        >>> bilinear_kernel(4)[0]
        tensor([0.0625, 0.1875, 0.1875, 0.0625])
    """
    line = _bilinear_line("bilinear_kernel", size, convention, device)
    return torch.outer(line, line).to(_checked_dtype("bilinear_kernel", dtype))


def make_bilinear_weights(
    size: int,
    num_channels: int,
    *,
    convention: Convention = "centered",
    dtype: torch.dtype | None = None,
    device: Device = None,
) -> Tensor:
    """A weight for `conv_transpose2d`: `bilinear_kernel` for each channel, ``(num_channels, 1, size, size)``.

    Args:
        size: of the kernel, at least 1.
        num_channels: at least 1.
        convention: ``"centered"``, the default, is symmetric for every size; ``"caffe"`` is that of older
            Caffe and MXNet, off-centre if size mod 4 is 2 or 3.
        dtype: a floating dtype; default `torch.get_default_dtype()`. Values are computed in float64 and
            rounded once.
        device: default PyTorch's default device.

    Raises:
        TypeError: size or num_channels is not an int of 64 bits, or dtype is not floating.
        ValueError: size or num_channels is below 1, or the convention is unknown.

    Example:
        >>> make_bilinear_weights(4, 3).shape
        torch.Size([3, 1, 4, 4])
    """
    num_channels = _checked_int("make_bilinear_weights", "num_channels", num_channels)
    line = _bilinear_line("make_bilinear_weights", size, convention, device)
    kernel = torch.outer(line, line).to(_checked_dtype("make_bilinear_weights", dtype))
    return kernel.repeat(num_channels, 1, 1, 1)


def caffe_upsample_params(factor: int) -> tuple[int, int, int]:
    """``(kernel_size, stride, padding)`` of Caffe's bilinear upsampling layer for an integer factor.

    ``(2 * factor - factor % 2, factor, ceil((factor - 1) / 2))``: the output is exactly factor times the
    input.

    Args:
        factor: at least 1.

    Raises:
        TypeError, ValueError: factor is not an int of 64 bits, or below 1.

    Source of the formula: the layer's example in Caffe's documentation of `BilinearFiller`.

    Example:
        >>> caffe_upsample_params(2), caffe_upsample_params(3)
        ((4, 2, 1), (5, 3, 1))
    """
    factor = _checked_int("caffe_upsample_params", "factor", factor)
    return 2 * factor - factor % 2, factor, factor // 2


def bilinear_conv_transpose2d(input: Tensor, factor: int, *, padding_mode: PaddingMode = "zeros") -> Tensor:
    """Caffe's bilinear upsampling layer: a transposed convolution with a fixed bilinear kernel.

    Equals ``F.conv_transpose2d(input, make_bilinear_weights(k, C), stride=s, padding=p, groups=C)`` with
    ``k, s, p = caffe_upsample_params(factor)``. With ``padding_mode="replicate"`` it equals
    ``F.interpolate(input, scale_factor=factor, mode="bilinear", align_corners=False)``, borders included.

    Args:
        input: ``(N, C, H, W)`` or ``(C, H, W)``, float64, float32, float16 or bfloat16, any strides.
        factor: output pixels per input pixel, at least 1.
        padding_mode: what is read beyond the image: zeros (``"zeros"``; the border fades: for factor 2 the
            edge of a constant image becomes 0.75) or the nearest edge sample (``"replicate"``).

    Returns:
        ``(N, C, factor * H, factor * W)`` in the input's dtype; under autocast in autocast's dtype, with
        either padding_mode. The 1-D kernels stay in float32 for half types.

    Raises:
        TypeError: input is not a tensor, or factor is not an int.
        ValueError: factor is below 1, the input is neither 3-D nor 4-D, or padding_mode is unknown.
        RuntimeError: the input is of an integer dtype.

    Example:
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> bilinear_conv_transpose2d(x, 2, padding_mode="replicate")[0, 0, 0]
        tensor([1.0000, 1.2500, 1.7500, 2.0000])
    """
    if has_torch_function_unary(input):
        return handle_torch_function(
            bilinear_conv_transpose2d, (input,), input, factor, padding_mode=padding_mode
        )
    if type(factor) is int and 0 < factor < 2**31 and isinstance(input, Tensor) and not _is_compiling():
        line = _line_for(input, factor)
        output = _fixed_door(input, (line, line), factor, factor // 2, 0, 1, padding_mode, True)
        if output is not None:
            return output
    factor = _checked_int("bilinear_conv_transpose2d", "factor", factor)
    if padding_mode == "replicate" and _native.is_wanted() and input.dim() == 4:
        return _native.interpolate(input, None, factor, "bilinear", False)
    _, stride, padding = caffe_upsample_params(factor)
    _check_fixed("bilinear_conv_transpose2d", input, None, padding_mode)
    line = _line_for(input, factor)
    geometry: _Geometry = ([stride, stride], [padding, padding], [0, 0], [1, 1])
    return _fixed(input, (line, line), geometry, padding_mode == "replicate", of_interpolation=True)


def linear_conv_transpose1d(input: Tensor, factor: int, *, padding_mode: PaddingMode = "zeros") -> Tensor:
    """Enlarges lines by an integer factor: `bilinear_conv_transpose2d` of images of one row, along the row.

    Equals ``F.conv_transpose1d(input, weight, None, factor, p, 0, C)`` with ``k, _, p =
    caffe_upsample_params(factor)`` and as weight the line of `bilinear_kernel` for each channel;
    with ``padding_mode="replicate"`` it equals ``F.interpolate(input, scale_factor=factor, mode="linear",
    align_corners=False)``.

    Args:
        input: ``(N, C, W)`` or ``(C, W)``, float64, float32, float16 or bfloat16, any strides.
        factor: output samples per input sample, at least 1.
        padding_mode: what is read beyond the line: zeros (``"zeros"``; the ends fade) or the edge sample
            (``"replicate"``).

    Returns:
        ``(N, C, factor * W)``, contiguous, in the input's dtype; under autocast in autocast's dtype. The
        kernel stays in float32 for half types.

    Raises:
        TypeError: input is not a tensor, or factor is not an int.
        ValueError: factor is below 1, the input is neither 2-D nor 3-D, or padding_mode is unknown.
        RuntimeError: the input is of an integer dtype.

    Example:
        >>> linear_conv_transpose1d(torch.tensor([[[1.0, 2.0]]]), 2, padding_mode="replicate")
        tensor([[[1.0000, 1.2500, 1.7500, 2.0000]]])
    """
    if has_torch_function_unary(input):
        return handle_torch_function(
            linear_conv_transpose1d, (input,), input, factor, padding_mode=padding_mode
        )
    op = "linear_conv_transpose1d"
    factor = _checked_int(op, "factor", factor)
    _check_line(op, input, None, padding_mode)
    if padding_mode == "replicate" and _native.is_wanted() and input.dim() == 3:
        return _native.interpolate(input, None, factor, "linear", False)
    line = _line_for(input, factor)
    _, stride, padding = caffe_upsample_params(factor)
    geometry: _Geometry = ([1, stride], [0, padding], [0, 0], [1, 1])
    return _fixed_of_a_row(input, (line.new_ones(1), line), geometry, padding_mode)


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


def _is_empty(input: Tensor, kernels: Sequence[Tensor], geometry: _Geometry) -> bool:
    """Whether the image or its result is empty; such calls go to PyTorch, which accepts some of them."""
    kernel_size = [k.shape[0] for k in kernels] if len(kernels) == 2 else kernels[0].shape[-2:]
    return not all(extent != 0 for extent in (*input.shape[-3:], *_output_size(input, kernel_size, geometry)))


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


def _fixed(
    input: Tensor,
    kernels: Sequence[Tensor],
    geometry: _Geometry,
    replicate: bool,
    *,
    of_interpolation: bool = False,
) -> Tensor:
    """With one kernel, or a pair, that were checked."""
    is_ours = is_floating_image(input) and not untraced(_is_empty, input, kernels, geometry)
    if len(kernels) == 2 and is_ours:
        as_resize = replicate and of_interpolation
        return _separable(input, kernels[0], kernels[1], geometry, replicate, as_resize=as_resize)
    weight = _depthwise_weight(input, kernels)
    if is_ours:
        return _depthwise(input, weight, None, geometry, replicate)
    return _conv_transpose_by_pytorch(input, weight, None, geometry, replicate)


def _fixed_of_a_row(
    input: Tensor,
    kernels: tuple[Tensor, ...],
    geometry: _Geometry,
    padding_mode: PaddingMode,
) -> Tensor:
    """The same of lines, which are images of one row. Natively the result is contiguous."""
    row = input.contiguous().unsqueeze(-2)
    output = None
    if not _is_compiling():
        kernel = kernels if len(kernels) == 2 else kernels[0]
        output = _fixed_door(row, kernel, *geometry, padding_mode, False)
    if output is None:
        kernels = tuple(_transforms.replicated_like(kernel, input) for kernel in kernels)
        output = _fixed(row, kernels, geometry, padding_mode == "replicate")
    return output.squeeze(-2)


def _separable(
    input: Tensor,
    kernel_h: Tensor,
    kernel_w: Tensor,
    geometry: _Geometry,
    replicate: bool,
    *,
    as_resize: bool = False,
) -> Tensor:
    _transforms.register_sharding_if_distributed(input)
    op = torch.ops.upsample_ext.separable_conv_transpose2d.default
    batched = input if input.dim() == 4 else input.unsqueeze(0)
    output: Tensor = op(batched, kernel_h, kernel_w, *geometry, replicate, as_resize)
    return output if input.dim() == 4 else output.squeeze(0)


def _depthwise_weight(input: Tensor, kernels: Sequence[Tensor]) -> Tensor:
    """(C, 1, kH, kW) in the input's dtype; a view with channel stride 0 if all channels share a kernel."""
    kernel = torch.outer(*kernels) if len(kernels) == 2 else kernels[0]
    kernel = kernel.to(input.dtype)
    if kernel.dim() == 3:
        return kernel.unsqueeze(1)
    return kernel.expand(input.shape[-3], 1, *kernel.shape)


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
        beside: list[Any] = [reach[1], reach[1], reach[0], reach[0]]
        input = torch.nn.functional.pad(input, beside, mode="replicate")
        padding = [cut + more * step for cut, more, step in zip(padding, reach, stride, strict=True)]
    channels = untraced(len, weight)
    return _native.conv_transpose2d(input, weight, bias, stride, padding, output_padding, channels, dilation)


# ---- checks ------------------------------------------------------------------------------------------------


def _check_fixed(
    op: str, input: object, kernels: Sequence[Tensor] | None, padding_mode: object, axes: int = 2
) -> None:
    if padding_mode not in ("zeros", "replicate"):
        raise ValueError(f"{op}: expected padding_mode to be 'zeros' or 'replicate', got {padding_mode!r}")
    if not isinstance(input, Tensor):
        raise TypeError(f"{op}: expected input to be a tensor, got {type(input).__name__}")
    if input.dim() not in (axes + 1, axes + 2):
        image = "C, H, W" if axes == 2 else "C, W"
        raise ValueError(f"{op}: expected an input (N, {image}) or ({image}), got {tuple(input.shape)}")
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(f"{op}: expected an input of a floating dtype, got {input.dtype}")
    if kernels is None:
        return
    _check_kernels(op, input, kernels)
    shapes = [tuple(kernel.shape) for kernel in kernels]
    if len(kernels) == 2:
        if not all(len(shape) == 1 for shape in shapes):
            raise ValueError(f"{op}: expected a pair of 1-D kernels, got shapes {shapes[0]} and {shapes[1]}")
    elif len(shapes[0]) not in (2, 3):
        raise ValueError(f"{op}: expected a kernel (kH, kW) or (C, kH, kW), got {shapes[0]}")
    elif len(shapes[0]) == 3 and shapes[0][0] != input.shape[-3]:
        raise ValueError(f"{op}: expected a kernel ({input.shape[-3]}, kH, kW), got {shapes[0]}")


def _check_kernels(op: str, input: Tensor, kernels: Sequence[Tensor]) -> None:
    if len(kernels) not in (1, 2) or not all(isinstance(kernel, Tensor) for kernel in kernels):
        found = ", ".join(type(kernel).__name__ for kernel in kernels)
        raise TypeError(f"{op}: expected kernel to be a tensor or a pair of tensors, got {found}")
    for kernel in kernels:
        if not (kernel.is_floating_point() or kernel.is_complex()):
            raise TypeError(f"{op}: expected a kernel of a floating dtype, got {kernel.dtype}")
        if kernel.requires_grad:
            raise RuntimeError(
                f"{op}: the kernel requires grad, but a fixed one has none; use conv_transpose2d to learn it"
            )
        if kernel.device != input.device:
            raise ValueError(f"{op}: expected the kernel on device {input.device}, got {kernel.device}")


def _check_line(op: str, input: object, kernel: object, padding_mode: object) -> None:
    """Of a 1-D kernel, or one for each channel; None: of none."""
    _check_fixed(op, input, None, padding_mode, axes=1)
    if kernel is not None:
        _check_kernels(op, input, (kernel,))  # type: ignore[arg-type]
        shape, channels = tuple(kernel.shape), input.shape[-2]  # type: ignore[attr-defined]
        if len(shape) not in (1, 2):
            raise ValueError(f"{op}: expected a kernel (kW,) or (C, kW), got {shape}")
        if len(shape) == 2 and shape[0] != channels:
            raise ValueError(f"{op}: expected a kernel ({channels}, kW), got {shape}")


def _checked_single(op: str, name: str, value: object) -> Int:
    single = as_ints(value, 1)
    if single is None:
        raise TypeError(f"{op}: expected {name} to be an int of 64 bits, or a list of one, got {value!r}")
    return single[0]


def _checked_pair(op: str, name: str, value: object) -> list[Int]:
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]  # as F.conv_transpose2d
    pair = as_ints(value, 2)
    if pair is None:
        raise TypeError(f"{op}: expected {name} to be an int of 64 bits or two, got {value!r}")
    return pair


def _checked_int(op: str, name: str, value: object) -> int:
    number: Any = as_int(value)  # a symbolic one counts as an int, as in torch's own stubs
    if number is None:
        raise TypeError(f"{op}: expected {name} to be an int of 64 bits, got {value!r}")
    if number < 1:
        raise ValueError(f"{op}: expected {name} to be at least 1, got {number}")
    return number


def _checked_dtype(op: str, dtype: torch.dtype | None) -> torch.dtype:
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"{op}: expected a floating dtype, got {dtype}")
    return dtype


# ---- the bilinear line -------------------------------------------------------------------------------------


def _line_values(position: Tensor, size: int, convention: Convention) -> Tensor:
    """``1 - abs(i / f - c)``, computed in integers, which are exact, up to a single division."""
    factor = (size + 1) // 2
    twice_center = size - 1 if convention == "centered" else 2 * factor - 1 - factor % 2
    return (2 * factor - abs(2 * position - twice_center)) / (2 * factor)


def _bilinear_line(op: str, size: int, convention: Convention, device: Device) -> Tensor:
    size = _checked_int(op, "size", size)
    if convention not in ("centered", "caffe"):
        raise ValueError(f"{op}: expected convention to be 'centered' or 'caffe', got {convention!r}")
    return _line_values(torch.arange(size, dtype=torch.float64, device=device), size, convention)


@functools.lru_cache(maxsize=64)
def _cached_line(factor: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        size = caffe_upsample_params(factor)[0]
        position = torch.arange(size, dtype=torch.float64, device=device)
        return _line_values(position, size, "centered").to(dtype)


def _line_for(input: Tensor, factor: int) -> Tensor:
    """The 1-D kernel of the Caffe layer: cached, except for subclasses, tracing and transforms."""
    dtype = torch.float64 if input.dtype in (torch.float64, torch.complex128) else torch.float32
    if _native.is_wanted() or (
        not _is_compiling()
        and type(input) in (Tensor, torch.nn.Parameter)
        and torch._C._get_tracing_state() is None
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
    ):
        return _cached_line(factor, dtype, input.device)
    # Derived from the input, so that it is of the same kind: fake, symbolic, a subclass.
    size = caffe_upsample_params(factor)[0]
    position = input.detach().new_ones(size, dtype=torch.float64).cumsum(0) - 1
    return _line_values(position, size, "centered").to(dtype)
