"""What each op of this package stands for in PyTorch's own: for exporters and backends that know no others.

`decompositions()` is the table, by op. Where torch has a default table for exported programs (2.6 on),
`torch.export.default_decompositions()`, ours are in it, so that `run_decompositions()`, and
`torch.onnx.export` of an exported program, find them. Eager and compiled code do not read that table: they
call our ops.

Values are those of the native expression in the docstring of the public function.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

from upsample_ext import _transforms  # noqa: F401  (the ops exist once the extension is loaded)
from upsample_ext.deconv import _conv_transpose_by_pytorch, _margins

_OPS = torch.ops.upsample_ext
_ATEN = torch.ops.aten
_HALVES = (torch.float16, torch.bfloat16)

Sizes = Sequence[Any]  # ints or symbols
Scales = Sequence[float | None] | None

_TABLE: dict[Any, Callable[..., Any]] = {}


def decompositions() -> dict[Any, Callable[..., Any]]:
    """The decompositions of this package's ops into PyTorch's own: a new dict, ``{op overload: function}``.

    It covers the ops of every public function and of their gradients; only
    ``upsample_ext::upsample_bilinear2d.out``, which writes to its argument, is missing: functionalization
    turns it into the op without ``out=``.

    Returns:
        A table for `torch.export.ExportedProgram.run_decompositions`, `make_fx` and other functions that take
        one.

    Example:
        >>> import torch, upsample_ext
        >>> from torch.fx.experimental.proxy_tensor import make_fx
        >>> graph = make_fx(
        ...     lambda x: upsample_ext.upsample_argmax(x, scale_factor=2), upsample_ext.decompositions()
        ... )(torch.rand(1, 3, 4, 5))
        >>> any("upsample_ext" in str(node.target) for node in graph.graph.nodes)
        False
    """
    return dict(_TABLE)


def _stands_for(op: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the decorated function as the decomposition of an op."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _TABLE[op] = function
        return function

    return register


# ---- resize ------------------------------------------------------------------------------------------------


def _follow(sizes: Sizes, extents: Sizes, scales: Scales) -> bool:
    """Whether the sizes are those that the scale factors give, as far as is known without a guard."""
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return scales is not None and all(
        scale is not None and statically_known_true(torch.sym_int(extent * scale) == size)
        for size, extent, scale in zip(sizes, extents, scales, strict=True)
    )


def _resize(name: str, input: Tensor, output_size: Sizes, corners: Sequence[bool], scales: Scales) -> Tensor:
    """One of ATen's resize ops. `vec`, which `F.interpolate` calls, takes a size or factors, but not both."""
    op = getattr(_ATEN, name)
    if scales is None or not any(scales):
        return op.vec(input, output_size, *corners, None)
    if _follow(output_size, input.shape[2:], scales):
        return op.vec(input, None, *corners, scales)
    return op.default(input, output_size, *corners, *scales)


def _bilinear(
    input: Tensor,
    output_size: Sizes,
    align_corners: bool,
    scale_h: float | None = None,
    scale_w: float | None = None,
) -> Tensor:
    return _resize("upsample_bilinear2d", input, output_size, (align_corners,), (scale_h, scale_w))


_stands_for(_OPS.upsample_bilinear2d.default)(_bilinear)
_stands_for(_OPS.upsample_bilinear2d.vec)(_ATEN.upsample_bilinear2d.vec)


@_stands_for(_OPS.upsample_bilinear2d_backward.default)
def _bilinear_backward(
    grad_output: Tensor,
    input_size: Sizes,
    align_corners: bool,
    scale_h: float | None = None,
    scale_w: float | None = None,
) -> Tensor:
    shape = [*grad_output.shape[:2], *input_size]
    return _ATEN.upsample_bilinear2d_backward(
        grad_output, grad_output.shape[2:], shape, align_corners, scale_h, scale_w
    )


_NAMES = {
    "nearest": "upsample_nearest{}d",
    "nearest-exact": "_upsample_nearest_exact{}d",
    "linear": "upsample_linear{}d",
    "bilinear": "upsample_bilinear{}d",
    "trilinear": "upsample_trilinear{}d",
    "bicubic": "upsample_bicubic{}d",
    "lanczos": "_upsample_lanczos{}d_aa",
}


def _name(mode: str, antialias: bool, axes: int) -> str:
    """Of ATen's op, for every mode but area."""
    name = _NAMES[mode].format(axes)
    return f"_{name}_aa" if antialias and mode != "lanczos" else name


def _corners(mode: str, align_corners: bool) -> Sequence[bool]:
    """The argument as ATen's op takes it, if it does."""
    return () if mode.startswith("nearest") else (align_corners,)


@_stands_for(_OPS.resample.default)
def _resample(
    input: Tensor, output_size: Sizes, mode: str, antialias: bool, align_corners: bool, scale_factors: Scales
) -> Tensor:
    axes = input.dim() - 2
    if mode == "area":
        return getattr(_ATEN, f"adaptive_avg_pool{axes}d").default(input, output_size)
    name, corners = _name(mode, antialias, axes), _corners(mode, align_corners)
    if antialias and axes != 2:
        return _filtered(input, output_size, align_corners, scale_factors)
    if antialias and input.dtype in _HALVES:  # native has no such kernel on the CPU
        return _resize(name, input.float(), output_size, corners, scale_factors).to(input.dtype)
    if input.is_floating_point() or input.dtype is torch.uint8:
        return _resize(name, input, output_size, corners, scale_factors)
    return _picked(input, output_size, _name(mode, antialias, 1), scale_factors)


def _filtered(input: Tensor, output_size: Sizes, align_corners: bool, scales: Scales) -> Tensor:
    """Lines and volumes with antialias, which natively only images have: lines are images of one row, volumes
    first resized slice by slice, and then, as images whose rows are slices, along the depth."""
    name, corners, factors = "_upsample_bilinear2d_aa", (align_corners,), scales or [None] * len(output_size)
    image = input.float() if input.dtype in _HALVES else input
    if len(output_size) == 1:
        image = _resize(name, image.unsqueeze(2), [1, *output_size], corners, (None, *factors)).squeeze(2)
        return image.to(input.dtype)
    channels, depth = image.shape[1:3]
    image = _resize(name, image.flatten(1, 2), output_size[1:], corners, factors[1:])
    image = image.unflatten(1, (channels, depth)).flatten(3)
    size = [output_size[0], image.shape[3]]
    image = _resize(name, image, size, corners, (factors[0], None)).unflatten(3, output_size[1:])
    return image.to(input.dtype).contiguous(memory_format=suggest_memory_format(input))


def _filtered_backward(grad_output: Tensor, input_size: Sizes, align_corners: bool, scales: Scales) -> Tensor:
    """The gradient of `_filtered`: the same steps from the last to the first."""
    op, factors = _ATEN._upsample_bilinear2d_aa_backward.default, scales or [None] * len(input_size)
    grad = grad_output.float() if grad_output.dtype in _HALVES else grad_output

    def step(grad: Tensor, size: Sizes, *scales: float | None) -> Tensor:
        return op(grad, grad.shape[2:], [*grad.shape[:2], *size], align_corners, *scales)

    if len(input_size) == 1:
        grad = step(grad.unsqueeze(2), [1, *input_size], None, *factors).squeeze(2)
        return grad.to(grad_output.dtype)
    channels, (depth, *plane) = grad.shape[1], input_size
    resized = grad.shape[3:]
    grad = grad.flatten(3)
    grad = step(grad, [depth, grad.shape[3]], factors[0], None).unflatten(3, resized)
    grad = step(grad.flatten(1, 2), plane, *factors[1:]).unflatten(1, (channels, depth))
    return grad.to(grad_output.dtype).contiguous(memory_format=suggest_memory_format(grad_output))


def _picked(input: Tensor, output_size: Sizes, name: str, scales: Scales) -> Tensor:
    """Nearest of integers and bools, which native refuses: of each axis the places are resized."""
    for axis, size in enumerate(output_size):
        extent = input.shape[2 + axis]
        places = torch.arange(extent, dtype=torch.float32, device=input.device)[None, None]
        scale = None if scales is None else scales[axis : axis + 1]
        input = input.index_select(2 + axis, _resize(name, places, [size], (), scale).flatten().long())
    return input


@_stands_for(_OPS.resample_backward.default)
def _resample_backward(
    grad_output: Tensor,
    input_size: Sizes,
    mode: str,
    antialias: bool,
    align_corners: bool,
    scale_factors: Scales,
) -> Tensor:
    axes = grad_output.dim() - 2
    shape = [*grad_output.shape[:2], *input_size]
    if mode == "area":
        return _mean_backward(grad_output, shape)
    if antialias and axes != 2:
        return _filtered_backward(grad_output, input_size, align_corners, scale_factors)
    backward = getattr(_ATEN, _name(mode, antialias, axes) + "_backward").default
    settings = (*_corners(mode, align_corners), *(scale_factors or [None] * axes))
    if antialias and grad_output.dtype in _HALVES:
        wide = backward(grad_output.float(), grad_output.shape[2:], shape, *settings)
        return wide.to(grad_output.dtype)
    return backward(grad_output, grad_output.shape[2:], shape, *settings)


def _mean_backward(grad_output: Tensor, shape: Sizes) -> Tensor:
    """Of the pooling that `area` is; that of a line is of an image with one row."""
    if len(shape) == 3:
        return _mean_backward(grad_output.unsqueeze(2), [*shape[:2], 1, shape[2]]).squeeze(2)
    backward = getattr(_ATEN, f"_adaptive_avg_pool{len(shape) - 2}d_backward").default
    return backward(grad_output, grad_output.new_empty(shape))


# ---- transposed convolution --------------------------------------------------------------------------------


@_stands_for(_OPS.depthwise_conv_transpose2d.default)
def _depthwise(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    dilation: Sizes,
    replicate: bool,
) -> Tensor:
    geometry = (list(stride), list(padding), list(output_padding), list(dilation))
    return _conv_transpose_by_pytorch(input, weight, bias, geometry, replicate)


@_stands_for(_OPS.depthwise_conv_transpose2d_backward_input.default)
def _depthwise_backward_input(
    grad_output: Tensor,
    weight: Tensor,
    input_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    replicate: bool,
    channels_last: bool | None = None,
) -> Tensor:
    input = grad_output.new_empty([*grad_output.shape[:2], *input_size])
    return _depthwise_backward(
        grad_output, input, weight, stride, padding, dilation, replicate, of_input=True
    )


@_stands_for(_OPS.depthwise_conv_transpose2d_backward_weight.default)
def _depthwise_backward_weight(
    grad_output: Tensor,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    replicate: bool,
    channels_last: bool | None = None,
) -> Tensor:
    weight = input.new_empty([input.shape[1], 1, *kernel_size])
    return _depthwise_backward(
        grad_output, input, weight, stride, padding, dilation, replicate, of_input=False
    )


def _depthwise_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    replicate: bool,
    *,
    of_input: bool,
) -> Tensor:
    output_padding = [
        out - ((size - 1) * step - 2 * cut + spread * (kernel - 1) + 1)
        for out, size, kernel, step, cut, spread in zip(
            grad_output.shape[2:], input.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
        )
    ]
    read: Tensor = input
    margins: Sizes = [0, 0]
    if replicate:
        margins = _margins(weight, stride, output_padding, dilation)
        read = _ATEN.replication_pad2d(input, [margins[1], margins[1], margins[0], margins[0]])
        padding = [cut + more * step for cut, more, step in zip(padding, margins, stride, strict=True)]
    grads = _ATEN.convolution_backward(
        grad_output,
        read,
        weight,
        None,
        stride,
        padding,
        dilation,
        True,
        output_padding,
        input.shape[1],
        [of_input, not of_input, False],
    )
    if not of_input:
        return grads[1]
    if not replicate:
        return grads[0]
    return _ATEN.replication_pad2d_backward(grads[0], input, [margins[1], margins[1], margins[0], margins[0]])


def _plane(image: Tensor, kernel_h: Tensor, kernel_w: Tensor) -> Tensor:
    """(C, 1, kH, kW), for an image: both kernels' product for every channel."""
    plane = torch.outer(kernel_h, kernel_w).to(image.dtype)
    return plane.expand(image.shape[1], 1, *plane.shape)


@_stands_for(_OPS.separable_conv_transpose2d.default)
def _separable(
    input: Tensor,
    kernel_h: Tensor,
    kernel_w: Tensor,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    dilation: Sizes,
    replicate: bool,
    as_resize: bool = False,
) -> Tensor:
    weight = _plane(input, kernel_h, kernel_w)
    return _depthwise(input, weight, None, stride, padding, output_padding, dilation, replicate)


@_stands_for(_OPS.separable_conv_transpose2d_backward.default)
def _separable_backward(
    grad_output: Tensor,
    kernel_h: Tensor,
    kernel_w: Tensor,
    input_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    replicate: bool,
    channels_last: bool | None = None,
    as_resize: bool = False,
) -> Tensor:
    weight = _plane(grad_output, kernel_h, kernel_w)
    return _depthwise_backward_input(grad_output, weight, input_size, stride, padding, dilation, replicate)


@_stands_for(_OPS.channel_sum.default)
def _channel_sum(input: Tensor) -> Tensor:
    return input.sum([0, 2, 3])


# ---- resize fused with what follows it ---------------------------------------------------------------------


def _resized(
    input: Tensor,
    output_size: Sizes,
    align_corners: bool,
    scale_h: float | None = None,
    scale_w: float | None = None,
    mode: str = "bilinear",
) -> Tensor:
    """What a fused op makes of an image (N, C, H, W) first."""
    scales = (scale_h, scale_w) if scale_h or scale_w else None
    return _resample(input, output_size, mode, False, align_corners, scales)


@_stands_for(_OPS.upsample_argmax.default)
def _argmax(
    input: Tensor,
    output_size: Sizes,
    align_corners: bool,
    scale_h: float | None,
    scale_w: float | None,
    dtype: torch.dtype,
    mode: str = "bilinear",
) -> Tensor:
    logits = _resized(input.float(), output_size, align_corners, scale_h, scale_w, mode)
    return logits.argmax(1).to(dtype)


@_stands_for(_OPS.upsample_argmax_with_score.default)
def _argmax_with_score(
    input: Tensor,
    output_size: Sizes,
    align_corners: bool,
    scale_h: float | None,
    scale_w: float | None,
    dtype: torch.dtype,
    mode: str = "bilinear",
) -> tuple[Tensor, Tensor]:
    logits = _resized(input.float(), output_size, align_corners, scale_h, scale_w, mode)
    return logits.argmax(1).to(dtype), logits.softmax(1).amax(1)


@_stands_for(_OPS.upsample_threshold.default)
def _threshold(
    input: Tensor,
    output_size: Sizes,
    align_corners: bool,
    scale_h: float | None,
    scale_w: float | None,
    threshold: float,
    mode: str = "bilinear",
) -> Tensor:
    return _resized(input.float(), output_size, align_corners, scale_h, scale_w, mode) > threshold


@_stands_for(_OPS.upsample_add.default)
def _add(input: Tensor, other: Tensor, align_corners: bool, mode: str = "bilinear") -> Tensor:
    return _resized(input, other.shape[-2:], align_corners, mode=mode) + other


@_stands_for(_OPS.upsample_concat.default)
def _concat(
    inputs: Sequence[Tensor], output_size: Sizes, align_corners: bool, mode: str = "bilinear"
) -> Tensor:
    return torch.cat([_resized(input, output_size, align_corners, mode=mode) for input in inputs], 1)


# ---- chains of resizes and crops, and what consumes them ---------------------------------------------------


def _stages(
    sizes: Sizes, crops: Sizes, align_corners: Sequence[bool], scale_factors: Scales
) -> list[tuple[Sizes, Sizes, tuple[bool, float | None, float | None]]]:
    """Of each stage the size, the crop (top, left, height, width), and the other arguments of the resize."""
    scales = [scale or None for scale in scale_factors or [None] * len(sizes)]
    return [
        (sizes[2 * i : 2 * i + 2], crops[4 * i : 4 * i + 4], (aligned, scales[2 * i], scales[2 * i + 1]))
        for i, aligned in enumerate(align_corners)
    ]


@_stands_for(_OPS.upsample_chain.default)
def _chain(input: Tensor, *chain: Any) -> Tensor:
    for size, (top, left, height, width), settings in _stages(*chain):
        resized = _bilinear(input, size, *settings)
        input = resized.narrow(2, top, height).narrow(3, left, width)
    return input


@_stands_for(_OPS.upsample_chain_backward.default)
def _chain_backward(grad_output: Tensor, input_size: Sizes, *chain: Any) -> Tensor:
    stages = _stages(*chain)
    input_sizes = [input_size, *(crop[2:] for _, crop, _ in stages[:-1])]
    for (size, (top, left, height, width), settings), before in zip(
        reversed(stages), reversed(input_sizes), strict=True
    ):
        beyond = [left, size[1] - left - width, top, size[0] - top - height]
        whole = _ATEN.constant_pad_nd(grad_output, beyond)
        grad_output = _bilinear_backward(whole, before, *settings)
    return grad_output


@_stands_for(_OPS.upsample_chain_threshold.default)
def _chain_threshold(input: Tensor, *settings: Any) -> Tensor:
    *chain, threshold = settings
    return _chain(input.float(), *chain) > threshold


@_stands_for(_OPS.upsample_chain_argmax.default)
def _chain_argmax(input: Tensor, *settings: Any) -> Tensor:
    *chain, dtype = settings
    return _chain(input.float(), *chain).argmax(1).to(dtype)


@_stands_for(_OPS.upsample_chain_argmax_with_score.default)
def _chain_argmax_with_score(input: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    *chain, dtype = settings
    logits = _chain(input.float(), *chain)
    return logits.argmax(1).to(dtype), logits.softmax(1).amax(1)


# ---- cross-entropy -----------------------------------------------------------------------------------------

_NONE, _MEAN, _SUM = range(3)  # reductions


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in _HALVES else tensor


class _Shares(NamedTuple):
    """Of each pixel: what its loss, ``-sum(share * log_softmax(logits))``, is made of.

    With w the weights, t the label and e the smoothing, the share is w[t] (1 - e) at the label and, beside
    it, w e / C everywhere. Pixels that do not count have none.
    """

    valid: Tensor  # (N, 1, H, W), as label and of_label
    label: Tensor
    of_label: Tensor  # w[t]
    everywhere: Tensor  # (N, C, H, W): w e / C


def _shares(logits: Tensor, target: Tensor, weight: Tensor | None, ignored: int, smoothing: float) -> _Shares:
    classes = logits.shape[1]
    valid = (target != ignored).unsqueeze(1)
    label = target.unsqueeze(1).masked_fill(~valid, 0)
    weight = logits.new_ones(classes) if weight is None else weight.to(logits.dtype)
    of_label = weight.index_select(0, label.flatten()).view_as(label) * valid
    return _Shares(valid, label, of_label, weight.view(1, classes, 1, 1) * valid * (smoothing / classes))


@_stands_for(_OPS.upsample_cross_entropy.default)
def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
    label_smoothing: float,
    align_corners: bool,
) -> Tensor:
    logits = _bilinear(_wide(input), target.shape[1:], align_corners)
    if label_smoothing == 0:
        weight = None if weight is None else weight.to(logits.dtype)
        loss = _ATEN.cross_entropy_loss(logits, target, weight, reduction, ignore_index)
        return loss.to(input.dtype)
    # Written out, for with smoothing ATen's op is made of others that write to their arguments
    share = _shares(logits, target, weight, ignore_index, label_smoothing)
    logs = logits.log_softmax(1)
    at_label = logs.gather(1, share.label) * share.of_label * (1 - label_smoothing)
    terms = torch.where(share.valid, at_label + (logs * share.everywhere).sum(1, keepdim=True), 0)
    loss = -terms.squeeze(1)
    if reduction != _NONE:
        loss = loss.sum()
    if reduction == _MEAN:
        loss = loss / share.of_label.sum()
    return loss.to(input.dtype)


@_stands_for(_OPS.upsample_cross_entropy_with_gradient.default)
def _cross_entropy_with_gradient(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
    label_smoothing: float,
    align_corners: bool,
) -> tuple[Tensor, Tensor]:
    options = (reduction, ignore_index, label_smoothing, align_corners)
    loss = _cross_entropy(input, target, weight, *options)
    wide = _wide(input)
    one, wide_weight = wide.new_ones(()), None if weight is None else _wide(weight)
    return loss, _cross_entropy_backward(one, None, wide, target, wide_weight, *options)


@_stands_for(_OPS.upsample_cross_entropy_backward.default)
def _cross_entropy_backward(
    grad_output: Tensor,
    gradient: Tensor | None,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
    label_smoothing: float,
    align_corners: bool,
) -> Tensor:
    if gradient is not None:
        return (gradient * grad_output).to(input.dtype)
    logits = _bilinear(_wide(input), target.shape[1:], align_corners)
    parts = _shares(logits, target, weight, ignore_index, label_smoothing)
    share = parts.everywhere.expand_as(logits)
    share = share.scatter_add(1, parts.label, parts.of_label * (1 - label_smoothing))
    slope = logits.softmax(1) * share.sum(1, keepdim=True) - share
    scale = grad_output.to(logits.dtype)
    if reduction == _NONE:
        scale = scale.unsqueeze(1)
    elif reduction == _MEAN:
        scale = scale / parts.of_label.sum()
    scale = torch.where(parts.valid, scale, 0)  # 1 / 0 if no pixel counts
    return _bilinear_backward(slope * scale, input.shape[2:], align_corners).to(input.dtype)


# ---- torch's default table ---------------------------------------------------------------------------------


def _join_default_table() -> None:
    """Puts ours into `torch.export.default_decompositions()`, and has `run_decompositions()` use it.

    Of custom ops the table takes by itself those that are composite, and there is nowhere to register others.
    (`torch._decomp`'s registry is not read for it, but by fake tensors and by inductor, which must not
    decompose our ops; nor may they be in `torch._decomp.core_aten_decompositions()`, which compilers read.)
    """
    default = getattr(torch.export, "default_decompositions", None)
    if default is None:
        return
    run = torch.export.ExportedProgram.run_decompositions

    @functools.wraps(default)
    def default_decompositions() -> Any:
        table = default()
        table.update(_TABLE)
        return table

    @functools.wraps(run)
    def run_decompositions(self: Any, decomp_table: Any = None, *rest: Any, **options: Any) -> Any:
        if decomp_table is None:
            decomp_table = default_decompositions()
        return run(self, decomp_table, *rest, **options)

    torch.export.default_decompositions = default_decompositions
    torch.export.ExportedProgram.run_decompositions = run_decompositions  # type: ignore[method-assign]


_join_default_table()
