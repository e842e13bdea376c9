"""The steps of gpu.sh: what each runs, what it leaves out, when it stops. Uses only the standard library.

Each step can be run in a separate call. Its findings are kept in build/gpu, and every step of every call
rewrites the report from all findings (gpu_report.py), so that they survive a crash of the next step.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = pathlib.Path(os.environ.get("UPSAMPLE_EXT_GPU_WORK", ROOT / "build" / "gpu"))
STEPS = ("build", "smoke", "tests", "sanitize", "bench", "profile")
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
# Every kernel, in every dtype and layout, on shapes of a few hundred elements.
SMALL_TESTS = "tests/test_smoke.py"
SMOKE_TESTS = (SMALL_TESTS, "tests/test_devices.py")
# Metrics that show which unit limits a kernel: memory, issue slots, latency, a pipe.
SECTIONS = (
    "SpeedOfLight",
    "MemoryWorkloadAnalysis",
    "SchedulerStats",
    "WarpStateStats",
    "Occupancy",
    "InstructionStats",
    "ComputeWorkloadAnalysis",
    "LaunchStats",
)
# One row of each kind of kernel that the CPU computes in seconds.
REHEARSED_ROWS = "^(interpolate 1x1x2x2|upsample_threshold 3x1x256x256 x4 forward float32)"
NEEDED = {"smoke": ("pytest", "numpy"), "sanitize": ("pytest", "numpy"), "bench": ("numpy",)}
NEEDED |= {"tests": ("pytest", "numpy", "hypothesis"), "profile": ("numpy",)}
REPORT_SECONDS = 5
LAST_WORDS = 20
OUT_OF_TIME = 124


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu.sh",
        description="For whoever has an NVIDIA GPU: builds with CUDA, tests, sanitizes, measures and "
        "profiles, and writes one folder to send back.",
    )
    parser.add_argument(
        "steps", nargs="+", choices=(*STEPS, "all"), metavar="STEP", help=", ".join((*STEPS, "all"))
    )
    parser.add_argument(
        "--quick", action="store_true", help="bench: fewer rows; sanitize: two types of numbers"
    )
    parser.add_argument("--part", default="1/1", help="bench: every N-th row from the I-th on, as I/N")
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("gpu-result"), help="folder (gpu-result)"
    )
    parser.add_argument(
        "--limit", type=float, help="seconds that the call may take; what is cut short says so"
    )
    parser.add_argument("--jobs", type=int, help="processes that test at once (8, or the cores if fewer)")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and run nothing")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, to see that the steps work")
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)  # gpu.sh, before it prepares
    options = parser.parse_args(arguments)
    if "all" in options.steps:
        options.steps = list(STEPS)
    if not re.fullmatch(r"[1-9]\d*/[1-9]\d*", options.part):
        parser.error(f"--part: expected I/N as in 1/3, got {options.part}")
    return options


def gpus() -> list[str]:
    """Name, driver, memory, architecture and clocks of every GPU, from nvidia-smi."""
    asked = "name,driver_version,memory.total,compute_cap,clocks.max.sm,clocks.max.memory,power.limit"
    try:
        command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def find_program(name: str, *folders: str) -> str | None:
    """On the PATH, in the toolkit, or in one of the folders, which may be patterns."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    places = [f"{home}/bin", f"{home}/{name}", *folders]
    found = [shutil.which(name)]
    for place in places:
        root = pathlib.Path(place).anchor or "."
        found += sorted(map(str, pathlib.Path(root).glob(str(pathlib.Path(place, name).relative_to(root)))))
    return next(
        (path for path in found if path and os.access(path, os.X_OK) and pathlib.Path(path).is_file()), None
    )


def find_sanitizer() -> str | None:
    return find_program("compute-sanitizer", f"{sysconfig.get_path('purelib')}/nvidia/cu*/bin")


def find_profiler() -> str | None:
    return find_program(
        "ncu", "/opt/nvidia/nsight-compute/*", "/usr/local/cuda*/bin", "/usr/local/NVIDIA-Nsight-Compute*"
    )


class Steps:
    """One call of gpu.sh."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        # gpu.sh has prepared for some seconds by now.
        self.start = time.monotonic() - float(os.environ.get("GPU_SH_SECONDS", 0))
        self.device = "cpu" if options.rehearse else "cuda"
        self.jobs = options.jobs or min(8, os.cpu_count() or 1)
        self.failed = False

    # ---- what runs

    def run(self) -> int:
        for name in self.options.steps:
            missing = [one for one in NEEDED.get(name, ()) if importlib.util.find_spec(one) is None]
            if missing and not self.options.dry_run:
                self.leave_out(name, f"{sys.executable} has no {', '.join(missing)}")
            elif name == "build" or self.build_if_needed():
                getattr(self, name)()
            else:
                self.leave_out(name, "the build failed")
        return 1 if self.failed else 0

    def build(self) -> None:
        environment = build_environment(self.options.rehearse)
        if not self.options.dry_run and is_built(environment):
            print("==== build: what is there is of these sources", flush=True)
            report(self.options.output)  # tells of the call that built it
            return
        (WORK / "built.txt").unlink(missing_ok=True)
        status = self.step("build", [sys.executable, "setup.py", "build_ext", "--inplace"], environment)
        if status == 0 and not self.options.dry_run:
            (WORK / "built.txt").write_text(fingerprint(environment))

    def build_if_needed(self) -> bool:
        environment = build_environment(self.options.rehearse)
        if self.options.dry_run or is_built(environment):
            return True
        if "build" not in self.options.steps:  # else it has been tried
            self.build()
        return is_built(environment)

    def smoke(self) -> None:
        self.test("smoke", list(SMOKE_TESTS))

    def tests(self) -> None:
        self.test("tests", [])

    def test(self, name: str, files: list[str]) -> None:
        command = [sys.executable, "scripts/gpu_tests.py", "--device", self.device, "--jobs", str(self.jobs)]
        command += ["--folder", str(WORK / f"{name}-runs"), *self.limit_of(), *files]
        self.step(name, command)

    def sanitize(self) -> None:
        sanitizer = find_sanitizer() or self.install_sanitizer()
        if not sanitizer and not self.options.dry_run:
            for tool in SANITIZERS:
                self.leave_out(tool, "there is no compute-sanitizer (it is part of the CUDA toolkit)")
            return
        # Side by side where there are cores: most of the time is the host's, which patches and launches.
        at_once = len(SANITIZERS) if (os.cpu_count() or 1) >= 2 * len(SANITIZERS) else 1
        rounds = len(SANITIZERS) // at_once
        for index in range(rounds):
            tools = SANITIZERS[index * at_once : (index + 1) * at_once]
            share = self.left() / (rounds - index)
            commands = {
                tool: self.sanitizer_command(sanitizer or "compute-sanitizer", tool) for tool in tools
            }
            environment = {
                # Without torch's caching each tensor is an allocation, whose bounds are then known.
                "PYTORCH_NO_CUDA_MEMORY_CACHING": "1",
                "UPSAMPLE_EXT_DEVICES": self.device,
                "UPSAMPLE_EXT_SECONDS": str(max(10, int(share) - 2 * LAST_WORDS)),
            }
            self.step_side_by_side(commands, environment, share)

    def sanitizer_command(self, sanitizer: str, tool: str) -> list[str]:
        command = [sanitizer, "--tool", tool, "--error-exitcode", "99", "--kernel-name", "kns=upsample_ext"]
        command += [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", SMALL_TESTS]
        return command + (["-k", "float32 or float16 or bytes"] if self.options.quick else [])

    def install_sanitizer(self) -> str | None:
        """Into .venv, which prepare.sh made: nothing is installed elsewhere."""
        if self.options.dry_run or pathlib.Path(sys.prefix) != ROOT / ".venv":
            return None
        command = [sys.executable, "-m", "pip", "install", "-q", "nvidia-cuda-sanitizer-api==13.0.*"]
        subprocess.run(command, timeout=300, check=False)
        return find_sanitizer()

    def bench(self) -> None:
        part = self.options.part.replace("/", "of")
        kind = "quick" if self.options.quick else "full"
        name = "bench" if self.options.part == "1/1" else f"bench-{part}"
        table = WORK / f"benchmark-{kind}-{part}"
        command = [sys.executable, "-m", "benchmarks", "--device", self.device, "--part", self.options.part]
        command += ["--quick"] if self.options.quick else []
        command += ["--filter", REHEARSED_ROWS, "--no-compile"] if self.options.rehearse else []
        command += ["--csv", f"{table}.csv", "--markdown", f"{table}.md", *self.limit_of()]
        self.step(name, command)

    def profile(self) -> None:
        profiler = find_profiler()
        if not profiler and not self.options.dry_run:
            self.leave_out("profile", "there is no ncu (Nsight Compute is part of the CUDA toolkit)")
            return
        command = [
            profiler or "ncu",
            "--profile-from-start",
            "off",
            "--nvtx",
            "--kernel-name-base",
            "demangled",
        ]
        command += [
            "--kernel-name",
            "regex:.*upsample_ext.*",
            "--csv",
            "--page",
            "details",
            "--print-details",
            "all",
        ]
        command += [word for section in SECTIONS for word in ("--section", section)]
        command += ["--log-file", str(WORK / "profile.csv"), sys.executable, "-m", "benchmarks", "--quick"]
        command += ["--device", self.device, "--profile", *self.limit_of()]
        self.step("profile", command + (["--filter", REHEARSED_ROWS] if self.options.rehearse else []))

    # ---- how it runs

    def left(self) -> float:
        """Seconds a step may take: what is left, less the report's; a day where there is no limit."""
        limit = 24 * 3600 if self.options.limit is None else self.options.limit
        return limit - (time.monotonic() - self.start) - REPORT_SECONDS

    def limit_of(self) -> list[str]:
        """For programs that stop in time by themselves, and then report more than one that is killed."""
        if self.options.limit is None:
            return []
        return ["--limit", str(max(1, int(self.left()) - LAST_WORDS))]

    def step(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> int:
        return self.step_side_by_side({name: command}, environment or {}, self.left())[name]

    def step_side_by_side(
        self, commands: dict[str, list[str]], environment: dict[str, str], seconds: float
    ) -> dict[str, int]:
        """Runs each, keeps what it prints, its exit status (124: cut short) and its seconds, and reports."""
        if self.options.dry_run:
            for name, command in commands.items():
                print(f"{name}: {' '.join(command)}")
            return dict.fromkeys(commands, 0)
        if seconds < 10:
            for name in commands:
                self.leave_out(name, "no time left")
            return dict.fromkeys(commands, OUT_OF_TIME)
        start = time.monotonic()
        processes = {}
        for name, command in commands.items():
            print(f"==== {name}: {' '.join(command)}", flush=True)
            with (WORK / f"{name}.log").open("w") as log:
                processes[name] = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env={**os.environ, **environment},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=hear_interrupts,
                )
        statuses = {}
        for name, process in processes.items():
            statuses[name] = wait(process, start + seconds - time.monotonic())
            self.note(name, statuses[name], time.monotonic() - start, " ".join(commands[name]))
        return statuses

    def leave_out(self, name: str, why: str) -> None:
        self.note(name, "left out", 0.0, why)

    def note(self, name: str, status: int | str, seconds: float, words: str) -> None:
        """Replaces what an earlier call recorded for the step."""
        if self.options.dry_run:
            print(f"{name}: {words}")
            return
        known = read_steps(WORK)
        known.pop(name, None)
        known[name] = {"status": status, "seconds": round(seconds), "command": words}
        (WORK / "steps.json").write_text(json.dumps(known, indent=1))
        log = WORK / f"{name}.log"
        last = (
            log.read_text(errors="replace").splitlines()[-3:]
            if status != "left out" and log.exists()
            else [words]
        )
        print(f"==== {name}: {status}, {seconds:.0f} s", *last, sep="\n", flush=True)
        self.failed |= status not in (0, "left out")
        report(self.options.output)


def hear_interrupts() -> None:
    """For a new process: what a shell runs in the background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait(process: subprocess.Popen, seconds: float) -> int:
    """The exit status; a process that is out of time is asked to end (as by Ctrl-C), then ended."""
    try:
        return process.wait(timeout=max(0.1, seconds))
    except subprocess.TimeoutExpired:
        for sign in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)
                process.wait(timeout=LAST_WORDS)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        return OUT_OF_TIME


def read_steps(work: pathlib.Path) -> dict[str, dict]:
    path = work / "steps.json"
    return json.loads(path.read_text()) if path.exists() else {}


def report(output: pathlib.Path) -> None:
    """In a process of its own: it imports torch, which a step may be about to rebuild for."""
    command = [sys.executable, str(ROOT / "scripts" / "gpu_report.py"), str(WORK), str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"no report: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)


# ---- the build


def build_environment(rehearse: bool) -> dict[str, str]:
    """CUDA is a must where there is a GPU; a rehearsal takes what torch and the machine offer."""
    if not rehearse:
        # Said here, since images with torch often name a dozen in the environment, which takes minutes more.
        cells = {cell for line in gpus() for cell in line.split(", ")[3:4]}
        found = sorted(cell for cell in cells if re.fullmatch(r"\d+\.\d", cell))
        return {"FORCE_CUDA": "1", **({"TORCH_CUDA_ARCH_LIST": ";".join(found)} if found else {})}
    code = "import sys, torch; sys.path.insert(0, 'tests/cuda_build'); import toolkit\n"
    code += "print(torch.version.cuda and toolkit.find_cuda_home() or '')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if home := done.stdout.strip():
        return {"FORCE_CUDA": "1", "TORCH_CUDA_ARCH_LIST": "9.0", "CUDA_HOME": home}
    return {"FORCE_CPU": "1"}


def fingerprint(environment: dict[str, str]) -> str:
    """Of what a build depends on, by content: a copied checkout may have other dates than its objects."""
    found = hashlib.sha256()
    for path in sorted((ROOT / "csrc").rglob("*")) + [ROOT / "setup.py"]:
        if path.is_file():
            found.update(path.relative_to(ROOT).as_posix().encode())
            found.update(path.read_bytes())
    torch = importlib.util.find_spec("torch")
    version = pathlib.Path(torch.origin).with_name("version.py").read_text() if torch and torch.origin else ""
    chosen = {name: os.environ.get(name) for name in ("TORCH_CUDA_ARCH_LIST", "CXX", "CFLAGS")}
    found.update(json.dumps([version, sys.version, sorted(environment.items()), chosen, gpus()]).encode())
    return found.hexdigest()


def is_built(environment: dict[str, str]) -> bool:
    mark = WORK / "built.txt"
    if not mark.exists() or mark.read_text() != fingerprint(environment):
        return False
    return (
        subprocess.run(
            [sys.executable, "-c", "import upsample_ext"], cwd=ROOT, capture_output=True
        ).returncode
        == 0
    )


def why_not(options: argparse.Namespace) -> str:
    """Why nothing can be measured here; empty if it can."""
    if options.dry_run or options.rehearse:
        return ""
    if not gpus():
        return "nvidia-smi shows no NVIDIA GPU; without one there is nothing to measure"
    if options.check:  # torch is not there yet
        return ""
    code = "import torch; torch.cuda.init(); print(torch.cuda.get_device_name())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        shown, error = "; ".join(gpus()), done.stderr.strip()[-300:]
        return f"torch cannot use the GPU that nvidia-smi shows ({shown}): {error}"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if reason := why_not(options):
        print(f"scripts/gpu.sh: {reason}", file=sys.stderr)
        return 2
    if options.check:
        return 0
    if not options.dry_run:
        WORK.mkdir(parents=True, exist_ok=True)
        (WORK / "gpus.txt").write_text("\n".join(gpus() or ["none"]) + "\n")
    status = Steps(options).run()
    print(f"report: {options.output}" if options.dry_run else f"Please send back the folder {options.output}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
