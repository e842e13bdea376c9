"""upsample_concat against what it fuses: interpolate each, then torch.cat."""

import math

import pytest
import torch
from dispatched_ops import OUR_BACKWARD, OUR_UPSAMPLE, dispatched_ops
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
from kernel_backend import EMULATED
from resample_cases import RESIZES

from upsample_ext import upsample_concat

CONCAT = "upsample_ext::upsample_concat"


def native_concat(inputs, size=None, align_corners=False):
    size = inputs[0].shape[-2:] if size is None else size
    return torch.cat([native_resize(t, size, align_corners) for t in inputs], 1)


def our_concat(inputs, size=None, align_corners=False):
    size = inputs[0].shape[-2:] if size is None else size
    return torch.cat([resize(t, size, align_corners) for t in inputs], 1)


def check_concat(inputs, size=None, align_corners=False):
    result, ops = dispatched_ops(upsample_concat, inputs, size, align_corners)
    assert CONCAT in ops
    expected = our_concat(inputs, size, align_corners)
    assert is_laid_out_as(result, expected) and same_bits(result, expected)
    return result


# ---- values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.uint8])
@pytest.mark.parametrize(("shape", "size"), RESIZES)
def test_every_resize(shape, size, dtype, align_corners, device, level):
    n, c, h, w = shape
    for layout in ("contiguous", "channels_last"):
        inputs = [
            (torch.randn(n, channels, *extent, device=device) * 40).abs().to(dtype)
            for channels, extent in ((c, (h, w)), (3, size), (16, (3, 2)), (c + 1, (w, h)))
        ]
        check_concat([LAYOUTS[layout](t) for t in inputs], size, align_corners)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_layout(layout, dtype, device, level):
    for other_layout in ("contiguous", "channels_last", layout):
        for n, c, size in [(2, 3, (10, 13)), (1, 1, (4, 12)), (2, 4, (1, 1)), (1, 1, (9, 1))]:
            inputs = [
                randn(n, c, 5, 9, dtype=dtype, device=device, layout=layout),
                randn(n, 2, *size, dtype=dtype, device=device, layout=other_layout),
                randn(n, c, 6, 1, dtype=dtype, device=device, layout=layout),
            ]
            check_concat(inputs, size)
            check_concat(inputs[::-1], size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "numpy_array"])
def test_of_images_in_different_orders(layout, dtype, device, level):
    size = (150, 210)
    for n, c in ((1, 3), (2, 20)):
        inputs = [
            LAYOUTS[of]((torch.randn(n, c, *extent, device=device) * 40).abs().to(dtype))
            for of, extent in [
                (layout, (75, 105)),
                ("channels_last", (290, 301)),
                ("contiguous", size),
                ("numpy_array", (40, 41)),
                ("sliced", (40, 41)),
                ("expanded_rows", size),
                ("transposed", size),
            ]
        ]
        check_concat(inputs, size)
        check_concat(inputs[::-1], size)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_images_share_launches(layout, dtype, device, level):
    """On CUDA: copied, by factors whose taps are known, by others; more images than a launch has room for."""
    extents = [(16, 16), (8, 8), (4, 4), (2, 3), (16, 16), (1, 1), (40, 40), (3, 8), (16, 16), (16, 4)]
    inputs = [randn(2, 16, *extent, dtype=dtype, device=device, layout=layout) for extent in extents]
    check_concat(inputs)
    check_concat(inputs[1:], (16, 16))


@pytest.mark.skipif(not EMULATED, reason="asks the emulation which kernels would run")
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_one_launch(layout, monkeypatch, tmp_path):
    launches = tmp_path / "launches"
    launches.write_text("")
    monkeypatch.setenv("CUSIM_ONLY_RECORD", str(launches))
    inputs = [randn(2, 16, 16 // f, 16 // f, dtype=torch.float16, layout=layout) for f in (1, 2, 4, 8)]
    upsample_concat(inputs)
    assert len(launches.read_text().splitlines()) == 1


def test_takes_the_size_of_the_first_where_none_is_given(device):
    inputs = [
        randn(2, 3, 7, 9, device=device),
        randn(2, 1, 4, 5, device=device),
        randn(2, 2, 14, 3, device=device),
    ]
    result = check_concat(inputs)
    assert result.shape == (2, 6, 7, 9)
    assert torch.equal(result[:, :3], inputs[0])
    assert check_concat(tuple(inputs), 6).shape == (2, 6, 6, 6)
    assert check_concat(inputs[:1], (3, 4)).shape == (2, 3, 3, 4)


@pytest.mark.parametrize(
    "dtypes",
    [
        (torch.float16, torch.float32),
        (torch.float32, torch.float16),
        (torch.bfloat16, torch.float16),
        (torch.float64, torch.float32, torch.uint8),
        (torch.uint8, torch.bfloat16),
    ],
)
def test_promotes_as_native(dtypes, device):
    for layout in ("contiguous", "channels_last"):
        inputs = [
            LAYOUTS[layout]((torch.rand(2, 3, 4 + i, 5, device=device) * 99).to(dtype))
            for i, dtype in enumerate(dtypes)
        ]
        check_concat(inputs, (8, 7))
        check_concat(inputs, (5, 5))


def test_copies_an_image_of_the_size(device):
    """Infinities too, where a resize by the factor 1 has 0 * inf."""
    x = torch.tensor([1.0, math.inf, -math.inf, -0.0], device=device).reshape(1, 1, 2, 2)
    result = upsample_concat([x, torch.ones(1, 1, 1, 1, device=device)])
    assert torch.equal(result[:, :1], x) and torch.signbit(result[0, 0, 1, 1])


def test_of_infinities_and_nan(device, level):
    for layout in ("contiguous", "channels_last"):
        inputs = [
            randn(1, 5, 6, 20, device=device, layout=layout),
            randn(1, 3, 4, 50, device=device, layout=layout),
            randn(1, 3, 12, 20, device=device, layout=layout),
        ]
        for t in inputs:
            for value in (math.inf, -math.inf, math.nan):
                t[torch.rand(t.shape, device=device) < 0.02] = value
        check_concat(inputs, (12, 40))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_larger_than_the_cache(layout, dtype, level):
    """Together only: the result's slices are streamed, at their strides and alignments."""
    inputs = [randn(1, c, 64, 75, dtype=dtype, layout=layout) for c in (64, 33, 1, 64)]
    check_concat([*inputs, randn(1, 32, 256, 300, dtype=dtype, layout=layout)], (256, 300))


def test_our_upsample_is_what_concat_calls_for_another_dtype():
    """Rounded to its own dtype before it is converted, as native does."""
    inputs = [torch.randn(1, 2, 4, 4), torch.randn(1, 2, 3, 3).half()]
    result, ops = dispatched_ops(upsample_concat, inputs)
    assert CONCAT in ops and OUR_UPSAMPLE not in ops  # called below the dispatcher's Python key
    assert torch.equal(result, our_concat(inputs))


def test_of_more_inputs_than_a_node_can_tell_apart(device):
    inputs = [torch.randn(1, 1, 2, 3, device=device, requires_grad=True) for _ in range(64)]
    for count, fused in ((63, True), (64, False)):
        result, ops = dispatched_ops(upsample_concat, inputs[:count], (4, 5))
        assert (CONCAT in ops) == fused
        assert torch.equal(result, our_concat(inputs[:count], (4, 5)))
        grads = torch.autograd.grad(result.square().sum(), inputs[:count])
        expected = torch.autograd.grad(our_concat(inputs[:count], (4, 5)).square().sum(), inputs[:count])
        assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))


def test_opcheck_of_images_of_two_dtypes(device):
    op = torch.ops.upsample_ext.upsample_concat.default
    for layout in ("contiguous", "channels_last", "sliced"):
        for requires_grad in (False, True):
            x, y = (
                randn(2, 3, *size, dtype=dtype, device=device, layout=layout).requires_grad_(requires_grad)
                for size, dtype in (((4, 5), torch.float64), ((8, 7), torch.float32))
            )
            torch.library.opcheck(op, ([x, y], (5, 5), True))


# ---- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "size", "message"),
    [
        ([torch.randn(1, 3, 8, 9)], 3, "upsample_concat: expected inputs of one batch size, got shapes"),
        ([torch.randn(3, 4, 5)], 3, ""),
        ([torch.randn(2, 3, 4, 5, device="meta")], 3, ""),
        ([torch.randn(2, 0, 4, 5)], 3, ""),
        ([torch.zeros(2, 3, 4, 5, dtype=torch.int64)], 3, ""),
        ([], (0, 3), ""),
        ([], (3, 4, 5), ""),
        ([], "3", ""),
    ],
)
def test_raises_as_the_expression(others, size, message):
    inputs = [torch.randn(2, 3, 4, 5), *others]
    with pytest.raises(Exception) as native:
        native_concat(inputs, size)
    with pytest.raises(type(native.value), match=message or None):
        upsample_concat(inputs, size)


def test_takes_only_a_list_of_tensors():
    x = torch.randn(2, 3, 4, 5)
    with pytest.raises(ValueError, match="upsample_concat: expected a non-empty list of tensors"):
        upsample_concat([], 3)
    with pytest.raises(TypeError, match="upsample_concat: expected tensors, got int at position 1"):
        upsample_concat([x, 3], 3)
    with pytest.raises(TypeError, match="upsample_concat: expected a list or tuple of tensors, got Tensor"):
        upsample_concat(x, 3)


def test_the_op_names_what_it_expects():
    op = torch.ops.upsample_ext.upsample_concat
    x = torch.randn(2, 3, 4, 5)
    with pytest.raises(RuntimeError, match="upsample_concat: expected inputs with a batch of 2"):
        op([x, x[:1]], (3, 3), False)
    with pytest.raises(RuntimeError, match="upsample_concat: expected a 4-D input"):
        op([x, x[0]], (3, 3), False)
    with pytest.raises(RuntimeError, match="upsample_concat: expected at most 63 tensors, got 64"):
        op([x] * 64, (3, 3), False)
    with pytest.raises(RuntimeError, match="upsample_concat: expected output_size greater than 0"):
        op([x], (3, 0), False)


# ---- gradients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtypes", [*((d, d, d) for d in DTYPES), (torch.float16, torch.float32, torch.float64)]
)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients(dtypes, layout, device):
    inputs = [
        randn(2, channels, *size, dtype=dtype, device=device, layout=layout)
        for channels, size, dtype in zip((3, 2, 1), ((5, 7), (10, 14), (20, 3)), dtypes, strict=True)
    ]
    for size in ((10, 14), (5, 7), (6, 6)):
        check_gradients(lambda t: upsample_concat(t, size), lambda t: our_concat(t, size), inputs, CONCAT)  # noqa: B023


def test_gradients_only_where_they_are_wanted(device):
    x, other = randn(1, 2, 3, 4, device=device), randn(1, 2, 6, 8, device=device)
    for wanted in ((True, False), (False, True)):
        leaves = [t.clone().requires_grad_(want) for t, want in zip((x, other), wanted, strict=True)]
        _, ops = dispatched_ops(lambda: upsample_concat(leaves, (6, 8)).sum().backward())  # noqa: B023
        assert (OUR_BACKWARD in ops) == wanted[0]
        assert [leaf.grad is not None for leaf in leaves] == list(wanted)


def test_backward_keeps_no_copy_of_the_images(device):
    saved = []
    leaves = [
        t.requires_grad_() for t in (randn(1, 2, 3, 4, device=device), randn(1, 2, 6, 8, device=device))
    ]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        upsample_concat(leaves).sum().backward()
    assert not saved


# ---- memory --------------------------------------------------------------------------------------------


def test_nothing_of_the_resized_size_is_stored_but_the_result():
    x, other = torch.randn(1, 19, 16, 32), torch.randn(1, 19, 128, 256)
    allocated, result = bytes_allocated(upsample_concat, [x, other, x], (128, 256))
    assert result.nbytes <= allocated <= result.nbytes + 4096
