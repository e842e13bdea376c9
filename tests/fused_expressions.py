"""What upsample_add and upsample_concat are compared with, and how their gradients are."""

import torch
from dispatched_ops import OUR_BACKWARD, dispatched_ops
from image_layouts import LAYOUTS
from native_interpolate import native_interpolate
from torch.nn import functional as F

from upsample_ext import interpolate


def resize(x, size, align_corners=False):
    return interpolate(x, size, None, "bilinear", align_corners)


def native_resize(x, size, align_corners):
    resize = native_interpolate if x.dtype == torch.uint8 else F.interpolate  # no bytes on CUDA
    return resize(x, size, None, "bilinear", align_corners)


def is_laid_out_as(result, native):
    return (
        result.shape == native.shape and result.dtype == native.dtype and result.stride() == native.stride()
    )


def same_bits(a, b):
    return torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def randn(*shape, dtype=torch.float32, device="cpu", layout="contiguous"):
    return LAYOUTS[layout](torch.randn(shape, device=device).to(dtype))


def gradients(function, inputs, grad_output):
    leaves = [t.detach().requires_grad_() for t in inputs]
    return torch.autograd.grad(function(leaves), leaves, grad_output)


def check_gradients(fused, expression, inputs, name):
    """Those of our interpolate in the expression; an image that is only copied gets a view of grad_output."""
    output = expression(inputs)
    grad_output = torch.randn_like(output)
    for layout in ("contiguous", "channels_last", "sliced", "expanded_batch"):
        g = LAYOUTS[layout](grad_output)
        grads, ops = dispatched_ops(gradients, fused, inputs, g)
        assert name in ops and OUR_BACKWARD in ops
        expected = gradients(expression, inputs, g)
        for input, grad, wanted in zip(inputs, grads, expected, strict=True):
            assert torch.equal(grad, wanted) and grad.dtype == wanted.dtype
            assert grad.stride() == wanted.stride() or input.shape[2:] == output.shape[2:]


def bytes_allocated(function, *args):
    """All that a call allocates, freed or not, and its result."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        result = function(*args)
    return sum(max(0, event.self_cpu_memory_usage) for event in record.events()), result
