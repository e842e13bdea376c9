"""Routes PyTorch's own upsampling and transposed convolution through this package, until undone.

There are two levels, which may be nested and undone in any order:

`"function"` replaces the attributes `interpolate`, `conv_transpose1d` and `conv_transpose2d` of
    `torch.nn.functional`. This affects all code that looks them up at call time: `F.upsample` and
    `F.upsample_bilinear` (which still warn of their deprecation), `nn.Upsample`, `nn.UpsamplingBilinear2d`,
    `nn.ConvTranspose1d`, `nn.ConvTranspose2d`, and any library that calls `F.interpolate(...)`. Code that did
    `from torch.nn.functional import interpolate` before keeps the original, as does
    `torch.conv_transpose2d`. Functions compiled by `torch.compile` notice the change and are recompiled.
    Where a `TorchFunctionMode` is active, it sees PyTorch's functions, as without the patch, and what it then
    calls are those.

`"dispatcher"` overrides the kernels of `aten::upsample_bilinear2d` and its backward, and on the CPU those of
    the resize ops of all other modes but area (which is a pooling there), which affects every caller, however
    it imported the function, C++ included. Autograd, vmap and autocast above them remain
    PyTorch's. With `torch.use_deterministic_algorithms(True)`, `F.interpolate` uses a decomposition instead
    of the operator on every device but the CPU, because PyTorch's gradient is not deterministic there. Ours
    is, so the name by which it looks up that decomposition is replaced as well. Code compiled by
    `torch.compile` is not affected: the compiler decomposes the operator first (the function level works
    there). Transposed convolution is not changed at this level: the dispatcher has one operator for all
    convolutions.
"""

import importlib
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
import torch.nn.functional as F

from upsample_ext import _devices, _fuse_graphs, _lazy_interpolate, _native
from upsample_ext._judge import is_ours
from upsample_ext._library import C
from upsample_ext.deconv import conv_transpose1d, conv_transpose2d
from upsample_ext.resample import interpolate

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

Level = Literal["function", "dispatcher"]

_logger = logging.getLogger("upsample_ext")


class _Attributes:
    """Attributes of a module that are replaced; `remove` restores the very objects that were found.

    Where both these and `above` are in force, it is what `above` found that is replaced: they may come and go
    in any order.
    """

    def __init__(
        self, module: str, ours: dict[str, Callable[..., Any]], above: "_Attributes | None" = None
    ) -> None:
        self._module = module
        self.ours = ours
        self._above = above
        self.found: dict[str, Any] = {}  # empty unless in force

    def _place(self) -> dict[str, Any]:
        if self._above is not None and self._above.found:
            return self._above.found
        return vars(importlib.import_module(self._module))

    def install(self) -> None:
        place = self._place()
        self.found = {name: place[name] for name in self.ours}
        place.update(self.ours)

    def remove(self) -> None:
        place = self._place()
        for name, function in self.found.items():
            if place[name] is self.ours[name]:
                place[name] = function
            else:
                # Other code wrapped or replaced it after us: restoring the original would undo that
                _logger.warning(
                    "patch: left %s.%s alone: other code has replaced it since", self._module, name
                )
        self.found = {}


class _Dispatcher:
    """The dispatcher level: kernels registered at run time, which the dispatcher stacks on top of its own.

    Also, if a device other than the CPU has such kernels, the decomposition that `F.interpolate` would use
    there under deterministic algorithms.
    """

    devices = _devices.KINDS - {"cpu", "meta"}

    def __init__(self) -> None:
        self._decomposition = _Attributes(
            "torch._decomp.decompositions", {"_upsample_linear_vec": self._upsample_linear_vec}
        )
        self._decomposes = False

    def install(self) -> None:
        self._decomposes = bool(self.devices)  # remembered, as remove() has to undo the same
        if self._decomposes:
            self._decomposition.install()
        C.enable_dispatcher_override()

    def remove(self) -> None:
        C.disable_dispatcher_override()
        if self._decomposes:
            self._decomposition.remove()

    def _upsample_linear_vec(
        self, input: Any, output_size: Any, align_corners: Any, scale_factors: Any
    ) -> torch.Tensor:
        """The operator if its kernels are ours, which are deterministic; otherwise the decomposition."""
        if not torch.compiler.is_compiling() and input.device.type in self.devices and is_ours(input):
            return torch._C._nn.upsample_bilinear2d(input, output_size, align_corners, scale_factors)
        original = self._decomposition.found["_upsample_linear_vec"]
        return original(input, output_size, align_corners, scale_factors)


_CONVOLUTIONS = {"conv_transpose1d": conv_transpose1d, "conv_transpose2d": conv_transpose2d}
_lazy = _Attributes(F.__name__, {"interpolate": _lazy_interpolate.interpolate, **_CONVOLUTIONS})


_at_once = _Attributes(F.__name__, {"interpolate": interpolate, **_CONVOLUTIONS}, above=_lazy)


class _Functions:
    """The function level, and that of `fuse()`, which has graphs of torch.compile fused too."""

    def __init__(self, functions: _Attributes, fuses: bool) -> None:
        self._functions, self._fuses = functions, fuses

    def install(self) -> None:
        self._functions.install()
        self._tell_native()
        if self._fuses:
            _lazy_interpolate.in_force = True
            _fuse_graphs.install()

    def remove(self) -> None:
        if self._fuses:
            _fuse_graphs.remove()
            _lazy_interpolate.in_force = False
        self._functions.remove()
        self._tell_native()

    @staticmethod
    def _tell_native() -> None:
        in_force = [functions for functions in (_at_once, _lazy) if functions.found]
        _native.replaced = {
            function: in_force[0].found[name]  # what the lowest found
            for functions in in_force
            for name, function in functions.ours.items()
        }


_levels: dict[str, _Functions | _Dispatcher] = {
    "function": _Functions(_at_once, fuses=False),
    "dispatcher": _Dispatcher(),
    "fuse": _Functions(_lazy, fuses=True),
}
_active = dict.fromkeys(_levels, 0)  # handles in force at each level: the first installs, the last removes
_lock = threading.Lock()


def is_in_force(level: str) -> bool:
    """Whether there is a handle of this level that was not undone."""
    return _active[level] > 0


class Handle:
    """One use of a level, from its creation to `undo()` or the end of a `with` block."""

    def __init__(self, level: str) -> None:
        self._level = level
        self._in_force = False
        self._entered = 0
        self._apply()

    def _apply(self) -> None:
        with _lock:
            if self._in_force:
                return
            if _active[self._level] == 0:
                _levels[self._level].install()
            _active[self._level] += 1
            self._in_force = True

    def undo(self) -> None:
        """Ends this use; the last one of a level to be undone restores PyTorch's functions."""
        with _lock:
            if not self._in_force:
                return
            self._in_force = False
            _active[self._level] -= 1
            if _active[self._level] == 0:
                _levels[self._level].remove()

    def __enter__(self) -> "Self":
        self._apply()
        self._entered += 1
        return self

    def __exit__(self, *exception: object) -> None:
        self._entered -= 1
        if self._entered == 0:
            self.undo()

    def _state(self) -> str:
        return "in force" if self._in_force else "undone"


class patch(Handle):
    """Routes PyTorch's upsampling and depthwise transposed convolution through this package.

    It takes effect for the whole process as soon as it is called, and lasts until `undo()` or the end of the
    `with` block.

    Args:
        level: `"function"` replaces `F.interpolate`, `F.conv_transpose1d` and `F.conv_transpose2d`, and with
            them `F.upsample`, `nn.Upsample`, `nn.UpsamplingBilinear2d`, `nn.ConvTranspose1d` and
            `nn.ConvTranspose2d`. `"dispatcher"` overrides the resize ops of all modes but area, and their
            backwards, for the devices this package has kernels for (the CPU, and CUDA in a build with it),
            so that code that imported `interpolate` by name and C++ callers are affected too, under
            `torch.use_deterministic_algorithms(True)` as well. Calls that this package has no kernel for
            still go to PyTorch, and PyTorch's exceptions are unchanged.

    Returns:
        A handle with `undo()`, which is also a context manager.

    Raises:
        ValueError: the level is neither of the two.

    Patches are counted: they may be nested, at both levels, and undone in any order; when the last one of a
    level is undone, exactly what the first one found is restored. `undo()` may be called twice. A `with`
    block undoes its patch also if it is left by an exception, and the same object may be entered again, also
    while it is already entered.

    Threads: the patch is process-wide and affects all threads. At the function level a call that is already
    running is not affected. At the dispatcher level, as with any registration of a kernel in PyTorch, no
    other thread may be inside a resize op or its backward while a patch is made or undone.
    `torch.jit.script` compiles PyTorch's functions where it finds ours, so that scripted code runs as without
    the patch.

    Example:
        >>> import torch, upsample_ext
        >>> from torch.nn import functional as F
        >>> with upsample_ext.patch():
        ...     F.interpolate is upsample_ext.interpolate
        True
        >>> handle = upsample_ext.patch("dispatcher")  # or for good: ignore the handle
        >>> handle.undo()
    """

    def __init__(self, level: Level = "function") -> None:
        if level not in get_args(Level):
            raise ValueError(f'patch: expected level to be "function" or "dispatcher", got {level!r}')
        self.level: Level = level
        super().__init__(level)

    def __repr__(self) -> str:
        return f"patch(level={self.level!r}, {self._state()})"
