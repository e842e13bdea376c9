"""Chains of resizes in one pass against one resize after the other, as native computes them."""

import os
import pathlib
import random
import shutil
import subprocess

import pytest
import torch
from dispatched_ops import dispatched_ops
from dtypes import DTYPES
from image_layouts import LAYOUTS
from torch.nn import functional as F

import upsample_ext
from upsample_ext._chain import Stage, chain_argmax, chain_resample, chain_threshold

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tests" / "native" / "chain_check.cpp"
COMPILER = os.environ.get("CXX", "g++").split()

SAM = [Stage((64, 64), crop=(0, 0, 48, 64)), Stage((75, 100))]
CHAINS = {
    "SAM": SAM,
    "enlarge twice": [Stage((20, 31)), Stage((33, 50), align_corners=True)],
    "enlarge, shrink": [Stage((40, 50)), Stage((31, 27))],
    "shrink, enlarge": [Stage((4, 5)), Stage((31, 27))],
    "three stages": [
        Stage((20, 30), align_corners=True),
        Stage((33, 50)),
        Stage((70, 71), crop=(3, 2, 50, 60)),
    ],
    "five stages": [Stage((20 + 7 * i, 12 + 11 * i)) for i in range(5)],
    "a crop": [Stage((40, 50), crop=(7, 11, 20, 33))],
    "one pixel": [Stage((40, 50), crop=(39, 49, 1, 1))],
    "a pixel to an image": [Stage((40, 50), crop=(3, 4, 1, 1)), Stage((9, 8))],
    "the same size": [Stage((16, 18)), Stage((16, 18), crop=(1, 2, 10, 12)), Stage((20, 24))],
    "the same size last": [Stage((40, 50)), Stage((40, 50), crop=(3, 1, 21, 40))],
    "factors": [Stage((27, 30), (1.7, 1.7)), Stage((58, 45), (2.15, 1.5))],
    "a factor for one axis": [Stage((27, 30), (1.7, None)), Stage((58, 45))],
    "along one axis": [Stage((16, 50)), Stage((16, 77))],
}


def by_stages(x, stages):
    """Natively; of one factor, by the op that takes it."""
    for size, factors, align_corners, crop, _ in stages:
        x = torch.ops.aten.upsample_bilinear2d(x, list(size), align_corners, *(factors or (None, None)))
        if crop is not None:
            top, left, height, width = crop
            x = x[:, :, top : top + height, left : left + width]
    return x


def image(shape=(2, 3, 16, 18), dtype=torch.float32, layout="contiguous", device="cpu"):
    return LAYOUTS[layout](torch.randn(shape, dtype=torch.float64).to(device, dtype))


def random_chain(rng):
    stages = []
    for _ in range(rng.randint(1, 4)):
        size = rng.randint(1, 60), rng.randint(1, 60)
        height, width = (rng.randint(1, extent) for extent in size)
        crop = rng.randint(0, size[0] - height), rng.randint(0, size[1] - width), height, width
        stages.append(Stage(size, None, rng.random() < 0.5, crop if rng.random() < 0.5 else None))
    return stages


def check(x, stages):
    """All consumers: values to twice native's error, decisions wherever that leaves no doubt."""
    exact = by_stages(x.double(), stages)
    resized = chain_resample(x, stages)
    assert resized.shape == exact.shape and resized.dtype == x.dtype and not resized.isnan().any()
    scale = x.abs().max().double()
    # One rounding; of float64, a few, for there the judge rounds as often.
    unit = torch.finfo(x.dtype).eps * (8 if x.dtype is torch.float64 else 1)
    native_error = (by_stages(x, stages).double() - exact).abs().max()
    assert (resized.double() - exact).abs().max() <= 2 * native_error + unit * scale

    within = 4e-6 * scale  # of float32, in which masks and classes are compared
    mask = chain_threshold(x, stages, 0.1)
    assert mask.dtype == torch.bool and mask.shape == exact.shape
    assert ((exact - 0.1).abs() <= within)[mask != (exact > 0.1)].all()

    index, score = chain_argmax(x, stages, return_score=True)
    assert torch.equal(index, chain_argmax(x, stages)) and index.dtype == torch.int64
    assert torch.equal(chain_argmax(x, stages, torch.uint8), index.byte())
    chosen = exact.gather(1, index[:, None])[:, 0]
    assert (exact.amax(1) - chosen).max() <= within
    assert (score - exact.softmax(1).amax(1)).abs().max() <= 1e-5


# ---- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chain", CHAINS)
def test_every_chain(chain, dtype, layout, device, level):
    check(image(dtype=dtype, layout=layout, device=device), CHAINS[chain])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout, device):
    for shape in ((2, 3, 5, 9), (1, 1, 6, 5), (1, 4, 7, 1), (2, 33, 1, 6), (1, 150, 4, 20)):
        check(image(shape, layout=layout, device=device), SAM)


@pytest.mark.parametrize("seed", range(40))
def test_random_chains(seed, device):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    shape = rng.randint(1, 2), rng.randint(1, 5), rng.randint(1, 40), rng.randint(1, 40)
    check(image(shape, layout=rng.choice(list(LAYOUTS)), device=device), random_chain(rng))


def test_masks_are_nearer_to_exact_ones_than_native_s():
    torch.manual_seed(0)
    x = F.interpolate(torch.randn(1, 3, 16, 16), (128, 128), mode="bicubic") * 8
    stages = [Stage((512, 512), crop=(0, 0, 384, 512)), Stage((600, 800))]
    exact = by_stages(x.double(), stages) > 0
    ours, native = chain_threshold(x, stages, 0.0), by_stages(x, stages) > 0
    assert (ours != exact).sum() <= (native != exact).sum()


@pytest.mark.parametrize("align_corners", [False, True])
def test_a_single_stage_is_the_op_of_a_single_resize(align_corners, level):
    for dtype in DTYPES:
        x = image(dtype=dtype)
        resized = upsample_ext.interpolate(x, (40, 51), None, "bilinear", align_corners)
        mask = upsample_ext.upsample_threshold(x, (40, 51), None, align_corners, threshold=0.1)
        index, score = upsample_ext.upsample_argmax(x, (40, 51), None, align_corners, return_score=True)
        for crop in (None, (0, 0, 40, 51), (3, 5, 21, 17), (39, 0, 1, 51)):
            top, left, height, width = crop or (0, 0, 40, 51)
            part = slice(top, top + height), slice(left, left + width)
            stages = [Stage((40, 51), None, align_corners, crop)]
            assert torch.equal(chain_resample(x, stages), resized[..., part[0], part[1]])
            assert torch.equal(chain_threshold(x, stages, 0.1), mask[..., part[0], part[1]])
            found = chain_argmax(x, stages, return_score=True)
            assert torch.equal(found[0], index[:, part[0], part[1]])
            torch.testing.assert_close(found[1], score[:, part[0], part[1]], rtol=1e-6, atol=0)


def test_a_crop_alone_is_computed():
    """A result of 4 PiB, of which one pixel is wanted."""
    stages = [Stage((2**25, 2**25), crop=(2**24, 2**24, 1, 1))]
    assert chain_threshold(torch.ones(1, 1, 2, 2), stages, 0.5).item()


# ---- what is not finite ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", ["SAM", "enlarge twice", "three stages"])
def test_nan_spreads_as_natively_and_infinities_no_farther(chain, level):
    x = image()
    x[0, 0, 3, 4] = x[1, 2, 15, 17] = float("nan")
    expected = by_stages(x, CHAINS[chain])
    found = chain_resample(x, CHAINS[chain])
    assert torch.equal(found.isnan(), expected.isnan()) and expected.isnan().any()
    assert not chain_threshold(x, CHAINS[chain], -1e9)[expected.isnan()].any()
    winners = chain_argmax(x, CHAINS[chain])
    assert (winners[0][expected[0, 0].isnan()] == 0).all() and (winners[1][expected[1, 2].isnan()] == 2).all()

    x[0, 0, 3, 4], x[1, 2, 15, 17] = float("inf"), -float("inf")
    expected, found = by_stages(x, CHAINS[chain]), chain_resample(x, CHAINS[chain])
    finite = expected.isfinite()
    torch.testing.assert_close(found[finite], expected[finite])
    infinite = expected.isinf()
    assert torch.equal(found[infinite], expected[infinite])
    assert not found[~finite].isfinite().any()  # where native has NaN, ours may have the infinity


def test_the_first_of_equal_classes_wins():
    x = torch.zeros(1, 4, 8, 8)
    x[:, 2:] = 1.0
    assert (chain_argmax(x, SAM) == 2).all()


# ---- gradients ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("chain", CHAINS)
def test_gradients(chain, layout, device):
    x = image(dtype=torch.float64, layout=layout, device=device).requires_grad_()
    exact = by_stages(x, CHAINS[chain])
    weight = torch.randn_like(exact)
    (expected,) = torch.autograd.grad(exact, x, weight)
    (found,) = torch.autograd.grad(chain_resample(x, CHAINS[chain]), x, weight)
    # native floors coordinates of doubles in float32, and so do we : a rounding at most of its weights
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_gradients_of_gradients():
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    stages = [Stage((7, 9), crop=(1, 2, 5, 6)), Stage((8, 11))]
    assert torch.autograd.gradcheck(lambda t: chain_resample(t, stages), x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda t: chain_resample(t, stages), x)
    assert not chain_threshold(x, stages, 0.0).requires_grad and not chain_argmax(x, stages).requires_grad


def test_the_same_bits_for_any_number_of_threads(threads):
    x = image((2, 5, 40, 50))
    results = []
    for count in (1, 2, 3):
        threads(count)
        leaf = x.clone().requires_grad_()
        resized = chain_resample(leaf, SAM)
        resized.square().sum().backward()
        decided = chain_threshold(x, SAM, 0.1), *chain_argmax(x, SAM, return_score=True)
        results.append([resized.detach(), leaf.grad, *decided])
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


# ---- calls -------------------------------------------------------------------------------------------------


def test_one_op_for_a_chain():
    x = image()
    for name, call in {
        "upsample_chain": lambda: chain_resample(x, SAM),
        "upsample_chain_threshold": lambda: chain_threshold(x, SAM, 0.0),
        "upsample_chain_argmax": lambda: chain_argmax(x, SAM),
        "upsample_chain_argmax_with_score": lambda: chain_argmax(x, SAM, return_score=True),
    }.items():
        assert dispatched_ops(call)[1] == [f"upsample_ext::{name}"]


def test_an_empty_batch():
    x = torch.empty(0, 3, 16, 18)
    assert chain_resample(x, SAM).shape == chain_threshold(x, SAM, 0.0).shape == (0, 3, 75, 100)
    assert chain_argmax(x, SAM).shape == (0, 75, 100)


OPS = torch.ops.upsample_ext
FULL = [0, 0, 8, 9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([8, 9], FULL, [], None), "expected at least one stage, got none"),
        (([8], FULL, [0], None), "expected 2 sizes for each of 1 stages"),
        (([8, 9], FULL[:3], [0], None), "expected \\(top, left, height, width\\) for each of 1 stages"),
        (([8, 9], FULL, [0], [1.0]), "expected 2 scale factors for each of 1 stages, got 1"),
        (([8, 0], FULL, [0], None), "expected output_size greater than 0"),
        (([8, 9], [0, 0, 8, 10], [0], None), "expected a crop .* inside \\[8, 9\\]"),
        (([8, 9], [-1, 0, 8, 9], [0], None), "expected a crop"),
        (([8, 9], [2**63 - 1, 0, 8, 9], [0], None), "expected a crop"),
        (([8, 9], [0, 0, 0, 9], [0], None), "expected a crop"),
        (([8, 9, 4, 4], FULL + [2, 2, 2, 3], [0] * 2, None), "expected a crop"),
    ],
)
def test_what_no_chain_is(arguments, message):
    for device in ("cpu", "meta"):
        x = torch.rand(1, 2, 4, 5, device=device)
        with pytest.raises(RuntimeError, match=f"upsample_chain: {message}"):
            OPS.upsample_chain(x, *arguments)
        with pytest.raises(RuntimeError, match=f"upsample_chain_threshold: {message}"):
            OPS.upsample_chain_threshold(x, *arguments, 0.0)
        with pytest.raises(RuntimeError, match=f"upsample_chain_argmax: {message}"):
            OPS.upsample_chain_argmax(x, *arguments, torch.int64)


def test_inputs_that_no_chain_takes():
    with pytest.raises(NotImplementedError):
        chain_resample(torch.ones(1, 2, 4, 5, dtype=torch.int64), SAM)
    for x, error in ((torch.rand(2, 4, 5), RuntimeError), (torch.rand(1, 0, 4, 5), RuntimeError)):
        for call in (
            lambda x=x: chain_resample(x, SAM),
            lambda x=x: chain_threshold(x, SAM, 0.0),
            lambda x=x: chain_argmax(x, SAM),
        ):
            with pytest.raises(error):
                call()
    with pytest.raises(RuntimeError, match="expected a grad_output of the last crop's size"):
        OPS.upsample_chain_backward(torch.rand(1, 2, 4, 5), [4, 5], [8, 9], FULL, [0], None)
    with pytest.raises(RuntimeError, match="expected at most 255"):
        chain_argmax(torch.rand(1, 257, 2, 2), SAM, torch.uint8)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        chain_resample(torch.rand(1, 1, 2, 2), [Stage((2**60, 1), crop=(0, 0, 1, 1))])


# ---- the tables --------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not SOURCE.exists() or not shutil.which(COMPILER[0]), reason="needs a checkout and a compiler"
)
def test_composed_tables_are_the_product_of_the_stages(tmp_path):
    program = tmp_path / "chain_check"
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    table = ROOT / "csrc" / "geometry" / "axis_table.cpp"
    subprocess.run([*COMPILER, *flags, SOURCE, table, "-o", program], check=True)
    result = subprocess.run([program], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:]
    assert "all chains hold" in result.stdout
