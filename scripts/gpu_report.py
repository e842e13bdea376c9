"""Collects the findings of gpu.sh in one folder: a page to read, the same as JSON at its end, and a few
files.

    python scripts/gpu_report.py WORK OUTPUT

WORK is where the steps store their findings. OUTPUT gets gpu-result.md, benchmark.csv, profile.csv and
logs.txt, none of them larger than FILE_BYTES, so that the folder is easy to send.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAST_LINES = 40
FILE_BYTES = 15 * 2**20
LOG_BYTES = 2**20
LEFT_OUT = "left out"
OUT_OF_TIME = 124
OPTIONAL = ("expecttest", "pytest_timeout", "triton", "cv2", "flag_gems", "matplotlib")


def read_steps(folder: pathlib.Path) -> list[dict]:
    """What ran, with its exit status, seconds, and the end of what it printed."""
    known = json.loads((folder / "steps.json").read_text()) if (folder / "steps.json").exists() else {}
    steps = []
    for name, step in known.items():
        log = folder / f"{name}.log"
        ran = step["status"] != LEFT_OUT
        text = log.read_text(errors="replace") if ran and log.exists() else ""
        step = {"name": name, **step, "outcome": outcome(step, text)}
        found = re.findall(  # of pytest, of ncu, of a sanitizer
            r"^(?:FAILED|ERROR|SKIPPED|SLOW) .*|^==ERROR== .*"
            r"|^========= (?!COMPUTE-SANITIZER|ERROR SUMMARY).*",
            text,
            re.M,
        )
        step["failures"] = found[:LAST_LINES]
        step["end"] = text.splitlines()[-LAST_LINES:] if step["status"] not in (0, LEFT_OUT) else []
        steps.append(step)
    return steps


def outcome(step: dict, text: str) -> str:
    """One line: the counts of tests, the sanitizer's of errors, or the benchmark's of rows."""
    status = step["status"]
    if status == LEFT_OUT:
        return f"left out: {step['command']}"
    found = re.findall(r"^\d+ (?:passed|failed|error|skipped|deselected).* in [\d.]+s.*$", text, re.M)
    found += [
        line.removeprefix("========= ")
        for line in re.findall(r"^========= (?:ERROR|RACECHECK) SUMMARY.*$", text, re.M)
    ]
    found += re.findall(r"^\d+ rows in \d+ s: .*$", text, re.M)
    found += re.findall(r"^\d+ rows (?:profiled|left for want of time).*$", text, re.M)
    words = "; ".join(found) or ("done" if status == 0 else "no summary")
    if status == OUT_OF_TIME or "no time left" in text:
        return f"cut short: {words}"
    return words if status == 0 else f"exit status {status}: {words}"


def environment() -> dict[str, str]:
    facts = {"commit": commit(), "python": platform.python_version(), "system": platform.platform()}
    facts |= {"cores": str(os.cpu_count()), "nvcc": version_of("nvcc"), "ncu": version_of("ncu")}
    facts["compute-sanitizer"] = version_of("compute-sanitizer")
    missing = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
    facts["not there"] = ", ".join(missing) or "nothing"
    try:
        import torch

        facts |= {"torch": torch.__version__, "cuda of torch": str(torch.version.cuda)}
        facts["cudnn"] = str(torch.backends.cudnn.version())
        import upsample_ext

        info = upsample_ext.info()
    except ImportError as error:  # before the build
        return facts | {"upsample_ext": f"not built: {error}"}
    facts |= {"upsample_ext": info.version, "built for CUDA": str(info.built_for_cuda)}
    return facts | {
        "kernels for": info.cuda_arch_list,
        "gpus": "; ".join(info.gpus),
        "compiler": info.compiler,
    }


def commit() -> str:
    """The commit from git, or from the file commit.txt of a checkout without history."""
    try:
        command = ["git", "describe", "--always", "--dirty"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    except OSError:  # no git on this machine
        pass
    note = ROOT / "commit.txt"
    return note.read_text().strip() if note.exists() else "unknown"


def version_of(program: str) -> str:
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    for path in (program, f"{home}/bin/{program}"):
        try:
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            continue
        found = re.search(r"(?:release |Version |version )(\d[\w.]*)", done.stdout)
        return found.group(1) if found else "of unknown version"
    return "not there"


def benchmark_rows(folder: pathlib.Path) -> list[dict]:
    """The rows of all parts and kinds that were measured; of a row measured twice, the later result."""
    rows: dict[tuple, dict] = {}
    for path in sorted(folder.glob("benchmark*.csv"), key=lambda path: path.stat().st_mtime):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                name = ("op", "input", "to", "variant", "pass", "dtype", "layout", "output", "threads")
                rows[tuple(row.get(column, "") for column in name)] = {"from": path.stem, **row}
    return list(rows.values())


def write(folder: pathlib.Path, output: pathlib.Path, facts: dict[str, str]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    steps, rows = read_steps(folder), benchmark_rows(folder)
    gpus = folder / "gpus.txt"
    facts = facts | {
        "nvidia-smi": "; ".join(gpus.read_text().strip().split("\n")) if gpus.exists() else "not asked"
    }
    lines = ["# upsample_ext on a GPU", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    lines += ["", "| step | seconds | outcome |", "|---|--:|---|"]
    lines += [f"| {step['name']} | {step['seconds']} | {step['outcome']} |" for step in steps]
    for step in steps:
        shown = step["failures"] or step["end"]
        if shown:
            lines += ["", f"## {step['name']}: `{step['command']}`", "", *(f"    {line}" for line in shown)]
    tables = sorted(folder.glob("benchmark*.md"), key=lambda path: path.stat().st_mtime)
    for table in tables:
        lines += ["", f"## {table.stem}", "", table.read_text()]
    if not tables:
        lines += ["", "## Benchmark", "", "It did not get as far as a table."]
    everything = {"environment": facts, "steps": steps, "benchmark": rows}
    lines += ["## The same as JSON", "", "```json", json.dumps(everything, indent=1), "```"]
    (output / "gpu-result.md").write_text(shortened("\n".join(lines) + "\n", FILE_BYTES))
    if rows:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with (output / "benchmark.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
    profile = folder / "profile.csv"
    if profile.exists():
        (output / "profile.csv").write_text(shortened(profile.read_text(errors="replace"), FILE_BYTES))
    (output / "logs.txt").write_text(shortened("\n".join(logs(folder)), FILE_BYTES))


def logs(folder: pathlib.Path) -> list[str]:
    """The steps' own, then those of the processes of the tests that did not end well."""
    parts = []
    for path in [*sorted(folder.glob("*.log")), *sorted(folder.glob("*/*.log"))]:
        text = path.read_text(errors="replace")
        if path.parent == folder or re.search(r"^(?:FAILED|ERROR|!!!|E  )", text, re.M):
            parts += [f"==== {path.relative_to(folder)}", shortened(text, LOG_BYTES)]
    return parts


def shortened(text: str, size: int) -> str:
    """Its beginning and, twice as much, its end."""
    data = text.encode()
    if len(data) <= size:
        return text
    head, tail = data[: size // 3 - 50], data[len(data) - 2 * size // 3 + 50 :]
    gap = f"\n[... {len(data) - len(head) - len(tail)} bytes ...]\n"
    return head.decode(errors="ignore") + gap + tail.decode(errors="ignore")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    write(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), environment())
