"""Rows of depthwise transposed convolution: learnable, fixed separable, fixed non-separable, bilinear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

import upsample_ext

from .contest import (
    BACKWARD,
    BACKWARD_WEIGHT,
    BOTH,
    CHANNELS_LAST,
    FORWARD,
    Contest,
    Row,
    contest,
    random_input,
)
from .resample import FCN, FPN, FPN_DETECTION, PYRAMID, SEGMENTATION, batches

SEPARABLE, NON_SEPARABLE = "separable", "non-separable"


def _factor(row: Row) -> int:
    return int(row.to[1:])


def _geometry(factor: int) -> tuple[int, int, int]:
    """Kernel size, stride, padding of the layer that upsamples by ``factor``."""
    return 2 * factor - factor % 2, factor, factor // 2


def _bilinear_axis(size: int) -> Tensor:
    """The bilinear kernel of one axis, by its formula."""
    half = (size + 1) // 2
    centre = (size - 1) / (2 * half)
    return 1 - (torch.arange(size, dtype=torch.float64) / half - centre).abs()


def make_learnable(row: Row, device: torch.device) -> Contest:
    """``conv_transpose2d`` with a weight per channel and a bias, gradients to all of them."""
    channels = row.shape[1]
    size, stride, padding = _geometry(_factor(row))
    generator = torch.Generator(device).manual_seed(2)
    weight = torch.randn(channels, 1, size, size, generator=generator, device=device).to(row.dtype)
    bias = torch.randn(channels, generator=generator, device=device).to(row.dtype)

    def ours(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return upsample_ext.conv_transpose2d(x, w, b, stride, padding, groups=channels)

    def native(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.conv_transpose2d(x, w, b, stride, padding, groups=channels)

    return contest(row, [random_input(row, device), weight, bias], ours=ours, native=native)


def make_line(row: Row, device: torch.device) -> Contest:
    """``conv_transpose1d`` with a weight per channel and a bias."""
    channels = row.shape[1]
    size, stride, padding = _geometry(_factor(row))
    generator = torch.Generator(device).manual_seed(2)
    weight = torch.randn(channels, 1, size, generator=generator, device=device).to(row.dtype)
    bias = torch.randn(channels, generator=generator, device=device).to(row.dtype)

    def ours(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return upsample_ext.conv_transpose1d(x, w, b, stride, padding, groups=channels)

    def native(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.conv_transpose1d(x, w, b, stride, padding, groups=channels)

    return contest(row, [random_input(row, device), weight, bias], ours=ours, native=native)


def make_fixed_line(row: Row, device: torch.device) -> Contest:
    """``fixed_conv_transpose1d``, or ``linear_conv_transpose1d``; native gets the expanded kernel."""
    channels, factor = row.shape[1], _factor(row)
    size, stride, padding = _geometry(factor)
    is_linear = row.op == "linear_conv_transpose1d"
    generator = torch.Generator(device).manual_seed(2)
    line = torch.randn(size, generator=generator, device=device).to(row.dtype)
    exact = (_bilinear_axis(size).to(device) if is_linear else line.double()).expand(channels, 1, size)
    rounded = exact.to(row.dtype).contiguous()

    def ours(x: Tensor) -> Tensor:
        if is_linear:
            return upsample_ext.linear_conv_transpose1d(x, factor)
        return upsample_ext.fixed_conv_transpose1d(x, line, stride, padding)

    def native(x: Tensor) -> Tensor:
        weight = exact if x.dtype == torch.float64 else rounded
        return F.conv_transpose1d(x, weight, None, stride, padding, groups=channels)

    return contest(row, [random_input(row, device)], ours=ours, native=native)


def make_fixed(row: Row, device: torch.device) -> Contest:
    """``fixed_conv_transpose2d``; native gets the same kernel expanded to all channels beforehand."""
    channels = row.shape[1]
    size, stride, padding = _geometry(_factor(row))
    generator = torch.Generator(device).manual_seed(2)
    if row.variant == SEPARABLE:
        column, line = torch.randn(2, size, generator=generator, device=device).to(row.dtype)
        kernel = (column, line)
        plane = torch.outer(column.double(), line.double())
    else:
        kernel = torch.randn(size, size, generator=generator, device=device).to(row.dtype)
        plane = kernel.double()
    exact = plane.expand(channels, 1, size, size).contiguous()
    rounded = exact.to(row.dtype)

    def ours(x: Tensor) -> Tensor:
        return upsample_ext.fixed_conv_transpose2d(x, kernel, stride, padding)

    def native(x: Tensor) -> Tensor:
        weight = exact if x.dtype == torch.float64 else rounded
        return F.conv_transpose2d(x, weight, None, stride, padding, groups=channels)

    return contest(row, [random_input(row, device)], ours=ours, native=native)


def make_bilinear(row: Row, device: torch.device) -> Contest:
    """``bilinear_conv_transpose2d``, also against our own resize (same tables, other borders)."""
    channels, factor = row.shape[1], _factor(row)
    size, stride, padding = _geometry(factor)
    axis = _bilinear_axis(size).to(device)
    exact = torch.outer(axis, axis).expand(channels, 1, size, size).contiguous()
    rounded = exact.to(row.dtype)
    replicate = row.variant == "replicate"

    def ours(x: Tensor) -> Tensor:
        return upsample_ext.bilinear_conv_transpose2d(
            x, factor, padding_mode="replicate" if replicate else "zeros"
        )

    def native(x: Tensor) -> Tensor:
        if replicate:  # the same function by its documented equality, and native's fastest way to it
            return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        weight = exact if x.dtype == torch.float64 else rounded
        return F.conv_transpose2d(x, weight, None, stride, padding, groups=channels)

    def resize(x: Tensor) -> Tensor:
        return upsample_ext.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

    return contest(row, [random_input(row, device)], ours=ours, native=native, others={"resize": resize})


def rows() -> Iterator[Row]:
    """All rows of the family."""
    yield from _bilinear()
    yield from _fixed()
    yield from _learnable()


def gpu_rows() -> Iterator[Row]:
    """Rows of sizes that fill a GPU."""
    for dtype in (torch.float32, torch.float16):
        same = {"dtype": dtype, "quick": True}
        for direction in (FORWARD, BACKWARD):
            yield Row("bilinear_conv_transpose2d", PYRAMID, "x2", make_bilinear, direction=direction, **same)
        for direction in (FORWARD, BACKWARD, BACKWARD_WEIGHT):
            row = Row("conv_transpose2d", PYRAMID, "x2", make_learnable, direction=direction, **same)
            yield replace(row, headline=dtype == torch.float32, compiled="full")
        for shape in batches(PYRAMID):
            half = dtype == torch.float16
            yield Row("conv_transpose2d", shape, "x2", make_learnable, dtype=dtype, quick=not half)
            yield Row("conv_transpose2d", shape, "x2", make_learnable, dtype=dtype, direction=BOTH)
    yield Row("conv_transpose2d", PYRAMID, "x2", make_learnable, layout=CHANNELS_LAST)
    yield Row("fixed_conv_transpose2d", PYRAMID, "x2", make_fixed, variant=NON_SEPARABLE)


def _bilinear() -> Iterator[Row]:
    op = "bilinear_conv_transpose2d"
    for shape, to in ((SEGMENTATION, "x8"), (FPN, "x2"), (FCN, "x8")):
        compiled = "full" if shape == SEGMENTATION else "never"
        shown = shape == SEGMENTATION
        yield Row(op, shape, to, make_bilinear, compiled=compiled, quick=True, headline=shown)
        yield Row(
            op, shape, to, make_bilinear, direction=BACKWARD, quick=shape != SEGMENTATION, headline=shown
        )
    yield Row(op, FCN, "x8", make_bilinear, variant="replicate", quick=True)
    yield Row(op, FPN, "x2", make_bilinear, dtype=torch.bfloat16)
    yield Row(op, FPN_DETECTION, "x2", make_bilinear, layout=CHANNELS_LAST)


def _fixed() -> Iterator[Row]:
    op = "fixed_conv_transpose2d"
    for variant in (SEPARABLE, NON_SEPARABLE):
        for shape, to in ((SEGMENTATION, "x8"), (FPN, "x2"), (FCN, "x8")):
            for direction in (FORWARD, BACKWARD):
                quick = shape == (FPN if direction == FORWARD else FCN)
                yield Row(op, shape, to, make_fixed, variant=variant, direction=direction, quick=quick)


def _learnable() -> Iterator[Row]:
    op = "conv_transpose2d"
    for shape, to in ((SEGMENTATION, "x8"), (FPN, "x2"), (FCN, "x8")):
        for direction in (FORWARD, BACKWARD, BACKWARD_WEIGHT, BOTH):
            compiled = "full" if shape == FPN and direction in (FORWARD, BOTH) else "never"
            shown = shape == FPN and direction in (FORWARD, BOTH)
            quick = shape == FPN and direction != BACKWARD_WEIGHT
            yield Row(
                op,
                shape,
                to,
                make_learnable,
                direction=direction,
                compiled=compiled,
                quick=quick,
                headline=shown,
            )
    for direction in (FORWARD, BOTH):
        yield Row("conv_transpose1d", (8, 64, 4096), "x2", make_line, direction=direction)
    for of_lines in ("fixed_conv_transpose1d", "linear_conv_transpose1d"):
        for direction in (FORWARD, BACKWARD):
            yield Row(of_lines, (8, 64, 4096), "x2", make_fixed_line, direction=direction)
    yield Row(op, FPN, "x2", make_learnable, dtype=torch.bfloat16)
    yield Row(op, FPN_DETECTION, "x2", make_learnable, layout=CHANNELS_LAST)
