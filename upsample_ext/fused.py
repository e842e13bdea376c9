"""Bilinear resize fused with what usually follows it, so that the resized image is never stored."""

import collections.abc
import sys

import torch
from torch import Tensor
from torch.overrides import (
    handle_torch_function,
    has_torch_function,
    has_torch_function_unary,
    has_torch_function_variadic,
)

from upsample_ext import _transforms  # noqa: F401  (registers the rules for vmap)
from upsample_ext._library import C
from upsample_ext.interpolate import _FLOATING, _is_ours, _pair, _resolve, interpolate

_OPS = torch.ops.upsample_ext
_is_compiling = torch.compiler.is_compiling
_HALF_OR_SINGLE = frozenset((torch.float32, torch.float16, torch.bfloat16))
# What one node of the autograd graph can tell apart
_MOST_INPUTS = 63


def upsample_add(input: Tensor, other: Tensor, align_corners: bool = False) -> Tensor:
    """Resizes `input` to the size of `other` and adds the two: the top-down step of a feature pyramid.

    Equals ``F.interpolate(input, size=other.shape[-2:], mode="bilinear", align_corners=align_corners) +
    other``. In one pass, without the resized image, where the two have one floating dtype and `other` has
    the resized image's shape or broadcasts to it; else it is that expression. The sum of half types is
    rounded once, native's twice.

    Args:
        input: ``(N, C, H, W)``.
        other: ``(N, C, H_out, W_out)``, or what broadcasts with it.
        align_corners: see `interpolate`.

    Returns:
        ``(N, C, H_out, W_out)`` in the dtype and layout that native's expression gives. Differentiable to
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
        and all(extent > 0 for extent in (*input.shape[1:], *other.shape[-2:]))
    ):
        return _OPS.upsample_add(input, other, align_corners)
    return interpolate(input, other.shape[-2:], None, "bilinear", align_corners) + other


def upsample_concat(
    inputs: collections.abc.Sequence[Tensor],
    size: int | collections.abc.Sequence[int] | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Resizes images to one size and concatenates their channels: U-Net, UPerNet and SegFormer decoders.

    Equals ``torch.cat([F.interpolate(t, size, mode="bilinear", align_corners=align_corners) for t in inputs],
    1)``. Each image is resized straight into its channels of the result, and one that has the size already is
    copied (where native multiplies by 1 and 0, which makes NaN of an infinity).

    Args:
        inputs: list or tuple of ``(N, C_i, H_i, W_i)``. Of several dtypes, each is resized in its own and
            then converted, as torch.cat promotes them.
        size: output ``(H, W)`` in pixels, or one int for both. Without it, the size of the first input.
        align_corners: see `interpolate`.

    Returns:
        ``(N, sum of C_i, H, W)``, channels-last where all inputs are. Differentiable to every input.

    Raises:
        ValueError: there are no inputs.
        TypeError: `inputs` is not a list or tuple of tensors.
        RuntimeError: the inputs differ in batch size or device.
        What `interpolate` raises for an input that is not 4-D, or a bad size.

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


def upsample_threshold(
    input: Tensor,
    size: int | collections.abc.Sequence[int] | None = None,
    scale_factor: float | collections.abc.Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    threshold: float = 0.0,
) -> Tensor:
    """Resizes an image of logits and tells where it is above a threshold: the masks of SAM.

    Equals ``F.interpolate(input.float(), size, scale_factor, "bilinear", align_corners) > threshold``,
    without the resized image. The comparison is in float32, and false for NaN.

    Args:
        input: ``(N, C, H, W)`` of any real dtype.
        size: output ``(H, W)`` in pixels, or one int for both.
        scale_factor: multiplier of ``(H, W)``, or one number for both. Exactly one of size and scale_factor.
        align_corners: see `interpolate`.
        threshold: a number.

    Returns:
        bool ``(N, C, H_out, W_out)`` in the memory format of native's expression. It has no gradient.

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
    if (
        _is_ours(input)
        and isinstance(align_corners, bool)
        and _is_exact_double(threshold)
        and not _is_distributed(input)
    ):
        resolved = _resolve(input, size, scale_factor, False)
        if resolved is not None:
            output_size, scales = resolved
            return _OPS.upsample_threshold(
                input, output_size, align_corners, *(scales or (None, None)), threshold
            )
    return interpolate(input.float(), size, scale_factor, "bilinear", align_corners) > threshold


def _is_plain_beside(other: object, input: Tensor) -> bool:
    """Whether `other` is a dense tensor on the input's device, and neither is sharded."""
    return (
        isinstance(other, Tensor)
        and other.device == input.device
        and other.layout is torch.strided
        and not other.is_nested
        and not _is_distributed(input)
        and not _is_distributed(other)
    )


def _broadcasts_to(shape, target) -> bool:
    """Whether leading dimensions, aligned at their ends, are 1 or the target's."""
    return all(n == 1 or n == wanted for n, wanted in zip(shape[::-1], target[::-1], strict=False))


def _is_distributed(tensor: object) -> bool:
    """A DTensor knows how to shard native's ops, not the fused ones."""
    distributed = sys.modules.get("torch.distributed.tensor")
    return distributed is not None and isinstance(tensor, distributed.DTensor)


def _is_exact_double(number: object) -> bool:
    """Whether a Python number reaches float32 by way of float64 as it does natively."""
    return isinstance(number, float) or (isinstance(number, int) and abs(number) <= 2**53)


def _check_concat(inputs) -> None:
    if not inputs:
        raise ValueError("upsample_concat: expected a non-empty list of tensors, got an empty one")
    for i, t in enumerate(inputs):
        if not isinstance(t, Tensor):
            raise TypeError(f"upsample_concat: expected tensors, got {type(t).__name__} at position {i}")
    if all(t.dim() == 4 for t in inputs) and any(t.shape[0] != inputs[0].shape[0] for t in inputs):
        shapes = [tuple(t.shape) for t in inputs]
        raise RuntimeError(f"upsample_concat: expected inputs of one batch size, got shapes {shapes}")


def _concat_size(inputs, size) -> list | None:
    """The output size where the fused op takes these inputs, else None."""
    first = inputs[0]
    if len(inputs) > _MOST_INPUTS or not _is_ours(first) or _is_distributed(first):
        return None
    if not all(_is_ours(t) and _is_plain_beside(t, first) for t in inputs[1:]):
        return None
    if not all(extent > 0 for t in inputs for extent in t.shape[1:]):
        return None
    dtypes = {t.dtype for t in inputs}
    # Under autocast cat promotes in a way of its own, and refuses some dtypes.
    if torch._C._is_any_autocast_enabled() and dtypes not in ({torch.float32}, {torch.float64}):
        return None
    output_size = _pair(size, (int, torch.SymInt))
    return output_size if output_size is not None and all(extent > 0 for extent in output_size) else None
