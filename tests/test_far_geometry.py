"""Transposed convolutions whose sizes, strides, paddings and dilations are near what 64 bits can count.

Natively some of these wrap, some raise. Ours end in an exception or in the right value, forward and backward,
on meta tensors too: nothing may be read or written out of bounds.
"""

import pytest
import torch
from kernel_backend import EMULATED
from torch import nn

import upsample_ext

OPS = torch.ops.upsample_ext
NEAR = 2**63 - 1
TENT = torch.tensor([0.25, 0.75, 0.75, 0.25])


def image(*shape, requires_grad=False):
    values = torch.arange(1.0, 1.0 + torch.Size(shape).numel()).view(shape)
    return values.requires_grad_(requires_grad)


# One sample has no step to the next, one tap none: their strides and dilations lead nowhere.
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
@pytest.mark.parametrize("far", [2**31, 2**40, 2**62, NEAR])
def test_the_stride_of_a_single_sample(far, padding_mode):
    x = image(1, 2, 1, 1, requires_grad=True)
    expected = torch.tensor([3.0, 5.0]).outer(torch.tensor([7.0, 11.0]))
    pair = (torch.tensor([3.0, 5.0]), torch.tensor([7.0, 11.0]))
    for kernel in (pair, expected):
        found = upsample_ext.fixed_conv_transpose2d(x, kernel, stride=far, padding_mode=padding_mode)
        torch.testing.assert_close(found, x * expected)
        grad = torch.autograd.grad(found.sum(), x)[0]
        torch.testing.assert_close(grad, torch.full_like(x, 8.0 * 18.0))


@pytest.mark.parametrize("far", [2**31, 2**40, 2**62, NEAR])
def test_a_step_that_leads_nowhere_through_the_drop_in(far):
    x = image(2, 3, 1, 1, requires_grad=True)
    weight = image(3, 1, 2, 2, requires_grad=True)
    found = upsample_ext.conv_transpose2d(x, weight, stride=far, groups=3)
    torch.testing.assert_close(found, x * weight.view(1, 3, 2, 2))
    grads = torch.autograd.grad(found.sum(), (x, weight))
    torch.testing.assert_close(grads[0], weight.sum((1, 2, 3)).view(1, 3, 1, 1).expand(2, 3, 1, 1))
    torch.testing.assert_close(grads[1], x.sum(0).view(3, 1, 1, 1).expand(3, 1, 2, 2))

    x, one = image(1, 1, 3, 2), torch.full((1, 1, 1, 1), 2.0)
    found = upsample_ext.conv_transpose2d(x, one, stride=2, dilation=far)
    torch.testing.assert_close(found[..., ::2, ::2], 2 * x)
    assert found.sum() == 2 * x.sum()


@pytest.mark.skipif(EMULATED, reason="the CUDA kernels take strides below 2^31")
def test_a_padding_that_leaves_one_sample_of_a_far_row():
    x = image(1, 1, 1, 3, requires_grad=True)
    weight = torch.full((1, 1, 1, 1), 2.0)
    found = upsample_ext.conv_transpose2d(x, weight, stride=(1, 2**57), padding=(0, 2**57))
    assert found.tolist() == [[[[4.0]]]]
    assert torch.autograd.grad(found.sum(), x)[0].tolist() == [[[[0.0, 2.0, 0.0]]]]


def conv(x, kernel_size, **options):
    return upsample_ext.conv_transpose2d(
        x, torch.ones(x.shape[1], 1, *kernel_size), groups=x.shape[1], **options
    )


def fixed(x, kernel_size, **options):
    return upsample_ext.fixed_conv_transpose2d(x, torch.ones(kernel_size), **options)


def separable(x, kernel_size, **options):
    return upsample_ext.fixed_conv_transpose2d(x, tuple(torch.ones(n) for n in kernel_size), **options)


def layer(x, kernel_size, **options):
    """Through patch(), as in a model that knows nothing of us."""
    module = nn.ConvTranspose2d(x.shape[1], x.shape[1], kernel_size, groups=x.shape[1], **options)
    with upsample_ext.patch():
        return module.to(x.device)(x)


FAR = [
    ((1, 3), (2, 5), {"stride": (1, 2**63 - 2)}),
    ((5, 3), (5, 2), {"stride": (NEAR, 1)}),
    ((5, 5), (3, 3), {"stride": 2**62}),  # wraps to an output of 3 x 3
    ((5, 5), (3, 3), {"stride": 2**61, "padding": 2**62}),
    ((4, 4), (3, 3), {"dilation": 2**62}),  # wraps to 0 less
    ((4, 4), (3, 3), {"dilation": (1, NEAR)}),
    ((4, 4), (3, 3), {"padding": NEAR}),
    ((4, 4), (3, 3), {"padding": 2**62}),
    ((1, 1), (2, 2), {"stride": NEAR, "output_padding": NEAR - 1}),
    ((4, 4), (3, 3), {"stride": 2**60, "dilation": 2**60, "output_padding": 2**60 - 1}),
    ((4, 4), (3, 3), {"stride": 2**63}),
    ((4, 4), (3, 3), {"stride": (1, 2**64)}),
    ((4, 4), (3, 3), {"padding": -(2**63)}),
    ((4, 4), (3, 3), {"dilation": -(2**63) - 1}),
]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("call", [conv, fixed, separable, layer])
@pytest.mark.parametrize("size, kernel_size, options", FAR)
def test_what_64_bits_cannot_count_raises(call, size, kernel_size, options, device):
    if device == "meta" and call is not layer:
        pytest.skip("kernels are made on the CPU here")
    with pytest.raises((RuntimeError, TypeError, ValueError)):
        call(torch.ones(1, 2, *size, device=device), kernel_size, **options)


BACKWARD = {
    "depthwise input": lambda g, **o: OPS.depthwise_conv_transpose2d_backward_input(
        g, torch.ones(1, 1, 2, 2, device=g.device, requires_grad=o.pop("requires_grad")), **o
    ),
    "depthwise weight": lambda g, **o: OPS.depthwise_conv_transpose2d_backward_weight(
        g.detach().requires_grad_(o.pop("requires_grad")),
        torch.ones(1, 1, *o.pop("input_size"), device=g.device),
        [2, 2],
        **o,
    ),
    "separable": lambda g, **o: OPS.separable_conv_transpose2d_backward(
        g.detach().requires_grad_(o.pop("requires_grad")), *[torch.ones(2, device=g.device)] * 2, **o
    ),
}


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("op", BACKWARD)
@pytest.mark.parametrize(
    "far",
    [
        {"dilation": [2**62, NEAR]},
        {"stride": [NEAR, 2**62]},
        {"padding": [2**62, NEAR]},
        {"input_size": [2**62, NEAR]},
    ],
    ids=lambda far: next(iter(far)),
)
def test_backward_ops_count_too(op, far, device, requires_grad):
    options = {"input_size": [2, 2], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], **far}
    with pytest.raises(RuntimeError):
        BACKWARD[op](
            torch.ones(1, 1, 2, 2, device=device), **options, replicate=False, requires_grad=requires_grad
        )


PAIRS = ("stride", "padding", "output_padding", "dilation")


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("wrong", [[], [1], [1, 1, 1], list(range(1, 9))], ids=len)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("op", ["separable", "depthwise"])
def test_lists_of_another_length(op, name, wrong, device):
    x, line, kernel = (torch.ones(shape, device=device) for shape in ((1, 1, 4, 4), (3,), (1, 1, 3, 3)))
    pairs = {"stride": [2, 2], "padding": [0, 0], "output_padding": [0, 0], "dilation": [1, 1], name: wrong}
    given = [pairs[p] for p in PAIRS]
    with pytest.raises(RuntimeError, match="two numbers"):
        if op == "separable":
            OPS.separable_conv_transpose2d(x, line, line, *given, False)
        else:
            OPS.depthwise_conv_transpose2d(x, kernel, None, *given, False)
    if name == "output_padding":
        return
    given = [pairs[p] for p in PAIRS if p != "output_padding"]
    grad = torch.ones(1, 1, 9, 9, device=device)
    backward = {
        "separable": [
            lambda: OPS.separable_conv_transpose2d_backward(grad, line, line, [4, 4], *given, False)
        ],
        "depthwise": [
            lambda: OPS.depthwise_conv_transpose2d_backward_input(grad, kernel, [4, 4], *given, False),
            lambda: OPS.depthwise_conv_transpose2d_backward_weight(grad, x, [3, 3], *given, False),
        ],
    }
    for call in backward[op]:
        with pytest.raises(RuntimeError, match="two numbers"):
            call()


def test_an_empty_batch_needs_no_table_of_its_width():
    empty = torch.ones(0, 1, 4, 4)
    assert upsample_ext.interpolate(empty, (2**40, 1), mode="bilinear").shape == (0, 1, 2**40, 1)
    assert upsample_ext.upsample_threshold(empty, (2**40, 1)).shape == (0, 1, 2**40, 1)
    assert upsample_ext.upsample_argmax(empty, (2**40, 1)).shape == (0, 2**40, 1)
    assert conv(empty, (1, 1), stride=(2**38, 1)).shape == (0, 1, 3 * 2**38 + 1, 4)
    assert separable(empty, (1, 1), stride=(2**38, 1)).shape == (0, 1, 3 * 2**38 + 1, 4)
