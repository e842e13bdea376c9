"""scripts/gpu.sh, its steps, how it runs tests, and its report, as far as they go without a GPU."""

import csv
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "gpu.sh"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the sources")


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if SCRIPT.is_file():
    steps, runner, report = (load(name) for name in ("gpu_steps", "gpu_tests", "gpu_report"))


def gpu_sh(*arguments, **environment):
    command = [str(SCRIPT), *arguments]
    environment = {**os.environ, "PYTHON": sys.executable, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def stand_in(folder, name, text):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# ---- the command ---------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_does_nothing(tmp_path):
    done = gpu_sh("all", "--output", str(tmp_path / "result"))
    assert done.returncode == 2
    assert "shows no NVIDIA GPU" in done.stderr
    assert not (tmp_path / "result").exists()


def test_dry_run_names_every_step(tmp_path):
    done = subprocess.run(
        [str(SCRIPT), "all", "--dry-run", "--quick", "--output", "there"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr
    names = [line.split(":")[0] for line in done.stdout.splitlines()]
    sanitizers = ["memcheck", "racecheck", "initcheck", "synccheck"]
    assert names == ["build", "smoke", "tests", *sanitizers, "bench", "profile", "report"]
    assert "--device cuda --part 1/1 --quick" in done.stdout
    assert f"report: {tmp_path}/there" in done.stdout, "where it was called, not in the checkout"
    assert not (tmp_path / "there").exists()


def test_one_step_alone():
    done = gpu_sh("bench", "--part", "2/3", "--dry-run")
    first, last = done.stdout.splitlines()
    assert first.startswith("bench-2of3: ") and "--part 2/3" in first
    assert last.startswith("report: ")


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["everything"], ["bench", "--part", "half"], ["--quick"]]
)
def test_mistakes_are_told_before_anything_is_prepared(arguments):
    done = gpu_sh(*arguments)
    assert done.returncode == 2
    assert "scripts/gpu.sh" in done.stderr and not done.stdout


def test_help():
    done = gpu_sh("--help")
    assert done.returncode == 0
    assert "scripts/gpu.sh STEP..." in done.stdout and "#" not in done.stdout
    assert gpu_sh().stdout == done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_shell_scripts_are_clean():
    scripts = sorted(str(path) for path in (ROOT / "scripts").glob("*.sh"))
    done = subprocess.run(["shellcheck", "-x", "-P", "SCRIPTDIR", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# ---- which Python --------------------------------------------------------------------------------------

CHOOSE = """
set -euo pipefail
source <(sed '/^choose_python "\\$@"$/,$d; /^cd /d' "$1")
lacking_to_build() { printf '%s' "$LACKING"; }
lacking_to_test() { printf '%s' "$MORE"; }
prepare_system() { :; }
prepare_environment() { echo "installs $*"; return "$PIP"; }
IN_PLACE=1 choose_python bench test
echo "uses $python, index off: ${PIP_NO_INDEX:-}"
"""


@pytest.mark.parametrize(
    ("lacking", "more", "pip", "installs", "uses"),
    [
        ("", "", 0, False, "base"),
        ("", "pytest", 0, True, ".venv"),
        ("", "pytest", 1, True, "base"),
        ("ninja", "", 0, True, ".venv"),
        ("ninja", "", 1, True, None),
    ],
)
def test_the_python_that_is_there_is_used_where_it_has_what_is_needed(lacking, more, pip, installs, uses):
    environment = {name: value for name, value in os.environ.items() if name != "PIP_NO_INDEX"}
    environment |= {"PYTHON": sys.executable, "LACKING": lacking, "MORE": more, "PIP": str(pip)}
    command = ["bash", "-c", CHOOSE, "choose", str(ROOT / "scripts" / "prepare.sh")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert ("installs bench test" in done.stdout) == installs
    if uses is None:
        assert done.returncode == 1 and "uses" not in done.stdout
    else:
        chosen = sys.executable if uses == "base" else f"{ROOT}/.venv/bin/python"
        offline = "1" if uses == "base" else ""
        assert f"uses {chosen}, index off: {offline}\n" in done.stdout
        assert ("lacks what tests need: pytest" in done.stderr) == (uses == "base" and more != "")


def test_what_this_python_lacks_to_build_is_found_out():
    text = """
set -euo pipefail
source <(sed '/^choose_python "\\$@"$/,$d; /^cd /d' "$1")
lacking_to_build "$2"; lacking_to_test "$2"
"""
    path = str(ROOT / "scripts" / "prepare.sh")
    environment = {name: value for name, value in os.environ.items() if name not in ("CXX", "FORCE_CUDA")}

    def lacking(**more):
        command = ["bash", "-c", text, "lacking", path, sys.executable]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**environment, **more})
        return done.stdout.splitlines()

    assert "g++" in lacking(CXX="no-such-compiler")
    assert "g++" not in lacking(CXX="env true")
    assert ("a torch that fits" in lacking(FORCE_CUDA="1")) == (torch.version.cuda is None)


# ---- the steps -----------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder to work in, in which what is built is what the sources say."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setattr(steps, "WORK", folder)
    monkeypatch.setattr(steps, "is_built", lambda environment: True)
    return folder


def options(*arguments):
    return steps.parse([*arguments, "--rehearse"])


def test_a_build_is_known_by_its_sources_and_not_by_their_dates(tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / "csrc").mkdir(parents=True)
    (root / "setup.py").write_text("")
    (root / "csrc" / "a.cu").write_text("one")
    monkeypatch.setattr(steps, "ROOT", root)
    first = steps.fingerprint({"FORCE_CUDA": "1"})
    os.utime(root / "csrc" / "a.cu", (1, 1))
    assert steps.fingerprint({"FORCE_CUDA": "1"}) == first
    assert steps.fingerprint({"FORCE_CPU": "1"}) != first
    monkeypatch.setattr(steps, "gpus", lambda: ["another GPU"])
    other = steps.fingerprint({"FORCE_CUDA": "1"})
    assert other != first
    (root / "csrc" / "a.cu").write_text("two")
    assert steps.fingerprint({"FORCE_CUDA": "1"}) not in (first, other)


def test_a_step_keeps_its_log_status_and_time_and_is_reported_at_once(work, tmp_path, monkeypatch):
    reports = []
    monkeypatch.setattr(steps, "report", lambda output: reports.append(steps.read_steps(steps.WORK)))
    run = steps.Steps(options("smoke"))
    run.step("smoke", [sys.executable, "-c", "print('3 passed in 1s'); raise SystemExit(3)"])
    assert reports[0]["smoke"]["status"] == 3
    assert (work / "smoke.log").read_text() == "3 passed in 1s\n"
    run.step("smoke", [sys.executable, "-c", "pass"])
    assert reports[1]["smoke"]["status"] == 0, "in place of what an earlier call found"
    assert run.failed, "of this call"


def test_steps_that_are_out_of_time_are_ended_and_say_so(work, monkeypatch):
    monkeypatch.setattr(steps, "report", lambda output: None)
    run = steps.Steps(options("smoke"))
    program = "import time\ntry:\n  print('begun', flush=True); time.sleep(60)\n"
    program += "except KeyboardInterrupt:\n  print('last words')"
    command = [sys.executable, "-c", program]
    statuses = run.step_side_by_side({"one": command, "two": [sys.executable, "-c", "pass"]}, {}, 10.0)
    assert statuses == {"one": steps.OUT_OF_TIME, "two": 0}
    assert (work / "one.log").read_text() == "begun\nlast words\n"
    run.options.limit = 1
    assert run.step("three", command) == steps.OUT_OF_TIME
    assert steps.read_steps(work)["three"] == {"status": "left out", "seconds": 0, "command": "no time left"}


def test_what_a_step_lacks_is_named(work, monkeypatch):
    monkeypatch.setattr(steps, "report", lambda output: None)
    monkeypatch.setitem(steps.NEEDED, "bench", ("no_such_package",))
    for name in ("find_sanitizer", "find_profiler"):
        monkeypatch.setattr(steps, name, lambda: None)
    assert steps.Steps(options("bench", "sanitize", "profile")).run() == 0
    found = {name: (step["status"], step["command"]) for name, step in steps.read_steps(work).items()}
    assert set(found) == {"bench", *steps.SANITIZERS, "profile"}
    assert {status for status, _ in found.values()} == {"left out"}
    assert "has no no_such_package" in found["bench"][1]
    assert "no compute-sanitizer" in found["memcheck"][1] and "no ncu" in found["profile"][1]


def test_nothing_runs_on_a_build_that_failed(work, monkeypatch):
    monkeypatch.setattr(steps, "report", lambda output: None)
    monkeypatch.setattr(steps, "is_built", lambda environment: False)
    monkeypatch.setattr(
        steps.Steps, "step", lambda self, name, command, environment=None: ran.append(name) or 1
    )
    ran = []
    steps.Steps(options("smoke", "bench")).run()
    assert set(ran) == {"build"}
    assert steps.read_steps(work)["bench"]["command"] == "the build failed"


def test_programs_are_looked_for_in_the_toolkit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    assert steps.find_program("ncu", f"{tmp_path}/nsight/*") is None
    (tmp_path / "nsight").mkdir()
    version = stand_in(tmp_path / "nsight" / "2026.1", "ncu", "")
    assert steps.find_program("ncu", f"{tmp_path}/nsight/*") == str(version)
    (tmp_path / "cuda" / "bin").mkdir(parents=True)
    toolkit = stand_in(tmp_path / "cuda" / "bin", "ncu", "")
    assert steps.find_program("ncu", f"{tmp_path}/nsight/*") == str(toolkit)
    assert steps.find_program("ncu") == str(toolkit)


def test_gpus_and_what_is_built_for_are_what_nvidia_smi_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert steps.gpus() == []
    stand_in(tmp_path, "nvidia-smi", "echo 'NVIDIA H100, 580.1, 81559 MiB'")
    assert steps.gpus() == ["NVIDIA H100, 580.1, 81559 MiB"]
    stand_in(tmp_path, "nvidia-smi", "echo 'NVIDIA H100, 580.1, 81559 MiB, 9.0, 1980 MHz, 700.00 W'")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0 9.0 12.0+PTX")
    assert steps.build_environment(False) == {"FORCE_CUDA": "1", "TORCH_CUDA_ARCH_LIST": "9.0"}
    stand_in(tmp_path, "nvidia-smi", "echo 'could not talk to the driver'; exit 9")
    assert steps.gpus() == []


@pytest.mark.slow
def test_rehearsal_with_stand_ins_for_ncu_and_the_sanitizer(work, tmp_path, monkeypatch):
    """The sanitizer's and the profiler's command lines run to their end, and what they print is reported."""
    bin = tmp_path / "bin"
    pass_on = 'while [ "${1##*/}" != "${PY##*/}" ]; do shift; done; "$@"; status=$?'
    sanitizer = (
        f"echo ========= COMPUTE-SANITIZER; {pass_on}; echo '========= ERROR SUMMARY: 0 errors'; exit $status"
    )
    stand_in(bin, "compute-sanitizer", sanitizer)
    stand_in(bin, "ncu", pass_on)
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    monkeypatch.setenv("PY", sys.executable)
    monkeypatch.setattr(steps, "SANITIZERS", ("memcheck",))
    monkeypatch.setattr(steps, "SMALL_TESTS", "tests/test_smoke.py::test_resize_of_bytes")
    output = tmp_path / "output"
    run = steps.Steps(options("sanitize", "profile", "bench", "--quick", "--output", str(output)))
    assert run.run() == 0
    text = (output / "gpu-result.md").read_text()
    assert "3 passed" in text and "ERROR SUMMARY: 0 errors" in text
    assert "3 rows profiled" in text
    assert "3 rows in" in text and "all right" in text
    with (output / "benchmark.csv").open() as file:
        assert {row["from"] for row in csv.DictReader(file)} == {"benchmark-quick-1of1"}
    assert len(list(output.iterdir())) <= 8


# ---- the tests in many processes -----------------------------------------------------------------------

FAULTY = """
import os, pathlib, signal, time
import pytest

pytestmark = pytest.mark.parametrize("device", ["cpu"])


def test_good(device):
    pass


def test_bad(device):
    assert 1 == 2


def test_left_out(device):
    pytest.skip("no such thing")


def test_crash(device):
    os.kill(os.getpid(), signal.SIGSEGV)


def test_takes_the_context_with_it(device):
    pathlib.Path(os.environ["LOST"]).write_text(str(os.getpid()))
    assert False, "an illegal memory access was encountered"


def test_after_that(device):
    pass
"""
CONFTEST = """
import os, pathlib, sys
sys.path.insert(0, {tests!r})
from run_record import RunRecord


def lost():
    path = pathlib.Path(os.environ["LOST"])
    return path.exists() and path.read_text() == str(os.getpid())


def pytest_configure(config):
    if record := RunRecord.of_environment():
        record.lost = lost
        config.pluginmanager.register(record)
"""


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """A suite whose tests end their process, and the folder of its runs."""
    (tmp_path / "conftest.py").write_text(CONFTEST.format(tests=str(ROOT / "tests")))
    (tmp_path / "test_faulty.py").write_text(FAULTY)
    (tmp_path / "runs").mkdir()
    monkeypatch.setenv("LOST", str(tmp_path / "lost"))
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    return tmp_path / "runs"


def test_a_crash_or_a_lost_context_costs_one_test(faulty, capsys):
    assert runner.main(["--device", "cpu", "--folder", str(faulty), "test_faulty.py"]) == 1
    printed = capsys.readouterr().out
    assert "test_bad[cpu] - assert 1 == 2" in printed
    assert "test_crash[cpu] - its process ended during it with signal SIGSEGV" in printed
    assert "test_takes_the_context_with_it[cpu] - AssertionError: an illegal memory access" in printed
    assert "test_after_that" not in printed.split("SLOW")[0]
    assert "SKIPPED 1: Skipped: no such thing" in printed
    assert "2 processes ended early" in printed
    assert "2 passed, 3 failed, 1 skipped in " in printed.splitlines()[-1]


def test_a_run_that_is_cut_short_tells_what_it_has_seen(tmp_path):
    record = tmp_path / "a.jsonl"
    lines = [
        ("good", "started"),
        ("good", "passed"),
        ("bad", "started"),
        ("bad", "failed"),
        ("long", "started"),
    ]
    entries = [json.dumps({"test": test, "outcome": outcome, "message": "why"}) for test, outcome in lines]
    record.write_text("\n".join(entries) + '\n{"test": "hal')
    portion = runner.Portion(tmp_path, 0, "a.py", ["good", "bad", "long", "later"])
    portion.results = runner.read_record(record, -9, out_of_time=True)
    lines, status = runner.summary([portion], 60.0)
    assert lines[0] == "FAILED bad - why"
    assert lines[-1] == "1 passed, 1 failed, 0 skipped, 2 not run in 60s"
    assert status == 1
    del portion.results["bad"]
    assert runner.summary([portion], 60.0)[1] == 124
    assert (
        runner.read_record(record, -9)["long"]["message"] == "its process ended during it with signal SIGKILL"
    )


def test_no_process_is_started_when_time_is_up(tmp_path):
    portion = runner.Portion(tmp_path, 0, "a.py", ["one"])
    portion.run("cpu", 1, end=0.0)
    assert portion.runs == 0 and portion.left() == ["one"]


def test_a_file_that_cannot_be_collected_is_a_failure(faulty, capsys):
    (faulty.parent / "test_broken.py").write_text("import no_such_module")
    assert runner.main(["--device", "cpu", "--folder", str(faulty), "test_broken.py"]) == 1
    assert "ERROR test_broken.py" in capsys.readouterr().out


def test_every_file_has_its_turn_before_any_has_its_second(tmp_path):
    found = {"a.py": [f"a.py::{i}" for i in range(600)], "b.py": ["b.py::0"]}
    portions = runner.deal(found, tmp_path)
    assert [(portion.file, len(portion.tests)) for portion in portions] == [
        ("a.py", 250),
        ("b.py", 1),
        ("a.py", 250),
        ("a.py", 100),
    ]
    assert len({portion.index for portion in portions}) == 4


def collected(**environment):
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    command += ["tests/test_devices.py", "tests/test_resample_opinfo.py", "tests/test_modules.py"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}
    )
    assert done.returncode in (0, 5), done.stdout
    return done.stdout


def test_only_what_runs_on_a_device_is_chosen():
    lines = collected(UPSAMPLE_EXT_DEVICES="cuda").splitlines()
    tests = [line for line in lines if "::" in line]
    assert all("[cuda" in line or "test_devices.py" in line or "-cuda" in line for line in tests)
    assert any("test_devices.py::test_on_a_gpu_calls_reach_our_ops" in line for line in tests)
    assert not any("test_the_samples_are_there" in line for line in tests)
    of_the_cpu = [line for line in collected(UPSAMPLE_EXT_DEVICES="cpu").splitlines() if "::" in line]
    assert not any("test_on_a_gpu_calls_reach_our_ops" in line for line in of_the_cpu)


def test_without_expecttest_only_pytorch_s_samples_are_left_out(tmp_path):
    hidden = tmp_path / "expecttest.py"
    hidden.write_text("raise ModuleNotFoundError(\"No module named 'expecttest'\", name='expecttest')")
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    command += ["tests/test_resample_opinfo.py", "tests/test_deconv.py"]
    command += ["-k", "samples or fixed_kernel_that_wants"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stdout
    assert "torch's samples need expecttest" in done.stdout
    assert "1 passed" in done.stdout


# ---- the report ----------------------------------------------------------------------------------------


@pytest.fixture
def measured(tmp_path):
    """What the steps leave behind: tests with a failure, a sanitizer without, no racecheck, a benchmark."""
    work = tmp_path / "work"
    work.mkdir()
    logs = {
        "tests": "FAILED tests/test_a.py::test_b[cuda] - assert 1 == 2\n"
        "900 passed, 1 failed, 3 skipped in 61s\n",
        "memcheck": "========= COMPUTE-SANITIZER\n111 passed in 99.00s\n========= ERROR SUMMARY: 0 errors\n",
        "initcheck": "Killed\n",
        "synccheck": "!!!! Interrupted: no time left !!!!\n50 passed in 300.00s\n"
        "========= ERROR SUMMARY: 0 errors\n",
        "bench": "\n76 rows in 300 s: all right; 1 slower than native\n\nfor  target  outcome\n",
        "profile": "==ERROR== ERR_NVGPUCTRPERM - no permission\n0 rows profiled\n",
    }
    for name, text in logs.items():
        (work / f"{name}.log").write_text(text)
    known = {
        "tests": (1, 70, "python -m pytest"),
        "memcheck": (0, 99, "compute-sanitizer"),
        "racecheck": ("left out", 0, "there is no compute-sanitizer"),
        "initcheck": (137, 5, "compute-sanitizer"),
        "synccheck": (2, 310, "compute-sanitizer"),
        "bench": (0, 301, "python -m benchmarks --device cuda"),
        "profile": (1, 12, "ncu"),
    }
    keys = ("status", "seconds", "command")
    (work / "steps.json").write_text(
        json.dumps({name: dict(zip(keys, values, strict=True)) for name, values in known.items()})
    )
    (work / "gpus.txt").write_text("NVIDIA H100, 580.1, 81559 MiB\n")
    for part, seconds in (("1of2", 0.5), ("2of2", 0.7)):
        (work / f"benchmark-quick-{part}.csv").write_text(f"op,input,ours_ms\ninterpolate,{part},{seconds}\n")
        (work / f"benchmark-quick-{part}.md").write_text(f"| op | ours, ms | {part}\n")
    (work / "profile.csv").write_text("ID,Kernel Name\n")
    return work


def test_report(measured, tmp_path):
    report.write(measured, tmp_path / "out", {"torch": "2.14.1+cu130"})
    text = (tmp_path / "out" / "gpu-result.md").read_text()
    for line in (
        "| torch | 2.14.1+cu130 |",
        "| nvidia-smi | NVIDIA H100, 580.1, 81559 MiB |",
        "| tests | 70 | exit status 1: 900 passed, 1 failed, 3 skipped in 61s |",
        "| memcheck | 99 | 111 passed in 99.00s; ERROR SUMMARY: 0 errors |",
        "| racecheck | 0 | left out: there is no compute-sanitizer |",
        "| initcheck | 5 | exit status 137: no summary |",
        "| synccheck | 310 | cut short: 50 passed in 300.00s; ERROR SUMMARY: 0 errors |",
        "| bench | 301 | 76 rows in 300 s: all right; 1 slower than native |",
        "    FAILED tests/test_a.py::test_b[cuda] - assert 1 == 2",
        "    ==ERROR== ERR_NVGPUCTRPERM - no permission",
        "    Killed",
        "| op | ours, ms | 2of2",
    ):
        assert line in text.splitlines(), line
    everything = json.loads(text.split("```json\n")[1].split("```")[0])
    assert [row["ours_ms"] for row in everything["benchmark"]] == ["0.5", "0.7"]
    assert [step["status"] for step in everything["steps"]] == [1, 0, "left out", 137, 2, 0, 1]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"gpu-result.md", "benchmark.csv", "profile.csv", "logs.txt"}
    with (tmp_path / "out" / "benchmark.csv").open() as file:
        assert [row["input"] for row in csv.DictReader(file)] == ["1of2", "2of2"]
    assert "==== initcheck.log\nKilled" in (tmp_path / "out" / "logs.txt").read_text()


def test_report_of_a_run_that_broke_off(measured, tmp_path):
    for path in measured.iterdir():
        path.unlink()
    report.write(measured, tmp_path / "out", {})
    assert "did not get as far" in (tmp_path / "out" / "gpu-result.md").read_text()


def test_files_of_the_report_are_small_enough_to_send(measured, tmp_path, monkeypatch):
    (measured / "tests.log").write_text("begin\n" + 30_000 * "one line of many\n" + "end\n")
    monkeypatch.setattr(report, "LOG_BYTES", 2000)
    monkeypatch.setattr(report, "FILE_BYTES", 5000)
    report.write(measured, tmp_path / "out", {})
    for path in (tmp_path / "out").iterdir():
        assert path.stat().st_size <= 5000
    assert report.shortened("short", 2000) == "short"
    text = report.shortened((measured / "tests.log").read_text(), 2000)
    assert text.startswith("begin") and text.endswith("end\n") and " bytes ...]" in text


def test_the_commit_without_git_is_a_file_s(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", "")
    assert report.commit() == "unknown"
    (tmp_path / "commit.txt").write_text("abc1234\n")
    assert report.commit() == "abc1234"


def test_report_as_a_command_tells_of_this_machine(measured, tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "gpu_report.py"), str(measured), "out"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "gpu-result.md").read_text()
    facts = json.loads(text.split("```json\n")[1].split("```")[0])["environment"]
    assert facts["torch"] == torch.__version__
    assert facts["commit"] and facts["ncu"] and facts["not there"]
