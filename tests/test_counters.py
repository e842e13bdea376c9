"""Counters of operations, and modes that watch functions, find what they find without this package."""

import contextlib
import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

import upsample_ext

INTERPOLATE, CONV_TRANSPOSE_2D, CONV_TRANSPOSE_1D = F.interpolate, F.conv_transpose2d, F.conv_transpose1d


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.deconv = nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8)
        self.nearest = nn.Upsample(scale_factor=2)
        self.lines = nn.ConvTranspose1d(8, 8, 4, 2, 1, groups=8)

    def forward(self, x):
        x = self.nearest(self.deconv(self.up(self.stem(x))))
        return F.interpolate(x, size=(9, 7), mode="bilinear").mean() + self.lines(x[:, :, 0]).mean()


def ways():
    """The net as it is, under a patch, and converted, each with a context to call it in."""
    torch.manual_seed(0)
    net = Net()
    yield "native", net, contextlib.nullcontext()
    yield "patch", net, upsample_ext.patch()
    yield "convert", upsample_ext.convert(net), contextlib.nullcontext()


def test_flop_counter_mode():
    """Forward and backward, by operation and by layer."""
    found = {}
    for name, net, context in ways():
        with context, FlopCounterMode(display=False) as counter:
            net(torch.randn(2, 3, 4, 5)).backward()
        by_module = {module: sum(ops.values()) for module, ops in counter.get_flop_counts().items()}
        found[name] = counter.get_total_flops(), by_module
    assert found["patch"] == found["convert"] == found["native"]
    assert found["native"][0] > 0


@pytest.mark.filterwarnings("ignore")
def test_fvcore():
    analysis = pytest.importorskip("fvcore.nn")
    found = {}
    for name, net, context in ways():
        for kind in (analysis.FlopCountAnalysis, analysis.ActivationCountAnalysis):
            with context:
                count = kind(net, torch.randn(2, 3, 4, 5))
                count.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
                found.setdefault(kind, {})[name] = count.by_module_and_operator(), count.unsupported_ops()
    for of_kind in found.values():
        assert of_kind["patch"] == of_kind["convert"] == of_kind["native"]
    assert found[analysis.FlopCountAnalysis]["native"][0][""]["upsample_bilinear2d"] > 0


def test_the_profiler_names_what_runs():
    net = upsample_ext.convert(Net())
    with torch.profiler.profile() as profile:
        net(torch.randn(2, 3, 4, 5)).backward()
    names = {event.key for event in profile.key_averages()}
    forward = ["upsample_bilinear2d", "resample"]
    assert {f"upsample_ext::{name}{kind}" for name in forward for kind in ("", "_backward")} <= names
    assert "upsample_ext::depthwise_conv_transpose2d_backward_weight" in names


# ---- modes -------------------------------------------------------------------------------------------------


class Watch(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


def test_a_mode_sees_pytorch_s_functions_under_a_patch():
    """Those that were found in their places: the keys of a table that was made before."""
    torch.manual_seed(0)
    net, x = Net(), torch.randn(2, 3, 4, 5)
    with Watch() as plain:
        expected = net(x)
    with upsample_ext.patch(), Watch() as patched:
        assert torch.equal(net(x), expected)
    natives = (INTERPOLATE, CONV_TRANSPOSE_2D, CONV_TRANSPOSE_1D)
    for native in natives:
        assert plain.seen.count(native) == patched.seen.count(native) > 0
    assert not any(inspect.getmodule(func) is upsample_ext.resample for func in patched.seen)
    with Watch() as after:
        upsample_ext.interpolate(x, scale_factor=2)
    assert upsample_ext.interpolate in after.seen and INTERPOLATE not in after.seen


def test_the_default_device_does_not_keep_a_patch_from_our_ops():
    """torch.set_default_device and `with torch.device` are such modes, too."""
    x = torch.randn(2, 3, 4, 5)
    with upsample_ext.patch(), torch.device("cpu"), torch.profiler.profile() as profile:
        F.interpolate(x, scale_factor=2, mode="bilinear")
        F.conv_transpose2d(x, torch.ones(3, 1, 2, 2), groups=3)
    names = {event.key for event in profile.key_averages()}
    assert {"upsample_ext::upsample_bilinear2d", "upsample_ext::depthwise_conv_transpose2d"} <= names
