"""Random calls, each compared with its native expression. Exit status 1 if a failure is new."""

import argparse
import sys

from . import campaign
from .workers import Worker

SUITES = ("differential", "schemas", "autograd")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, help="default: all three")
    parser.add_argument(
        "--cases", type=int, default=1000, help="of each suite, shared by its targets; an experiment has one"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", metavar="TARGET", help="names that contain this; or that are this, with --case"
    )
    parser.add_argument("--case", type=int, metavar="I", help="this one case of --only")
    parser.add_argument("--known", action="store_true", help="show known faults too, each with a program")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    report, shown, new = campaign.Report(), set(), 0
    with Worker() as worker:
        for suite in [options.suite] if options.suite else SUITES:
            names = chosen_names(suite, options)
            for result in campaign.run(
                worker, suite, names, case_numbers(suite, len(names), options), options.seed
            ):
                report.add(result)
                news = result.new_findings()
                new += len(news)
                for finding in result.verdict.findings if options.known else news:
                    if (result.name, finding.kind) not in shown:
                        shown.add((result.name, finding.kind))
                        show(worker, result, finding)
    print(report)
    return 1 if new else 0


def chosen_names(suite: str, options) -> list[str]:
    names = campaign.suite_of(suite).names()
    if options.only is None:
        return names
    return [
        name for name in names if (name == options.only if options.case is not None else options.only in name)
    ]


def case_numbers(suite: str, targets: int, options) -> range:
    if options.case is not None:
        return range(options.case, options.case + 1)
    return range(1 if suite == "autograd" else -(-options.cases // max(targets, 1)))


def show(worker: Worker, result: campaign.Result, finding) -> None:
    """The first failure of its kind and target, as small as it gets."""
    small = campaign.smallest(worker, result, finding)
    again = next((f for f in small.verdict.findings if f.kind == finding.kind), finding)
    print(f"\n# {result.name}: {finding.kind}: {again.words}\n# {result.again}\n{small.program}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
