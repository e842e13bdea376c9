"""What a lazy resize is: the steps from its source to its image, and what is computed from them when fused.

A `Recipe` is plain data. Every function here takes a source and a recipe and returns tensors; each can stand
as one node in a graph of torch.compile.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from upsample_ext import _chain
from upsample_ext._chain import Stage
from upsample_ext._judge import corners_or_none
from upsample_ext.add import upsample_add
from upsample_ext.argmax import upsample_argmax
from upsample_ext.concat import upsample_concat
from upsample_ext.cross_entropy import upsample_cross_entropy
from upsample_ext.resample import interpolate
from upsample_ext.threshold import upsample_threshold

# (begin, end) of a range of images or channels
Range = tuple[int, int]


class Recipe(NamedTuple):
    """How an image follows from its source ``(N, C, H, W)``."""

    stages: tuple[Stage, ...]  # a chain of bilinear resizes, or one resize in another mode
    images: Range | None = None  # the range of the batch; None: all of it
    channels: Range | None = None
    axes: tuple[int, ...] = (0, 1, 2, 3)  # those of (N, C, H, W) that the image has; the others were indexed
    then: tuple[str, ...] = ()  # element-wise functions, and reductions over the channels, that follow

    @property
    def mode(self) -> str:
        return self.stages[-1].mode

    @property
    def channel_axis(self) -> int:
        """The dimension of the image that holds the channels."""
        return self.axes.index(1)


_NOTHING_ELSE = Recipe(())[1:]


def is_one_resize(recipe: Recipe) -> bool:
    """Whether the image is a resize of all of the source, and of nothing but that; most are."""
    return len(recipe.stages) == 1 and recipe[1:] == _NOTHING_ELSE and recipe.stages[0].crop is None


def select(source: Tensor, recipe: Recipe) -> Tensor:
    """The images and channels of the source that the recipe needs."""
    if recipe.images is not None:
        source = source[recipe.images[0] : recipe.images[1]]
    if recipe.channels is not None:
        source = source[:, recipe.channels[0] : recipe.channels[1]]
    return source


def without_indexed_axes(image: Tensor, recipe: Recipe) -> Tensor:
    """A 4-D result with the dimensions that the recipe's image has."""
    for axis in (1, 0):
        if axis not in recipe.axes:
            image = image.select(axis, 0)
    return image


def finish(image: Tensor, recipe: Recipe) -> Tensor:
    """What follows the resize: activations, and the maximum over the channels."""
    for name in recipe.then:
        match name:
            case "sigmoid":
                image = image.sigmoid()
            case "float":
                image = image.float()
            case "max":
                image = image.max(recipe.channel_axis).values
            case _:
                image = getattr(image, name)(recipe.channel_axis)
    return image


def before_last(source: Tensor, recipe: Recipe) -> Tensor:
    """What the last resize reads: each earlier one on its own, rounded as PyTorch rounds it."""
    x = select(source, recipe)
    for stage in recipe.stages[:-1]:
        x = _resize(x, stage)
    return x


def _resize(x: Tensor, stage: Stage) -> Tensor:
    size: Any = None if stage.scale_factors else stage.size
    factors: Any = stage.scale_factors
    corners: Any = corners_or_none(stage.mode, stage.align_corners)
    return _cropped(interpolate(x, size, factors, stage.mode, corners), stage)


def _cropped(map: Tensor, stage: Stage) -> Tensor:
    if stage.crop is None:
        return map
    top, left, height, width = stage.crop
    return map[..., top : top + height, left : left + width]


def image(source: Tensor, recipe: Recipe) -> Tensor:
    """The image itself, bit for bit what the calls that were put off would have returned."""
    if is_one_resize(recipe):
        return _resize(source, recipe.stages[0])
    resized = _resize(before_last(source, recipe), recipe.stages[-1])
    return finish(without_indexed_axes(resized, recipe), recipe)


# ---- what is computed instead of the image -----------------------------------------------------------------

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _also_of_tuples(function: _Function) -> _Function:
    """Takes a recipe as nested tuples too: code that is made of a graph names no class inside another."""

    @functools.wraps(function)
    def call(source: Tensor, recipe: Any, *settings: Any) -> Any:
        if type(recipe) is not Recipe:
            stages, *others = recipe
            recipe = Recipe(tuple(Stage(*stage) for stage in stages), *others)
        return function(source, recipe, *settings)

    return call  # type: ignore[return-value]


@_also_of_tuples
def argmax(source: Tensor, recipe: Recipe, keepdim: bool) -> Tensor:
    x = select(source.detach(), recipe)
    if recipe.then == ("softmax",) and not is_known_to_be_finite(x):
        return max_of_softmax(source, recipe, keepdim)[1]
    return _over_channels(_argmax(x, recipe, False), recipe, keepdim)


def _argmax(x: Tensor, recipe: Recipe, return_score: bool) -> Any:
    if recipe.mode == "bilinear":
        return _chain.chain_argmax(x, recipe.stages, return_score=return_score)
    (stage,) = recipe.stages
    maps = upsample_argmax(x, *_asked(stage), return_score=return_score, mode=stage.mode)
    return tuple(_window(map, stage) for map in maps) if return_score else _window(maps, stage)  # type: ignore[arg-type]


def _window(map: Tensor, stage: Stage) -> Tensor:
    """What natively is computed of a window: dense, in the order of the whole."""
    return map if stage.crop is None else _cropped(map, stage).clone()


def _asked(stage: Stage) -> tuple[Any, Any, bool]:
    """Size, factors and align_corners as a public function takes them."""
    return None if stage.scale_factors else stage.size, stage.scale_factors, stage.align_corners


def is_known_to_be_finite(x: Tensor) -> bool:
    """False too where to ask would wait for a device, or while a graph is recorded."""
    return type(x) is Tensor and x.is_cpu and math.isfinite(x.sum().item())


@_also_of_tuples
def max_of_softmax(source: Tensor, recipe: Recipe, keepdim: bool) -> Any:
    x = select(source.detach(), recipe)
    index, score = _argmax(x, recipe, True)
    # Of a pixel that has a NaN, or infinity, the softmax is NaN for every class, the first of which it takes
    index = index.masked_fill(score.isnan(), 0)
    maps = (_over_channels(score, recipe, keepdim), _over_channels(index, recipe, keepdim))
    return torch.return_types.max(maps)


def _over_channels(index: Tensor, recipe: Recipe, keepdim: bool) -> Tensor:
    """A map ``(N, H, W)`` as a reduction over the channels of the recipe's image."""
    reduced = index if 0 in recipe.axes else index[0]
    return reduced.unsqueeze(recipe.channel_axis) if keepdim else reduced


@_also_of_tuples
def exceeds(source: Tensor, recipe: Recipe, threshold: float, negate: bool) -> Tensor:
    """Where the image is above the threshold; with `negate`, where its negative is: resizing is odd."""
    x = select(source.detach(), recipe)
    x = -x if negate else x
    if recipe.mode == "bilinear":
        mask = _chain.chain_threshold(x, recipe.stages, threshold)
    else:
        (stage,) = recipe.stages
        mask = _window(upsample_threshold(x, *_asked(stage), threshold=threshold, mode=stage.mode), stage)
    return without_indexed_axes(mask, recipe)


@_also_of_tuples
def cross_entropy(
    source: Tensor,
    recipe: Recipe,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    x = before_last(source, recipe)
    if "float" in recipe.then:
        x = x.float()
    corners = recipe.stages[-1].align_corners
    return upsample_cross_entropy(x, target, weight, ignore_index, reduction, label_smoothing, corners)


@_also_of_tuples
def add(source: Tensor, recipe: Recipe, other: Tensor) -> Tensor:
    return upsample_add(select(source, recipe), other, recipe.stages[0].align_corners, mode=recipe.mode)


def concat(images: list[Tensor], size: tuple[int, int], align_corners: bool, mode: str) -> Tensor:
    return upsample_concat(images, size, align_corners, mode=mode)
