"""Times the sides of a row in turn, and takes ratios round by round.

A shared machine drifts by tens of per cent within seconds. Sides are therefore measured alternately in one
process (ours, native, OpenCV, floor, ours, ...), a ratio is taken within each round, and the median of the
rounds' ratios is what we report, with its 0.2 and 0.8 quantiles. A block is one
``torch.utils.benchmark.Timer.timeit``, which runs the side twice before it reads the clock, so that no side
pays for the cache its predecessor left behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch
from torch.utils import benchmark

from .contest import Side

_BLOCK_SECONDS = 0.002
_SLOW_SECONDS = 0.01


@dataclass(frozen=True)
class Effort:
    """How long a row is sampled."""

    seconds: float
    min_rounds: int
    max_rounds: int = 200
    patience: float = 60.0
    """Seconds after which even ``min_rounds`` are not waited for."""


QUICK = Effort(seconds=0.4, min_rounds=3, patience=7.0)
FULL = Effort(seconds=2.0, min_rounds=7)


@dataclass(frozen=True)
class Quantiles:
    low: float
    median: float
    high: float

    @staticmethod
    def of(samples: numpy.ndarray) -> Quantiles:
        return Quantiles(*(float(q) for q in numpy.quantile(samples, (0.2, 0.5, 0.8))))


@dataclass(frozen=True)
class Samples:
    """Seconds per call, one entry per round, the same rounds for every side."""

    seconds: dict[str, numpy.ndarray]

    def time(self, side: str) -> Quantiles:
        return Quantiles.of(self.seconds[side])

    def ratio(self, numerator: str, denominator: str) -> Quantiles:
        return Quantiles.of(self.seconds[numerator] / self.seconds[denominator])


def sample(sides: dict[str, Side], device: torch.device, threads: int, effort: Effort) -> Samples:
    """Times every side in turn until ``effort`` is spent."""
    flush = _l2_flush() if device.type == "cuda" else None
    watches = {
        name: _cuda_watch(side, flush) if flush else _cpu_watch(side, threads) for name, side in sides.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    start = time.perf_counter()
    for done in range(effort.max_rounds):
        enough = effort.seconds if done >= effort.min_rounds else effort.patience
        if done and time.perf_counter() - start > enough:
            break
        for name, watch in watches.items():
            seconds[name].append(watch())
    return Samples({name: numpy.array(values) for name, values in seconds.items()})


def copy_bandwidth(device: torch.device, threads: int, size: int = 2**30) -> float:
    """Bytes a second of ``copy_`` between tensors of ``size`` bytes, those read and those written counted."""
    source, target = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
    seconds = sample({"copy": lambda: target.copy_(source)}, device, threads, QUICK).time("copy").median
    return 2 * size / seconds


def _cpu_watch(side: Side, threads: int) -> Callable[[], float]:
    """A function that measures one block of calls and returns the seconds of one call."""

    def once() -> float:
        start = benchmark.timer()
        side()
        return benchmark.timer() - start

    estimate = once()
    if estimate > _SLOW_SECONDS:  # no cache outlives such a call: warming up would only take time
        return once
    timer = benchmark.Timer("side()", globals={"side": side}, num_threads=threads)
    calls = max(1, round(_BLOCK_SECONDS / estimate))
    return lambda: timer.timeit(calls).mean


def _cuda_watch(side: Side, flush: Callable[[], object]) -> Callable[[], float]:
    """One call per block, since the cache is flushed before each."""
    names = {"side": side, "flush": flush}
    timer = benchmark.Timer("side()", setup="flush()", timer=_EventClock(), globals=names)
    return lambda: timer.timeit(1).mean


def _l2_flush() -> Callable[[], object]:
    """Writes more than the L2 cache holds."""
    size = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    buffer = torch.empty(max(4 * size, 2**26), dtype=torch.uint8, device="cuda")
    return buffer.zero_


class _EventClock:
    """A clock of CUDA events for ``Timer``: reading it never waits, subtracting two readings does.

    The first reading is queued behind the L2 flush, so that the side is launched while the flush still runs
    and the events enclose the kernels, not Python's launch of them.
    """

    def __call__(self) -> _EventReading:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return _EventReading(event)


@dataclass(frozen=True)
class _EventReading:
    event: torch.cuda.Event

    def __sub__(self, start: _EventReading) -> float:
        self.event.synchronize()
        return start.event.elapsed_time(self.event) / 1e3
