"""FlagGems, a library of Triton kernels for PyTorch's ops, as a rival where it is installed.

Its function is called directly: the library's context manager, which redirects PyTorch, registers kernels at
every entry.
"""

from __future__ import annotations

import importlib
import importlib.util

import torch
from torch import Tensor

from .contest import Side


def why_not() -> str:
    """Why it is not a rival; empty if it is."""
    if importlib.util.find_spec("flag_gems") is None:
        return "not installed"
    try:
        library = importlib.import_module("flag_gems")
    except Exception as error:  # importing it looks for devices and compilers
        return f"cannot be imported ({type(error).__name__}: {str(error)[:100]})"
    return "" if hasattr(library, "upsample_bilinear2d") else "has no upsample_bilinear2d"


def resize(input: Tensor, size: tuple[int, int], align_corners: bool, factor: float | None) -> Side | None:
    """Its resize of a CUDA tensor, with the arguments of native's operator; None if there is none."""
    if input.device.type != "cuda" or input.dtype == torch.uint8 or why_not():
        return None
    function = importlib.import_module("flag_gems").upsample_bilinear2d
    return lambda: function(input, list(size), align_corners, factor, factor)
