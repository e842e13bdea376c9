"""The most memory that one call of a side holds, beyond its inputs.

On the CPU every side is measured in a separate process, by the operating system's high-water mark of resident
memory. Unlike a count of tensors, it includes scratch that a kernel allocates itself, and it is what gets a
process killed. Three measures keep memory from being hidden:

- The process is new. In an old one a call would reuse memory freed by others, and need no new pages.
- malloc maps every block of 128 KiB or more separately and returns it when it is freed.
- The side is called once beforehand, so that one-time costs (starting threads, loading code) are not counted.
If
  that call leaves more than a MiB allocated (a cache of the op), this is added to the peak.

Accurate to some 0.2 MiB; tests/test_benchmarks.py checks it on allocations of known size. On CUDA it is the
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
# What threads and caches of the first call always leave allocated.
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
    # What torch.compile leaves allocated belongs to the compiler, not to the op.
    return in_new_process(build_side, row, device, name, threads=threads, count_kept=name != "compile")


def in_new_process(
    build: Callable[..., Side], *arguments: object, threads: int = 1, count_kept: bool = True
) -> Peak | None:
    """The peak of the side that ``build(*arguments)`` makes; None if the system does not report it.

    ``build`` and its arguments are pickled. ``count_kept``: whether memory that the first call keeps counts.
    An exception of the side is raised here; a process that the system kills (out of memory) raises
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

    A fork of this process would inherit its heap, and hang: OpenMP's threads do not survive a fork.
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
        # A result may share memory with an input, or have untouched pages: it counts at most as the growth.
        held = min(sum(_storages(result).values()), _status("RssAnon") - anonymous)
        return Peak(max(0, kept + peak), max(0, held))
    except FileNotFoundError:
        return None


def _settled() -> int:
    """Anonymous resident bytes, after free memory has been returned."""
    gc.collect()
    return_freed_pages()
    return _status("RssAnon")


def _storages(result: object) -> dict[int, int]:
    """Address -> bytes of the storages of a result's tensors."""
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
