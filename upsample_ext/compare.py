"""Why do bilinear interpolation and a transposed convolution with bilinear weights differ?

Both are `output = A_h @ input @ A_w.T`, with one banded matrix per axis. `compare` upsamples by an integer
factor in four ways, shows their matrices side by side, and explains from the measured differences where the
results differ and how to make them equal.
"""

import math
import operator
import os
import textwrap
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from upsample_ext.comparison_differences import Difference, Measurement
from upsample_ext.comparison_ways import CENTRES, CORNERS, REPLICATE, ZEROS, AxisTable, Planes, Way, make_ways

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A result is printed in full up to this size, otherwise summarised
_FULL_EXTENT = 16
_FULL_PLANES = 4
# Of a table too large to print, this corner is
_TABLE_ROWS = 8
# Sentences are wrapped to this many characters
_LINE = 110
# Outputs of a way computed at a time: few enough for a processor's cache, but so many that its table, which
# is built for each part, costs little
_STRIPE = 2**19
# The maximum work of a comparison, in outputs of each way: some minutes
_MOST_WORK = 2**32
# The differences that the explanation covers
_PAIRS = ((CORNERS, CENTRES), (ZEROS, CENTRES), (REPLICATE, CENTRES), (CORNERS, ZEROS))


# ---- what a comparison holds -------------------------------------------------------------------------------


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
    _progress: Callable[[float], None] | None = None
    _differences: dict[tuple[str, str], Difference] = field(default_factory=dict)
    _ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    def difference(self, first: str, second: str = CENTRES) -> Difference:
        """Compares the results of two ways, named by their keys in `ways`."""
        for name in (first, second):
            if name not in self.ways:
                raise ValueError(f"difference: expected one of {list(self.ways)}, got {name!r}")
        self._measure([(first, second)])
        return self._differences[first, second]

    @property
    def differences(self) -> dict[str, Difference]:
        """The other three ways, each against `interpolate(align_corners=False)`."""
        self._measure(_PAIRS)
        return {name: self.difference(name) for name in self.ways if name != CENTRES}

    def _measure(self, pairs: Iterable[tuple[str, str]], ranges: bool = False) -> None:
        """Computes these differences, and the range of each result's values, in one pass over the results."""
        pairs = [pair for pair in pairs if pair not in self._differences]
        ranges = ranges and not self._ranges
        if not pairs and not ranges:
            return
        names = self.ways if ranges else dict.fromkeys(name for pair in pairs for name in pair)
        found = {
            (first, second): Measurement(
                self.ways[first], self.ways[second], self.border_rows, self.border_columns, self._rounding
            )
            for first, second in pairs
        }
        # Plain numbers: small tensors that stay alive would prevent the reuse of memory around them
        extremes: dict[str, list[float]] = {name: [] for name in names}
        for planes, rows, outputs in self._stripes(names):
            for (first, second), measurement in found.items():
                measurement.add(planes.start, rows.start, outputs[first], outputs[second])
            for name, output in outputs.items() if ranges else ():
                extremes[name] += [float(v) for v in torch.aminmax(output)]
        self._differences.update(
            (pair, measurement.result(self.input.shape[1])) for pair, measurement in found.items()
        )
        if ranges:
            for name, values in extremes.items():
                low, high = torch.aminmax(torch.tensor(values, dtype=torch.float64))  # NaN if there is one
                self._ranges[name] = float(low), float(high)

    def _stripes(
        self, names: Iterable[str], images: int | None = None
    ) -> Iterator[tuple[slice, slice, dict[str, Tensor]]]:
        """The results of these ways for the first images (all by default), a part at a time, in one thread.

        Yields:
            Which of the `N * C` planes, which of their rows, and by way `(planes, rows, W * factor)`: some
            rows of one plane, or all of some planes, in the order in which they lie in `Way.output`.
        """
        height, width = self._output_shape[2:]
        groups = self._groups(images)
        some_rows = max(1, _STRIPE // width)
        done, total = 0, groups[-1].stop * height
        with _one_thread():
            planes_of = {name: Planes(self.ways[name]) for name in names}
            for group in groups:
                for planes in planes_of.values():
                    planes.turn_to(group)
                for row in range(0, height, some_rows):
                    rows = slice(row, min(row + some_rows, height))
                    outputs = {name: planes.rows(rows) for name, planes in planes_of.items()}
                    yield group, rows, outputs
                    outputs.clear()  # so that the next part can reuse their memory
                    done += (group.stop - group.start) * (rows.stop - rows.start)
                    if self._progress is not None:
                        self._progress(done / total)

    def _groups(self, images: int | None = None) -> list[slice]:
        """The `N * C` planes of the first images, in parts of as many as fit."""
        count, channels, height, width = self._output_shape
        planes = (count if images is None else images) * channels
        some = max(1, _STRIPE // (height * width))
        return [slice(start, min(start + some, planes)) for start in range(0, planes, some)]

    @property
    def _output_shape(self) -> tuple[int, int, int, int]:
        count, channels, height, width = self.input.shape
        return count, channels, height * self.factor, width * self.factor

    @cached_property
    def _rounding(self) -> float:
        """How much two correct results may differ.

        Interpolation computes coordinates in float32 (float64 for double), so that its weights are off by a
        few rounding errors of a number as large as the input's extent; sums round, and so does the result.
        """
        x = self.input
        coordinate = torch.finfo(torch.float64 if x.dtype == torch.float64 else torch.float32).eps
        relative = 4 * torch.finfo(x.dtype).eps + 2 * coordinate * (x.shape[2] + x.shape[3])
        low, high = torch.aminmax(x)
        if not (low.isfinite() and high.isfinite()):
            low, high = torch.aminmax(x.nan_to_num(0.0, 0.0, 0.0))
        return relative * max(-float(low), float(high))

    @property
    def explanation(self) -> str:
        """Where and why the ways differ on this input, and how to make them equal, from the measurements."""
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
    """Upsamples by `factor` in four ways and explains where and why they differ.

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
        ValueError: `input` has another number of dimensions or no elements, or `factor` is below 1, or so
            large that the comparison would take more than some minutes (2**32 outputs of each way).

    The formulas: ATen's `area_pixel_compute_source_index` for interpolation; the documentation of Caffe's
    BilinearFiller for the transposed convolution.

    Example:
        >>> comparison = compare([[1, 2], [3, 4]], 2)
        >>> comparison.ways["zeros"].output[0, 0, 0]
        tensor([0.5625, 0.9375, 1.3125, 1.1250])
        >>> comparison.difference("replicate", "align_corners=False").equal
        True
    """
    factor = checked_factor(factor)
    x = _as_images(input)
    check_work(x.shape, factor)
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    # A copy, from which the results are computed when they are first used
    x = x.to(dtype, memory_format=torch.contiguous_format, copy=True)
    return compare_images(x, factor)


def compare_images(x: Tensor, factor: int, progress: Callable[[float], None] | None = None) -> Comparison:
    """`compare` of checked arguments; `x` is `(N, C, H, W)`, contiguous, and must not be modified any more.

    Args:
        progress: called with the fraction that is done, 0 to 1, in each pass over the results.
    """
    ways = make_ways(x, factor)
    zeros = ways[ZEROS]
    return Comparison(x, factor, ways, _reads_outside(zeros.height), _reads_outside(zeros.width), progress)


def checked_factor(factor: int) -> int:
    """The factor as an int; TypeError if it is not an int, ValueError if it is below 1."""
    try:
        value = operator.index(factor)
    except TypeError:
        raise TypeError(f"compare: expected factor to be an int, got {type(factor).__name__}") from None
    if value < 1:
        raise ValueError(f"compare: expected factor to be 1 or more, got {_digits(value)}")
    return value


def check_work(shape: Sequence[int], factor: int) -> None:
    """ValueError if comparing an input of this shape, `(..., H, W)`, would take more than some minutes."""
    if _work(shape, factor) <= _MOST_WORK:
        return
    most = bisect_right(range(1, _MOST_WORK), _MOST_WORK, key=lambda smaller: _work(shape, smaller))
    advice = f"the factor may be up to {most}" if most else "expected a smaller input"
    raise ValueError(
        f"compare: {'x'.join(map(str, shape))} upsampled by {_digits(factor)} is more than some minutes' "
        f"work; {advice}"
    )


def _work(shape: Sequence[int], factor: int) -> int:
    """The duration of the comparison, in units of the time for an output of each way."""
    *planes, height, width = shape
    outputs = math.prod(shape) * factor**2
    # For each part of a result a table is built, which tries every output of an axis with every kernel tap
    parts = math.prod(planes) + outputs // _STRIPE
    taps = 2 * factor * factor
    return outputs + (taps * width * parts + taps * height * math.prod(planes)) // 4


def bytes_needed(shape: Sequence[int], factor: int) -> int:
    """About how much memory the comparison of float32 `(C, H, W)` takes, its picture included."""
    channels, height, width = shape
    samples = height * width
    input = 4 * channels * samples
    # A plane of each way with its height upsampled; parts of the results and their differences
    results = 4 * 4 * samples * factor + 12 * 4 * max(_STRIPE, width * factor)
    # Numbers as Python's and as tensors, of the four ways and both axes
    tables = 400 * (height + width) * factor
    # Means of samples in float64, and the coarse maps
    picture = 8 * 8 * samples + 3 * 90 * 4 * width * factor
    return input + results + tables + picture


@contextmanager
def _one_thread() -> Iterator[None]:
    """Each step on a part is so short that waiting for threads on a busy machine would take longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _digits(value: int) -> str:
    """An int in one line: Python refuses to print those of thousands of digits."""
    return str(value) if abs(value) < 10**20 else f"{'-' if value < 0 else ''}10**20 or more"


def _as_images(input: Tensor | Sequence[Any]) -> Tensor:
    """The input as (N, C, H, W), a view where it can be."""
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
    return x.reshape((1,) * (4 - x.dim()) + x.shape)


def _reads_outside(zeros: AxisTable) -> Tensor:
    """The outputs whose weights do not sum to one: the rest falls on samples outside the image."""
    return (zeros.row_sums() - 1).abs() > 1e-9


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
    sizes = [(table.in_size, table.out_size) for table in (c.ways[CORNERS].height, c.ways[CORNERS].width)]
    steps = list(dict.fromkeys(f"({i} - 1)/({o} - 1) = {_short((i - 1) / (o - 1))}" for i, o in sizes))
    keeps = "keeps the corner samples and " if _keeps_corners(c, grid.rounding) else ""
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


def _keeps_corners(c: Comparison, rounding: float) -> bool:
    planes = Planes(c.ways[CORNERS])
    ends = [0, -1]
    for group in c._groups():
        planes.turn_to(group)
        output = torch.cat([planes.rows(slice(0, 1)), planes.rows(slice(-1, None))], 1)[..., ends]
        input = c.input.flatten(0, 1)[group][:, ends][..., ends]
        if not torch.allclose(output, input, rtol=0, atol=rounding, equal_nan=True):
            return False
    return True


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
    shown = c._output_shape
    full = max(shown[2:]) <= _FULL_EXTENT and shown[0] * shown[1] <= _FULL_PLANES
    if not full:
        c._measure(_PAIRS, ranges=True)
    parts = [f"x: {_tensor_type(c.input)}, upsampled by {c.factor}"]
    # The two that the question is about come first
    for name in (CORNERS, ZEROS, CENTRES, REPLICATE):
        way = c.ways[name]
        parts.append("\n".join([way.call, *(_matrices(way.output) if full else _summary(c, name))]))
    parts.append("\n".join(_difference_rows(c)))
    axes = ["height", "width"] if c.input.shape[2] != c.input.shape[3] else ["height"]
    parts += ["\n".join(_table_rows(c, axis, full)) for axis in axes]
    return "\n\n".join([*parts, *(textwrap.fill(line, _LINE) for line in _explain(c))])


def _tensor_type(x: Tensor, shape: Sequence[int] | None = None) -> str:
    """The type and size as old PyTorch printed them; with another shape, if one is given."""
    return f"{x.type()} of size {'x'.join(map(str, shape or x.shape))}"


def _number_format(values: Tensor) -> str:
    """Four decimals, as the question's matrices have, unless that would hide or stretch the numbers."""
    finite = values[values.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return ".4f" if largest == 0 or 1e-2 <= largest < 1e5 else ".4e"


def _matrices(output: Tensor) -> list[str]:
    """Every plane, one line per row, then type and size, as old PyTorch printed tensors."""
    form = _number_format(output)
    lines = []
    for n in range(output.shape[0]):
        for channel in range(output.shape[1]):
            texts = [[format(v, form) for v in row] for row in output[n, channel].tolist()]
            width = max(len(text) for row in texts for text in row)
            lines.append(f"({n} ,{channel} ,.,.) =")
            lines += [" ".join(text.rjust(width) for text in row) for row in texts]
    return [*lines, f"[{_tensor_type(output)}]"]


def _summary(c: Comparison, name: str) -> list[str]:
    low, high = c._ranges[name]
    return [f"[{_tensor_type(c.input, c._output_shape)}], values from {_short(low)} to {_short(high)}"]


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
                f"{d.count} of {math.prod(c._output_shape)}",
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
