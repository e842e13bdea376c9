"""scripts/gpu.sh and its report, as far as they go without a GPU."""

import json
import os
import pathlib
import runpy
import shutil
import subprocess
import sys

import pytest
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "gpu.sh"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the sources")


def gpu_sh(*arguments, **environment):
    command = [str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_does_nothing(tmp_path):
    done = gpu_sh("--output", str(tmp_path / "result.md"))
    assert done.returncode == 2
    assert "shows no NVIDIA GPU" in done.stderr
    assert not (tmp_path / "result.md").exists()


def test_dry_run_names_every_step():
    done = gpu_sh("--dry-run", "--quick")
    assert done.returncode == 0, done.stderr
    steps = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert steps == ["tests", "memcheck", "racecheck", "initcheck", "benchmark", "report"]
    assert "--device cuda --quick" in done.stdout
    assert "gpu-result.md" in done.stdout


def test_unknown_options_get_the_usage():
    done = gpu_sh("--nonsense")
    assert done.returncode == 2
    assert "scripts/gpu.sh [--quick]" in done.stderr and "#" not in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_shell_scripts_are_clean():
    scripts = sorted(str(path) for path in (ROOT / "scripts").glob("*.sh"))
    done = subprocess.run(["shellcheck", "-x", "-P", "SCRIPTDIR", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def measured(tmp_path):
    """What the steps leave behind: tests with a failure, a sanitizer without, no racecheck, a benchmark."""
    logs = {
        "tests": "..F.\nFAILED tests/test_a.py::test_b[cuda] - assert 1 == 2\n"
        "1 failed, 900 passed in 61.20s (0:01:01)\n",
        "memcheck": "========= COMPUTE-SANITIZER\n111 passed in 99.00s\n========= ERROR SUMMARY: 0 errors\n",
        "initcheck": "Killed\n",
        "benchmark": "\n76 rows in 300 s: all right; 1 slower than native\n\nfor  target  outcome\n",
    }
    for name, text in logs.items():
        (tmp_path / f"{name}.log").write_text(text)
    (tmp_path / "steps.tsv").write_text(
        "tests\t1\t70\tpython -m pytest\nmemcheck\t0\t99\tcompute-sanitizer\n"
        "racecheck\tskipped\t0\tno compute-sanitizer\ninitcheck\t137\t5\tcompute-sanitizer\n"
        "benchmark\t0\t301\tpython -m benchmarks --device cuda\n"
    )
    (tmp_path / "gpus.txt").write_text("NVIDIA H100, 580.1, 81559 MiB\n")
    (tmp_path / "benchmark.csv").write_text("op,ours_ms\ninterpolate,0.5\n")
    (tmp_path / "benchmark.md").write_text("| op | ours, ms |\n")
    return tmp_path


def test_report(measured):
    write = runpy.run_path(str(ROOT / "scripts" / "gpu_report.py"))["write"]
    write(measured, measured / "result.md", {"torch": "2.14.1+cu130"})
    text = (measured / "result.md").read_text()
    for line in (
        "| torch | 2.14.1+cu130 |",
        "| nvidia-smi | NVIDIA H100, 580.1, 81559 MiB |",
        "| tests | 70 | exit status 1: 1 failed, 900 passed in 61.20s (0:01:01) |",
        "| memcheck | 99 | 111 passed in 99.00s; ERROR SUMMARY: 0 errors |",
        "| racecheck | 0 | skipped: no compute-sanitizer on this machine |",
        "| initcheck | 5 | exit status 137: no summary |",
        "| benchmark | 301 | 76 rows in 300 s: all right; 1 slower than native |",
        "    FAILED tests/test_a.py::test_b[cuda] - assert 1 == 2",
        "    Killed",
        "| op | ours, ms |",
    ):
        assert line in text.splitlines(), line
    everything = json.loads(text.split("```json\n")[1].split("```")[0])
    assert everything["benchmark"] == [{"op": "interpolate", "ours_ms": "0.5"}]
    assert [step["status"] for step in everything["steps"]] == ["1", "0", "skipped", "137", "0"]


def test_report_of_a_run_that_broke_off(measured):
    (measured / "benchmark.csv").unlink()
    (measured / "benchmark.md").unlink()
    write = runpy.run_path(str(ROOT / "scripts" / "gpu_report.py"))["write"]
    write(measured, measured / "result.md", {})
    assert "did not get as far" in (measured / "result.md").read_text()


def test_report_as_a_command_tells_of_this_machine(measured):
    command = [sys.executable, str(ROOT / "scripts" / "gpu_report.py"), str(measured), "result.md"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=measured)
    assert done.returncode == 0, done.stderr
    facts = json.loads((measured / "result.md").read_text().split("```json\n")[1].split("```")[0])[
        "environment"
    ]
    assert facts["torch"] == torch.__version__
    assert facts["commit"]
