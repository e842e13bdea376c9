"""Upsampling and what follows it in one pass: no tensor of the full resolution and all channels exists.

Every function here is defined by a native expression, which it also is, unfused, for what our kernels do not
take: other devices, dtypes and layouts, and wrong arguments, whose errors are therefore PyTorch's own. The
fused results are bit for bit the reduction of our own `interpolate` of the float32 input.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary, has_torch_function_variadic

from upsample_ext import _native, _transforms
from upsample_ext.interpolate import _FLOATING, _is_ours, _resolve

_LARGEST_INDEX = {
    dtype: torch.iinfo(dtype).max for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64)
}
_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def upsample_argmax(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    align_corners: bool = False,
    *,
    dtype: torch.dtype = torch.int64,
    return_score: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The class of every pixel: ``interpolate(input.float(), ...).argmax(1)``, without the resized logits.

    Logits are interpolated and compared in float32, also those of half types, which native would round first,
    and of float64. The first of equal classes wins; a NaN wins over every number, as in `torch.argmax`.

    Args:
        input: ``(N, C, H, W)`` logits, float64, float32, float16 or bfloat16, any strides.
        size: output ``(H, W)`` in pixels, or one int for both.
        scale_factor: multiplier of ``(H, W)``, or one number for both. Exactly one of size and scale_factor.
        align_corners: see `interpolate`.
        dtype: of the class indices: uint8, int16, int32 or int64. The result is all the memory there is, and
            with uint8 an eighth of it.
        return_score: also return the softmax probability of the winner.

    Returns:
        ``(N, H_out, W_out)`` class indices; with `return_score` also their probabilities, float32 of the same
        shape, equal to ``interpolate(input.float(), ...).softmax(1).amax(1)``. Neither has a gradient.

    Raises:
        RuntimeError: the classes do not fit `dtype`, or it is none of the four.
        Otherwise what `torch.nn.functional.interpolate` raises for the same arguments.

    Example:
        >>> logits = torch.tensor([[[[0.0, 4.0]], [[1.0, 1.0]]]])  # two classes, one row of two pixels
        >>> upsample_argmax(logits, scale_factor=(1, 2))
        tensor([[[1, 1, 0, 0]]])
    """
    if has_torch_function_unary(input):
        return handle_torch_function(
            upsample_argmax,
            (input,),
            input,
            size=size,
            scale_factor=scale_factor,
            align_corners=align_corners,
            dtype=dtype,
            return_score=return_score,
        )
    resolved = _resolve_logits(input, size, scale_factor, align_corners)
    if resolved is None:
        logits = _native.interpolate(input.float(), size, scale_factor, "bilinear", align_corners)
        _check_index(dtype, logits.shape[1])
        index = logits.argmax(1).to(dtype)
        return (index, logits.softmax(1).amax(1)) if return_score else index
    _transforms.register_sharding_if_distributed(input)
    op = (
        torch.ops.upsample_ext.upsample_argmax_with_score
        if return_score
        else torch.ops.upsample_ext.upsample_argmax
    )
    return op(input, *resolved, dtype)


def _check_index(dtype: torch.dtype, classes: int) -> None:
    if dtype not in _LARGEST_INDEX:
        raise RuntimeError(f"upsample_argmax: expected dtype uint8, int16, int32 or int64, got {dtype}")
    if classes - 1 > _LARGEST_INDEX[dtype]:
        raise RuntimeError(
            f"upsample_argmax: expected at most {_LARGEST_INDEX[dtype]} + 1 classes, which is what {dtype} "
            f"can hold, got {classes}"
        )


def _resolve_logits(input, size, scale_factor, align_corners):
    """Output size, align_corners, scale_h, scale_w for our ops; None for what only PyTorch can judge."""
    if not (_is_ours(input) and input.dtype in _FLOATING):
        return None
    if not (align_corners is None or isinstance(align_corners, bool)):
        return None
    resolved = _resolve(input, size, scale_factor, False)
    if resolved is None:
        return None
    output_size, scales = resolved
    return output_size, bool(align_corners), *(scales or (None, None))


def upsample_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    align_corners: bool = False,
) -> Tensor:
    """The loss of a segmentation head, from its low-resolution logits and full-resolution targets.

    Equals ``F.cross_entropy(interpolate(input, size=target.shape[-2:], mode="bilinear",
    align_corners=align_corners), target, weight, ignore_index=..., reduction=..., label_smoothing=...)``,
    forward and backward, with no tensor of N * C * H_out * W_out elements. With a reduction, memory beyond
    the input is one gradient of the input's size (two where the loss is scaled before `backward`); with
    "none", and for half types, nothing is kept and the logits are read again in backward. Sums are float32,
    float64 for float64 inputs; the gradient is bit for bit the same for any number of threads.

    Args:
        input: ``(N, C, H, W)`` logits, float64, float32, float16 or bfloat16, any strides.
        target: ``(N, H_out, W_out)`` class indices, int64; all are checked before anything is computed.
        weight: ``(C,)`` in the input's dtype, the weight of each class, or None.
        ignore_index: the target value of pixels that have no loss.
        reduction: ``"mean"`` (weighted, over the pixels that count), ``"sum"`` or ``"none"``.
        label_smoothing: between 0 and 1, the share of the target that is spread over all classes.
        align_corners: see `interpolate`.

    Returns:
        A scalar, or ``(N, H_out, W_out)`` with "none", in the input's dtype; float32 under autocast. A mean
        over no pixel is NaN, its gradient 0. Second and higher derivatives, and forward mode, go through the
        unfused expression.

    Raises:
        IndexError: a target is neither a class nor `ignore_index`.
        Otherwise what the native expression raises. Class probabilities as targets are computed by it.

    Example:
        >>> logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
        >>> loss = upsample_cross_entropy(logits, torch.zeros(1, 8, 8, dtype=torch.int64))
        >>> loss.backward()
        >>> loss.item(), logits.grad[0, :, 0, 0]
        (1.0986..., tensor([-0.1667,  0.0833,  0.0833]))
    """
    if has_torch_function_variadic(input, target, weight):
        return handle_torch_function(
            upsample_cross_entropy,
            (input, target, weight),
            input,
            target,
            weight=weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
            align_corners=align_corners,
        )
    if (
        _fits_cross_entropy(input, target, weight)
        and reduction in _REDUCTIONS
        and isinstance(align_corners, bool)
        and 0.0 <= label_smoothing <= 1.0
    ):
        return torch.ops.upsample_ext.upsample_cross_entropy(
            input, target, weight, _REDUCTIONS[reduction], ignore_index, label_smoothing, align_corners
        )
    logits = _native.interpolate(input, target.shape[-2:], None, "bilinear", align_corners)
    return F.cross_entropy(
        logits,
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def _fits_cross_entropy(input, target, weight) -> bool:
    """Whether shapes, dtypes and devices are those of one segmentation batch of ours."""
    return (
        _is_ours(input)
        and input.dtype in _FLOATING
        and isinstance(target, Tensor)
        and target.dtype is torch.int64
        and target.dim() == 3
        and target.device == input.device
        and target.layout is torch.strided
        and target.shape[0] == input.shape[0]
        and all(extent > 0 for extent in (*input.shape[1:], *target.shape[1:]))
        and (weight is None or _fits_weight(weight, input))
    )


def _fits_weight(weight, input) -> bool:
    # Autocast brings both to float32, whatever they are.
    same_dtype = weight.dtype is input.dtype or torch.is_autocast_enabled(input.device.type)
    return (
        weight.dim() == 1
        and weight.shape[0] == input.shape[1]
        and same_dtype
        and weight.dtype in _FLOATING
        and weight.device == input.device
    )
