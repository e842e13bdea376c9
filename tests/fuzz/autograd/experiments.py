"""The rows of the table, which the other files fill, and what several experiments do."""

from collections.abc import Callable

import torch

EXPERIMENTS: dict[str, Callable] = {}
OUT_EXPERIMENTS: dict[str, Callable] = {}
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


def out_experiment(function):
    OUT_EXPERIMENTS[function.__name__] = function
    return function


def as_leaves(inputs):
    return [x.clone().requires_grad_() for x in inputs]


def loss_of(output):
    return output.pow(2).sum()


def grads_of(tensors):
    return [t.grad for t in tensors]


def tangents_of(inputs):
    return tuple(torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view(x.shape) for x in inputs)


def every_index(inputs):
    return tuple(range(len(inputs)))


def stacked(inputs, count=3, dim=0):
    return tuple(torch.stack([x + i for i in range(count)], dim) for x in inputs)
