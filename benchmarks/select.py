"""Rows of upsampling that ends in a decision: ``upsample_argmax`` and ``upsample_threshold``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

import upsample_ext

from .bands import bands, upsample
from .contest import (
    CHANNELS_LAST,
    Contest,
    Distance,
    Exact,
    Function,
    Measure,
    Row,
    Side,
    bytes_of,
    compiled,
    memory_format,
    random_input,
)
from .resample import SEGMENTATION, STREET, TRAINING, batches, output_size

ADE = (1, 150, 128, 128)
"""Logits of a SegFormer on ADE20K, 512x512 pixels."""
SAM = (3, 1, 256, 256)
"""The three masks that Segment Anything proposes at a point."""
SCORE = "score"


def make_argmax(row: Row, device: torch.device) -> Contest:
    """Labels, and with the variant "score" the winner's probability."""
    input, factor = random_input(row, device), _factor(row)
    with_score = row.variant == SCORE

    def ours() -> object:
        return upsample_ext.upsample_argmax(input, scale_factor=factor, return_score=with_score)

    def decide(logits: Tensor) -> tuple[Tensor, ...]:
        if not with_score:
            return (logits.argmax(1),)
        score, label = logits.softmax(1).max(1)
        return label, score

    def native(x: Tensor) -> tuple[Tensor, ...]:
        return decide(_interpolated(x, factor))

    def chunked() -> tuple[Tensor, ...]:
        shape = (row.shape[0], *output_size(row))
        dtypes = (torch.int64, torch.float32)[: 1 + with_score]
        results = tuple(torch.empty(shape, dtype=dtype, device=device) for dtype in dtypes)
        for band in bands(input, factor):
            pieces = decide(upsample(input[:, :, band.source].float(), band, factor))
            for result, piece in zip(results, pieces, strict=True):
                result[:, band.target] = piece
        return results

    return _contest(row, input, ours, native, chunked, label_distances)


def make_threshold(row: Row, device: torch.device) -> Contest:
    """Masks of the logits above 0."""
    input, factor = random_input(row, device), _factor(row)

    def ours() -> Tensor:
        return upsample_ext.upsample_threshold(input, scale_factor=factor)

    def native(x: Tensor) -> Tensor:
        return _interpolated(x, factor) > 0

    def chunked() -> Tensor:
        shape, format = (*row.shape[:2], *output_size(row)), memory_format(row.layout)
        result = torch.empty(shape, dtype=torch.bool, device=device, memory_format=format)
        for band in bands(input, factor):
            piece = upsample(input[:, :, band.source].float(), band, factor)
            torch.gt(piece, 0, out=result[:, :, band.target])
        return result

    return _contest(row, input, ours, native, chunked, mask_distances)


def label_distances(exact: Exact, results: tuple[Tensor, ...]) -> Iterator[Distance]:
    """How far the exact logits of the chosen classes are below the best; then the errors of the scores."""
    (logits,) = exact
    labels, *scores = results
    chosen = logits.gather(1, labels.long()[:, None])[:, 0]
    behind = logits.amax(1) - chosen
    yield Distance(float(behind.max()), float(logits.abs().max()), int((behind > 0).sum()))
    for score in scores:
        best = logits.softmax(1).amax(1)
        yield Distance(float((best - score).abs().max()), float(best.max()))


def mask_distances(exact: Exact, results: tuple[Tensor, ...]) -> Sequence[Distance]:
    """How far the exact logits of wrong bits are from the threshold, 0."""
    (logits,) = exact
    (mask,) = results
    wrong = logits.abs().masked_fill_(mask == (logits > 0), 0)
    return [Distance(float(wrong.max()), float(logits.abs().max()), int((wrong > 0).sum()))]


def _contest(
    row: Row, input: Tensor, ours: Side, native: Function, chunked: Side, distances: Measure
) -> Contest:
    results = native(input)
    results = (results,) if isinstance(results, Tensor) else results
    fills = [torch.empty_like(result) for result in results]

    def reference() -> Iterator[tuple[slice, Exact]]:
        for n in range(row.shape[0]):
            yield slice(n, n + 1), (_interpolated(input[n : n + 1].double(), _factor(row)),)

    def compile_native() -> Side:
        function = compiled(native)
        return lambda: function(input)

    return Contest(
        ours=ours,
        rivals={"native": lambda: native(input), "chunked": chunked},
        floor=lambda: [fill.fill_(1) for fill in fills],
        floor_bytes=bytes_of(*fills),
        moved_bytes=bytes_of(input, *fills),
        reference=reference,
        compiled=compile_native,
        distances=distances,
        compared_in=torch.float32,
        intermediate_bytes=4 * input.numel() * _factor(row) ** 2,
    )


def _interpolated(x: Tensor, factor: int) -> Tensor:
    """Converts to float32 (float64 is kept), in which ours compares: half logits would be rounded first."""
    x = x if x.dtype == torch.float64 else x.float()
    return F.interpolate(x, scale_factor=factor, mode="bilinear")


def _factor(row: Row) -> int:
    return int(row.to[1:])


def rows() -> Iterator[Row]:
    """All rows of the family."""
    yield from _argmax()
    yield from _threshold()


def gpu_rows() -> Iterator[Row]:
    """Rows of sizes that fill a GPU."""
    for make in (make_argmax, make_threshold):
        for shape, to in ((TRAINING, "x4"), (STREET, "x8")):
            base = _row(make, shape, to, compiled="full", quick=True)
            yield replace(base, headline=shape == TRAINING)
            yield replace(base, dtype=torch.float16)
        for to, whole in (("x4", TRAINING), ("x8", SEGMENTATION)):
            for shape in batches(whole):
                yield _row(make, shape, to, compiled="full", quick=make is make_argmax)
    yield _row(make_argmax, TRAINING, "x4", layout=CHANNELS_LAST)


def _row(make, shape: tuple[int, ...], to: str, **fields: object) -> Row:
    op = "upsample_argmax" if make is make_argmax else "upsample_threshold"
    return Row(op=op, shape=shape, to=to, make=make, memory=True, **fields)  # type: ignore[arg-type]


def _argmax() -> Iterator[Row]:
    for shape, to in ((ADE, "x4"), (SEGMENTATION, "x8")):
        yield _row(make_argmax, shape, to, quick=True, compiled="quick", headline=True)
        yield _row(make_argmax, shape, to, variant=SCORE, quick=shape == ADE, compiled="full")
        yield _row(make_argmax, shape, to, layout=CHANNELS_LAST, compiled="full")
        yield _row(make_argmax, shape, to, dtype=torch.bfloat16, compiled="full")


def _threshold() -> Iterator[Row]:
    for shape, to in ((ADE, "x4"), (SEGMENTATION, "x8"), (SAM, "x4")):
        yield _row(make_threshold, shape, to, quick=True, compiled="full", headline=True)
        yield _row(make_threshold, shape, to, dtype=torch.bfloat16, compiled="full")
    yield _row(make_threshold, SEGMENTATION, "x8", layout=CHANNELS_LAST, compiled="full")
