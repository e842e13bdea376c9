"""What people who resize images have reported against PyTorch and others, as tests for us.

The numbers are those of pytorch/pytorch's issues where nothing else is said. Reports that a file of their own
topic answers are not here again.
"""

import itertools

import pytest
import torch
from image_layouts import LAYOUTS
from torch import nn
from torch.nn import functional as F

import upsample_ext

OPS = torch.ops.upsample_ext


def bilinear(x, *size_or_factor, align_corners=False, **options):
    return upsample_ext.interpolate(
        x, *size_or_factor, mode="bilinear", align_corners=align_corners, **options
    )


# ---- backward ops that trust their arguments (195547, 194802) --------------------------------------------

TARGET = torch.zeros(1, 6, 7, dtype=torch.int64)
LOSS = (None, 1, -100, 0.0, False)
X = torch.rand(1, 3, 4, 5)
WRONG_BACKWARD = {
    "depthwise, a row too many": lambda: OPS.depthwise_conv_transpose2d_backward_input(
        torch.ones(1, 3, 11, 9), torch.ones(3, 1, 3, 3), [4, 4], [2, 2], [0, 0], [1, 1], False
    ),
    "depthwise, other channels": lambda: OPS.depthwise_conv_transpose2d_backward_input(
        torch.ones(1, 4, 9, 9), torch.ones(3, 1, 3, 3), [4, 4], [2, 2], [0, 0], [1, 1], False
    ),
    "depthwise weight, other batch": lambda: OPS.depthwise_conv_transpose2d_backward_weight(
        torch.ones(2, 3, 9, 9), torch.ones(1, 3, 4, 4), [3, 3], [2, 2], [0, 0], [1, 1], False
    ),
    "depthwise weight, another kernel": lambda: OPS.depthwise_conv_transpose2d_backward_weight(
        torch.ones(1, 3, 9, 9), torch.ones(1, 3, 4, 4), [5, 3], [2, 2], [0, 0], [1, 1], False
    ),
    "separable, a column too few": lambda: OPS.separable_conv_transpose2d_backward(
        torch.ones(1, 3, 9, 8), torch.ones(3), torch.ones(3), [4, 4], [2, 2], [0, 0], [1, 1], False
    ),
    "resize, size of three": lambda: OPS.upsample_bilinear2d_backward(X, [1, 2, 2], False),
    "resize, size 0": lambda: OPS.upsample_bilinear2d_backward(X, [0, 2], False),
    "resize, three dimensions": lambda: OPS.upsample_bilinear2d_backward(X[0], [2, 2], False),
    "loss, grad_output of another shape": lambda: OPS.upsample_cross_entropy_backward(
        torch.ones(2), None, X, TARGET, *LOSS
    ),
    "loss, gradient of another shape": lambda: OPS.upsample_cross_entropy_backward(
        torch.ones(()), X[:, :2], X, TARGET, *LOSS
    ),
    "loss, gradient of another dtype": lambda: OPS.upsample_cross_entropy_backward(
        torch.ones(()), X.double(), X, TARGET, *LOSS
    ),
    "loss, gradient and no reduction": lambda: OPS.upsample_cross_entropy_backward(
        torch.ones(1, 6, 7), X, X, TARGET, None, 0, -100, 0.0, False
    ),
    "loss, weight of fewer classes": lambda: OPS.upsample_cross_entropy_backward(
        torch.ones(()), None, X, TARGET, torch.ones(2), *LOSS[1:]
    ),
    "loss, target of class C": lambda: OPS.upsample_cross_entropy_backward(
        torch.ones(()), None, X, TARGET + 3, *LOSS
    ),
    "loss, target of class -1": lambda: OPS.upsample_cross_entropy_backward(
        torch.ones(()), None, X, TARGET - 1, *LOSS
    ),
    "loss, target of class 2^40": lambda: OPS.upsample_cross_entropy_backward(
        torch.ones(()), None, X, TARGET + 2**40, *LOSS
    ),
}


@pytest.mark.parametrize("name", WRONG_BACKWARD)
def test_a_backward_op_judges_its_arguments(name):
    with pytest.raises((RuntimeError, IndexError)):
        WRONG_BACKWARD[name]()


# ---- values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape, weight_shape, stride, padding", [
    ((1, 1, 4000, 2), (1, 1, 1, 1), 20, 0),  # 144611: a tall image, a kernel of one tap, a wide step
    ((4, 16, 8, 8), (16, 1, 8, 8), 4, 2),  # PaddlePaddle 70837
])  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_kernels_smaller_and_larger_than_their_step(shape, weight_shape, stride, padding, dtype, device):
    x, weight = (
        torch.randn(shape, device=device).to(dtype),
        torch.randn(weight_shape, device=device).to(dtype),
    )
    tensors = [x.requires_grad_(), weight.requires_grad_()]
    exact = [t.detach().double().requires_grad_() for t in tensors]
    options = {"stride": stride, "padding": padding, "groups": shape[1]}
    found = upsample_ext.conv_transpose2d(*tensors, **options)
    expected = F.conv_transpose2d(*exact, **options)
    close = {"rtol": 1e-2, "atol": 2e-2} if dtype == torch.float16 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(found.double(), expected, **close)
    grad = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, tensors, grad.to(dtype)),
        torch.autograd.grad(expected, exact, grad),
        strict=True,
    ):
        error, scale = (a.double() - b).abs().max(), b.abs().max()
        assert error <= scale * (4e-3 if dtype == torch.float16 else 1e-5)


@pytest.mark.parametrize("size", [(9, 11), (2, 3), (4, 4)])
def test_the_first_of_equal_classes_wins(size, device):
    """17738, 10370, 22853, 93815."""
    x = torch.zeros(1, 19, 4, 4, device=device)
    assert not upsample_ext.upsample_argmax(x, size).any()
    x[:, [7, 12]] = 1.5
    assert (upsample_ext.upsample_argmax(x, size) == 7).all()
    signed = torch.zeros(1, 2, 4, 4, device=device)
    signed[:, 0] = -0.0
    for same in (
        signed,
        signed.flip(1),
        torch.full_like(signed, -torch.inf),
        torch.full_like(signed, torch.nan),
    ):
        expected = bilinear(same, size).argmax(1)
        assert torch.equal(upsample_ext.upsample_argmax(same, size), expected) and not expected.any()


@pytest.mark.parametrize("factor", [1.25, 0.8, 1.0239])
@pytest.mark.parametrize("corners", [False, True])
def test_the_gradient_of_a_factor_that_is_no_whole_number(factor, corners, device):
    """97135."""
    x = torch.randn(1, 3, 2, 4, dtype=torch.float64, device=device, requires_grad=True)
    resize = lambda x: bilinear(x, None, factor, align_corners=corners)  # noqa: E731
    assert torch.autograd.gradcheck(resize, x) and torch.autograd.gradgradcheck(resize, x)


@pytest.mark.parametrize("shape, size", [((1, 3, 3, 200), (7, 401)), ((1, 1, 200, 3), (401, 7))])
def test_height_and_width_are_not_confused(shape, size, device):
    """intel/torch-xpu-ops 4322: the backward is the transpose of the forward."""
    x = torch.randn(shape, dtype=torch.float64, device=device, requires_grad=True)
    resized = bilinear(x, size)
    y = torch.randn_like(resized)
    gradient = torch.autograd.grad(resized, x, y)[0]
    torch.testing.assert_close((resized * y).sum(), (x * gradient).sum())


@pytest.mark.parametrize(
    "layout", ["no batch", "one channel", "one pixel", "odd batch stride", "channels_last"]
)
def test_strides_of_what_has_one_of_something(layout):
    """100373, 100258, 68430, 60137: as native's, and values as of a copy."""
    x = {
        "no batch": lambda: torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)[0][None],
        "one channel": lambda: torch.rand(2, 4, 5, 1).permute(0, 3, 1, 2),
        "one pixel": lambda: torch.rand(2, 1, 1, 3).permute(0, 3, 1, 2),
        "odd batch stride": lambda: torch.rand(77, 3, 4, 5).as_strided((1, 3, 4, 5), (77, 20, 5, 1)),
        "channels_last": lambda: torch.rand(1, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    }[layout]()
    gradients = []
    for function in (upsample_ext.interpolate, F.interpolate):
        leaf = x.detach().requires_grad_()
        resized = function(leaf, (7, 9), mode="bilinear")
        gradients.append((resized.stride(), torch.autograd.grad(resized.sum(), leaf)[0].stride()))
        torch.testing.assert_close(resized, function(x.clone(), (7, 9), mode="bilinear"))
    assert gradients[0] == gradients[1]


def test_steps_between_the_padding_and_the_dilation():
    """63314, apple/coreai-torch 79: one tap, every other output; output_padding below the dilation alone."""
    x = torch.zeros(1, 1, 1, 2, requires_grad=True)
    weight = torch.full((1, 1, 1, 1), 3.0)
    output = upsample_ext.conv_transpose2d(x, weight, stride=2)
    assert torch.autograd.grad(output, x, torch.tensor([[[[1.5, 0, 0.7]]]]))[0].tolist() == [
        [[[pytest.approx(4.5), pytest.approx(2.1)]]]
    ]
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    options = {"groups": 2, "dilation": 3, "output_padding": 2}
    torch.testing.assert_close(
        upsample_ext.conv_transpose2d(x, weight, **options), F.conv_transpose2d(x, weight, **options)
    )
    assert torch.autograd.gradcheck(lambda *t: upsample_ext.conv_transpose2d(*t, **options), (x, weight))
    for layer in (nn.ConvTranspose2d(2, 2, 3, 2, dilation=2, groups=2),):
        expected = layer(x.float(), output_size=(10, 12))
        converted = upsample_ext.convert(layer)
        torch.testing.assert_close(converted(x.float(), output_size=(10, 12)), expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_infinite_weights_reach_the_outputs_that_have_a_tap_there(sign):
    """165744, 153700: taps that do not exist are no zeros times infinity."""
    x = torch.ones(1, 1, 4, 4)
    x[..., 2:] *= sign
    weight = torch.full((1, 1, 3, 3), torch.inf)
    found = upsample_ext.conv_transpose2d(x, weight, stride=2, padding=1)
    assert found[0, 0, 0, 0] == torch.inf and found[0, 0, -1, -1] == sign * torch.inf
    expected = F.conv_transpose2d(x, torch.ones(1, 1, 3, 3), stride=2, padding=1)
    crossing = F.conv_transpose2d(x.abs(), torch.ones(1, 1, 3, 3), stride=2, padding=1) != expected.abs()
    assert torch.equal(found.isnan(), crossing)


def test_results_of_size_0_end_as_natively():
    """88647."""
    x, weight = torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    for stride, padding in ((2, 2), (1, 1), (2, 3), (2, (2, 0))):
        outcomes = []
        with upsample_ext.patch():
            patched = lambda *a, **k: F.conv_transpose2d(*a, **k)  # noqa: E731
            for function in (torch.conv_transpose2d, upsample_ext.conv_transpose2d, patched):
                try:
                    outcomes.append(function(x, weight, None, stride, padding).shape)
                except Exception as error:
                    outcomes.append((type(error), str(error)))
        assert outcomes[0] == outcomes[1] == outcomes[2]


# ---- sizes and coordinates -------------------------------------------------------------------------------


def test_sizes_are_floored_as_natively():
    """96236, 62396, 94123: 88 * (120 / 88) is 119."""
    cases = [(88, 120 / 88), (32, 0.1234), (32, 0.9999), (32, 1.8), (10, 1 / 3), (7, 3.0000001)]
    for extent, factor in cases:
        x = torch.rand(1, 1, extent, 4)
        expected = F.interpolate(x, scale_factor=(factor, 1.0), mode="bilinear").shape
        scales = (factor, 1.0)
        ways = {
            "eager": lambda x, s=scales: bilinear(x, None, s),
            "argmax": lambda x, s=scales: upsample_ext.upsample_argmax(x, None, s).unsqueeze(1),
            "threshold": lambda x, s=scales: upsample_ext.upsample_threshold(x, None, s),
            "by scale factors": lambda x, s=scales: OPS.upsample_bilinear2d.vec(x, None, False, s),
            "exported": lambda x, s=scales: torch.export.export(_Resize(s), (x,)).module()(x),
        }
        for name, way in ways.items():
            assert way(x).shape == expected, (name, extent, factor)


class _Resize(nn.Module):
    def __init__(self, scales):
        super().__init__()
        self.scales = scales

    def forward(self, x):
        return bilinear(x, None, self.scales)


def test_one_output_and_one_source():
    """183523 (the ONNX exporters'): of one output, half-pixel coordinates read the middle."""
    line = torch.arange(10.0).view(1, 1, 1, 10)
    assert bilinear(line, (1, 1)).item() == 4.5
    assert bilinear(line, (1, 1), align_corners=True).item() == 0.0
    assert upsample_ext.compare(line[0, 0].expand(1, 10).numpy(), factor=2) is not None
    colour = torch.tensor([0.0952, 0.5151, 0.4216]).view(1, 3, 1, 1)
    for dtype, corners in itertools.product((torch.float16, torch.bfloat16, torch.float32), (False, True)):
        found = bilinear(colour.to(dtype), (5, 7), align_corners=corners)
        ulp = torch.finfo(dtype).eps if dtype == torch.float32 else 0  # tinygrad 6103: NaN
        torch.testing.assert_close(found, colour.to(dtype).expand(1, 3, 5, 7), rtol=ulp, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_constant_stays_one(dtype, device):
    """38579."""
    for value, size in itertools.product((0.0952, 1.0, 3.14159, 1000.1), ((13, 17), (5, 64), (3, 2))):
        x = torch.full((1, 2, 5, 7), value, device=device).to(dtype)
        for corners in (False, True):
            found = bilinear(x, size, align_corners=corners)
            if dtype in (torch.float16, torch.bfloat16):
                assert (found == x[0, 0, 0, 0]).all()
            else:
                assert ((found - x[0, 0, 0, 0]).abs() <= 2 * torch.finfo(dtype).eps * value).all()


# ---- empty images, dtypes --------------------------------------------------------------------------------

FUNCTIONS = {
    "interpolate": (lambda x: bilinear(x, (6, 7)), lambda x: F.interpolate(x, (6, 7), mode="bilinear")),
    "argmax": (
        lambda x: upsample_ext.upsample_argmax(x, (6, 7)),
        lambda x: F.interpolate(x.float(), (6, 7), mode="bilinear").argmax(1),
    ),
    "threshold": (
        lambda x: upsample_ext.upsample_threshold(x, (6, 7)),
        lambda x: F.interpolate(x.float(), (6, 7), mode="bilinear") > 0,
    ),
    "add": (
        lambda x: upsample_ext.upsample_add(x, x.new_ones(*x.shape[:2], 6, 7)),
        lambda x: F.interpolate(x, (6, 7), mode="bilinear") + x.new_ones(*x.shape[:2], 6, 7),
    ),
    "concat": (
        lambda x: upsample_ext.upsample_concat([x, x], (6, 7)),
        lambda x: torch.cat([F.interpolate(x, (6, 7), mode="bilinear")] * 2, 1),
    ),
    "conv_transpose2d": (
        lambda x: upsample_ext.conv_transpose2d(
            x, x.new_ones(x.shape[1], 1, 3, 3), groups=max(1, x.shape[1])
        ),
        lambda x: F.conv_transpose2d(x, x.new_ones(x.shape[1], 1, 3, 3), groups=max(1, x.shape[1])),
    ),
}


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5), (0, 0, 4, 5)], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_empty_batches_and_empty_channels_end_as_natively(name, shape, layout):
    """84630, facebookresearch/detr 263."""
    outcomes = []
    for function in FUNCTIONS[name]:
        x = LAYOUTS[layout](torch.zeros(shape)).requires_grad_()
        try:
            output = function(x)
            if output.requires_grad:
                output.sum().backward()
            outcomes.append((output.shape, output.dtype, None if x.grad is None else x.grad.shape))
        except Exception as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_results_have_the_dtype_of_the_input(dtype, layout, device):
    """88536, 84989, 86679."""
    x = LAYOUTS[layout](torch.rand(2, 3, 4, 5, device=device).to(dtype))
    for name in ("interpolate", "add", "concat", "conv_transpose2d"):
        assert FUNCTIONS[name][0](x).dtype == dtype
    target = torch.zeros(2, 6, 7, dtype=torch.int64, device=device)
    assert upsample_ext.upsample_cross_entropy(x, target).dtype == dtype
    assert upsample_ext.fixed_conv_transpose2d(x, torch.ones(3, 3, device=device)).dtype == dtype
    assert upsample_ext.bilinear_conv_transpose2d(x, 2).dtype == dtype


# ---- compiled code ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_compiled_convolution_with_output_padding(layout):
    """184026: strides that the compiler foresaw and the kernel did not make."""
    x = LAYOUTS[layout](torch.randn(2, 16, 4, 4)).requires_grad_()
    weight = torch.randn(16, 1, 3, 3, requires_grad=True)

    def function(x, weight):
        y = upsample_ext.conv_transpose2d(x, weight, None, 2, 1, 1, 16)
        return y.relu() + y.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)

    results = []
    for call in (function, torch.compile(function, fullgraph=True)):
        output = call(x, weight)
        results.append([output, *torch.autograd.grad(output.square().sum(), (x, weight))])
    torch.testing.assert_close(*results)
    assert [t.stride() for t in results[0]] == [t.stride() for t in results[1]]


@pytest.mark.slow
def test_compiled_for_any_size():
    """163833, 93262: dynamic shapes with a factor of 1.5 and aligned corners, and to a single pixel."""
    grow = torch.compile(
        lambda x: bilinear(x, None, 1.5, align_corners=True), dynamic=True, backend="aot_eager"
    )
    shrink = torch.compile(lambda x: bilinear(x, (1, 1)), dynamic=True, backend="aot_eager")
    for extent in (16, 17, 30):
        x = torch.randn(2, 8, extent, extent + 3, requires_grad=True)
        for compiled, eager in (
            (grow, lambda x: F.interpolate(x, None, 1.5, "bilinear", True)),
            (shrink, lambda x: F.interpolate(x, (1, 1), mode="bilinear")),
        ):
            found, expected = compiled(x), eager(x)
            torch.testing.assert_close(found, expected)
            torch.testing.assert_close(
                torch.autograd.grad(found.sum(), x)[0], torch.autograd.grad(expected.sum(), x)[0]
            )


@pytest.mark.filterwarnings("error:There is a performance drop")
def test_transforms_need_no_fallback():
    """functorch 240, 110172, 138800."""
    x = torch.rand(2, 1, 1, 3, 4)
    resize = lambda x: bilinear(x, (5, 6))  # noqa: E731
    found = torch.func.vmap(torch.func.jacrev(resize))(x)
    with torch.inference_mode():
        forward = torch.func.vmap(torch.func.jacfwd(resize))(x)
    torch.testing.assert_close(found, forward)
    empty = torch.rand(0, 2, 3, 4, 5)
    assert torch.func.vmap(resize, in_dims=1)(empty).shape == (2, 0, 3, 5, 6)
