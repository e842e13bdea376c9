"""`upsample_concat`: upsampling into the channels of one result, as decoders with several scales do."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from upsample_ext._judge import (
    corners_or_none,
    is_filled,
    is_image_of,
    is_plain_beside,
    sized,
    takes_align_corners,
    traced_size,
    untraced,
)
from upsample_ext._library import C
from upsample_ext._numbers import Int, as_ints
from upsample_ext._transforms import is_distributed
from upsample_ext.resample import interpolate

_is_compiling = torch.compiler.is_compiling
# The op's NeedsGradient keeps one bit per input in an int64_t
_MOST_INPUTS = 63


def upsample_concat(
    inputs: Sequence[Tensor],
    size: int | Sequence[int] | None = None,
    align_corners: bool = False,
    *,
    mode: str = "bilinear",
) -> Tensor:
    """Resizes images to one size and concatenates their channels: U-Net, UPerNet and SegFormer decoders.

    Equals ``torch.cat([F.interpolate(t, size, mode=mode, align_corners=align_corners) for t in inputs], 1)``,
    where modes that have no align_corners get None. Each image is resized straight into its channels of the
    result; one that already has the size is copied (where PyTorch multiplies by 1 and 0, which turns an
    infinity into NaN).

    Args:
        inputs: list or tuple of ``(N, C_i, H_i, W_i)``. If dtypes differ, each is resized in its own dtype
            and then converted to the dtype to which torch.cat promotes them.
        size: output ``(H, W)`` in pixels, or one int for both; default the size of the first input.
        align_corners: of bilinear and bicubic. True keeps the corner samples, the step between sources is
            ``(in - 1) / (out - 1)``; False samples at half-pixel centres, ``source = (out_index + 0.5) *
            scale - 0.5``, which bilinear clamps at 0.
        mode: ``"bilinear"``, ``"nearest"``, ``"nearest-exact"``, ``"bicubic"`` or ``"area"``; on CUDA all but
            bilinear run as that expression.

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
        return handle_torch_function(
            upsample_concat, inputs, inputs, size=size, align_corners=align_corners, mode=mode
        )
    if not _is_compiling():
        output = C.upsample_concat(inputs, size, align_corners, mode)
        if output is not None:
            return output
    untraced(_check_concat, inputs)
    if size is None:
        size = list(inputs[0].shape[-2:])
    output_size = None
    corners: Any = corners_or_none(mode, align_corners)
    if is_image_of(inputs[0], mode) and takes_align_corners(mode, corners):
        output_size = untraced(_concat_size, inputs, size, mode)
    if output_size is not None:
        to = traced_size(inputs[0], size, None) or output_size
        return sized(torch.ops.upsample_ext.upsample_concat, to)(inputs, to, bool(corners), mode)
    return torch.cat([interpolate(t, size, None, mode, corners) for t in inputs], 1)


def _check_concat(inputs: Sequence[Tensor]) -> None:
    if not inputs:
        raise ValueError("upsample_concat: expected a non-empty list of tensors, got an empty one")
    for i, t in enumerate(inputs):
        if not isinstance(t, Tensor):
            raise TypeError(f"upsample_concat: expected tensors, got {type(t).__name__} at position {i}")
    if all(t.dim() == 4 for t in inputs) and any(t.shape[0] != inputs[0].shape[0] for t in inputs):
        shapes = [tuple(t.shape) for t in inputs]
        raise RuntimeError(f"upsample_concat: expected inputs of one batch size, got shapes {shapes}")


def _concat_size(inputs: Sequence[Tensor], size: object, mode: str) -> list[Int] | None:
    """The output size where the fused op takes these inputs, else None."""
    first = inputs[0]
    if len(inputs) > _MOST_INPUTS or is_distributed(first):
        return None
    if not all(is_image_of(t, mode) and is_plain_beside(t, first) for t in inputs[1:]):
        return None
    if not all(is_filled(t.shape[1:]) for t in inputs):
        return None
    dtypes = {t.dtype for t in inputs}
    # Under autocast, cat has other promotion rules and rejects some dtypes.
    if torch._C._is_any_autocast_enabled() and dtypes not in ({torch.float32}, {torch.float64}):
        return None
    output_size = as_ints(size, 2)
    return output_size if output_size is not None and is_filled(output_size) else None
