"""Depthwise transposed convolution with kernels that are not learned, and Caffe's bilinear layer."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary, has_torch_function_variadic

from upsample_ext import _native, _transforms
from upsample_ext._judge import is_floating_image, untraced
from upsample_ext._library import C
from upsample_ext._numbers import Int, as_ints
from upsample_ext.deconv import Pair, _conv_transpose_by_pytorch, _depthwise, _Geometry, _output_size
from upsample_ext.deconv_kernels import _checked_int, _line_for, caffe_upsample_params

_door = C.fixed_conv_transpose2d
_is_compiling = torch.compiler.is_compiling

PaddingMode = Literal["zeros", "replicate"]


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
        output = _door(input, kernel, stride, padding, output_padding, dilation, padding_mode, False)
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
        output = _door(input, (line, line), factor, factor // 2, 0, 1, padding_mode, True)
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


# ---- calls -------------------------------------------------------------------------------------------------


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


def _is_empty(input: Tensor, kernels: Sequence[Tensor], geometry: _Geometry) -> bool:
    """Whether the image or its result is empty; such calls go to PyTorch, which accepts some of them."""
    kernel_size = [k.shape[0] for k in kernels] if len(kernels) == 2 else kernels[0].shape[-2:]
    return not all(extent != 0 for extent in (*input.shape[-3:], *_output_size(input, kernel_size, geometry)))


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
        output = _door(row, kernel, *geometry, padding_mode, False)
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
