"""Measures one row: its correctness, then its times, and computes the columns of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from . import memory, peak
from .contest import FRESH, MAPPED, Contest, Row, Side
from .correctness import Verdict, judge
from .environment import Neighbours
from .measure import Effort, Quantiles, Samples, copy_of, sample

RIVALS = ("native", "deterministic", "chunked", "compile", "opencv", "pillow", "vision", "resize")
GPU_RIVALS = ("gems",)
NOT_RIVALS = ("floor", "copy")
_HEADROOM = 2**28


@dataclass
class Result:
    row: Row
    threads: int
    verdict: Verdict
    samples: Samples | None = None
    """None if our side is wrong or failed: its speed is meaningless then."""
    floor_bytes: int = 0
    moved_bytes: int = 0
    bandwidth: float | None = None
    """The device's copy bandwidth in bytes per second, counting reads and writes; measured on GPUs."""
    page_faults: int = 0
    """Of one call of ours."""
    peaks: dict[str, peak.Peak] = field(default_factory=dict)
    """By side: the most memory that one call holds, for rows on new pages and rows of fused ops."""
    neighbours: float | None = None
    """The share of the cores that other programs used meanwhile."""
    notes: list[str] = field(default_factory=list)

    @property
    def disturbed(self) -> bool:
        """Whether other programs were so busy that the times are unreliable."""
        return (self.neighbours or 0) > 0.1

    @property
    def on_gpu(self) -> bool:
        return self.bandwidth is not None

    @property
    def wrong(self) -> str:
        return self.verdict.wrong

    def time(self, side: str) -> Quantiles | None:
        return self.samples.time(side) if self.samples and side in self.samples.seconds else None

    def gain(self, rival: str) -> Quantiles | None:
        """How many times faster than ``rival`` we are."""
        return self.samples.ratio(rival, "ours") if self.time(rival) else None

    @property
    def of_copy(self) -> float | None:
        """Our bandwidth over that of a copy: one of as many bytes, measured with the row, or a large one."""
        if self.bandwidth and self.time("copy"):
            return self.samples.ratio("copy", "ours").median
        ours = self.time("ours")
        return self.moved_bytes / ours.median / self.bandwidth if ours and self.bandwidth else None

    def over_floor(self, side: str = "ours") -> Quantiles | None:
        """The time of ``side`` over that of the floor."""
        return self.samples.ratio(side, "floor") if self.time(side) and self.time("floor") else None


def run(
    row: Row,
    device: torch.device,
    threads: int,
    effort: Effort,
    *,
    compiled: bool,
    allocation: memory.Allocation,
    bandwidth: float | None = None,
    progress: Callable[[str], None],
) -> Result:
    """Builds the row's contest, checks its results and times it."""
    progress("checking")
    result, contest = checked(row, device, threads)
    result.bandwidth = bandwidth
    if contest is None or result.wrong:
        return result
    sides = {"ours": contest.ours, **contest.rivals}
    if compiled and contest.compiled:
        progress("compiling torch.compile's side")
        _add_compiled(sides, contest.compiled, result.notes)
    sides["floor"] = contest.floor
    if device.type == "cuda":
        sides["copy"] = copy_of(contest.moved_bytes, device)
    if device.type == "cpu" and row.output == MAPPED:
        allocation.keep_pages(4 * max(contest.floor_bytes, contest.intermediate_bytes) + _HEADROOM)
    if row.memory or row.output == FRESH or device.type == "cuda":
        progress("measuring peak memory")
        _add_peaks(result, sides, device)
    progress("timing " + ", ".join(sides))
    neighbours = Neighbours()
    result.samples = sample(sides, device, threads, effort)
    result.neighbours = neighbours.share()
    before = memory.page_faults()
    contest.ours()
    result.page_faults = memory.page_faults() - before
    return result


def checked(
    row: Row, device: torch.device, threads: int, contest: Contest | None = None
) -> tuple[Result, Contest | None]:
    """A result that has no times yet, and the row's contest (or the one given); None if it could not run."""
    torch.set_num_threads(threads)
    try:
        contest = contest or row.make(row, device)
        verdict = judge(row, contest)
    except torch.OutOfMemoryError as error:  # a GPU's memory may be too small for a row and its rivals
        return Result(row, threads, Verdict("", {}), notes=[f"not measured: {_one_line(error)}"]), None
    except Exception as error:  # a failing row must not stop the others; the table says what happened
        return Result(row, threads, Verdict("", {}, f"raised {_one_line(error)}")), None
    result = Result(row, threads, verdict, notes=verdict.notes)
    result.floor_bytes, result.moved_bytes = contest.floor_bytes, contest.moved_bytes
    return result, contest


def _add_compiled(sides: dict[str, Side], build: Callable[[], Side], notes: list[str]) -> None:
    try:
        side = build()
        side()
        sides["compile"] = side
    except Exception as error:
        notes.append(f"torch.compile: {_one_line(error)}")


def _add_peaks(result: Result, sides: dict[str, Side], device: torch.device) -> None:
    row = result.row
    for name in [name for name in sides if name not in NOT_RIVALS] if row.memory else ["ours", "native"]:
        try:
            if device.type == "cuda":
                found = peak.on_cuda(sides[name])
            else:
                found = peak.of_row(row, device, name, result.threads)
        except Exception as error:
            result.notes.append(f"peak memory of {name}: {_one_line(error)}")
            continue
        if found is not None:
            result.peaks[name] = found


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
