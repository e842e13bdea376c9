"""`fuse`: resizes of unchanged code are fused with what reads them."""

import warnings

import torch

from upsample_ext.patch import Handle

# Older ones let C++ code read memory that a lazy tensor does not have, and some gradients be lost in silence.
_OLDEST = (2, 11)
# What a lazy resize is built of; all of it is in PyTorch from there to 2.14, and none of it public
_NEEDED = (
    (torch, "_lazy_clone"),
    (torch.Tensor, "_make_wrapper_subclass"),
    (torch.Tensor, "_use_count"),
    (torch._C, "_swap_tensor_impl"),
    (torch._C, "_set_throw_on_mutable_data_ptr"),
    (torch._C, "_len_torch_dispatch_stack"),
    (torch._C, "_len_torch_function_stack"),
    (torch._C, "_are_functorch_transforms_active"),
)


def _why_not() -> str | None:
    """Why this PyTorch cannot put resizes off; None where it can."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < _OLDEST:
        return f"is older than {_OLDEST[0]}.{_OLDEST[1]}"
    missing = [name for owner, name in _NEEDED if not hasattr(owner, name)]
    return f"lacks {', '.join(missing)}" if missing else None


class fuse(Handle):
    """Fuses resizes with what reads them, in code that is not changed.

    Does what `patch()` does, and puts enlargements off that are bilinear, nearest, nearest-exact or bicubic:
    `F.interpolate` of a floating ``(N, C, H, W)`` image returns a tensor that knows its shape, dtype and
    layout, and has no data. What reads it decides what is computed:

    - `argmax` over the channels, also after `softmax` or `log_softmax`; `max` over the channels;
      `softmax(1).max(1)`: by `upsample_argmax`.
    - `>`, `>=`, `<`, `<=` with a number, also `sigmoid() > number`: by `upsample_threshold`.
    - `F.cross_entropy`, `nn.CrossEntropyLoss` with class indices; `nll_loss` of `log_softmax`: by
      `upsample_cross_entropy`, where the resize is bilinear.
    - `+` and `+=` with an image of its shape: by `upsample_add`; `torch.cat` over the channels: by
      `upsample_concat`.
    - An image or a range of images of the batch, channels, a window, `detach`, and of a bilinear resize
      another, stay without data: a resize of a window of a resize that is then compared is one pass.

    Anything else gets the image, bit for bit that of `interpolate`, computed once: the tensor turns into an
    ordinary one. Under `torch.compile` the same expressions are fused in the graph. Small images, float64,
    shrinking resizes, Parameters, NumPy's memory, and calls inside `torch.func`, forward-mode AD, tracing and
    modes that watch tensors are computed at once, as under `patch()`.

    It takes effect for the whole process as soon as it is called, and lasts until `undo()` or the end of the
    `with` block. Like patches it is counted, and may be nested and mixed with `patch()` in any order. Resizes
    that were put off remain valid after it.

    What is not as without it:
        The gradient of the image itself is not computed where something was fused with the resize, or an
        activation was computed in its place: to ask for it afterwards (`register_hook`, `retain_grad`,
        `torch.autograd.grad`, `.grad`) raises RuntimeError; ask before. `type(image) is torch.Tensor` is
        False until something needs the image, and C code that reads its memory before that raises. A loss of
        half logits is computed in float32, closer to the exact one than PyTorch's. `softmax(1).argmax(1)`
        takes the largest logit where PyTorch's softmax rounds two to one value. Errors appear where the image
        is read. Memory that another library writes to or reads through an alias of the input is not seen: an
        image that is pending keeps the input's values of the call. A resize of a resize that is fused is
        computed in one pass, which spreads an infinity less far where PyTorch multiplies one by 0 in the
        second.

    Returns:
        A handle with `undo()`, which is also a context manager.

    `report()` tells what was fused, and what needed an image. On a PyTorch before 2.11, or one that lacks
    what this is built of, it warns, and does what `patch()` does.

    Example:
        >>> import torch, upsample_ext
        >>> from torch.nn import functional as F
        >>> logits = torch.rand(1, 19, 64, 64)
        >>> with upsample_ext.fuse(), upsample_ext.report() as r:
        ...     labels = F.interpolate(logits, size=(256, 256), mode="bilinear").argmax(1)
        >>> r.fused
        Counter({'argmax': 1})
    """

    def __init__(self) -> None:
        why_not = _why_not()
        if why_not:
            warnings.warn(
                f"fuse: torch {torch.__version__} {why_not}: resizes run on this package's kernels, as under "
                "patch(), and are not fused",
                stacklevel=2,
            )
        super().__init__("function" if why_not else "fuse")

    def __repr__(self) -> str:
        return f"fuse({self._state()})"
