"""The fused ops in modes other than bilinear: bit for bit what follows our own interpolate in that mode.

Transforms, compile, export and the like are asked of the rows of ops.py, in test_contract.py.
"""

import io
import itertools
import math

import pytest
import torch
from dispatched_ops import dispatched_ops
from dtypes import DTYPES
from fused_expressions import is_laid_out_as, randn, same_bits
from image_layouts import LAYOUTS
from kernel_backend import EMULATED
from ops import as_tuple
from torch.nn import functional as F

from upsample_ext import interpolate, upsample_add, upsample_argmax, upsample_concat, upsample_threshold

MODES = ["nearest", "nearest-exact", "bicubic", "area"]
every_mode = pytest.mark.parametrize("mode", MODES)

# Of a few channels and of many; enlarged, shrunk, one of each; rows that fit a vector and that do not.
RESIZES = [
    ((2, 3, 7, 5), (28, 5)),
    ((1, 19, 8, 16), (16, 32)),
    ((2, 5, 6, 70), (11, 140)),
    ((1, 2, 5, 33), (20, 131)),
    ((1, 4, 30, 41), (9, 17)),
    ((1, 1, 6, 9), (4, 40)),
    ((2, 3, 1, 1), (3, 4)),
    ((1, 40, 9, 6), (18, 12)),
    ((2, 3, 4, 6), (4, 6)),
    ((0, 3, 4, 5), (8, 9)),
]


def cases():
    """Each resize in two layouts, and all layouts among them."""
    pairs = itertools.cycle(itertools.product(LAYOUTS, LAYOUTS))
    for shape, size in RESIZES:
        yield shape, size, "contiguous", "contiguous"
        yield shape, size, "channels_last", "channels_last"
        yield shape, size, *next(pairs)


def check_argmax(x, mode, *args, **kwargs):
    (index, score), names = dispatched_ops(upsample_argmax, x, *args, mode=mode, return_score=True, **kwargs)
    assert "upsample_ext::upsample_argmax_with_score" in names
    # Rows of planes are what it reads
    logits = interpolate(x.float().contiguous(), *args, mode=mode, **kwargs)
    assert same_bits(index, logits.argmax(1)) and index.is_contiguous()
    torch.testing.assert_close(score, logits.softmax(1).amax(1), equal_nan=True)
    assert torch.equal(upsample_argmax(x, *args, mode=mode, **kwargs), index)


def check_threshold(x, mode, *args, threshold=0.1, **kwargs):
    mask, names = dispatched_ops(upsample_threshold, x, *args, mode=mode, threshold=threshold, **kwargs)
    assert "upsample_ext::upsample_threshold" in names
    expected = interpolate(x.float(), *args, mode=mode, **kwargs) > threshold
    assert is_laid_out_as(mask, F.interpolate(x.float(), *args, mode=mode, **kwargs) > threshold)
    assert torch.equal(mask, expected)


@every_mode
@pytest.mark.parametrize("dtype", DTYPES)
def test_argmax_and_threshold(mode, dtype, device, level):
    for shape, size, layout, _ in cases():
        x = randn(*shape, dtype=dtype, device=device, layout=layout)
        check_argmax(x, mode, size)
        check_threshold(x, mode, size)
    for factor in (2, 1.37, (0.51, 2.71)):
        x = randn(2, 3, 9, 14, dtype=dtype, device=device)
        check_argmax(x, mode, scale_factor=factor)
        check_threshold(x, mode, scale_factor=factor)


@every_mode
@pytest.mark.parametrize("dtype", DTYPES)
def test_add(mode, dtype, device, level):
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for shape, size, layout, other_layout in cases():
        x = randn(*shape, dtype=dtype, device=device, layout=layout)
        other = randn(*shape[:2], *size, dtype=dtype, device=device, layout=other_layout)
        total, names = dispatched_ops(upsample_add, x, other, mode=mode)
        assert "upsample_ext::upsample_add" in names
        assert is_laid_out_as(total, F.interpolate(x, size, mode=mode) + other)
        if EMULATED:  # by the expression, which rounds twice
            assert same_bits(total, interpolate(x, size, mode=mode) + other)
        else:
            assert same_bits(total, (interpolate(x.to(wide), size, mode=mode) + other.to(wide)).to(dtype))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_picked_rows_are_added(mode, dtype, layout, threads, device):
    """Larger than the cache, on several threads; images that broadcast, and one whose rows are apart."""
    for shape, size in [
        ((2, 6, 300, 250), (901, 1000)),
        ((1, 5, 61, 33), (61, 97)),
        ((3, 2, 40, 90), (17, 90)),
    ]:
        x = torch.randn(shape, device=device).to(dtype).contiguous(memory_format=layout)
        other = torch.randn(*shape[:2], *size, device=device).to(dtype).contiguous(memory_format=layout)
        wider = torch.cat([other, other], 3)[..., : size[1]].detach()
        resized = F.interpolate(x, size, mode=mode)
        for addend in (other, other[:1], other[:, :1], other[0, 0], wider):
            total = upsample_add(x, addend, mode=mode)
            expected = resized + addend
            assert torch.equal(total, expected) and total.stride() == expected.stride()


@every_mode
@pytest.mark.parametrize("dtype", [*DTYPES, torch.uint8, torch.bool, torch.int64])
def test_concat(mode, dtype, device, level):
    natively = mode.startswith("nearest") or (mode, dtype) == ("bicubic", torch.uint8)
    if not (natively or dtype.is_floating_point):
        pytest.skip("natively there is no such resize")
    for shape, size, layout, other_layout in cases():
        inputs = [
            LAYOUTS[of]((torch.randn(shape[0], channels, *extent, device=device) * 40).abs().to(dtype))
            for of, channels, extent in [
                (layout, shape[1], shape[2:]),
                (other_layout, 3, size),
                (layout, 17, (3, 2)),
            ]
        ]
        result, names = dispatched_ops(upsample_concat, inputs, size, mode=mode)
        assert "upsample_ext::upsample_concat" in names
        resized = [t if t.shape[2:] == torch.Size(size) else interpolate(t, size, mode=mode) for t in inputs]
        expected = torch.cat(resized, 1)
        assert is_laid_out_as(result, expected) and same_bits(result, expected)


@every_mode
def test_nan_and_infinity(mode, device, level):
    x = torch.randn(2, 6, 7, 40, device=device)
    x[0, 2, 3, 4], x[0, 4, 3, 4], x[1, 5, 2, 30], x[1, 0, 6, 39] = math.nan, math.nan, math.inf, -math.inf
    for size in ((14, 80), (13, 57), (3, 11)):
        native = F.interpolate(x, size, mode=mode)
        assert torch.equal(upsample_argmax(x, size, mode=mode), native.argmax(1))
        assert torch.equal(upsample_threshold(x, size, mode=mode, threshold=9.0), native > 9.0)
        total = upsample_add(x, torch.zeros_like(native), mode=mode)
        assert torch.equal(total.isnan(), native.isnan()) and torch.equal(total.isinf(), native.isinf())


@every_mode
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_those_of_our_resize(mode, layout, dtype, device):
    def resized(t):
        return interpolate(t[0], (8, 9), mode=mode)

    inputs = [
        randn(2, 3, 5, 7, dtype=dtype, device=device, layout=layout),
        randn(2, 3, 8, 9, dtype=dtype, device=device, layout=layout),
    ]
    for fused, expression in [
        (lambda t: upsample_add(*t, mode=mode), lambda t: resized(t) + t[1]),
        (lambda t: upsample_concat(t, (8, 9), mode=mode), lambda t: torch.cat([resized(t), t[1]], 1)),
    ]:
        weight = torch.randn_like(expression(inputs))
        grads, expected = (
            torch.autograd.grad(f(leaves), leaves, weight)
            for f in (fused, expression)
            for leaves in [[t.detach().requires_grad_() for t in inputs]]
        )
        for grad, wanted in zip(grads, expected, strict=True):
            assert torch.equal(grad, wanted) and grad.dtype == wanted.dtype
        assert grads[0].stride() == expected[0].stride()


# ---- arguments -------------------------------------------------------------------------------------------


def test_wrong_modes_raise_as_the_expression():
    x, other = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 6, 8)
    for mode, corners in [("cubic", False), ("linear", False), ("nearest", True), ("area", True), (3, False)]:
        with pytest.raises(Exception) as native:
            F.interpolate(x, (6, 8), mode=mode, align_corners=corners or None)
        for call in (
            lambda: upsample_argmax(x, (6, 8), None, corners, mode=mode),  # noqa: B023
            lambda: upsample_threshold(x, (6, 8), None, corners, mode=mode),  # noqa: B023
            lambda: upsample_add(x, other, corners, mode=mode),  # noqa: B023
            lambda: upsample_concat([x, other], (6, 8), corners, mode=mode),  # noqa: B023
        ):
            with pytest.raises(type(native.value)):
                call()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("upsample_argmax", ((6, 8), False, None, None, torch.int64)),
        ("upsample_argmax_with_score", ((6, 8), False, None, None, torch.int64)),
        ("upsample_threshold", ((6, 8), False, None, None, 0.0)),
        ("upsample_add", (torch.zeros(1, 2, 6, 8), False)),
        ("upsample_concat", ((6, 8), False)),
    ],
)
@pytest.mark.parametrize("kind", ["cpu", "meta"])
def test_the_ops_name_what_they_expect(name, arguments, kind):
    op = getattr(torch.ops.upsample_ext, name)
    x = torch.randn(1, 2, 3, 4, device=kind)
    arguments = [a.to(kind) if isinstance(a, torch.Tensor) else a for a in arguments]
    image = [x] if name == "upsample_concat" else x
    op_name = name.removesuffix("_with_score")
    with pytest.raises(ValueError, match=f"{op_name}: expected mode to be nearest, .* got 'cubic'"):
        op(image, *arguments, "cubic")
    with pytest.raises(RuntimeError, match=f"{op_name}: expected an image of 3 .* 'linear', got 4"):
        op(image, *arguments, "linear")
    # Programs that were saved before there was a choice do not say which
    results = [op(image, *arguments), op(image, *arguments, "bilinear")]
    for of_old, of_new in zip(*map(as_tuple, results), strict=True):
        assert kind == "meta" or torch.equal(of_old, of_new)


def test_images_of_other_ranks_are_left_to_the_expression():
    line, volume = torch.randn(2, 5, 9), torch.randn(2, 5, 3, 4, 6)
    assert torch.equal(upsample_argmax(line, 18, mode="nearest"), F.interpolate(line, 18).argmax(1))
    labels = F.interpolate(volume, scale_factor=2, mode="trilinear").argmax(1)
    assert torch.equal(upsample_argmax(volume, scale_factor=2, mode="trilinear"), labels)
    mask = interpolate(volume, (6, 8, 12)) > 0.2
    assert torch.equal(upsample_threshold(volume, (6, 8, 12), threshold=0.2, mode="nearest"), mask)


def test_traces_keep_the_mode_for_other_sizes():
    def both(x):
        return upsample_argmax(x, scale_factor=2, mode="nearest"), upsample_threshold(
            x, scale_factor=2, mode="bicubic"
        )

    traced = torch.jit.trace(both, torch.randn(1, 3, 4, 5))
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    buffer.seek(0)
    x = torch.randn(2, 3, 7, 6)
    for ours, expected in zip(torch.jit.load(buffer)(x), both(x), strict=True):
        assert torch.equal(ours, expected)


def test_larger_than_the_cache():
    x = torch.randn(1, 8, 256, 256)
    mask, classes = (
        interpolate(x, scale_factor=8) > 0,
        interpolate(x.argmax(1)[:, None], scale_factor=8)[:, 0],
    )
    assert torch.equal(upsample_threshold(x, scale_factor=8, mode="nearest"), mask)
    assert torch.equal(upsample_argmax(x, scale_factor=8, mode="nearest"), classes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
@pytest.mark.parametrize(
    ("shape", "size"), [((1, 3, 1, 160), (1, 1)), ((2, 3, 160, 1), (3, 1)), ((1, 17, 64, 200), (2, 3))]
)
def test_area_that_shrinks_by_far(shape, size, layout, dtype, level):
    """More taps along an axis than the fused kernels take."""
    x = LAYOUTS[layout](torch.randn(shape).to(dtype))
    resized = F.interpolate(x.float(), size, mode="area")
    index, score = upsample_argmax(x, size, mode="area", return_score=True)
    best = resized.gather(1, index.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(best, resized.amax(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(score, resized.softmax(1).amax(1))
    mask = upsample_threshold(x, size, threshold=0.01, mode="area")
    clear = (resized - 0.01).abs() > 1e-5
    assert mask.dtype is torch.bool and torch.equal(mask[clear], resized[clear] > 0.01)
    other = torch.randn(resized.shape).to(dtype)
    torch.testing.assert_close(upsample_add(x, other, mode="area"), (resized + other.float()).to(dtype))
    torch.testing.assert_close(
        upsample_concat([x, other], size, mode="area").float()[:, : shape[1]],
        resized.to(dtype).float(),
    )


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "area"])
@pytest.mark.parametrize("channels", [3, 17])
def test_transposed_images_to_one_pixel(channels, mode, level):
    """Planes of one column look like pixels to the kernels: no more rows may be written than there are."""
    for _ in range(20):
        x = torch.randn(1, channels, 4, 6).transpose(2, 3)
        resized, other = F.interpolate(x, 1, mode=mode), torch.randn(1, channels, 1, 1)
        torch.testing.assert_close(upsample_add(x, other, mode=mode), resized + other)
        assert torch.equal(upsample_threshold(x, 1, threshold=9.0, mode=mode), resized > 9.0)
        assert torch.equal(upsample_argmax(x, 1, mode=mode), resized.argmax(1))
        torch.testing.assert_close(interpolate(x, 1, mode=mode), resized)
