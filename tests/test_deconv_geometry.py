"""Transposed convolution, every geometry, dtype, layout, level: against float64, native, its definition."""

import functools

import pytest
import reference
import torch
from dispatched_ops import dispatched_ops
from dtypes import DTYPES, HALVES
from image_layouts import LAYOUTS
from torch.nn import functional as F

import upsample_ext

OPS = torch.ops.upsample_ext
RELATIVE = {torch.float64: 1e-13, torch.float32: 1e-5}

# (input shape, kernel, stride, padding, output_padding, dilation)
CASES = [
    ((2, 3, 5, 7), (4, 4), (2, 2), (1, 1), (0, 0), (1, 1)),
    ((2, 3, 7, 5), (3, 5), (1, 1), (0, 2), (0, 0), (1, 1)),
    ((1, 4, 6, 11), (2, 3), (3, 4), (0, 1), (2, 1), (1, 2)),  # stride > kernel: outputs without taps
    ((2, 2, 11, 6), (5, 3), (2, 3), (2, 0), (1, 2), (2, 3)),
    ((1, 3, 4, 9), (3, 3), (4, 2), (1, 1), (1, 1), (2, 2)),  # stride and dilation share a factor
    ((1, 1, 1, 1), (3, 2), (2, 3), (0, 0), (1, 2), (1, 1)),
    ((2, 5, 1, 9), (1, 1), (5, 5), (0, 0), (4, 3), (1, 1)),
    ((3, 1, 9, 1), (4, 3), (2, 2), (1, 1), (0, 1), (1, 1)),
    ((1, 2, 129, 3), (4, 2), (2, 1), (1, 0), (0, 0), (1, 1)),
    ((2, 1, 3, 129), (2, 6), (1, 3), (0, 1), (0, 0), (1, 1)),
    ((1, 37, 6, 5), (8, 8), (4, 4), (2, 2), (0, 0), (1, 1)),
    ((1, 2, 9, 8), (3, 2), (2, 2), (5, 4), (1, 1), (1, 1)),  # padding larger than the kernel
    ((1, 2, 3, 4), (9, 11), (1, 1), (3, 2), (0, 0), (1, 1)),  # kernel larger than the input
    ((2, 2, 3, 4), (2, 2), (1, 1), (1, 1), (2, 1), (3, 2)),  # output_padding above stride, below dilation
    ((1, 35, 3, 200), (2, 3), (1, 2), (0, 1), (0, 1), (1, 1)),
    ((0, 3, 4, 5), (4, 4), (2, 2), (1, 1), (0, 0), (1, 1)),
    ((2, 19, 7, 9), (31, 31), (1, 1), (15, 15), (0, 0), (1, 1)),  # most taps reach no sample
    ((1, 35, 20, 70), (7, 7), (1, 1), (3, 3), (0, 0), (1, 1)),
    ((1, 2, 12, 30), (3, 5), (1, 1), (5, 9), (0, 0), (1, 1)),  # results lie inside the image only
]
NON_EMPTY = [case for case in CASES if case[0][0]]


def tensors(case, dtype, device="cpu", channels_last=False, requires_grad=False):
    (n, c, h, w), kernel, *_ = case
    shapes = [(n, c, h, w), (c, 1, *kernel), (c,)]
    made = [torch.randn(shape, dtype=torch.float64, device=device).to(dtype) for shape in shapes]
    if channels_last:
        made[0] = made[0].contiguous(memory_format=torch.channels_last)
    return [t.requires_grad_(requires_grad) for t in made]


def call(function, x, weight, bias, case):
    _, _, stride, padding, output_padding, dilation = case
    return function(x, weight, bias, stride, padding, output_padding, x.shape[-3], dilation)


def ours(*arguments):
    return call(upsample_ext.conv_transpose2d, *arguments)


def native(*arguments):
    return call(F.conv_transpose2d, *arguments)


def assert_as_exact(found, expected, of_native):
    """As near to float64 as the dtype allows: for half types, at most twice as far as native is."""
    assert found.shape == expected.shape and found.dtype == of_native.dtype
    if not found.numel():
        return
    error = (found.double() - expected).abs().max().item()
    if found.dtype in RELATIVE:
        assert error <= RELATIVE[found.dtype] * max(1.0, expected.abs().max().item())
    else:
        # Where native happens to be exact there is still the rounding of the result.
        rounding = (expected.to(found.dtype).double() - expected).abs().max().item()
        assert error <= max(2 * (of_native.double() - expected).abs().max().item(), rounding * 1.01)


# ---- values and gradients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(case, dtype, channels_last, device, level):
    values = tensors(case, dtype, device, channels_last, requires_grad=True)
    wide = [t.detach().double().requires_grad_() for t in values]
    expected, of_native, found = native(*wide, case), native(*values, case), ours(*values, case)
    assert_as_exact(found, expected, of_native)
    grad = torch.randn_like(expected).to(dtype)
    if channels_last:
        grad = grad.contiguous(memory_format=torch.channels_last)
    for f, e, n in zip(
        torch.autograd.grad(found, values, grad),
        torch.autograd.grad(expected, wide, grad.double()),
        torch.autograd.grad(of_native, values, grad),
        strict=True,
    ):
        assert_as_exact(f, e, n)


def test_which_calls_run_here():
    x, weight, bias = tensors(CASES[0], torch.float32)
    depthwise, separable = (f"upsample_ext::{n}_conv_transpose2d" for n in ("depthwise", "separable"))
    assert depthwise in dispatched_ops(ours, x, weight, bias, CASES[0])[1]
    assert depthwise in dispatched_ops(ours, x[0], weight, None, CASES[0])[1]
    line = torch.ones(3)
    assert separable in dispatched_ops(upsample_ext.fixed_conv_transpose2d, x, (line, line))[1]
    assert separable in dispatched_ops(upsample_ext.bilinear_conv_transpose2d, x, 2)[1]
    x = torch.randn(2, 4, 5, 6)
    for shape, options in (
        ((4, 2, 3, 3), {"groups": 1}),
        ((4, 3, 3, 3), {"groups": 2}),
        ((4, 2, 3, 3), {"groups": 4}),  # two outputs a channel
    ):
        weight = torch.randn(shape)
        found, names = dispatched_ops(upsample_ext.conv_transpose2d, x, weight, **options)
        assert depthwise not in names
        assert torch.equal(found, F.conv_transpose2d(x, weight, **options))


def test_unbatched_and_single_numbers():
    x, weight, bias = tensors(CASES[0], torch.float32)
    for image in (x, x[0]):
        found = upsample_ext.conv_transpose2d(image, weight, bias, 2, padding=1, groups=3)
        torch.testing.assert_close(found, F.conv_transpose2d(image, weight, bias, 2, padding=1, groups=3))
    settings = ([2, 3], [1, 0], [0, 1], 3, [1, 2])
    torch.testing.assert_close(
        upsample_ext.conv_transpose2d(x, weight, None, *settings),
        F.conv_transpose2d(x, weight, None, *settings),
    )


def test_more_planes_than_16_bits_count():
    x, weight = torch.randn(1, 65537, 1, 2), torch.randn(65537, 1, 1, 2)
    found = upsample_ext.conv_transpose2d(x, weight, groups=65537)[0, :, 0]
    first, second = weight[:, 0, 0, :1], weight[:, 0, 0, 1:]
    samples = x[0, :, 0]
    torch.testing.assert_close(found, F.pad(samples * first, (0, 1)) + F.pad(samples * second, (1, 0)))


# ---- layouts -----------------------------------------------------------------------------------------------

LAYOUT_CASES = [
    ((2, 3, 5, 9), (3, 4), (2, 3), (1, 1), (1, 0), (1, 1)),
    ((1, 1, 6, 5), (4, 2), (1, 2), (0, 0), (0, 0), (1, 1)),
    ((1, 3, 7, 1), (2, 3), (2, 2), (0, 0), (0, 0), (1, 1)),
    ((2, 1, 1, 8), (3, 3), (1, 2), (1, 1), (0, 1), (1, 1)),
    ((1, 4, 1, 1), (2, 3), (2, 2), (0, 0), (0, 0), (1, 1)),
    ((3, 35, 4, 6), (4, 4), (2, 2), (1, 1), (0, 0), (1, 1)),
    ((2, 35, 9, 6), (7, 5), (1, 1), (3, 2), (0, 0), (1, 1)),
    ((1, 3, 70, 40), (3, 9), (1, 1), (0, 4), (0, 0), (1, 1)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", LAYOUT_CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_any_strides(case, layout, dtype, device):
    x, weight, bias = tensors(case, dtype, device)
    x = LAYOUTS[layout](x)
    found = ours(x, weight, bias, case)
    assert_as_exact(
        found, native(*(t.double() for t in (x, weight, bias)), case), native(x, weight, bias, case)
    )
    # The gradients read any strides too; each number is a sum of a few hundred products at most.
    grad = LAYOUTS[layout](torch.randn(found.shape, dtype=torch.float64, device=device).to(dtype))
    geometry = (case[2], case[3], case[5], False)
    limit = 1e-12 if dtype == torch.float64 else 2 * torch.finfo(dtype).eps
    for op, second, size in (
        (OPS.depthwise_conv_transpose2d_backward_input, weight, case[0][2:]),
        (OPS.depthwise_conv_transpose2d_backward_weight, x, case[1]),
    ):
        wide = op(grad.double().contiguous(), second.double().contiguous(), size, *geometry)
        torch.testing.assert_close(op(grad, second, size, *geometry).double(), wide, rtol=limit, atol=limit)


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 3, 5, 7), (2, 1, 5, 7), (1, 3, 1, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced", "transposed"])
@pytest.mark.parametrize("weight_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_strides_are_natives(shape, layout, weight_format, where):
    x = LAYOUTS[layout](torch.randn(shape))
    weight = torch.empty((shape[1], 1, 2, 3), memory_format=weight_format).normal_()
    expected = F.conv_transpose2d(x, weight, stride=2, groups=shape[1])
    moved = [torch.empty_strided(t.shape, t.stride(), device=where) for t in (x, weight)]
    found = upsample_ext.conv_transpose2d(*moved, stride=2, groups=shape[1])
    assert found.stride() == expected.stride()


@pytest.mark.parametrize("channels_last", [False, True])
def test_weight_and_bias_of_any_strides(channels_last, level):
    case = CASES[0]
    x, weight, bias = tensors(case, torch.float32, channels_last=channels_last)
    expected = ours(x, weight, bias, case)
    innermost = weight.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
    assert torch.equal(ours(x, innermost, bias, case), expected)
    assert torch.equal(ours(x, weight.as_strided(weight.shape, (16, 77, 4, 1)), bias, case), expected)
    spread = torch.stack((bias, bias), 1)[:, 0]
    assert torch.equal(ours(x, weight, spread, case), expected)
    one = weight[:1].expand(3, 1, 4, 4)
    torch.testing.assert_close(ours(x, one, bias, case), native(x, one.contiguous(), bias, case))


# ---- infinities and NaN ------------------------------------------------------------------------------------


def by_definition(x, weight, case):
    """Every tap adds the image to a strided slice of the output: only taps that exist are multiplied."""
    (n, c, h, w), (kh, kw), stride, padding, output_padding, dilation = case
    full = [
        (size - 1) * step + spread * (taps - 1) + extra + 1
        for size, taps, step, extra, spread in zip(
            (h, w), (kh, kw), stride, output_padding, dilation, strict=True
        )
    ]
    out = x.new_zeros(n, c, *full)
    for i in range(kh):
        for j in range(kw):
            y0, x0 = i * dilation[0], j * dilation[1]
            rows = slice(y0, y0 + (h - 1) * stride[0] + 1, stride[0])
            columns = slice(x0, x0 + (w - 1) * stride[1] + 1, stride[1])
            out[:, :, rows, columns] += x * weight[:, 0, i, j].view(1, c, 1, 1)
    return out[:, :, padding[0] : full[0] - padding[0], padding[1] : full[1] - padding[1]]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("case", [CASES[i] for i in (0, 1, 2, 3, 4, 10, 11, 12, 16, 17)])
def test_infinities_and_nan_reach_as_far_as_the_kernel(case, channels_last, level):
    x, weight, _ = tensors(case, torch.float32, channels_last=channels_last)
    x[..., 0, 0], x[..., -1, -1], x[..., x.shape[2] // 2, x.shape[3] // 2] = torch.inf, -torch.inf, torch.nan
    weight[:, :, 0] = 0.0  # an existing tap of weight 0 makes a NaN of an infinity
    expected = by_definition(x.double(), weight.double(), case)
    found = ours(x, weight, None, case).double()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


# ---- replicated border -------------------------------------------------------------------------------------


@functools.cache
def extended_by_its_edge(case, channels_last):
    """Tensors, the result, a gradient of it and theirs by PyTorch: once for all levels."""
    values = tensors(case, torch.float64, channels_last=channels_last, requires_grad=True)
    x, weight, bias = values
    _, kernel, stride, padding, output_padding, dilation = case
    reach = [d * k + o + p for d, k, o, p in zip(dilation, kernel, output_padding, padding, strict=True)]
    rows, columns = (
        torch.arange(-more, size + more).clamp(0, size - 1)
        for more, size in zip(reach, x.shape[2:], strict=True)
    )
    extended = x[:, :, rows][:, :, :, columns]
    further = [p + r * s for p, r, s in zip(padding, reach, stride, strict=True)]
    expected = F.conv_transpose2d(
        extended, weight, bias, stride, further, output_padding, x.shape[1], dilation
    )
    grad = torch.randn_like(expected)
    return values, expected.detach(), grad, torch.autograd.grad(expected, values, grad)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("case", NON_EMPTY)
def test_replicate_is_an_input_extended_by_its_edge(case, channels_last, level):
    values, expected, grad, gradients = extended_by_its_edge(case, channels_last)
    _, _, stride, padding, output_padding, dilation = case
    found = OPS.depthwise_conv_transpose2d(*values, stride, padding, output_padding, dilation, True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(found, values, grad), gradients, rtol=1e-12, atol=1e-11)


def gradients_of_a_repeated_edge(
    size, kernel, dilation, grad, along_height, channels_last, device, separable=True
):
    """Of an image with one long axis: ours, native's, and native's in float64."""
    beyond, columns = dilation * (len(kernel) - 1), (len(kernel), 1) if along_height else (1, len(kernel))
    x = torch.zeros(1, 4, *((size, 6) if along_height else (6, size)))
    grad = grad.expand(1, 4, 6, -1).movedim(-1, -2 if along_height else -1).contiguous()
    dilations = (dilation, 1) if along_height else (1, dilation)

    def native(dtype):
        leaf = x.to(dtype).requires_grad_()
        margins, padding = [0, 0, beyond, beyond], (beyond, 0)
        padded = F.pad(leaf, margins if along_height else margins[::-1], mode="replicate")
        weight = kernel.to(dtype).reshape(columns).expand(4, 1, *columns)
        padding = padding if along_height else padding[::-1]
        y = F.conv_transpose2d(padded, weight, padding=padding, groups=4, dilation=dilations)
        return torch.autograd.grad(y, leaf, grad.to(dtype))[0]

    image = x.to(device)
    if channels_last:
        image = image.contiguous(memory_format=torch.channels_last)
    lines = [kernel.to(device), torch.ones(1, device=device)][:: 1 if along_height else -1]
    kernels = tuple(lines) if separable else torch.outer(*lines).expand(4, *columns)
    image.requires_grad_()
    y = upsample_ext.fixed_conv_transpose2d(image, kernels, dilation=dilations, padding_mode="replicate")
    (found,) = torch.autograd.grad(y, image, grad.to(device))
    return found.cpu(), native(torch.float32), native(torch.float64)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("along_height", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("values", ["integers", "positive", "normal"])
def test_a_repeated_edge_s_gradient_is_as_close_as_natives(
    values, channels_last, along_height, separable, device
):
    """Each output reads the edge sample with all taps that lie beyond it."""
    for size, taps, dilation in [(17, 40, 2), (17, 40, 1), (5, 64, 3), (90, 25, 2), (9, 6, 1), (8, 4, 2)]:
        kernel = {
            "integers": lambda taps: torch.randint(-2, 3, (taps,)).float(),
            "positive": torch.rand,
            "normal": torch.randn,
        }[values](taps)
        outputs = size + dilation * (taps - 1)
        for grad in (torch.full((outputs,), 0.6614), torch.randn(outputs)):
            found, native, exact = gradients_of_a_repeated_edge(
                size, kernel, dilation, grad, along_height, channels_last, device, separable
            )
            error, of_native = ((g.double() - exact).abs().max().item() for g in (found, native))
            # Where native happens to be exact there is still the rounding of the result.
            assert error <= 2 * of_native + torch.finfo(torch.float32).eps * exact.abs().max().item()


@pytest.mark.parametrize("along_height", [False, True])
def test_a_repeated_edge_s_gradient_spreads_infinities_as_natively(along_height, device):
    for kernel in ([1.0, 2.0, 3.0], [2.0, -1.0, 4.0, -2.0], [1.0, 0.0, 2.0, 0.0], [1.0, -1.0, 1.0, -1.0]):
        for place in range(8):
            grad = torch.linspace(-1, 1, 2 * (len(kernel) - 1) + 4)
            grad[place % len(grad)] = float("inf") if place % 3 else float("nan")
            found, native, _ = gradients_of_a_repeated_edge(
                4, torch.tensor(kernel), 2, grad, along_height, False, device
            )
            torch.testing.assert_close(found, native, equal_nan=True)


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", NON_EMPTY)
def test_fixed_kernels(case, dtype, padding_mode, device):
    (n, c, h, w), (kh, kw), stride, padding, output_padding, dilation = case
    x = torch.randn(n, c, h, w, device=device, dtype=torch.float64).to(dtype)
    lines = [torch.randn(k, device=device, dtype=torch.float64).to(dtype) for k in (kh, kw)]

    def fixed(x, kernel):
        return upsample_ext.fixed_conv_transpose2d(
            x, kernel, stride, padding, output_padding, dilation, padding_mode=padding_mode
        )

    exact = reference.separable(
        x,
        *(
            reference.conv_transpose_matrix(size, line.tolist(), s, p, o, d, padding_mode == "replicate")
            for size, line, s, p, o, d in zip(
                (h, w), lines, stride, padding, output_padding, dilation, strict=True
            )
        ),
    )
    outer = torch.outer(*lines)  # rounded to the dtype, as a weight is
    for kernel in (tuple(lines), outer, outer.expand(c, kh, kw)):
        if not isinstance(kernel, tuple):
            exact = fixed(x.double(), kernel.double())
        found = fixed(x, kernel)
        # Sums in float32 or wider: what is left for half types is the last rounding.
        eps = RELATIVE.get(dtype, torch.finfo(dtype).eps * 0.51)
        slack = eps * exact.abs().max().item() * (1e-3 if dtype in HALVES else 1)
        assert bool(((found.double() - exact).abs() <= eps * exact.abs() + slack).all())
        assert torch.equal(fixed(x[0], kernel), found[0])


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((1, 3, 3, 2), (64, 64), (32, 32), (16, 16)),
        ((2, 2, 2, 3), (24, 33), (24, 30), (5, 0)),  # outputs with a single tap
        ((1, 5, 4, 3), (11, 50), (26, 25), (2, 12)),  # and without any
        ((1, 8, 3, 1), (90, 7), (45, 60), (0, 3)),
    ],
)
def test_gradients_of_fixed_kernels_by_large_strides(
    shape, kernel, stride, padding, dtype, padding_mode, device
):
    lines = [torch.randn(k, device=device, dtype=torch.float64).to(dtype) for k in kernel]
    matrices = [
        reference.conv_transpose_matrix(*arguments, replicate=padding_mode == "replicate")
        for arguments in zip(shape[2:], [line.tolist() for line in lines], stride, padding, strict=True)
    ]
    for layout in ("contiguous", "channels_last"):
        x = LAYOUTS[layout](torch.randn(shape, device=device, dtype=torch.float64).to(dtype)).requires_grad_()
        y = upsample_ext.fixed_conv_transpose2d(x, tuple(lines), stride, padding, padding_mode=padding_mode)
        grad_output = LAYOUTS[layout](torch.randn_like(y.double()).to(dtype))
        (found,) = torch.autograd.grad(y, x, grad_output)
        exact, size = (
            reference.separable(g, *(m.T for m in of))
            for g, of in ((grad_output, matrices), (grad_output.abs(), [m.abs() for m in matrices]))
        )
        eps = RELATIVE.get(dtype, torch.finfo(dtype).eps * 0.51)
        assert bool(((found.cpu().double() - exact).abs() <= eps * exact.abs() + 1e-5 * size).all())


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bilinear_layer_in_every_dtype(factor, dtype, device):
    x = torch.randn(2, 3, 4, 6, device=device, dtype=torch.float64).to(dtype)
    kernel, stride, padding = upsample_ext.caffe_upsample_params(factor)
    weight = upsample_ext.make_bilinear_weights(kernel, 3, dtype=torch.float64, device=device)
    zeros = F.conv_transpose2d(x.double(), weight, stride=stride, padding=padding, groups=3)
    of_native = F.conv_transpose2d(x, weight.to(dtype), stride=stride, padding=padding, groups=3)
    assert_as_exact(upsample_ext.bilinear_conv_transpose2d(x, factor), zeros, of_native)
    resized = F.interpolate(x.double(), scale_factor=factor, mode="bilinear")
    found = upsample_ext.bilinear_conv_transpose2d(x, factor, padding_mode="replicate")
    assert_as_exact(found, resized, F.interpolate(x, scale_factor=factor, mode="bilinear"))
    one = upsample_ext.bilinear_conv_transpose2d(x[0], factor, padding_mode="replicate")
    assert torch.equal(one, found[0])


# ---- adjoints, threads, the bias gradient ------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("replicate", [False, True])
@pytest.mark.parametrize("case", NON_EMPTY)
def test_adjoint_identities(case, replicate, channels_last, level):
    """<conv(x, w), y> = <x, backward_input(y, w)> = <w, backward_weight(y, x)>"""
    _, kernel, stride, padding, output_padding, dilation = case
    x, weight, _ = tensors(case, torch.float64, channels_last=channels_last)
    tail = (stride, padding, dilation, replicate)
    out = OPS.depthwise_conv_transpose2d(
        x, weight, None, stride, padding, output_padding, dilation, replicate
    )
    y = torch.randn_like(out)
    products = out * y
    limit = 1e-13 * products.abs().sum().item() + 1e-13
    by_input = x * OPS.depthwise_conv_transpose2d_backward_input(y, weight, x.shape[2:], *tail)
    by_weight = weight * OPS.depthwise_conv_transpose2d_backward_weight(y, x, kernel, *tail)
    assert abs(by_input.sum() - products.sum()).item() <= limit
    assert abs(by_weight.sum() - products.sum()).item() <= limit


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_bits_for_any_number_of_threads(dtype, channels_last, threads, level):
    case = ((3, 70, 33, 47), (4, 4), (2, 2), (1, 1), (0, 0), (1, 1))
    values = tensors(case, dtype, channels_last=channels_last, requires_grad=True)
    grad = torch.randn_like(ours(*values, case))
    results = []
    for count in (1, 2, 3):
        threads(count)
        out = ours(*values, case)
        results.append([out.detach(), *torch.autograd.grad(out, values, grad)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 3, 5, 9), (1, 1, 6, 5), (4, 70, 3, 301), (3, 4, 1, 1), (0, 3, 4, 5)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_channel_sum(shape, layout, dtype, device, level):
    x = LAYOUTS[layout](torch.randn(shape, device=device, dtype=torch.float64).to(dtype))
    expected, size = x.double().sum((0, 2, 3)), x.double().abs().sum((0, 2, 3))
    found = OPS.channel_sum(x)
    assert found.shape == (shape[1],) and found.dtype == dtype
    # One rounding of the result; in acc at most about 100 additions one after the other (301 / 4, a rest).
    chain = torch.finfo(torch.promote_types(dtype, torch.float32)).eps / 2 * 100
    limit = torch.finfo(dtype).eps / 2 * expected.abs() + chain * size
    assert bool(((found.double() - expected).abs() <= limit).all())


def test_channel_sum_of_wide_rows_is_as_close_as_natives(device, level):
    for step in (1, 2):
        x = torch.rand(1, 2, 1, 1_000_000 * step, device=device)[..., ::step]
        exact = x.double().sum((0, 2, 3))
        own, natives = OPS.channel_sum(x), x.sum((0, 2, 3))
        rounding = torch.finfo(x.dtype).eps * exact.abs().max()
        assert (own - exact).abs().max() <= max(2 * (natives - exact).abs().max(), rounding)
