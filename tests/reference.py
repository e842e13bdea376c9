"""What the ops should compute, in float64, from dense matrices of each axis: y = A_h x A_w^T.

The matrices are built by formulas that the package does not use: a hat function around the source coordinate
for the resize, a sum over all (source, tap) pairs for the transposed convolution. Coordinates are rounded
where PyTorch rounds them (float32 unless the input is double): that is part of what a drop-in must compute.
"""

from fractions import Fraction

import numpy as np
import torch


def source_coordinates(in_size, out_size, align_corners, scale_factor=None, dtype=torch.float32):
    """Source coordinate of every output index, inside the input."""
    real = np.float64 if dtype == torch.float64 else np.float32
    o = np.arange(out_size, dtype=np.float64)
    if align_corners:
        step = real(in_size - 1) / real(out_size - 1) if out_size > 1 else real(0)
        source = (step * o.astype(real)).astype(np.float64)
    else:
        step = real(1.0 / scale_factor) if scale_factor else real(in_size) / real(out_size)
        centre = o.astype(real) + real(0.5)
        # One rounding at the end, as a fused multiply-add has.
        if real is np.float32:  # float64 holds the product exactly
            source = (np.float64(step) * centre.astype(np.float64) - 0.5).astype(real).astype(np.float64)
        else:
            source = np.array([float(Fraction(step) * Fraction(c) - Fraction(1, 2)) for c in centre])
    # PyTorch takes the floor in float32 even of a double: just below an integer it becomes that integer.
    source = np.maximum(source, np.floor(source.astype(np.float32)).astype(np.float64))
    return np.clip(source, 0, in_size - 1)


def linear_matrix(in_size, out_size, align_corners, scale_factor=None, dtype=torch.float32):
    """(out_size, in_size), float64."""
    if in_size == out_size:
        return torch.eye(in_size, dtype=torch.float64)
    source = source_coordinates(in_size, out_size, align_corners, scale_factor, dtype)
    return torch.from_numpy(np.maximum(0, 1 - np.abs(source[:, None] - np.arange(in_size)[None, :])))


def conv_transpose_matrix(in_size, kernel, stride, padding, output_padding=0, dilation=1, replicate=False):
    """(out_size, in_size), float64: source i adds kernel[k] at i * stride - padding + k * dilation."""
    taps = len(kernel)
    out_size = (in_size - 1) * stride - 2 * padding + dilation * (taps - 1) + output_padding + 1
    beyond = taps * dilation + padding + output_padding + 1 if replicate else 0
    matrix = torch.zeros(out_size, in_size, dtype=torch.float64)
    for i in range(-beyond, in_size + beyond):
        for k in range(taps):
            o = i * stride - padding + k * dilation
            if 0 <= o < out_size:
                matrix[o, min(max(i, 0), in_size - 1)] += float(kernel[k])
    return matrix


def separable(x, a_h, a_w):
    """A_h x A_w^T of every plane, float64, on the CPU."""
    return a_h @ x.detach().cpu().double() @ a_w.T


def resize_matrices(input_size, output_size, align_corners, scale_factors=None, dtype=torch.float32):
    scales = scale_factors or (None, None)
    return [linear_matrix(input_size[i], output_size[i], align_corners, scales[i], dtype) for i in (0, 1)]


def resize(x, output_size, align_corners, scale_factors=None):
    """Bilinear resize; scale_factors where they, and not the sizes, set the coordinates."""
    return separable(x, *resize_matrices(x.shape[2:], output_size, align_corners, scale_factors, x.dtype))


def resize_adjoint(grad_output, input_size, align_corners, scale_factors=None):
    """The gradient of `resize` to its input."""
    a_h, a_w = resize_matrices(
        input_size, grad_output.shape[2:], align_corners, scale_factors, grad_output.dtype
    )
    return separable(grad_output, a_h.T, a_w.T)
