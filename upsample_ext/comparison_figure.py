"""The picture of a comparison: one column per way, below each result how it differs, and why.

Imported by `Comparison.plot` alone, because matplotlib is an optional dependency.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, avg_pool2d

from upsample_ext.comparison_differences import absolute_difference
from upsample_ext.comparison_explanation import called
from upsample_ext.comparison_ways import CORNERS, QUESTION, ZEROS, Planes

if TYPE_CHECKING:
    from upsample_ext.compare import Comparison

# Up to this many rows and columns of output, every number is written into its cell
_NUMBERS = 8
# Of a photo, samples a side of the part that is shown enlarged, and along the profile, for the question and
# for modes: of the input, or, if that is shrunk, of the output
_WINDOW = 12
_PROFILE = 9
_MODES_WINDOW = 28
_MODES_PROFILE = 16
# Of the input, every second sample or fewer is drawn where it has more than this many a side
_PICTURE = 1024
# A map of differences is shrunk to this many cells a side, each with the largest of what it stands for:
# the border, an output or two wide, would be lost otherwise
_MAP = 90

_COLOURS = {
    "nearest": "#7a5c3e",
    "nearest-exact": "#a0a04a",
    "align_corners=True": "#d1622b",
    "align_corners=False": "#1f4e79",
    "bicubic": "#7d4bb3",
    "area": "#c28a00",
    "antialias": "#138a8a",
    "bicubic-antialias": "#c2539b",
    "zeros": "#b01e4f",
    "replicate": "#2f8f5b",
}
_GREY = "#666666"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.6,
    "image.interpolation": "nearest",
}
# Inches: the width of a column, the height but for the explanation, and that of so many of its lines
_COLUMN, _HEIGHT, _LINES = 2.4, 8.639, 9
_TEXT_HEIGHT = 1.961


def draw(comparison: "Comparison") -> Figure:
    """Draws the first image: a small matrix with its numbers, others with a profile across the border."""
    with matplotlib.rc_context(_STYLE):
        small = max(*comparison._output_shape[2:], *comparison.input.shape[2:]) <= _NUMBERS
        return _draw_matrix(comparison) if small else _draw_image(comparison)


# ---- parts of both pictures --------------------------------------------------------------------------------


def _figure(c: "Comparison") -> tuple[Figure, GridSpec]:
    """The page: title above, a grid of three rows and a column more than ways, the explanation below."""
    columns = 1 + len(c.ways)
    paragraphs = ["\n".join(textwrap.wrap(line, 88 * columns // 5)) for line in c.explanation.split("\n")]
    halves = _halves(paragraphs)
    more = max(0, max(text.count("\n") for text in halves) + 1 - _LINES) * _TEXT_HEIGHT / (_LINES + 2)
    size = _COLUMN * columns, _HEIGHT + _TEXT_HEIGHT + more
    figure = Figure(figsize=size, facecolor="white")

    def from_top(share: float) -> float:
        """A share of the page's height, were the explanation of the usual length."""
        return 1 - (1 - share) * (_HEIGHT + _TEXT_HEIGHT) / size[1]

    left, right = 0.03 * 5 / columns, 1 - 0.015 * 5 / columns
    height, width = c.input.shape[2:]
    figure.text(left, from_top(0.968), _title(c), fontsize=14, fontweight="bold", va="center")
    note = f"{height} x {width}, {'shrunk' if c.shrink else 'upsampled'} by {c.factor}"
    figure.text(right, from_top(0.968), note, fontsize=11, color=_GREY, ha="right", va="center")
    for x, text in zip((left, 0.52), halves, strict=True):
        figure.text(x, from_top(0.152), text, fontsize=8.5, color="#333333", va="top", linespacing=1.4)
    grid = figure.add_gridspec(
        3,
        columns,
        left=left,
        right=right,
        top=from_top(0.89),
        bottom=from_top(0.185),
        wspace=0.13,
        hspace=0.24,
    )
    return figure, grid


def _title(c: "Comparison") -> str:
    if set(c.ways) == set(QUESTION):
        return "Bilinear interpolation and the bilinear transposed convolution"
    return "Ways of shrinking an image" if c.shrink else "Ways of enlarging an image"


def _halves(paragraphs: list[str]) -> tuple[str, str]:
    """The paragraphs as two texts, which stand side by side."""
    half = (len(paragraphs) + 1) // 2
    return "\n\n".join(paragraphs[:half]), "\n\n".join(paragraphs[half:])


def _heading(ax: Axes, c: "Comparison", name: str) -> None:
    family, detail = c.ways[name].title.split(", ")
    top: dict[str, Any] = {"transform": ax.transAxes, "ha": "center", "va": "bottom"}
    ax.annotate(
        family, (0.5, 1), (0, 18), "axes fraction", "offset points", ha="center", va="bottom", color=_GREY
    )
    ax.text(0.5, 1.025, detail, **top, fontsize=10.5, fontweight="bold", color=_COLOURS[name])


def _describe(ax: Axes, title: str, body: str) -> None:
    """A panel of text that says what its row of the grid shows."""
    ax.axis("off")
    ax.text(0, 1, title, transform=ax.transAxes, va="top", fontsize=10.5, fontweight="bold", linespacing=1.3)
    body = "\n".join(line for part in body.split("\n") for line in textwrap.wrap(part, 31) or [""])
    start = 0.98 - 0.095 * (title.count("\n") + 1)
    ax.text(0, start, body, transform=ax.transAxes, va="top", fontsize=8.5, color=_GREY, linespacing=1.4)


def _difference_title(ax: Axes, c: "Comparison", name: str) -> None:
    difference = c.difference(name)
    if difference.equal:
        ax.set_title("equal to rounding" if difference.largest else "equal", color=_COLOURS[name])
    else:
        ax.set_title(f"up to {difference.largest:.3g}", color=_COLOURS[name])


def _reference(ax: Axes) -> None:
    ax.axis("off")
    ax.text(0.5, 0.5, "the reference", transform=ax.transAxes, ha="center", va="center", color=_GREY)


def _span(differences: Iterable[Tensor]) -> float:
    """The largest finite absolute difference, at which the colours end."""
    return max(float(d.abs().nan_to_num(posinf=0.0).max()) for d in differences) or 1.0


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])


# ---- a small matrix ----------------------------------------------------------------------------------------


def _draw_matrix(c: "Comparison") -> Figure:
    figure, grid = _figure(c)
    results = {name: c.ways[name].output[0, 0].double().cpu() for name in c.ways}
    differences = {name: c.difference(name).map[0, 0].double().cpu() for name in c.ways}
    finite = torch.cat([v[v.isfinite()] for v in results.values()])
    low, high = (float(v) for v in torch.aminmax(finite)) if len(finite) else (0.0, 1.0)
    span = _span(differences.values())

    ax = figure.add_subplot(grid[0, 0])
    _cells(ax, c.input[0, 0].double().cpu(), "viridis", low, high)
    ax.text(0.5, 1.025, "input", transform=ax.transAxes, ha="center", fontsize=10.5, fontweight="bold")
    _describe(
        figure.add_subplot(grid[1, 0]),
        f"Difference from\n{called(c, c.reference)}",
        _difference_note(c),
    )
    axis = "either axis" if c.input.shape[2] == c.input.shape[3] else "the horizontal axis"
    _describe(
        figure.add_subplot(grid[2, 0]),
        "Weights",
        f"The matrix A of {axis}: a row for each output, a column for each input.\n\n"
        f"All {'four ' * (len(c.ways) == 4)}ways are\noutput = A_h x A_wᵀ.\n\n"
        "Right of it, each row's sum: what becomes of a constant 1.",
    )
    for column, name in enumerate(c.ways, start=1):
        ax = figure.add_subplot(grid[0, column])
        _cells(ax, results[name], "viridis", low, high)
        _heading(ax, c, name)
        ax = figure.add_subplot(grid[1, column])
        if name == c.reference:
            _reference(ax)
        else:
            noise = differences[name].abs() <= c.difference(name).rounding
            _cells(ax, differences[name].masked_fill(noise, 0.0), "RdBu", -span, span, signed=True)
            _difference_title(ax, c, name)
        table = c.ways[name].width
        _weights(figure.add_subplot(grid[2, column]), table.dense(), table.row_sums())
    return figure


def _difference_note(c: "Comparison") -> str:
    """What the differences show, as far as they were measured to show it."""
    if set(c.ways) != set(QUESTION):
        return f"The result above, less that of {called(c, c.reference)}, the reference."
    zeros = c.difference("zeros")
    note = "The result above, less that of interpolation at half-pixel centres."
    if zeros.equal or zeros.inside is None or zeros.inside > zeros.rounding:
        return note
    note = (
        "Transposed convolution and interpolation at half-pixel centres agree inside; zeros outside the "
        "image pull the border towards 0."
    )
    return note + "\n\nRepeating the edge makes them equal." if c.difference("replicate").equal else note


def _cells(ax: Axes, matrix: Tensor, colours: str, low: float, high: float, signed: bool = False) -> None:
    """A heat map with its numbers."""
    image = ax.imshow(matrix.numpy(), cmap=colours, vmin=low, vmax=max(high, low + 1e-12))
    _bare(ax)
    _grid_lines(ax, *matrix.shape)
    size, texts = _cell_texts(matrix, signed)
    for i, row in enumerate(matrix.tolist()):
        for j, value in enumerate(row):
            red, green, blue, opaque = image.cmap(image.norm(value))
            dark = opaque and 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            ax.text(
                j, i, texts[i][j], ha="center", va="center", fontsize=size, color="white" if dark else "black"
            )


def _cell_texts(matrix: Tensor, signed: bool) -> tuple[float, list[list[str]]]:
    """The numbers with as many decimals as fit into cells of this matrix, and the font size for them."""
    most = max(matrix.shape)
    size, length = (8.5, 6) if most <= 4 else (7, 5) if most <= 6 else (5.5, 5)

    def written(value: float, form: str) -> str:
        if signed and not isnan(value):
            return format(value, "+" + form) if value else "0"
        return format(value, form)

    for form in (".4f", ".3f", ".2f", ".1f", ".0f", ".0e"):
        texts = [[written(value, form) for value in row] for row in matrix.tolist()]
        if max(len(text) for row in texts for text in row) <= length:
            break
    return size, texts


def _grid_lines(ax: Axes, rows: int, columns: int) -> None:
    ax.hlines([row - 0.5 for row in range(1, rows)], -0.5, columns - 0.5, color="white", linewidth=0.8)
    ax.vlines([column - 0.5 for column in range(1, columns)], -0.5, rows - 0.5, color="white", linewidth=0.8)


def _weights(ax: Axes, matrix: Tensor, sums: Tensor) -> None:
    """A matrix of one axis; the sum of each row stands out where it is not one."""
    rows, columns = matrix.shape
    ax.imshow(matrix.numpy(), cmap="Purples", vmin=0, vmax=1.4)
    _bare(ax)
    _grid_lines(ax, rows, columns)
    # Room for the sums inside the axes, so that they cannot reach the next panel
    ax.set_xlim(-0.5, columns - 0.5 + 0.27 * max(rows, columns))
    ax.spines[:].set_visible(False)
    ax.add_patch(
        Rectangle((-0.5, -0.5), columns, rows, fill=False, edgecolor="#999999", linewidth=0.6, clip_on=False)
    )
    most = max(rows, columns)
    size = 8.5 if most <= 4 else 7 if most <= 6 else 6
    for i, row in enumerate(matrix.tolist()):
        for j, value in enumerate(row):
            if value:
                text = f"{value:.4f}" if rows <= 4 and columns <= 2 else f"{value:.2f}"
                ax.text(j, i, text, ha="center", va="center", fontsize=size)
        total = float(sums[i])
        less = abs(total - 1) > 1e-9
        look: dict[str, Any] = (
            {"color": _COLOURS["zeros"], "fontweight": "bold"} if less else {"color": "#aaaaaa"}
        )
        ax.text(columns - 0.4, i, f"= {total:.4g}", va="center", fontsize=size, **look)


# ---- a photo -----------------------------------------------------------------------------------------------


def _draw_image(c: "Comparison") -> Figure:
    figure, grid = _figure(c)
    maps = _maps(c)
    asks = set(c.ways) == set(QUESTION)
    top, left, bottom, right = _border_window(maps.samples) if asks else _window(maps.samples)
    # Of the samples of the smaller image: how many of the input's and of the result's one stands for
    of_input, of_result = (c.factor, 1) if c.shrink else (1, c.factor)
    ax = figure.add_subplot(grid[0, 0])
    _picture(ax, c.input, c.input)
    ax.text(0.5, 1.025, "input", transform=ax.transAxes, ha="center", fontsize=10.5, fontweight="bold")
    ax.add_patch(
        Rectangle(
            (left * of_input - 0.5, top * of_input - 0.5),
            (right - left) * of_input,
            (bottom - top) * of_input,
            fill=False,
            edgecolor="#ff2d55",
            linewidth=1.4,
        )
    )
    ax.text(0, -0.03, "framed: the part enlarged", transform=ax.transAxes, va="top", fontsize=8, color=_GREY)

    span = _span(maps.coarse.values())
    label = figure.add_subplot(grid[1, 0])
    _describe(
        label,
        f"Difference from\n{called(c, c.reference)}",
        "Absolute, the largest channel, the whole image. A cell shows the largest difference of the outputs "
        "it stands for.",
    )
    rows, columns = slice(top * of_result, bottom * of_result), slice(left * of_result, right * of_result)
    for column, name in enumerate(c.ways, start=1):
        ax = figure.add_subplot(grid[0, column])
        _picture(ax, _part(c, name, rows, columns), c.input)
        _heading(ax, c, name)
        ax = figure.add_subplot(grid[1, column])
        if name == c.reference:
            _reference(ax)
            continue
        shown = ax.imshow(maps.coarse[name].numpy(), cmap="inferno", vmin=0, vmax=span)
        _bare(ax)
        _difference_title(ax, c, name)
    bar = figure.colorbar(shown, cax=label.inset_axes((0.04, 0.12, 0.9, 0.07)), orientation="horizontal")
    bar.ax.tick_params(labelsize=8, length=2.5)
    bar.outline.set_linewidth(0.5)
    bar.locator = MaxNLocator(4)

    if asks:
        _border_profile(figure, grid, c, top, left, maps.edges)
    else:
        _profile(figure, grid, c, rows, columns)
    return figure


def _window(samples: dict[str, Tensor]) -> tuple[int, int, int, int]:
    """The part to enlarge, in samples of the smaller image: where the ways differ most.

    Args:
        samples: the differences of the ways at each of these samples, `(H, W)`.
    """
    score = torch.stack(list(samples.values())).sum(0)
    height, width = (min(_MODES_WINDOW, extent) for extent in score.shape)
    score = avg_pool2d(avg_pool2d(score[None], (height, 1), 1), (1, width), 1)[0]
    top, left = divmod(int(score.argmax()), score.shape[1])
    return top, left, top + height, left + width


def _border_window(samples: dict[str, Tensor]) -> tuple[int, int, int, int]:
    """The part to enlarge, in input samples: touching the border, where both differences show.

    Args:
        samples: the differences of the ways at each sample, `(H, W)`.
    """
    zeros, corners = samples[ZEROS], samples[CORNERS]
    height, width = (min(_WINDOW, extent) for extent in zeros.shape)
    border, grid = (
        avg_pool2d(avg_pool2d(samples[None], (height, 1), 1), (1, width), 1)[0]
        for samples in (zeros, corners)
    )
    score = border * (0.2 * border + grid)
    score[1:-1, 1:-1] = -1.0
    top, left = divmod(int(score.argmax()), score.shape[1])
    return top, left, top + height, left + width


def _picture(ax: Axes, image: Tensor, scale: Tensor) -> None:
    """The first image, in colour if it has three channels; black to white is the range of `scale` or 0..1."""
    low, high = min(float(scale.min()), 0.0), max(float(scale.max()), 1e-12)
    high = 1.0 if low == 0 and 0.5 < high <= 1 else high
    height, width = image.shape[2:]
    step = -(-max(height, width) // _PICTURE)
    first = image[0, : 3 if image.shape[1] == 3 else 1, ::step, ::step]
    shown = ((first.double().cpu() - low) / (high - low)).nan_to_num().clamp(0, 1)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    if shown.shape[0] == 3:
        ax.imshow(shown.permute(1, 2, 0).numpy(), extent=extent)
    else:
        ax.imshow(shown[0].numpy(), cmap="gray", vmin=0, vmax=1, extent=extent)
    _bare(ax)


@dataclass(frozen=True)
class _Maps:
    """How the results for the first image differ from the reference, in absolute numbers.

    Attributes:
        coarse: by way, the largest of all channels in each cell of a grid, `(rows, columns)` float64.
        samples: by way, added over channels, the mean over the outputs of an input sample, `(H, W)` float64;
            of an image that shrinks, each output.
        edges: with zeros outside, the first and the last column, `(C, H_out, 2)`; otherwise zeros.
    """

    coarse: dict[str, Tensor]
    samples: dict[str, Tensor]
    edges: Tensor


def _maps(c: "Comparison") -> _Maps:
    channels, rows, columns = c._output_shape[1:]
    outputs_of_sample = 1 if c.shrink else c.factor
    cells = min(_MAP, rows)
    names = [name for name in c.ways if name != c.reference]
    coarse = {name: torch.zeros(cells, columns, dtype=c.input.dtype) for name in names}
    extent = rows // outputs_of_sample, columns // outputs_of_sample
    samples = {name: torch.zeros(extent, dtype=torch.float64) for name in names}
    edges = torch.zeros(channels, rows, 2, dtype=c.input.dtype)
    for planes, part, outputs in c._stripes(c.ways, images=1):
        for name in names:
            size = absolute_difference(outputs[name], outputs[c.reference]).cpu()
            _widen(coarse[name], size, part.start, rows)
            _add_samples(samples[name], size, part.start, outputs_of_sample)
            if name == ZEROS:
                edges[planes, part] = size[..., [0, -1]]
    shrunk = {
        name: adaptive_max_pool2d(size.double()[None], (cells, min(_MAP, columns)))[0]
        for name, size in coarse.items()
    }
    return _Maps(shrunk, samples, edges)


def _widen(cells: Tensor, size: Tensor, start: int, total: int) -> None:
    """Puts `(planes, rows, W * factor)` differences, from row `start` of `total` on, into rows of cells.

    These share the rows as in `adaptive_max_pool2d`.
    """
    count, stop = len(cells), start + size.shape[1]
    for cell in range(start * count // total, -(-stop * count // total)):
        top, bottom = cell * total // count, -(-(cell + 1) * total // count)
        most = size[:, max(top - start, 0) : bottom - start].amax((0, 1))
        cells[cell] = torch.maximum(cells[cell], most)


def _add_samples(samples: Tensor, size: Tensor, start: int, factor: int) -> None:
    """Adds `(planes, rows, W_out)` differences, from row `start` on, to the means over factor x factor."""
    sample = torch.arange(start, start + size.shape[1]) // factor
    first, last = int(sample[0]), int(sample[-1])
    along = avg_pool2d(size.double().nan_to_num().sum(0)[None], (1, factor))[0] / factor
    samples[first : last + 1].index_add_(0, sample - first, along)


def _part(c: "Comparison", name: str, rows: slice, columns: slice) -> Tensor:
    """A part of the first image's result, in the channels that are shown, `(1, 1 or 3, rows, columns)`."""
    channels = 3 if c.input.shape[1] == 3 else 1
    return torch.cat([_rows(c, name, channel, rows)[..., columns] for channel in range(channels)])[None]


def _rows(c: "Comparison", name: str, channel: int, rows: slice) -> Tensor:
    """Rows of one channel of the first image's result, `(1, rows, W * factor)`."""
    planes = Planes(c.ways[name])
    planes.turn_to(slice(channel, channel + 1))
    return planes.rows(rows)


def _profile(figure: Figure, grid: GridSpec, c: "Comparison", rows: slice, columns: slice) -> None:
    """One row of the results in the enlarged part, where the ways differ most, with the input behind it."""
    channel, row, left = _steepest(c, rows, columns)
    outputs = range(left, min(left + _MODES_PROFILE * (1 if c.shrink else c.factor), columns.stop))
    height, width = c.input.shape[2:]
    step_y, step_x = height / c._output_shape[2], width / c._output_shape[3]
    where = f"Output row {row}" + (f" of channel {channel}" if c.input.shape[1] > 1 else "")
    samples = "Grey: the input's samples on that row." if c.shrink else "Black: the input's samples nearest."
    _describe(
        figure.add_subplot(grid[2, 0]),
        "Along a row",
        f"{where}, where the ways differ.\n\n{samples}\n\nAlong it, the position in input pixels.",
    )
    ax = figure.add_subplot(grid[2, 1:])
    low, high = outputs[0] * step_x, (outputs[-1] + 1) * step_x
    read = range(int(low), min(int(high), width))
    line = c.input[0, channel, min(int((row + 0.5) * step_y), height - 1)].double().cpu()
    colour, linewidth, dot = ("#c4c4c4", 1, 3) if c.shrink else ("black", 0, 5)
    ax.plot(
        [i + 0.5 for i in read],
        [float(line[i]) for i in read],
        color=colour,
        linewidth=linewidth,
        marker="o",
        markersize=dot,
        label="input",
    )
    for name in c.ways:
        values = _rows(c, name, channel, slice(row, row + 1)).flatten().double().cpu()
        position = [(i + 0.5) * step_x for i in outputs]
        ax.plot(
            position,
            [float(values[i]) for i in outputs],
            color=_COLOURS[name],
            label=c.ways[name].title,
            linewidth=3 if name == c.reference else 1.2,
            alpha=0.5 if name == c.reference else 1,
            marker="none" if name == c.reference else "o",
            markersize=3,
        )
    ax.set_xlim(low, high)
    ax.margins(y=0.12)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8, length=3)
    ax.legend(frameon=False, fontsize=8.5, loc="lower left", bbox_to_anchor=(0, 1), ncols=1 + len(c.ways))


def _steepest(c: "Comparison", rows: slice, columns: slice) -> tuple[int, int, int]:
    """Channel, output row and first output column of the profile, within the enlarged part."""
    reference = _part(c, c.reference, rows, columns)
    size = torch.zeros(reference.shape[1:], dtype=torch.float64)
    for name in c.ways:
        size += absolute_difference(_part(c, name, rows, columns), reference)[0].double().nan_to_num().cpu()
    length = min(_MODES_PROFILE * (1 if c.shrink else c.factor), size.shape[2])
    score = avg_pool2d(size[None], (1, length), 1)[0]
    channel, rest = divmod(int(score.argmax()), score.shape[1] * score.shape[2])
    row, column = divmod(rest, score.shape[2])
    return channel, rows.start + row, columns.start + column


def _border_profile(
    figure: Figure, grid: GridSpec, c: "Comparison", top: int, left: int, edges: Tensor
) -> None:
    """One row of the results, from outside the image into it, where the zeros make the largest difference."""
    channel, row, at_right = _profile_place(c, top, left, edges)
    length = min(_PROFILE, c.input.shape[3])
    outputs = range(length * c.factor)
    where = f"Output row {row}" + (f" of channel {channel}" if c.input.shape[1] > 1 else "")
    edge = "right" if at_right else "left"
    _describe(
        figure.add_subplot(grid[2, 0]),
        "Across the border",
        f"{where}, from the {edge} edge inwards.\n\nAlong it, the position in input pixels.",
    )
    ax = figure.add_subplot(grid[2, 1:])
    styles: dict[str, dict[str, Any]] = {
        "align_corners=True": {"linestyle": "-", "marker": "o", "markersize": 3.5, "linewidth": 1.2},
        "align_corners=False": {"linestyle": "-", "linewidth": 4.5, "alpha": 0.3},
        "zeros": {"linestyle": "-", "marker": "s", "markersize": 3.5, "linewidth": 1.2},
        "replicate": {"linestyle": "none", "marker": "o", "markersize": 4, "markerfacecolor": "white"},
    }
    for name in QUESTION:
        line = _rows(c, name, channel, slice(row, row + 1)).flatten().double()
        line = line.flip(0) if at_right else line
        position = [(i + 0.5) / c.factor for i in outputs]
        label = c.ways[name].title
        ax.plot(position, line[: len(outputs)].tolist(), color=_COLOURS[name], label=label, **styles[name])
    ax.axvspan(-0.6, 0, facecolor="#eeeeee", hatch="////", edgecolor="#dddddd", linewidth=0)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.text(-0.3, 0.5, "outside", transform=ax.get_xaxis_transform(), rotation=90, ha="center", va="center")
    ax.set_xlim(-0.6, length)
    ax.margins(y=0.12)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8, length=3)
    ax.legend(frameon=False, fontsize=8.5, loc="best", ncols=2)


def _profile_place(c: "Comparison", top: int, left: int, edges: Tensor) -> tuple[int, int, bool]:
    """Channel, output row, and whether at the right edge; in the enlarged part if that is at a side."""
    size = edges.double().nan_to_num()
    sides = [left == 0, left + _WINDOW >= c.input.shape[3]]
    rows = ~c.border_rows.cpu()
    if any(sides):
        rows[: top * c.factor] = False
        rows[(top + _WINDOW) * c.factor :] = False
    allowed = rows[:, None] & torch.tensor(sides if any(sides) else [True, True])
    size = torch.where(allowed, size, -1.0)
    channel, rest = divmod(int(size.argmax()), size.shape[1] * 2)
    return channel, rest // 2, rest % 2 == 1
