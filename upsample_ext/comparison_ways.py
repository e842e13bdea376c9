"""The four ways of upsampling that `compare` compares: their names, their matrices, their results.

A result is `A_h @ input @ A_w.T`. It is computed as a whole, by the call that a user would write, or a few
rows at a time: first vertically, as the kernels do, then horizontally for the requested rows. Both give the
same bits on a CPU, and the same up to rounding on a GPU.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from upsample_ext._library import C
from upsample_ext.deconv import (
    PaddingMode,
    _line_for,
    bilinear_conv_transpose2d,
    caffe_upsample_params,
    fixed_conv_transpose2d,
)
from upsample_ext.resample import interpolate

CORNERS = "align_corners=True"
CENTRES = "align_corners=False"
ZEROS: Final = "zeros"
REPLICATE: Final = "replicate"

_TITLES = {
    CORNERS: "interpolate, align_corners=True",
    CENTRES: "interpolate, align_corners=False",
    ZEROS: "transposed convolution, zeros outside",
    REPLICATE: "transposed convolution, edge repeated",
}
_CALLS = {
    CORNERS: 'interpolate(x, scale_factor={}, mode="bilinear", align_corners=True)',
    CENTRES: 'interpolate(x, scale_factor={}, mode="bilinear", align_corners=False)',
    ZEROS: "bilinear_conv_transpose2d(x, {})",
    REPLICATE: 'bilinear_conv_transpose2d(x, {}, padding_mode="replicate")',
}


@dataclass(frozen=True, eq=False)
class AxisTable:
    """The matrix `A` of one axis, `output = A @ input`, in compressed rows.

    Row `i` has the weights `weight[offset[i]:offset[i + 1]]` at the input samples `index[...]` of the same
    slice; an index that occurs twice counts twice.

    Attributes:
        in_size: samples of the input along this axis, the columns of `A`.
        out_size: samples of the output, the rows of `A`.
        offset: `(out_size + 1,)` int64.
        index: `(taps,)` int64.
        weight: `(taps,)` float64.
    """

    in_size: int
    out_size: int
    offset: Tensor = field(repr=False)
    index: Tensor = field(repr=False)
    weight: Tensor = field(repr=False)

    @classmethod
    def from_lists(cls, in_size: int, rows: tuple[list[int], list[int], list[float]]) -> "AxisTable":
        """From the three lists that the extension returns."""
        offset, index, weight = rows
        return cls(
            in_size,
            len(offset) - 1,
            torch.tensor(offset, dtype=torch.int64),
            torch.tensor(index, dtype=torch.int64),
            torch.tensor(weight, dtype=torch.float64),
        )

    def dense(self, rows: int | None = None) -> Tensor:
        """The first `rows` rows of the matrix (all by default), `(rows, in_size)` float64."""
        rows = self.out_size if rows is None else min(rows, self.out_size)
        taps = int(self.offset[rows])
        matrix = torch.zeros(rows, self.in_size, dtype=torch.float64)
        at = self._row[:taps], self.index[:taps]
        return matrix.index_put_(at, self.weight[:taps], accumulate=True)

    def row_sums(self) -> Tensor:
        """Each output for an input of ones, `(out_size,)` float64."""
        return torch.zeros(self.out_size, dtype=torch.float64).index_add_(0, self._row, self.weight)

    @cached_property
    def _row(self) -> Tensor:
        """The row of each tap, `(taps,)` int64."""
        return torch.repeat_interleave(torch.arange(self.out_size), self.offset.diff())


@dataclass(frozen=True, eq=False)
class Way:
    """One of the four ways of upsampling.

    Attributes:
        name: its key in `Comparison.ways`.
        title: a few words, for a heading.
        call: the Python expression that computes it, `x` being the input.
        output: the result, `(N, C, H * factor, W * factor)`; computed when it is first asked for.
        height: the matrix of the vertical axis.
        width: the matrix of the horizontal axis; `output = height @ input @ width.T` for every plane.
    """

    name: str
    title: str
    call: str
    height: AxisTable
    width: AxisTable
    _input: Tensor = field(repr=False)
    _factor: int = field(repr=False)

    @cached_property
    def output(self) -> Tensor:
        return _upsample(self.name, self._input, self._factor)


class Planes:
    """Gives the result of a way a few rows at a time, of some of the `N * C` planes that it consists of.

    It holds these planes, upsampled vertically. If `Way.output` was computed before, the rows are taken from
    it.
    """

    def __init__(self, way: Way) -> None:
        self._way = way
        self._whole: Tensor | None = None
        self._tall: Tensor | None = None

    def turn_to(self, planes: slice) -> None:
        """Selects these planes, and releases those before."""
        way = self._way
        self._whole = self._tall = None  # so that the next planes can reuse their memory
        if "output" in way.__dict__:
            self._whole = way.output.flatten(0, 1)[planes]
            return
        x = way._input.flatten(0, 1)[None, planes]
        if not all(v.isfinite() for v in torch.aminmax(x)):
            # 0 times infinity is NaN, which each pass would spread further
            self._whole = _upsample(way.name, x, way._factor)[0]
            return
        # Half types are rounded once, at the end
        x = x.float() if x.dtype.itemsize < 4 else x
        self._tall = _upsample(way.name, x, way._factor, axis=0)

    def rows(self, rows: slice) -> Tensor:
        """These rows of the result, `(planes, rows, W * factor)`."""
        if self._whole is not None:
            return self._whole[:, rows]
        way = self._way
        assert self._tall is not None, "turn_to comes first"
        return _upsample(way.name, self._tall[..., rows, :], way._factor, axis=1)[0].to(way._input.dtype)


def make_ways(x: Tensor, factor: int) -> dict[str, Way]:
    """The four ways of upsampling `x`, `(N, C, H, W)` of a floating dtype, which must not change any more."""
    height, width = x.shape[2:]
    return {
        name: Way(
            name,
            title,
            _CALLS[name].format(factor),
            _axis_table(name, height, factor),
            _axis_table(name, width, factor),
            x,
            factor,
        )
        for name, title in _TITLES.items()
    }


@torch.no_grad()
def _upsample(name: str, x: Tensor, factor: int, axis: int | None = None) -> Tensor:
    """Upsamples `(N, C, H, W)` in the way of this name, vertically (axis 0), horizontally (1) or both."""
    if name in (CORNERS, CENTRES):
        scale = (factor if axis != 1 else 1, factor if axis != 0 else 1)
        return interpolate(x, scale_factor=scale, mode="bilinear", align_corners=name == CORNERS)
    padding_mode: PaddingMode = REPLICATE if name == REPLICATE else ZEROS
    if axis is None:
        return bilinear_conv_transpose2d(x, factor, padding_mode=padding_mode)
    _, stride, padding = caffe_upsample_params(factor)
    line, one = _line_for(x, factor), x.new_ones(1)
    kernel, strides, paddings = (
        ((line, one), (stride, 1), (padding, 0)) if axis == 0 else ((one, line), (1, stride), (0, padding))
    )
    return fixed_conv_transpose2d(x, kernel, strides, paddings, padding_mode=padding_mode)


def _axis_table(name: str, size: int, factor: int) -> AxisTable:
    """The matrix of one axis: how the way called `name` takes `size` samples to `size * factor`."""
    if name in (CORNERS, CENTRES):
        rows = C.bilinear_table(size, size * factor, name == CORNERS, float(factor))
    else:
        taps = 2 * factor - factor % 2
        centre = (taps - 1) / 2
        kernel = [1 - abs(i - centre) / factor for i in range(taps)]
        rows = C.conv_transpose_table(size, kernel, factor, factor // 2, 0, 1, name == REPLICATE)
    return AxisTable.from_lists(size, rows)
