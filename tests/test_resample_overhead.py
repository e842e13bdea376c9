"""The overhead of a call: a 2x2 input, compared with native in the same process."""

import statistics

import pytest
import torch
import torch.nn.functional as F
from torch.utils.benchmark import Timer

import upsample_ext


def ratio(statement, setup_globals):
    """Median of ours over native, of pairs so short that what else runs meets both sides alike."""
    timers = [
        Timer(statement, globals={**setup_globals, "f": f}) for f in (upsample_ext.interpolate, F.interpolate)
    ]
    pairs = [[timer.timeit(20).median for timer in timers] for _ in range(500)]
    return statistics.median(ours / native for ours, native in pairs)


@pytest.mark.xdist_group("overhead")
@pytest.mark.parametrize(
    "statement, requires_grad, most",
    [
        ("f(x, scale_factor=2, mode='bilinear')", False, 0.8),
        ("f(x, scale_factor=2, mode='bilinear')", True, 0.8),
        ("x.grad = None; f(x, scale_factor=2, mode='bilinear').backward(g)", True, 1.0),
    ],
    ids=["forward", "forward with grad", "forward and backward"],
)
def test_overhead(statement, requires_grad, most):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x = torch.rand(1, 1, 2, 2, requires_grad=requires_grad)
        setting = {"x": x, "g": torch.ones(1, 1, 4, 4)}
        # Noise of the machine only adds time: the best of a few attempts is the most accurate
        best = min(ratio(statement, setting) for _ in range(3))
    finally:
        torch.set_num_threads(threads)
    assert best <= most
