"""The benchmarks' own instruments: peak memory, the bands of chunked native, errors of labels and masks, and
what of the GPU's side needs no GPU: targets, bytes moved, rivals, how a call is timed."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy
import pytest
import torch
import torch.nn.functional as F

from benchmarks import __main__ as benchmark
from benchmarks import (
    add,
    argmax,
    bands,
    concat,
    contest,
    cross_entropy,
    deconv,
    environment,
    export,
    gems,
    measure,
    peak,
    report,
    resample,
    targets,
    threshold,
)
from benchmarks.__main__ import main
from benchmarks.contest import Row
from benchmarks.correctness import Verdict, judge
from benchmarks.measure import Samples
from benchmarks.result import Result, run

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
    row = argmax._row((1, 20, 64, 128), "x8")
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
            yield argmax._row((2, 5, 6, 9), "x4", **same)
            yield argmax._row((2, 5, 6, 9), "x4", variant=argmax.SCORE, **same)
            yield threshold._row((2, 3, 6, 9), "x4", **same)
            yield cross_entropy._row((2, 5, 6, 9), "x4", **same)
            yield cross_entropy._row((2, 5, 6, 9), "x4", variant=cross_entropy.WEIGHTED, **same)
            yield add._row((1, 3, 6, 9), "x2", **same)
            yield concat._row((1, 4, 16, 24), "16x24", **same)


@pytest.mark.parametrize("row", list(small_rows()), ids=lambda row: row.name)
def test_every_side_computes_the_same(row, monkeypatch):
    monkeypatch.setattr(bands, "BAND_BYTES", 1)  # one row a band
    made = row.make(row, CPU)
    verdict = judge(row, made)
    assert not verdict.wrong
    assert set(verdict.errors) == {"ours", "native", "chunked"}
    assert set(made.rivals) == {"native", "chunked"}  # chunked has not left
    made.floor()


def test_a_wrong_label_is_wrong_and_a_near_tie_is_not():
    row = argmax._row((1, 3, 4, 4), "x2")
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
    row = threshold._row((1, 3, 4, 4), "x2")
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


# ---- GPUs: what can be tested without one ------------------------------------------------------------------


def measured(row, *, ours, native, moved, bandwidth=1e12, extra_mib=0.0):
    """A result as a GPU would give it: seconds of both sides, bytes moved, peak memory."""
    samples = Samples({"ours": numpy.array([ours]), "native": numpy.array([native])})
    result = Result(row, 1, Verdict("eps", {"ours": 1.0, "native": 1.0}), samples)
    result.moved_bytes, result.bandwidth = moved, bandwidth
    result.peaks["ours"] = peak.Peak(int((extra_mib + 8) * MIB), 8 * MIB)
    return result


def gpu_row(op, direction="forward", dtype=torch.float32):
    return Row(op, (1, 2, 3, 4), "x2", make=None, direction=direction, dtype=dtype)


def test_share_of_copy_bandwidth():
    result = measured(gpu_row("interpolate"), ours=1e-3, native=2e-3, moved=9e8)
    assert result.of_copy == pytest.approx(0.9)
    assert measured(gpu_row("interpolate"), ours=1e-3, native=1, moved=1, bandwidth=None).of_copy is None


@pytest.mark.parametrize(
    ("op", "direction", "dtype", "figures", "misses"),
    [
        ("interpolate", "forward", torch.float32, (1e-3, 1.31e-3, 9.1e8, 0), []),
        ("interpolate", "forward", torch.float32, (1e-3, 1.2e-3, 8e8, 0), ["90% of copy", "1.3x native"]),
        ("interpolate", "forward", torch.float32, (1e-3, 1.4e-3, 6e7, 0), []),  # too little for bandwidth
        ("interpolate", "forward", torch.float32, (1e-5, 0.9e-5, 100, 0), []),  # the cost of a call
        ("upsample_bilinear2d", "forward", torch.float16, (1e-3, 1.9e-3, 9.1e8, 0), ["2x native"]),
        ("interpolate", "backward", torch.float32, (1e-3, 5.1e-3, 8.6e8, 0), []),
        ("interpolate", "backward", torch.bfloat16, (1e-3, 4e-3, 8e8, 0), ["85% of copy", "5x native"]),
        ("conv_transpose2d", "backward weight", torch.float32, (1e-3, 4e-3, 5e6, 0), ["5x native"]),
        ("upsample_argmax", "forward", torch.float32, (1e-3, 11e-3, 5e6, 0.5), []),
        ("upsample_argmax", "forward", torch.float32, (1e-3, 9e-3, 5e6, 0.5), ["10x native"]),
        ("upsample_cross_entropy", "both", torch.float32, (1e-3, 11e-3, 5e6, 100), ["at most 1 MiB"]),
        ("upsample_add", "forward", torch.float32, (1e-3, 0.5e-3, 9e8, 0), []),
    ],
)
def test_targets(op, direction, dtype, figures, misses):
    ours, native, moved, extra_mib = figures
    row = gpu_row(op, direction, dtype)
    result = measured(row, ours=ours, native=native, moved=moved, extra_mib=extra_mib)
    found = targets.missed(result)
    assert len(found) == len(misses)
    for line, words in zip(found, misses, strict=True):
        assert words in line


def test_rows_of_the_cpu_have_no_targets():
    result = measured(gpu_row("interpolate"), ours=1e-3, native=1e-3, moved=1e9, bandwidth=None)
    assert targets.missed(result) == []


def test_summary_of_targets():
    outcomes = {what + goal: outcome for what, goal, outcome in targets.summary([])}
    assert set(outcomes.values()) == {"not yet measured"}
    fast = measured(gpu_row("interpolate"), ours=1e-3, native=2e-3, moved=5e8)
    slow = measured(gpu_row("interpolate"), ours=1e-3, native=1e-3, moved=1e9)
    outcomes = {what + goal: outcome for what, goal, outcome in targets.summary([fast, slow])}
    assert outcomes["resize, forward, 64 MiB or more90% of copy bandwidth"] == "1 of 2 rows, worst 0.5"
    assert outcomes["resize, forward1.3x native"] == "1 of 2 rows, worst 1"
    assert outcomes["argmax10x native"] == "not yet measured"


def test_every_target_concerns_rows_of_the_cuda_benchmark():
    rows = benchmark._all_rows("cuda")
    for target in targets.TARGETS:
        assert any(target.concerns(row) for row in rows), target.what
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    for start in ("interpolate 8x150x128x128 x4 forward float16", "interpolate 1x19x256x512 x8 forward"):
        assert any(name.startswith(start) for name in names)
    assert any("16x256x64x64 x2 backward float32 channels_last" in name for name in names)


def test_targets_and_rows_are_told_without_a_gpu(capsys):
    assert main(["--device", "cuda", "--targets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(targets.TARGETS)
    assert all("not yet measured" in line for line in lines[1:])
    assert main(["--device", "cuda", "--list", "--quick"]) == 0
    assert "fresh" not in capsys.readouterr().out
    if not torch.cuda.is_available():
        assert main(["--device", "cuda", "--filter", "^interpolate"]) == 2
        assert "sees no GPU" in capsys.readouterr().err


def test_copy_bandwidth():
    size = 2**22
    assert 1e8 < measure.copy_bandwidth(CPU, 1, size) < 1e13


def moved_by(row):
    return row.make(row, CPU).moved_bytes


def test_bytes_that_must_be_moved():
    small, large = 2 * 3 * 4 * 5 * 4, 2 * 3 * 8 * 10 * 4
    row = resample._row((2, 3, 4, 5), "x2")
    assert moved_by(row) == small + large
    assert moved_by(replace(row, direction="backward")) == small + large
    assert moved_by(replace(row, direction="both")) == 2 * (small + large)
    assert moved_by(replace(row, dtype=torch.bfloat16)) == (small + large) / 2
    kernel = 3 * 4 * 4 * 4
    row = Row("conv_transpose2d", (2, 3, 4, 5), "x2", deconv.make_learnable)
    assert moved_by(row) == small + large + kernel + 3 * 4
    assert moved_by(replace(row, direction="backward weight")) == large + kernel + small
    row = argmax._row((2, 3, 4, 5), "x2")
    assert moved_by(row) == small + 2 * 8 * 10 * 8
    assert moved_by(cross_entropy._row((2, 3, 4, 5), "x2")) == 2 * small + 2 * 8 * 10 * 8
    assert moved_by(add._row((2, 3, 4, 5), "x2")) == small + 2 * large


@pytest.mark.parametrize(
    "row",
    [
        resample._row((2, 3, 4, 5), "x2", direction="backward"),
        cross_entropy._row((2, 3, 4, 5), "x2"),
    ],
    ids=lambda row: row.op,
)
def test_native_deterministic_is_a_rival_where_native_is_not(row, monkeypatch):
    assert "deterministic" not in row.make(row, CPU).rivals
    for module in (contest, cross_entropy):
        monkeypatch.setattr(module, "NOT_DETERMINISTIC_ON", frozenset(("cpu",)))
    made = row.make(row, CPU)
    assert set(judge(row, made).errors) >= {"ours", "native", "deterministic"}
    if not row.memory:
        forward = replace(row, direction="forward")
        assert "deterministic" not in forward.make(forward, CPU).rivals


def test_deterministic_mode_is_on_during_the_call_and_as_it_was_afterwards():
    def fails():
        seen.append(torch.are_deterministic_algorithms_enabled())
        raise ValueError("no")

    seen = []
    with pytest.raises(ValueError, match="no"):
        contest.deterministic(fails)()
    assert seen == [True]
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_a_row_too_large_for_the_gpu_is_not_wrong():
    def too_large(row, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    row = replace(gpu_row("interpolate"), make=too_large)
    result = run(row, CPU, 1, measure.QUICK, compiled=False, allocation=None, progress=lambda what: None)
    assert not result.wrong
    assert result.notes == ["not measured: OutOfMemoryError: CUDA out of memory"]
    report.Table(1, "cuda").row(result)
    assert export._record(result)["ours_ms"] == ""


def test_the_tables_of_a_gpu(capsys, tmp_path):
    row = replace(gpu_row("interpolate", "backward"), headline=True)
    result = measured(row, ours=1e-3, native=2e-3, moved=5e8)
    result.samples.seconds["deterministic"] = numpy.array([4e-3])
    result.samples.seconds["floor"] = numpy.array([1e-3])
    table = report.Table(1, "cuda")
    table.row(result)
    table.foot([result])
    printed = capsys.readouterr().out
    assert "determ" in printed and "opencv" not in printed
    assert " 50%" in printed and "misses 85% of copy bandwidth: 0.5" in printed
    assert "0 of 1 rows, worst 2" in printed
    facts = {"gpu": "a GPU", "cpu": "", "level": "avx2", "torch": "2.14", "huge_pages": "always"}
    facts |= {"date": "today", "copy_gb_per_s": "1000"}
    export.write_markdown(tmp_path / "a.md", [result], facts, "python -m benchmarks --device cuda")
    text = (tmp_path / "a.md").read_text()
    assert "| native | torch.compile | deterministic | x floor | of copy |" in text
    assert "| 2.00x |  | 4.00x | 1.00 | 50% |" in text
    assert "| argmax | 10x native | not yet measured |" in text


class FakeGpu:
    """torch.cuda as far as measure.py needs it: a stream whose clock moves when work is queued on it."""

    CYCLES_PER_SECOND = 1e9

    def __init__(self, monkeypatch):
        self.now, self.calls = 0.0, []
        gpu = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                self.at = gpu.now

            def synchronize(self):
                gpu.calls.append("wait")

            def elapsed_time(self, end):
                return 1e3 * (end.at - self.at)

        def sleep(cycles):
            self.work("stall", cycles / self.CYCLES_PER_SECOND)

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "_sleep", sleep)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        properties = SimpleNamespace(L2_cache_size=50 * MIB)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        ones, zeros = torch.ones, torch.zeros
        monkeypatch.setattr(torch, "ones", lambda *size, device: self.buffer(ones(8), size))
        monkeypatch.setattr(torch, "zeros", lambda *size, device: zeros(*size))

    def buffer(self, tensor, size):
        """In place of `size` floats, a few that tell what is done to them."""
        gpu = self

        class Watched(torch.Tensor):
            def zero_(self):
                gpu.work("write", 1e-4)

            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                if function is torch.sum:
                    gpu.work("read", 1e-4)
                with torch._C.DisableTorchFunctionSubclass():
                    return function(*args, **(kwargs or {}))

        assert 4 * size[0] >= 2 * 50 * MIB
        return tensor.as_subclass(Watched)

    def work(self, name, seconds):
        self.calls.append(name)
        self.now += seconds


def test_a_call_is_timed_behind_a_clean_cache_and_a_stall(monkeypatch):
    gpu = FakeGpu(monkeypatch)
    cuda = measure._Cuda()
    watch = measure._cuda_watch(lambda: gpu.work("side", 3e-3), cuda)
    gpu.calls.clear()
    assert watch() == pytest.approx(3e-3)
    assert gpu.calls == ["write", "read", "stall", "side", "wait"]


@pytest.mark.parametrize(("host", "stall"), [(1e-5, 2e-3), (10e-3, 20e-3), (1.0, 50e-3)])
def test_the_stall_covers_what_the_host_takes_to_launch(monkeypatch, host, stall):
    FakeGpu(monkeypatch)
    cuda = measure._Cuda()
    clock = iter([0.0, host])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    assert cuda.head_start(lambda: None) == pytest.approx(stall)


def test_a_copy_moves_as_many_bytes_as_the_row():
    target = measure.copy_of(1000, CPU)()
    assert target.numel() * target.element_size() * 2 == 1000
    measure.copy_of(1, CPU)()


def test_the_copy_measured_with_a_row_is_its_yardstick():
    result = measured(gpu_row("interpolate"), ours=2e-3, native=2e-3, moved=1e9)
    assert result.of_copy == pytest.approx(0.5)
    result.samples.seconds.update(copy=numpy.array([1.5e-3]), floor=numpy.array([1e-3]))
    assert result.of_copy == pytest.approx(0.75)
    assert export._record(result)["copy_ms"] == "1.5"
    on_cpu = measured(gpu_row("interpolate"), ours=1, native=1, moved=1, bandwidth=None)
    on_cpu.samples.seconds["floor"] = numpy.array([1])
    assert not {"copy_ms", "gems_ms"} & set(export._record(on_cpu))


def test_flag_gems_is_a_rival_where_it_is_installed(monkeypatch):
    assert gems.why_not() in ("not installed", "")
    x = SimpleNamespace(device=SimpleNamespace(type="cuda"), dtype=torch.float32)
    seen = []
    library = SimpleNamespace(
        upsample_bilinear2d=lambda *arguments: seen.append(arguments), __spec__=SimpleNamespace()
    )
    monkeypatch.setitem(sys.modules, "flag_gems", library)
    assert gems.why_not() == ""
    gems.resize(x, (8, 10), False, 2.0)()
    assert seen == [(x, [8, 10], False, 2.0, 2.0)]
    x.device.type = "cpu"
    assert gems.resize(x, (8, 10), False, 2.0) is None
    monkeypatch.setitem(sys.modules, "flag_gems", SimpleNamespace(__spec__=SimpleNamespace()))
    assert gems.why_not() == "has no upsample_bilinear2d"


def test_main_ops_are_measured_in_batches_of_1_8_and_16():
    names = {row.name for row in benchmark._all_rows("cuda") if row.quick}
    for images in (1, 8, 16):
        for row in (
            "interpolate {}x150x128x128 x4 forward float32",
            "interpolate {}x256x64x64 x2 backward float32",
            "upsample_argmax {}x19x128x256 x8 forward float32",
            "upsample_cross_entropy {}x150x128x128 x4 both float32",
            "conv_transpose2d {}x256x64x64 x2 forward float32",
        ):
            assert f"{row.format(images)} contiguous mapped" in names


def test_parts_make_up_all_rows(capsys):
    def rows(*arguments):
        assert main(["--device", "cuda", "--list", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    parts = [rows("--part", f"{index}/3") for index in (1, 2, 3)]
    assert sorted(sum(parts, [])) == sorted(rows())
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(SystemExit):
        main(["--part", "4/3", "--list"])


THRESHOLDS = "^upsample_threshold .* x[48] forward float32 contiguous"


def test_no_row_starts_when_time_is_up(tmp_path, capsys):
    table = tmp_path / "a.csv"
    command = ["--quick", "--no-compile", "--threads", "1", "--filter", THRESHOLDS, "--limit", "0.001"]
    assert main([*command, "--csv", str(table)]) == 0
    assert "2 rows left for want of time" in capsys.readouterr().out
    assert len(table.read_text().splitlines()) == 2


def test_profiling_calls_every_row_once(capsys):
    assert main(["--quick", "--profile", "--filter", "^upsample_threshold 3x1.*float32 cont"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "upsample_threshold 3x1x256x256 x4 forward float32 contiguous mapped",
        "1 rows profiled",
    ]


def test_what_is_said_of_a_gpu(monkeypatch):
    properties = SimpleNamespace(name="NVIDIA H100", major=9, minor=0, total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    facts = environment.describe(torch.device("cuda"), "", 2.7e12)
    assert facts["gpu"] == "NVIDIA H100 (sm_90)"
    assert facts["gpu_memory"] == "80 GiB"
    assert facts["copy_gb_per_s"] == "2700"
    assert facts["built_for"] and facts["driver"]
    assert facts["flag_gems"] == (gems.why_not() or facts["flag_gems"])
    assert "TF32" in facts["cudnn"]
    assert "gpu" not in environment.describe(CPU, "")
