"""How two of the ways of upsampling differ, measured from parts of their results.

Only a few rows of a result are needed at a time, so that a photo takes little memory.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from upsample_ext.comparison_ways import Way


@dataclass(frozen=True, eq=False)
class Difference:
    """How the results of two ways differ.

    Attributes:
        first, second: names of the two ways.
        map: `first - second`, `(N, C, H * factor, W * factor)`; equal infinities and two NaN differ by 0.
            Computed when it is first asked for.
        inside: largest absolute difference where the transposed convolution reads only the image; None if
            there are no such outputs.
        border: the same where it also reads outside the image; None if there are no such outputs.
        largest: the larger of the two.
        where: `(n, c, row, column)` of the largest.
        count: how many outputs differ by more than rounding.
        rounding: the largest difference that rounding can explain, for these values and sizes.
    """

    first: str
    second: str
    inside: float | None
    border: float | None
    largest: float
    where: tuple[int, int, int, int]
    count: int
    rounding: float
    _ways: tuple[Way, Way] = field(repr=False)

    @cached_property
    def map(self) -> Tensor:
        a, b = (way.output for way in self._ways)
        return torch.where(_same(a, b), torch.zeros_like(a), a - b)

    @property
    def equal(self) -> bool:
        """Whether the two are the same everywhere, up to rounding."""
        return self.largest <= self.rounding


class Measurement:
    """Computes a `Difference` from parts of two results, which are added in the order of the outputs.

    Args:
        first, second: the two ways.
        border_rows, border_columns: `(H * factor,)` and `(W * factor,)` bool, the outputs for which the
            transposed convolution reads outside the image: the ends, all of an axis, or none.
        rounding: the largest difference that rounding can explain.
    """

    def __init__(
        self, first: Way, second: Way, border_rows: Tensor, border_columns: Tensor, rounding: float
    ) -> None:
        self.ways = first, second
        self._inside_rows, self._inside_columns = _inside(border_rows), _inside(border_columns)
        self._rounding = rounding
        self._most_inside: float | None = None
        self._most_on_border: float | None = None
        self._largest: float | None = None
        self._where = 0, 0, 0
        self._count = 0

    def add(self, plane: int, row: int, a: Tensor, b: Tensor) -> None:
        """Adds `(planes, rows, W * factor)` of both results, which begin at this plane and row."""
        size = absolute_difference(a, b)
        top, bottom = (min(max(edge - row, 0), size.shape[1]) for edge in self._inside_rows)
        left, right = self._inside_columns
        middle = size[:, top:bottom]
        inside = _largest([middle[..., left:right]])
        border = _largest([size[:, :top], size[:, bottom:], middle[..., :left], middle[..., right:]])
        largest = _larger(inside, border)
        assert largest is not None, "a part of a result is never empty"
        if self._largest is None or _exceeds(largest, self._largest):
            rest, at_column = divmod(int(size.argmax()), size.shape[2])
            at_plane, at_row = divmod(rest, size.shape[1])
            self._where = plane + at_plane, row + at_row, at_column
        self._most_inside = _larger(self._most_inside, inside)
        self._most_on_border = _larger(self._most_on_border, border)
        self._largest = _larger(self._largest, largest)
        if not largest <= self._rounding:
            self._count += size.numel() - int((size <= self._rounding).count_nonzero())

    def result(self, channels: int) -> Difference:
        """The result, for an input with this many channels."""
        plane, row, column = self._where
        first, second = self.ways
        assert self._largest is not None, "add comes first"
        return Difference(
            first.name,
            second.name,
            self._most_inside,
            self._most_on_border,
            self._largest,
            (*divmod(plane, channels), row, column),
            self._count,
            self._rounding,
            self.ways,
        )


def absolute_difference(a: Tensor, b: Tensor) -> Tensor:
    """`abs(a - b)`; equal infinities and two NaN differ by 0."""
    size = (a - b).abs_()
    return size if math.isfinite(float(size.amax())) else size.masked_fill_(_same(a, b), 0.0)


def _same(a: Tensor, b: Tensor) -> Tensor:
    return (a == b) | (a.isnan() & b.isnan())


def _inside(border: Tensor) -> tuple[int, int]:
    """Where the outputs that are not on the border begin and end."""
    inside = (~border).nonzero().flatten()
    return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)


def _largest(parts: Iterable[Tensor]) -> float | None:
    """The largest of all; NaN if there is one, None if there are no values."""
    largest = None
    for part in parts:
        if part.numel():
            largest = _larger(largest, float(part.amax()))
    return largest


def _larger(a: float | None, b: float | None) -> float | None:
    """The larger of two; None counts as absent, and NaN as above all numbers."""
    if a is None or b is None:
        return b if a is None else a
    return b if _exceeds(b, a) else a


def _exceeds(a: float, b: float) -> bool:
    return a > b or (math.isnan(a) and not math.isnan(b))
