"""`interpolate` as `fuse()` puts it in the place of `F.interpolate`: it puts a resize off where that pays."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import handle_torch_function

from upsample_ext import _devices, _events, _fuse_graphs, _native
from upsample_ext._fused_readers import (
    FUSED_MODES,
    HALF_OR_SINGLE,
    image_of,
    read_resize,
    reads,
    stage_of_ours,
)
from upsample_ext._lazy_resize import LazyResize
from upsample_ext._numbers import Int
from upsample_ext._recipe import Recipe
from upsample_ext.resample import interpolate as interpolate_at_once

_is_compiling = torch.compiler.is_compiling
_tracing_state = torch._C._get_tracing_state
_in_functorch = torch._C._are_functorch_transforms_active
_count_dispatch_modes = torch._C._len_torch_dispatch_stack
# Set by patch.py while `fuse()` is in force; converted modules call `interpolate` always
in_force = False
# Elements of an image below which to put it off costs more than fusing saves
_FEWEST_ELEMENTS = 1 << 16
# A view of a storage so many times its size is copied: a lazy resize would keep all of it alive
_LARGEST_STORAGE = 8


@_native.scripts_as(_native.interpolate)
def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """`upsample_ext.interpolate`, or a lazy resize that equals its result."""
    if not in_force:
        return interpolate_at_once(
            input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
        )
    if not _is_compiling():
        if type(input) is LazyResize or not _native.modes_are_unconcerned():
            return handle_torch_function(
                _native.as_called(interpolate),
                (input,),
                input,
                size=size,
                scale_factor=scale_factor,
                mode=mode,
                align_corners=align_corners,
                recompute_scale_factor=recompute_scale_factor,
                antialias=antialias,
            )
        if mode in FUSED_MODES and not antialias and _may_wait(input):
            stage = stage_of_ours(input, size, scale_factor, mode, align_corners, recompute_scale_factor)
            if stage is not None and _pays(input.shape, stage.size):
                source = _copy_on_write(input)
                if source is not None:
                    if _events.listeners:
                        _events.record_lazy()
                    return LazyResize.make(source, Recipe((stage,)), image_of(input, stage.size))
    if _is_compiling():
        _fuse_graphs.hook()
    return interpolate_at_once(
        input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
    )


reads(interpolate)(read_resize)


def _pays(shape: Sequence[int], size: Sequence[Int]) -> bool:
    images, channels, height, width = shape
    pixels = size[0] * size[1]
    return pixels >= height * width and pixels * images * channels >= _FEWEST_ELEMENTS


def _may_wait(input: object) -> bool:
    """Whether it is an image that is ours, and nothing would notice: neither what it is, nor who watches."""
    return (
        type(input) is Tensor
        and input.dim() == 4
        and input.dtype in HALF_OR_SINGLE
        and (input.is_cpu or _may_wait_on_cuda(input))
        and input.layout is torch.strided
        and not input.is_nested
        # An optimizer writes to it while its memory is shared
        and (input._base is None or not isinstance(input._base, nn.Parameter))
        and _tracing_state() is None  # torch.jit.trace
        and not _in_functorch()  # torch.func
        and _count_dispatch_modes() == 0  # FakeTensorMode, make_fx, FlopCounterMode
        and forward_ad._current_level < 0
    )


def _may_wait_on_cuda(input: Tensor) -> bool:
    return (
        input.is_cuda
        and _devices.is_ours(input.device)
        # A graph would lack the resize if it is read after the capture
        and not torch.cuda.is_current_stream_capturing()
    )


def _copy_on_write(input: Tensor) -> Tensor | None:
    """A clone of the input that copies no memory until one of the two is written to; None if it cannot be."""
    if input.untyped_storage().nbytes() > _LARGEST_STORAGE * input.numel() * input.itemsize:
        copy = input.clone()
        return copy if copy.stride() == input.stride() else None
    try:
        return torch._lazy_clone(input)
    except RuntimeError:  # memory that is not PyTorch's own: NumPy's, or shared
        return None
