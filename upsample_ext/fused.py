"""Upsampling and what follows it in one pass, so that the upsampled tensor is never stored.

Every function here is defined by an expression in PyTorch's ops. It evaluates that expression, unfused, for
arguments that our kernels do not support (other devices, dtypes and layouts) and for invalid ones, so that
the errors are PyTorch's. Fused results are bit for bit the reduction of our own `interpolate` of the float32
input.
"""

from collections.abc import Sequence
from typing import Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import (
    handle_torch_function,
    has_torch_function,
    has_torch_function_unary,
    has_torch_function_variadic,
)

from upsample_ext import _native
from upsample_ext._library import C
from upsample_ext._numbers import Int, as_float, as_int, as_int_pair
from upsample_ext._transforms import is_distributed
from upsample_ext.interpolate import _FLOATING, _is_filled, _is_ours, _resolve, interpolate

_OPS = torch.ops.upsample_ext
_is_compiling = torch.compiler.is_compiling
_LARGEST_INDEX = {
    dtype: torch.iinfo(dtype).max for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64)
}
_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}
_HALF_OR_SINGLE = frozenset((torch.float32, torch.float16, torch.bfloat16))
# The op's NeedsGradient keeps one bit per input in an int64_t
_MOST_INPUTS = 63


@overload
def upsample_argmax(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    dtype: torch.dtype = torch.int64,
    return_score: Literal[False] = False,
) -> Tensor: ...


@overload
def upsample_argmax(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    dtype: torch.dtype = torch.int64,
    return_score: Literal[True],
) -> tuple[Tensor, Tensor]: ...


@overload
def upsample_argmax(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    dtype: torch.dtype = torch.int64,
    return_score: bool = False,
) -> Tensor | tuple[Tensor, Tensor]: ...


def upsample_argmax(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    dtype: torch.dtype = torch.int64,
    return_score: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The class of every pixel: ``interpolate(input.float(), ...).argmax(1)``, without the resized logits.

    Logits are interpolated and compared in float32: also those of half types, which PyTorch's interpolate
    would round to the half type first, and of float64. The first of equal classes wins; a NaN wins over every
    number, as in `torch.argmax`.

    Args:
        input: ``(N, C, H, W)`` logits, float64, float32, float16 or bfloat16, any strides.
        size: output ``(H, W)`` in pixels, or one int for both.
        scale_factor: multiplier of ``(H, W)``, or one number for both. Exactly one of size and scale_factor.
        align_corners: True keeps the corner samples, the step between sources is ``(in - 1) / (out - 1)``;
            False samples at half-pixel centres, ``source = (out_index + 0.5) * scale - 0.5``, clamped at 0.
        dtype: of the class indices: uint8, int16, int32 or int64. uint8 makes the result 8 times smaller than
            int64.
        return_score: also return the softmax probability of the chosen class.

    Returns:
        ``(N, H_out, W_out)`` class indices; with `return_score` also their probabilities, float32 of the same
        shape, equal to ``interpolate(input.float(), ...).softmax(1).amax(1)``. Neither has a gradient.

    Raises:
        RuntimeError: there are more classes than `dtype` can hold, or it is not one of the four.
        Otherwise what `torch.nn.functional.interpolate` raises for the same arguments.

    Example:
        >>> logits = torch.tensor([[[[0.0, 4.0]], [[1.0, 1.0]]]])  # two classes, one row of two pixels
        >>> upsample_argmax(logits, scale_factor=(1, 2))  # equal at the second pixel: the first class
        tensor([[[1, 0, 0, 0]]])
    """
    if has_torch_function_unary(input):
        return handle_torch_function(
            upsample_argmax,
            (input,),
            input,
            size=size,
            scale_factor=scale_factor,
            align_corners=align_corners,
            dtype=dtype,
            return_score=return_score,
        )
    resolved = _resolve_logits(input, size, scale_factor, align_corners)
    if resolved is None:
        logits = _native.interpolate(input.detach().float(), size, scale_factor, "bilinear", align_corners)
        _check_index(dtype, logits.shape[1])
        index = logits.argmax(1).to(dtype)
        return (index, logits.softmax(1).amax(1)) if return_score else index
    _check_index(dtype, input.shape[1])
    op = _OPS.upsample_argmax_with_score if return_score else _OPS.upsample_argmax
    return op(input, *resolved, dtype)


def _check_index(dtype: torch.dtype, classes: int) -> None:
    if not isinstance(dtype, torch.dtype) or dtype not in _LARGEST_INDEX:
        raise RuntimeError(f"upsample_argmax: expected dtype uint8, int16, int32 or int64, got {dtype}")
    if classes - 1 > _LARGEST_INDEX[dtype]:
        raise RuntimeError(
            f"upsample_argmax: expected at most {_LARGEST_INDEX[dtype]} + 1 classes, which is what {dtype} "
            f"can hold, got {classes}"
        )


def _resolve_logits(
    input: Tensor, size: object, scale_factor: object, align_corners: object
) -> tuple[list[Int], bool, float | None, float | None] | None:
    """Output size, align_corners, scale_h, scale_w for our ops; None if PyTorch must decide."""
    if not (_is_ours(input) and input.dtype in _FLOATING) or is_distributed(input):
        return None
    if not (align_corners is None or isinstance(align_corners, bool)):
        return None
    resolved = _resolve(input, size, scale_factor, False)
    if resolved is None:
        return None
    output_size, scales = resolved
    scale_h, scale_w = scales or (None, None)
    return output_size, bool(align_corners), scale_h, scale_w


def upsample_threshold(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    threshold: float = 0.0,
) -> Tensor:
    """Resizes an image of logits and compares it with a threshold, as for the masks of SAM.

    Equals ``F.interpolate(input.float(), size, scale_factor, "bilinear", align_corners) > threshold``,
    without storing the resized image. Compares in float32; NaN gives False.

    Args:
        input: ``(N, C, H, W)`` logits of any real dtype.
        size: output ``(H, W)`` in pixels, or one int for both.
        scale_factor: multiplier of ``(H, W)``, or one number for both. Exactly one of size and scale_factor.
        align_corners: True keeps the corner samples, the step between sources is ``(in - 1) / (out - 1)``;
            False samples at half-pixel centres, ``source = (out_index + 0.5) * scale - 0.5``, clamped at 0.
        threshold: a number; logits above it give True.

    Returns:
        bool ``(N, C, H_out, W_out)`` in the memory format of that expression. It has no gradient.

    Raises:
        What that expression raises.

    Example:
        >>> upsample_threshold(torch.tensor([[[[-1.0, 1.0]]]]), size=(1, 4))
        tensor([[[[False, False,  True,  True]]]])
    """
    if has_torch_function_unary(input):
        return handle_torch_function(
            upsample_threshold,
            (input,),
            input,
            size=size,
            scale_factor=scale_factor,
            align_corners=align_corners,
            threshold=threshold,
        )
    if not _is_compiling():
        output = C.upsample_threshold(input, size, scale_factor, align_corners, threshold)
        if output is not None:
            return output
    if input.dtype not in _HALF_OR_SINGLE:
        input = input.float()
    number = threshold if isinstance(threshold, bool) else as_float(threshold)
    if (
        _is_ours(input)
        and isinstance(align_corners, bool)
        and _is_exact_double(number)
        and not is_distributed(input)
    ):
        resolved = _resolve(input, size, scale_factor, False)
        if resolved is not None:
            output_size, scales = resolved
            return _OPS.upsample_threshold(
                input, output_size, align_corners, *(scales or (None, None)), number
            )
    return interpolate(input.float(), size, scale_factor, "bilinear", align_corners) > threshold


def upsample_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    align_corners: bool = False,
) -> Tensor:
    """The loss of a segmentation head, from its low-resolution logits and full-resolution targets.

    Equals ``F.cross_entropy(interpolate(input, size=target.shape[-2:], mode="bilinear",
    align_corners=align_corners), target, weight, ignore_index=..., reduction=..., label_smoothing=...)``,
    forward and backward, with no tensor of N * C * H_out * W_out elements. With a reduction, memory beyond
    the input is one gradient of the input's size (two if the loss is scaled before `backward`); with "none",
    and for half types, it is a copy of the logits, which backward reads again; on CUDA a gradient takes two
    numbers per pixel of the target while it is computed. As with PyTorch's loss, the logits may be modified
    once the loss has been computed (with a reduction, not if a second derivative is needed, which reads
    them). Sums are float32, or float64 for float64 inputs; the gradient is bit for bit the same for any
    number of threads.

    Args:
        input: ``(N, C, H, W)`` logits, float64, float32, float16 or bfloat16, any strides.
        target: ``(N, H_out, W_out)`` class indices, int64. On the CPU all are checked before anything is
            computed; on CUDA, to avoid a synchronisation, by the kernel that reads them.
        weight: ``(C,)`` in the input's dtype, the weight of each class, or None.
        ignore_index: the target value of pixels that have no loss.
        reduction: ``"mean"`` (weighted, over the pixels that are not ignored), ``"sum"`` or ``"none"``.
        label_smoothing: between 0 and 1, the share of the target that is spread over all classes.
        align_corners: True keeps the corner samples, the step between sources is ``(in - 1) / (out - 1)``;
            False samples at half-pixel centres, ``source = (out_index + 0.5) * scale - 0.5``, clamped at 0.

    Returns:
        A scalar, or ``(N, H_out, W_out)`` with "none", in the input's dtype; float32 under autocast. The mean
        over no pixels is NaN and its gradient 0. Second and higher derivatives, and forward-mode AD, use the
        unfused expression.

    Raises:
        IndexError: a target is neither a class nor `ignore_index`. On CUDA this is a device-side assertion,
            as in PyTorch: a later call raises RuntimeError, and the process cannot use the device any more.
        Otherwise what that expression raises. It also computes the loss if targets are class probabilities.

    Example:
        >>> logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
        >>> loss = upsample_cross_entropy(logits, torch.zeros(1, 8, 8, dtype=torch.int64))
        >>> loss.backward()
        >>> round(loss.item(), 4), logits.grad[0, :, 0, 0]
        (1.0986, tensor([-0.1667,  0.0833,  0.0833]))
    """
    if has_torch_function_variadic(input, target, weight):
        return handle_torch_function(
            upsample_cross_entropy,
            (input, target, weight),
            input,
            target,
            weight=weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
            align_corners=align_corners,
        )
    ignored, smoothing = as_int(ignore_index), as_float(label_smoothing)
    if (
        _fits_cross_entropy(input, target, weight)
        and isinstance(reduction, str)
        and reduction in _REDUCTIONS
        and ignored is not None
        and smoothing is not None
        and 0.0 <= smoothing <= 1.0
        and isinstance(align_corners, bool)
    ):
        return _OPS.upsample_cross_entropy(
            input, target, weight, _REDUCTIONS[reduction], ignored, smoothing, align_corners
        )
    logits = _native.interpolate(input, target.shape[-2:], None, "bilinear", align_corners)
    return F.cross_entropy(
        logits,
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def _fits_cross_entropy(input: Tensor, target: object, weight: object) -> bool:
    """Whether shapes, dtypes and devices are those that the fused op supports."""
    return (
        _is_ours(input)
        and input.dtype in _FLOATING
        and not is_distributed(input)
        and isinstance(target, Tensor)
        and target.dtype is torch.int64
        and target.dim() == 3
        and target.device == input.device
        and target.layout is torch.strided
        and target.shape[0] == input.shape[0]
        and _is_filled((*input.shape[1:], *target.shape[1:]))
        and (weight is None or _fits_weight(weight, input))
    )


def _fits_weight(weight: object, input: Tensor) -> bool:
    return (
        isinstance(weight, Tensor)
        and weight.dim() == 1
        and weight.shape[0] == input.shape[1]
        # Autocast casts both to float32, whatever their dtypes.
        and (weight.dtype is input.dtype or torch.is_autocast_enabled(input.device.type))
        and weight.dtype in _FLOATING
        and weight.device == input.device
    )


def upsample_add(input: Tensor, other: Tensor, align_corners: bool = False) -> Tensor:
    """Resizes `input` to the size of `other` and adds the two: the top-down step of a feature pyramid.

    Equals ``F.interpolate(input, size=other.shape[-2:], mode="bilinear", align_corners=align_corners) +
    other``. It takes one pass, without storing the resized image, if the two have the same floating dtype and
    `other` has the resized image's shape or broadcasts to it; otherwise that expression is evaluated. The sum
    of half types is rounded once, by that expression twice.

    Args:
        input: ``(N, C, H, W)``.
        other: ``(N, C, H_out, W_out)``, or a tensor that broadcasts with it; its last two dimensions are the
            output size.
        align_corners: True keeps the corner samples, the step between sources is ``(in - 1) / (out - 1)``;
            False samples at half-pixel centres, ``source = (out_index + 0.5) * scale - 0.5``, clamped at 0.

    Returns:
        ``(N, C, H_out, W_out)`` in the dtype and layout of that expression. Differentiable with respect to
        both arguments.

    Raises:
        What that expression raises.

    Example:
        >>> coarse, fine = torch.ones(1, 8, 4, 5), torch.zeros(1, 8, 8, 10)
        >>> upsample_add(coarse, fine).shape
        torch.Size([1, 8, 8, 10])
    """
    if has_torch_function_variadic(input, other):
        return handle_torch_function(upsample_add, (input, other), input, other, align_corners=align_corners)
    if not _is_compiling():
        output = C.upsample_add(input, other, align_corners)
        if output is not None:
            return output
    if (
        _is_ours(input)
        and input.dtype in _FLOATING
        and isinstance(align_corners, bool)
        and _is_plain_beside(other, input)
        and other.dtype == input.dtype
        and 2 <= other.dim() <= 4
        and _broadcasts_to(other.shape[:-2], input.shape[:2])
        and _is_filled((*input.shape[1:], *other.shape[-2:]))
    ):
        return _OPS.upsample_add(input, other, align_corners)
    return interpolate(input, other.shape[-2:], None, "bilinear", align_corners) + other


def upsample_concat(
    inputs: Sequence[Tensor],
    size: int | Sequence[int] | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Resizes images to one size and concatenates their channels: U-Net, UPerNet and SegFormer decoders.

    Equals ``torch.cat([F.interpolate(t, size, mode="bilinear", align_corners=align_corners) for t in inputs],
    1)``. Each image is resized straight into its channels of the result; one that already has the size is
    copied (where PyTorch multiplies by 1 and 0, which turns an infinity into NaN).

    Args:
        inputs: list or tuple of ``(N, C_i, H_i, W_i)``. If dtypes differ, each is resized in its own dtype
            and then converted to the dtype to which torch.cat promotes them.
        size: output ``(H, W)`` in pixels, or one int for both; default the size of the first input.
        align_corners: True keeps the corner samples, the step between sources is ``(in - 1) / (out - 1)``;
            False samples at half-pixel centres, ``source = (out_index + 0.5) * scale - 0.5``, clamped at 0.

    Returns:
        ``(N, sum of C_i, H, W)``, channels-last if all inputs are. Differentiable with respect to every
        input.

    Raises:
        ValueError: there are no inputs.
        TypeError: `inputs` is not a list or tuple of tensors.
        RuntimeError: the inputs differ in batch size or device.
        What `interpolate` raises for an input that is not 4-D, or an invalid size.

    Example:
        >>> upsample_concat([torch.ones(1, 2, 8, 10), torch.ones(1, 3, 4, 5)]).shape
        torch.Size([1, 5, 8, 10])
    """
    if not isinstance(inputs, (tuple, list)):
        raise TypeError(f"upsample_concat: expected a list or tuple of tensors, got {type(inputs).__name__}")
    if has_torch_function(inputs):
        return handle_torch_function(upsample_concat, inputs, inputs, size=size, align_corners=align_corners)
    if not _is_compiling():
        output = C.upsample_concat(inputs, size, align_corners)
        if output is not None:
            return output
    _check_concat(inputs)
    if size is None:
        size = list(inputs[0].shape[-2:])
    output_size = _concat_size(inputs, size) if isinstance(align_corners, bool) else None
    if output_size is not None:
        return _OPS.upsample_concat(inputs, output_size, align_corners)
    return torch.cat([interpolate(t, size, None, "bilinear", align_corners) for t in inputs], 1)


def _is_plain_beside(other: object, input: Tensor) -> bool:
    """Whether `other` is a dense tensor on the input's device, and neither is a DTensor."""
    return (
        isinstance(other, Tensor)
        and other.device == input.device
        and other.layout is torch.strided
        and not other.is_nested
        and not is_distributed(input)
        and not is_distributed(other)
    )


def _broadcasts_to(shape: Sequence[int], target: Sequence[int]) -> bool:
    """Whether the leading dimensions, aligned on the right, are 1 or the target's."""
    return all(n == 1 or n == wanted for n, wanted in zip(shape[::-1], target[::-1], strict=False))


def _is_exact_double(number: object) -> bool:
    """Whether a Python number converted to float32 by way of float64 is what PyTorch compares with."""
    return isinstance(number, float) or (isinstance(number, int) and abs(number) <= 2**53)


def _check_concat(inputs: Sequence[Tensor]) -> None:
    if not inputs:
        raise ValueError("upsample_concat: expected a non-empty list of tensors, got an empty one")
    for i, t in enumerate(inputs):
        if not isinstance(t, Tensor):
            raise TypeError(f"upsample_concat: expected tensors, got {type(t).__name__} at position {i}")
    if all(t.dim() == 4 for t in inputs) and any(t.shape[0] != inputs[0].shape[0] for t in inputs):
        shapes = [tuple(t.shape) for t in inputs]
        raise RuntimeError(f"upsample_concat: expected inputs of one batch size, got shapes {shapes}")


def _concat_size(inputs: Sequence[Tensor], size: object) -> list[Int] | None:
    """The output size where the fused op takes these inputs, else None."""
    first = inputs[0]
    if len(inputs) > _MOST_INPUTS or not _is_ours(first) or is_distributed(first):
        return None
    if not all(_is_ours(t) and _is_plain_beside(t, first) for t in inputs[1:]):
        return None
    if not all(_is_filled(t.shape[1:]) for t in inputs):
        return None
    dtypes = {t.dtype for t in inputs}
    # Under autocast, cat has other promotion rules and rejects some dtypes.
    if torch._C._is_any_autocast_enabled() and dtypes not in ({torch.float32}, {torch.float64}):
        return None
    output_size = as_int_pair(size)
    return output_size if output_size is not None and _is_filled(output_size) else None
