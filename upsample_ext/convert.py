"""Replaces the layers of a model for which this package has an equivalent, in place, keeping their state.

A layer is replaced by assigning its `__class__`: ours are subclasses of the `torch.nn` classes that change
only `forward`. Parameters, buffers, hooks of every kind, the training flag, names, an optimiser's references,
an instance that is used in two places: everything is kept because it is the same object. PyTorch's lazy
modules become regular ones in the same way. Nothing else is needed to take it back.
"""

import copy
import logging
from collections import Counter
from typing import NamedTuple, TypeVar

from torch import nn

from upsample_ext.modules import (
    FOUND_AS,
    DepthwiseConvTranspose1d,
    DepthwiseConvTranspose2d,
    DiagonalConvTranspose1d,
    DiagonalConvTranspose2d,
    StandIn,
    Upsample,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
    become_native,
    become_ours,
    is_diagonal,
)

_logger = logging.getLogger("upsample_ext")

ModuleType = TypeVar("ModuleType", bound=nn.Module)

_RESIZES: dict[type[nn.Module], type[StandIn]] = {
    nn.Upsample: Upsample,
    nn.UpsamplingNearest2d: UpsamplingNearest2d,
    nn.UpsamplingBilinear2d: UpsamplingBilinear2d,
}
_DEPTHWISE: dict[type[nn.Module], type[StandIn]] = {
    nn.ConvTranspose1d: DepthwiseConvTranspose1d,
    nn.ConvTranspose2d: DepthwiseConvTranspose2d,
}
_DIAGONAL: dict[type[nn.Module], type[StandIn]] = {
    nn.ConvTranspose1d: DiagonalConvTranspose1d,
    nn.ConvTranspose2d: DiagonalConvTranspose2d,
}
_MODES = {nn.UpsamplingNearest2d: "nearest", nn.UpsamplingBilinear2d: "bilinear"}
_CANDIDATES = (nn.Upsample, nn.ConvTranspose1d, nn.ConvTranspose2d)


class Conversions(NamedTuple):
    """What `conversions` found. Printed, it is a line for each layer.

    Attributes:
        converted: by the name of each layer that `convert` has replaced: ``"torch.nn.X -> upsample_ext.Y"``.
        left: by the name of each other layer that resizes, or is a transposed convolution of one or two axes:
            why it is not converted.

    Example:
        >>> import torch, upsample_ext
        >>> upsample_ext.conversions(torch.nn.ConvTranspose2d(4, 8, 2)).left
        {'': 'it mixes channels'}
    """

    converted: dict[str, str]
    left: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{name or '(the module itself)'}: {what}" for name, what in self.converted.items()]
        lines += [f"{name or '(the module itself)'}: left, {why}" for name, why in self.left.items()]
        return "\n".join(lines) or "no layers that resize, and no transposed convolutions"


def _replacement(module: nn.Module, fixed_diagonal: bool) -> type[StandIn] | str:
    """Our class that can replace the class of this module; otherwise, why there is none."""
    kind = type(module)
    if isinstance(module, StandIn) or (kind not in _RESIZES and kind not in _DEPTHWISE):
        return f"its class is {kind.__module__}.{kind.__qualname__}"
    if "forward" in vars(module):
        return "its forward was replaced on the instance"  # the class's method is not what runs
    if kind in _RESIZES:
        if kind in _MODES and module.mode != _MODES[kind]:
            return f"its mode was set to {module.mode!r}"
        return _RESIZES[kind]
    if module.groups == module.in_channels == module.out_channels:
        return _DEPTHWISE[kind]
    if not _is_diagonal(module):
        return "it mixes channels"
    if module.weight.requires_grad:
        return "it does not mix channels, but its weight requires grad, see fixed_diagonal"
    return _DIAGONAL[kind] if fixed_diagonal else "it does not mix channels, see fixed_diagonal"


def _is_diagonal(layer: nn.Module) -> bool:
    """Whether a transposed convolution of all channels into all keeps them apart."""
    weight = layer._parameters.get("weight")
    if type(weight) is not nn.Parameter or weight.is_meta:
        return False
    return bool(layer.groups == 1 and is_diagonal(weight))


def _check_module(name: str, module: object) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"{name}: expected a torch.nn.Module, got {type(module).__name__}")


def _assigned(module: nn.Module) -> None:
    """The compiler of torch 2.11 skips a module's guards as long as its `__dict__` is untouched."""
    module.__dict__["_converted"] = True
    del module.__dict__["_converted"]


def convert(module: ModuleType, *, inplace: bool = False, fixed_diagonal: bool = False) -> ModuleType:
    """Makes a model's upsampling and depthwise transposed convolution layers run on this package.

    Converts `nn.Upsample` in every mode, `nn.UpsamplingBilinear2d`, `nn.UpsamplingNearest2d`, and
    `nn.ConvTranspose1d` and `nn.ConvTranspose2d` with `groups == in_channels == out_channels`, anywhere in
    `module`, or `module` itself. Each converted layer is still an instance of its original class, with the
    same Parameters, buffers, hooks, names and `state_dict` keys, and gives the same values up to rounding.
    `revert` undoes it, and `conversions` tells which layers were converted, and why others were not.

    Not converted: subclasses, which may do more than their base class (`nn.LazyConvTranspose2d` before its
    first call, layers under `torch.nn.utils.parametrizations`), scripted modules, and layers whose `forward`
    was replaced on the instance. The older `torch.nn.utils.weight_norm` keeps its layer's class, so that its
    layer is converted and keeps working. Functional calls in a model's own `forward` cannot be converted; use
    `upsample_ext.patch` for them.

    Tables by class, of hooks or of what to count, find converted layers under PyTorch's classes, which
    theirs equal; `torch.fx` takes them for PyTorch's; and `torch.ao.quantization` makes them PyTorch's again
    where it quantizes them.

    Args:
        module: the model.
        inplace: convert `module` itself; otherwise a deep copy is converted and `module` is unchanged.
        fixed_diagonal: also convert each `nn.ConvTranspose1d` and `nn.ConvTranspose2d` of one group whose
            weight needs no gradient (`layer.requires_grad_(False)` says so) and is zero where it would mix
            channels, as FCN's bilinear upsampling is usually written. It is then computed channel by channel,
            in eager code, as long as the weight stays like that; zeros are not multiplied, so that an
            infinity in one channel does not make NaN of the others.

    Returns:
        The converted module: `module` itself if `inplace`. Conversions are logged by
        `logging.getLogger("upsample_ext")` at level INFO, and at level WARNING that there are none.

    Example:
        >>> import torch, upsample_ext
        >>> up = torch.nn.Upsample(scale_factor=2, mode="bilinear")
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), up)
        >>> upsample_ext.convert(model)
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(1, 1), stride=(1, 1))
          (1): Upsample(scale_factor=2.0, mode='bilinear')
        )
        >>> type(model[1]) is torch.nn.Upsample and type(upsample_ext.convert(up)) is upsample_ext.Upsample
        True
    """
    _check_module("convert", module)
    if not inplace:
        module = copy.deepcopy(module)
    swapped: Counter[str] = Counter()
    already = False
    for name, child in module.named_modules():
        already = already or isinstance(child, StandIn)
        replacement = _replacement(child, fixed_diagonal)
        if isinstance(replacement, str):
            continue
        become_ours(child, replacement)
        _assigned(child)
        swapped[replacement.__name__] += 1
        _logger.info("convert: %s: %s", name or "(the module itself)", _what(child))
    counts = ", ".join(f"{count} {name}" for name, count in swapped.items())
    _logger.log(
        logging.INFO if swapped or already else logging.WARNING,
        "convert: swapped %d layer(s) of %s%s",
        sum(swapped.values()),
        type(module).__name__,
        f": {counts}" if counts else "; for functional calls there is upsample_ext.patch()",
    )
    return module


def revert(module: ModuleType, *, inplace: bool = False) -> ModuleType:
    """The inverse of `convert`: every layer that it replaced is again what it was.

    The layers are the same objects, of the classes that `convert` found, with their present state: what was
    trained, loaded, hooked or moved since stays. Layers that were made as this package's own, by their
    constructors, are left as they are.

    Args:
        module: the model.
        inplace: revert `module` itself; otherwise a deep copy is reverted and `module` is unchanged.

    Returns:
        The reverted module: `module` itself if `inplace`.

    Example:
        >>> import torch, upsample_ext
        >>> model = torch.nn.Sequential(torch.nn.Upsample(scale_factor=2, mode="bilinear"))
        >>> type(upsample_ext.revert(upsample_ext.convert(model))[0]) is torch.nn.Upsample
        True
    """
    _check_module("revert", module)
    if not inplace:
        module = copy.deepcopy(module)
    count = 0
    for child in module.modules():
        if FOUND_AS in vars(child):
            become_native(child)
            _assigned(child)
            count += 1
    _logger.info("revert: %d layer(s) of %s", count, type(module).__name__)
    return module


def conversions(module: nn.Module) -> Conversions:
    """Which layers of a model `convert` has replaced, and why it has left others.

    Args:
        module: the model, converted or not.

    Returns:
        A `Conversions`; `print` it.

    Example:
        >>> import torch, upsample_ext
        >>> model = torch.nn.Sequential(torch.nn.Upsample(scale_factor=2), torch.nn.ConvTranspose2d(4, 8, 2))
        >>> print(upsample_ext.conversions(upsample_ext.convert(model)))
        0: torch.nn.Upsample -> upsample_ext.Upsample
        1: left, it mixes channels
    """
    _check_module("conversions", module)
    converted, left = {}, {}
    for name, child in module.named_modules():
        if FOUND_AS in vars(child):
            converted[name] = _what(child)
        elif isinstance(child, _CANDIDATES):
            why = _replacement(child, False)
            left[name] = why if isinstance(why, str) else "convert was not called since it was added"
    return Conversions(converted, left)


def _what(layer: nn.Module) -> str:
    """Of a converted layer."""
    return f"torch.nn.{vars(layer)[FOUND_AS].__name__} -> upsample_ext.{type(layer).__name__}"
