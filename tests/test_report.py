"""`report()`: what it counts, and the reasons it gives; the command that reports on a program."""

import subprocess
import sys
import threading
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch.nn.functional import interpolate as interpolate_by_name
from torch_versions import since_torch

import upsample_ext
from upsample_ext import _events, _native
from upsample_ext.__main__ import main
from upsample_ext.report import ReportedCall

IMAGE = torch.rand(1, 8, 12, 14)
fuse_puts_off = since_torch((2, 11), "fuse() does what patch() does")
PLACES = {
    "native": [],
    "patch": [upsample_ext.patch],
    "dispatcher": [lambda: upsample_ext.patch("dispatcher")],
}


def reported(call, *contexts):
    handles = [context() for context in contexts]
    try:
        with upsample_ext.report() as r:
            call()
    finally:
        for handle in handles:
            handle.undo()
    return r


def only(r):
    ((call, count),) = r.calls.items()
    assert count == 1
    return call


@pytest.mark.parametrize(
    ("image", "layout"),
    [
        (IMAGE, "contiguous"),
        (IMAGE.to(memory_format=torch.channels_last), "channels last"),
        (torch.rand(20, 22, 3)[:12, :14].permute(2, 0, 1)[None], "HWC"),
        (IMAGE.mT, "strided"),
        (torch.rand(1, 2, 3, 4, 5).to(memory_format=torch.channels_last_3d), "channels last"),
        (torch.rand(2, 3, 4), "contiguous"),
    ],
)
def test_a_call_that_runs_here(image, layout):
    call = only(reported(lambda: F.interpolate(image, scale_factor=2), upsample_ext.patch))
    assert call == ReportedCall("interpolate", "nearest", layout, "float32", "here", "")


REASONS = {
    "no patch": (lambda: F.interpolate(IMAGE, scale_factor=2), "native", "no patch in force"),
    "by name": (lambda: interpolate_by_name(IMAGE, scale_factor=2), "patch", "imported by name"),
    "area": (lambda: F.interpolate(IMAGE, size=3, mode="area"), "dispatcher", "a pooling"),
    "dense": (lambda: F.conv_transpose2d(IMAGE, torch.rand(8, 2, 3, 3)), "patch", "not depthwise"),
    "multiplier": (
        lambda: F.conv_transpose2d(IMAGE, torch.rand(8, 2, 3, 3), groups=8),
        "patch",
        "more than one output channel",
    ),
    "volumes": (
        lambda: F.conv_transpose3d(torch.rand(1, 2, 3, 3, 3), torch.rand(2, 1, 2, 2, 2)),
        "patch",
        "volumes",
    ),
}


@pytest.mark.parametrize("name", REASONS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_why_pytorch_ran_it(name):
    call, place, reason = REASONS[name]
    calls = reported(call, *PLACES[place]).calls
    assert any(found.where == "PyTorch" and reason in found.reason for found in calls), calls


def test_by_name_is_caught_by_the_dispatcher_level():
    call = only(reported(lambda: interpolate_by_name(IMAGE, scale_factor=2), *PLACES["dispatcher"]))
    assert call.where == "here"


def test_a_call_by_name_runs_where_it_ran():
    """To be watched must not change which function computes it."""
    with upsample_ext.patch(), upsample_ext.report():
        watched = interpolate_by_name(IMAGE, size=(31, 17), mode="bicubic")
    assert torch.equal(watched, F.interpolate(IMAGE, size=(31, 17), mode="bicubic"))


def test_fused_ops_called_directly():
    r = reported(lambda: upsample_ext.upsample_argmax(IMAGE, (20, 20)))
    assert only(r) == ReportedCall("upsample_argmax", "bilinear", "contiguous", "float32", "here", "")
    r = reported(lambda: upsample_ext.upsample_concat([IMAGE, IMAGE]))
    assert only(r).op == "upsample_concat"


@fuse_puts_off
def test_what_fuse_did():
    def calls():
        y = F.interpolate(IMAGE.expand(8, -1, -1, -1), size=(64, 64), mode="bilinear")
        y.argmax(1), y > 0.5, y.sum(), y.mean()

    r = reported(calls, upsample_ext.fuse)
    assert r.put_off == 1 and r.share == 1
    assert r.fused == Counter(argmax=1, threshold=1)
    assert list(r.images.values()) == [1] and "sum" in next(iter(r.images))
    assert "fused with argmax (1), threshold (1)" in str(r) and "put off" in str(r)


def square(y: torch.Tensor) -> torch.Tensor:
    return y * y


@fuse_puts_off
def test_a_resize_is_counted_once():
    """Also one of a resize that was put off, and one whose image C++ code needs several times."""

    def up(x, size):
        return F.interpolate(x, size=size, mode="bilinear")

    def calls():
        scripted = torch.jit.script(square)
        y = up(up(IMAGE.expand(8, -1, -1, -1), (64, 64)), (70, 80))
        scripted(y), scripted(y)

    r = reported(calls, upsample_ext.fuse)
    assert r.put_off == 2 and not r.calls
    assert list(r.images.values()) == [1] and "from C++" in next(iter(r.images))


def test_share_counts_calls():
    def calls():
        for _ in range(3):
            F.interpolate(IMAGE, scale_factor=2)
        F.conv_transpose2d(IMAGE, torch.rand(8, 2, 3, 3))

    r = reported(calls, upsample_ext.patch)
    assert r.share == 0.75 and "75% of the calls" in str(r)


def test_nothing_was_called():
    r = reported(lambda: IMAGE.sum())
    assert r.share == 0 and "No resize" in str(r)


def test_nested_reports_both_count_and_leave_nothing_behind():
    functions = _native.interpolate, _native.conv_transpose2d
    with upsample_ext.patch(), upsample_ext.report() as outer:
        with upsample_ext.report() as inner:
            F.interpolate(IMAGE, scale_factor=2)
        F.interpolate(IMAGE, scale_factor=2)
    assert sum(inner.calls.values()) == 1 and sum(outer.calls.values()) == 2
    assert (_native.interpolate, _native.conv_transpose2d) == functions and not _events.listeners


def test_it_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), upsample_ext.report():
        raise ZeroDivisionError
    assert not _events.listeners and torch._C._len_torch_function_stack() == 0


def test_errors_are_those_without_it():
    with (
        pytest.raises(ValueError, match="same number of spatial"),
        upsample_ext.patch(),
        upsample_ext.report(),
    ):
        F.interpolate(IMAGE, size=(1, 2, 3))


def test_other_threads_are_not_seen():
    thread = threading.Thread(target=lambda: F.interpolate(IMAGE, scale_factor=2))
    r = reported(lambda: (thread.start(), thread.join()), upsample_ext.patch)
    assert not r.calls


@pytest.mark.slow
def test_a_compiled_function_is_not_broken_by_it():
    compiled = torch.compile(
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), fullgraph=True, backend="eager"
    )
    with upsample_ext.patch(), upsample_ext.report():
        result = compiled(IMAGE)
    torch.testing.assert_close(result, F.interpolate(IMAGE, scale_factor=2, mode="bilinear"))


# ---- the command -------------------------------------------------------------------------------------------

PROGRAM = """
import sys, torch
from torch.nn import functional as F
print(__name__, sys.argv[1:])
F.interpolate(torch.rand(1, 3, 9, 9), scale_factor=2, mode="bicubic")
F.interpolate(torch.rand(4, 9, 64, 64), size=(128, 128), mode="bilinear").argmax(1)
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.mark.parametrize(
    ("under", "expected"),
    [
        ("nothing", "0% of the calls"),
        ("patch", "100% of the calls"),
        ("dispatcher", "100% of the calls"),
        pytest.param("fuse", "fused with argmax (1)", marks=fuse_puts_off),
    ],
)
def test_command(program, under, expected):
    command = [sys.executable, "-m", "upsample_ext", "report", "--under", under, str(program), "--flag", "7"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("__main__ ['--flag', '7']\n") and expected in done.stdout


def test_command_of_a_program_that_fails(program, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    program.write_text(PROGRAM + "\nraise KeyError('oops')")
    assert main(["report", str(program)]) == 1
    out, error = capsys.readouterr()
    assert "100% of the calls" in out and "KeyError: 'oops'" in error


def test_command_of_no_program(capsys):
    assert main(["report", "nowhere.py"]) == 2
    assert "no such file: nowhere.py" in capsys.readouterr().err
