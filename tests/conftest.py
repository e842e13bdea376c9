"""Fixtures: every device, every instruction-set level the processor runs, a thread count that is restored."""

import os

import pytest
import torch

from upsample_ext._library import C

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def pytest_configure(config):
    """Workers share the cores: threads that wait by spinning would slow each other down."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture(params=C.levels())
def level(request):
    """Forces one instruction-set level of the CPU kernels."""
    if "device" in request.fixturenames and request.getfixturevalue("device") != "cpu":
        if request.param != C.levels()[0]:
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
