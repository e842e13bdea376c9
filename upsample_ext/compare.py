"""Why do bilinear interpolation and a transposed convolution with bilinear weights differ?

Both are `output = A_h @ input @ A_w.T`, with one banded matrix per axis. `compare` runs the four ways of
upsampling by an integer factor, puts their matrices side by side, and says, from what it measured, where the
results differ and how to make them equal.
"""

import operator
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from upsample_ext._library import C
from upsample_ext.deconv import bilinear_conv_transpose2d
from upsample_ext.interpolate import interpolate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A result is printed in full up to this size, otherwise summarised
_FULL_EXTENT = 16
_FULL_PLANES = 4
# Of a table too large to print, this corner is
_TABLE_ROWS = 8
# Sentences are wrapped to this many characters
_LINE = 110

CORNERS = "align_corners=True"
CENTRES = "align_corners=False"
ZEROS = "zeros"
REPLICATE = "replicate"


# ---- what a comparison holds -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class AxisTable:
    """The matrix `A` of one axis, `output = A @ input`, in compressed rows.

    Row `i` has the weights `weight[offset[i]:offset[i + 1]]` at the input samples `index[...]` of that slice;
    an index that comes twice counts twice.

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
        """Takes the three lists that the extension gives."""
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
        row = torch.repeat_interleave(torch.arange(rows), self.offset[: rows + 1].diff())
        return matrix.index_put_((row, self.index[:taps]), self.weight[:taps], accumulate=True)

    def row_sums(self) -> Tensor:
        """What each output is for a constant input of ones, `(out_size,)` float64."""
        row = torch.repeat_interleave(torch.arange(self.out_size), self.offset.diff())
        return torch.zeros(self.out_size, dtype=torch.float64).index_add_(0, row, self.weight)


@dataclass(frozen=True, eq=False)
class Way:
    """One of the four ways of upsampling.

    Attributes:
        name: its key in `Comparison.ways`.
        title: a few words, for a heading.
        call: the Python expression that computes it, `x` being the input.
        output: the result, `(N, C, H * factor, W * factor)`.
        height: the matrix of the vertical axis.
        width: the matrix of the horizontal axis; `output = height @ input @ width.T` for every plane.
    """

    name: str
    title: str
    call: str
    output: Tensor = field(repr=False)
    height: AxisTable
    width: AxisTable


@dataclass(frozen=True, eq=False)
class Difference:
    """How the results of two ways differ.

    Attributes:
        first, second: names of the two ways.
        map: `first - second`, `(N, C, H * factor, W * factor)`; equal infinities and two NaN differ by 0.
        inside: largest absolute difference where the transposed convolution reads only the image; None when
            there is no such place.
        border: the same where it also reads outside, None when there is no such place.
        largest: the larger of the two.
        where: `(n, c, row, column)` of the largest.
        count: how many outputs differ by more than rounding.
        rounding: what may be blamed on rounding, for these values and sizes.
    """

    first: str
    second: str
    map: Tensor = field(repr=False)
    inside: float | None
    border: float | None
    largest: float
    where: tuple[int, int, int, int]
    count: int
    rounding: float

    @property
    def equal(self) -> bool:
        """Whether the two are the same everywhere, to rounding."""
        return self.largest <= self.rounding


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """The four ways side by side, made by `compare`; `print` shows them, `plot` draws them.

    Attributes:
        input: `(N, C, H, W)`, the input as it was used.
        factor: the integer factor.
        ways: by name, `"align_corners=True"` and `"align_corners=False"` (interpolation), `"zeros"` and
            `"replicate"` (transposed convolution, by what it reads outside the image).
        border_rows, border_columns: `(H * factor,)` and `(W * factor,)` bool, the outputs for which the
            transposed convolution reads outside the image.
    """

    input: Tensor
    factor: int
    ways: Mapping[str, Way]
    border_rows: Tensor
    border_columns: Tensor
    _differences: dict[tuple[str, str], Difference] = field(default_factory=dict)

    def difference(self, first: str, second: str = CENTRES) -> Difference:
        """Compares the results of two ways, named by their keys in `ways`."""
        for name in (first, second):
            if name not in self.ways:
                raise ValueError(f"difference: expected one of {list(self.ways)}, got {name!r}")
        if (first, second) not in self._differences:
            self._differences[first, second] = self._measure(first, second)
        return self._differences[first, second]

    @property
    def differences(self) -> dict[str, Difference]:
        """The other three ways, each against `interpolate(align_corners=False)`."""
        return {name: self.difference(name) for name in self.ways if name != CENTRES}

    def _measure(self, first: str, second: str) -> Difference:
        a, b = self.ways[first].output, self.ways[second].output
        same = (a == b) | (a.isnan() & b.isnan())
        map = torch.where(same, torch.zeros_like(a), a - b)
        size = map.abs()
        rounding = _rounding(self.input)
        border = (self.border_rows[:, None] | self.border_columns).to(size.device)
        at = int(size.argmax())
        return Difference(
            first,
            second,
            map,
            _largest(size[..., ~border]),
            _largest(size[..., border]),
            float(size.flatten()[at]),
            tuple(int(i) for i in torch.unravel_index(torch.tensor(at), size.shape)),
            int((~(size <= rounding)).sum()),
            rounding,
        )

    @property
    def explanation(self) -> str:
        """Where and why the ways differ on this input, and how to make them equal; from the measurements."""
        return "\n".join(_explain(self))

    def __str__(self) -> str:
        return _report(self)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.input.shape))
        return f"<Comparison of {shape} by factor {self.factor}; print it, or plot(path)>"

    def plot(self, path: str | os.PathLike[str] | None = None, *, dpi: int = 100) -> "Figure":
        """Draws the comparison: a small matrix with its numbers, others with a profile across the border.

        Of several images and of more than three channels, the first are drawn.

        Args:
            path: where to save the picture; its ending picks the format. None saves nothing.
            dpi: dots per inch of a bitmap.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib, which is optional, is not installed.
        """
        try:
            from upsample_ext.comparison_figure import draw
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.split(".")[0] == "upsample_ext":
                raise
            raise ImportError(
                f"plot: {error.name} is not installed. Type: pip install upsample-ext[plot]"
            ) from error
        figure = draw(self)
        if path is not None:
            figure.savefig(path, dpi=dpi)
        return figure


# ---- making one --------------------------------------------------------------------------------------------


def compare(input: Tensor | Sequence[Any], factor: int) -> Comparison:
    """Upsamples by `factor` in four ways and tells where and why they differ.

    The ways are `interpolate(mode="bilinear")` with `align_corners` True and False, and
    `bilinear_conv_transpose2d`, the Caffe layer with kernel `2 * factor - factor % 2`, stride `factor` and
    padding `ceil((factor - 1) / 2)`, reading zeros outside the image or, with `padding_mode="replicate"`, its
    repeated edge.

    Args:
        input: `(H, W)`, `(C, H, W)` or `(N, C, H, W)`, a tensor or nested lists. Floating dtypes are kept,
            all others become torch's default dtype. No gradient is recorded.
        factor: how many outputs per input along both axes, 1 or more.

    Returns:
        A `Comparison`.

    Raises:
        TypeError: `factor` is not an int, or `input` holds no real numbers.
        ValueError: `input` has another number of dimensions or no elements, or `factor` is below 1.

    The formulas: ATen's `area_pixel_compute_source_index` for interpolation; the documentation of Caffe's
    BilinearFiller for the transposed convolution.

    Example:
        >>> comparison = compare([[1, 2], [3, 4]], 2)
        >>> comparison.ways["zeros"].output[0, 0, 0]
        tensor([0.5625, 0.9375, 1.3125, 1.1250])
        >>> comparison.difference("replicate", "align_corners=False").equal
        True
    """
    factor = _checked_factor(factor)
    x = _as_images(input)
    height, width = x.shape[2:]
    with torch.no_grad():
        outputs = {
            CORNERS: interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True),
            CENTRES: interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False),
            ZEROS: bilinear_conv_transpose2d(x, factor),
            REPLICATE: bilinear_conv_transpose2d(x, factor, padding_mode="replicate"),
        }
    titles = {
        CORNERS: ("interpolate", "align_corners=True"),
        CENTRES: ("interpolate", "align_corners=False"),
        ZEROS: ("transposed convolution", "zeros outside"),
        REPLICATE: ("transposed convolution", "edge repeated"),
    }
    calls = {
        CORNERS: f'interpolate(x, scale_factor={factor}, mode="bilinear", align_corners=True)',
        CENTRES: f'interpolate(x, scale_factor={factor}, mode="bilinear", align_corners=False)',
        ZEROS: f"bilinear_conv_transpose2d(x, {factor})",
        REPLICATE: f'bilinear_conv_transpose2d(x, {factor}, padding_mode="replicate")',
    }
    ways = {
        name: Way(
            name,
            ", ".join(titles[name]),
            calls[name],
            outputs[name],
            _axis_table(name, height, factor),
            _axis_table(name, width, factor),
        )
        for name in outputs
    }
    return Comparison(x, factor, ways, _reads_outside(ways[ZEROS].height), _reads_outside(ways[ZEROS].width))


def _checked_factor(factor: int) -> int:
    try:
        value = operator.index(factor)
    except TypeError:
        raise TypeError(f"compare: expected factor to be an int, got {type(factor).__name__}") from None
    if value < 1:
        raise ValueError(f"compare: expected factor to be 1 or more, got {value}")
    return value


def _as_images(input: Tensor | Sequence[Any]) -> Tensor:
    """The input as (N, C, H, W) of a floating dtype."""
    if isinstance(input, Tensor):
        x = input.detach()
    else:
        try:
            x = torch.as_tensor(input)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"compare: expected a tensor or nested lists of numbers: {error}") from None
    if x.is_complex():
        raise TypeError(f"compare: expected real numbers, got {x.dtype}")
    if not 2 <= x.dim() <= 4 or x.numel() == 0:
        raise ValueError(
            "compare: expected a non-empty (H, W), (C, H, W) or (N, C, H, W), got shape "
            + str(tuple(x.shape))
        )
    if not x.is_floating_point():
        x = x.to(torch.get_default_dtype())
    return x.reshape((1,) * (4 - x.dim()) + x.shape)


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


def _reads_outside(zeros: AxisTable) -> Tensor:
    """The outputs whose weights do not sum to one: the rest falls on samples outside the image."""
    return (zeros.row_sums() - 1).abs() > 1e-9


def _largest(size: Tensor) -> float | None:
    return float(size.max()) if size.numel() else None


def _rounding(x: Tensor) -> float:
    """How far two right results may be apart.

    Interpolation computes coordinates in float32 (float64 for double), so that its weights are off by a few
    rounding errors of a number as large as the input's extent; sums round, and so does the result.
    """
    finite = x[x.isfinite()]
    if finite.numel() == 0:
        return 0.0
    coordinate = torch.finfo(torch.float64 if x.dtype == torch.float64 else torch.float32).eps
    relative = 4 * torch.finfo(x.dtype).eps + 2 * coordinate * (x.shape[2] + x.shape[3])
    return relative * float(finite.abs().max())


# ---- the sentence ------------------------------------------------------------------------------------------


def _explain(c: Comparison) -> list[str]:
    differences = c.differences
    if all(d.equal for d in differences.values()):
        if c.factor == 1:
            return ["No difference: factor 1 gives the input back in all four ways."]
        return [
            "No difference on this input: all four ways agree to rounding. Their weights are not the same, "
            "though (see the tables), so other inputs do differ."
        ]
    return [
        _explain_question(c),
        _explain_grid(c, differences[CORNERS]),
        _explain_zeros(c, differences[ZEROS]),
        _explain_replicate(differences[REPLICATE]),
    ]


def _explain_question(c: Comparison) -> str:
    question = c.difference(CORNERS, ZEROS)
    if question.equal:
        return (
            "interpolate(align_corners=True) and the transposed convolution agree on this input, to rounding."
        )
    reasons = []
    if not c.difference(CORNERS).equal:
        reasons.append("where they sample")
    if not c.difference(ZEROS).equal:
        reasons.append("what they read outside the image")
    return (
        "interpolate(align_corners=True) and the transposed convolution differ by up to "
        f"{_short(question.largest)}, at {_place(c, question)}, because of {' and '.join(reasons)}."
    )


def _explain_grid(c: Comparison, grid: Difference) -> str:
    sizes = list(zip(c.input.shape[2:], c.ways[CORNERS].output.shape[2:], strict=True))
    steps = list(dict.fromkeys(f"({i} - 1)/({o} - 1) = {_short((i - 1) / (o - 1))}" for i, o in sizes))
    corners = (..., [0, 0, -1, -1], [0, -1, 0, -1])
    kept = torch.allclose(
        c.ways[CORNERS].output[corners], c.input[corners], rtol=0, atol=grid.rounding, equal_nan=True
    )
    keeps = "keeps the corner samples and " if kept else ""
    start = 0.5 / c.factor - 0.5
    text = (
        f"interpolate(align_corners=True) {keeps}steps (in - 1)/(out - 1) of a sample per output, here "
        f"{' and '.join(steps)}; align_corners=False and the transposed convolution sample at half-pixel "
        f"centres, from {_short(start)} in steps of 1/{c.factor}. "
    )
    if grid.equal:
        return text + "On this input that makes no difference."
    return (
        text + f"On this input that makes a difference of up to {_short(grid.largest)}, at {_place(c, grid)}."
    )


def _explain_zeros(c: Comparison, zeros: Difference) -> str:
    if zeros.inside is None:
        inside = "No output lies wholly inside this input."
    elif zeros.inside <= zeros.rounding:
        inside = f"Inside it agrees with align_corners=False {_closeness(zeros.inside)}."
    else:
        inside = f"Inside it differs from align_corners=False by up to {_short(zeros.inside)}."
    if zeros.border is None:
        return f"The transposed convolution never reads outside the image here. {inside}"
    if zeros.border <= zeros.rounding:
        border = "On the border it agrees too, on this input"
    else:
        place = f", at {_place(c, zeros)}" if zeros.largest == zeros.border else ""
        border = f"On the border it differs by up to {_short(zeros.border)}{place}"
    rows, columns = c.ways[ZEROS].height.row_sums(), c.ways[ZEROS].width.row_sums()
    edge = min(float(rows.min()), float(columns.min()))
    corner = float(rows.min() * columns.min())
    return (
        f"The transposed convolution reads zeros outside the image. {inside} {border}: there its weights sum "
        f"to as little as {_short(edge)} on an edge and {_short(corner)} at a corner, which is what becomes "
        "of a constant 1."
    )


def _explain_replicate(replicate: Difference) -> str:
    if replicate.equal:
        return (
            'To make them equal, repeat the edge: with padding_mode="replicate" the transposed convolution '
            f"equals interpolate(align_corners=False) everywhere, {_closeness(replicate.largest)}."
        )
    return (
        'With padding_mode="replicate" the transposed convolution repeats the edge; on this input it is '
        f"still up to {_short(replicate.largest)} from interpolate(align_corners=False), more than rounding."
    )


def _place(c: Comparison, difference: Difference) -> str:
    n, channel, row, column = difference.where
    place = f"row {row}, column {column}"
    if c.input.shape[1] > 1:
        place += f" of channel {channel}"
    if c.input.shape[0] > 1:
        place += f" of image {n}"
    return place


def _closeness(difference: float) -> str:
    return f"to rounding ({_short(difference)})" if difference else "exactly"


def _short(value: float) -> str:
    return f"{value:.4g}"


# ---- print -------------------------------------------------------------------------------------------------


def _report(c: Comparison) -> str:
    shown = c.ways[CENTRES].output.shape
    full = max(shown[2:]) <= _FULL_EXTENT and shown[0] * shown[1] <= _FULL_PLANES
    parts = [f"x: {_tensor_type(c.input)}, upsampled by {c.factor}"]
    # The two of the question first
    for name in (CORNERS, ZEROS, CENTRES, REPLICATE):
        way = c.ways[name]
        parts.append("\n".join([way.call, *(_matrices(way.output) if full else _summary(way.output))]))
    parts.append("\n".join(_difference_rows(c)))
    axes = ["height", "width"] if c.input.shape[2] != c.input.shape[3] else ["height"]
    parts += ["\n".join(_table_rows(c, axis, full)) for axis in axes]
    return "\n\n".join([*parts, *(textwrap.fill(line, _LINE) for line in _explain(c))])


def _tensor_type(x: Tensor) -> str:
    return f"{x.type()} of size {'x'.join(map(str, x.shape))}"


def _number_format(values: Tensor) -> str:
    """Four decimals, as the question's matrices have, unless that would hide or stretch the numbers."""
    finite = values[values.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return ".4f" if largest == 0 or 1e-2 <= largest < 1e5 else ".4e"


def _matrices(output: Tensor) -> list[str]:
    """Every plane, a row a line, then type and size, as PyTorch printed tensors when this was asked."""
    form = _number_format(output)
    lines = []
    for n in range(output.shape[0]):
        for channel in range(output.shape[1]):
            texts = [[format(v, form) for v in row] for row in output[n, channel].tolist()]
            width = max(len(text) for row in texts for text in row)
            lines.append(f"({n} ,{channel} ,.,.) =")
            lines += [" ".join(text.rjust(width) for text in row) for row in texts]
    return [*lines, f"[{_tensor_type(output)}]"]


def _summary(output: Tensor) -> list[str]:
    low, high = (float(v) for v in torch.aminmax(output))
    return [f"[{_tensor_type(output)}], values from {_short(low)} to {_short(high)}"]


def _difference_rows(c: Comparison) -> list[str]:
    rows = [
        [
            "largest difference from align_corners=False",
            "inside",
            "on the border",
            "outputs that differ",
            "most at",
        ]
    ]
    for name, d in c.differences.items():
        inside, border = ("-" if v is None else _short(v) for v in (d.inside, d.border))
        rows.append(
            [
                c.ways[name].title,
                inside,
                border,
                f"{d.count} of {d.map.numel()}",
                _place(c, d) if d.largest else "-",
            ]
        )
    return _columns(rows)


def _columns(rows: list[list[str]]) -> list[str]:
    """Aligns the first column to the left and the others to the right, the last one left open."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *middle, last in rows:
        cells = [first.ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(middle, widths[1:-1], strict=True)]
        lines.append("  ".join([*cells, last]))
    return lines


def _table_rows(c: Comparison, axis: str, full: bool) -> list[str]:
    """The matrices of one axis side by side, "." for no weight, with the sum of each row."""
    tables = {name: getattr(c.ways[name], axis) for name in (CORNERS, ZEROS, CENTRES, REPLICATE)}
    any_table = tables[CENTRES]
    rows = any_table.out_size if full else min(any_table.out_size, _TABLE_ROWS)
    dense = {name: table.dense(rows) for name, table in tables.items()}
    columns = any_table.in_size
    if not full:  # up to the last sample that these rows read
        columns = max(int(matrix.any(0).nonzero().max()) for matrix in dense.values()) + 1
    both = c.input.shape[2] == c.input.shape[3]
    extent = f"{any_table.out_size} outputs x {any_table.in_size} inputs"
    heading = f"weights of {'either axis' if both else 'the ' + axis}, A: {extent}; output = A_h x A_w^T"
    if (rows, columns) != (any_table.out_size, any_table.in_size):
        heading += f"; the first {rows} rows and {columns} columns"
    heading += "; after the bar, the row's sum"
    blocks = []
    for name, matrix in dense.items():
        texts = [
            " ".join(f"{v:.4f}" if v else "     ." for v in row) + f" | {total:.4f}"
            for row, total in zip(
                matrix[:, :columns].tolist(), tables[name].row_sums()[:rows].tolist(), strict=True
            )
        ]
        labels = c.ways[name].title.split(", ")
        width = max(map(len, labels + texts))
        blocks.append([text.ljust(width) for text in labels + texts])
    return [textwrap.fill(heading, _LINE), *("   ".join(line).rstrip() for line in zip(*blocks, strict=True))]
