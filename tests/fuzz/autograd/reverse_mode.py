"""Backward, once and more often, of inputs of all kinds."""

import threading

import torch

from .experiments import as_leaves, experiment, grads_of, loss_of


@experiment
def backward(function, inputs):
    leaves = as_leaves(inputs)
    loss_of(function(*leaves)).backward()
    return grads_of(leaves)


@experiment
def backward_twice_with_retain_graph(function, inputs):
    leaves = as_leaves(inputs)
    loss = loss_of(function(*leaves))
    loss.backward(retain_graph=True)
    loss.backward()
    return grads_of(leaves)


@experiment
def backward_twice_without_retain_graph(function, inputs):
    leaves = as_leaves(inputs)
    output = function(*leaves)
    output.backward(torch.ones_like(output))
    output.backward(torch.ones_like(output))
    return grads_of(leaves)


@experiment
def gradient_to_one_input_at_a_time(function, inputs):
    results = []
    for i in range(len(inputs)):
        mixed = [x.clone().requires_grad_(i == j) for j, x in enumerate(inputs)]
        results += torch.autograd.grad(loss_of(function(*mixed)), mixed[i])
    return results


@experiment
def double_backward(function, inputs):
    leaves = as_leaves(inputs)
    first = torch.autograd.grad(function(*leaves).pow(3).sum(), leaves, create_graph=True)
    return torch.autograd.grad(sum(map(loss_of, first)), leaves, allow_unused=True)


@experiment
def triple_backward(function, inputs):
    leaves = as_leaves(inputs)
    first = torch.autograd.grad(function(*leaves).pow(4).sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(map(loss_of, first)), leaves, create_graph=True)
    return torch.autograd.grad(sum(map(loss_of, second)), leaves, allow_unused=True)


@experiment
def gradient_of_gradient_to_grad_output(function, inputs):
    leaves = as_leaves(inputs)
    output = function(*leaves)
    grad_output = torch.ones_like(output).requires_grad_()
    first = torch.autograd.grad(output, leaves, grad_output, create_graph=True)
    return torch.autograd.grad(sum(map(loss_of, first)), grad_output)


@experiment
def batched_gradient(function, inputs):
    leaves = as_leaves(inputs)
    output = function(*leaves)
    batch = torch.stack([torch.ones_like(output), output.detach()])
    return torch.autograd.grad(output, leaves, batch, is_grads_batched=True)


@experiment
def scaled_loss(function, inputs):
    leaves = as_leaves(inputs)
    (loss_of(function(*leaves)) * 0.5).backward(retain_graph=True)
    (function(*leaves).sum() * 2.0**16).backward()
    return grads_of(leaves)


@experiment
def zero_loss(function, inputs):
    leaves = as_leaves(inputs)
    (function(*leaves).sum() * 0).backward()
    return grads_of(leaves)


@experiment
def expanded_gradient(function, inputs):
    leaves = as_leaves(inputs)
    function(*leaves).sum().backward()
    return grads_of(leaves)


@experiment
def backward_in_another_thread(function, inputs):
    leaves = as_leaves(inputs)
    loss, raised = loss_of(function(*leaves)), []

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
    return grads_of(leaves)


@experiment
def non_leaf_inputs(function, inputs):
    leaves = as_leaves(inputs)
    derived = [x * 2 for x in leaves]
    for x in derived:
        x.retain_grad()
    loss_of(function(*derived)).backward()
    return grads_of(leaves), grads_of(derived)


@experiment
def views_as_inputs(function, inputs):
    bases = [torch.stack([x, x * 2], -1).requires_grad_() for x in inputs]
    loss_of(function(*(base[..., 1] for base in bases))).backward()
    return grads_of(bases)


@experiment
def expanded_inputs(function, inputs):
    leaves = [x[..., :1].clone().requires_grad_() for x in inputs]
    loss_of(function(*(x.expand(full.shape) for x, full in zip(leaves, inputs, strict=True)))).backward()
    return grads_of(leaves)


@experiment
def the_same_input_twice(function, inputs):
    leaves = as_leaves(inputs)
    (loss_of(function(*leaves)) + function(*leaves).sum()).backward()
    return grads_of(leaves)


@experiment
def parameters(function, inputs):
    leaves = [torch.nn.Parameter(x.clone()) for x in inputs]
    loss_of(function(*leaves)).backward()
    return grads_of(leaves)


@experiment
def inference_tensors_as_inputs(function, inputs):
    with torch.inference_mode():
        made_there = [x.clone() for x in inputs]
    leaves = as_leaves(inputs)
    mixed = made_there[:1] + leaves[1:]
    output = function(*mixed)
    if output.requires_grad:
        loss_of(output).backward()
    return output.detach(), grads_of(leaves)


@experiment
def called_in_no_grad(function, inputs):
    with torch.no_grad():
        output = function(*as_leaves(inputs))
    return output, torch.tensor(output.requires_grad)


@experiment
def called_in_inference_mode(function, inputs):
    with torch.inference_mode():
        output = function(*as_leaves(inputs))
    return output.clone(), torch.tensor(output.is_inference())


@experiment
def float32_inputs(function, inputs):
    leaves = [x.float().requires_grad_() for x in inputs]
    loss_of(function(*leaves)).backward()
    return grads_of(leaves)
