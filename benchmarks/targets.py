"""The performance targets of the CUDA kernels, and whether a measured row reaches them.

Written before any GPU had run them. ``python -m benchmarks --device cuda --targets`` lists them on any
machine; a run on a GPU reports missed targets under the row they apply to, and a summary at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from .contest import BACKWARD, FORWARD, Row
from .result import Result

HALF = (torch.float16, torch.bfloat16)
LARGE = 64 * 2**20
"""Calls that move at least this many bytes are held to the speed of a copy: well beyond the L2 cache."""
SMALL = 2**20
"""Smaller calls are launch-bound; they are reported but not held to a target."""

RESIZE = ("interpolate", "upsample_bilinear2d")
DEPTHWISE = ("conv_transpose2d", "fixed_conv_transpose2d", "bilinear_conv_transpose2d")
NOT_YET = "not yet measured"


@dataclass(frozen=True)
class Target:
    what: str
    """The rows it applies to, in words."""
    goal: str
    """The goal for them, in words."""
    concerns: Callable[[Row], bool]
    value: Callable[[Result], float | None]
    """The measured value; None if there is none."""
    limit: float
    at_most: bool = False
    """Whether `limit` is an upper bound instead of a lower bound."""
    moved: int = SMALL
    """Applies only to rows that move at least this many bytes."""

    def reached(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit


def _of_copy(result: Result) -> float | None:
    return result.of_copy


def _over_native(result: Result) -> float | None:
    gain = result.gain("native")
    return gain.median if gain else None


def _extra_mib(result: Result) -> float | None:
    return result.peaks["ours"].extra_mib if "ours" in result.peaks else None


def _resizes(direction: str, half: bool | None = None) -> Callable[[Row], bool]:
    return lambda row: row.op in RESIZE and row.direction == direction and half in (None, row.dtype in HALF)


def _targets() -> Iterator[Target]:
    def native(what: str, times: float, concerns: Callable[[Row], bool]) -> Target:
        return Target(what, f"{times:g}x native", concerns, _over_native, times)

    def copy(what: str, share: float, concerns: Callable[[Row], bool]) -> Target:
        goal = f"{share:.0%} of copy bandwidth"
        return Target(f"{what}, 64 MiB or more", goal, concerns, _of_copy, share, moved=LARGE)

    yield copy("resize, forward", 0.9, _resizes(FORWARD))
    yield native("resize, forward", 1.3, _resizes(FORWARD, half=False))
    yield native("resize, forward, half types", 2, _resizes(FORWARD, half=True))
    yield copy("resize, backward", 0.85, _resizes(BACKWARD))
    yield native("resize, backward", 5, _resizes(BACKWARD))
    yield native("depthwise transposed convolution", 5, lambda row: row.op in DEPTHWISE)
    yield native("argmax", 10, lambda row: row.op == "upsample_argmax")
    yield native("cross-entropy, with its gradient", 10, lambda row: row.op == "upsample_cross_entropy")
    # On the CPU it is 0.2 to 0.6 MiB.
    goal = "at most 1 MiB beyond inputs and result"
    fused = ("upsample_argmax", "upsample_cross_entropy")
    yield Target(" and ".join(fused), goal, lambda row: row.op in fused, _extra_mib, 1.0, at_most=True)


TARGETS = tuple(_targets())


def of_result(result: Result) -> Iterator[tuple[Target, float]]:
    """The targets that apply to a row measured on a GPU, and the values it reached."""
    if result.bandwidth is None:  # measured on the CPU
        return
    for target in TARGETS:
        if target.concerns(result.row) and result.moved_bytes >= target.moved:
            value = target.value(result)
            if value is not None:
                yield target, value


def missed(result: Result) -> list[str]:
    """A line for each target that a row misses."""
    return [
        f"misses {target.goal}: {value:.3g}"
        for target, value in of_result(result)
        if not target.reached(value)
    ]


def summary(results: Sequence[Result]) -> list[tuple[str, str, str]]:
    """What, goal and outcome of every target."""
    lines = []
    for target in TARGETS:
        values = [value for result in results for one, value in of_result(result) if one is target]
        outcome = NOT_YET
        if values:
            reached = sum(target.reached(value) for value in values)
            worst = max(values) if target.at_most else min(values)
            outcome = f"{reached} of {len(values)} rows, worst {worst:.3g}"
        lines.append((target.what, target.goal, outcome))
    return lines
