"""`upsample_argmax`: the class of every pixel of upsampled logits, which are never stored."""

from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from upsample_ext import _native
from upsample_ext._judge import corners_or_none, resolve_logits, sized, untraced
from upsample_ext._library import C

_is_compiling = torch.compiler.is_compiling
_LARGEST_INDEX = {
    dtype: torch.iinfo(dtype).max for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64)
}


@overload
def upsample_argmax(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    dtype: torch.dtype = torch.int64,
    return_score: Literal[False] = False,
    mode: str = "bilinear",
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
    mode: str = "bilinear",
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
    mode: str = "bilinear",
) -> Tensor | tuple[Tensor, Tensor]: ...


def upsample_argmax(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    dtype: torch.dtype = torch.int64,
    return_score: bool = False,
    mode: str = "bilinear",
) -> Tensor | tuple[Tensor, Tensor]:
    """The class of every pixel: ``interpolate(input.float(), ...).argmax(1)``, without the resized logits.

    Logits are interpolated and compared in float32: also those of half types, which PyTorch's interpolate
    would round to the half type first, and of float64. The first of equal classes wins; a NaN wins over every
    number, as in `torch.argmax`.

    Args:
        input: ``(N, C, H, W)`` logits, float64, float32, float16 or bfloat16, any strides.
        size: output ``(H, W)`` in pixels, or one int for both.
        scale_factor: multiplier of ``(H, W)``, or one number for both. Exactly one of size and scale_factor.
        align_corners: of bilinear and bicubic. True keeps the corner samples, the step between sources is
            ``(in - 1) / (out - 1)``; False samples at half-pixel centres, ``source = (out_index + 0.5) *
            scale - 0.5``, which bilinear clamps at 0.
        dtype: of the class indices: uint8, int16, int32 or int64. uint8 makes the result 8 times smaller than
            int64.
        return_score: also return the softmax probability of the chosen class.
        mode: ``"bilinear"``, ``"nearest"``, ``"nearest-exact"``, ``"bicubic"`` or ``"area"``; on CUDA all but
            bilinear run as that expression.

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
            mode=mode,
        )
    if not _is_compiling():
        output = C.upsample_argmax(input, size, scale_factor, align_corners, dtype, return_score, mode)
        if output is not None:
            return output
    resolved = resolve_logits(input, size, scale_factor, align_corners, mode)
    if resolved is None:
        corners: Any = corners_or_none(mode, align_corners)
        logits = _native.interpolate(input.detach().float(), size, scale_factor, mode, corners)
        _check_index(dtype, logits.shape[1])
        index = logits.argmax(1).to(dtype)
        return (index, logits.softmax(1).amax(1)) if return_score else index
    _check_index(dtype, untraced(_classes, input))
    ops = torch.ops.upsample_ext
    op = ops.upsample_argmax_with_score if return_score else ops.upsample_argmax
    return sized(op, resolved[0])(input, *resolved, dtype, mode)


def _check_index(dtype: torch.dtype, classes: int) -> None:
    if not isinstance(dtype, torch.dtype) or dtype not in _LARGEST_INDEX:
        raise RuntimeError(f"upsample_argmax: expected dtype uint8, int16, int32 or int64, got {dtype}")
    if classes - 1 > _LARGEST_INDEX[dtype]:
        raise RuntimeError(
            f"upsample_argmax: expected at most {_LARGEST_INDEX[dtype]} + 1 classes, which is what {dtype} "
            f"can hold, got {classes}"
        )


def _classes(logits: Tensor) -> int:
    return logits.shape[1]
