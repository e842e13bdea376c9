"""How many outputs read neighbouring sources: the bound that CUDA's gradients size their memory by."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tests" / "native" / "axis_check.cpp"
COMPILER = os.environ.get("CXX", "g++").split()


@pytest.mark.skipif(
    not SOURCE.exists() or not shutil.which(COMPILER[0]), reason="needs a checkout and a compiler"
)
def test_bounds_hold_for_small_wide_and_clumped_axes(tmp_path):
    program = tmp_path / "axis_check"
    # As setup.py compiles: a coordinate is rounded once, where the source says fma.
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*COMPILER, *flags, SOURCE, "-o", program], check=True)
    result = subprocess.run([program], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:]
    assert "all bounds hold" in result.stdout
