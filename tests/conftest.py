"""Fixtures: every device, every instruction-set level the processor runs, a thread count that is restored.

The suite runs a second time with the CUDA code on CPU tensors (tests/cuda_emulation). The device is then
"cuda-emulated", and CPU-only and device-free tests are deselected, see below.

UPSAMPLE_EXT_DEVICES=cuda (a comma-separated list) chooses the devices, and deselects tests that do not run on
a device, as on a machine with a GPU. scripts/gpu.sh does so; run_record.py has its other options.
"""

import os

# Before torch loads OpenMP: threads that wait for work sleep. Spinning threads of one worker, or of a program
# that a test starts, would keep the other worker off the cores: some tests took ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch
from kernel_backend import EMULATED
from run_record import RunRecord

from upsample_ext._library import C

CHOSEN = [name for name in os.environ.get("UPSAMPLE_EXT_DEVICES", "").split(",") if name]
if EMULATED:
    DEVICES = [pytest.param("cpu", id="cuda-emulated")]
elif CHOSEN:
    DEVICES = CHOSEN
else:
    DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
LEVELS = C.levels()[:1] if EMULATED or "cpu" not in DEVICES else C.levels()
if os.environ.get("UPSAMPLE_EXT_LEVELS") == "highest":  # scripts/test.sh --quick
    LEVELS = C.levels()[-1:]

# Tests without a device fixture that need a device: they make tensors on a GPU, or check which calls it gets.
ON_A_GPU = ("test_devices.py", "test_resample_transforms.py::test_cuda_graphs_and_streams")

# Files, or tests, that do not run under the emulation, and why.
NOT_EMULATED = {
    "test_axis_bounds.py": "the geometry alone, on the host",
    "test_axis_cache.py": "what the CPU launchers keep between calls",
    "test_levels.py": "instruction-set levels are of the CPU kernels",
    "test_command_line.py": "words, files and memory, not values",
    "test_packaging.py": "the emulation is neither packed nor installed",
    "test_build.py": "what the build decides and says",
    "test_loading.py": "what is said where the library cannot be loaded",
    "test_types.py": "what a type checker reads",
    "test_benchmarks.py": "the benchmarks' own instruments",
    "test_natural.py": "the benchmark of random inputs, and both of its sides",
    "test_resample_overhead.py": "times say nothing here",
    "test_conventions.py": "a page on other libraries",
    "test_docs.py": "the words of the documentation",
    "test_examples.py": "scripts, and their times and memory",
    "test_cuda_build.py": "what nvcc makes of the kernels",
    "test_fuzz.py": "processes of their own, which know nothing of the emulation",
    "test_memory.py": "memory of the CPU kernels, in processes of their own",
    "test_gpu_script.py": "a script for machines with a GPU",
    "test_cuda_emulation": "of the emulation itself",
    "test_registrations.py": "what is registered for any device",
    "test_docstrings.py": "the words of docstrings",
    "test_numbers.py": "which Python numbers are taken",
    "test_fuse.py": "which op a call becomes, not the ops",
    "test_fuse_random.py": "which op a call becomes, not the ops",
    "test_fuse_traps.py": "how tensors without data behave",
    "test_report.py": "what is counted",
    "test_convert.py": "which layers are swapped",
    "test_counters.py": "what is counted and watched",
    "test_decompositions.py": "PyTorch's ops, and who asks for them",
    "test_onnx.py": "PyTorch's ops",
    "test_quantization.py": "PyTorch's layers",
    "test_trace.py": "what is recorded",
    "test_compare.py": "what is printed and drawn; the ops that it compares are tested by themselves",
}

# The same for tests by what their names contain.
NOT_EMULATED_NAMES = {
    "number_of_threads": "a launch does not depend on it",
    "every_thread_count": "a launch does not depend on it",
    "all_levels_agree": "instruction-set levels are of the CPU kernels",
    "bytes_of_long_lines": "coordinates of bytes in double are of the CPU kernels",
    "crop_alone": "of a chain CUDA computes one stage after the other, whole",
    "_the_cache": "streaming past caches is of the CPU kernels",
    "gradcheck": "the rules of autograd are the same code for all devices, and so are the next ones",
    "opcheck": "schemas and fake tensors",
    "compile": "what the compiler sees",
    "one_graph": "what the compiler sees",
    "one_compilation": "what the compiler sees",
    "automatic_dynamic": "what the compiler sees",
    "inductor": "what the compiler sees",
    "export": "what is exported",
    "make_fx": "what is traced",
    "distributed": "placements of tensors",
}


def pytest_collection_modifyitems(config, items):
    # Slow tests first: the last of them would keep one worker busy while the others have nothing left to do.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if not EMULATED:
        if CHOSEN:
            _keep_what_runs_on_a_device(config, items)
        return
    drop = [item for item in items if _is_not_emulated(item)]
    items[:] = [item for item in items if not _is_not_emulated(item)]
    config.hook.pytest_deselected(items=drop)


def _is_not_emulated(item):
    function = item.nodeid.partition("[")[0].rpartition("::")[2]
    return any(f"/{name}" in f"/{item.nodeid}" for name in NOT_EMULATED) or any(
        name in function for name in NOT_EMULATED_NAMES
    )


def _keep_what_runs_on_a_device(config, items):
    def is_of_a_device(item):
        by_itself = "cuda" in CHOSEN and any(f"/{name}" in f"/{item.nodeid}" for name in ON_A_GPU)
        return by_itself or "device" in item.fixturenames

    config.hook.pytest_deselected(items=[item for item in items if not is_of_a_device(item)])
    items[:] = [item for item in items if is_of_a_device(item)]


def pytest_report_header(config):
    if CHOSEN and not EMULATED:
        return [f"UPSAMPLE_EXT_DEVICES: only what runs on {', '.join(CHOSEN)}"]
    if EMULATED:
        return ["CUDA emulated on CPU tensors; deselected:"] + [
            f"  {name}: {reason}" for name, reason in {**NOT_EMULATED, **NOT_EMULATED_NAMES}.items()
        ]


def pytest_configure(config):
    if record := RunRecord.of_environment():
        config.pluginmanager.register(record)
    if EMULATED:
        C.set_level(LEVELS[0])
    # By default native's float32 convolutions on CUDA round to TF32 and are no reference for ours.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True  # tests that compare bits with native need reproducible ones
    # Workers share the cores.
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture
def default_device(device):
    """Makes `device` the default for new tensors and modules."""
    if device == "cpu":  # already the default: no mode is needed
        yield device
        return
    torch.set_default_device(device)
    yield device
    torch.set_default_device(None)


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
def fresh_compiler():
    """Forgets what earlier tests compiled: their guards, and the sizes that became dynamic."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def threads():
    """A function that sets the number of threads; the old number is restored."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
