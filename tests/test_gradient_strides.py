"""Gradients have native's strides, also in dimensions of size 1, so that the rest of a model's backward runs
as before and DistributedDataParallel's buckets match."""

import functools
import itertools

import pytest
import torch
from image_layouts import LAYOUTS
from torch.nn import functional as F

import upsample_ext

SHAPES = [
    (2, 3, 4, 5),
    (1, 3, 4, 5),
    (2, 1, 4, 5),
    (1, 1, 4, 5),
    (2, 3, 1, 5),
    (2, 3, 4, 1),
    (2, 3, 1, 1),
    (1, 1, 1, 1),
]
# The natural ones; the others' gradients differ in nothing from these.
INPUTS = ("contiguous", "channels_last", "sliced", "transposed", "channels_last_slice", "expanded_rows")
# What comes back: as from sum(), from a planar and from a channels-last layer.
GRADIENTS = {
    "expanded": lambda y: torch.ones(()).expand_as(y),
    "contiguous": lambda y: torch.ones(y.shape),
    "channels_last": lambda y: torch.ones(y.shape).to(memory_format=torch.channels_last),
}


@pytest.fixture(autouse=True)
def two_threads():
    """With one, PyTorch takes other kernels for some small images, which lay out single pixels otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def gradients(function, tensors, grad_output):
    tensors = [t.detach().requires_grad_() for t in tensors]
    output = function(*tensors)
    grads = torch.autograd.grad(
        output, tensors, GRADIENTS[grad_output](output) if output.dim() == 4 else None
    )
    return [output.stride(), *(grad.stride() for grad in grads)]


def assert_same_strides(ours, native, tensors):
    for grad_output in GRADIENTS:
        found, expected = (gradients(f, tensors, grad_output) for f in (ours, native))
        assert found == expected, grad_output


def images(shape):
    return {layout: LAYOUTS[layout](torch.randn(shape)) for layout in INPUTS}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_resize(shape):
    for x in images(shape).values():
        for size in ((8, 10), shape[2:], (3, 2), (1, 1)):
            assert_same_strides(
                lambda x, size=size: upsample_ext.interpolate(x, size, mode="bilinear"),
                lambda x, size=size: F.interpolate(x, size, mode="bilinear"),
                [x],
            )


@pytest.mark.parametrize("kernel, stride, padding", [(4, 2, 1), (3, 1, 1), (1, 1, 0), (2, 2, 0)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_transposed_convolution(shape, kernel, stride, padding):
    channels, settings = shape[1], {"stride": stride, "padding": padding}
    for x, layout in itertools.product(images(shape).values(), ("contiguous", "channels_last", "transposed")):
        weight, bias = LAYOUTS[layout](torch.randn(channels, 1, kernel, kernel)), torch.randn(channels)

        def conv(function, x, weight=weight, bias=bias):
            return function(x, weight, bias, groups=channels, **settings)

        # Of one channel the native one is no grouped convolution: its weight's gradient has ways of its own.
        assert_same_strides(
            functools.partial(conv, upsample_ext.conv_transpose2d),
            functools.partial(conv, F.conv_transpose2d),
            [x] if channels == 1 else [x, weight, bias],
        )
        line, plane = torch.randn(kernel), torch.randn(kernel, kernel)
        for fixed in ((line, line), plane):
            square = torch.outer(*fixed) if isinstance(fixed, tuple) else fixed
            assert_same_strides(
                lambda x, fixed=fixed: upsample_ext.fixed_conv_transpose2d(x, fixed, **settings),
                lambda x, square=square: F.conv_transpose2d(
                    x, square.expand(channels, 1, -1, -1), groups=channels, **settings
                ),
                [x],
            )


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy(shape, reduction):
    for x, size in itertools.product(images(shape).values(), ((8, 10), shape[2:])):
        target = torch.randint(0, shape[1], (shape[0], *size))

        def ours(x, target=target):
            return upsample_ext.upsample_cross_entropy(x, target, reduction=reduction).sum()

        def native(x, target=target):
            resized = F.interpolate(x, target.shape[1:], mode="bilinear")
            return F.cross_entropy(resized, target, reduction=reduction).sum()

        assert_same_strides(ours, native, [x])


@pytest.mark.parametrize("size", [(8, 10), None], ids=["resized", "same size"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_add_and_concat(shape, size):
    size = size or shape[2:]
    for x, other in itertools.product(images(shape).values(), images((*shape[:2], *size)).values()):
        assert_same_strides(
            upsample_ext.upsample_add,
            lambda x, other: F.interpolate(x, other.shape[2:], mode="bilinear") + other,
            [x, other],
        )
        assert_same_strides(
            lambda *both: upsample_ext.upsample_concat(both, size),
            lambda *both: torch.cat([F.interpolate(t, size, mode="bilinear") for t in both], 1),
            [x, other],
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_weight_of_a_transposed_convolution(channels, dtype):
    """oneDNN, which has no float64 and on some machines no half types, lays it out by other rules."""
    for layout, of_weight, kernel in itertools.product(INPUTS, INPUTS, [(3, 2), (1, 5), (4, 1)]):
        x = LAYOUTS[layout](torch.randn(2, channels, 4, 5).to(dtype))
        weight = LAYOUTS[of_weight](torch.randn(channels, 1, *kernel).to(dtype))
        for grad_output in GRADIENTS:
            ours, native = (
                torch.autograd.grad(output, leaf, GRADIENTS[grad_output](output).to(dtype).contiguous())
                for leaf in [weight.detach().requires_grad_()]
                for output in (f(x, leaf, groups=channels) for f in CONVOLUTIONS)
            )
            assert ours[0].stride() == native[0].stride(), (layout, of_weight, kernel, grad_output)


CONVOLUTIONS = (upsample_ext.conv_transpose2d, F.conv_transpose2d)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_caffe_layer(shape, factor):
    """With replicate a resize, of which the gradient follows grad_output; with zeros a convolution."""
    size, stride, padding = upsample_ext.caffe_upsample_params(factor)
    weight = upsample_ext.make_bilinear_weights(size, shape[1])
    for x in images(shape).values():
        assert_same_strides(
            lambda x: upsample_ext.bilinear_conv_transpose2d(x, factor, padding_mode="replicate"),
            lambda x: F.interpolate(x, scale_factor=factor, mode="bilinear"),
            [x],
        )
        assert_same_strides(
            lambda x: upsample_ext.bilinear_conv_transpose2d(x, factor),
            lambda x: F.conv_transpose2d(x, weight, None, stride, padding, groups=shape[1]),
            [x],
        )


def test_empty_batches():
    """Of which some native strides are no other batch's."""
    for shape, size in itertools.product([(0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 1, 1)], [(8, 10), (1, 1)]):
        channels = shape[1]
        wide = torch.zeros(channels, 4, 3, 2).to(memory_format=torch.channels_last)
        weights = [torch.zeros(channels, 1, 3, 2), wide[:, 2:3], torch.zeros(channels, 1, 2, 3).mT]
        line, square = torch.ones(2), torch.ones(channels, 1, 2, 2)
        for layout, x in images(shape).items():
            for f, g in (
                (
                    upsample_ext.upsample_threshold,
                    lambda x, size: F.interpolate(x, size, mode="bilinear") > 0,
                ),
                (
                    lambda x, size: upsample_ext.interpolate(x, size, mode="bilinear"),
                    lambda x, size: F.interpolate(x, size, mode="bilinear"),
                ),
                (
                    lambda x, size: upsample_ext.upsample_add(x, torch.zeros(size)),
                    lambda x, size: F.interpolate(x, size, mode="bilinear") + torch.zeros(size),
                ),
                (
                    lambda x, size: upsample_ext.upsample_add(x, torch.zeros(*x.shape[:2], *size)),
                    lambda x, size: (
                        F.interpolate(x, size, mode="bilinear") + torch.zeros(*x.shape[:2], *size)
                    ),
                ),
            ):
                assert f(x, size).stride() == g(x, size).stride(), (layout, shape, size)
            for weight in weights:
                assert_same_strides(
                    lambda x, w, channels=channels: upsample_ext.conv_transpose2d(x, w, groups=channels),
                    lambda x, w, channels=channels: F.conv_transpose2d(x, w, groups=channels),
                    [x, weight],
                )
            assert_same_strides(
                lambda x, line=line: upsample_ext.fixed_conv_transpose2d(x, (line, line), stride=2),
                lambda x, square=square: F.conv_transpose2d(x, square, stride=2, groups=square.shape[0]),
                [x],
            )
            target = torch.zeros(0, *size, dtype=torch.int64)
            assert_same_strides(
                lambda x, target=target: upsample_ext.upsample_cross_entropy(x, target, reduction="sum"),
                lambda x, target=target: F.cross_entropy(
                    F.interpolate(x, target.shape[1:], mode="bilinear"), target, reduction="sum"
                ),
                [x],
            )


def test_gradients_of_empty_batches_are_differentiable():
    x, weight = torch.zeros(0, 3, 4, 5), torch.randn(3, 1, 2, 2)
    leaves = [x.requires_grad_(), weight.requires_grad_()]
    first = torch.autograd.grad(
        upsample_ext.conv_transpose2d(*leaves, groups=3).sum(), leaves, create_graph=True
    )
    second = torch.autograd.grad(sum(grad.square().sum() for grad in first), leaves, allow_unused=True)
    assert all(grad is None or not grad.any() for grad in second)
