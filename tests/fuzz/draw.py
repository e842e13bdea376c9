"""Named random choices, and the verdict on a case made from them.

A case consists only of its choices; each is determined by (seed, name of the target, number of the case),
whatever else is chosen. A choice that is left out is the simplest option: a failing case is shrunk by leaving
choices out.
"""

import dataclasses
import random
from collections.abc import Sequence


class Draw:
    """Chooses by name: at random from `key`, or as recorded in `choices`."""

    def __init__(self, key: str = "", choices: dict[str, int] | None = None, prefix: str = ""):
        self.choices = {} if choices is None else choices
        self._key = key
        self._prefix = prefix

    def of(self, name: str) -> "Draw":
        """The choices of one part, an argument for instance, apart from those of others."""
        return Draw(self._key, self.choices, f"{self._prefix}{name}.")

    def pick(self, name: str, common: Sequence, rare: Sequence = (), chance: float = 0.1):
        """One of `common`, whose first is the simplest, or with this chance one of `rare`."""
        name = self._prefix + name
        options = [*common, *rare]
        if self._key:
            source = random.Random(f"{self._key}/{name}")
            first, count = (len(common), len(rare)) if source.random() < chance and rare else (0, len(common))
            if index := first + source.randrange(count):
                self.choices[name] = index
        return options[min(self.choices.get(name, 0), len(options) - 1)]

    def happens(self, name: str, chance: float) -> bool:
        return self.pick(name, [False], [True], chance)


@dataclasses.dataclass
class Finding:
    """One way in which a case failed: its kind, and what was expected and what came."""

    kind: str
    words: str


@dataclasses.dataclass
class Verdict:
    """What became of a case, in a word or two, and what is wrong with it."""

    outcome: str
    findings: list[Finding] = dataclasses.field(default_factory=list)


def shrink(choices: dict[str, int], fails, attempts: int = 300) -> dict[str, int]:
    """Fewer and smaller choices with which `fails(choices)` still is true."""
    smaller = True
    while smaller:
        smaller = False
        for name in list(choices):
            for index in dict.fromkeys((0, choices[name] // 2, choices[name] - 1)):
                if attempts == 0:
                    return choices
                attempts -= 1
                candidate = {**choices, name: index}
                if index == 0:
                    del candidate[name]
                if fails(candidate):
                    choices, smaller = candidate, True
                    break
    return choices
