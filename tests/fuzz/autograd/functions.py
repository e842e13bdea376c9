"""The functions of torch.func and torch.autograd.functional that differentiate."""

import torch

from .experiments import every_index, experiment, tangents_of


@experiment
def jacrev(function, inputs):
    return torch.func.jacrev(function, argnums=every_index(inputs))(*inputs)


@experiment
def jacrev_in_chunks(function, inputs):
    return torch.func.jacrev(function, argnums=every_index(inputs), chunk_size=7)(*inputs)


@experiment
def jacfwd(function, inputs):
    return torch.func.jacfwd(function, argnums=every_index(inputs))(*inputs)


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

    vectors = tangents_of(inputs)
    return [
        torch.autograd.functional.hvp(scalar, inputs, vectors),
        torch.autograd.functional.vhp(scalar, inputs, vectors),
        torch.autograd.functional.jvp(function, inputs, vectors),
    ]
