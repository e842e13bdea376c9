"""Runs cases, distinguishes new failures from known ones, prints each as a program, and counts them."""

import collections
import dataclasses
import importlib
from collections.abc import Iterable, Iterator

from . import known
from .draw import Draw, Finding, Verdict, shrink
from .workers import Worker


def suite_of(suite: str):
    return importlib.import_module(f".{suite}", __package__)


@dataclasses.dataclass
class Result:
    suite: str
    name: str
    seed: int
    case: int
    choices: dict[str, int]
    verdict: Verdict

    @property
    def program(self) -> str:
        return suite_of(self.suite).program(self.name, Draw(choices=self.choices))

    @property
    def again(self) -> str:
        """The command that runs this case alone."""
        which = f"--suite {self.suite} --only '{self.name}'"
        return f"python -m tests.fuzz {which} --seed {self.seed} --case {self.case}"

    def new_findings(self) -> list[Finding]:
        return [f for f in self.verdict.findings if known.fault(self.name, f, self.program) is None]

    def told(self, finding: Finding) -> str:
        return f"{self.name}: {finding.kind}: {finding.words}\n{self.again}\n{self.program}"


def run(
    worker: Worker, suite: str, names: Iterable[str], cases: Iterable[int], seed: int
) -> Iterator[Result]:
    for name in names:
        for case in cases:
            draw = Draw(f"{seed}/{name}/{case}")
            suite_of(suite).program(name, draw)  # which makes the choices
            yield Result(suite, name, seed, case, draw.choices, worker.judge(suite, name, draw.choices))


def smallest(worker: Worker, result: Result, finding: Finding) -> Result:
    """The same kind of failure, for the same known reason or none, with as few choices as are needed."""

    def tried(choices):
        verdict = worker.judge(result.suite, result.name, choices)
        return dataclasses.replace(result, choices=choices, verdict=verdict)

    def identity(of: Result, finding: Finding):
        fault = known.fault(of.name, finding, of.program)
        return finding.kind, fault and fault.name

    def fails(choices):
        candidate = tried(choices)
        return any(identity(candidate, f) == wanted for f in candidate.verdict.findings)

    wanted = identity(result, finding)
    attempts = 40 if finding.kind in ("crash", "time-out") else 300  # the former start a worker each time
    return tried(shrink(result.choices, fails, attempts))


class Report:
    """Cases by target and outcome, failures by target and kind."""

    def __init__(self):
        self._outcomes = collections.defaultdict(collections.Counter)
        self._failures = collections.Counter()

    def add(self, result: Result) -> None:
        target = result.name.partition(": ")[0] if result.suite == "autograd" else result.name
        self._outcomes[f"{result.suite}: {target}"][result.verdict.outcome] += 1
        for finding in result.verdict.findings:
            fault = known.fault(result.name, finding, result.program)
            self._failures[target, finding.kind, fault.name if fault else "NEW"] += 1

    def __str__(self) -> str:
        lines = [""]
        for target, outcomes in self._outcomes.items():
            told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
            lines.append(f"{target:<60}{sum(outcomes.values()):>6}  {told}")
        lines += ["", f"failures: {sum(self._failures.values())}"]
        for (target, kind, fault), count in sorted(self._failures.items(), key=lambda item: item[0][::-1]):
            lines.append(f"{count:>6}  {fault:<28}  {kind:<24}  {target}")
        return "\n".join(lines)
