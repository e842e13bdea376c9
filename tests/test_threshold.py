"""upsample_threshold against what it fuses: our own interpolate of the float32 input, compared."""

import math

import pytest
import torch
import torch._dynamo.testing
from dispatched_ops import dispatched_ops
from dtypes import DTYPES
from image_layouts import LAYOUTS
from resample_cases import RESIZES
from torch.nn import functional as F
from torch_versions import native_rounds_as_now

from upsample_ext import interpolate, upsample_threshold

OURS = "upsample_ext::upsample_threshold"


def expression(x, size=None, scale_factor=None, align_corners=False, *, threshold=0.0):
    return interpolate(x.float(), size, scale_factor, "bilinear", align_corners) > threshold


def native_expression(x, size=None, scale_factor=None, align_corners=False, *, threshold=0.0):
    resized = F.interpolate(x.float(), size, scale_factor, "bilinear", align_corners)
    return resized > threshold


def check(x, *args, **kwargs):
    result, ops = dispatched_ops(upsample_threshold, x, *args, **kwargs)
    assert OURS in ops
    expected = expression(x, *args, **kwargs)
    assert result.dtype == torch.bool and result.shape == expected.shape
    assert torch.equal(result, expected)
    assert result.stride() == native_expression(x, *args, **kwargs).stride()
    assert (result.view(torch.uint8) <= 1).all()  # a bool holds 0 or 1 and nothing else
    return result


# ---- values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "size"), RESIZES)
def test_every_resize(shape, size, dtype, align_corners, device, level):
    for layout in ("contiguous", "channels_last"):
        x = LAYOUTS[layout](torch.randn(shape, device=device).to(dtype))
        for threshold in (0.0, 0.3):
            check(x, size, None, align_corners, threshold=threshold)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_layout(layout, dtype, device, level):
    for shape, size in [((2, 3, 5, 9), (10, 13)), ((1, 1, 6, 5), (4, 12)), ((1, 4, 7, 1), (9, 1))]:
        check(LAYOUTS[layout](torch.randn(shape, device=device).to(dtype)), size)


@pytest.mark.parametrize("scale_factor", [2, 1.37, 0.6, (0.51, 2.71)])
def test_scale_factors(scale_factor, device):
    check(torch.randn(2, 3, 9, 14, device=device), scale_factor=scale_factor, threshold=0.1)


@native_rounds_as_now
def test_the_nearest_values_fall_to_the_right_side(device, level):
    """Equal is not above; one step of float32 is. The threshold itself is rounded to float32, as natively."""
    for number in (0.1, 1.0, -0.3, 1e-45, 3.0e38):
        nearest = torch.tensor(number, dtype=torch.float32)
        up = torch.nextafter(nearest, torch.tensor(math.inf))
        down = torch.nextafter(nearest, torch.tensor(-math.inf))
        for value, above in ((nearest, False), (up, True), (down, False)):
            x = value.to(device).expand(1, 2, 3, 40)
            assert (check(x, (3, 40), threshold=number) == above).all()


def test_zeros_of_either_sign_are_not_above_zero(device, level):
    for zero in (0.0, -0.0):
        assert not check(torch.full((1, 2, 3, 17), zero, device=device), (6, 34), threshold=-zero).any()


@pytest.mark.parametrize("threshold", [math.inf, -math.inf, math.nan, 1e300, -1e300, 3, True, 0, 2**24 + 1])
def test_any_number_is_a_threshold(threshold, device, level):
    x = torch.randn(1, 2, 5, 20, device=device).mul(10)
    x[0, 0, 0, 0], x[0, 0, 2, 2], x[0, 1, 4, 9] = math.inf, -math.inf, math.nan
    x[0, 1, 0, 0] = 2.0**24
    for layout in ("contiguous", "channels_last"):
        for size in ((10, 40), (5, 20), (5, 33), (12, 20)):
            check(LAYOUTS[layout](x), size, threshold=threshold)


def test_nan_is_never_above(device, level):
    x = torch.full((1, 2, 3, 20), math.nan, device=device)
    for threshold in (-math.inf, 0.0):
        assert not check(x, (5, 41), threshold=threshold).any()


@pytest.mark.parametrize("threshold", [2**62 + 2**38 + 1, torch.tensor(0.1), torch.tensor([0.1, -0.2])])
def test_other_thresholds_are_compared_by_pytorch(threshold):
    x = torch.randn(1, 2, 3, 2)
    assert torch.equal(
        upsample_threshold(x, (4, 2), threshold=threshold), native_expression(x, (4, 2), threshold=threshold)
    )


def test_half_types_are_not_rounded_before_the_comparison(device, level):
    """Halfway between two neighbouring halves: above the lower one in float32, equal to it once rounded."""
    low, high = 1.0, 1.0 + 2.0**-10
    x = torch.tensor([[[[low, high]]]], dtype=torch.float16, device=device)
    assert check(x, (1, 4), threshold=1.0).flatten().tolist() == [False, True, True, True]
    assert not (F.interpolate(x, (1, 4), mode="bilinear") > 1.0).flatten()[1]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.int16])
def test_integers_are_taken_as_float(dtype, device):
    x = torch.randint(0, 2, (1, 2, 5, 7), device=device).to(dtype)
    check(x, (9, 8), threshold=0.4)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_result_too_large_for_the_cache(layout, level):
    x = LAYOUTS[layout](torch.randn(1, 32, 160, 210))
    check(x, (1280, 1680))


def test_more_planes_than_a_short_holds():
    check(torch.randn(70000, 1, 2, 2), (3, 3))


# ---- arguments -------------------------------------------------------------------------------------------


def test_wrong_arguments_raise_as_the_expression():
    x = torch.randn(1, 2, 3, 4)
    for args, kwargs in [
        ((x,), {}),
        ((x, 3, 2), {}),
        ((x, (0, 3)), {}),
        ((x, (3, 4, 5)), {}),
        ((torch.randn(2, 3, 4), (3, 4)), {}),
        ((torch.randn(1, 0, 3, 4), (3, 4)), {}),
        ((x, (3, 4)), {"threshold": 2**70}),
        ((x, (3, 4)), {"threshold": "0"}),
    ]:
        with pytest.raises(Exception) as native:
            native_expression(*args, **kwargs)
        with pytest.raises(type(native.value)):
            upsample_threshold(*args, **kwargs)


def test_the_op_names_what_it_expects():
    op = torch.ops.upsample_ext.upsample_threshold
    x = torch.randn(1, 2, 3, 4)
    with pytest.raises(RuntimeError, match=r"upsample_threshold: expected a 4-D input .* got \[2, 3\]"):
        op(torch.randn(2, 3), (3, 4), False, None, None, 0.0)
    with pytest.raises(RuntimeError, match=r"upsample_threshold: expected output_size greater than 0"):
        op(x, (0, 4), False, None, None, 0.0)
    with pytest.raises(NotImplementedError, match="upsample_threshold.*Double"):
        op(x.double(), (3, 4), False, None, None, 0.0)


# ---- memory ----------------------------------------------------------------------------------------------


def test_nothing_of_the_resized_size_is_stored_but_the_result():
    from torch.profiler import ProfilerActivity, profile

    x = torch.randn(1, 19, 32, 64)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        result = upsample_threshold(x, scale_factor=8)
    allocated = sum(max(0, event.self_cpu_memory_usage) for event in record.events())
    assert result.numel() <= allocated <= result.numel() + x.numel() * 4
