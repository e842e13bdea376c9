"""Measures random natural inputs (natural_inputs.py) beside native, and sorts them by how much faster we are.

The other rows were chosen; these are drawn, so that they say how often a call that nobody tuned for is slower
than native. What seems slow is measured again at the end, for longer, before it counts.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .contest import Contest
from .correctness import tensors
from .environment import Neighbours
from .measure import Effort, sample
from .memory import Allocation, page_faults
from .natural_inputs import GROUPS, Case, case
from .report import Table, disturbance, milliseconds
from .result import Result, checked

SHOWN = 20
"""How many of the slowest are printed."""

_SHORT = Effort(seconds=0.08, min_rounds=5, max_rounds=40, patience=0.3)
_LONG = Effort(seconds=0.4, min_rounds=7, patience=2.0)
_DOUBTFUL = 1.05
_ROOM = 2**24
"""Bytes beside the images."""

# The aim: none of ours below, and half of them above
_LEAST, _MEDIAN = 0.95, 5.0


def cases(count: int, seed: int, chosen: Sequence[int]) -> list[Case]:
    """The first ``count`` cases, or those of the chosen numbers."""
    return [case(seed, number) for number in chosen or range(count)]


def measure_all(
    results: list[Result],
    rows: Sequence[Case],
    device: torch.device,
    threads: Sequence[int],
    allocation: Allocation,
    limit: float | None,
    table: Table,
) -> None:
    """Appends one result per case and number of threads, until the time is up."""
    start = time.perf_counter()
    gc.freeze()  # what was imported is no garbage: collecting after each case is then quick
    try:
        for index, row in enumerate(rows):
            if limit and time.perf_counter() - start > limit:
                print(f"{len(rows) - index} cases left for want of time")
                break
            for result in measure(row, device, threads, allocation, table):
                results.append(result)
                table.measured()
            _clear(allocation)
        for is_doubtful in (_seems_slow, _seems_disturbed):
            for index, result in enumerate(results):
                if is_doubtful(result):
                    results[index] = measure_again(result, device, allocation, table)
                    _clear(allocation)
    finally:
        gc.unfreeze()


def measure(
    row: Case, device: torch.device, threads: Sequence[int], allocation: Allocation, table: Table
) -> Iterator[Result]:
    """One result for each number of threads, of the same tensors."""
    table.progress(row, "checking")
    first, contest = checked(row, device, threads[0])
    if contest is None or first.wrong:
        yield first
        return
    values = tensors(contest.ours())
    for count in threads:
        torch.set_num_threads(count)
        result = replace(first, threads=count, notes=[*first.notes])
        if count != threads[0] and not _same(values, tensors(contest.ours())):
            result, _ = checked(row, device, count, contest)
        if not result.wrong:
            table.progress(row, f"timing with {count} threads")
            _time(result, contest, device, allocation, _SHORT)
        yield result


def measure_again(result: Result, device: torch.device, allocation: Allocation, table: Table) -> Result:
    """The result with new, longer measurements, unless other programs disturb them more than they did before.

    Minutes have passed since then: what disturbed the first may have ended.
    """
    table.progress(result.row, f"timing again with {result.threads} threads")
    torch.set_num_threads(result.threads)
    again = replace(result)
    _time(again, result.row.make(result.row, device), device, allocation, _LONG)
    return min(again, result, key=lambda one: (one.neighbours or 0) if one.disturbed else 0)


def _time(
    result: Result, contest: Contest, device: torch.device, allocation: Allocation, effort: Effort
) -> None:
    needed = 4 * max(contest.floor_bytes, contest.intermediate_bytes)
    allocation.keep_pages(needed + _ROOM)
    sides = {"ours": contest.ours, "native": contest.rivals["native"]}
    neighbours = Neighbours()
    result.samples = sample(sides, device, result.threads, effort)
    result.neighbours = neighbours.share()
    before = page_faults()
    contest.ours()
    result.page_faults = page_faults() - before


def _clear(allocation: Allocation) -> None:
    gc.collect()
    allocation.give_back()


def _seems_slow(result: Result) -> bool:
    return result.samples is not None and _gain(result) < _DOUBTFUL


def _seems_disturbed(result: Result) -> bool:
    return _seems_slow(result) and _gain(result) < _LEAST and result.disturbed


def _same(values: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(torch.equal(value, other) for value, other in zip(values, others, strict=True))


def lines(results: Sequence[Result], seed: int, shown: int | None = SHOWN) -> Iterator[str]:
    """The slowest, or all; a summary of each group; the verdict."""
    wrong = [result for result in results if result.wrong]
    timed = sorted((result for result in results if result.samples), key=_gain)
    for result in wrong:
        yield f"WRONG: {result.row.name}, {_again(result, seed)}\n    {result.wrong}"
    yield f"\n{'native/ours':>11} {'0.2-0.8':>11}  {'ours ms':<24} {'native ms':<24}  case"
    for result in timed[:shown]:
        gain, ours, native = result.gain("native"), result.time("ours"), result.time("native")
        assert gain and ours and native
        spread = f"{gain.low:.2f}-{gain.high:.2f}"
        yield (
            f"{gain.median:>11.2f} {spread:>11}  {milliseconds(ours):<24} {milliseconds(native):<24}"
            f"  {result.row.name}, {_again(result, seed)}"
        )
    if len(timed) > len(timed[:shown]):
        yield f"{'':>11} {'':>11}  and {len(timed) - len(timed[:shown])} faster ones: --all shows them"
    yield ""
    yield from _summary(timed)
    yield ""
    yield _verdict(results, timed, wrong)
    if warning := disturbance(results):
        yield warning


def _summary(timed: Sequence[Result]) -> Iterator[str]:
    yield f"{'group':<25} {'thr':>3} {'count':>5} {'median':>6} {'worst':>6} {'< 1.0':>6} {f'< {_LEAST}':>6}"
    parts = [(group, [result for result in timed if _group(result) == group]) for group in GROUPS]
    for name, part in [*parts, ("all", timed)]:
        for threads in sorted({result.threads for result in part}):
            gains = [_gain(result) for result in part if result.threads == threads]
            slower = (f"{sum(gain < bound for gain in gains) / len(gains):.1%}" for bound in (1, _LEAST))
            middle, worst = statistics.median(gains), min(gains)
            yield f"{name:<25} {threads:>3} {len(gains):>5} {middle:>6.2f} {worst:>6.2f} " + " ".join(
                f"{share:>6}" for share in slower
            )


def _verdict(results: Sequence[Result], timed: Sequence[Result], wrong: Sequence[Result]) -> str:
    gains = [_gain(result) for result in timed]
    right = f"{len(wrong)} WRONG" if wrong else "all right"
    if not gains:
        return f"{len(results)} measurements: {right}"
    slow, middle = sum(gain < _LEAST for gain in gains), statistics.median(gains)
    met = "met" if not slow and middle >= _MEDIAN else "missed"
    return (
        f"{len(results)} measurements: {right}; the median is {middle:.2f}, {slow} of {len(gains)} are "
        f"below {_LEAST}: the aim (none, and a median of {_MEDIAN:g}) is {met}"
    )


def _again(result: Result, seed: int) -> str:
    return f"--seed {seed} --case {result.row.number} --threads {result.threads}"


def _gain(result: Result) -> float:
    gain = result.gain("native")
    assert gain is not None
    return gain.median


def _group(result: Result) -> str:
    assert isinstance(result.row, Case)
    return result.row.group
