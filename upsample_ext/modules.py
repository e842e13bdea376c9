"""Modules: stand-ins for torch.nn's upsampling layers, and the Caffe upsampling layer.

Each is a subclass of the class it stands for, so `isinstance`, constructor, attributes, `extra_repr`,
parameter names and `state_dict` are the original's; `forward` is what differs.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.types import Device

from upsample_ext.deconv import (
    PaddingMode,
    _depthwise,
    _depthwise_geometry,
    _untraced,
    bilinear_conv_transpose2d,
    caffe_upsample_params,
    conv_transpose2d,
    make_bilinear_weights,
)
from upsample_ext.fused import upsample_cross_entropy
from upsample_ext.interpolate import interpolate

# Devices whose memory can be read without waiting for them
_READ_AT_ONCE = ("cpu",)


class Upsample(nn.Upsample):
    """`nn.Upsample` whose 4-D bilinear mode runs here; the other modes run in PyTorch.

    Constructor, attributes, shapes, dtypes and errors are those of `torch.nn.Upsample`. Equal to
    `F.interpolate(input, size, scale_factor, mode, align_corners, recompute_scale_factor)`.

    Example:
        >>> import torch, upsample_ext
        >>> layer = upsample_ext.Upsample(scale_factor=2, mode="bilinear")
        >>> layer(torch.rand(1, 3, 4, 5)).shape
        torch.Size([1, 3, 8, 10])
    """

    def forward(self: nn.Upsample, input: Tensor) -> Tensor:
        return interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )


class UpsamplingBilinear2d(nn.UpsamplingBilinear2d):
    """`nn.UpsamplingBilinear2d`, that is bilinear upsampling with `align_corners=True`, run here.

    Constructor, attributes, shapes, dtypes and errors are those of `torch.nn.UpsamplingBilinear2d`.

    Example:
        >>> import torch, upsample_ext
        >>> upsample_ext.UpsamplingBilinear2d(size=(9, 7))(torch.rand(1, 3, 4, 5)).shape
        torch.Size([1, 3, 9, 7])
    """

    forward = Upsample.forward


class UpsampleCrossEntropyLoss(nn.CrossEntropyLoss):
    """`nn.CrossEntropyLoss` of logits that are resized to the target first, without the resized tensor.

    Equal to `upsample_cross_entropy(input, target, ...)`, which has shapes, dtypes and errors. Constructor,
    attributes and `state_dict` are those of `torch.nn.CrossEntropyLoss`, and `align_corners` is added at the
    end.

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


class DepthwiseConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with one kernel per channel (`groups == in_channels == out_channels`), run here.

    Constructor, attributes, `output_size` argument, shapes, dtypes, errors and `state_dict` are those of
    `torch.nn.ConvTranspose2d`; weight and bias are learned as there. Input `(N, C, H, W)` or `(C, H, W)`.

    Raises:
        ValueError: the arguments describe a convolution that mixes channels.

    Example:
        >>> import torch, upsample_ext
        >>> layer = upsample_ext.DepthwiseConvTranspose2d(8, 8, 4, stride=2, padding=1, groups=8)
        >>> layer(torch.rand(1, 8, 5, 6)).shape
        torch.Size([1, 8, 10, 12])
    """

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
        if not self.groups == in_channels == out_channels:
            raise ValueError(
                "DepthwiseConvTranspose2d: expected groups == in_channels == out_channels, got "
                f"groups={self.groups}, in_channels={in_channels}, out_channels={out_channels}"
            )

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if self.padding_mode != "zeros":
            raise ValueError("Only `zeros` padding mode is supported for ConvTranspose2d")
        return conv_transpose2d(input, self.weight, self.bias, *_geometry(self, input, output_size))


def _geometry(
    layer: nn.ConvTranspose2d, input: Tensor, output_size: list[int] | None
) -> tuple[Sequence[int], Sequence[int], Sequence[int], int, Sequence[int]]:
    """Stride, padding, output_padding, groups and dilation of a layer for this call."""
    assert isinstance(layer.padding, tuple)  # the word that its class allows is for other convolutions
    output_padding = layer._output_padding(
        input,
        output_size,
        list(layer.stride),
        list(layer.padding),
        list(layer.kernel_size),
        2,
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
    """`conv_transpose2d` of an image whose edge samples go on beyond it, for Caffe's geometry."""
    geometry = _untraced(
        _depthwise_geometry, input, weight, None, stride, padding, output_padding, groups, dilation
    )
    if geometry is not None:
        return _depthwise(input, weight, None, geometry, True)
    # No output of this geometry reads more than two samples beyond the edge, output_padding included
    input = F.pad(input, (2, 2, 2, 2), mode="replicate")
    padding = [cut + 2 * step for cut, step in zip(padding, stride, strict=True)]
    return conv_transpose2d(input, weight, None, stride, padding, output_padding, groups, dilation)


@lru_cache(maxsize=64)
def _bilinear_weight(size: int, channels: int, dtype: torch.dtype) -> Tensor:
    """(channels, 1, size, size) in memory, to compare a layer's weight with."""
    return make_bilinear_weights(size, channels, dtype=dtype, device="cpu")


class BilinearConvTranspose2d(nn.ConvTranspose2d):
    """The Caffe upsampling layer, "Deconvolution" with a bilinear filler.

    Stands for `nn.ConvTranspose2d(channels, channels, k, stride=factor, padding=p, groups=channels,
    bias=False)` with `k, factor, p = caffe_upsample_params(factor)` and the weight set to
    `make_bilinear_weights(k, channels)`; it is one, and its `state_dict` has the same single key, `weight`,
    of shape `(channels, 1, k, k)`.

    Input `(N, C, H, W)` or `(C, H, W)`, float64, float32, float16 or bfloat16; output `(..., factor * H,
    factor * W)`.

    Args:
        channels: C.
        factor: the integer upsampling factor.
        learnable: let training change the weight. Otherwise `weight` is a Parameter with
            `requires_grad=False`: the keys of the `state_dict` and `parameters()` are those of the layer it
            stands for, an optimiser has no gradient to step by, and DistributedDataParallel neither reduces
            it nor, as it would a buffer, broadcasts it at each call.
        padding_mode: `"zeros"` reads zeros outside the image, as Caffe does; with `"replicate"`, which
            repeats the edge, the layer equals `F.interpolate(scale_factor=factor, mode="bilinear",
            align_corners=False)`.

    The weight in the layer is the one that is applied, wherever it came from: a checkpoint with other
    values is honoured. While a weight that needs no gradient holds the bilinear values, the same result is
    computed by the two 1-D passes of `bilinear_conv_transpose2d`. Whether it does is known without waiting
    for a device: on the CPU the values are compared, elsewhere they are read back once and after that
    PyTorch's count of in-place writes tells of changes. That count misses writes through `weight.data` and
    `weight.detach()`; on a device write to `weight` itself, under `torch.no_grad()`. Compiled, traced and
    exported code always contains the 2-D form, so that a weight loaded later is honoured there too.

    Example:
        >>> import torch, upsample_ext
        >>> layer = upsample_ext.BilinearConvTranspose2d(1, factor=2)
        >>> layer(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))[0, 0, 0]
        tensor([0.5625, 0.9375, 1.3125, 1.1250])
    """

    padding_mode: PaddingMode
    # The weight last compared away from the CPU, its memory and count of writes, the verdict
    _compared: tuple[Tensor, tuple[int, int], bool] | None = None

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
                "BilinearConvTranspose2d: expected padding_mode to be 'zeros' or 'replicate', "
                f"got {padding_mode!r}"
            )
        kernel_size, stride, padding = caffe_upsample_params(factor)
        super().__init__(
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
        """Sets the bilinear weights. Draws no random numbers."""
        with torch.no_grad():
            self.weight.copy_(
                make_bilinear_weights(
                    self.kernel_size[0], self.in_channels, dtype=self.weight.dtype, device=self.weight.device
                )
            )

    @property
    def learnable(self) -> bool:
        return self.weight.requires_grad

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is None and self._is_separable(input):
            return bilinear_conv_transpose2d(input, self.factor, padding_mode=self.padding_mode)
        geometry = _geometry(self, input, output_size)
        if self.padding_mode == "zeros":
            return conv_transpose2d(input, self.weight, None, *geometry)
        return _replicated_conv_transpose2d(input, self.weight, *geometry)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, factor={self.factor}, learnable={self.learnable}, "
            f"padding_mode={self.padding_mode!r}"
        )

    def _is_separable(self, input: Tensor) -> bool:
        """Whether the two 1-D passes may stand for the weight in the layer."""
        weight = self._parameters.get("weight")
        return (
            # Another type is a weight in others' hands: sharded, fake, functional_call's under a transform
            type(weight) is nn.Parameter
            and not weight.requires_grad
            and not weight.is_meta
            and input.dtype == weight.dtype
            and input.device == weight.device
            and input.dim() in (3, 4)
            and input.shape[-3] == self.in_channels
            and input.numel() > 0
            and not torch._C._is_any_autocast_enabled()
            and not torch.compiler.is_compiling()
            and torch._C._get_tracing_state() is None
            and torch._C._len_torch_dispatch_stack() == 0
            and torch._C._functorch.peek_interpreter_stack() is None
            and self._holds_bilinear(weight)
        )

    def _holds_bilinear(self, weight: Tensor) -> bool:
        bilinear = _bilinear_weight(self.kernel_size[0], self.in_channels, weight.dtype)
        if weight.device.type in _READ_AT_ONCE:
            return torch.equal(weight, bilinear)
        if weight.is_inference():
            return False  # its writes are not counted
        key = (weight.data_ptr(), weight._version)
        compared = self._compared
        if compared is None or compared[0] is not weight or compared[1] != key:
            if weight.is_cuda and torch.cuda.is_current_stream_capturing():
                return False
            compared = (weight, key, torch.equal(weight.cpu(), bilinear))
            self._compared = compared
        return compared[2]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_compared", None)
        return state
