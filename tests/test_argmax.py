"""upsample_argmax: every result is bit for bit the argmax of our own interpolate of the float32 input."""

import pytest
import torch
from dispatched_ops import dispatched_ops
from dtypes import DTYPES
from image_layouts import LAYOUTS
from resample_cases import CLASS_RESIZES
from torch.nn import functional as F

import upsample_ext

ops = torch.ops.upsample_ext
INDEX_DTYPES = [torch.uint8, torch.int16, torch.int32, torch.int64]


def resized(x, size, align_corners=False):
    return upsample_ext.upsample_bilinear2d(x.float(), size=size, align_corners=align_corners)


def check(x, size, align_corners=False):
    (index, score), names = dispatched_ops(
        upsample_ext.upsample_argmax, x, size, align_corners=align_corners, return_score=True
    )
    assert names == ["upsample_ext::upsample_argmax_with_score"]
    logits = resized(x, size, align_corners)
    assert torch.equal(index, logits.argmax(1)) and index.is_contiguous()
    exact = logits.double().softmax(1).amax(1)
    assert score.dtype == torch.float32 and score.shape == exact.shape
    native = ((logits.softmax(1).amax(1).double() - exact) / exact).abs()
    if x.numel():
        allowed = max(2 * native.max().item(), 4 * torch.finfo(torch.float32).eps)
        assert ((score.double() - exact) / exact).abs().max() <= allowed
    alone, names = dispatched_ops(upsample_ext.upsample_argmax, x, size, align_corners=align_corners)
    assert names == ["upsample_ext::upsample_argmax"] and torch.equal(alone, index)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "size"), [*CLASS_RESIZES, ((0, 3, 4, 5), (8, 9))])
def test_is_the_argmax_of_our_interpolate(shape, size, dtype, align_corners, level, device):
    check((3 * torch.randn(shape, device=device)).to(dtype), size, align_corners)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 5, 4, 6), (1, 1, 3, 40), (3, 6, 1, 1), (1, 20, 5, 1)])
def test_every_layout(shape, layout, dtype, device):
    check(LAYOUTS[layout](torch.randn(shape, device=device).to(dtype)), (9, 14))


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
@pytest.mark.parametrize("width", [16, 21])
def test_index_dtypes(dtype, width, level, device):
    x = torch.randn(2, 200, 3, 5, device=device)
    index = upsample_ext.upsample_argmax(x, (7, width), dtype=dtype)
    assert index.dtype == dtype
    assert torch.equal(index.long(), resized(x, (7, width)).argmax(1))


def test_scale_factors_are_those_of_interpolate(device):
    x = torch.randn(1, 4, 7, 9, device=device)
    for scale in (2, 1.37, (0.8, 3.1)):
        logits = F.interpolate(x, scale_factor=scale, mode="bilinear")
        index = upsample_ext.upsample_argmax(x, scale_factor=scale)
        ours = upsample_ext.interpolate(x, scale_factor=scale, mode="bilinear")
        assert index.shape == logits.argmax(1).shape and torch.equal(index, ours.argmax(1))


def test_the_first_of_equals_wins(level, device):
    x = torch.zeros(1, 40, 3, 20, device=device)
    x[:, 7:] = 1.0
    assert (upsample_ext.upsample_argmax(x, (6, 40)) == 7).all()
    minus = torch.full((1, 5, 2, 20), -torch.inf, device=device)
    assert (upsample_ext.upsample_argmax(minus, (2, 20)) == 0).all()


def test_nan_and_infinities_as_argmax(level, device):
    x = torch.randn(1, 6, 5, 40, device=device)
    x[0, 2, 1, ::7] = torch.nan
    x[0, 4, 1, ::3] = torch.nan
    x[0, 1, 3, ::5] = torch.inf
    x[0, 3, 3, ::4] = torch.inf
    x[0, 5, 4] = -torch.inf
    for size in ((5, 40), (10, 80), (13, 55), (5, 60), (12, 40)):
        logits = resized(x, size)
        index, score = upsample_ext.upsample_argmax(x, size, return_score=True)
        assert torch.equal(index, logits.argmax(1))
        expected = logits.softmax(1).amax(1)
        torch.testing.assert_close(score, expected, equal_nan=True, rtol=1e-6, atol=1e-6)


def test_the_score_of_far_and_of_huge_logits(level, device):
    for scale in (1e-3, 30.0, 1e4, 1e30):
        x = scale * torch.randn(1, 50, 4, 30, device=device)
        score = upsample_ext.upsample_argmax(x, (8, 60), return_score=True)[1]
        expected = resized(x, (8, 60)).double().softmax(1).amax(1)
        torch.testing.assert_close(score.double(), expected, rtol=1e-6, atol=0)


def test_half_logits_are_compared_in_float32(device):
    x = torch.tensor([[[[1.0, 1.015625]], [[1.0078125, 1.0078125]]]], device=device).bfloat16()
    size = (1, 64)
    index = upsample_ext.upsample_argmax(x, size)
    assert torch.equal(index, resized(x, size).argmax(1))
    # What native's rounded logits give is something else: the reason to say so.
    assert not torch.equal(index, F.interpolate(x, size, mode="bilinear").argmax(1))


# ---- errors and what is not ours -------------------------------------------------------------------------


def test_classes_that_do_not_fit(device):
    x = torch.randn(1, 257, 2, 2, device=device)
    upsample_ext.upsample_argmax(x[:, :256], (4, 4), dtype=torch.uint8)
    for run in (
        lambda: upsample_ext.upsample_argmax(x, (4, 4), dtype=torch.uint8),
        lambda: upsample_ext.upsample_argmax(x.int(), (4, 4), dtype=torch.uint8),
    ):
        with pytest.raises(RuntimeError, match="upsample_argmax: expected at most 255 . 1 classes.*got 257"):
            run()
    for dtype in (torch.int8, torch.float32, torch.bool):
        with pytest.raises(
            RuntimeError, match="upsample_argmax: expected dtype uint8, int16, int32 or int64"
        ):
            upsample_ext.upsample_argmax(x, (4, 4), dtype=dtype)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"size": (4, 4), "scale_factor": 2},
        {"size": (4, 4, 4)},
        {"size": (0, 4)},
        {"scale_factor": "2"},
        {"scale_factor": 0.01},
    ],
)
def test_wrong_arguments_raise_what_interpolate_raises(arguments):
    x = torch.randn(1, 3, 4, 4)
    with pytest.raises(Exception) as native:
        F.interpolate(x, mode="bilinear", **arguments)
    with pytest.raises(type(native.value)) as ours:
        upsample_ext.upsample_argmax(x, **arguments)
    assert str(ours.value) == str(native.value)


def test_wrong_shapes_raise_what_interpolate_raises():
    for x in (torch.randn(3, 4), torch.randn(1, 0, 4, 4), torch.randn(1, 3, 0, 4)):
        with pytest.raises(Exception) as native:
            F.interpolate(x, size=(4, 4), mode="bilinear")
        with pytest.raises(type(native.value)):
            upsample_ext.upsample_argmax(x, size=(4, 4))


def test_integers_take_the_native_expression():
    x = torch.randint(0, 255, (2, 5, 4, 6), dtype=torch.uint8)
    expected = F.interpolate(x.float(), size=(9, 7), mode="bilinear")
    index, score = upsample_ext.upsample_argmax(x, (9, 7), dtype=torch.int16, return_score=True)
    assert index.dtype == torch.int16 and torch.equal(index.long(), expected.argmax(1))
    assert torch.equal(score, expected.softmax(1).amax(1))


def test_the_op_checks_its_arguments():
    x = torch.randn(1, 3, 4, 4)
    with pytest.raises(RuntimeError, match="upsample_argmax: expected a 4-D input"):
        ops.upsample_argmax(x[0], (8, 8), False, None, None, torch.int64)
    with pytest.raises(RuntimeError, match="upsample_argmax: expected output_size greater than 0"):
        ops.upsample_argmax(x, (8, 0), False, None, None, torch.int64)
    with pytest.raises(NotImplementedError, match="upsample_argmax.*not implemented for 'Int'"):
        ops.upsample_argmax(x.int(), (8, 8), False, None, None, torch.int64)
