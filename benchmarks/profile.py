"""One call of ours per row, between cudaProfilerStart and Stop, for Nsight Compute.

    ncu --profile-from-start off --nvtx ... python -m benchmarks --device cuda --quick --profile

Nothing is checked or timed here. An NVTX range around each call has the row's name.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence

import torch

from .contest import Row


def once(rows: Sequence[Row], device: torch.device, limit: float | None = None) -> int:
    """Calls ours for every row for which there is time; returns the number of calls."""
    start, called = time.perf_counter(), 0
    for row in rows:
        if limit is not None and time.perf_counter() - start > limit:
            print(f"{len(rows) - called} rows left for want of time")
            break
        try:
            _call(row, device)
        except torch.OutOfMemoryError as error:
            print(f"{row.name}: {str(error).splitlines()[0]}", flush=True)
        else:
            print(row.name, flush=True)
        called += 1
        gc.collect()
    print(f"{called} rows profiled")
    return called


def _call(row: Row, device: torch.device) -> None:
    ours = row.make(row, device).ours
    ours()  # loads code and fills caches: not part of the profile
    if device.type != "cuda":
        ours()
        return
    torch.cuda.synchronize()
    torch.cuda.nvtx.range_push(row.name)
    torch.cuda.profiler.start()
    ours()
    torch.cuda.synchronize()
    torch.cuda.profiler.stop()
    torch.cuda.nvtx.range_pop()
    torch.cuda.empty_cache()
