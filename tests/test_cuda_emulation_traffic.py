"""What the CUDA kernels ask of memory, counted on the emulation: hardly more than the least."""

import json
import pathlib
import subprocess
import sys

import pytest

EMULATION = pathlib.Path(__file__).resolve().parent / "cuda_emulation"
sys.path.insert(0, str(EMULATION))

import traffic  # noqa: E402

import build  # noqa: E402

REASON = build.why_not()
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.xdist_group("cuda_emulation_traffic"),
]

MOST_TRAFFIC = {"forward": 1.15, "backward": 1.3}  # loads + stores over what is read and written once
MOST_STORES = 1.03  # where rows are not aligned
MOST_BANK_CONFLICTS = 0.05

# Limits that a kernel does not keep, or seems not to: by measure, the cases, and why.
_NARROW_LOADS = "a lane loads an element at a time; its neighbours' are of the same sectors"
_HALO = "each block loads its pixels' neighbours, over many channels"
_UNALIGNED = "rows end within sectors, whose other part the next row's warp stores; no row is staged"
_UNALIGNED_NEAREST = {f"nearest forward {dtype} x1.37 nchw": _UNALIGNED for dtype in traffic.DTYPES}
_MISCOUNTED = "lanes that skip a row's last columns are traced together with others' next ones"
SHORT_OF_IT = {
    "traffic": {
        "depthwise forward float32 x4 nhwc": _HALO,
        "depthwise forward float16 x4 nhwc": _HALO,
        **_UNALIGNED_NEAREST,
    },
    "stores": _UNALIGNED_NEAREST,
    "bytes per lane": {
        f"depthwise backward {dtype} {case}": _NARROW_LOADS
        for dtype in traffic.DTYPES
        for case in ("x2 nhwc", "x4 nchw", "x4 nhwc")  # planes by x2 have a kernel of their own
    },
    "bank conflicts": {
        "bilinear forward float32 x1.37 nchw": _MISCOUNTED,
        "bilinear forward float16 x1.37 nchw": _MISCOUNTED,
    },
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Every case of traffic.py, by name; measured by a process that loads the traced library."""
    report = tmp_path_factory.mktemp("traffic") / "traffic.json"
    command = [sys.executable, str(EMULATION / "traffic.py"), "--json", str(report)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    written = json.loads(report.read_text())
    return {case["case"]: case for case in written["measured"]} | {"failed": written["failed"]}


def cases(measure):
    """The cases of ops whose output is the resized input; traffic.py prints those of the others too."""
    found = []
    for name in traffic.cases():
        if name.split()[0] in ("argmax", "cross-entropy"):
            continue
        reason = SHORT_OF_IT[measure].get(name)
        marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
        found.append(pytest.param(name, marks=marks, id=name.replace(" ", "-")))
    return found


@pytest.mark.parametrize("name", cases("traffic"))
def test_everything_is_read_and_written_once(name, measured):
    assert measured[name]["traffic"] <= MOST_TRAFFIC[name.split()[1]]


@pytest.mark.parametrize("name", cases("stores"))
def test_stores_fill_their_sectors(name, measured):
    case = measured[name]
    if case["rows_aligned"]:
        assert case["store_sectors"] == case["least_store_sectors"]
    else:
        assert case["stores"] <= MOST_STORES


@pytest.mark.parametrize("name", cases("bytes per lane"))
def test_lanes_move_16_bytes_of_the_larger_image(name, measured):
    case = measured[name]
    if not case["rows_aligned"]:
        pytest.skip("rows are not aligned")
    forward = name.split()[1] == "forward"
    assert case["bytes_per_lane_stored" if forward else "bytes_per_lane_loaded"] == 16


@pytest.mark.parametrize("name", cases("bank conflicts"))
def test_banks_do_not_conflict(name, measured):
    assert measured[name]["extra_bank_cycles"] <= MOST_BANK_CONFLICTS


def test_nothing_fails_or_races(measured):
    assert not measured["failed"]
