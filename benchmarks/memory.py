"""Where new tensors come from while we measure: pages the process already holds, or new ones.

By default glibc maps every large allocation anew and unmaps it when freed, so that a kernel that writes a
fresh result pays a page fault per 4 KiB: several times the cost of a good kernel. Both situations are real (a
loop that reuses memory; a first call), so rows say which they measure, and page faults are counted as proof.

``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` in the environment do the same from outside; where
they are set, or under --cold, nothing here interferes. ``mallopt`` is used otherwise, because one process can
then measure both.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_HIGHEST = 2**31 - 1 - 4095
_MIB = 2**20


class Allocation:
    """Steers glibc's malloc; does nothing on other systems or when told to leave it alone."""

    def __init__(self, leave_alone: bool) -> None:
        chosen = [name for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_") if name in os.environ]
        self._mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        self._guards: list[torch.Tensor] = []
        if chosen:
            self.description = "as set by " + ", ".join(f"{name}={os.environ[name]}" for name in chosen)
        elif leave_alone:
            self.description = "the system's default (--cold)"
        elif self._mallopt is None:
            self.description = "the system's default (not glibc)"
        else:
            self.description = "fresh rows on new pages, all others on mapped memory"
        self._steer = not chosen and not leave_alone and self._mallopt is not None

    def use_new_pages(self) -> None:
        """Large tensors get new pages from now on. Only true until ``keep_pages``: a heap does not shrink."""
        if self._steer:
            self._mallopt(_M_MMAP_THRESHOLD, 128 * 1024)

    def keep_pages(self, size: int) -> None:
        """Large tensors stay on mapped pages from now on, of which at least ``size`` bytes lie in one piece.

        One piece, because glibc cannot reuse a freed block for an aligned one of the same size.
        """
        if self._steer:
            self._mallopt(_M_MMAP_THRESHOLD, _HIGHEST)
            self._mallopt(_M_TRIM_THRESHOLD, _HIGHEST)
        block = torch.zeros(size, dtype=torch.uint8)
        self._guards.append(torch.zeros(1))  # keeps the block from becoming the top of the heap
        del block


def page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def peak_mib(side: Callable[[], object], device: torch.device) -> float | None:
    """The most memory that one call of ``side`` held beyond what was held before, result included, in MiB.

    On the CPU it is resident memory, exact to some 0.3 MiB and meaningful only on new pages; None where the
    kernel does not offer it.
    """
    side()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        side()
        return (torch.cuda.max_memory_allocated() - before) / _MIB
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets the high-water mark
        before = _resident("VmRSS")
        side()
        return max(0.0, (_resident("VmHWM") - before) / _MIB)
    except OSError:
        return None


def _resident(field: str) -> int:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")
