"""PyTorch's own samples and error samples of interpolate, run through ours."""

import pytest
import torch
import torch.nn.functional as F

import upsample_ext

op_db = pytest.importorskip(
    "torch.testing._internal.common_methods_invocations", reason="torch's samples need expecttest"
).op_db
INFOS = [op for op in op_db if op.name in ("nn.functional.interpolate", "nn.functional.upsample_bilinear")]


def test_the_samples_are_there():
    assert len([op for op in INFOS if op.variant_test_name == "bilinear"]) == 1
    assert any(op.name == "nn.functional.upsample_bilinear" for op in INFOS)


@pytest.mark.parametrize("info", INFOS, ids=lambda op: f"{op.name}.{op.variant_test_name}")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_samples(default_device, info, dtype):
    if info.name == "nn.functional.upsample_bilinear":

        def ours(input, size=None, scale_factor=None):
            return upsample_ext.interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)

        native = F.upsample_bilinear
    else:
        ours, native = upsample_ext.interpolate, F.interpolate
    count = 0
    for sample in info.sample_inputs(default_device, dtype, requires_grad=True):
        a, b = (sample.input.detach().clone().requires_grad_() for _ in range(2))
        result, expected = (f(x, *sample.args, **sample.kwargs) for f, x in ((ours, a), (native, b)))
        torch.testing.assert_close(result, expected)
        assert result.stride() == expected.stride()
        grad = torch.randn_like(expected)
        result.backward(grad)
        expected.backward(grad)
        torch.testing.assert_close(a.grad, b.grad)
        count += 1
    assert count > 0
