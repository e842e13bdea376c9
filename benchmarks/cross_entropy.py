"""Rows of training: the cross-entropy of upsampled logits, and its gradient to the low-resolution ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import EllipsisType

import torch
import torch.nn.functional as F
from torch import Tensor

import upsample_ext

from .argmax import ADE
from .bands import bands, upsample
from .contest import (
    BOTH,
    CHANNELS_LAST,
    NOT_DETERMINISTIC_ON,
    Contest,
    Exact,
    Function,
    Row,
    Side,
    bytes_of,
    compiled,
    deterministic,
    random_input,
)
from .resample import SEGMENTATION, STREET, TRAINING, batches, output_size

WEIGHTED = "weights"
_IGNORE = 255
_IGNORED_SHARE = 0.1


def make(row: Row, device: torch.device) -> Contest:
    """The loss and the gradient. Variant "weights": classes have weights, and some pixels no class."""
    input, factor = random_input(row, device).requires_grad_(), int(row.to[1:])
    target, weight = _target_and_weight(row, device)

    def ours(x: Tensor) -> Tensor:
        return upsample_ext.upsample_cross_entropy(x, target, _like(weight, x), _IGNORE)

    def native(x: Tensor) -> Tensor:
        logits = F.interpolate(x, scale_factor=factor, mode="bilinear")
        return F.cross_entropy(logits, target, _like(weight, x), ignore_index=_IGNORE)

    def chunked() -> tuple[Tensor, Tensor]:
        counted = target[target != _IGNORE]
        total = counted.numel() if weight is None else weight[counted].sum()
        loss = torch.zeros((), device=device)
        gradient = torch.zeros_like(input)
        for band in bands(input, factor):
            rows = input[:, :, band.source].detach().requires_grad_()
            part = F.cross_entropy(
                upsample(rows, band, factor),
                target[:, band.target],
                _like(weight, rows),
                ignore_index=_IGNORE,
                reduction="sum",
            )
            gradient[:, :, band.source] += torch.autograd.grad(part / total, rows)[0]
            loss += part.detach() / total
        return loss.to(input.dtype), gradient

    return loss_contest(input, target, ours, native, {"chunked": chunked})


def loss_contest(
    input: Tensor, target: Tensor, ours: Function, native: Function, others: dict[str, Side]
) -> Contest:
    """The loss of `input`, the logits, and its gradient, as ours and native compute them."""

    def reference() -> Iterator[tuple[EllipsisType, Exact]]:
        # All of it at once (a mean has one denominator), in float64.
        yield ..., _loss_and_gradient(native, input.detach().double().requires_grad_())

    def compile_native() -> Side:
        function = compiled(native)
        return lambda: _loss_and_gradient(function, input)

    def native_side() -> tuple[Tensor, Tensor]:
        return _loss_and_gradient(native, input)

    values, gradient = input.detach(), torch.empty_like(input.detach())
    rivals: dict[str, Side] = {"native": native_side, **others}
    if input.device.type in NOT_DETERMINISTIC_ON:
        rivals["deterministic"] = deterministic(native_side)
    return Contest(
        ours=lambda: _loss_and_gradient(ours, input),
        rivals=rivals,
        floor=lambda: gradient.copy_(values),
        floor_bytes=2 * bytes_of(values),
        moved_bytes=bytes_of(values, target, gradient),
        reference=reference,
        compiled=compile_native,
        # Ours has the logits' layout, as the gradient of our resize; native's is contiguous, as its softmax.
        native_strides=False,
        intermediate_bytes=bytes_of(values) * target.shape[-2:].numel() // values.shape[-2:].numel(),
    )


def _target_and_weight(row: Row, device: torch.device) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator(device).manual_seed(3)
    shape, classes = (row.shape[0], *output_size(row)), row.shape[1]
    target = torch.randint(0, classes, shape, generator=generator, device=device)
    if row.variant != WEIGHTED:
        return target, None
    ignored = torch.rand(shape, generator=generator, device=device) < _IGNORED_SHARE
    return target.masked_fill(ignored, _IGNORE), torch.rand(classes, generator=generator, device=device) + 0.5


def _like(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else weight.to(x.dtype)


def _loss_and_gradient(function: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    loss = function(x)
    return loss.detach(), torch.autograd.grad(loss, x)[0]


def rows() -> Iterator[Row]:
    """All rows of the family."""
    for shape, to in ((ADE, "x4"), (SEGMENTATION, "x8")):
        yield _row(shape, to, quick=True, compiled="quick", headline=True)
        yield _row(shape, to, variant=WEIGHTED, compiled="full")
        yield _row(shape, to, layout=CHANNELS_LAST, compiled="full")
        yield _row(shape, to, dtype=torch.bfloat16, compiled="full")


def gpu_rows() -> Iterator[Row]:
    """Rows of sizes that fill a GPU; their float64 reference needs some 20 GiB."""
    for shape, to in ((TRAINING, "x4"), (STREET, "x8")):
        base = _row(shape, to, quick=True, compiled="full")
        yield replace(base, headline=shape == TRAINING)
        yield replace(base, dtype=torch.float16)
        yield replace(base, variant=WEIGHTED, quick=False)
    for to, whole in (("x4", TRAINING), ("x8", SEGMENTATION)):
        for shape in batches(whole):
            yield _row(shape, to, quick=True, compiled="full")


def _row(shape: tuple[int, ...], to: str, **fields: object) -> Row:
    op = "upsample_cross_entropy"
    return Row(op, shape, to, make, direction=BOTH, memory=True, **fields)  # type: ignore[arg-type]
