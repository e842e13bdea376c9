"""upsample_add and upsample_concat against what they fuse: interpolate, then + or torch.cat."""

import math

import pytest
import torch
import torch._dynamo.testing
from dispatched_ops import OUR_BACKWARD, OUR_UPSAMPLE, dispatched_ops
from image_layouts import LAYOUTS
from kernel_backend import assert_same_sums
from native_interpolate import native_interpolate
from resample_cases import RESIZES
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.nn import functional as F
from torch_versions import enable_compiled_autograd, nested_vmap_rules

import upsample_ext
from upsample_ext import interpolate, upsample_add, upsample_concat

ADD, CONCAT = "upsample_ext::upsample_add", "upsample_ext::upsample_concat"
HALVES = [torch.float16, torch.bfloat16]
DTYPES = [torch.float32, torch.float64, *HALVES]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def resize(x, size, align_corners=False):
    return interpolate(x, size, None, "bilinear", align_corners)


def rounded_once(x, other, align_corners=False):
    """What upsample_add should give to the last bit: our own resize and the sum, both as wide as sums are."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    return (resize(x.to(wide), other.shape[-2:], align_corners) + other.to(wide)).to(x.dtype)


def native_resize(x, size, align_corners):
    resize = native_interpolate if x.dtype == torch.uint8 else F.interpolate  # no bytes on CUDA
    return resize(x, size, None, "bilinear", align_corners)


def native_add(x, other, align_corners=False):
    return native_resize(x, other.shape[-2:], align_corners) + other


def native_concat(inputs, size=None, align_corners=False):
    size = inputs[0].shape[-2:] if size is None else size
    return torch.cat([native_resize(t, size, align_corners) for t in inputs], 1)


def our_concat(inputs, size=None, align_corners=False):
    size = inputs[0].shape[-2:] if size is None else size
    return torch.cat([resize(t, size, align_corners) for t in inputs], 1)


def is_laid_out_as(result, native):
    return (
        result.shape == native.shape and result.dtype == native.dtype and result.stride() == native.stride()
    )


def same_bits(a, b):
    return torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def randn(*shape, dtype=torch.float32, device="cpu", layout="contiguous"):
    return LAYOUTS[layout](torch.randn(shape, device=device).to(dtype))


def check_add(x, other, align_corners=False):
    before = other.clone()
    result, ops = dispatched_ops(upsample_add, x, other, align_corners)
    assert ADD in ops
    assert is_laid_out_as(result, native_add(x, other, align_corners))
    assert same_bits(result, rounded_once(x, other, align_corners))
    assert same_bits(other, before)


def check_concat(inputs, size=None, align_corners=False):
    result, ops = dispatched_ops(upsample_concat, inputs, size, align_corners)
    assert CONCAT in ops
    expected = our_concat(inputs, size, align_corners)
    assert is_laid_out_as(result, expected) and same_bits(result, expected)
    return result


# ---- add: values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "size"), RESIZES)
def test_add_of_every_resize(shape, size, dtype, align_corners, device, level):
    for layout in ("contiguous", "channels_last"):
        x = randn(*shape, dtype=dtype, device=device, layout=layout)
        for other_layout in ("contiguous", "channels_last"):
            other = randn(*shape[:2], *size, dtype=dtype, device=device, layout=other_layout)
            check_add(x, other, align_corners)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_add_of_every_layout(layout, dtype, device, level):
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


@pytest.mark.parametrize(
    "other_shape", [(1, 3, 8, 9), (3, 8, 9), (2, 1, 8, 9), (1, 1, 8, 9), (1, 8, 9), (8, 9)]
)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_add_of_what_broadcasts_to_the_image(other_shape, layout, device, level):
    x = randn(2, 3, 4, 5, device=device, layout=layout)
    check_add(x, torch.randn(other_shape, device=device))
    check_add(x[:1], torch.randn(1, *other_shape[-3:], device=device)[:1])


def test_add_of_odd_strides_where_the_size_is_1(device, level):
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


def test_add_of_half_types_rounds_once(device, level):
    """0.5 + 2^-11 rounds to 0.5 as a half, and adding 2^-12 to that again; the sum of all three does not."""
    x = torch.tensor([[[[0.5, 0.5 + 2.0**-11]]]], dtype=torch.float16, device=device)
    other = torch.full((1, 1, 1, 4), 2.0**-12, dtype=torch.float16, device=device)
    result = upsample_add(x, other)
    check_add(x, other)
    assert not torch.equal(result, native_add(x, other))
    exact = F.interpolate(x.double(), (1, 4), mode="bilinear") + other.double()
    assert (result.double() - exact).abs().max() <= (native_add(x, other).double() - exact).abs().max()


def test_add_of_infinities_and_nan(device, level):
    for layout in ("contiguous", "channels_last"):
        for size in ((12, 40), (6, 20), (6, 30), (9, 20)):
            x = randn(1, 3, 6, 20, device=device, layout=layout)
            other = randn(1, 3, *size, device=device, layout=layout)
            for t in (x, other):
                for value in (math.inf, -math.inf, math.nan):
                    t[torch.rand(t.shape, device=device) < 0.02] = value
            check_add(x, other)


def test_add_leaves_its_arguments_alone_and_shares_no_memory(device):
    x, other = randn(1, 3, 4, 5, device=device), randn(1, 3, 8, 9, device=device)
    kept = x.clone(), other.clone()
    result = upsample_add(x, other)
    result.zero_()
    assert torch.equal(x, kept[0]) and torch.equal(other, kept[1])


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_add_larger_than_the_cache(layout, dtype, level):
    x = randn(1, 32, 100, 150, dtype=dtype, layout=layout)
    other = randn(1, 32, 800, 1200, dtype=dtype, layout=layout)
    check_add(x, other)
    check_add(x, other.transpose(2, 3).contiguous().transpose(2, 3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_add_is_the_same_for_any_number_of_threads(dtype, threads):
    for layout in ("contiguous", "channels_last"):
        x = randn(2, 19, 30, 40, dtype=dtype, layout=layout)
        other = randn(2, 19, 120, 160, dtype=dtype)
        results = []
        for count in (1, 2, 3, 7):
            threads(count)
            results.append(upsample_add(x, other))
        assert all(torch.equal(result, results[0]) for result in results[1:])


# ---- add: what goes to PyTorch ---------------------------------------------------------------------------


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
def test_add_of_mixed_dtypes_promotes_as_native(dtype, other_dtype, device):
    x, other = (
        torch.ones(1, 2, 4, 5, device=device).to(dtype),
        torch.ones(1, 2, 8, 9, device=device).to(other_dtype),
    )
    result, ops = dispatched_ops(upsample_add, x, other)
    assert ADD not in ops
    assert is_laid_out_as(result, native_add(x, other)) and torch.equal(result, native_add(x, other))


@pytest.mark.parametrize("other_shape", [(4, 3, 8, 9), (2, 5, 8, 9), (5, 1, 3, 8, 9)])
def test_add_that_broadcasts_the_image_goes_to_pytorch(other_shape):
    x = torch.randn(1, 1, 4, 5)
    other = torch.randn(other_shape)
    torch.testing.assert_close(upsample_add(x, other), native_add(x, other))


def test_add_raises_as_the_expression(device):
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


def test_the_add_op_names_what_it_expects():
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


# ---- concat: values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.uint8])
@pytest.mark.parametrize(("shape", "size"), RESIZES)
def test_concat_of_every_resize(shape, size, dtype, align_corners, device, level):
    n, c, h, w = shape
    for layout in ("contiguous", "channels_last"):
        inputs = [
            (torch.randn(n, channels, *extent, device=device) * 40).abs().to(dtype)
            for channels, extent in ((c, (h, w)), (3, size), (16, (3, 2)), (c + 1, (w, h)))
        ]
        check_concat([LAYOUTS[layout](t) for t in inputs], size, align_corners)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_concat_of_every_layout(layout, dtype, device, level):
    for other_layout in ("contiguous", "channels_last", layout):
        for n, c, size in [(2, 3, (10, 13)), (1, 1, (4, 12)), (2, 4, (1, 1)), (1, 1, (9, 1))]:
            inputs = [
                randn(n, c, 5, 9, dtype=dtype, device=device, layout=layout),
                randn(n, 2, *size, dtype=dtype, device=device, layout=other_layout),
                randn(n, c, 6, 1, dtype=dtype, device=device, layout=layout),
            ]
            check_concat(inputs, size)
            check_concat(inputs[::-1], size)


def test_concat_takes_the_size_of_the_first_where_none_is_given(device):
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
def test_concat_promotes_as_native(dtypes, device):
    for layout in ("contiguous", "channels_last"):
        inputs = [
            LAYOUTS[layout]((torch.rand(2, 3, 4 + i, 5, device=device) * 99).to(dtype))
            for i, dtype in enumerate(dtypes)
        ]
        check_concat(inputs, (8, 7))
        check_concat(inputs, (5, 5))


def test_concat_copies_an_image_of_the_size(device):
    """Infinities too, where a resize by the factor 1 has 0 * inf."""
    x = torch.tensor([1.0, math.inf, -math.inf, -0.0], device=device).reshape(1, 1, 2, 2)
    result = upsample_concat([x, torch.ones(1, 1, 1, 1, device=device)])
    assert torch.equal(result[:, :1], x) and torch.signbit(result[0, 0, 1, 1])


def test_concat_of_infinities_and_nan(device, level):
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
def test_concat_larger_than_the_cache(layout, dtype, level):
    """Together only: the result's slices are streamed, at their strides and alignments."""
    inputs = [randn(1, c, 64, 75, dtype=dtype, layout=layout) for c in (64, 33, 1, 64)]
    check_concat([*inputs, randn(1, 32, 256, 300, dtype=dtype, layout=layout)], (256, 300))


@pytest.mark.parametrize("dtype", DTYPES)
def test_concat_is_the_same_for_any_number_of_threads(dtype, threads):
    inputs = [
        randn(2, 19, 30, 40, dtype=dtype),
        randn(2, 7, 120, 160, dtype=dtype),
        randn(2, 5, 31, 9, dtype=dtype),
    ]
    results = []
    for count in (1, 2, 3, 7):
        threads(count)
        results.append(upsample_concat(inputs, (120, 160)))
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_concat_of_more_inputs_than_a_node_can_tell_apart(device):
    inputs = [torch.randn(1, 1, 2, 3, device=device, requires_grad=True) for _ in range(64)]
    for count, fused in ((63, True), (64, False)):
        result, ops = dispatched_ops(upsample_concat, inputs[:count], (4, 5))
        assert (CONCAT in ops) == fused
        assert torch.equal(result, our_concat(inputs[:count], (4, 5)))
        grads = torch.autograd.grad(result.square().sum(), inputs[:count])
        expected = torch.autograd.grad(our_concat(inputs[:count], (4, 5)).square().sum(), inputs[:count])
        assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))


# ---- concat: errors --------------------------------------------------------------------------------------


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
def test_concat_raises_as_the_expression(others, size, message):
    inputs = [torch.randn(2, 3, 4, 5), *others]
    with pytest.raises(Exception) as native:
        native_concat(inputs, size)
    with pytest.raises(type(native.value), match=message or None):
        upsample_concat(inputs, size)


def test_concat_takes_only_a_list_of_tensors():
    x = torch.randn(2, 3, 4, 5)
    with pytest.raises(ValueError, match="upsample_concat: expected a non-empty list of tensors"):
        upsample_concat([], 3)
    with pytest.raises(TypeError, match="upsample_concat: expected tensors, got int at position 1"):
        upsample_concat([x, 3], 3)
    with pytest.raises(TypeError, match="upsample_concat: expected a list or tuple of tensors, got Tensor"):
        upsample_concat(x, 3)


def test_the_concat_op_names_what_it_expects():
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


# ---- gradients -------------------------------------------------------------------------------------------


def gradients(function, inputs, grad_output):
    leaves = [t.detach().requires_grad_() for t in inputs]
    return torch.autograd.grad(function(leaves), leaves, grad_output)


def check_gradients(fused, expression, inputs, name):
    """Those of our interpolate in the expression; an image that is only copied gets a view of grad_output."""
    output = expression(inputs)
    grad_output = torch.randn_like(output)
    for layout in ("contiguous", "channels_last", "sliced", "expanded_batch"):
        g = LAYOUTS[layout](grad_output)
        grads, ops = dispatched_ops(gradients, fused, inputs, g)
        assert name in ops and OUR_BACKWARD in ops
        expected = gradients(expression, inputs, g)
        for input, grad, wanted in zip(inputs, grads, expected, strict=True):
            assert torch.equal(grad, wanted) and grad.dtype == wanted.dtype
            assert grad.stride() == wanted.stride() or input.shape[2:] == output.shape[2:]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients_of_add(dtype, layout, device):
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


@pytest.mark.parametrize(
    "dtypes", [*((d, d, d) for d in DTYPES), (torch.float16, torch.float32, torch.float64)]
)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients_of_concat(dtypes, layout, device):
    inputs = [
        randn(2, channels, *size, dtype=dtype, device=device, layout=layout)
        for channels, size, dtype in zip((3, 2, 1), ((5, 7), (10, 14), (20, 3)), dtypes, strict=True)
    ]
    for size in ((10, 14), (5, 7), (6, 6)):
        check_gradients(lambda t: upsample_concat(t, size), lambda t: our_concat(t, size), inputs, CONCAT)  # noqa: B023


def test_gradients_only_where_they_are_wanted(device):
    x, other = randn(1, 2, 3, 4, device=device), randn(1, 2, 6, 8, device=device)
    assert upsample_add(x, other).grad_fn is None and upsample_concat([x, other]).grad_fn is None
    for wanted in ((True, False), (False, True)):
        leaves = [t.clone().requires_grad_(want) for t, want in zip((x, other), wanted, strict=True)]
        for function in (lambda t: upsample_add(*t), lambda t: upsample_concat(t, (6, 8))):
            result, ops = dispatched_ops(lambda f: f(leaves).sum().backward(), function)  # noqa: B023
            assert (OUR_BACKWARD in ops) == wanted[0]
        assert [leaf.grad is not None for leaf in leaves] == list(wanted)
        with torch.no_grad():
            assert not upsample_add(*leaves).requires_grad


def test_backward_keeps_no_copy_of_the_images(device):
    saved = []
    leaves = [
        t.requires_grad_() for t in (randn(1, 2, 3, 4, device=device), randn(1, 2, 6, 8, device=device))
    ]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        upsample_add(*leaves).sum().backward()
        upsample_concat(leaves).sum().backward()
    assert not saved


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_gradcheck(layout, align_corners, device):
    def leaf(*shape):
        return randn(*shape, dtype=torch.float64, device=device, layout=layout).requires_grad_()

    everything = {
        "check_forward_ad": True,
        "check_batched_grad": True,
        "check_batched_forward_grad": True,
        "check_undefined_grad": True,
    }
    for x, other in [
        (leaf(1, 2, 3, 4), leaf(1, 2, 6, 5)),
        (leaf(2, 2, 4, 3), leaf(1, 2, 2, 5)),
        (leaf(2, 2, 3, 3), torch.randn(3, 3, dtype=torch.float64, device=device, requires_grad=True)),
    ]:
        function = lambda x, other: upsample_add(x, other, align_corners)  # noqa: E731
        assert gradcheck(function, (x, other), **everything)
        assert gradgradcheck(function, (x, other), check_fwd_over_rev=True, check_batched_grad=True)
    inputs = (leaf(1, 2, 3, 4), leaf(1, 1, 5, 4), leaf(1, 2, 7, 2))
    for size in ((5, 4), None):
        function = lambda *t: upsample_concat(t, size, align_corners)  # noqa: E731, B023
        assert gradcheck(function, inputs, **everything)
        assert gradgradcheck(function, inputs, check_fwd_over_rev=True, check_batched_grad=True)


def test_dual_numbers_of_one_argument(device):
    x, other = randn(1, 2, 3, 4, device=device), randn(1, 2, 6, 8, device=device)
    wide = randn(2, 2, 3, 4, device=device)
    with forward_ad.dual_level():
        dual = upsample_add(forward_ad.make_dual(x, x.neg()), other)
        assert torch.equal(forward_ad.unpack_dual(dual).tangent, resize(x.neg(), (6, 8)))
        tangent = forward_ad.unpack_dual(upsample_add(wide, forward_ad.make_dual(other, other.neg()))).tangent
        assert torch.equal(tangent, other.neg().expand(2, 2, 6, 8))
        dual = upsample_concat([forward_ad.make_dual(x, x.neg()), other], (6, 8))
        expected = torch.cat([resize(x.neg(), (6, 8)), torch.zeros_like(other)], 1)
        assert torch.equal(forward_ad.unpack_dual(dual).tangent, expected)


# ---- transforms ------------------------------------------------------------------------------------------

FUNCTIONS = {
    "add": (lambda x, y: upsample_add(x, y), lambda x, y: native_add(x, y)),
    "concat": (lambda x, y: upsample_concat([x, y], (6, 5)), lambda x, y: native_concat([x, y], (6, 5))),
}
both = pytest.mark.parametrize(("ours", "native"), FUNCTIONS.values(), ids=FUNCTIONS)


@nested_vmap_rules
@both
def test_functional_derivatives(ours, native, device):
    x, y, v, w = (
        torch.randn(1, 2, *size, dtype=torch.float64, device=device)
        for size in ((3, 4), (6, 5), (3, 4), (6, 5))
    )
    transforms = {
        "grad": lambda f: torch.func.grad(lambda *t: f(*t).pow(3).sum(), (0, 1))(x, y),
        "jvp": lambda f: torch.func.jvp(f, (x, y), (v, w)),
        "jacrev": lambda f: torch.func.jacrev(f, (0, 1))(x, y),
        "jacfwd": lambda f: torch.func.jacfwd(f, (0, 1))(x, y),
        "hessian": lambda f: torch.func.hessian(lambda *t: f(*t).pow(3).sum(), (0, 1))(x, y),
    }
    for name, transform in transforms.items():
        torch.testing.assert_close(
            transform(ours), transform(native), msg=lambda m, name=name: f"{name}: {m}"
        )


@nested_vmap_rules
@both
@pytest.mark.parametrize("in_dims", [(0, 0), (2, None), (None, -1), (4, 1), (1, 3)])
def test_vmap(ours, native, in_dims, device):
    sizes = ((3, 4), (6, 5))
    for channels in ((2, 2), (2, 1)):
        images = [
            torch.randn(2, c, *size, device=device)
            if dim is None
            else torch.randn(3, 2, c, *size, device=device).movedim(0, dim)
            for c, size, dim in zip(channels, sizes, in_dims, strict=True)
        ]
        result, ops = dispatched_ops(torch.vmap(ours, in_dims), *images)
        assert ADD in ops or CONCAT in ops
        parts = [[t] * 3 if dim is None else t.unbind(dim) for t, dim in zip(images, in_dims, strict=True)]
        torch.testing.assert_close(result, torch.stack([native(*pair) for pair in zip(*parts, strict=True)]))


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


@nested_vmap_rules
@both
def test_nested_vmap(ours, native, device):
    x, y = torch.randn(2, 3, 1, 2, 3, 4, device=device), torch.randn(3, 2, 1, 2, 6, 5, device=device)
    result = torch.vmap(torch.vmap(ours), in_dims=(0, 1))(x, y)
    expected = native(x.flatten(0, 2), y.transpose(0, 1).flatten(0, 2)).unflatten(0, (2, 3, 1))
    torch.testing.assert_close(result, expected)


def values_and_gradients(function, inputs):
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    output = function(*leaves)
    (output * torch.arange(output.numel(), device=output.device).view_as(output)).sum().backward()
    return [output.detach(), *(leaf.grad for leaf in leaves)]


@both
@pytest.mark.parametrize(
    "layouts", [("contiguous", "contiguous"), ("channels_last", "channels_last"), ("sliced", "transposed")]
)
def test_compiled_whole_graph(ours, native, layouts, device):
    inputs = [
        randn(2, 3, *size, device=device, layout=layout)
        for size, layout in zip(((3, 4), (6, 5)), layouts, strict=True)
    ]
    for dynamic in (False, True):
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager", dynamic=dynamic)
        results = values_and_gradients(compiled, inputs), values_and_gradients(ours, inputs)
        assert torch.equal(results[0][0], results[1][0])
        for a, b in zip(*results, strict=True):
            assert_same_sums(a, b)
            assert a.stride() == b.stride()


def test_inductor(device):
    x, y = randn(2, 3, 4, 6, device=device), randn(2, 3, 8, 12, device=device)

    def function(add, concat):
        return lambda x, y: concat([add(x.relu(), y).sin(), x]) * 2

    compiled = torch.compile(function(upsample_add, upsample_concat), fullgraph=True)
    eager = function(native_add, native_concat)
    for a, b in zip(values_and_gradients(compiled, (x, y)), values_and_gradients(eager, (x, y)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["add", "concat"])
def test_the_compiled_graph_holds_our_ops_and_serves_every_size(name, device):
    def function(x, y):
        return upsample_add(x, y) if name == "add" else upsample_concat([y, x])

    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=counter)
    for h, w in [(4, 6), (5, 9), (12, 7), (3, 33)]:
        x = torch.randn(2, 3, h, w, device=device, requires_grad=True)
        y = torch.randn(2, 3, h + 3, w + 2, device=device)
        result = compiled(x, y)
        assert torch.equal(result, function(x, y))
        result.sum().backward()
    assert counter.frame_count == 1
    assert any(f"upsample_{name}" in str(node.target) for node in counter.graphs[0].graph.nodes)


@both
def test_compiled_autograd(ours, native, device):

    for h, w in ((3, 4), (3, 4), (7, 2)):
        leaves = [torch.randn(1, 2, *size, device=device, requires_grad=True) for size in ((h, w), (6, 5))]
        output = ours(*leaves)
        weight = torch.randn_like(output)
        with enable_compiled_autograd(torch.compile(backend="aot_eager", fullgraph=True)):
            (output * weight).sum().backward(retain_graph=True)
        captured = [leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None
        (output * weight).sum().backward()
        assert all(torch.equal(a, leaf.grad) for a, leaf in zip(captured, leaves, strict=True))


@both
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fake_and_meta_tensors_have_exact_strides(ours, native, layout, device):
    from torch._subclasses import FakeTensorMode

    for n, c in ((2, 3), (1, 1), (1, 3), (2, 1)):
        for other_layout in ("contiguous", "channels_last", "transposed", "odd_size_1"):
            x = randn(n, c, 3, 4, device=device, layout=layout)
            y = randn(n, c, 6, 5, device=device, layout=other_layout)
            expected = native(x, y)
            meta = ours(*(t.to("meta").as_strided(t.shape, t.stride()) for t in (x, y)))
            with FakeTensorMode() as mode:
                fake = ours(mode.from_tensor(x), mode.from_tensor(y))
            assert is_laid_out_as(meta, expected) and is_laid_out_as(fake, expected)
            assert meta.is_meta and fake.device == expected.device


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_opcheck(layout, device):
    ops = torch.ops.upsample_ext
    for requires_grad in (False, True):
        x, y = (
            randn(2, 3, *size, dtype=torch.float64, device=device, layout=layout).requires_grad_(
                requires_grad
            )
            for size in ((4, 5), (8, 7))
        )
        torch.library.opcheck(ops.upsample_add.default, (x, y, False))
        torch.library.opcheck(ops.upsample_add.default, (x, y[:1], True))
        torch.library.opcheck(ops.upsample_add.default, (x, y[0, 0], False))
        torch.library.opcheck(ops.upsample_add.default, (x, y.transpose(2, 3), False))
        torch.library.opcheck(ops.upsample_concat.default, ([x, y], (8, 7), False))
        torch.library.opcheck(ops.upsample_concat.default, ([x, y.float()], (5, 5), True))


@both
def test_export(ours, native):
    class Head(torch.nn.Module):
        def forward(self, x, y):
            return ours(x, y)

    program = torch.export.export(Head(), (torch.randn(1, 2, 3, 4), torch.randn(1, 2, 6, 5)))
    assert any("upsample_ext" in str(node.target) for node in program.graph.nodes)
    x, y = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 6, 5)
    assert torch.equal(program.module()(x, y), ours(x, y))


@both
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_trace(ours, native):
    traced = torch.jit.trace(ours, (torch.randn(1, 2, 3, 4), torch.randn(1, 2, 6, 5)))
    x, y = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 6, 5)
    assert torch.equal(traced(x, y), ours(x, y))


# ---- subclasses and modes --------------------------------------------------------------------------------


class Logged(torch.Tensor):
    seen = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.seen.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


@both
def test_a_torch_function_subclass_sees_our_function(ours, native):
    x, y = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 6, 5)
    for pair in ((x.as_subclass(Logged), y), (x, y.as_subclass(Logged))):
        Logged.seen.clear()
        result = ours(*pair)
        assert Logged.seen[0] in (upsample_ext.upsample_add, upsample_ext.upsample_concat)
        assert isinstance(result, Logged) and torch.equal(result.as_subclass(torch.Tensor), ours(x, y))


@pytest.mark.parametrize("dtype", HALVES)
def test_autocast_gives_what_it_gives_native(dtype, device):
    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.uint8)
    with torch.autocast(device, dtype=dtype):
        for first in kinds:
            for second in kinds:
                x = torch.ones(1, 2, 3, 4, device=device).to(first)
                y = torch.ones(1, 2, 6, 5, device=device).to(second)
                for ours, native in FUNCTIONS.values():
                    try:
                        expected = native(x, y)
                    except RuntimeError:
                        with pytest.raises(RuntimeError):
                            ours(x, y)
                        continue
                    assert is_laid_out_as(ours(x, y), expected)


# ---- memory ----------------------------------------------------------------------------------------------


def test_nothing_of_the_resized_size_is_stored_but_the_result():
    from torch.profiler import ProfilerActivity, profile

    x, other = torch.randn(1, 19, 16, 32), torch.randn(1, 19, 128, 256)
    channels_last = other.contiguous(memory_format=torch.channels_last)
    for function in (
        lambda: upsample_add(x, other),
        lambda: upsample_add(x, channels_last),
        lambda: upsample_concat([x, other, x], (128, 256)),
    ):
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            result = function()
        allocated = sum(max(0, event.self_cpu_memory_usage) for event in record.events())
        assert result.nbytes <= allocated <= result.nbytes + 4096


def test_our_upsample_is_what_concat_calls_for_another_dtype():
    """Rounded to its own dtype before it is converted, as native does."""
    inputs = [torch.randn(1, 2, 4, 4), torch.randn(1, 2, 3, 3).half()]
    result, ops = dispatched_ops(upsample_concat, inputs)
    assert CONCAT in ops and OUR_UPSAMPLE not in ops  # called below the dispatcher's Python key
    assert torch.equal(result, our_concat(inputs))
