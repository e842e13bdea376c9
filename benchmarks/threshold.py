"""Rows of ``upsample_threshold``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

import upsample_ext

from .argmax import ADE, decision_contest, factor_of, interpolated, mode_of
from .bands import bands, upsample
from .contest import CHANNELS_LAST, Contest, Distance, Exact, Row, memory_format, random_input
from .resample import SEGMENTATION, STREET, TRAINING, batches, output_size

SAM = (3, 1, 256, 256)
"""The three masks that Segment Anything proposes at a point."""


def make_threshold(row: Row, device: torch.device) -> Contest:
    """Masks of the logits above 0."""
    input, factor, mode = random_input(row, device), factor_of(row), mode_of(row)

    def ours() -> Tensor:
        return upsample_ext.upsample_threshold(input, scale_factor=factor, mode=mode)

    def native(x: Tensor) -> Tensor:
        return interpolated(x, factor, mode) > 0

    def chunked() -> Tensor:
        shape, format = (*row.shape[:2], *output_size(row)), memory_format(row.layout)
        result = torch.empty(shape, dtype=torch.bool, device=device, memory_format=format)
        for band in bands(input, factor):
            piece = upsample(input[:, :, band.source].float(), band, factor)
            torch.gt(piece, 0, out=result[:, :, band.target])
        return result

    def upsampled(x: Tensor) -> Tensor:
        return interpolated(x, factor, mode)

    others = {"chunked": chunked} if mode == "bilinear" else {}
    return decision_contest(input, ours, native, upsampled, mask_distances, others)


def mask_distances(exact: Exact, results: tuple[Tensor, ...]) -> Sequence[Distance]:
    """How far the exact logits of wrong bits are from the threshold, 0."""
    (logits,) = exact
    (mask,) = results
    wrong = logits.abs().masked_fill_(mask == (logits > 0), 0)
    return [Distance(float(wrong.max()), float(logits.abs().max()), int((wrong > 0).sum()))]


def rows() -> Iterator[Row]:
    """All rows of the op."""
    for shape, to in ((ADE, "x4"), (SEGMENTATION, "x8"), (SAM, "x4")):
        yield _row(shape, to, quick=True, compiled="full", headline=True)
        yield _row(shape, to, dtype=torch.bfloat16, compiled="full")
    yield _row(SEGMENTATION, "x8", layout=CHANNELS_LAST, compiled="full")
    for mode in ("nearest", "bicubic"):
        yield _row(SEGMENTATION, "x8", variant=mode, compiled="full")


def gpu_rows() -> Iterator[Row]:
    """Rows of sizes that fill a GPU."""
    for shape, to in ((TRAINING, "x4"), (STREET, "x8")):
        base = _row(shape, to, compiled="full", quick=True)
        yield replace(base, headline=shape == TRAINING)
        yield replace(base, dtype=torch.float16)
    for to, whole in (("x4", TRAINING), ("x8", SEGMENTATION)):
        for shape in batches(whole):
            yield _row(shape, to, compiled="full")


def _row(shape: tuple[int, ...], to: str, **fields: object) -> Row:
    return Row(op="upsample_threshold", shape=shape, to=to, make=make_threshold, memory=True, **fields)  # type: ignore[arg-type]
