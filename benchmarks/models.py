"""`python -m benchmarks --models`: whole models, natively, under `patch()` and under `fuse()`."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import upsample_ext

from .environment import Neighbours, describe
from .memory import Allocation, return_freed_pages
from .model_cases import CASES, Case, Step

SIDES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "native": contextlib.nullcontext,
    "patch": upsample_ext.patch,
    "fuse": upsample_ext.fuse,
}
_COMPILED = {"compiled": "native", "compiled, fuse": "fuse"}
_ROUNDS, _QUICK_ROUNDS = 7, 3
_PEAK = "--models-peak"


def main(arguments: Any) -> int:
    """Measures every case whose package is installed; prints a line for each."""
    cases = [case for case in CASES if case.quick or not arguments.quick]
    cases = [case for case in cases if re.search(arguments.filter or "", case.name)]
    if arguments.list:
        print("\n".join(case.name for case in cases))
        return 0
    threads = min(arguments.threads)
    torch.set_num_threads(threads)
    for name, value in describe(torch.device("cpu"), Allocation(True).description).items():
        print(f"{name:14} {value}")
    print(f"{'threads':14} {threads}\n")
    rounds = _QUICK_ROUNDS if arguments.quick else _ROUNDS
    wrong = 0
    for case in cases:
        if importlib.util.find_spec(case.package) is None:
            print(f"{case.name}: skipped, {case.package} is not installed\n")
            continue
        neighbours = Neighbours()
        wrong += not _measure(case, rounds, threads, arguments.no_compile)
        share = neighbours.share()
        if share:
            print(f"  other programs used {share:.0%} of the machine")
        print(flush=True)
        gc.collect()
    return 1 if wrong else 0


def _measure(case: Case, rounds: int, threads: int, no_compile: bool) -> bool:
    print(case.name, flush=True)
    step = case.build(lambda model: model)
    sides = {side: (step, SIDES[side]) for side in SIDES}
    if case.compiles and not no_compile:
        for side, under in _COMPILED.items():
            torch._dynamo.reset()
            sides[side] = (case.build(torch.compile), SIDES[under])
    results = {side: _once(*sides[side]) for side in sides}
    times = _times(sides, rounds)
    native = statistics.median(times["native"])
    for side in sides:
        time_ms = statistics.median(times[side])
        line = f"  {side:15} {time_ms:9.1f} ms  {native / time_ms:6.2f}x"
        if side in SIDES:
            line += f"  {_peak(case, side, threads):6.0f} MiB"
        print(
            line + f"  {difference(results['native'], results[side]) if side != 'native' else ''}", flush=True
        )
    with upsample_ext.fuse(), upsample_ext.report() as report:
        step()
    fused = ", ".join(f"{name} {n}" for name, n in sorted(report.fused.items())) or "nothing"
    images = ", ".join(f"{name} {n}" for name, n in report.images.most_common(4)) or "none"
    calls = sum(report.calls.values()) + report.put_off
    print(f"  {calls} calls, {report.share:.0%} ours, {report.put_off} put off")
    print(f"  fused: {fused}; images: {images}")
    return all(_agrees(results["native"], results[side]) for side in ("patch", "fuse"))


def _once(step: Step, context: Callable[[], AbstractContextManager[Any]]) -> dict[str, Tensor]:
    with context():
        return {name: value.clone() for name, value in step().items()}


def _times(
    sides: dict[str, tuple[Step, Callable[[], AbstractContextManager[Any]]]], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of CPU time of each side, in turns."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, (step, context) in sides.items():
            with context():
                step()
                start = time.process_time()
                step()
                times[side].append(1e3 * (time.process_time() - start))
    return times


# ---- memory ------------------------------------------------------------------------------------------------


def _peak(case: Case, side: str, threads: int) -> float:
    """The peak of resident memory that a step adds, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.models", _PEAK, case.name, side, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _print_peak(name: str, side: str, threads: int) -> None:
    torch.set_num_threads(threads)
    return_freed_pages()
    (case,) = (case for case in CASES if case.name == name)
    step = case.build(lambda model: model)
    with SIDES[side]():
        step()  # what a first call leaves behind for good is not counted
        gc.collect()
        return_freed_pages()
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
        before = _status_mib("VmRSS")
        step()
    print(_status_mib("VmHWM") - before)


def _status_mib(field: str) -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


# ---- agreement ---------------------------------------------------------------------------------------------

# Of the pixels of a label map or mask, and of the largest gradient: what other rounding explains
_MOST_PIXELS, _MOST_GRADIENT, _MOST_LOSS = 1e-4, 1e-3, 1e-4


def _compared(native: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    """Share of pixels, difference of the loss and scores, of gradients relative to the largest."""
    found: dict[str, float] = {}
    largest = max((float(g.abs().max()) for n, g in native.items() if g.is_floating_point()), default=0.0)
    for name, a in native.items():
        b = other[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            return {"shapes": float("inf")}
        if not a.is_floating_point():
            kind, value = "pixels", float((a != b).double().mean())
        elif name in ("loss", "score"):
            kind, value = name, float((a - b).abs().max())
        else:
            kind, value = "gradients", float((a - b).abs().max()) / largest
        found[kind] = max(found.get(kind, 0.0), value)
    return found


def difference(native: dict[str, Tensor], other: dict[str, Tensor]) -> str:
    return "differs by " + ", ".join(
        f"{kind} {value:.1e}" for kind, value in _compared(native, other).items()
    )


def _agrees(native: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    limits = {"pixels": _MOST_PIXELS, "gradients": _MOST_GRADIENT, "loss": _MOST_LOSS, "score": _MOST_LOSS}
    return all(value <= limits.get(kind, 0.0) for kind, value in _compared(native, other).items())


if __name__ == "__main__":
    arguments: Sequence[str] = sys.argv[1:]
    if arguments[:1] == [_PEAK]:
        _print_peak(arguments[1], arguments[2], int(arguments[3]))
