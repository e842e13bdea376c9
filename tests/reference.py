"""What the ops should compute, in float64, from dense matrices of each axis: y = A_h x A_w^T.

The matrices are built by formulas that the package does not use: a hat function around the source coordinate
for the resize, a sum over all (source, tap) pairs for the transposed convolution. Coordinates are rounded
where PyTorch rounds them (float32 unless the input is double): that is part of what a drop-in must compute.
Those of bytes are exact on the CPU.
"""

from fractions import Fraction

import numpy as np
import torch
from kernel_backend import EMULATED


def follows_cuda(x):
    """Whether a resize of x is to follow native's CUDA kernels: on a device, and where one is emulated.

    Native's CUDA kernels take no bytes. Those are resized as on the CPU.
    """
    return (EMULATED or x.is_cuda) and x.dtype != torch.uint8


def _dtype_of_coordinates(x):
    """That by which `linear_matrix` is to round: bytes on the CPU are resized by coordinates in double."""
    if x.dtype != torch.uint8:
        return x.dtype
    return torch.float32 if EMULATED or x.is_cuda else torch.uint8


def rounded_coordinates(in_size, out_size, align_corners, scale_factor=None, dtype=torch.float32, first=0.0):
    """Source coordinate of every output index, none before `first`."""
    real = np.float64 if dtype in (torch.float64, torch.uint8) else np.float32
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
    return np.maximum(source, first)


def linear_matrix(in_size, out_size, align_corners, scale_factor=None, dtype=torch.float32, cuda=False):
    """(out_size, in_size), float64, as native has it on the CPU, or on CUDA where the other axis changes."""
    if in_size == out_size and not cuda:
        return torch.eye(in_size, dtype=torch.float64)
    source = rounded_coordinates(in_size, out_size, align_corners, scale_factor, dtype)
    if not cuda and dtype != torch.uint8:
        # The floor is taken in float32 even of a double: just below an integer it becomes that integer.
        source = np.maximum(source, np.floor(source.astype(np.float32)).astype(np.float64))
    source = np.minimum(source, in_size - 1)
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


def resize_matrices(input_size, output_size, align_corners, scale_factors, x):
    """Of both axes, for a resize of what has the device and the dtype of x."""
    if tuple(input_size) == tuple(output_size):
        return [torch.eye(size, dtype=torch.float64) for size in input_size]
    return [
        linear_matrix(in_size, out_size, align_corners, scale, _dtype_of_coordinates(x), follows_cuda(x))
        for in_size, out_size, scale in zip(
            input_size, output_size, scale_factors or (None, None), strict=True
        )
    ]


def resize(x, output_size, align_corners, scale_factors=None):
    """Bilinear resize; scale_factors where they, and not the sizes, set the coordinates."""
    return separable(x, *resize_matrices(x.shape[2:], output_size, align_corners, scale_factors, x))


def resample_backward(grad_output, input_size, align_corners, scale_factors=None):
    """The gradient of `resize` to its input."""
    a_h, a_w = resize_matrices(input_size, grad_output.shape[2:], align_corners, scale_factors, grad_output)
    return separable(grad_output, a_h.T, a_w.T)


# ---- native's CUDA kernels, tap by tap -------------------------------------------------------------------


def _cuda_taps(in_size, out_size, align_corners, scale_factor, dtype):
    """Both indices and both weights of every output, the latter in the type of sums.

    The second tap is the next sample, of weight 0 too, and the last sample's is itself.
    """
    real = torch.float64 if dtype == torch.float64 else torch.float32
    source = torch.from_numpy(rounded_coordinates(in_size, out_size, align_corners, scale_factor, dtype))
    index0 = source.long()
    weight1 = source.to(real) - index0.to(real)
    return index0, (index0 + 1).clamp(max=in_size - 1), 1 - weight1, weight1


def cuda_resize(x, output_size, align_corners, scale_factors=None):
    """x, of any floating-point dtype, as native's CUDA kernels resize it, infinities and NaN too."""
    if tuple(x.shape[2:]) == tuple(output_size):
        return x.clone()
    scale_h, scale_w = scale_factors or (None, None)
    h0, h1, up, down = _cuda_taps(x.shape[2], output_size[0], align_corners, scale_h, x.dtype)
    w0, w1, left, right = _cuda_taps(x.shape[3], output_size[1], align_corners, scale_w, x.dtype)
    wide = x.to(up.dtype)

    def row(h):
        return left * wide[:, :, h][..., w0] + right * wide[:, :, h][..., w1]

    return (up[:, None] * row(h0) + down[:, None] * row(h1)).to(x.dtype)


def cuda_resample_backward(grad_output, input_size, align_corners, scale_factors=None):
    """The gradient of `cuda_resize` as native's CUDA kernels add it up, but in the type of sums."""
    if tuple(grad_output.shape[2:]) == tuple(input_size):
        return grad_output.clone()
    scale_h, scale_w = scale_factors or (None, None)
    sizes = zip(input_size, grad_output.shape[2:], (scale_h, scale_w), strict=True)
    (h0, h1, up, down), (w0, w1, left, right) = (
        _cuda_taps(*of_axis[:2], align_corners, of_axis[2], grad_output.dtype) for of_axis in sizes
    )
    wide = grad_output.to(up.dtype)
    result = torch.zeros(*grad_output.shape[:2], *input_size, dtype=up.dtype)
    for rows, weight_h in ((h0, up), (h1, down)):
        for columns, weight_w in ((w0, left), (w1, right)):
            at = rows[:, None] * input_size[1] + columns
            result.flatten(2).index_add_(2, at.flatten(), (weight_h[:, None] * weight_w * wide).flatten(2))
    return result.to(grad_output.dtype)


# ---- every mode by native's CUDA rules --------------------------------------------------------------------


def _keys(x, a):
    """Keys' cubic, from its definition."""
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


_FILTERS = {
    **dict.fromkeys(("linear", "bilinear", "trilinear"), (1, lambda x: max(0.0, 1 - abs(x)))),
    "bicubic": (2, lambda x: _keys(x, -0.5)),
    "lanczos": (3, lambda x: float(np.sinc(x) * np.sinc(x / 3)) if abs(x) < 3 else 0.0),
}


def cuda_axis(mode, antialias, in_size, out_size, align_corners, scale_factor, dtype):
    """The taps of every output along one axis, a list of (source, weight) each, zero weights included.

    As UpSample*.cu has them; coordinates are rounded as there, weights are not.
    """
    real = np.float64 if dtype == torch.float64 else np.float32
    if mode.startswith("nearest"):
        step = np.float32(1 / scale_factor) if scale_factor else np.float32(in_size) / np.float32(out_size)
        centre = np.float32(0.5 if mode == "nearest-exact" else 0)
        return [[(min(int((np.float32(o) + centre) * step), in_size - 1), 1.0)] for o in range(out_size)]
    if mode == "area":
        ranges = [(o * in_size // out_size, -(-(o + 1) * in_size // out_size)) for o in range(out_size)]
        return [[(i, 1 / (end - begin)) for i in range(begin, end)] for begin, end in ranges]
    if antialias:
        step = real(1 / scale_factor) if scale_factor else real(in_size) / real(out_size)
        if align_corners:
            step = real(in_size - 1) / real(out_size - 1) if out_size > 1 else real(0)
        reach, function = _FILTERS[mode]
        stretch = max(step, real(1))
        rows = []
        for o in range(out_size):
            centre = step * (real(o) + real(0.5))
            begin = max(int(centre - reach * stretch + real(0.5)), 0)
            end = min(int(centre + reach * stretch + real(0.5)), in_size)
            weights = [function(float((i + 0.5 - float(centre)) / stretch)) for i in range(begin, end)]
            rows.append([(begin + k, weight / sum(weights)) for k, weight in enumerate(weights)])
        return rows
    if mode == "bicubic":
        sources = rounded_coordinates(in_size, out_size, align_corners, scale_factor, dtype, first=-np.inf)
        rows = []
        for source in sources:
            first = int(np.floor(np.float32(source)))
            weights = [_keys(source - first - k, -0.75) for k in range(-1, 3)]
            rows.append(
                [(min(max(first + k - 1, 0), in_size - 1), weight) for k, weight in enumerate(weights)]
            )
        return rows
    index0, index1, weight0, weight1 = _cuda_taps(in_size, out_size, align_corners, scale_factor, dtype)
    both = zip(index0.tolist(), index1.tolist(), weight0.tolist(), weight1.tolist(), strict=True)
    return [[(i0, w0), (i1, w1)] for i0, i1, w0, w1 in both]


def cuda_interpolate(x, output_size, mode, antialias=False, align_corners=False, scale_factors=None):
    """x as native's CUDA kernels resize it, infinities and NaN too, in float64.

    They copy an image whose sizes stay, whatever the factors are, and nearest of (N, C, H, W) each such axis;
    but antialiased modes, and nearest of lines and volumes, are sampled then as well.
    """
    axes = x.dim() - 2
    nearest = mode.startswith("nearest")
    stays = [a == b for a, b in zip(x.shape[2:], output_size, strict=True)]
    if all(stays) and not antialias and not (nearest and axes != 2):
        return x.double()
    result = x.double()
    for axis in reversed(range(axes)):
        if nearest and axes == 2 and stays[axis]:
            continue
        scale = scale_factors[axis] if scale_factors and mode != "area" else None
        dim = axis + 2
        rows = cuda_axis(mode, antialias, x.shape[dim], output_size[axis], align_corners, scale, x.dtype)
        result = torch.stack(
            [sum(weight * result.select(dim, source) for source, weight in row) for row in rows], dim
        )
    return result
