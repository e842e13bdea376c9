"""ONNX: models with our ops export as native's do, and onnxruntime computes the same from both."""

import io
import warnings

import pytest
import torch
from ops import ROWS, as_tuple
from torch import nn
from torch.nn import functional as F
from torch_versions import TORCH

import upsample_ext

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

EXPORTERS = {
    "script, opset 11": {"dynamo": False, "opset_version": 11},
    "script, opset 17": {"dynamo": False, "opset_version": 17},
    "dynamo": {"dynamo": True},
}
every_exporter = pytest.mark.parametrize("exporter", EXPORTERS)

# Rows that native itself cannot export by TorchScript: it knows neither these modes nor label_smoothing, and
# cross_entropy from opset 12 on.
NOT_BY_SCRIPT = {
    "upsample_threshold, nearest-exact",
    "nearest-exact to a size",
    "bilinear antialiased",
    "bicubic antialiased",
    "area",
}
NOT_BY_SCRIPT |= {"upsample_cross_entropy, sum", "upsample_cross_entropy, weighted"}
NOT_EXPORTED = {
    "script, opset 11": NOT_BY_SCRIPT | {"upsample_cross_entropy", "upsample_cross_entropy, none"},
    "script, opset 17": NOT_BY_SCRIPT,
    "dynamo": set(),
}

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # both exporters tell of their own deprecations
    pytest.mark.slow,
]


class Calls(nn.Module):
    """One side of several rows, as a model of all their tensors."""

    def __init__(self, rows, side):
        super().__init__()
        self.functions = [getattr(op, side) for op in rows]
        self.counts = [len(op.shapes(2, 3, 4, 6)) for op in rows]

    def forward(self, *tensors):
        results, tensors = [], list(tensors)
        for function, count in zip(self.functions, self.counts, strict=True):
            results += as_tuple(function(*(tensors.pop(0) for _ in range(count))))
        return tuple(results)


def export(model, tensors, exporter, dynamic=None):
    """The ONNX model; `dynamic`: names of the dimensions of each tensor that may change."""
    settings = dict(EXPORTERS[exporter])
    names = [f"x{i}" for i in range(len(tensors))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if settings["dynamo"]:
            pytest.importorskip("onnxscript")
            if TORCH < (2, 9):
                pytest.skip(f"torch {torch.__version__}: its exporter by dynamo lacks sym_float")
            if dynamic:
                settings["dynamic_shapes"] = tuple(
                    dict.fromkeys(dims, torch.export.Dim.AUTO) for dims in dynamic
                )
            return torch.onnx.export(model, tuple(tensors), verbose=False, **settings).model_proto
        if dynamic:
            settings["dynamic_axes"] = dict(zip(names, dynamic, strict=True))
        file = io.BytesIO()
        torch.onnx.export(model, tuple(tensors), file, input_names=names, **settings)
        return onnx.load_from_string(file.getvalue())


def run(model, tensors):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [argument.name for argument in session.get_inputs()]
    results = session.run(None, {name: t.numpy() for name, t in zip(names, tensors, strict=True)})
    return [torch.from_numpy(result) for result in results]


def kinds(model):
    return [node.op_type for node in model.graph.node]


def check(ours, native, *inputs):
    """The same nodes in both, and the same results of both for each list of tensors."""
    assert kinds(ours) == kinds(native)
    assert all(node.domain in ("", "ai.onnx") for node in ours.graph.node)
    for tensors in inputs:
        for a, b in zip(run(ours, tensors), run(native, tensors), strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b)


def is_of_a_fixed_kernel(op):
    """Whether the row's native expression makes its kernel otherwise: it has other nodes."""
    return not op.native_strides or op.function in (
        upsample_ext.bilinear_conv_transpose2d,
        upsample_ext.fixed_conv_transpose1d,
        upsample_ext.linear_conv_transpose1d,
    )


@every_exporter
def test_every_op_exports_as_what_it_equals(exporter):
    rows = {
        name: op
        for name, op in ROWS.items()
        if op.public and not is_of_a_fixed_kernel(op) and name not in NOT_EXPORTED[exporter]
    }
    tensors = [t for op in rows.values() for t in op.make((2, 3, 4, 6))]
    ours, native = (export(Calls(rows.values(), side), tensors, exporter) for side in ("ours", "native"))
    check(ours, native, tensors)


@every_exporter
def test_fixed_kernels_export(exporter):
    """Where the native expression of a row is another one, by its values."""
    rows = [op for op in ROWS.values() if is_of_a_fixed_kernel(op)]
    assert len(rows) == 8
    tensors = [t for op in rows for t in op.make((2, 3, 4, 6))]
    found = run(export(Calls(rows, "ours"), tensors, exporter), tensors)
    for a, b in zip(found, Calls(rows, "native")(*tensors), strict=True):
        torch.testing.assert_close(a, b)


class Net(nn.Module):
    """Layers, functions with sizes of other tensors, and what follows a segmentation head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.deconv = nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1, groups=4)
        self.nearest = nn.UpsamplingNearest2d(scale_factor=2)
        self.cubic = nn.Upsample(scale_factor=0.5, mode="bicubic")

    def forward(self, x):
        y = self.cubic(self.nearest(self.deconv(self.up(self.stem(x)))))
        return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=True)


DYNAMIC = [{0: "n", 2: "h", 3: "w"}]


@every_exporter
@pytest.mark.parametrize("how", ["convert", "patch"])
def test_models_export_for_any_size(exporter, how):
    torch.manual_seed(0)
    net, x = Net().eval(), torch.randn(2, 3, 12, 16)
    other = torch.randn(3, 3, 20, 14)
    native = export(net, [x], exporter, DYNAMIC)
    if how == "convert":
        ours = export(upsample_ext.convert(net), [x], exporter, DYNAMIC)
    else:
        with upsample_ext.patch():
            ours = export(net, [x], exporter, DYNAMIC)
    check(ours, native, [x], [other])
    assert {"Resize", "ConvTranspose"} <= set(kinds(ours))
    torch.testing.assert_close(run(ours, [other])[0], net(other), rtol=1e-4, atol=1e-5)


@every_exporter
def test_fused_ops_export_for_any_size(exporter):
    class Head(nn.Module):
        def forward(self, logits, image, skip):
            size = image.shape[-2:]
            classes, score = upsample_ext.upsample_argmax(logits, size, return_score=True)
            added = upsample_ext.upsample_add(logits, skip)
            joined = upsample_ext.upsample_concat([skip, logits])
            mask = upsample_ext.upsample_threshold(logits, scale_factor=2, threshold=0.1)
            return classes, score, added, joined, mask

    def tensors(n, h, w):
        return [torch.randn(n, 5, h, w), torch.randn(n, 3, 4 * h, 3 * w), torch.randn(n, 5, 2 * h, 2 * w)]

    example, other = tensors(2, 5, 7), tensors(3, 4, 9)
    model = export(Head(), example, exporter, DYNAMIC * 3)
    for inputs in (example, other):
        for a, b in zip(run(model, inputs), Head()(*inputs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_with_our_ops_exports(strict):
    """Exported before ONNX is thought of: by the decompositions in torch's default table."""
    pytest.importorskip("onnxscript")
    if not hasattr(torch.export, "default_decompositions"):
        pytest.skip(f"torch {torch.__version__}: has no default table of decompositions")
    rows = [ROWS[name] for name in ("interpolate", "conv_transpose2d", "upsample_argmax", "upsample_concat")]
    tensors = [t for op in rows for t in op.make((2, 3, 4, 6))]
    program = torch.export.export(Calls(rows, "ours"), tuple(tensors), strict=strict)
    assert sum("upsample_ext" in str(node.target) for node in program.graph.nodes) == len(rows)
    model = torch.onnx.export(program, dynamo=True, verbose=False).model_proto
    assert kinds(model).count("Resize") >= 3 and "ConvTranspose" in kinds(model)
    for a, b in zip(run(model, tensors), Calls(rows, "native")(*tensors), strict=True):
        torch.testing.assert_close(a, b)
