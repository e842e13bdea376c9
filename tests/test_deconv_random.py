"""Transposed convolution where kernels for a GPU may go wrong: any geometry, far extents, many planes."""

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from image_layouts import LAYOUTS
from test_resample_random import far_apart
from torch.nn import functional as F

import upsample_ext

OPS = torch.ops.upsample_ext
LAYOUT_NAMES = ("contiguous", "channels_last", "sliced", "steps", "transposed", "channels_last_slice")
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float64: 1e-12}


# ---- any geometry ----------------------------------------------------------------------------------------


@st.composite
def geometries(draw):
    """Of both axes: input size, kernel, stride, padding, output_padding, dilation."""
    axes = []
    for longest in draw(st.permutations([40, 7])):
        size, kernel = draw(st.integers(1, longest)), draw(st.integers(1, 9))
        stride, dilation = draw(st.integers(1, 9)), draw(st.sampled_from([1, 1, 1, 2, 3, 6]))
        extra = draw(st.integers(0, max(stride, dilation) - 1))
        padding = draw(st.integers(0, 8))
        assume((size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1 > 0)
        axes.append((size, kernel, stride, padding, extra, dilation))
    return tuple(zip(*axes, strict=True))


def extended(x, reach):
    """The image continued by its edge, `reach` samples at each end."""
    rows, columns = (
        torch.arange(-more, size + more, device=x.device).clamp(0, size - 1)
        for more, size in zip(reach, x.shape[2:], strict=True)
    )
    return x[:, :, rows][:, :, :, columns]


def native(x, weight, bias, geometry, replicate):
    _, kernel, stride, padding, extra, dilation = geometry
    if replicate:
        reach = [d * k + o + p for k, p, o, d in zip(kernel, padding, extra, dilation, strict=True)]
        x, padding = extended(x, reach), [p + r * s for p, r, s in zip(padding, reach, stride, strict=True)]
    return F.conv_transpose2d(x, weight, bias, stride, padding, extra, x.shape[1], dilation)


def with_gradients(function, tensors, grad):
    leaves = [t.detach().requires_grad_() for t in tensors]
    output = function(*leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, grad)]


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    geometry=geometries(),
    batch=st.integers(1, 2),
    channels=st.sampled_from([1, 2, 3, 8, 16, 33]),
    dtype=st.sampled_from(list(TOLERANCE)),
    layout=st.sampled_from(LAYOUT_NAMES),
    replicate=st.booleans(),
)
def test_any_geometry_and_its_gradients(device, geometry, batch, channels, dtype, layout, replicate):
    size, kernel, stride, padding, extra, dilation = geometry
    shapes = (batch, channels, *size), (channels, 1, *kernel), (channels,)
    made = [torch.randn(shape, device=device).to(dtype) for shape in shapes]
    made[0] = LAYOUTS[layout](made[0])
    wide = [t.double() for t in made]
    output = native(*wide, geometry, replicate)
    grad = LAYOUTS[layout](torch.randn(output.shape, device=device).to(dtype))

    def ours(x, weight, bias):
        return OPS.depthwise_conv_transpose2d(x, weight, bias, stride, padding, extra, dilation, replicate)

    results = with_gradients(ours, made, grad)
    exact = with_gradients(lambda *t: native(*t, geometry, replicate), wide, grad.double())
    # What rounding may amount to: the same sums of absolute values.
    scales = with_gradients(
        lambda *t: native(*t, geometry, replicate), [t.abs() for t in wide], grad.double().abs()
    )
    for result, value, scale in zip(results, exact, scales, strict=True):
        error = (result.double() - value).abs()
        assert (error <= TOLERANCE[dtype] * (scale + 1e-30)).all(), error.max()


# ---- extents ---------------------------------------------------------------------------------------------

# kernel: two taps an output, and more
KERNELS = [(4, 4), (7, 3)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dim", range(4))
def test_elements_more_than_32_bits_apart(dim, kernel, device):
    shape = [2, 3, 5, 6]
    shape[dim] = 2
    step = 2**31 + 12 if dim < 2 else 2**30 + 12
    stride, padding, dilation = [2, 2], [(k - 1) // 2 for k in kernel], [1, 1]
    x = torch.randn(shape, device=device).half()
    weight = torch.randn(shape[1], 1, *kernel, device=device).half()
    lines = [torch.randn(k, device=device) for k in kernel]
    far = far_apart(x, dim, step, torch.float16, device)

    def forward(image):
        options = (stride, padding, [0, 0], dilation, False)
        yield OPS.depthwise_conv_transpose2d(image, weight, None, *options)
        yield OPS.separable_conv_transpose2d(image, *lines, *options)
        yield OPS.channel_sum(image)

    for near_result, result in zip(forward(x), forward(far), strict=True):
        torch.testing.assert_close(result, near_result)  # another kernel may add in another order

    # As the gradient of an output of that shape.
    size = [(out + k % 2) // 2 for out, k in zip(shape[2:], kernel, strict=True)]
    small = torch.randn(*shape[:2], *size, device=device).half()

    def backward(grad):
        options = (stride, padding, dilation, False)
        yield OPS.depthwise_conv_transpose2d_backward_input(grad, weight, size, *options)
        yield OPS.depthwise_conv_transpose2d_backward_weight(grad, small, kernel, *options)
        yield OPS.separable_conv_transpose2d_backward(grad, *lines, size, *options)

    for near_result, result in zip(backward(x), backward(far), strict=True):
        torch.testing.assert_close(result, near_result)


@pytest.mark.parametrize("shape", [(70000, 1, 2, 2), (1, 70000, 2, 2)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_more_planes_than_a_grid_has_rows(shape, kernel, device):
    x = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(shape[1], 1, *kernel, device=device), torch.randn(shape[1], device=device)
    geometry = (shape[2:], kernel, (2, 2), (1, 1), (0, 0), (1, 1))
    wide = [t.double() for t in (x, weight, bias)]
    grad = torch.randn_like(native(*wide, geometry, False)).float()

    def ours(x, weight, bias):
        return upsample_ext.conv_transpose2d(x, weight, bias, 2, 1, groups=shape[1])

    exact = with_gradients(lambda *t: native(*t, geometry, False), wide, grad.double())
    for result, value in zip(with_gradients(ours, (x, weight, bias), grad), exact, strict=True):
        assert (result.double() - value).abs().max() <= 1e-6 * max(1.0, value.abs().max())


# ---- bits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_bits_whatever_the_size_of_the_gpu(layout, kernel, device, monkeypatch):
    """The emulation takes its size from the environment; a GPU keeps its own and repeats its results."""
    x = LAYOUTS[layout](torch.randn(2, 8, 33, 40, device=device))
    weight, bias = torch.randn(8, 1, *kernel, device=device), torch.randn(8, device=device)
    options = {"stride": 2, "padding": 1, "groups": 8}
    grad = torch.randn_like(F.conv_transpose2d(x, weight, bias, **options))
    found = []
    for multiprocessors in ("1", "3", "200"):
        monkeypatch.setenv("CUSIM_MULTIPROCESSORS", multiprocessors)
        found.append(
            with_gradients(lambda *t: upsample_ext.conv_transpose2d(*t, **options), (x, weight, bias), grad)
        )
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


# ---- two taps an axis ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("replicate", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_the_separable_gradient_is_the_transposed_matrix(stride, replicate, layout, device):
    """Every kernel of at most two taps an output, some of them with one or none, at every edge."""
    options = {"dtype": torch.float64, "device": device}
    for kernel in range(1, 2 * stride + 1):
        line = torch.rand(kernel, **options) + 0.5
        for padding, extra in {(0, 0), (stride // 2, 0), (stride - 1, stride - 1)}:
            for size in ((1, 1), (1, 5), (4, 3)):
                if any((n - 1) * stride - 2 * padding + kernel + extra <= 0 for n in size):
                    continue
                pairs = [stride] * 2, [padding] * 2
                area = size[0] * size[1]
                impulses = torch.eye(area, **options).view(area, 1, *size)
                matrix = OPS.separable_conv_transpose2d(
                    impulses, line, line, *pairs, [extra] * 2, [1, 1], replicate
                )
                grad = LAYOUTS[layout](torch.randn(2, 3, *matrix.shape[2:], **options))
                found = OPS.separable_conv_transpose2d_backward(
                    grad, line, line, size, *pairs, [1, 1], replicate
                )
                exact = (grad.flatten(2) @ matrix.flatten(1).t()).view_as(found)
                torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-12)
