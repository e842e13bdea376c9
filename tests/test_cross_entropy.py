"""upsample_cross_entropy: loss and gradient against F.cross_entropy of the resized logits."""

import math

import pytest
import torch
from dispatched_ops import dispatched_ops
from dtypes import DTYPES
from image_layouts import LAYOUTS
from kernel_backend import EMULATED
from native_interpolate import native_interpolate
from resample_cases import CLASS_RESIZES
from torch.nn import functional as F

import upsample_ext

REDUCTIONS = ["mean", "sum", "none"]


def native(input, target, weight=None, align_corners=False, resize=F.interpolate, **options):
    logits = resize(input, target.shape[-2:], mode="bilinear", align_corners=align_corners)
    return F.cross_entropy(logits, target, weight, **options)


def make(shape, size, dtype=torch.float32, device="cpu", ignored=0.2):
    x = (2 * torch.randn(shape, device=device, dtype=torch.float64)).to(dtype)
    target = torch.randint(0, shape[1], (shape[0], *size), device=device)
    target[torch.rand(target.shape, device=device) < ignored] = -100
    return x, target


def loss_and_gradient(function, x, target, *arguments, grad_output=None, **options):
    leaf = x.detach().requires_grad_()
    loss = function(leaf, target, *arguments, **options)
    if grad_output is None:
        grad_output = torch.ones_like(loss)
    (gradient,) = torch.autograd.grad(loss, leaf, grad_output.to(loss.dtype))
    return loss.detach(), gradient


def grad_output_for(target, reduction, device="cpu"):
    shape = target.shape if reduction == "none" else ()
    return torch.randn(shape, dtype=torch.float64, device=device)


# ---- values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_option(reduction, weighted, label_smoothing, align_corners, level, device):
    for shape, size in CLASS_RESIZES[:4]:
        x, target = make(shape, size, torch.float64, device)
        weight = torch.rand(shape[1], dtype=torch.float64, device=device) if weighted else None
        options = {
            "reduction": reduction,
            "label_smoothing": label_smoothing,
            "align_corners": align_corners,
            "grad_output": grad_output_for(target, reduction, device),
        }
        ours, names = dispatched_ops(
            loss_and_gradient, upsample_ext.upsample_cross_entropy, x, target, weight, **options
        )
        assert any(name.startswith("upsample_ext::upsample_cross_entropy") for name in names)
        assert not {"upsample_ext::upsample_bilinear2d", "aten::upsample_bilinear2d"} & set(names)
        expected = loss_and_gradient(native, x, target, weight, **options)
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "size"), CLASS_RESIZES)
def test_error_is_at_most_twice_natives(shape, size, reduction, dtype, level, device):
    """Against float64 from the same logits; coordinates are float32's, so that both resize alike."""
    x, target = make(shape, size, dtype, device)
    grad_output = grad_output_for(target, reduction, device)
    wide = x.double().requires_grad_()
    resize = torch.ops.upsample_ext.upsample_bilinear2d
    basis = resize(torch.eye(shape[2] * shape[3]).view(1, -1, *shape[2:]).to(device), size, False)[0].double()
    exact_logits = torch.einsum("ncs,sij->ncij", wide.flatten(2), basis)
    exact = F.cross_entropy(exact_logits, target, reduction=reduction)
    (exact_gradient,) = torch.autograd.grad(exact, wide, grad_output)
    results = [
        loss_and_gradient(f, x, target, reduction=reduction, grad_output=grad_output)
        for f in (upsample_ext.upsample_cross_entropy, native)
    ]
    eps = torch.finfo(dtype).eps
    for i, truth in enumerate((exact.detach(), exact_gradient)):
        ours, theirs = ((result[i].double() - truth).abs().max().item() for result in results)
        assert results[0][i].dtype == results[1][i].dtype and results[0][i].shape == results[1][i].shape
        # A rounding of the result is always allowed; grad_output was rounded before either began.
        allowed = (8 if dtype == torch.float32 else 2) * eps * truth.abs().max().item()
        assert ours <= max(2 * theirs, allowed)


@pytest.mark.parametrize("size", [(9, 14), (2, 600), (3, 3)])
@pytest.mark.parametrize("channels", [1, 2, 8, 22])
def test_large_factors_and_channels_last(channels, size, device):
    """So many columns of one source that no tile holds them, and vectors of classes."""
    x, target = make((2, channels, 2, 3), size, torch.float64, device)
    expected = loss_and_gradient(native, x, target)
    for layout in ("contiguous", "channels_last"):
        for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-5), (torch.bfloat16, 0.05)):
            ours = loss_and_gradient(
                upsample_ext.upsample_cross_entropy, LAYOUTS[layout](x.to(dtype)), target
            )
            for a, b in zip(ours, expected, strict=True):
                torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 14, 16, 19, 20, 21, 23, 30, 150, 151])
def test_any_number_of_classes(channels, weighted, device):
    """CUDA's gradient takes them in groups of 4, 7, 8 or 10, of which the last may be short."""
    x, target = make((1, channels, 5, 6), (17, 13), torch.float64, device)
    weight = torch.rand(channels, dtype=torch.float64, device=device) if weighted else None
    expected = loss_and_gradient(native, x, target, weight)
    for layout in ("contiguous", "channels_last"):
        for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
            narrow = None if weight is None else weight.to(dtype)
            ours = loss_and_gradient(
                upsample_ext.upsample_cross_entropy, LAYOUTS[layout](x.to(dtype)), target, narrow
            )
            for a, b in zip(ours, expected, strict=True):
                atol = tolerance * b.abs().max().item()
                torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=atol)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 5, 4, 6), (1, 1, 3, 40), (3, 6, 1, 1), (1, 20, 5, 1), (2, 22, 3, 5)])
def test_every_layout(shape, layout, dtype, device):
    x, target = make(shape, (9, 14), device=device)
    x = LAYOUTS[layout](x.to(dtype))
    dense = x.clone(memory_format=torch.contiguous_format)
    loss, gradient = loss_and_gradient(upsample_ext.upsample_cross_entropy, x, target)
    expected = loss_and_gradient(upsample_ext.upsample_cross_entropy, dense, target)
    assert torch.equal(loss, expected[0]) and torch.equal(gradient, expected[1])
    assert gradient.stride() == loss_and_gradient(native, x, target)[1].stride()


def test_target_layouts(device):
    x, target = make((2, 5, 4, 6), (9, 14), device=device)
    weight = torch.rand(10, device=device)
    expected = loss_and_gradient(upsample_ext.upsample_cross_entropy, x, target, weight[::2].contiguous())
    for stored in (target.transpose(1, 2).contiguous().transpose(1, 2), target.repeat(1, 1, 2)[..., :14]):
        ours = loss_and_gradient(upsample_ext.upsample_cross_entropy, x, stored, weight[::2])
        assert torch.equal(ours[0], expected[0]) and torch.equal(ours[1], expected[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_is_that_of_our_own_resize(dtype, level):
    """<gradient, v> is the derivative along v of the loss of our own interpolated logits."""
    x, target = make((2, 6, 9, 13), (31, 70), dtype)
    _, gradient = loss_and_gradient(upsample_ext.upsample_cross_entropy, x, target)
    logits = upsample_ext.upsample_bilinear2d(x, size=target.shape[-2:]).requires_grad_()
    (grad_logits,) = torch.autograd.grad(F.cross_entropy(logits, target), logits)
    expected = torch.ops.upsample_ext.upsample_bilinear2d_backward(grad_logits, x.shape[-2:], False)
    torch.testing.assert_close(gradient, expected, rtol=1e-4 if dtype == torch.float32 else 1e-12, atol=1e-7)


def test_ignore_index_may_be_any_number(device):
    x, target = make((2, 5, 4, 6), (9, 14), torch.float64, device, ignored=0)
    for index in (-1, 3, 255, 2**40, -(2**62)):
        marked = target.clone()
        marked[:, ::2] = index
        for reduction in REDUCTIONS:
            ours, theirs = (
                loss_and_gradient(f, x, marked, ignore_index=index, reduction=reduction)
                for f in (upsample_ext.upsample_cross_entropy, native)
            )
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_all_ignored_and_empty_batches(reduction, label_smoothing, weighted, device):
    weight = torch.rand(5, device=device) if weighted else None
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    x, target = make((2, 5, 4, 6), (9, 14), device=device, ignored=2)
    assert (target == -100).all()
    for images, classes in ((x, target), (x[:0], target[:0])):
        ours = loss_and_gradient(upsample_ext.upsample_cross_entropy, images, classes, weight, **options)
        theirs = loss_and_gradient(native, images, classes, weight, **options)
        torch.testing.assert_close(ours[0], theirs[0], equal_nan=True)
        assert ours[1].shape == images.shape and not ours[1].any()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_infinities_and_nan_spread_as_native(reduction, label_smoothing, level, device):
    for size in ((12, 80), (6, 40), (12, 40), (6, 50)):
        for value in (math.inf, -math.inf, math.nan):
            x, target = make((1, 5, 6, 40), size, torch.float32, device)
            x[0, 1, 2, 7] = value
            x[0, :, 4, 20] = value
            options = {"reduction": reduction, "label_smoothing": label_smoothing}
            ours = loss_and_gradient(upsample_ext.upsample_cross_entropy, x, target, **options)
            theirs = loss_and_gradient(native, x, target, resize=native_interpolate, **options)
            torch.testing.assert_close(ours, theirs, equal_nan=True, rtol=1e-4, atol=1e-5)


def test_huge_and_far_logits(level, device):
    for scale in (1e-4, 40.0, 1e4, 1e30):
        x, target = make((1, 50, 4, 30), (8, 60), device=device)
        x = x * scale
        ours = loss_and_gradient(upsample_ext.upsample_cross_entropy, x, target)
        theirs = loss_and_gradient(native, x.double(), target)
        torch.testing.assert_close(ours[0].double(), theirs[0], rtol=1e-5, atol=0)
        torch.testing.assert_close(ours[1].double(), theirs[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("shape", "size"), [((3, 7, 17, 23), (67, 91)), ((2, 3, 40, 21), (13, 100)), ((1, 600, 4, 130), (9, 300))]
)
def test_every_thread_count_gives_the_same_bits(shape, size, reduction, threads):
    x, target = make(shape, size)
    weight = torch.rand(shape[1])
    results = []
    for count in (1, 2, 3, 5, 16):
        threads(count)
        grad_output = grad_output_for(target, reduction).sign().abs() * 0.37
        results.append(
            loss_and_gradient(
                upsample_ext.upsample_cross_entropy,
                x,
                target,
                weight,
                reduction=reduction,
                label_smoothing=0.1,
                grad_output=grad_output,
            )
        )
    for loss, gradient in results[1:]:
        assert torch.equal(loss, results[0][0]) and torch.equal(gradient, results[0][1])


@pytest.mark.skipif(not EMULATED, reason="the number of multiprocessors is only the emulation's to choose")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "size"), [((2, 7, 17, 23), (67, 91)), ((1, 30, 40, 21), (13, 100))])
def test_every_device_gives_the_same_bits(shape, size, reduction, monkeypatch):
    x, target = make(shape, size)
    results = []
    for count in (1, 2, 7, 132, 1000):
        monkeypatch.setenv("CUSIM_MULTIPROCESSORS", str(count))
        results.append(loss_and_gradient(upsample_ext.upsample_cross_entropy, x, target, reduction=reduction))
    for loss, gradient in results[1:]:
        assert torch.equal(loss, results[0][0]) and torch.equal(gradient, results[0][1])


def test_the_loss_is_the_same_with_and_without_a_gradient(device):
    x, target = make((2, 5, 7, 9), (20, 31), device=device)
    with torch.no_grad():
        alone = upsample_ext.upsample_cross_entropy(x, target)
    assert torch.equal(alone, loss_and_gradient(upsample_ext.upsample_cross_entropy, x, target)[0])


# ---- how often and how the gradient is taken -------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scaled_and_repeated_backward(reduction, dtype, device):
    x, target = make((2, 5, 7, 9), (20, 31), dtype, device)
    leaf = x.requires_grad_()
    loss = upsample_ext.upsample_cross_entropy(leaf, target, reduction=reduction)
    ones = torch.ones_like(loss)
    first, again, half = (
        torch.autograd.grad(loss, leaf, scale * ones, retain_graph=True)[0] for scale in (1, 1, 0.5)
    )
    assert torch.equal(first, again) and torch.equal(half, first / 2)
    first.zero_()  # the caller's own
    last = torch.autograd.grad(loss, leaf, ones)[0]
    assert torch.equal(last, again)


def test_leaf_gradients_accumulate(device):
    x, target = make((2, 5, 7, 9), (20, 31), device=device)
    x.requires_grad_()
    loss = upsample_ext.upsample_cross_entropy(x, target)
    loss.backward(retain_graph=True)
    once = x.grad.clone()
    loss.backward()
    assert torch.equal(x.grad, 2 * once)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_reduced_loss_reads_the_logits_once(reduction, dtype, device):
    x, target = make((2, 5, 7, 9), (20, 31), dtype, device)
    function = upsample_ext.upsample_cross_entropy
    (_, gradient), names = dispatched_ops(loss_and_gradient, function, x, target, reduction=reduction)
    assert [name for name in names if name.startswith("upsample_ext::")] == [
        "upsample_ext::upsample_cross_entropy_with_gradient"
    ]
    assert gradient.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_mean_over_many_pixels_is_scaled_before_it_is_rounded(dtype, device):
    """Where most gradients are too small for float16 unless the loss is scaled."""
    x, target = make((1, 3, 32, 32), (256, 256), dtype, device)
    grad_output = torch.tensor(4096.0, device=device)
    ours = loss_and_gradient(upsample_ext.upsample_cross_entropy, x, target, grad_output=grad_output)[1]
    expected = loss_and_gradient(native, x.double(), target, grad_output=grad_output)[1]
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(ours.double(), expected, rtol=eps, atol=eps * expected.abs().max().item())


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_logits_may_change_once_the_loss_is_known(reduction, dtype, scale, device):
    x, target = make((2, 5, 7, 9), (20, 31), dtype, device)
    leaf = x.clone().requires_grad_()
    expected = torch.autograd.grad(
        (scale * upsample_ext.upsample_cross_entropy(leaf, target, reduction=reduction)).sum(), leaf
    )[0]
    logits = leaf * 1
    loss = (scale * upsample_ext.upsample_cross_entropy(logits, target, reduction=reduction)).sum()
    logits.zero_()
    for retain_graph in (True, False):
        assert torch.equal(torch.autograd.grad(loss, leaf, retain_graph=retain_graph)[0], expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_second_derivative_of_changed_logits_is_refused(reduction, device):
    """It reads them; natively it reads the log-probabilities, which are of the target's size."""
    x, target = make((2, 5, 7, 9), (20, 31), torch.float64, device)
    leaf = x.requires_grad_()
    logits = leaf * 1
    loss = upsample_ext.upsample_cross_entropy(logits, target, reduction=reduction)
    logits.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, leaf, create_graph=True)


def test_what_may_not_be_saved_is_refused_before_the_targets_are_read():
    x, target = make((2, 5, 7, 9), (20, 31))
    target[0, 0, 0] = 5
    with torch.inference_mode():
        weight = torch.rand(5)
    for call in (native, upsample_ext.upsample_cross_entropy):
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved"):
            call(x.requires_grad_(), target, weight)


def test_a_changed_target_is_noticed(device):
    x, target = make((2, 5, 7, 9), (20, 31), device=device)
    loss = upsample_ext.upsample_cross_entropy(x.requires_grad_(), target, reduction="none")
    target.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.sum().backward()


# ---- errors ----------------------------------------------------------------------------------------------


def both_raise(call):
    with pytest.raises(Exception) as theirs:
        call(native)
    with pytest.raises(type(theirs.value)) as ours:
        call(upsample_ext.upsample_cross_entropy)
    return str(ours.value), str(theirs.value)


def raises_at_a_wrong_target(message):
    """IndexError; on CUDA (emulated too) a device-side assertion, as no value is read back to the host."""
    if EMULATED:
        return pytest.raises(RuntimeError, match="device-side assert triggered")
    return pytest.raises(IndexError, match=message)


@pytest.mark.parametrize("wrong", [5, -1, -99, 2**40, -(2**63)])
@pytest.mark.parametrize("place", [0, 1234, -1])
def test_targets_out_of_bounds(wrong, place, level):
    x, target = make((2, 5, 16, 16), (64, 64))
    target.view(-1)[place] = wrong
    with pytest.raises(IndexError) as theirs:
        native(x, target)
    with raises_at_a_wrong_target("upsample_cross_entropy: " + str(theirs.value).rstrip(".")):
        upsample_ext.upsample_cross_entropy(x, target)


def test_targets_are_checked_by_every_op():
    x, target = make((1, 3, 4, 4), (8, 8))
    target[0, 3, 3] = 3
    ops, options = torch.ops.upsample_ext, (None, 1, -100, 0.0, False)
    for call in (
        lambda: ops.upsample_cross_entropy(x, target, *options),
        lambda: ops.upsample_cross_entropy_with_gradient(x, target, *options),
        lambda: ops.upsample_cross_entropy_backward(torch.ones(()), None, x, target, *options),
    ):
        with raises_at_a_wrong_target("Target 3 is out of bounds"):
            call()


WRONG = {
    "target dtype": lambda f, x, t: f(x, t.int()),
    "byte target": lambda f, x, t: f(x, t.byte()),
    "batch": lambda f, x, t: f(x, t[:1]),
    "target rank": lambda f, x, t: f(x, t[0]),
    "unbatched": lambda f, x, t: f(x[0], t[0]),
    "weight size": lambda f, x, t: f(x, t, torch.rand(4)),
    "weight dtype": lambda f, x, t: f(x, t, torch.rand(5).double()),
    "reduction": lambda f, x, t: f(x, t, reduction="most"),
    "smoothing": lambda f, x, t: f(x, t, label_smoothing=1.5),
    "integer input": lambda f, x, t: f(x.int(), t),
    "weight that learns": lambda f, x, t: f(x, t, torch.rand(5, requires_grad=True)),
    "empty target": lambda f, x, t: f(x, t[:, :0]),
    "no classes": lambda f, x, t: f(x[:, :0], t),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_arguments_raise_what_native_raises(what):
    x, target = make((2, 5, 4, 4), (8, 8))
    ours, theirs = both_raise(lambda f: WRONG[what](f, x, target))
    assert ours == theirs


def test_the_op_checks_its_arguments():
    x, target = make((2, 5, 4, 4), (8, 8))
    op = torch.ops.upsample_ext.upsample_cross_entropy
    for expected, arguments in {
        "expected a 4-D input": (x[0], target, None, 1, -100, 0.0, False),
        "expected an int64 target": (x, target.int(), None, 1, -100, 0.0, False),
        "expected a weight for each of 5 classes": (x, target, torch.rand(4), 1, -100, 0.0, False),
        "expected the weight in Float": (x, target, torch.rand(5).double(), 1, -100, 0.0, False),
        "expected reduction 0": (x, target, None, 3, -100, 0.0, False),
        "label_smoothing must be between": (x, target, None, 1, -100, -0.1, False),
    }.items():
        with pytest.raises(RuntimeError, match="upsample_cross_entropy: " + expected):
            op(*arguments)
    with pytest.raises(ValueError, match="to match target batch_size"):
        op(x, target[:1], None, 1, -100, 0.0, False)
    backward = torch.ops.upsample_ext.upsample_cross_entropy_backward
    with pytest.raises(RuntimeError, match="expected a grad_output like the loss"):
        backward(torch.ones(2), None, x, target, None, 1, -100, 0.0, False)
    with pytest.raises(RuntimeError, match="_backward: expected the grad_output on device cpu, got meta"):
        backward(torch.ones((), device="meta"), None, x, target, None, 1, -100, 0.0, False)
    with pytest.raises(RuntimeError, match="expected a reduction"):
        torch.ops.upsample_ext.upsample_cross_entropy_with_gradient(x, target, None, 0, -100, 0.0, False)


def test_class_probabilities_take_the_native_expression():
    x = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    probabilities = torch.randn(2, 5, 8, 8, dtype=torch.float64).softmax(1)
    ours = loss_and_gradient(upsample_ext.upsample_cross_entropy, x, probabilities)
    torch.testing.assert_close(ours, loss_and_gradient(native, x, probabilities))


# ---- the module ------------------------------------------------------------------------------------------


def test_the_module_is_the_native_one_with_a_resize():
    x, target = make((2, 5, 4, 6), (9, 14), torch.float64)
    weight = torch.rand(5, dtype=torch.float64)
    for options in (
        {},
        {"weight": weight, "ignore_index": 3, "reduction": "sum", "label_smoothing": 0.1},
        {"size_average": False},
        {"reduce": False},
    ):
        ours, theirs = upsample_ext.UpsampleCrossEntropyLoss(**options), torch.nn.CrossEntropyLoss(**options)
        target = target.clamp(min=0)
        for corners in (False, True):
            ours.align_corners = corners
            logits = F.interpolate(x, (9, 14), mode="bilinear", align_corners=corners)
            torch.testing.assert_close(ours(x, target), theirs(logits, target))
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        assert ours.extra_repr() == theirs.extra_repr()
        theirs.load_state_dict(ours.state_dict())
    assert isinstance(ours, torch.nn.CrossEntropyLoss)
    assert upsample_ext.UpsampleCrossEntropyLoss(align_corners=True).align_corners


# ---- in a program --------------------------------------------------------------------------------------


def both(**options):
    """Functions of (logits, target): ours and native's."""
    return [
        lambda x, target, f=f: f(x, target, **options) for f in (upsample_ext.upsample_cross_entropy, native)
    ]


def test_gradient_penalty():
    """create_graph: the gradient's own gradient reaches the logits and the scale of the loss."""
    x, target = make((2, 3, 4, 5), (9, 7), torch.float64)
    results = []
    for function in both(label_smoothing=0.1):
        leaf = x.clone().requires_grad_()
        scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
        loss = scale * function(leaf, target)
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
        results.append(torch.autograd.grad(gradient.pow(2).sum(), (leaf, scale)))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weighted", [False, True])
def test_autocast_computes_the_loss_in_float32(dtype, weighted):
    x, target = make((2, 3, 4, 6), (9, 14), dtype)
    weight = torch.rand(3) if weighted else None
    with torch.autocast("cpu", dtype=dtype):
        loss, gradient = loss_and_gradient(upsample_ext.upsample_cross_entropy, x, target, weight)
    expected = loss_and_gradient(native, x.float(), target, weight)
    assert loss.dtype == torch.float32 and gradient.dtype == dtype
    torch.testing.assert_close(loss, expected[0])
    torch.testing.assert_close(gradient, expected[1].to(dtype))
    wide = x.double()
    with torch.autocast("cpu", dtype=dtype):
        assert upsample_ext.upsample_cross_entropy(wide, target).dtype == torch.float64


def test_a_network_trains_as_with_native():
    """The same steps of SGD, with the loss fused and not."""
    torch.manual_seed(0)
    images, target = torch.randn(2, 3, 16, 24), torch.randint(0, 4, (2, 16, 24))
    losses = []
    for function in both(label_smoothing=0.05):
        torch.manual_seed(1)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=4, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 1)
        )
        optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
        losses.append([])
        for _ in range(5):
            loss = function(network(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][-1] < losses[0][0]
