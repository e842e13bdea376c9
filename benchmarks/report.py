"""Prints results as they come, and writes them as CSV and as the README's markdown table."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .contest import CHANNELS_LAST, Row
from .measure import Quantiles
from .result import RIVALS, Result

LEGEND = """\
ours ms    our median and its 0.2-0.8 quantiles
native, compile, opencv    that rival's time / ours: above 1 we are faster (compile = torch.compile of native)
resize     our own resize to the same size / ours
x floor    ours / the time to fill the output (forward), to read grad_output (backward), or both
error      ours (native's) against float64, in eps of the largest value, or grey levels for uint8
output     out= preallocated; mapped: a new tensor on pages the process holds; fresh: on new pages"""

_COLUMNS = {
    "op": 25,
    "kind": 13,
    "input": 13,
    "to": 7,
    "dtype": 8,
    "layout": 6,
    "pass": 15,
    "output": 6,
    "thr": 3,
    "ours ms": 21,
    "native": 6,
    "compile": 7,
    "opencv": 6,
    "resize": 6,
    "x floor": 7,
    "error": 12,
}
_LEFT = ("op", "kind", "input", "to", "dtype", "layout", "pass", "output")


class Table:
    """The table on stdout, a line per row as it is measured, and a line of progress on a terminal's
    stderr."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._start = time.perf_counter()
        self._tty = sys.stderr.isatty()

    def head(self, environment: dict[str, str]) -> None:
        print("\n".join(f"{name + ':':<14}{value}" for name, value in environment.items()))
        print(f"\n{LEGEND}\n")
        print(_line({name: name for name in _COLUMNS}), flush=True)

    def progress(self, row: Row, what: str) -> None:
        if self._tty:
            elapsed = time.perf_counter() - self._start
            text = f"[{self._done + 1}/{self._total}, {elapsed:.0f} s] {row.name}: {what}"
            print(f"\r\x1b[K{text[:150]}", end="", file=sys.stderr, flush=True)

    def row(self, result: Result) -> None:
        self._done += 1
        self._clear()
        print(_line(_cells(result)))
        for text in [f"WRONG: {result.wrong}"] if result.wrong else result.notes:
            print(f"    {text}")
        sys.stdout.flush()

    def foot(self, results: Sequence[Result]) -> None:
        wrong = sum(bool(result.wrong) for result in results)
        seconds = time.perf_counter() - self._start
        slower = sum((gain := result.gain("native")) is not None and gain.median < 1 for result in results)
        verdict = f"{wrong} WRONG" if wrong else "all right"
        print(f"\n{len(results)} rows in {seconds:.0f} s: {verdict}; {slower} slower than native")
        if warning := _disturbance(results):
            print(warning)

    def _clear(self) -> None:
        if self._tty:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _disturbance(results: Sequence[Result]) -> str:
    disturbed = [result.neighbours or 0.0 for result in results if result.disturbed]
    if not disturbed:
        return ""
    return (
        f"{len(disturbed)} of {len(results)} rows were measured while other programs took up to "
        f"{max(disturbed):.0%} of the cores: do not trust their times, least of all with several threads"
    )


def _line(cells: dict[str, str]) -> str:
    return " ".join(
        f"{cells[name]:<{width}}" if name in _LEFT else f"{cells[name]:>{width}}"
        for name, width in _COLUMNS.items()
    ).rstrip()


def _cells(result: Result) -> dict[str, str]:
    row, ours = result.row, result.time("ours")
    return {
        "op": row.op,
        "kind": row.variant,
        "input": row.input,
        "to": row.to,
        "dtype": row.dtype_name,
        "layout": _layout(row),
        "pass": row.direction,
        "output": row.output if row.direction == "forward" else "",
        "thr": str(result.threads),
        "ours ms": _milliseconds(ours) if ours else "-",
        **{name: _times(result.gain(name)) for name in RIVALS},
        "x floor": _times(result.over_floor()),
        "error": _error(result),
    }


def _layout(row: Row) -> str:
    return "NHWC" if row.layout == CHANNELS_LAST else "NCHW"


def _number(value: float) -> str:
    """Two or three digits, without an exponent."""
    if value >= 10:
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def _milliseconds(time: Quantiles) -> str:
    low, median, high = (_number(value * 1e3) for value in _values(time))
    return f"{median} ({low}-{high})"


def _values(quantiles: Quantiles) -> tuple[float, float, float]:
    return quantiles.low, quantiles.median, quantiles.high


def _times(ratio: Quantiles | None) -> str:
    return _number(ratio.median) if ratio else "-"


def _error(result: Result) -> str:
    if result.wrong:
        return "WRONG"
    errors = result.verdict.errors
    return f"{_number(errors['ours'])} ({_number(errors['native'])})"


def write_csv(path: Path, results: Sequence[Result], environment: dict[str, str]) -> None:
    """One line per result; the environment is repeated in columns, so that files of many machines can be
    joined."""
    records = [_record(result) | environment for result in results]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def _record(result: Result) -> dict[str, object]:
    row = result.row
    record: dict[str, object] = {
        "op": row.op,
        "input": row.input,
        "to": row.to,
        "variant": row.variant,
        "pass": row.direction,
        "dtype": row.dtype_name,
        "layout": row.layout,
        "output": row.output,
        "threads": result.threads,
    }
    for side in ("ours", *RIVALS, "floor"):
        record |= _spread(f"{side}_ms", result.time(side), 1e3)
    for rival in RIVALS:
        record |= _spread(f"{rival}_over_ours", result.gain(rival))
    record |= _spread("ours_over_floor", result.over_floor())
    record |= _spread("native_over_floor", result.over_floor("native"))
    floor = result.time("floor")
    record["floor_gb_per_s"] = _short(result.floor_bytes / floor.median / 1e9) if floor else ""
    record["page_faults"] = result.page_faults
    for side in ("ours", "native"):
        record[f"{side}_peak_mib"] = _short(result.peak_mib.get(side))
    record["error_unit"] = result.verdict.unit
    for side in ("ours", "native", "opencv"):
        record[f"{side}_error"] = _short(result.verdict.errors.get(side))
    record["wrong"] = result.wrong
    record["rounds"] = len(result.samples.seconds["ours"]) if result.samples else 0
    record["neighbours"] = _short(result.neighbours)
    record["notes"] = "; ".join(result.notes)
    return record


def _spread(name: str, quantiles: Quantiles | None, scale: float = 1) -> dict[str, str]:
    low, median, high = (_short(value * scale) for value in _values(quantiles)) if quantiles else ("", "", "")
    return {name: median, f"{name}_q20": low, f"{name}_q80": high}


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def write_markdown(path: Path, results: Sequence[Result], environment: dict[str, str], command: str) -> None:
    """The README's table: the headline rows, how much faster than each rival, how far from the floor."""
    lines = [
        "| op | input | pass | ours, ms | native | torch.compile | OpenCV | x floor |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for result in results:
        ours = result.time("ours")
        if not (result.row.headline and ours):
            continue
        gains = [f"{_times(gain)}x" if (gain := result.gain(rival)) else "" for rival in RIVALS[:3]]
        row = result.row
        kind = " ".join(filter(None, [row.dtype_name, "" if _layout(row) == "NCHW" else "NHWC", row.variant]))
        how = f"forward, {row.output}" if row.direction == "forward" else row.direction
        cells = [f"`{row.op}`", f"{row.input} {_sign(row.to)}, {kind}", how, _milliseconds(ours).split()[0]]
        lines.append("| " + " | ".join([*cells, *gains, _times(result.over_floor())]) + " |")
    threads = ", ".join(sorted({str(result.threads) for result in results}))
    machine = environment.get("gpu", environment["cpu"])
    where = f"level {environment['level']}, torch {environment['torch']}"
    lines += [
        "",
        "How many times faster than each rival: medians of ratios taken side by side in one process by "
        f"`{command}`; {threads} thread(s), {machine}, {where}, huge pages {environment['huge_pages']}, "
        f"{environment['date']}.",
        "x floor: our time over that of filling the output (forward) or reading grad_output (backward).",
        "out=: preallocated; mapped: a new tensor on memory the process holds; fresh: on new pages.",
    ]
    if warning := _disturbance([result for result in results if result.row.headline]):
        lines.append(f"**{warning}.**")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _sign(to: str) -> str:
    return to if to.startswith("x") else f"to {to}"
