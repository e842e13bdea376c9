"""How far each side is from the exact result, in float64.

The unit is the dtype's rounding step at the largest exact value (``eps * max|exact|``), or grey levels for
uint8. The rule: our error is at most twice native's own, or within ``SLACK``; uint8 is within 0.55 levels of
the exact value. Native's error is large where its float32 coordinates are (factors that are no power of two):
a drop-in follows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .contest import Contest, Row

SLACK = {torch.float32: 4.0, torch.float64: 4.0, torch.float16: 1.0, torch.bfloat16: 1.0}
UINT8_BOUND = 0.55


@dataclass
class Verdict:
    unit: str
    errors: dict[str, float]
    """By side; ``nan`` where a result is not a number."""
    wrong: str = ""
    """Why our result is wrong; empty when it is right."""
    notes: list[str] = field(default_factory=list)


def judge(row: Row, contest: Contest) -> Verdict:
    """Runs ours and every rival once and compares them with the reference.

    Rivals that fail here (OpenCV without this type, say) leave the contest; ours and native may not.
    """
    results = {"ours": _tensors(contest.ours()), "native": _tensors(contest.rivals["native"]())}
    notes = []
    for name in [name for name in contest.rivals if name != "native"]:
        try:
            results[name] = _tensors(contest.rivals[name]())
        except Exception as error:
            del contest.rivals[name]
            notes.append(f"{name} leaves: {type(error).__name__}: {str(error)[:200]}")
    unit = "levels" if row.dtype == torch.uint8 else "eps"
    ours = results["ours"]
    for mine, theirs in zip(ours, results["native"], strict=True):
        for what in ("shape", "dtype"):
            if getattr(mine, what) != getattr(theirs, what):
                return Verdict(unit, {}, f"{what} {getattr(mine, what)}, native's is {getattr(theirs, what)}")
        if mine.stride() != theirs.stride():
            return Verdict(unit, {}, f"strides {mine.stride()}, native's are {theirs.stride()}")

    worst = {name: torch.zeros(len(ours), dtype=torch.float64) for name in results}
    largest = torch.zeros(len(ours), dtype=torch.float64)
    for item, exact in contest.reference():
        for index, values in enumerate(exact):
            largest[index] = torch.maximum(largest[index], values.abs().max().cpu())
            for name, tensors in results.items():
                difference = values - tensors[index][item]
                worst[name][index] = torch.maximum(worst[name][index], difference.abs_().max().cpu())
    step = 1.0 if row.dtype == torch.uint8 else torch.finfo(row.dtype).eps * largest
    errors = {name: float((error / step).max()) for name, error in worst.items()}
    bound = UINT8_BOUND if row.dtype == torch.uint8 else max(SLACK[row.dtype], 2 * errors["native"])
    right = errors["ours"] <= bound  # false for nan
    for name in [
        name for name, error in errors.items() if name == "opencv" and not error <= _same(unit, errors)
    ]:
        del contest.rivals[name]
        notes.append(f"{name} leaves: it computes something else (error {errors[name]:.3g} {unit})")
    wrong = "" if right else f"error {errors['ours']:.3g} {unit}, allowed {bound:.3g}"
    return Verdict(unit, errors, wrong, notes)


def _same(unit: str, errors: dict[str, float]) -> float:
    """The error up to which a rival from elsewhere still counts as computing the same function."""
    return 2.5 if unit == "levels" else 64 + 16 * errors["native"]


def _tensors(result: object) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)  # type: ignore[arg-type]
