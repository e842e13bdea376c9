"""The bilinear resize under PyTorch's transforms: functorch, compile, export, trace, fakes, subclasses."""

import copy

import pytest
import torch
import torch._dynamo.testing
from dispatched_ops import OUR_BACKWARD, OUR_UPSAMPLE, dispatched_ops
from image_layouts import LAYOUTS
from kernel_backend import assert_same_sums
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch_versions import enable_compiled_autograd, nested_vmap_rules

import upsample_ext

ops = torch.ops.upsample_ext

# Arguments of interpolate(mode="bilinear"): every way to say the size.
WAYS = {
    "size": {"size": (9, 5)},
    "size_int": {"size": 6},
    "align_corners": {"size": (9, 5), "align_corners": True},
    "scale": {"scale_factor": 2},
    "scales": {"scale_factor": (1.37, 0.8)},
    "recompute": {"scale_factor": (1.37, 0.8), "recompute_scale_factor": True},
}


def up(function, **arguments):
    return lambda x: function(x, mode="bilinear", **arguments)


def ours_and_native(arguments):
    return up(upsample_ext.interpolate, **arguments), up(F.interpolate, **arguments)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


# ---- torch.func ------------------------------------------------------------------------------------------


@nested_vmap_rules
@pytest.mark.parametrize("way", WAYS)
def test_functional_derivatives(way, device):
    x, v = (torch.randn(1, 2, 4, 6, dtype=torch.float64, device=device) for _ in range(2))
    transforms = {
        "grad": lambda f: torch.func.grad(lambda t: f(t).pow(3).sum())(x),
        "vjp": lambda f: torch.func.vjp(f, x)[1](f(v))[0],
        "jvp": lambda f: torch.func.jvp(f, (x,), (v,))[1],
        "jacrev": lambda f: torch.func.jacrev(f)(x),
        "jacfwd": lambda f: torch.func.jacfwd(f)(x),
        "hessian": lambda f: torch.func.hessian(lambda t: f(t).pow(3).sum())(x),
        "rev over fwd": lambda f: torch.func.jacrev(torch.func.jacfwd(lambda t: f(t).pow(2).sum()))(x),
        "grad of grad": lambda f: torch.func.grad(
            lambda t: torch.func.grad(lambda u: f(u).pow(3).sum())(t).pow(2).sum()
        )(x),
        "linearize": lambda f: torch.func.linearize(f, x)[1](v),
    }
    ours, native = ours_and_native(WAYS[way])
    for name, transform in transforms.items():
        torch.testing.assert_close(
            transform(ours), transform(native), msg=lambda m, name=name: f"{name}: {m}"
        )


@nested_vmap_rules
@pytest.mark.parametrize("in_dim", range(-5, 5))
def test_vmap_over_any_dimension(in_dim, device):
    x = torch.randn(2, 3, 4, 5, 6, device=device)
    for out_dim in (0, 2, -1):
        for arguments in ({"size": (7, 8)}, {"scale_factor": 1.37}):
            ours, native = ours_and_native(arguments)
            result, names = dispatched_ops(torch.vmap(ours, in_dims=in_dim, out_dims=out_dim), x)
            assert OUR_UPSAMPLE in names
            images = [native(image) for image in x.unbind(in_dim)]
            torch.testing.assert_close(result, torch.stack(images, out_dim))


@nested_vmap_rules
def test_nested_vmap(device):
    x = torch.randn(2, 3, 1, 2, 4, 5, device=device)
    ours, native = ours_and_native({"size": (7, 8)})
    result = torch.vmap(torch.vmap(ours, in_dims=1), in_dims=0)(x.transpose(1, 2))
    expected = native(x.flatten(0, 2)).unflatten(0, (2, 3, 1))
    torch.testing.assert_close(result, expected)


def test_vmap_over_nothing_and_over_one(device):
    for n in (0, 1):
        x = torch.randn(n, 2, 3, 4, 5, device=device)
        assert torch.vmap(up(upsample_ext.interpolate, size=(7, 8)))(x).shape == (n, 2, 3, 7, 8)


def test_vmap_over_grad(device):
    x = torch.randn(3, 1, 2, 4, 5, dtype=torch.float64, device=device)

    def per_sample(f):
        return torch.vmap(torch.func.grad(lambda t: f(t).pow(3).sum()))(x)

    ours, native = ours_and_native({"size": (7, 8)})
    torch.testing.assert_close(per_sample(ours), per_sample(native))


@pytest.mark.parametrize("in_dim", [0, 2, 4, -1])
def test_vmap_over_the_backward_op(in_dim, device):
    g = torch.randn(2, 3, 4, 5, 6, device=device)

    def backward(g):
        return ops.upsample_bilinear2d_backward(g, (3, 7), False)

    result = torch.vmap(backward, in_dims=in_dim)(g)
    torch.testing.assert_close(result, torch.stack([backward(t) for t in g.unbind(in_dim)]))


def test_vmap_with_other_arguments_not_mapped(device):
    x, bias = torch.randn(3, 1, 2, 4, 5, device=device), torch.randn(2, 1, 1, device=device)

    def function(x, bias):
        return upsample_ext.interpolate(x + bias, size=(3, 3), mode="bilinear")

    result = torch.vmap(function, in_dims=(0, None))(x, bias)
    torch.testing.assert_close(result, F.interpolate((x + bias)[:, 0], size=(3, 3), mode="bilinear")[:, None])


# ---- torch.compile ---------------------------------------------------------------------------------------


def value_and_gradient(function, x):
    leaf = x.detach().clone().requires_grad_()
    output = function(leaf)
    (output * torch.arange(output.numel(), device=x.device).view_as(output)).sum().backward()
    return output.detach(), leaf.grad


def test_inductor(device):
    x = torch.randn(2, 3, 4, 6, device=device)

    def function(f):
        return lambda x: f(x.relu(), scale_factor=2, mode="bilinear") * 2 + 1

    compiled = torch.compile(function(upsample_ext.interpolate), fullgraph=True)
    ours, native = value_and_gradient(compiled, x), value_and_gradient(function(F.interpolate), x)
    torch.testing.assert_close(ours, native, rtol=1e-4, atol=1e-3)
    assert torch.equal(ours[0], function(upsample_ext.interpolate)(x))


EMPTY = {
    "interpolate": lambda x, size: upsample_ext.interpolate(x, size, mode="bilinear"),
    "argmax": upsample_ext.upsample_argmax,
    "threshold": upsample_ext.upsample_threshold,
    "add": lambda x, size: upsample_ext.upsample_add(x, x.new_zeros(*x.shape[:2], *size)),
    "concat": lambda x, size: upsample_ext.upsample_concat([x, x], size),
    "cross_entropy": lambda x, size: upsample_ext.upsample_cross_entropy(
        x, torch.zeros(x.shape[0], *size, dtype=torch.int64)
    ),
}


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("op", EMPTY)
def test_compiled_code_raises_where_there_are_no_samples(op, backend):
    """As eager code does; PyTorch's own resize, compiled, returns what was in memory."""
    for shape, size in (
        ((1, 3, 0, 8), (4, 4)),
        ((1, 3, 4, 0), (4, 4)),
        ((2, 0, 8, 8), (4, 4)),
        ((1, 3, 4, 4), (0, 4)),
    ):
        x = torch.rand(shape)
        with pytest.raises((RuntimeError, IndexError)):
            EMPTY[op](x, size)
        torch._dynamo.reset()
        with pytest.raises((RuntimeError, IndexError)):
            torch.compile(EMPTY[op], backend=backend)(x, size)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_compiled_whole_graph(way, layout, device):
    x = LAYOUTS[layout](torch.randn(2, 3, 4, 6, device=device))
    eager = up(upsample_ext.interpolate, **WAYS[way])
    compiled = torch.compile(eager, fullgraph=True, backend="aot_eager")
    (a, grad_a), (b, grad_b) = value_and_gradient(compiled, x), value_and_gradient(eager, x)
    assert torch.equal(a, b) and a.stride() == b.stride()
    assert_same_sums(grad_a, grad_b)
    assert grad_a.stride() == grad_b.stride()


def test_the_compiled_graph_holds_our_ops():
    from torch._dynamo.backends.common import aot_autograd

    graphs = []

    def record(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(
        up(upsample_ext.interpolate, scale_factor=2),
        fullgraph=True,
        backend=aot_autograd(fw_compiler=record, bw_compiler=record),
    )
    compiled(torch.randn(1, 2, 3, 4, requires_grad=True)).sum().backward()
    targets = [{node.target for node in graph.graph.nodes} for graph in graphs]
    assert ops.upsample_bilinear2d.default in targets[0]
    assert ops.upsample_bilinear2d_backward.default in targets[1]


SIZES = [(4, 6), (5, 9), (12, 7), (3, 33), (20, 4)]


@pytest.mark.parametrize("way", ["scale", "scales", "recompute", "size", "twice", "other"])
@pytest.mark.parametrize("training", [False, True])
def test_one_compilation_serves_every_size(way, training, device):
    def function(x, other):
        if way == "twice":
            return upsample_ext.interpolate(x, size=(x.shape[2] * 2, x.shape[3] + 1), mode="bilinear")
        if way == "other":
            return upsample_ext.interpolate(x, size=other.shape[-2:], mode="bilinear", align_corners=True)
        return upsample_ext.interpolate(x, mode="bilinear", **WAYS[way])

    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=counter)
    frames = []
    for h, w in SIZES:
        x = torch.randn(2, 3, h, w, device=device, requires_grad=training)
        other = torch.randn(1, 1, h + 3, w + 2, device=device)
        result = compiled(x, other)
        assert torch.equal(result, function(x, other))
        if training:
            result.sum().backward()
        frames.append(counter.frame_count)
    # A float out of a global is first tried as an input, then as a constant: two frames in one compilation.
    assert frames[0] == 1 or (way in ("scales", "recompute") and frames[0] == 2)
    assert frames == frames[:1] * len(SIZES)


def test_automatic_dynamic_shapes_settle_after_the_second_size():
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(up(upsample_ext.interpolate, scale_factor=2), fullgraph=True, backend=counter)
    for h, w in SIZES:
        compiled(torch.randn(2, 3, h, w))
    assert counter.frame_count <= 2


def test_compiled_out_variant(device):
    def function(x, out):
        upsample_ext.upsample_bilinear2d(x, (7, 8), out=out)
        return out + 1

    x, out = torch.randn(1, 2, 4, 5, device=device), torch.zeros(1, 2, 7, 8, device=device)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    result = compiled(x, out)
    expected = upsample_ext.interpolate(x, size=(7, 8), mode="bilinear")
    assert torch.equal(out, expected) and torch.equal(result, expected + 1)


def test_compiled_autograd(device):
    """Backward, captured as a graph of its own, with changing sizes."""

    def run(h, w):
        x = torch.randn(1, 2, h, w, device=device, requires_grad=True)
        y = upsample_ext.interpolate(x, scale_factor=(2, 1.5), mode="bilinear")
        y = upsample_ext.interpolate(y, size=(5, 5), mode="bilinear", align_corners=True)
        weight = torch.randn_like(y)
        with enable_compiled_autograd(torch.compile(backend="aot_eager", fullgraph=True)):
            (y * weight).sum().backward(retain_graph=True)
        captured, x.grad = x.grad, None
        (y * weight).sum().backward()
        assert torch.equal(captured, x.grad)

    for size in ((4, 6), (4, 6), (7, 3)):
        run(*size)


# ---- export, trace, make_fx ------------------------------------------------------------------------------


class Head(torch.nn.Module):
    def __init__(self, arguments):
        super().__init__()
        self.arguments = arguments

    def forward(self, x):
        return upsample_ext.interpolate(x, mode="bilinear", **self.arguments)


def calls_ours(graph):
    return any("upsample_ext" in str(node.target) for node in graph.nodes)


@pytest.mark.parametrize("way", WAYS)
def test_export_of_one_size(way):
    x = torch.randn(2, 3, 4, 6)
    program = torch.export.export(Head(WAYS[way]), (x,))
    assert calls_ours(program.graph)
    assert torch.equal(program.module()(x), Head(WAYS[way])(x))


@pytest.mark.parametrize("way", WAYS)
def test_export_of_any_size(way):
    height, width = torch.export.Dim("height", min=3, max=999), torch.export.Dim("width", min=3, max=999)
    dynamic = {"x": {2: height, 3: width}}
    program = torch.export.export(Head(WAYS[way]), (torch.randn(2, 3, 5, 6),), dynamic_shapes=dynamic)
    assert calls_ours(program.graph)
    for size in SIZES:
        x = torch.randn(2, 3, *size)
        assert torch.equal(program.module()(x), Head(WAYS[way])(x))


def test_exported_programs_can_be_saved(tmp_path):
    x = torch.randn(2, 3, 4, 6)
    torch.export.save(torch.export.export(Head(WAYS["scale"]), (x,)), tmp_path / "head.pt2")
    loaded = torch.export.load(tmp_path / "head.pt2")
    assert torch.equal(loaded.module()(x), Head(WAYS["scale"])(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("way", WAYS)
def test_trace(way, device):
    """A trace made at one size is valid for others, unless the size is a constant in the code."""
    function = up(upsample_ext.interpolate, **WAYS[way])
    traced = torch.jit.trace(function, torch.randn(1, 2, 4, 6, device=device))
    assert "upsample_ext::" in str(traced.graph)
    sizes = [(4, 6)] if way == "recompute" else SIZES
    for h, w in sizes:
        x = torch.randn(2, 2, h, w, device=device)
        assert torch.equal(traced(x), function(x))
        grads = [torch.func.grad(lambda t, f=f: f(t).pow(2).sum())(x) for f in (traced, function)]
        torch.testing.assert_close(*grads)


@pytest.mark.parametrize("tracing_mode", ["real", "fake", "symbolic"])
def test_make_fx(tracing_mode):
    from torch.fx.experimental.proxy_tensor import make_fx

    def gradient(x):
        leaf = x.detach().requires_grad_()
        output = upsample_ext.interpolate(leaf, scale_factor=2, mode="bilinear")
        return torch.autograd.grad(output.pow(2).sum(), leaf)[0]

    x = torch.randn(1, 2, 4, 6)
    graph = make_fx(gradient, tracing_mode=tracing_mode)(x)
    targets = [node.target for node in graph.graph.nodes]
    assert ops.upsample_bilinear2d.default in targets
    assert ops.upsample_bilinear2d_backward.default in targets
    assert torch.equal(graph(x), gradient(x))
    if tracing_mode == "symbolic":
        other = torch.randn(1, 2, 7, 5)
        assert torch.equal(graph(other), gradient(other))


# ---- fake tensors and meta -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_fake_and_meta_tensors_have_exact_strides(layout, dtype, device):
    from torch._subclasses import FakeTensorMode

    for shape in [(2, 3, 4, 6), (1, 1, 4, 6), (1, 3, 1, 1), (3, 1, 5, 1), (1, 8, 2, 3)]:
        real = LAYOUTS[layout](torch.randn(shape).to(dtype).to(device))
        for arguments in WAYS.values():
            function = up(upsample_ext.interpolate, **arguments)
            try:
                expected = function(real)
            except RuntimeError:  # an empty image: (1, 1) scaled by 0.8
                continue
            with FakeTensorMode() as mode:
                fake = function(mode.from_tensor(real))
            meta = function(torch.empty_strided(shape, real.stride(), dtype=dtype, device="meta"))
            assert fake.device == real.device
            for result in (fake, meta):
                assert result.shape == expected.shape and result.stride() == expected.stride()
                assert result.dtype == expected.dtype
        if dtype.is_floating_point:
            expected = ops.upsample_bilinear2d_backward(real, (5, 3), False)
            meta = ops.upsample_bilinear2d_backward(
                torch.empty_strided(shape, real.stride(), dtype=dtype, device="meta"), (5, 3), False
            )
            assert meta.shape == expected.shape and meta.stride() == expected.stride()


@pytest.mark.filterwarnings("ignore:.*opcheck")
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced", "transposed", "odd_size_1"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 1, 5, 3), (1, 2, 1, 4)])
def test_opcheck(layout, shape, device):
    def x(requires_grad):
        return LAYOUTS[layout](torch.randn(shape, dtype=torch.float64, device=device)).requires_grad_(
            requires_grad
        )

    for requires_grad in (False, True):
        for settings in (((7, 5), False), ((3, 8), True), ((7, 8), False, 1.8, 1.4)):
            torch.library.opcheck(ops.upsample_bilinear2d.default, (x(requires_grad), *settings))
            torch.library.opcheck(ops.upsample_bilinear2d_backward.default, (x(requires_grad), *settings))
        torch.library.opcheck(ops.upsample_bilinear2d.vec, (x(requires_grad), None, False, (1.37, 2.0)))
        torch.library.opcheck(ops.upsample_bilinear2d.vec, (x(requires_grad), (6, 5), True, None))
    for out_layout in ("contiguous", "channels_last"):
        out = LAYOUTS[out_layout](torch.zeros(*shape[:2], 7, 5, dtype=torch.float64, device=device))
        torch.library.opcheck(ops.upsample_bilinear2d.out, (x(False), (7, 5), False), {"out": out})


# ---- subclasses and modes --------------------------------------------------------------------------------


class Logged(torch.Tensor):
    seen = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.seen.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_torch_function_subclass_sees_our_function():
    x = torch.randn(1, 2, 3, 4).as_subclass(Logged)
    Logged.seen.clear()
    result = upsample_ext.interpolate(x, scale_factor=2, mode="bilinear")
    assert Logged.seen[0] is upsample_ext.interpolate
    assert isinstance(result, Logged)
    plain = x.as_subclass(torch.Tensor)
    assert torch.equal(
        result.as_subclass(torch.Tensor), upsample_ext.interpolate(plain, scale_factor=2, mode="bilinear")
    )
    Logged.seen.clear()
    upsample_ext.upsample_bilinear2d(plain, (6, 8), out=torch.empty(1, 2, 6, 8).as_subclass(Logged))
    assert Logged.seen[0] is upsample_ext.upsample_bilinear2d


def test_a_subclass_that_answers_itself_is_asked():
    class Answering:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func, args, kwargs

    image = Answering()
    func, args, kwargs = upsample_ext.interpolate(image, size=3, mode="bilinear")
    assert func is upsample_ext.interpolate and args == (image,) and kwargs["size"] == 3


def test_a_torch_function_mode_sees_our_function():
    class Mode(TorchFunctionMode):
        seen = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.seen.append(func)
            return func(*args, **(kwargs or {}))

    x = torch.randn(1, 2, 3, 4)
    with Mode() as mode:
        result = upsample_ext.interpolate(x, scale_factor=2, mode="bilinear")
    assert upsample_ext.interpolate in mode.seen
    assert torch.equal(result, upsample_ext.interpolate(x, scale_factor=2, mode="bilinear"))


def test_a_torch_dispatch_subclass_sees_our_ops():
    from torch.testing._internal.two_tensor import TwoTensor

    a, b = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)
    x = TwoTensor(a.clone(), b.clone()).requires_grad_()
    result, names = dispatched_ops(upsample_ext.interpolate, x, scale_factor=2, mode="bilinear")
    assert isinstance(result, TwoTensor) and OUR_UPSAMPLE in names
    assert torch.equal(result.a, upsample_ext.interpolate(a, scale_factor=2, mode="bilinear"))
    assert torch.equal(result.b, upsample_ext.interpolate(b, scale_factor=2, mode="bilinear"))
    _, names = dispatched_ops(result.sum().backward)
    assert OUR_BACKWARD in names
    assert isinstance(x.grad, TwoTensor)


def test_parameters_and_buffers_are_plain_tensors(device):
    parameter = torch.nn.Parameter(torch.randn(1, 2, 3, 4, device=device))
    upsample_ext.interpolate(parameter, scale_factor=2, mode="bilinear").sum().backward()
    torch.testing.assert_close(parameter.grad.sum().item(), 96.0, rtol=1e-5, atol=0)


# ---- autocast --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_no_dtype(dtype, device):
    with torch.autocast(device, dtype=dtype):
        for kind in (torch.float32, dtype, torch.float64):
            x = torch.randn(1, 2, 3, 4, device=device, dtype=kind, requires_grad=True)
            result = upsample_ext.interpolate(x, scale_factor=2, mode="bilinear")
            assert result.dtype == kind
            result.sum().backward()
            assert x.grad.dtype == kind


def test_autocast_in_a_network(device):
    network = torch.nn.Conv2d(3, 4, 3).to(device)
    x = torch.randn(1, 3, 8, 8, device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        result = upsample_ext.interpolate(network(x), scale_factor=2, mode="bilinear")
    assert result.dtype == torch.bfloat16
    result.float().sum().backward()
    assert network.weight.grad.dtype == torch.float32


# ---- CUDA graphs, copies ---------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_graphs_and_streams():
    x = torch.randn(1, 3, 16, 16, device="cuda", requires_grad=True)
    function = up(upsample_ext.interpolate, scale_factor=2)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            torch.autograd.grad(function(x).sum(), x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function(x)
        (gradient,) = torch.autograd.grad(output.pow(2).sum(), x)
    with torch.no_grad():
        x.copy_(torch.randn_like(x))
    graph.replay()
    expected = function(x)
    assert torch.equal(output, expected)
    assert torch.equal(gradient, torch.autograd.grad(expected.pow(2).sum(), x)[0])


def test_checkpointing(device):
    from torch.utils.checkpoint import checkpoint

    x = torch.randn(1, 2, 3, 4, device=device, requires_grad=True)
    function = up(upsample_ext.interpolate, scale_factor=2)
    checkpoint(lambda t: function(t.sin()).cos(), x, use_reentrant=False).sum().backward()
    repeated, x.grad = x.grad, None
    function(x.sin()).cos().sum().backward()
    torch.testing.assert_close(repeated, x.grad)


def test_modules_that_call_it_can_be_copied():
    head = copy.deepcopy(Head(WAYS["size"]))
    assert head(torch.randn(1, 1, 2, 2)).shape == (1, 1, 9, 5)
