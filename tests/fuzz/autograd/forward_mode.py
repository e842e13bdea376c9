"""Forward mode, and reverse mode of it."""

import torch
import torch.autograd.forward_ad as fwAD

from .experiments import experiment, loss_of, tangents_of


@experiment
def forward_mode(function, inputs):
    with fwAD.dual_level():
        duals = [fwAD.make_dual(x, t) for x, t in zip(inputs, tangents_of(inputs), strict=True)]
        return tuple(fwAD.unpack_dual(function(*duals)))


@experiment
def forward_mode_of_one_input(function, inputs):
    results = []
    for i, tangent in enumerate(tangents_of(inputs)):
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
    return torch.func.jvp(function, inputs, tangents_of(inputs))


@experiment
def jvp_of_gradient(function, inputs):
    gradient = torch.func.grad(lambda *xs: function(*xs).pow(3).sum(), argnums=tuple(range(len(inputs))))
    return torch.func.jvp(gradient, inputs, tangents_of(inputs))


@experiment
def gradient_of_jvp(function, inputs):
    def of(*xs):
        return loss_of(torch.func.jvp(function, xs, tangents_of(xs))[1])

    return torch.func.grad(of, argnums=tuple(range(len(inputs))))(*inputs)


@experiment
def jvp_of_jvp(function, inputs):
    return torch.func.jvp(
        lambda *xs: torch.func.jvp(lambda *ys: function(*ys).pow(2), xs, tangents_of(xs))[1],
        inputs,
        tangents_of(inputs),
    )


@experiment
def linearize(function, inputs):
    output, tangent_map = torch.func.linearize(function, *inputs)
    return output, tangent_map(*tangents_of(inputs))
