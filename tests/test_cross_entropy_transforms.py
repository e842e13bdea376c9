"""upsample_cross_entropy: derivatives of every order, torch.func, compile, export, autocast, subclasses."""

import pytest
import torch
import torch._dynamo.testing
from dispatched_ops import dispatched_ops
from image_layouts import LAYOUTS
from test_cross_entropy import loss_and_gradient, make, native
from torch.autograd import gradcheck, gradgradcheck
from torch_versions import enable_compiled_autograd, nested_vmap_rules

import upsample_ext

ops = torch.ops.upsample_ext
REDUCTIONS = ["mean", "sum", "none"]
OPTIONS = {
    "plain": {},
    "all": {"weight": torch.tensor([0.5, 2.0, 1.25], dtype=torch.float64), "label_smoothing": 0.2},
    "corners": {"align_corners": True},
}


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def pair(**options):
    """Functions of (logits, target): ours and native's."""
    return [
        lambda x, target, f=f: f(x, target, **options) for f in (upsample_ext.upsample_cross_entropy, native)
    ]


# ---- derivatives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradcheck(reduction, options):
    x, target = make((2, 3, 3, 4), (5, 8), torch.float64)
    x.requires_grad_()
    function = pair(reduction=reduction, **OPTIONS[options])[0]
    assert gradcheck(lambda t: function(t, target), x, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(lambda t: function(t, target), x, check_fwd_over_rev=True, check_rev_over_rev=True)


@nested_vmap_rules
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_functional_derivatives(reduction, options):
    x, target = make((1, 3, 2, 3), (5, 4), torch.float64)
    v = torch.randn_like(x)
    transforms = {
        "grad": lambda f: torch.func.grad(f)(x, target),
        "vjp": lambda f: torch.func.vjp(lambda t: f(t, target), x)[1](torch.tensor(0.7).double())[0],
        "jvp": lambda f: torch.func.jvp(lambda t: f(t, target), (x,), (v,))[1],
        "hessian": lambda f: torch.func.hessian(f)(x, target),
        "rev over rev": lambda f: torch.func.jacrev(torch.func.jacrev(f))(x, target),
        "rev over fwd": lambda f: torch.func.jacrev(torch.func.jacfwd(f))(x, target),
        "third": lambda f: torch.func.grad(
            lambda t: torch.func.grad(lambda u: torch.func.grad(f)(u, target).pow(2).sum())(t).pow(2).sum()
        )(x),
    }
    ours, theirs = pair(reduction=reduction, **OPTIONS[options])
    for name, transform in transforms.items():
        torch.testing.assert_close(
            transform(ours), transform(theirs), msg=lambda m, name=name: f"{name}: {m}"
        )


def test_gradient_penalty():
    """create_graph: the gradient's own gradient reaches the logits and the scale of the loss."""
    x, target = make((2, 3, 4, 5), (9, 7), torch.float64)
    results = []
    for function in pair(label_smoothing=0.1):
        leaf = x.clone().requires_grad_()
        scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
        loss = scale * function(leaf, target)
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
        results.append(torch.autograd.grad(gradient.pow(2).sum(), (leaf, scale)))
    torch.testing.assert_close(*results)


# ---- vmap ------------------------------------------------------------------------------------------------


@nested_vmap_rules
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("in_dims", [(0, 0), (2, 1), (1, None), (None, 0)])
def test_vmap(reduction, in_dims):
    logits, classes = torch.randn(3, 2, 5, 4, 6), torch.randint(0, 5, (3, 2, 9, 7))
    arguments = [
        t[0] if dim is None else t.movedim(0, dim) for t, dim in zip((logits, classes), in_dims, strict=True)
    ]
    ours, theirs = pair(reduction=reduction)
    result, names = dispatched_ops(torch.vmap(ours, in_dims=in_dims), *arguments)
    assert "upsample_ext::upsample_cross_entropy" in names
    expected = [
        theirs(logits[0 if in_dims[0] is None else i], classes[0 if in_dims[1] is None else i])
        for i in range(3)
    ]
    torch.testing.assert_close(result, torch.stack(expected))


def test_vmap_over_nothing():
    function = pair()[0]
    empty = torch.randn(0, 2, 5, 4, 6), torch.zeros(0, 2, 9, 7, dtype=torch.int64)
    assert torch.vmap(function)(*empty).shape == (0,)


def test_per_sample_gradients():
    x, target = make((3, 4, 4, 5), (9, 7), torch.float64)
    ours, theirs = (
        torch.vmap(torch.func.grad(lambda u, t, f=f: f(u[None], t[None])))(x, target) for f in pair()
    )
    torch.testing.assert_close(ours, theirs)


# ---- compile, export -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_compiled_whole_graph(reduction, layout):
    x, target = make((2, 3, 4, 6), (9, 14))
    x = LAYOUTS[layout](x)
    function = pair(reduction=reduction)[0]
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for ours, expected in zip(
        loss_and_gradient(compiled, x, target), loss_and_gradient(function, x, target), strict=True
    ):
        assert torch.equal(ours, expected) and ours.stride() == expected.stride()


def test_inductor():
    x, target = make((2, 3, 4, 6), (9, 14))

    def function(f):
        return lambda x, target: f(x.relu() * 2, target) * 3

    compiled = torch.compile(function(upsample_ext.upsample_cross_entropy), fullgraph=True)
    ours = loss_and_gradient(compiled, x, target)
    torch.testing.assert_close(ours, loss_and_gradient(function(native), x, target))


def test_one_compilation_serves_every_size():
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    function = pair()[0]
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=counter)
    frames = []
    for height, width in ((4, 6), (5, 9), (12, 7)):
        x, target = make((2, 3, height, width), (2 * height, width + 3))
        ours, expected = (loss_and_gradient(f, x, target) for f in (compiled, function))
        assert torch.equal(ours[0], expected[0]) and torch.equal(ours[1], expected[1])
        frames.append(counter.frame_count)
    # A float (label_smoothing) is first tried as an input, then as a constant: two frames in one compilation.
    assert frames[0] <= 2 and frames == frames[:1] * len(frames)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_compiled_autograd(reduction, weighted):

    for size in ((9, 14), (9, 14), (5, 20)):
        x, target = make((2, 3, 4, 6), size)
        x.requires_grad_()
        weight = torch.rand(3) if weighted else None
        loss = upsample_ext.upsample_cross_entropy(x, target, weight, reduction=reduction).sum() * 0.3
        with enable_compiled_autograd(torch.compile(backend="aot_eager", fullgraph=True)):
            loss.backward(retain_graph=True)
        captured, x.grad = x.grad, None
        loss.backward()
        assert torch.equal(captured, x.grad)


def test_export():
    class Loss(torch.nn.Module):
        def forward(self, x, target):
            return upsample_ext.upsample_cross_entropy(x, target, label_smoothing=0.1)

    arguments = make((2, 3, 4, 6), (9, 14))
    program = torch.export.export(Loss(), arguments)
    assert any("upsample_cross_entropy" in str(node.target) for node in program.graph.nodes)
    assert torch.equal(program.module()(*arguments), Loss()(*arguments))


@pytest.mark.filterwarnings("ignore:.*opcheck")
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("reduction", [0, 1, 2])
def test_opcheck(reduction, layout):
    x, target = make((2, 3, 4, 5), (7, 9))
    weight = torch.rand(3)
    settings = (target, weight, reduction, -100, 0.1, False)

    def leaf():
        return LAYOUTS[layout](x).detach().requires_grad_()

    grad_output = torch.rand(target.shape if reduction == 0 else ())
    torch.library.opcheck(ops.upsample_cross_entropy.default, (leaf(), *settings))
    torch.library.opcheck(ops.upsample_cross_entropy_backward.default, (grad_output, None, leaf(), *settings))
    if reduction:
        torch.library.opcheck(ops.upsample_cross_entropy_with_gradient.default, (leaf(), *settings))
        gradient = ops.upsample_cross_entropy_with_gradient(x, *settings)[1]
        torch.library.opcheck(
            ops.upsample_cross_entropy_backward.default, (grad_output, gradient, leaf(), *settings)
        )


# ---- autocast, subclasses --------------------------------------------------------------------------------


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


def test_subclasses_are_asked():
    class Logged(torch.Tensor):
        calls = []  # noqa: RUF012

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.calls.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    x, target = make((2, 3, 4, 6), (9, 14))
    loss = upsample_ext.upsample_cross_entropy(x.as_subclass(Logged), target)
    assert upsample_ext.upsample_cross_entropy in Logged.calls
    torch.testing.assert_close(loss.as_subclass(torch.Tensor), native(x, target))


def test_a_network_trains_as_with_native():
    """The same steps of SGD, with the loss fused and not."""
    torch.manual_seed(0)
    images, target = torch.randn(2, 3, 16, 24), torch.randint(0, 4, (2, 16, 24))
    losses = []
    for function in pair(label_smoothing=0.05):
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
