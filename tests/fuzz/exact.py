"""torch.nn.functional in float64, where coordinates are still rounded as the dtype of the input has it."""

import reference
import torch
from torch.nn import functional as F

from . import uncut

pad = F.pad


def interpolate(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    """By the matrices of reference.py where it has them; else native's in float64, coordinates included."""
    arguments = (size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    if mode != "bilinear" or antialias or input.is_complex():
        return F.interpolate(double(input), *arguments)
    output_size = F.interpolate(input.detach().float().to("meta"), *arguments).shape[2:]
    scales = None
    if scale_factor is not None and not recompute_scale_factor:
        scales = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
        scales = [float(scale) for scale in scales]
    a_h, a_w = reference.resize_matrices(input.shape[2:], output_size, bool(align_corners), scales, input)
    return a_h @ double(input) @ a_w.T


def conv_transpose2d(input, weight, bias=None, *arguments, **options):
    bias = None if bias is None else double(bias)
    return uncut.conv_transpose2d(double(input), double(weight), bias, *arguments, **options)


def conv_transpose1d(input, weight, bias=None, *arguments, **options):
    bias = None if bias is None else double(bias)
    return F.conv_transpose1d(double(input), double(weight), bias, *arguments, **options)


def cross_entropy(input, target, weight=None, **options):
    target = double(target) if target.is_floating_point() else target
    return F.cross_entropy(double(input), target, None if weight is None else double(weight), **options)


def double(x):
    return x.to(torch.complex128 if x.is_complex() else torch.float64)
