"""`report`: which resizes and transposed convolutions ran on this package's kernels, and why not."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from upsample_ext import _devices, _events, _lazy_interpolate, _native
from upsample_ext._judge import MODES, is_ours
from upsample_ext._lazy_resize import LazyResize
from upsample_ext.add import upsample_add
from upsample_ext.argmax import upsample_argmax
from upsample_ext.concat import upsample_concat
from upsample_ext.cross_entropy import upsample_cross_entropy
from upsample_ext.deconv import conv_transpose1d, conv_transpose2d
from upsample_ext.deconv_fixed import fixed_conv_transpose1d, fixed_conv_transpose2d
from upsample_ext.patch import is_in_force
from upsample_ext.resample import interpolate, upsample_bilinear2d
from upsample_ext.threshold import upsample_threshold

Where = Literal["here", "PyTorch"]


class ReportedCall(NamedTuple):
    """A kind of call, as `Report.calls` counts them."""

    op: str  # "interpolate", "conv_transpose2d", "upsample_argmax" ...
    mode: str  # of a resize, with "antialias" after it if so; else ""
    layout: str  # "contiguous", "channels last", "HWC" (rows of interleaved channels), "strided"
    dtype: str
    where: Where
    reason: str  # why PyTorch ran it; "" if it ran here


_OURS: dict[Any, str] = {
    function: function.__name__
    for function in (
        *(interpolate, upsample_bilinear2d, conv_transpose1d, conv_transpose2d),
        *(fixed_conv_transpose1d, fixed_conv_transpose2d),
        *(upsample_argmax, upsample_threshold, upsample_add, upsample_concat, upsample_cross_entropy),
    )
}
_OURS[_lazy_interpolate.interpolate] = "interpolate"
_NATIVE: dict[Any, str] = {
    _native.interpolate: "interpolate",
    _native.conv_transpose1d: "conv_transpose1d",
    _native.conv_transpose2d: "conv_transpose2d",
    torch.conv_transpose3d: "conv_transpose3d",
}
_native_interpolate = _native.interpolate
_INTERPOLATE_ARGUMENTS = (
    *("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias"),
)
_CONVOLUTION_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups")


class Report:
    """What a `report()` saw. Printed, it is a table.

    Attributes:
        calls: how often each kind of call was made.
        put_off: resizes that `fuse()` put off.
        fused: how often each fused op took the place of a put-off resize and what read it.
        images: what needed the image of a put-off resize after all, and how often.

    Example:
        >>> import torch, upsample_ext
        >>> with upsample_ext.report() as r:
        ...     output = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), scale_factor=2)
        >>> r.share, [(call.where, call.reason) for call in r.calls]
        (0.0, [('PyTorch', 'no patch in force')])
    """

    def __init__(self) -> None:
        self.calls: Counter[ReportedCall] = Counter()
        self.put_off = 0
        self.fused: Counter[str] = Counter()
        self.images: Counter[str] = Counter()

    @property
    def share(self) -> float:
        """The share of the resizes and transposed convolutions that PyTorch did not have to run."""
        here = sum(n for call, n in self.calls.items() if call.where == "here") + self.put_off
        return here / max(1, sum(self.calls.values()) + self.put_off)

    def __str__(self) -> str:
        header = ("calls", "op", "mode", "layout", "dtype", "ran in", "because")
        rows = [
            (str(n), call.op, call.mode, call.layout, call.dtype, _RAN_IN[call.where], call.reason)
            for call, n in self.calls.most_common()
        ]
        if self.put_off:
            rows.append((str(self.put_off), "interpolate", "bilinear", "", "", "put off", ""))
        lines = [*_table(header, rows)] if rows else ["No resize and no transposed convolution was called."]
        if self.put_off:
            lines += [
                "",
                f"Of the resizes put off: {_listed(self.fused, 'fused with nothing', 'fused with ')}",
            ]
            lines += [f"Images needed: {_listed(self.images, 'none', 'by ')}"]
        if rows:
            lines += ["", f"{self.share:.0%} of the calls left PyTorch's own kernels."]
        return "\n".join(lines)


_RAN_IN = {"here": "upsample_ext", "PyTorch": "PyTorch"}


def _listed(counted: Counter[str], nothing: str, before: str) -> str:
    return before + ", ".join(f"{name} ({n})" for name, n in counted.most_common()) if counted else nothing


def _table(header: Iterable[str], rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


# ---- watching ----------------------------------------------------------------------------------------------

_thread = threading.local()
_in_force = 0
_lock = threading.Lock()
_found: dict[str, Any] = {}


def _noting(function: Callable[..., Any]) -> Callable[..., Any]:
    """PyTorch's function; notes that a call of ours went there."""

    def forwarded(*args: Any, **kwargs: Any) -> Any:
        _thread.went_to_pytorch = True
        return function(*args, **kwargs)

    return forwarded


def _watch_native() -> None:
    """Replaces the functions by which this package calls PyTorch's, while there is a report."""
    global _in_force
    with _lock:
        _in_force += 1
        if _in_force == 1:
            for name in ("interpolate", "conv_transpose1d", "conv_transpose2d"):
                _found[name] = getattr(_native, name)
                setattr(_native, name, _noting(_found[name]))


def _unwatch_native() -> None:
    global _in_force
    with _lock:
        _in_force -= 1
        if _in_force == 0:
            for name, function in _found.items():
                setattr(_native, name, function)
            _found.clear()


def _is_called_by(function: Any) -> bool:
    """Whether this function is what handed the call over to the mode."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(3):
        if frame is None:
            return False
        if frame.f_code is function.__code__:
            return True
        frame = frame.f_back
    return False


class _Watcher(TorchFunctionMode):
    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.compiler.is_compiling() or not (func in _OURS or func in _NATIVE):
            return func(*args, **kwargs)
        if func is not _native_interpolate and _is_called_by(_native_interpolate):
            # It names itself by what F.interpolate is now
            func = _native_interpolate
        _thread.went_to_pytorch = False
        result = func(*args, **kwargs)
        if type(result) is LazyResize:  # put off: `_events` counts it
            return result
        call = _described(func, args, kwargs, getattr(_thread, "went_to_pytorch", False))
        if call is not None:
            self._report.calls[call] += 1
        return result


# Its presence does not keep a resize from being put off
_native.unconcerned_modes.append(_Watcher)


class report:
    """Counts a model's resizes and transposed convolutions: which ran here, fused, or in PyTorch, and why.

    Without `patch()` or `fuse()` around the model it shows what they would meet.

    Returns:
        A context manager that gives a `Report`: print it, or read its `calls`, `fused`, `images` and `share`.

    It sees the calls of the thread that entered it, and of `fuse()` those of all threads. Inside functions
    compiled by `torch.compile` or `torch.jit.script` there are no calls to see; what `fuse()` fused in a
    graph is counted when it is compiled.

    Example:
        >>> import torch, upsample_ext
        >>> up = torch.nn.Upsample(scale_factor=2, mode="bilinear")
        >>> with upsample_ext.patch(), upsample_ext.report() as r:
        ...     output = up(torch.rand(1, 3, 8, 8)), up(torch.rand(1, 3, 8, 8).to(torch.float64))
        >>> print(r)
        calls  op           mode      layout      dtype    ran in        because
        1      interpolate  bilinear  contiguous  float32  upsample_ext
        1      interpolate  bilinear  contiguous  float64  upsample_ext
        <BLANKLINE>
        100% of the calls left PyTorch's own kernels.
    """

    def __init__(self) -> None:
        self._report = Report()
        self._watcher = _Watcher(self._report)

    # What `_events` tells
    def lazy(self) -> None:
        self._report.put_off += 1

    def fused(self, op: str) -> None:
        self._report.fused[op] += 1

    def image(self, reader: str) -> None:
        self._report.images[reader] += 1

    def __enter__(self) -> Report:
        _watch_native()
        _events.listeners.append(self)
        self._watcher.__enter__()
        return self._report

    def __exit__(self, *exception: Any) -> None:
        self._watcher.__exit__(*exception)
        _events.listeners.remove(self)
        _unwatch_native()


# ---- what a call was, and why PyTorch ran it ---------------------------------------------------------------


def _described(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], forwarded: bool
) -> ReportedCall | None:
    name = _OURS.get(func) or _NATIVE[func]
    names = _CONVOLUTION_ARGUMENTS if "conv" in name else _INTERPOLATE_ARGUMENTS
    given = dict(zip(names, args, strict=False)) | kwargs
    image = given.get("input", given.get("inputs", args[0] if args else None))
    if isinstance(image, (list, tuple)) and image:
        image = image[0]
    if not isinstance(image, Tensor):
        return None
    mode = _mode(name, given)
    if func in _OURS:
        where: Where = "PyTorch" if forwarded else "here"
        reason = _why_not(name, image, given) if forwarded else ""
    else:
        where, reason = _of_native(name, image, given)
    return ReportedCall(name, mode, _layout(image), str(image.dtype).removeprefix("torch."), where, reason)


def _mode(name: str, given: dict[str, Any]) -> str:
    if "conv" in name:
        return ""
    if name != "interpolate":
        return "bilinear"
    return f"{given.get('mode', 'nearest')}{' antialias' if given.get('antialias') else ''}"


def _of_native(name: str, image: Tensor, given: dict[str, Any]) -> tuple[Where, str]:
    """Where a call of PyTorch's own function ran."""
    if name == "interpolate" and is_in_force("dispatcher"):
        mode, antialias = given.get("mode", "nearest"), bool(given.get("antialias"))
        if mode == "area":
            return "PyTorch", "area is a pooling at the dispatcher level"
        return ("here", "") if is_ours(image, mode, antialias) else ("PyTorch", _why_not(name, image, given))
    would = _why_not(name, image, given)
    if would != _SOME_ARGUMENT:
        return "PyTorch", would
    if is_in_force("function") or is_in_force("fuse"):
        return "PyTorch", "imported by name before the patch"
    return "PyTorch", "no patch in force"


_SOME_ARGUMENT = "an argument that PyTorch must judge"


def _why_not(name: str, image: Tensor, given: dict[str, Any]) -> str:
    if not _devices.is_ours(image.device):
        return f"no kernels for {image.device.type}"
    if image.layout is not torch.strided or image.is_nested:
        return f"layout {image.layout}"
    if image.numel() == 0:
        return "an empty image"
    if "conv" in name:
        return _why_not_convolution(name, image, given)
    mode, antialias = (
        str(given.get("mode", "bilinear" if name != "interpolate" else "nearest")),
        bool(given.get("antialias")),
    )
    named = MODES.get(mode)
    if named is None or not (named.antialiased if antialias else named.plain):
        return f"no such mode: {_mode(name, given)}"
    if not named.least_axes <= image.dim() - 2 <= named.most_axes:
        return f"{image.dim()} dimensions"
    if not is_ours(image, mode, antialias):
        return f"dtype {str(image.dtype).removeprefix('torch.')}"
    if _native.is_wanted():
        return "recorded for a reader that knows PyTorch's ops alone"
    return _SOME_ARGUMENT


def _why_not_convolution(name: str, image: Tensor, given: dict[str, Any]) -> str:
    weight, groups = given.get("weight"), given.get("groups", 1)
    if name == "conv_transpose3d":
        return "transposed convolutions of volumes are PyTorch's"
    if not image.dtype.is_floating_point:
        return f"dtype {str(image.dtype).removeprefix('torch.')}"
    if not isinstance(weight, Tensor) or groups != weight.shape[0]:
        return "not depthwise"
    if weight.dim() > 1 and weight.shape[1] != 1:
        return "more than one output channel per group"
    return _SOME_ARGUMENT


def _layout(image: Tensor) -> str:
    if image.layout is not torch.strided or image.is_nested:
        return str(image.layout)
    if image.is_contiguous():
        return "contiguous"
    if image.dim() == 4 and image.is_contiguous(memory_format=torch.channels_last):
        return "channels last"
    if image.dim() == 5 and image.is_contiguous(memory_format=torch.channels_last_3d):
        return "channels last"
    if image.dim() >= 3 and image.stride(1) == 1 and image.stride(-1) == image.shape[1] > 1:
        return "HWC"
    return "strided"
