"""Random natural inputs: the sizes, layouts and dtypes with which people call each op.

``case(seed, number)`` is a row like those of the other files, drawn at random: it depends on nothing but its
two arguments. Its ``make`` builds both sides, native's being the expression that the op's docstring names.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy
import torch
import torch.nn.functional as F
from torch import Tensor

import upsample_ext

from .argmax import decision_contest, label_distances
from .contest import BACKWARD, BOTH, CHANNELS_LAST, CONTIGUOUS, FORWARD, Contest, Row, contest
from .cross_entropy import loss_contest
from .threshold import mask_distances

HWC_ARRAY = "hwc_array"
"""An (H, W, C) array of numpy, ``torch.from_numpy(array).permute(2, 0, 1)[None]``."""
CROP, CHANNELS_LAST_CROP = "crop", "channels_last_crop"
"""A window, at an odd offset, into a larger image."""
TRANSPOSED = "transposed"
"""Rows and columns of a dense image swapped."""
EXPANDED = "expanded"
"""One image that stands for a whole batch."""
SCALAR = "scalar"
"""One number that stands for all, as the gradient of a sum."""
LAYOUTS = (CONTIGUOUS, CHANNELS_LAST, HWC_ARRAY, CROP, CHANNELS_LAST_CROP, TRANSPOSED, EXPANDED)

"""The group of what runs on PyTorch's own kernels: ratios near 1."""

# Larger cases are not drawn: bytes of all images of a case, multiply-adds of a transposed convolution
_MOST_BYTES = 200e6
_MOST_MULTIPLY_ADDS = 1e8

_SIDES = (7, 14, 16, 28, 32, 37, 56, 64, 112, 128, 224)
_PHOTOS = (
    *((224, 224), (256, 256), (512, 512), (375, 500), (480, 640), (640, 480), (600, 800)),
    *((720, 1280), (1080, 1920), (1920, 1080)),
)
_SHORTEST, _LONGEST = 7, 1080
_LINES = 10_000, 200_000
_FACTORS = (0.37, 0.5, 0.6, 0.75, 1.25, 1.37, 1.5, 2, 2, 2, 2, 2.5, 3, 4, 4, 8)
_SIZES = ((224, 224), (256, 256), (512, 512), (540, 960))
_FEW, _CLASSES, _FEATURES = (1, 3, 4), (2, 19, 19, 21, 150), (16, 19, 32, 64, 64, 128, 256, 256, 512)
_BATCHES = (2, 4, 8, 16)

_FLOATS = {torch.float32: 70, torch.bfloat16: 20, torch.float16: 10}
_ANY = {torch.float32: 60, torch.bfloat16: 16, torch.float16: 8, torch.uint8: 16}
_LAYOUTS_OFTEN = dict(zip(LAYOUTS, (34, 22, 12, 10, 8, 7, 7), strict=True))
_GRADIENTS_OFTEN = {CONTIGUOUS: 45, CHANNELS_LAST: 25, CROP: 10, CHANNELS_LAST_CROP: 5, SCALAR: 15}

Size = tuple[int, ...]


@dataclass(frozen=True)
class Case(Row):
    """A row that was drawn at random."""

    group: str = ""

    @property
    def name(self) -> str:
        what = (
            self.op,
            self.input,
            "to",
            self.to,
            self.variant,
            self.direction,
            self.dtype_name,
            self.layout,
        )
        return f"{self.group}: " + " ".join(filter(None, what))


@dataclass(frozen=True)
class Image:
    shape: Size
    dtype: torch.dtype
    layout: str

    @property
    def bytes(self) -> int:
        return _product(self.shape) * self.dtype.itemsize

    def make(self, device: torch.device, seed: int = 0) -> Tensor:
        """Random values, the same in every run."""
        values = random_values((1, *self.shape[1:]) if self.layout == EXPANDED else self.shape, device, seed)
        if self.dtype == torch.uint8:
            values = (values * 60 + 128).clamp_(0, 255)
        return laid_out(values.to(self.dtype), self.layout, self.shape)


def random_values(shape: Size, device: torch.device, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator(device).manual_seed(seed), device=device)


def laid_out(values: Tensor, layout: str, shape: Size) -> Tensor:
    """The contiguous ``values`` in a layout; ``shape`` is that of the result."""
    if layout == CHANNELS_LAST:
        return values.contiguous(memory_format=torch.channels_last)
    if layout == HWC_ARRAY:
        array = numpy.ascontiguousarray(values[0].permute(1, 2, 0).cpu().numpy())
        return torch.from_numpy(array).to(values.device).permute(2, 0, 1)[None]
    if layout == CROP:
        return _window(values, (8, 12) if len(shape) > 3 else (12,), torch.contiguous_format)
    if layout == CHANNELS_LAST_CROP:
        return _window(values, (8, 12), torch.channels_last)
    if layout == TRANSPOSED:
        return values.transpose(-2, -1).contiguous().transpose(-2, -1)
    if layout == EXPANDED:
        return values.expand(shape)
    if layout == SCALAR:
        return values.flatten()[0].expand(shape)
    return values


def _window(values: Tensor, margins: Sequence[int], format: torch.memory_format) -> Tensor:
    """``values`` in a larger image, which has that many more rows and columns."""
    lead = values.shape[: -len(margins)]
    sides = values.shape[-len(margins) :]
    larger = (*lead, *(side + margin for side, margin in zip(sides, margins, strict=True)))
    image = torch.zeros(larger, dtype=values.dtype, device=values.device).contiguous(memory_format=format)
    for dim, (side, margin) in enumerate(zip(sides, margins, strict=True), len(lead)):
        image = image.narrow(dim, margin // 3 + 1, side)  # from row 3 and column 5 on
    return image.copy_(values)


def case(seed: int, number: int) -> Case:
    """The case of this number: the same in every run, however many others are drawn."""
    rng = random.Random(f"{seed}/{number}")
    (group,) = rng.choices(list(_GROUPS), [weight for weight, _ in _GROUPS.values()])
    _, draw = _GROUPS[group]
    while True:
        found = draw(rng)
        if found is not None:
            return replace(found, number=number, group=group)


# ---- what is drawn -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A size, or a factor that is passed on."""

    size: Size
    factor: float | None

    @property
    def text(self) -> str:
        return f"x{self.factor:g}" if self.factor else _text(self.size)

    @property
    def arguments(self) -> dict[str, object]:
        return {"scale_factor": self.factor} if self.factor else {"size": self.size}


def _resize(rng: random.Random, direction: str) -> Case | None:
    image = _image(rng, _ANY if direction == FORWARD else _FLOATS)
    target, align_corners = _target(rng, image), rng.random() < 0.3
    arguments = {"mode": "bilinear", "align_corners": align_corners}
    return _resize_case(rng, image, target, direction, arguments, _named(align_corners=align_corners))


def _other_mode(rng: random.Random) -> Case | None:
    direction = FORWARD if rng.random() < 0.7 else BACKWARD
    dtypes = _ANY if direction == FORWARD else _FLOATS
    mode = rng.choice(("nearest", "nearest-exact", "bicubic", "area", "antialias", "1-D", "3-D"))
    arguments: dict[str, object] = {"mode": mode}
    if mode == "1-D":
        image = _flat_image(rng, (rng.choice((64, 100, 512, 1000, 8000, 48_000)),))
        arguments = {"mode": rng.choice(("linear", "linear", "nearest"))}
    elif mode == "3-D":
        side = rng.choice((8, 16, 28, 32, 64))
        image = _flat_image(rng, (max(4, side // 2), side, side))
        arguments = {"mode": rng.choice(("trilinear", "trilinear", "nearest"))}
    elif mode == "antialias":  # PyTorch has it for these dtypes only, and ours for the others too
        choice = {dtype: weight for dtype, weight in dtypes.items() if dtype.itemsize != 2}
        image = _image(rng, choice, line=False)
        arguments = {"mode": rng.choice(("bilinear", "bicubic")), "antialias": True}
    else:
        image = _image(rng, _FLOATS if mode == "area" else dtypes, line=mode != "area")
    if "linear" in str(arguments["mode"]) or arguments["mode"] == "bicubic":
        arguments["align_corners"] = rng.random() < 0.3
    variant = " ".join(
        [str(arguments["mode"]), *[name for name, value in arguments.items() if value is True]]
    )
    return _resize_case(rng, image, _target(rng, image), direction, arguments, variant)


def _resize_case(
    rng: random.Random,
    image: Image,
    target: Target | None,
    direction: str,
    arguments: dict[str, object],
    variant: str,
) -> Case | None:
    if target is None:
        return None
    result = Image((*image.shape[:2], *target.size), image.dtype, CONTIGUOUS)
    gradient = _gradient(rng, len(image.shape)) if direction == BACKWARD else ""
    make = partial(_make_resize, image=image, arguments={**target.arguments, **arguments}, gradient=gradient)
    return _case("interpolate", [image, result], target.text, variant, direction, make, gradient=gradient)


def _add(rng: random.Random) -> Case | None:
    image, align_corners = _image(rng, _FLOATS), rng.random() < 0.2
    target = _target(rng, image, factors=(2, 2, 2, 2, 1.5, 4))
    if target is None:
        return None
    other = Image((*image.shape[:2], *target.size), image.dtype, _beside(rng, image.layout))
    if other.layout == EXPANDED and image.shape[0] == 1:
        return None
    direction, gradient = _training(rng)
    return _case(
        "upsample_add",
        [image, other],
        _text(target.size),
        _named(align_corners=align_corners),
        direction,
        partial(_make_add, images=[image, other], align_corners=align_corners, gradient=gradient),
        copies=2,
        gradient=gradient,
    )


def _concat(rng: random.Random) -> Case | None:
    """The maps of an encoder, of which each has half the extent of the one before, brought to the first's."""
    first, align_corners = _image(rng, _FLOATS, line=False), rng.random() < 0.2
    maps = [first]
    channels = first.shape[1]
    grows = rng.random() < 0.5
    for scale in range(1, rng.choice((2, 2, 3, 4))):
        channels = channels * 2 if grows else channels
        sides = (-(-extent // 2**scale) for extent in first.shape[2:])
        maps.append(
            Image((first.shape[0], channels, *sides), first.dtype, _beside(rng, first.layout, channels))
        )
    direction, gradient = _training(rng)
    beside = " + ".join(_text(image.shape) for image in maps[1:])
    return _case(
        "upsample_concat",
        maps,
        _text(first.shape[2:]),
        " ".join(filter(None, [f"+ {beside}", _named(align_corners=align_corners)])),
        direction,
        partial(_make_concat, images=maps, align_corners=align_corners, gradient=gradient),
        copies=2 + len(maps),
        gradient=gradient,
    )


def _argmax(rng: random.Random) -> Case | None:
    with_score = rng.random() < 0.3
    return _logits(
        rng, "upsample_argmax", _CLASSES, _make_argmax, _named(score=with_score), with_score=with_score
    )


def _threshold(rng: random.Random) -> Case | None:
    return _logits(rng, "upsample_threshold", (1, 1, 3, 19), _make_threshold)


def _cross_entropy(rng: random.Random) -> Case | None:
    weighted = rng.random() < 0.3
    return _logits(
        rng,
        "upsample_cross_entropy",
        _CLASSES,
        _make_cross_entropy,
        _named(weights=weighted),
        BOTH,
        # Of float16 native's sum over the pixels is infinite from 65504 on, and its loss NaN
        {torch.float32: 80, torch.bfloat16: 20},
        weighted=weighted,
    )


def _logits(
    rng: random.Random,
    op: str,
    channels: Sequence[int],
    make: Callable[..., Contest],
    variant: str = "",
    direction: str = FORWARD,
    dtypes: dict[torch.dtype, int] = _FLOATS,
    **settings: object,
) -> Case | None:
    image, align_corners = _image(rng, dtypes, channels=channels, line=False), rng.random() < 0.25
    target = _target(rng, image, factors=(2, 4, 4, 4, 8, 8, 1.5))
    if target is None:
        return None
    result = Image((*image.shape[:2], *target.size), torch.float32, CONTIGUOUS)
    make = partial(make, image=image, target=target, align_corners=align_corners, **settings)
    variant = " ".join(filter(None, [variant, _named(align_corners=align_corners)]))
    copies = 3 if direction == BOTH else 1
    to = _text(target.size) if direction == BOTH else target.text  # a loss has its target's size
    return _case(op, [image, result], to, variant, direction, make, copies=copies)


def _deconv(rng: random.Random) -> Case | None:
    image = _image(rng, _FLOATS, line=False)
    op = rng.choice(("conv_transpose2d", "bilinear_conv_transpose2d", "fixed_conv_transpose2d"))
    factor = rng.choice((2, 2, 2, 3, 4, 8))
    layer = upsample_ext.caffe_upsample_params(factor)
    size, stride, padding = rng.choice((layer, layer, (2, 2, 0), (3, 2, 1), (7, 1, 3), (31, 1, 15)))
    extra = int((size, stride) == (3, 2))
    kind, directions = "", [FORWARD, BACKWARD]
    if op == "bilinear_conv_transpose2d":
        (size, stride, padding), extra = layer, 0
        kind = rng.choice(("zeros", "replicate"))
    elif op == "fixed_conv_transpose2d":
        kind = rng.choice(("separable", "non-separable"))
    else:
        directions.append(BOTH)
    direction = rng.choice(directions)
    gradient = "" if direction == FORWARD else _gradient(rng, 4)
    height, width = ((side - 1) * stride - 2 * padding + size + extra for side in image.shape[2:])
    result = Image((*image.shape[:2], height, width), image.dtype, CONTIGUOUS)
    if min(height, width) < 1 or _product(image.shape) * size * size > _MOST_MULTIPLY_ADDS:
        return None
    geometry = f"kernel {size} stride {stride} padding {padding}" + (f"+{extra}" if extra else "")
    make = partial(
        _MAKERS_OF_DECONV[op],
        image=image,
        kind=kind,
        geometry=(size, stride, padding, extra),
        gradient=gradient,
    )
    variant = " ".join(filter(None, [kind, geometry]))
    return _case(op, [image, result], _text((height, width)), variant, direction, make, gradient=gradient)


_GROUPS: dict[str, tuple[int, Callable[[random.Random], Case | None]]] = {
    "bilinear": (36, partial(_resize, direction=FORWARD)),
    "bilinear backward": (14, partial(_resize, direction=BACKWARD)),
    "other modes": (9, _other_mode),
    "add": (7, _add),
    "concat": (7, _concat),
    "argmax": (6, _argmax),
    "threshold": (5, _threshold),
    "cross-entropy": (5, _cross_entropy),
    "transposed convolution": (11, _deconv),
}
"""By name: how many of a hundred cases, and what draws one, or None when it is too large or impossible."""
GROUPS = tuple(_GROUPS)


def _case(
    op: str,
    images: Sequence[Image],
    to: str,
    variant: str,
    direction: str,
    make: Callable[..., Contest],
    *,
    copies: int = 1,
    gradient: str = "",
) -> Case | None:
    """The case, unless it is too large. ``images`` are all that is held once; of the largest ``copies``."""
    first, *others = images
    largest = max(image.bytes for image in images)
    held = sum(image.bytes for image in images) + (copies - 1) * largest
    if held * (1 if direction == FORWARD else 2) > _MOST_BYTES:
        return None
    inputs = others if op in ("upsample_add", "upsample_concat") else []
    layouts = [image.layout for image in (first, *inputs)]
    layout = layouts[0] if len(set(layouts)) == 1 else "+".join(layouts)
    layout += f" gradient {gradient}" if gradient else ""
    return Case(op, first.shape, to, make, variant, direction, first.dtype, layout)


def _image(
    rng: random.Random,
    dtypes: dict[torch.dtype, int],
    *,
    channels: Sequence[int] = (),
    line: bool = True,
) -> Image:
    """A batch of photos, of feature maps, of images of odd sizes, or rarely a long line."""
    (dtype,) = rng.choices(list(dtypes), list(dtypes.values()))
    (layout,) = rng.choices(list(_LAYOUTS_OFTEN), list(_LAYOUTS_OFTEN.values()))
    batch = rng.choice(_BATCHES) if layout == EXPANDED or rng.random() < 0.2 else 1
    if layout == HWC_ARRAY and dtype == torch.bfloat16:
        layout = CHANNELS_LAST  # numpy has no such dtype
    photo = layout == HWC_ARRAY or dtype == torch.uint8
    kind = rng.choices(("photo", "features", "odd", "line"), (80, 0, 17, 3) if photo else (20, 50, 25, 5))[0]
    if kind == "line" and line and layout != HWC_ARRAY:
        batch = batch if layout == EXPANDED else 1
        return Image(
            (batch, rng.choice(channels or (1, 1, 3, 16, 64)), 1, _between(rng, *_LINES)), dtype, layout
        )
    few = channels or _FEW
    if kind == "photo":
        sides = rng.choice(_PHOTOS)
    elif kind == "features":
        height = rng.choice(_SIDES)
        sides = (height, height if rng.random() < 0.6 else rng.choice(_SIDES))
        few = channels or _FEATURES
    else:
        height = _between(rng, _SHORTEST, _LONGEST)
        sides = (height, _near(rng, height))
        few = channels or (*_FEW, *_FEATURES)
    if layout == HWC_ARRAY:
        if channels:  # logits are no arrays of a photo's channels
            layout = CHANNELS_LAST
        else:
            batch, few = 1, (3, 3, 4)
    return Image((batch, rng.choice(few), *sides), dtype, layout)


def _flat_image(rng: random.Random, sides: Size) -> Image:
    """Of another rank than 4."""
    (dtype,) = rng.choices(list(_FLOATS), list(_FLOATS.values()))
    shape = (rng.choice((1, 1, 4)), rng.choice((1, 3, 16, 64, 256)), *sides)
    return Image(shape, dtype, rng.choice((CONTIGUOUS, CONTIGUOUS, CROP)))


def _target(rng: random.Random, image: Image, factors: Sequence[float] = _FACTORS) -> Target | None:
    """What an image is resized to; None if nothing would be left of it."""
    sides = image.shape[2:]
    is_line = image.shape[2] == 1
    kind = rng.choices(("factor", "size", "odd", "same"), (58, 18, 16, 8))[0]
    if is_line or len(sides) != 2:
        kind = "factor" if kind != "same" else kind
    if kind == "factor":
        factor = rng.choice(factors)
        size = tuple(int(side * factor) for side in sides)
        if is_line and rng.random() < 0.75:
            return Target((1, size[-1]), None)  # it stays a line
        return Target(size, factor) if min(size) > 0 else None
    if kind == "size":
        return Target(rng.choice(_SIZES), None)
    if kind == "odd":
        height = _between(rng, _SHORTEST, _LONGEST)
        return Target((height, _near(rng, height)), None)
    return Target(sides, None)


def _beside(rng: random.Random, layout: str, channels: int = 3) -> str:
    """The layout of an image that is used together with another: mostly the same."""
    if layout == HWC_ARRAY and channels > 4:
        layout = CONTIGUOUS
    if rng.random() < 0.6:
        return layout
    return rng.choice([other for other in LAYOUTS if other not in (HWC_ARRAY, EXPANDED)])


def _training(rng: random.Random) -> tuple[str, str]:
    """A direction, and the layout of the gradient if there is one."""
    return (FORWARD, "") if rng.random() < 0.7 else (BOTH, _gradient(rng, 4))


def _gradient(rng: random.Random, rank: int) -> str:
    (layout,) = rng.choices(list(_GRADIENTS_OFTEN), list(_GRADIENTS_OFTEN.values()))
    return layout if rank == 4 else rng.choice((CONTIGUOUS, SCALAR))


def _between(rng: random.Random, least: int, most: int) -> int:
    """As many below the geometric mean as above."""
    return int(round(least * (most / least) ** rng.random()))


def _near(rng: random.Random, side: int) -> int:
    """The other side of an image with one side: portrait, square or landscape."""
    return min(max(int(side * 2.2 ** rng.uniform(-1, 1)), _SHORTEST), _LONGEST)


def _product(shape: Size) -> int:
    result = 1
    for extent in shape:
        result *= extent
    return result


def _text(shape: Size) -> str:
    return "x".join(map(str, shape))


def _named(**flags: bool) -> str:
    return " ".join(name for name, value in flags.items() if value)


# ---- both sides --------------------------------------------------------------------------------------------


def _gradient_like(layout: str) -> Callable[[Tensor], Tensor] | None:
    """Makes the gradient of a result, in a layout."""

    def make(result: Tensor) -> Tensor:
        shape = tuple(result.shape)
        return laid_out(random_values(shape, result.device, 1).to(result.dtype), layout, shape)

    return make if layout else None


def _make_resize(
    row: Row, device: torch.device, *, image: Image, arguments: dict[str, object], gradient: str
) -> Contest:
    def ours(x: Tensor) -> Tensor:
        return upsample_ext.interpolate(x, **arguments)  # type: ignore[arg-type]

    def native(x: Tensor) -> Tensor:
        result = F.interpolate(x, **arguments)  # type: ignore[arg-type]
        exact_levels = row.dtype == torch.uint8 and x.dtype == torch.float64
        return result.clamp(0, 255) if exact_levels else result  # bicubic ones may lie beyond

    made = contest(row, [image.make(device)], ours=ours, native=native, grad_output=_gradient_like(gradient))
    made.native_levels = arguments["mode"] != "bilinear" or "antialias" in arguments
    return made


def _make_add(
    row: Row, device: torch.device, *, images: Sequence[Image], align_corners: bool, gradient: str
) -> Contest:
    def ours(x: Tensor, other: Tensor) -> Tensor:
        return upsample_ext.upsample_add(x, other, align_corners)

    def native(x: Tensor, other: Tensor) -> Tensor:
        return F.interpolate(x, other.shape[-2:], mode="bilinear", align_corners=align_corners) + other

    return contest(
        row, _made(images, device), ours=ours, native=native, images=2, grad_output=_gradient_like(gradient)
    )


def _make_concat(
    row: Row, device: torch.device, *, images: Sequence[Image], align_corners: bool, gradient: str
) -> Contest:
    size = images[0].shape[2:]

    def ours(*maps: Tensor) -> Tensor:
        return upsample_ext.upsample_concat(maps, size, align_corners)

    def resized(map: Tensor) -> Tensor:
        if map.shape[2:] == size:
            return map
        return F.interpolate(map, size, mode="bilinear", align_corners=align_corners)

    def native(*maps: Tensor) -> Tensor:
        return torch.cat([resized(map) for map in maps], 1)

    maps = _made(images, device)
    gradient_of = _gradient_like(gradient)
    made = contest(row, maps, ours=ours, native=native, images=len(maps), grad_output=gradient_of)
    made.native_strides = row.direction == FORWARD  # native's gradient of a map that is copied is a view
    return made


def _make_argmax(
    row: Row, device: torch.device, *, image: Image, target: Target, align_corners: bool, with_score: bool
) -> Contest:
    input, upsampled = image.make(device), _upsampled(target, align_corners)

    def ours() -> object:
        arguments = {**target.arguments, "align_corners": align_corners, "return_score": with_score}
        return upsample_ext.upsample_argmax(input, **arguments)  # type: ignore[call-overload]

    def native(x: Tensor) -> tuple[Tensor, ...]:
        logits = upsampled(x)
        if not with_score:
            return (logits.argmax(1),)
        score, label = logits.softmax(1).max(1)
        return label, score

    return decision_contest(input, ours, native, upsampled, label_distances, {})


def _make_threshold(
    row: Row, device: torch.device, *, image: Image, target: Target, align_corners: bool
) -> Contest:
    input, upsampled = image.make(device), _upsampled(target, align_corners)

    def ours() -> object:
        arguments = {**target.arguments, "align_corners": align_corners}
        return upsample_ext.upsample_threshold(input, **arguments)  # type: ignore[arg-type]

    def native(x: Tensor) -> Tensor:
        return upsampled(x) > 0

    return decision_contest(input, ours, native, upsampled, mask_distances, {})


def _upsampled(target: Target, align_corners: bool) -> Callable[[Tensor], Tensor]:
    """Native's resize in float32, in which ours compares; float64 is kept."""

    def upsampled(x: Tensor) -> Tensor:
        x = x if x.dtype == torch.float64 else x.float()
        return F.interpolate(x, **target.arguments, mode="bilinear", align_corners=align_corners)  # type: ignore[arg-type]

    return upsampled


def _make_cross_entropy(
    row: Row, device: torch.device, *, image: Image, target: Target, align_corners: bool, weighted: bool
) -> Contest:
    input = image.make(device).requires_grad_()
    generator = torch.Generator(device).manual_seed(3)
    images, classes = image.shape[:2]
    labels = torch.randint(0, classes, (images, *target.size), generator=generator, device=device)
    weights = torch.rand(classes, generator=generator, device=device) + 0.5 if weighted else None

    def weight(x: Tensor) -> Tensor | None:
        return None if weights is None else weights.to(x.dtype)

    def ours(x: Tensor) -> Tensor:
        return upsample_ext.upsample_cross_entropy(x, labels, weight(x), align_corners=align_corners)

    def native(x: Tensor) -> Tensor:
        logits = F.interpolate(x, labels.shape[-2:], mode="bilinear", align_corners=align_corners)
        return F.cross_entropy(logits, labels, weight(x))

    return loss_contest(input, labels, ours, native, {})


Geometry = tuple[int, int, int, int]
"""Kernel size, stride, padding and output_padding, the same for rows and columns."""


def _make_deconv(
    row: Row, device: torch.device, *, image: Image, kind: str, geometry: Geometry, gradient: str
) -> Contest:
    """``conv_transpose2d`` with a weight for each channel and a bias."""
    (size, *steps), channels = geometry, image.shape[1]
    weight = random_values((channels, 1, size, size), device, 2).to(image.dtype)
    bias = random_values((channels,), device, 3).to(image.dtype)

    def ours(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return upsample_ext.conv_transpose2d(x, w, b, *steps, channels)

    def native(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.conv_transpose2d(x, w, b, *steps, channels)

    inputs = [image.make(device), weight, bias]
    return contest(row, inputs, ours=ours, native=native, grad_output=_gradient_like(gradient))


def _make_fixed_deconv(
    row: Row, device: torch.device, *, image: Image, kind: str, geometry: Geometry, gradient: str
) -> Contest:
    size, *steps = geometry
    if kind == "separable":
        column, line = random_values((2, size), device, 2).to(image.dtype)
        kernel: Tensor | tuple[Tensor, Tensor] = (column, line)
        plane = torch.outer(column.double(), line.double())
    else:
        kernel = random_values((size, size), device, 2).to(image.dtype)
        plane = kernel.double()

    def ours(x: Tensor) -> Tensor:
        return upsample_ext.fixed_conv_transpose2d(x, kernel, *steps)

    native = _native_fixed_deconv(image, plane, steps)
    return contest(row, [image.make(device)], ours=ours, native=native, grad_output=_gradient_like(gradient))


def _make_bilinear_deconv(
    row: Row, device: torch.device, *, image: Image, kind: str, geometry: Geometry, gradient: str
) -> Contest:
    size, factor, *_ = geometry

    def ours(x: Tensor) -> Tensor:
        return upsample_ext.bilinear_conv_transpose2d(x, factor, padding_mode=kind)  # type: ignore[arg-type]

    def resize(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

    plane = upsample_ext.bilinear_kernel(size, dtype=torch.float64, device=device)
    # With "replicate" the two are equal by definition, and the resize is native's faster way
    native = resize if kind == "replicate" else _native_fixed_deconv(image, plane, geometry[1:])
    return contest(row, [image.make(device)], ours=ours, native=native, grad_output=_gradient_like(gradient))


def _native_fixed_deconv(image: Image, plane: Tensor, steps: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Native with the kernel that it wants, expanded to all channels beforehand."""
    channels = image.shape[1]
    exact = plane.expand(channels, 1, *plane.shape).contiguous()
    rounded = exact.to(image.dtype)

    def native(x: Tensor) -> Tensor:
        weight = exact if x.dtype == torch.float64 else rounded
        return F.conv_transpose2d(x, weight, None, *steps, channels)

    return native


_MAKERS_OF_DECONV: dict[str, Callable[..., Contest]] = {
    "conv_transpose2d": _make_deconv,
    "bilinear_conv_transpose2d": _make_bilinear_deconv,
    "fixed_conv_transpose2d": _make_fixed_deconv,
}


def _made(images: Sequence[Image], device: torch.device) -> list[Tensor]:
    return [image.make(device, seed) for seed, image in enumerate(images)]
