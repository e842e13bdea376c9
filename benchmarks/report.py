"""Prints results as they come."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from . import targets
from .contest import CHANNELS_LAST, Row
from .measure import Quantiles
from .result import RIVALS, Result

LEGEND = """\
ours ms    our median and its 0.2-0.8 quantiles
native, determ, compile, chunked, opencv, pillow, vision    that rival's time / ours: above 1 we are faster
           (determ = native under torch.use_deterministic_algorithms, on GPUs; compile = torch.compile of
           native, chunked = native a few rows at a time, or into memory that is there; vision = torchvision)
resize     our own resize to the same size / ours
MiB        peak memory of one call beyond the inputs and the result: ours (native, chunked, torch.compile)
x floor    ours / the time to fill the output (forward), to read grad_output (backward), or both
           (cross-entropy: to copy the logits)
of copy    on GPUs: the time of a copy that moves as many bytes as our inputs and results, or gradients / ours
gems       on GPUs: FlagGems' Triton kernel / ours, where it is installed
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
    "determ": 6,
    "chunked": 7,
    "compile": 7,
    "gems": 6,
    "opencv": 6,
    "pillow": 6,
    "vision": 6,
    "resize": 6,
    "x floor": 7,
    "of copy": 7,
    "error": 12,
    "MiB": 22,
}
# Fused ops have other rivals, and their memory is measured: each kind of row has its own columns.
_OF_FUSED, _OF_OTHERS = {"chunked", "MiB"}, {"opencv", "pillow", "vision", "resize"}
# So does each device.
_OF_GPUS, _OF_CPUS = {"determ", "gems", "of copy"}, {"opencv", "pillow", "vision", "output", "thr"}
MEMORY_SIDES = ("ours", "native", "chunked", "compile")
_LEFT = ("op", "kind", "input", "to", "dtype", "layout", "pass", "output")


class Table:
    """The table on stdout, a line per row as it is measured, and a line of progress on a terminal's
    stderr."""

    def __init__(self, total: int, device: str = "cpu") -> None:
        self._total, self._done = total, 0
        self._unused = _OF_CPUS if device == "cuda" else _OF_GPUS
        self._start = time.perf_counter()
        self._tty = sys.stderr.isatty()
        self._columns: tuple[str, ...] = ()

    def environment(self, environment: dict[str, str]) -> None:
        print("\n".join(f"{name + ':':<14}{value}" for name, value in environment.items()), flush=True)

    def head(self, environment: dict[str, str]) -> None:
        self.environment(environment)
        print(f"\n{LEGEND}", flush=True)

    def measured(self) -> None:
        """Counts a row that is not printed."""
        self._done += 1
        self._clear()

    def progress(self, row: Row, what: str) -> None:
        if self._tty:
            elapsed = time.perf_counter() - self._start
            text = f"[{self._done + 1}/{self._total}, {elapsed:.0f} s] {row.name}: {what}"
            print(f"\r\x1b[K{text[:150]}", end="", file=sys.stderr, flush=True)

    def row(self, result: Result) -> None:
        self.measured()
        unused = self._unused | (_OF_OTHERS if result.row.memory else _OF_FUSED)
        columns = tuple(name for name in _COLUMNS if name not in unused)
        if columns != self._columns:
            self._columns = columns
            print("\n" + _line({name: name for name in columns}))
        cells = _cells(result)
        print(_line({name: cells[name] for name in columns}))
        for text in [f"WRONG: {result.wrong}"] if result.wrong else [*targets.missed(result), *result.notes]:
            print(f"    {text}")
        sys.stdout.flush()

    def foot(self, results: Sequence[Result]) -> None:
        wrong = sum(bool(result.wrong) for result in results)
        seconds = time.perf_counter() - self._start
        slower = sum((gain := result.gain("native")) is not None and gain.median < 1 for result in results)
        verdict = f"{wrong} WRONG" if wrong else "all right"
        print(f"\n{len(results)} rows in {seconds:.0f} s: {verdict}; {slower} slower than native")
        if self._unused is _OF_CPUS:
            print("\n".join(["", *target_lines(results)]))
        if warning := disturbance(results):
            print(warning)

    def _clear(self) -> None:
        if self._tty:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def disturbance(results: Sequence[Result]) -> str:
    disturbed = [result.neighbours or 0.0 for result in results if result.disturbed]
    if not disturbed:
        return ""
    return (
        f"{len(disturbed)} of {len(results)} rows were measured while other programs took up to "
        f"{max(disturbed):.0%} of the cores: do not trust their times, least of all with several threads"
    )


def _line(cells: dict[str, str]) -> str:
    return " ".join(
        f"{cell:<{_COLUMNS[name]}}" if name in _LEFT else f"{cell:>{_COLUMNS[name]}}"
        for name, cell in cells.items()
    ).rstrip()


def _cells(result: Result) -> dict[str, str]:
    row, ours = result.row, result.time("ours")
    return {
        "op": row.op,
        "kind": row.variant,
        "input": row.input,
        "to": row.to,
        "dtype": row.dtype_name,
        "layout": layout(row),
        "pass": row.direction,
        "output": row.output if row.direction == "forward" else "",
        "thr": str(result.threads),
        "ours ms": milliseconds(ours) if ours else "-",
        **{name: times(result.gain(name)) for name in RIVALS if name in _COLUMNS},
        "determ": times(result.gain("deterministic")),
        "gems": times(result.gain("gems")),
        "x floor": times(result.over_floor()),
        "of copy": percent(result.of_copy),
        "error": _error(result),
        "MiB": _memory(result),
    }


def layout(row: Row) -> str:
    return "NHWC" if row.layout == CHANNELS_LAST else "NCHW"


def _number(value: float) -> str:
    """Two or three digits, without an exponent."""
    if value >= 10:
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def milliseconds(time: Quantiles) -> str:
    low, median, high = (_number(value * 1e3) for value in values(time))
    return f"{median} ({low}-{high})"


def values(quantiles: Quantiles) -> tuple[float, float, float]:
    return quantiles.low, quantiles.median, quantiles.high


def megabytes(result: Result, side: str) -> str:
    """Peak memory beyond inputs and result."""
    if side not in result.peaks:
        return "-"
    extra = result.peaks[side].extra_mib
    return f"{extra:.1f}" if extra < 10 else f"{extra:.0f}"


def _memory(result: Result) -> str:
    ours, *rivals = (megabytes(result, side) for side in MEMORY_SIDES)
    return f"{ours} ({', '.join(rivals)})"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def target_lines(results: Sequence[Result]) -> list[str]:
    """The targets and their outcomes, as a table."""
    lines = [("for", "target", "outcome"), *targets.summary(results)]
    first, second = (max(len(line[column]) for line in lines) for column in (0, 1))
    return [f"{what:<{first}}  {goal:<{second}}  {outcome}" for what, goal, outcome in lines]


def times(ratio: Quantiles | None) -> str:
    return _number(ratio.median) if ratio else "-"


def _error(result: Result) -> str:
    if result.wrong:
        return "WRONG"
    errors = result.verdict.errors
    if not errors:
        return "-"
    return f"{_number(errors['ours'])} ({_number(errors['native'])})"
