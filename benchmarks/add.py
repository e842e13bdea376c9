"""Rows of ``upsample_add``: upsampling into a sum, as feature pyramids do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

import upsample_ext

from .argmax import ADE, mode_of
from .contest import BOTH, CHANNELS_LAST, CONTIGUOUS, Contest, Row, contest, random_input
from .resample import FPN_DETECTION, PYRAMID, SEGMENTATION, output_size


def make_add(row: Row, device: torch.device) -> Contest:
    """``interpolate(input) + other``."""
    size, mode = output_size(row), mode_of(row)
    other = random_input(replace(row, shape=(*row.shape[:2], *size)), device)

    def native(x: Tensor, y: Tensor) -> Tensor:
        return F.interpolate(x, size, mode=mode) + y

    def in_place(x: Tensor, y: Tensor) -> Tensor:
        return F.interpolate(x, size, mode=mode).add_(y)

    def ours(x: Tensor, y: Tensor) -> Tensor:
        return upsample_ext.upsample_add(x, y, mode=mode)

    return contest(
        row,
        [random_input(row, device), other],
        ours=ours,
        native=native,
        images=2,
        others={"chunked": in_place},
    )


def rows() -> Iterator[Row]:
    """All rows of the op."""
    for shape, to in ((ADE, "x4"), (SEGMENTATION, "x8"), (FPN_DETECTION, "x2")):
        base = _row(shape, to, compiled="full")
        yield replace(base, quick=True, headline=True)
        quick = shape == FPN_DETECTION
        yield replace(base, layout=CHANNELS_LAST, quick=quick, headline=quick)
        yield replace(base, dtype=torch.bfloat16)
        yield replace(base, direction=BOTH)
    for layout in (CONTIGUOUS, CHANNELS_LAST):
        base = _row(FPN_DETECTION, "x2", variant="nearest", layout=layout, compiled="full")
        yield base
        yield replace(base, direction=BOTH)
    yield _row(FPN_DETECTION, "x2", variant="bicubic", compiled="full")


def gpu_rows() -> Iterator[Row]:
    """Rows of sizes that fill a GPU."""
    for dtype in (torch.float32, torch.float16):
        yield _row(PYRAMID, "x2", dtype=dtype, compiled="full", quick=True, headline=True)
        yield _row(PYRAMID, "x2", dtype=dtype, layout=CHANNELS_LAST, compiled="full")


def _row(shape: tuple[int, ...], to: str, **fields: object) -> Row:
    return Row(op="upsample_add", shape=shape, to=to, make=make_add, memory=True, **fields)  # type: ignore[arg-type]
