"""PyTorch's own functions, captured when this package is first imported.

`patch()` replaces them in `torch.nn.functional`; calls that this package leaves to PyTorch must use these.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._jit_internal import boolean_dispatched
from torch.nn import functional as F

interpolate = F.interpolate
upsample = F.upsample
conv_transpose1d = torch.conv_transpose1d
conv_transpose2d = torch.conv_transpose2d
# The op, which unlike the function has out=, which torch's stub omits
upsample_bilinear2d: Callable[..., Tensor] = torch._C._nn.upsample_bilinear2d

# Ours to those in whose place `patch()` or `fuse()` have put them, while they have
replaced: dict[Callable[..., Any], Callable[..., Any]] = {}
# Modes beside that of `torch.set_default_device` that change no resize: told of PyTorch's function, they
# would call it
unconcerned_modes: list[type] = []


def as_called(ours: Callable[..., Any]) -> Callable[..., Any]:
    """The function that an override of this call is told of.

    Where a mode is active and `patch()` in force, it is PyTorch's own: modes look functions up in tables that
    were made before. For subclasses it is ours, which computes what they go on with.
    """
    if ours not in replaced or modes_are_unconcerned():
        return ours
    return replaced[ours]


def modes_are_unconcerned() -> bool:
    """Whether no mode is active that resizes concern."""
    if torch._C._len_torch_function_stack() == 0:
        return True
    return all(
        _is_default_device(mode) or type(mode) in unconcerned_modes
        for mode in torch.overrides._get_current_function_mode_stack()
    )


def _is_default_device(mode: object) -> bool:
    device = sys.modules.get("torch.utils._device")  # imported when it is first needed
    return device is not None and isinstance(mode, device.DeviceContext)


def only_default_device(*tensors: object) -> bool:
    """Whether the mode of `torch.set_default_device` is all that overrides a call."""
    modes = torch.overrides._get_current_function_mode_stack()
    return all(map(_is_default_device, modes)) and all(
        t is None or type(t) in (Tensor, torch.nn.Parameter) for t in tensors
    )


_Function = TypeVar("_Function", bound=Callable[..., Any])


def scripts_as(native: Callable[..., Any]) -> Callable[[_Function], _Function]:
    """Has torch.jit.script compile PyTorch's function wherever it finds the decorated one.

    TorchScript has a table of functions that it replaces by one of two, by an argument; this one by neither.
    """

    def register(ours: _Function) -> _Function:
        either: dict[str, Any] = {"if_true": native, "if_false": native}
        boolean_dispatched[ours] = either | {"index": sys.maxsize, "arg_name": "", "default": False}
        return ours

    return register


def is_wanted() -> bool:
    """Whether tracer or exporter are recording a graph whose reader knows PyTorch's ops alone."""
    if torch.compiler.is_dynamo_compiling():
        return False  # it knows no exporter; what it records of ours can be decomposed
    if torch.compiler.is_compiling():
        return _is_exported_to_onnx()
    return torch._C._get_tracing_state() is not None and (_is_exported_to_onnx() or _is_traced_to_be_read())


def _is_exported_to_onnx() -> bool:
    onnx = sys.modules.get("torch.onnx")  # imported when it is first needed
    return onnx is not None and onnx.is_in_onnx_export()


def _is_traced_to_be_read() -> bool:
    """Whether the tracer makes a graph and no function that runs: for counters of operations, as fvcore's."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is torch.jit._trace.ONNXTracedModule.forward.__code__:
            return True
        frame = frame.f_back
    return False
