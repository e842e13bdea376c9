"""Controls whether new tensors get pages that the process already holds, or new pages.

By default glibc maps every large allocation anew and unmaps it when freed, so that a kernel that writes a
fresh result pays a page fault per 4 KiB: several times the cost of a good kernel. Both situations are real (a
loop that reuses memory; a first call), so rows say which one they measure, and page faults are counted to
verify.

``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` in the environment do the same from outside; where
they are set, or under --cold, this module does nothing. ``mallopt`` is used otherwise, because one process
can then measure both.
"""

from __future__ import annotations

import ctypes
import os
import resource

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_HIGHEST = 2**31 - 1 - 4095
_LOWEST = 128 * 1024
_MUCH = 2**30


class Allocation:
    """Controls glibc's malloc; does nothing on other systems, or if disabled."""

    def __init__(self, leave_alone: bool) -> None:
        chosen = [name for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_") if name in os.environ]
        self._mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        self._guards: list[torch.Tensor] = []
        self._kept = 0
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
        """Large tensors get new pages from now on, until ``keep_pages``: a heap does not shrink."""
        if self._steer:
            self._mallopt(_M_MMAP_THRESHOLD, _LOWEST)

    def keep_pages(self, size: int) -> None:
        """Large tensors reuse mapped pages from now on, of which at least ``size`` bytes are contiguous.

        Contiguous, because glibc cannot reuse a freed block for an aligned one of the same size.
        """
        if self._steer:
            self._mallopt(_M_MMAP_THRESHOLD, _HIGHEST)
            self._mallopt(_M_TRIM_THRESHOLD, _HIGHEST)
        self._kept += size
        block = torch.zeros(size, dtype=torch.uint8)
        self._guards.append(torch.zeros(1))  # keeps the block from becoming the top of the heap
        del block

    def give_back(self) -> None:
        """Returns free memory to the system, if there may be much of it. The heap of a long run would
        otherwise grow with every block that finds no room between those that were kept before."""
        if self._kept < _MUCH:
            return
        self._kept = 0
        self._guards.clear()
        if self._steer:
            ctypes.CDLL(None).malloc_trim(0)


def return_freed_pages() -> None:
    """Returns free memory to the system now, and from now on large tensors as soon as they are freed.

    For a process whose resident memory is to be read; glibc only.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LOWEST)  # a fixed threshold: by default it grows up to 32 MiB
        libc.malloc_trim(0)


def page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
