"""`LazyResize`: the tensor that `F.interpolate` returns under `fuse()`, whose image is computed when needed.

Four decisions carry it:

1.  `__torch_function__`, which is above autograd, does the fusing, so that a fused op records a backward of
    its own. C++ callers skip it and arrive in `__torch_dispatch__`, which only ever needs values.
2.  A lazy resize that needs a gradient is an output of an autograd node. C++ code (an autograd.Function, the
    hooks of a module, DDP) reads that from the tensor; to it a wrapper without a node would be a leaf that
    swallows the gradient.
3.  The source is a copy-on-write clone of the input, which costs no copy: whoever writes to the input later,
    through `.data` or in inference mode too, writes to memory of its own, and the image is that of the values
    at the time of the call. A version counter would tell too late, and not always.
4.  Once there is an image, it is the only truth. Views of a lazy resize are then views of its image, and
    nothing is fused any more, since it may have been written to.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from upsample_ext import _events, _recipe
from upsample_ext._recipe import Recipe

_without_torch_function = torch._C.DisableTorchFunctionSubclass

# Set by _fused_readers, which knows this class: what each function of PyTorch makes of a lazy resize
readers: dict[Any, Callable[..., Any]] = {}

_METADATA = {
    getattr(Tensor, name).__get__
    for name in (
        *("shape", "dtype", "device", "layout", "ndim", "requires_grad", "is_leaf", "output_nr"),
        *("is_cuda", "is_cpu", "is_mps", "is_meta", "is_sparse", "is_quantized", "is_nested"),
        *("itemsize", "nbytes"),
    )
} | {
    *(Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel, Tensor.nelement, Tensor.stride),
    *(Tensor.__len__, Tensor.is_contiguous, Tensor.storage_offset, Tensor.get_device, Tensor.element_size),
    *(Tensor.is_floating_point, Tensor.is_complex, torch.is_floating_point, torch.is_complex, torch.numel),
}
_ASKS_FOR_GRADIENT = {
    *(Tensor.register_hook, Tensor.retain_grad, torch.autograd.grad),
    *(getattr(Tensor, name).__get__ for name in ("grad", "grad_fn")),
}


class Image(NamedTuple):
    """What is known of an image that does not exist."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    def as_meta(self) -> Tensor:
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="meta")


def as_meta(like: Tensor | Image) -> Tensor:
    """A tensor without data, to ask what a function would make of the image."""
    return like.as_meta() if isinstance(like, Image) else like


class _Node(torch.autograd.Function):
    """Puts a lazy resize into the graph. Its backward runs where a C++ caller used the tensor itself."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, recipe: Recipe, like: Tensor | Image) -> Tensor:
        ctx.save_for_backward(source)
        ctx.recipe = recipe
        return _wrapper(like, source.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (source,) = ctx.saved_tensors
        with torch.enable_grad():
            x = source.detach().requires_grad_()
            y = _recipe.image(x, ctx.recipe)
        return torch.autograd.grad(y, x, grad, create_graph=torch.is_grad_enabled())[0], None, None


# Without the checks for torch.func, inside which nothing is put off
_apply_node = super(torch.autograd.Function, _Node).apply


class _Reattach(torch.autograd.Function):
    """An image that was computed below autograd, as a differentiable function of the source."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, recipe: Recipe, image: Tensor) -> Tensor:
        ctx.save_for_backward(source)
        ctx.recipe = recipe
        return image.detach()

    backward = _Node.backward


def _wrapper(like: Tensor | Image, device: torch.device) -> "LazyResize":
    """A tensor without data. To read its memory raises; C code would otherwise get a null pointer."""
    strides = like.strides if isinstance(like, Image) else like.stride()
    wrapper: LazyResize = Tensor._make_wrapper_subclass(
        LazyResize, like.shape, strides=strides, dtype=like.dtype, device=device
    )
    torch._C._set_throw_on_mutable_data_ptr(wrapper)
    return wrapper


def _history(tensor: Tensor) -> tuple[bool, Any]:
    """What autograd knows of the tensor."""
    with _without_torch_function():
        return tensor.requires_grad, tensor.grad_fn


class LazyResize(Tensor):
    """A resized image that does not exist until something needs all of it."""

    source: Tensor
    recipe: Recipe
    like: Tensor | Image  # a meta tensor, or the description, of the image
    _view: "tuple[LazyResize, Callable[[Tensor], Tensor]] | None"  # what it is natively a view of, and how
    _plain: Tensor | None  # the image
    _values_only: Tensor | None  # the image, for callers below autograd
    _lock: threading.RLock  # one for a lazy resize and all its views
    _made_in: tuple[bool, bool]  # grad mode, inference mode
    _made_with: tuple[bool, Any]
    _gradient_passes_by: bool  # a fused op has recorded a backward that does not visit this tensor

    @staticmethod
    def make(
        source: Tensor,
        recipe: Recipe,
        like: Tensor | Image,
        view: "tuple[LazyResize, Callable[[Tensor], Tensor]] | None" = None,
    ) -> "LazyResize":
        grad_enabled = torch.is_grad_enabled()
        if grad_enabled and source.requires_grad:
            self = _apply_node(source, recipe, like)
            self._made_with = _history(self)
        else:
            source = source.detach() if source.requires_grad else source
            self = _wrapper(like, source.device)
            self._made_with = False, None
        self.source, self.recipe, self.like, self._view = source, recipe, like, view
        self._plain = self._values_only = None
        self._gradient_passes_by = False
        self._lock = view[0]._lock if view else threading.RLock()
        self._made_in = grad_enabled, torch.is_inference_mode_enabled()
        return self

    # ---- the image -----------------------------------------------------------------------------------------

    def is_pending(self) -> bool:
        """Whether nothing has needed the image yet, so that it may be left out."""
        if self._plain is not None or self._values_only is not None or self._is_adopted():
            return False
        return self._view is None or self._view[0].is_pending()

    def _is_adopted(self) -> bool:
        """Whether it has become the output of another node: that of an autograd.Function which made it in its
        forward (a reentrant checkpoint). The source knows nothing of that node."""
        return _history(self) != self._made_with

    def image(self) -> Tensor:
        """The image, computed in the modes in which it was asked for, not in those in which it is used."""
        with self._lock:
            if self._plain is None:
                grad_enabled, in_inference_mode = self._made_in
                if self._made_in == (torch.is_grad_enabled(), torch.is_inference_mode_enabled()):
                    self._plain = self._compute()
                else:
                    with torch.inference_mode(in_inference_mode), torch.set_grad_enabled(grad_enabled):
                        self._plain = self._compute()
        return self._plain

    def _compute(self) -> Tensor:
        if self._is_adopted():
            with torch.enable_grad(), _without_torch_function():
                return torch.ops.aten.alias(self)  # recorded by autograd, computed by __torch_dispatch__
        if self._view is not None:
            base, function = self._view
            return function(base.image())
        if self._values_only is not None:
            return _Reattach.apply(self.source, self.recipe, self._values_only)
        return _recipe.image(self.source, self.recipe)

    def become(self, image: Tensor) -> None:
        """Makes `image` its image: what an in-place function leaves in it."""
        with self._lock:
            self._plain, self._gradient_passes_by = image, False

    def _image_below_autograd(self) -> Tensor:
        with self._lock:
            if self._plain is not None:
                return self._plain.detach()
            if self._values_only is None:
                self._values_only = _recipe.image(self.source.detach(), self.recipe)
            return self._values_only

    def __hash__(self) -> int:
        return id(self)

    def let_gradient_pass_by(self) -> None:
        """A fused op records its backward from the source: a gradient of this tensor is never computed."""
        if torch.is_grad_enabled() and self.source.requires_grad:
            self._gradient_passes_by = True
            if self._view is not None:
                self._view[0].let_gradient_pass_by()

    def check_gradient_arrives(self, asker: Any) -> None:
        if self._gradient_passes_by:
            raise RuntimeError(
                f"fuse: {getattr(asker, '__name__', asker)} asks for the gradient of a resized image that is "
                "never computed, because the loss was fused with the resize. Ask before the loss is "
                "computed, or outside fuse()"
            )

    # ---- as an argument of a function compiled by torch.compile, which is given the image ------------------

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        self.image()
        return ["_plain"], None

    @staticmethod
    def __tensor_unflatten__(
        inner: dict[str, Tensor], context: None, outer_size: Any, outer_stride: Any
    ) -> "LazyResize":
        image = inner["_plain"]
        self = _wrapper(image, image.device)
        self._plain, self._values_only, self._lock = image, None, threading.RLock()
        self._gradient_passes_by, self._made_with = False, (False, None)
        return self

    # ---- dispatch ------------------------------------------------------------------------------------------

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.compiler.is_compiling():
            return super().__torch_function__(func, types, args, kwargs or {})
        kwargs = kwargs or {}
        reader = readers.get(func)
        if reader is not None:
            result = reader(*args, **kwargs)
            if result is not NotImplemented:
                return result
        elif func in _METADATA and args[0]._plain is None:
            with _without_torch_function():
                return func(*args, **kwargs)
        args = _with_images(args, func)
        return func(*args, **_with_images(kwargs, func)) if kwargs else func(*args)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Callers in C++: autograd has recorded the op on this tensor already, which only needs values."""
        if _events.listeners:
            _events.record_image(f"{func} (from C++)")
        args, kwargs = tree_map_only(LazyResize, LazyResize._image_below_autograd, (args, kwargs or {}))
        return func(*args, **kwargs)


def _with_images(value: Any, func: Any) -> Any:
    """Arguments with images in place of lazy resizes; pytree's map would do it at ten times the cost."""
    if isinstance(value, LazyResize):
        if func in _ASKS_FOR_GRADIENT:
            value.check_gradient_arrives(func)
        if value._plain is not None:
            return value._plain
        if _events.listeners:
            _events.record_image(getattr(func, "__qualname__", str(func)))
        return value.image()
    if type(value) in (tuple, list):
        return type(value)([_with_images(v, func) for v in value])
    if type(value) is dict:
        return {key: _with_images(v, func) for key, v in value.items()}
    return value
