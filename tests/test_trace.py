"""torch.jit.trace and torch.jit.script: traces are valid for other sizes; scripts are PyTorch's own."""

import io
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import upsample_ext

# Sizes that a trace must compute, and those that are the same for every image
RESIZES = {
    "of another image": lambda x: F.interpolate(x[:, :, ::2, ::2], size=x.shape[-2:], mode="bilinear"),
    "computed": lambda x: F.interpolate(x, size=(x.shape[2] * 2, x.size(3) + 1), mode="bilinear"),
    "one of two": lambda x: F.interpolate(x, size=[7, x.shape[3]], mode="bilinear", align_corners=True),
    "for both": lambda x: F.interpolate(x, size=x.shape[3], mode="bilinear"),
    "fixed": lambda x: F.interpolate(x, size=(6, 7), mode="bilinear"),
    "a factor": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
    "recomputed": lambda x: F.interpolate(
        x, scale_factor=(1.7, 2), mode="bilinear", recompute_scale_factor=True
    ),
    "nearest": lambda x: F.interpolate(x, size=x.shape[-2:]),
    "nearest, a factor": lambda x: F.interpolate(x, scale_factor=3),
    "bicubic": lambda x: F.interpolate(x, size=(x.shape[2] * 2, x.shape[3] * 3), mode="bicubic"),
    "antialiased": lambda x: F.interpolate(x, scale_factor=(0.5, 0.7), mode="bilinear", antialias=True),
    "area": lambda x: F.interpolate(x, size=(x.shape[3], 5), mode="area"),
    "of lines": lambda x: F.interpolate(x[0], scale_factor=1.5, mode="linear"),
    "of a volume": lambda x: F.interpolate(x[None], size=(4, x.shape[2] * 2, 5), mode="trilinear"),
    "concatenated": lambda x: upsample_ext.upsample_concat([x, x[:, :, ::2, ::3]]),
    "concatenated to": lambda x: upsample_ext.upsample_concat([x, x], size=(x.shape[3], x.shape[2])),
    "classes": lambda x: upsample_ext.upsample_argmax(
        x, size=(x.shape[2] * 2, x.shape[3]), return_score=True
    ),
    "classes, a factor": lambda x: upsample_ext.upsample_argmax(x, scale_factor=(1.7, 2)),
    "a mask": lambda x: upsample_ext.upsample_threshold(x, size=x.shape[2:]),
    "a mask, a factor": lambda x: upsample_ext.upsample_threshold(x, scale_factor=1.5),
    "added": lambda x: upsample_ext.upsample_add(x[:, :, ::2, ::2], x),
}


def resizes_of(traced):
    """(ours, PyTorch's)"""
    kinds = [node.kind() for node in traced.inlined_graph.nodes()]
    resizes = [kind for kind in kinds if "upsample" in kind or "resample" in kind or "pool" in kind]
    ours = [kind for kind in resizes if kind.startswith("upsample_ext::")]
    return len(ours), len(resizes) - len(ours)


def reloaded(module):
    file = io.BytesIO()
    torch.jit.save(module, file)
    file.seek(0)
    return torch.jit.load(file)


@pytest.mark.parametrize("name", RESIZES)
def test_a_trace_under_patch_is_of_ours_and_valid_for_other_sizes(name):
    function = RESIZES[name]
    with upsample_ext.patch():
        with warnings.catch_warnings():
            warnings.simplefilter("error", torch.jit.TracerWarning)
            traced = reloaded(torch.jit.trace(function, torch.randn(1, 3, 8, 10)))
        ours, natives = resizes_of(traced)
        assert ours > 0 and natives == 0
        for shape in ((1, 3, 8, 10), (2, 3, 5, 7), (1, 3, 13, 4)):
            x = torch.randn(shape)
            found, expected = traced(x), function(x)
            for a, b in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, expected)), strict=True):
                assert torch.equal(a, b)


def test_gradients_of_a_trace_of_any_size():
    def function(x):
        return upsample_ext.interpolate(x[:, :, ::2], size=x.shape[-2:], mode="bilinear")

    traced = torch.jit.trace(function, torch.randn(1, 2, 6, 8))
    for shape in ((1, 2, 6, 8), (2, 3, 5, 7)):
        x = torch.randn(shape, requires_grad=True)
        found, expected = (torch.autograd.grad(f(x).square().sum(), x)[0] for f in (traced, function))
        assert torch.equal(found, expected)


def test_a_converted_model_is_traced_frozen_and_loaded():
    model = upsample_ext.convert(
        nn.Sequential(
            nn.Conv2d(3, 4, 1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=4),
        )
    ).eval()
    traced = torch.jit.freeze(torch.jit.trace(model, torch.randn(1, 3, 4, 5)))
    x = torch.randn(2, 3, 7, 3)
    assert torch.equal(reloaded(traced)(x), model(x))


def test_a_program_that_lacks_the_package_says_so(tmp_path):
    """What README says of programs that are loaded without `import upsample_ext`."""
    layer = upsample_ext.Upsample(scale_factor=2, mode="bilinear")
    x = torch.randn(1, 3, 4, 5)
    torch.jit.save(torch.jit.trace(layer, x), tmp_path / "traced.pt")
    torch.export.save(torch.export.export(layer, (x,)), tmp_path / "exported.pt2")
    program = f"""if True:
        import torch
        for load, name in ((torch.jit.load, "traced.pt"), (torch.export.load, "exported.pt2")):
            try:
                load({str(tmp_path)!r} + "/" + name)
            except RuntimeError as error:
                print(error)
            print("----")
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    traced, exported, _ = done.stdout.split("----")
    assert "Unknown builtin op: upsample_ext::upsample_bilinear2d" in traced, done.stderr
    # torch 2.7 says it in its error, later ones in their log
    assert "torch.ops.upsample_ext.upsample_bilinear2d" in done.stderr or "upsample_bilinear2d" in exported


# ---- script ------------------------------------------------------------------------------------------------


class Unrelated(nn.Module):
    """Knows nothing of this package, and has every layer and function that a patch replaces."""

    def __init__(self):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.deconv = nn.ConvTranspose2d(3, 3, 4, 2, 1, groups=3)
        self.lines = nn.ConvTranspose1d(3, 3, 4, 2, 1, groups=3)
        self.nearest = nn.UpsamplingNearest2d(size=(9, 8))
        self.bilinear = nn.UpsamplingBilinear2d(scale_factor=2)

    def forward(self, x):
        x = self.nearest(self.deconv(self.up(x)))
        x = F.interpolate(x, size=(5, 6), mode="bicubic", align_corners=True)
        x = F.interpolate(x, scale_factor=2.0)
        y = self.lines(x[:, :, 0], output_size=[25])
        return self.bilinear(F.conv_transpose2d(x, self.deconv.weight, groups=3)) + y.mean()


def check_script(scripted, model, x):
    assert "upsample_ext::" not in str(scripted.inlined_graph)
    for run in (scripted, reloaded(scripted)):
        assert torch.equal(run(x), model(x))


def test_a_patch_does_not_touch_scripts():
    torch.manual_seed(0)
    model, x = Unrelated().eval(), torch.randn(1, 3, 4, 5)
    with upsample_ext.patch():
        scripted = torch.jit.script(model)
    check_script(scripted, model, x)
    check_script(torch.jit.script(model), model, x)


def test_a_converted_model_is_scripted_as_what_it_was():
    model, x = Unrelated().eval(), torch.randn(1, 3, 4, 5)
    check_script(torch.jit.script(upsample_ext.convert(model)), model, x)


def resize(x: torch.Tensor, size: list[int]) -> torch.Tensor:
    return upsample_ext.interpolate(x, size, mode="bilinear", align_corners=False)


def spread(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return upsample_ext.conv_transpose2d(x, weight, stride=2, groups=x.size(1))


def test_functions_are_scripted_as_pytorch_s():
    x, weight = torch.randn(1, 3, 4, 5), torch.randn(3, 1, 4, 4)
    torch.testing.assert_close(torch.jit.script(resize)(x, [7, 9]), resize(x, [7, 9]))
    torch.testing.assert_close(torch.jit.script(spread)(x, weight), spread(x, weight))
