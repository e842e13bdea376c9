"""`upsample_add`: upsampling and a sum, the top-down step of a feature pyramid, in one pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from upsample_ext._judge import (
    FLOATING,
    corners_or_none,
    is_filled,
    is_image_of,
    is_plain_beside,
    takes_align_corners,
    untraced,
)
from upsample_ext._library import C
from upsample_ext.resample import interpolate

_is_compiling = torch.compiler.is_compiling


def upsample_add(
    input: Tensor, other: Tensor, align_corners: bool = False, *, mode: str = "bilinear"
) -> Tensor:
    """Resizes `input` to the size of `other` and adds the two: the top-down step of a feature pyramid.

    Equals ``F.interpolate(input, size=other.shape[-2:], mode=mode, align_corners=align_corners) + other``,
    where modes that have no align_corners get None. It takes one pass, without storing the resized image, if
    the two have the same floating dtype and `other` has the resized image's shape or broadcasts to it;
    otherwise that expression is evaluated. The sum of half types is rounded once, by that expression twice.

    Args:
        input: ``(N, C, H, W)``.
        other: ``(N, C, H_out, W_out)``, or a tensor that broadcasts with it; its last two dimensions are the
            output size.
        align_corners: of bilinear and bicubic. True keeps the corner samples, the step between sources is
            ``(in - 1) / (out - 1)``; False samples at half-pixel centres, ``source = (out_index + 0.5) *
            scale - 0.5``, which bilinear clamps at 0.
        mode: ``"bilinear"``, ``"nearest"``, ``"nearest-exact"``, ``"bicubic"`` or ``"area"``; on CUDA all but
            bilinear run as that expression.

    Returns:
        ``(N, C, H_out, W_out)`` in the dtype and layout of that expression. Differentiable with respect to
        both arguments.

    Raises:
        What that expression raises.

    Example:
        >>> coarse, fine = torch.ones(1, 8, 4, 5), torch.zeros(1, 8, 8, 10)
        >>> upsample_add(coarse, fine).shape
        torch.Size([1, 8, 8, 10])
        >>> upsample_add(coarse, fine, mode="nearest").shape
        torch.Size([1, 8, 8, 10])
    """
    if has_torch_function_variadic(input, other):
        return handle_torch_function(
            upsample_add, (input, other), input, other, align_corners=align_corners, mode=mode
        )
    if not _is_compiling():
        output = C.upsample_add(input, other, align_corners, mode)
        if output is not None:
            return output
    corners: Any = corners_or_none(mode, align_corners)
    if is_image_of(input, mode) and takes_align_corners(mode, corners) and untraced(_fits, other, input):
        return torch.ops.upsample_ext.upsample_add(input, other, bool(corners), mode)
    return interpolate(input, other.shape[-2:], None, mode, corners) + other


def _fits(other: Tensor, input: Tensor) -> bool:
    """Whether shapes and dtypes are those that the fused op supports."""
    return (
        input.dtype in FLOATING
        and is_plain_beside(other, input)
        and other.dtype == input.dtype
        and 2 <= other.dim() <= 4
        and _broadcasts_to(other.shape[:-2], input.shape[:2])
        and is_filled((*input.shape[1:], *other.shape[-2:]))
    )


def _broadcasts_to(shape: Sequence[int], target: Sequence[int]) -> bool:
    """Whether the leading dimensions, aligned on the right, are 1 or the target's."""
    aligned = target[len(target) - len(shape) :]
    return all(n == 1 or n == wanted for n, wanted in zip(shape, aligned, strict=True))
