"""upsample_add against what it fuses: interpolate, then +."""

import math

import pytest
import torch
from dispatched_ops import OUR_BACKWARD, dispatched_ops
from dtypes import DTYPES
from fused_expressions import (
    bytes_allocated,
    check_gradients,
    is_laid_out_as,
    native_resize,
    randn,
    resize,
    same_bits,
)
from image_layouts import LAYOUTS
from resample_cases import RESIZES
from torch.nn import functional as F

from upsample_ext import upsample_add

ADD = "upsample_ext::upsample_add"


def rounded_once(x, other, align_corners=False):
    """What upsample_add should give to the last bit: our own resize and the sum, both as wide as sums are."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    return (resize(x.to(wide), other.shape[-2:], align_corners) + other.to(wide)).to(x.dtype)


def native_add(x, other, align_corners=False):
    return native_resize(x, other.shape[-2:], align_corners) + other


def check_add(x, other, align_corners=False):
    before = other.clone()
    result, ops = dispatched_ops(upsample_add, x, other, align_corners)
    assert ADD in ops
    assert is_laid_out_as(result, native_add(x, other, align_corners))
    assert same_bits(result, rounded_once(x, other, align_corners))
    assert same_bits(other, before)


# ---- values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "size"), RESIZES)
def test_every_resize(shape, size, dtype, align_corners, device, level):
    for layout in ("contiguous", "channels_last"):
        x = randn(*shape, dtype=dtype, device=device, layout=layout)
        for other_layout in ("contiguous", "channels_last"):
            other = randn(*shape[:2], *size, dtype=dtype, device=device, layout=other_layout)
            check_add(x, other, align_corners)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_layout(layout, dtype, device, level):
    shapes = [
        ((2, 3, 5, 9), (10, 13)),
        ((1, 1, 6, 5), (4, 12)),
        ((1, 4, 7, 1), (9, 1)),
        ((2, 3, 4, 4), (1, 1)),
    ]
    for shape, size in shapes:
        for other_layout in ("contiguous", "channels_last", layout):
            x = randn(*shape, dtype=dtype, device=device, layout=layout)
            other = randn(*shape[:2], *size, dtype=dtype, device=device, layout=other_layout)
            check_add(x, other)
            check_add(LAYOUTS[other_layout](x), LAYOUTS[layout](other))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "numpy_array", "sliced", "expanded_batch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_images_in_different_orders(layout, dtype, device, level):
    for shape, size in [
        ((1, 3, 90, 120), (200, 310)),
        ((1, 3, 200, 310), (74, 115)),
        ((2, 20, 40, 31), (90, 70)),
    ]:
        x = randn(*shape, dtype=dtype, device=device, layout=layout)
        for other_layout in (
            "contiguous",
            "channels_last",
            "numpy_array",
            "sliced",
            "transposed",
            "expanded_rows",
        ):
            check_add(x, randn(*shape[:2], *size, dtype=dtype, device=device, layout=other_layout))


@pytest.mark.parametrize(
    "other_shape", [(1, 3, 8, 9), (3, 8, 9), (2, 1, 8, 9), (1, 1, 8, 9), (1, 8, 9), (8, 9)]
)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_of_what_broadcasts_to_the_image(other_shape, layout, device, level):
    x = randn(2, 3, 4, 5, device=device, layout=layout)
    check_add(x, torch.randn(other_shape, device=device))
    check_add(x[:1], torch.randn(1, *other_shape[-3:], device=device)[:1])


def test_of_odd_strides_where_the_size_is_1(device, level):
    """Their strides say nothing; native's layout of the sum follows them all the same."""
    for shape, size in [
        ((1, 3, 4, 5), (8, 9)),
        ((2, 1, 4, 5), (8, 9)),
        ((1, 1, 4, 5), (1, 9)),
        ((2, 3, 4, 1), (8, 1)),
    ]:
        for layout in ("odd_size_1", "odd_size_1_channels_last", "transposed", "batch_innermost"):
            x = randn(*shape, device=device, layout=layout)
            for other_layout in ("contiguous", "odd_size_1", "odd_size_1_channels_last", "rows_outermost"):
                check_add(x, randn(*shape[:2], *size, device=device, layout=other_layout))


def test_of_half_types_rounds_once(device, level):
    """0.5 + 2^-11 rounds to 0.5 as a half, and adding 2^-12 to that again; the sum of all three does not."""
    x = torch.tensor([[[[0.5, 0.5 + 2.0**-11]]]], dtype=torch.float16, device=device)
    other = torch.full((1, 1, 1, 4), 2.0**-12, dtype=torch.float16, device=device)
    result = upsample_add(x, other)
    check_add(x, other)
    assert not torch.equal(result, native_add(x, other))
    exact = F.interpolate(x.double(), (1, 4), mode="bilinear") + other.double()
    assert (result.double() - exact).abs().max() <= (native_add(x, other).double() - exact).abs().max()


def test_of_infinities_and_nan(device, level):
    for layout in ("contiguous", "channels_last"):
        for size in ((12, 40), (6, 20), (6, 30), (9, 20)):
            x = randn(1, 3, 6, 20, device=device, layout=layout)
            other = randn(1, 3, *size, device=device, layout=layout)
            for t in (x, other):
                for value in (math.inf, -math.inf, math.nan):
                    t[torch.rand(t.shape, device=device) < 0.02] = value
            check_add(x, other)


def test_leaves_its_arguments_alone_and_shares_no_memory(device):
    x, other = randn(1, 3, 4, 5, device=device), randn(1, 3, 8, 9, device=device)
    kept = x.clone(), other.clone()
    result = upsample_add(x, other)
    result.zero_()
    assert torch.equal(x, kept[0]) and torch.equal(other, kept[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "dtype"), [("contiguous", torch.float32), ("channels_last", torch.float16)]
)
def test_larger_than_the_cache(layout, dtype, level):
    x = randn(1, 16, 100, 150, dtype=dtype, layout=layout)
    other = randn(1, 16, 800, 1200, dtype=dtype, layout=layout)
    check_add(x, other)
    check_add(x, other.transpose(2, 3).contiguous().transpose(2, 3))


# ---- what goes to PyTorch ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "other_dtype"),
    [
        (torch.float16, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.float16, torch.bfloat16),
        (torch.float32, torch.float64),
        (torch.float32, torch.int64),
        (torch.uint8, torch.float32),
        (torch.uint8, torch.uint8),
        (torch.float32, torch.complex64),
    ],
)
def test_of_mixed_dtypes_promotes_as_native(dtype, other_dtype, device):
    x, other = (
        torch.ones(1, 2, 4, 5, device=device).to(dtype),
        torch.ones(1, 2, 8, 9, device=device).to(other_dtype),
    )
    result, ops = dispatched_ops(upsample_add, x, other)
    assert ADD not in ops
    assert is_laid_out_as(result, native_add(x, other)) and torch.equal(result, native_add(x, other))


@pytest.mark.parametrize("other_shape", [(4, 3, 8, 9), (2, 5, 8, 9), (5, 1, 3, 8, 9)])
def test_that_broadcasts_the_image_goes_to_pytorch(other_shape):
    x = torch.randn(1, 1, 4, 5)
    other = torch.randn(other_shape)
    torch.testing.assert_close(upsample_add(x, other), native_add(x, other))


def test_raises_as_the_expression(device):
    x = torch.randn(2, 3, 4, 5, device=device)
    for args in [
        (x, torch.randn(3, 3, 8, 9)),
        (x, torch.randn(2, 4, 8, 9)),
        (x, torch.randn(9)),
        (x, torch.randn(2, 3, 0, 9)),
        (x, 3.0),
        (torch.randn(3, 4, 5), torch.randn(3, 8, 9)),
        (torch.randn(2, 0, 4, 5), torch.randn(2, 0, 8, 9)),
        (torch.zeros(2, 3, 4, 5, dtype=torch.int64), torch.randn(2, 3, 8, 9)),
    ]:
        with pytest.raises(Exception) as native:
            native_add(*args)
        with pytest.raises(type(native.value)):
            upsample_add(*args)


def test_the_op_names_what_it_expects():
    op = torch.ops.upsample_ext.upsample_add
    x = torch.randn(2, 3, 4, 5)
    for other, message in [
        (torch.randn(9), "upsample_add: expected other to have 2 to 4 dimensions"),
        (torch.randn(2, 4, 8, 9), "upsample_add: expected other to broadcast to 2 images of 3 channels"),
        (torch.randn(2, 3, 8, 9).half(), "upsample_add: expected other to have dtype"),
        (torch.randn(2, 3, 0, 9), "upsample_add: expected output_size greater than 0"),
        (torch.randn(2, 3, 8, 9, device="meta"), "upsample_add: expected other on device cpu"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            op(x, other, False)
    with pytest.raises(RuntimeError, match="upsample_add: expected a 4-D input"):
        op(x[0], torch.randn(3, 8, 9), False)


# ---- gradients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients(dtype, layout, device):
    for shape, other_shape in [
        ((2, 3, 5, 7), (2, 3, 10, 14)),
        ((1, 1, 6, 5), (1, 1, 4, 12)),
        ((2, 3, 4, 5), (1, 3, 8, 9)),
        ((2, 3, 4, 5), (3, 1, 9)),
        ((2, 3, 4, 5), (8, 9)),
    ]:
        inputs = [
            randn(*shape, dtype=dtype, device=device, layout=layout),
            torch.randn(other_shape, device=device).to(dtype),
        ]
        check_gradients(
            lambda t: upsample_add(*t), lambda t: resize(t[0], t[1].shape[-2:]) + t[1], inputs, ADD
        )


def test_gradients_only_where_they_are_wanted(device):
    x, other = randn(1, 2, 3, 4, device=device), randn(1, 2, 6, 8, device=device)
    for wanted in ((True, False), (False, True)):
        leaves = [t.clone().requires_grad_(want) for t, want in zip((x, other), wanted, strict=True)]
        _, ops = dispatched_ops(lambda: upsample_add(*leaves).sum().backward())  # noqa: B023
        assert (OUR_BACKWARD in ops) == wanted[0]
        assert [leaf.grad is not None for leaf in leaves] == list(wanted)


def test_backward_keeps_no_copy_of_the_images(device):
    saved = []
    leaves = [
        t.requires_grad_() for t in (randn(1, 2, 3, 4, device=device), randn(1, 2, 6, 8, device=device))
    ]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        upsample_add(*leaves).sum().backward()
    assert not saved


# ---- vmap, memory --------------------------------------------------------------------------------------


def test_vmap_over_an_other_of_fewer_dimensions(device):
    x = torch.randn(3, 2, 2, 3, 4, device=device)
    for shape, dim in [
        ((6, 5), 0),
        ((2, 6, 5), 1),
        ((1, 6, 5), None),
        ((1, 2, 6, 5), None),
        ((2, 2, 6, 5), None),
    ]:
        other = torch.randn(shape, device=device)
        if dim is not None:
            other = torch.stack([other, other + 1, other + 2], dim)
        result = torch.vmap(upsample_add, in_dims=(0, dim))(x, other)
        others = [other] * 3 if dim is None else other.unbind(dim)
        expected = torch.stack([native_add(*pair) for pair in zip(x, others, strict=True)])
        torch.testing.assert_close(result, expected)


def test_nothing_of_the_resized_size_is_stored_but_the_result():
    x, other = torch.randn(1, 19, 16, 32), torch.randn(1, 19, 128, 256)
    for layout in (torch.contiguous_format, torch.channels_last):
        allocated, result = bytes_allocated(upsample_add, x, other.contiguous(memory_format=layout))
        assert result.nbytes <= allocated <= result.nbytes + 4096
