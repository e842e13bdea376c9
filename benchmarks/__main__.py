"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import gc
import importlib.util
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from . import (
    add,
    argmax,
    concat,
    cross_entropy,
    deconv,
    export,
    models,
    natural,
    profile,
    report,
    resample,
    threshold,
)
from .contest import FRESH, Row
from .environment import describe
from .measure import FULL, QUICK, copy_bandwidth
from .memory import Allocation
from .result import Result, run


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    if options.targets:
        print("\n".join(report.target_lines([])))
        return 0
    if options.device == "cuda" and not options.list and not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
        print(f"benchmarks: --device cuda: torch {torch.__version__} ({built}) sees no GPU", file=sys.stderr)
        return 2
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        print("benchmarks: --plot needs matplotlib: pip install matplotlib", file=sys.stderr)
        return 2
    if options.models:
        return models.main(options)
    all_rows: Sequence[Row]
    if options.natural:
        all_rows = natural.cases(options.natural, options.seed, options.case)
    else:
        all_rows = _all_rows(options.device)
    rows = [row for row in all_rows if _wanted(row, options)]
    index, parts = options.part
    rows = rows[index - 1 :: parts]
    if options.list:
        print("\n".join(row.name if row.number is None else f"{row.number} {row.name}" for row in rows))
        return 0
    if not rows:
        print(f"benchmarks: no row matches --filter {options.filter!r}; --list shows all", file=sys.stderr)
        return 2

    device, allocation = torch.device(options.device), Allocation(options.cold)
    if device.type == "cuda":
        # Native then computes the same function in its fastest way.
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = False, True
    if options.profile:
        return 0 if profile.once(rows, device, options.limit) else 1
    bandwidth = copy_bandwidth(device, options.threads[0]) if device.type == "cuda" else None
    environment = describe(device, allocation.description, bandwidth)
    table = report.Table(len(rows) * len(options.threads), device.type)
    if options.natural:
        return _natural(rows, options, device, allocation, environment, table)
    table.head(environment)
    results: list[Result] = []
    interrupted, start = False, time.perf_counter()
    try:
        for result in _measure(rows, options, device, allocation, bandwidth, table):
            results.append(result)
            table.row(result)
            unmeasured = len(rows) * len(options.threads) - len(results)
            if options.limit and time.perf_counter() - start > options.limit and unmeasured:
                print(f"\n{unmeasured} rows left for want of time")
                break
    except KeyboardInterrupt:
        interrupted = True
        print(f"\ninterrupted: {len(results)} of {len(rows) * len(options.threads)} rows")
    table.foot(results)
    if results:
        _write(results, environment, options)
    if interrupted:
        return 130
    return 1 if any(result.wrong for result in results) else 0


def _natural(
    rows: Sequence[Row],
    options: argparse.Namespace,
    device: torch.device,
    allocation: Allocation,
    environment: dict[str, str],
    table: report.Table,
) -> int:
    """--natural: the same for random inputs, which are sorted before they are printed."""
    table.environment(environment)
    results: list[Result] = []
    interrupted = False
    try:
        natural.measure_all(results, rows, device, options.threads, allocation, options.limit, table)
    except KeyboardInterrupt:
        interrupted = True
    print("\n".join(natural.lines(results, options.seed, None if options.all else natural.SHOWN)))
    if results:
        _write(results, environment, options)
    if interrupted:
        return 130
    return 1 if any(result.wrong for result in results) else 0


def _measure(
    rows: Sequence[Row],
    options: argparse.Namespace,
    device: torch.device,
    allocation: Allocation,
    bandwidth: float | None,
    table: report.Table,
) -> Iterator[Result]:
    """Rows on new pages come first: once the heap has grown, new tensors reuse its pages."""
    for fresh in (True, False):
        chosen = [row for row in rows if (row.output == FRESH) == fresh]
        allocation.use_new_pages() if fresh else allocation.keep_pages(0)
        for threads in options.threads:
            for row in chosen:
                yield run(
                    row,
                    device,
                    threads,
                    QUICK if options.quick else FULL,
                    compiled=_compiles(row, options),
                    allocation=allocation,
                    bandwidth=bandwidth,
                    progress=lambda what, row=row: table.progress(row, what),
                )
                gc.collect()
                if device.type == "cuda":
                    torch.cuda.empty_cache()


def _write(results: Sequence[Result], environment: dict[str, str], options: argparse.Namespace) -> None:
    if options.plot and not options.csv:
        options.csv = options.plot / "benchmark.csv"
    if options.csv:
        export.write_csv(options.csv, results, environment)
        print(f"wrote {options.csv}")
    if options.plot:
        from .plot import draw

        for path in draw(options.csv, options.plot):
            print(f"wrote {path}")
    if options.markdown:
        export.write_markdown(options.markdown, results, environment, _command(options))
        print(f"wrote {options.markdown}")


def _command(options: argparse.Namespace) -> str:
    quick = " --quick" if options.quick else ""
    cuda = " --device cuda" if options.device == "cuda" else ""
    threads = " ".join(map(str, options.threads))
    chosen = f" --filter {shlex.quote(options.filter)}" if options.filter else ""
    return f"python -m benchmarks{quick}{cuda}{chosen} --threads {threads}"


def _all_rows(device: str) -> list[Row]:
    families = (resample, deconv, argmax, threshold, cross_entropy, add, concat)
    rows = [row for family in families for row in family.rows()]
    if device == "cpu":
        return rows
    # On CUDA the caching allocator makes "fresh" and "mapped" the same.
    rows = [row for family in families for row in family.gpu_rows()] + [
        row for row in rows if row.output != FRESH
    ]
    named: dict[str, Row] = {}
    for row in rows:  # a batch of 1 or 16 may already be listed as a row
        named.setdefault(row.name, row)
    return list(named.values())


def _wanted(row: Row, options: argparse.Namespace) -> bool:
    return (row.quick or not options.quick or options.natural) and (
        not options.filter or re.search(options.filter, row.name) is not None
    )


def _compiles(row: Row, options: argparse.Namespace) -> bool:
    return not options.no_compile and (
        row.compiled == "quick" or (row.compiled == "full" and not options.quick)
    )


def _part(text: str) -> tuple[int, int]:
    index, parts = map(int, text.split("/"))
    if not 1 <= index <= parts:
        raise ValueError(text)
    return index, parts


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Correctness and speed of every op against PyTorch, torch.compile, OpenCV, and against "
        "the floor: filling the output, reading grad_output. Exits with 1 when a result is wrong.",
        epilog=report.LEGEND,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer rows and rounds: about three minutes on two cores"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--threads",
        type=int,
        nargs="+",
        metavar="N",
        help="thread counts to measure (default: 1 and all cores; all cores under --quick)",
    )
    parser.add_argument(
        "--filter", metavar="REGEX", help="only rows whose name, as --list prints it, matches"
    )
    parser.add_argument("--list", action="store_true", help="print the rows' names and stop")
    parser.add_argument(
        "--natural",
        type=int,
        metavar="N",
        help="instead of the rows, N random natural inputs of all ops beside native alone, sorted by ratio",
    )
    parser.add_argument(
        "--models",
        action="store_true",
        help="instead of the rows, whole public models that are installed: native, patch(), fuse(), compiled",
    )
    parser.add_argument("--seed", type=int, default=0, help="which random inputs (default: 0)")
    parser.add_argument(
        "--case",
        type=int,
        nargs="+",
        default=[],
        metavar="K",
        help="of the random inputs only these; implies --natural",
    )
    parser.add_argument(
        "--all", action="store_true", help=f"print all random inputs, not just the {natural.SHOWN} slowest"
    )
    parser.add_argument(
        "--targets", action="store_true", help="print what the CUDA kernels are meant to reach, and stop"
    )
    parser.add_argument(
        "--part", type=_part, default=(1, 1), metavar="I/N", help="of the rows every N-th from the I-th on"
    )
    parser.add_argument(
        "--limit", type=float, metavar="SECONDS", help="no row starts later; what there is by then is written"
    )
    parser.add_argument(
        "--profile", action="store_true", help="call ours once a row, for Nsight Compute, and measure nothing"
    )
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument(
        "--cold",
        action="store_true",
        help="leave the memory allocator alone, so that large new tensors cost page faults in every row",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every figure as CSV")
    parser.add_argument(
        "--plot", type=Path, metavar="DIR", help="draw the CSV as PNG pictures (needs matplotlib)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the README's tables")
    options = parser.parse_args(arguments)
    if options.threads is None:
        every = torch.get_num_threads()
        options.threads = [every] if options.quick or options.device == "cuda" else sorted({1, every})
    if min(options.threads) < 1:
        parser.error("--threads: a positive number of threads")
    if options.natural is not None and options.natural < 1:
        parser.error("--natural: a positive number of inputs")
    options.natural = len(options.case) or options.natural
    if options.natural and (options.device == "cuda" or options.markdown or options.plot):
        parser.error("--natural measures on the CPU, and writes --csv only")
    return options


if __name__ == "__main__":
    sys.exit(main())
