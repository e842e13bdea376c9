"""The most memory that one call of a side holds, beyond its inputs.

On the CPU every side is measured in a process of its own, by the kernel's high-water mark of resident memory.
It counts what a count of tensors misses, work memory that a kernel takes itself, and what it counts is what
makes a process die. Three things would hide memory from it, hence:

- The process is new. In an old one a call finds memory that others have freed, and takes no more pages.
- malloc maps every block of 128 KiB or more anew and returns it when it is freed.
- The side is called once beforehand, so that what happens once (threads start, code is loaded) is not
  counted. What that call leaves behind, more than a MiB of it (a cache of the op), is added to the peak.

Exact to some 0.2 MiB; tests/test_benchmarks.py checks it on allocations of known size. On CUDA it is the
caching allocator's peak.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from .contest import Row, Side
from .memory import return_freed_pages

_MIB = 2**20
# What threads and caches of the first call leave behind in any case.
_NOISE = _MIB


@dataclass(frozen=True)
class Peak:
    """In bytes, beyond what was held before the call."""

    total: int
    result: int
    """What the call returns; part of ``total``."""

    @property
    def mib(self) -> float:
        return self.total / _MIB

    @property
    def extra_mib(self) -> float:
        """Beyond the floor, which is the inputs and the result."""
        return max(0, self.total - self.result) / _MIB


def build_side(row: Row, device: torch.device, name: str) -> Side:
    """The side called ``name`` of the row's contest: "ours", "native", "compile" and so on."""
    contest = row.make(row, device)
    if name == "compile":
        assert contest.compiled is not None
        return contest.compiled()
    return contest.ours if name == "ours" else contest.rivals[name]


def of_row(row: Row, device: torch.device, name: str, threads: int) -> Peak | None:
    """The peak of one side of ``row`` on the CPU; see ``in_new_process``."""
    # What torch.compile leaves behind is the compiler, not the op's.
    return in_new_process(build_side, row, device, name, threads=threads, count_kept=name != "compile")


def in_new_process(
    build: Callable[..., Side], *arguments: object, threads: int = 1, count_kept: bool = True
) -> Peak | None:
    """The peak of the side that ``build(*arguments)`` makes; None where the kernel does not tell it.

    ``build`` and its arguments are pickled. ``count_kept``: does memory that the first call keeps count? An
    exception of the side is raised here; a process that the kernel kills (out of memory) is a
    ``BrokenProcessPool``.
    """
    with ProcessPoolExecutor(1, mp_context=_processes()) as pool:
        return pool.submit(_measure, build, arguments, threads, count_kept).result()


def on_cuda(side: Side) -> Peak:
    side()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = side()
    peak, after = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    del result
    return Peak(peak - before, after - before)


def _processes() -> multiprocessing.context.BaseContext:
    """Forks of a server that has imported torch but computed nothing: new processes within milliseconds.

    A fork of this process would inherit its heap, and hang: OpenMP's threads do not survive it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "upsample_ext", __name__])
    return context


def _measure(build: Callable[..., Side], arguments: tuple, threads: int, count_kept: bool) -> Peak | None:
    torch.set_num_threads(threads)
    return_freed_pages()
    try:
        side = build(*arguments)
        before = _settled()
        side()
        kept = _settled() - before
        if not (count_kept and kept > _NOISE):
            kept = 0
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets the high-water mark
        before, anonymous = _status("VmRSS"), _status("RssAnon")
        result = side()
        peak = _status("VmHWM") - before
        # A result may share memory with an input, or leave pages untouched: it is no more than what came.
        held = min(sum(_storages(result).values()), _status("RssAnon") - anonymous)
        return Peak(max(0, kept + peak), max(0, held))
    except FileNotFoundError:
        return None


def _settled() -> int:
    """Anonymous resident bytes when all that is free has been given back."""
    gc.collect()
    return_freed_pages()
    return _status("RssAnon")


def _storages(result: object) -> dict[int, int]:
    """Address -> bytes of the memory that the tensors of a result lie in."""
    tensors = [result] if isinstance(result, Tensor) else list(_tensors(result))
    storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _tensors(result: object) -> Iterator[Tensor]:
    if isinstance(result, (tuple, list)):
        yield from (item for item in result if isinstance(item, Tensor))


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise FileNotFoundError(f"/proc/self/status has no {field}")
