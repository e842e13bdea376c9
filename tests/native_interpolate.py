"""F.interpolate(mode="bilinear") as it is on the device of a test, also where PyTorch has no kernel for it.

Native's CPU and CUDA kernels differ where the size of an axis stays: the CPU copies that axis, CUDA samples
it unless it copies the whole image. They differ in the floor of a float64 coordinate too. Ours follow those
of their device. Native's CUDA kernels take no bytes, and where the device is emulated there are none at all.
"""

import reference
import torch
from kernel_backend import EMULATED
from torch.nn import functional as F


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
