"""Inputs and outputs that are changed in place between forward and backward."""

import torch

from .experiments import as_leaves, experiment, grads_of, loss_of, or_as


def _unchanged(function, inputs):
    """The gradients where nobody interferes: who does not need the inputs in backward may give them."""
    leaves = as_leaves(inputs)
    output = function(*leaves)
    output.backward(torch.full_like(output, 0.5))
    return grads_of(leaves)


@or_as(_unchanged)
def input_changed_after_forward(function, inputs):
    leaves = as_leaves(inputs)
    derived = [x * 1 for x in leaves]
    output = function(*derived)
    for x in derived:
        x.mul_(2)
    output.backward(torch.full_like(output, 0.5))
    return grads_of(leaves)


@or_as(_unchanged)
def input_changed_after_forward_and_gradient_of_one(function, inputs):
    leaves = as_leaves(inputs)
    derived = [x * 1 for x in leaves]
    output = function(*derived)
    for x in derived:
        x.add_(2)
    (output.sum() * 0.5).backward()
    return grads_of(leaves)


@or_as(lambda function, inputs: [2 * grad for grad in _unchanged(function, inputs)])
def input_changed_between_two_backwards(function, inputs):
    leaves = as_leaves(inputs)
    derived = [x * 1 for x in leaves]
    output = function(*derived)
    (output.sum() * 0.5).backward(retain_graph=True)
    derived[0].add_(1)
    (output.sum() * 0.5).backward()
    return grads_of(leaves)


@or_as(_unchanged)
def base_of_input_changed_after_forward(function, inputs):
    leaves = as_leaves(inputs)
    bases = [torch.stack([x, x.detach()], -1) for x in leaves]
    views = [base[..., 0] for base in bases]
    output = function(*views)
    for base in bases:
        with torch.no_grad():
            base.zero_()
    output.backward(torch.full_like(output, 0.5))
    return grads_of(leaves)


@experiment
def output_changed_after_forward(function, inputs):
    leaves = as_leaves(inputs)
    output = function(*leaves)
    output.mul_(2)
    loss_of(output).backward()
    return grads_of(leaves)


@experiment
def input_changed_by_data_after_forward(function, inputs):
    leaves = as_leaves(inputs)
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
    leaves = as_leaves(inputs)
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        derived = [x * 1 for x in leaves]
        output = function(*derived)
        for x in derived:
            x.mul_(3)
        output.sum().backward()
    return grads_of(leaves)
