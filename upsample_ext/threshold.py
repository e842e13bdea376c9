"""`upsample_threshold`: the mask of an upsampled image, which is never stored."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from upsample_ext._judge import corners_or_none, resolve_logits, sized
from upsample_ext._library import C
from upsample_ext._numbers import as_float_or_item
from upsample_ext.resample import interpolate

_is_compiling = torch.compiler.is_compiling
_HALF_OR_SINGLE = frozenset((torch.float32, torch.float16, torch.bfloat16))


def upsample_threshold(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    threshold: float = 0.0,
    mode: str = "bilinear",
) -> Tensor:
    """Resizes an image of logits and compares it with a threshold, as for the masks of SAM.

    Equals ``F.interpolate(input.float(), size, scale_factor, mode, align_corners) > threshold``, where modes
    that have no align_corners get None, without storing the resized image. Compares in float32; NaN gives
    False.

    Args:
        input: ``(N, C, H, W)`` logits of any real dtype.
        size: output ``(H, W)`` in pixels, or one int for both.
        scale_factor: multiplier of ``(H, W)``, or one number for both. Exactly one of size and scale_factor.
        align_corners: of bilinear and bicubic. True keeps the corner samples, the step between sources is
            ``(in - 1) / (out - 1)``; False samples at half-pixel centres, ``source = (out_index + 0.5) *
            scale - 0.5``, which bilinear clamps at 0.
        threshold: a number; logits above it give True.
        mode: ``"bilinear"``, ``"nearest"``, ``"nearest-exact"``, ``"bicubic"`` or ``"area"``; on CUDA all but
            bilinear run as that expression.

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
            mode=mode,
        )
    if not _is_compiling():
        output = C.upsample_threshold(input, size, scale_factor, align_corners, threshold, mode)
        if output is not None:
            return output
    if input.dtype not in _HALF_OR_SINGLE:
        input = input.float()
    number = None if _promotes(threshold) else as_float_or_item(threshold)
    if _is_exact_double(number):
        resolved = resolve_logits(input, size, scale_factor, align_corners, mode)
        if resolved is not None:
            op = sized(torch.ops.upsample_ext.upsample_threshold, resolved[0])
            return op(input, *resolved, number, mode)
    corners: Any = corners_or_none(mode, align_corners)
    return interpolate(input.float(), size, scale_factor, mode, corners) > threshold


def _promotes(threshold: object) -> bool:
    """Whether a tensor gives the comparison another dtype or shape than a number would."""
    return (
        isinstance(threshold, Tensor)
        and threshold.dim() > 0
        and not (threshold.dim() <= 4 and threshold.dtype in _HALF_OR_SINGLE)
    )


def _is_exact_double(number: object) -> bool:
    """Whether a Python number converted to float32 by way of float64 is what PyTorch compares with."""
    return isinstance(number, float) or (isinstance(number, int) and abs(number) <= 2**53)
