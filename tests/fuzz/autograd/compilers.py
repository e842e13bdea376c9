"""What records a function in order to run something else: functionalization, tracing, compiled backward."""

import torch

from .experiments import as_leaves, every_index, experiment, grads_of, loss_of


@experiment
def functionalize(function, inputs):
    return torch.func.functionalize(function)(*inputs)


@experiment
def functionalize_of_gradient(function, inputs):
    gradient = torch.func.grad(lambda *xs: loss_of(function(*xs)), argnums=every_index(inputs))
    return torch.func.functionalize(gradient)(*inputs)


@experiment
def traced_by_make_fx(function, inputs):
    from torch.fx.experimental.proxy_tensor import make_fx

    gradient = torch.func.grad(lambda *xs: loss_of(function(*xs)), argnums=every_index(inputs))
    return make_fx(gradient)(*inputs)(*inputs)


@experiment
def compiled_backward(function, inputs):
    from torch_versions import enable_compiled_autograd

    leaves = as_leaves(inputs)
    loss = loss_of(function(*leaves))
    with enable_compiled_autograd(lambda graph: graph):
        loss.backward()
    return grads_of(leaves)
