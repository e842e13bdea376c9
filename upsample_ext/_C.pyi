"""The compiled extension, from csrc/bindings.cpp. Its ops stand in `torch.ops.upsample_ext`.

The functions named after an op are its doors: they take what users pass, and give None for what is not
theirs.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from torch import Tensor

from upsample_ext._numbers import Int

class _BuildInfo(TypedDict):
    torch: str
    cuda: bool
    compiler: str
    openmp: bool

def interpolate(
    input: object,
    size: object,
    scale_factor: object,
    mode: object,
    align_corners: object,
    recompute_scale_factor: object,
    antialias: object,
) -> Tensor | None: ...
def depthwise_conv_transpose2d(
    input: object,
    weight: object,
    bias: object,
    stride: object,
    padding: object,
    output_padding: object,
    groups: object,
    dilation: object,
) -> Tensor | None: ...
def fixed_conv_transpose2d(
    input: object,
    kernel: object,
    stride: object,
    padding: object,
    output_padding: object,
    dilation: object,
    padding_mode: object,
    of_interpolation: bool,
) -> Tensor | None: ...
def upsample_add(input: object, other: object, align_corners: object, mode: object) -> Tensor | None: ...
def upsample_concat(inputs: object, size: object, align_corners: object, mode: object) -> Tensor | None: ...
def upsample_argmax(
    input: object,
    size: object,
    scale_factor: object,
    align_corners: object,
    dtype: object,
    return_score: object,
    mode: object,
) -> Any: ...
def upsample_cross_entropy(
    input: object,
    target: object,
    weight: object,
    ignore_index: object,
    reduction: object,
    label_smoothing: object,
    align_corners: object,
) -> Tensor | None: ...
def upsample_threshold(
    input: object, size: object, scale_factor: object, align_corners: object, threshold: object, mode: object
) -> Tensor | None: ...
def upsample_bilinear2d_out(
    input: Tensor,
    output_height: Int,
    output_width: Int,
    align_corners: bool,
    scale_h: float | None,
    scale_w: float | None,
    out: Tensor,
    /,
) -> None: ...

# Makes `output`, to autograd, the resized input, whatever it holds
def record_resize(
    output: Tensor,
    input: Tensor,
    mode: str,
    align_corners: bool,
    scale_h: float | None,
    scale_w: float | None,
) -> None: ...

# The matrix of one axis in compressed rows: offsets, indices, weights
def bilinear_table(
    in_size: int, out_size: int, align_corners: bool, scale: float | None = None
) -> tuple[list[int], list[int], list[float]]: ...
def axis_table(
    mode: str,
    antialias: bool,
    in_size: int,
    out_size: int,
    align_corners: bool = False,
    scale: float | None = None,
    of_cuda: bool = False,
) -> tuple[list[int], list[int], list[float]]: ...
def conv_transpose_table(
    in_size: int,
    kernel: Sequence[float],
    stride: int,
    padding: int,
    output_padding: int,
    dilation: int,
    replicate: bool,
) -> tuple[list[int], list[int], list[float]]: ...
def modes() -> dict[str, tuple[int, int, bool, bool, int, bool]]: ...
def level() -> str: ...
def levels() -> list[str]: ...
def set_level(name: str) -> None: ...
def refused_level() -> str | None: ...
def parallel_threads() -> int: ...
def axis_cache_bytes() -> int: ...
def build_info() -> _BuildInfo: ...
def judge_gpus_with(judge: Callable[[int], bool] | None) -> None: ...
def gpu_is_served(index: int) -> bool: ...
def enable_dispatcher_override() -> None: ...
def disable_dispatcher_override() -> None: ...
