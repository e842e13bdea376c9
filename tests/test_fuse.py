"""`fuse()`: which code is fused, with which results; when it stays out of the way; compiled graphs."""

import math
import threading

import pytest
import torch
import torch.nn.functional as F
from image_layouts import LAYOUTS
from torch.utils.checkpoint import checkpoint
from torch_versions import cuts_written_checkpoints, since_torch

import upsample_ext
from upsample_ext import _fuse_graphs, _lazy_interpolate
from upsample_ext._lazy_resize import LazyResize

pytestmark = since_torch((2, 11), "fuse() does what patch() does")

SIZE = (37, 50)


@pytest.fixture(autouse=True)
def small_images_too(monkeypatch):
    monkeypatch.setattr(_lazy_interpolate, "_FEWEST_ELEMENTS", 0)


def up(x, size=SIZE, align_corners=False, mode="bilinear"):
    corners = None if mode.startswith("nearest") else align_corners
    return F.interpolate(x, size=size, mode=mode, align_corners=corners)


def logits(device, n=2, c=5, dtype=torch.float32, grad=False):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, c, 9, 12, generator=generator).to(device, dtype)
    return x.requires_grad_(grad)


def targets(x, size=SIZE):
    shape = (x.shape[0], *size)
    number = torch.arange(math.prod(shape), device=x.device).view(shape)
    return torch.where(number % 10 == 0, -100, number * number % 101 % x.shape[1])


def other(x, channels=None, size=SIZE):
    shape = (x.shape[0], channels or x.shape[1], *size)
    return torch.arange(math.prod(shape), device=x.device).view(shape).to(x.dtype).sin()


# name -> (expression, the fused ops that it becomes)
FUSED = {
    "argmax": (lambda x: up(x).argmax(1), {"argmax": 1}),
    "argmax keepdim": (lambda x: up(x).argmax(dim=-3, keepdim=True), {"argmax": 1}),
    "torch.argmax": (lambda x: torch.argmax(up(x), dim=1), {"argmax": 1}),
    "of softmax": (lambda x: up(x).softmax(1).argmax(1), {"argmax": 1}),
    "of F.log_softmax": (lambda x: F.log_softmax(up(x), dim=1).argmax(1), {"argmax": 1}),
    "of one image": (lambda x: up(x)[1].argmax(0), {"argmax": 1}),
    "of the softmax of one image": (lambda x: torch.softmax(up(x)[1], 0).argmax(0), {"argmax": 1}),
    "of squeezed": (lambda x: up(x[:1]).squeeze(0).argmax(0), {"argmax": 1}),
    "of each image": (lambda x: [y.argmax(0) for y in up(x)], {"argmax": 2}),
    "of a slice of the batch": (lambda x: up(x)[1:].argmax(1), {"argmax": 1}),
    "of some channels": (lambda x: up(x)[:, 1:4].argmax(1), {"argmax": 1}),
    "of detached": (lambda x: up(x).detach().argmax(1), {"argmax": 1}),
    "of .data": (lambda x: up(x).data.cpu().argmax(1), {"argmax": 1}),
    "indices of max": (lambda x: torch.max(up(x), 1)[1], {"argmax": 1}),
    "both results of max": (lambda x: tuple(up(x).max(1)), {"argmax": 1}),
    "max of softmax": (lambda x: tuple(up(x).softmax(1).max(1)), {"argmax with score": 1}),
    "max keepdim": (lambda x: tuple(up(x).softmax(1).max(1, keepdim=True)), {"argmax with score": 1}),
    "mask": (lambda x: up(x) > 0.25, {"threshold": 1}),
    "mask of an int": (lambda x: up(x) > 0, {"threshold": 1}),
    "mask >=": (lambda x: up(x) >= 0.25, {"threshold": 1}),
    "mask <": (lambda x: up(x) < -0.1, {"threshold": 1}),
    "mask <=": (lambda x: up(x).le(-0.1), {"threshold": 1}),
    "mask of sigmoid": (lambda x: up(x).sigmoid() > 0.4, {"threshold": 1}),
    "mask of torch.sigmoid >=": (lambda x: torch.sigmoid(up(x)) >= 0.7, {"threshold": 1}),
    "mask of one channel": (lambda x: up(x)[:, 2] > 0, {"threshold": 1}),
    "mask of a squeezed channel": (lambda x: up(x[:, :1]).squeeze(1) > 0, {"threshold": 1}),
    "mask of one plane": (lambda x: up(x)[1, 2] > 0, {"threshold": 1}),
    "mask of a window": (lambda x: up(x)[..., 3:30, :41] > 0, {"threshold": 1}),
    "mask of a window of a window": (lambda x: up(x)[..., 3:30, :41][:, :, 2:-1, -7:] > 0, {"threshold": 1}),
    "argmax of a window of an image": (lambda x: up(x)[0, :, 3:30, 1:].argmax(0), {"argmax": 1}),
    "mask of a chain": (lambda x: up(up(x)[..., :30, :41], (60, 70)) > 0, {"threshold": 1}),
    "mask of a shrinking chain": (lambda x: up(up(x), (20, 11)) > 0, {"threshold": 1}),
    "argmax of a chain": (lambda x: up(up(x)[1][None], (64, 51), True).argmax(1), {"argmax": 1}),
    "factor": (lambda x: F.interpolate(x, scale_factor=2.5, mode="bilinear").argmax(1), {"argmax": 1}),
    "argmax of nearest": (lambda x: up(x, mode="nearest").argmax(1), {"argmax": 1}),
    "max of softmax of bicubic": (
        lambda x: tuple(up(x, mode="bicubic").softmax(1).max(1)),
        {"argmax with score": 1},
    ),
    "argmax of a window of bicubic": (
        lambda x: up(x, mode="bicubic")[0, :, 3:30, 1:].argmax(0),
        {"argmax": 1},
    ),
    "mask of nearest": (lambda x: up(x, mode="nearest") > 0.25, {"threshold": 1}),
    "mask < of a window of nearest-exact": (
        lambda x: up(x, mode="nearest-exact")[..., 3:30, :41] < -0.1,
        {"threshold": 1},
    ),
    "mask of bicubic by a factor": (
        lambda x: F.interpolate(x, scale_factor=2.5, mode="bicubic") > 0.1,
        {"threshold": 1},
    ),
    "add of nearest": (lambda x: other(x, size=(18, 24)) + F.interpolate(x, scale_factor=2), {"add": 1}),
    "add of bicubic": (lambda x: up(x, mode="bicubic") + other(x), {"add": 1}),
    "cat of nearest": (
        lambda x: torch.cat([up(x, mode="nearest"), up(x), other(x, 2)], 1),
        {"concat": 1},
    ),
    "add": (lambda x: up(x) + other(x), {"add": 1}),
    "added to": (lambda x: other(x) + up(x), {"add": 1}),
    "torch.add": (lambda x: torch.add(up(x), other(x)), {"add": 1}),
    "add of two": (lambda x: up(x) + up(x * 2), {"add": 1}),
    "cat": (lambda x: torch.cat([other(x, 2), up(x), up(x[:, :1])], 1), {"concat": 1}),
    "cat with an image of its own": (
        lambda x: torch.cat([up(x), up(x, align_corners=True)], 1),
        {"concat": 1},
    ),
    "cross-entropy": (lambda x: F.cross_entropy(up(x), targets(x)), {"cross_entropy": 1}),
    "module": (
        lambda x: torch.nn.CrossEntropyLoss(torch.arange(5.0).to(x), label_smoothing=0.1)(up(x), targets(x)),
        {"cross_entropy": 1},
    ),
    "none": (lambda x: F.cross_entropy(up(x), targets(x), reduction="none"), {"cross_entropy": 1}),
    "nll": (lambda x: F.nll_loss(F.log_softmax(up(x), 1), targets(x)), {"cross_entropy": 1}),
    "nn.NLLLoss": (
        lambda x: torch.nn.NLLLoss()(torch.nn.LogSoftmax(1)(up(x)), targets(x)),
        {"cross_entropy": 1},
    ),
    "loss of a chain": (
        lambda x: F.cross_entropy(up(up(x)[..., :30, :40], (60, 70)), targets(x, (60, 70))),
        {"cross_entropy": 1},
    ),
    "loss of a slice": (lambda x: F.cross_entropy(up(x)[1:], targets(x)[1:]), {"cross_entropy": 1}),
    "three uses": (
        lambda x: (lambda y: (y.argmax(1), y > 0, F.cross_entropy(y, targets(x))))(up(x)),
        {"argmax": 1, "threshold": 1, "cross_entropy": 1},
    ),
}
IN_PLACE = {
    "in-place add": (lambda x: up(x).add_(other(x)), {"add": 1}),
    "augmented add": (lambda x: (lambda y, z: y.__iadd__(z))(up(x), other(x)), {"add": 1}),
}
# What needs the image
NOT_FUSED = {
    "sum": lambda x: up(x).sum(),
    "argmax of all": lambda x: up(x).argmax(),
    "argmax of rows": lambda x: up(x).argmax(2),
    "max of all": lambda x: up(x).max(),
    "softmax": lambda x: up(x).softmax(1),
    "softmax of rows": lambda x: up(x).softmax(2).argmax(2),
    "argmax of sigmoid": lambda x: up(x).sigmoid().argmax(1),  # which saturates: other ties
    "mask by a tensor": lambda x: up(x) > torch.tensor(0.1),
    "mask of softmax": lambda x: up(x).softmax(1) > 0.2,
    "add a number": lambda x: up(x) + 1,
    "add with alpha": lambda x: torch.add(up(x), other(x), alpha=2),
    "add of another size": lambda x: up(x) + other(x)[:, :, :1],
    "cat of the batch": lambda x: torch.cat([up(x), other(x)]),
    "probabilities as target": lambda x: F.cross_entropy(up(x), other(x).softmax(1)),
    "loss of a window": lambda x: F.cross_entropy(up(x)[..., :30, :], targets(x)[:, :30]),
    "every other channel": lambda x: up(x)[:, ::2],
    "a row": lambda x: up(x)[:, :, 3],
    "by a mask": lambda x: up(x)[up(x) > 0],
    "permuted": lambda x: up(x).permute(0, 2, 3, 1),
    "another mode": lambda x: F.interpolate(up(x), size=(20, 20)),
    "loss of nearest": lambda x: F.cross_entropy(up(x, mode="nearest"), targets(x)),
    "area": lambda x: F.interpolate(x, SIZE, mode="area").argmax(1),
}


def leaves(result):
    if isinstance(result, (tuple, list)):
        return [leaf for item in result for leaf in leaves(item)]
    return [result]


def check(result, expected, exact=False):
    results, expectations = leaves(result), leaves(expected)
    assert len(results) == len(expectations)
    for y, e in zip(results, expectations, strict=True):
        assert (y.shape, y.dtype, y.requires_grad) == (e.shape, e.dtype, e.requires_grad)
        y, e = y.detach(), e.detach()
        if type(y) is not torch.Tensor:
            y = y.clone()
        assert y.stride() == e.stride()
        if exact or not e.is_floating_point():
            assert torch.equal(y, e) or (exact and torch.allclose(y, e, 0, 0, equal_nan=True))
        else:
            torch.testing.assert_close(y, e, equal_nan=True)


def fused(call, *args):
    with upsample_ext.fuse(), upsample_ext.report() as r:
        result = call(*args)
    return result, r


@pytest.mark.parametrize("name", FUSED | IN_PLACE)
@pytest.mark.parametrize("grad", [False, True], ids=["", "grad"])
def test_is_fused_and_equals_the_unfused(name, grad, default_device):
    expression, ops = (FUSED | IN_PLACE)[name]
    x = logits(default_device, grad=grad)
    result, r = fused(expression, x)
    if grad and name.startswith("max "):
        ops = {"argmax": 1} if "keepdim" not in name else {}  # the score needs a gradient
    assert dict(r.fused) == ops
    check(result, expression(x))


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(name, layout):
    expression, _ = FUSED[name]
    x = LAYOUTS[layout](logits("cpu"))
    result, _ = fused(expression, x)
    check(result, expression(x))


@pytest.mark.parametrize("name", FUSED | IN_PLACE)
def test_gradients_are_as_exact_as_native(name, default_device):
    expression, _ = (FUSED | IN_PLACE)[name]

    def gradient(dtype):
        x = logits(default_device).to(dtype).requires_grad_()
        parts = [part for part in leaves(expression(x)) if part.is_floating_point()]
        if not parts:
            return torch.zeros(1)
        sum(
            (part * torch.arange(part.numel()).view(part.shape).to(x).cos()).sum() for part in parts
        ).backward()
        return x.grad.double()

    result, _ = fused(gradient, torch.float32)
    exact = gradient(torch.float64)
    rounding = exact.abs().max() * torch.finfo(torch.float32).eps
    native_error = (gradient(torch.float32) - exact).abs().max()
    assert (result - exact).abs().max() <= 2 * native_error + 4 * rounding


@pytest.mark.parametrize("name", NOT_FUSED)
@pytest.mark.parametrize("grad", [False, True], ids=["", "grad"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_an_image_is_that_of_interpolate_bit_for_bit(name, grad, dtype, default_device):
    x = logits(default_device, dtype=dtype, grad=grad)
    if dtype is torch.bfloat16 and "target" in name:
        pytest.skip("cross-entropy of bfloat16 probabilities: no kernel in some versions")
    result, r = fused(NOT_FUSED[name], x)
    with upsample_ext.patch():
        check(result, NOT_FUSED[name](x), exact=True)
    assert not r.fused.keys() - {"threshold"}


INFINITIES = [
    *(
        "argmax",
        "of softmax",
        "of F.log_softmax",
        "of the softmax of one image",
        "argmax of a window of an image",
    ),
    *("mask", "mask >=", "mask <", "mask <=", "mask of sigmoid", "max of softmax", "max keepdim"),
    *("indices of max", "both results of max"),
]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(
    "name", ["argmax", "mask", "mask >=", "mask <", "mask <=", "mask of sigmoid", "max keepdim"]
)
def test_nan_and_infinity(name, value):
    x = logits("cpu")
    x[0, 2, 3, 4] = x[1, 1, 0, 0] = value
    expression, _ = FUSED[name]
    result, _ = fused(expression, x)
    check(result, expression(x))


@pytest.mark.parametrize("probability", [0.5, 0.05, 0.999, 1e-6, 1.0, 0.0, -1.0, 2.0])
def test_the_threshold_of_a_sigmoid_is_where_pytorch_rounds_across_it(probability):
    near = torch.tensor(probability).clamp(1e-30, 1).logit().clamp(-80, 80)
    steps = torch.arange(-500, 500) * torch.finfo(torch.float32).eps * near.abs().clamp(min=1e-3)
    x = (near + steps).view(1, 1, 20, 50)
    for compare in (torch.gt, torch.ge):
        result, _ = fused(lambda compare=compare: compare(up(x, (20, 50)).sigmoid(), probability))
        check(result, compare(x.sigmoid(), probability))


# ---- half types --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["argmax", "mask", "of softmax", "max of softmax", "mask of a chain"])
def test_half_logits_are_compared_after_rounding(name, dtype):
    x = logits("cpu", dtype=dtype)
    result, r = fused(FUSED[name][0], x)
    assert not r.fused
    with upsample_ext.patch():
        check(result, FUSED[name][0](x), exact=True)


@pytest.mark.parametrize("convert", [False, True], ids=["half", "float()"])
def test_the_loss_of_half_logits_is_fused_in_float32(convert):
    x = logits("cpu", dtype=torch.bfloat16, grad=True)

    def loss(x):
        return F.cross_entropy(up(x).float() if convert else up(x), targets(x))

    result, r = fused(loss, x)
    assert dict(r.fused) == {"cross_entropy": 1}
    assert result.dtype is (torch.float32 if convert else torch.bfloat16)
    exact = loss(x.detach().double())
    assert (result - exact).abs() <= max((loss(x) - exact).abs(), exact * torch.finfo(result.dtype).eps)


# ---- when it stays out of the way --------------------------------------------------------------------------


def returned(x, **arguments):
    with upsample_ext.fuse():
        return F.interpolate(x, **({"size": SIZE, "mode": "bilinear"} | arguments))


def is_lazy(x, **arguments):
    return isinstance(returned(x, **arguments), LazyResize)


def test_what_is_put_off():
    x = logits("cpu")
    assert is_lazy(x) and is_lazy(x.bfloat16()) and is_lazy(x, align_corners=True)
    assert is_lazy(x, size=None, scale_factor=2) and is_lazy(x.requires_grad_() * 1)
    assert is_lazy(x.to(memory_format=torch.channels_last)) and is_lazy(x[:, 1:3]) and is_lazy(x[..., ::2])
    with torch.no_grad():
        assert is_lazy(x)
    with torch.inference_mode():
        assert is_lazy(x)
    with torch.device("cpu"):
        assert is_lazy(x)


def test_what_is_computed_at_once():
    x = logits("cpu")
    assert not is_lazy(x.double()) and not is_lazy((x * 9).byte())
    assert not is_lazy(x, size=(5, 5))  # the source would be the larger of the two
    assert not is_lazy(x, mode="area")
    assert not is_lazy(x, antialias=True)
    assert not is_lazy(torch.nn.Parameter(x)) and not is_lazy(torch.nn.Parameter(x)[:1])
    assert not is_lazy(torch.from_numpy(x.numpy().copy()))  # memory that is not PyTorch's
    assert type(torch.func.vmap(lambda x: returned(x[None]))(x)) is torch.Tensor
    assert not isinstance(torch.func.grad(lambda x: returned(x).sum())(x), LazyResize)


def test_small_images_are_computed_at_once(monkeypatch):
    monkeypatch.setattr(_lazy_interpolate, "_FEWEST_ELEMENTS", 1 << 16)
    assert not is_lazy(logits("cpu"))
    assert is_lazy(logits("cpu"), size=(128, 128))


def test_a_small_view_does_not_keep_a_large_storage():
    x = torch.randn(64, 5, 9, 12)
    y = returned(x[:1])
    assert isinstance(y, LazyResize)
    assert y._lazy.source.untyped_storage().nbytes() == x[:1].numel() * 4


# ---- the switch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["ABBA", "ABAB", "BAAB", "BABA"])
def test_with_patch_in_any_order(order):
    native = F.interpolate, F.conv_transpose2d
    handles = {}
    for name in order:
        if name in handles:
            handles.pop(name).undo()
        else:
            handles[name] = upsample_ext.fuse() if name == "A" else upsample_ext.patch()
        lazily, at_once = "A" in handles, "B" in handles
        ours = _lazy_interpolate.interpolate if lazily else upsample_ext.interpolate
        assert F.interpolate is (ours if lazily or at_once else native[0])
        assert (F.conv_transpose2d is native[1]) is not (lazily or at_once)
    assert (F.interpolate, F.conv_transpose2d) == native


def test_nested_and_undone_twice():
    native = F.interpolate
    with upsample_ext.fuse() as outer:
        with upsample_ext.fuse():
            pass
        assert F.interpolate is _lazy_interpolate.interpolate
        assert "in force" in repr(outer)
    outer.undo()
    assert F.interpolate is native and "undone" in repr(outer)


def test_a_lazy_resize_outlives_it():
    x = logits("cpu")
    y = returned(x)
    check(y.argmax(1), up(x).argmax(1))
    check(y + 1, up(x) + 1)


def test_other_threads_are_fused_too():
    x, kinds = logits("cpu"), []
    with upsample_ext.fuse():
        thread = threading.Thread(target=lambda: kinds.append(type(up(x))))
        thread.start()
        thread.join()
    assert kinds == [LazyResize]


def test_converted_modules_are_fused():
    x = logits("cpu")
    up2 = upsample_ext.convert(torch.nn.Upsample(scale_factor=4, mode="bilinear"))
    result, r = fused(lambda: up2(x).argmax(1))
    assert dict(r.fused) == {"argmax": 1}
    check(result, up2(x).argmax(1))


def test_an_in_place_add_is_seen_by_views_and_not_by_copies():
    x = logits("cpu")

    def expression():
        y = up(x)
        view, copy = y[0], y.sigmoid()
        y += other(x)
        return y, view, copy

    result, r = fused(expression)
    check(result, expression())
    assert r.fused["add"] == 1


def test_no_memory_of_an_image_is_taken():
    """The fused expression runs where its image could not exist."""
    x = torch.randn(1, 2, 4, 4).expand(1, 2, 4, 4)
    size = (1 << 20, 1 << 20)
    with upsample_ext.fuse():
        y = F.interpolate(x, size=size, mode="bilinear")
        assert y.shape == (1, 2, *size)
        assert y[:, :, 5:7, 9:12].argmax(1).shape == (1, 2, 3)
        assert (y[0, 1, -1:, :4] > 0).shape == (1, 4)


# ---- torch.compile -----------------------------------------------------------------------------------------


@pytest.fixture
def compiler():
    inductor = pytest.importorskip("torch._inductor.config")
    if not hasattr(inductor, "pre_grad_custom_pass"):
        pytest.skip("this PyTorch has no hook for graphs before autograd")
    torch._dynamo.reset()
    with inductor.patch(force_disable_caches=True):
        yield inductor
    torch._dynamo.reset()


GRAPHS = [
    *(
        "argmax",
        "of softmax",
        "of one image",
        "of some channels",
        "indices of max",
        "max of softmax",
        "mask <",
    ),
    *(
        "mask of sigmoid",
        "mask of a window",
        "mask of a chain",
        "add",
        "cat",
        "cross-entropy",
        "module",
        "nll",
    ),
    *("argmax of nearest", "mask of bicubic by a factor", "cat of nearest"),
    *("loss of a chain", "three uses", "of detached", "mask of a squeezed channel"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_are_fused(compiler, name):
    expression, ops = FUSED[name]
    x = logits("cpu")
    expected = expression(x)
    result, r = fused(torch.compile(expression, fullgraph=True), x)
    assert dict(r.fused) == ops
    for y, e in zip(leaves(result), leaves(expected), strict=True):
        torch.testing.assert_close(y, e)
    assert compiler.pre_grad_custom_pass is None


class Counted(torch.autograd.Function):
    """Resizes, and reads the results, in both of its graphs."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return up(x).argmax(1).float().sum() + x.sum()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (up(x) > 0).sum() * torch.ones_like(x)


# Graphs inside a graph: what they are of, and the fused ops
INNER_GRAPHS = {
    "cond": (
        lambda x: torch.cond(x.sum() > 0, lambda x: loss_of(x), lambda x: loss_of(x * 2) * 3, (x,)),
        {"cross_entropy": 2},
    ),
    "checkpoint": (lambda x: checkpoint(loss_of, x, use_reentrant=False), {"cross_entropy": 1}),
    "resized in the checkpoint, read outside": (
        lambda x: F.cross_entropy(checkpoint(up, x * 2, use_reentrant=False), targets(x)),
        {},
    ),
    "resized outside, read in the checkpoint": (
        lambda x: (
            lambda y: checkpoint(lambda x: x.sum() + F.cross_entropy(y, targets(x)), x, use_reentrant=False)
        )(up(x)),
        {},
    ),
    "written to in the checkpoint": (
        lambda x: checkpoint(
            lambda x: (lambda h: F.cross_entropy((up(h), h.neg_())[0], targets(x)))(x * 1),
            x,
            use_reentrant=False,
        ),
        {},
    ),
    "autograd.Function": (Counted.apply, {"argmax": 1, "threshold": 1}),
    "vmap": (lambda x: torch.vmap(lambda x: up(x[None]).argmax(1))(x), {"argmax": 1}),
    "grad": (lambda x: torch.func.grad(loss_of)(x.detach()), {"cross_entropy": 1}),
    "grad mode": (
        lambda x: loss_of(x) + torch.no_grad()(lambda: up(x).argmax(1).sum())(),
        {"cross_entropy": 1, "argmax": 1},
    ),
}


def loss_of(x):
    return F.cross_entropy(up(x), targets(x))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=cuts_written_checkpoints if "written" in name else ())
        for name in INNER_GRAPHS
    ],
)
def test_graphs_inside_graphs(compiler, name):
    expression, ops = INNER_GRAPHS[name]

    def both(f):
        x = logits("cpu", grad=True)
        y = f(x)
        if y.requires_grad:
            y.sum().backward()
        return y, x.grad

    (y, gradient), r = fused(lambda: both(torch.compile(expression, fullgraph=True)))
    expected, expected_gradient = both(expression)
    assert dict(r.fused) == ops
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.slow
def test_a_graph_that_is_called_twice(compiler):
    if not hasattr(torch.compiler, "nested_compile_region"):
        pytest.skip("this PyTorch has no regions")
    region = torch.compiler.nested_compile_region(loss_of)
    x = logits("cpu")
    result, r = fused(torch.compile(lambda x: region(x) + region(x * 2), fullgraph=True), x)
    assert r.fused["cross_entropy"]
    torch.testing.assert_close(result, loss_of(x) + loss_of(x * 2))


WRITTEN = {
    "source": lambda x: (lambda h: (up(h), h.neg_())[0].argmax(1))(x * 1),
    "a view of the source": lambda x: (lambda h: (up(h), h[1:].neg_())[0].argmax(1))(x * 1),
    "image": lambda x: (lambda y: (y, y.neg_())[0].argmax(1))(up(x)),
    "by index": lambda x: (lambda h: (up(h), h.__setitem__(0, 1.0))[0].argmax(1))(x * 1),
    "by relu": lambda x: (lambda h: (up(h), F.relu(h, inplace=True))[0].argmax(1))(x * 1),
    "by out": lambda x: (lambda h: (up(h), torch.neg(x, out=h))[0].argmax(1))(x * 1),
    "augmented": lambda x: (lambda h: (up(h), h.__imul__(-1))[0].argmax(1))(x * 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_graphs_that_write_between_are_not(compiler, name):
    x = logits("cpu")
    expected = WRITTEN[name](x)
    result, r = fused(torch.compile(WRITTEN[name], fullgraph=True), x)
    assert not r.fused
    check(result, expected)


@pytest.mark.slow
def test_the_gradient_of_a_fused_graph(compiler):
    def gradient(wrap=lambda f: f):
        x = logits("cpu", grad=True)
        wrap(lambda x: F.cross_entropy(up(x * 2), targets_of_x))(x).backward()
        return x.grad

    targets_of_x = targets(logits("cpu"))
    result, r = fused(lambda: gradient(torch.compile))
    assert dict(r.fused) == {"cross_entropy": 1}
    torch.testing.assert_close(result, gradient())


CUT_OFF = {
    "made in no_grad": lambda y: y,
    "detached": lambda y: y.detach(),
}


@pytest.mark.parametrize("name", CUT_OFF)
@pytest.mark.skipif(not hasattr(torch, "_dynamo"), reason="this PyTorch has no compiler")
def test_graphs_keep_what_has_no_gradient(name):
    def expression(x):
        with torch.set_grad_enabled(name != "made in no_grad"):
            y = up(x)
        y = CUT_OFF[name](y)
        return F.cross_entropy(y, targets_of_x), y.argmax(1), y + other(x)

    def backend(module, inputs):
        _fuse_graphs.fuse_graph(module.graph)
        return lambda *args: torch.fx.Interpreter(module).run(*args)

    torch._dynamo.reset()
    targets_of_x = targets(logits("cpu"))
    x = logits("cpu", grad=True)
    result, r = fused(torch.compile(expression, fullgraph=True, backend=backend), x)
    assert dict(r.fused) == {"cross_entropy": 1, "argmax": 1, "add": 1}
    check(result, expression(x))


@pytest.mark.slow
def test_graphs_of_any_size(compiler):
    compiled = torch.compile(lambda x, size: up(x, size).argmax(1), fullgraph=True, dynamic=True)
    with upsample_ext.fuse(), upsample_ext.report() as r:
        for h in (9, 12, 30):
            x = torch.randn(1, 4, h, h + 1)
            check(compiled(x, (3 * h, 2 * h)), upsample_ext.upsample_argmax(x, (3 * h, 2 * h)))
    assert dict(r.fused) == {"argmax": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "as_list", [False, pytest.param(True, marks=since_torch((2, 13), "a pass is one function"))]
)
def test_the_pass_of_another_runs_too_and_stays(compiler, monkeypatch, as_list):
    from torch._inductor.custom_graph_pass import CustomGraphPass

    class Counting(CustomGraphPass):
        seen = 0

        def __call__(self, graph):
            Counting.seen += 1

        def uuid(self):
            return "counting"

    theirs = Counting()
    found = [theirs] if as_list else theirs
    monkeypatch.setattr(compiler, "pre_grad_custom_pass", found)
    _, r = fused(torch.compile(FUSED["argmax"][0]), logits("cpu"))
    assert Counting.seen == 1 and dict(r.fused) == {"argmax": 1}
    assert compiler.pre_grad_custom_pass == found


@pytest.mark.slow
@pytest.mark.parametrize("grad", [False, True], ids=["", "grad"])
def test_compiled_functions_are_given_images(compiler, grad):
    compiled = torch.compile(lambda y: y.sin().sum(), fullgraph=True)
    x = logits("cpu", grad=grad)
    result, r = fused(lambda: compiled(up(x)))
    expected = up(x).sin().sum()
    torch.testing.assert_close(result, expected)
    assert dict(r.images) == {"torch.compile": 1}
    if grad:
        gradients = [torch.autograd.grad(y, x)[0] for y in (result, expected)]
        torch.testing.assert_close(*gradients)


def test_without_fuse_nothing_is_hooked(compiler):
    _fuse_graphs.hook()
    assert compiler.pre_grad_custom_pass is None


# ---- a PyTorch that lacks what it is built of --------------------------------------------------------------


@pytest.mark.parametrize("lacks", ["lacks _lazy_clone", "2.10.1 is older than 2.11"])
def test_without_what_it_needs_it_is_a_patch_and_says_so(monkeypatch, lacks):
    if "older" in lacks:
        monkeypatch.setattr(torch, "__version__", "2.10.1+cpu")
    else:
        monkeypatch.delattr(torch, "_lazy_clone")
    native = F.interpolate
    with pytest.warns(UserWarning, match=f"fuse: torch .*{lacks.split()[-1]}: .* not fused"):
        handle = upsample_ext.fuse()
    with handle:
        assert F.interpolate is upsample_ext.interpolate
    assert F.interpolate is native
