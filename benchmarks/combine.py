"""Rows of upsampling into a sum (feature pyramids) or a concatenation (decoders with several scales)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

import upsample_ext

from .contest import BOTH, CHANNELS_LAST, Contest, Row, contest, memory_format, random_input
from .resample import FPN_DETECTION, PYRAMID, SEGMENTATION, output_size
from .select import ADE

SEGFORMER = (1, 256, 128, 128)
"""The largest map of a SegFormer head on 512x512 pixels; three more follow, each of half the extent."""
SCALES = 4
HEAD = (8, *SEGFORMER[1:])
"""The same for a batch that fills a GPU."""


def make_add(row: Row, device: torch.device) -> Contest:
    """``interpolate(input) + other``."""
    size = output_size(row)
    other = random_input(replace(row, shape=(*row.shape[:2], *size)), device)

    def native(x: Tensor, y: Tensor) -> Tensor:
        return F.interpolate(x, size, mode="bilinear") + y

    def in_place(x: Tensor, y: Tensor) -> Tensor:
        return F.interpolate(x, size, mode="bilinear").add_(y)

    return contest(
        row,
        [random_input(row, device), other],
        ours=upsample_ext.upsample_add,
        native=native,
        others={"chunked": in_place},
    )


def make_concat(row: Row, device: torch.device) -> Contest:
    """Maps of ``SCALES`` scales, brought to the size of the largest."""
    size = output_size(row)
    maps = []
    for scale in range(SCALES):
        shape = (*row.shape[:2], *(extent >> scale for extent in row.shape[2:]))
        maps.append(random_input(replace(row, shape=shape), device))

    def ours(*maps: Tensor) -> Tensor:
        return upsample_ext.upsample_concat(maps, size)

    def resized(map: Tensor) -> Tensor:
        return map if map.shape[2:] == size else F.interpolate(map, size, mode="bilinear")

    def native(*maps: Tensor) -> Tensor:
        return torch.cat([resized(map) for map in maps], 1)

    def slice_by_slice(*maps: Tensor) -> Tensor:
        images, channels = row.shape[:2]
        result = torch.empty(
            (images, SCALES * channels, *size),
            dtype=maps[0].dtype,
            device=device,
            memory_format=memory_format(row.layout),
        )
        for index, map in enumerate(maps):
            result[:, index * channels : (index + 1) * channels].copy_(resized(map))
        return result

    return contest(row, maps, ours=ours, native=native, others={"chunked": slice_by_slice})


def rows() -> Iterator[Row]:
    """All rows of the family."""
    yield from _add()
    yield from _concat()


def gpu_rows() -> Iterator[Row]:
    """Rows of sizes that fill a GPU."""
    for dtype in (torch.float32, torch.float16):
        yield _row(make_add, PYRAMID, "x2", dtype=dtype, compiled="full", quick=True, headline=True)
        yield _row(make_add, PYRAMID, "x2", dtype=dtype, layout=CHANNELS_LAST, compiled="full")
        variant = f"{SCALES} scales"
        yield _row(make_concat, HEAD, "128x128", variant=variant, dtype=dtype, compiled="full", quick=True)


def _row(make, shape: tuple[int, ...], to: str, **fields: object) -> Row:
    op = "upsample_add" if make is make_add else "upsample_concat"
    return Row(op=op, shape=shape, to=to, make=make, memory=True, **fields)  # type: ignore[arg-type]


def _add() -> Iterator[Row]:
    for shape, to in ((ADE, "x4"), (SEGMENTATION, "x8"), (FPN_DETECTION, "x2")):
        base = _row(make_add, shape, to, compiled="full")
        yield replace(base, quick=True, headline=True)
        quick = shape == FPN_DETECTION
        yield replace(base, layout=CHANNELS_LAST, quick=quick, headline=quick)
        yield replace(base, dtype=torch.bfloat16)
        yield replace(base, direction=BOTH)


def _concat() -> Iterator[Row]:
    base = _row(make_concat, SEGFORMER, "128x128", variant=f"{SCALES} scales", compiled="full")
    yield replace(base, quick=True, headline=True)
    yield replace(base, layout=CHANNELS_LAST)
    yield replace(base, dtype=torch.bfloat16)
    yield replace(base, direction=BOTH)
