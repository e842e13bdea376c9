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
4.  Once there is an image, it is the only truth. The lazy tensor itself turns into it, a plain tensor, and
    so do the views of it that there are: hooks, in-place functions and C++ code then meet what they meet
    natively. Where C++ code holds the tensor at that moment it stays what it is, an alias of its image.
"""

import contextlib
import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._functorch import pyfunctorch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map_only

from upsample_ext import _events, _recipe
from upsample_ext._library import C
from upsample_ext._recipe import Recipe

_is_compiling = torch.compiler.is_compiling
_in_functorch = torch._C._are_functorch_transforms_active
_DETACH = torch.ops.aten.detach.default
_without_torch_function = torch._C.DisableTorchFunctionSubclass
# Not in every PyTorch: without them it does less than it should inside checkpoints and transforms
_saved_tensors_hooks: Callable[[bool], Any] = getattr(
    torch._C._autograd, "_top_saved_tensors_default_hooks", lambda ignore_is_tracing: None
)
_outside_functorch = getattr(pyfunctorch, "temporarily_clear_interpreter_stack", contextlib.nullcontext)
_preserve_version = torch.autograd.grad_mode._unsafe_preserve_version_counter

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
# Which argument it is whose gradient they ask for; by name "inputs"
_ASKS_FOR_GRADIENT = {
    Tensor.register_hook: 0,
    Tensor.retain_grad: 0,
    **{getattr(Tensor, name).__get__: 0 for name in ("grad", "grad_fn")},
    torch.autograd.grad: 1,
    torch.autograd.backward: 5,
    Tensor.backward: 4,
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
    """Puts a lazy resize of any recipe into the graph. Its backward runs where a C++ caller used the tensor
    itself."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, recipe: Recipe, like: Tensor | Image) -> Tensor:
        _save(ctx, source, recipe)
        return _wrapper(like, source.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        with torch.enable_grad():
            x = _saved(ctx, grad)
            y = _recipe.image(x, ctx.recipe)
        return torch.autograd.grad(y, x, grad, create_graph=torch.is_grad_enabled())[0], None, None


def _save(ctx: Any, source: Tensor, recipe: Recipe) -> None:
    """What the gradient depends on: natively nothing is kept of a resize, which is linear."""
    ctx.recipe = recipe
    if recipe.then:
        ctx.save_for_backward(source)
    else:
        ctx.form = source.shape, source.stride(), source.dtype


def _saved(ctx: Any, grad: Tensor) -> Tensor:
    """The source, on which a second derivative may depend, or a tensor of its form."""
    if ctx.recipe.then:
        (source,) = ctx.saved_tensors
        return source
    shape, strides, dtype = ctx.form
    return torch.empty_strided(shape, strides, dtype=dtype, device=grad.device, requires_grad=True)


# Without the checks for torch.func, inside which nothing is put off
_apply_node = super(torch.autograd.Function, _Node).apply


class _Reattach(torch.autograd.Function):
    """An image that was computed below autograd, as a differentiable function of the source."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, recipe: Recipe, image: Tensor) -> Tensor:
        _save(ctx, source, recipe)
        return image.detach()

    backward = _Node.backward


class _Adopted(torch.autograd.Function):
    """The values of a lazy tensor, as a function of it. An alias would keep it alive, and it the alias."""

    @staticmethod
    def forward(ctx: Any, tensor: "LazyResize") -> Tensor:
        return tensor._lazy.image_below_autograd("autograd.Function (from C++)").detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


_apply_adopted = super(torch.autograd.Function, _Adopted).apply


def _wrapper(like: Tensor | Image, device: torch.device) -> "LazyResize":
    """A tensor without data. To read its memory raises; C code would otherwise get a null pointer."""
    strides, offset = (like.strides, 0) if isinstance(like, Image) else (like.stride(), like.storage_offset())
    wrapper: LazyResize = Tensor._make_wrapper_subclass(
        LazyResize, like.shape, strides=strides, storage_offset=offset, dtype=like.dtype, device=device
    )
    torch._C._set_throw_on_mutable_data_ptr(wrapper)
    return wrapper


@contextlib.contextmanager
def _without_hooks_since(hooks: Any) -> Iterator[None]:
    """Takes off the hooks of saved tensors down to these; all of them where these are none any more."""
    taken = []
    while (top := _saved_tensors_hooks(True)) is not None and top != hooks:
        taken.append(top)
        torch._C._autograd._pop_saved_tensors_default_hooks()
    try:
        yield
    finally:
        for pack, unpack in reversed(taken):
            torch._C._autograd._push_saved_tensors_default_hooks(pack, unpack)


def _history(tensor: Tensor) -> tuple[bool, Any]:
    """What autograd knows of the tensor."""
    with _without_torch_function():
        return tensor.requires_grad, tensor.grad_fn


class Pending:
    """A resize whose image does not exist: a `Resize`, or a node of a graph."""

    source: Tensor
    recipe: Recipe
    like: Tensor | Image  # a meta tensor, or the description, of the image

    def is_pending(self) -> bool:
        """Whether nothing has needed the image yet, so that it may be left out."""
        raise NotImplementedError


class Origin(NamedTuple):
    """What an image is made of natively: `function` of the image of another."""

    resize: "Resize"
    function: Callable[[Tensor], Tensor]
    is_view: bool


class Family:
    """A lazy resize and those that follow from it: they get their images under one lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._members: weakref.WeakValueDictionary[int, LazyResize] | None = None

    def add(self, tensor: "LazyResize") -> None:
        if self._members is None:
            self._members = weakref.WeakValueDictionary()
        self._members[id(tensor)] = tensor

    def members(self) -> list["Resize"]:
        """Each after what it was made of; without the first."""
        if self._members is None:
            return []
        return [resize for resize in map(resize_of, list(self._members.values())) if resize is not None]


class Resize(Pending):
    """What is known of a lazy resize; apart from the tensor, which may turn into its image at any time."""

    plain: Tensor | None = None  # the image
    _values: Tensor | None = None  # the image, for callers below autograd
    _version: int | None = None  # that of the image when it was made
    _gradient_passes_by = False  # a backward was recorded that does not visit this tensor
    keeps_gradient = False  # the image follows from this tensor, which C++ code reads too

    def __init__(
        self,
        tensor: "LazyResize",
        source: Tensor,
        recipe: Recipe,
        like: Tensor | Image,
        origin: Origin | None = None,
    ) -> None:
        self.source, self.recipe, self.like = source, recipe, like
        self.tensor = weakref.ref(tensor)
        self._made_in = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        self._hooks = _saved_tensors_hooks(True)
        # Of a source that carries no gradient there is no history
        self._made_with = _history(tensor) if source.requires_grad else (False, None)
        # A copy without a gradient has nothing to do with what it was made of
        self._origin = origin if origin and (origin.is_view or self.carries_gradient()) else None
        self._family: Family = self._origin.resize._family if self._origin else Family()
        if self._origin is not None:
            self._family.add(tensor)

    def is_pending(self) -> bool:
        if self.plain is not None or self._values is not None or self._is_adopted():
            return False
        if self._hooks != _saved_tensors_hooks(True):
            return False  # a checkpoint, which runs again when there is an image, and must do the same
        # Where the gradient of what it was made of may have been asked for, it has to pass there
        return self._origin is None or self._origin.resize.is_pending()

    def carries_gradient(self) -> bool:
        return self._made_with[0]

    def is_related_to(self, other: "Resize") -> bool:
        return self._family is other._family

    def was_made_now(self) -> bool:
        """Whether it follows from no other, and was made in the modes that are in force."""
        return self._origin is None and self._modes_are_those_it_was_made_in()

    def _modes_are_those_it_was_made_in(self) -> bool:
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        return self._made_in == modes and self._hooks == _saved_tensors_hooks(True) and not _in_functorch()

    def _is_adopted(self) -> bool:
        """Whether it has become the output of another node: that of an autograd.Function which made it in its
        forward (a reentrant checkpoint). The source knows nothing of that node."""
        tensor = self.tensor()
        return type(tensor) is LazyResize and _history(tensor) != self._made_with

    # ---- the image -----------------------------------------------------------------------------------------

    def image(self, turn: bool = True) -> Tensor:
        """The image, computed in the modes in which it was asked for, not in those in which it is used.

        Unless told otherwise, the lazy tensor turns into it.
        """
        with self._family.lock:
            if self._is_view():
                # And with it this one, if its tensor still exists
                self._origin.resize.image(turn)  # type: ignore[union-attr]
            if self.plain is not None:
                self._take_over_histories()
                return self.plain
            if self._modes_are_those_it_was_made_in():
                image = self._compute(turn)
            else:
                grad_enabled, in_inference_mode = self._made_in
                with (
                    torch.inference_mode(in_inference_mode),
                    torch.set_grad_enabled(grad_enabled),
                    _without_hooks_since(self._hooks),
                    _outside_functorch(),  # of torch.func, inside which nothing is put off
                ):
                    image = self._compute(turn)
            turn = self._settle(image, turn) and turn
            for follower in self._followers():
                follower.image(turn)
            if self._is_view():
                self._take_over_histories()
            return self.plain  # type: ignore[return-value]

    def _is_view(self) -> bool:
        return self._origin is not None and self._origin.is_view

    def _compute(self, turn: bool) -> Tensor:
        if (self._is_adopted() or self.keeps_gradient) and not self._is_view():
            return self._adopted_image()
        if self._origin is not None:
            resize, function, is_view = self._origin
            if is_view or not resize.is_pending():
                return function(resize.image(turn))
            resize.let_gradient_pass_by()
        if self._values is not None:
            return _Reattach.apply(self.source, self.recipe, self._values)
        return _recipe.image(self.source, self.recipe)

    def _adopted_image(self) -> Tensor:
        """The image, with the history that C++ code has given the lazy tensor."""
        tensor = self.tensor()
        assert tensor is not None
        self._made_with = _history(tensor)
        with torch.enable_grad(), _without_torch_function():
            return _apply_adopted(tensor)

    def _take_over_histories(self) -> None:
        """Where C++ code has given a lazy tensor another history since: gives it to its image."""
        for resize in (self, *self._followers()):
            if resize.plain is not None and resize._is_adopted():
                with torch.enable_grad(), _preserve_version(resize.plain):
                    resize.plain.copy_(resize._adopted_image())

    def become(self, image: Tensor) -> None:
        """Makes `image` its image: what an in-place function leaves in it."""
        with self._family.lock:
            self._settle(image, True)
            self._gradient_passes_by = False
            for follower in self._followers():
                if follower._is_view():
                    follower.image()
                else:  # a copy of what was there before
                    follower._origin = None

    def _settle(self, image: Tensor, turn: bool) -> bool:
        """False if C++ code holds the tensor, and may give it another history: its views stay lazy too."""
        tensor, is_held = self.tensor(), False
        # If a gradient passes by, it stays lazy to say so to who asks for it
        if turn and type(tensor) is LazyResize and not self._gradient_passes_by:
            if tensor._turn_into(image):
                image = tensor
            else:
                is_held = True
                self._gradient_passes_by = self.carries_gradient()  # by the node of the tensor that it holds
        self.plain = image
        self._version = None if image.is_inference() else image._version
        return not is_held

    def _followers(self) -> list["Resize"]:
        """Those whose values or gradients depend on this one's image."""
        return [member for member in self._family.members() if member._follows(self)]

    def _follows(self, other: "Resize") -> bool:
        origin = self._origin
        while origin is not None and origin.resize is not other:
            origin = origin.resize._origin
        return origin is not None

    def image_below_autograd(self, reader: Any) -> Tensor:
        with self._family.lock:
            if self.plain is not None:
                return self.plain.detach()
            if self._values is None:
                if self._is_view():  # of the same memory, to which the caller may write
                    resize, function, _ = self._origin  # type: ignore[misc]
                    base = resize.image_below_autograd(reader)
                    with torch._C.DisableTorchFunction():
                        self._values = function(base)
                else:
                    if _events.listeners:
                        _events.record_image(reader if isinstance(reader, str) else f"{reader} (from C++)")
                    with torch._C.DisableTorchFunction():
                        self._values = _recipe.image(self.source.detach(), self.recipe)
            self.let_gradient_pass_by()
            return self._values

    def image_in_a_graph(self, reader: str) -> Tensor:
        """Values for what takes the gradient of the tensor itself."""
        with self._family.lock:
            # All of it passes here then, whoever else reads the image
            self.keeps_gradient |= self.is_pending() and not self._is_view() and self.carries_gradient()
            if self.plain is None:
                with torch.no_grad():
                    self.image_below_autograd(reader)
            image = self.image(turn=False)
            if not self.keeps_gradient:
                self.let_gradient_pass_by()
            elif self._origin is not None:
                self._origin.resize.let_gradient_pass_by()
            return image

    def take_over_writes(self) -> None:
        """Where the lazy tensor did not turn into its image: makes it, to C++ code, a copy of what was
        written to the image, with its history."""
        tensor, image = self.tensor(), self.plain
        if tensor is not None and image is not None and self._version not in (None, image._version):
            with torch.enable_grad(), _without_torch_function():
                tensor.copy_(image)
            self._version, self._made_with = image._version, _history(tensor)
            if self.keeps_gradient:  # of what it was before
                self.keeps_gradient = False
                self.let_gradient_pass_by()

    # ---- the gradient --------------------------------------------------------------------------------------

    def let_gradient_pass_by(self) -> None:
        """A backward is recorded from the source: a gradient of this tensor is never computed."""
        if torch.is_grad_enabled() and self.carries_gradient():
            self._gradient_passes_by = True
            if self._origin is not None:
                self._origin.resize.let_gradient_pass_by()

    def check_gradient_arrives(self, asker: Any) -> None:
        if self._gradient_passes_by:
            raise RuntimeError(
                f"fuse: {getattr(asker, '__name__', asker)} asks for the gradient of a resized image that is "
                "never computed, because what was computed from the image was fused with the resize. Ask "
                "before, or outside fuse()"
            )


def _is_argument_of_a_function(tensor: Tensor) -> bool:
    """Whether the forward of an autograd.Function runs now that was given the tensor: the function's node
    leads to that of the tensor already. (PyTorch before 2.14 also holds the tensor until then.)"""
    frame = sys._getframe().f_back
    while frame is not None:
        names, rest, _, values = inspect.getargvalues(frame)
        arguments = [*(values.get(name) for name in names), *(values.get(rest, ()) if rest else ())]
        if any(argument is tensor for argument in arguments):
            has_context = isinstance(arguments[0], torch._C._FunctionBase)
            if has_context or frame.f_code in _forward_codes(torch.autograd.Function):
                return True
        frame = frame.f_back
    return False


def _forward_codes(function: Any) -> set[CodeType | None]:
    own = getattr(inspect.unwrap(function.forward), "__code__", None)
    return {own}.union(*map(_forward_codes, function.__subclasses__()))


class LazyResize(Tensor):
    """A resized image that does not exist until something needs all of it."""

    _lazy: Resize
    _traced: Tensor | None = None  # the image, of one that stands for another while a graph is traced

    @staticmethod
    def make(
        source: Tensor, recipe: Recipe, like: Tensor | Image, origin: Origin | None = None
    ) -> "LazyResize":
        if not source.requires_grad or not torch.is_grad_enabled():
            source = source.detach() if source.requires_grad else source
            self = _wrapper(like, source.device)
        elif _recipe.is_one_resize(recipe):
            self = _wrapper(like, source.device)
            stage = recipe.stages[0]
            C.record_resize(
                self, source, stage.mode, stage.align_corners, *(stage.scale_factors or (None, None))
            )
        else:
            self = _apply_node(source, recipe, like)
        self._lazy = Resize(self, source, recipe, like, origin)
        return self

    def _turn_into(self, image: Tensor) -> bool:
        """Makes this very object the plain tensor `image`, which must be known to nothing else. Not if C++
        code holds it, whose tensor would remain the lazy one."""
        if self._use_count() != 1 or image._use_count() != 1:  # type: ignore[attr-defined]
            return False
        # In whose forward no gradients are recorded
        if not torch.is_grad_enabled() and self.requires_grad and _is_argument_of_a_function(self):
            return False
        torch._C._swap_tensor_impl(self, image)
        del self._lazy
        self.__class__, image.__class__ = Tensor, LazyResize  # type: ignore[assignment]
        return True

    def __hash__(self) -> int:
        return id(self)

    # ---- methods that PyTorch lets no subclass override otherwise ------------------------------------------

    def as_subclass(self, cls: Any) -> Any:
        return super().as_subclass(cls) if self._traced is not None else self._lazy.image().as_subclass(cls)

    def set_(self, *args: Any, **kwargs: Any) -> Any:
        if self._traced is not None:
            return super().set_(*args, **kwargs)
        return self._lazy.image().set_(*args, **kwargs)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        # A stand-in has no values: before torch 2.13, all that is traced is written to a log.
        return f"LazyResize({tuple(self.shape)})" if self._traced is not None else repr(self._lazy.image())

    # ---- as an argument of a function compiled by torch.compile, which is given the image ------------------

    @property
    def _image(self) -> Tensor:
        if self._traced is not None:
            return self._traced
        # Not in the modes and transforms in which the graph is traced
        with _disable_current_modes(), _outside_functorch():
            return self._lazy.image_in_a_graph("torch.compile")

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["_image"], None

    def _stable_hash_for_caching(self) -> str:
        from torch._subclasses.fake_tensor import extract_tensor_metadata

        return f"{extract_tensor_metadata(self._image)} {self.requires_grad}"

    @staticmethod
    def __tensor_unflatten__(
        inner: dict[str, Tensor], context: None, outer_size: Any, outer_stride: Any
    ) -> "LazyResize":
        return _traced(inner["_image"])

    # ---- dispatch ------------------------------------------------------------------------------------------

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if (
            _is_compiling()
            or (func in _LOOKED_AT and _is_traced_by_dynamo())
            or (_any_was_traced and _any_is_traced((*args, *kwargs.values())))
        ):
            with _without_torch_function():
                return func(*args, **kwargs)
        reader = readers.get(func)
        if reader is not None:
            result = reader(*args, **kwargs)
            if result is not NotImplemented:
                return result
        elif func in _METADATA and (resize := resize_of(args[0])) is not None and resize.plain is None:
            with _without_torch_function():
                return func(*args, **kwargs)
        if func in _ASKS_FOR_GRADIENT and _gradients_arrive_here(func, args, kwargs):
            with _without_torch_function():
                return func(*args, **kwargs)
        images = [arg if type(arg) in _WITHOUT_IMAGES else _with_images(arg, func) for arg in args]
        result = func(*images, **_with_images(kwargs, func)) if kwargs else func(*images)
        for written in (*args[:1], kwargs.get("out")) if kwargs else args[:1]:
            if type(written) is LazyResize:
                written._lazy.take_over_writes()
                if result is written._lazy.plain:
                    result = written
        return result

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Callers in C++: autograd has recorded the op on this tensor already, which only needs values."""

        def values(lazy: LazyResize) -> Tensor:
            return lazy._lazy.image_below_autograd(func) if lazy._traced is None else lazy._traced

        images, kwargs = tree_map_only(LazyResize, values, (args, kwargs or {}))
        result = func(*images, **kwargs)
        # By this the compiler gives what it traces with a history
        is_marked = func is _DETACH and isinstance(args[0]._traced, FakeTensor) and not _in_functorch()
        return _traced(result) if is_marked else result


_any_was_traced = False
# What Dynamo before torch 2.13 asks of its inputs without saying that it compiles
_LOOKED_AT = frozenset((Tensor.untyped_storage, Tensor._is_view, Tensor.grad.__get__))  # type: ignore[union-attr]


def _is_traced_by_dynamo() -> bool:
    return torch._guards.TracingContext.try_get() is not None


def _traced(image: Tensor) -> LazyResize:
    """What stands for a lazy tensor while a graph is traced: its image, and nothing is put off."""
    global _any_was_traced
    _any_was_traced = True
    self = _wrapper(image, image.device)
    self._traced = image
    return self


def _any_is_traced(values: Sequence[Any]) -> bool:
    return any(
        value._traced is not None
        if type(value) is LazyResize
        else isinstance(value, (tuple, list)) and _any_is_traced(value)
        for value in values
    )


def resize_of(value: Any) -> Resize | None:
    """What is known of a lazy tensor; None of any other value, and of a tensor that is not lazy any more."""
    return getattr(value, "_lazy", None) if type(value) is LazyResize else None


def _gradients_arrive_here(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether it is asked of lazy tensors themselves, and not of their images."""
    at = _ASKS_FOR_GRADIENT[func]
    asked = args[at] if at < len(args) else kwargs.get("inputs")
    resizes = [resize_of(value) for value in (asked if isinstance(asked, (tuple, list)) else (asked,))]
    for resize in resizes:
        if resize is not None:
            resize.check_gradient_arrives(func)
    return any(resize is not None and resize.keeps_gradient for resize in resizes)


# Types of most arguments that are not lazy tensors, to be told at once
_WITHOUT_IMAGES = frozenset((Tensor, int, float, bool, type(None), str, torch.dtype))


def _with_images(value: Any, func: Any) -> Any:
    """Arguments with images in place of lazy resizes; pytree's map would do it at ten times the cost."""
    resize = resize_of(value)
    if resize is not None:
        if resize.plain is None and _events.listeners:
            _events.record_image(getattr(func, "__qualname__", str(func)))
        return resize.image()
    if isinstance(value, list):
        return [_with_images(v, func) for v in value]
    if isinstance(value, tuple) and not isinstance(value, torch.Size):
        return tuple([_with_images(v, func) for v in value])
    if isinstance(value, dict):
        return {key: _with_images(v, func) for key, v in value.items()}
    return value
