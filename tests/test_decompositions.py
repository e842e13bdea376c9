"""decompositions(): what our ops stand for in PyTorch's, and who reads the table."""

import pytest
import torch
from dispatched_ops import RecordedCalls, registered_ops
from ops import DIFFERENTIABLE, FIRST, ROWS, as_tuple
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_map_only

import upsample_ext

OPS = torch.ops.upsample_ext
TABLE = upsample_ext.decompositions()

has_default_table = pytest.mark.skipif(
    not hasattr(torch.export, "default_decompositions"),
    reason=f"torch {torch.__version__}: has no default table of decompositions",
)


def of_rows(rows):
    return pytest.mark.parametrize("op", rows.values(), ids=rows)


def ours_in(graph):
    return [str(node.target) for node in graph.nodes if "upsample_ext" in str(node.target)]


def assert_close(a, b):
    for x, y in zip(as_tuple(a), as_tuple(b), strict=True):
        torch.testing.assert_close(x, y)


def test_every_op_has_one():
    with_dot = {name if "." in name else f"{name}.default" for name in registered_ops()}
    named = {str(op).replace(".", "::", 1) for op in TABLE}
    assert with_dot - named == {"upsample_ext::upsample_bilinear2d.out"}
    composite = {name.rpartition(".")[2] for name in named - with_dot}  # made of the others
    assert composite <= {"vec", "tensors"}


def test_the_table_is_a_copy():
    upsample_ext.decompositions().clear()
    assert upsample_ext.decompositions() == TABLE


@of_rows(ROWS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_values_of_every_call_of_ours(op, layout):
    """Every op that the row and its backward call, with the arguments that they give it."""
    with RecordedCalls() as calls:
        op.results(op.ours, op.make((2, 3, 4, 6), torch.float64, layout=layout))
    assert calls
    for func, args, kwargs in calls:
        args = tree_map_only(torch.Tensor, torch.Tensor.detach, args)
        assert_close(TABLE[func](*args, **kwargs), func(*args, **kwargs))


@of_rows(ROWS)
def test_values_of_half_types(op):
    """To what native's ops round; sums may be in another order."""
    tensors = op.make((2, 3, 4, 6), torch.bfloat16)
    with RecordedCalls() as calls:
        op.ours(*tensors)
    for func, args, kwargs in calls:
        found = as_tuple(TABLE[func](*args, **kwargs))
        for a, b in zip(found, as_tuple(func(*args, **kwargs)), strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            if a.is_floating_point():
                assert (a.double() - b.double()).abs().max() <= 2e-2 * b.double().abs().max()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint8, torch.int16])
def test_nearest_of_integers(dtype):
    for shape, size, scales in [
        ((2, 3, 5), [11], None),
        ((2, 3, 4, 6), [9, 5], None),
        ((2, 3, 4, 6), [5, 4], [1.37, 0.8]),
        ((1, 2, 3, 4, 5), [2, 7, 6], None),
    ]:
        labels = torch.randint(0, 100, shape).to(dtype)
        if dtype == torch.int64:
            labels += 2**53  # next to each other, and further than float64 can tell apart
        for mode in ("nearest", "nearest-exact"):
            arguments = (labels, size, mode, False, False, scales)
            assert torch.equal(TABLE[OPS.resample.default](*arguments), OPS.resample(*arguments))


def test_a_size_that_the_factors_do_not_give():
    """Ops take both, as the vmap rules and other callers may."""
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    for scales in ((1.9, 1.4), (None, 1.4), (1.9, None)):
        arguments = (x, [9, 5], False, *scales)
        assert_close(TABLE[OPS.upsample_bilinear2d.default](*arguments), OPS.upsample_bilinear2d(*arguments))


def test_gradients_of_pixels_that_do_not_count():
    """0, also if none counts; an infinite logit spreads NaN."""
    logits = torch.randn(2, 3, 4, 6)
    infinite = logits.clone()
    infinite[0, 1] = float("inf")
    target = torch.randint(0, 3, (2, 8, 12))
    target[0] = 7
    op = OPS.upsample_cross_entropy_with_gradient
    for image, label in ((logits, target), (infinite, target), (logits, torch.full_like(target, 7))):
        for smoothing in (0.0, 0.1):
            arguments = (image, label, None, 1, 7, smoothing, False)
            torch.testing.assert_close(TABLE[op.default](*arguments), op(*arguments), equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_gradient_of_half_types_is_kept_in_float32(dtype):
    logits, target = torch.randn(2, 3, 4, 6).to(dtype), torch.randint(0, 3, (2, 8, 12))
    weight, one = torch.rand(3).to(dtype), torch.ones((), dtype=dtype)
    settings = (logits, target, weight, 1, 7, 0.1, False)
    for ops in (OPS, None):
        with_gradient, backward = (
            op if ops else TABLE[op]
            for op in (
                OPS.upsample_cross_entropy_with_gradient.default,
                OPS.upsample_cross_entropy_backward.default,
            )
        )
        loss, gradient = with_gradient(*settings)
        assert loss.dtype == dtype and gradient.dtype == torch.float32
        assert torch.equal(backward(one, gradient, *settings), gradient.to(dtype))
        torch.testing.assert_close(backward(one, None, *settings), gradient.to(dtype))
        torch.testing.assert_close(gradient, OPS.upsample_cross_entropy_with_gradient(*settings)[1])


CHAINS = {
    "two sizes": ([9, 12, 6, 8], [1, 2, 5, 7, 0, 1, 6, 6], [False, True], None),
    "factors": ([8, 15, 6, 8], [0, 0, 8, 15, 2, 1, 4, 6], [False, False], [2.0, 2.5, 0.0, 0.0]),
    "one": ([9, 12], [3, 0, 5, 12], [False], None),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_values_of_chains(chain):
    arguments = CHAINS[chain]
    x = torch.randn(2, 3, 4, 6)
    gradient = torch.randn_like(OPS.upsample_chain(x, *arguments))
    for op, given in (
        (OPS.upsample_chain, (x, *arguments)),
        (OPS.upsample_chain_backward, (gradient, [4, 6], *arguments)),
        (OPS.upsample_chain_threshold, (x, *arguments, 0.1)),
        (OPS.upsample_chain_argmax, (x, *arguments, torch.uint8)),
        (OPS.upsample_chain_argmax_with_score, (x, *arguments, torch.int64)),
    ):
        assert_close(TABLE[op.default](*given), op(*given))


# ---- who reads the table ---------------------------------------------------------------------------------


class Module(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *tensors):
        return self.function(*tensors)


def exported(op, tensors, dynamic=None):
    return torch.export.export(Module(op.ours), tuple(tensors), dynamic_shapes=dynamic)


@has_default_table
@of_rows(ROWS)
def test_exported_programs_decompose_by_default(op):
    tensors = op.make((2, 3, 4, 6))
    program = exported(op, tensors)
    assert ours_in(program.graph)
    decomposed = program.run_decompositions()
    assert not ours_in(decomposed.graph)
    other = op.make((2, 3, 4, 6))
    assert_close(decomposed.module()(*other), op.native(*other))


@of_rows({name: op for name, op in FIRST.items() if len(op.shapes(2, 3, 4, 6)) == 1})
def test_exported_programs_of_any_size_decompose(op):
    dims = {2: torch.export.Dim("height", min=3, max=999), 3: torch.export.Dim("width", min=3, max=999)}
    program = exported(op, op.make((2, 3, 5, 6)), {"tensors": (dims,)})
    decomposed = program.run_decompositions(upsample_ext.decompositions())
    assert not ours_in(decomposed.graph)
    for image in ((2, 3, 4, 9), (2, 3, 12, 7), (2, 3, 5, 6)):
        tensors = op.make(image)
        assert_close(decomposed.module()(*tensors), op.native(*tensors))


@has_default_table
def test_a_bilinear_resize_stays_one_operation():
    """As that of F.interpolate does."""
    decomposed = exported(ROWS["interpolate"], [torch.rand(1, 3, 4, 5)]).run_decompositions()
    targets = [str(node.target) for node in decomposed.graph.nodes if node.op == "call_function"]
    assert targets == ["aten.upsample_bilinear2d.vec"]


@has_default_table
def test_an_op_that_is_deleted_from_the_default_table_stays():
    program = exported(ROWS["upsample_argmax"], [torch.rand(1, 3, 4, 5)])
    table = torch.export.default_decompositions()
    assert OPS.upsample_argmax.default in table
    del table[OPS.upsample_argmax.default]
    assert ours_in(program.run_decompositions(table).graph) == ["upsample_ext.upsample_argmax.default"]
    assert OPS.upsample_argmax.default in torch.export.default_decompositions()


@has_default_table
def test_resize_into_a_tensor_decomposes():
    def into(x):
        out = x.new_empty(1, 3, 8, 10)
        upsample_ext.upsample_bilinear2d(x, scale_factor=2, out=out)
        return out * 2

    x = torch.rand(1, 3, 4, 5)
    program = torch.export.export(Module(into), (x,))
    decomposed = program.run_decompositions()
    assert not ours_in(decomposed.graph)
    torch.testing.assert_close(decomposed.module()(x), into(x))


@of_rows(DIFFERENTIABLE)
def test_gradients_are_traced_into_pytorch_s_ops(op):
    """make_fx with the table, forward and backward."""
    tensors = op.make((2, 3, 4, 6), torch.float64)

    def gradients(*inputs):
        return tuple(op.results(op.ours, inputs))

    graph = make_fx(gradients, upsample_ext.decompositions())(*tensors)
    assert not ours_in(graph.graph)
    assert_close(graph(*tensors), tuple(op.results(op.native, tensors)))


@of_rows(FIRST)
def test_compiled_code_keeps_our_ops(op, fresh_compiler):
    """In the graphs that a compiler's backend gets, decomposed by inductor's table."""
    from functorch.compile import make_boxed_func
    from torch._inductor.decomposition import select_decomp_table

    graphs = []

    def capture(graph, example):
        graphs.append(graph.graph)
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=capture, decompositions=select_decomp_table())
    compiled = torch.compile(op.ours, fullgraph=True, backend=backend, dynamic=False)
    op.results(compiled, op.make((2, 3, 4, 6)))
    assert len(graphs) == 2 if op.differentiable else 1
    # Of a cross-entropy, backward scales the gradient that was computed with the loss
    graphs = graphs[:1] if op.dispatches == "upsample_cross_entropy" else graphs
    assert all(ours_in(graph) for graph in graphs)
