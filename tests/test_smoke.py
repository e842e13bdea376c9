"""Every op once or twice in each dtype and layout on small, odd shapes: what sanitizers, which are slow, run.

Values are held loosely to float64 here; each family's own file has the exact rules.
"""

import pytest
import torch
import torch.nn.functional as F
from dtypes import DTYPES

import upsample_ext
from upsample_ext._chain import Stage, chain_argmax, chain_resample, chain_threshold

# Vectors fit the first shape's channels or rows and not the second's
SHAPES = [((1, 16, 6, 8), (12, 16)), ((2, 3, 7, 5), (9, 8)), ((2, 3, 9, 11), (4, 5))]


def contiguous(x):
    return x


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def every_second(x):
    return x.repeat_interleave(2, 3)[..., ::2]


LAYOUTS = [contiguous, channels_last, every_second]
everywhere = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
in_every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])


def image(shape, dtype, device, layout):
    return layout(torch.randn(shape, device=device, dtype=torch.float64).to(dtype))


def close(ours, exact):
    eps = torch.finfo(ours.dtype if ours.is_floating_point() else torch.float32).eps
    limit = 64 * eps * max(1.0, float(exact.detach().abs().max()))
    assert ours.shape == exact.shape
    assert float((ours.double() - exact).detach().abs().max()) <= limit


def compare(function, native, tensors):
    """Values and gradients of all tensors against native in float64."""
    mine = [t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in tensors]
    wide = [t.detach().double().requires_grad_() for t in tensors]
    output, exact = function(*mine), native(*wide)
    close(output, exact)
    grad_output = torch.randn_like(output)
    grads = torch.autograd.grad(output, mine, grad_output)
    for grad, expected in zip(grads, torch.autograd.grad(exact, wide, grad_output.double()), strict=True):
        close(grad, expected)


@everywhere
@in_every_dtype
@pytest.mark.parametrize("mode", [("bicubic", False), ("bilinear", True), ("area", False)])
def test_resample(dtype, layout, mode, device):
    mode, antialias = mode
    options = {"antialias": antialias} if mode != "area" else {}
    for shape, size in SHAPES:
        compare(
            lambda x, size=size: torch.ops.upsample_ext.resample(x, size, mode, antialias, False, None),
            lambda x, size=size: F.interpolate(x, size, mode=mode, **options),
            [image(shape, dtype, device, layout)],
        )


@everywhere
@in_every_dtype
@pytest.mark.parametrize("align_corners", [False, True])
def test_resize(dtype, layout, align_corners, device):
    for shape, size in SHAPES:
        options = {"size": size, "mode": "bilinear", "align_corners": align_corners}
        compare(
            lambda x, options=options: upsample_ext.interpolate(x, **options),
            lambda x, options=options: F.interpolate(x, **options),
            [image(shape, dtype, device, layout)],
        )


@everywhere
def test_resize_of_bytes(layout, device):
    for shape, size in SHAPES:
        x = layout(torch.randint(0, 256, shape, dtype=torch.uint8, device=device))
        exact = F.interpolate(x.double(), size, mode="bilinear")
        assert (upsample_ext.interpolate(x, size, mode="bilinear").double() - exact).abs().max() <= 0.55


@everywhere
@in_every_dtype
@pytest.mark.parametrize("kind", ["learned", "replicate", "separable", "one for all"])
def test_transposed_convolution(dtype, layout, kind, device):
    for (shape, _), (size, stride, padding) in zip(SHAPES, [(4, 2, 1), (3, 2, 0), (5, 3, 2)], strict=True):
        channels = shape[1]
        x = image(shape, dtype, device, layout)
        kernel = torch.randn(size, size, device=device).to(dtype)

        def native(x, w, b=None, stride=stride, padding=padding, channels=channels):
            return F.conv_transpose2d(x, w, b, stride, padding, groups=channels)

        if kind == "learned":
            weight = torch.randn(channels, 1, size, size, device=device).to(dtype)
            bias = torch.randn(channels, device=device).to(dtype)
            compare(
                lambda x, w, b, stride=stride, padding=padding, channels=channels: (
                    upsample_ext.conv_transpose2d(x, w, b, stride, padding, groups=channels)
                ),
                native,
                [x, weight, bias],
            )
        elif kind == "replicate":
            compare(
                lambda x: upsample_ext.bilinear_conv_transpose2d(x, 2, padding_mode="replicate"),
                lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
                [x],
            )
        else:
            fixed = (kernel[0], kernel[1]) if kind == "separable" else kernel
            plane = torch.outer(kernel[0].double(), kernel[1].double()) if kind == "separable" else kernel
            weight = plane.double().expand(channels, 1, size, size)
            compare(
                lambda x, fixed=fixed, stride=stride, padding=padding: upsample_ext.fixed_conv_transpose2d(
                    x, fixed, stride, padding
                ),
                lambda x, weight=weight, native=native: native(x, weight),
                [x],
            )


@everywhere
@in_every_dtype
def test_fused(dtype, layout, device):
    for shape, size in SHAPES:
        x = image(shape, dtype, device, layout)
        exact = F.interpolate(x.double(), size, mode="bilinear")
        labels, score = upsample_ext.upsample_argmax(x, size, return_score=True)
        chosen = exact.gather(1, labels[:, None])[:, 0]
        assert (exact.amax(1) - chosen).max() <= 1e-5
        assert (exact.softmax(1).amax(1) - score).abs().max() <= 1e-5
        assert torch.equal(upsample_ext.upsample_argmax(x, size), labels)
        mask = upsample_ext.upsample_threshold(x, size, threshold=0.25)
        assert (exact - 0.25).abs().masked_fill(mask == (exact > 0.25), 0).max() <= 1e-5

        between = 2 * shape[2] + 1, 2 * shape[3] + 1  # from there to the size: a chain
        stages = [Stage(between), Stage(size)]
        exact = F.interpolate(F.interpolate(x.double(), between, mode="bilinear"), size, mode="bilinear")
        labels, score = chain_argmax(x, stages, return_score=True)
        chosen = exact.gather(1, labels[:, None])[:, 0]
        assert (exact.amax(1) - chosen).max() <= 1e-5
        assert (exact.softmax(1).amax(1) - score).abs().max() <= 1e-5
        assert torch.equal(chain_argmax(x, stages), labels)
        mask = chain_threshold(x, stages, 0.25)
        assert (exact - 0.25).abs().masked_fill(mask == (exact > 0.25), 0).max() <= 1e-5
        compare(
            lambda x, stages=stages: chain_resample(x, stages),
            lambda x, between=between, size=size: F.interpolate(
                F.interpolate(x, between, mode="bilinear"), size, mode="bilinear"
            ),
            [x],
        )

        other = image((*shape[:2], *size), dtype, device, layout)
        compare(
            upsample_ext.upsample_add,
            lambda x, y, size=size: F.interpolate(x, size, mode="bilinear") + y,
            [x, other],
        )
        compare(
            lambda x, y: upsample_ext.upsample_concat([y, x]),
            lambda x, y, size=size: torch.cat([y, F.interpolate(x, size, mode="bilinear")], 1),
            [x, other],
        )


@everywhere
@in_every_dtype
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_cross_entropy(dtype, layout, reduction, device):
    for shape, size in SHAPES:
        target = torch.randint(0, shape[1], (shape[0], *size), device=device)
        target[:, 0] = 255
        options = {"ignore_index": 255, "reduction": reduction, "label_smoothing": 0.1}
        compare(
            lambda x, target=target, options=options: upsample_ext.upsample_cross_entropy(
                x, target, **options
            ),
            lambda x, target=target, size=size, options=options: F.cross_entropy(
                F.interpolate(x, size, mode="bilinear"), target, **options
            ),
            [image(shape, dtype, device, layout)],
        )
