"""Resizes after one another, as lazy resizes gather them, and what consumes the last: in one pass.

A chain is a sequence of stages, each a bilinear resize and a crop of its result. Its outputs are weighted
sums of a few samples of the first image, which are read straight from there. Not public: arguments are
resolved and valid, as `_judge.resolve_logits` leaves them, and the input is a floating image that is
`_judge.is_ours`.

Values are those of float64 arithmetic to at least native's own precision, and not bit for bit native's, which
rounds after each stage: half types natively to the half type, here once. Infinities can differ only where
native multiplies one by a weight of 0 in a later stage, or at an edge, and so makes NaN of it. A single stage
equals the op of a single resize bit for bit, whatever its crop.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from upsample_ext import _transforms
from upsample_ext._judge import FLOATING
from upsample_ext._numbers import Int

_OPS = torch.ops.upsample_ext


class Stage(NamedTuple):
    """A resize to `size`, of which `crop` is kept; in a chain bilinear. A plain tuple of these will do."""

    size: Sequence[Int]
    scale_factors: Sequence[float | None] | None = None  # None: the sizes set the coordinates
    align_corners: bool = False
    crop: Sequence[Int] | None = None  # top, left, height, width; None: all
    mode: str = "bilinear"


def chain_resample(input: Tensor, stages: Sequence[Stage]) -> Tensor:
    """The image that the stages leave: ``(N, C, H, W)``, dense, in the input's dtype. Differentiable."""
    if has_torch_function_unary(input):
        return handle_torch_function(chain_resample, (input,), input, stages)
    if input.dtype not in FLOATING:  # bytes are rounded after each stage
        return _by_stages(input, stages)
    _transforms.register_sharding_if_distributed(input)
    return _OPS.upsample_chain(input, *_flat(stages))


def chain_threshold(input: Tensor, stages: Sequence[Stage], threshold: float) -> Tensor:
    """``chain_resample(input.float(), stages) > threshold``."""
    if has_torch_function_unary(input):
        return handle_torch_function(chain_threshold, (input,), input, stages, threshold)
    if _transforms.is_distributed(input):
        return chain_resample(input.float(), stages) > threshold
    if input.dtype not in FLOATING or input.dtype is torch.float64:
        input = input.float()
    return _OPS.upsample_chain_threshold(input, *_flat(stages), threshold)


def chain_argmax(
    input: Tensor, stages: Sequence[Stage], dtype: torch.dtype = torch.int64, return_score: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """``chain_resample(input.float(), stages).argmax(1)`` as `dtype`; with it, if asked, its probability."""
    if has_torch_function_unary(input):
        return handle_torch_function(chain_argmax, (input,), input, stages, dtype, return_score)
    if _transforms.is_distributed(input):
        logits = chain_resample(input.detach().float(), stages)
        index = logits.argmax(1).to(dtype)
        return (index, logits.softmax(1).amax(1)) if return_score else index
    if input.dtype not in FLOATING:
        input = input.float()
    op = _OPS.upsample_chain_argmax_with_score if return_score else _OPS.upsample_chain_argmax
    return op(input, *_flat(stages), dtype)


def _by_stages(input: Tensor, stages: Sequence[Stage]) -> Tensor:
    for size, scale_factors, align_corners, crop, *_ in stages:
        input = _OPS.upsample_bilinear2d(input, size, align_corners, *(scale_factors or (None, None)))
        if crop is not None:
            top, left, height, width = crop
            input = input[:, :, top : top + height, left : left + width]
    return input


def _flat(stages: Sequence[Stage]) -> tuple[list[Int], list[Int], list[int], list[float] | None]:
    """The stages as the ops take them, see csrc/ops/schemas.cpp."""
    sizes: list[Int] = []
    crops: list[Int] = []
    aligned: list[int] = []
    scales: list[float] = []
    for size, scale_factors, align_corners, crop, *_ in stages:
        sizes += size
        crops += (0, 0, *size) if crop is None else crop
        aligned.append(int(align_corners))
        scales += [scale or 0.0 for scale in scale_factors or (0.0, 0.0)]
    return sizes, crops, aligned, scales if any(scales) else None
