"""Rows of ``upsample_argmax``."""

from __future__ import annotations

from collections.abc import Iterator
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
    random_input,
)
from .resample import SEGMENTATION, STREET, TRAINING, batches, output_size

ADE = (1, 150, 128, 128)
"""Logits of a SegFormer on ADE20K, 512x512 pixels."""
SCORE = "score"


def make_argmax(row: Row, device: torch.device) -> Contest:
    """Labels, and with the variant "score" the winner's probability; other variants are modes."""
    input, factor = random_input(row, device), factor_of(row)
    with_score = row.variant == SCORE
    mode = mode_of(row)

    def ours() -> object:
        return upsample_ext.upsample_argmax(input, scale_factor=factor, return_score=with_score, mode=mode)

    def decide(logits: Tensor) -> tuple[Tensor, ...]:
        if not with_score:
            return (logits.argmax(1),)
        score, label = logits.softmax(1).max(1)
        return label, score

    def native(x: Tensor) -> tuple[Tensor, ...]:
        return decide(interpolated(x, factor, mode))

    def chunked() -> tuple[Tensor, ...]:
        shape = (row.shape[0], *output_size(row))
        dtypes = (torch.int64, torch.float32)[: 1 + with_score]
        results = tuple(torch.empty(shape, dtype=dtype, device=device) for dtype in dtypes)
        for band in bands(input, factor):
            pieces = decide(upsample(input[:, :, band.source].float(), band, factor))
            for result, piece in zip(results, pieces, strict=True):
                result[:, band.target] = piece
        return results

    def upsampled(x: Tensor) -> Tensor:
        return interpolated(x, factor, mode)

    others = {"chunked": chunked} if mode == "bilinear" else {}
    return decision_contest(input, ours, native, upsampled, label_distances, others)


def mode_of(row: Row) -> str:
    """The mode that the variant names, or bilinear."""
    return row.variant if row.variant in ("nearest", "bicubic") else "bilinear"


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


def decision_contest(
    input: Tensor,
    ours: Side,
    native: Function,
    upsampled: Function,
    distances: Measure,
    others: dict[str, Side],
) -> Contest:
    """Ours against PyTorch of an op that turns upsampled logits into decisions, which `distances` judges."""
    results = native(input)
    results = (results,) if isinstance(results, Tensor) else results
    fills = [torch.empty_like(result) for result in results]

    def reference() -> Iterator[tuple[slice, Exact]]:
        for n in range(input.shape[0]):
            yield slice(n, n + 1), (upsampled(input[n : n + 1].double()),)

    def compile_native() -> Side:
        function = compiled(native)
        return lambda: function(input)

    return Contest(
        ours=ours,
        rivals={"native": lambda: native(input), **others},
        floor=lambda: [fill.fill_(1) for fill in fills],
        floor_bytes=bytes_of(*fills),
        moved_bytes=bytes_of(input, *fills),
        reference=reference,
        compiled=compile_native,
        distances=distances,
        compared_in=torch.float32,
        intermediate_bytes=4 * input.shape[:2].numel() * results[0].shape[-2:].numel(),
    )


def interpolated(x: Tensor, factor: int, mode: str = "bilinear") -> Tensor:
    """Converts to float32 (float64 is kept), in which ours compares: half logits would be rounded first."""
    x = x if x.dtype == torch.float64 else x.float()
    return F.interpolate(x, scale_factor=factor, mode=mode)


def factor_of(row: Row) -> int:
    """The scale factor of a row, such as 4 of "x4"."""
    return int(row.to[1:])


def rows() -> Iterator[Row]:
    """All rows of the op."""
    for shape, to in ((ADE, "x4"), (SEGMENTATION, "x8")):
        yield _row(shape, to, quick=True, compiled="quick", headline=True)
        yield _row(shape, to, variant=SCORE, quick=shape == ADE, compiled="full")
        yield _row(shape, to, layout=CHANNELS_LAST, compiled="full")
        yield _row(shape, to, dtype=torch.bfloat16, compiled="full")
        for mode in ("nearest", "bicubic"):
            yield _row(shape, to, variant=mode, compiled="full")


def gpu_rows() -> Iterator[Row]:
    """Rows of sizes that fill a GPU."""
    for shape, to in ((TRAINING, "x4"), (STREET, "x8")):
        base = _row(shape, to, compiled="full", quick=True)
        yield replace(base, headline=shape == TRAINING)
        yield replace(base, dtype=torch.float16)
    for to, whole in (("x4", TRAINING), ("x8", SEGMENTATION)):
        for shape in batches(whole):
            yield _row(shape, to, compiled="full", quick=True)
    yield _row(TRAINING, "x4", layout=CHANNELS_LAST)


def _row(shape: tuple[int, ...], to: str, **fields: object) -> Row:
    return Row(op="upsample_argmax", shape=shape, to=to, make=make_argmax, memory=True, **fields)  # type: ignore[arg-type]
