"""What PyTorch's functions make of a lazy resize: a fused op, another lazy resize, or the image.

Each function here stands for one or several of PyTorch's and takes their arguments. It decides and computes
nothing: it returns a `Call` of a fused op, a `Derived` lazy resize, or NotImplemented where the image is
needed. That makes it usable for tensors (`run`, below) and for the nodes of a graph (`_fuse_graphs`) alike.
"""

import ctypes
import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor

from upsample_ext import _events, _native, _recipe
from upsample_ext._chain import Stage
from upsample_ext._judge import is_ours, resolve, takes_align_corners
from upsample_ext._lazy_resize import Image, LazyResize, Origin, Pending, Resize, as_meta, readers, resize_of
from upsample_ext._recipe import Recipe
from upsample_ext.resample import interpolate

_SINGLE = frozenset((torch.float32,))
# Modes that the fused ops have, but for the mean of an area, which seldom enlarges
FUSED_MODES = ("bilinear", "nearest", "nearest-exact", "bicubic")
HALF_OR_SINGLE = frozenset((torch.float32, torch.float16, torch.bfloat16))
# Functions of each element alone: a range of the image's channels is that of the source's
_ELEMENTWISE = frozenset(("sigmoid", "float"))
# Thresholds near float32's limits have no neighbours to be moved to
_LARGEST_THRESHOLD = 1e30


class Call(NamedTuple):
    """A fused op; where `passed` is set, its gradient goes from the loss to the source of these directly."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    passed: tuple[Any, ...] = ()


class Derived(NamedTuple):
    """The lazy resize that follows from `of`; natively it is `function` of its image, or a view of it."""

    of: Any
    recipe: Recipe
    function: Callable[[Tensor], Tensor]
    is_view: bool = False
    detached: bool = False
    like: Tensor | Image | None = None  # the description of its image; None: what the function says


class Maximum(NamedTuple):
    """`max` over the channels: both results."""

    values: Derived
    indices: Call


Reader = Callable[..., Any]
decisions: dict[Any, Reader] = {}


def reads(*functions: Any) -> Callable[[Reader], Reader]:
    """Registers what decides for these functions of PyTorch."""

    def register(decide: Reader) -> Reader:
        checked = _of_native_form(decide)
        for function in functions:
            decisions[function] = checked
            readers[function] = functools.partial(_run, checked)
        return decide

    return register


def _of_native_form(decide: Reader) -> Reader:
    """Leaves arguments that it does not know, or too few of them, to PyTorch, which has errors for them."""
    parameters = inspect.signature(decide).parameters.values()
    names = {p.name for p in parameters}
    most = sum(p.kind is not p.KEYWORD_ONLY for p in parameters)
    least = sum(p.default is p.empty for p in parameters)

    @functools.wraps(decide)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if len(args) > most or len(args) + len(kwargs) < least or not names.issuperset(kwargs):
            return NotImplemented
        return decide(*args, **kwargs)

    return checked


def _run(decide: Reader, *args: Any, **kwargs: Any) -> Any:
    """Makes a decision about tensors, and carries it out."""
    args, kwargs = _described(args), _described(kwargs) if kwargs else kwargs
    return _carry_out(decide(*args, **kwargs))


def _described(value: Any) -> Any:
    """Arguments with what is known of lazy tensors in their place."""
    if isinstance(value, LazyResize):
        return resize_of(value) or value
    if type(value) in (tuple, list):
        return type(value)([_described(item) for item in value])
    if type(value) is dict:
        return {key: _described(item) for key, item in value.items()}
    return value


def _carry_out(decision: Any) -> Any:
    match decision:
        case Call():
            if _events.listeners:
                _events.record_fused(decision.name)
            for resize in decision.passed:
                resize.let_gradient_pass_by()
            args = _images(decision.args)
            for source in args:
                # Its user knows of the image alone, and on which streams that is used
                if isinstance(source, Tensor) and source.is_cuda:
                    source.record_stream(torch.cuda.current_stream(source.device))
            return decision.function(*args)
        case Derived():
            return _derive(decision)
        case Maximum():
            values = _carry_out(decision.values)
            if values is NotImplemented:
                return NotImplemented
            return torch.return_types.max((values, _carry_out(decision.indices)))
        case Resize():
            return decision.tensor()
        case list():
            results = [_carry_out(each) for each in decision]
            return NotImplemented if any(r is NotImplemented for r in results) else tuple(results)
    return decision


def _derive(derived: Derived) -> Any:
    resize, source = derived.of, derived.of.source
    if derived.is_view and source.requires_grad and not torch.is_grad_enabled():
        return NotImplemented  # natively such a view still claims the history of what it views
    if derived.detached:
        source = source.detach()
    if _events.listeners and len(derived.recipe.stages) > len(resize.recipe.stages):
        _events.record_lazy()
    resize.like = as_meta(resize.like)
    like = derived.function(resize.like) if derived.like is None else derived.like
    return LazyResize.make(source, derived.recipe, like, Origin(resize, derived.function, derived.is_view))


def _images(args: Sequence[Any]) -> list[Any]:
    return [
        arg.image() if isinstance(arg, Resize) else _images(arg) if type(arg) is list else arg for arg in args
    ]


# ---- conditions --------------------------------------------------------------------------------------------


def _is_pending(
    x: Any, dtypes: frozenset[torch.dtype] = HALF_OR_SINGLE, then: Sequence[tuple[str, ...]] = ((),)
) -> TypeGuard[Pending]:
    return isinstance(x, Pending) and x.is_pending() and x.like.dtype in dtypes and x.recipe.then in then


def _is_plain(other: Any) -> bool:
    """Whether it is a tensor, or the description of one, of no class that has a say in what is done."""
    return isinstance(other, Image) or (
        isinstance(other, Tensor)
        and (
            type(other) is Tensor or type(other).__torch_function__ is torch._C._disabled_torch_function_impl
        )
    )


def _is_channel(x: Pending, dim: object) -> bool:
    axes = x.recipe.axes
    return type(dim) is int and -len(axes) <= dim < len(axes) and axes[dim] == 1 and 2 in axes and 3 in axes


def _needs_gradient(x: Pending) -> bool:
    return torch.is_grad_enabled() and x.source.requires_grad


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether sizes agree; sizes that only a run can tell do not."""
    return len(a) == len(b) and all(_same_size(m, n) for m, n in zip(a, b, strict=True))


def _same_size(m: Any, n: Any) -> bool:
    if type(m) is int and type(n) is int:
        return m == n
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(m == n)


def _sizes_alone_place(stage: Stage, height: Any, width: Any) -> bool:
    """Whether sizes give the coordinates that the scale factors give: all that some fused ops are told."""
    if stage.scale_factors is None or stage.align_corners:
        return True
    sizes = zip(stage.scale_factors, (height, width), stage.size, strict=True)
    return all(
        f and type(i) is int and type(o) is int and _float32(1 / f) == _float32(i / o) for f, i, o in sizes
    )


def _float32(number: float) -> float:
    return ctypes.c_float(number).value


def _single_resize(x: Any, size: Sequence[Any]) -> bool:
    """Whether it is one resize of a whole image to this size, which upsample_add and upsample_concat do."""
    if not _is_pending(x) or len(x.recipe.stages) != 1 or len(x.recipe.axes) != 4:
        return False
    (stage,) = x.recipe.stages
    return stage.crop is None and _same(stage.size, size) and _sizes_alone_place(stage, *x.source.shape[2:])


# ---- fused ops ---------------------------------------------------------------------------------------------

_ORDER_KEPT: tuple[tuple[str, ...], ...] = ((), ("softmax",), ("log_softmax",))


@reads(torch.argmax, Tensor.argmax)
def _argmax(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    if not _is_pending(input, _SINGLE, _ORDER_KEPT) or not _is_channel(input, dim):
        return NotImplemented
    if "log_softmax" in input.recipe.then and not _recipe.is_known_to_be_finite(input.source):
        return NotImplemented  # where one logit is NaN, all are, and the first is taken
    return Call("argmax", _recipe.argmax, (input.source, input.recipe, bool(keepdim)))


@reads(torch.max, Tensor.max)
def _max(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    if not _is_pending(input, _SINGLE, _ORDER_KEPT) or not _is_channel(input, dim):
        return NotImplemented
    if "log_softmax" in input.recipe.then and not _recipe.is_known_to_be_finite(input.source):
        return NotImplemented
    recipe, keepdim = input.recipe, bool(keepdim)
    if recipe.then == ("softmax",) and not _needs_gradient(input):
        return Call("argmax with score", _recipe.max_of_softmax, (input.source, recipe, keepdim))
    if keepdim:
        return NotImplemented
    # The values, which most callers drop, are put off in turn
    values = Derived(
        input,
        recipe._replace(then=(*recipe.then, "max")),
        lambda image, axis=recipe.channel_axis: image.max(axis).values,  # type: ignore[misc]
    )
    return Maximum(values, Call("argmax", _recipe.argmax, (input.source, recipe, keepdim)))


def _compare(or_equal: bool, below: bool) -> Reader:
    def decide(input: Any, other: Any) -> Any:
        if type(other) not in (int, float) or not abs(other) <= _LARGEST_THRESHOLD:
            return NotImplemented
        if not _is_pending(input, _SINGLE, ((), ("sigmoid",))):
            return NotImplemented
        if input.recipe.then:
            if below or input.source.is_cuda:  # whose sigmoid rounds otherwise
                return NotImplemented
            threshold = _last_logit_below(other, or_equal)
        else:
            threshold = -other if below else other
            threshold = _float32_before(threshold) if or_equal else threshold
        if threshold is None:
            return NotImplemented
        # x < t is -x > -t, and NaN compares false in both
        return Call("threshold", _recipe.exceeds, (input.source, input.recipe, threshold, below))

    return decide


reads(torch.gt, torch.greater, Tensor.gt, Tensor.greater, Tensor.__gt__)(_compare(False, False))
reads(torch.ge, torch.greater_equal, Tensor.ge, Tensor.greater_equal, Tensor.__ge__)(_compare(True, False))
reads(torch.lt, torch.less, Tensor.lt, Tensor.less, Tensor.__lt__)(_compare(False, True))
reads(torch.le, torch.less_equal, Tensor.le, Tensor.less_equal, Tensor.__le__)(_compare(True, True))


@functools.lru_cache
def _float32_before(number: float) -> float:
    """``x >= number`` is ``x >`` the float32 before it."""
    least = torch.tensor(-torch.inf, dtype=torch.float32)
    return torch.nextafter(torch.tensor(number, dtype=torch.float32), least).item()


@functools.lru_cache
def _last_logit_below(probability: float, or_equal: bool) -> float | None:
    """The largest float32 whose sigmoid, as PyTorch rounds it, is not above the threshold: by bisection."""

    def is_above(logit: float) -> bool:
        # So many that PyTorch computes them as it does an image, not one by one
        p = torch.full((64,), logit, dtype=torch.float32).sigmoid()
        return bool((p >= probability if or_equal else p > probability).any())

    low, high = -110.0, 110.0
    if is_above(low) or not is_above(high):
        return None
    while True:
        middle = torch.tensor((low + high) / 2, dtype=torch.float32).item()
        if middle in (low, high):
            return low
        low, high = (low, middle) if is_above(middle) else (middle, high)


@reads(F.cross_entropy)
def _cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    if size_average is not None or reduce is not None:
        return NotImplemented
    return _loss(input, target, weight, ignore_index, reduction, label_smoothing, ((), ("float",)))


@reads(F.nll_loss)
def _nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    if size_average is not None or reduce is not None:
        return NotImplemented
    return _loss(input, target, weight, ignore_index, reduction, 0.0, (("log_softmax",),))


def _loss(
    input: Any, target: Any, weight: Any, ignore_index: Any, reduction: Any, label_smoothing: Any, then: Any
) -> Any:
    if not _is_pending(input, HALF_OR_SINGLE, then) or not (weight is None or _is_plain(weight)):
        return NotImplemented
    recipe = input.recipe
    *earlier, last = recipe.stages
    if last.mode != "bilinear":
        return NotImplemented
    height, width = _extent(earlier[-1]) if earlier else input.source.shape[2:]
    if (
        len(recipe.axes) != 4
        or last.crop is not None
        or not _is_plain(target)
        or target.dtype is not torch.int64
        or not _same(target.shape, (input.like.shape[0], *last.size))
        or not _sizes_alone_place(last, height, width)
    ):
        return NotImplemented
    settings = (target, weight, ignore_index, reduction, label_smoothing)
    return Call("cross_entropy", _recipe.cross_entropy, (input.source, recipe, *settings), (input,))


def _extent(stage: Stage) -> Sequence[Any]:
    return stage.size if stage.crop is None else stage.crop[2:]


@reads(torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, operator.add)
def _add(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    lazy, other = (input, other) if isinstance(input, Pending) else (other, input)
    if type(alpha) is not int or alpha != 1 or not _fits_add(lazy, other):
        return NotImplemented
    if lazy is not input and as_meta(lazy.like).stride() != other.stride():
        return NotImplemented  # the sum has the layout of its first operand
    return Call("add", _recipe.add, (lazy.source, lazy.recipe, other), (lazy,))


def _fits_add(lazy: Any, other: Any) -> bool:
    if not _is_pending(lazy):
        return False
    image = other.like if isinstance(other, Pending) else other
    return (
        _is_plain(image)
        and image.dtype is lazy.like.dtype
        and (image is not other or image.device == lazy.source.device)
        and _same(image.shape, lazy.like.shape)
        and _single_resize(lazy, image.shape[2:])
    )


@reads(torch.cat, torch.concat, torch.concatenate)
def _cat(tensors: Any, dim: Any = 0) -> Any:
    if type(tensors) not in (tuple, list) or dim not in (1, -3):
        return NotImplemented
    first = next(t for t in tensors if isinstance(t, Pending))
    stage = first.recipe.stages[-1]
    size, corners, mode = stage.size, stage.align_corners, stage.mode
    parts, fused = [], []
    for t in tensors:
        image = t.like if isinstance(t, Pending) else t
        if (
            not _is_plain(image)
            or len(image.shape) != 4
            or image.dtype is not first.like.dtype
            or not _same((image.shape[0], *image.shape[2:]), (first.like.shape[0], *size))
        ):
            return NotImplemented
        is_fused = (
            isinstance(t, Pending)
            and _single_resize(t, size)
            and (t.recipe.stages[0].align_corners, t.recipe.mode) == (corners, mode)
        )
        whole = is_fused and t.recipe.images is None and t.recipe.channels is None
        parts.append(t.source if whole else t)
        if whole:
            fused.append(t)
    if not fused:
        return NotImplemented
    return Call("concat", _recipe.concat, (parts, size, corners, mode), tuple(fused))


# ---- what stays lazy ---------------------------------------------------------------------------------------


def _activation(name: str) -> Reader:
    def decide(input: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
        if (
            not _is_pending(input, _SINGLE)
            or not _is_channel(input, dim)
            or dtype not in (None, torch.float32)
        ):
            return NotImplemented
        recipe = input.recipe._replace(then=(name,))
        return Derived(input, recipe, lambda image: getattr(image, name)(dim))

    return decide


def _activation_method(name: str) -> Reader:
    decide = _activation(name)
    return lambda input, dim=None, dtype=None: decide(input, dim, 3, dtype)


reads(F.softmax)(_activation("softmax"))
reads(torch.softmax, Tensor.softmax)(_activation_method("softmax"))
reads(F.log_softmax)(_activation("log_softmax"))
reads(torch.log_softmax, Tensor.log_softmax)(_activation_method("log_softmax"))


@reads(torch.sigmoid, Tensor.sigmoid, F.sigmoid, torch.special.expit)
def _sigmoid(input: Any) -> Any:
    if not _is_pending(input, _SINGLE):
        return NotImplemented
    return Derived(input, input.recipe._replace(then=("sigmoid",)), Tensor.sigmoid)


@reads(Tensor.float)
def _float(input: Any) -> Any:
    return _to(input, torch.float32)


@reads(Tensor.to)
def _to(input: Any, target: Any) -> Any:
    """To the dtype or device that it has, which natively returns the same tensor; half types to float32."""
    if not _is_pending(input):
        return NotImplemented
    if target is input.like.dtype or _names_device_of(target, input.source):
        return input
    if target is not torch.float32:
        return NotImplemented
    return Derived(input, input.recipe._replace(then=("float",)), Tensor.float)


def _names_device_of(target: object, source: Tensor) -> bool:
    # A name without an index means the current device of its kind, which the CPU alone has one of
    return target in ("cpu", torch.device("cpu")) and source.device.type == "cpu"


@reads(Tensor.cpu)
def _cpu(input: Any) -> Any:
    return _to(input, "cpu")


@reads(Tensor.contiguous)
def _contiguous(input: Any) -> Any:
    return input if _is_pending(input) and as_meta(input.like).is_contiguous() else NotImplemented


_ANYTHING = (*_ORDER_KEPT, ("sigmoid",), ("float",))


@reads(Tensor.detach, torch.detach)
def _detach(input: Any) -> Any:
    return _cut_off(input, Tensor.detach)


def _cut_off(input: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if not _is_pending(input, HALF_OR_SINGLE, _ANYTHING):
        return NotImplemented
    return Derived(input, input.recipe, function, is_view=True, detached=True)


@reads(Tensor.data.__get__)  # type: ignore[attr-defined]
def _data(input: Any) -> Any:
    """As `detach`, but autograd is not told of what is written to it."""
    return _cut_off(input, Tensor.data.__get__)  # type: ignore[attr-defined]


@reads(Tensor.__getitem__)
def _getitem(input: Any, key: Any) -> Any:
    """Images and channels are taken from the source, a window of the image is a crop of the last stage."""
    if not _is_pending(input, HALF_OR_SINGLE, _ANYTHING):
        return NotImplemented
    recipe: Recipe = input.recipe
    keys = _key_of_each_axis(key, len(recipe.axes))
    if keys is None:
        return NotImplemented
    for axis, k, extent in zip(recipe.axes, keys, input.like.shape, strict=True):
        if k == slice(None):
            continue
        span = _span(k, extent)
        if span is None or (axis == 1 and not _ELEMENTWISE.issuperset(recipe.then)):
            return NotImplemented
        if axis > 1 and type(k) is int:
            return NotImplemented  # a line of pixels
        recipe = _narrowed(recipe, axis, span)
        if type(k) is int:
            recipe = recipe._replace(axes=tuple(a for a in recipe.axes if a != axis))
    return Derived(input, recipe, lambda image: image[key], is_view=True)


def _key_of_each_axis(key: Any, count: int) -> list[Any] | None:
    keys = list(key) if isinstance(key, tuple) else [key]
    if not all(type(k) in (int, slice, type(...)) for k in keys) or keys.count(...) > 1:
        return None
    missing = count - len(keys) + (... in keys)
    if missing < 0:
        return None
    at = keys.index(...) if ... in keys else len(keys)
    keys[at : at + (... in keys)] = [slice(None)] * missing
    return keys


def _span(key: Any, extent: Any) -> tuple[int, int] | None:
    """The range that an index or slice takes; None for none, or one that is not a plain non-empty range."""
    if type(extent) is not int:
        return None
    if type(key) is int:
        return (key % extent, key % extent + 1) if -extent <= key < extent else None
    bounds = (key.start, key.stop, key.step)
    if not all(b is None or type(b) is int for b in bounds) or key.step not in (None, 1):
        return None
    begin, end, _ = key.indices(extent)
    return (begin, end) if begin < end else None


def _narrowed(recipe: Recipe, axis: int, span: tuple[int, int]) -> Recipe:
    begin, end = span
    if axis == 0:
        start = recipe.images[0] if recipe.images else 0
        return recipe._replace(images=(start + begin, start + end))
    if axis == 1:
        start = recipe.channels[0] if recipe.channels else 0
        return recipe._replace(channels=(start + begin, start + end))
    *earlier, last = recipe.stages
    window = list(last.crop or (0, 0, *last.size))
    window[axis - 2] += begin
    window[axis] = end - begin
    return recipe._replace(
        stages=(*earlier, last._replace(crop=(window[0], window[1], window[2], window[3])))
    )


@reads(Tensor.squeeze, torch.squeeze)
def _squeeze(input: Any, dim: Any = None) -> Any:
    if not _is_pending(input, HALF_OR_SINGLE, _ANYTHING):
        return NotImplemented
    axes, shape = input.recipe.axes, input.like.shape
    if dim is not None and (type(dim) is not int or not -len(axes) <= dim < len(axes)):
        return NotImplemented
    chosen = range(len(axes)) if dim is None else [dim % len(axes)]
    gone = {axes[d] for d in chosen if _same_size(shape[d], 1)}
    if gone & {2, 3} or not all(type(shape[d]) is int for d in chosen):
        return NotImplemented
    if 1 in gone and not _ELEMENTWISE.issuperset(input.recipe.then):
        return NotImplemented
    recipe = input.recipe._replace(axes=tuple(a for a in axes if a not in gone))
    function = Tensor.squeeze if dim is None else lambda image: image.squeeze(dim)
    return Derived(input, recipe, function, is_view=True)


@reads(Tensor.unsqueeze, torch.unsqueeze)
def _unsqueeze(input: Any, dim: Any) -> Any:
    """Puts back an axis that was indexed."""
    if not _is_pending(input) or type(dim) is not int:
        return NotImplemented
    axes = input.recipe.axes
    at = dim if dim >= 0 else dim + len(axes) + 1
    for axis in (1, 0):
        if axis not in axes and sorted((*axes, axis)).index(axis) == at:
            recipe = input.recipe._replace(axes=tuple(sorted((*axes, axis))))
            return Derived(input, recipe, lambda image: image.unsqueeze(dim), is_view=True)
    return NotImplemented


@reads(_native.interpolate, interpolate)
def read_resize(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: Any = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> Any:
    """A resize of a resize."""
    if not _is_pending(input) or len(input.recipe.axes) != 4:
        return NotImplemented
    if mode != "bilinear" or antialias or input.recipe.mode != "bilinear":
        return NotImplemented
    stage = stage_of(as_meta(input.like), size, scale_factor, mode, align_corners, recompute_scale_factor)
    if stage is None:
        return NotImplemented
    recipe = input.recipe._replace(stages=(*input.recipe.stages, stage))

    def resized(image: Tensor) -> Tensor:
        return interpolate(image, size, scale_factor, mode, align_corners, recompute_scale_factor)

    return Derived(input, recipe, resized, like=image_of(as_meta(input.like), stage.size))


def stage_of(
    input: Tensor, size: Any, scale_factor: Any, mode: str, align_corners: Any, recompute_scale_factor: Any
) -> Stage | None:
    """The stage that these arguments of `F.interpolate` ask for; None if they are not valid, or not ours."""
    if not is_ours(input, mode):
        return None
    return stage_of_ours(input, size, scale_factor, mode, align_corners, recompute_scale_factor)


def stage_of_ours(
    input: Tensor, size: Any, scale_factor: Any, mode: str, align_corners: Any, recompute_scale_factor: Any
) -> Stage | None:
    """The same of an image that is known to be ours, in a mode that has kernels."""
    if not takes_align_corners(mode, align_corners):
        return None
    resolved = resolve(input, size, scale_factor, recompute_scale_factor)
    if resolved is None:
        return None
    (height, width), scales = resolved
    factors = (scales[0], scales[1]) if scales else None
    return Stage((height, width), factors, bool(align_corners), None, mode)


def image_of(input: Tensor, size: Sequence[Any]) -> Image:
    """The description of the input resized to `size`."""
    images, channels = input.shape[:2]
    height, width = size
    if _is_channels_last(input):
        strides = (height * width * channels, 1, width * channels, channels)
    else:
        strides = (channels * height * width, height * width, width, 1)
    return Image((images, channels, height, width), strides, input.dtype)


def _is_channels_last(input: Tensor) -> bool:
    """Whether the resize of an image has its channels last: by ATen's ``is_channels_last_strides_2d``."""
    strides = input.stride()
    if strides[1] == 0 or strides[1] > strides[3]:  # the second follows from the loop, and ends most calls
        return False
    shape, least = input.shape, 0
    for d in (1, 3, 2, 0):
        if shape[d] == 0 or strides[d] < least or (d == 0 and least == strides[1]):
            return False
        least = strides[d] * max(shape[d], 1)
    return True


# ---- of tensors alone --------------------------------------------------------------------------------------


@reads(Tensor.unbind, torch.unbind)
def _unbind(input: Any, dim: Any = 0) -> Any:
    if not _is_pending(input, HALF_OR_SINGLE, _ANYTHING) or dim != 0 or input.recipe.axes[0] != 0:
        return NotImplemented
    images = [decisions[Tensor.__getitem__](input, i) for i in range(input.like.shape[0])]
    if any(each is NotImplemented for each in images):
        return NotImplemented
    input.like = as_meta(input.like)
    return [
        # Of many results at once, none of which is to be written to
        each._replace(function=lambda image, i=i: image.unbind()[i], like=input.like[i])
        for i, each in enumerate(images)
    ]


def _iterate(input: Any) -> Any:
    images = readers[Tensor.unbind](input)
    return images if images is NotImplemented else iter(images)


def _add_in_place(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``image += other``: the sum becomes the image, which nothing has seen before."""
    resize, added = resize_of(input), resize_of(other)
    if resize is None or not resize.was_made_now() or (added is not None and added.is_related_to(resize)):
        return NotImplemented
    total = readers[Tensor.add](input, other, alpha=alpha)
    if total is NotImplemented:
        return NotImplemented
    resize.become(total)
    return resize.plain


readers.update({Tensor.__iter__: _iterate})
readers.update({Tensor.__iadd__: _add_in_place, Tensor.add_: _add_in_place})
