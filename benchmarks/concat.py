"""Rows of ``upsample_concat``: upsampling into a concatenation, as decoders with several scales do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

import upsample_ext

from .contest import BOTH, CHANNELS_LAST, CONTIGUOUS, Contest, Row, contest, memory_format, random_input
from .resample import output_size

SEGFORMER = (1, 256, 128, 128)
"""The largest map of a SegFormer head on 512x512 pixels; three more follow, each of half the extent."""
SCALES = 4
HEAD = (8, *SEGFORMER[1:])
"""The same for a batch that fills a GPU."""


def make_concat(row: Row, device: torch.device) -> Contest:
    """Maps of ``SCALES`` scales, brought to the size of the largest."""
    size = output_size(row)
    mode = "nearest" if row.variant.endswith("nearest") else "bilinear"
    maps = []
    for scale in range(SCALES):
        shape = (*row.shape[:2], *(extent >> scale for extent in row.shape[2:]))
        maps.append(random_input(replace(row, shape=shape), device))

    def ours(*maps: Tensor) -> Tensor:
        return upsample_ext.upsample_concat(maps, size, mode=mode)

    def resized(map: Tensor) -> Tensor:
        return map if map.shape[2:] == size else F.interpolate(map, size, mode=mode)

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

    return contest(row, maps, ours=ours, native=native, images=SCALES, others={"chunked": slice_by_slice})


def rows() -> Iterator[Row]:
    """All rows of the op."""
    base = _row(SEGFORMER, "128x128", compiled="full")
    yield replace(base, quick=True, headline=True)
    yield replace(base, layout=CHANNELS_LAST)
    yield replace(base, dtype=torch.bfloat16)
    yield replace(base, direction=BOTH)
    for layout in (CONTIGUOUS, CHANNELS_LAST):
        yield replace(base, variant=f"{SCALES} scales nearest", layout=layout)


def gpu_rows() -> Iterator[Row]:
    """Rows of sizes that fill a GPU."""
    for dtype in (torch.float32, torch.float16):
        yield _row(HEAD, "128x128", dtype=dtype, compiled="full", quick=True)


def _row(shape: tuple[int, ...], to: str, **fields: object) -> Row:
    fields = {"variant": f"{SCALES} scales", **fields}
    return Row(op="upsample_concat", shape=shape, to=to, make=make_concat, memory=True, **fields)  # type: ignore[arg-type]
