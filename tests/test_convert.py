"""convert(), revert() and conversions(): which layers are swapped, and that nothing they hold is lost."""

import copy
import logging
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import upsample_ext


class Decoder(nn.Module):
    """A small decoder with every kind of layer that convert() knows, one twice, and some it must leave."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(4, 4, 1), nn.UpsamplingBilinear2d(scale_factor=2)),
                nn.ModuleDict({"deconv": nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1, groups=4)}),
            ]
        )
        self.shared = self.up
        self.nearest = nn.Upsample(scale_factor=2)
        self.mixing = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.grouped = nn.ConvTranspose2d(4, 8, 2, stride=2, groups=4)
        self.lines = nn.ConvTranspose1d(4, 4, 4, stride=2, groups=4)

    def forward(self, x):
        x = self.up(self.stem(x))
        x = self.blocks[0](x)
        x = self.blocks[1]["deconv"](x)
        x = self.grouped(self.mixing(self.nearest(self.shared(x))))
        return x * self.lines(x[:, :4, 0]).mean()


KEPT = {"mixing": nn.ConvTranspose2d, "grouped": nn.ConvTranspose2d}
SWAPPED = {
    "up": upsample_ext.Upsample,
    "shared": upsample_ext.Upsample,
    "nearest": upsample_ext.Upsample,
    "blocks.0.1": upsample_ext.UpsamplingBilinear2d,
    "blocks.1.deconv": upsample_ext.DepthwiseConvTranspose2d,
    "lines": upsample_ext.DepthwiseConvTranspose1d,
}


def upsample_ops(function):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    return {event.key for event in profile.key_averages() if event.key.startswith("upsample_ext::")}


def test_swaps_the_layers_it_knows_and_no_others():
    converted = upsample_ext.convert(Decoder())
    for name, kind in {**KEPT, **SWAPPED}.items():
        assert type(converted.get_submodule(name)) is kind, name
    assert converted.shared is converted.up


def test_values_and_gradients_are_kept():
    torch.manual_seed(0)
    model = Decoder()
    converted = upsample_ext.convert(model)
    x = torch.rand(1, 3, 3, 4)
    torch.testing.assert_close(converted(x), model(x))
    model(x).square().mean().backward()
    converted(x).square().mean().backward()
    for (name, a), (other, b) in zip(model.named_parameters(), converted.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(a.grad, b.grad)
    assert {
        "upsample_ext::upsample_bilinear2d",
        "upsample_ext::upsample_bilinear2d_backward",
        "upsample_ext::depthwise_conv_transpose2d",
        "upsample_ext::depthwise_conv_transpose2d_backward_input",
        "upsample_ext::depthwise_conv_transpose2d_backward_weight",
    } <= upsample_ops(lambda: converted(x).sum().backward())


def test_in_place_keeps_every_object():
    model = Decoder().eval()
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert upsample_ext.convert(model, inplace=True) is model
    for name, module in model.named_modules():
        assert modules[name] is module
        assert not module.training
    for name, parameter in model.named_parameters():
        assert parameters[name] is parameter
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {
        id(p) for p in model.parameters()
    }


def test_a_copy_is_converted_unless_in_place():
    model = Decoder()
    before = [type(module) for module in model.modules()]
    converted = upsample_ext.convert(model)
    assert converted is not model
    assert [type(module) for module in model.modules()] == before
    for (_, a), (_, b) in zip(model.named_parameters(), converted.named_parameters(), strict=True):
        assert a is not b and torch.equal(a, b)


def test_state_dicts_are_interchangeable():
    model, converted = Decoder(), upsample_ext.convert(Decoder())
    assert list(model.state_dict()) == list(converted.state_dict())
    converted.load_state_dict(model.state_dict())
    model.load_state_dict(converted.state_dict())
    x = torch.rand(1, 3, 3, 4)
    torch.testing.assert_close(converted(x), model(x))


@pytest.mark.parametrize("inplace", [False, True])
def test_hooks_of_every_kind_are_kept(inplace):
    deconv = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1, groups=2)
    called = []
    deconv.register_forward_pre_hook(lambda module, args: called.append("forward_pre"))
    deconv.register_forward_hook(lambda module, args, output: called.append("forward"))
    deconv.register_full_backward_pre_hook(lambda module, grad: called.append("backward_pre"))
    deconv.register_full_backward_hook(lambda module, grad_in, grad_out: called.append("backward"))
    deconv.register_state_dict_pre_hook(lambda module, prefix, keep: called.append("state_dict_pre"))
    deconv.register_state_dict_post_hook(lambda module, *rest: called.append("state_dict_post"))
    deconv.register_load_state_dict_pre_hook(lambda module, *rest: called.append("load_pre"))
    deconv.register_load_state_dict_post_hook(lambda module, keys: called.append("load_post"))
    converted = upsample_ext.convert(deconv, inplace=inplace)
    assert type(converted) is upsample_ext.DepthwiseConvTranspose2d
    converted(torch.rand(1, 2, 3, 3, requires_grad=True)).sum().backward()
    converted.load_state_dict(converted.state_dict())
    assert called == [
        "forward_pre",
        "forward",
        "backward_pre",
        "backward",
        "state_dict_pre",
        "state_dict_post",
        "load_pre",
        "load_post",
    ]


def test_a_hook_that_changes_the_output_still_does():
    up = nn.Upsample(scale_factor=2, mode="bilinear")
    up.register_forward_hook(lambda module, args, output: output + 1)
    x = torch.rand(1, 1, 3, 3)
    torch.testing.assert_close(upsample_ext.convert(up)(x), up(x))


@pytest.mark.parametrize(
    "root, kind",
    [
        (nn.Upsample(scale_factor=2, mode="bilinear"), upsample_ext.Upsample),
        (nn.UpsamplingBilinear2d(size=(5, 6)), upsample_ext.UpsamplingBilinear2d),
        (nn.UpsamplingNearest2d(size=(5, 6)), upsample_ext.UpsamplingNearest2d),
        (nn.ConvTranspose2d(1, 1, 4, stride=2), upsample_ext.DepthwiseConvTranspose2d),
    ],
    ids=["upsample", "upsampling_bilinear2d", "upsampling_nearest2d", "one_channel_conv_transpose"],
)
def test_the_root_itself_may_be_swapped(root, kind):
    converted = upsample_ext.convert(root)
    assert type(converted) is kind and isinstance(converted, type(root))
    assert converted.extra_repr() == root.extra_repr()
    x = torch.rand(1, 1, 3, 4)
    torch.testing.assert_close(converted(x), root(x))


def test_extra_attributes_buffers_and_tied_weights_are_kept():
    deconv = nn.ConvTranspose2d(2, 2, 4, groups=2, bias=False)
    other = nn.ConvTranspose2d(2, 2, 4, groups=2, bias=False)
    other.weight = deconv.weight
    deconv.register_buffer("count", torch.tensor(3))
    deconv.note = "mine"
    model = upsample_ext.convert(nn.Sequential(deconv, other))
    assert model[0].weight is model[1].weight
    assert model[0].note == "mine" and model[0].count == 3


def test_output_size_still_works():
    deconv = nn.ConvTranspose2d(3, 3, 3, stride=2, padding=1, groups=3)
    converted = upsample_ext.convert(deconv)
    x = torch.rand(1, 3, 5, 6)
    torch.testing.assert_close(converted(x, output_size=[10, 11]), deconv(x, output_size=[10, 11]))


def test_subclasses_are_left_alone():
    class Twice(nn.Upsample):
        def forward(self, x):
            return 2 * super().forward(x)

    class Named(nn.ConvTranspose2d):
        pass

    model = nn.Sequential(
        Twice(scale_factor=2, mode="bilinear"),
        Named(2, 2, 3, groups=2),
        nn.LazyConvTranspose2d(2, 3, groups=2),
    )
    kinds = [type(layer) for layer in model]
    upsample_ext.convert(model, inplace=True)
    assert [type(layer) for layer in model] == kinds


def test_a_forward_replaced_on_the_instance_is_left_alone():
    up = nn.Upsample(scale_factor=2, mode="bilinear")
    up.forward = lambda x: x + 1
    upsample_ext.convert(up, inplace=True)
    assert type(up) is nn.Upsample
    assert torch.equal(up(torch.zeros(1)), torch.ones(1))


def test_parametrized_and_weight_normed_layers_keep_working():
    parametrized = nn.utils.parametrizations.weight_norm(nn.ConvTranspose2d(2, 2, 3, groups=2))
    normed = nn.utils.weight_norm(nn.ConvTranspose2d(2, 2, 3, groups=2))
    model = nn.Sequential(parametrized, normed)
    x = torch.rand(1, 2, 4, 5)
    expected = model(x)
    keys, kind = list(model.state_dict()), type(parametrized)
    upsample_ext.convert(model, inplace=True)
    assert type(model[0]) is kind
    assert type(model[1]) is upsample_ext.DepthwiseConvTranspose2d
    assert list(model.state_dict()) == keys
    torch.testing.assert_close(model(x), expected)
    with torch.no_grad():
        normed.weight_g.mul_(2)
    model(x).sum().backward()
    assert normed.weight_g.grad is not None and normed.weight_v.grad is not None
    nn.utils.remove_weight_norm(normed)
    assert isinstance(normed.weight, nn.Parameter)


def test_pruned_layers_keep_working():
    deconv = nn.ConvTranspose2d(2, 2, 3, groups=2)
    prune.l1_unstructured(deconv, "weight", amount=0.5)
    x = torch.rand(1, 2, 4, 5)
    expected = deconv(x)
    upsample_ext.convert(deconv, inplace=True)
    torch.testing.assert_close(deconv(x), expected)
    assert set(dict(deconv.named_parameters())) == {"weight_orig", "bias"}


def test_converting_twice_changes_nothing(caplog):
    model = upsample_ext.convert(Decoder())
    kinds = [type(module) for module in model.modules()]
    with caplog.at_level(logging.INFO, logger="upsample_ext"):
        upsample_ext.convert(model, inplace=True)
    assert [type(module) for module in model.modules()] == kinds
    assert "swapped 0 layer(s)" in caplog.text


def test_logs_what_it_swapped(caplog):
    with caplog.at_level(logging.INFO, logger="upsample_ext"):
        upsample_ext.convert(Decoder())
    assert [record.getMessage() for record in caplog.records] == [
        "convert: up: torch.nn.Upsample -> upsample_ext.Upsample",
        "convert: blocks.0.1: torch.nn.UpsamplingBilinear2d -> upsample_ext.UpsamplingBilinear2d",
        "convert: blocks.1.deconv: torch.nn.ConvTranspose2d -> upsample_ext.DepthwiseConvTranspose2d",
        "convert: nearest: torch.nn.Upsample -> upsample_ext.Upsample",
        "convert: lines: torch.nn.ConvTranspose1d -> upsample_ext.DepthwiseConvTranspose1d",
        "convert: swapped 5 layer(s) of Decoder: 2 Upsample, 1 UpsamplingBilinear2d, "
        "1 DepthwiseConvTranspose2d, 1 DepthwiseConvTranspose1d",
    ]


def test_warns_where_there_is_nothing_to_swap(caplog):
    upsample_ext.convert(nn.Sequential(nn.Conv2d(1, 2, 1)))
    assert "for functional calls there is upsample_ext.patch()" in caplog.text


@pytest.mark.parametrize("function", [upsample_ext.convert, upsample_ext.revert, upsample_ext.conversions])
def test_refuses_what_is_no_module(function):
    with pytest.raises(TypeError, match=f"{function.__name__}: expected a torch.nn.Module, got function"):
        function(lambda x: x)


def test_tells_what_it_converted_and_what_it_left():
    model = Decoder()
    model.replaced = nn.Upsample(scale_factor=2)
    model.replaced.forward = lambda x: x
    model.odd = nn.UpsamplingNearest2d(scale_factor=2)
    model.odd.mode = "bicubic"
    model.own = upsample_ext.Upsample(scale_factor=2)
    model.diagonal = fixed_diagonal_layer()
    model.trained = fixed_diagonal_layer().requires_grad_()
    before = upsample_ext.conversions(model)
    assert not before.converted and len(before.left) == 12
    after = upsample_ext.conversions(upsample_ext.convert(model))
    named = {name: kind for name, kind in SWAPPED.items() if name != "shared"}
    assert {name: what.rpartition(".")[2] for name, what in after.converted.items()} == {
        name: kind.__name__ for name, kind in named.items()
    }
    assert after.left == {
        "mixing": "it mixes channels",
        "grouped": "it mixes channels",
        "replaced": "its forward was replaced on the instance",
        "odd": "its mode was set to 'bicubic'",
        "own": "its class is upsample_ext.modules.Upsample",
        "diagonal": "it does not mix channels, see fixed_diagonal",
        "trained": "it does not mix channels, but its weight requires grad, see fixed_diagonal",
    }
    assert str(after).splitlines()[0] == "up: torch.nn.Upsample -> upsample_ext.Upsample"
    assert str(after).splitlines()[-2] == "diagonal: left, it does not mix channels, see fixed_diagonal"
    assert str(upsample_ext.conversions(nn.ReLU())).startswith("no layers")


# ---- revert ------------------------------------------------------------------------------------------------


def everything_of(model):
    """Of each module its identity, class and all that it holds."""
    return [(name, id(module), type(module), dict(vars(module))) for name, module in model.named_modules()]


def test_revert_is_the_inverse():
    model = Decoder().eval()
    model.own = upsample_ext.Upsample(scale_factor=2)  # not found as another class
    model.up.register_forward_hook(lambda module, args, output: output + 1)
    before = everything_of(model)
    assert upsample_ext.convert(model, inplace=True, fixed_diagonal=True) is model
    assert everything_of(model) != before
    assert upsample_ext.revert(model, inplace=True) is model
    assert everything_of(model) == before
    assert upsample_ext.revert(model, inplace=True) is model
    assert everything_of(model) == before


def test_reverting_keeps_what_happened_since():
    model = Decoder()
    converted = upsample_ext.convert(model)
    optimizer = torch.optim.SGD(converted.parameters(), lr=0.1)
    x = torch.rand(1, 3, 3, 4)
    converted(x).square().mean().backward()
    optimizer.step()
    converted.eval()
    handle = converted.up.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    reverted = upsample_ext.revert(converted)
    assert reverted is not converted and type(converted.up) is upsample_ext.Upsample
    for name, kind in SWAPPED.items():
        assert type(reverted.get_submodule(name)) is kind.__mro__[2]
    assert not reverted.up.training and list(reverted.state_dict()) == list(model.state_dict())
    assert not upsample_ops(lambda: reverted(x).sum().backward())
    torch.testing.assert_close(reverted(x), converted(x))
    handle.remove()
    torch.testing.assert_close(upsample_ext.convert(reverted)(x), reverted(x))


def test_copies_and_pickles_revert():
    model = upsample_ext.convert(Decoder())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        reverted = upsample_ext.revert(other)
        assert type(reverted.up) is nn.Upsample and type(reverted.lines) is nn.ConvTranspose1d
        assert vars(reverted.up).keys() == vars(nn.Upsample(scale_factor=2)).keys()


# ---- fixed_diagonal ----------------------------------------------------------------------------------------


def fixed_diagonal_layer(channels=3, factor=2, bias=False):
    """FCN's bilinear upsampling, as it is usually written."""
    size, stride, padding = upsample_ext.caffe_upsample_params(factor)
    layer = nn.ConvTranspose2d(channels, channels, size, stride=stride, padding=padding, bias=bias)
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(channels):
            layer.weight[channel, channel] = upsample_ext.bilinear_kernel(size) * (channel + 1)
    layer.weight.requires_grad_(False)
    return layer


def fixed_diagonal_layer_of_lines(channels=3):
    layer = nn.ConvTranspose1d(channels, channels, 4, stride=2, padding=1).requires_grad_(False)
    tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
    layer.weight.zero_().diagonal().copy_(tent[:, None] * torch.arange(1, channels + 1))
    return layer


def is_depthwise(layer, x):
    return "upsample_ext::depthwise_conv_transpose2d" in upsample_ops(lambda: layer(x))


@pytest.mark.parametrize("bias", [False, True])
def test_a_fixed_diagonal_is_converted_when_asked(bias):
    layer, x = fixed_diagonal_layer(bias=bias), torch.rand(2, 3, 5, 6, requires_grad=True)
    assert type(upsample_ext.convert(layer)) is nn.ConvTranspose2d
    converted = upsample_ext.convert(layer, fixed_diagonal=True)
    assert type(converted) is upsample_ext.DiagonalConvTranspose2d
    assert converted.state_dict().keys() == layer.state_dict().keys()
    assert is_depthwise(converted, x)
    for size in (None, [11, 12]):
        torch.testing.assert_close(converted(x, output_size=size), layer(x, output_size=size))
    torch.testing.assert_close(converted(x[0]), layer(x[0]))
    leaves = [x, converted.bias] if bias else [x]
    natives = [x, layer.bias] if bias else [x]
    for a, b in zip(
        torch.autograd.grad(converted(x).square().sum(), leaves),
        torch.autograd.grad(layer(x).square().sum(), natives),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    upsample_ext.revert(converted, inplace=True)
    assert type(converted) is nn.ConvTranspose2d and vars(converted).keys() == vars(layer).keys()


def test_a_fixed_diagonal_of_lines_is_converted_when_asked():
    layer, x = fixed_diagonal_layer_of_lines(), torch.rand(2, 3, 5, requires_grad=True)
    assert type(upsample_ext.convert(layer)) is nn.ConvTranspose1d
    assert "see fixed_diagonal" in upsample_ext.conversions(layer).left[""]
    converted = upsample_ext.convert(layer, fixed_diagonal=True)
    assert type(converted) is upsample_ext.DiagonalConvTranspose1d
    assert is_depthwise(converted, x)
    for size in (None, [11]):
        torch.testing.assert_close(converted(x, output_size=size), layer(x, output_size=size))
    torch.testing.assert_close(converted(x[0]), layer(x[0]))
    grads = [torch.autograd.grad(of(x).square().sum(), x)[0] for of in (converted, layer)]
    torch.testing.assert_close(*grads)
    mixing = nn.ConvTranspose1d(3, 3, 4, stride=2, padding=1)
    converted.load_state_dict(mixing.state_dict())
    assert not is_depthwise(converted, x)
    torch.testing.assert_close(converted(x), mixing(x))
    other = pickle.loads(pickle.dumps(converted))
    assert torch.equal(other(x), converted(x))
    upsample_ext.revert(converted, inplace=True)
    assert type(converted) is nn.ConvTranspose1d


def test_a_weight_that_is_no_fixed_diagonal_any_more_is_honoured():
    layer, x = fixed_diagonal_layer(), torch.rand(2, 3, 5, 6)
    converted = upsample_ext.convert(layer, fixed_diagonal=True)
    assert is_depthwise(converted, x)
    with torch.no_grad():
        converted.weight[0, 0] *= 3
    assert is_depthwise(converted, x)
    with torch.no_grad():
        layer.weight[0, 0] *= 3
    torch.testing.assert_close(converted(x), layer(x))
    mixing = nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1, bias=False)
    converted.load_state_dict(mixing.state_dict())
    assert not is_depthwise(converted, x)
    torch.testing.assert_close(converted(x), mixing(x))
    converted.load_state_dict(layer.state_dict())
    assert is_depthwise(converted, x)
    converted.weight.requires_grad_()
    assert not is_depthwise(converted, x)
    converted(x).sum().backward()
    assert converted.weight.grad.shape == (3, 3, 4, 4)


@pytest.mark.parametrize("change", ["trained", "mixing", "grouped", "rectangular"])
def test_other_weights_are_no_fixed_diagonals(change):
    layer = fixed_diagonal_layer()
    if change == "trained":
        layer.weight.requires_grad_()
    if change == "mixing":
        layer.weight[0, 1, 0, 0] = 1e-30
    if change == "grouped":
        layer = nn.ConvTranspose2d(4, 4, 2, groups=2).requires_grad_(False)
    if change == "rectangular":
        layer = nn.ConvTranspose2d(4, 3, 2).requires_grad_(False)
    kind = type(layer)
    assert type(upsample_ext.convert(layer, fixed_diagonal=True)) is kind


def test_fixed_diagonals_in_recorded_code():
    """Where later weights must take effect, PyTorch's convolution is recorded."""
    layer, x = fixed_diagonal_layer(), torch.rand(2, 3, 5, 6)
    converted = upsample_ext.convert(layer, fixed_diagonal=True)
    traced = torch.jit.trace(converted, x)
    program = torch.export.export(converted, (x,))
    for run in (traced, program.module(), copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        torch.testing.assert_close(run(x), layer(x))


def test_converted_models_are_copied_and_pickled():
    model = upsample_ext.convert(
        nn.Sequential(nn.ConvTranspose2d(2, 2, 4, groups=2), nn.UpsamplingBilinear2d(8))
    )
    x = torch.rand(1, 2, 4, 5)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [type(layer) for layer in other] == [type(layer) for layer in model]
        assert torch.equal(other(x), model(x))


def test_graph_modules_are_converted():
    graph = torch.fx.symbolic_trace(
        nn.Sequential(nn.Conv2d(1, 2, 1), nn.Upsample(scale_factor=2, mode="bilinear"))
    )
    x = torch.rand(1, 1, 3, 4)
    expected = graph(x)
    upsample_ext.convert(graph, inplace=True)
    assert "upsample_ext::upsample_bilinear2d" in upsample_ops(lambda: graph(x))
    torch.testing.assert_close(graph(x), expected)


def test_fx_takes_the_layers_for_pytorch_s():
    """Leaves of a trace, which keep their hooks and may be replaced; also pickled, and made by hand."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.UpsamplingNearest2d(scale_factor=2),
        nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=4),
    )
    called = []
    model[1].register_forward_hook(lambda module, args, output: called.append(type(module)))
    native = torch.fx.symbolic_trace(model)
    converted = upsample_ext.convert(model)
    own = nn.Sequential(model[0], upsample_ext.Upsample(scale_factor=2, mode="bilinear"))
    loss = torch.fx.symbolic_trace(upsample_ext.UpsampleCrossEntropyLoss())  # whose root is no leaf
    assert [node.op for node in loss.graph.nodes].count("call_function") == 1
    assert "call_function" not in {node.op for node in torch.fx.symbolic_trace(own).graph.nodes}
    again = nn.Sequential(model[0], pickle.loads(pickle.dumps(own[1])), copy.deepcopy(own[1]))
    assert "call_function" not in {node.op for node in torch.fx.symbolic_trace(again).graph.nodes}
    graph = torch.fx.symbolic_trace(converted)
    assert not called
    assert [(n.op, n.target) for n in graph.graph.nodes] == [(n.op, n.target) for n in native.graph.nodes]
    x = torch.rand(1, 3, 4, 5)
    torch.testing.assert_close(graph(x), native(x))
    assert called == [upsample_ext.Upsample, nn.Upsample]
    with torch.no_grad():
        assert {"upsample_ext::upsample_bilinear2d", "upsample_ext::resample"} <= upsample_ops(
            lambda: graph(x)
        )


def test_tables_by_class_find_converted_layers():
    model = upsample_ext.convert(Decoder(), fixed_diagonal=True)
    table = {nn.Upsample: 1, nn.UpsamplingBilinear2d: 2, nn.ConvTranspose2d: 3, nn.ConvTranspose1d: 4}
    found = {name: table.get(type(layer), 0) for name, layer in model.named_modules()}
    assert {name: found[name] for name in ("up", "blocks.0.1", "blocks.1.deconv", "lines", "stem")} == {
        "up": 1,
        "blocks.0.1": 2,
        "blocks.1.deconv": 3,
        "lines": 4,
        "stem": 0,
    }
    assert nn.Upsample == upsample_ext.Upsample and nn.Upsample is not upsample_ext.Upsample
    assert upsample_ext.Upsample != upsample_ext.UpsamplingNearest2d != nn.Upsample
    assert upsample_ext.DepthwiseConvTranspose2d != upsample_ext.DiagonalConvTranspose2d
    assert upsample_ext.BilinearConvTranspose2d != nn.ConvTranspose2d

    class Own(upsample_ext.Upsample):
        pass

    assert Own != nn.Upsample and Own != upsample_ext.Upsample and Own in {Own: 1}
    assert {upsample_ext.Upsample: "ours"}[nn.Upsample] == "ours"


@pytest.mark.slow
def test_a_converted_model_compiles():
    torch.manual_seed(0)
    model = upsample_ext.convert(Decoder())
    x = torch.rand(1, 3, 3, 4)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))
    assert "upsample_ext::upsample_bilinear2d" in upsample_ops(lambda: compiled(x))


@pytest.mark.slow
def test_a_model_compiled_before_is_recompiled():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Upsample(scale_factor=2, mode="bilinear"))
    x = torch.rand(1, 1, 3, 4)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected = compiled(x)
    upsample_ext.convert(compiled, inplace=True)
    torch.testing.assert_close(compiled(x), expected)
    assert "upsample_ext::upsample_bilinear2d" in upsample_ops(lambda: compiled(x))
