"""Measures one row: its correctness, then its times, and the columns they become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from . import memory
from .contest import FRESH, MAPPED, Row, Side
from .correctness import Verdict, judge
from .environment import Neighbours
from .measure import Effort, Quantiles, Samples, sample

RIVALS = ("native", "compile", "opencv", "resize")
_HEADROOM = 2**28


@dataclass
class Result:
    row: Row
    threads: int
    verdict: Verdict
    samples: Samples | None = None
    """None when our side is wrong or failed: its speed means nothing then."""
    floor_bytes: int = 0
    page_faults: int = 0
    """Of one call of ours."""
    peak_mib: dict[str, float | None] = field(default_factory=dict)
    """By side, for rows on new pages; the result is included."""
    neighbours: float | None = None
    """The share of the cores that other programs took meanwhile."""
    notes: list[str] = field(default_factory=list)

    @property
    def disturbed(self) -> bool:
        """Were other programs so busy that the times say as much about them?"""
        return (self.neighbours or 0) > 0.1

    @property
    def wrong(self) -> str:
        return self.verdict.wrong

    def time(self, side: str) -> Quantiles | None:
        return self.samples.time(side) if self.samples and side in self.samples.seconds else None

    def gain(self, rival: str) -> Quantiles | None:
        """How many times faster than ``rival`` we are."""
        return self.samples.ratio(rival, "ours") if self.time(rival) else None

    def over_floor(self, side: str = "ours") -> Quantiles | None:
        """How many times the floor ``side`` takes."""
        return self.samples.ratio(side, "floor") if self.time(side) else None


def run(
    row: Row,
    device: torch.device,
    threads: int,
    effort: Effort,
    *,
    compiled: bool,
    allocation: memory.Allocation,
    progress: Callable[[str], None],
) -> Result:
    """Builds the row's contest, judges it and times it."""
    torch.set_num_threads(threads)
    try:
        progress("checking")
        contest = row.make(row, device)
        verdict = judge(row, contest)
    except Exception as error:  # one row must not take the others with it; the table says what happened
        return Result(row, threads, Verdict("", {}, f"raised {_one_line(error)}"))
    result = Result(row, threads, verdict, notes=verdict.notes, floor_bytes=contest.floor_bytes)
    if verdict.wrong:
        return result
    sides = {"ours": contest.ours, **contest.rivals}
    if compiled and contest.compiled:
        progress("compiling torch.compile's side")
        _add_compiled(sides, contest.compiled, result.notes)
    sides["floor"] = contest.floor
    if device.type == "cpu" and row.output == MAPPED:
        allocation.keep_pages(4 * contest.floor_bytes + _HEADROOM)
    if row.output == FRESH or device.type == "cuda":
        result.peak_mib = {name: memory.peak_mib(sides[name], device) for name in ("ours", "native")}
    progress("timing " + ", ".join(sides))
    neighbours = Neighbours()
    result.samples = sample(sides, device, threads, effort)
    result.neighbours = neighbours.share()
    before = memory.page_faults()
    contest.ours()
    result.page_faults = memory.page_faults() - before
    return result


def _add_compiled(sides: dict[str, Side], build: Callable[[], Side], notes: list[str]) -> None:
    try:
        side = build()
        side()
        sides["compile"] = side
    except Exception as error:
        notes.append(f"torch.compile: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
