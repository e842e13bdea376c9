"""PyTorch's own checks."""

import torch

from .experiments import as_leaves, experiment


@experiment
def gradcheck(function, inputs):
    passed = torch.autograd.gradcheck(
        function,
        as_leaves(inputs),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        fast_mode=True,
    )
    return torch.tensor(passed)


@experiment
def gradgradcheck(function, inputs):
    passed = torch.autograd.gradgradcheck(
        function, as_leaves(inputs), check_fwd_over_rev=True, check_rev_over_rev=True, fast_mode=True
    )
    return torch.tensor(passed)
