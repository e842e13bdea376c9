"""Resize of arbitrary sizes, and of extents that need 64 bits: what chosen shapes may not think of."""

import pytest
import reference
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_layouts import LAYOUTS
from kernel_backend import EMULATED

import upsample_ext

LAYOUT_NAMES = ("contiguous", "channels_last", "sliced", "steps", "transposed", "channels_last_slice")
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float64: 1e-12}


@st.composite
def resizes(draw):
    """Shape and output size; one axis at a time may be long, so that a case stays small."""
    long, short = st.integers(1, 300), st.integers(1, 40)
    heights = draw(st.tuples(short, short)), draw(st.tuples(long, long))
    tall = draw(st.booleans())
    (h, oh), (w, ow) = reversed(heights) if tall else heights
    return (draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3, 4, 8, 16, 33])), h, w), (oh, ow)


def assert_close(result, exact, scale):
    error = (result.cpu().double() - exact).abs()
    assert (error <= TOLERANCE[result.dtype] * (scale + 1)).all(), error.max()


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    resize=resizes(),
    dtype=st.sampled_from(list(TOLERANCE)),
    layout=st.sampled_from(LAYOUT_NAMES),
    align_corners=st.booleans(),
)
def test_any_resize_and_its_gradient(device, resize, dtype, layout, align_corners):
    shape, size = resize
    x = LAYOUTS[layout](torch.randn(shape, device=device).to(dtype))
    y = upsample_ext.upsample_bilinear2d(x, size, align_corners=align_corners)
    assert_close(y, reference.resize(x, size, align_corners), reference.resize(x.abs(), size, align_corners))

    grad_output = LAYOUTS[layout](torch.randn(*shape[:2], *size, device=device).to(dtype))
    gradient = torch.ops.upsample_ext.upsample_bilinear2d_backward(grad_output, shape[2:], align_corners)
    # Coordinates are computed in the dtype's precision, so the reference needs it.
    exact = reference.resample_backward(grad_output, shape[2:], align_corners)
    assert_close(gradient, exact, reference.resample_backward(grad_output.abs(), shape[2:], align_corners))


# ---- extents --------------------------------------------------------------------------------------------


def far_apart(values, dim, step, dtype, device):
    """The values with `step` elements from one index of a dimension to the next; only they are touched."""
    n = values.shape[dim]
    rest = [d for d in range(4) if d != dim]
    strides = [0] * 4
    strides[dim] = step
    dense = 1
    for d in reversed(rest):
        strides[d] = dense
        dense *= values.shape[d]
    try:
        memory = torch.empty((n - 1) * step + dense, dtype=dtype, device=device)
    except RuntimeError as error:
        pytest.skip(f"not enough memory: {error}")
    return memory.as_strided(values.shape, strides).copy_(values)


@pytest.mark.parametrize("dim", range(4))
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_elements_more_than_32_bits_apart(dim, dtype, device):
    shape = [2, 3, 3, 4]
    shape[dim] = 2
    values = torch.randint(0, 100, shape, device=device).to(dtype)
    far = far_apart(values, dim, 2**31 + 12 if dim < 2 else 2**30 + 12, dtype, device)
    near_result = upsample_ext.upsample_bilinear2d(values, (6, 10))
    assert torch.equal(upsample_ext.upsample_bilinear2d(far, (6, 10)), near_result)
    picked, picked_of_far = (upsample_ext.interpolate(x, (6, 10), mode="nearest") for x in (values, far))
    assert torch.equal(picked_of_far, picked)
    out = far_apart(torch.zeros_like(near_result[:2, :2, :2, :2]), dim, far.stride(dim), dtype, device)
    small = values[:2, :2]
    upsample_ext.upsample_bilinear2d(small, (2, 2), out=out)
    assert torch.equal(out, upsample_ext.upsample_bilinear2d(small, (2, 2)))


@pytest.mark.parametrize("dim", range(4))
def test_gradients_of_elements_more_than_32_bits_apart(dim, device):
    shape = [2, 3, 6, 10]
    shape[dim] = 2
    grad_output = torch.randn(shape, device=device).half()
    far = far_apart(grad_output, dim, 2**31 + 12 if dim < 2 else 2**30 + 12, torch.float16, device)
    backward = torch.ops.upsample_ext.upsample_bilinear2d_backward
    # Another kernel may add in another order.
    torch.testing.assert_close(backward(far, (3, 4), False), backward(grad_output, (3, 4), False))
    settings = ((3, 4), "nearest", False, False, None)
    backward = torch.ops.upsample_ext.resample_backward
    torch.testing.assert_close(backward(far, *settings), backward(grad_output, *settings))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_more_planes_than_a_grid_has_rows(layout, device):
    x = LAYOUTS[layout](torch.randn(70000, 2, 2, 1, device=device))
    y = upsample_ext.upsample_bilinear2d(x, (3, 2))
    exact = reference.resize(x, (3, 2), False)
    assert (y.cpu().double() - exact).abs().max() <= 1e-5
    gradient = torch.ops.upsample_ext.upsample_bilinear2d_backward(y, (2, 1), False)
    assert (gradient.cpu().double() - reference.resample_backward(y, (2, 1), False)).abs().max() <= 1e-5


@pytest.mark.skipif(not EMULATED, reason="asks the emulation which kernel would run")
def test_padded_threads_beyond_32_bits(monkeypatch, tmp_path):
    """33 channels take as many threads as 36: 1.98e9 results fit 32 bits, their threads do not."""
    launches = tmp_path / "launches"
    monkeypatch.setenv("CUSIM_ONLY_RECORD", str(launches))
    x = torch.empty(4, 33, 1, 2, dtype=torch.uint8, memory_format=torch.channels_last)
    for width, index in ((15_000, "int"), (15_000_001, "long")):
        launches.write_text("")
        upsample_ext.upsample_bilinear2d(x, (1, width))  # nothing touches the result
        assert f"LinearAxis<float, {index}>, {index}," in launches.read_text()
