"""The benchmarks' own instruments: peak memory, the bands of chunked native, errors of labels and masks."""

import sys

import pytest
import torch
import torch.nn.functional as F

from benchmarks import bands, combine, cross_entropy, peak, select
from benchmarks.__main__ import main
from benchmarks.correctness import judge

MIB = 2**20
CPU = torch.device("cpu")

resident = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def ones(mib):
    return torch.ones(mib * MIB, dtype=torch.uint8)


# Sides of known need. They are pickled by name, so they stand at the top level.


def returns_one():
    return lambda: ones(64)


def holds_two_at_once():
    def side():
        first, second = ones(64), ones(32)
        return first, int(second[0])

    return side


def one_after_the_other():
    def side():
        ones(64)
        return ones(32)

    return side


def a_tensor_that_was_there():
    held = ones(64)
    return lambda: held


def what_was_freed_before():
    """A new call must not find room in what building the side has freed."""
    freed = [torch.ones(10_000) for _ in range(2000)]
    del freed
    return returns_one()


def a_cache():
    """The first call keeps memory, which later ones use."""
    kept = []

    def side():
        if not kept:
            kept.append(ones(64))
        return kept[0][:1].clone()

    return side


def untouched():
    return lambda: torch.empty(64 * MIB, dtype=torch.uint8)


@resident
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "build, total, result",
    [
        (returns_one, 64, 64),
        (holds_two_at_once, 96, 64),
        (one_after_the_other, 64, 32),
        (a_tensor_that_was_there, 0, 0),
        (what_was_freed_before, 64, 64),
        (a_cache, 64, 0),
        (untouched, 0, 0),
    ],
)
def test_peak_of_known_allocations(build, total, result, threads):
    found = peak.in_new_process(build, threads=threads)
    assert found.mib == pytest.approx(total, abs=1)
    assert found.result / MIB == pytest.approx(result, abs=1)
    assert found.extra_mib == pytest.approx(total - result, abs=1.5)


def fails():
    raise ValueError("not this one")


def test_an_error_in_the_other_process_is_raised_here():
    with pytest.raises(ValueError, match="not this one"):
        peak.in_new_process(fails)


@resident
def test_native_needs_the_interpolated_tensor_and_ours_does_not():
    row = select._row(select.make_argmax, (1, 20, 64, 128), "x8")
    interpolated = 20 * 512 * 1024 * 4 / MIB
    ours, native = (peak.of_row(row, CPU, side, 1) for side in ("ours", "native"))
    assert native.extra_mib == pytest.approx(interpolated, abs=2)
    assert ours.extra_mib < 8
    assert ours.result == pytest.approx(512 * 1024 * 8, abs=MIB / 2)


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_bands_make_up_the_whole(factor, monkeypatch):
    x = torch.randn(2, 3, 13, 7, dtype=torch.float64)
    monkeypatch.setattr(bands, "BAND_BYTES", 4 * 2 * 3 * 7 * factor * factor * 4)  # four source rows a band
    pieces = list(bands.bands(x, factor))
    assert len(pieces) == 4
    whole = torch.cat([bands.upsample(x[:, :, band.source], band, factor) for band in pieces], 2)
    torch.testing.assert_close(whole, F.interpolate(x, scale_factor=factor, mode="bilinear"))


def small_rows():
    for layout in ("contiguous", "channels_last"):
        for dtype in (torch.float32, torch.bfloat16):
            same = {"layout": layout, "dtype": dtype}
            yield select._row(select.make_argmax, (2, 5, 6, 9), "x4", **same)
            yield select._row(select.make_argmax, (2, 5, 6, 9), "x4", variant=select.SCORE, **same)
            yield select._row(select.make_threshold, (2, 3, 6, 9), "x4", **same)
            yield cross_entropy._row((2, 5, 6, 9), "x4", **same)
            yield cross_entropy._row((2, 5, 6, 9), "x4", variant=cross_entropy.WEIGHTED, **same)
            yield combine._row(combine.make_add, (1, 3, 6, 9), "x2", **same)
            yield combine._row(combine.make_concat, (1, 4, 16, 24), "16x24", **same)


@pytest.mark.parametrize("row", list(small_rows()), ids=lambda row: row.name)
def test_every_side_computes_the_same(row, monkeypatch):
    monkeypatch.setattr(bands, "BAND_BYTES", 1)  # one row a band
    contest = row.make(row, CPU)
    verdict = judge(row, contest)
    assert not verdict.wrong
    assert set(verdict.errors) == {"ours", "native", "chunked"}
    assert set(contest.rivals) == {"native", "chunked"}  # chunked has not left
    contest.floor()


def test_a_wrong_label_is_wrong_and_a_near_tie_is_not():
    row = select._row(select.make_argmax, (1, 3, 4, 4), "x2")
    contest = row.make(row, CPU)
    right = contest.ours()
    contest.ours = lambda: right.clone().view(-1).index_fill_(0, torch.tensor([5]), 0).view_as(right)
    exact = next(iter(contest.reference()))[1][0]
    exact[0, :, 0, 5] = torch.tensor([0.0, 1.0, -1.0])
    contest.reference = lambda: iter([(slice(0, 1), (exact,))])
    verdict = judge(row, contest)
    assert verdict.wrong and verdict.errors["ours"] > 1000

    exact[0, :, 0, 5] = torch.tensor([1.0, 1.0 + 1e-9, -1.0], dtype=torch.float64)
    verdict = judge(row, contest)
    assert not verdict.wrong
    assert any(note.startswith("1 of 64 decisions") for note in verdict.notes)


def test_a_wrong_bit_is_wrong():
    row = select._row(select.make_threshold, (1, 3, 4, 4), "x2")
    contest = row.make(row, CPU)
    right = contest.ours()
    contest.ours = lambda: right ^ (torch.arange(right.numel()).view_as(right) == 7)
    assert judge(row, contest).wrong


def test_quick_list_has_the_fused_ops(capsys):
    assert main(["--quick", "--list", "--filter", "^upsample_(argmax|threshold|cross|add|concat)"]) == 0
    names = capsys.readouterr().out.splitlines()
    for op in ("argmax", "threshold", "cross_entropy", "add"):
        for shape in ("1x150x128x128 x4", "1x19x128x256 x8"):
            assert any(name.startswith(f"upsample_{op} {shape}") for name in names)
    assert any(name.startswith("upsample_concat 1x256x128x128 128x128") for name in names)


@resident
def test_a_row_from_measurement_to_files(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    row = "upsample_threshold 3x1x256x256 x4 forward float32"
    where = ["--csv", str(tmp_path / "a.csv"), "--markdown", str(tmp_path / "a.md"), "--plot", str(tmp_path)]
    assert main(["--quick", "--no-compile", "--threads", "1", "--filter", row, *where]) == 0
    printed = capsys.readouterr().out
    assert "chunked" in printed and "all right" in printed
    header, line = (tmp_path / "a.csv").read_text().splitlines()
    record = dict(zip(header.split(","), line.split(","), strict=False))
    assert float(record["native_extra_mib"]) > 10 > float(record["ours_extra_mib"])
    assert "MiB, native" in (tmp_path / "a.md").read_text()
    assert (tmp_path / "fused-1.png").stat().st_size > 0
