"""Sizes, steps and factors: converts what PyTorch accepts as an int, a number, or several of them.

Besides Python's numbers these are numpy's and, for an int, a tensor with a single element. Each function
returns None for what PyTorch rejects, so that the call can be left to PyTorch, which raises its own error.
"""

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
    if tensor.is_floating_point() or tensor.dtype is torch.bool:
        return None
    return _only_value(tensor)


def _only_value(tensor: torch.Tensor) -> Any:
    """The value of a real tensor with a single element, None for others and while a graph is recorded."""
    if tensor.numel() != 1 or tensor.is_complex():
        return None
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return None
    return tensor.item()


def _numpy_int(value: object) -> int | None:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if isinstance(value, numpy.ndarray):
        return int(value) if value.ndim == 0 and value.dtype.kind in "iu" else None
    return int(value) if isinstance(value, numpy.integer) else None


def _is_array(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def as_float(value: object) -> Real | None:
    """A real number, unchanged or converted to the Python number that it equals; a truth value counts."""
    if isinstance(value, (float, int, torch.SymInt, torch.SymFloat)):
        return int(value) if isinstance(value, bool) else value
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.integer, numpy.floating, numpy.bool_)):
        return None
    return float(value) if isinstance(value, numpy.floating) else int(value)


def as_float_or_item(value: object) -> Real | None:
    """The same, or the value of a tensor on the CPU with a single element."""
    if isinstance(value, torch.Tensor):
        return _only_value(value) if value.device.type == "cpu" else None
    return as_float(value)


def as_ints(value: object, count: int) -> list[Int] | None:
    """A list of `count` ints: of a list or tuple of so many, or of one int for all."""
    if isinstance(value, (tuple, list)) and any(_is_array(item) for item in value):
        return None  # PyTorch takes an array without dimensions alone
    return _each(value, count, as_int)


def as_factors(value: object, count: int, computed: bool) -> list[Real] | None:
    """A list of `count` scale factors. `computed`: PyTorch multiplies them in Python, which tensors can do
    too; otherwise it looks only at the type of the first in a list."""
    if computed:
        return _each(value, count, _as_factor)
    if not isinstance(value, (tuple, list)):
        return _each(value, count, as_float)
    return _each(value, count, _as_factor) if value and as_float(value[0]) is not None else None


def _as_factor(value: Any) -> Real | None:
    if _is_array(value) and value.ndim == 0:
        return as_float(value[()])
    return as_float_or_item(value)


def _each(value: object, count: int, as_number: Callable[[object], Any]) -> list[Any] | None:
    items = value if isinstance(value, (tuple, list)) else [value] * count
    converted = [as_number(item) for item in items]
    return converted if len(converted) == count and None not in converted else None
