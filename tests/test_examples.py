"""The examples run, and print what they promise."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

import upsample_ext

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = pathlib.Path(upsample_ext.__file__).resolve().parent
NUMBER = r"(-?\d[\d.e+-]*)"

pytestmark = pytest.mark.skipif(not (ROOT / "examples").is_dir(), reason="needs the sources")


def run_example(name: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs an example as a user does, with the package that is under test and one thread."""
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def row(printed: str, name: str) -> list[float]:
    """The two numbers of the line that starts with the name: native's and ours."""
    match = re.search(rf"^{re.escape(name)} +{NUMBER}%? +{NUMBER}%?$", printed, re.MULTILINE)
    assert match, f"no row {name!r} in\n{printed}"
    return [float(number) for number in match.groups()]


@pytest.mark.slow
def test_segmentation_is_the_same_with_and_without_fused_ops(tmp_path):
    pytest.importorskip("PIL")
    pytest.importorskip("skimage")
    pytest.importorskip("matplotlib")
    picture = tmp_path / "plot.png"
    result = run_example(
        "segmentation.py", "--steps", "2", "--classes", "5", "--size", "96", "--plot", str(picture)
    )
    assert result.returncode == 0, result.stderr
    printed = result.stdout

    losses = [row(printed, str(step)) for step in (1, 2)]
    for native, fused in losses:
        assert fused == pytest.approx(native, rel=1e-5)
    assert losses[0] != losses[1]  # the weights changed
    apart = re.search(rf"^largest relative difference of the losses: {NUMBER}$", printed, re.MULTILINE)
    assert apart and float(apart[1]) <= 1e-5

    ratios = printed.splitlines()[-2]
    for name in ("training step, ms", "training peak, MiB", "evaluation time, ms", "evaluation peak, MiB"):
        native, fused = row(printed, name)
        assert min(native, fused) > 0
        ratio = re.search(rf"[:,] {name.split(',')[0]} {NUMBER}x", ratios)
        assert ratio and float(ratio[1]) > 0
        if "MiB" in name:  # the ratios of times are medians of their own
            assert float(ratio[1]) == pytest.approx(native / fused, abs=0.02)
    native, fused = row(printed, "pixel accuracy")
    assert 0 <= native <= 100 and fused == pytest.approx(native, abs=0.1)
    alike = re.search(rf"^pixels predicted alike: {NUMBER}%$", printed, re.MULTILINE)
    assert alike and float(alike[1]) > 99.9
    assert picture.stat().st_size > 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--classes", "256"], "--classes from 2 to 255"),
        (["--image", "no such picture"], "--image: no such picture is neither a file"),
    ],
)
def test_segmentation_refuses_what_makes_no_sense(arguments, message):
    pytest.importorskip("PIL")
    result = run_example("segmentation.py", *arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_a_model_is_the_same_converted_and_patched():
    result = run_example("patch_a_model.py", "--steps", "1", "--size", "32")
    assert result.returncode == 0, result.stderr
    ways = {
        name: (float(apart), ops)
        for name, apart, ops in re.findall(
            rf"^(\S+) +largest difference {NUMBER}; ops of ours: (.*)$", result.stdout, re.MULTILINE
        )
    }
    assert ways["PyTorch"] == (0.0, "none")
    assert ways["convert()"][1] == "depthwise_conv_transpose2d, upsample_bilinear2d"
    assert ways["patch()"][1] == "depthwise_conv_transpose2d, resample, upsample_bilinear2d"
    assert all(apart < 1e-5 for apart, _ in ways.values())
    times = re.findall(rf"^\S+ +{NUMBER} ms, {NUMBER} times as fast as PyTorch$", result.stdout, re.MULTILINE)
    assert len(times) == 3 and all(float(v) > 0 for pair in times for v in pair)
    assert float(times[0][1]) == 1.0


def test_labels_are_kept_and_logits_are_better():
    result = run_example("label_maps.py", "--classes", "12", "--factor", "8", "--size", "256")
    assert result.returncode == 0, result.stderr
    shares = {
        name: float(share) for name, share in re.findall(r"^ *(.*\w).*: +([\d.]+)%", result.stdout, re.M)
    }
    nearest, bilinear = shares["nearest of the labels, uint8"], shares["bilinear of the labels, rounded"]
    assert bilinear < nearest < shares["upsample_argmax of the logits"]
    assert 0 < shares["pixels that are no whole number"] < 100
    assert shares["nearest"] < shares["nearest-exact"]


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("label_maps.py", ["--classes", "300"], "--classes from 2 to 255"),
        ("label_maps.py", ["--size", "100"], "--size divisible by --factor"),
        ("patch_a_model.py", ["--size", "30"], "--size divisible by 4"),
    ],
)
def test_examples_refuse_what_makes_no_sense(name, arguments, message):
    result = run_example(name, *arguments)
    assert result.returncode == 2 and message in result.stderr
