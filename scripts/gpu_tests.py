"""Runs the tests of one device in many processes, and reports whatever ends them.

A faulty CUDA kernel takes its process's context with it, and every later test in that process fails as well;
a hang or a crash ends it. So the tests are split into portions of one file each, and every portion runs in a
separate process; one that stops early is followed by another for the rest of its portion. tests/run_record.py
records each test as it starts and ends, so that a run that is out of time still reports what it has seen.

    python scripts/gpu_tests.py [--device cuda] [--jobs N] [--limit SECONDS] [--folder FOLDER] [FILE...]
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PORTION = 250
SECONDS_OF_A_TEST = 180
STOP = threading.Event()
# Seconds that a run has to finish its last test and write its summary when it is asked to stop.
GRACE = 10


class Portion:
    """Tests of one file, and the process that runs what is left of them."""

    def __init__(self, folder: pathlib.Path, index: int, file: str, tests: list[str]):
        self.folder, self.index, self.file, self.tests = folder, index, file, tests
        self.results: dict[str, dict] = {}
        self.runs = 0

    def left(self) -> list[str]:
        return [test for test in self.tests if test not in self.results]

    def run(self, device: str, threads: int, end: float) -> None:
        """Until all tests have a result, time is up, or a run gets none of them to start."""
        while self.left() and end - time.monotonic() > GRACE and not STOP.is_set():
            before = len(self.results)
            self._run_once(device, threads, end)
            if len(self.results) == before:
                return

    def _run_once(self, device: str, threads: int, end: float) -> None:
        self.runs += 1
        name = self.folder / f"{self.index:03}-{self.runs}"
        record, wanted, log = (name.with_suffix(suffix) for suffix in (".jsonl", ".txt", ".log"))
        wanted.write_text("\n".join(self.left()) + "\n")
        environment = {
            **os.environ,
            "UPSAMPLE_EXT_DEVICES": device,
            "UPSAMPLE_EXT_TESTS": str(wanted),
            "UPSAMPLE_EXT_RECORD": str(record),
            "UPSAMPLE_EXT_SECONDS": str(max(1.0, end - time.monotonic() - GRACE)),
            "OMP_NUM_THREADS": str(threads),
        }
        with log.open("w") as output:
            process = subprocess.Popen(
                pytest_command(self.file), cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                status = process.wait(timeout=max(1.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
        self.results.update(read_record(record, status, out_of_time=time.monotonic() >= end or STOP.is_set()))


def pytest_command(file: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", "--tb=short", file]
    if importlib.util.find_spec("pytest_timeout"):
        # From a thread, which ends the process: no signal reaches one that waits for the GPU.
        command += [f"--timeout={SECONDS_OF_A_TEST}", "--timeout-method=thread"]
    return command


def read_record(record: pathlib.Path, status: int, out_of_time: bool = False) -> dict[str, dict]:
    """By test: its last line. One that has only started ended the process, unless its time was up."""
    results: dict[str, dict] = {}
    for line in record.read_text().splitlines() if record.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:  # the process ended while it wrote
            continue
        results[entry["test"]] = entry
    for entry in results.values():
        if entry["outcome"] == "started":
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            entry["outcome"] = "cut off" if out_of_time else "failed"
            entry["message"] = "time was up" if out_of_time else f"its process ended during it with {how}"
    return results


def collect(device: str, files: list[str], folder: pathlib.Path) -> tuple[dict[str, list[str]], str]:
    """By file, the ids of its tests on the device; and what pytest said of errors."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    environment = {**os.environ, "UPSAMPLE_EXT_DEVICES": device}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    (folder / "collect.log").write_text(done.stdout + done.stderr)
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if "::" in line and not line.startswith((" ", "ERROR", "FAILED")):
            found.setdefault(line.split("::")[0], []).append(line)
    errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
    return found, "\n".join(errors)


def deal(found: dict[str, list[str]], folder: pathlib.Path) -> list[Portion]:
    """The first portion of every file before the second of any: a run cut short has seen some of all."""
    pieces = [
        (start, file, tests[start : start + PORTION])
        for file, tests in found.items()
        for start in range(0, len(tests), PORTION)
    ]
    pieces.sort(key=lambda piece: piece[0])
    return [Portion(folder, index, file, tests) for index, (_, file, tests) in enumerate(pieces)]


def run_all(portions: list[Portion], device: str, jobs: int, end: float) -> None:
    waiting = collections.deque(portions)
    threads = max(1, (os.cpu_count() or 1) // jobs)

    def work() -> None:
        while not STOP.is_set():
            try:
                portion = waiting.popleft()
            except IndexError:
                return
            portion.run(device, threads, end)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(portions)))]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:  # the tests' processes were told as well
        STOP.set()
        for worker in workers:
            worker.join(timeout=GRACE)


def summary(portions: list[Portion], seconds: float, errors: str = "") -> tuple[list[str], int]:
    """Lines to print, the counts last, and the exit status."""
    results = [result for portion in portions for result in portion.results.values()]
    counts = collections.Counter(result["outcome"] for result in results)
    lines = [f"FAILED {one['test']} - {one['message']}" for one in results if one["outcome"] == "failed"]
    lines += errors.splitlines()
    skipped = collections.Counter(one["message"] for one in results if one["outcome"] == "skipped")
    lines += [f"SKIPPED {count}: {why}" for why, count in skipped.most_common()]
    slow = sorted(results, key=lambda one: -one.get("seconds", 0))[:5]
    lines += [f"SLOW {one.get('seconds', 0):.1f} s {one['test']}" for one in slow]
    restarts = sum(max(0, portion.runs - 1) for portion in portions)
    if restarts:
        lines.append(f"{restarts} processes ended early and were followed by another")
    unseen = sum(len(portion.left()) for portion in portions) + counts["cut off"]
    failed = counts["failed"] + len(errors.splitlines())
    words = [f"{counts['passed']} passed", f"{failed} failed", f"{counts['skipped']} skipped"]
    words += [f"{unseen} not run"] if unseen else []
    lines.append(f"{', '.join(words)} in {seconds:.0f}s")
    return lines, 1 if failed or not counts["passed"] else 124 if unseen else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--jobs", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--limit", type=float, default=24 * 3600, help="seconds that all of it may take")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build" / "gpu" / "tests")
    parser.add_argument("files", nargs="*", default=["tests"])
    options = parser.parse_args(arguments)
    start = time.monotonic()
    options.folder.mkdir(parents=True, exist_ok=True)
    for old in options.folder.iterdir():
        old.unlink()
    found, errors = collect(options.device, options.files, options.folder)
    portions = deal(found, options.folder)
    print(
        f"{sum(map(len, found.values()))} tests in {len(portions)} portions, {options.jobs} at a time",
        flush=True,
    )
    run_all(portions, options.device, options.jobs, start + options.limit)
    lines, status = summary(portions, time.monotonic() - start, errors)
    if not found:
        lines.insert(0, (options.folder / "collect.log").read_text()[-2000:])
    print("\n".join(lines), flush=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
