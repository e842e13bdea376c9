"""Every public function of tensors beside its native expression: the rows of test_contract.py.

A row calls a public function with tensors alone, its other arguments fixed. To add an op, write a row for
each form of its arguments that takes another way through Python or the dispatcher; test_registrations.py
fails for an op of the dispatcher that no row reaches.
"""

import dataclasses
from collections.abc import Callable

import torch
from image_layouts import LAYOUTS
from native_interpolate import native_interpolate
from torch.nn import functional as F

import upsample_ext
from upsample_ext._chain import Stage, chain_argmax, chain_resample, chain_threshold

OPS = torch.ops.upsample_ext


@dataclasses.dataclass(frozen=True)
class Op:
    """One row. `shapes` gives the shapes of its tensors for an image of (N, C, H, W); C may be fixed."""

    function: Callable
    ours: Callable
    native: Callable
    shapes: Callable[[int, int, int, int], list[tuple[int, ...]]] = lambda *image: [image]
    dispatches: str = "upsample_bilinear2d"  # the op of ours that a call makes
    # Which tensors are laid out as `layout` says (the others are parameters), and may require grad.
    images: tuple[int, ...] = (0,)
    differentiable: tuple[int, ...] = (0,)
    classes: int | None = None  # which tensor holds class indices
    fixed_size: bool = False  # the output has the same size whatever the input's
    bytes: bool = False  # uint8 images have a kernel of ours
    native_strides: bool = True
    seen_as: Callable | None = None  # by __torch_function__, where that is another function
    public: bool = True
    least_extent: int = 1  # of an image's height and width: a smaller one makes an empty result

    def make(self, image=(2, 3, 4, 6), dtype=torch.float32, device="cpu", layout="contiguous", others=None):
        """Tensors for an image of this shape; further images have the layout `others`, or the same."""
        tensors = []
        for i, shape in enumerate(self.shapes(*image)):
            if i == self.classes:
                tensors.append(torch.randint(0, image[1], shape, device=device))
                continue
            x = torch.randn(shape, dtype=torch.float64, device=device)
            x = (x * 40).abs().to(dtype) if dtype == torch.uint8 else x.to(dtype)
            if self.classes is not None and i > self.classes:  # weights of classes
                x = x.abs() + 0.5
            if i in self.images:
                x = LAYOUTS[layout if i == 0 else others or layout](x)
            tensors.append(x)
        return tensors

    @property
    def floating(self):
        """Which tensors have the image's dtype."""
        return [i for i in range(len(self.shapes(2, 3, 4, 6))) if i != self.classes]

    def of_leaves(self, function, tensors):
        """(function of the differentiable tensors alone, these tensors)"""

        def of_leaves(*leaves):
            every = list(tensors)
            for i, leaf in zip(self.differentiable, leaves, strict=True):
                every[i] = leaf
            return function(*every)

        return of_leaves, tuple(tensors[i] for i in self.differentiable)

    def results(self, function, tensors):
        """What a call returns, and the gradients of all differentiable tensors."""
        leaves = [
            t.detach().requires_grad_() if i in self.differentiable else t for i, t in enumerate(tensors)
        ]
        outputs = as_tuple(function(*leaves))
        if not self.differentiable:
            return list(outputs)
        (output,) = outputs
        # Different everywhere, and exact in every dtype.
        weight = (torch.arange(output.numel(), device=output.device) % 7 - 3).view(output.shape)
        wanted = [leaves[i] for i in self.differentiable]
        grads = torch.autograd.grad(output, wanted, torch.empty_like(output).copy_(weight))
        return [output.detach(), *grads]


def _resize(x, size=None, scale_factor=None, **options):
    """Native's, also of bytes on a device. Kept sizes and large float64 images would differ under CUDA."""
    bytes = x.dtype == torch.uint8 and options["mode"] == "bilinear"
    return (native_interpolate if bytes else F.interpolate)(x, size, scale_factor, **options)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def _interpolate(function=upsample_ext.interpolate, fixed_size=False, least_extent=1, **options):
    mode = {"mode": "bilinear"} if function is upsample_ext.interpolate else {}
    return Op(
        function,
        lambda x: function(x, **mode, **options),
        lambda x: _resize(x, mode="bilinear", **options),
        fixed_size=fixed_size,
        bytes=True,
        seen_as=upsample_ext.interpolate,
        least_extent=least_extent,
    )


def _in_mode(mode, fixed_size=False, bytes=True, **options):
    """`interpolate` in a mode that runs on the op `resample`."""

    def native(x):
        if options.get("antialias") and x.dtype in (torch.float16, torch.bfloat16):  # which native lacks
            return F.interpolate(x.float(), mode=mode, **options).to(x.dtype)
        return F.interpolate(x, mode=mode, **options)

    return Op(
        upsample_ext.interpolate,
        lambda x: upsample_ext.interpolate(x, mode=mode, **options),
        native,
        dispatches="resample",
        fixed_size=fixed_size,
        bytes=bytes,
        least_extent=2 if options.get("scale_factor", 1) == (1.37, 0.8) else 1,
    )


GEOMETRY = {"stride": (2, 3), "padding": (1, 2), "output_padding": (1, 0), "dilation": (1, 2)}
KERNEL = (5, 7)  # of no size that an image also has: with dynamic shapes dynamo would tie the two


def _conv_transpose(*, bias):
    def call(function):
        return lambda x, weight, *bias: function(x, weight, *bias, groups=3, **GEOMETRY)

    tensors = 3 if bias else 2
    return Op(
        upsample_ext.conv_transpose2d,
        call(upsample_ext.conv_transpose2d),
        call(F.conv_transpose2d),
        lambda n, c, h, w: [(n, 3, h, w), (3, 1, *KERNEL), (3,)][:tensors],
        "depthwise_conv_transpose2d",
        differentiable=tuple(range(tensors)),
    )


def _conv_transpose_of_lines():
    def call(function):
        return lambda x, weight, bias: function(
            x[:, :, 0], weight, bias, stride=3, padding=2, output_padding=1, groups=3, dilation=2
        )

    return Op(
        upsample_ext.conv_transpose1d,
        call(upsample_ext.conv_transpose1d),
        call(F.conv_transpose1d),
        lambda n, c, h, w: [(n, 3, h, w), (3, 1, KERNEL[0]), (3,)],
        "depthwise_conv_transpose2d",
        differentiable=(0, 1, 2),
        least_extent=2,  # strides of the result for a line of one sample depend on the dtype natively
    )


LINES = [0.25, 0.75, 0.5], [1.0, 0.5, -0.25, 0.125]
PLANE = [[a * b for b in LINES[1]] for a in LINES[0]]


def _tensor(values, x):
    """As a kernel for the image x; made anew, for a fake image a fake one."""
    return torch.tensor(values, dtype=x.dtype if x.is_floating_point() else torch.float32, device=x.device)


def _extended(x, margin):
    rows, columns = (
        torch.arange(-margin, size + margin, device=x.device).clamp(0, size - 1) for size in x.shape[2:]
    )
    return x[:, :, rows][:, :, :, columns]


def _fixed(kernel, padding_mode="zeros"):
    """kernel: a pair of lines, a plane, or a plane for each channel."""
    stride, padding, margin = (2, 3), 1, 4

    def ours(x):
        own = tuple(_tensor(line, x) for line in kernel) if isinstance(kernel, tuple) else _tensor(kernel, x)
        return upsample_ext.fixed_conv_transpose2d(x, own, stride, padding, padding_mode=padding_mode)

    def native(x):
        planes = _tensor(PLANE if isinstance(kernel, tuple) else kernel, x)
        weight = planes[:, None] if planes.dim() == 3 else planes.expand(x.shape[1], 1, -1, -1)
        if padding_mode == "zeros":
            return F.conv_transpose2d(x, weight, None, stride, padding, groups=x.shape[1])
        beyond = [padding + margin * s for s in stride]
        return F.conv_transpose2d(_extended(x, margin), weight, None, stride, beyond, groups=x.shape[1])

    return Op(
        upsample_ext.fixed_conv_transpose2d,
        ours,
        native,
        lambda n, c, h, w: [(n, 3, h, w)],
        "separable_conv_transpose2d" if isinstance(kernel, tuple) else "depthwise_conv_transpose2d",
        native_strides=padding_mode == "zeros",
    )


def _fixed_line(kernel, padding_mode="zeros"):
    """Of the first rows of the image. kernel: a line, or a line for each channel."""
    stride, padding, output_padding, dilation, margin = 3, 1, 2, 2, 4

    def ours(x):
        options = {"padding_mode": padding_mode}
        return upsample_ext.fixed_conv_transpose1d(
            x[:, :, 0], _tensor(kernel, x), stride, padding, output_padding, dilation, **options
        )

    def native(x):
        line = x[:, :, 0]
        weight = _tensor(kernel, x).expand(3, -1)[:, None]
        beyond = 0 if padding_mode == "zeros" else margin
        if beyond:  # torch 2.5 cannot pad float16
            line = line[:, :, torch.arange(-beyond, x.size(3) + beyond).clamp(0, x.size(3) - 1)]
        return F.conv_transpose1d(
            line, weight, None, stride, padding + beyond * stride, output_padding, 3, dilation
        )

    return Op(
        upsample_ext.fixed_conv_transpose1d,
        ours,
        native,
        lambda n, c, h, w: [(n, 3, h, w)],
        "depthwise_conv_transpose2d" if isinstance(kernel[0], list) else "separable_conv_transpose2d",
        least_extent=2,  # as of conv_transpose1d
    )


def _linear(factor, padding_mode):
    def native(x):
        line = x[:, :, 0]
        if padding_mode == "replicate":
            return F.interpolate(line, scale_factor=factor, mode="linear")
        size, stride, padding = upsample_ext.caffe_upsample_params(factor)
        kernel = upsample_ext.bilinear_kernel(size, dtype=torch.float64).sum(0) / factor
        weight = kernel.to(line).expand(line.shape[1], 1, size)
        return F.conv_transpose1d(line, weight, None, stride, padding, groups=line.shape[1])

    return Op(
        upsample_ext.linear_conv_transpose1d,
        lambda x: upsample_ext.linear_conv_transpose1d(x[:, :, 0], factor, padding_mode=padding_mode),
        native,
        dispatches="separable_conv_transpose2d",
        native_strides=padding_mode == "zeros",
        least_extent=2,
    )


def _bilinear(factor, padding_mode="zeros"):
    def native(x):
        if padding_mode == "replicate":
            return _resize(x, scale_factor=factor, mode="bilinear")
        size, stride, padding = upsample_ext.caffe_upsample_params(factor)
        weight = upsample_ext.make_bilinear_weights(size, x.shape[1], dtype=x.dtype, device=x.device)
        return F.conv_transpose2d(x, weight, None, stride, padding, groups=x.shape[1])

    return Op(
        upsample_ext.bilinear_conv_transpose2d,
        lambda x: upsample_ext.bilinear_conv_transpose2d(x, factor, padding_mode=padding_mode),
        native,
        dispatches="separable_conv_transpose2d",
        native_strides=padding_mode == "zeros",
    )


def _argmax(score, dtype=torch.int64, mode="bilinear", **options):
    def native(x):
        logits = _resize(x.float(), mode=mode, **options)
        index = logits.argmax(1).to(dtype)
        return (index, logits.softmax(1).amax(1)) if score else index

    return Op(
        upsample_ext.upsample_argmax,
        lambda x: upsample_ext.upsample_argmax(x, dtype=dtype, return_score=score, mode=mode, **options),
        native,
        dispatches="upsample_argmax_with_score" if score else "upsample_argmax",
        differentiable=(),
        fixed_size="size" in options,
    )


def _threshold(threshold, mode="bilinear", **options):
    return Op(
        upsample_ext.upsample_threshold,
        lambda x: upsample_ext.upsample_threshold(x, threshold=threshold, mode=mode, **options),
        lambda x: _resize(x.float(), mode=mode, **options) > threshold,
        dispatches="upsample_threshold",
        differentiable=(),
        fixed_size="size" in options,
    )


def _cross_entropy(align_corners=False, weighted=False, **options):
    """Of (logits, target) or, weighted, (logits, target, weight)."""

    def native(x, target, *weight):
        logits = _resize(x, target.shape[-2:], mode="bilinear", align_corners=align_corners)
        return F.cross_entropy(logits, target, *weight, **options)

    return Op(
        upsample_ext.upsample_cross_entropy,
        lambda *t: upsample_ext.upsample_cross_entropy(*t, align_corners=align_corners, **options),
        native,
        lambda n, c, h, w: [(n, c, h, w), (n, 2 * h, w + 3), (c,)][: 2 + weighted],
        dispatches="upsample_cross_entropy",
        classes=1,
    )


def _add(shape, images=(0, 1), mode="bilinear", **corners):
    return Op(
        upsample_ext.upsample_add,
        lambda x, other: upsample_ext.upsample_add(x, other, mode=mode, **corners),
        lambda x, other: _resize(x, other.shape[-2:], mode=mode, **corners) + other,
        lambda n, c, h, w: [(n, c, h, w), shape(n, c, 2 * h, w + 3)],
        dispatches="upsample_add",
        images=images,
        differentiable=(0, 1),
    )


def _concat(size=None, mode="bilinear", **corners):
    def native(*inputs):
        to = inputs[0].shape[-2:] if size is None else size
        return torch.cat([_resize(t, to, mode=mode, **corners) for t in inputs], 1)

    return Op(
        upsample_ext.upsample_concat,
        lambda *inputs: upsample_ext.upsample_concat(inputs, size, mode=mode, **corners),
        native,
        lambda n, c, h, w: [(n, c, 2 * h, w + 3), (n, c, h, w), (n, 7, h + 1, 1)],
        dispatches="upsample_concat",
        images=(0, 1, 2),
        differentiable=(0, 1, 2),
        fixed_size=size is not None,
        bytes=True,
    )


def _chain(function, native, op, **options):
    """Two resizes and a crop between them. Not public, but for `upsample_ext` itself."""
    stages = [Stage((11, 13), crop=(1, 2, 9, 10)), Stage((12, 17), align_corners=True)]

    def resized(x):
        x = x if op == "upsample_chain" else x.float()
        first = _resize(x, (11, 13), mode="bilinear")[:, :, 1:10, 2:12]
        return _resize(first, (12, 17), mode="bilinear", align_corners=True)

    return Op(
        function,
        lambda x: function(x, stages, **options),
        lambda x: native(resized(x)),
        dispatches=op,
        differentiable=(0,) if op == "upsample_chain" else (),
        fixed_size=True,
        public=False,
    )


ROWS = {
    "interpolate": _interpolate(scale_factor=2),
    "interpolate to a size": _interpolate(size=(9, 5), fixed_size=True),
    "interpolate to a square": _interpolate(size=7, fixed_size=True),
    "interpolate with align_corners": _interpolate(size=(9, 5), align_corners=True, fixed_size=True),
    "interpolate by two factors": _interpolate(scale_factor=(1.37, 0.8), least_extent=2),
    "interpolate, recomputed": _interpolate(
        scale_factor=(1.37, 0.8), recompute_scale_factor=True, least_extent=2
    ),
    "nearest": _in_mode("nearest", scale_factor=2),
    "nearest by two factors": _in_mode("nearest", scale_factor=(1.37, 0.8)),
    "nearest-exact to a size": _in_mode("nearest-exact", size=(9, 5), fixed_size=True),
    "bicubic": _in_mode("bicubic", scale_factor=2),
    "bicubic with align_corners": _in_mode("bicubic", size=(9, 5), align_corners=True, fixed_size=True),
    "bilinear antialiased": _in_mode("bilinear", size=(3, 2), antialias=True, fixed_size=True),
    "bicubic antialiased": _in_mode("bicubic", scale_factor=(1.37, 0.8), antialias=True),
    "area": _in_mode("area", size=(3, 2), fixed_size=True, bytes=False),
    "upsample_bilinear2d": _interpolate(upsample_ext.upsample_bilinear2d, size=(9, 5), fixed_size=True),
    "conv_transpose2d": _conv_transpose(bias=True),
    "conv_transpose2d without bias": _conv_transpose(bias=False),
    "conv_transpose1d": _conv_transpose_of_lines(),
    "fixed_conv_transpose2d of a pair": _fixed(LINES),
    "fixed_conv_transpose2d of a plane": _fixed(PLANE),
    "fixed_conv_transpose2d of a plane a channel": _fixed([PLANE, PLANE[::-1], PLANE]),
    "fixed_conv_transpose2d of a pair, replicate": _fixed(LINES, "replicate"),
    "fixed_conv_transpose2d of a plane, replicate": _fixed(PLANE, "replicate"),
    "fixed_conv_transpose1d": _fixed_line(LINES[1]),
    "fixed_conv_transpose1d of a line a channel, replicate": _fixed_line([LINES[1]] * 3, "replicate"),
    "linear_conv_transpose1d": _linear(2, "zeros"),
    "linear_conv_transpose1d, replicate": _linear(3, "replicate"),
    "bilinear_conv_transpose2d": _bilinear(2),
    "bilinear_conv_transpose2d, replicate": _bilinear(3, "replicate"),
    "upsample_argmax": _argmax(False, scale_factor=2),
    "upsample_argmax with score": _argmax(True, scale_factor=2),
    "upsample_argmax as bytes": _argmax(True, dtype=torch.uint8, scale_factor=(1.7, 2.3)),
    "upsample_argmax to a size": _argmax(True, size=(7, 8), align_corners=True),
    "upsample_argmax, nearest": _argmax(True, mode="nearest", scale_factor=2),
    "upsample_argmax, bicubic": _argmax(True, mode="bicubic", scale_factor=(1.7, 2.3)),
    "upsample_threshold": _threshold(0.25, scale_factor=2),
    "upsample_threshold to a size": _threshold(-0.1, size=(9, 7), align_corners=True),
    "upsample_threshold, nearest-exact": _threshold(0.1, mode="nearest-exact", size=(9, 7)),
    "upsample_threshold, bicubic": _threshold(-0.1, mode="bicubic", scale_factor=2),
    "upsample_cross_entropy": _cross_entropy(),
    "upsample_cross_entropy, sum": _cross_entropy(reduction="sum", label_smoothing=0.1),
    "upsample_cross_entropy, none": _cross_entropy(reduction="none", align_corners=True),
    "upsample_cross_entropy, weighted": _cross_entropy(weighted=True, label_smoothing=0.2),
    "upsample_add": _add(lambda *image: image),
    "upsample_add of a row of images": _add(lambda n, c, h, w: (1, c, h, w), align_corners=True),
    "upsample_add of a plane": _add(lambda n, c, h, w: (h, w), images=(0,)),
    "upsample_add, nearest": _add(lambda *image: image, mode="nearest"),
    "upsample_add, bicubic": _add(lambda *image: image, mode="bicubic", align_corners=True),
    "upsample_concat": _concat(),
    "upsample_concat to a size": _concat((9, 7), align_corners=True),
    "upsample_concat, nearest": _concat(mode="nearest"),
    "upsample_concat, bicubic to a size": _concat((9, 8), mode="bicubic"),
    "chain_resample": _chain(chain_resample, lambda y: y, "upsample_chain"),
    "chain_threshold": _chain(chain_threshold, lambda y: y > 0.2, "upsample_chain_threshold", threshold=0.2),
    "chain_argmax": _chain(chain_argmax, lambda y: y.argmax(1), "upsample_chain_argmax"),
    "chain_argmax with score": _chain(
        chain_argmax,
        lambda y: (y.argmax(1), y.softmax(1).amax(1)),
        "upsample_chain_argmax_with_score",
        return_score=True,
    ),
}

# One row of each op, where what is tested depends on no other argument.
FIRST = {
    name: op
    for name, op in ROWS.items()
    if op.dispatches not in {other.dispatches for other in list(ROWS.values())[: list(ROWS).index(name)]}
}
DIFFERENTIABLE = {name: op for name, op in ROWS.items() if op.differentiable}
NOT_DIFFERENTIABLE = {name: op for name, op in ROWS.items() if not op.differentiable}
