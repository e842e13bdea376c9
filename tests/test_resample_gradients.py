"""Gradients of the bilinear resize: first and second order, forward mode, rounding, determinism, layout."""

import itertools
import math

import pytest
import reference
import torch
from dispatched_ops import OUR_BACKWARD, OUR_UPSAMPLE, dispatched_ops
from dtypes import DTYPES, HALVES
from image_layouts import LAYOUTS
from native_interpolate import native_interpolate
from resample_cases import RESIZES
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.nn import functional as F

import upsample_ext

CORNERS = [False, True]


def gradient(function, x, grad_output, **arguments):
    leaf = x.detach().requires_grad_()
    output = function(leaf, mode="bilinear", **arguments)
    (result,) = torch.autograd.grad(output, leaf, grad_output)
    return result


def backward(grad_output, input_size, align_corners=False, scales=(None, None)):
    return torch.ops.upsample_ext.upsample_bilinear2d_backward(
        grad_output, input_size, align_corners, *scales
    )


# ---- values ----------------------------------------------------------------------------------------------


def check_against_native(x, grad_output, scales=None, **arguments):
    ours, ops = dispatched_ops(gradient, upsample_ext.interpolate, x, grad_output, **arguments)
    assert OUR_BACKWARD in ops
    native = gradient(native_interpolate, x, grad_output, **arguments)
    assert ours.shape == native.shape and ours.dtype == native.dtype and ours.stride() == native.stride()
    align_corners = arguments["align_corners"]
    exact = reference.resample_backward(grad_output, x.shape[2:], align_corners, scales)
    error = (ours.cpu().double() - exact).abs()
    if x.dtype in HALVES:
        if x.numel():
            assert error.max() <= 2 * (native.cpu().double() - exact).abs().max()
        return
    # Rounding of a sum: its terms' absolute values, times one more than their number, in units of eps.
    terms = reference.resample_backward(torch.ones_like(grad_output), x.shape[2:], align_corners, scales)
    summed = reference.resample_backward(grad_output.abs(), x.shape[2:], align_corners, scales)
    bound = torch.finfo(x.dtype).eps * (6 + 2 * terms) * summed
    assert (error <= bound).all()
    assert ((ours.cpu().double() - native.cpu().double()).abs() <= 2 * bound).all()


@pytest.mark.parametrize("align_corners", CORNERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "size"), RESIZES)
def test_gradients_of_every_resize(shape, size, dtype, align_corners, device, level):
    for layout in ("contiguous", "channels_last"):
        x = torch.randn(shape, device=device).to(dtype)
        grad_output = LAYOUTS[layout](torch.randn(*shape[:2], *size, device=device).to(dtype))
        check_against_native(x, grad_output, size=size, align_corners=align_corners)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_every_layout_of_grad_output(layout, dtype, device, level):
    for shape, size in [((2, 3, 5, 9), (10, 13)), ((1, 1, 6, 5), (4, 12)), ((1, 4, 7, 1), (9, 1))]:
        for input_layout in ("contiguous", "channels_last"):
            x = LAYOUTS[input_layout](torch.randn(shape, device=device).to(dtype))
            grad_output = LAYOUTS[layout](torch.randn(*shape[:2], *size, device=device).to(dtype))
            check_against_native(x, grad_output, size=size, align_corners=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 3, 1, 1), (64, 48)),  # one source reads all results
        ((2, 3, 3, 4), (96, 128)),
        ((1, 2, 2, 5), (61, 165)),  # rows that are not aligned
        ((1, 2, 20, 9), (40, 400)),  # along the width alone
        ((2, 1, 3, 70), (150, 91)),  # along the height alone
        ((1, 2, 3, 300), (130, 64)),  # shrinking along the other axis
        ((1, 1, 2, 2), (3, 5000)),  # a footprint of several stretches
        ((1, 2, 2, 3), (45, 2603)),
        ((1, 21, 2, 3), (82, 131)),  # channels-last: as many channels as no vector has
        ((2, 21, 3, 2), (70, 128)),  # rows are whole vectors all the same
        ((1, 3, 2, 2), (43, 1200)),
        ((1, 24, 3, 2), (66, 92)),
        ((1, 200, 2, 1), (41, 33)),  # channels-last: several slices of the channels
        ((3, 264, 1, 2), (50, 7)),
    ],
)
def test_gradients_of_large_factors(shape, size, dtype, device, level):
    layouts = ("contiguous", "channels_last", "transposed")
    for layout, align_corners in itertools.product(layouts, CORNERS):
        for input_layout in {layout, "contiguous"}:
            x = LAYOUTS[input_layout](torch.randn(shape, device=device).to(dtype))
            grad_output = LAYOUTS[layout](torch.randn(*shape[:2], *size, device=device).to(dtype))
            check_against_native(x, grad_output, size=size, align_corners=align_corners)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_shrinking(layout, dtype, device, level):
    """By x0.37, x0.2 and less, where most of a gradient is zero, to images of all orders."""
    for shape, size in [
        ((1, 3, 27, 43), (9, 15)),
        ((2, 5, 30, 21), (6, 4)),
        ((1, 3, 60, 130), (5, 11)),
        ((1, 1, 1, 40), (1, 3)),
        ((2, 33, 21, 30), (7, 11)),
    ]:
        for input_layout in ("contiguous", "channels_last", "numpy_array", "transposed"):
            x = LAYOUTS[input_layout](torch.randn(shape, device=device).to(dtype))
            grad_output = LAYOUTS[layout](torch.randn(*shape[:2], *size, device=device).to(dtype))
            check_against_native(x, grad_output, size=size, align_corners=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale_factor", [0.37, 0.2, 0.07])
def test_gradients_of_shrinking_photos(scale_factor, dtype, device, level):
    for shape in [(1, 3, 290, 410), (2, 37, 60, 71)]:
        size = [math.floor(n * scale_factor) for n in shape[2:]]
        for input_layout, layout in itertools.product(
            ("contiguous", "channels_last", "numpy_array"), repeat=2
        ):
            x = LAYOUTS[input_layout](torch.randn(shape, device=device).to(dtype))
            grad_output = LAYOUTS[layout](torch.randn(*shape[:2], *size, device=device).to(dtype))
            check_against_native(x, grad_output, size=size, align_corners=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_of_the_same_size_is_a_copy_but_for_infinities(layout, dtype, device, level):
    for shape in [(2, 3, 9, 21), (1, 3, 40, 61), (2, 70, 5, 9)]:
        grad_output = torch.randn(shape, device=device).to(dtype)
        for value in (math.inf, -math.inf, math.nan):
            grad_output[torch.rand(shape, device=device) < 0.05] = value
        grad_output = LAYOUTS[layout](grad_output)
        for input_layout in ("contiguous", "channels_last", "transposed"):
            x = LAYOUTS[input_layout](torch.randn(shape, device=device).to(dtype))
            ours = gradient(upsample_ext.interpolate, x, grad_output, size=shape[2:])
            native = gradient(native_interpolate, x, grad_output, size=shape[2:])
            assert ours.stride() == native.stride()
            torch.testing.assert_close(ours, native, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("scale_factor", [2, 1.37, 0.6, (0.51, 2.71), (1.05, 1.5), (1.5, 1.02), 1.01])
def test_gradients_of_scale_factors(scale_factor, device):
    x = torch.randn(2, 3, 9, 14, device=device)
    scales = scale_factor if isinstance(scale_factor, tuple) else (scale_factor, scale_factor)
    size = [math.floor(n * s) for n, s in zip(x.shape[2:], scales, strict=True)]
    grad_output = torch.randn(2, 3, *size, device=device)
    for recompute in (False, True):
        check_against_native(
            x,
            grad_output,
            None if recompute else scales,
            scale_factor=scale_factor,
            align_corners=False,
            recompute_scale_factor=recompute,
        )


@pytest.mark.parametrize("dtype", HALVES)
def test_sums_of_half_types_are_wide(dtype, device, level):
    """A sum of thousands of ones would stop growing in a half type: 2048 + 1 = 2048."""
    grad_output = torch.ones(1, 2, 90, 90, dtype=dtype, device=device)
    for layout in ("contiguous", "channels_last"):
        result = backward(LAYOUTS[layout](grad_output), (1, 1))
        assert (result == torch.tensor(8100, dtype=dtype)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinities_and_nan_spread_as_native(dtype, device, level):
    """Where an infinity lands in the gradient; samples that no finite weight reaches stay finite."""
    for shape, size in [
        ((1, 2, 6, 20), (12, 40)),
        ((1, 2, 12, 40), (5, 17)),
        ((1, 9, 5, 7), (5, 14)),
        ((1, 3, 6, 20), (6, 20)),
        ((1, 9, 7, 5), (14, 5)),
        ((1, 2, 27, 43), (9, 15)),
        ((1, 3, 60, 130), (5, 11)),
        ((1, 3, 2, 3), (90, 128)),
        ((1, 8, 3, 2), (27, 45)),
    ]:
        x = torch.randn(shape, device=device).to(dtype)
        grad_output = torch.randn(*shape[:2], *size, device=device).to(dtype)
        for value in (math.inf, -math.inf, math.nan):
            grad_output[torch.rand(grad_output.shape, device=device) < 0.01] = value
        for layout in ("contiguous", "channels_last"):
            g = LAYOUTS[layout](grad_output)
            ours = gradient(upsample_ext.interpolate, x, g, size=size)
            native = gradient(native_interpolate, x, g, size=size)
            for kind in (torch.isnan, torch.isposinf, torch.isneginf):
                assert torch.equal(kind(ours), kind(native)), kind.__name__


# ---- <Ax, y> = <x, A^T y> --------------------------------------------------------------------------------


@pytest.mark.parametrize("align_corners", CORNERS)
@pytest.mark.parametrize(("shape", "size"), RESIZES)
@pytest.mark.parametrize("scales", [None, (1.37, 0.71)])
def test_backward_is_the_adjoint_of_forward(shape, size, align_corners, scales, device, level):
    arguments = (align_corners, *(scales or (None, None)))
    x = torch.randn(shape, dtype=torch.float64, device=device)
    y = torch.randn(*shape[:2], *size, dtype=torch.float64, device=device)
    forward = torch.ops.upsample_ext.upsample_bilinear2d(x, size, *arguments)
    adjoint = torch.ops.upsample_ext.upsample_bilinear2d_backward(y, shape[2:], *arguments)
    left, right = (forward * y).sum(), (x * adjoint).sum()
    scale = (forward * y).abs().sum() + 1
    assert abs(left - right) <= 1e-14 * scale


# ---- determinism -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*DTYPES, torch.uint8])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
def test_the_same_bits_for_any_number_of_threads(dtype, layout, level, threads):
    for shape, size in [
        ((2, 5, 37, 61), (101, 157)),
        ((1, 3, 200, 150), (71, 49)),
        ((1, 40, 2, 300), (90, 611)),
    ]:
        x = torch.randn(shape).mul(40).abs().to(dtype)
        g = None if dtype == torch.uint8 else LAYOUTS[layout](torch.randn(*shape[:2], *size).to(dtype))
        x = LAYOUTS[layout](x)
        seen = []
        for count in (1, 2, 3, 7):
            threads(count)
            seen.append(upsample_ext.interpolate(x, size=size, mode="bilinear"))
            if g is not None:
                seen.append(backward(g, shape[2:]))
        step = 1 if g is None else 2
        for i in range(step, len(seen)):
            assert torch.equal(seen[i], seen[i % step])


def test_the_same_bits_every_time(device):
    g = torch.randn(2, 3, 90, 70, device=device)
    first = backward(g, (31, 17))
    for _ in range(5):
        assert torch.equal(backward(g, (31, 17)), first)


def test_deterministic_algorithms_are_no_obstacle(device):
    x = torch.randn(1, 2, 3, 4, device=device)
    plain = gradient(upsample_ext.interpolate, x, torch.ones(1, 2, 6, 8, device=device), size=(6, 8))
    torch.use_deterministic_algorithms(True)
    try:
        result, ops = dispatched_ops(
            gradient, upsample_ext.interpolate, x, torch.ones(1, 2, 6, 8, device=device), size=(6, 8)
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert {OUR_UPSAMPLE, OUR_BACKWARD} <= set(ops)
    assert torch.equal(plain, result)


# ---- gradcheck -------------------------------------------------------------------------------------------

CHECKED = [
    ((1, 2, 3, 4), {"size": (6, 5)}),
    ((2, 1, 5, 3), {"size": (2, 7), "align_corners": True}),
    ((1, 1, 4, 3), {"scale_factor": (1.37, 0.8)}),
    ((1, 2, 1, 3), {"scale_factor": 2, "recompute_scale_factor": True}),
    ((1, 1, 3, 3), {"size": (3, 3)}),
]


@pytest.mark.parametrize(("shape", "arguments"), CHECKED)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradcheck(shape, arguments, layout, device):
    x = LAYOUTS[layout](torch.randn(shape, dtype=torch.float64, device=device)).requires_grad_()

    def function(x):
        return upsample_ext.interpolate(x, mode="bilinear", **arguments)

    assert gradcheck(
        function,
        x,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        check_undefined_grad=True,
    )
    assert gradgradcheck(function, x, check_fwd_over_rev=True, check_batched_grad=True)


def test_gradcheck_of_the_backward_op(device):
    g = torch.randn(1, 2, 5, 7, dtype=torch.float64, device=device, requires_grad=True)

    def function(g):
        return backward(g, (3, 4), True)

    assert gradcheck(
        function, g, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )
    assert gradgradcheck(function, g, check_fwd_over_rev=True)


def test_dual_numbers(device):
    x, tangent = (torch.randn(1, 2, 3, 4, device=device) for _ in range(2))
    with forward_ad.dual_level():
        dual = upsample_ext.interpolate(forward_ad.make_dual(x, tangent), size=(5, 6), mode="bilinear")
        primal, out_tangent = forward_ad.unpack_dual(dual)
    assert torch.equal(primal, upsample_ext.interpolate(x, size=(5, 6), mode="bilinear"))
    assert torch.equal(out_tangent, upsample_ext.interpolate(tangent, size=(5, 6), mode="bilinear"))


# ---- the graph -------------------------------------------------------------------------------------------


def test_the_graph_is_recorded_only_where_it_is_wanted(device):
    x = torch.randn(1, 2, 3, 4, device=device)

    def up(x):
        return upsample_ext.interpolate(x, size=(5, 6), mode="bilinear")

    assert up(x).grad_fn is None
    leaf = x.clone().requires_grad_()
    assert "UpsampleBilinear2D" in up(leaf).grad_fn.name()
    with torch.no_grad():
        assert not up(leaf).requires_grad
    with torch.inference_mode():
        result = up(leaf)
        assert result.is_inference() and not result.requires_grad
        assert torch.equal(result, up(x))
    with torch.inference_mode():
        made_inside = torch.randn(1, 2, 3, 4, device=device)
    assert up(made_inside).shape == (1, 2, 5, 6)


def test_uint8_has_no_gradient(device):
    x = torch.zeros(1, 1, 2, 2, dtype=torch.uint8, device=device)
    assert not upsample_ext.interpolate(x, size=(3, 3), mode="bilinear").requires_grad


def test_hooks_see_the_gradients(device):
    x = torch.randn(1, 2, 3, 4, device=device, requires_grad=True)
    output = upsample_ext.interpolate(x, scale_factor=2, mode="bilinear")
    seen = []
    output.register_hook(lambda g: seen.append("output") or 2 * g)
    x.register_hook(lambda g: seen.append("input") or 10 * g)
    output.grad_fn.register_prehook(lambda grads: seen.append("node before"))
    output.grad_fn.register_hook(lambda inputs, outputs: seen.append("node after"))
    output.sum().backward()
    assert set(seen) == {"output", "input", "node before", "node after"}
    torch.testing.assert_close(x.grad.sum(), torch.tensor(20.0 * output.numel(), device=device))


def test_a_tensor_used_twice_gathers_both_gradients(device):
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, device=device, requires_grad=True)
    results = []
    for function in (upsample_ext.interpolate, F.interpolate):
        y = function(x, size=(5, 7), mode="bilinear") * function(
            x, size=(5, 7), mode="bilinear", align_corners=True
        )
        (
            y + function(function(x, scale_factor=2, mode="bilinear"), size=(5, 7), mode="bilinear")
        ).sum().backward()
        results.append(x.grad)
        x.grad = None
    torch.testing.assert_close(*results)


def test_the_graph_can_be_kept_and_is_else_used_up(device):
    x = torch.randn(1, 2, 3, 4, device=device, requires_grad=True)
    output = upsample_ext.interpolate(x, scale_factor=2, mode="bilinear")
    output.sum().backward(retain_graph=True)
    first = x.grad.clone()
    output.sum().backward()
    assert torch.equal(x.grad, 2 * first)


def test_backward_keeps_no_copy_of_the_image(device):
    """The gradient needs sizes only: nothing of the input is saved."""
    saved = []
    x = torch.randn(1, 2, 3, 4, device=device, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        upsample_ext.interpolate(x, scale_factor=2, mode="bilinear").sum().backward()
    assert not any(t.shape == x.shape for t in saved)


def test_in_place_changes_of_the_input_do_not_matter_to_backward(device):
    leaf = torch.randn(1, 2, 3, 4, device=device, requires_grad=True)
    x = leaf * 1
    output = upsample_ext.interpolate(x, scale_factor=2, mode="bilinear")
    x.zero_()
    output.sum().backward()
    assert torch.equal(leaf.grad, backward(torch.ones_like(output), x.shape[2:], scales=(2.0, 2.0)))


def test_threads_can_differentiate_at_once(device):
    import threading

    x = torch.randn(1, 2, 30, 40, device=device)
    expected = gradient(upsample_ext.interpolate, x, torch.ones(1, 2, 60, 80, device=device), scale_factor=2)
    results = [None] * 6

    def work(i):
        for _ in range(20):
            results[i] = gradient(
                upsample_ext.interpolate, x, torch.ones(1, 2, 60, 80, device=device), scale_factor=2
            )

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(results))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(torch.equal(result, expected) for result in results)
