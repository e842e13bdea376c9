"""Hooks, checkpoints, and other code of the user's that runs in a backward."""

import torch
from torch.utils.checkpoint import checkpoint as run_checkpointed

from .experiments import as_leaves, experiment, grads_of, loss_of, or_as, uncompared
from .reverse_mode import backward


@experiment
def tensor_hooks(function, inputs):
    leaves = as_leaves(inputs)
    for x in leaves:
        x.register_hook(lambda grad: grad * 3)
    output = function(*leaves)
    output.register_hook(lambda grad: grad.neg())
    loss_of(output).backward()
    return grads_of(leaves)


@experiment
def hook_that_gives_another_layout(function, inputs):
    leaves = as_leaves(inputs)
    output = function(*leaves)
    output.register_hook(lambda grad: grad.reshape(-1)[:1].expand(grad.numel()).view(grad.shape))
    loss_of(output).backward()
    return grads_of(leaves)


@experiment
def hook_that_gives_another_shape(function, inputs):
    leaves = as_leaves(inputs)
    output = function(*leaves)
    output.register_hook(lambda grad: torch.ones(7, 7, 7))
    loss_of(output).backward()
    return grads_of(leaves)


@experiment
def hook_that_gives_float32(function, inputs):
    leaves = as_leaves(inputs)
    output = function(*leaves)
    output.register_hook(lambda grad: grad.float())
    output.sum().backward()
    return grads_of(leaves)


@experiment
def hook_that_raises(function, inputs):
    leaves = as_leaves(inputs)
    output = function(*leaves)

    def hook(grad):
        raise KeyError("in a hook")

    output.register_hook(hook)
    output.sum().backward()
    return grads_of(leaves)


@experiment
def node_hooks(function, inputs):
    leaves = as_leaves(inputs)
    output = function(*leaves)
    output.grad_fn.register_prehook(lambda grads: tuple(grad if grad is None else grad * 2 for grad in grads))
    output.grad_fn.register_hook(lambda of_inputs, of_outputs: None)
    output.sum().backward()
    return grads_of(leaves)


@experiment
def hooks_after_accumulation(function, inputs):
    leaves, seen = as_leaves(inputs), []
    for x in leaves:
        x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.clone()))
    loss_of(function(*leaves)).backward()
    return sorted((grad.sum() for grad in seen), key=float)


def _with_saved(pack, unpack, function, inputs):
    leaves = as_leaves(inputs)
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        output = function(*leaves)
    loss_of(output).backward()
    return grads_of(leaves)


@experiment
def saved_tensors_offloaded(function, inputs):
    return _with_saved(lambda t: (t.detach().clone(), t.is_neg()), lambda packed: packed[0], function, inputs)


@experiment
def saved_tensors_on_cpu(function, inputs):
    leaves = as_leaves(inputs)
    with torch.autograd.graph.save_on_cpu():
        output = function(*leaves)
    loss_of(output).backward()
    return grads_of(leaves)


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
    leaves = as_leaves(inputs)
    loss_of(run_checkpointed(function, *leaves, use_reentrant=False)).backward()
    return grads_of(leaves)


@experiment
def reentrant_checkpoint(function, inputs):
    leaves = as_leaves(inputs)
    loss_of(run_checkpointed(function, *leaves, use_reentrant=True)).backward()
    return grads_of(leaves)


@experiment
def anomaly_mode(function, inputs):
    leaves = as_leaves(inputs)
    with torch.autograd.detect_anomaly():
        loss_of(function(*leaves)).backward()
    return grads_of(leaves)


@experiment
def anomaly_mode_with_nan(function, inputs):
    leaves = as_leaves(inputs)
    with torch.autograd.detect_anomaly():
        output = function(*leaves)
        output.backward(torch.full_like(output, float("nan")))
    return grads_of(leaves)


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

    leaves = as_leaves(inputs)
    NoGradient.apply(function(*leaves)).sum().backward()
    return grads_of(leaves)
