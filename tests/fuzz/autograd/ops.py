"""The differentiable ops of ours, each beside its native expression: the columns of the table."""

import dataclasses
from collections.abc import Callable

import torch
from torch.nn import functional as F

import upsample_ext

from ..targets import TARGETS

OURS = torch.ops.upsample_ext


@dataclasses.dataclass
class Op:
    ours: Callable
    native: Callable
    shapes: list[tuple[int, ...]]

    def inputs(self) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(0)
        return tuple(torch.randn(shape, dtype=torch.float64) for shape in self.shapes)


def _public(name: str, shapes, **options) -> Op:
    """A public function of tensors alone, its other arguments fixed."""
    target = TARGETS[name]
    return Op(
        lambda *tensors: target.ours(*tensors, **options),
        lambda *tensors: target.native(F, *tensors, **options),
        shapes,
    )


def _cross_entropy(**options) -> Op:
    classes = torch.arange(2 * 6 * 5).reshape(2, 6, 5) % 3
    target = TARGETS["upsample_cross_entropy"]
    return Op(
        lambda x: target.ours(x, classes.clone(), **options),
        lambda x: target.native(F, x, classes.clone(), **options),
        [(2, 3, 4, 3)],
    )


def _concat() -> Op:
    target = TARGETS["upsample_concat"]
    return Op(
        lambda *tensors: target.ours(list(tensors), (5, 6)),
        lambda *tensors: target.native(F, list(tensors), (5, 6)),
        [(2, 1, 3, 4), (2, 2, 4, 2), (2, 1, 5, 6)],
    )


def _fixed(pair: bool, **options) -> Op:
    kernels = (
        torch.tensor([0.25, 0.75, 0.5], dtype=torch.float64),
        torch.tensor([1.0, 0.5], dtype=torch.float64),
    )
    kernel = kernels if pair else torch.outer(*kernels)
    target = TARGETS["fixed_conv_transpose2d"]
    return Op(
        lambda x: target.ours(x, kernel, stride=2, **options),
        lambda x: target.native(F, x, kernel, stride=2, **options),
        [(2, 2, 3, 4)],
    )


IMAGE = [(2, 2, 3, 4)]
TWO = [2, 2]
LINE = torch.tensor([0.25, 0.75, 0.75, 0.25], dtype=torch.float64)

# A resize to 7 x 8, of which 5 x 6 pixels from (1, 2) on go to 6 x 7.
CHAIN = [7, 8, 6, 7], [1, 2, 5, 6, 0, 0, 6, 7], [0, 0]


def _by_stages(x: torch.Tensor) -> torch.Tensor:
    first = F.interpolate(x, (7, 8), mode="bilinear")[:, :, 1:6, 2:8]
    return F.interpolate(first, (6, 7), mode="bilinear")


def _by_stages_backward(g: torch.Tensor) -> torch.Tensor:
    backward = torch.ops.aten.upsample_bilinear2d_backward
    last = backward(g, [6, 7], [*g.shape[:2], 5, 6], False)
    return backward(F.pad(last, (2, 0, 1, 1)), [7, 8], [*g.shape[:2], 3, 4], False)


OPS: dict[str, Op] = {
    "interpolate": _public("interpolate", IMAGE, size=(6, 5), mode="bilinear"),
    "interpolate by scale_factor": _public("interpolate", IMAGE, scale_factor=1.7, mode="bilinear"),
    "interpolate to the same size": _public("interpolate", IMAGE, size=(3, 4), mode="bilinear"),
    "conv_transpose2d": Op(
        lambda x, w, b: upsample_ext.conv_transpose2d(x, w, b, stride=2, padding=1, groups=2),
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, groups=2),
        [(2, 2, 3, 4), (2, 1, 4, 3), (2,)],
    ),
    "fixed_conv_transpose2d of a pair": _fixed(True),
    "fixed_conv_transpose2d of a pair, replicate": _fixed(True, padding_mode="replicate"),
    "fixed_conv_transpose2d of an image": _fixed(False),
    "bilinear_conv_transpose2d": _public("bilinear_conv_transpose2d", IMAGE, factor=2),
    "bilinear_conv_transpose2d, replicate": _public(
        "bilinear_conv_transpose2d", IMAGE, factor=2, padding_mode="replicate"
    ),
    "upsample_argmax": _public("upsample_argmax", IMAGE, size=(6, 5)),
    "upsample_threshold": _public("upsample_threshold", IMAGE, size=(6, 5)),
    "upsample_cross_entropy": _cross_entropy(),
    "upsample_cross_entropy, sum": _cross_entropy(reduction="sum", label_smoothing=0.2),
    "upsample_cross_entropy, none": _cross_entropy(reduction="none"),
    "upsample_add": _public("upsample_add", [(2, 2, 3, 4), (2, 2, 6, 5)]),
    "upsample_add, bicubic": _public("upsample_add", [(2, 2, 3, 4), (2, 2, 6, 5)], mode="bicubic"),
    "upsample_concat": _concat(),
    # The ops that backward calls, which may be called and differentiated themselves.
    "upsample_bilinear2d_backward": Op(
        lambda g: OURS.upsample_bilinear2d_backward(g, [3, 4], False, None, None),
        lambda g: torch.ops.aten.upsample_bilinear2d_backward(g, [6, 5], [*g.shape[:2], 3, 4], False),
        [(2, 2, 6, 5)],
    ),
    "resample": Op(
        lambda x: OURS.resample(x, [6, 5], "bicubic", False, False, None),
        lambda x: F.interpolate(x, (6, 5), mode="bicubic"),
        IMAGE,
    ),
    "resample_backward": Op(
        lambda g: OURS.resample_backward(g, [3, 4], "bicubic", False, False, None),
        lambda g: torch.ops.aten.upsample_bicubic2d_backward(g, [6, 5], [*g.shape[:2], 3, 4], False),
        [(2, 2, 6, 5)],
    ),
    "upsample_chain": Op(
        lambda x: OURS.upsample_chain(x, *CHAIN, None),
        lambda x: _by_stages(x),
        IMAGE,
    ),
    "upsample_chain_backward": Op(
        lambda g: OURS.upsample_chain_backward(g, [3, 4], *CHAIN, None),
        lambda g: _by_stages_backward(g),
        [(2, 2, 6, 7)],
    ),
    "upsample_chain_threshold": Op(
        lambda x: OURS.upsample_chain_threshold(x.float(), *CHAIN, None, 0.0),
        lambda x: _by_stages(x.float()) > 0.0,
        IMAGE,
    ),
    "upsample_chain_argmax": Op(
        lambda x: OURS.upsample_chain_argmax(x, *CHAIN, None, torch.int64),
        lambda x: _by_stages(x.float()).argmax(1),
        IMAGE,
    ),
    "separable_conv_transpose2d_backward": Op(
        lambda g: OURS.separable_conv_transpose2d_backward(g, LINE, LINE, [3, 4], TWO, [1, 1], [1, 1], False),
        lambda g: F.conv2d(g, torch.outer(LINE, LINE).to(g.dtype).expand(2, 1, 4, 4), None, 2, 1, 1, 2),
        [(2, 2, 6, 8)],
    ),
    "depthwise_conv_transpose2d_backward_input": Op(
        lambda g, w: OURS.depthwise_conv_transpose2d_backward_input(g, w, [3, 4], TWO, [1, 1], [1, 1], False),
        lambda g, w: F.conv2d(g, w, None, 2, 1, 1, 2),
        [(2, 2, 6, 8), (2, 1, 4, 4)],
    ),
    "depthwise_conv_transpose2d_backward_weight": Op(
        lambda g, x: OURS.depthwise_conv_transpose2d_backward_weight(
            g, x, [4, 4], TWO, [1, 1], [1, 1], False
        ),
        lambda g, x: torch.ops.aten.convolution_backward(
            g, x, x.new_empty(2, 1, 4, 4), None, TWO, [1, 1], [1, 1], True, [0, 0], 2, (False, True, False)
        )[1],
        [(2, 2, 6, 8), (2, 2, 3, 4)],
    ),
    "channel_sum": Op(OURS.channel_sum, lambda x: x.sum((0, 2, 3)), IMAGE),
}


_SIZE = (6, 5)


def _out_by_ours(x, out):
    return upsample_ext.upsample_bilinear2d(x, _SIZE, out=out)


def _out_by_native(x, out):
    return torch._C._nn.upsample_bilinear2d(x, _SIZE, False, None, None, out=out)


OUT_OPS = {"upsample_bilinear2d, out=": Op(_out_by_ours, _out_by_native, [(2, 2, 3, 4), (2, 2, *_SIZE)])}
