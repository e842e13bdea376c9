"""The bilinear resize under PyTorch's transforms: functorch, compile, export, trace, fakes, subclasses."""

import copy

import pytest
import torch
import torch._dynamo.testing
from dispatched_ops import OUR_BACKWARD, OUR_UPSAMPLE, dispatched_ops
from image_layouts import LAYOUTS
from torch.nn import functional as F

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


pytestmark = pytest.mark.usefixtures("fresh_compiler")


# ---- torch.func ------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("way", ["twice", "other"])
@pytest.mark.parametrize("training", [False, True])
def test_one_compilation_serves_every_size_computed_from_others(way, training, device):
    def function(x, other):
        if way == "twice":
            return upsample_ext.interpolate(x, size=(x.shape[2] * 2, x.shape[3] + 1), mode="bilinear")
        return upsample_ext.interpolate(x, size=other.shape[-2:], mode="bilinear", align_corners=True)

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
    assert frames == [1] * len(SIZES)


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


# ---- export, trace, make_fx ------------------------------------------------------------------------------


class Head(torch.nn.Module):
    def __init__(self, arguments):
        super().__init__()
        self.arguments = arguments

    def forward(self, x):
        return upsample_ext.interpolate(x, mode="bilinear", **self.arguments)


def calls_ours(graph):
    return any("upsample_ext" in str(node.target) for node in graph.nodes)


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
    for h, w in SIZES:
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
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_meta_kernels_of_backward_have_exact_strides(layout, dtype, device):
    """Whatever the layout of grad_output, which is contiguous or channels-last in the contract."""
    for shape in [(2, 3, 4, 6), (1, 1, 4, 6), (1, 3, 1, 1), (3, 1, 5, 1), (1, 8, 2, 3)]:
        real = LAYOUTS[layout](torch.randn(shape).to(dtype).to(device))
        expected = ops.upsample_bilinear2d_backward(real, (5, 3), False)
        meta = ops.upsample_bilinear2d_backward(
            torch.empty_strided(shape, real.stride(), dtype=dtype, device="meta"), (5, 3), False
        )
        assert meta.shape == expected.shape and meta.stride() == expected.stride()


@pytest.mark.filterwarnings("ignore:.*opcheck")
@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("contiguous", (2, 3, 4, 6)),
        ("channels_last", (1, 1, 5, 3)),
        ("sliced", (1, 2, 1, 4)),
        ("transposed", (2, 3, 4, 6)),
        ("odd_size_1", (1, 1, 5, 3)),
    ],
)
def test_opcheck_of_every_overload(layout, shape, device):
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


def test_a_torch_function_subclass_that_is_written_to_sees_our_function():
    Logged.seen.clear()
    out = torch.empty(1, 2, 6, 8).as_subclass(Logged)
    upsample_ext.upsample_bilinear2d(torch.randn(1, 2, 3, 4), (6, 8), out=out)
    assert Logged.seen[0] is upsample_ext.upsample_bilinear2d


def test_a_subclass_that_answers_itself_is_asked():
    class Answering:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func, args, kwargs

    image = Answering()
    func, args, kwargs = upsample_ext.interpolate(image, size=3, mode="bilinear")
    assert func is upsample_ext.interpolate and args == (image,) and kwargs["size"] == 3


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
