"""Puts what gpu.sh has measured into one file: a page to read, and at its end the same as JSON."""

from __future__ import annotations

import csv
import json
import pathlib
import platform
import re
import subprocess
import sys

LAST_LINES = 40


def read_steps(folder: pathlib.Path) -> list[dict]:
    """What ran, with its exit status, seconds, and the end of what it printed."""
    steps = []
    for line in (folder / "steps.tsv").read_text().splitlines():
        name, status, seconds, command = line.split("\t")
        log = folder / f"{name}.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        step = {"name": name, "status": status, "seconds": int(seconds), "command": command}
        step["outcome"] = outcome(name, status, text)
        step["failures"] = re.findall(
            r"^(?:FAILED|ERROR) .*|^========= (?!COMPUTE-SANITIZER|ERROR SUMMARY).*", text, re.M
        )[:LAST_LINES]
        step["end"] = text.splitlines()[-LAST_LINES:] if status not in ("0", "skipped") else []
        steps.append(step)
    return steps


def outcome(name: str, status: str, text: str) -> str:
    """One line: pytest's summary, the sanitizer's count of errors, or the benchmark's."""
    if status == "skipped":
        return "skipped: no compute-sanitizer on this machine"
    found = re.findall(r"^\d+ (?:passed|failed|error|skipped|deselected).* in [\d.]+s.*$", text, re.M)
    found += [
        line.removeprefix("========= ")
        for line in re.findall(r"^========= (?:ERROR|RACECHECK) SUMMARY.*$", text, re.M)
    ]
    found += re.findall(r"^\d+ rows in \d+ s: .*$", text, re.M)
    words = "; ".join(found) or "no summary"
    return words if status == "0" else f"exit status {status}: {words}"


def environment() -> dict[str, str]:
    import torch

    import upsample_ext

    info = upsample_ext.info()
    facts = {
        "commit": commit(),
        "upsample_ext": info.version,
        "torch": info.torch,
        "cuda": str(info.built_for_cuda),
    }
    facts |= {"kernels for": info.cuda_arch_list, "gpus": "; ".join(info.gpus), "compiler": info.compiler}
    facts |= {"cudnn": str(torch.backends.cudnn.version()), "python": platform.python_version()}
    return facts | {"system": platform.platform()}


def commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def write(folder: pathlib.Path, output: pathlib.Path, facts: dict[str, str]) -> None:
    steps = read_steps(folder)
    facts = facts | {"nvidia-smi": "; ".join((folder / "gpus.txt").read_text().split("\n")).strip("; ")}
    rows: list[dict] = []
    if (folder / "benchmark.csv").exists():
        with (folder / "benchmark.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    lines = ["# upsample_ext on a GPU", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    lines += ["", "| step | seconds | outcome |", "|---|--:|---|"]
    lines += [f"| {step['name']} | {step['seconds']} | {step['outcome']} |" for step in steps]
    for step in steps:
        shown = step["failures"] or step["end"]
        if shown:
            lines += ["", f"## {step['name']}: `{step['command']}`", "", *(f"    {line}" for line in shown)]
    lines += ["", "## Benchmark", ""]
    table = folder / "benchmark.md"
    lines.append(table.read_text() if table.exists() else "It did not get as far as a table.")
    everything = {"environment": facts, "steps": steps, "benchmark": rows}
    lines += ["## The same as JSON", "", "```json", json.dumps(everything, indent=1), "```"]
    output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    write(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), environment())
