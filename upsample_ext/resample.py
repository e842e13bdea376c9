"""Resize: `interpolate`, the drop-in for every mode, and `upsample_bilinear2d`, the bilinear op itself."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from upsample_ext import _native, _transforms
from upsample_ext._judge import (
    is_bilinear,
    is_ours,
    pair_or_none,
    resolve,
    takes_align_corners,
    traced_size,
    untraced,
)
from upsample_ext._library import C

_door = C.interpolate
_is_compiling = torch.compiler.is_compiling


@_native.scripts_as(_native.interpolate)
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

    Every mode runs on this package's kernels on the CPU, and ``mode="bilinear"`` without antialiasing on CUDA
    too. Every other call, including one with invalid arguments, is passed to PyTorch unchanged, which then
    raises its own errors. `torch.jit.trace` and `torch.export` record calls of ours.

    Args:
        input: ``(N, C, W)``, ``(N, C, H, W)`` or ``(N, C, D, H, W)``, as far as the mode takes it, any
            strides. float64, float32, float16 and bfloat16 in every mode, also where PyTorch has none of them
            (float16 and bfloat16 with antialiasing on the CPU); uint8 where PyTorch takes it; for nearest and
            nearest-exact also bool and every integer type, which PyTorch refuses: label maps.
        size: output size in pixels, ``(W,)``, ``(H, W)`` or ``(D, H, W)``, or one int for all axes.
        scale_factor: multiplier of each axis, or one number for all. Exactly one of size and scale_factor.
        mode: ``"nearest"``, ``"nearest-exact"`` and ``"area"`` for one to three axes, ``"linear"`` for one,
            ``"bilinear"``, ``"bicubic"`` and ``"lanczos"`` (with antialiasing; torch 2.13 on) for two,
            ``"trilinear"`` for three.
        align_corners: of the linear modes and bicubic. True keeps the corner samples, the step between
            sources is ``(in - 1) / (out - 1)``; False (or None) samples at half-pixel centres,
            ``source = (out_index + 0.5) * scale - 0.5``, which linear modes clamp at 0.
        recompute_scale_factor: True derives the scale from the sizes instead of using scale_factor itself.
        antialias: True widens the filter of bilinear, bicubic and lanczos where they shrink the image; here
            also that of linear and trilinear, which PyTorch refuses: each axis is filtered as bilinear's are.
            On the CPU an axis whose size a factor keeps is copied, as by PyTorch, and its gradient too, where
            PyTorch's CPU kernels filter the gradient by the factor, which is not that of their result.

    Returns:
        ``(N, C, *output_size)`` in the input's dtype and suggested memory format. The gradient is bit for
        bit the same for any number of threads; half types are summed in float32. Where PyTorch's CPU and CUDA
        kernels differ (equal sizes, an axis whose size does not change, float64 beyond 4000 columns), values
        follow those of the input's device. uint8: nearest exactly as PyTorch, bilinear within 0.55 of exact,
        bicubic and antialiased modes within 1 of PyTorch, which rounds after each axis, mostly equal to it.

    Raises:
        What `torch.nn.functional.interpolate` raises for the same arguments.

    Source of the formulas: `torch/nn/functional.py` and ATen's ``UpSample.h`` and ``UpSampleKernel.cpp``.

    Example:
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> interpolate(x, scale_factor=2, mode="bilinear")[0, 0, 0]
        tensor([1.0000, 1.2500, 1.7500, 2.0000])
        >>> interpolate(x.bool(), scale_factor=2)[0, 0].shape
        torch.Size([4, 4])
    """
    if has_torch_function_unary(input) and not _native.only_default_device(input):
        return handle_torch_function(
            _native.as_called(interpolate),
            (input,),
            input,
            size=size,
            scale_factor=scale_factor,
            mode=mode,
            align_corners=align_corners,
            recompute_scale_factor=recompute_scale_factor,
            antialias=antialias,
        )
    if not _is_compiling():
        output = _door(input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
        if output is not None:
            return output
    if isinstance(mode, str) and isinstance(antialias, bool) and is_ours(input, mode, antialias):
        output = _general(input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
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
    if is_ours(input) and takes_align_corners("bilinear", align_corners):
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
    input: Tensor,
    size: object,
    scale_factor: object,
    mode: str,
    align_corners: object,
    recompute_scale_factor: object,
    antialias: bool,
) -> Tensor | None:
    """The general path by the op's name: symbolic sizes, tracing, subclasses. None if PyTorch must decide."""
    if not takes_align_corners(mode, align_corners):
        return None
    _transforms.register_sharding_if_distributed(input)
    # Of a mean, PyTorch computes the size itself.
    recomputes = recompute_scale_factor or (mode == "area" and size is None)
    if not _is_compiling() and torch._C._get_tracing_state() is not None:
        return _traced(input, size, scale_factor, mode, align_corners, recomputes, antialias)
    resolved = resolve(input, size, scale_factor, recomputes)
    if resolved is None:
        return None
    output_size, scales = resolved
    ops = torch.ops.upsample_ext
    if is_bilinear(mode, antialias):
        return ops.upsample_bilinear2d(input, output_size, bool(align_corners), *(scales or (None, None)))
    return ops.resample(input, output_size, mode, antialias, bool(align_corners), scales)


def _traced(
    input: Tensor,
    size: object,
    scale_factor: object,
    mode: str,
    align_corners: object,
    recompute_scale_factor: object,
    antialias: bool,
) -> Tensor | None:
    """Records a call that is valid for other sizes, where those are traced or given by factors."""
    resolved = untraced(resolve, input, size, scale_factor, recompute_scale_factor)
    if resolved is None:
        return None
    output_size, scales = resolved
    op: Any = torch.ops.upsample_ext.resample
    settings: tuple[Any, ...] = (mode, antialias, bool(align_corners))
    if is_bilinear(mode, antialias):
        op, settings = torch.ops.upsample_ext.upsample_bilinear2d, settings[2:]
    if scales is not None:
        return op.vec(input, None, *settings, scales)
    traced = traced_size(input, size, scale_factor)
    if traced is not None:
        return op.tensors(input, traced, *settings)
    return op.vec(input, output_size, *settings, None)
