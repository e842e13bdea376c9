"""How much memory there is to build in, where a control group limits it too."""

import os
import pathlib
import runpy
from collections.abc import Callable

from build_tools.messages import ROOT

# By its path: to import the package is to import torch, and the extension that is yet to be built
_memory = runpy.run_path(str(ROOT / "upsample_ext" / "_memory.py"))
_available_bytes: Callable[[pathlib.Path], int | None] = _memory["available_bytes"]


def available_gigabytes(root: str | pathlib.Path = "/") -> float:
    """What the machine has free, or what a control group leaves where that is less; else all that it has."""
    free = _available_bytes(pathlib.Path(root))
    if free is None:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return free / 2**30
