"""Replaces the layers of a model for which this package has an equivalent, in place, keeping their state.

A layer is replaced by assigning its `__class__`: `Upsample`, `UpsamplingBilinear2d`, `UpsamplingNearest2d`
and `DepthwiseConvTranspose2d` are subclasses of the `torch.nn` classes that change only `forward`.
Parameters, buffers, hooks of every kind, the training flag, names, an optimiser's references, an instance
that is used in two places: everything is kept because it is the same object. PyTorch's lazy modules become
regular ones in the same way.
"""

import copy
import logging
from typing import TypeVar

from torch import nn

from upsample_ext.modules import (
    DepthwiseConvTranspose2d,
    Upsample,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
)

_logger = logging.getLogger("upsample_ext")

ModuleType = TypeVar("ModuleType", bound=nn.Module)


def _replacement(module: nn.Module) -> type[nn.Module] | None:
    """Our class that can replace the class of this module, if any."""
    if "forward" in vars(module):
        return None  # `forward` was replaced on the instance: the class's method is not what runs
    kind = type(module)
    if kind is nn.Upsample:
        return Upsample
    if kind is nn.UpsamplingNearest2d and module.mode == "nearest":
        return UpsamplingNearest2d
    if kind is nn.UpsamplingBilinear2d and module.mode == "bilinear":
        return UpsamplingBilinear2d
    if kind is nn.ConvTranspose2d and module.groups == module.in_channels == module.out_channels:
        return DepthwiseConvTranspose2d
    return None


def convert(module: ModuleType, *, inplace: bool = False) -> ModuleType:
    """Makes a model's upsampling and depthwise transposed convolution layers run on this package.

    Converts `nn.Upsample` in every mode, `nn.UpsamplingBilinear2d`, `nn.UpsamplingNearest2d` and
    `nn.ConvTranspose2d` with `groups == in_channels == out_channels`, anywhere in `module`, or `module`
    itself. Each converted layer is
    still an instance of its original class, with the same Parameters, buffers, hooks, names and `state_dict`
    keys, and gives the same values up to rounding.

    Not converted: subclasses, which may do more than their base class (`nn.LazyConvTranspose2d` before its
    first call, layers under `torch.nn.utils.parametrizations`), scripted modules, and layers whose `forward`
    was replaced on the instance. The older `torch.nn.utils.weight_norm` keeps its layer's class, so that its
    layer is converted and keeps working. Functional calls in a model's own `forward` cannot be converted; use
    `upsample_ext.patch` for them.

    Args:
        module: the model.
        inplace: convert `module` itself; otherwise a deep copy is converted and `module` is unchanged.

    Returns:
        The converted module: `module` itself if `inplace`. Conversions are logged by
        `logging.getLogger("upsample_ext")` at level INFO.

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
    if not isinstance(module, nn.Module):
        raise TypeError(f"convert: expected a torch.nn.Module, got {type(module).__name__}")
    if not inplace:
        module = copy.deepcopy(module)
    swapped = 0
    for name, child in module.named_modules():
        replacement = _replacement(child)
        if replacement is not None:
            before = type(child)
            child.__class__ = replacement
            # The compiler of torch 2.11 skips a module's guards as long as its __dict__ is untouched.
            child.__dict__["_converted"] = True
            del child.__dict__["_converted"]
            swapped += 1
            _logger.info(
                "convert: %s: torch.nn.%s -> upsample_ext.%s",
                name or "(the module itself)",
                before.__name__,
                replacement.__name__,
            )
    _logger.info("convert: swapped %d layer(s) of %s", swapped, type(module).__name__)
    return module
