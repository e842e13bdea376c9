"""The CUDA emulation as a whole: errors reach Python, host threads take turns, headers are found."""

import pathlib
import subprocess
import sys
import textwrap

import pytest

EMULATION = pathlib.Path(__file__).resolve().parent / "cuda_emulation"
sys.path.insert(0, str(EMULATION))

import cuda_headers  # noqa: E402

import build  # noqa: E402

REASON = build.why_not()
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.xdist_group("cuda_emulation"),
]


@pytest.fixture(scope="module", autouse=True)
def _built():
    build.build(["plain"])


def emulated(program):
    """Runs a program with the package over the emulated CUDA code."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=build.package_directory("plain"),
        capture_output=True,
        text=True,
    )


def test_the_ops_run_the_cuda_code():
    result = emulated(
        """
        import torch, upsample_ext
        from upsample_ext import _build_info
        assert _build_info.cuda_arch_list == "emulated"
        x = torch.randn(2, 3, 9, 14)
        expected = torch.nn.functional.interpolate(x, size=(20, 31), mode="bilinear")
        assert (upsample_ext.upsample_bilinear2d(x, (20, 31)) - expected).abs().max() < 1e-5
        """
    )
    assert result.returncode == 0, result.stderr


def test_results_are_the_same_in_any_order_and_for_any_device():
    result = emulated(
        """
        import itertools, os, torch, upsample_ext
        x = torch.randn(2, 3, 19, 14, requires_grad=True)
        grad = torch.randn(2, 3, 40, 31)
        found = []
        for order, count in itertools.product(("forward", "reversed", "shuffled"), ("1", "2", "132")):
            os.environ |= {"CUSIM_ORDER": order, "CUSIM_MULTIPROCESSORS": count}
            y = upsample_ext.upsample_bilinear2d(x, (40, 31))
            found.append((y, *torch.autograd.grad(y, x, grad)))
        assert all(torch.equal(a, b) for other in found for a, b in zip(found[0], other))
        """
    )
    assert result.returncode == 0, result.stderr


def test_host_threads_take_turns():
    result = emulated(
        """
        import torch, upsample_ext
        from concurrent.futures import ThreadPoolExecutor
        images = [torch.randn(1, 4, 16, 24 + i) for i in range(16)]
        expected = [upsample_ext.upsample_bilinear2d(x, (33, 50)) for x in images]
        with ThreadPoolExecutor(8) as pool:
            for _ in range(4):
                found = pool.map(lambda x: upsample_ext.upsample_bilinear2d(x, (33, 50)), images)
                assert all(torch.equal(a, b) for a, b in zip(found, expected))
        """
    )
    assert result.returncode == 0, result.stderr


def test_the_headers_of_nvidias_wheels_suffice(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", "/nowhere")
    try:
        folder = cuda_headers.include_directory()
    except cuda_headers.NoToolkit:
        pytest.skip("the wheels of the test extra are not installed")
    command = ["g++", "-std=c++17", "-fsyntax-only", f"-I{EMULATION}", "-isystem", str(folder)]
    command += ["-include", str(EMULATION / "cuda_emulation.h"), "-x", "c++", str(EMULATION / "faults.cu")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_which_kernel_a_call_takes(tmp_path):
    program = tmp_path / "choice_check"
    command = ["g++", "-std=c++17", "-O0", "-ffp-contract=off", "-Wno-psabi", f"-I{EMULATION}"]
    command += ["-isystem", str(cuda_headers.include_directory())]
    command += ["-include", str(EMULATION / "cuda_emulation.h"), str(EMULATION / "choice_check.cpp")]
    subprocess.run([*command, "-o", str(program)], check=True)
    result = subprocess.run([str(program)], capture_output=True, text=True)
    assert result.returncode == 0 and "all choices are right" in result.stdout, result.stdout


def test_without_headers_one_is_told_what_to_do(monkeypatch):
    monkeypatch.setenv("CUDA_HOME", "/nowhere")
    monkeypatch.setattr(cuda_headers, "_wheels", lambda: iter(()))
    with pytest.raises(
        cuda_headers.NoToolkit, match="/nowhere/include.*Set CUDA_HOME, or install nvidia-cuda-runtime"
    ):
        cuda_headers.include_directory()


def test_what_is_left_out_is_said():
    result = emulated("import pytest; pytest.main(['--collect-only', 'tests/test_levels.py'])")
    assert "test_levels.py: instruction-set levels are of the CPU kernels" in result.stdout
    assert "deselected" in result.stdout
