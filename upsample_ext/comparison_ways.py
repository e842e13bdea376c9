"""The ways of resizing that `compare` knows: their names, their matrices, their results.

A result is `A_h @ input @ A_w.T`. It is computed as a whole, by the call that a user would write, or a few
rows at a time: first vertically, as the kernels do, then horizontally for the requested rows. Both give the
same bits on a CPU, and the same up to rounding on a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

import torch
from torch import Tensor

from upsample_ext._library import C
from upsample_ext.deconv_fixed import PaddingMode, bilinear_conv_transpose2d, fixed_conv_transpose2d
from upsample_ext.deconv_kernels import _line_for, caffe_upsample_params
from upsample_ext.resample import interpolate

CORNERS = "align_corners=True"
CENTRES = "align_corners=False"
ZEROS: Final = "zeros"
REPLICATE: Final = "replicate"
ANTIALIAS = "antialias"

# The question's four, and those that `ways="modes"` stands for
QUESTION = (CORNERS, CENTRES, ZEROS, REPLICATE)
MODES_ENLARGING = ("nearest", CORNERS, CENTRES, "bicubic", ANTIALIAS)
MODES_SHRINKING = ("nearest", CENTRES, "bicubic", "area", ANTIALIAS)


class _Interpolation(NamedTuple):
    """The arguments of a call of `interpolate`."""

    mode: str
    align_corners: bool | None = None
    antialias: bool = False


_INTERPOLATIONS = {
    "nearest": _Interpolation("nearest"),
    "nearest-exact": _Interpolation("nearest-exact"),
    CORNERS: _Interpolation("bilinear", True),
    CENTRES: _Interpolation("bilinear", False),
    "bicubic": _Interpolation("bicubic", False),
    "area": _Interpolation("area"),
    ANTIALIAS: _Interpolation("bilinear", antialias=True),
    "bicubic-antialias": _Interpolation("bicubic", antialias=True),
}
NAMES = (*_INTERPOLATIONS, ZEROS, REPLICATE)
_ALIASES = {"bilinear": CENTRES}

_TITLES = {
    "nearest": "interpolate, nearest",
    "nearest-exact": "interpolate, nearest-exact",
    CORNERS: "interpolate, align_corners=True",
    CENTRES: "interpolate, align_corners=False",
    "bicubic": "interpolate, bicubic",
    "area": "interpolate, area",
    ANTIALIAS: "bilinear, antialias",
    "bicubic-antialias": "bicubic, antialias",
    ZEROS: "transposed convolution, zeros outside",
    REPLICATE: "transposed convolution, edge repeated",
}


@dataclass(frozen=True)
class Scale:
    """By which integer both axes are enlarged or shrunk."""

    factor: int
    shrinks: bool = False

    def output(self, size: int) -> int:
        """The extent of the result of an axis of this extent; a remainder of shrinking is spread over all."""
        return max(1, size // self.factor) if self.shrinks else size * self.factor


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

    def most_taps(self) -> int:
        """How many input samples an output reads at most."""
        taps = torch.bincount(self._row[self.weight != 0], minlength=self.out_size)
        return min(int(taps.max()), self.in_size)

    def share_read(self) -> float:
        """The part of the input samples that any output reads, 0 to 1."""
        return len(self.index[self.weight != 0].unique()) / self.in_size

    @cached_property
    def _row(self) -> Tensor:
        """The row of each tap, `(taps,)` int64."""
        return torch.repeat_interleave(torch.arange(self.out_size), self.offset.diff())


@dataclass(frozen=True, eq=False)
class Way:
    """One of the ways of resizing.

    Attributes:
        name: its key in `Comparison.ways`.
        title: a few words, for a heading.
        call: the Python expression that computes it, `x` being the input.
        output: the result, `(N, C, H_out, W_out)`; computed when it is first asked for.
        height: the matrix of the vertical axis.
        width: the matrix of the horizontal axis; `output = height @ input @ width.T` for every plane.
    """

    name: str
    title: str
    call: str
    height: AxisTable
    width: AxisTable
    _input: Tensor = field(repr=False)
    _scale: Scale = field(repr=False)

    @cached_property
    def output(self) -> Tensor:
        return _resize(self.name, self._input, self._scale)


class Planes:
    """Gives the result of a way a few rows at a time, of some of the `N * C` planes that it consists of.

    It holds these planes, resized vertically. If `Way.output` was computed before, the rows are taken from
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
            self._whole = _resize(way.name, x, way._scale)[0]
            return
        # Half types are rounded once, at the end
        x = x.float() if x.dtype.itemsize < 4 else x
        self._tall = _resize(way.name, x, way._scale, axis=0)

    def rows(self, rows: slice) -> Tensor:
        """These rows of the result, `(planes, rows, W_out)`."""
        if self._whole is not None:
            return self._whole[:, rows]
        way = self._way
        assert self._tall is not None, "turn_to comes first"
        return _resize(way.name, self._tall[..., rows, :], way._scale, axis=1)[0].to(way._input.dtype)


def checked_names(ways: str | Sequence[str] | None, shrinks: bool) -> tuple[str, ...]:
    """The names of the ways to compare, the reference among them; ValueError if one is unknown."""
    if ways is None and not shrinks:
        return QUESTION
    if ways is None or ways == "modes":
        return MODES_SHRINKING if shrinks else MODES_ENLARGING
    names = [ways] if isinstance(ways, str) else list(ways)
    for name in names:
        if name not in NAMES and name not in _ALIASES:
            known = ", ".join([*_ALIASES, *NAMES])
            raise ValueError(f"compare: expected ways of modes, {known}; got {name!r}")
        if shrinks and name in (ZEROS, REPLICATE):
            raise ValueError(f"compare: {name!r}, a transposed convolution, cannot shrink")
    return tuple(dict.fromkeys([*(_ALIASES.get(name, name) for name in names), reference_of(shrinks)]))


def reference_of(shrinks: bool) -> str:
    """The way that the others are compared with: the one whose result is closest to what one wants."""
    return ANTIALIAS if shrinks else CENTRES


def make_ways(x: Tensor, scale: Scale, names: Sequence[str]) -> dict[str, Way]:
    """The ways of resizing `x`, `(N, C, H, W)` of a floating dtype, which must not change any more."""
    height, width = x.shape[2:]
    return {
        name: Way(
            name,
            _title(name, names),
            _call(name, (height, width), scale),
            _axis_table(name, height, scale),
            _axis_table(name, width, scale),
            x,
            scale,
        )
        for name in names
    }


def _title(name: str, names: Sequence[str]) -> str:
    """Where other modes stand beside the bilinear one, it is named as the mode that it is."""
    if set(names) <= set(QUESTION) or name not in (CORNERS, CENTRES):
        return _TITLES[name]
    return "interpolate, bilinear" if name == CENTRES else "bilinear, align_corners=True"


def _call(name: str, extent: tuple[int, int], scale: Scale) -> str:
    if name == ZEROS:
        return f"bilinear_conv_transpose2d(x, {scale.factor})"
    if name == REPLICATE:
        return f'bilinear_conv_transpose2d(x, {scale.factor}, padding_mode="replicate")'
    mode, align_corners, antialias = _INTERPOLATIONS[name]
    size = tuple(scale.output(size) for size in extent)
    options = f"size={size}" if scale.shrinks else f"scale_factor={scale.factor}"
    options += f', mode="{mode}"'
    if align_corners is not None and mode == "bilinear":
        options += f", align_corners={align_corners}"
    if antialias:
        options += ", antialias=True"
    return f"interpolate(x, {options})"


@torch.no_grad()
def _resize(name: str, x: Tensor, scale: Scale, axis: int | None = None) -> Tensor:
    """Resizes `(N, C, H, W)` in the way of this name, vertically (axis 0), horizontally (1) or both."""
    if name in _INTERPOLATIONS:
        mode, align_corners, antialias = _INTERPOLATIONS[name]
        size, scale_factor = None, None
        if scale.shrinks:
            size = [x.shape[2 + i] if axis == 1 - i else scale.output(x.shape[2 + i]) for i in (0, 1)]
        else:
            scale_factor = [1 if axis == 1 - i else scale.factor for i in (0, 1)]
        return interpolate(x, size, scale_factor, mode, align_corners, antialias=antialias)
    factor = scale.factor
    padding_mode: PaddingMode = REPLICATE if name == REPLICATE else ZEROS
    if axis is None:
        return bilinear_conv_transpose2d(x, factor, padding_mode=padding_mode)
    _, stride, padding = caffe_upsample_params(factor)
    line, one = _line_for(x, factor), x.new_ones(1)
    kernel, strides, paddings = (
        ((line, one), (stride, 1), (padding, 0)) if axis == 0 else ((one, line), (1, stride), (0, padding))
    )
    return fixed_conv_transpose2d(x, kernel, strides, paddings, padding_mode=padding_mode)


def _axis_table(name: str, size: int, scale: Scale) -> AxisTable:
    """The matrix of one axis: how the way called `name` takes `size` samples to those of the result."""
    factor = scale.factor
    if name in _INTERPOLATIONS:
        mode, align_corners, antialias = _INTERPOLATIONS[name]
        given = None if scale.shrinks else float(factor)
        rows = C.axis_table(mode, antialias, size, scale.output(size), bool(align_corners), given)
    else:
        taps = 2 * factor - factor % 2
        centre = (taps - 1) / 2
        kernel = [1 - abs(i - centre) / factor for i in range(taps)]
        rows = C.conv_transpose_table(size, kernel, factor, factor // 2, 0, 1, name == REPLICATE)
    return AxisTable.from_lists(size, rows)


def reads_outside(size: int, scale: Scale) -> Tensor:
    """The outputs of an axis for which the transposed convolution reads outside the image, `(out,)` bool.

    Their weights do not sum to one: the rest falls on samples outside. There are none where an image shrinks.
    """
    if scale.shrinks:
        return torch.zeros(scale.output(size), dtype=torch.bool)
    return (_axis_table(ZEROS, size, scale).row_sums() - 1).abs() > 1e-9
