"""Transposed convolution: derivatives, vmap, torch.func, compile, export, autocast, subclasses, errors."""

import re
import subprocess
import sys

import pytest
import torch
from dispatched_ops import dispatched_ops
from dtypes import HALVES
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torch_versions import enable_compiled_autograd

import upsample_ext
from upsample_ext import deconv_kernels, modules

OPS = torch.ops.upsample_ext
SHAPE, KERNEL = (2, 3, 4, 5), (3, 4)
GEOMETRY = {"stride": (2, 3), "padding": (1, 2), "output_padding": (1, 0), "groups": 3, "dilation": (1, 2)}
STRIDE, PADDING, OUTPUT_PADDING, DILATION = (2, 3), (1, 2), (1, 0), (1, 2)


def tensors(dtype=torch.float64, requires_grad=False):
    shapes = SHAPE, (3, 1, *KERNEL), (3,)
    return [torch.randn(shape, dtype=dtype, requires_grad=requires_grad) for shape in shapes]


def ours(x, weight, bias=None):
    return upsample_ext.conv_transpose2d(x, weight, bias, **GEOMETRY)


def native(x, weight, bias=None):
    return F.conv_transpose2d(x, weight, bias, **GEOMETRY)


def backward_input(replicate):
    def function(grad_output, weight):
        return OPS.depthwise_conv_transpose2d_backward_input(
            grad_output, weight, SHAPE[2:], STRIDE, PADDING, DILATION, replicate
        )

    return function


def backward_weight(replicate):
    def function(grad_output, x):
        return OPS.depthwise_conv_transpose2d_backward_weight(
            grad_output, x, KERNEL, STRIDE, PADDING, DILATION, replicate
        )

    return function


# ---- derivatives -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicate", [False, True])
def test_every_op_passes_gradcheck(replicate):
    x, weight, bias = tensors(requires_grad=True)

    def forward(x, weight, bias):
        return OPS.depthwise_conv_transpose2d(
            x, weight, bias, STRIDE, PADDING, OUTPUT_PADDING, DILATION, replicate
        )

    grad = torch.randn_like(forward(x, weight, bias)).requires_grad_()
    for function, values in (
        (forward, (x, weight, bias)),
        (backward_input(replicate), (grad, weight)),
        (backward_weight(replicate), (grad, x)),
        (OPS.channel_sum, (x,)),
    ):
        torch.autograd.gradcheck(
            function, values, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
        )
        torch.autograd.gradgradcheck(function, values, check_fwd_over_rev=True, check_batched_grad=True)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [(0,), (1,), (1, 2)])
def test_compiled_autograd(wanted):

    values = tensors()
    for i in wanted:
        values[i].requires_grad_()
    leaves = [values[i] for i in wanted]
    expected = torch.autograd.grad(native(*values).square().sum(), leaves)
    torch._dynamo.reset()
    with enable_compiled_autograd(torch.compile(backend="aot_eager", fullgraph=True)):
        ours(*values).square().sum().backward()
    torch.testing.assert_close([leaf.grad for leaf in leaves], list(expected))


# ---- vmap and torch.func -----------------------------------------------------------------------------------


def mapped(values, in_dims, size=3):
    return [
        v if d is None else torch.stack([torch.randn_like(v) for _ in range(size)], d)
        for v, d in zip(values, in_dims, strict=True)
    ]


def assert_vmap_is_a_loop(function, values, in_dims):
    values = mapped(values, in_dims)
    size = next(v.shape[d] for v, d in zip(values, in_dims, strict=True) if d is not None)
    one_by_one = [
        function(*(v if d is None else v.select(d, i) for v, d in zip(values, in_dims, strict=True)))
        for i in range(size)
    ]
    torch.testing.assert_close(torch.vmap(function, in_dims)(*values), torch.stack(one_by_one))


@pytest.mark.parametrize("in_dims", [(0, None), (None, 0), (3, 1), (1, 0)])
@pytest.mark.parametrize("replicate", [False, True])
def test_vmap_of_the_backward_ops(in_dims, replicate):
    x, weight, bias = tensors()
    grad = torch.randn_like(ours(x, weight, bias))
    assert_vmap_is_a_loop(backward_input(replicate), (grad, weight), in_dims)
    assert_vmap_is_a_loop(backward_weight(replicate), (grad, x), in_dims)
    assert_vmap_is_a_loop(OPS.channel_sum, (x,), (2,))


@pytest.mark.parametrize(
    "in_dims", [(0, None, None), (3, None, None), (None, 0, None), (1, 1, 0), (None, 0, 1)]
)
@pytest.mark.parametrize("replicate", [False, True])
def test_vmap_of_the_separable_ops(in_dims, replicate):
    lines = torch.randn(3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)

    def forward(x, kernel_h, kernel_w):
        return OPS.separable_conv_transpose2d(
            x, kernel_h, kernel_w, STRIDE, PADDING, OUTPUT_PADDING, DILATION, replicate
        )

    def backward(grad, kernel_h, kernel_w):
        return OPS.separable_conv_transpose2d_backward(
            grad, kernel_h, kernel_w, SHAPE[2:], STRIDE, PADDING, DILATION, replicate
        )

    x = tensors()[0]
    assert_vmap_is_a_loop(forward, (x, *lines), in_dims)
    assert_vmap_is_a_loop(backward, (torch.randn_like(forward(x, *lines)), *lines), in_dims)


# ---- compile, export, trace --------------------------------------------------------------------------------


def test_the_bilinear_line_is_kept_only_where_it_may_be():
    from torch._subclasses.fake_tensor import FakeTensorMode

    x = torch.randn(1, 2, 3, 4)
    with torch.inference_mode():
        upsample_ext.bilinear_conv_transpose2d(x, 13)
    upsample_ext.bilinear_conv_transpose2d(x.clone().requires_grad_(), 13).sum().backward()
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x)
        assert upsample_ext.bilinear_conv_transpose2d(fake, 11).shape == (1, 2, 33, 44)
    assert upsample_ext.bilinear_conv_transpose2d(fake, 11).shape == (1, 2, 33, 44)  # outside of its mode
    assert type(upsample_ext.bilinear_conv_transpose2d(x, 11)) is torch.Tensor
    with torch.device("meta"):
        assert upsample_ext.bilinear_conv_transpose2d(x, 9).device == x.device
    found = torch.func.vmap(lambda x: upsample_ext.bilinear_conv_transpose2d(x, 17))(x[None])
    torch.testing.assert_close(found[0], upsample_ext.bilinear_conv_transpose2d(x, 17))


def test_kernels_that_are_kept_are_no_fakes():
    """Also where an exporter to ONNX, which knows PyTorch's ops alone, is the first to need them."""
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    line = (2, torch.float32, torch.device("cpu"))
    weight = (2, 4, 3, torch.float32)
    for make, arguments in ((deconv_kernels._cached_line, line), (modules._bilinear_weight, weight)):
        make.cache_clear()
        with FakeTensorMode():
            kept = make(*arguments)
        assert not isinstance(kept, FakeTensor) and kept is make(*arguments)


# ---- subclasses --------------------------------------------------------------------------------------------


class _Subclass(torch.Tensor):
    calls = []  # noqa: RUF012 (for the test to look into)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.calls.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


def test_kernels_of_a_torch_function_subclass():
    x = tensors()[0]
    line, plane = (torch.ones(shape).as_subclass(_Subclass) for shape in ((2,), (2, 2)))
    for lines in ((line, torch.ones(2)), plane):
        _Subclass.calls.clear()
        assert type(upsample_ext.fixed_conv_transpose2d(x, lines)) is _Subclass
        assert upsample_ext.fixed_conv_transpose2d in _Subclass.calls


# ---- autocast ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low", HALVES)
@pytest.mark.parametrize("is_low", [(False,) * 3, (True, False, False), (True,) * 3])
def test_autocast_casts_as_native(low, is_low):
    values = [
        t.to(low if cast else torch.float32).requires_grad_()
        for t, cast in zip(tensors(), is_low, strict=True)
    ]
    with torch.autocast("cpu", dtype=low):
        found, names = dispatched_ops(ours, *values)
        expected = native(*values)
        grad = torch.randn_like(found)
        gradients = torch.autograd.grad(found, values, grad, create_graph=True)
        second = torch.autograd.grad(gradients[0].float().square().sum(), values[1])[0]
    assert "upsample_ext::depthwise_conv_transpose2d" in names
    assert found.dtype == expected.dtype == low and second.dtype == values[1].dtype
    exact = native(*(t.detach().to(low).double() for t in values))
    error = (found.double() - exact).abs().max()
    assert error <= 2 * (expected.double() - exact).abs().max()
    assert [g.dtype for g in gradients] == [t.dtype for t in values]


LINE = torch.tensor([0.25, 0.75, 0.75, 0.25])
FIXED = {
    "a pair": lambda x: upsample_ext.fixed_conv_transpose2d(x, (LINE, LINE), 2, 1),
    "one kernel": lambda x: upsample_ext.fixed_conv_transpose2d(x, LINE.outer(LINE), 2, 1),
    "one a channel": lambda x: upsample_ext.fixed_conv_transpose2d(x, LINE.outer(LINE).repeat(3, 1, 1), 2, 1),
    "function": lambda x: upsample_ext.bilinear_conv_transpose2d(x, 2),
    "layer": lambda x: upsample_ext.BilinearConvTranspose2d(3, 2)(x),
    "replicate": lambda x: upsample_ext.bilinear_conv_transpose2d(x, 2, padding_mode="replicate"),
}


@pytest.mark.parametrize("low", HALVES)
@pytest.mark.parametrize("form", FIXED)
def test_autocast_casts_fixed_kernels_as_the_convolution(form, low):
    x = torch.rand(2, 3, 5, 6, requires_grad=True)
    expected = FIXED[form](x.detach()).double()
    with torch.autocast("cpu", dtype=low):
        found = FIXED[form](x)
        if form != "layer":  # its kernel is of a dtype, and stays
            assert FIXED[form](x.detach().double()).dtype == torch.float64
    assert found.dtype == low
    torch.testing.assert_close(found.double(), expected, rtol=0.02, atol=0.02)
    assert torch.autograd.grad(found.sum(), x)[0].dtype == torch.float32


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8, torch.bool]
)
@pytest.mark.parametrize("form", FIXED)
def test_integer_images_raise(form, dtype):
    with pytest.raises(RuntimeError):
        FIXED[form](torch.ones(1, 3, 2, 2, dtype=dtype))


def test_the_cached_kernel_reaches_no_hook():
    """What a hook is given is the hook's, to do with as it likes."""
    x = torch.rand(1, 2, 3, 3, requires_grad=True)
    expected = upsample_ext.bilinear_conv_transpose2d(x.detach(), 2)

    def spoil(tensor):
        return tensor.zero_()

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, spoil):
        upsample_ext.bilinear_conv_transpose2d(x, 2).sum().backward()
    assert torch.equal(upsample_ext.bilinear_conv_transpose2d(x.detach(), 2), expected)


def test_a_flop_counter_counts_what_it_counts_natively():
    values = [t.float() for t in tensors()]

    def count(function, values):
        with FlopCounterMode(display=False) as counter:
            output = function(*values)
            if output.requires_grad:
                output.sum().backward()
        return counter.get_total_flops()

    assert count(ours, values) == count(native, values) > 0
    x, weight, bias = values
    of_input = [x.clone().requires_grad_(), weight, bias]
    assert count(ours, of_input) == count(native, of_input) == 2 * count(ours, values)
    # That of the weight's gradient is of a convolution between all channels.
    of_all = [v.clone().requires_grad_() for v in values]
    assert count(ours, of_all) == count(native, of_all) == (2 + x.shape[1]) * count(ours, values)

    x = torch.rand(2, 3, 4, 5, requires_grad=True)
    for call, kernel in ((FIXED["a pair"], 4), (FIXED["function"], 4), (FIXED["one kernel"], 4)):
        with FlopCounterMode(display=False) as counter:
            call(x).sum().backward()
        assert counter.get_total_flops() == 2 * (2 * x.numel() * kernel**2)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without torch.distributed")
def test_distributed_tensors():
    program = """if True:
        import torch, torch.nn.functional as F, upsample_ext
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor import Replicate, Shard, distribute_tensor
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        mesh = init_device_mesh("cpu", (1,))
        x, weight = torch.rand(2, 3, 4, 5), torch.rand(3, 1, 4, 4)

        def outcome(function, tensors):
            output = function(*(t.requires_grad_() for t in tensors), None, 2, 1, 0, 3)
            output.sum().backward()
            return [output, tensors[0].grad, tensors[1].grad]

        # Natively distributed ones cannot be computed in every version of torch.
        expected = outcome(F.conv_transpose2d, [x.clone(), weight.clone()])
        for placement in (Replicate(), Shard(0)):
            placed = ((x, placement), (weight, Replicate()))
            tensors = [distribute_tensor(t, mesh, [where]) for t, where in placed]
            found = outcome(upsample_ext.conv_transpose2d, tensors)
            torch.testing.assert_close([t.full_tensor() for t in found], expected)
        torch.distributed.destroy_process_group()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_autocast_leaves_double_alone():
    values = tensors()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours(*values).dtype == native(*values).dtype == torch.float64


# ---- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, weight, arguments",
    [
        ((2, 4, 5, 6), (4, 1, 3, 3), {"groups": 3}),
        ((2, 4, 5, 6), (3, 1, 3, 3), {"groups": 4}),
        ((2, 4, 5, 6), (4, 1, 3, 3), {"groups": 4, "padding": -1}),
        ((2, 4, 5, 6), (4, 1, 3, 3), {"groups": 4, "dilation": 0}),
        ((2, 4, 5, 6), (4, 1, 3, 3), {"groups": 4, "padding": 9}),
        ((2, 4, 5, 6), (4, 1, 3, 3), {"groups": 4, "output_padding": 1}),
        ((2, 4, 5, 6), (4, 1, 3, 3), {"groups": 4, "stride": (1, 2, 3)}),
        ((2, 4, 5, 6), (4, 1, 3, 3), {"groups": 4, "stride": "2"}),
        ((2, 4, 5, 6), (4, 1, 3, 3), {"groups": 4, "bias": torch.ones(3)}),
        ((2, 4, 5, 6), (4, 1, 3, 3), {"groups": 4, "bias": torch.ones(4, dtype=torch.float64)}),
        ((2, 4, 0, 6), (4, 1, 3, 3), {"groups": 4}),
        ((5, 6), (4, 1, 3, 3), {"groups": 4}),
        ((2, 4, 5, 6), (4, 1, 3), {"groups": 4}),
    ],
)
def test_errors_are_natives(shape, weight, arguments):
    x, w = torch.randn(shape), torch.randn(weight)
    with pytest.raises(Exception) as expected:  # noqa: B017 (whatever native raises)
        F.conv_transpose2d(x, w, **arguments)
    with pytest.raises(expected.type) as found:
        upsample_ext.conv_transpose2d(x, w, **arguments)
    # PyTorch names an argument's position when it was given by position, which is how we hand it on.
    assert re.sub(r" \(position \d\)", "", str(found.value)) == str(expected.value)


@pytest.mark.parametrize(
    "error, message, arguments",
    [
        (RuntimeError, "requires grad", {"kernel": torch.ones(2, 2, requires_grad=True)}),
        (RuntimeError, "requires grad", {"kernel": (torch.ones(2), torch.ones(2, requires_grad=True))}),
        (TypeError, "floating", {"kernel": torch.ones(2, 2, dtype=torch.int64)}),
        (TypeError, "a tensor or a pair", {"kernel": [1.0, 2.0]}),
        (TypeError, "a tensor or a pair", {"kernel": (torch.ones(2),) * 3}),
        (ValueError, "1-D", {"kernel": (torch.ones(2), torch.ones(2, 2))}),
        (ValueError, r"\(kH, kW\)", {"kernel": torch.ones(3)}),
        (ValueError, r"kernel \(3, kH, kW\)", {"kernel": torch.ones(2, 2, 2)}),
        (ValueError, "padding_mode", {"kernel": torch.ones(2, 2), "padding_mode": "reflect"}),
        (TypeError, "stride", {"kernel": torch.ones(2, 2), "stride": 1.5}),
        (RuntimeError, "stride", {"kernel": torch.ones(2, 2), "stride": 0}),
        (RuntimeError, "output_padding", {"kernel": torch.ones(2, 2), "output_padding": 1}),
        (RuntimeError, "output size", {"kernel": (torch.ones(2), torch.ones(2)), "padding": 9}),
    ],
)
def test_errors_of_fixed_kernels(error, message, arguments):
    with pytest.raises(error, match=message) as found:
        upsample_ext.fixed_conv_transpose2d(torch.ones(1, 3, 4, 4), **arguments)
    assert "conv_transpose2d" in str(found.value)


@pytest.mark.parametrize("name", ["bilinear_kernel", "caffe_upsample_params"])
@pytest.mark.parametrize(
    "value, error", [(0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_errors_of_sizes(name, value, error):
    with pytest.raises(error, match=name):
        getattr(upsample_ext, name)(value)


def test_errors_of_bilinear_kernels():
    with pytest.raises(ValueError, match="convention"):
        upsample_ext.bilinear_kernel(4, convention="other")
    with pytest.raises(TypeError, match="dtype"):
        upsample_ext.bilinear_kernel(4, dtype=torch.int32)
    with pytest.raises(ValueError, match="padding_mode"):
        upsample_ext.bilinear_conv_transpose2d(torch.ones(1, 1, 2, 2), 2, padding_mode="other")
    with pytest.raises(ValueError, match="num_channels"):
        upsample_ext.make_bilinear_weights(4, 0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda f, bi, bw, x, w: f(x[0], w, None), "4-D input"),
        (lambda f, bi, bw, x, w: f(x, w[:2], None), "expected a weight"),
        (lambda f, bi, bw, x, w: f(x, w.float(), None), "of dtype"),
        (lambda f, bi, bw, x, w: f(x, w, w[:2, 0, 0, 0]), "a bias"),
        (lambda f, bi, bw, x, w: f(x.int(), w.int(), None), "floating"),
        (lambda f, bi, bw, x, w: f(x, w, None, stride=(0, 1)), "stride greater than 0"),
        (lambda f, bi, bw, x, w: bi(x, w), "does not fit"),
        (lambda f, bi, bw, x, w: bw(x, x[:1]), "one batch"),
        (lambda f, bi, bw, x, w: OPS.channel_sum(x[0]), "4-D input"),
    ],
)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_errors_of_the_ops(call, message, requires_grad):
    x, weight, _ = tensors(requires_grad=requires_grad)

    def forward(x, weight, bias, stride=STRIDE):
        return OPS.depthwise_conv_transpose2d(
            x, weight, bias, stride, PADDING, OUTPUT_PADDING, DILATION, False
        )

    with pytest.raises(RuntimeError, match=message) as found:
        call(forward, backward_input(False), backward_weight(False), x, weight)
    assert str(found.value).startswith(("depthwise_conv_transpose2d", "channel_sum"))


# ---- what goes through PyTorch -----------------------------------------------------------------------------


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
def test_complex_images(padding_mode):
    x, kernel = torch.randn(SHAPE, dtype=torch.complex128), torch.randn(KERNEL, dtype=torch.float64)
    options = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "padding_mode": padding_mode}
    found = upsample_ext.fixed_conv_transpose2d(x, kernel, **options)
    for part, real in ((found.real, x.real), (found.imag, x.imag)):
        torch.testing.assert_close(part, upsample_ext.fixed_conv_transpose2d(real, kernel, **options))
    found = upsample_ext.bilinear_conv_transpose2d(x, 3, padding_mode=padding_mode)
    expected = upsample_ext.bilinear_conv_transpose2d(x.real.contiguous(), 3, padding_mode=padding_mode)
    torch.testing.assert_close(found.real, expected, rtol=1e-6, atol=1e-6)
    weight = torch.randn(3, 1, *KERNEL, dtype=torch.complex128)
    torch.testing.assert_close(ours(x, weight), native(x, weight))
