"""Sizes, steps and factors: converts what PyTorch accepts as an int, a number, or several of them.

Besides Python's numbers these are numpy's and, for an int, a tensor with a single element. Each function
returns None for what PyTorch rejects, so that the call can be left to PyTorch, which raises its own error.
"""

import numbers
import sys
from collections.abc import Callable
from typing import Any

import torch

# While a graph is recorded for any size, a number is a symbol
Int = int | torch.SymInt
Real = float | torch.SymInt | torch.SymFloat


def as_int(value: object) -> Int | None:
    """A 64-bit int. None for a tensor while a graph is recorded: the graph may run with other values."""
    if isinstance(value, torch.SymInt):
        return value
    if isinstance(value, int):
        plain = None if isinstance(value, bool) else int(value)
    elif isinstance(value, torch.Tensor):
        plain = _item(value)
    else:
        plain = _numpy_int(value)
    return plain if plain is None or -(2**63) <= plain < 2**63 else None


def _item(tensor: torch.Tensor) -> int | None:
    if tensor.numel() != 1 or tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool:
        return None
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return None
    return int(tensor)


def _numpy_int(value: object) -> int | None:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if isinstance(value, numpy.ndarray):
        return int(value) if value.ndim == 0 and value.dtype.kind in "iu" else None
    return int(value) if isinstance(value, numpy.integer) else None


def as_float(value: object) -> Real | None:
    """A real number, unchanged or converted to the Python number that it equals."""
    if isinstance(value, (float, int, torch.SymInt, torch.SymFloat)):
        return None if isinstance(value, bool) else value
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.integer, numpy.floating)):
        return None
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def as_ints(value: object, count: int) -> list[Int] | None:
    """A list of `count` ints: of a list or tuple of so many, or of one int for all."""
    return _each(value, count, as_int)


def as_floats(value: object, count: int) -> list[Real] | None:
    """The same of real numbers."""
    return _each(value, count, as_float)


def _each(value: object, count: int, as_number: Callable[[object], Any]) -> list[Any] | None:
    items = value if isinstance(value, (tuple, list)) else [value] * count
    converted = [as_number(item) for item in items]
    return converted if len(converted) == count and None not in converted else None
