"""Whether a call is ours, and the size it asks for: what every function of the package asks first.

The entry points in ``csrc/bindings.cpp`` answer the same for the arguments of a plain eager call, where
Python would cost more than the kernel (``csrc/judge.h``); they leave all others to the functions here, which
torch.compile can trace. Both read which modes there are from one table, in ``csrc/ops/resample_modes.h``.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any, NamedTuple, TypeGuard, TypeVar

import torch
from torch import Tensor

from upsample_ext import _devices, _native
from upsample_ext._library import C
from upsample_ext._numbers import Int, Real, as_factors, as_ints
from upsample_ext._transforms import is_distributed

FLOATING = frozenset((torch.float32, torch.float16, torch.bfloat16, torch.float64))
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64)
# As `Dtypes` in csrc/ops/resample_modes.h
_DTYPES = (FLOATING, FLOATING | {torch.uint8}, FLOATING | {torch.uint8, torch.bool, *_INTEGERS})

_is_compiling = torch.compiler.is_compiling
_Result = TypeVar("_Result")


class Mode(NamedTuple):
    """A mode of `F.interpolate`, and the images that it takes."""

    least_axes: int
    most_axes: int
    plain: bool  # without antialias
    antialiased: bool
    dtypes: int
    aligns: bool  # has align_corners


MODES = {name: Mode(*fields) for name, fields in C.modes().items()}


def is_ours(input: object, mode: str = "bilinear", antialias: bool = False) -> TypeGuard[Tensor]:
    """Whether our ops resize this tensor; it may be a FakeTensor, DTensor or other dispatching subclass."""
    named = MODES.get(mode)
    if named is None or not (named.antialiased if antialias else named.plain):
        return False
    return _is_dense(input, _DTYPES[named.dtypes]) and named.least_axes <= input.dim() - 2 <= named.most_axes


def is_bilinear(mode: str, antialias: bool) -> bool:
    """Whether the mode has an op, and CUDA kernels, of its own."""
    return mode == "bilinear" and not antialias


def takes_align_corners(mode: str, align_corners: object) -> bool:
    """Whether the mode takes it: None alone where it has no such choice, but of lanczos False too."""
    if MODES[mode].aligns:
        return align_corners is None or isinstance(align_corners, bool)
    return align_corners is None or (mode == "lanczos" and align_corners is False)


def corners_or_none(mode: object, align_corners: object) -> object:
    """The argument of a fused op, where False is the default of every mode, as F.interpolate takes it."""
    named = MODES.get(mode) if isinstance(mode, str) else None
    return None if align_corners is False and named is not None and not named.aligns else align_corners


def is_image_of(input: object, mode: str) -> TypeGuard[Tensor]:
    """Whether the fused ops resize this tensor, (N, C, H, W), in this mode."""
    return isinstance(mode, str) and is_ours(input, mode) and input.dim() == 4


def is_floating_image(input: object) -> TypeGuard[Tensor]:
    """Whether our transposed convolutions accept this tensor: floating, (N, C, H, W) or (C, H, W)."""
    return _is_dense(input, FLOATING) and input.dim() in (3, 4)


def _is_dense(input: object, dtypes: Set[torch.dtype]) -> TypeGuard[Tensor]:
    return (
        isinstance(input, Tensor)
        and input.dtype in dtypes
        and _devices.is_ours(input.device)
        and is_strided(input)
        and not input.is_nested
        and not _native.is_wanted()
    )


def is_strided(tensor: Tensor) -> bool:
    """Taken for granted in a graph, where the backward of an autograd.Function may not ask for it."""
    return torch.compiler.is_dynamo_compiling() or tensor.layout is torch.strided


def is_plain_beside(other: object, input: Tensor) -> bool:
    """Whether `other` is a dense tensor on the input's device, and neither is a DTensor."""
    return (
        isinstance(other, Tensor)
        and other.device == input.device
        and is_strided(other)
        and not other.is_nested
        and not is_distributed(input)
        and not is_distributed(other)
    )


def resolve(
    input: Tensor, size: object, scale_factor: object, recompute_scale_factor: object
) -> tuple[list[Int], list[float] | None] | None:
    """Output size, and the scale factors that set the coordinates (None: the sizes do), as in F.interpolate.

    None if the arguments are not of the form that PyTorch accepts, or the image or result is empty.
    """
    if scale_factor is None and not recompute_scale_factor and _is_plain_pair(size) and not _is_compiling():
        # Most calls: what follows in a third of the time
        return None if input.dim() != 4 or 0 in input.shape[1:] else ([*size], None)
    if (size is None) == (scale_factor is None) or not is_filled(input.shape[1:]):
        return None
    scales: list[float] | None = None
    if size is not None:
        if recompute_scale_factor:
            return None
        output_size = as_ints(size, input.dim() - 2)
    else:
        # Any: torch's stubs do not let a symbol be multiplied
        factors: list[Any] | None = as_factors(scale_factor, input.dim() - 2, bool(recompute_scale_factor))
        if factors is None:
            return None
        given = scale_factor if isinstance(scale_factor, (tuple, list)) else [scale_factor] * len(factors)
        # A tensor's product is rounded to the tensor's dtype.
        extents = [
            (n * value).item() if recompute_scale_factor and isinstance(value, Tensor) else n * factor
            for n, value, factor in zip(input.shape[2:], given, factors, strict=True)
        ]
        if not all(fits_int64(extent) for extent in extents):
            return None
        output_size = [torch.sym_int(extent) for extent in extents]
        if not recompute_scale_factor:
            scales = [float(factor) for factor in factors]
    if output_size is None or not is_filled(output_size):
        return None
    return output_size, scales


def _is_plain_pair(size: object) -> TypeGuard[tuple[int, int]]:
    return (
        isinstance(size, (tuple, list))
        and len(size) == 2
        and type(size[0]) is type(size[1]) is int
        and 0 < size[0] < 2**63
        and 0 < size[1] < 2**63
    )


def resolve_logits(
    input: Tensor, size: object, scale_factor: object, align_corners: object, mode: str
) -> tuple[list[Int] | list[Tensor], bool, float | None, float | None] | None:
    """Output size, align_corners, scale_h, scale_w for our ops; None if PyTorch must decide.

    The output size is for `sized` where a trace is recorded.
    """
    if not (is_image_of(input, mode) and input.dtype in FLOATING) or is_distributed(input):
        return None
    if not takes_align_corners(mode, corners_or_none(mode, align_corners)):
        return None
    resolved = untraced(resolve, input, size, scale_factor, False)
    if resolved is None:
        return None
    output_size, scales = resolved
    scale_h, scale_w = scales or (None, None)
    traced = traced_size(input, size, scale_factor)
    return traced or output_size, bool(align_corners), scale_h, scale_w


def traced_size(input: Tensor, size: Any, scale_factor: object) -> list[Tensor] | None:
    """The output size as numbers that a trace computes, if one is recorded and there are such.

    The size and the factors must be those that `resolve` has taken.
    """
    if _is_compiling() or torch._C._get_tracing_state() is None:
        return None
    axes = input.dim() - 2
    if size is None:
        factors: list[Any] = as_factors(scale_factor, axes, False) or []
        extents = [_in_trace(extent).double() for extent in input.shape[2:]]
        return [(extent * factor).long() for extent, factor in zip(extents, factors, strict=True)]
    size = size if isinstance(size, (tuple, list)) else [size] * axes
    return [_in_trace(extent) for extent in size] if any(isinstance(n, Tensor) for n in size) else None


def _in_trace(number: Any) -> Tensor:
    return number if isinstance(number, Tensor) else torch.full((), int(number), dtype=torch.int64)


def sized(op: Any, output_size: Sequence[Any]) -> Any:
    """The overload of an op for a size of ints or, in a trace, of numbers that it computes."""
    return op.tensors if isinstance(output_size[0], Tensor) else op.default


def is_filled(extents: Iterable[Int]) -> bool:
    """Whether no extent is 0 or less. While compiling this is left to our op, which raises; PyTorch's
    compiler would generate code that reads samples that do not exist."""
    return _is_compiling() or all(extent > 0 for extent in extents)


def fits_int64(extent: Real) -> bool:
    """False for infinity, NaN and numbers beyond 64 bits; symbolic extents always fit."""
    return not isinstance(extent, (int, float)) or -(2.0**63) <= extent < 2.0**63


def pair_or_none(scale_factor: object) -> Sequence[Real | None]:
    return (as_factors(scale_factor, 2, False) if scale_factor is not None else None) or [None, None]


def untraced(judge: Callable[..., _Result], *arguments: object) -> _Result:
    """judge(*arguments) with tracing suspended: sizes are then numbers that compare without a warning."""
    tracing = None if _is_compiling() else torch._C._get_tracing_state()
    if tracing is None:
        return judge(*arguments)
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        return judge(*arguments)
    finally:
        torch._C._set_tracing_state(tracing)  # type: ignore[attr-defined]
