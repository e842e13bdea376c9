"""Writes results as CSV and as markdown tables (those of docs/benchmarks.md)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from . import targets
from .measure import Quantiles
from .report import MEMORY_SIDES, disturbance, layout, megabytes, milliseconds, percent, times, values
from .result import GPU_RIVALS, RIVALS, Result


def write_csv(path: Path, results: Sequence[Result], environment: dict[str, str]) -> None:
    """One line per result; the environment is repeated in columns, so that files of many machines can be
    joined."""
    records = [_record(result) | environment for result in results]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def _record(result: Result) -> dict[str, object]:
    row = result.row
    record: dict[str, object] = {
        "op": row.op,
        "input": row.input,
        "to": row.to,
        "variant": row.variant,
        "pass": row.direction,
        "dtype": row.dtype_name,
        "layout": row.layout,
        "output": row.output,
        "threads": result.threads,
    }
    if row.number is not None:
        record["case"] = row.number
    rivals = RIVALS + (GPU_RIVALS if result.on_gpu else ())
    for side in ("ours", *rivals, "floor", *(["copy"] if result.on_gpu else [])):
        record |= _spread(f"{side}_ms", result.time(side), 1e3)
    for rival in rivals:
        record |= _spread(f"{rival}_over_ours", result.gain(rival))
    record |= _spread("ours_over_floor", result.over_floor())
    record |= _spread("native_over_floor", result.over_floor("native"))
    floor = result.time("floor")
    record["moved_mib"] = _short(result.moved_bytes / 2**20)
    record["of_copy"] = _short(result.of_copy)
    record["targets_missed"] = "; ".join(targets.missed(result))
    record["floor_gb_per_s"] = _short(result.floor_bytes / floor.median / 1e9) if floor else ""
    record["page_faults"] = result.page_faults
    record["result_mib"] = _short(ours.result / 2**20 if (ours := result.peaks.get("ours")) else None)
    for side in MEMORY_SIDES:
        peak = result.peaks.get(side)
        record[f"{side}_peak_mib"] = _short(peak.mib if peak else None)
        record[f"{side}_extra_mib"] = _short(peak.extra_mib if peak else None)
    record["error_unit"] = result.verdict.unit
    for side in ("ours", "native", "chunked", "opencv"):
        record[f"{side}_error"] = _short(result.verdict.errors.get(side))
    record["wrong"] = result.wrong
    record["rounds"] = len(result.samples.seconds["ours"]) if result.samples else 0
    record["neighbours"] = _short(result.neighbours)
    record["notes"] = "; ".join(result.notes)
    return record


def _spread(name: str, quantiles: Quantiles | None, scale: float = 1) -> dict[str, str]:
    low, median, high = (_short(value * scale) for value in values(quantiles)) if quantiles else ("", "", "")
    return {name: median, f"{name}_q20": low, f"{name}_q80": high}


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def write_markdown(path: Path, results: Sequence[Result], environment: dict[str, str], command: str) -> None:
    """The markdown tables: the headline rows, how many times faster than each rival, the time over the floor,
    and the memory of fused ops; for a GPU also the targets."""
    shown = [result for result in results if result.row.headline and result.samples]
    fused = [result for result in shown if result.row.memory]
    others = [result for result in shown if not result.row.memory]
    on_gpu = "gpu" in environment
    rivals = {"native": "native", "compile": "torch.compile"}
    rivals |= {"deterministic": "deterministic"} if on_gpu else {}
    measures: dict[str, Measure] = {"x floor": lambda result: times(result.over_floor())}
    if on_gpu:
        measures["of copy"] = lambda result: percent(result.of_copy)
    lines = []
    if others:
        lines += _markdown_table(others, rivals if on_gpu else {**rivals, "opencv": "OpenCV"}, measures)
    if fused:
        rivals = {"native": "native", "chunked": "chunked", **rivals}
        names = {"ours": "ours", **rivals}
        measures |= {
            f"MiB, {names[side]}": lambda result, side=side: megabytes(result, side) for side in MEMORY_SIDES
        }
        lines += _markdown_table(fused, rivals, measures)
    threads = ", ".join(sorted({str(result.threads) for result in results}))
    machine = environment.get("gpu", environment["cpu"])
    where = f"level {environment['level']}, torch {environment['torch']}"
    lines += [
        "How many times faster than each rival: medians of ratios taken side by side in one process by "
        f"`{command}`; {threads} thread(s), {machine}, {where}, huge pages {environment['huge_pages']}, "
        f"{environment['date']}.",
        "x floor: our time over that of filling the output (forward), reading grad_output (backward), or "
        "copying the logits (cross-entropy).",
        "MiB: peak memory of one call beyond the inputs and the result. chunked: native, a few rows of the "
        "image at a time, or into memory that is there.",
        "out=: preallocated; mapped: a new tensor on memory the process holds; fresh: on new pages.",
    ]
    if on_gpu:
        lines += [
            f"of copy: the share of the GPU's copy bandwidth ({environment['copy_gb_per_s']} GB/s, read and "
            "written bytes counted) at which we move inputs and results, or gradients.",
            "",
            "| for | target | outcome |",
            "|---|---|---|",
            *(f"| {' | '.join(line)} |" for line in targets.summary(results)),
            "",
        ]
    if warning := disturbance([result for result in results if result.row.headline]):
        lines.append(f"**{warning}.**")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


Measure = Callable[[Result], str]


def _markdown_table(
    results: Sequence[Result], rivals: dict[str, str], measures: dict[str, Measure]
) -> list[str]:
    names = ["op", "input", "pass", "ours, ms", *rivals.values(), *measures]
    lines = [f"| {' | '.join(names)} |", "|---|---|---|" + "--:|" * (len(names) - 3)]
    for result in results:
        row, ours = result.row, result.time("ours")
        kind = " ".join(filter(None, [row.dtype_name, "" if layout(row) == "NCHW" else "NHWC", row.variant]))
        how = f"forward, {row.output}" if row.direction == "forward" else row.direction
        cells = [f"`{row.op}`", f"{row.input} {_sign(row.to)}, {kind}", how]
        cells.append(milliseconds(ours).split()[0] if ours else "")
        cells += [f"{times(gain)}x" if (gain := result.gain(rival)) else "" for rival in rivals]
        cells += [measure(result) for measure in measures.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _sign(to: str) -> str:
    return to if to.startswith("x") else f"to {to}"
