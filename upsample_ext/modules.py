"""Modules: replacements for torch.nn's upsampling layers, and the Caffe upsampling layer.

Each is a subclass of the torch.nn class that it replaces, so that `isinstance`, attributes, parameter names
and `state_dict` are the original's; what differs is `forward`. Tools that ask a layer whether it is one of
torch.nn's, and torch's quantization, take ours for the layer that it stands for: see `StandIn`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.types import Device
from torch.utils._python_dispatch import _disable_current_modes

from upsample_ext._lazy_interpolate import interpolate
from upsample_ext.cross_entropy import upsample_cross_entropy
from upsample_ext.deconv import _depthwise, _depthwise_geometry, conv_transpose1d, conv_transpose2d
from upsample_ext.deconv_fixed import PaddingMode, bilinear_conv_transpose2d, linear_conv_transpose1d
from upsample_ext.deconv_kernels import (
    _make_linear_weights,
    caffe_upsample_params,
    make_bilinear_weights,
)

# Devices whose memory can be read without synchronisation
_READ_AT_ONCE = ("cpu",)


class _AsNative(type):
    """Makes the class of layers that stand for torch.nn's equal to its class, also as a key.

    Tables of what to do with a layer, in torch and elsewhere, are keyed by its class, for which they ask the
    layer. Subclasses of ours are by themselves, as those of torch.nn's are.
    """

    def __eq__(cls, other: object) -> bool:
        return other is cls or (other is not None and other is cls.__dict__.get("stands_for"))

    def __hash__(cls) -> int:
        return hash(cls.__dict__.get("stands_for")) if "stands_for" in cls.__dict__ else type.__hash__(cls)


class StandIn(nn.Module, metaclass=_AsNative):
    """A layer that other code may treat as the torch.nn layer it stands for.

    - Its class equals torch.nn's, see `_AsNative`; `type(layer) is torch.nn.Upsample` is False all the same.
    - `torch.fx` traces what is inside a layer unless its `__module__` begins with "torch.nn". It asks the
      layer, not its class; so the layer has such an attribute of its own. The class has the name by which it
      is found and pickled.
    - `torch.ao.quantization` makes quantized layers of those that are exactly torch.nn's. It announces that
      by setting `qconfig`, at which a layer becomes torch.nn's, if that computes the same.
    """

    __jit_unused_properties__ = ["qconfig"]

    if not TYPE_CHECKING:  # which would take its arguments for the constructor's

        def __new__(cls, *arguments, **options):
            layer = super().__new__(cls)
            layer.__dict__.update(LEAF)
            return layer

    @property
    def qconfig(self) -> object:
        try:
            return self.__dict__["qconfig"]
        except KeyError:
            raise AttributeError("qconfig") from None

    @qconfig.setter
    def qconfig(self, value: object) -> None:
        if value is not None and self._has_native_twin():
            become_native(self)
        self.__dict__["qconfig"] = value

    @qconfig.deleter
    def qconfig(self) -> None:
        del self.__dict__["qconfig"]

    def _has_native_twin(self) -> bool:
        """Whether the torch.nn layer computes the same."""
        return True


LEAF = {"__module__": "torch.nn (upsample_ext)"}
# In the `__dict__` of a layer that `convert` found as another class: that class
FOUND_AS = "_upsample_ext_found_as"


def become_ours(layer: nn.Module, kind: type[StandIn]) -> None:
    """Makes one of torch.nn's layers ours, in place."""
    layer.__dict__[FOUND_AS] = type(layer)
    layer.__dict__.update(LEAF)
    layer.__class__ = kind


def become_native(layer: nn.Module) -> None:
    """Makes one of our layers the torch.nn layer that it was, or is derived from, in place."""
    bases = [base for base in type(layer).__mro__ if base.__module__.startswith("torch.nn.")]
    kind = layer.__dict__.pop(FOUND_AS, bases[0])
    for name in (*LEAF, "_compared"):
        layer.__dict__.pop(name, None)
    layer.__class__ = kind


class Upsample(StandIn, nn.Upsample):
    """`nn.Upsample` on this package's kernels, in every mode.

    Equal to ``F.interpolate(input, size, scale_factor, mode, align_corners, recompute_scale_factor)``. Which
    inputs run here is said at `upsample_ext.interpolate`; all others run in PyTorch. Errors are those of
    `torch.nn.Upsample`.

    Args:
        size: output size in pixels, ``(W,)``, ``(H, W)`` or ``(D, H, W)``, or one int for all axes.
        scale_factor: multiplier of each axis, or one number for all. Exactly one of size and scale_factor.
        mode: ``"nearest"``, the default, ``"linear"``, ``"bilinear"``, ``"bicubic"`` or ``"trilinear"``.
        align_corners: of all modes but nearest. True keeps the corner samples, the step between sources is
            ``(in - 1) / (out - 1)``; False (or None) samples at half-pixel centres,
            ``source = (out_index + 0.5) * scale - 0.5``.
        recompute_scale_factor: True derives the scale from the sizes instead of using scale_factor itself.

    Example:
        >>> import torch, upsample_ext
        >>> layer = upsample_ext.Upsample(scale_factor=2, mode="bilinear")
        >>> layer(torch.rand(1, 3, 4, 5)).shape
        torch.Size([1, 3, 8, 10])
    """

    stands_for = nn.Upsample

    def forward(self: nn.Upsample, input: Tensor) -> Tensor:
        return interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )


class UpsamplingNearest2d(StandIn, nn.UpsamplingNearest2d):
    """`nn.UpsamplingNearest2d` on this package's kernels.

    Equal to ``F.interpolate(input, size, scale_factor, "nearest")``. Errors are those of
    `torch.nn.UpsamplingNearest2d`.

    Args:
        size: output ``(H, W)`` in pixels, or one int for both.
        scale_factor: multiplier of ``(H, W)``, or one number for both. Exactly one of size and scale_factor.

    Example:
        >>> import torch, upsample_ext
        >>> upsample_ext.UpsamplingNearest2d(scale_factor=2)(torch.rand(1, 3, 4, 5)).shape
        torch.Size([1, 3, 8, 10])
    """

    stands_for = nn.UpsamplingNearest2d

    forward = Upsample.forward


class UpsamplingBilinear2d(StandIn, nn.UpsamplingBilinear2d):
    """`nn.UpsamplingBilinear2d`, bilinear upsampling with `align_corners=True`, on this package's kernels.

    Equal to ``F.interpolate(input, size, scale_factor, "bilinear", align_corners=True)``. The input is ``(N,
    C, H, W)``, float64, float32, float16, bfloat16 or uint8, and the output ``(N, C, H_out, W_out)`` in the
    same dtype. Errors are those of `torch.nn.UpsamplingBilinear2d`.

    Args:
        size: output ``(H, W)`` in pixels, or one int for both.
        scale_factor: multiplier of ``(H, W)``, or one number for both. Exactly one of size and scale_factor.

    Example:
        >>> import torch, upsample_ext
        >>> upsample_ext.UpsamplingBilinear2d(size=(9, 7))(torch.rand(1, 3, 4, 5)).shape
        torch.Size([1, 3, 9, 7])
    """

    stands_for = nn.UpsamplingBilinear2d

    forward = Upsample.forward


class UpsampleCrossEntropyLoss(StandIn, nn.CrossEntropyLoss):
    """`nn.CrossEntropyLoss` of logits resized to the target's size, without storing the resized tensor.

    Equal to ``upsample_cross_entropy(input, target, ...)``: input ``(N, C, H, W)`` logits, float64, float32,
    float16 or bfloat16; target ``(N, H_out, W_out)`` class indices, int64; the loss is a scalar, or ``(N,
    H_out, W_out)`` with reduction "none", in the input's dtype. Attributes and `state_dict` are those of
    `torch.nn.CrossEntropyLoss`.

    Args:
        weight: ``(C,)`` in the input's dtype, the weight of each class, or None.
        size_average: deprecated, as in `torch.nn.CrossEntropyLoss`; use reduction.
        ignore_index: the target value of pixels that have no loss.
        reduce: deprecated, as in `torch.nn.CrossEntropyLoss`; use reduction.
        reduction: ``"mean"`` (weighted, over the pixels that are not ignored), ``"sum"`` or ``"none"``.
        label_smoothing: between 0 and 1, the share of the target that is spread over all classes.
        align_corners: True keeps the corner samples, the step between sources is ``(in - 1) / (out - 1)``;
            False samples at half-pixel centres, ``source = (out_index + 0.5) * scale - 0.5``, clamped at 0.

    Example:
        >>> import torch, upsample_ext
        >>> criterion = upsample_ext.UpsampleCrossEntropyLoss(ignore_index=255)
        >>> criterion(torch.zeros(2, 19, 32, 64), torch.full((2, 128, 256), 3))
        tensor(2.9444)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        align_corners: bool = False,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction, label_smoothing)
        self.align_corners = align_corners

    def _has_native_twin(self) -> bool:
        return False  # which does not resize

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return upsample_cross_entropy(
            input,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            self.label_smoothing,
            self.align_corners,
        )


class DepthwiseConvTranspose2d(StandIn, nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with one kernel per channel, on this package's kernels.

    Constructor, attributes, the `output_size` argument of `forward`, errors and `state_dict` are those of
    `torch.nn.ConvTranspose2d`; weight and bias are learned in the same way. Input ``(N, C, H, W)`` or ``(C,
    H, W)``, float64, float32, float16 or bfloat16.

    Args:
        in_channels: C.
        out_channels: also C.
        kernel_size: of the kernel, ``(H, W)`` or one int for both.
        stride: output pixels per input pixel, ``(H, W)`` or one int for both; default 1.
        padding: output pixels cut off at each end; default 0.
        output_padding: output pixels added at the bottom and right, fewer than the stride or the dilation;
            default 0.
        groups: also C; the default, 1, is only valid for a single channel.
        bias: whether there is a learned bias; default True.
        dilation: output pixels between neighbouring kernel taps; default 1.
        padding_mode: only ``"zeros"``, the default.
        device: of the parameters; default PyTorch's default device.
        dtype: of the parameters; default `torch.get_default_dtype()`.

    Raises:
        ValueError: the convolution mixes channels: not ``groups == in_channels == out_channels``.

    Example:
        >>> import torch, upsample_ext
        >>> layer = upsample_ext.DepthwiseConvTranspose2d(8, 8, 4, stride=2, padding=1, groups=8)
        >>> layer(torch.rand(1, 8, 5, 6)).shape
        torch.Size([1, 8, 10, 12])
    """

    stands_for = nn.ConvTranspose2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, int] = 1,
        padding_mode: Literal["zeros"] = "zeros",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            bias,
            dilation,
            padding_mode,
            device,
            dtype,
        )
        _check_depthwise(self)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if self.padding_mode != "zeros":
            raise ValueError("Only `zeros` padding mode is supported for ConvTranspose2d")
        assert isinstance(self.padding, tuple)
        output_padding = self._output_padding(
            input,
            output_size,
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.kernel_size,  # type: ignore[arg-type]
            2,
            self.dilation,  # type: ignore[arg-type]
        )
        return conv_transpose2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
        )


class DepthwiseConvTranspose1d(StandIn, nn.ConvTranspose1d):
    """`nn.ConvTranspose1d` with one kernel per channel, on this package's kernels.

    As `DepthwiseConvTranspose2d`, for ``(N, C, L)`` or ``(C, L)``. Constructor, attributes, the `output_size`
    argument of `forward`, errors and `state_dict` are those of `torch.nn.ConvTranspose1d`.

    Raises:
        ValueError: the convolution mixes channels: not ``groups == in_channels == out_channels``.

    Example:
        >>> import torch, upsample_ext
        >>> layer = upsample_ext.DepthwiseConvTranspose1d(8, 8, 4, stride=2, padding=1, groups=8)
        >>> layer(torch.rand(1, 8, 5)).shape
        torch.Size([1, 8, 10])
    """

    stands_for = nn.ConvTranspose1d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: int | tuple[int] = 0,
        output_padding: int | tuple[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int] = 1,
        padding_mode: Literal["zeros"] = "zeros",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            bias,
            dilation,
            padding_mode,
            device,
            dtype,
        )
        _check_depthwise(self)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if self.padding_mode != "zeros":
            raise ValueError("Only `zeros` padding mode is supported for ConvTranspose1d")
        assert isinstance(self.padding, tuple)
        output_padding = self._output_padding(
            input,
            output_size,
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.kernel_size,  # type: ignore[arg-type]
            1,
            self.dilation,  # type: ignore[arg-type]
        )
        return conv_transpose1d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
        )


class _FixedWeight(StandIn):
    """A layer computed in another way while its weight holds certain values and needs no gradient."""

    # The last weight that was judged, its address and count of writes, and the verdict
    _compared: tuple[Tensor, tuple[int, int], bool] | None = None

    def _readable_weight(self) -> nn.Parameter | None:
        """The weight, if its values may decide how it is applied: not while a graph is recorded."""
        weight = self._parameters.get("weight")
        # Other types are weights that something else controls: sharded, fake, functional_call's
        if type(weight) is not nn.Parameter or weight.requires_grad or weight.is_meta:
            return None
        is_plain = (
            not torch.compiler.is_compiling()
            and torch._C._get_tracing_state() is None
            and torch._C._len_torch_dispatch_stack() == 0
            and torch._C._functorch.peek_interpreter_stack() is None
        )
        return weight if is_plain else None

    def _judged(self, weight: Tensor, judge: Callable[[Tensor], bool]) -> bool:
        """What `judge` says of the weight; it is asked again where PyTorch has counted a write since."""
        if weight.is_inference():
            return False  # writes to inference tensors are not counted
        key = (weight.data_ptr(), weight._version)
        compared = self._compared
        if compared is None or compared[0] is not weight or compared[1] != key:
            if weight.is_cuda and torch.cuda.is_current_stream_capturing():
                return False
            compared = self._compared = (weight, key, judge(weight))
        return compared[2]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_compared", None)
        return state


class DiagonalConvTranspose2d(_FixedWeight, nn.ConvTranspose2d):
    """An `nn.ConvTranspose2d` of one group whose fixed weight keeps the channels apart; made by `convert`.

    Its weight is ``(C, C, kH, kW)``, needs no gradient, and is zero but for its diagonal, as the bilinear
    upsampling layer of FCN is usually written. The result is that of a depthwise convolution with the
    diagonal, which is all that is read. Whether the weight is still such a one is checked when it changes (by
    PyTorch's count of in-place writes, which misses writes through `weight.data`); otherwise PyTorch's
    convolution runs, as it does in compiled, traced and exported code.

    Example:
        >>> import torch, upsample_ext
        >>> layer = torch.nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1, bias=False).requires_grad_(False)
        >>> kernel = upsample_ext.bilinear_kernel(4)
        >>> _ = layer.weight.zero_().diagonal().copy_(kernel[..., None].expand(4, 4, 3))
        >>> type(upsample_ext.convert(layer, fixed_diagonal=True)) is upsample_ext.DiagonalConvTranspose2d
        True
    """

    stands_for = nn.ConvTranspose2d

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return _by_diagonal(self, input, output_size, nn.ConvTranspose2d.forward, conv_transpose2d)


class DiagonalConvTranspose1d(_FixedWeight, nn.ConvTranspose1d):
    """An `nn.ConvTranspose1d` of one group whose fixed weight keeps the channels apart; made by `convert`.

    As `DiagonalConvTranspose2d`, with a weight ``(C, C, kW)``.

    Example:
        >>> import torch, upsample_ext
        >>> layer = torch.nn.ConvTranspose1d(3, 3, 4, stride=2, padding=1, bias=False).requires_grad_(False)
        >>> tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
        >>> _ = layer.weight.zero_().diagonal().copy_(tent[:, None].expand(4, 3))
        >>> type(upsample_ext.convert(layer, fixed_diagonal=True)) is upsample_ext.DiagonalConvTranspose1d
        True
    """

    stands_for = nn.ConvTranspose1d

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return _by_diagonal(self, input, output_size, nn.ConvTranspose1d.forward, conv_transpose1d)


def _by_diagonal(
    layer: DiagonalConvTranspose1d | DiagonalConvTranspose2d,
    input: Tensor,
    output_size: list[int] | None,
    native: Callable[..., Tensor],
    convolve: Callable[..., Tensor],
) -> Tensor:
    """Depthwise with the diagonal of the layer's weight, as long as the weight has nothing else."""
    weight = layer._readable_weight()
    if weight is None or layer.groups != 1 or not layer._judged(weight, is_diagonal):
        return native(layer, input, output_size)
    if layer.padding_mode != "zeros":
        raise ValueError(f"Only `zeros` padding mode is supported for {layer.stands_for.__name__}")
    stride, padding, output_padding, _, dilation = _geometry(layer, input, output_size)
    kernels = weight.diagonal().movedim(-1, 0).unsqueeze(1)
    return convolve(input, kernels, layer.bias, stride, padding, output_padding, layer.in_channels, dilation)


def is_diagonal(weight: Tensor) -> bool:
    """Whether a weight ``(C, C, kH, kW)`` or ``(C, C, kW)`` keeps the channels apart."""
    return (
        weight.dim() in (3, 4)
        and weight.shape[0] == weight.shape[1]
        and weight.count_nonzero().item() == weight.diagonal().count_nonzero().item()
    )


def _check_depthwise(layer: nn.ConvTranspose1d | nn.ConvTranspose2d) -> None:
    if not layer.groups == layer.in_channels == layer.out_channels:
        raise ValueError(
            f"{type(layer).__name__}: expected groups == in_channels == out_channels, got "
            f"groups={layer.groups}, in_channels={layer.in_channels}, out_channels={layer.out_channels}"
        )


def _geometry(
    layer: nn.modules.conv._ConvTransposeNd, input: Tensor, output_size: list[int] | None
) -> tuple[Sequence[int], Sequence[int], Sequence[int], int, Sequence[int]]:
    """Stride, padding, output_padding, groups and dilation of a layer for this call."""
    assert isinstance(layer.padding, tuple)  # the word that its class allows is for other convolutions
    output_padding = layer._output_padding(
        input,
        output_size,
        list(layer.stride),
        list(layer.padding),
        list(layer.kernel_size),
        len(layer.kernel_size),
        list(layer.dilation),
    )
    return layer.stride, layer.padding, output_padding, layer.groups, layer.dilation


def _replicated_conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Tensor:
    """`conv_transpose2d` of an image that is extended by its edge samples, for Caffe's geometry."""
    geometry = _depthwise_geometry(input, weight, None, stride, padding, output_padding, groups, dilation)
    if geometry is not None:
        return _depthwise(input, weight, None, geometry, True)
    # No output of this geometry reads more than two samples beyond the edge, output_padding included
    input = F.pad(input, (2, 2, 2, 2), mode="replicate")
    padding = [cut + 2 * step for cut, step in zip(padding, stride, strict=True)]
    return conv_transpose2d(input, weight, None, stride, padding, output_padding, groups, dilation)


def _replicated_conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Tensor:
    """The same of lines, which are images of one row."""
    row = input.contiguous().unsqueeze(-2)
    along = ([1, *stride], [0, *padding], [0, *output_padding], groups, [1, *dilation])
    return _replicated_conv_transpose2d(row, weight.unsqueeze(-2), *along).squeeze(-2)


@lru_cache(maxsize=64)
def _bilinear_weight(axes: int, size: int, channels: int, dtype: torch.dtype) -> Tensor:
    """(channels, 1, size, size) on the CPU, or (channels, 1, size), to compare a layer's weight with."""
    make = make_bilinear_weights if axes == 2 else _make_linear_weights
    with _disable_current_modes():  # it is kept
        return make(size, channels, dtype=dtype, device="cpu")


class _EnlargingConvTranspose(_FixedWeight, nn.modules.conv._ConvTransposeNd):
    """The Caffe upsampling layer for images or lines, which a subclass names: see those."""

    padding_mode: PaddingMode
    _axes: int

    def __init__(
        self,
        channels: int,
        factor: int,
        learnable: bool = False,
        padding_mode: PaddingMode = "zeros",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if padding_mode not in ("zeros", "replicate"):
            raise ValueError(
                f"{type(self).__name__}: expected padding_mode to be 'zeros' or 'replicate', "
                f"got {padding_mode!r}"
            )
        kernel_size, stride, padding = caffe_upsample_params(factor)
        super().__init__(  # type: ignore[call-arg]  # of the torch.nn class that a subclass names
            channels,
            channels,
            kernel_size,
            stride=stride,
            padding=padding,
            groups=channels,
            bias=False,
            device=device,
            dtype=dtype,
        )
        self.factor = factor
        self.padding_mode = padding_mode  # set here, as the parent's constructor refuses "replicate"
        self.weight.requires_grad_(learnable)

    def reset_parameters(self) -> None:
        """Sets the bilinear weights, without drawing random numbers."""
        make = make_bilinear_weights if self._axes == 2 else _make_linear_weights
        with torch.no_grad():
            self.weight.copy_(
                make(
                    self.kernel_size[0], self.in_channels, dtype=self.weight.dtype, device=self.weight.device
                )
            )

    def _has_native_twin(self) -> bool:
        return self.padding_mode == "zeros"

    @property
    def learnable(self) -> bool:
        return self.weight.requires_grad

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        images = self._axes == 2
        if output_size is None and self._is_separable(input):
            enlarge = bilinear_conv_transpose2d if images else linear_conv_transpose1d
            return enlarge(input, self.factor, padding_mode=self.padding_mode)
        geometry = _geometry(self, input, output_size)
        if self.padding_mode == "zeros":
            convolve = conv_transpose2d if images else conv_transpose1d
            return convolve(input, self.weight, None, *geometry)
        if images:
            return _replicated_conv_transpose2d(input, self.weight, *geometry)
        return _replicated_conv_transpose1d(input, self.weight, *geometry)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, factor={self.factor}, learnable={self.learnable}, "
            f"padding_mode={self.padding_mode!r}"
        )

    def _is_separable(self, input: Tensor) -> bool:
        """Whether 1-D passes may replace a convolution with the layer's weight."""
        weight = self._readable_weight()
        return (
            weight is not None
            and input.dtype == weight.dtype
            and input.device == weight.device
            and input.dim() in (self._axes + 1, self._axes + 2)
            and input.shape[-self._axes - 1] == self.in_channels
            and input.numel() > 0
            and not torch._C._is_any_autocast_enabled()
            and self._holds_bilinear(weight)
        )

    def _holds_bilinear(self, weight: Tensor) -> bool:
        bilinear = _bilinear_weight(self._axes, self.kernel_size[0], self.in_channels, weight.dtype)
        if weight.device.type in _READ_AT_ONCE:
            return torch.equal(weight, bilinear)
        return self._judged(weight, lambda weight: torch.equal(weight.cpu(), bilinear))


class BilinearConvTranspose2d(_EnlargingConvTranspose, nn.ConvTranspose2d):
    """The Caffe upsampling layer, "Deconvolution" with a bilinear filler.

    Equal to ``nn.ConvTranspose2d(channels, channels, k, stride=factor, padding=p, groups=channels,
    bias=False)`` with ``k, factor, p = caffe_upsample_params(factor)`` and the weight set to
    ``make_bilinear_weights(k, channels)``. It is a subclass of `nn.ConvTranspose2d`, and its `state_dict` has
    the same single key, `weight`, of shape `(channels, 1, k, k)`.

    Input `(N, C, H, W)` or `(C, H, W)`, float64, float32, float16 or bfloat16; output `(..., factor * H,
    factor * W)`.

    Args:
        channels: C.
        factor: the integer upsampling factor.
        learnable: whether the weight is trained. Otherwise `weight` is a Parameter with
            `requires_grad=False`: the keys of the `state_dict` and `parameters()` are those of the plain
            layer, an optimiser has no gradient to apply, and DistributedDataParallel neither reduces it nor,
            as it would a buffer, broadcasts it at each call.
        padding_mode: `"zeros"` reads zeros outside the image, as Caffe does; `"replicate"` repeats the edge,
            and the layer then equals `F.interpolate(scale_factor=factor, mode="bilinear",
            align_corners=False)`.
        device: of the weight; default PyTorch's default device.
        dtype: of the weight; default `torch.get_default_dtype()`.

    Raises:
        TypeError: factor is not an int.
        ValueError: factor is below 1, or padding_mode is unknown.

    The layer always applies its current weight, wherever it came from: a checkpoint with other values takes
    effect. While a weight that needs no gradient holds the bilinear values, the same result is computed by
    the two 1-D passes of `bilinear_conv_transpose2d`. Checking this does not synchronise with a GPU at each
    call: on the CPU the values are compared; elsewhere they are read back once, and later changes are
    detected by PyTorch's count of in-place writes. That count misses writes through `weight.data` and
    `weight.detach()`; on a GPU write to `weight` itself, under `torch.no_grad()`. Compiled, traced and
    exported code always contains the 2-D form, so that a weight loaded later takes effect there too.

    Example:
        >>> import torch, upsample_ext
        >>> layer = upsample_ext.BilinearConvTranspose2d(1, factor=2)
        >>> layer(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))[0, 0, 0]
        tensor([0.5625, 0.9375, 1.3125, 1.1250])
    """

    _axes = 2


class LinearConvTranspose1d(_EnlargingConvTranspose, nn.ConvTranspose1d):
    """`BilinearConvTranspose2d` for lines: enlarges them by an integer factor, with linear weights.

    Equal to ``nn.ConvTranspose1d(channels, channels, k, stride=factor, padding=p, groups=channels,
    bias=False)`` with ``k, factor, p = caffe_upsample_params(factor)`` and the weight set to the line of
    `bilinear_kernel` for each channel. It is a subclass of `nn.ConvTranspose1d`, and its `state_dict` has the
    same single key, `weight`, of shape `(channels, 1, k)`.

    Input `(N, C, W)` or `(C, W)`, float64, float32, float16 or bfloat16; output `(..., factor * W)`.

    Args:
        channels: C.
        factor: the integer upsampling factor.
        learnable: whether the weight is trained. Otherwise `weight` is a Parameter with
            `requires_grad=False`, as that of `BilinearConvTranspose2d`.
        padding_mode: `"zeros"` reads zeros beyond the line; `"replicate"` repeats its ends, and the layer
            then equals `F.interpolate(scale_factor=factor, mode="linear", align_corners=False)`.
        device: of the weight; default PyTorch's default device.
        dtype: of the weight; default `torch.get_default_dtype()`.

    Raises:
        TypeError: factor is not an int.
        ValueError: factor is below 1, or padding_mode is unknown.

    The layer always applies its current weight, and takes `linear_conv_transpose1d` while that needs no
    gradient and holds the linear values, with the limits said at `BilinearConvTranspose2d`.

    Example:
        >>> import torch, upsample_ext
        >>> layer = upsample_ext.LinearConvTranspose1d(1, factor=2)
        >>> layer(torch.tensor([[[1.0, 2.0]]]))
        tensor([[[0.7500, 1.2500, 1.7500, 1.5000]]])
    """

    _axes = 1
