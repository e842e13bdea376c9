"""The benchmark of random natural inputs: what is drawn, that both sides agree, what is reported."""

import csv
import math
import time
from types import SimpleNamespace

import numpy
import pytest
import torch

from benchmarks import natural, natural_inputs
from benchmarks.__main__ import main
from benchmarks.correctness import Verdict, judge
from benchmarks.measure import Effort, Samples
from benchmarks.natural_inputs import GROUPS, LAYOUTS, Case, Image, case
from benchmarks.report import Table
from benchmarks.result import Result

CPU = torch.device("cpu")
CASES = [case(1, number) for number in range(300)]
OPS = {
    "interpolate",
    "upsample_add",
    "upsample_concat",
    "upsample_argmax",
    "upsample_threshold",
    "upsample_cross_entropy",
    "conv_transpose2d",
    "fixed_conv_transpose2d",
    "bilinear_conv_transpose2d",
}
# The words of a name: a layout, or several joined by +
WORDS = [set(row.name.replace("+", " ").split()) for row in CASES]


def small(rows, size=20_000):
    return [row for row in rows if math.prod(row.shape) < size and math.prod(sides(row.to)) < size]


def sides(to):
    return [1] if to.startswith("x") else map(int, to.split("x"))


@pytest.fixture
def quick(monkeypatch):
    for name in ("_SHORT", "_LONG"):
        monkeypatch.setattr(natural, name, Effort(seconds=0.001, min_rounds=1, max_rounds=2))


# ---- what is drawn -----------------------------------------------------------------------------------------


def test_a_case_depends_on_seed_and_number_alone():
    assert [row.name for row in natural.cases(20, 1, [])] == [row.name for row in CASES[:20]]
    assert [row.name for row in natural.cases(5, 1, [17])] == [CASES[17].name]
    assert [row.name for row in natural.cases(20, 2, [])] != [row.name for row in CASES[:20]]


def test_every_op_group_layout_dtype_and_pass_is_drawn():
    assert {row.op for row in CASES} == OPS
    assert {row.group for row in CASES} == set(GROUPS)
    assert {str(row.dtype) for row in CASES} == {
        "torch." + n for n in ("float32", "bfloat16", "float16", "uint8")
    }
    for word in (
        *LAYOUTS,
        "scalar",
        "forward",
        "backward",
        "both",
        "align_corners",
        "score",
        "weights",
        "antialias",
    ):
        assert any(word in words for words in WORDS), word
    for kernel in (2, 4, 7, 31):
        assert any(f"kernel {kernel} " in row.name for row in CASES)
    assert any("+" in row.layout for row in CASES)
    assert any(row.shape[2] == 1 and row.shape[3] >= 10_000 for row in CASES if len(row.shape) == 4)
    assert {len(row.shape) for row in CASES} == {3, 4, 5}


def test_bilinear_resize_is_drawn_most():
    assert sum(row.op == "interpolate" and row.group != "other modes" for row in CASES) > 120
    assert sum(row.group == "other modes" for row in CASES) < 45


def test_no_case_is_large():
    for row in CASES:
        assert math.prod(row.shape) * row.dtype.itemsize <= 200e6


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8], ids=str)
def test_layouts_are_what_they_are_called(dtype):
    shape = (1, 3, 6, 10)
    dense, *others = (Image(shape, dtype, layout).make(CPU) for layout in LAYOUTS[:-1])
    assert dense.is_contiguous()
    for image in others:
        assert image.dtype == dtype and torch.equal(image, dense)
    strides = dict(zip(LAYOUTS[1:], (image.stride() for image in others), strict=False))
    assert strides["channels_last"] == (180, 1, 30, 3)
    assert strides["hwc_array"] == torch.from_numpy(numpy.zeros((6, 10, 3))).permute(2, 0, 1)[None].stride()
    assert strides["crop"][2:] == (22, 1)
    assert strides["channels_last_crop"][1:] == (1, 66, 3)
    assert strides["transposed"][2:] == (1, 6)
    assert others[2].storage_offset() == 3 * 22 + 5
    assert Image((4, 3, 6, 10), dtype, "expanded").make(CPU).stride(0) == 0


def test_images_of_other_ranks_are_cropped():
    for shape in ((2, 3, 20), (1, 2, 4, 5, 6)):
        image = Image(shape, torch.float32, "crop").make(CPU)
        assert image.shape == shape and not image.is_contiguous()


# ---- both sides --------------------------------------------------------------------------------------------


def some_of_each():
    """Of every op, group and pass a few small ones."""
    found = {}
    for row in small(CASES):
        found.setdefault((row.op, row.group, row.direction), []).append(row)
    return [row for rows in found.values() for row in rows[:3]]


@pytest.mark.parametrize("row", some_of_each(), ids=lambda row: f"{row.number} {row.name}")
def test_both_sides_compute_the_same(row):
    contest = row.make(row, CPU)
    assert not judge(row, contest).wrong
    assert set(contest.rivals) == {"native"}


def test_small_cases_are_of_every_op():
    assert {row.op for row in some_of_each()} == OPS


def test_the_gradient_has_the_layout_that_is_named():
    row = next(row for row in small(CASES) if row.layout.endswith("gradient scalar"))
    seen = natural_inputs._gradient_like("scalar")(torch.zeros(2, 3, 4, 5))
    assert seen.stride() == (0, 0, 0, 0) and seen.shape == (2, 3, 4, 5)
    assert row.direction != "forward"


# ---- what is reported --------------------------------------------------------------------------------------


def test_cases_from_the_command_line_to_a_file(quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(natural, "case", lambda seed, number: small(CASES)[number])
    table = tmp_path / "a.csv"
    assert main(["--natural", "3", "--seed", "1", "--threads", "1", "2", "--csv", str(table)]) == 0
    printed = capsys.readouterr().out
    assert "6 measurements: all right" in printed
    for row in small(CASES)[:3]:
        for threads in (1, 2):
            assert f"{row.name}, --seed 1 --case {row.number} --threads {threads}" in printed
    with table.open() as file:
        records = list(csv.DictReader(file))
    assert [record["case"] for record in records] == [
        str(row.number) for row in small(CASES)[:3] for _ in "12"
    ]
    assert all(float(record["native_over_ours"]) > 0 for record in records)


def test_one_case_and_a_filter(capsys):
    assert main(["--seed", "1", "--case", "17", "--list"]) == 0
    assert capsys.readouterr().out == f"17 {CASES[17].name}\n"
    assert main(["--natural", "300", "--seed", "1", "--filter", "^(?!other)", "--list"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert len(names) == sum(row.group != "other modes" for row in CASES)


@pytest.mark.parametrize(
    "arguments",
    [["--natural", "0"], ["--natural", "1", "--plot", "x"], ["--natural", "1", "--device", "cuda"]],
)
def test_what_does_not_go_together(arguments):
    with pytest.raises(SystemExit):
        main(arguments)


def fake(number, ours, native, group="add"):
    """A case of two functions without arguments; the exact result is native's."""

    def make(row, device):
        def reference():
            yield slice(None), (native().double(),)

        return SimpleNamespace(
            ours=ours,
            rivals={"native": native},
            reference=reference,
            distances=None,
            compared_in=None,
            native_strides=True,
            native_levels=False,
            floor_bytes=0,
            moved_bytes=0,
            intermediate_bytes=0,
        )

    return Case("upsample_add", (1, 2, 3, 4), "6x8", make, number=number, group=group)


NO_ALLOCATION = SimpleNamespace(keep_pages=lambda size: None, give_back=lambda: None)


def ones():
    return torch.ones(1, 3)


def slow():
    time.sleep(0.002)
    return ones()


def test_a_slow_and_a_wrong_side_are_reported(quick, monkeypatch, capsys):
    rows = [fake(0, ones, slow), fake(1, slow, ones), fake(2, lambda: 2 * ones(), ones)]
    monkeypatch.setattr(natural, "case", lambda seed, number: rows[number])
    assert main(["--natural", "2", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cases = [line for line in lines if "--case" in line]
    assert [line.split("--case ")[1][0] for line in cases] == ["1", "0"]  # the slowest first
    (summary,) = [line for line in lines if line.startswith("add")]
    assert summary.split()[-2:] == ["50.0%", "50.0%"]
    assert any("all right" in line and "1 of 2 are below 0.95" in line and "missed" in line for line in lines)

    assert main(["--natural", "3", "--threads", "1"]) == 1
    printed = capsys.readouterr().out
    assert "WRONG: add: upsample_add 1x2x3x4 to 6x8" in printed and "--case 2" in printed
    assert "1 WRONG" in printed


def test_other_bits_with_other_threads_are_checked_again(quick, monkeypatch):
    row = fake(0, lambda: ones() * torch.get_num_threads(), ones)
    one, two = natural.measure(row, CPU, [1, 2], NO_ALLOCATION, Table(2))
    assert not one.wrong and two.wrong and two.threads == 2 and two.samples is None


@pytest.mark.parametrize(
    ("measurements", "gain"),
    [
        ([(2.0, 0.9)], 2.0),  # fast enough, whoever else computes
        ([(1.0, 0.0), (3.0, 0.0)], 3.0),
        ([(1.0, 0.0), (0.5, 0.0)], 0.5),  # the longer one counts
        ([(1.0, 0.0), (0.1, 0.9)], 1.0),  # unless others disturb it more
        ([(0.1, 0.9), (0.2, 0.8), (4.0, 0.0)], 4.0),
        ([(0.1, 0.7), (0.2, 0.8), (0.3, 0.9)], 0.1),
    ],
)
def test_a_doubtful_ratio_is_measured_again(monkeypatch, measurements, gain):
    efforts, shares = [], iter([share for _, share in measurements])

    def sample(sides, device, threads, effort):
        native = measurements[len(efforts)][0]
        efforts.append(effort)
        return Samples({"ours": numpy.ones(3), "native": numpy.full(3, native)})

    monkeypatch.setattr(natural, "sample", sample)
    monkeypatch.setattr(natural, "Neighbours", lambda: SimpleNamespace(share=lambda: next(shares)))
    results = []
    natural.measure_all(results, [fake(0, ones, ones)], CPU, [1], NO_ALLOCATION, None, Table(1))
    assert efforts == [natural._SHORT, natural._LONG, natural._LONG][: len(measurements)]
    assert [result.gain("native").median for result in results] == [gain]


def measured(group, gain, threads=1):
    samples = Samples({"ours": numpy.ones(1), "native": numpy.full(1, gain)})
    return Result(fake(0, None, None, group), threads, Verdict("eps", {}), samples)


def test_the_aim_is_for_all_cases():
    met = [measured("add", 6.0), measured("bilinear", 0.96), measured("other modes", 5.1)]
    *_, verdict = natural.lines(met, seed=0)
    assert "0 of 3 are below 0.95" in verdict and verdict.endswith("is met")
    *_, verdict = natural.lines([*met, measured("other modes", 0.94)], seed=0)
    assert verdict.endswith("is missed")


def test_the_slowest_are_printed_or_all():
    results = [measured("add", 1.0 + n) for n in range(30)]
    printed = "\n".join(natural.lines(results, seed=0))
    assert printed.count("--case") == natural.SHOWN and "10 faster ones" in printed
    assert "\n".join(natural.lines(results, 0, None)).count("--case") == 30
