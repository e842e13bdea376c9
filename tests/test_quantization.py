"""Quantization of converted models gives what it gives of the models themselves."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import upsample_ext

quantization = pytest.importorskip("torch.ao.quantization", reason="this torch has no torch.ao.quantization")

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.ao tells that it will move


class Net(nn.Module):
    """Every kind of layer that is converted, and a functional call."""

    def __init__(self):
        super().__init__()
        self.quantize = quantization.QuantStub()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.deconv = nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8)
        self.nearest = nn.UpsamplingNearest2d(scale_factor=2)
        self.dequantize = quantization.DeQuantStub()

    def forward(self, x):
        x = self.nearest(self.deconv(self.up(self.stem(self.quantize(x)))))
        return self.dequantize(F.interpolate(x, scale_factor=0.5, mode="bilinear"))


@pytest.fixture(autouse=True)
def engine():
    """FBGEMM has no transposed convolution; the portable one has."""
    before = torch.backends.quantized.engine
    if "qnnpack" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no quantized kernels of qnnpack")
    torch.backends.quantized.engine = "qnnpack"
    yield
    torch.backends.quantized.engine = before


def both():
    """The model and its conversion, and an input."""
    torch.manual_seed(0)
    net = Net().eval()
    return net, upsample_ext.convert(net), torch.randn(2, 3, 6, 5)


def with_qconfig(model, qconfig):
    model.qconfig = qconfig
    return model


def test_eager_static():
    native, converted, x = both()
    results = []
    for model in (native, converted):
        prepared = quantization.prepare(with_qconfig(model, quantization.get_default_qconfig("qnnpack")))
        prepared(x)
        quantized = quantization.convert(prepared)
        assert type(quantized.deconv) is torch.ao.nn.quantized.ConvTranspose2d
        results.append(quantized(x))
    assert torch.equal(*results)


def test_eager_static_of_a_layer_by_itself():
    layer = nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8)
    own = upsample_ext.DepthwiseConvTranspose2d(8, 8, 4, 2, 1, groups=8)
    own.load_state_dict(layer.state_dict())
    x, results = torch.randn(1, 8, 4, 4), []
    for one in (layer, upsample_ext.convert(layer), own):
        model = nn.Sequential(quantization.QuantStub(), one, quantization.DeQuantStub()).eval()
        prepared = quantization.prepare(with_qconfig(model, quantization.get_default_qconfig("qnnpack")))
        prepared(x)
        results.append(quantization.convert(prepared)(x))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_eager_training():
    """Fake quantization while training, then the quantized model."""
    native, converted, x = both()
    results = []
    for model in (native, converted):
        with_qconfig(model.train(), quantization.get_default_qat_qconfig("qnnpack"))
        prepared = quantization.prepare_qat(model)
        prepared(x).square().mean().backward()
        with torch.no_grad():
            for parameter in prepared.parameters():
                parameter -= 0.1 * parameter.grad
        results.append(quantization.convert(prepared.eval())(x))
    assert torch.equal(*results)


def test_dynamic():
    native, converted, x = both()
    for model in (native, converted):
        model.head = nn.Linear(4, 2)
    converted.head.load_state_dict(native.head.state_dict())
    quantized = quantization.quantize_dynamic(converted, {nn.Linear})
    assert type(quantized.head) is torch.ao.nn.quantized.dynamic.Linear
    assert type(quantized.up) is upsample_ext.Upsample
    torch.testing.assert_close(quantized(x), quantization.quantize_dynamic(native, {nn.Linear})(x))


@pytest.mark.parametrize("patched", [False, True])
def test_graph_mode(patched):
    fx = pytest.importorskip("torch.ao.quantization.quantize_fx")
    native, converted, x = both()
    mapping = quantization.get_default_qconfig_mapping("qnnpack")
    graphs = []
    for model in (native, native if patched else converted):
        handle = upsample_ext.patch() if patched and graphs else None
        prepared = fx.prepare_fx(copy.deepcopy(model), mapping, (x,))
        prepared(x)
        graphs.append(fx.convert_fx(prepared))
        if handle:
            handle.undo()
    assert type(graphs[1].deconv) is type(graphs[0].deconv) is torch.ao.nn.quantized.ConvTranspose2d
    targets = [
        [(node.op, getattr(node.target, "__name__", node.target)) for node in graph.graph.nodes]
        for graph in graphs
    ]
    assert targets[0] == targets[1]
    assert torch.equal(graphs[0](x), graphs[1](x))


def test_layers_that_are_not_quantized_stay_ours():
    _, converted, x = both()
    converted.qconfig = quantization.get_default_qconfig("qnnpack")
    converted.deconv.qconfig = None
    prepared = quantization.prepare(converted)
    assert type(prepared.deconv) is upsample_ext.DepthwiseConvTranspose2d
    assert prepared.deconv.qconfig is None
    del prepared.deconv.qconfig
    assert not hasattr(prepared.deconv, "qconfig")


@pytest.mark.parametrize("backend", ["x86", "fbgemm"])
def test_a_mapping_by_the_class_of_a_layer(backend):
    """The default ones have transposed convolutions by themselves, for they take no weights by channel."""
    fx = pytest.importorskip("torch.ao.quantization.quantize_fx")
    if backend not in torch.backends.quantized.supported_engines:
        pytest.skip(f"this torch has no quantized kernels of {backend}")
    torch.backends.quantized.engine = backend
    native, converted, x = both()
    results = []
    for model in (native, converted):
        prepared = fx.prepare_fx(model, quantization.get_default_qconfig_mapping(backend), (x,))
        prepared(x)
        quantized = fx.convert_fx(prepared)
        assert type(quantized.deconv) is torch.ao.nn.quantized.ConvTranspose2d
        results.append(quantized(x))
    assert torch.equal(*results)


def test_layers_of_our_own_stay_what_they_are():
    """Where torch.nn has none that computes the same."""
    model = nn.Sequential(upsample_ext.BilinearConvTranspose2d(3, 2, padding_mode="replicate"))
    model.loss = upsample_ext.UpsampleCrossEntropyLoss()
    prepared = quantization.prepare_qat(with_qconfig(model.train(), quantization.get_default_qat_qconfig()))
    assert type(prepared[0]) is upsample_ext.BilinearConvTranspose2d
    assert type(prepared.loss) is upsample_ext.UpsampleCrossEntropyLoss
    x = torch.rand(1, 3, 4, 5)
    torch.testing.assert_close(prepared[0](x), F.interpolate(x, scale_factor=2, mode="bilinear"))


def test_exported_graphs():
    """pt2e: by torchao where it is installed, otherwise by torch.ao."""
    try:
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
            X86InductorQuantizer,
            get_default_x86_inductor_quantization_config,
        )
    except ImportError:
        pytest.skip("torchao is not installed")
    native, converted, x = both()
    results = []
    for model in (native, converted):
        quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
        prepared = prepare_pt2e(torch.export.export(model, (x,)).module(), quantizer)
        prepared(x)
        quantized = convert_pt2e(prepared)
        results.append(quantized(x))
        assert sum("quantize_per" in str(node.target) for node in quantized.graph.nodes) > 0
    torch.testing.assert_close(*results)


def test_quantized_images_are_pytorch_s():
    x = torch.quantize_per_tensor(torch.rand(1, 2, 4, 4), 0.1, 0, torch.quint8)
    for mode in ("bilinear", "nearest"):
        ours = upsample_ext.interpolate(x, scale_factor=2, mode=mode)
        assert torch.equal(ours.int_repr(), F.interpolate(x, scale_factor=2, mode=mode).int_repr())
