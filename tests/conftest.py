"""Fixtures: every device, every instruction-set level the processor runs, a thread count that is restored.

The suite runs a second time with the CUDA code on CPU tensors (tests/cuda_emulation). The device is then
"cuda-emulated", and what is of the CPU kernels alone, or needs no device at all, is deselected, see below.
"""

import os

import pytest
import torch
from which_kernels import EMULATED

from upsample_ext._library import C

if EMULATED:
    DEVICES = [pytest.param("cpu", id="cuda-emulated")]
else:
    DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
LEVELS = C.levels()[:1] if EMULATED else C.levels()

# A file, or a test in it, and why it does not run a second time.
NOT_EMULATED = {
    "test_axis_bounds.py": "the geometry alone, on the host",
    "test_levels.py": "instruction-set levels are of the CPU kernels",
    "test_packaging.py": "the emulation is neither packed nor installed",
    "test_benchmarks.py": "the benchmarks' own instruments",
    "test_overhead.py": "times say nothing here",
    "test_examples.py": "scripts, and their times and memory",
    "test_cuda_build.py": "what nvcc makes of the kernels",
    "test_gpu_script.py": "a script for machines with a GPU",
    "test_cuda_emulation": "of the emulation itself",
}


def pytest_collection_modifyitems(config, items):
    if not EMULATED:
        return
    keep, drop = [], []
    for item in items:
        reason = next(
            (words for name, words in NOT_EMULATED.items() if f"/{name}" in f"/{item.nodeid}"), None
        )
        (drop if reason else keep).append((item, reason))
    items[:] = [item for item, _ in keep]
    config.hook.pytest_deselected(items=[item for item, _ in drop])


def pytest_report_header(config):
    if EMULATED:
        return ["CUDA emulated on CPU tensors; deselected:"] + [
            f"  {name}: {reason}" for name, reason in NOT_EMULATED.items()
        ]


def pytest_configure(config):
    if EMULATED:
        C.set_level(LEVELS[0])
    # Workers share the cores: threads that wait by spinning would slow each other down.
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture(params=LEVELS)
def level(request):
    """Forces one instruction-set level of the CPU kernels."""
    if "device" in request.fixturenames and request.getfixturevalue("device") != "cpu":
        if request.param != LEVELS[0]:
            pytest.skip("levels are of the CPU kernels")
        yield request.param
        return
    before = C.level()
    C.set_level(request.param)
    yield request.param
    C.set_level(before)


@pytest.fixture
def threads():
    """A function that sets the number of threads; the old number is restored."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
