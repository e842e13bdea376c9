"""Bilinear resize: `interpolate`, the drop-in, and `upsample_bilinear2d`, the op itself."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from upsample_ext import _native, _transforms
from upsample_ext._judge import is_ours, pair_or_none, resolve
from upsample_ext._library import C

_door = C.upsample_bilinear2d
_is_compiling = torch.compiler.is_compiling


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Drop-in for `torch.nn.functional.interpolate`: same signature, results, memory format and errors.

    A 4-D input with ``mode="bilinear"`` and without antialiasing runs on this package's kernels. Every other
    call, including one with invalid arguments, is passed to PyTorch unchanged, which then raises its own
    errors.

    Args:
        input: ``(N, C, H, W)``, float64, float32, float16, bfloat16 or uint8, any strides.
        size: output ``(H, W)`` in pixels, or one int for both.
        scale_factor: multiplier of ``(H, W)``, or one number for both. Exactly one of size and scale_factor.
        mode: ``"bilinear"`` runs here, every other mode in PyTorch.
        align_corners: True keeps the corner samples, the step between sources is ``(in - 1) / (out - 1)``;
            False (or None) samples at half-pixel centres, ``source = (out_index + 0.5) * scale - 0.5``,
            clamped at 0.
        recompute_scale_factor: True derives the scale from the sizes instead of using scale_factor itself.
        antialias: False runs here, True in PyTorch.

    Returns:
        ``(N, C, H_out, W_out)`` in the input's dtype and suggested memory format. The gradient is bit for
        bit the same for any number of threads; half types are summed in float32. Where PyTorch's CPU and CUDA
        kernels differ (equal sizes, an axis whose size does not change, float64 beyond 4000 columns), values
        follow those of the input's device.

    Raises:
        What `torch.nn.functional.interpolate` raises for the same arguments.

    Source of the formula: `torch/nn/functional.py` and ATen's ``area_pixel_compute_source_index``.

    Example:
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> interpolate(x, scale_factor=2, mode="bilinear")[0, 0, 0]
        tensor([1.0000, 1.2500, 1.7500, 2.0000])
    """
    if has_torch_function_unary(input):
        return handle_torch_function(
            interpolate,
            (input,),
            input,
            size=size,
            scale_factor=scale_factor,
            mode=mode,
            align_corners=align_corners,
            recompute_scale_factor=recompute_scale_factor,
            antialias=antialias,
        )
    if mode == "bilinear" and not antialias:
        if not recompute_scale_factor and not _is_compiling():
            output = _door(input, size, scale_factor, align_corners)
            if output is not None:
                return output
        if is_ours(input):
            output = _general(input, size, scale_factor, align_corners, recompute_scale_factor)
            if output is not None:
                return output
    return _native.interpolate(
        input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
    )


def upsample_bilinear2d(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Bilinear resize; equals ``F.interpolate(input, size, scale_factor, "bilinear", align_corners)``.

    Args:
        input: ``(N, C, H, W)``, float64, float32, float16, bfloat16 or uint8, any strides.
        size: output ``(H, W)`` in pixels, or one int for both.
        scale_factor: multiplier of ``(H, W)``, or one number for both. Exactly one of size and scale_factor.
        align_corners: True keeps the corner samples, the step between sources is ``(in - 1) / (out - 1)``;
            False samples at half-pixel centres, ``source = (out_index + 0.5) * scale - 0.5``, clamped at 0.
        out: the tensor to write to, by PyTorch's rules: an empty tensor is resized, the strides of one of
            the right size are kept. No gradient is recorded.

    Returns:
        ``(N, C, H_out, W_out)``, or `out`.

    Raises:
        What `interpolate` raises; with `out`, RuntimeError when it has another dtype or device than the
        input, requires grad (or the input does), overlaps itself, or shares memory with the input.

    Example:
        >>> x = torch.rand(1, 3, 4, 6)
        >>> upsample_bilinear2d(x, size=(8, 9), out=torch.empty(1, 3, 8, 9)).shape
        torch.Size([1, 3, 8, 9])
    """
    if out is None:
        return interpolate(input, size, scale_factor, "bilinear", align_corners)
    if not isinstance(out, Tensor):
        raise TypeError(f"upsample_bilinear2d: expected out to be a tensor, got {type(out).__name__}")
    if has_torch_function_unary(input) or has_torch_function_unary(out):
        return handle_torch_function(
            upsample_bilinear2d,
            (input, out),
            input,
            size=size,
            scale_factor=scale_factor,
            align_corners=align_corners,
            out=out,
        )
    resolved = None
    if is_ours(input) and (align_corners is None or isinstance(align_corners, bool)):
        resolved = resolve(input, size, scale_factor, False)
    if resolved is None:
        # Not ours, or invalid: PyTorch's function has no out=, but its op has.
        checked = _native.interpolate(input, size, scale_factor, "bilinear", align_corners)
        return _native.upsample_bilinear2d(
            input, list(checked.shape[2:]), bool(align_corners), *pair_or_none(scale_factor), out=out
        )
    (height, width), scales = resolved
    scale_h, scale_w = scales or (None, None)
    if _is_compiling() or type(input) is not Tensor or type(out) is not Tensor:
        torch.ops.upsample_ext.upsample_bilinear2d.out(
            input, [height, width], bool(align_corners), scale_h, scale_w, out=out
        )
    else:
        C.upsample_bilinear2d_out(input, height, width, bool(align_corners), scale_h, scale_w, out)
    return out


def _general(
    input: Tensor, size: object, scale_factor: object, align_corners: object, recompute_scale_factor: object
) -> Tensor | None:
    """The general path by the op's name: symbolic sizes, tracing, subclasses. None if PyTorch must decide."""
    resolved = resolve(input, size, scale_factor, recompute_scale_factor)
    if resolved is None or not (align_corners is None or isinstance(align_corners, bool)):
        return None
    output_size, scales = resolved
    _transforms.register_sharding_if_distributed(input)
    ops = torch.ops.upsample_ext.upsample_bilinear2d
    if scales is not None and not _is_compiling() and torch._C._get_tracing_state() is not None:
        return ops.vec(input, None, bool(align_corners), scales)
    return ops.default(input, output_size, bool(align_corners), *(scales or (None, None)))
