"""Why do bilinear interpolation and a transposed convolution with bilinear weights differ?

Both are `output = A_h @ input @ A_w.T`, with one banded matrix per axis. `compare` upsamples by an integer
factor in four ways, shows their matrices side by side, and explains from the measured differences where the
results differ and how to make them equal. It does the same with the other modes of `interpolate`, also where
they shrink an image.
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
from upsample_ext.comparison_explanation import called, explain, place, short
from upsample_ext.comparison_ways import (
    CENTRES,
    CORNERS,
    QUESTION,
    REPLICATE,
    ZEROS,
    Planes,
    Scale,
    Way,
    checked_names,
    make_ways,
    reads_outside,
    reference_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A result is printed in full up to this size, otherwise summarised
_FULL_EXTENT = 16
_FULL_PLANES = 4
# Of a table too large to print, this corner is: the rows that read no sample beyond these columns
_TABLE_ROWS = 8
_TABLE_COLUMNS = 16
# Sentences are wrapped to this many characters, and this many lines of tables hold side by side
_LINE = 110
_TABLE_LINE = 190
# Outputs of a way computed at a time: few enough for a processor's cache, but so many that its table, which
# is built for each part, costs little
_STRIPE = 2**19
# The maximum work of a comparison, in outputs of each way: some minutes
_MOST_WORK = 2**32
# The differences that the explanation of the question covers
_PAIRS = ((CORNERS, CENTRES), (ZEROS, CENTRES), (REPLICATE, CENTRES), (CORNERS, ZEROS))


# ---- what a comparison holds -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Ways of resizing side by side, made by `compare`; `print` shows them, `plot` draws them.

    Attributes:
        input: `(N, C, H, W)`, the input as it was used.
        factor: the integer factor.
        shrink: whether the image is shrunk by it, not enlarged.
        ways: by name, by default `"align_corners=True"` and `"align_corners=False"` (bilinear interpolation),
            `"zeros"` and `"replicate"` (transposed convolution, by what it reads outside the image).
        border_rows, border_columns: `(H_out,)` and `(W_out,)` bool, the outputs for which the transposed
            convolution reads outside the image.
    """

    input: Tensor
    factor: int
    shrink: bool
    ways: Mapping[str, Way]
    border_rows: Tensor
    border_columns: Tensor
    _progress: Callable[[float], None] | None = None
    _differences: dict[tuple[str, str], Difference] = field(default_factory=dict)
    _ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """The way that the others are compared with, `align_corners=False` or, to shrink, `antialias`."""
        return reference_of(self.shrink)

    def difference(self, first: str, second: str | None = None) -> Difference:
        """Compares the results of two ways, named by their keys in `ways`; the second is the reference."""
        second = self.reference if second is None else second
        for name in (first, second):
            if name not in self.ways:
                raise ValueError(f"difference: expected one of {list(self.ways)}, got {name!r}")
        self._measure([(first, second)])
        return self._differences[first, second]

    @property
    def differences(self) -> dict[str, Difference]:
        """The other ways, each against the reference."""
        self._measure(self._pairs)
        return {name: self.difference(name) for name in self.ways if name != self.reference}

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The smallest and the largest value of each way's result; NaN if there is one."""
        self._measure(self._pairs, ranges=True)
        return self._ranges

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        """The differences that the explanation covers."""
        if set(self.ways) == set(QUESTION):
            return list(_PAIRS)
        pairs = [(name, self.reference) for name in self.ways if name != self.reference]
        if "nearest" in self.ways:
            pairs += [(name, "nearest") for name in ("area", "nearest-exact") if name in self.ways]
        return pairs

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
            Which of the `N * C` planes, which of their rows, and by way `(planes, rows, W_out)`: some
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
        some = max(1, _STRIPE // max(height * width, self.input[0, 0].numel()))
        return [slice(start, min(start + some, planes)) for start in range(0, planes, some)]

    @property
    def _output_shape(self) -> tuple[int, int, int, int]:
        count, channels, height, width = self.input.shape
        scale = Scale(self.factor, self.shrink)
        return count, channels, scale.output(height), scale.output(width)

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
        return "\n".join(explain(self))

    def __str__(self) -> str:
        return _report(self)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.input.shape))
        by = f"shrunk by {self.factor}" if self.shrink else f"by factor {self.factor}"
        return f"<Comparison of {shape} {by}; print it, or plot(path)>"

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


def compare(
    input: Tensor | Sequence[Any],
    factor: int,
    ways: str | Sequence[str] | None = None,
    *,
    shrink: bool = False,
) -> Comparison:
    """Resizes by `factor` in several ways and explains where and why they differ.

    By default these are four ways of enlarging: `interpolate(mode="bilinear")` with `align_corners` True and
    False, and `bilinear_conv_transpose2d`, the Caffe layer with kernel `2 * factor - factor % 2`, stride
    `factor` and padding `ceil((factor - 1) / 2)`, reading zeros outside the image or, with
    `padding_mode="replicate"`, its repeated edge.

    Args:
        input: `(H, W)`, `(C, H, W)` or `(N, C, H, W)`, a tensor or nested lists. Floating dtypes are kept,
            all others become torch's default dtype. No gradient is recorded.
        factor: how many outputs per input along both axes, 1 or more; with shrink, how many inputs per
            output, at most the larger extent. The result then has `H // factor` rows, at least 1.
        ways: which ways, in this order: `"nearest"`, `"nearest-exact"`, `"bilinear"` (also called
            `"align_corners=False"`), `"align_corners=True"`, `"bicubic"`, `"area"`, `"antialias"` (bilinear),
            `"bicubic-antialias"`, `"zeros"`, `"replicate"`. `"modes"` stands for nearest, bilinear, bicubic
            and antialias, with area where the image shrinks and `"align_corners=True"` where it does not. The
            reference is always among them: bilinear, or of shrinking antialias. None: the four above, with
            shrink `"modes"`.
        shrink: divide the image's extents by factor.

    Returns:
        A `Comparison`.

    Raises:
        TypeError: `factor` is not an int, or `input` holds no real numbers.
        ValueError: `input` has another number of dimensions or no elements, a way is unknown or cannot
            shrink, or `factor` is below 1, or so large that the comparison would take more than some minutes
            (2**32 outputs of each way).

    The formulas: ATen's `area_pixel_compute_source_index` for interpolation; the documentation of Caffe's
    BilinearFiller for the transposed convolution.

    Example:
        >>> comparison = compare([[1, 2], [3, 4]], 2)
        >>> comparison.ways["zeros"].output[0, 0, 0]
        tensor([0.5625, 0.9375, 1.3125, 1.1250])
        >>> comparison.difference("replicate", "align_corners=False").equal
        True
        >>> compare([[1, 2, 3, 4]], 2, "modes", shrink=True).ways["antialias"].width.dense()
        tensor([[0.4286, 0.4286, 0.1429, 0.0000],
                [0.0000, 0.1429, 0.4286, 0.4286]], dtype=torch.float64)
    """
    factor = checked_factor(factor)
    x = _as_images(input)
    check_work(x.shape, factor, shrink)
    names = checked_names(ways, shrink)
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    # A copy, from which the results are computed when they are first used
    x = x.to(dtype, memory_format=torch.contiguous_format, copy=True)
    return compare_images(x, Scale(factor, shrink), names)


def compare_images(
    x: Tensor, scale: Scale, names: Sequence[str], progress: Callable[[float], None] | None = None
) -> Comparison:
    """`compare` of checked arguments; `x` is `(N, C, H, W)`, contiguous, and must not be modified any more.

    Args:
        progress: called with the fraction that is done, 0 to 1, in each pass over the results.
    """
    border_rows, border_columns = (reads_outside(size, scale) for size in x.shape[2:])
    return Comparison(
        x, scale.factor, scale.shrinks, make_ways(x, scale, names), border_rows, border_columns, progress
    )


def checked_factor(factor: int) -> int:
    """The factor as an int; TypeError if it is not an int, ValueError if it is below 1."""
    try:
        value = operator.index(factor)
    except TypeError:
        raise TypeError(f"compare: expected factor to be an int, got {type(factor).__name__}") from None
    if value < 1:
        raise ValueError(f"compare: expected factor to be 1 or more, got {_digits(value)}")
    return value


def check_work(shape: Sequence[int], factor: int, shrink: bool = False) -> None:
    """ValueError if comparing an input of this shape, `(..., H, W)`, would take more than some minutes."""
    size = "x".join(map(str, shape))
    resized = f"{size} {'shrunk' if shrink else 'upsampled'} by {_digits(factor)}"
    if shrink:
        most = max(shape[-2:])
        if factor > most:
            raise ValueError(f"compare: {resized} is nothing; the factor may be up to {most}")
        factor = 1  # the work is that of reading the input
    if _work(shape, factor) <= _MOST_WORK:
        return
    most = bisect_right(range(1, _MOST_WORK), _MOST_WORK, key=lambda smaller: _work(shape, smaller))
    advice = f"the factor may be up to {most}" if most and not shrink else "expected a smaller input"
    raise ValueError(f"compare: {resized} is more than some minutes' work; {advice}")


def _work(shape: Sequence[int], factor: int) -> int:
    """The duration of the comparison, in units of the time for an output of each way."""
    *planes, height, width = shape
    outputs = math.prod(shape) * factor**2
    # For each part of a result a table is built, which tries every output of an axis with every kernel tap
    parts = math.prod(planes) + outputs // _STRIPE
    taps = 2 * factor * factor
    return outputs + (taps * width * parts + taps * height * math.prod(planes)) // 4


def bytes_needed(shape: Sequence[int], factor: int, ways: int = 4) -> int:
    """About how much memory the comparison of float32 `(C, H, W)` takes, its picture included.

    Args:
        factor: 1 where the image shrinks.
        ways: how many are compared.
    """
    channels, height, width = shape
    samples = height * width
    input = 4 * channels * samples
    # A plane of each way with its height upsampled; parts of the results and their differences
    results = 4 * ways * samples * factor + 3 * 4 * ways * max(_STRIPE, width * factor)
    # Numbers as Python's and as tensors, of the ways and both axes
    tables = 100 * ways * (height + width) * factor
    # Means of samples in float64, and the coarse maps
    picture = 8 * (ways + 6) * samples + 90 * (ways - 1) * 4 * width * factor
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


# ---- print -------------------------------------------------------------------------------------------------


def _report(c: Comparison) -> str:
    shown = c._output_shape
    full = max(*shown[2:], *c.input.shape[2:]) <= _FULL_EXTENT and shown[0] * shown[1] <= _FULL_PLANES
    if not full:
        c._measure(c._pairs, ranges=True)
    parts = [f"x: {_tensor_type(c.input)}, {'shrunk' if c.shrink else 'upsampled'} by {c.factor}"]
    for name in _in_print(c):
        way = c.ways[name]
        parts.append("\n".join([way.call, *(_matrices(way.output) if full else _summary(c, name))]))
    parts.append("\n".join(_difference_rows(c)))
    axes = ["height", "width"] if c.input.shape[2] != c.input.shape[3] else ["height"]
    parts += ["\n".join(_table_rows(c, axis, full)) for axis in axes]
    return "\n\n".join([*parts, *(textwrap.fill(line, _LINE) for line in explain(c))])


def _in_print(c: Comparison) -> Sequence[str]:
    """The names in the order in which they are printed: first the two that the question is about."""
    return (CORNERS, ZEROS, CENTRES, REPLICATE) if set(c.ways) == set(QUESTION) else tuple(c.ways)


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
    return [f"[{_tensor_type(c.input, c._output_shape)}], values from {short(low)} to {short(high)}"]


def _difference_rows(c: Comparison) -> list[str]:
    rows = [
        [
            f"largest difference from {called(c, c.reference)}",
            "inside",
            "on the border",
            "outputs that differ",
            "most at",
        ]
    ]
    for name, d in c.differences.items():
        inside, border = ("-" if v is None else short(v) for v in (d.inside, d.border))
        rows.append(
            [
                c.ways[name].title,
                inside,
                border,
                f"{d.count} of {math.prod(c._output_shape)}",
                place(c, d) if d.largest else "-",
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
    tables = {name: getattr(c.ways[name], axis) for name in _in_print(c)}
    any_table = tables[c.reference]
    rows = any_table.out_size if full else min(any_table.out_size, _TABLE_ROWS)
    dense = {name: table.dense(rows) for name, table in tables.items()}
    columns = any_table.in_size
    if not full:
        read = torch.stack([matrix != 0 for matrix in dense.values()]).any(0)
        last = [int(row.nonzero().max()) + 1 for row in read]  # of each row, how many columns it needs
        rows = max(1, sum(needed <= _TABLE_COLUMNS for needed in last))
        columns = min(max(last[:rows]), _TABLE_COLUMNS)
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
                matrix[:rows, :columns].tolist(), tables[name].row_sums()[:rows].tolist(), strict=True
            )
        ]
        labels = c.ways[name].title.split(", ")
        width = max(map(len, labels + texts))
        blocks.append([text.ljust(width) for text in labels + texts])
    beside = max(1, _TABLE_LINE // max(len(block[0]) + 3 for block in blocks))
    lines = [textwrap.fill(heading, _LINE)]
    for start in range(0, len(blocks), beside):
        lines += [""] * bool(start)
        lines += ["   ".join(line).rstrip() for line in zip(*blocks[start : start + beside], strict=True)]
    return lines
