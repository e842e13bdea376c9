"""The chunked baseline: what a careful user writes today to save memory, a few rows of the image at a time.

A band of result rows needs its source rows and one more on each side. Interpolating only that piece and
dropping the rows outside the band gives the rows of the whole image, because with an integer factor the
coordinates shift with the piece, and the borders of the image remain borders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

# Size of the interpolated piece. On the shapes of the fused rows, native is fastest with pieces of about this
# size: 2 MiB and 32 MiB are slower by a tenth to a half.
BAND_BYTES = 2**23


@dataclass(frozen=True)
class Band:
    """One piece of an image that is resized by an integer factor."""

    source: slice
    """Rows of the input that it reads."""
    target: slice
    """Rows of the result that it gives."""
    inside: slice
    """The same rows, relative to the interpolated piece."""


def bands(input: Tensor, factor: int) -> Iterator[Band]:
    """The bands of ``input`` (N, C, H, W), from top to bottom."""
    images, channels, height, width = input.shape
    row_bytes = 4 * images * channels * width * factor * factor
    step = max(1, BAND_BYTES // row_bytes)
    for first in range(0, height, step):
        last = min(first + step, height)
        above, below = max(first - 1, 0), min(last + 1, height)
        yield Band(
            slice(above, below),
            slice(first * factor, last * factor),
            slice((first - above) * factor, (last - above) * factor),
        )


def upsample(rows: Tensor, band: Band, factor: int) -> Tensor:
    """The band's rows of the result, from ``input[:, :, band.source]``."""
    return F.interpolate(rows, scale_factor=factor, mode="bilinear")[:, :, band.inside]
