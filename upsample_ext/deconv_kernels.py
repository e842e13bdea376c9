"""Bilinear kernels: of any size by two conventions, as weights, and the geometry of Caffe's layers."""

import functools
from typing import Any, Literal

import torch
from torch import Tensor
from torch.types import Device
from torch.utils._python_dispatch import _disable_current_modes

from upsample_ext import _native
from upsample_ext._numbers import as_int

_is_compiling = torch.compiler.is_compiling

Convention = Literal["centered", "caffe"]


def bilinear_kernel(
    size: int,
    *,
    convention: Convention = "centered",
    dtype: torch.dtype | None = None,
    device: Device = None,
) -> Tensor:
    """The bilinear interpolation kernel of a transposed convolution, ``(size, size)``.

    It is the outer product with itself of ``1 - abs(i / f - c)``, ``i = 0 .. size - 1``, with
    ``f = ceil(size / 2)``.

    Args:
        size: at least 1.
        convention: ``"centered"``, the default: ``c = (size - 1) / (2 * f)``, symmetric for every size, as in
            newer Caffe and in common PyTorch code. ``"caffe"``: ``c = (2 * f - 1 - f % 2) / (2 * f)``, as in
            older Caffe and MXNet, off-centre if size mod 4 is 2 or 3 (never for a size that
            `caffe_upsample_params` returns).
        dtype: a floating dtype; default `torch.get_default_dtype()`. Values are computed in float64 and
            rounded once.
        device: default PyTorch's default device.

    Raises:
        TypeError: size is not an int of 64 bits, or dtype is not floating.
        ValueError: size is below 1, or the convention is unknown.

    Source of the formula: Caffe's `BilinearFiller`, http://caffe.berkeleyvision.org.

    Example:
        >>> bilinear_kernel(4)[0]
        tensor([0.0625, 0.1875, 0.1875, 0.0625])
    """
    line = _bilinear_line("bilinear_kernel", size, convention, device)
    return torch.outer(line, line).to(_checked_dtype("bilinear_kernel", dtype))


def make_bilinear_weights(
    size: int,
    num_channels: int,
    *,
    convention: Convention = "centered",
    dtype: torch.dtype | None = None,
    device: Device = None,
) -> Tensor:
    """A weight for `conv_transpose2d`: `bilinear_kernel` for each channel, ``(num_channels, 1, size, size)``.

    Args:
        size: of the kernel, at least 1.
        num_channels: at least 1.
        convention: ``"centered"``, the default, is symmetric for every size; ``"caffe"`` is that of older
            Caffe and MXNet, off-centre if size mod 4 is 2 or 3.
        dtype: a floating dtype; default `torch.get_default_dtype()`. Values are computed in float64 and
            rounded once.
        device: default PyTorch's default device.

    Raises:
        TypeError: size or num_channels is not an int of 64 bits, or dtype is not floating.
        ValueError: size or num_channels is below 1, or the convention is unknown.

    Example:
        >>> make_bilinear_weights(4, 3).shape
        torch.Size([3, 1, 4, 4])
    """
    num_channels = _checked_int("make_bilinear_weights", "num_channels", num_channels)
    line = _bilinear_line("make_bilinear_weights", size, convention, device)
    kernel = torch.outer(line, line).to(_checked_dtype("make_bilinear_weights", dtype))
    return kernel.repeat(num_channels, 1, 1, 1)


def _make_linear_weights(size: int, num_channels: int, *, dtype: torch.dtype, device: Device) -> Tensor:
    """The same for lines: ``(num_channels, 1, size)``."""
    line = _bilinear_line("LinearConvTranspose1d", size, "centered", device)
    return line.to(_checked_dtype("LinearConvTranspose1d", dtype)).repeat(num_channels, 1, 1)


def caffe_upsample_params(factor: int) -> tuple[int, int, int]:
    """``(kernel_size, stride, padding)`` of Caffe's bilinear upsampling layer for an integer factor.

    ``(2 * factor - factor % 2, factor, ceil((factor - 1) / 2))``: the output is exactly factor times the
    input.

    Args:
        factor: at least 1.

    Raises:
        TypeError, ValueError: factor is not an int of 64 bits, or below 1.

    Source of the formula: the layer's example in Caffe's documentation of `BilinearFiller`.

    Example:
        >>> caffe_upsample_params(2), caffe_upsample_params(3)
        ((4, 2, 1), (5, 3, 1))
    """
    factor = _checked_int("caffe_upsample_params", "factor", factor)
    return 2 * factor - factor % 2, factor, factor // 2


# ---- the line whose outer product with itself is the kernel ------------------------------------------------


def _line_values(position: Tensor, size: int, convention: Convention) -> Tensor:
    """``1 - abs(i / f - c)``, computed in integers, which are exact, up to a single division."""
    factor = (size + 1) // 2
    twice_center = size - 1 if convention == "centered" else 2 * factor - 1 - factor % 2
    return (2 * factor - abs(2 * position - twice_center)) / (2 * factor)


def _bilinear_line(op: str, size: int, convention: Convention, device: Device) -> Tensor:
    size = _checked_int(op, "size", size)
    if convention not in ("centered", "caffe"):
        raise ValueError(f"{op}: expected convention to be 'centered' or 'caffe', got {convention!r}")
    return _line_values(torch.arange(size, dtype=torch.float64, device=device), size, convention)


@functools.lru_cache(maxsize=64)
def _cached_line(factor: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Without the modes of an exporter, under which this would be a fake tensor, and be kept
    with _disable_current_modes(), torch.inference_mode(False), torch.no_grad():
        size = caffe_upsample_params(factor)[0]
        position = torch.arange(size, dtype=torch.float64, device=device)
        return _line_values(position, size, "centered").to(dtype)


def _line_for(input: Tensor, factor: int) -> Tensor:
    """The 1-D kernel of the Caffe layer: cached, except for subclasses, tracing and transforms."""
    dtype = torch.float64 if input.dtype in (torch.float64, torch.complex128) else torch.float32
    if _native.is_wanted() or (
        not _is_compiling()
        and type(input) in (Tensor, torch.nn.Parameter)
        and torch._C._get_tracing_state() is None
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
    ):
        return _cached_line(factor, dtype, input.device)
    # Derived from the input, so that it is of the same kind: fake, symbolic, a subclass.
    size = caffe_upsample_params(factor)[0]
    position = input.detach().new_ones(size, dtype=torch.float64).cumsum(0) - 1
    return _line_values(position, size, "centered").to(dtype)


def _checked_int(op: str, name: str, value: object) -> int:
    number: Any = as_int(value)  # a symbolic one counts as an int, as in torch's own stubs
    if number is None:
        raise TypeError(f"{op}: expected {name} to be an int of 64 bits, got {value!r}")
    if number < 1:
        raise ValueError(f"{op}: expected {name} to be at least 1, got {number}")
    return number


def _checked_dtype(op: str, dtype: torch.dtype | None) -> torch.dtype:
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"{op}: expected a floating dtype, got {dtype}")
    return dtype
