"""Support for torch.vmap and DTensor: rules for each op, backward ops included."""

from __future__ import annotations  # VmapInfo is in a module that torch imports late

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from upsample_ext import _library  # noqa: F401  (the ops exist once the extension is loaded)

if TYPE_CHECKING:
    from torch._functorch.autograd_function import VmapInfo

_OPS = torch.ops.upsample_ext

# Which dimension of an argument is mapped; None: it is the same for all
Dim = int | None
# Which of a list's tensors or, in a rule for any arguments, of them all
Dims = Sequence[Any]
# The result of a rule: the tensors, and which dimension of each is the mapped one
Mapped = tuple[Tensor, int]
Rule = Callable[..., tuple[Any, Any]]


# ---- vmap: bilinear resize ---------------------------------------------------------------------------------
# The mapped dimension is folded into the batch, and unfolded again from the result.


def _fold_into_batch(x: Tensor, dim: int) -> tuple[Tensor, Sequence[int]]:
    x = x.movedim(dim, 0)
    return x.flatten(0, 1), x.shape[:2]


@torch.library.register_vmap("upsample_ext::upsample_bilinear2d")
def _upsample_vmap(info: VmapInfo, in_dims: Dims, input: Tensor, *settings: Any) -> Mapped:
    folded, batch = _fold_into_batch(input, in_dims[0])
    output = _OPS.upsample_bilinear2d(folded, *settings)
    return output.unflatten(0, batch), 0


@torch.library.register_vmap("upsample_ext::upsample_bilinear2d_backward")
def _upsample_backward_vmap(info: VmapInfo, in_dims: Dims, grad_output: Tensor, *settings: Any) -> Mapped:
    folded, batch = _fold_into_batch(grad_output, in_dims[0])
    grad_input = _OPS.upsample_bilinear2d_backward(folded, *settings)
    return grad_input.unflatten(0, batch), 0


# ---- vmap: resize in any mode ------------------------------------------------------------------------------


@torch.library.register_vmap("upsample_ext::resample")
def _resample_vmap(info: VmapInfo, in_dims: Dims, input: Tensor, *settings: Any) -> Mapped:
    folded, batch = _fold_into_batch(input, in_dims[0])
    return _OPS.resample(folded, *settings).unflatten(0, batch), 0


@torch.library.register_vmap("upsample_ext::resample_backward")
def _resample_backward_vmap(info: VmapInfo, in_dims: Dims, grad_output: Tensor, *settings: Any) -> Mapped:
    folded, batch = _fold_into_batch(grad_output, in_dims[0])
    return _OPS.resample_backward(folded, *settings).unflatten(0, batch), 0


# ---- DTensor -----------------------------------------------------------------------------------------------
# Ops that the rules below do not name go to PyTorch, whose own ops have rules.


def is_distributed(tensor: object) -> bool:
    """Whether a tensor is a DTensor."""
    distributed = sys.modules.get("torch.distributed.tensor")
    return distributed is not None and isinstance(tensor, distributed.DTensor)


_sharding_registered = False


def register_sharding_if_distributed(input: object) -> None:
    """Registers the sharding rules at the first DTensor; importing torch.distributed.tensor is slow."""
    global _sharding_registered
    if _sharding_registered or not is_distributed(input):
        return
    _sharding_registered = True
    from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard
    from torch.distributed.tensor.experimental import register_sharding

    everywhere: Placement = Replicate()
    by_batch: Placement = Shard(0)
    by_channel: Placement = Shard(1)
    infos = DTensor._op_dispatcher.sharding_propagator.op_to_schema_info

    def register(name: str, *rules: tuple[Placement, list[Placement]]) -> None:
        """rules: the placement of the result, and those of the tensors, which are the first arguments."""
        op = getattr(_OPS, name).default
        tensors = len(rules[0][1])

        def sharding(*arguments: object) -> list[tuple[list[Placement], list[Placement | None]]]:
            rest: list[Placement | None] = [None] * (len(arguments) - tensors)
            # A bias that is not there has no placement.
            return [
                (
                    [result],
                    [
                        None if argument is None else placement
                        for argument, placement in zip(arguments, given, strict=False)
                    ]
                    + rest,
                )
                for result, given in rules
            ]

        register_sharding(op)(sharding)
        # Results are cached by the arguments from here on too: torch counts only those of type int.
        infos[op] = dataclasses.replace(infos[op], static_argnum=tensors)

    # Planes are resized independently: batch and channels may be sharded, height and width may not.
    for name in ("upsample_bilinear2d", "resample", "upsample_chain"):
        for op in (name, f"{name}_backward"):
            register(op, *((placement, [placement]) for placement in (everywhere, by_batch, by_channel)))
    for op in ("separable_conv_transpose2d", "separable_conv_transpose2d_backward"):
        register(
            op,
            *((place, [place, everywhere, everywhere]) for place in (everywhere, by_batch, by_channel)),
        )
    # Of an image's channels the dimension is 1, of a weight's and a bias's 0.
    register(
        "depthwise_conv_transpose2d",
        (everywhere, [everywhere, everywhere, everywhere]),
        (by_batch, [by_batch, everywhere, everywhere]),
        (by_channel, [by_channel, Shard(0), Shard(0)]),
    )
    register(
        "depthwise_conv_transpose2d_backward_input",
        (everywhere, [everywhere, everywhere]),
        (by_batch, [by_batch, everywhere]),
        (by_channel, [by_channel, Shard(0)]),
    )
    register(
        "depthwise_conv_transpose2d_backward_weight",
        (everywhere, [everywhere, everywhere]),
        (Partial(), [by_batch, by_batch]),
        (Shard(0), [by_channel, by_channel]),
    )
    register("channel_sum", (everywhere, [everywhere]), (Partial(), [by_batch]), (Shard(0), [by_channel]))


def replicated_like(tensor: Tensor, input: Tensor) -> Tensor:
    """A tensor that every process has, for an op together with `input`: if that is a DTensor, one too."""
    if not is_distributed(input) or is_distributed(tensor):
        return tensor
    from torch.distributed.tensor import DTensor, Replicate

    mesh = input.device_mesh  # type: ignore[attr-defined]
    return DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)


# ---- vmap: transposed convolution --------------------------------------------------------------------------
# If only images are mapped, the mapped dimension is folded into the batch. If a weight or bias is mapped too,
# or the result sums over the batch, it is folded into the channels.


def _register_vmap(name: str) -> Callable[[Rule], Rule]:
    """Registers a rule that need not handle empty mapped dimensions (ops reject images without channels)."""
    op = getattr(_OPS, name)

    def register(rule: Rule) -> Rule:
        def with_empty(info: VmapInfo, in_dims: Dims, *arguments: Any) -> tuple[Any, Any]:
            if info.batch_size > 0:
                return rule(info, in_dims, *arguments)
            items = [
                _items(argument, dim)[0] if isinstance(dim, int) else argument  # the dims of a list: a list
                for argument, dim in zip(arguments, in_dims, strict=True)
            ]
            result = op(*items)
            return result.new_empty((0, *result.shape)), 0

        torch.library.register_vmap(f"upsample_ext::{name}", with_empty)
        return rule

    return register


@_register_vmap("separable_conv_transpose2d")
def _separable_vmap(
    info: VmapInfo, in_dims: Dims, input: Tensor, kernel_h: Tensor, kernel_w: Tensor, *geometry: Any
) -> Mapped:
    return _separable_by_batch(
        _OPS.separable_conv_transpose2d, info, in_dims, input, kernel_h, kernel_w, geometry
    )


@_register_vmap("separable_conv_transpose2d_backward")
def _separable_backward_vmap(
    info: VmapInfo, in_dims: Dims, grad_output: Tensor, kernel_h: Tensor, kernel_w: Tensor, *geometry: Any
) -> Mapped:
    op = _OPS.separable_conv_transpose2d_backward
    return _separable_by_batch(op, info, in_dims, grad_output, kernel_h, kernel_w, geometry)


def _separable_by_batch(
    op: Callable[..., Tensor],
    info: VmapInfo,
    in_dims: Dims,
    image: Tensor,
    kernel_h: Tensor,
    kernel_w: Tensor,
    geometry: Sequence[Any],
) -> Mapped:
    if in_dims[1] is None and in_dims[2] is None:
        folded, batch = _fold_into_batch(image, in_dims[0])
        return op(folded, kernel_h, kernel_w, *geometry).unflatten(0, batch), 0
    # A separate pair of kernels per image, hence separate tables: one call each.
    mapped = [
        [tensor] * info.batch_size if dim is None else tensor.unbind(dim)
        for tensor, dim in zip((image, kernel_h, kernel_w), in_dims, strict=False)
    ]
    return torch.stack([op(*tensors, *geometry) for tensors in zip(*mapped, strict=True)]), 0


def _fold_into_channels(x: Tensor, dim: Dim, batch_size: int, channel_dim: int) -> Tensor:
    """Folds the mapped dimension into the channels; a tensor that is not mapped is repeated."""
    x = x.unsqueeze(channel_dim) if dim is None else x.movedim(dim, channel_dim)
    shape = list(x.shape)
    shape[channel_dim] = batch_size
    return x.expand(shape).flatten(channel_dim, channel_dim + 1)


@_register_vmap("depthwise_conv_transpose2d")
def _depthwise_vmap(
    info: VmapInfo, in_dims: Dims, input: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any
) -> Mapped:
    op, size = _OPS.depthwise_conv_transpose2d, info.batch_size
    if in_dims[1] is None and in_dims[2] is None:
        folded, batch = _fold_into_batch(input, in_dims[0])
        return op(folded, weight, bias, *geometry).unflatten(0, batch), 0
    folded = _fold_into_channels(input, in_dims[0], size, 1)
    weight = _fold_into_channels(weight, in_dims[1], size, 0)
    bias = None if bias is None else _fold_into_channels(bias, in_dims[2], size, 0)
    return op(folded, weight, bias, *geometry).unflatten(1, (size, -1)), 1


@_register_vmap("depthwise_conv_transpose2d_backward_input")
def _depthwise_backward_input_vmap(
    info: VmapInfo, in_dims: Dims, grad_output: Tensor, weight: Tensor, *geometry: Any
) -> Mapped:
    op, size = _OPS.depthwise_conv_transpose2d_backward_input, info.batch_size
    if in_dims[1] is None:
        folded, batch = _fold_into_batch(grad_output, in_dims[0])
        return op(folded, weight, *geometry).unflatten(0, batch), 0
    folded = _fold_into_channels(grad_output, in_dims[0], size, 1)
    weight = _fold_into_channels(weight, in_dims[1], size, 0)
    return op(folded, weight, *geometry).unflatten(1, (size, -1)), 1


@_register_vmap("depthwise_conv_transpose2d_backward_weight")
def _depthwise_backward_weight_vmap(
    info: VmapInfo, in_dims: Dims, grad_output: Tensor, input: Tensor, *geometry: Any
) -> Mapped:
    op, size = _OPS.depthwise_conv_transpose2d_backward_weight, info.batch_size
    grad_output = _fold_into_channels(grad_output, in_dims[0], size, 1)
    input = _fold_into_channels(input, in_dims[1], size, 1)
    return op(grad_output, input, *geometry).unflatten(0, (size, -1)), 0


@_register_vmap("channel_sum")
def _channel_sum_vmap(info: VmapInfo, in_dims: Dims, input: Tensor) -> Mapped:
    folded = _fold_into_channels(input, in_dims[0], info.batch_size, 1)
    return _OPS.channel_sum(folded).unflatten(0, (info.batch_size, -1)), 0


# ---- vmap: argmax and cross-entropy ------------------------------------------------------------------------


def _by_batch(op: Callable[..., Any]) -> Rule:
    def rule(info: VmapInfo, in_dims: Dims, input: Tensor, *settings: Any) -> tuple[Any, Any]:
        folded, batch = _fold_into_batch(input, in_dims[0])
        outputs = op(folded, *settings)
        if isinstance(outputs, torch.Tensor):
            return outputs.unflatten(0, batch), 0
        return tuple(output.unflatten(0, batch) for output in outputs), (0, 0)

    return rule


for _name in (
    "upsample_argmax",
    "upsample_argmax_with_score",
    "upsample_chain_argmax",
    "upsample_chain_argmax_with_score",
):
    torch.library.register_vmap(f"upsample_ext::{_name}", _by_batch(getattr(_OPS, _name)))


def _items(x: Tensor, dim: int) -> Sequence[Tensor]:
    """The items along a dimension; if there are none, one of zeros, which determines the result's shape."""
    if x.shape[dim] == 0:
        return [x.new_zeros(x.movedim(dim, 0).shape[1:])]
    return x.unbind(dim)


def _one_by_one(op: Callable[..., Any]) -> Rule:
    """A rule that calls the op once per mapped item, because a loss sums over its batch."""

    def rule(info: VmapInfo, in_dims: Dims, *arguments: Any) -> tuple[Any, Any]:
        size = info.batch_size
        mapped = [
            [argument] * max(1, size) if dim is None else _items(argument, dim)
            for argument, dim in zip(arguments, in_dims, strict=True)
        ]
        results = [op(*items) for items in zip(*mapped, strict=True)]
        if isinstance(results[0], torch.Tensor):
            return torch.stack(results)[:size], 0
        return tuple(torch.stack(parts)[:size] for parts in zip(*results, strict=True)), (0, 0)

    return rule


for _name in (
    "upsample_cross_entropy",
    "upsample_cross_entropy_with_gradient",
    "upsample_cross_entropy_backward",
):
    torch.library.register_vmap(f"upsample_ext::{_name}", _one_by_one(getattr(_OPS, _name)))


# ---- vmap: bilinear resize fused with what follows ---------------------------------------------------------


def _batch_below(x: Tensor, dim: Dim) -> int:
    """The batch size of an image without the mapped dimension."""
    return x.shape[0] if dim is None else x.movedim(dim, 0).shape[1]


def _fold_expanded(x: Tensor, dim: Dim, batch_size: int) -> Tensor:
    """Folds the mapped dimension into the batch; an image that is not mapped is repeated."""
    x = x.expand(batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
    return x.flatten(0, 1)


@torch.library.register_vmap("upsample_ext::upsample_add")
def _add_vmap(info: VmapInfo, in_dims: Dims, input: Tensor, other: Tensor, *settings: Any) -> Mapped:
    size, batch = info.batch_size, _batch_below(input, in_dims[0])
    if in_dims[1] is not None:
        other = other.movedim(in_dims[1], 0)
        whole = (slice(None), *[None] * (5 - other.dim()))  # all dimensions of an image
        other = other[whole]
    elif other.dim() == 4 and other.shape[0] != 1:
        other = other.expand(size, *other.shape)
    if other.dim() == 5:
        other = other.expand(size, batch, *other.shape[2:]).flatten(0, 1)
    output = _OPS.upsample_add(_fold_expanded(input, in_dims[0], size), other, *settings)
    return output.unflatten(0, (size, batch)), 0


@torch.library.register_vmap("upsample_ext::upsample_concat")
def _concat_vmap(info: VmapInfo, in_dims: Dims, inputs: Sequence[Tensor], *settings: Any) -> Mapped:
    size, batch = info.batch_size, _batch_below(inputs[0], in_dims[0][0])
    folded = [_fold_expanded(x, dim, size) for x, dim in zip(inputs, in_dims[0], strict=True)]
    return _OPS.upsample_concat(folded, *settings).unflatten(0, (size, batch)), 0


@torch.library.register_vmap("upsample_ext::upsample_threshold")
def _threshold_vmap(info: VmapInfo, in_dims: Dims, input: Tensor, *settings: Any) -> Mapped:
    folded, batch = _fold_into_batch(input, in_dims[0])
    return _OPS.upsample_threshold(folded, *settings).unflatten(0, batch), 0


# ---- vmap: chains of resizes -------------------------------------------------------------------------------


for _name in ("upsample_chain", "upsample_chain_backward", "upsample_chain_threshold"):
    torch.library.register_vmap(f"upsample_ext::{_name}", _by_batch(getattr(_OPS, _name)))
