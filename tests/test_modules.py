"""The modules against the torch.nn modules that they replace."""

import copy
import io
import pickle
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import upsample_ext
from upsample_ext import modules


def profiled_ops(function):
    """Names of the upsample_ext ops that ran while `function()` did."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    return {event.key for event in profile.key_averages() if event.key.startswith("upsample_ext::")}


def bilinear_layer(channels, factor, dtype=torch.float32):
    """The equivalent of BilinearConvTranspose2d in plain torch.nn."""
    kernel, stride, padding = upsample_ext.caffe_upsample_params(factor)
    layer = nn.ConvTranspose2d(
        channels, channels, kernel, stride=stride, padding=padding, groups=channels, bias=False, dtype=dtype
    )
    layer.weight.data.copy_(upsample_ext.make_bilinear_weights(kernel, channels))
    return layer


# ---- Upsample and UpsamplingBilinear2d


UPSAMPLE_ARGUMENTS = [
    {"scale_factor": 2, "mode": "bilinear"},
    {"scale_factor": (1.5, 3), "mode": "bilinear"},
    {"size": 7, "mode": "bilinear", "align_corners": True},
    {"size": (9, 4), "mode": "bilinear", "align_corners": False},
    {"scale_factor": 1.7, "mode": "bilinear", "recompute_scale_factor": True},
    {"scale_factor": 2},
    {"scale_factor": 2, "mode": "bicubic"},
]


@pytest.mark.parametrize("arguments", UPSAMPLE_ARGUMENTS, ids=str)
def test_upsample_is_nn_upsample(default_device, arguments):
    ours, native = upsample_ext.Upsample(**arguments), nn.Upsample(**arguments)
    assert isinstance(ours, nn.Upsample)
    assert repr(ours) == repr(native)
    assert vars(ours).keys() == vars(native).keys() | {"__module__"}  # by which torch.fx knows it
    for name in nn.Upsample.__constants__:
        assert getattr(ours, name) == getattr(native, name)
    assert ours.state_dict() == native.state_dict() == {}
    x = torch.rand(2, 3, 5, 6)
    torch.testing.assert_close(ours(x), native(x))


def test_upsample_runs_here(default_device):
    x = torch.rand(1, 2, 3, 4, requires_grad=True)
    layer = upsample_ext.Upsample(scale_factor=2, mode="bilinear")
    assert profiled_ops(lambda: layer(x).sum().backward()) == {
        "upsample_ext::upsample_bilinear2d",
        "upsample_ext::upsample_bilinear2d_backward",
    }


def test_upsample_runs_here_in_every_mode(default_device):
    for mode, shape in (("linear", (1, 2, 8)), ("nearest", (1, 2, 3, 4)), ("trilinear", (1, 2, 3, 4, 5))):
        x = torch.rand(shape, requires_grad=True)
        layer = upsample_ext.Upsample(scale_factor=2, mode=mode)
        ops = {"upsample_ext::resample", "upsample_ext::resample_backward"} if x.is_cpu else set()
        assert profiled_ops(lambda layer=layer, x=x: layer(x).sum().backward()) == ops
        torch.testing.assert_close(layer(x), nn.Upsample(scale_factor=2, mode=mode)(x))


def test_upsampling_nearest_is_nn_upsampling_nearest(default_device):
    x = torch.rand(2, 3, 5, 6)
    for arguments in ({"scale_factor": 2}, {"size": (7, 4)}):
        ours, native = upsample_ext.UpsamplingNearest2d(**arguments), nn.UpsamplingNearest2d(**arguments)
        assert isinstance(ours, nn.UpsamplingNearest2d) and repr(ours) == repr(native)
        assert torch.equal(ours(x), native(x))


@pytest.mark.parametrize(
    "arguments, shape",
    [
        ({"mode": "bilinear"}, (1, 1, 2, 2)),
        ({"size": 2, "scale_factor": 2, "mode": "bilinear"}, (1, 1, 2, 2)),
        ({"scale_factor": 2, "mode": "bilinear"}, (1, 2, 2)),
        ({"size": (2, 2, 2), "mode": "bilinear"}, (1, 1, 2, 2)),
        ({"scale_factor": 2, "mode": "nearest", "align_corners": True}, (1, 1, 2, 2)),
    ],
    ids=str,
)
def test_upsample_raises_as_native(default_device, arguments, shape):
    x = torch.rand(shape)
    with pytest.raises(Exception) as native:
        nn.Upsample(**arguments)(x)
    with pytest.raises(type(native.value)) as ours:
        upsample_ext.Upsample(**arguments)(x)
    assert str(ours.value) == str(native.value)


@pytest.mark.parametrize(
    "arguments", [{"scale_factor": 2}, {"size": (5, 9)}, {"scale_factor": (2, 3)}], ids=str
)
def test_upsampling_bilinear2d_is_nn_upsampling_bilinear2d(default_device, arguments):
    ours, native = upsample_ext.UpsamplingBilinear2d(**arguments), nn.UpsamplingBilinear2d(**arguments)
    assert isinstance(ours, nn.UpsamplingBilinear2d) and isinstance(ours, nn.Upsample)
    assert repr(ours) == repr(native)
    assert ours.align_corners is True and ours.mode == "bilinear"
    x = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(ours(x), native(x))
    assert profiled_ops(lambda: ours(x)) == {"upsample_ext::upsample_bilinear2d"}


# ---- DepthwiseConvTranspose2d


DEPTHWISE_ARGUMENTS = [
    {"kernel_size": 4, "stride": 2, "padding": 1},
    {"kernel_size": (3, 5), "stride": (2, 3), "padding": (1, 2), "output_padding": (1, 0), "bias": False},
    {"kernel_size": 3, "dilation": 2},
]


@pytest.mark.parametrize("arguments", DEPTHWISE_ARGUMENTS, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4, 5)], ids=["batched", "unbatched"])
def test_depthwise_is_nn_conv_transpose2d(default_device, arguments, shape):
    torch.manual_seed(0)
    native = nn.ConvTranspose2d(3, 3, groups=3, **arguments)
    torch.manual_seed(0)
    ours = upsample_ext.DepthwiseConvTranspose2d(3, 3, groups=3, **arguments)
    assert isinstance(ours, nn.ConvTranspose2d)
    assert ours.extra_repr() == native.extra_repr()
    assert torch.equal(ours.weight, native.weight), "the same random initialisation"
    x = torch.rand(shape)
    left, right = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(ours(left), native(right))
    ours(left).square().sum().backward()
    native(right).square().sum().backward()
    torch.testing.assert_close(left.grad, right.grad)
    for (name, a), (other, b) in zip(ours.named_parameters(), native.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(a.grad, b.grad)


def test_depthwise_runs_here(default_device):
    x = torch.rand(1, 3, 4, 5)
    layer = upsample_ext.DepthwiseConvTranspose2d(3, 3, 4, stride=2, groups=3)
    assert "upsample_ext::depthwise_conv_transpose2d" in profiled_ops(lambda: layer(x))


def test_depthwise_output_size(default_device):
    native = nn.ConvTranspose2d(3, 3, 3, stride=2, padding=1, groups=3)
    ours = upsample_ext.DepthwiseConvTranspose2d(3, 3, 3, stride=2, padding=1, groups=3)
    ours.load_state_dict(native.state_dict())
    x = torch.rand(1, 3, 5, 6)
    for size in [(9, 11), (10, 12), (9, 12), torch.Size([1, 3, 10, 11])]:
        torch.testing.assert_close(ours(x, output_size=size), native(x, output_size=size))
    with pytest.raises(ValueError) as expected:
        native(x, output_size=(20, 20))
    with pytest.raises(ValueError) as got:
        ours(x, output_size=(20, 20))
    assert str(got.value) == str(expected.value)


def test_depthwise_refuses_to_mix_channels():
    with pytest.raises(
        ValueError, match="groups == in_channels == out_channels, got groups=1, in_channels=4"
    ):
        upsample_ext.DepthwiseConvTranspose2d(4, 4, 3)


# ---- BilinearConvTranspose2d


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 7, 2), (1, 3, 1, 1), (0, 3, 4, 5)], ids=str)
def test_bilinear_layer_is_the_conv_transpose_it_stands_for(default_device, factor, learnable, shape):
    native = bilinear_layer(3, factor)
    ours = upsample_ext.BilinearConvTranspose2d(3, factor, learnable)
    assert isinstance(ours, nn.ConvTranspose2d)
    x = torch.rand(shape)
    left, right = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(ours(left), native(right))
    ours(left).square().sum().backward()
    native(right).square().sum().backward()
    torch.testing.assert_close(left.grad, right.grad)
    if learnable:
        torch.testing.assert_close(ours.weight.grad, native.weight.grad)
    else:
        assert ours.weight.grad is None


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("factor", [2, 3, 4, 7])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 7, 2), (1, 3, 1, 1), (0, 3, 4, 5)], ids=str)
def test_bilinear_layer_with_the_edge_repeated_is_interpolation(default_device, factor, learnable, shape):
    ours = upsample_ext.BilinearConvTranspose2d(3, factor, learnable, padding_mode="replicate")
    x = torch.rand(shape, requires_grad=True)
    image = x if x.dim() == 4 else x[None]
    expected = F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False).reshape(
        *shape[:-2], factor * shape[-2], factor * shape[-1]
    )
    torch.testing.assert_close(ours(x), expected)
    (grad,) = torch.autograd.grad(ours(x).square().sum(), x)
    (expected_grad,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("learnable", [False, True])
def test_bilinear_layer_dtypes(default_device, dtype, learnable):
    ours = upsample_ext.BilinearConvTranspose2d(3, 2, learnable, dtype=dtype)
    repeated = upsample_ext.BilinearConvTranspose2d(3, 2, learnable, padding_mode="replicate", dtype=dtype)
    assert ours.weight.dtype == dtype
    x = torch.rand(1, 3, 4, 5).to(dtype)
    assert ours(x).dtype == repeated(x).dtype == dtype
    loose = {"rtol": 1e-2, "atol": 1e-2}
    torch.testing.assert_close(ours(x).double(), bilinear_layer(3, 2, torch.float64)(x.double()), **loose)
    expected = F.interpolate(x.double(), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(repeated(x).double(), expected, **loose)


@pytest.mark.parametrize("factor", [2, 3, 5, 8])
def test_bilinear_layer_with_the_edge_repeated_is_the_same_by_pytorch(default_device, factor, monkeypatch):
    """What devices without kernels of ours run: PyTorch's padding and convolution."""
    layer = upsample_ext.BilinearConvTranspose2d(2, factor, learnable=True, padding_mode="replicate")
    x = torch.rand(1, 2, 3, 4)
    size = (4 * factor - 1, 5 * factor - 1)
    ours = layer(x), layer(x, output_size=size)
    monkeypatch.setattr(modules, "_depthwise_geometry", lambda *args: None)
    monkeypatch.setattr(modules, "conv_transpose2d", F.conv_transpose2d)
    torch.testing.assert_close(layer(x), ours[0])
    torch.testing.assert_close(layer(x, output_size=size), ours[1])


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
def test_bilinear_layer_takes_the_fast_path_only_while_it_is_the_same(default_device, padding_mode):
    x = torch.rand(1, 2, 4, 5)
    layer = upsample_ext.BilinearConvTranspose2d(2, 2, padding_mode=padding_mode)
    fast = profiled_ops(lambda: layer(x))
    assert "upsample_ext::depthwise_conv_transpose2d" not in fast and fast
    layer.weight.requires_grad_(True)
    assert profiled_ops(lambda: layer(x)) == {"upsample_ext::depthwise_conv_transpose2d"}
    layer.weight.requires_grad_(False)
    # Away from the CPU values are read once per write, and PyTorch does not count writes through `data`.
    written = layer.weight.detach() if default_device == "cuda" else layer.weight.data
    written.mul_(2)
    assert profiled_ops(lambda: layer(x)) == {"upsample_ext::depthwise_conv_transpose2d"}
    layer.reset_parameters()
    assert profiled_ops(lambda: layer(x)) == fast


def write_no_grad(layer, weight):
    with torch.no_grad():
        layer.weight.copy_(weight)


def write_data(layer, weight):
    layer.weight.data.copy_(weight)


def write_new_data(layer, weight):
    layer.weight.data = weight.clone()


def write_new_parameter(layer, weight):
    layer.weight = nn.Parameter(weight.clone(), requires_grad=False)


def write_state_dict(layer, weight):
    layer.load_state_dict({"weight": weight})


def write_assigned_state_dict(layer, weight):
    layer.load_state_dict({"weight": weight}, assign=True)


WRITES = [
    write_no_grad,
    write_data,
    write_new_data,
    write_new_parameter,
    write_state_dict,
    write_assigned_state_dict,
]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
def test_bilinear_layer_honours_any_weight(default_device, write, learnable, padding_mode):
    if default_device == "cuda" and write is write_data:
        pytest.skip("away from the CPU values are read once per write, and PyTorch does not count this one")
    layer = upsample_ext.BilinearConvTranspose2d(2, 2, learnable, padding_mode=padding_mode)
    x = torch.rand(1, 2, 4, 5)
    layer(x)
    weight = torch.rand(2, 1, 4, 4)
    write(layer, weight)
    if padding_mode == "zeros":
        expected = F.conv_transpose2d(x, weight, stride=2, padding=1, groups=2)
    else:
        extended = F.pad(x, (1, 1, 1, 1), mode="replicate")
        expected = F.conv_transpose2d(extended, weight, stride=2, padding=3, groups=2)
    torch.testing.assert_close(layer(x), expected)
    write(layer, upsample_ext.make_bilinear_weights(4, 2))
    torch.testing.assert_close(
        layer(x), upsample_ext.bilinear_conv_transpose2d(x, 2, padding_mode=padding_mode)
    )


def test_bilinear_layer_away_from_the_cpu_reads_values_once_per_write(monkeypatch):
    """The bookkeeping for devices, run on CPU tensors: only the CPU shortcut is taken out."""
    layer = upsample_ext.BilinearConvTranspose2d(2, 2)
    compared = []
    equal = torch.equal
    monkeypatch.setattr(torch, "equal", lambda a, b: compared.append(1) or equal(a, b))
    monkeypatch.setattr(modules, "_READ_AT_ONCE", ())
    x = torch.rand(1, 2, 4, 5)
    for _ in range(3):
        layer(x)
    assert len(compared) == 1, "the hot path reads no values"
    write_no_grad(layer, torch.rand(2, 1, 4, 4))
    torch.testing.assert_close(layer(x), F.conv_transpose2d(x, layer.weight, stride=2, padding=1, groups=2))
    layer(x)
    assert len(compared) == 2
    write_new_parameter(layer, upsample_ext.make_bilinear_weights(4, 2))
    layer(x)
    assert len(compared) == 3
    write_new_data(layer, torch.rand(2, 1, 4, 4))
    torch.testing.assert_close(layer(x), F.conv_transpose2d(x, layer.weight, stride=2, padding=1, groups=2))
    assert len(compared) == 4
    other = pickle.loads(pickle.dumps(copy.deepcopy(layer)))
    assert "_compared" not in vars(other)
    assert equal(other(x), layer(x))


def test_bilinear_layer_state_dict_is_interchangeable():
    native, ours = bilinear_layer(3, 4), upsample_ext.BilinearConvTranspose2d(3, 4)
    assert list(ours.state_dict()) == list(native.state_dict()) == ["weight"]
    assert ours.weight.shape == native.weight.shape == (3, 1, 8, 8)
    assert torch.equal(ours.weight, native.weight)
    ours.load_state_dict(native.state_dict())
    native.load_state_dict(ours.state_dict())
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        ours.load_state_dict(upsample_ext.BilinearConvTranspose2d(3, 2).state_dict())


def test_frozen_bilinear_layer_is_not_trained(default_device):
    layer = upsample_ext.BilinearConvTranspose2d(2, 2)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), layer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.5)
    before = layer.weight.clone()
    model(torch.rand(1, 1, 3, 3)).sum().backward()
    optimizer.step()
    assert torch.equal(layer.weight, before)
    assert layer not in optimizer.state and not optimizer.state.get(layer.weight)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without torch.distributed")
def test_frozen_bilinear_layer_trains_under_distributed_data_parallel():
    dist = torch.distributed
    model = None
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        layer = upsample_ext.BilinearConvTranspose2d(2, 2)
        model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Conv2d(1, 2, 1), layer))
        x, writes = torch.rand(1, 1, 3, 3), layer.weight._version
        for _ in range(2):
            model(x).sum().backward()
        assert layer.weight._version == writes, "not broadcast at each call"
        assert layer.weight.grad is None
    finally:
        # The group's destructor joins gloo's thread with the GIL held. That thread must have let go of what
        # is Python's by then, or both wait for ever.
        del model
        time.sleep(0.1)
        dist.destroy_process_group()


def test_learnable_bilinear_layer_learns(default_device):
    layer = upsample_ext.BilinearConvTranspose2d(2, 2, learnable=True, padding_mode="replicate")
    torch.manual_seed(0)
    x, target = torch.rand(1, 2, 4, 5), torch.rand(1, 2, 8, 10)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    losses = []
    for _ in range(20):
        loss = F.mse_loss(layer(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(layer, {"weight": w}, (x,)),
        (x.double().requires_grad_(), layer.weight.detach().double().requires_grad_()),
    )


def test_bilinear_layer_weight_derivatives_are_not_lost_by_the_fast_path(default_device):
    layer = upsample_ext.BilinearConvTranspose2d(1, 2)
    x, weight = torch.rand(1, 1, 3, 3), layer.weight.detach().clone()
    modules._bilinear_weight.cache_clear()
    call = lambda w: torch.func.functional_call(layer, {"weight": w}, (x,))  # noqa: E731
    native = lambda w: F.conv_transpose2d(x, w, stride=2, padding=1)  # noqa: E731
    tangent = torch.rand_like(weight)
    torch.testing.assert_close(
        torch.func.jvp(call, (weight,), (tangent,))[1], torch.func.jvp(native, (weight,), (tangent,))[1]
    )
    torch.testing.assert_close(
        torch.func.grad(lambda w: call(w).square().sum())(weight),
        torch.func.grad(lambda w: native(w).square().sum())(weight),
    )
    many = torch.rand(4, *weight.shape)
    torch.testing.assert_close(torch.func.vmap(call)(many), torch.func.vmap(native)(many))
    images = torch.rand(5, 1, 1, 3, 3)
    torch.func.grad(lambda image: layer(image).sum())(images[0])
    torch.testing.assert_close(
        torch.func.vmap(layer)(images), torch.stack([layer(image) for image in images])
    )


def test_bilinear_layer_output_size_and_errors_are_native(default_device):
    native, ours = bilinear_layer(2, 3), upsample_ext.BilinearConvTranspose2d(2, 3)
    x = torch.rand(1, 2, 4, 5)
    for size in [(12, 15), (13, 17), (14, 15)]:
        torch.testing.assert_close(ours(x, output_size=size), native(x, output_size=size))
    replicate = upsample_ext.BilinearConvTranspose2d(2, 3, padding_mode="replicate")
    larger = replicate(x, output_size=(14, 17))
    torch.testing.assert_close(larger[..., :12, :15], replicate(x))
    torch.testing.assert_close(larger[..., 13, :], larger[..., 12, :], msg="the edge goes on")
    for bad in [torch.rand(1, 3, 4, 5), x.double(), torch.rand(4, 5), torch.rand(1, 2, 0, 5)]:
        with pytest.raises(Exception) as expected:
            native(bad)
        with pytest.raises(type(expected.value)) as got:
            ours(bad)
        assert str(got.value) == str(expected.value)


def test_bilinear_layer_construction():
    random_state = torch.random.get_rng_state()
    layer = upsample_ext.BilinearConvTranspose2d(3, 2, padding_mode="replicate")
    assert torch.equal(torch.random.get_rng_state(), random_state), "needs no random numbers"
    assert repr(layer) == "BilinearConvTranspose2d(3, factor=2, learnable=False, padding_mode='replicate')"
    assert not layer.learnable and layer.requires_grad_(True).learnable
    with pytest.raises(ValueError, match="expected padding_mode to be 'zeros' or 'replicate', got 'reflect'"):
        upsample_ext.BilinearConvTranspose2d(3, 2, padding_mode="reflect")
    for factor in [0, -1]:
        with pytest.raises(ValueError):
            upsample_ext.BilinearConvTranspose2d(3, factor)


def test_bilinear_layer_can_be_built_on_the_meta_device():
    modules._bilinear_weight.cache_clear()
    with torch.device("meta"):
        layer = upsample_ext.BilinearConvTranspose2d(2, 2)
    assert layer(torch.empty(1, 2, 3, 4, device="meta")).shape == (1, 2, 6, 8)
    layer = layer.to_empty(device="cpu")
    layer.reset_parameters()
    x = torch.rand(1, 2, 3, 4)
    assert torch.equal(layer(x), upsample_ext.BilinearConvTranspose2d(2, 2)(x))


def test_bilinear_layer_autocast_is_native(default_device):
    native, ours = bilinear_layer(2, 2), upsample_ext.BilinearConvTranspose2d(2, 2)
    x = torch.rand(1, 2, 3, 4)
    with torch.autocast(default_device, torch.bfloat16):
        assert ours(x).dtype == native(x).dtype
        assert ours(x.bfloat16()).dtype == native(x.bfloat16()).dtype
        torch.testing.assert_close(ours(x), native(x))


def test_bilinear_layer_casts_and_stays_bilinear(default_device):
    x = torch.rand(1, 2, 3, 4)
    for factor in (2, 3):
        layer = upsample_ext.BilinearConvTranspose2d(2, factor).double()
        torch.testing.assert_close(layer(x.double()).float(), bilinear_layer(2, factor)(x))


# ---- LinearConvTranspose1d


def linear_layer(channels, factor, dtype=torch.float32):
    """The equivalent of LinearConvTranspose1d in plain torch.nn."""
    kernel, stride, padding = upsample_ext.caffe_upsample_params(factor)
    layer = nn.ConvTranspose1d(
        channels, channels, kernel, stride=stride, padding=padding, groups=channels, bias=False, dtype=dtype
    )
    of_factor = (kernel + 1) // 2
    tent = 1 - (torch.arange(kernel, dtype=torch.float64) / of_factor - (kernel - 1) / (2 * of_factor)).abs()
    layer.weight.data.copy_(tent.expand(channels, 1, kernel))
    return layer


LINES = [(2, 3, 7), (3, 4), (1, 3, 1), (0, 3, 5)]


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 3, 8])
@pytest.mark.parametrize("shape", LINES, ids=str)
def test_linear_layer_is_the_conv_transpose_it_stands_for(default_device, factor, learnable, shape):
    native, ours = linear_layer(3, factor), upsample_ext.LinearConvTranspose1d(3, factor, learnable)
    assert isinstance(ours, nn.ConvTranspose1d)
    assert list(ours.state_dict()) == list(native.state_dict()) == ["weight"]
    assert torch.equal(ours.weight, native.weight)
    x = torch.rand(shape)
    left, right = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(ours(left), native(right))
    ours(left).square().sum().backward()
    native(right).square().sum().backward()
    torch.testing.assert_close(left.grad, right.grad)
    if learnable:
        torch.testing.assert_close(ours.weight.grad, native.weight.grad)
    else:
        assert ours.weight.grad is None


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("factor", [2, 3, 7])
@pytest.mark.parametrize("shape", LINES, ids=str)
def test_linear_layer_with_the_edge_repeated_is_interpolation(default_device, factor, learnable, shape):
    ours = upsample_ext.LinearConvTranspose1d(3, factor, learnable, padding_mode="replicate")
    x = torch.rand(shape, requires_grad=True)
    line = x if x.dim() == 3 else x[None]
    expected = F.interpolate(line, scale_factor=factor, mode="linear").reshape(
        *shape[:-1], factor * shape[-1]
    )
    torch.testing.assert_close(ours(x), expected)
    (grad,) = torch.autograd.grad(ours(x).square().sum(), x)
    (expected_grad,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("learnable", [False, True])
def test_linear_layer_dtypes(default_device, dtype, learnable):
    ours = upsample_ext.LinearConvTranspose1d(3, 2, learnable, dtype=dtype)
    x = torch.rand(1, 3, 5).to(dtype)
    assert ours.weight.dtype == ours(x).dtype == dtype
    expected = linear_layer(3, 2, torch.float64)(x.double())
    torch.testing.assert_close(ours(x).double(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
@pytest.mark.parametrize("learnable", [False, True])
def test_linear_layer_honours_any_weight(default_device, padding_mode, learnable):
    layer = upsample_ext.LinearConvTranspose1d(2, 2, learnable, padding_mode=padding_mode)
    x, weight = torch.rand(1, 2, 5), torch.rand(2, 1, 4)
    whole = layer(x)
    torch.testing.assert_close(whole, upsample_ext.linear_conv_transpose1d(x, 2, padding_mode=padding_mode))
    write_no_grad(layer, weight)
    extended, cut = (x, 1) if padding_mode == "zeros" else (F.pad(x, (1, 1), mode="replicate"), 3)
    torch.testing.assert_close(
        layer(x), F.conv_transpose1d(extended, weight, stride=2, padding=cut, groups=2)
    )
    layer.reset_parameters()
    assert torch.equal(layer(x), whole)


def test_linear_layer_takes_the_fast_path_only_while_it_is_the_same(default_device):
    x, layer = torch.rand(1, 2, 5), upsample_ext.LinearConvTranspose1d(2, 2)
    fast = profiled_ops(lambda: layer(x))
    assert fast and "upsample_ext::depthwise_conv_transpose2d" not in fast
    layer.weight.requires_grad_(True)
    assert profiled_ops(lambda: layer(x)) == {"upsample_ext::depthwise_conv_transpose2d"}


def test_linear_layer_with_the_edge_repeated_is_the_same_by_pytorch(default_device, monkeypatch):
    layer = upsample_ext.LinearConvTranspose1d(2, 3, learnable=True, padding_mode="replicate")
    x = torch.rand(1, 2, 4)
    ours = layer(x), layer(x, output_size=[14])
    monkeypatch.setattr(modules, "_depthwise_geometry", lambda *args: None)
    monkeypatch.setattr(modules, "conv_transpose2d", F.conv_transpose2d)
    torch.testing.assert_close((layer(x), layer(x, output_size=[14])), ours)


def test_linear_layer_output_size_errors_and_construction(default_device):
    native, ours = linear_layer(2, 3), upsample_ext.LinearConvTranspose1d(2, 3)
    x = torch.rand(1, 2, 4)
    for size in ([12], [14]):
        torch.testing.assert_close(ours(x, output_size=size), native(x, output_size=size))
    for bad in [torch.rand(1, 3, 4), x.double(), torch.rand(4), torch.rand(1, 2, 0), torch.rand(1, 1, 2, 4)]:
        with pytest.raises(Exception) as expected:
            native(bad)
        with pytest.raises(type(expected.value)) as got:
            ours(bad)
        assert str(got.value) == str(expected.value)
    assert repr(ours) == "LinearConvTranspose1d(2, factor=3, learnable=False, padding_mode='zeros')"
    with pytest.raises(ValueError, match="LinearConvTranspose1d: expected padding_mode to be"):
        upsample_ext.LinearConvTranspose1d(3, 2, padding_mode="reflect")
    with pytest.raises(ValueError):
        upsample_ext.LinearConvTranspose1d(3, 0)


LAYERS = [
    lambda: upsample_ext.Upsample(scale_factor=2, mode="bilinear"),
    lambda: upsample_ext.UpsamplingBilinear2d(scale_factor=2),
    lambda: upsample_ext.DepthwiseConvTranspose2d(2, 2, 4, stride=2, padding=1, groups=2),
    lambda: upsample_ext.BilinearConvTranspose2d(2, 2),
    lambda: upsample_ext.BilinearConvTranspose2d(2, 3, learnable=True, padding_mode="replicate"),
    lambda: upsample_ext.LinearConvTranspose1d(2, 2),
    lambda: upsample_ext.LinearConvTranspose1d(2, 3, learnable=True, padding_mode="replicate"),
]
LAYER_IDS = ["upsample", "upsampling_bilinear2d", "depthwise", "bilinear", "bilinear_learnable_replicate"]
LAYER_IDS += ["linear", "linear_learnable_replicate"]


def image_of(layer, batch=1):
    """What the layer takes; in its last axis no size that another axis has."""
    lines = isinstance(layer, nn.ConvTranspose1d)
    return torch.rand(batch, 2, 5) if lines else torch.rand(batch, 2, 4 if batch == 1 else 6, 5)


@pytest.mark.parametrize("make", LAYERS, ids=LAYER_IDS)
def test_layers_are_copied_pickled_and_saved(default_device, make):
    layer = make()
    x = image_of(layer)
    expected = layer(x)
    saved = io.BytesIO()
    torch.save(layer, saved)
    saved.seek(0)
    for other in (
        copy.deepcopy(layer),
        copy.copy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(saved, weights_only=False),
    ):
        assert type(other) is type(layer)
        assert repr(other) == repr(layer)
        assert torch.equal(other(x), expected)
    fresh = make()
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("make", LAYERS, ids=LAYER_IDS)
def test_layers_compile_without_a_break(default_device, make, fresh_compiler):
    layer = make()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for batch in (1, 3):
        x = image_of(layer, batch).requires_grad_()
        y = torch.rand_like(x).copy_(x).detach().requires_grad_()
        torch.testing.assert_close(compiled(x), layer(y))
        compiled(x).square().sum().backward()
        layer(y).square().sum().backward()
        torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.slow
def test_a_compiled_or_exported_bilinear_layer_honours_a_weight_loaded_later():
    layer = upsample_ext.BilinearConvTranspose2d(2, 2)
    x, weight = torch.rand(1, 2, 4, 5), torch.rand(2, 1, 4, 4)
    expected = F.conv_transpose2d(x, weight, stride=2, padding=1, groups=2)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    exported = torch.export.export(layer, (x,)).module()
    traced = torch.jit.trace(layer, x)
    for program in (compiled, exported, traced):
        torch.testing.assert_close(program(x), layer(x))
    write_data(layer, weight)
    torch.testing.assert_close(compiled(x), expected)
    for program in (exported, traced):
        with torch.no_grad():
            dict(program.named_parameters())["weight"].copy_(weight)
        torch.testing.assert_close(program(x), expected)
