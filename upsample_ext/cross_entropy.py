"""`upsample_cross_entropy`: the loss of upsampled logits, which are never stored."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from upsample_ext import _native
from upsample_ext._judge import FLOATING, is_filled, is_ours, is_strided, takes_align_corners, untraced
from upsample_ext._library import C
from upsample_ext._numbers import Real, as_float_or_item, as_int
from upsample_ext._transforms import is_distributed

_is_compiling = torch.compiler.is_compiling
_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


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
    the input is one gradient of the input's size, in float32 for half types (two if the loss is scaled before
    `backward`); with "none" it is a copy of the logits, which backward reads again; on CUDA a gradient takes
    two numbers per pixel of the target while it is computed. As with PyTorch's loss, the logits may be
    modified once the loss has been computed (with a reduction, not if a second derivative is needed, which
    reads them). Sums are float32, or float64 for float64 inputs; the gradient is bit for bit the same for any
    number of threads.

    Args:
        input: ``(N, C, H, W)`` logits, float64, float32, float16 or bfloat16, any strides.
        target: ``(N, H_out, W_out)`` class indices, int64. On the CPU all are checked before anything is
            computed; on CUDA, to avoid a synchronisation, by the kernel that reads them.
        weight: ``(C,)`` in the input's dtype, the weight of each class, or None.
        ignore_index: the target value of pixels that have no loss.
        reduction: ``"mean"`` (weighted, over the pixels that are not ignored), ``"sum"`` or ``"none"``.
        label_smoothing: between 0 and 1, the share of the target that is spread over all classes.
        align_corners: True keeps the corner samples, the step between sources is ``(in - 1) / (out - 1)``;
            False samples at half-pixel centres, ``source = (out_index + 0.5) * scale - 0.5``, clamped at 0.

    Returns:
        A scalar, or ``(N, H_out, W_out)`` with "none", in the input's dtype; float32 under autocast. The mean
        over no pixels is NaN and its gradient 0. Second and higher derivatives, and forward-mode AD, use the
        unfused expression.

    Raises:
        IndexError: a target is neither a class nor `ignore_index`. On CUDA this is a device-side assertion,
            as in PyTorch: a later call raises RuntimeError, and the process cannot use the device any more.
        Otherwise what that expression raises. It also computes the loss if targets are class probabilities.

    Example:
        >>> logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
        >>> loss = upsample_cross_entropy(logits, torch.zeros(1, 8, 8, dtype=torch.int64))
        >>> loss.backward()
        >>> round(loss.item(), 4), logits.grad[0, :, 0, 0]
        (1.0986, tensor([-0.1667,  0.0833,  0.0833]))
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
    if not _is_compiling():
        loss = C.upsample_cross_entropy(
            input, target, weight, ignore_index, reduction, label_smoothing, align_corners
        )
        if loss is not None:
            return loss
    ignored = as_int(ignore_index)
    smoothing = _as_smoothing(label_smoothing)
    if (
        is_ours(input)
        and untraced(_fits_cross_entropy, input, target, weight)
        and isinstance(reduction, str)
        and reduction in _REDUCTIONS
        and ignored is not None
        and smoothing is not None
        and 0.0 <= smoothing <= 1.0
        and takes_align_corners("bilinear", align_corners)
    ):
        return torch.ops.upsample_ext.upsample_cross_entropy(
            input, target, weight, _REDUCTIONS[reduction], ignored, smoothing, bool(align_corners)
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


def _as_smoothing(value: object) -> Real | None:
    """A number; of tensors PyTorch takes those without dimensions and gradient."""
    if isinstance(value, Tensor) and (value.dim() > 0 or value.requires_grad):
        return None
    return as_float_or_item(value)


def _fits_cross_entropy(input: Tensor, target: object, weight: object) -> bool:
    """Whether shapes, dtypes and devices are those that the fused op supports."""
    return (
        input.dtype in FLOATING
        and not is_distributed(input)
        and isinstance(target, Tensor)
        and target.dtype is torch.int64
        and target.dim() == 3
        and target.device == input.device
        and is_strided(target)
        and target.shape[0] == input.shape[0]
        and is_filled((*input.shape[1:], *target.shape[1:]))
        and (weight is None or _fits_weight(weight, input))
    )


def _fits_weight(weight: object, input: Tensor) -> bool:
    return (
        isinstance(weight, Tensor)
        and weight.dim() == 1
        and weight.shape[0] == input.shape[1]
        # Autocast casts both to float32, whatever their dtypes.
        and (weight.dtype is input.dtype or torch.is_autocast_enabled(input.device.type))
        and weight.dtype in FLOATING
        and weight.device == input.device
    )
