"""Transposed convolution: values, gradients and layouts against PyTorch, the replicated border, opcheck."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dispatched_ops import dispatched_ops
from dtypes import HALVES
from image_layouts import LAYOUTS

import upsample_ext

OPS = torch.ops.upsample_ext
GEOMETRIES = [  # kernel, stride, padding, output_padding, dilation
    ((4, 4), (2, 2), (1, 1), (0, 0), (1, 1)),
    ((3, 5), (3, 2), (1, 0), (2, 1), (1, 1)),
    ((2, 2), (3, 3), (0, 0), (0, 0), (1, 1)),
    ((3, 2), (1, 2), (2, 1), (0, 1), (2, 3)),
    ((16, 1), (8, 1), (4, 0), (0, 0), (1, 1)),
]
SHAPES = [(1, 1, 2, 2), (2, 3, 5, 9), (1, 19, 7, 3), (3, 2, 2, 2), (0, 2, 4, 5)]


def weights(channels, kernel, dtype=torch.float64):
    return torch.randn(channels, 1, *kernel, dtype=torch.float64).to(dtype)


def settings(geometry):
    kernel, stride, padding, output_padding, dilation = geometry
    return kernel, {
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
        "dilation": dilation,
    }


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_values_gradients_and_strides_are_natives(default_device, level, shape, geometry, format):
    kernel, options = settings(geometry)
    x = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=format)
    weight, bias = weights(shape[1], kernel), torch.randn(shape[1], dtype=torch.float64)
    ours = [t.clone().requires_grad_() for t in (x, weight, bias)]
    theirs = [t.clone().requires_grad_() for t in (x, weight, bias)]
    result = upsample_ext.conv_transpose2d(*ours, groups=shape[1], **options)
    native = F.conv_transpose2d(*theirs, groups=shape[1], **options)
    torch.testing.assert_close(result, native)
    assert result.stride() == native.stride()
    grad = torch.randn_like(native)
    result.backward(grad)
    native.backward(grad)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("geometry", GEOMETRIES[:2])
def test_half_error_is_at_most_twice_natives(default_device, level, dtype, geometry):
    kernel, options = settings(geometry)
    x, weight = torch.randn(2, 5, 9, 7).to(dtype), weights(5, kernel, dtype)
    exact = F.conv_transpose2d(x.double(), weight.double(), groups=5, **options)
    error = (upsample_ext.conv_transpose2d(x, weight, groups=5, **options).double() - exact).abs().max()
    native = (F.conv_transpose2d(x, weight, groups=5, **options).double() - exact).abs().max()
    assert error <= 2 * native


@pytest.mark.parametrize("name", ["sliced", "permuted", "expanded", "odd size-1 strides"])
def test_any_strides(default_device, level, name):
    base = torch.randn(2, 4, 6, 10, dtype=torch.float64)
    x = {
        "sliced": base[:, ::2, 1:, ::3],
        "permuted": base.permute(0, 1, 3, 2),
        "expanded": base[:1, :1].expand(2, 4, 6, 10),
        "odd size-1 strides": torch.as_strided(base, (1, 1, 1, 10), (7, 3, 5, 1)),
    }[name]
    weight = weights(x.shape[1], (4, 4))
    result = upsample_ext.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])
    native = F.conv_transpose2d(x.contiguous(), weight, stride=2, padding=1, groups=x.shape[1])
    torch.testing.assert_close(result, native)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_infinities_and_nan_spread_over_existing_taps_only(default_device, level, value):
    x = torch.randn(1, 2, 5, 6)
    x[0, 0, 0, 0] = x[0, 1, 2, 5] = value
    weight = weights(2, (4, 4), torch.float32)
    result = upsample_ext.conv_transpose2d(x, weight, stride=2, padding=1, groups=2)
    # On the CPU: cuDNN's algorithms may multiply an infinity by the zeros they pad with.
    native = F.conv_transpose2d(x.cpu(), weight.cpu(), stride=2, padding=1, groups=2)
    torch.testing.assert_close(result.cpu(), native, equal_nan=True, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("factor", range(1, 7))
@pytest.mark.parametrize("shape", [(1, 2, 5, 3), (2, 1, 1, 4), (1, 3, 8, 9)])
def test_replicate_equals_interpolate_and_zeros_equals_the_caffe_layer(default_device, level, factor, shape):
    x = torch.randn(shape, dtype=torch.float64)
    replicated = upsample_ext.bilinear_conv_transpose2d(x, factor, padding_mode="replicate")
    torch.testing.assert_close(replicated, F.interpolate(x, scale_factor=factor, mode="bilinear"))
    size, stride, padding = upsample_ext.caffe_upsample_params(factor)
    weight = upsample_ext.make_bilinear_weights(size, shape[1], dtype=x.dtype)
    native = F.conv_transpose2d(x, weight, stride=stride, padding=padding, groups=shape[1])
    torch.testing.assert_close(upsample_ext.bilinear_conv_transpose2d(x, factor), native)


@pytest.mark.parametrize("kind", ["separable", "shared", "per channel"])
def test_a_fixed_kernel_and_its_replicated_border(default_device, level, kind):
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    ky, kx = torch.randn(4, dtype=x.dtype), torch.randn(6, dtype=x.dtype)
    dense = weights(3, (4, 6))[:, 0]
    kernel, weight = {
        "separable": ((ky, kx), torch.outer(ky, kx).expand(3, 1, 4, 6)),
        "shared": (dense[0], dense[:1, None].expand(3, 1, 4, 6)),
        "per channel": (dense, dense[:, None]),
    }[kind]
    result = upsample_ext.fixed_conv_transpose2d(x, kernel, stride=2, padding=(1, 2))
    native = F.conv_transpose2d(x, weight, stride=2, padding=(1, 2), groups=3)
    torch.testing.assert_close(result, native)
    margin = 4  # more than the kernel reaches
    wide = F.conv_transpose2d(
        F.pad(x, [margin] * 4, mode="replicate"),
        weight,
        stride=2,
        padding=(1 + 2 * margin, 2 + 2 * margin),
        groups=3,
    )
    result = upsample_ext.fixed_conv_transpose2d(
        x, kernel, stride=2, padding=(1, 2), padding_mode="replicate"
    )
    torch.testing.assert_close(result, wide)


def test_gradients_are_the_same_bits_for_any_number_of_threads(level):
    threads, found = torch.get_num_threads(), []
    x, weight, bias = torch.randn(3, 4, 33, 65), weights(4, (4, 4), torch.float32), torch.randn(4)
    grad = torch.randn(3, 4, 66, 130)
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            inputs = [t.clone().requires_grad_() for t in (x, weight, bias)]
            upsample_ext.conv_transpose2d(*inputs, stride=2, padding=1, groups=4).backward(grad)
            found.append([t.grad for t in inputs])
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def all_results(function, x, weight, grad, options):
    """The output and both gradients, in x's dtype."""
    x, weight = x.clone(memory_format=torch.preserve_format).requires_grad_(), weight.clone().requires_grad_()
    output = function(x, weight, groups=x.shape[1], **options)
    output.backward(grad)
    return output.detach(), x.grad, weight.grad


@pytest.mark.parametrize("stride", range(1, 10))
@pytest.mark.parametrize("width", [1, 7, 8, 15, 16, 17, 33, 70])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_widths_around_a_vector_at_every_stride(default_device, level, stride, width, format):
    x = torch.randn(2, 5, 3, width, dtype=torch.float64).contiguous(memory_format=format)
    weight = weights(5, (3, 2 * stride))
    options = {"stride": (2, stride), "padding": (1, stride // 2)}
    output = F.conv_transpose2d(x, weight, groups=5, **options)
    grad = torch.randn_like(output).contiguous(memory_format=format)
    ours = all_results(upsample_ext.conv_transpose2d, x, weight, grad, options)
    native = all_results(F.conv_transpose2d, x, weight, grad, options)
    for a, b in zip(ours, native, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dilation", [1, 2, 5, 40])
@pytest.mark.parametrize("stride", [1, 3, 4, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_taps_of_a_vector_may_lie_far_apart(default_device, level, dilation, stride, dtype):
    x, weight = torch.randn(1, 2, 4, 37, dtype=dtype), weights(2, (2, 6), dtype)
    options = {"stride": stride, "padding": (0, dilation), "dilation": (1, dilation)}
    grad = torch.randn_like(F.conv_transpose2d(x, weight, groups=2, **options))
    ours = all_results(upsample_ext.conv_transpose2d, x, weight, grad, options)
    exact = all_results(F.conv_transpose2d, x.double(), weight.double(), grad.double(), options)
    for a, b in zip(ours, exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("where", ["input", "weight", "grad"])
@pytest.mark.parametrize(("stride", "kernel"), [(2, 4), (2, 3), (3, 5), (8, 16), (1, 5)])
@pytest.mark.parametrize("width", [5, 16, 40])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [3, 19])
def test_an_infinity_anywhere_reaches_its_own_taps_only(
    default_device, level, where, stride, kernel, width, format, channels
):
    x, weight = torch.randn(1, channels, 4, width), weights(channels, (kernel, kernel), torch.float32)
    options = {"stride": stride, "padding": 1}
    grad = torch.randn_like(F.conv_transpose2d(x, weight, groups=channels, **options))
    finite = [t.clone() for t in (x, weight, grad)]
    tensor = {"input": x, "weight": weight, "grad": grad}[where]
    tensor[0, 0, 0, 0] = tensor[0, 0, -1, -1] = float("inf")

    def masks(x, weight, grad):  # what is finite, of the products one by one
        x, weight, grad = (t.cpu().double().nan_to_num(posinf=1e300) for t in (x, weight, grad))
        return [t.abs() < 1e200 for t in all_results(F.conv_transpose2d, x, weight, grad, options)]

    x, grad = (t.contiguous(memory_format=format) for t in (x, grad))
    ours = all_results(upsample_ext.conv_transpose2d, x, weight, grad, options)
    # On the CPU: cuDNN's algorithms may let 1e300 reach results that it is no part of.
    plain = all_results(F.conv_transpose2d, *(t.cpu().double() for t in finite), options)
    ours = [result.cpu() for result in ours]
    for result, mask, exact in zip(ours, masks(x, weight, grad), plain, strict=True):
        assert torch.equal(result.isfinite(), mask)
        torch.testing.assert_close(result[mask].double(), exact[mask], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 64, 500), (2, 3, 40, 40)])
def test_the_weight_gradients_error_is_at_most_twice_natives(default_device, level, shape):
    x, options = torch.rand(shape), {"stride": 2, "padding": 1}
    weight = weights(shape[1], (4, 4), torch.float32)
    grad = torch.rand_like(F.conv_transpose2d(x, weight, groups=shape[1], **options))
    exact = all_results(F.conv_transpose2d, x.double(), weight.double(), grad.double(), options)
    ours = all_results(upsample_ext.conv_transpose2d, x, weight, grad, options)
    native = all_results(F.conv_transpose2d, x, weight, grad, options)
    for a, b, c in zip(ours, native, exact, strict=True):
        limit = max(2 * (b.double() - c).abs().max(), 4 * torch.finfo(torch.float32).eps * c.abs().max())
        assert (a.double() - c).abs().max() <= limit


@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (1, 7), (3, 5), (8, 16)])
def test_all_results_are_the_same_bits_for_any_number_of_threads(level, format, stride, kernel):
    threads, found = torch.get_num_threads(), []
    x = torch.randn(2, 35, 30, 41).contiguous(memory_format=format)
    weight, options = weights(35, (kernel, kernel), torch.float32), {"stride": stride, "padding": 1}
    grad = torch.randn_like(F.conv_transpose2d(x, weight, groups=35, **options))
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(all_results(upsample_ext.conv_transpose2d, x, weight, grad, options))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_pytorchs_own_samples(default_device, dtype):
    samples = pytest.importorskip(
        "torch.testing._internal.common_methods_invocations", reason="torch's samples need expecttest"
    )
    (info,) = [op for op in samples.op_db if op.name == "nn.functional.conv_transpose2d"]
    count = 0
    for sample in info.sample_inputs(default_device, dtype, requires_grad=False):
        result = upsample_ext.conv_transpose2d(sample.input, *sample.args, **sample.kwargs)
        torch.testing.assert_close(result, F.conv_transpose2d(sample.input, *sample.args, **sample.kwargs))
        count += 1
    assert count > 5


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f(torch.rand(1, 2, 3, 3), torch.rand(3, 1, 2, 2), groups=2),
        lambda f: f(torch.rand(1, 2, 3, 3), torch.rand(2, 1, 2, 2), groups=2, stride=0),
        lambda f: f(torch.rand(1, 2, 3, 3), torch.rand(2, 1, 2, 2), torch.rand(3), groups=2),
        lambda f: f(torch.rand(1, 2, 3, 3), torch.rand(2, 1, 2, 2).double(), groups=2),
        lambda f: f(torch.rand(1, 2, 3, 3), torch.rand(2, 1, 2, 2), groups=2, output_padding=2),
    ],
)
def test_errors_are_natives(default_device, call):
    with pytest.raises(Exception) as native:
        call(F.conv_transpose2d)
    with pytest.raises(native.type) as ours:
        call(upsample_ext.conv_transpose2d)
    assert str(ours.value) == str(native.value)


def test_a_fixed_kernel_that_wants_a_gradient_is_refused(default_device):
    with pytest.raises((RuntimeError, ValueError), match="conv_transpose2d"):
        upsample_ext.fixed_conv_transpose2d(torch.rand(1, 1, 3, 3), torch.rand(2, 2, requires_grad=True))


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("convention", ["centered", "caffe"])
def test_bilinear_kernel_is_its_formula(size, convention):
    f = -(-size // 2)
    centre = (size - 1) / (2 * f) if convention == "centered" else (2 * f - 1 - f % 2) / (2 * f)
    row = 1 - np.abs(np.arange(size) / f - centre)
    kernel = upsample_ext.bilinear_kernel(size, convention=convention, dtype=torch.float64)
    np.testing.assert_allclose(kernel.numpy(), np.outer(row, row), atol=1e-15)


def test_the_caffe_layer_saves_what_its_native_expression_saves():
    """A resize saves nothing, and backward may run again; a convolution saves its weight."""
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    output = upsample_ext.bilinear_conv_transpose2d(x, 2, padding_mode="replicate").sum()
    output.backward()
    output.backward()
    assert torch.equal(x.grad, torch.full_like(x, 8.0))
    output = upsample_ext.bilinear_conv_transpose2d(x, 2).sum()
    output.backward()
    with pytest.raises(RuntimeError, match="second time"):
        output.backward()


def test_the_caffe_layer_as_a_resize_is_differentiable_twice():
    def layer(x):
        return upsample_ext.bilinear_conv_transpose2d(x, 3, padding_mode="replicate")

    x = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(layer, x, check_forward_ad=True, check_batched_grad=True)
    torch.autograd.gradgradcheck(layer, x, check_fwd_over_rev=True)


def test_fixed_takes_a_sequence_of_one_number_as_native_does():
    x, kernel = torch.randn(1, 2, 4, 5), torch.randn(3, 3)
    expected = F.conv_transpose2d(
        x, kernel.expand(2, 1, 3, 3), stride=(2,), padding=(1,), output_padding=(1,), groups=2, dilation=(2,)
    )
    found = upsample_ext.fixed_conv_transpose2d(x, kernel, (2,), [1], (1,), [2])
    torch.testing.assert_close(found, expected)


def test_fixed_refuses_geometry_that_has_no_result():
    x, kernel = torch.randn(0, 2, 5, 4), torch.randn(5, 1)
    with pytest.raises(RuntimeError, match="fixed_conv_transpose2d: expected a stride greater than 0"):
        upsample_ext.fixed_conv_transpose2d(
            torch.randn(5, 8, 5), torch.randn(4, 5), (0, 3), 2, padding_mode="replicate"
        )
    with pytest.raises(RuntimeError, match="fixed_conv_transpose2d: expected a kernel that reaches"):
        upsample_ext.fixed_conv_transpose2d(x, kernel, 1, (0, 2), 0, 2**62, padding_mode="replicate")


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_integer_images_are_refused_even_if_empty(dtype):
    for mode in ("zeros", "replicate"):
        with pytest.raises(RuntimeError, match="bilinear_conv_transpose2d: expected an input of a floating"):
            upsample_ext.bilinear_conv_transpose2d(torch.zeros(0, 1, 2, 3, dtype=dtype), 2, padding_mode=mode)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_result_that_no_sample_reaches_is_zeros(default_device, level, layout):
    kernel = torch.ones(1)
    for shape in [(1, 3, 2, 2), (1, 3, 5, 2), (1, 3, 2, 5), (2, 20, 2, 2)]:
        x = LAYOUTS[layout](torch.randn(shape)).detach().requires_grad_()
        weight = torch.ones(shape[1], 1, 1, 1)
        ours = upsample_ext.fixed_conv_transpose2d(x, (kernel, kernel), stride=4, padding=2)
        native = F.conv_transpose2d(x, weight, stride=4, padding=2, groups=shape[1])
        assert torch.equal(ours, native)
        grad_output = LAYOUTS[layout](torch.randn(ours.shape))
        assert torch.equal(*(torch.autograd.grad(y, x, grad_output)[0] for y in (ours, native)))


# ---- lines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_lines(dtype, device):
    for width, kernel, stride, padding, output_padding, dilation in [
        *((1, 1, 1, 0, 0, 1), (1, 5, 2, 1, 1, 1), (7, 4, 2, 1, 0, 1), (9, 3, 3, 2, 2, 2)),
        *((64, 4, 2, 1, 0, 1), (33, 31, 1, 15, 0, 1), (12, 2, 4, 0, 3, 3)),
    ]:
        for shape in ((2, 3, width), (1, 1, width), (3, width)):
            channels = shape[-2]
            x = torch.randn(shape, dtype=torch.float64)
            w, b = torch.randn(channels, 1, kernel, dtype=torch.float64), torch.randn(channels).double()
            numbers = (stride, padding, output_padding, channels, dilation)
            exact = F.conv_transpose1d(
                x.to(dtype).double(), w.to(dtype).double(), b.to(dtype).double(), *numbers
            )
            tensors = [t.to(device, dtype) for t in (x, w, b)]
            ours, ops = dispatched_ops(upsample_ext.conv_transpose1d, *tensors, *numbers)
            assert "upsample_ext::depthwise_conv_transpose2d" in ops
            limit = 4 * torch.finfo(dtype).eps * max(1, exact.abs().max().item())
            assert ours.shape == exact.shape and (ours.double().cpu() - exact).abs().max() <= limit
            layouts = (tensors[0].mT.contiguous().mT, tensors[0][..., :: 1 if width == 1 else 2])
            for other in layouts:
                again = upsample_ext.conv_transpose1d(other, *tensors[1:], *numbers)
                same = upsample_ext.conv_transpose1d(other.clone(), *tensors[1:], *numbers)
                assert torch.equal(again, same)


@pytest.mark.parametrize(
    "numbers",
    [
        {"groups": 1},
        {"groups": 3, "stride": 0},
        {"groups": 3, "stride": (2, 2)},
        {"groups": 3, "output_padding": 2},
        {"groups": 3, "padding": 9},
        {"groups": 3, "dilation": 0},
        {"groups": 3, "stride": "2"},
    ],
)
def test_lines_that_are_wrong_raise_what_native_raises(numbers):
    x, w = torch.rand(1, 3, 4), torch.rand(3, 1, 4)
    for tensors in ((x, w), (x, w[:2]), (x[None], w), (x, w[..., 0]), (x, w.double()), (x[0, 0], w)):
        outcomes = []
        for function in (upsample_ext.conv_transpose1d, F.conv_transpose1d):
            try:
                outcomes.append(function(*tensors, **numbers).shape)
            except Exception as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1], (tensors[0].shape, tensors[1].shape)


def test_patched_lines():
    x, w = torch.rand(1, 3, 40), torch.rand(3, 1, 4)
    layer = torch.nn.ConvTranspose1d(3, 3, 4, stride=2, groups=3)
    expected = layer(x)
    with upsample_ext.patch():
        found, ops = dispatched_ops(layer, x)
        assert "upsample_ext::depthwise_conv_transpose2d" in ops
        assert torch.nn.functional.conv_transpose1d(x, w).shape == (1, 1, 43)  # mixes channels: native
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("channels", [256, 264, 250])
def test_pixels_larger_than_the_cache(channels, kernel, dtype, level):
    """Streamed on most processors, where the channels are whole vectors; a short image's result is not."""
    size = 8 // dtype.itemsize  # of the batch: the same number of bytes
    x = torch.randn(size, channels, 64, 63, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(channels, 1, kernel, kernel, dtype=dtype), torch.randn(channels, dtype=dtype)
    settings = {"stride": 2, "padding": kernel // 2 - 1, "groups": channels}
    whole = upsample_ext.conv_transpose2d(x, weight, bias, **settings)
    short = upsample_ext.conv_transpose2d(x[:, :, :9], weight, bias, **settings)
    assert torch.equal(whole[:, :, :14], short[:, :, :14])
    last = F.conv_transpose2d(x[:, :, -4:].float(), weight.float(), bias.float(), **settings)[:, :, -3:]
    torch.testing.assert_close(
        whole[:, :, -3:].float(), last, rtol=1e-2, atol=3e-2 if dtype.itemsize == 2 else 1e-4
    )


@pytest.mark.parametrize("replicate", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 2, 1), (4, 2, 1), (2, 2, 0), (6, 3, 0), (1, 3, 0)]
)
@pytest.mark.parametrize(("channels", "dtype"), [(3, torch.float32), (4, torch.bfloat16), (6, torch.float32)])
def test_few_channels_by_pixel_are_the_bits_of_planes(
    channels, dtype, kernel, stride, padding, replicate, level
):
    """Rows so long that a band, which is turned into planes at a time, holds one stride of them."""
    x = torch.randn(2, channels, 7, 1400 if dtype == torch.bfloat16 else 1100).to(dtype)
    weight = weights(1, (kernel, kernel), dtype)[0, 0]
    mode = "replicate" if replicate else "zeros"
    results = []
    for format in (torch.contiguous_format, torch.channels_last):
        image = x.clone(memory_format=format).requires_grad_()
        result = upsample_ext.fixed_conv_transpose2d(
            image, weight, stride=stride, padding=padding, padding_mode=mode
        )
        grad = (
            torch.sin(torch.arange(result.numel()))
            .view(result.shape)
            .to(dtype)
            .contiguous(memory_format=format)
        )
        results.append((result, *torch.autograd.grad(result, image, grad)))
    for planes, pixels in zip(*results, strict=True):
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(pixels, planes, rtol=0, atol=0)


@pytest.mark.parametrize("stride", [7, 2**40, 2**60])
def test_the_stride_of_a_single_row_has_no_effect(stride):
    x = torch.randn(1, 3, 1, 9).contiguous(memory_format=torch.channels_last)
    image, weight = x.clone().requires_grad_(), torch.randn(3, 3)
    result = upsample_ext.fixed_conv_transpose2d(image, weight, stride=(stride, 2), padding=(0, 1))
    expected = upsample_ext.fixed_conv_transpose2d(x, weight, stride=(3, 2), padding=(0, 1))
    assert torch.equal(result, expected)
    result.sum().backward()
    assert torch.isfinite(image.grad).all() and image.grad.abs().sum() > 0
