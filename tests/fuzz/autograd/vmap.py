"""Maps, and maps of derivatives and derivatives of maps."""

import torch
from torch.utils._pytree import tree_map_only

from .experiments import as_leaves, every_index, experiment, grads_of, loss_of, or_as, stacked, tangents_of


@experiment
def vmap(function, inputs):
    return torch.vmap(function)(*stacked(inputs))


@experiment
def vmap_over_the_last_dimension(function, inputs):
    return torch.vmap(function, in_dims=-1, out_dims=-1)(*stacked(inputs, dim=-1))


@experiment
def vmap_of_the_first_input_alone(function, inputs):
    in_dims = (0, *(None for _ in inputs[1:]))
    return torch.vmap(function, in_dims=in_dims)(*stacked(inputs[:1]), *inputs[1:])


@experiment
def vmap_of_all_but_the_first_input(function, inputs):
    in_dims = (None, *(0 for _ in inputs[1:]))
    return torch.vmap(function, in_dims=in_dims)(inputs[0], *stacked(inputs[1:]))


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
    return torch.vmap(function, chunk_size=2)(*stacked(inputs))


@experiment
def vmap_of_vmap(function, inputs):
    return torch.vmap(torch.vmap(function, in_dims=1), in_dims=2)(*(stacked(stacked(inputs, 2), 2, 2)))


@experiment
def vmap_of_gradient(function, inputs):
    gradient = torch.func.grad(lambda *xs: loss_of(function(*xs)), argnums=every_index(inputs))
    return torch.vmap(gradient)(*stacked(inputs))


@or_as(_none_of(vmap_of_gradient))
def vmap_of_gradient_over_nothing(function, inputs):
    gradient = torch.func.grad(lambda *xs: loss_of(function(*xs)), argnums=every_index(inputs))
    return torch.vmap(gradient)(*(x.new_empty(0, *x.shape) for x in inputs))


@experiment
def gradient_of_vmap(function, inputs):
    mapped = torch.vmap(function)
    return torch.func.grad(lambda *xs: loss_of(mapped(*xs)), argnums=every_index(inputs))(*stacked(inputs))


@experiment
def vmap_of_vjp(function, inputs):
    output, pullback = torch.func.vjp(function, *inputs)
    return torch.vmap(pullback)(torch.stack([torch.ones_like(output), output]))


@experiment
def vmap_of_jvp(function, inputs):
    def tangent(*tangents):
        return torch.func.jvp(function, inputs, tangents)[1]

    return torch.vmap(tangent)(*stacked(tangents_of(inputs)))


@experiment
def vmap_of_leaves(function, inputs):
    leaves = as_leaves(stacked(inputs))
    loss_of(torch.vmap(function)(*leaves)).backward()
    return grads_of(leaves)


@experiment
def double_backward_through_vmap(function, inputs):
    leaves = as_leaves(stacked(inputs))
    first = torch.autograd.grad(torch.vmap(function)(*leaves).pow(3).sum(), leaves, create_graph=True)
    return torch.autograd.grad(sum(map(loss_of, first)), leaves, allow_unused=True)
