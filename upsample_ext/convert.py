"""Swaps the layers of a model that this package can stand for, in place and without touching what they hold.

A layer is swapped by assigning its class: `Upsample`, `UpsamplingBilinear2d` and `DepthwiseConvTranspose2d`
are subclasses of the `torch.nn` classes that change `forward` and nothing else. Parameters, buffers, hooks
of every kind, the training flag, names, entries of an optimiser, places where one instance is used twice:
everything is kept because it is the same object. PyTorch's lazy modules turn into regular ones in the same
way.
"""

import copy
import logging
from typing import TypeVar

from torch import nn

from upsample_ext.modules import DepthwiseConvTranspose2d, Upsample, UpsamplingBilinear2d

_logger = logging.getLogger("upsample_ext")

ModuleType = TypeVar("ModuleType", bound=nn.Module)


def _replacement(module: nn.Module) -> type[nn.Module] | None:
    """The class of ours that stands for this very module, if any."""
    if "forward" in vars(module):
        return None  # someone replaced the method on the instance: the class's is not what runs
    kind = type(module)
    if kind is nn.Upsample and module.mode == "bilinear":
        return Upsample
    if kind is nn.UpsamplingBilinear2d and module.mode == "bilinear":
        return UpsamplingBilinear2d
    if kind is nn.ConvTranspose2d and module.groups == module.in_channels == module.out_channels:
        return DepthwiseConvTranspose2d
    return None


def convert(module: ModuleType, *, inplace: bool = False) -> ModuleType:
    """Makes the bilinear upsampling and depthwise transposed convolution layers of a model run through this
    package.

    Swapped are `nn.Upsample(mode="bilinear")`, `nn.UpsamplingBilinear2d` and `nn.ConvTranspose2d` with
    `groups == in_channels == out_channels`, wherever they sit below `module` and when `module` is one.
    Every swapped layer is still an instance of the class it had, with the same Parameters, buffers, hooks,
    names and `state_dict` keys, and gives the same values within rounding.

    Left alone: subclasses, which may do more than their base (`nn.LazyConvTranspose2d` before its first
    call, layers under `torch.nn.utils.parametrizations`), scripted modules, and layers whose `forward` was
    replaced on the instance. The older `torch.nn.utils.weight_norm` keeps its layer's class, so its layer
    is swapped and keeps working. Functional calls inside a model's own `forward` are out of reach here:
    `upsample_ext.patch` catches them.

    Args:
        module: the model.
        inplace: convert `module` itself; otherwise a deep copy is converted and `module` stays as it is.

    Returns:
        The converted module: `module` itself when `inplace`. What was swapped is logged by
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
            swapped += 1
            _logger.info(
                "convert: %s: torch.nn.%s -> upsample_ext.%s",
                name or "(the module itself)",
                before.__name__,
                replacement.__name__,
            )
    _logger.info("convert: swapped %d layer(s) of %s", swapped, type(module).__name__)
    return module
