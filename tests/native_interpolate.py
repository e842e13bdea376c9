"""F.interpolate(mode="bilinear") as it is on the device of a test, also where PyTorch has no kernel for it.

Native's CPU and CUDA kernels differ where the size of an axis stays: the CPU copies that axis, CUDA samples
it unless it copies the whole image. They differ in the floor of a float64 coordinate too. Ours follow those
of their device. Native's CUDA kernels take no bytes, and where the device is emulated there are none at all.
"""

import reference
import torch
from kernel_backend import EMULATED
from torch._prims_common import suggest_memory_format
from torch.nn import functional as F


def interpolate_of_any_rank(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    """F.interpolate, also with antialias of lines and volumes, which native lacks.

    Each of their axes is resized as that of images of one row, by bilinear. The layout is that of the mode
    without antialias.
    """
    settings = (size, scale_factor, mode, align_corners, recompute_scale_factor)
    if not (antialias and mode in ("linear", "trilinear")):
        return F.interpolate(input, *settings, antialias)
    like = F.interpolate(input.detach().to("meta"), *settings)
    factors = [None] * (input.dim() - 2)
    if scale_factor is not None and not recompute_scale_factor:
        factors = scale_factor if isinstance(scale_factor, (tuple, list)) else [scale_factor] * len(factors)
    for dim, factor in enumerate(factors, 2):
        rows = input.movedim(dim, -1)
        extent = (1, like.shape[dim]) if factor is None else None
        resized = F.interpolate(
            rows.reshape(1, -1, 1, rows.shape[-1]),
            extent,
            None if factor is None else (1.0, factor),
            "bilinear",
            align_corners,
            antialias=True,
        )
        input = resized.reshape(*rows.shape[:-1], like.shape[dim]).movedim(-1, dim)
    return input.contiguous(memory_format=suggest_memory_format(like))


class _CudaResize(torch.autograd.Function):
    """`reference.cuda_resize` and its gradient, in the layouts of native's CPU kernels."""

    @staticmethod
    def forward(ctx, x, like, align_corners, scales):
        ctx.of = tuple(x.shape), align_corners, scales
        result = reference.cuda_resize(x, like.shape[2:], align_corners, scales)
        return torch.empty_strided(like.shape, like.stride(), dtype=x.dtype).copy_(result)

    @staticmethod
    def backward(ctx, grad_output):
        shape, align_corners, scales = ctx.of
        result = reference.cuda_resample_backward(grad_output, shape[2:], align_corners, scales)
        size = grad_output.shape[2:]
        like = torch.ops.aten.upsample_bilinear2d_backward(grad_output, size, shape, align_corners)
        return like.copy_(result), None, None, None


def native_interpolate(
    input, size=None, scale_factor=None, mode="bilinear", align_corners=None, recompute_scale_factor=None
):
    assert mode == "bilinear"
    arguments = (size, scale_factor, mode, align_corners, recompute_scale_factor)
    if input.dtype == torch.uint8:
        return F.interpolate(input.cpu(), *arguments).to(input.device)
    if not EMULATED:
        return F.interpolate(input, *arguments)
    result = F.interpolate(input, *arguments)
    keeps_a_size = any(a == b for a, b in zip(input.shape[2:], result.shape[2:], strict=True))
    if not keeps_a_size and input.dtype != torch.float64:
        return result
    scales = None
    if scale_factor is not None and not recompute_scale_factor:
        scales = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * 2
    return _CudaResize.apply(input, result.detach(), bool(align_corners), scales)
