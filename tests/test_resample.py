"""interpolate() and upsample_bilinear2d(): values, shapes, layouts, errors, out=, against native."""

import contextlib
import math
import warnings

import numpy as np
import pytest
import reference
import torch
from dispatched_ops import OUR_UPSAMPLE, dispatched_ops
from dtypes import FLOATS, HALVES
from image_layouts import LAYOUTS
from native_interpolate import native_interpolate
from resample_cases import RESIZES
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F
from torch_versions import NATIVE_ROUNDS_AS_NOW, native_rounds_as_now

import upsample_ext

CORNERS = [False, True]

LAYOUT_SHAPES = [
    ((2, 3, 5, 9), (10, 13)),
    ((1, 1, 6, 5), (4, 12)),
    ((1, 3, 7, 1), (9, 3)),
    ((2, 1, 1, 8), (2, 20)),
    ((1, 4, 1, 1), (2, 3)),
    ((3, 8, 4, 17), (4, 17)),
    ((1, 3, 9, 14), (20, 31)),
    ((1, 3, 20, 31), (9, 7)),
]

# Layouts that people's images come in, and sizes of photos, which are converted in more than one block.
NATURAL = ("contiguous", "channels_last", "numpy_array", "sliced", "transposed", "channels_last_slice")
NATURAL_RESIZES = [
    ((1, 3, 190, 260), [(247, 317), (224, 224), (70, 96), (1, 300), (300, 1), (190, 70), (50, 260)]),
    ((1, 4, 150, 210), [(60, 80)]),
    ((2, 1, 150, 210), [(224, 224)]),
    ((2, 37, 60, 71), [(90, 110), (22, 26)]),  # blocks of channels, and a rest
    ((1, 70, 15, 250), [(7, 240), (21, 50)]),
    ((1, 3, 1, 900), [(1, 1301), (1, 200), (2, 899)]),
    ((1, 3, 900, 1), [(1301, 1), (200, 1), (899, 2)]),
]


def image(shape, dtype, device, layout="contiguous"):
    if dtype == torch.uint8:
        x = torch.randint(0, 256, shape, device=device).to(dtype)
    else:
        x = torch.randn(shape, device=device, dtype=torch.float64).to(dtype)
    return LAYOUTS[layout](x)


def assert_same_form(ours, native):
    assert ours.shape == native.shape
    assert ours.dtype == native.dtype
    assert ours.device == native.device
    assert ours.stride() == native.stride()


def assert_within_rounding(ours, native, x, output_size, align_corners, scales=None):
    """A few roundings of the absolute values that each output sums."""
    scale = reference.resize(x.abs(), output_size, align_corners, scales)
    error = (ours.cpu().double() - native.cpu().double()).abs()
    assert (error <= 6 * torch.finfo(x.dtype).eps * scale).all(), error.max()


def largest_error(result, exact):
    return (result.cpu().double() - exact).abs().max().item() if result.numel() else 0.0


def check_against_native(x, align_corners, size=None, scale_factor=None, recompute=None):
    ours, ops = dispatched_ops(
        upsample_ext.interpolate, x, size, scale_factor, "bilinear", align_corners, recompute
    )
    assert OUR_UPSAMPLE in ops
    native = native_interpolate(x, size, scale_factor, "bilinear", align_corners, recompute)
    assert_same_form(ours, native)
    scales = None
    if scale_factor is not None and not recompute:
        scales = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * 2
    output_size = tuple(native.shape[2:])
    exact = reference.resize(x, output_size, align_corners, scales)
    if x.dtype == torch.uint8:
        assert largest_error(ours, exact) <= 0.55
    elif x.dtype in HALVES:
        assert largest_error(ours, exact) <= 2 * largest_error(native, exact)
    else:
        if NATIVE_ROUNDS_AS_NOW or x.dtype == torch.float64:
            assert_within_rounding(ours, native, x, output_size, align_corners, scales)
        assert_within_rounding(ours, exact, x, output_size, align_corners, scales)


# ---- values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align_corners", CORNERS)
@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES, torch.uint8])
@pytest.mark.parametrize(("shape", "size"), RESIZES)
def test_values_of_every_resize(shape, size, dtype, align_corners, device, level):
    check_against_native(image(shape, dtype, device), align_corners, size=size)
    check_against_native(image(shape, dtype, device, "channels_last"), align_corners, size=size)


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES, torch.uint8])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_strides_of_every_layout(layout, dtype, device, level):
    for shape, size in LAYOUT_SHAPES:
        for align_corners in CORNERS:
            check_against_native(image(shape, dtype, device, layout), align_corners, size=size)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
@pytest.mark.parametrize("layout", NATURAL)
def test_values_and_strides_of_natural_images(layout, dtype, device, level):
    for shape, sizes in NATURAL_RESIZES:
        x = image(shape, dtype, device, layout)
        for size in sizes:
            check_against_native(x, False, size=size)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_from_numpy(dtype, device, level):
    """As they are read from a file: whole, a crop, some of their channels, every other row."""
    array = np.random.default_rng(1).integers(0, 256, (120, 150, 3), dtype=np.uint8)
    if dtype == torch.float32:
        array = array.astype(np.float32) / 255
    for pixels in (array, array[7:99, 20:141], array[..., :2], array[..., 1:2], array[::2, ::3]):
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device)
        for size in [(240, 300), (44, 55), (224, 224), (1, 70), (70, 1), (1, 1), tuple(x.shape[2:])]:
            check_against_native(x, False, size=size)
            check_against_native(x, True, size=size)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "numpy_array"])
@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_of_long_lines_are_exact(channels, layout, level):
    """Coordinates in float32 would be 0.001 off at the end, up to a quarter of a grey level."""
    for shape, size in [((1, channels, 1, 12263), (1, 18394)), ((1, channels, 12263, 1), (18394, 1))]:
        x = image(shape, torch.uint8, "cpu", layout)
        exact = F.interpolate(x.double(), size, mode="bilinear")
        assert largest_error(upsample_ext.interpolate(x, size, mode="bilinear"), exact) <= 0.55


@pytest.mark.parametrize("align_corners", CORNERS)
def test_bytes_of_four_channels_are_shrunk_right(align_corners, level):
    x = image((2, 4, 50, 75), torch.uint8, "cpu", "channels_last")
    for size in [(30, 45), (7, 74), (49, 39), (50, 60), (1, 40), (90, 44)]:
        check_against_native(x, align_corners, size=size)


@pytest.mark.parametrize("dtype", HALVES)
def test_planes_narrower_than_a_vector(dtype, level):
    """Rows at the end of a plane are read as parts of a vector, the others as whole ones."""
    for width in range(1, 18):
        memory = image((2, 3, 6, width), torch.float32, "cpu", "contiguous").to(dtype)
        for x in (memory, memory[:, :, 1:-1, : max(1, width - 2)], memory[:, :, ::2]):
            for size in [(3, max(1, width - 2)), (13, 2 * width), (6, width + 1)]:
                check_against_native(x, False, size=size)


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES, torch.uint8])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_size_is_a_copy_but_for_infinities(layout, dtype, device, level):
    for shape in [
        (2, 3, 9, 21),
        (1, 3, 40, 61),
        (1, 1, 1, 1),
        (2, 70, 5, 9),
        (1, 2, 170, 230),
        (2, 5, 1, 33),
    ]:
        x = image(shape, torch.float64, device).mul(40).to(dtype)
        if dtype != torch.uint8:
            for value in (math.inf, -math.inf, math.nan, -0.0):
                x[torch.rand(shape, device=device) < 0.05] = value
        x = LAYOUTS[layout](x)
        for arguments in ({"size": shape[2:]}, {"scale_factor": 1.0}, {"scale_factor": (1, 1.0000001)}):
            for align_corners in CORNERS:
                ours = upsample_ext.interpolate(x, mode="bilinear", align_corners=align_corners, **arguments)
                native = native_interpolate(x, align_corners=align_corners, **arguments)
                assert_same_form(ours, native)
                torch.testing.assert_close(ours, native, rtol=0, atol=0, equal_nan=True)
                assert torch.equal(ours.signbit(), native.signbit()) or dtype in HALVES


@pytest.mark.parametrize("dtype", [*FLOATS, torch.uint8])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_any_strides_of_the_input_give_the_same_bits(dtype, factor, device, level):
    """By powers of two, where some kernels know the taps of columns side by side."""
    for h, w in ((3, 16), (5, 4), (2, 70)):
        x = image((2, 3, h, w), dtype, device)
        of_columns_apart = x.mT.contiguous().mT
        for size in ((factor * h, factor * w), (h + 1, factor * w)):
            expected = upsample_ext.upsample_bilinear2d(of_columns_apart, size)
            assert torch.equal(upsample_ext.upsample_bilinear2d(x, size), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8])
@pytest.mark.parametrize(
    "scale_factor",
    [2, 3, 0.5, 1.37, 0.6, 1.0, 7.9, (2, 3), (0.51, 2.71), [1.9, 0.3], (1, 2.5), (2.0, 1.0000001)],
)
def test_values_of_scale_factors(scale_factor, dtype, device):
    for shape in [(2, 3, 9, 14), (1, 2, 31, 10)]:
        for align_corners in CORNERS:
            for recompute in (None, False, True):
                check_against_native(
                    image(shape, dtype, device), align_corners, scale_factor=scale_factor, recompute=recompute
                )


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES, torch.uint8])
def test_an_axis_that_keeps_its_size_under_a_factor(dtype, device, level):
    """Native's CPU kernels copy it, its CUDA kernels sample it."""
    x = torch.arange(12.0, device=device).view(1, 1, 3, 4)
    ours = upsample_ext.interpolate(x.to(dtype), scale_factor=(1.3, 1.5), mode="bilinear")
    rows = [0.0, 1.5 / 1.3 - 0.5, 2.5 / 1.3 - 0.5] if reference.follows_cuda(x.to(dtype)) else [0.0, 1.0, 2.0]
    expected = 4 * torch.tensor(rows, dtype=torch.float64)
    assert largest_error(ours[0, 0, :, 0], expected) <= (0.55 if dtype == torch.uint8 else 0.03)
    for scale_factor in [(1.3, 1.5), (1.5, 1.3), (1.02, 1.05), (1.1, 0.4)]:
        for layout in LAYOUTS:
            y = image((2, 4, 5, 9), dtype, device, layout)
            check_against_native(y, False, scale_factor=scale_factor)
            check_against_native(y, True, scale_factor=scale_factor)


def test_float64_coordinates_are_floored_as_on_the_device(device):
    """In float32 on the CPU: of wide rows some coordinates are rounded up to the next sample first."""
    x = torch.randn(1, 1, 1, 10000, dtype=torch.float64, device=device)
    ours = upsample_ext.interpolate(x, size=(2, 19173), mode="bilinear")
    native = native_interpolate(x, size=(2, 19173))
    torch.testing.assert_close(ours, native, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.uint8])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(
    ("shape", "scale_factor"), [((1, 3, 360, 640), 4), ((1, 32, 64, 64), 8), ((1, 24, 68, 68), 8)]
)
def test_values_larger_than_the_caches(shape, scale_factor, layout, dtype, device, level):
    """Results written by streaming stores (on most processors), to memory that holds other values."""
    x = image(shape, dtype, device, layout)
    expected = upsample_ext.interpolate(x[:, :, :9], scale_factor=scale_factor, mode="bilinear")
    whole = torch.full_like(F.interpolate(x, scale_factor=scale_factor), 77)
    out = upsample_ext.upsample_bilinear2d(x, scale_factor=scale_factor, out=whole)
    rows = 8 * scale_factor  # below, the short image repeats its last row
    assert torch.equal(out[:, :, :rows], expected[:, :, :rows])
    native = native_interpolate(x, scale_factor=scale_factor, mode="bilinear")
    tolerance = {torch.uint8: 1.0, torch.bfloat16: 0.04, torch.float16: 0.01, torch.float32: 1e-5}[dtype]
    assert (out.float() - native.float()).abs().max() <= tolerance


def test_scale_factor_sets_the_coordinates_unless_recomputed(device):
    x = torch.arange(10.0, device=device).expand(1, 1, 10, 10)
    given = upsample_ext.interpolate(x, scale_factor=1.37, mode="bilinear")
    recomputed = upsample_ext.interpolate(x, scale_factor=1.37, mode="bilinear", recompute_scale_factor=True)
    by_size = upsample_ext.interpolate(x, size=(13, 13), mode="bilinear")
    assert torch.equal(recomputed, by_size)
    assert (given - recomputed).abs().max() > 0.05
    native = F.interpolate(x, scale_factor=1.37, mode="bilinear")
    torch.testing.assert_close(given, native, rtol=0, atol=4e-6)


@pytest.mark.parametrize("size", [(6, 9), [6, 9], torch.Size([6, 9]), 7, 129])
def test_forms_of_size(size, device):
    x = image((1, 2, 4, 5), torch.float32, device)
    for function in (F.interpolate, upsample_ext.interpolate):
        result = function(x, size, mode="bilinear")
        expected = (size, size) if isinstance(size, int) else tuple(size)
        assert tuple(result.shape[2:]) == expected
    check_against_native(x, False, size=size)


def test_numbers_of_numpy_are_taken_as_native_takes_them():
    x = torch.randn(1, 2, 4, 5)
    for arguments in [
        {"size": (np.int64(6), np.int32(7))},
        {"scale_factor": np.float64(1.7)},
        {"scale_factor": (np.float32(1.7), 2.0)},
        {"size": torch.tensor([6, 7]).tolist()},
        {"size": (True, 3)},
    ]:
        assert_same_outcome(
            lambda arguments=arguments: upsample_ext.interpolate(x, mode="bilinear", **arguments),
            lambda arguments=arguments: F.interpolate(x, mode="bilinear", **arguments),
        )


@pytest.mark.parametrize("dtype", [pytest.param(torch.float32, marks=native_rounds_as_now), torch.float64])
def test_wide_rows_follow_native_coordinates(dtype, device, level):
    """Native's float32 coordinates are off by 2e-4 at x3 and width 700; a drop-in is off by as much."""
    x = torch.rand(1, 1, 2, 700, dtype=dtype, device=device)
    ours = upsample_ext.interpolate(x, scale_factor=(1, 3), mode="bilinear")
    native = native_interpolate(x, scale_factor=(1, 3), mode="bilinear")
    torch.testing.assert_close(ours, native, rtol=0, atol=4 * torch.finfo(dtype).eps)
    step, o = 1 / 3, torch.arange(2100, dtype=torch.float64)
    true = ((o + 0.5) * step - 0.5).clamp(0, 699)
    low = true.floor().long()
    high = (low + 1).clamp(max=699)
    row = x[0, 0, 0].cpu().double()
    ideal = row[low] + (true - low) * (row[high] - row[low])
    distance = (ours[0, 0, 0].cpu().double() - ideal).abs().max()
    assert distance < 1e-12 if dtype == torch.float64 else distance > 1e-5


@pytest.mark.parametrize("shape", [(65537, 1, 2, 3), (1, 65539, 3, 1), (2, 40000, 1, 2)])
def test_more_than_65535_planes(shape, device):
    for layout in ("contiguous", "channels_last"):
        check_against_native(image(shape, torch.float32, device, layout), False, size=(3, 4))


def test_constants_stay_constant_at_every_size(device, level):
    for size in range(1, 40):
        x = torch.full((1, 2, 7, 13), 255, dtype=torch.uint8, device=device)
        for layout in ("contiguous", "channels_last"):
            result = upsample_ext.interpolate(LAYOUTS[layout](x), size=(size, 41 - size), mode="bilinear")
            assert (result == 255).all()


@pytest.mark.parametrize("dtype", HALVES)
def test_half_values_beyond_the_normal_range(dtype, device, level):
    """Subnormals, the largest values and signed zeros survive the way through float32."""
    info = torch.finfo(dtype)
    values = [
        info.max,
        -info.max,
        info.smallest_normal,
        info.smallest_normal / 4,
        -info.smallest_normal / 8,
        0.0,
        -0.0,
        1.0,
    ]
    x = torch.tensor(values * 5, dtype=dtype, device=device).reshape(1, 1, 2, 20)
    for layout in ("contiguous", "channels_last"):
        y = LAYOUTS[layout](x)
        for align_corners in CORNERS:
            check_against_native(y, align_corners, size=(2, 20))
            check_against_native(y, align_corners, size=(4, 40))
    same = upsample_ext.interpolate(x, size=(2, 20), mode="bilinear")
    assert torch.equal(same, x)


# ---- infinities and NaN ----------------------------------------------------------------------------------


def assert_same_specials(ours, native):
    for kind in (torch.isnan, torch.isposinf, torch.isneginf):
        assert torch.equal(kind(ours), kind(native)), kind.__name__


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES])
@pytest.mark.parametrize("align_corners", CORNERS)
def test_infinities_and_nan_spread_as_native(dtype, align_corners, device, level):
    for shape, size in [
        ((1, 2, 9, 21), (18, 42)),
        ((1, 3, 9, 21), (9, 21)),
        ((1, 3, 9, 21), (9, 50)),
        ((1, 3, 9, 21), (30, 21)),
        ((1, 8, 9, 21), (9, 42)),
        ((1, 8, 9, 21), (3, 21)),
        ((1, 1, 1, 7), (1, 9)),
        ((1, 3, 20, 33), (7, 11)),
        ((2, 9, 6, 1), (12, 1)),
        ((1, 1, 1, 1), (3, 3)),
    ]:
        x = torch.randn(shape, device=device).to(dtype)
        for value in (math.inf, -math.inf, math.nan):
            x[torch.rand(shape, device=device) < 0.04] = value
        for layout in ("contiguous", "channels_last", "transposed"):
            y = LAYOUTS[layout](x)
            ours = upsample_ext.interpolate(y, size=size, mode="bilinear", align_corners=align_corners)
            native = native_interpolate(y, size=size, align_corners=align_corners)
            assert_same_specials(ours, native)


def test_equal_infinities_do_not_become_nan(device):
    x = torch.full((1, 1, 4, 4), math.inf, device=device)
    assert torch.isposinf(upsample_ext.interpolate(x, size=(3, 3), mode="bilinear")).all()


# ---- errors ----------------------------------------------------------------------------------------------


def outcome(function):
    try:
        result = function()
    except Exception as error:
        return type(error), str(error)
    return result


def assert_same_outcome(ours, native):
    ours, native = outcome(ours), outcome(native)
    if isinstance(native, torch.Tensor):
        assert isinstance(ours, torch.Tensor), ours
        assert_same_form(ours, native)
        torch.testing.assert_close(ours, native, equal_nan=True)
    else:
        assert ours == native


MALFORMED = {
    "neither": {},
    "both": {"size": (3, 3), "scale_factor": 2},
    "one_size": {"size": (3,)},
    "three_sizes": {"size": (3, 3, 3)},
    "three_scales": {"scale_factor": (2, 2, 2)},
    "empty_size": {"size": ()},
    "zero_size": {"size": (0, 3)},
    "zero_int": {"size": 0},
    "negative_size": {"size": (-1, 3)},
    "float_size": {"size": (3.0, 3.0)},
    "one_float_size": {"size": 3.5},
    "string_size": {"size": "33"},
    "tensor_size": {"size": torch.tensor([3, 3])},
    "none_in_size": {"size": (None, 3)},
    "huge_size": {"size": (2**63, 3)},
    "zero_scale": {"scale_factor": 0.0},
    "tiny_scale": {"scale_factor": 1e-3},
    "negative_scale": {"scale_factor": -2.0},
    "infinite_scale": {"scale_factor": math.inf},
    "nan_scale": {"scale_factor": math.nan},
    "string_scale": {"scale_factor": "2"},
    "tensor_scale": {"scale_factor": torch.tensor(2.0)},
    "tensor_scales": {"scale_factor": (torch.tensor(2.0), torch.tensor(1.5))},
    "recompute_with_size": {"size": (3, 3), "recompute_scale_factor": True},
    "text_align_corners": {"size": (3, 3), "align_corners": "no"},
    "int_align_corners": {"size": (3, 3), "align_corners": 1},
    "text_recompute": {"scale_factor": 2, "recompute_scale_factor": "no"},
    "antialias": {"size": (2, 2), "antialias": True},
    "antialias_text": {"size": (2, 2), "antialias": "yes"},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_arguments_end_as_native(case, device):
    x = torch.randn(1, 2, 4, 5, device=device)
    arguments = {"mode": "bilinear", **MALFORMED[case]}
    assert_same_outcome(
        lambda: upsample_ext.interpolate(x, **arguments), lambda: F.interpolate(x, **arguments)
    )


@pytest.mark.parametrize("mode", ["Bilinear", "bilinar", "", None, 7, "lanczos", "linear", "trilinear"])
@pytest.mark.parametrize("antialias", [False, True])
def test_unknown_modes_end_as_native(mode, antialias):
    x = torch.randn(1, 2, 4, 5)
    for align_corners in (None, True):
        arguments = {"size": (3, 3), "mode": mode, "align_corners": align_corners, "antialias": antialias}
        assert_same_outcome(
            lambda arguments=arguments: upsample_ext.interpolate(x, **arguments),
            lambda arguments=arguments: F.interpolate(x, **arguments),
        )


@pytest.mark.parametrize(
    "shape",
    [(), (3,), (3, 4), (2, 3, 4), (1, 2, 3, 4, 5), (1, 0, 3, 3), (1, 2, 0, 3), (1, 2, 3, 0), (0, 0, 3, 3)],
)
def test_wrong_shapes_end_as_native(shape):
    x = torch.randn(shape)
    for arguments in ({"size": (3, 3)}, {"scale_factor": 2.0}, {"size": 5}, {"scale_factor": (2.0, 2.0)}):
        assert_same_outcome(
            lambda arguments=arguments: upsample_ext.interpolate(x, mode="bilinear", **arguments),
            lambda arguments=arguments: F.interpolate(x, mode="bilinear", **arguments),
        )


@pytest.mark.parametrize(
    "dtype",
    [torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn],
)
def test_other_dtypes_end_as_native(dtype):
    x = torch.zeros(1, 2, 4, 5).to(dtype)
    for size in ((3, 3), (4, 5)):
        assert_same_outcome(
            lambda size=size: upsample_ext.interpolate(x, size=size, mode="bilinear"),
            lambda size=size: F.interpolate(x, size=size, mode="bilinear"),
        )


@pytest.mark.parametrize("input", [None, 3, [1.0], np.zeros((1, 1, 2, 2), dtype=np.float32), "x"])
def test_what_is_no_tensor_ends_as_native(input):
    assert_same_outcome(
        lambda: upsample_ext.interpolate(input, size=(3, 3), mode="bilinear"),
        lambda: F.interpolate(input, size=(3, 3), mode="bilinear"),
    )


def test_positional_arguments_and_names_are_native_own():
    import inspect

    ours, native = (inspect.signature(f) for f in (upsample_ext.interpolate, F.interpolate))
    assert list(ours.parameters) == list(native.parameters)
    assert [p.default for p in ours.parameters.values()] == [p.default for p in native.parameters.values()]
    assert [p.kind for p in ours.parameters.values()] == [p.kind for p in native.parameters.values()]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((2, 3, 4), (3, 3), False), ["upsample_bilinear2d", "4-D", "[2, 3, 4]"]),
        (((1, 0, 4, 4), (3, 3), False), ["upsample_bilinear2d", "non-empty", "[1, 0, 4, 4]"]),
        (((1, 2, 4, 4), (0, 3), False), ["upsample_bilinear2d", "greater than 0", "[0, 3]"]),
    ],
)
@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_messages_of_the_op_name_it_what_it_expects_and_what_came(arguments, says, where):
    shape, *rest = arguments
    for requires_grad in (False, True):
        with pytest.raises(RuntimeError) as error:
            x = torch.zeros(shape, device=where, requires_grad=requires_grad)
            torch.ops.upsample_ext.upsample_bilinear2d(x, *rest)
        for words in says:
            assert words in str(error.value)


def test_messages_of_the_backward_op():
    backward = torch.ops.upsample_ext.upsample_bilinear2d_backward
    op = "upsample_bilinear2d_backward"
    with pytest.raises(RuntimeError, match=op + r": expected a 4-D grad_output .*\[3, 3\]"):
        backward(torch.zeros(3, 3), (2, 2), False)
    with pytest.raises(RuntimeError, match=op + ": expected input_size greater than 0"):
        backward(torch.zeros(1, 1, 3, 3), (2, 0), False)
    with pytest.raises(NotImplementedError, match="not implemented for 'Int'"):
        torch.ops.upsample_ext.upsample_bilinear2d(torch.zeros(1, 1, 2, 2, dtype=torch.int32), (3, 3), False)


# ---- fallbacks -------------------------------------------------------------------------------------------


def test_other_kinds_of_tensor_go_to_pytorch():
    dense = torch.rand(1, 2, 4, 5)
    quantized = torch.quantize_per_tensor(dense, 0.01, 0, torch.quint8)
    nested = torch.nested.nested_tensor([torch.rand(2, 4, 5), torch.rand(2, 3, 5)])
    for x in (quantized, dense.to_sparse(), nested, dense.to(torch.complex64)):
        ours = outcome(lambda x=x: upsample_ext.interpolate(x, size=(6, 7), mode="bilinear"))
        native = outcome(lambda x=x: F.interpolate(x, size=(6, 7), mode="bilinear"))
        if isinstance(native, torch.Tensor):
            assert type(ours) is type(native)
            assert ours.dtype == native.dtype
            dense_of = (lambda t: t.dequantize()) if native.is_quantized else (lambda t: t)
            assert torch.equal(dense_of(ours), dense_of(native))
        else:
            # PyTorch appends the list of an op's kernels and a C++ trace to some messages.
            assert ours[0] == native[0] and ours[1].splitlines()[0] == native[1].splitlines()[0]


# ---- upsample_bilinear2d and out= ------------------------------------------------------------------------


def test_the_op_equals_interpolate(device):
    x = image((2, 3, 5, 4), torch.float32, device)
    for arguments in ({"size": (8, 9)}, {"scale_factor": 1.7}, {"size": 3, "align_corners": True}):
        ours = upsample_ext.upsample_bilinear2d(x, **arguments)
        assert torch.equal(ours, upsample_ext.interpolate(x, mode="bilinear", **arguments))
    with pytest.raises(ValueError, match="only one of size or scale_factor"):
        upsample_ext.upsample_bilinear2d(x, 3, 2.0)


def native_into(x, size, out, align_corners=False):
    return torch._C._nn.upsample_bilinear2d(x, size, align_corners, out=out)


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES, torch.uint8])
@pytest.mark.parametrize(
    "layout", ["contiguous", "channels_last", "sliced", "steps", "transposed", "odd_size_1"]
)
def test_out_keeps_its_strides(layout, dtype, device, level):
    cases = [
        ((2, 3, 8, 9), (5, 4), "contiguous"),
        ((1, 1, 8, 9), (5, 4), "contiguous"),
        ((2, 3, 8, 1), (5, 4), "contiguous"),
        ((1, 3, 30, 41), (17, 25), "numpy_array"),
        ((1, 3, 9, 14), (27, 60), "numpy_array"),
        ((2, 20, 9, 14), (17, 25), "channels_last"),
        ((2, 3, 9, 14), (17, 5), "transposed"),
        ((1, 17, 9, 14), (9, 14), "numpy_array"),
    ]
    for shape, in_size, in_layout in cases:
        x = image((*shape[:2], *in_size), dtype, device, in_layout)
        out = LAYOUTS[layout](torch.zeros(shape, dtype=dtype, device=device))
        strides, data = out.stride(), out.data_ptr()
        expected = upsample_ext.interpolate(x, size=shape[2:], mode="bilinear")
        version = out._version
        result, ops = dispatched_ops(upsample_ext.upsample_bilinear2d, x, shape[2:], out=out)
        assert f"{OUR_UPSAMPLE}.out" in ops
        assert result is out
        assert out.stride() == strides and out.data_ptr() == data and out._version > version
        assert torch.equal(out, expected)


@pytest.mark.parametrize("shape", [(2, 3, 8, 9), (2, 3, 5, 4)])
def test_an_out_that_copies_on_write_leaves_its_twin_alone(shape, device):
    """Memory is shared until one of the two is written: kernels must request a mutable pointer."""
    x = image((2, 3, 5, 4), torch.float32, device)
    twin = torch.full(shape, -7.0, device=device)
    out = torch._lazy_clone(twin)
    upsample_ext.upsample_bilinear2d(x, shape[2:], out=out)
    assert torch.equal(out, upsample_ext.interpolate(x, size=shape[2:], mode="bilinear"))
    assert (twin == -7).all()


def test_out_leaves_what_lies_between_alone(device):
    buffer = torch.full((2, 4, 20, 22), -7.0, device=device)
    out = buffer[:, 1:3, 2:18:2, 1:20:2]
    x = image((2, 2, 5, 4), torch.float32, device)
    upsample_ext.upsample_bilinear2d(x, (8, 10), out=out)
    assert torch.equal(out, upsample_ext.interpolate(x, size=(8, 10), mode="bilinear"))
    out.fill_(-7.0)
    assert (buffer == -7).all()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_an_empty_out_is_resized_without_a_warning(layout, device):
    x = image((2, 3, 5, 4), torch.float32, device, layout)
    ours, native = (torch.empty(0, device=device) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        upsample_ext.upsample_bilinear2d(x, scale_factor=2, out=ours)
        native_into(x, (10, 8), native)
    assert_same_form(ours, native)
    torch.testing.assert_close(ours, native)


def test_a_full_out_of_another_shape_is_resized_with_the_native_warning(device):
    x = image((2, 3, 5, 4), torch.float32, device)
    ours, native = (torch.empty(7, device=device) for _ in range(2))
    with pytest.warns(UserWarning, match="An output with one or more elements was resized") as our_warning:
        upsample_ext.upsample_bilinear2d(x, (10, 8), out=ours)
    with pytest.warns(UserWarning, match="An output with one or more elements was resized") as native_warning:
        native_into(x, (10, 8), native)
    assert str(our_warning[0].message).splitlines()[0] == str(native_warning[0].message).splitlines()[0]
    assert_same_form(ours, native)
    torch.testing.assert_close(ours, native)


def test_out_that_cannot_be_one_raises(device):
    x = image((2, 3, 5, 4), torch.float32, device)
    good = torch.zeros(2, 3, 8, 9, device=device)

    def into(out, input=x):
        return upsample_ext.upsample_bilinear2d(input, (8, 9), out=out)

    with pytest.raises(RuntimeError, match="dtype"):
        into(good.double())
    with pytest.raises(RuntimeError, match="device"):
        into(good.to("meta"))
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        into(good.clone().requires_grad_())
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        into(good, x.clone().requires_grad_())
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        into(torch.zeros(2, 3, 1, 9, device=device).expand(2, 3, 8, 9))
    with pytest.raises(ValueError, match="either size or scale_factor"):
        upsample_ext.upsample_bilinear2d(x, out=good)
    with torch.no_grad():
        into(good, x.clone().requires_grad_())
    assert torch.equal(good, upsample_ext.interpolate(x, size=(8, 9), mode="bilinear"))


@pytest.mark.parametrize("out", ["a", [1.0], 5, True])
def test_out_that_is_no_tensor_raises(out):
    with pytest.raises(TypeError, match="out"):
        upsample_ext.upsample_bilinear2d(torch.rand(1, 1, 4, 4), (8, 8), out=out)


def lazy_views(*shape):
    """Views whose memory holds negated values, created in each of the three possible ways."""
    yield torch.zeros(shape, dtype=torch.complex64).conj().imag
    yield torch._neg_view(torch.zeros(shape))
    yield torch._neg_view(torch.zeros(*shape[:-1], 2 * shape[-1]))[..., ::2]


def test_out_and_input_that_are_negated_views():
    x = torch.rand(1, 2, 4, 4)
    expected = upsample_ext.interpolate(x, (8, 8), mode="bilinear")
    for out in lazy_views(1, 2, 8, 8):
        for source in (x, torch._neg_view(-x)):
            out.zero_()
            upsample_ext.upsample_bilinear2d(source, (8, 8), out=out)
            assert out.is_neg() and torch.equal(out, expected)
    empty = torch._neg_view(torch.zeros(0))
    assert torch.equal(upsample_ext.upsample_bilinear2d(x, (8, 8), out=empty), expected)


@pytest.mark.parametrize(
    "mode", [contextlib.nullcontext, torch.no_grad, torch.inference_mode], ids=lambda m: m.__name__
)
def test_out_counts_as_a_write_in_place(mode, device):
    x = torch.rand(1, 1, 2, 2, device=device)
    weight = torch.ones(1, 1, 4, 4, device=device, requires_grad=True)
    out = torch.full((1, 1, 4, 4), 5.0, device=device)
    product = (out * weight).sum()
    before = out._version
    with mode():
        upsample_ext.upsample_bilinear2d(x, (4, 4), out=out)
    assert out._version == before + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_out_under_forward_differentiation_raises_as_natively():
    x, out = torch.rand(1, 1, 2, 2), torch.empty(1, 1, 4, 4)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        for resize in (native_into, lambda x, size, out: upsample_ext.upsample_bilinear2d(x, size, out=out)):
            with pytest.raises(NotImplementedError):
                resize(dual, (4, 4), out)


def test_out_under_functionalize():
    x = torch.rand(1, 2, 4, 4)

    def resize(x, out):
        above = out[:, :, :4]
        upsample_ext.upsample_bilinear2d(x, (8, 8), out=out)
        return above * 2

    given, expected = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    found = torch.func.functionalize(resize)(x, given)
    assert torch.equal(found, resize(x, expected)) and torch.equal(given, expected)

    def from_nothing(x):
        return upsample_ext.upsample_bilinear2d(x, (8, 8), out=torch.empty(0)) + 1

    assert torch.equal(torch.func.functionalize(from_nothing)(x), from_nothing(x))
    graph = make_fx(torch.func.functionalize(from_nothing))(x)
    assert not [node for node in graph.graph.nodes if ".out" in str(node.target)]
    with pytest.raises(RuntimeError, match="dtype"):
        torch.func.functionalize(resize)(x, given.double())


def test_out_that_shares_memory_with_the_input_raises(device):
    buffer = torch.zeros(10000, device=device)

    def view(offset, *shape):
        return buffer[offset : offset + math.prod(shape)].view(shape)

    x = view(0, 1, 2, 8, 8)
    x.normal_()
    kept = x.clone()
    with pytest.raises(RuntimeError, match="unsupported operation"):
        upsample_ext.upsample_bilinear2d(x, (8, 8), out=x)
    for offset in (1, 64, 127):
        with pytest.raises(RuntimeError, match="unsupported operation"):
            upsample_ext.upsample_bilinear2d(x, (16, 16), out=view(offset, 1, 2, 16, 16))
    assert torch.equal(x, kept)
    beside = view(128, 1, 2, 16, 16)
    upsample_ext.upsample_bilinear2d(x, (16, 16), out=beside)
    assert torch.equal(beside, upsample_ext.interpolate(kept, size=(16, 16), mode="bilinear"))


def test_interleaved_views_that_share_no_element_are_right(device):
    """Even columns of a buffer into its odd ones: the extents overlap, the elements do not."""
    buffer = torch.randn(1, 2, 6, 20, device=device)
    x, out = buffer[..., ::2], buffer[..., 1::2]
    kept = x.clone()
    upsample_ext.upsample_bilinear2d(x, (6, 10), out=out, align_corners=True)
    assert torch.equal(out, upsample_ext.interpolate(kept, size=(6, 10), mode="bilinear", align_corners=True))
    half = torch.randn(1, 2, 6, 20, device=device)
    x, out = half[:, :, ::2], half[:, :, 1::2]
    expected = upsample_ext.interpolate(x.clone(), size=(3, 20), mode="bilinear")
    upsample_ext.upsample_bilinear2d(x, (3, 20), out=out)
    assert torch.equal(out, expected)


def test_out_for_what_is_not_ours():
    """The call goes to PyTorch with its out=, errors included."""
    x = torch.zeros(1, 2, 4, 5, dtype=torch.int32)
    out = torch.zeros(1, 2, 3, 3, dtype=torch.int32)
    assert_same_outcome(
        lambda: upsample_ext.upsample_bilinear2d(x, (3, 3), out=out),
        lambda: F.interpolate(x, (3, 3), mode="bilinear"),
    )
