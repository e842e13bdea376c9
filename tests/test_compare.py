"""compare(): the question's matrices, the tables behind them, the explanation, the picture."""

import builtins
import sys

import pytest
import torch
import torch.nn.functional as F
from kernel_backend import EMULATED

from upsample_ext.compare import compare
from upsample_ext.comparison_ways import NAMES

WAYS = ("align_corners=True", "align_corners=False", "zeros", "replicate")
QUESTION = [[1.0, 2.0], [3.0, 4.0]]
# As printed in the discussion that asked why the two differ
PRINTED = """\
(0 ,0 ,.,.) =
1.0000 1.3333 1.6667 2.0000
1.6667 2.0000 2.3333 2.6667
2.3333 2.6667 3.0000 3.3333
3.0000 3.3333 3.6667 4.0000
[torch.FloatTensor of size 1x1x4x4]
""", """\
(0 ,0 ,.,.) =
0.5625 0.9375 1.3125 1.1250
1.1250 1.7500 2.2500 1.8750
1.8750 2.7500 3.2500 2.6250
1.6875 2.4375 2.8125 2.2500
[torch.FloatTensor of size 1x1x4x4]
"""  # fmt: skip


def matrix(lines: str) -> torch.Tensor:
    return torch.tensor([[float(word) for word in line.split()] for line in lines.strip().splitlines()])


# ---- the four ways and their tables ------------------------------------------------------------------------


def test_the_questions_matrices():
    ways = compare(QUESTION, 2).ways
    for name, printed in zip(("align_corners=True", "zeros"), PRINTED, strict=True):
        expected = matrix("\n".join(printed.splitlines()[1:-1]))
        torch.testing.assert_close(ways[name].output[0, 0], expected, rtol=0, atol=5e-5)


def test_print_shows_the_questions_matrices_first():
    printed = str(compare(QUESTION, 2))
    first, second = (printed.index(text) for text in PRINTED)
    third = printed.index(
        'interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)\n(0 ,0 ,.,.) ='
    )
    assert first < second < third < printed.index("weights of either axis")


def test_a_constant_becomes_three_quarters_on_the_edge():
    ones = compare(torch.ones(3, 5), 2)
    zeros = ones.ways["zeros"].output[0, 0]
    assert zeros[1:-1, 1:-1].eq(1).all()
    assert all(
        edge.eq(0.75).all() for edge in (zeros[0, 1:-1], zeros[-1, 1:-1], zeros[1:-1, 0], zeros[1:-1, -1])
    )
    assert all(zeros[i, j] == 0.5625 for i in (0, -1) for j in (0, -1))
    for name in ("align_corners=True", "align_corners=False", "replicate"):
        torch.testing.assert_close(ones.ways[name].output, torch.ones(1, 1, 6, 10))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("factor", range(1, 7))
@pytest.mark.parametrize("shape", [(5, 9), (8, 3), (1, 4), (6, 1), (2, 3, 4, 7)])
def test_replicate_equals_interpolate_everywhere(shape, factor, dtype):
    comparison = compare(torch.randn(shape, dtype=torch.float64).to(dtype), factor)
    difference = comparison.difference("replicate", "align_corners=False")
    assert difference.equal and difference.count == 0
    assert difference.largest <= 64 * torch.finfo(dtype).eps
    inside = comparison.difference("zeros", "align_corners=False").inside
    assert inside is None or inside <= difference.rounding


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 3)])
def test_the_tables_are_the_ops(shape, factor):
    x = torch.randn(shape, dtype=torch.float64)
    for way in compare(x, factor).ways.values():
        a_h, a_w = way.height.dense(), way.width.dense()
        assert a_h.shape == (shape[0] * factor, shape[0]) and a_w.shape == (shape[1] * factor, shape[1])
        torch.testing.assert_close(way.output[0, 0], a_h @ x @ a_w.T)
        torch.testing.assert_close(way.height.dense(2), a_h[:2])
        torch.testing.assert_close(way.height.row_sums(), a_h.sum(1))


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_rows_sum_to_one_but_for_zeros_at_the_border(factor):
    comparison = compare(torch.ones(6, 8), factor)
    for name in WAYS:
        for table, outside in (
            (comparison.ways[name].height, comparison.border_rows),
            (comparison.ways[name].width, comparison.border_columns),
        ):
            sums = table.row_sums()
            less = sums < 1 - 1e-9
            torch.testing.assert_close(sums[~less], torch.ones_like(sums[~less]))
            assert less.equal(outside if name == "zeros" else torch.zeros_like(outside))
    each_side = factor // 2
    assert comparison.border_rows.nonzero().flatten().tolist() == [
        *range(each_side), *range(6 * factor - each_side, 6 * factor)
    ]  # fmt: skip


def test_difference_map_and_places():
    comparison = compare(QUESTION, 2)
    zeros = comparison.difference("zeros")
    assert (zeros.inside, zeros.border, zeros.largest, zeros.where) == (0.0, 1.75, 1.75, (0, 0, 3, 3))
    expected = comparison.ways["zeros"].output - comparison.ways["align_corners=False"].output
    assert zeros.map.equal(expected) and zeros.count == 12
    assert list(comparison.differences) == ["align_corners=True", "zeros", "replicate"]
    with pytest.raises(ValueError, match="expected one of .*got 'nearest'"):
        comparison.difference("nearest")


# ---- the modes, enlarging and shrinking --------------------------------------------------------------------

SHRINKING = [name for name in NAMES if name not in ("zeros", "replicate")]


def native(x, name, size=None, scale_factor=None):
    """What PyTorch's function gives for the name of a way of interpolation."""
    mode, antialias = name, False
    if name.endswith("antialias"):
        mode, antialias = ("bicubic" if name.startswith("bicubic") else "bilinear"), True
    align_corners = None
    if name.startswith("align_corners"):
        mode, align_corners = "bilinear", name.endswith("True")
    return F.interpolate(x, size, scale_factor, mode, align_corners, antialias=antialias)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("shape", [(2, 4), (9, 12), (13, 8), (1, 20)])
@pytest.mark.parametrize("shrink", [False, True], ids=["enlarging", "shrinking"])
def test_every_mode_is_the_native_one_and_its_tables(shape, factor, shrink):
    x = torch.randn(2, *shape, dtype=torch.float64)
    names = SHRINKING if shrink else NAMES
    comparison = compare(x, factor, names, shrink=shrink)
    assert list(comparison.ways) == list(names)
    size = [max(1, extent // factor) for extent in shape]
    for name, way in comparison.ways.items():
        if name in SHRINKING:
            expected = native(x[None], name, size) if shrink else native(x[None], name, None, factor)
            torch.testing.assert_close(way.output, expected)
            assert eval(way.call, {"interpolate": F.interpolate, "x": x[None]}).equal(expected)
        a_h, a_w = way.height.dense(), way.width.dense()
        torch.testing.assert_close(way.output[0], a_h @ x @ a_w.T)


def test_modes_stand_for_several_and_the_reference_is_always_there():
    enlarging = ["nearest", "align_corners=True", "align_corners=False", "bicubic", "antialias"]
    assert list(compare(QUESTION, 2, "modes").ways) == enlarging
    shrinking = compare(torch.rand(4, 4), 2, shrink=True)
    assert list(shrinking.ways) == ["nearest", "align_corners=False", "bicubic", "area", "antialias"]
    assert shrinking.reference == "antialias" and shrinking.shrink
    assert list(compare(QUESTION, 2, "bicubic").ways) == ["bicubic", "align_corners=False"]
    assert list(compare(QUESTION, 2, ["bilinear", "nearest"]).ways) == ["align_corners=False", "nearest"]
    assert list(compare(QUESTION, 2, ["area"], shrink=True).ways) == ["area", "antialias"]


def test_the_modes_explanation_is_measured():
    comparison = compare([[0.0, 0.0, 1.0, 1.0]], 2, "modes")
    text = comparison.explanation
    low, high = (float(v) for v in torch.aminmax(comparison.ways["bicubic"].output))
    assert low < 0 and f"Values from {low:.4g} to {high:.4g}, the input's from 0 to 1." in text
    assert (
        "antialias widens the filter of bilinear only where an image shrinks. Equal to bilinear here." in text
    )
    assert "align_corners=True keeps the corner samples" in text
    enlarged = compare(torch.rand(5, 5), 3, ["nearest", "area", "nearest-exact"]).explanation
    assert enlarged.count("Equal to nearest here.") == 2
    shrunk = compare(torch.rand(3, 64, 64), 4, shrink=True).explanation
    for name, share in (("nearest takes one", "6.25%"), ("bilinear takes up to 2", "25%")):
        assert (
            f"{name} sample{'s' * name.endswith('2')} of each axis: {share} of the samples are read."
            in shrunk
        )
    assert "antialias takes up to 8 samples of each axis: every sample counts." in shrunk
    same = compare(torch.ones(4, 4), 2, "modes")
    assert same.explanation == "Enlarged by 2, all of these ways agree on this input, to rounding."
    comparison = compare(torch.rand(8, 8), 2, "modes")
    comparison.ways["antialias"].output[0, 0, 3, 3] += 0.5
    assert "Equal to bilinear here" not in comparison.explanation


def test_the_modes_in_print():
    text = str(compare(QUESTION, 2, "modes"))
    for line in (
        'interpolate(x, scale_factor=2, mode="bicubic")',
        'interpolate(x, scale_factor=2, mode="bilinear", antialias=True)',
        "1.0000 1.0000 2.0000 2.0000",
        "largest difference from bilinear ",
        "1.1055 -0.1055 | 1.0000",
    ):
        assert line in text
    shrunk = str(compare(torch.rand(3, 96, 128), 4, shrink=True))
    assert 'interpolate(x, size=(24, 32), mode="area")' in shrunk
    assert "x: torch.FloatTensor of size 1x3x96x128, shrunk by 4" in shrunk
    assert "0.2500 0.2500 0.2500 0.2500" in shrunk and "largest difference from antialias" in shrunk
    assert max(map(len, shrunk.splitlines())) < 200 and len(shrunk) < 9000
    assert "the first 1 rows and 16 columns" in str(compare(torch.rand(90, 90), 40, shrink=True))


# ---- a part at a time --------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 50, 2**19], ids=["rows", "some rows", "all"])
def part(request, monkeypatch):
    """As many outputs are computed at a time: a row, some rows, or several planes."""
    monkeypatch.setattr(sys.modules["upsample_ext.compare"], "_STRIPE", request.param)


def measured_at_once(comparison, first, second):
    """What a `Difference` holds, from whole results."""
    a, b = comparison.ways[first].output, comparison.ways[second].output
    size = torch.where((a == b) | (a.isnan() & b.isnan()), torch.zeros_like(a), a - b).abs()
    border = comparison.border_rows[:, None] | comparison.border_columns
    inside, on_border = (
        float(v.max()) if v.numel() else None for v in (size[..., ~border], size[..., border])
    )
    at = int(size.argmax())
    where = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), size.shape))
    count = int((~(size <= comparison.difference(first, second).rounding)).sum())
    return inside, on_border, float(size.flatten()[at]), where, count


def assert_measured(difference, expected):
    """To the bit, but for CUDA's kernels: there the ties of rounding may fall otherwise."""
    d = difference
    found = d.inside, d.border, d.largest, d.where, d.count
    if not EMULATED:
        assert repr(found) == repr(expected)
    for value, right in zip(found[:3], expected[:3], strict=True):
        assert value is right or value == pytest.approx(right, abs=d.rounding, nan_ok=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "factor"),
    [((9, 31), 2), ((31, 9), 3), ((2, 3, 6, 7), 4), ((1, 40), 5), ((40, 1), 2), ((1, 1), 7), ((5, 4), 1)],
)
def test_parts_give_what_whole_results_give(part, shape, factor, dtype):
    x = torch.randn(shape, dtype=torch.float64).to(dtype)
    in_parts, whole = compare(x, factor), compare(x, factor)
    pairs = [(name, "align_corners=False") for name in WAYS] + [("align_corners=True", "zeros")]
    for first, second in pairs:
        assert_measured(in_parts.difference(first, second), measured_at_once(whole, first, second))
    text = str(in_parts)
    assert EMULATED or text == str(whole)  # whose results were asked for, and are taken
    for name in WAYS:
        assert in_parts.ways[name].output.equal(whole.ways[name].output)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shrink", [False, True], ids=["enlarging", "shrinking"])
@pytest.mark.parametrize(("shape", "factor"), [((9, 31), 2), ((2, 3, 11, 7), 3), ((40, 1), 5)])
def test_parts_of_modes_give_what_whole_results_give(part, shape, factor, shrink, dtype):
    x = torch.randn(shape, dtype=torch.float64).to(dtype)
    names = SHRINKING if shrink else NAMES
    in_parts, whole = (compare(x, factor, names, shrink=shrink) for _ in range(2))
    for name in names:
        expected = measured_at_once(whole, name, whole.reference)
        assert_measured(in_parts.difference(name), expected)
        assert EMULATED or in_parts.ranges[name] == tuple(
            float(v) for v in torch.aminmax(whole.ways[name].output)
        )
    assert EMULATED or in_parts.explanation == whole.explanation


def test_parts_of_infinities_and_nan(part):
    x = torch.rand(3, 20, 30)
    x[0, 4, 5], x[1, 0, 7], x[1, 19, 29] = float("nan"), float("inf"), -float("inf")
    in_parts, whole = compare(x, 3), compare(x, 3)
    for name in WAYS:
        assert_measured(in_parts.difference(name), measured_at_once(whole, name, "align_corners=False"))
    assert str(in_parts) == str(whole)


def test_wide_float64_in_parts(part):
    x = torch.rand(2, 2100, dtype=torch.float64)
    for name in WAYS:
        expected = measured_at_once(compare(x, 2), name, "align_corners=False")
        assert_measured(compare(x, 2).difference(name), expected)


def test_the_input_may_change_afterwards():
    x = torch.rand(1, 1, 4, 4)
    expected = str(compare(x, 2))
    comparison = compare(x, 2)
    x.zero_()
    assert str(comparison) == expected and not comparison.input.eq(0).all()


def test_measuring_leaves_the_number_of_threads():
    threads = torch.get_num_threads()
    str(compare(torch.rand(3, 40, 50), 3))
    assert torch.get_num_threads() == threads


# ---- inputs ------------------------------------------------------------------------------------------------


def test_inputs_of_every_kind():
    as_batch = compare(torch.tensor([[[[1, 2], [3, 4]]]]), 2)
    for x in (QUESTION, [[1, 2], [3, 4]], [QUESTION], torch.tensor(QUESTION, requires_grad=True)):
        comparison = compare(x, 2)
        assert comparison.input.shape == (1, 1, 2, 2) and not comparison.input.requires_grad
        for name in WAYS:
            assert comparison.ways[name].output.equal(as_batch.ways[name].output)
    pixels = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    assert compare(pixels, 2).ways["replicate"].output.dtype == torch.float32
    assert compare(torch.ones(2, 2, dtype=torch.float16), 2).ways["zeros"].output.dtype == torch.float16


@pytest.mark.parametrize(
    ("x", "factor", "error", "message"),
    [
        (QUESTION, 0, ValueError, "expected factor to be 1 or more, got 0"),
        pytest.param(QUESTION, -(10**5000), ValueError, r"1 or more, got -10\*\*20 or more", id="-10**5000"),
        (QUESTION, 10**11, ValueError, "2x2 upsampled by 100000000000 is more than .*factor may be up to"),
        pytest.param(QUESTION, 10**5000, ValueError, r"by 10\*\*20 or more is more than", id="10**5000"),
        (torch.ones(1, 1).expand(10**5, 10**5), 1, ValueError, "100000x100000 .*expected a smaller input"),
        (QUESTION, 1.5, TypeError, "expected factor to be an int, got float"),
        ([1, 2, 3], 2, ValueError, r"expected a non-empty \(H, W\).*got shape \(3,\)"),
        (torch.ones(0, 3), 2, ValueError, r"got shape \(0, 3\)"),
        ([[1, 2], [3]], 2, TypeError, "expected a tensor or nested lists of numbers"),
        ("image.png", 2, TypeError, "expected a tensor or nested lists of numbers"),
        (torch.ones(2, 2, dtype=torch.complex64), 2, TypeError, "expected real numbers, got torch.complex64"),
    ],
)
def test_wrong_arguments(x, factor, error, message):
    with pytest.raises(error, match=message):
        compare(x, factor)


@pytest.mark.parametrize(
    ("factor", "ways", "shrink", "message"),
    [
        (2, ["cubic"], False, "expected ways of modes, bilinear, nearest, .*replicate; got 'cubic'"),
        (2, "linear", False, "got 'linear'"),
        (2, ["nearest", "zeros"], True, "'zeros', a transposed convolution, cannot shrink"),
        (3, None, True, "2x2 shrunk by 3 is nothing; the factor may be up to 2"),
    ],
)
def test_wrong_ways(factor, ways, shrink, message):
    with pytest.raises(ValueError, match=message):
        compare(QUESTION, factor, ways, shrink=shrink)


def test_shrinking_is_the_work_of_reading():
    with pytest.raises(ValueError, match="100000x100000 shrunk by 7 is more than .*expected a smaller input"):
        compare(torch.ones(1, 1).expand(10**5, 10**5), 7, shrink=True)
    assert compare(torch.rand(3000, 2), 3000, shrink=True).ways["area"].output.shape == (1, 1, 1, 1)


def test_infinities_and_nan():
    comparison = compare([[float("nan"), 1.0, 2.0], [float("inf"), 2.0, 0.5]], 2)
    assert comparison.difference("replicate").equal
    assert not comparison.difference("zeros").equal
    assert "nan" in str(comparison)


# ---- what is said ------------------------------------------------------------------------------------------


def test_the_explanation_answers_the_question():
    text = compare(QUESTION, 2).explanation
    for part in (
        "differ by up to 1.75, at row 3, column 3, because of where they sample and what they read outside",
        "keeps the corner samples and steps (in - 1)/(out - 1) of a sample per output",
        "here (2 - 1)/(4 - 1) = 0.3333",
        "sample at half-pixel centres, from -0.25 in steps of 1/2",
        "makes a difference of up to 0.25",
        "reads zeros outside the image. Inside it agrees with align_corners=False",
        "0.75 on an edge and 0.5625 at a corner",
        'with padding_mode="replicate" the transposed convolution equals interpolate(align_corners=False)',
    ):
        assert part in text


def test_the_explanation_follows_the_data():
    assert (
        compare(QUESTION, 1).explanation == "No difference: factor 1 gives the input back in all four ways."
    )
    assert compare(torch.zeros(3, 3), 2).explanation.startswith("No difference on this input")
    constant = compare(torch.ones(4, 4), 2).explanation
    assert "because of what they read outside the image." in constant
    assert "On this input that makes no difference." in constant
    island = torch.zeros(9, 9)
    island[4, 4] = 1.0
    text = compare(island, 2).explanation
    assert "because of where they sample." in text and "On the border it agrees too, on this input" in text
    assert "No output lies wholly inside" in compare([[1.0, 2.0, 4.0]], 2).explanation
    assert "0.6667 on an edge and 0.4444 at a corner" in compare(QUESTION, 3).explanation


def test_the_explanation_does_not_claim_what_was_not_measured():
    comparison = compare(QUESTION, 2)
    comparison.ways["replicate"].output[0, 0, 1, 1] += 0.5
    comparison.ways["zeros"].output[0, 0, 1, 1] += 0.5
    comparison.ways["align_corners=True"].output[0, 0, 0, 0] += 0.5
    text = comparison.explanation
    assert "keeps the corner samples" not in text
    assert "Inside it differs from align_corners=False by up to 0.5" in text
    assert "still up to 0.5 from interpolate(align_corners=False), more than rounding" in text


def test_large_inputs_are_summarised():
    text = str(compare(torch.rand(3, 200, 150), 2))
    assert len(text) < 8000 and max(map(len, text.splitlines())) < 200
    assert "[torch.FloatTensor of size 1x3x400x300], values from" in text
    assert "weights of the height, A: 400 outputs x 200 inputs" in text
    assert "weights of the width, A: 300 outputs x 150 inputs" in text
    assert "(0 ,0 ,.,.) =" not in text


def test_columns_stay_aligned():
    lines = str(compare([[-100.0, 2.0], [3.0, 4.0]], 2)).splitlines()
    start = lines.index("(0 ,0 ,.,.) =") + 1
    assert len({len(line) for line in lines[start : start + 4]}) == 1


# ---- the picture -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "factor"),
    [
        (QUESTION, 2),
        (QUESTION, 1),
        ([[5.0]], 3),
        ([[float("nan"), 1.0], [float("inf"), 2.0]], 2),
        (torch.zeros(20, 20), 2),
        (torch.rand(1, 40), 2),
        (torch.randn(2, 5, 30, 9), 3),
        (torch.rand(3, 64, 48, dtype=torch.float16), 4),
    ],
    ids=["question", "factor 1", "one sample", "nan", "nothing", "one row", "odd factor", "half"],
)
def test_plot_writes_a_picture(tmp_path, x, factor):
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)
    path = tmp_path / "comparison.png"
    for shrink in (False, True):
        if factor <= max(torch.as_tensor(x).shape[-2:]):
            compare(x, factor, "modes", shrink=shrink).plot(tmp_path / "modes.png", dpi=50)
            assert (tmp_path / "modes.png").read_bytes().startswith(b"\x89PNG")
    figure = compare(x, factor).plot(path, dpi=50)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert 10_000 < path.stat().st_size < 400_000
    assert figure.get_size_inches()[0] >= 10
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("shape", "factor"), [((3, 64, 48), 4), ((7, 100), 3), ((100, 7), 5), ((2, 30, 31), 1)]
)
def test_the_maps_are_those_of_whole_results(part, shape, factor):
    figure = pytest.importorskip("upsample_ext.comparison_figure")
    x = torch.rand(shape)
    maps = figure._maps(compare(x, factor))
    tolerance = 1e-5 if EMULATED else 0.0
    for name, coarse in maps.coarse.items():
        size = compare(x, factor).difference(name).map[0].abs().double()
        cells = [min(90, extent) for extent in size.shape[1:]]
        expected = F.adaptive_max_pool2d(size.amax(0)[None], cells)[0]
        torch.testing.assert_close(coarse, expected, rtol=0, atol=tolerance)
        means = F.avg_pool2d(size.sum(0)[None], factor)[0]
        torch.testing.assert_close(maps.samples[name], means, rtol=1e-9, atol=len(x) * tolerance)
    zeros = compare(x, factor).difference("zeros").map[0].abs()
    torch.testing.assert_close(
        maps.edges, zeros[..., [0, -1]].reshape(maps.edges.shape), rtol=0, atol=tolerance
    )
    shrunk = compare(x, factor, "modes", shrink=True)
    for name, samples in figure._maps(shrunk).samples.items():
        expected = compare(x, factor, "modes", shrink=True).difference(name).map[0].abs().double().sum(0)
        torch.testing.assert_close(samples, expected, rtol=1e-9, atol=len(x) * tolerance)


def test_plotted_text_stays_on_the_page_and_apart():
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def drawn_texts(figure):
        yield from figure.texts
        for ax in [*figure.axes, *(child for parent in figure.axes for child in parent.child_axes)]:
            yield from (ax.title, *ax.texts)
            if ax.get_legend() is not None:
                yield from ax.get_legend().get_texts()
            for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
                ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
                yield from (label for place, label in ticks if min(limits) <= place <= max(limits))

    photo = torch.rand(2, 5, 90, 70)
    matrices = [[2.0, 7, 1, 8], [2, 8, 1, 8], [2, 8, 4, 5], [9, 0, 4, 5]]
    for comparison in (
        compare(QUESTION, 2),
        compare(photo, 3),
        compare(QUESTION, 2, "modes"),
        compare(photo, 3, "modes"),
        compare(photo, 2, ["nearest", "bilinear", "area"]),
        compare(photo, 2, NAMES),
        compare(matrices, 2, shrink=True),
        compare(photo, 3, shrink=True),
    ):
        figure = comparison.plot()
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        boxes = [text.get_window_extent(renderer) for text in drawn_texts(figure) if text.get_text().strip()]
        page = figure.bbox
        assert len(boxes) > 20
        for box in boxes:
            assert box.x0 >= 0 and box.x1 <= page.x1 and box.y0 >= 0 and box.y1 <= page.y1
        for i, box in enumerate(boxes):
            for other in boxes[:i]:
                across = min(box.x1, other.x1) - max(box.x0, other.x0)
                down = min(box.y1, other.y1) - max(box.y0, other.y0)
                assert across < 1 or down < 4, "two texts overlap"


def test_without_matplotlib_plot_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **keywords):
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *arguments, **keywords)

    monkeypatch.delitem(sys.modules, "upsample_ext.comparison_figure", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(
        ImportError, match=r"matplotlib is not installed. Type: pip install upsample-ext\[plot\]"
    ):
        compare(QUESTION, 2).plot()
