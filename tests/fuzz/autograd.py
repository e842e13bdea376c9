"""What PyTorch can do to a differentiable function, tried on every op of ours and on its native expression.

A table of experiments times a table of ops. Both sides must raise the same type of exception, or give the
same values. To add an experiment, write a function (function, inputs) -> tensors and decorate it; to add an
op, write a row of OPS.
"""

import contextlib
import dataclasses
import threading
import warnings
from collections.abc import Callable

import torch
import torch.autograd.forward_ad as fwAD
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.checkpoint import checkpoint as run_checkpointed

import upsample_ext

from .draw import Draw, Finding, Verdict
from .targets import TARGETS

OURS = torch.ops.upsample_ext


@dataclasses.dataclass
class Op:
    ours: Callable
    native: Callable
    shapes: list[tuple[int, ...]]

    def inputs(self) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(0)
        return tuple(torch.randn(shape, dtype=torch.float64) for shape in self.shapes)


def _public(name: str, shapes, **options) -> Op:
    """A public function of tensors alone, its other arguments fixed."""
    target = TARGETS[name]
    return Op(
        lambda *tensors: target.ours(*tensors, **options),
        lambda *tensors: target.native(F, *tensors, **options),
        shapes,
    )


def _cross_entropy(**options) -> Op:
    classes = torch.arange(2 * 6 * 5).reshape(2, 6, 5) % 3
    target = TARGETS["upsample_cross_entropy"]
    return Op(
        lambda x: target.ours(x, classes.clone(), **options),
        lambda x: target.native(F, x, classes.clone(), **options),
        [(2, 3, 4, 3)],
    )


def _concat() -> Op:
    target = TARGETS["upsample_concat"]
    return Op(
        lambda *tensors: target.ours(list(tensors), (5, 6)),
        lambda *tensors: target.native(F, list(tensors), (5, 6)),
        [(2, 1, 3, 4), (2, 2, 4, 2), (2, 1, 5, 6)],
    )


def _fixed(pair: bool, **options) -> Op:
    kernels = (
        torch.tensor([0.25, 0.75, 0.5], dtype=torch.float64),
        torch.tensor([1.0, 0.5], dtype=torch.float64),
    )
    kernel = kernels if pair else torch.outer(*kernels)
    target = TARGETS["fixed_conv_transpose2d"]
    return Op(
        lambda x: target.ours(x, kernel, stride=2, **options),
        lambda x: target.native(F, x, kernel, stride=2, **options),
        [(2, 2, 3, 4)],
    )


IMAGE = [(2, 2, 3, 4)]
TWO = [2, 2]
LINE = torch.tensor([0.25, 0.75, 0.75, 0.25], dtype=torch.float64)

OPS: dict[str, Op] = {
    "interpolate": _public("interpolate", IMAGE, size=(6, 5), mode="bilinear"),
    "interpolate by scale_factor": _public("interpolate", IMAGE, scale_factor=1.7, mode="bilinear"),
    "interpolate to the same size": _public("interpolate", IMAGE, size=(3, 4), mode="bilinear"),
    "conv_transpose2d": Op(
        lambda x, w, b: upsample_ext.conv_transpose2d(x, w, b, stride=2, padding=1, groups=2),
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, groups=2),
        [(2, 2, 3, 4), (2, 1, 4, 3), (2,)],
    ),
    "fixed_conv_transpose2d of a pair": _fixed(True),
    "fixed_conv_transpose2d of a pair, replicate": _fixed(True, padding_mode="replicate"),
    "fixed_conv_transpose2d of an image": _fixed(False),
    "bilinear_conv_transpose2d": _public("bilinear_conv_transpose2d", IMAGE, factor=2),
    "bilinear_conv_transpose2d, replicate": _public(
        "bilinear_conv_transpose2d", IMAGE, factor=2, padding_mode="replicate"
    ),
    "upsample_argmax": _public("upsample_argmax", IMAGE, size=(6, 5)),
    "upsample_threshold": _public("upsample_threshold", IMAGE, size=(6, 5)),
    "upsample_cross_entropy": _cross_entropy(),
    "upsample_cross_entropy, sum": _cross_entropy(reduction="sum", label_smoothing=0.2),
    "upsample_cross_entropy, none": _cross_entropy(reduction="none"),
    "upsample_add": _public("upsample_add", [(2, 2, 3, 4), (2, 2, 6, 5)]),
    "upsample_concat": _concat(),
    # The ops that backward calls, which may be called and differentiated themselves.
    "upsample_bilinear2d_backward": Op(
        lambda g: OURS.upsample_bilinear2d_backward(g, [3, 4], False, None, None),
        lambda g: torch.ops.aten.upsample_bilinear2d_backward(g, [6, 5], [*g.shape[:2], 3, 4], False),
        [(2, 2, 6, 5)],
    ),
    "separable_conv_transpose2d_backward": Op(
        lambda g: OURS.separable_conv_transpose2d_backward(g, LINE, LINE, [3, 4], TWO, [1, 1], [1, 1], False),
        lambda g: F.conv2d(g, torch.outer(LINE, LINE).to(g.dtype).expand(2, 1, 4, 4), None, 2, 1, 1, 2),
        [(2, 2, 6, 8)],
    ),
    "depthwise_conv_transpose2d_backward_input": Op(
        lambda g, w: OURS.depthwise_conv_transpose2d_backward_input(g, w, [3, 4], TWO, [1, 1], [1, 1], False),
        lambda g, w: F.conv2d(g, w, None, 2, 1, 1, 2),
        [(2, 2, 6, 8), (2, 1, 4, 4)],
    ),
    "depthwise_conv_transpose2d_backward_weight": Op(
        lambda g, x: OURS.depthwise_conv_transpose2d_backward_weight(
            g, x, [4, 4], TWO, [1, 1], [1, 1], False
        ),
        lambda g, x: torch.ops.aten.convolution_backward(
            g, x, x.new_empty(2, 1, 4, 4), None, TWO, [1, 1], [1, 1], True, [0, 0], 2, (False, True, False)
        )[1],
        [(2, 2, 6, 8), (2, 2, 3, 4)],
    ),
    "channel_sum": Op(OURS.channel_sum, lambda x: x.sum((0, 2, 3)), IMAGE),
}

EXPERIMENTS: dict[str, Callable] = {}
# What native keeps of a forward is its own affair: only that nothing but an exception comes is compared.
UNCOMPARED: set[str] = set()
# An experiment that gives what is right too, where native raises or is wrong.
ALSO_RIGHT: dict[str, Callable] = {}


def experiment(function, also_right=None):
    EXPERIMENTS[function.__name__] = function
    if also_right is not None:
        ALSO_RIGHT[function.__name__] = also_right
    return function


def or_as(also_right):
    return lambda function: experiment(function, also_right)


def uncompared(function):
    UNCOMPARED.add(function.__name__)
    return experiment(function)


def _leaves(inputs):
    return [x.clone().requires_grad_() for x in inputs]


def _loss(output):
    return output.pow(2).sum()


def _grads(tensors):
    return [t.grad for t in tensors]


# ---- reverse mode ------------------------------------------------------------------------------------------


@experiment
def backward(function, inputs):
    leaves = _leaves(inputs)
    _loss(function(*leaves)).backward()
    return _grads(leaves)


@experiment
def backward_twice_with_retain_graph(function, inputs):
    leaves = _leaves(inputs)
    loss = _loss(function(*leaves))
    loss.backward(retain_graph=True)
    loss.backward()
    return _grads(leaves)


@experiment
def backward_twice_without_retain_graph(function, inputs):
    leaves = _leaves(inputs)
    output = function(*leaves)
    output.backward(torch.ones_like(output))
    output.backward(torch.ones_like(output))
    return _grads(leaves)


@experiment
def gradient_to_one_input_at_a_time(function, inputs):
    results = []
    for i in range(len(inputs)):
        mixed = [x.clone().requires_grad_(i == j) for j, x in enumerate(inputs)]
        results += torch.autograd.grad(_loss(function(*mixed)), mixed[i])
    return results


@experiment
def double_backward(function, inputs):
    leaves = _leaves(inputs)
    first = torch.autograd.grad(function(*leaves).pow(3).sum(), leaves, create_graph=True)
    return torch.autograd.grad(sum(map(_loss, first)), leaves, allow_unused=True)


@experiment
def triple_backward(function, inputs):
    leaves = _leaves(inputs)
    first = torch.autograd.grad(function(*leaves).pow(4).sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(map(_loss, first)), leaves, create_graph=True)
    return torch.autograd.grad(sum(map(_loss, second)), leaves, allow_unused=True)


@experiment
def gradient_of_gradient_to_grad_output(function, inputs):
    leaves = _leaves(inputs)
    output = function(*leaves)
    grad_output = torch.ones_like(output).requires_grad_()
    first = torch.autograd.grad(output, leaves, grad_output, create_graph=True)
    return torch.autograd.grad(sum(map(_loss, first)), grad_output)


@experiment
def batched_gradient(function, inputs):
    leaves = _leaves(inputs)
    output = function(*leaves)
    batch = torch.stack([torch.ones_like(output), output.detach()])
    return torch.autograd.grad(output, leaves, batch, is_grads_batched=True)


@experiment
def scaled_loss(function, inputs):
    leaves = _leaves(inputs)
    (_loss(function(*leaves)) * 0.5).backward(retain_graph=True)
    (function(*leaves).sum() * 2.0**16).backward()
    return _grads(leaves)


@experiment
def zero_loss(function, inputs):
    leaves = _leaves(inputs)
    (function(*leaves).sum() * 0).backward()
    return _grads(leaves)


@experiment
def expanded_gradient(function, inputs):
    leaves = _leaves(inputs)
    function(*leaves).sum().backward()
    return _grads(leaves)


@experiment
def backward_in_another_thread(function, inputs):
    leaves = _leaves(inputs)
    loss, raised = _loss(function(*leaves)), []

    def run():
        try:
            loss.backward()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return _grads(leaves)


@experiment
def non_leaf_inputs(function, inputs):
    leaves = _leaves(inputs)
    derived = [x * 2 for x in leaves]
    for x in derived:
        x.retain_grad()
    _loss(function(*derived)).backward()
    return _grads(leaves), _grads(derived)


@experiment
def views_as_inputs(function, inputs):
    bases = [torch.stack([x, x * 2], -1).requires_grad_() for x in inputs]
    _loss(function(*(base[..., 1] for base in bases))).backward()
    return _grads(bases)


@experiment
def expanded_inputs(function, inputs):
    leaves = [x[..., :1].clone().requires_grad_() for x in inputs]
    _loss(function(*(x.expand(full.shape) for x, full in zip(leaves, inputs, strict=True)))).backward()
    return _grads(leaves)


@experiment
def the_same_input_twice(function, inputs):
    leaves = _leaves(inputs)
    (_loss(function(*leaves)) + function(*leaves).sum()).backward()
    return _grads(leaves)


@experiment
def parameters(function, inputs):
    leaves = [torch.nn.Parameter(x.clone()) for x in inputs]
    _loss(function(*leaves)).backward()
    return _grads(leaves)


@experiment
def inference_tensors_as_inputs(function, inputs):
    with torch.inference_mode():
        made_there = [x.clone() for x in inputs]
    leaves = _leaves(inputs)
    mixed = made_there[:1] + leaves[1:]
    output = function(*mixed)
    if output.requires_grad:
        _loss(output).backward()
    return output.detach(), _grads(leaves)


@experiment
def called_in_no_grad(function, inputs):
    with torch.no_grad():
        output = function(*_leaves(inputs))
    return output, torch.tensor(output.requires_grad)


@experiment
def called_in_inference_mode(function, inputs):
    with torch.inference_mode():
        output = function(*_leaves(inputs))
    return output.clone(), torch.tensor(output.is_inference())


@experiment
def float32_inputs(function, inputs):
    leaves = [x.float().requires_grad_() for x in inputs]
    _loss(function(*leaves)).backward()
    return _grads(leaves)


# ---- in-place changes --------------------------------------------------------------------------------------


def _unchanged(function, inputs):
    """The gradients where nobody interferes: who does not need the inputs in backward may give them."""
    leaves = _leaves(inputs)
    output = function(*leaves)
    output.backward(torch.full_like(output, 0.5))
    return _grads(leaves)


@or_as(_unchanged)
def input_changed_after_forward(function, inputs):
    leaves = _leaves(inputs)
    derived = [x * 1 for x in leaves]
    output = function(*derived)
    for x in derived:
        x.mul_(2)
    output.backward(torch.full_like(output, 0.5))
    return _grads(leaves)


@or_as(_unchanged)
def input_changed_after_forward_and_gradient_of_one(function, inputs):
    leaves = _leaves(inputs)
    derived = [x * 1 for x in leaves]
    output = function(*derived)
    for x in derived:
        x.add_(2)
    (output.sum() * 0.5).backward()
    return _grads(leaves)


@or_as(lambda function, inputs: [2 * grad for grad in _unchanged(function, inputs)])
def input_changed_between_two_backwards(function, inputs):
    leaves = _leaves(inputs)
    derived = [x * 1 for x in leaves]
    output = function(*derived)
    (output.sum() * 0.5).backward(retain_graph=True)
    derived[0].add_(1)
    (output.sum() * 0.5).backward()
    return _grads(leaves)


@or_as(_unchanged)
def base_of_input_changed_after_forward(function, inputs):
    leaves = _leaves(inputs)
    bases = [torch.stack([x, x.detach()], -1) for x in leaves]
    views = [base[..., 0] for base in bases]
    output = function(*views)
    for base in bases:
        with torch.no_grad():
            base.zero_()
    output.backward(torch.full_like(output, 0.5))
    return _grads(leaves)


@experiment
def output_changed_after_forward(function, inputs):
    leaves = _leaves(inputs)
    output = function(*leaves)
    output.mul_(2)
    _loss(output).backward()
    return _grads(leaves)


@experiment
def input_changed_by_data_after_forward(function, inputs):
    leaves = _leaves(inputs)
    output = function(*leaves)
    for x in leaves:
        x.grad = torch.zeros_like(x)
    output.backward(torch.ones_like(output))
    with torch.no_grad():
        for x in leaves:
            x.sub_(x.grad)
    return leaves


@experiment
def mutation_allowed_on_saved_tensors(function, inputs):
    leaves = _leaves(inputs)
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        derived = [x * 1 for x in leaves]
        output = function(*derived)
        for x in derived:
            x.mul_(3)
        output.sum().backward()
    return _grads(leaves)


# ---- hooks -------------------------------------------------------------------------------------------------


@experiment
def tensor_hooks(function, inputs):
    leaves = _leaves(inputs)
    for x in leaves:
        x.register_hook(lambda grad: grad * 3)
    output = function(*leaves)
    output.register_hook(lambda grad: grad.neg())
    _loss(output).backward()
    return _grads(leaves)


@experiment
def hook_that_gives_another_layout(function, inputs):
    leaves = _leaves(inputs)
    output = function(*leaves)
    output.register_hook(lambda grad: grad.reshape(-1)[:1].expand(grad.numel()).view(grad.shape))
    _loss(output).backward()
    return _grads(leaves)


@experiment
def hook_that_gives_another_shape(function, inputs):
    leaves = _leaves(inputs)
    output = function(*leaves)
    output.register_hook(lambda grad: torch.ones(7, 7, 7))
    _loss(output).backward()
    return _grads(leaves)


@experiment
def hook_that_gives_float32(function, inputs):
    leaves = _leaves(inputs)
    output = function(*leaves)
    output.register_hook(lambda grad: grad.float())
    output.sum().backward()
    return _grads(leaves)


@experiment
def hook_that_raises(function, inputs):
    leaves = _leaves(inputs)
    output = function(*leaves)

    def hook(grad):
        raise KeyError("in a hook")

    output.register_hook(hook)
    output.sum().backward()
    return _grads(leaves)


@experiment
def node_hooks(function, inputs):
    leaves = _leaves(inputs)
    output = function(*leaves)
    output.grad_fn.register_prehook(lambda grads: tuple(grad if grad is None else grad * 2 for grad in grads))
    output.grad_fn.register_hook(lambda of_inputs, of_outputs: None)
    output.sum().backward()
    return _grads(leaves)


@experiment
def hooks_after_accumulation(function, inputs):
    leaves, seen = _leaves(inputs), []
    for x in leaves:
        x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.clone()))
    _loss(function(*leaves)).backward()
    return sorted((grad.sum() for grad in seen), key=float)


def _with_saved(pack, unpack, function, inputs):
    leaves = _leaves(inputs)
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        output = function(*leaves)
    _loss(output).backward()
    return _grads(leaves)


@experiment
def saved_tensors_offloaded(function, inputs):
    return _with_saved(lambda t: (t.detach().clone(), t.is_neg()), lambda packed: packed[0], function, inputs)


@experiment
def saved_tensors_on_cpu(function, inputs):
    leaves = _leaves(inputs)
    with torch.autograd.graph.save_on_cpu():
        output = function(*leaves)
    _loss(output).backward()
    return _grads(leaves)


@or_as(backward)
def saved_tensors_in_another_layout(function, inputs):
    return _with_saved(lambda t: t, lambda t: t.mT.contiguous().mT if t.dim() > 1 else t, function, inputs)


@uncompared
def saved_tensors_changed_by_a_hook(function, inputs):
    return _with_saved(lambda t: t, lambda t: t * 2, function, inputs)


@uncompared
def saved_tensors_unpacked_to_another_shape(function, inputs):
    return _with_saved(lambda t: t, lambda t: torch.ones(3, dtype=t.dtype), function, inputs)


@uncompared
def saved_tensors_unpacked_to_no_elements(function, inputs):
    return _with_saved(lambda t: t, lambda t: t.new_empty([0] * t.dim()), function, inputs)


@uncompared
def saved_tensors_unpacked_to_another_dtype(function, inputs):
    return _with_saved(
        lambda t: t, lambda t: t.half() if t.is_floating_point() else t.int(), function, inputs
    )


@uncompared
def saved_tensors_unpacked_to_none(function, inputs):
    return _with_saved(lambda t: t, lambda t: None, function, inputs)


@uncompared
def saved_tensors_unpacked_on_meta(function, inputs):
    return _with_saved(lambda t: t, lambda t: t.to("meta"), function, inputs)


@uncompared
def saved_tensors_hooks_that_raise(function, inputs):
    def unpack(_):
        raise KeyError("in a hook")

    return _with_saved(lambda t: t, unpack, function, inputs)


@experiment
def checkpoint(function, inputs):
    leaves = _leaves(inputs)
    _loss(run_checkpointed(function, *leaves, use_reentrant=False)).backward()
    return _grads(leaves)


@experiment
def reentrant_checkpoint(function, inputs):
    leaves = _leaves(inputs)
    _loss(run_checkpointed(function, *leaves, use_reentrant=True)).backward()
    return _grads(leaves)


@experiment
def anomaly_mode(function, inputs):
    leaves = _leaves(inputs)
    with torch.autograd.detect_anomaly():
        _loss(function(*leaves)).backward()
    return _grads(leaves)


@experiment
def anomaly_mode_with_nan(function, inputs):
    leaves = _leaves(inputs)
    with torch.autograd.detect_anomaly():
        output = function(*leaves)
        output.backward(torch.full_like(output, float("nan")))
    return _grads(leaves)


@experiment
def autograd_function_without_gradient(function, inputs):
    """A node after ours that gives no gradient at all."""

    class NoGradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return None

    leaves = _leaves(inputs)
    NoGradient.apply(function(*leaves)).sum().backward()
    return _grads(leaves)


# ---- forward mode ------------------------------------------------------------------------------------------


def _tangents(inputs):
    return tuple(torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view(x.shape) for x in inputs)


@experiment
def forward_mode(function, inputs):
    with fwAD.dual_level():
        duals = [fwAD.make_dual(x, t) for x, t in zip(inputs, _tangents(inputs), strict=True)]
        return tuple(fwAD.unpack_dual(function(*duals)))


@experiment
def forward_mode_of_one_input(function, inputs):
    results = []
    for i, tangent in enumerate(_tangents(inputs)):
        with fwAD.dual_level():
            duals = [fwAD.make_dual(x, tangent) if i == j else x for j, x in enumerate(inputs)]
            results.append(tuple(fwAD.unpack_dual(function(*duals))))
    return results


@experiment
def forward_mode_of_expanded_tangent(function, inputs):
    with fwAD.dual_level():
        duals = [fwAD.make_dual(x, torch.ones((), dtype=x.dtype).expand(x.shape)) for x in inputs]
        return tuple(fwAD.unpack_dual(function(*duals)))


@experiment
def jvp(function, inputs):
    return torch.func.jvp(function, inputs, _tangents(inputs))


@experiment
def jvp_of_gradient(function, inputs):
    gradient = torch.func.grad(lambda *xs: function(*xs).pow(3).sum(), argnums=tuple(range(len(inputs))))
    return torch.func.jvp(gradient, inputs, _tangents(inputs))


@experiment
def gradient_of_jvp(function, inputs):
    def of(*xs):
        return _loss(torch.func.jvp(function, xs, _tangents(xs))[1])

    return torch.func.grad(of, argnums=tuple(range(len(inputs))))(*inputs)


@experiment
def jvp_of_jvp(function, inputs):
    return torch.func.jvp(
        lambda *xs: torch.func.jvp(lambda *ys: function(*ys).pow(2), xs, _tangents(xs))[1],
        inputs,
        _tangents(inputs),
    )


@experiment
def linearize(function, inputs):
    output, tangent_map = torch.func.linearize(function, *inputs)
    return output, tangent_map(*_tangents(inputs))


# ---- torch.func --------------------------------------------------------------------------------------------


def _every(inputs):
    return tuple(range(len(inputs)))


@experiment
def jacrev(function, inputs):
    return torch.func.jacrev(function, argnums=_every(inputs))(*inputs)


@experiment
def jacrev_in_chunks(function, inputs):
    return torch.func.jacrev(function, argnums=_every(inputs), chunk_size=7)(*inputs)


@experiment
def jacfwd(function, inputs):
    return torch.func.jacfwd(function, argnums=_every(inputs))(*inputs)


@experiment
def hessian(function, inputs):
    return torch.func.hessian(lambda *xs: function(*xs).pow(3).sum())(*inputs)


@experiment
def jacrev_of_jacrev(function, inputs):
    return torch.func.jacrev(torch.func.jacrev(lambda *xs: function(*xs).pow(3).sum()))(*inputs)


@experiment
def jacfwd_of_jacfwd(function, inputs):
    return torch.func.jacfwd(torch.func.jacfwd(lambda *xs: function(*xs).pow(3).sum()))(*inputs)


@experiment
def old_jacobian_and_hessian(function, inputs):
    def scalar(*xs):
        return function(*xs).pow(3).sum()

    first = torch.autograd.functional.jacobian(function, inputs, vectorize=True)
    return first, torch.autograd.functional.hessian(scalar, inputs)


@experiment
def hessian_vector_products(function, inputs):
    def scalar(*xs):
        return function(*xs).pow(3).sum()

    vectors = _tangents(inputs)
    return [
        torch.autograd.functional.hvp(scalar, inputs, vectors),
        torch.autograd.functional.vhp(scalar, inputs, vectors),
        torch.autograd.functional.jvp(function, inputs, vectors),
    ]


def _stacked(inputs, count=3, dim=0):
    return tuple(torch.stack([x + i for i in range(count)], dim) for x in inputs)


@experiment
def vmap(function, inputs):
    return torch.vmap(function)(*_stacked(inputs))


@experiment
def vmap_over_the_last_dimension(function, inputs):
    return torch.vmap(function, in_dims=-1, out_dims=-1)(*_stacked(inputs, dim=-1))


@experiment
def vmap_of_the_first_input_alone(function, inputs):
    in_dims = (0, *(None for _ in inputs[1:]))
    return torch.vmap(function, in_dims=in_dims)(*_stacked(inputs[:1]), *inputs[1:])


@experiment
def vmap_of_all_but_the_first_input(function, inputs):
    in_dims = (None, *(0 for _ in inputs[1:]))
    return torch.vmap(function, in_dims=in_dims)(inputs[0], *_stacked(inputs[1:]))


@experiment
def vmap_over_expanded(function, inputs):
    return torch.vmap(function)(*(x.expand(3, *x.shape) for x in inputs))


def _none_of(run):
    """Of a map over three that over none: native's own has wrong shapes, or raises."""
    return lambda function, inputs: tree_map_only(torch.Tensor, lambda t: t[:0], run(function, inputs))


@or_as(_none_of(vmap))
def vmap_over_nothing(function, inputs):
    return torch.vmap(function)(*(x.new_empty(0, *x.shape) for x in inputs))


@experiment
def vmap_in_chunks(function, inputs):
    return torch.vmap(function, chunk_size=2)(*_stacked(inputs))


@experiment
def vmap_of_vmap(function, inputs):
    return torch.vmap(torch.vmap(function, in_dims=1), in_dims=2)(*(_stacked(_stacked(inputs, 2), 2, 2)))


@experiment
def vmap_of_gradient(function, inputs):
    gradient = torch.func.grad(lambda *xs: _loss(function(*xs)), argnums=_every(inputs))
    return torch.vmap(gradient)(*_stacked(inputs))


@or_as(_none_of(vmap_of_gradient))
def vmap_of_gradient_over_nothing(function, inputs):
    gradient = torch.func.grad(lambda *xs: _loss(function(*xs)), argnums=_every(inputs))
    return torch.vmap(gradient)(*(x.new_empty(0, *x.shape) for x in inputs))


@experiment
def gradient_of_vmap(function, inputs):
    mapped = torch.vmap(function)
    return torch.func.grad(lambda *xs: _loss(mapped(*xs)), argnums=_every(inputs))(*_stacked(inputs))


@experiment
def vmap_of_vjp(function, inputs):
    output, pullback = torch.func.vjp(function, *inputs)
    return torch.vmap(pullback)(torch.stack([torch.ones_like(output), output]))


@experiment
def vmap_of_jvp(function, inputs):
    def tangent(*tangents):
        return torch.func.jvp(function, inputs, tangents)[1]

    return torch.vmap(tangent)(*_stacked(_tangents(inputs)))


@experiment
def vmap_of_leaves(function, inputs):
    leaves = _leaves(_stacked(inputs))
    _loss(torch.vmap(function)(*leaves)).backward()
    return _grads(leaves)


@experiment
def double_backward_through_vmap(function, inputs):
    leaves = _leaves(_stacked(inputs))
    first = torch.autograd.grad(torch.vmap(function)(*leaves).pow(3).sum(), leaves, create_graph=True)
    return torch.autograd.grad(sum(map(_loss, first)), leaves, allow_unused=True)


@experiment
def functionalize(function, inputs):
    return torch.func.functionalize(function)(*inputs)


@experiment
def functionalize_of_gradient(function, inputs):
    gradient = torch.func.grad(lambda *xs: _loss(function(*xs)), argnums=_every(inputs))
    return torch.func.functionalize(gradient)(*inputs)


@experiment
def traced_by_make_fx(function, inputs):
    from torch.fx.experimental.proxy_tensor import make_fx

    gradient = torch.func.grad(lambda *xs: _loss(function(*xs)), argnums=_every(inputs))
    return make_fx(gradient)(*inputs)(*inputs)


@experiment
def compiled_backward(function, inputs):
    from torch_versions import enable_compiled_autograd

    leaves = _leaves(inputs)
    loss = _loss(function(*leaves))
    with enable_compiled_autograd(lambda graph: graph):
        loss.backward()
    return _grads(leaves)


# ---- PyTorch's own checks ----------------------------------------------------------------------------------


@experiment
def gradcheck(function, inputs):
    passed = torch.autograd.gradcheck(
        function,
        _leaves(inputs),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        fast_mode=True,
    )
    return torch.tensor(passed)


@experiment
def gradgradcheck(function, inputs):
    passed = torch.autograd.gradgradcheck(
        function, _leaves(inputs), check_fwd_over_rev=True, check_rev_over_rev=True, fast_mode=True
    )
    return torch.tensor(passed)


# ---- out= --------------------------------------------------------------------------------------------------

_SIZE = (6, 5)


def _out_by_ours(x, out):
    return upsample_ext.upsample_bilinear2d(x, _SIZE, out=out)


def _out_by_native(x, out):
    return torch._C._nn.upsample_bilinear2d(x, _SIZE, False, None, None, out=out)


OUT_OPS = {"upsample_bilinear2d, out=": Op(_out_by_ours, _out_by_native, [(2, 2, 3, 4), (2, 2, *_SIZE)])}
OUT_EXPERIMENTS: dict[str, Callable] = {}


def out_experiment(function):
    OUT_EXPERIMENTS[function.__name__] = function
    return function


@out_experiment
def out_is_returned(write, inputs):
    result = write(*inputs)
    return result, torch.tensor(result is inputs[1])


def _out_was_saved(write, inputs, mode):
    x, out = inputs
    weight = torch.ones_like(out, requires_grad=True)
    product = (out * weight).sum()
    with mode:
        write(x, out)
    product.backward()
    return weight.grad


@out_experiment
def out_that_backward_needs(write, inputs):
    return _out_was_saved(write, inputs, contextlib.nullcontext())


@out_experiment
def out_that_backward_needs_written_in_no_grad(write, inputs):
    return _out_was_saved(write, inputs, torch.no_grad())


@out_experiment
def out_that_backward_needs_written_in_inference_mode(write, inputs):
    return _out_was_saved(write, inputs, torch.inference_mode())


@out_experiment
def base_of_out_that_backward_needs(write, inputs):
    x, out = inputs
    base = torch.stack([out, out])
    weight = torch.ones_like(base, requires_grad=True)
    product = (base * weight).sum()
    write(x, base[0])
    product.backward()
    return weight.grad


@out_experiment
def version_of_out(write, inputs):
    x, out = inputs
    before = out._version
    write(x, out)
    return torch.tensor(out._version - before)


@out_experiment
def inference_tensor_as_out(write, inputs):
    with torch.inference_mode():
        out = inputs[1].clone()
    return write(inputs[0], out)


@out_experiment
def inference_tensor_as_input_with_out(write, inputs):
    with torch.inference_mode():
        x = inputs[0].clone()
    return write(x, inputs[1])


@out_experiment
def out_that_requires_grad(write, inputs):
    return write(inputs[0], inputs[1].requires_grad_())


@out_experiment
def out_that_requires_grad_in_no_grad(write, inputs):
    with torch.no_grad():
        return write(inputs[0], inputs[1].requires_grad_()).detach()


@out_experiment
def out_of_input_that_requires_grad(write, inputs):
    return write(inputs[0].requires_grad_(), inputs[1])


@out_experiment
def out_of_input_that_requires_grad_in_no_grad(write, inputs):
    with torch.no_grad():
        result = write(inputs[0].requires_grad_(), inputs[1])
    return result, torch.tensor(result.requires_grad)


@out_experiment
def out_with_negative_bit(write, inputs):
    x, out = inputs
    return write(x, torch._neg_view(out)), out


@out_experiment
def out_in_complex_memory(write, inputs):
    x, out = inputs
    memory = torch.zeros(out.shape, dtype=torch.complex128)
    write(x, memory.conj().imag)
    return memory


@out_experiment
def out_in_forward_mode(write, inputs):
    with fwAD.dual_level():
        dual = fwAD.make_dual(inputs[0], torch.ones_like(inputs[0]))
        return tuple(fwAD.unpack_dual(write(dual, inputs[1])))


@out_experiment
def dual_as_out(write, inputs):
    with fwAD.dual_level():
        dual = fwAD.make_dual(inputs[1], torch.ones_like(inputs[1]))
        return tuple(fwAD.unpack_dual(write(inputs[0], dual)))


@out_experiment
def out_under_functionalize(write, inputs):
    return torch.func.functionalize(lambda x: write(x, torch.empty(inputs[1].shape, dtype=x.dtype)))(
        inputs[0]
    )


@out_experiment
def out_under_functionalize_from_outside(write, inputs):
    return torch.func.functionalize(write)(*inputs), inputs[1]


@out_experiment
def out_under_vmap(write, inputs):
    return torch.vmap(write)(*_stacked(inputs))


@out_experiment
def out_under_grad(write, inputs):
    return torch.func.grad(lambda x: write(x, inputs[1]).sum())(inputs[0])


@out_experiment
def out_that_is_resized(write, inputs):
    x, _ = inputs
    out = x.new_empty(0)
    view = out.view(0)
    write(x, out)
    return out, view


@out_experiment
def out_of_one_element_for_all(write, inputs):
    return write(inputs[0], inputs[1][..., :1, :1].expand(inputs[1].shape))


@out_experiment
def out_of_another_dtype(write, inputs):
    return write(inputs[0], inputs[1].float())


# ---- judgement ---------------------------------------------------------------------------------------------


def names() -> list[str]:
    pairs = [(e, op) for e in EXPERIMENTS for op in OPS] + [
        (e, op) for e in OUT_EXPERIMENTS for op in OUT_OPS
    ]
    return [f"{experiment}: {op}" for experiment, op in pairs]


_PROGRAM = """\
from tests.fuzz.autograd import EXPERIMENTS, OPS, OUT_EXPERIMENTS, OUT_OPS

run, op = (EXPERIMENTS | OUT_EXPERIMENTS)[{experiment!r}], (OPS | OUT_OPS)[{op!r}]
for function in (op.native, op.ours):
    try:
        print(run(function, op.inputs()))
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}")
"""


def program(name: str, draw: Draw) -> str:
    experiment, _, op = name.partition(": ")
    return _PROGRAM.format(experiment=experiment, op=op)


def judge(name: str, draw: Draw, stage) -> Verdict:
    experiment, _, op_name = name.partition(": ")
    op = (OPS | OUT_OPS)[op_name]
    run = (EXPERIMENTS | OUT_EXPERIMENTS)[experiment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stage("native")
        native, native_error = _attempt(run, op.native, op.inputs())
        stage("ours")
        ours, error = _attempt(run, op.ours, op.inputs())
    stage("comparison")
    finding = None if experiment in UNCOMPARED else _difference(ours, error, native, native_error)
    if finding and error is None and experiment in ALSO_RIGHT:
        right = _attempt(ALSO_RIGHT[experiment], op.native, op.inputs())
        finding = _difference(ours, None, *right)
    if error is not None and ("INTERNAL ASSERT" in str(error) or isinstance(error, MemoryError)):
        finding = Finding("internal assert", _told(error))
    return Verdict("both raise" if error and native_error else "compared", [finding] if finding else [])


def _attempt(run, function, inputs):
    try:
        return tree_map_only(torch.Tensor, lambda t: t.detach().clone(), run(function, inputs)), None
    except Exception as error:
        return None, error


def _difference(ours, error, native, native_error) -> Finding | None:
    if native_error is None and error is not None:
        return Finding("refused", f"native works, ours {_told(error)}")
    if native_error is not None and error is None:
        return Finding("accepted", f"ours works, native {_told(native_error)}")
    if error is not None:
        if type(error) is type(native_error):
            return None
        return Finding("exception type", f"native {_told(native_error)}, ours {_told(error)}")
    for a, b in zip(tree_leaves(ours), tree_leaves(native), strict=True):
        if (a is None) != (b is None):
            return Finding("is None", f"native {b}, ours {a}")
        if a is None:
            continue
        try:
            close = {"rtol": 1e-4, "atol": 1e-4} if a.dtype == torch.float32 else {}
            torch.testing.assert_close(a, b, equal_nan=True, **close)
        except AssertionError as difference:
            return Finding("values", str(difference).replace("\n", " "))
    return None


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
