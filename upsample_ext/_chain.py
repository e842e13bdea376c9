"""Resizes after one another, as lazy resizes gather them, and what consumes the last: in one pass.

A chain is a sequence of stages, each a bilinear resize and a crop of its result. Not public: arguments are
resolved and valid, as `_judge.resolve_logits` leaves them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from upsample_ext._numbers import Int

_OPS = torch.ops.upsample_ext


class Stage(NamedTuple):
    """A bilinear resize to `size`, of which `crop` is kept. A plain tuple of these four will do."""

    size: tuple[Int, Int]
    scale_factors: tuple[float | None, float | None] | None = None  # None: the sizes set the coordinates
    align_corners: bool = False
    crop: tuple[Int, Int, Int, Int] | None = None  # top, left, height, width


def chain_resample(input: Tensor, stages: Sequence[Stage]) -> Tensor:
    """The image that the stages leave: ``(N, C, H, W)`` in the input's dtype."""
    for stage in stages:
        size, scales, align_corners, crop = stage
        input = _OPS.upsample_bilinear2d(input, size, align_corners, *(scales or (None, None)))
        if crop is not None:
            top, left, height, width = crop
            input = input[:, :, top : top + height, left : left + width]
    return input


def chain_threshold(input: Tensor, stages: Sequence[Stage], threshold: float) -> Tensor:
    """``chain_resample(input.float(), stages) > threshold``."""
    return chain_resample(input.float(), stages) > threshold


def chain_argmax(
    input: Tensor, stages: Sequence[Stage], dtype: torch.dtype = torch.int64, return_score: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """``chain_resample(input.float(), stages).argmax(1)`` as `dtype`; with it, if asked, its probability."""
    logits = chain_resample(input.detach().float(), stages)
    index = logits.argmax(1).to(dtype)
    return (index, logits.softmax(1).amax(1)) if return_score else index
