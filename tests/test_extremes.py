"""Images at the limits of 32-bit numbers: opt-in, for they need much memory and some minutes.

    UPSAMPLE_EXT_EXTREMES=1 python -m pytest -q tests/test_extremes.py

Each test states what it needs, and is skipped where less memory is free. More than 65,535 planes, one-pixel
images and far geometry are in the tests of every run (test_resample_random.py, test_resample.py,
test_far_geometry.py).
The expected values are those of reference.py for the rows that are looked at: the first, the last, and those
around the element and the byte whose number is 2^31.
"""

import os
import pathlib
import re

import pytest
import torch
import torch.nn.functional as F
from kernel_backend import EMULATED
from reference import linear_matrix, rounded_coordinates

import upsample_ext

pytestmark = [
    pytest.mark.skipif(not os.environ.get("UPSAMPLE_EXT_EXTREMES"), reason="opt-in: UPSAMPLE_EXT_EXTREMES=1"),
    pytest.mark.skipif(EMULATED, reason="hours of emulation"),
]

SIDE = 46_345  # its square is 2^31 + 390,377
TALL = (61, SIDE)
WIDE = (53, SIDE)


def need(gigabytes):
    free = int(re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / 2**20
    if free < gigabytes:
        pytest.skip(f"needs {gigabytes} GiB of memory, {free:.0f} are free")


def telling_rows(width, element_size):
    """Rows of a (1, 1, SIDE, width) image: both ends, and those with element or byte number 2^31 or 2^32."""
    rows = {0, 1, SIDE // 2, SIDE - 2, SIDE - 1}
    for number in (2**31, 2**32):
        for unit in (1, element_size):
            row = number // unit // width
            rows |= {r for r in (row - 1, row, row + 1) if 0 <= r < SIDE}
    return sorted(rows)


def rows_of(image, rows):
    """Those rows of every plane of a resized image, in float64."""
    x = image.double()
    height, width = (linear_matrix(*pair, False) for pair in ((x.shape[2], TALL[1]), (x.shape[3], WIDE[1])))
    return height[rows] @ x @ width.T


@pytest.mark.parametrize(("dtype", "gigabytes"), [(torch.uint8, 3), (torch.float16, 5), (torch.float32, 10)])
def test_a_result_of_more_than_2_to_the_31_elements(dtype, gigabytes):
    need(gigabytes)
    x = torch.rand(1, 1, TALL[0], WIDE[0])
    x = x.mul(255).to(dtype) if dtype == torch.uint8 else x.to(dtype)
    rows = telling_rows(SIDE, dtype.itemsize)
    y = upsample_ext.interpolate(x, (SIDE, SIDE), mode="bilinear")
    tolerance = {torch.uint8: 0.55, torch.float16: 1e-3, torch.float32: 2e-6}[dtype]
    torch.testing.assert_close(y[:, :, rows].double(), rows_of(x, rows), rtol=0, atol=tolerance)


def test_a_channels_last_result_of_more_than_2_to_the_31_bytes():
    need(4)
    x = torch.rand(1, 3, 61, 53).mul(255).byte().to(memory_format=torch.channels_last)
    height, width = 30_000, 30_000
    y = upsample_ext.interpolate(x, (height, width), mode="bilinear")
    assert y.is_contiguous(memory_format=torch.channels_last) and y.numel() > 2**31
    rows = [0, 2**31 // (3 * width) - 1, 2**31 // (3 * width), 2**31 // (3 * width) + 1, height - 1]
    expected = linear_matrix(61, height, False)[rows] @ x.double() @ linear_matrix(53, width, False).T
    torch.testing.assert_close(y[:, :, rows].double(), expected, rtol=0, atol=0.55)


def test_argmax_threshold_and_score_of_more_than_2_to_the_31_pixels():
    need(14)
    x = torch.randn(1, 2, TALL[0], WIDE[0])
    rows = telling_rows(SIDE, 1)
    exact = rows_of(x, rows)
    certain = (exact[:, 0] - exact[:, 1]).abs() > 1e-4
    index, score = upsample_ext.upsample_argmax(x, (SIDE, SIDE), dtype=torch.uint8, return_score=True)
    assert torch.equal(index[:, rows].long()[certain], exact.argmax(1)[certain])
    torch.testing.assert_close(score[:, rows].double(), exact.softmax(1).amax(1), rtol=0, atol=1e-5)
    del index, score
    mask = upsample_ext.upsample_threshold(x[:, :1], (SIDE, SIDE), threshold=0.25)
    certain = (exact[:, :1] - 0.25).abs() > 1e-4
    assert torch.equal(mask[:, :, rows][certain], (exact[:, :1] > 0.25)[certain])


def test_add_to_an_image_of_more_than_2_to_the_31_elements():
    need(10)
    x = torch.rand(1, 1, TALL[0], WIDE[0], dtype=torch.float16)
    rows = telling_rows(SIDE, 2)
    other = torch.rand(1, 1, SIDE, SIDE, dtype=torch.float16)
    y = upsample_ext.upsample_add(x, other)
    expected = rows_of(x, rows) + other[:, :, rows].double()
    torch.testing.assert_close(y[:, :, rows].double(), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_an_input_of_more_than_2_to_the_31_elements(dtype):
    need(6)
    x = torch.empty(1, 1, SIDE, SIDE, dtype=dtype)
    for rows in x[0, 0].split(4096):  # random numbers take 64 bits each
        rows.copy_(torch.rand(rows.shape) * (255 if dtype == torch.uint8 else 1))
    size = (97, 83)
    y = upsample_ext.interpolate(x, size, mode="bilinear")
    taken = [rounded_coordinates(SIDE, out, False) for out in size]
    corners = torch.zeros(size, dtype=torch.float64)
    for dy in (0, 1):
        for dx in (0, 1):
            iy, ix = (torch.from_numpy(t).floor().long() + d for t, d in zip(taken, (dy, dx), strict=True))
            wy, wx = (1 - (torch.from_numpy(t) - i).abs() for t, i in zip(taken, (iy, ix), strict=True))
            corners += (
                wy[:, None] * wx[None] * x[0, 0][iy.clamp(max=SIDE - 1)][:, ix.clamp(max=SIDE - 1)].double()
            )
    torch.testing.assert_close(y[0, 0].double(), corners, rtol=0, atol=0.55 if dtype == torch.uint8 else 1e-3)


def test_the_gradient_of_more_than_2_to_the_31_elements():
    need(12)
    x = torch.zeros(1, 1, TALL[0], WIDE[0], dtype=torch.float16, requires_grad=True)
    grad_output = torch.empty(1, 1, SIDE, SIDE, dtype=torch.float16)
    for rows in grad_output[0, 0].split(4096):
        rows.uniform_(0, 2**-8)  # the sums are of half a million
    upsample_ext.interpolate(x, (SIDE, SIDE), mode="bilinear").backward(grad_output)
    height, width = linear_matrix(TALL[0], SIDE, False), linear_matrix(WIDE[0], SIDE, False)
    expected = torch.zeros(TALL[0], WIDE[0], dtype=torch.float64)
    for begin in range(0, SIDE, 4096):
        part = slice(begin, begin + 4096)
        expected += height[part].T @ (grad_output[0, 0, part].double() @ width)
    torch.testing.assert_close(x.grad[0, 0].double(), expected, rtol=1e-3, atol=0)


def test_a_loss_over_more_than_2_to_the_31_elements_of_logits():
    """33 classes of 2^26 pixels: natively 8.3 GiB of logits alone, and as much for their logarithms."""
    need(3)
    side = 2**13
    x = torch.randn(1, 33, 64, 64, requires_grad=True)
    target = torch.randint(33, (1, side, side))
    loss = upsample_ext.upsample_cross_entropy(x, target)
    loss.backward()
    small = x.detach().clone().requires_grad_()
    sums = 0
    for begin in range(0, side, 512):  # natively, a strip of rows at a time
        width = F.interpolate(small, size=(64, side), mode="bilinear")
        matrix = linear_matrix(64, side, False)[begin : begin + 512].float()
        logits = torch.einsum("hk,nckw->nchw", matrix, width)
        part = F.cross_entropy(logits, target[:, begin : begin + 512], reduction="sum") / target.numel()
        part.backward()
        sums += part.item()
    assert abs(loss.item() - sums) < 1e-5 * abs(sums)
    torch.testing.assert_close(x.grad, small.grad, rtol=1e-3, atol=1e-9)


def test_a_transposed_convolution_of_more_than_2_to_the_31_elements():
    need(10)
    x = torch.rand(1, 1, SIDE // 2 + 1, SIDE // 2 + 1, dtype=torch.float16)
    weight = torch.rand(1, 1, 2, 2, dtype=torch.float16)
    y = upsample_ext.conv_transpose2d(x, weight, stride=2)
    assert y.numel() > 2**31
    rows = [0, 1, 2**31 // y.shape[3] - 1, 2**31 // y.shape[3], 2**31 // y.shape[3] + 1, y.shape[2] - 1]
    for row in rows:
        expected = x[0, 0, row // 2, :, None].double() * weight[0, 0, row % 2].double()
        torch.testing.assert_close(y[0, 0, row].double(), expected.flatten(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    "sizes", [(2**24 + 5, 2**24 + 9), (2**24 - 3, 2**25 - 5), (7, 2**24 + 3), (2**24 + 3, 7)]
)
@pytest.mark.parametrize("axis", [2, 3])
def test_coordinates_near_2_to_the_24_are_natives(axis, sizes, align_corners):
    need(2)
    shape, size = [1, 1, 1, 1], [1, 1]
    shape[axis], size[axis - 2] = sizes
    x = torch.rand(shape)
    options = {"size": tuple(size), "mode": "bilinear", "align_corners": align_corners}
    y, expected = upsample_ext.interpolate(x, **options), F.interpolate(x, **options)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)


def test_one_pixel_makes_more_than_2_to_the_31():
    need(3)
    x = torch.full((1, 1, 1, 1), 77, dtype=torch.uint8)
    y = upsample_ext.interpolate(x, (SIDE, SIDE), mode="bilinear")
    assert y.min() == 77 and y.max() == 77
