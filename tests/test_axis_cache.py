"""The tables and plans that are kept between calls: how much, and that no result depends on them."""

import os
import subprocess
import sys
import textwrap
import threading

import pytest
import torch
from image_layouts import LAYOUTS

import upsample_ext
from upsample_ext._library import C

MOST = 32 << 20  # axis_cache::kMostBytes
OUR_BACKWARD = torch.ops.upsample_ext.upsample_bilinear2d_backward


def resized(width, to, dtype=torch.float32, layout="contiguous", align_corners=False, scale=None):
    """An image of three rows and its gradient, whose tables and plans are those of its width."""
    x = LAYOUTS[layout](torch.linspace(0, 250, 3 * 3 * width).sin().view(1, 3, 3, width).to(dtype))
    y = torch.ops.upsample_ext.upsample_bilinear2d(x, (4, to), align_corners, None, scale)
    return y, OUR_BACKWARD(y, x.shape[2:], align_corners, None, scale)


def every_result():
    """Of calls that differ in one thing each, so that a key that forgot it would serve another's table."""
    calls = [
        (100, 150),
        (100, 151),
        (101, 150),
        (150, 100),
        (130, 12),
        (100, 150, torch.float64),
        (100, 150, torch.float16),
        (100, 150, torch.float32, "channels_last"),
        (100, 150, torch.float32, "numpy_array"),
        (100, 150, torch.float32, "transposed"),
        (100, 150, torch.float32, "contiguous", True),
        (100, 150, torch.float32, "contiguous", False, 1.4987),
    ]
    results = [part for call in calls for part in resized(*call)]
    x = torch.linspace(0, 250, 5 * 2 * 90).sin().view(1, 5, 2, 90)
    results.append(upsample_ext.interpolate(x.mul(99).abs().byte(), (3, 150), mode="bilinear"))
    results.append(upsample_ext.upsample_add(x, torch.ones(1, 5, 3, 150)))
    results.append(upsample_ext.upsample_threshold(x, (3, 150), threshold=0.25))
    results.append(upsample_ext.upsample_argmax(x, (3, 150)))
    for mode in ("nearest", "bicubic", "area", "bilinear"):
        results.append(torch.ops.upsample_ext.resample(x, (3, 150), mode, mode == "bilinear", None, None))
    return results


def fill():
    """More than is kept."""
    for i in range(12):
        resized(1000, 100_000 + i)


def assert_same_bits(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)


def test_what_is_kept_is_bounded():
    x = torch.rand(1, 1, 1, 1000, dtype=torch.float64)  # (long lines of float32 need no table)
    seen = []
    for i in range(150):
        upsample_ext.interpolate(x, (1, 20_000 + 1000 * i), mode="bilinear")
        seen.append(C.axis_cache_bytes())
    assert max(seen) <= MOST
    assert max(seen) > MOST // 2  # that this test fills it

    upsample_ext.interpolate(x, (1, 2_000_000), mode="bilinear")  # more by itself than is kept in all
    assert seen[-1] - MOST // 2 <= C.axis_cache_bytes() <= MOST


def test_small_tables_push_large_ones_out():
    fill()
    for i in range(300):
        upsample_ext.interpolate(torch.rand(1, 1, 1, 60), (1, 70 + i), mode="bilinear")
    assert C.axis_cache_bytes() <= 256 * 40_000


def test_tables_of_a_few_outputs_are_not_kept():
    before = C.axis_cache_bytes()
    for i in range(1, 40):
        upsample_ext.interpolate(torch.rand(1, 3, 5, 7), (i, 40 - i), mode="bilinear")
    assert C.axis_cache_bytes() == before


def test_results_do_not_depend_on_what_is_kept(level):
    fill()
    built = every_result()
    for _ in range(3):
        assert_same_bits(every_result(), built)
    fill()
    assert_same_bits(every_result(), built)


def test_every_level_has_plans_of_its_own():
    """In turn, with everything kept."""
    before = C.level()
    try:
        expected = {}
        for _ in range(2):
            for level in C.levels():
                C.set_level(level)
                assert_same_bits(every_result(), expected.setdefault(level, every_result()))
        for results in expected.values():
            for a, b in zip(results, expected[before], strict=True):
                torch.testing.assert_close(a, b, rtol=1e-2, atol=1)
    finally:
        C.set_level(before)


def test_threads_share_what_is_kept():
    expected = every_result()
    sizes = range(90_000, 90_010)
    of_sizes = [resized(1000, to)[0] for to in sizes]
    errors = []

    def work(first):
        try:
            for _ in range(3):
                assert_same_bits(every_result(), expected)
                for i in range(len(sizes)):  # more than is kept: each pushes out what another uses
                    at = (first + 3 * i) % len(sizes)
                    assert torch.equal(resized(1000, sizes[at])[0], of_sizes[at])
                assert C.axis_cache_bytes() <= MOST
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors, errors[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_process_forked_while_another_thread_resizes_resizes_too():
    """Its cache is as it was at that moment: perhaps locked, by a thread that it does not have."""
    program = """
        import os, threading, warnings
        import torch
        import upsample_ext

        warnings.simplefilter("ignore")  # that other threads run is the point
        torch.set_num_threads(1)  # as in a DataLoader's workers: OpenMP's threads do not outlive a fork

        def resize(width):
            return upsample_ext.interpolate(x[..., :width], (2, 77), mode="bilinear")

        x = torch.rand(1, 3, 2, 200)
        expected = [resize(width) for width in range(100, 200)]
        stop = threading.Event()

        def work():
            while not stop.is_set():
                for width in range(100, 200):
                    resize(width)

        workers = [threading.Thread(target=work) for _ in range(2)]
        for worker in workers:
            worker.start()
        for _ in range(60):
            child = os.fork()
            if child == 0:
                right = all(torch.equal(resize(i + 100), expected[i]) for i in range(0, 100, 3))
                os._exit(0 if right else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for worker in workers:
            worker.join()
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "done\n", done.stderr[-2000:]
