"""Sizes, steps and factors: what PyTorch takes for an int, a number, or a pair of them.

Beside Python's numbers that is numpy's, and, where an int is wanted, a tensor that holds a single one. Each
function returns None for what PyTorch refuses, so that the call can be left to it and the error is its own.
"""

import numbers
import sys
from collections.abc import Callable

import torch


def as_int(value: object) -> int | torch.SymInt | None:
    """An int of 64 bits. While a graph is recorded, a tensor is none: it may hold another number in it."""
    if isinstance(value, torch.SymInt):
        return value
    if isinstance(value, int):
        plain = None if isinstance(value, bool) else int(value)
    elif isinstance(value, torch.Tensor):
        plain = _item(value)
    elif "numpy" in sys.modules and _is_numpy_int(value):
        plain = int(value)  # type: ignore[call-overload]
    else:
        plain = None
    return plain if plain is None or -(2**63) <= plain < 2**63 else None


def _item(tensor: torch.Tensor) -> int | None:
    if tensor.numel() != 1 or tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool:
        return None
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return None
    return int(tensor)


def _is_numpy_int(value: object) -> bool:
    numpy = sys.modules["numpy"]
    if isinstance(value, numpy.ndarray):
        return value.ndim == 0 and value.dtype.kind in "iu"
    return isinstance(value, numpy.integer)


def as_float(value: object) -> float | int | torch.SymInt | torch.SymFloat | None:
    """A real number, as it stands or as the Python number that it equals."""
    if isinstance(value, (float, int, torch.SymInt, torch.SymFloat)):
        return None if isinstance(value, bool) else value
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.integer, numpy.floating)):
        return None
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def as_pair(value: object, as_number: Callable[[object], object]) -> list | None:
    """``[a, b]`` of a list or tuple of two numbers, or ``[a, a]`` of one."""
    items = value if isinstance(value, (tuple, list)) else (value, value)
    pair = [as_number(item) for item in items]
    return pair if len(pair) == 2 and None not in pair else None
