"""What every op must do whatever it computes: the rows of ops.py times PyTorch's machinery.

Values against float64, and what is particular to an op, are in the op's own files.
"""

import itertools

import pytest
import torch
import torch._dynamo.testing
from dispatched_ops import RecordedCalls, dispatched_ops
from dtypes import DTYPES, HALVES
from image_layouts import LAYOUTS
from kernel_backend import EMULATED, assert_same_sums
from ops import DIFFERENTIABLE, FIRST, NOT_DIFFERENTIABLE, ROWS, as_tuple
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.overrides import TorchFunctionMode
from torch_versions import COMPILED_GRADIENTS_KEEP_STRIDES, enable_compiled_autograd, nested_vmap_rules

from upsample_ext._library import C


def of_rows(rows):
    return pytest.mark.parametrize("op", rows.values(), ids=rows)


every_op, first_of_every_op, differentiable = (of_rows(rows) for rows in (ROWS, FIRST, DIFFERENTIABLE))

# Batches and channels of 1, whose strides say nothing; single rows, columns and pixels; vectors of channels.
IMAGES = [
    *((2, 3, 4, 6), (1, 1, 4, 6), (1, 3, 5, 3), (3, 1, 5, 4), (1, 3, 1, 4)),
    *((2, 3, 3, 1), (1, 3, 1, 1), (3, 1, 5, 1), (1, 8, 2, 3)),
]


def images_of(op):
    """Those that the row takes."""
    fitting = [image for image in IMAGES if min(image[2:]) >= op.least_extent]
    return [image for image in fitting if image[1] == 3 or op.shapes(*image)[0][1] == image[1]]


def assert_equal(a, b):
    for x, y in zip(as_tuple(a), as_tuple(b), strict=True):
        assert torch.equal(x, y)


def forms(result):
    return [(t.shape, t.stride(), t.dtype) for t in as_tuple(result)]


# ---- strides and dtypes ----------------------------------------------------------------------------------


def check_form(op, tensors):
    """Eager results have native's form, and fake and meta tensors that of the eager ones."""
    ours, native = op.ours(*tensors), op.native(*tensors)
    if op.native_strides:
        assert forms(ours) == forms(native)
    else:
        assert [form[::2] for form in forms(ours)] == [form[::2] for form in forms(native)]
    with FakeTensorMode() as mode:
        fake = op.ours(*(mode.from_tensor(t) for t in tensors))
    meta = op.ours(*(torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta") for t in tensors))
    assert forms(fake) == forms(meta) == forms(ours)
    assert all(a.device == b.device for a, b in zip(as_tuple(fake), as_tuple(ours), strict=True))
    assert all(t.is_meta for t in as_tuple(meta))


@every_op
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_and_dtypes_of_results_and_fakes(op, layout, device):
    dtypes = [torch.float16, *([torch.uint8] if op.bytes else [])]
    others = ("contiguous", "channels_last", "transposed", "odd_size_1") if len(op.images) > 1 else (layout,)
    # The emulation's launchers take shapes from the same functions: a third of the images will do.
    for image in images_of(op)[:: 3 if EMULATED else 1]:
        for other in others:
            check_form(op, op.make(image, torch.float32, device, layout, other))
        for dtype in dtypes:
            check_form(op, op.make(image, dtype, device, layout, others[-1]))


@differentiable
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_of_gradients_of_fakes(op, layout, device):
    for image in images_of(op):
        tensors = op.make(image, device=device, layout=layout)
        expected = forms(tuple(op.results(op.ours, tensors)))
        meta = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta") for t in tensors]
        assert forms(tuple(op.results(op.ours, meta))) == expected


@every_op
def test_a_call_makes_the_op_it_should_and_leaves_its_arguments_alone(op, device):
    tensors = op.make(device=device)
    kept = [t.clone() for t in tensors]
    result, names = dispatched_ops(op.ours, *tensors)
    assert f"upsample_ext::{op.dispatches}" in names
    for t in as_tuple(result):
        t.zero_()
    assert_equal(tuple(tensors), tuple(kept))


# ---- derivatives -----------------------------------------------------------------------------------------


@differentiable
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradcheck(op, layout, device):
    tensors = op.make((2, 3, 2, 3), torch.float64, device, layout)
    function, leaves = op.of_leaves(op.ours, [t.detach() for t in tensors])
    leaves = tuple(t.requires_grad_() for t in leaves)
    assert gradcheck(
        function,
        leaves,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        check_undefined_grad=True,
    )
    assert gradgradcheck(function, leaves, check_fwd_over_rev=True, check_batched_grad=True)


@nested_vmap_rules
@differentiable
def test_functional_derivatives(op, device):
    tensors = op.make((1, 3, 3, 3), torch.float64, device)
    _, leaves = op.of_leaves(op.ours, tensors)
    tangents, every = tuple(torch.randn_like(t) for t in leaves), tuple(range(len(leaves)))

    def cubes(f):
        return lambda *t: f(*t).pow(3).sum()

    transforms = {
        "grad": lambda f: torch.func.grad(cubes(f), every)(*leaves),
        "vjp": lambda f: torch.func.vjp(f, *leaves)[1](f(*tangents)),
        "jvp": lambda f: torch.func.jvp(f, leaves, tangents),
        "jacrev": lambda f: torch.func.jacrev(f, every)(*leaves),
        "jacfwd": lambda f: torch.func.jacfwd(f, every)(*leaves),
        "hessian": lambda f: torch.func.hessian(cubes(f), every)(*leaves),
        "rev over rev": lambda f: torch.func.jacrev(torch.func.jacrev(cubes(f), every), every)(*leaves),
        "rev over fwd": lambda f: torch.func.jacrev(torch.func.jacfwd(cubes(f), every), every)(*leaves),
        "grad of grad": lambda f: torch.func.grad(
            lambda *t: sum(g.pow(2).sum() for g in torch.func.grad(cubes(f), every)(*t)), every
        )(*leaves),
        "third": lambda f: torch.func.grad(
            lambda *t: torch.func.grad(lambda *u: torch.func.grad(cubes(f))(*u).pow(2).sum())(*t).pow(2).sum()
        )(*leaves),
        "linearize": lambda f: torch.func.linearize(f, *leaves)[1](*tangents),
    }
    ours, native = (op.of_leaves(f, tensors)[0] for f in (op.ours, op.native))
    for name, transform in transforms.items():
        torch.testing.assert_close(
            transform(ours), transform(native), msg=lambda m, name=name: f"{name}: {m}"
        )


@differentiable
def test_derivatives_of_some_of_the_tensors(op, device):
    """Gradients and dual numbers where only these tensors have them, and no graph where none has."""
    tensors = op.make(dtype=torch.float64, device=device)
    assert op.ours(*tensors).grad_fn is None
    for count in range(1, len(op.differentiable) + 1):
        for wanted in itertools.combinations(op.differentiable, count):
            leaves = [t.detach().requires_grad_() if i in wanted else t for i, t in enumerate(tensors)]
            with torch.no_grad():
                assert not op.ours(*leaves).requires_grad
            found, expected = (
                torch.autograd.grad(f(*leaves).square().sum(), [leaves[i] for i in wanted])
                for f in (op.ours, op.native)
            )
            torch.testing.assert_close(found, expected)
            with forward_ad.dual_level():
                duals = [
                    forward_ad.make_dual(t, t.sin()) if i in wanted else t for i, t in enumerate(tensors)
                ]
                found, expected = (forward_ad.unpack_dual(f(*duals)).tangent for f in (op.ours, op.native))
            torch.testing.assert_close(found, expected)


@of_rows(NOT_DIFFERENTIABLE)
def test_results_without_a_gradient(op, device):
    (x,) = op.make(device=device)
    expected = op.ours(x)
    for result in as_tuple(op.ours(x.clone().requires_grad_())):
        assert not result.requires_grad and result.grad_fn is None
    with forward_ad.dual_level():
        assert_equal(op.ours(forward_ad.make_dual(x, torch.ones_like(x))), expected)
    # A constant with respect to differentiation.
    constant = as_tuple(expected)[-1]
    gradient = torch.func.grad(lambda t: (as_tuple(op.ours(t))[-1] * t.sum()).sum())(x)
    assert torch.equal(gradient, torch.func.grad(lambda t: (constant * t.sum()).sum())(x))


# ---- vmap ------------------------------------------------------------------------------------------------


def mapped(op, in_dims, device, count=3, dtype=torch.float64):
    """Tensors with a mapped dimension, where they have one, and the same as a list of calls."""
    batches = [op.make(dtype=dtype, device=device) for _ in range(count)]
    stacked = [
        batches[0][i] if dim is None else torch.stack([batch[i] for batch in batches], dim)
        for i, dim in enumerate(in_dims)
    ]
    one_by_one = [
        [batches[0][i] if dim is None else batch[i] for i, dim in enumerate(in_dims)] for batch in batches
    ]
    return stacked, one_by_one


def in_dims_of(op):
    """Every dimension of the first tensor, each other tensor, every two and all of them."""
    dims = [len(shape) for shape in op.shapes(2, 3, 4, 6)]
    alone = [[dim if j == i else None for j in range(len(dims))] for i, dim in enumerate(dims)]
    first = [[dim, *[None] * (len(dims) - 1)] for dim in range(-dims[0] - 1, dims[0] + 1)]
    pairs = [
        [min(i + 1, dim) if i in pair else None for i, dim in enumerate(dims)]
        for pair in itertools.combinations(range(len(dims)), 2)
    ]
    together = [[0] * len(dims), [min(i + 1, dim) for i, dim in enumerate(dims)]]
    return [tuple(d) for d in (*alone[1:], *first, *pairs, *together)]


@nested_vmap_rules
@every_op
def test_vmap_over_any_dimension(op, device):
    for in_dims, out_dim in zip(in_dims_of(op), itertools.cycle((0, 2, -1)), strict=False):
        stacked, one_by_one = mapped(op, in_dims, device)
        out_dim = out_dim if as_tuple(op.ours(*one_by_one[0]))[0].dim() > 1 else 0
        result, names = dispatched_ops(torch.vmap(op.ours, in_dims, out_dim), *stacked)
        assert f"upsample_ext::{op.dispatches}" in names
        expected = zip(*(as_tuple(op.native(*tensors)) for tensors in one_by_one), strict=True)
        for a, parts in zip(as_tuple(result), expected, strict=True):
            torch.testing.assert_close(a, torch.stack(parts, out_dim))


@nested_vmap_rules
@every_op
def test_nested_vmap(op, device):
    batches = [[op.make(device=device) for _ in range(3)] for _ in range(2)]
    stacked = [
        torch.stack([torch.stack([item[i] for item in batch]) for batch in batches])
        for i in range(len(batches[0][0]))
    ]
    inner = [1] * len(stacked), [0] * len(stacked)
    result = torch.vmap(torch.vmap(op.ours, tuple(inner[1])), tuple(inner[0]))(*stacked)
    expected = [[as_tuple(op.native(*batches[i][j])) for i in range(2)] for j in range(3)]
    for k, part in enumerate(as_tuple(result)):
        torch.testing.assert_close(
            part, torch.stack([torch.stack([item[k] for item in batch]) for batch in expected])
        )


@every_op
def test_vmap_over_nothing_and_over_one(op, device):
    for count in (0, 1):
        tensors = [t.new_zeros(count, *t.shape) if count == 0 else t[None] for t in op.make(device=device)]
        expected = as_tuple(op.ours(*op.make(device=device)))
        for result, one in zip(as_tuple(torch.vmap(op.ours)(*tensors)), expected, strict=True):
            assert result.shape == (count, *one.shape) and result.dtype == one.dtype


@nested_vmap_rules
@differentiable
def test_per_sample_gradients(op, device):
    """vmap over the gradient, hence over the ops that backward calls."""
    stacked, _ = mapped(op, [0] * len(op.shapes(2, 3, 4, 6)), device)

    def per_sample(function):
        def loss(*tensors):
            return function(*tensors).pow(3).sum()

        return torch.vmap(torch.func.grad(loss, op.differentiable))(*stacked)

    torch.testing.assert_close(per_sample(op.ours), per_sample(op.native))


# ---- compile, export, trace ------------------------------------------------------------------------------

SIZES = [(2, 3, 4, 6), (5, 3, 5, 9), (4, 3, 12, 7), (2, 3, 3, 33), (3, 3, 20, 4)]


@pytest.mark.parametrize(
    ("op", "layout"),
    [
        pytest.param(op, layout, id=f"{name}-{layout}")
        for name, op in ROWS.items()
        for layout in ("contiguous", "channels_last", *(["sliced"] if name in FIRST else []))
    ],
)
def test_compiled_whole_graph(op, layout, device, fresh_compiler):
    compiled = torch.compile(op.ours, fullgraph=True, backend="aot_eager", dynamic=False)
    tensors = op.make(device=device, layout=layout, others="transposed" if layout == "sliced" else None)
    found, expected = op.results(compiled, tensors), op.results(op.ours, tensors)
    assert torch.equal(found[0], expected[0])
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.dtype == b.dtype
        if op.differentiable and i > 0 and not COMPILED_GRADIENTS_KEEP_STRIDES:
            torch.testing.assert_close(a, b)
            continue
        assert_same_sums(a, b)
        assert a.stride() == b.stride()


@pytest.mark.parametrize(
    ("op", "training"),
    [pytest.param(op, True, id=f"{name}, training") for name, op in DIFFERENTIABLE.items()]
    + [
        pytest.param(op, False, id=name)
        for name, op in ROWS.items()
        if name in FIRST or not op.differentiable
    ],
)
def test_one_graph_of_our_op_serves_every_size(op, training, device, fresh_compiler):
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(op.ours, fullgraph=True, dynamic=True, backend=counter)
    frames = []
    for image in SIZES:
        tensors = op.make(image, device=device)
        if training:
            found, expected = op.results(compiled, tensors), op.results(op.ours, tensors)
        else:
            found, expected = as_tuple(compiled(*tensors)), as_tuple(op.ours(*tensors))
        assert torch.equal(found[0], expected[0])
        for a, b in zip(found, expected, strict=True):
            assert_same_sums(a, b)
        frames.append(counter.frame_count)
    # A float out of a closure is first tried as an input, then as a constant: two frames in one compilation.
    assert frames[0] <= 2 and frames == frames[:1] * len(SIZES)
    assert any("upsample_ext" in str(node.target) for node in counter.graphs[-1].graph.nodes)


@of_rows({name: op for name, op in DIFFERENTIABLE.items() if name in FIRST or "entropy" in name})
def test_compiled_autograd(op, device, fresh_compiler):
    """Backward, captured as a graph of its own, with changing sizes."""
    for image in ((2, 3, 4, 6), (2, 3, 7, 5)):
        tensors = op.make(image, device=device)
        leaves = [t.requires_grad_() if i in op.differentiable else t for i, t in enumerate(tensors)]
        output = op.ours(*leaves)
        weight = torch.randn_like(output)
        with enable_compiled_autograd(torch.compile(backend="aot_eager", fullgraph=True)):
            (output * weight).sum().backward(retain_graph=True)
        captured = [leaves[i].grad for i in op.differentiable]
        expected = torch.autograd.grad((output * weight).sum(), [leaves[i] for i in op.differentiable])
        assert_equal(tuple(captured), expected)


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *tensors):
        return self.function(*tensors)


def check_exported(op, program, inputs):
    assert any("upsample_ext" in str(node.target) for node in program.graph.nodes)
    for tensors in inputs:
        assert_equal(program.module()(*tensors), op.ours(*tensors))


@every_op
def test_export(op):
    tensors = op.make()
    program = torch.export.export(Module(op.ours), tuple(tensors))
    check_exported(op, program, [op.make()])


@of_rows({name: op for name, op in ROWS.items() if op.shapes(2, 3, 4, 6)[1:] == op.shapes(2, 3, 5, 7)[1:]})
def test_export_of_any_size(op):
    """Of ops of one image; the sizes of several depend on each other in ways of the row's own."""
    dims = {2: torch.export.Dim("height", min=3, max=999), 3: torch.export.Dim("width", min=3, max=999)}
    tensors = op.make((2, 3, 5, 6))
    dynamic = {"tensors": (dims, *[{} for _ in tensors[1:]])}
    program = torch.export.export(Module(op.ours), tuple(tensors), dynamic_shapes=dynamic)
    check_exported(op, program, [op.make((2, *size[1:])) for size in SIZES])


@every_op
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_trace(op, device):
    tensors = op.make(device=device)
    traced = torch.jit.trace(op.ours, tuple(tensors))
    assert f"upsample_ext::{op.dispatches}" in str(traced.graph)
    for image in SIZES if op.shapes(2, 3, 4, 6)[0] == (2, 3, 4, 6) else [(2, 3, 4, 6)]:
        other = op.make(image, device=device)
        assert_equal(traced(*other), op.ours(*other))


@pytest.mark.slow
def test_inductor(fresh_compiler):
    """One program of every op, so that the C++ that inductor writes is compiled once."""

    def program(side):
        def run(*tensors):
            results, tensors = [], list(tensors)
            for op in FIRST.values():
                mine = [tensors.pop(0) for _ in op.shapes(2, 3, 4, 6)]
                mine = [t.relu() * 2 if t.is_floating_point() else t for t in mine]
                results += [t * 3 for t in as_tuple(getattr(op, side)(*mine))]
            return results

        return run

    def results(function):
        torch.manual_seed(0)
        leaves = [
            t.requires_grad_(i in op.differentiable)
            for op in FIRST.values()
            for i, t in enumerate(op.make((2, 3, 4, 6)))
        ]
        outputs = function(*leaves)
        sum((t.float() * (torch.arange(t.numel()).view_as(t) % 7)).sum() for t in outputs).backward()
        return [t.detach() for t in outputs], [t.grad for t in leaves if t.requires_grad]

    found = results(torch.compile(program("ours"), fullgraph=True))
    for a, b in zip(found, results(program("native")), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)
    assert_equal(tuple(found[0]), tuple(results(program("ours"))[0]))


@pytest.mark.filterwarnings("ignore:.*opcheck")
@every_op
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_opcheck_of_every_call_of_ours(op, layout, device):
    """Every op of the dispatcher that the row and its backward call, with the arguments that they give it."""
    images = [image for image in images_of(op) if image in ((2, 3, 4, 6), (1, 3, 1, 4), (1, 1, 4, 6))]
    image = images[["contiguous", "channels_last", "sliced"].index(layout) % len(images)]
    tensors = op.make(image, torch.float64, device, layout, "transposed" if layout == "sliced" else None)
    with RecordedCalls() as calls:
        op.results(op.ours, tensors)
    assert f"upsample_ext::{op.dispatches}" in {func.name() for func, _, _ in calls} or op.differentiable
    assert calls
    for func, args, kwargs in calls:
        torch.library.opcheck(func, args, kwargs)
        if layout == "contiguous":
            torch.library.opcheck(func, without_gradients(args), kwargs)


def without_gradients(arguments):
    return torch.utils._pytree.tree_map_only(torch.Tensor, torch.Tensor.detach, arguments)


# ---- subclasses, modes, autocast ---------------------------------------------------------------------------


class Logged(torch.Tensor):
    seen = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.seen.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


@every_op
def test_a_subclass_among_the_tensors_sees_our_function(op):
    tensors = op.make()
    expected = op.ours(*tensors)
    for i, one in enumerate(tensors):
        Logged.seen.clear()
        result = as_tuple(op.ours(*tensors[:i], one.as_subclass(Logged), *tensors[i + 1 :]))
        assert (op.seen_as or op.function) in Logged.seen
        assert all(isinstance(t, Logged) for t in result)
        assert_equal(tuple(t.as_subclass(torch.Tensor) for t in result), as_tuple(expected))


@every_op
def test_a_torch_function_mode_sees_our_function(op):
    class Mode(TorchFunctionMode):
        seen = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.seen.append(func)
            return func(*args, **(kwargs or {}))

    tensors = op.make()
    with Mode() as mode:
        result = op.ours(*tensors)
    assert (op.seen_as or op.function) in mode.seen
    assert_equal(result, op.ours(*tensors))


@first_of_every_op
@pytest.mark.parametrize("low", HALVES)
def test_autocast_gives_the_dtypes_it_gives_natively(op, low, device):
    """Whatever dtypes meet; what raises natively raises here."""
    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.uint8)
    for dtypes in itertools.product(kinds, repeat=len(op.floating)):
        tensors = [t.abs() for t in op.make((1, 3, 3, 4), device=device)]
        for i, dtype in zip(op.floating, dtypes, strict=True):
            tensors[i] = tensors[i].to(dtype)
            if i in op.differentiable and dtype.is_floating_point:
                tensors[i].requires_grad_()
        with torch.autocast(device, dtype=low):
            try:
                expected = op.native(*tensors)
            except RuntimeError:
                with pytest.raises(RuntimeError):
                    op.ours(*tensors)
                continue
            result = op.ours(*tensors)
            assert forms(result) == forms(expected), dtypes
        leaves = [t for t in tensors if t.requires_grad]
        if leaves:
            grads = torch.autograd.grad(result.sum(), leaves)
            assert [g.dtype for g in grads] == [t.dtype for t in leaves]


# ---- threads, instruction-set levels -----------------------------------------------------------------------


@every_op
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_same_bits_for_any_number_of_threads(op, layout, dtype, threads):
    image = (2, 19, 30, 40) if op.shapes(2, 19, 1, 1)[0] == (2, 19, 1, 1) else (13, 3, 30, 40)
    tensors = op.make(image, dtype, layout=layout)
    expected = None
    for count in (1, 2, 3, 7):
        threads(count)
        results = tuple(op.results(op.ours, tensors))
        assert_equal(results, expected or results)
        expected = results


# How far results may be apart, relative to the largest: rounding of the result.
LEVELS_AGREE_TO = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


@every_op
@pytest.mark.parametrize("dtype", [*DTYPES, torch.uint8])
def test_all_levels_agree_to_rounding(op, dtype):
    """No level is more than rounding away from the portable one, whatever a vector's width leaves over."""
    if dtype == torch.uint8 and not op.bytes:
        pytest.skip("takes no bytes, or converts them")
    before = C.level()
    try:
        for (height, width), layout in itertools.product(
            ((5, 7), (1, 33), (16, 129)), ("contiguous", "channels_last")
        ):
            tensors = op.make((2, 3, height, width), dtype, layout=layout)
            results = []
            for level in C.levels():
                C.set_level(level)
                results.append(
                    as_tuple(op.ours(*tensors)) if dtype == torch.uint8 else op.results(op.ours, tensors)
                )
            for other in results[1:]:
                for a, b in zip(other, results[0], strict=True):
                    check_agreement(a, b)
    finally:
        C.set_level(before)


def check_agreement(a, b):
    if a.dtype == torch.uint8:
        assert (a.int() - b.int()).abs().max() <= 1
    elif not a.is_floating_point():
        # Of classes, or sides of a threshold, that are equal to rounding. (The files of these ops hold every
        # level to its own resize, bit for bit.)
        assert (a != b).double().mean() <= 0.02
    else:
        # A gradient is a sum over up to a whole row or image, the largest value its largest term at least.
        limit = LEVELS_AGREE_TO[a.dtype] * b.abs().max().clamp(min=1)
        assert (a.double() - b.double()).abs().max() <= limit
