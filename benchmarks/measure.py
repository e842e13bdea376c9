"""Times the sides of a row in turn, and takes ratios round by round.

A shared machine drifts by tens of per cent within seconds. Sides are therefore measured alternately in one
process (ours, native, OpenCV, floor, ours, ...), a ratio is taken within each round, and the median of the
rounds' ratios is reported, with the 0.2 and 0.8 quantiles. On the CPU a block is one
``torch.utils.benchmark.Timer.timeit``, which runs the side twice before it starts the clock, so that no side
is slowed by the cache contents that its predecessor left. On a GPU it is one call between two events, see
``_Cuda``.
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
    """Seconds after which sampling stops even before ``min_rounds``."""


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
    cuda = _Cuda() if device.type == "cuda" else None
    watches = {
        name: _cuda_watch(side, cuda) if cuda else _cpu_watch(side, threads) for name, side in sides.items()
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
    """Bytes per second of ``copy_`` between tensors of ``size`` bytes, counting reads and writes."""
    seconds = sample({"copy": copy_of(2 * size, device)}, device, threads, QUICK).time("copy").median
    return 2 * size / seconds


def _cpu_watch(side: Side, threads: int) -> Callable[[], float]:
    """A function that measures one block of calls and returns the seconds of one call."""

    def once() -> float:
        start = benchmark.timer()
        side()
        return benchmark.timer() - start

    estimate = once()
    if estimate > _SLOW_SECONDS:  # such a call replaces all cache contents: warming up would be useless
        return once
    timer = benchmark.Timer("side()", globals={"side": side}, num_threads=threads)
    calls = max(1, round(_BLOCK_SECONDS / estimate))
    return lambda: timer.timeit(calls).mean


class _Cuda:
    """Prepares each measurement on a GPU: a cold but clean L2 cache, and a head start for the host."""

    HEAD_START, LONGEST = 2e-3, 50e-3

    def __init__(self) -> None:
        size = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
        size = max(2 * size, 2**26)
        self._written, self._read = (torch.ones(size // 4, device="cuda") for _ in range(2))
        self._sum = torch.zeros((), device="cuda")
        self._cycles_per_second = self._count_cycles()

    def flush(self) -> None:
        """Fills the L2 cache with clean lines of an unused buffer.

        Writing alone would leave it full of dirty lines. They would be written back when the next kernel
        evicts them, which costs it up to a cache's worth of traffic; reading another buffer afterwards does
        that before the clock starts.
        """
        self._written.zero_()
        torch.sum(self._read, dim=0, out=self._sum)

    def stall(self, seconds: float) -> None:
        """Stalls the GPU.

        Meanwhile all kernels of a side are launched, so that the events enclose only the kernels back to
        back, not the time that Python and autograd take to launch them. A synchronisation within a side
        (reading a size back, say) still shows, as it would in a program.
        """
        torch.cuda._sleep(int(seconds * self._cycles_per_second))

    def head_start(self, side: Side) -> float:
        """Seconds to stall for, derived from the host's time for a call once everything is loaded."""
        for _ in range(2):
            side()
        torch.cuda.synchronize()
        start = time.perf_counter()
        side()
        host = time.perf_counter() - start
        torch.cuda.synchronize()
        return min(max(2 * host, self.HEAD_START), self.LONGEST)

    def seconds(self, function: Callable[[], object]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    def _count_cycles(self, cycles: int = 10_000_000) -> float:
        self.seconds(lambda: torch.cuda._sleep(cycles))
        return cycles / self.seconds(lambda: torch.cuda._sleep(cycles))


def _cuda_watch(side: Side, cuda: _Cuda) -> Callable[[], float]:
    """A function that measures a single call; the cache is flushed before each."""
    head_start = cuda.head_start(side)

    def once() -> float:
        cuda.flush()
        cuda.stall(head_start)
        return cuda.seconds(side)

    return once


def copy_of(moved_bytes: int, device: torch.device) -> Side:
    """Copies this many bytes, counting those read and written: the yardstick for a row that moves as many."""
    source, target = (
        torch.ones(max(1, moved_bytes // 2), dtype=torch.uint8, device=device) for _ in range(2)
    )
    return lambda: target.copy_(source)
