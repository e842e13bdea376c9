"""Seeded faults: each check of the CUDA emulation fails on the bug it is there for, and passes without it."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

EMULATION = pathlib.Path(__file__).resolve().parent / "cuda_emulation"
sys.path.insert(0, str(EMULATION))

import build  # noqa: E402

REASON = build.why_not()
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.xdist_group("cuda_emulation"),
]
OK = 0

# name, where it is found, what is said
FAULTS = [
    ("global_read_out_of_bounds", "sanitized", "heap-buffer-overflow.*READ of size 4"),
    ("global_write_out_of_bounds", "sanitized", "heap-buffer-overflow.*WRITE of size 4"),
    ("dynamic_shared_out_of_bounds", "sanitized", "heap-buffer-overflow.*WRITE of size 4"),
    ("static_shared_out_of_bounds", "sanitized", "index 64 out of bounds for type .float"),
    ("static_shared_of_a_template", "sanitized", "index 64 out of bounds for type .float"),
    ("misaligned_vector", "sanitized", "misaligned address"),
    ("signed_overflow", "sanitized", "signed integer overflow"),
    ("nan_to_int", "sanitized", "nan is outside the range of representable values of type 'int'"),
    ("divergent_barrier", "plain", "divergent barrier: 32 threads wait at __syncthreads .*, 32 have exited"),
    ("barriers_at_two_places", "plain", "divergent barrier: some threads wait at .*, others at"),
    ("collective_after_exit", "plain", "__shfl_xor_sync .* names an exited or absent lane"),
    ("mask_names_absent_lanes", "plain", "__shfl_xor_sync .* names an exited or absent lane"),
    ("mask_without_the_caller", "plain", "__ballot_sync .* the calling lane is not in its mask"),
    ("shuffle_from_outside_the_mask", "plain", "__shfl_sync .* reads a lane outside its mask"),
    ("masks_that_differ", "plain", "deadlock: waits for ever at __syncwarp"),
    ("activemask_is_no_promise", "plain", "__shfl_xor_sync .* reads a lane outside its mask"),
    ("uninitialised_dynamic_shared", "plain", ""),
    ("uninitialised_static_shared", "plain", ""),
    ("too_many_threads", "plain", "invalid configuration argument .a block of"),
    ("too_many_blocks", "plain", ""),
    ("too_many_blocks_along_y", "plain", "invalid configuration argument .a grid of"),
    ("too_much_shared", "plain", "invalid argument .49153 bytes of dynamic shared memory where 49152"),
    ("too_much_shared_asked_for", "plain", ""),
    ("failed_assert", "plain", "device-side assert triggered .*target >= 0 && target < classes` failed"),
    ("trap", "plain", "device-side assert triggered .__trap"),
    ("max_of_nan", "plain", ""),
    ("missing_syncthreads", "traced", "race within a block: a write .* and a read .* in shared memory"),
    (
        "missing_second_syncthreads",
        "traced",
        "race within a block: a write .* and a read .* in shared memory",
    ),
    ("missing_syncwarp", "traced", "race within a block: a write .* and a read .* in shared memory"),
    (
        "syncwarp_of_the_wrong_lanes",
        "traced",
        "race within a block: a write .* and a read .* in shared memory",
    ),
    ("syncwarp_across_warps", "traced", "race within a block: a write .* and a read .* in shared memory"),
    ("race_in_global_memory", "traced", "race within a block: a write .* and a write .* in global memory"),
    ("race_between_writing_blocks", "traced", "race between blocks: a write at faults.cu:"),
    ("race_with_a_reading_block", "traced", "race between blocks: a (read|write) at faults.cu:"),
    ("count_without_atomics", "traced", "race between blocks: a (read|write) at faults.cu:"),
]


@pytest.fixture(scope="module", autouse=True)
def _built():
    build.build(build.FLAVOURS, faults_only=True)


def run(flavour, which, *names, **environment):
    return subprocess.run(
        [sys.executable, str(EMULATION / "run_fault.py"), flavour, which, *names],
        capture_output=True,
        text=True,
        env={**os.environ, **build.environment(flavour), **environment},
    )


@pytest.mark.parametrize("name, flavour, words", FAULTS, ids=[name for name, *_ in FAULTS])
def test_a_fault_is_found(name, flavour, words):
    faulty, corrected = run(flavour, "faulty", name), run(flavour, "corrected", name)
    assert corrected.returncode == OK, corrected.stderr
    assert not corrected.stderr
    assert faulty.returncode != OK
    assert re.search(words, faulty.stderr, re.DOTALL), faulty.stderr


@pytest.mark.parametrize("flavour", build.FLAVOURS)
@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
def test_corrected_kernels_are_right_in_any_order(flavour, order):
    names = [name for name, *_ in FAULTS if "shared" in name or "sync" in name or "race" in name]
    result = run(flavour, "corrected", *names, CUSIM_ORDER=order)
    assert result.returncode == OK, result.stderr


@pytest.mark.parametrize("name", ["missing_syncthreads", "missing_syncwarp", "race_with_a_reading_block"])
@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
def test_a_race_is_found_in_any_order(name, order):
    assert "race " in run("traced", "faulty", name, CUSIM_ORDER=order).stderr


def counted(name, which):
    result = run("traced", which, name)
    assert result.returncode == OK, result.stderr
    (launch,) = map(json.loads, result.stdout.splitlines())
    return launch


@pytest.mark.parametrize(
    "name, count, faulty, corrected",
    [
        ("uncoalesced_stores", "store_sectors", 32 * 128, 32 * 128 // 8),
        ("narrow_lanes", "bytes_per_lane_stored", 4, 16),
        ("loads_of_every_block", "block_load_sectors", 4 * 512, 512),
        ("bank_conflicts", "extra_bank_cycles", 31 / 2, 0),
    ],
)
def test_traffic_is_counted(name, count, faulty, corrected):
    assert counted(name, "faulty")[count] == faulty
    assert counted(name, "corrected")[count] == corrected


@pytest.mark.parametrize("access", ["read", "write"])
@pytest.mark.parametrize("past", [0, 1])
@pytest.mark.parametrize("count", [64, 61])
def test_memory_of_torch_is_guarded_to_the_element(access, past, count):
    """Tensors come from malloc, which the sanitizer replaces: also those have guarded ends."""
    program = (
        "import ctypes, torch; "
        f"library = ctypes.CDLL({str(build.faults_library('sanitized'))!r}); x = torch.zeros({count}); "
        f"print(library.cuda_emulation_{access}(ctypes.c_void_p(x.data_ptr()), {count}, {past}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **build.environment("sanitized")},
    )
    if past:
        assert result.returncode != OK
        assert "heap-buffer-overflow" in result.stderr and f"{access.upper()} of size 4" in result.stderr
    else:
        assert result.returncode == OK, result.stderr
        assert result.stdout == "0\n"
