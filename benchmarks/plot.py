"""Pictures of a CSV file: ``python -m benchmarks --plot DIR``, or ``python -m benchmarks.plot FILE.csv DIR``.

One picture per family and thread count. Left: how many times faster than each rival, with the 0.2 and 0.8
quantiles. Next: the time of ours and of native over the floor. Right, for fused ops: the peak memory of a
call beyond its inputs and its result.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

_RIVALS = {
    "native": ("PyTorch", "#3b6fb6", "o"),
    "deterministic": ("deterministic", "#b0485a", "v"),
    "chunked": ("chunked", "#6b6b6b", "^"),
    "compile": ("torch.compile", "#8a5fb0", "s"),
    "opencv": ("OpenCV", "#d1822a", "D"),
}
_OURS, _NATIVE = "#2a8f5d", "#3b6fb6"
_FAMILIES = {
    "resize": ("interpolate", "upsample_bilinear2d"),
    "fused": (
        "upsample_argmax",
        "upsample_threshold",
        "upsample_cross_entropy",
        "upsample_add",
        "upsample_concat",
    ),
    "transposed-convolution": (),
}

Record = dict[str, str]


def draw(source: Path, folder: Path) -> list[Path]:
    """Draws every picture of the CSV file ``source`` into ``folder`` and returns their paths."""
    with source.open(newline="") as file:
        records = [record for record in csv.DictReader(file) if record["ours_ms"]]
    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        family = next(
            (name for name, ops in _FAMILIES.items() if record["op"] in ops), "transposed-convolution"
        )
        groups.setdefault((family, record["threads"]), []).append(record)
    return [
        _picture(
            group, f"{family}, {threads} thread{'s' * (threads != '1')}", folder / f"{family}-{threads}.png"
        )
        for (family, threads), group in groups.items()
    ]


def _picture(records: Sequence[Record], title: str, path: Path) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    height = 1.9 + 0.27 * len(records)
    with_memory = all(record.get("ours_extra_mib") for record in records)
    panels = 3 if with_memory else 2
    figure, (gains, floors, *rest) = pyplot.subplots(
        1, panels, figsize=(3 + 5.5 * panels, height), sharey=True, layout="constrained"
    )
    rows = range(len(records))
    _draw_gains(gains, records)
    _draw_floors(floors, records)
    for axes in rest:
        _draw_memory(axes, records)
    gains.set_yticks(rows, [_label(record) for record in records], fontsize=8)
    gains.set_ylim(len(records) - 0.4, -0.6)
    for axes in (gains, floors, *rest):
        # The axis of memory starts at 0, as it is often 0.
        axes.set_xscale("symlog", linthresh=1) if axes in rest else axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(
            FuncFormatter(lambda value, _: f"{value:g}" if _leading(value) in (2, 5) else "")
        )
        axes.tick_params(axis="x", which="both", labelsize=8)
        axes.axvline(0 if axes in rest else 1, color="black", linewidth=1)
        axes.grid(axis="x", which="both", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        for edge in ("top", "right"):
            axes.spines[edge].set_visible(False)
        for row in rows:
            if row % 2:
                axes.axhspan(row - 0.5, row + 0.5, color="#f6f6f6", zorder=0)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.supxlabel(_environment(records[0]), x=0.01, ha="left", fontsize=7.5, color="#555555")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return path


def _draw_gains(axes, records: Sequence[Record]) -> None:
    for rival, (name, color, marker) in _RIVALS.items():
        column = f"{rival}_over_ours"
        points = [(row, record) for row, record in enumerate(records) if record.get(column)]
        if not points:
            continue
        low, middle, high = (
            [float(record[column + q]) for _, record in points] for q in ("_q20", "", "_q80")
        )
        places = [row for row, _ in points]
        axes.hlines(places, low, high, color=color, linewidth=1.6, alpha=0.5)
        axes.scatter(middle, places, color=color, marker=marker, s=26, label=name, zorder=3)
    axes.set_xlabel("times faster than (right of 1: we are faster)", fontsize=9)


def _draw_floors(axes, records: Sequence[Record]) -> None:
    rows = range(len(records))
    ours, native = (
        [float(record[f"{side}_over_floor"]) for record in records] for side in ("ours", "native")
    )
    axes.hlines(rows, ours, native, color="#c9c9c9", linewidth=1.6)
    axes.scatter(native, rows, color=_NATIVE, s=26, label="PyTorch", zorder=3)
    axes.scatter(ours, rows, color=_OURS, marker="s", s=26, label="upsample_ext", zorder=3)
    axes.set_xlabel(
        "time over the floor (1: the speed of memory)\nfloor: filling the output, reading grad_output",
        fontsize=9,
    )


def _draw_memory(axes, records: Sequence[Record]) -> None:
    for side, (name, color, marker) in {**_RIVALS, "ours": ("upsample_ext", _OURS, "s")}.items():
        column = f"{side}_extra_mib"
        points = [(float(record[column]), row) for row, record in enumerate(records) if record.get(column)]
        if points:
            axes.scatter(*zip(*points, strict=True), color=color, marker=marker, s=26, label=name, zorder=3)
    sides = (f"{side}_extra_mib" for side in (*_RIVALS, "ours"))
    largest = max(float(record[side]) for side in sides for record in records if record.get(side))
    axes.set_xlim(-0.1, 2 * max(1, largest))
    axes.set_xlabel("peak memory of one call beyond its inputs and its result, MiB", fontsize=9)


def _label(record: Record) -> str:
    layout = "NHWC" if record["layout"] == "channels_last" else ""
    how = record["output"] if record["pass"] == "forward" else ""
    sign = record["to"] if record["to"].startswith("x") else f"to {record['to']}"
    dtype = "" if record["dtype"] == "float32" else record["dtype"]
    words = (record["op"], record["variant"], record["input"], sign, dtype, layout, record["pass"], how)
    return " ".join(word for word in words if word)


def _environment(record: Record) -> str:
    names = {
        "upsample_ext": "upsample_ext",
        "level": "level",
        "torch": "torch",
        "gpu": "",
        "cpu": "",
        "cores": "cores",
        "huge_pages": "huge pages",
        "opencv": "OpenCV",
        "python": "Python",
        "date": "",
    }
    return ", ".join(f"{label} {record[name]}".strip() for name, label in names.items() if record.get(name))


def _leading(value: float) -> int:
    return int(f"{value:e}"[0])


if __name__ == "__main__":
    for drawn in draw(Path(sys.argv[1]), Path(sys.argv[2])):
        print(drawn)
