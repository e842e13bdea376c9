"""The axes of every mode, and resample, which runs them all: against float64, and against native.

Tables are compared with formulas that the package does not use (`reference_row`); values and gradients with
native in float64, with native's own float32 error as the limit.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from image_layouts import LAYOUTS
from kernel_backend import EMULATED

import upsample_ext
from upsample_ext._library import C

ops = torch.ops.upsample_ext

MODES = {
    "nearest": {"mode": "nearest"},
    "nearest-exact": {"mode": "nearest-exact"},
    "bilinear": {"mode": "bilinear"},
    "bilinear, corners": {"mode": "bilinear", "align_corners": True},
    "bicubic": {"mode": "bicubic"},
    "bicubic, corners": {"mode": "bicubic", "align_corners": True},
    "bilinear, antialias": {"mode": "bilinear", "antialias": True},
    "bicubic, antialias": {"mode": "bicubic", "antialias": True},
    "bicubic, antialias, corners": {"mode": "bicubic", "antialias": True, "align_corners": True},
    "area": {"mode": "area"},
}
if "lanczos" in (F.interpolate.__doc__ or ""):
    MODES["lanczos"] = {"mode": "lanczos", "antialias": True}
every_mode = pytest.mark.parametrize("mode", MODES)

SIZES = [
    ((6, 8), (12, 16)),  # up, twice
    ((5, 7), (13, 11)),  # up, odd
    ((9, 11), (4, 5)),  # down
    ((13, 40), (3, 2)),  # far down: more taps than a block of columns plans
    ((7, 6), (7, 15)),  # one axis stays
    ((8, 5), (3, 5)),
    ((6, 5), (6, 5)),  # both stay
    ((1, 1), (4, 3)),
    ((5, 3), (1, 1)),
    ((9, 4), (5, 11)),  # one up, one down
]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
in_every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])


def follows_cuda(x):
    return EMULATED or x.is_cuda


def settings(mode, scales=None):
    options = MODES[mode]
    return (options["mode"], options.get("antialias", False), options.get("align_corners", False), scales)


def ours(x, size, mode, scales=None):
    return ops.resample(x, size, *settings(mode, scales))


def native(x, size, mode, scales=None):
    """As F.interpolate calls it; with scale factors, which then set the coordinates and not the size."""
    name, antialias, corners, *_ = settings(mode)
    aten = torch.ops.aten
    if name == "area":
        return F.adaptive_avg_pool2d(x, size)
    if name == "nearest":
        return aten.upsample_nearest2d(x, size, *(scales or (None, None)))
    if name == "nearest-exact":
        return aten._upsample_nearest_exact2d(x, size, *(scales or (None, None)))
    plain = {"bilinear": aten.upsample_bilinear2d, "bicubic": aten.upsample_bicubic2d}
    filtered = {"bilinear": aten._upsample_bilinear2d_aa, "bicubic": aten._upsample_bicubic2d_aa}
    if name == "lanczos":
        filtered["lanczos"] = aten._upsample_lanczos2d_aa
    return (filtered if antialias else plain)[name](x, size, corners, *(scales or (None, None)))


def matrix(mode, in_size, out_size, scale=None, of_cuda=False):
    """The package's own table, as a dense matrix."""
    offset, index, weight = C.axis_table(
        *settings(mode)[:2], in_size, out_size, settings(mode)[2], scale, of_cuda
    )
    dense = torch.zeros(out_size, in_size, dtype=torch.float64)
    for o, (begin, end) in enumerate(itertools.pairwise(offset)):
        for t in range(begin, end):
            dense[o, index[t]] += weight[t]
    return dense


# ---- tables ------------------------------------------------------------------------------------------------


def keys(x, a):
    """Keys' cubic, from its definition."""
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def windowed_sinc(x):
    def sinc(x):
        return math.sin(math.pi * x) / (math.pi * x) if x else 1.0

    return sinc(x) * sinc(x / 3) if abs(x) < 3 else 0.0


def reference_row(mode, o, in_size, out_size, scale_factor):
    """The weights of one output, in exact or double arithmetic; the sources are those of real coordinates."""
    name, antialias, corners, *_ = settings(mode)
    row = [0.0] * in_size

    def add(i, weight):
        row[min(max(i, 0), in_size - 1)] += weight

    if name == "area":
        begin, end = o * in_size // out_size, -(-(o + 1) * in_size // out_size)
        for i in range(begin, end):
            add(i, 1 / (end - begin))
        return row
    if corners:
        step = (in_size - 1) / (out_size - 1) if out_size > 1 else 0.0
    else:
        step = 1 / scale_factor if scale_factor else in_size / out_size
    if antialias:
        if in_size == out_size:
            add(o, 1.0)
            return row
        reach, function = {
            "bilinear": (1, lambda x: max(0.0, 1 - abs(x))),
            "bicubic": (2, lambda x: keys(x, -0.5)),
            "lanczos": (3, windowed_sinc),
        }[name]
        stretch = max(step, 1.0)
        centre = step * (o + 0.5)
        begin = max(int(centre - reach * stretch + 0.5), 0)
        end = min(int(centre + reach * stretch + 0.5), in_size)
        weights = [function((i + 0.5 - centre) / stretch) for i in range(begin, end)]
        for i, weight in zip(range(begin, end), weights, strict=True):
            add(i, weight / sum(weights))
        return row
    source = step * o if corners else step * (o + 0.5) - 0.5
    if name == "bilinear":
        source = min(max(source, 0.0), in_size - 1.0)
        i = math.floor(source)
        add(i, 1 - (source - i))
        add(i + 1, source - i)
    else:
        i = min(math.floor(source), in_size - 1)
        fraction = min(max(source - i, 0.0), 1.0)
        for k in range(-1, 3):
            add(i + k, keys(fraction - k, -0.75))
    return row


# A mode whose index is floored may step one sample aside where the exact coordinate is whole.
@pytest.mark.parametrize("mode", [mode for mode in MODES if not mode.startswith("nearest")])
@pytest.mark.parametrize("scale_factor", [None, 1.37, 0.41])
def test_tables_are_those_of_the_formulas(mode, scale_factor):
    if scale_factor and mode == "area":
        scale_factor = None
    for in_size, out_size in [
        (1, 1),
        (1, 5),
        (5, 1),
        (2, 3),
        (7, 10),
        (8, 16),
        (13, 4),
        (40, 3),
        (33, 32),
        (6, 6),
    ]:
        expected = torch.tensor(
            [reference_row(mode, o, in_size, out_size, scale_factor) for o in range(out_size)],
            dtype=torch.float64,
        )
        if mode.startswith("bilinear") and "anti" not in mode and in_size == out_size:
            expected = torch.eye(in_size, dtype=torch.float64)
        table = matrix(mode, in_size, out_size, scale_factor)
        assert (table - expected).abs().max() <= 1e-6, (in_size, out_size)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("scale_factor", [None, 1.37, 2.3, 0.41])
def test_nearest_indices_are_natives(mode, scale_factor):
    """All pairs of sizes up to some, and for these the sample that native takes of a ramp."""
    for in_size in (1, 2, 3, 7, 10, 41, 64):
        for out_size in (1, 2, 3, 5, 6, 7, 14, 20, 41, 64, 82, 100, 126):
            x = torch.arange(float(in_size)).view(1, 1, 1, -1)
            y = native(x, (1, out_size), mode, (None, scale_factor))
            (rows, columns) = matrix(mode, in_size, out_size, scale_factor).nonzero(as_tuple=True)
            assert torch.equal(rows, torch.arange(out_size))
            assert torch.equal(columns, y[0, 0, 0].long()), (in_size, out_size)


@every_mode
@pytest.mark.parametrize("of_cuda", [False, True])
@pytest.mark.parametrize("scale", [1e-300, 1e300, 1e-6, float("inf"), float("nan"), -1.0, 0.0, 3.0])
def test_hostile_scale_factors_leave_every_tap_inside(mode, scale, of_cuda):
    for in_size, out_size in [(1, 1), (5, 3), (3, 50), (50, 3), (7, 7)]:
        name, antialias, corners, *_ = settings(mode)
        offset, index, _ = C.axis_table(name, antialias, in_size, out_size, corners, scale, of_cuda)
        assert len(offset) == out_size + 1
        assert all(0 <= i < in_size for i in index)


def test_weights_of_an_output_add_up_to_one():
    for mode in MODES:
        for in_size, out_size in [(3, 10), (10, 3), (100, 7), (31, 32)]:
            for of_cuda in (False, True):
                sums = matrix(mode, in_size, out_size, None, of_cuda).sum(1)
                assert (sums - 1).abs().max() <= 1e-12


# ---- values ------------------------------------------------------------------------------------------------


def error(values, exact):
    return float((values.double() - exact).abs().max())


def limit(x, exact, natives):
    """Twice native's own error, and no less than a few roundings of the result."""
    eps = torch.finfo(x.dtype).eps
    return max(
        2 * natives, (16 if x.dtype == torch.float64 else 2) * eps * max(1.0, float(exact.abs().max()))
    )


def native_error(function, exact, *tensors):
    try:
        return error(function(*tensors), exact)
    except RuntimeError as error_of_native:  # antialiased half types, on the CPU
        assert "not implemented for" in str(error_of_native)
        return 0.0


@every_mode
@in_every_dtype
def test_values_are_as_close_as_natives(mode, dtype, device):
    for in_size, size in SIZES:
        x = torch.randn(2, 3, *in_size, dtype=torch.float64).to(dtype)
        exact = native(x.double(), size, mode)
        own = native_error(lambda t, size=size: native(t, size, mode), exact, x)
        y = ours(x.to(device), size, mode)
        assert y.dtype == dtype
        assert y.shape == exact.shape
        assert error(y.cpu(), exact) <= limit(x, exact, own), (in_size, size)


@every_mode
@in_every_dtype
def test_gradients_are_as_close_as_natives(mode, dtype, device):
    for in_size, size in SIZES:
        grad = torch.randn(2, 3, *size, dtype=torch.float64).to(dtype)

        def gradient(function, x, grad):
            x = x.clone().requires_grad_()
            return torch.autograd.grad(function(x), x, grad)[0]

        x = torch.zeros(2, 3, *in_size, dtype=dtype)

        def of_native(x, grad, size=size):
            return gradient(lambda t: native(t, size, mode), x, grad)

        exact = of_native(x.double(), grad.double())
        own = native_error(of_native, exact, x, grad)
        result = gradient(lambda t, size=size: ours(t, size, mode), x.to(device), grad.to(device))
        assert error(result.cpu(), exact) <= limit(x, exact, own), (in_size, size)


@every_mode
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_gradients_of_every_layout(mode, layout, device):
    for in_size, size in [((6, 8), (13, 11)), ((9, 33), (4, 2)), ((1, 5), (3, 1))]:
        x = LAYOUTS[layout](torch.randn(2, 5, *in_size, device=device))
        contiguous = x.contiguous()
        y = ours(x, size, mode)
        torch.testing.assert_close(y, ours(contiguous, size, mode))
        expected = F.interpolate(contiguous[:, :, :1, :1], size, mode="bilinear").stride()
        if layout == "contiguous":
            assert y.stride() == expected
        grad = LAYOUTS[layout](torch.randn(2, 5, *size, device=device))
        arguments = settings(mode)
        torch.testing.assert_close(
            ops.resample_backward(grad, in_size, *arguments),
            ops.resample_backward(grad.contiguous(), in_size, *arguments),
        )


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8, 37])
@every_mode
def test_channels_last_of_any_number_of_channels(mode, channels, device):
    for in_size, size in [((6, 8), (13, 11)), ((9, 33), (4, 2))]:
        x = torch.randn(2, channels, *in_size, device=device)
        packed = x.contiguous(memory_format=torch.channels_last)
        y = ours(packed, size, mode)
        assert y.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(y, ours(x, size, mode).contiguous(memory_format=torch.channels_last))
        grad = torch.randn(2, channels, *size, device=device)
        torch.testing.assert_close(
            *(
                ops.resample_backward(g, in_size, *settings(mode))
                for g in (grad.contiguous(memory_format=torch.channels_last), grad)
            )
        )


@every_mode
def test_scale_factors_set_the_coordinates(mode, device):
    for in_size, size, scales in [
        ((6, 8), (8, 10), (1.37, 1.3)),
        ((9, 12), (4, 5), (0.47, 0.45)),
        ((5, 5), (5, 5), (1.1, 1.1)),
    ]:
        x = torch.randn(2, 3, *in_size)
        if follows_cuda(x.to(device)) and in_size == size:
            continue  # native's CUDA kernels copy, or scale where those of the CPU copy
        exact = native(x.double(), size, mode, scales)
        own = error(native(x, size, mode, scales), exact)
        assert error(ours(x.to(device), size, mode, scales).cpu(), exact) <= limit(x, exact, own)


@pytest.mark.skipif(EMULATED, reason="native's CPU kernels are no reference for CUDA's")
@every_mode
def test_infinities_and_nan_spread_as_in_native(mode, level):
    for value in (float("inf"), -float("inf"), float("nan")):
        for in_size, size in SIZES:
            for channels in (1, 3, 9):
                x = torch.randn(1, channels, *in_size)
                x[0, 0, in_size[0] // 2, in_size[1] // 3] = value
                x[0, -1, 0, 0] = value
                for layout in (torch.contiguous_format, torch.channels_last):
                    image = x.contiguous(memory_format=layout)
                    torch.testing.assert_close(
                        ours(image, size, mode),
                        native(image, size, mode),
                        equal_nan=True,
                        rtol=1e-4,
                        atol=1e-4,
                    )


@every_mode
def test_every_level_agrees(mode, level):
    for in_size, size in SIZES:
        for channels in (1, 3, 16):
            x = torch.randn(1, channels, *in_size).contiguous(memory_format=torch.channels_last)
            exact = native(x.double(), size, mode)
            assert error(ours(x, size, mode), exact) <= limit(x, exact, error(native(x, size, mode), exact))
            assert error(ours(x.contiguous(), size, mode), exact) <= 1e-4


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear"])
def test_bytes(mode, device):
    for in_size, size in SIZES:
        x = torch.randint(0, 256, (2, 3, *in_size), dtype=torch.uint8)
        exact = native(x.double(), size, mode)
        for layout in (torch.contiguous_format, torch.channels_last):
            y = ours(x.to(device).contiguous(memory_format=layout), size, mode)
            assert error(y.cpu(), exact) <= (0.55 if mode == "bilinear" else 0)


@every_mode
def test_an_empty_batch(mode, device):
    x = torch.zeros(0, 3, 5, 6, device=device, requires_grad=True)
    y = ours(x, (7, 4), mode)
    assert y.shape == (0, 3, 7, 4)
    y.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize(
    "sizes", [((3000, 2), (7, 3)), ((2, 3000), (3, 7)), ((3, 2), (2, 900)), ((2, 3), (900, 2))]
)
@every_mode
def test_long_axes(mode, sizes, device):
    """More taps, sources or results than any tile holds."""
    in_size, size = sizes
    x = torch.randn(1, 2, *in_size, dtype=torch.float64)
    y = ours(x.to(device), size, mode).cpu()
    if not mode.startswith("nearest"):  # whose coordinates natively are those of a double here
        torch.testing.assert_close(y, native(x, size, mode))
    grad = torch.randn_like(y)
    back = ops.resample_backward(grad.to(device), in_size, *settings(mode)).cpu()
    torch.testing.assert_close((y * grad).sum(), (x * back).sum())


@pytest.mark.parametrize("rows_each", [5, 12, 13, 14, 15, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", ["area", "bilinear, antialias", "nearest"])
def test_many_rows_of_a_wide_image(mode, dtype, rows_each, level, device):
    """Summed a few at a time, in stretches; nearest by its gradient, of which a pixel has a block."""
    x = torch.randn(1, 24, 2 * rows_each, 699).to(dtype)
    for layout in (torch.contiguous_format, torch.channels_last):
        image = x.to(device).contiguous(memory_format=layout)
        if mode == "nearest":
            y = ops.resample_backward(image, (2, 233), *settings(mode)).cpu()
            exact = 3 * rows_each * F.adaptive_avg_pool2d(x.double(), (2, 233))
            back = torch.ops.aten.upsample_nearest2d_backward
            natives = error(back(x, x.shape[2:], [1, 24, 2, 233]), exact)
        else:
            y = ours(image, (2, 231), mode).cpu()
            exact = native(x.double(), (2, 231), mode)
            natives = native_error(lambda x: native(x, (2, 231), mode), exact, x)  # noqa: B023
        assert y.is_contiguous(memory_format=layout)
        assert error(y, exact) <= limit(x, exact, natives)


# ---- the ops -----------------------------------------------------------------------------------------------


@every_mode
def test_derivatives_of_all_orders(mode, device):
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: ours(t, (6, 3), mode), x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda t: ours(t, (6, 3), mode), x)


@every_mode
def test_opcheck(mode, device):
    x = torch.randn(2, 3, 5, 4, device=device, requires_grad=True)
    torch.library.opcheck(ops.resample.default, (x, [7, 3], *settings(mode)))
    grad = torch.randn(2, 3, 7, 3, device=device, requires_grad=True)
    torch.library.opcheck(ops.resample_backward, (grad, [5, 4], *settings(mode)))


@pytest.mark.parametrize("in_dim", [0, 2, -1])
def test_vmap(in_dim, device):
    x = torch.randn(2, 3, 4, 5, 6, device=device)
    for mode in MODES:
        mapped = torch.vmap(lambda t, mode=mode: ours(t, (3, 7), mode), in_dims=in_dim)(x)
        alone = torch.stack([ours(t, (3, 7), mode) for t in x.unbind(in_dim)])
        torch.testing.assert_close(mapped, alone)
        grad = torch.randn(2, 3, 4, 5, 6, device=device)
        mapped = torch.vmap(
            lambda t, mode=mode: ops.resample_backward(t, (3, 7), *settings(mode)), in_dims=in_dim
        )(grad)
        alone = [ops.resample_backward(t, (3, 7), *settings(mode)) for t in grad.unbind(in_dim)]
        torch.testing.assert_close(mapped, torch.stack(alone))


def test_what_is_refused(device):
    x = torch.randn(1, 2, 4, 5, device=device)
    call = ops.resample
    for arguments, words in [
        (("cubic", False, False), "expected mode to be nearest"),
        (("", False, False), "expected mode to be nearest"),
        (("nearest", True, False), "expected antialias with linear modes"),
        (("area", False, True), "expected align_corners with linear"),
        (("lanczos", False, False), "expected lanczos with antialias"),
        (("lanczos", True, True), "expected align_corners with linear"),
    ]:
        for function, size in ((call, (3, 3)), (ops.resample_backward, (8, 8))):
            with pytest.raises(ValueError, match=words):
                function(x, size, *arguments, None)
            with pytest.raises(ValueError, match=words):
                function(x.to("meta"), size, *arguments, None)
    for size in ((0, 3), (3, -1)):
        with pytest.raises(RuntimeError, match="greater than 0"):
            call(x, size, "bicubic", False, False, None)
    with pytest.raises(RuntimeError, match="of 4 dimensions"):
        call(x[0], (3, 3), "bicubic", False, False, None)
    for dtype in (torch.int64, torch.bool, torch.complex64):
        with pytest.raises(NotImplementedError, match="not implemented for"):
            call(
                torch.zeros(1, 1, 2, 2, dtype=dtype, device=device),
                (3, 3),
                "bicubic",
                False,
                False,
                None,
            )
    bytes_ = torch.zeros(1, 1, 2, 2, dtype=torch.uint8, device=device)
    with pytest.raises(NotImplementedError, match="'Byte' with mode 'area'"):
        ours(bytes_, (3, 3), "area")


# ---- transposed convolution with more than two taps --------------------------------------------------------


@pytest.mark.parametrize("replicate", [False, True])
@in_every_dtype
def test_separable_kernels_of_many_taps(replicate, dtype, device):
    """Along either axis or both, against the 2-D kernel that they are the product of, in float64."""
    for in_size, taps, stride, padding, dilation in [
        ((5, 6), (5, 5), (2, 2), (1, 1), (1, 1)),
        ((4, 7), (7, 2), (1, 2), (2, 0), (2, 1)),
        ((6, 3), (3, 11), (2, 3), (1, 4), (3, 2)),
        ((1, 9), (9, 4), (4, 1), (0, 3), (1, 1)),
        ((2, 2), (40, 3), (1, 1), (0, 1), (1, 1)),
    ]:
        x = torch.randn(2, 5, *in_size, dtype=torch.float64).to(dtype)
        kernels = [torch.randn(n, dtype=torch.float64).to(dtype) for n in taps]
        arguments = (stride, padding, (0, 0), dilation, replicate)
        extent = [
            (i - 1) * s - 2 * p + d * (k - 1) + 1
            for i, k, s, p, d in zip(in_size, taps, stride, padding, dilation, strict=True)
        ]
        wide = x.double().requires_grad_()
        weight = torch.outer(kernels[0].double(), kernels[1].double()).expand(5, 1, *taps)
        if replicate:  # beyond the kernel's reach, then cut off
            beyond = [k * d + p + 1 for k, p, d in zip(taps, padding, dilation, strict=True)]
            padded = F.pad(wide, (beyond[1], beyond[1], beyond[0], beyond[0]), mode="replicate")
            whole = F.conv_transpose2d(padded, weight, None, stride, 0, groups=5, dilation=dilation)
            from_ = [b * s + p for b, s, p in zip(beyond, stride, padding, strict=True)]
            exact = whole[..., from_[0] : from_[0] + extent[0], from_[1] : from_[1] + extent[1]]
        else:
            exact = F.conv_transpose2d(wide, weight, None, stride, padding, groups=5, dilation=dilation)
        grad = torch.randn(exact.shape, dtype=torch.float64).to(dtype)
        (exact_grad,) = torch.autograd.grad(exact, wide, grad.double())
        for layout in (torch.contiguous_format, torch.channels_last):
            image = x.to(device).contiguous(memory_format=layout).requires_grad_()
            y = ops.separable_conv_transpose2d(image, *(k.to(device) for k in kernels), *arguments)
            (result,) = torch.autograd.grad(y, image, grad.to(device))
            eps = torch.finfo(dtype).eps
            assert error(y.detach().cpu(), exact.detach()) <= 8 * eps * float(exact.detach().abs().max())
            assert error(result.cpu(), exact_grad) <= 8 * eps * float(exact_grad.abs().max())


def test_separable_kernels_agree_with_the_public_function(device):
    x = torch.randn(1, 3, 5, 4, device=device)
    kernels = (torch.randn(5, device=device), torch.randn(4, device=device))
    torch.testing.assert_close(
        upsample_ext.fixed_conv_transpose2d(x, kernels, stride=2, padding=1),
        ops.separable_conv_transpose2d(x, *kernels, [2, 2], [1, 1], [0, 0], [1, 1], False),
    )


# ---- lines and volumes -------------------------------------------------------------------------------------

OTHER_RANKS = [
    ("nearest", False, (9,), (21,)),
    ("nearest-exact", False, (9,), (5,)),
    ("linear", False, (9,), (21,)),
    ("linear", True, (9,), (4,)),
    ("area", False, (9,), (4,)),
    ("nearest", False, (3, 5, 4), (6, 9, 4)),
    ("nearest-exact", False, (3, 5, 4), (2, 9, 7)),
    ("trilinear", False, (3, 5, 4), (6, 10, 8)),
    ("trilinear", True, (3, 5, 4), (5, 2, 4)),
    ("trilinear", False, (1, 5, 4), (3, 5, 1)),
    ("area", False, (4, 6, 8), (2, 3, 5)),
]


def native_of_any_rank(x, size, mode, corners):
    options = {"align_corners": corners} if mode in ("linear", "trilinear") else {}
    return F.interpolate(x, size, mode=mode, **options)


def layouts_of_any_rank(x):
    yield x
    yield x.transpose(-1, -2).contiguous().transpose(-1, -2)
    yield torch.cat([x, x], -1)[..., : x.shape[-1]]
    yield x.flip(0)[::2]
    if x.dim() == 5:
        yield x.contiguous(memory_format=torch.channels_last_3d)
        yield torch.cat([x, x], 3)[:, :, :, : x.shape[3]]  # slices that are not evenly spaced


@pytest.mark.parametrize("mode,corners,in_size,size", OTHER_RANKS)
@in_every_dtype
def test_lines_and_volumes(mode, corners, in_size, size, dtype, device):
    for x in layouts_of_any_rank(torch.randn(2, 5, *in_size, dtype=torch.float64).to(dtype)):
        x = x.detach().requires_grad_()
        y, natives = (
            ops.resample(x.to(device), size, mode, False, corners, None).cpu(),
            native_of_any_rank(x, size, mode, corners),
        )
        exact_input = x.detach().double().requires_grad_()
        exact = native_of_any_rank(exact_input, size, mode, corners)
        assert y.dtype == dtype
        if mode != "area":  # native pools where we resample
            assert y.stride() == natives.stride()
        assert error(y, exact) <= limit(x, exact, error(natives, exact))

        grad = torch.randn_like(y)
        (exact_grad,) = torch.autograd.grad(exact, exact_input, grad.double())
        (natives_grad,) = torch.autograd.grad(natives, x, grad)
        (own_grad,) = torch.autograd.grad(y, x, grad)
        assert error(own_grad, exact_grad) <= limit(x, exact_grad, error(natives_grad, exact_grad))


@pytest.mark.skipif(EMULATED, reason="native's CPU kernels are no reference for CUDA's")
@pytest.mark.parametrize(
    "mode,in_size,size",
    [("linear", (7,), (7,)), ("linear", (7,), (12,)), ("trilinear", (3, 4, 5), (5, 4, 9))],
)
def test_infinities_of_lines_and_volumes_spread_as_in_native(mode, in_size, size, level):
    for value in (float("inf"), float("nan")):
        x = torch.randn(1, 3, *in_size)
        x.flatten()[x.numel() // 2] = value
        x.flatten()[-1] = -value
        expected = F.interpolate(x, size, mode=mode)
        torch.testing.assert_close(ops.resample(x, size, mode, False, False, None), expected, equal_nan=True)


def test_transforms_of_volumes():
    x = torch.randn(2, 2, 2, 3, 2, dtype=torch.float64, requires_grad=True)

    def function(t):
        return ops.resample(t, (3, 2, 5), "trilinear", False, False, None)

    torch.autograd.gradcheck(function, x, check_forward_ad=True)
    torch.autograd.gradgradcheck(function, x)
    torch.library.opcheck(ops.resample.default, (x, [3, 2, 5], "trilinear", False, False, None))
    torch.library.opcheck(ops.resample.default, (x, [3, 2, 5], "nearest", False, False, [1.5, 0.7, 2.5]))
    batched = torch.randn(3, 2, 2, 2, 3, 2)
    torch.testing.assert_close(
        torch.vmap(lambda t: ops.resample(t, (3, 2, 5), "trilinear", False, False, None), in_dims=1)(batched),
        torch.stack([ops.resample(t, (3, 2, 5), "trilinear", False, False, None) for t in batched.unbind(1)]),
    )


def test_a_mode_takes_images_of_its_rank():
    for mode, dimensions in [
        ("linear", 4),
        ("bilinear", 3),
        ("trilinear", 4),
        ("bicubic", 5),
        ("nearest", 2),
        ("area", 6),
    ]:
        with pytest.raises(
            RuntimeError, match=f"resample: expected an image of .* for mode '{mode}', got {dimensions}"
        ):
            ops.resample(torch.zeros([2] * dimensions), [2] * (dimensions - 2), mode, False, False, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("align_corners", [False, True])
def test_a_long_line_is_one_of_many(align_corners, dtype, level):
    """Few long lines are resized without a table: to the bit as many are, infinities included."""
    for in_size, size in [
        (9000, 40001),
        (20000, 16384),
        (17000, 16384),
        (64, 30000),
        (70000, 20000),
        (40000, 70003),
    ]:
        many = torch.randn(8, 2, 1, in_size).to(dtype)
        many[0, 0, 0, in_size // 2] = float("inf")
        for lines in (many[:1], many[:2, 1:], many.mT[:1].contiguous().mT):
            for mode, x in [("bilinear", lines), ("linear", lines[:, :, 0]), ("bilinear", lines.mT)]:
                every = many[:, :, 0] if mode == "linear" else many.mT if x is not lines else many
                sizes = (size,) if mode == "linear" else (size, 1) if x is not lines else (1, size)
                place = slice(1), slice(None)
                if x.shape[:2] == (2, 1):
                    place = slice(2), slice(1, None)
                expected = upsample_ext.interpolate(every, sizes, mode=mode, align_corners=align_corners)[
                    place
                ]
                result = upsample_ext.interpolate(x, sizes, mode=mode, align_corners=align_corners)
                torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)
