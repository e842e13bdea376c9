"""The error of each side against the exact result, in float64.

The unit is the dtype's rounding step at the largest exact value (``eps * max|exact|``), or grey levels for
uint8. The rule: our error is at most twice native's own, or within ``SLACK``; uint8 is within 0.55 levels of
the exact value. Native's error is large if that of its float32 coordinates is (factors that are not powers of
two); a drop-in has to follow them.

The error of a label map or a mask is measured on the exact values: of a label by how much its exact logit is
below the best, of a bit of a mask by how far its exact logit is from the threshold. So a tie that rounding
decides is not an error, but a wrong decision is; a note says how many decisions differ from the exact ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .contest import Contest, Distance, Exact, Row

SLACK = {torch.float32: 4.0, torch.float64: 4.0, torch.float16: 1.0, torch.bfloat16: 1.0}
UINT8_BOUND = 0.55


@dataclass
class Verdict:
    unit: str
    errors: dict[str, float]
    """By side; ``nan`` where a result is not a number."""
    wrong: str = ""
    """Why our result is wrong; empty if it is right."""
    notes: list[str] = field(default_factory=list)


def judge(row: Row, contest: Contest) -> Verdict:
    """Runs ours and every rival once and compares them with the reference.

    Rivals that fail here (OpenCV without this type, say) are dropped; ours and native must not fail.
    """
    results = {"ours": tensors(contest.ours()), "native": tensors(contest.rivals["native"]())}
    notes = []
    for name in [name for name in contest.rivals if name != "native"]:
        try:
            results[name] = tensors(contest.rivals[name]())
        except Exception as error:
            del contest.rivals[name]
            notes.append(f"{name} leaves: {type(error).__name__}: {str(error)[:200]}")
    unit = "levels" if row.dtype == torch.uint8 else "eps"
    ours = results["ours"]
    for mine, theirs in zip(ours, results["native"], strict=True):
        for what in ("shape", "dtype"):
            if getattr(mine, what) != getattr(theirs, what):
                return Verdict(unit, {}, f"{what} {getattr(mine, what)}, native's is {getattr(theirs, what)}")
        if contest.native_strides and mine.stride() != theirs.stride():
            return Verdict(unit, {}, f"strides {mine.stride()}, native's are {theirs.stride()}")

    dtype = contest.compared_in or row.dtype
    errors, decisions = _errors(contest, results, 1.0 if unit == "levels" else torch.finfo(dtype).eps)
    if any(decisions.values()):
        total, ours_off, native_off = ours[0].numel(), decisions["ours"], decisions["native"]
        notes.append(f"{ours_off} of {total} decisions are not float64's (native: {native_off}): near ties")
    if unit == "levels":
        bound = max(UINT8_BOUND, errors["native"]) if contest.native_levels else UINT8_BOUND
    else:
        bound = max(SLACK[dtype], 2 * errors["native"])
    right = errors["ours"] <= bound  # false for nan
    elsewhere = [name for name in ("opencv", "pillow", "vision", "chunked", "gems") if name in errors]
    for name in [name for name in elsewhere if not errors[name] <= _same(unit, errors)]:
        del contest.rivals[name]
        notes.append(f"{name} leaves: it computes something else (error {errors[name]:.3g} {unit})")
    wrong = "" if right else f"error {errors['ours']:.3g} {unit}, allowed {bound:.3g}"
    return Verdict(unit, errors, wrong, notes)


def _errors(
    contest: Contest, results: dict[str, tuple[Tensor, ...]], eps: float
) -> tuple[dict[str, float], dict[str, int]]:
    """By side: the largest error of its results, in units of ``eps`` of the largest exact value (grey levels
    where eps is 1), and how many decisions are not the exact ones."""
    measure = contest.distances or _differences
    found: dict[str, list[tuple[Distance, ...]]] = {name: [] for name in results}
    for item, exact in contest.reference():
        for name, tensors in results.items():
            found[name].append(tuple(measure(exact, tuple(tensor[item] for tensor in tensors))))
    errors, decisions = {}, {}
    for name, items in found.items():
        worst = []
        for distances in zip(*items, strict=True):  # one result at a time, over all batch items
            step = eps * max(distance.scale for distance in distances) if eps != 1 else 1.0
            error = torch.tensor([distance.error for distance in distances]).max()  # keeps nan
            worst.append(float(error) / step if step else float(error))
        errors[name] = float(torch.tensor(worst).max())
        decisions[name] = sum(distance.decisions for distances in items for distance in distances)
    return errors, decisions


def _differences(exact: Exact, results: tuple[Tensor, ...]) -> Iterator[Distance]:
    for values, result in zip(exact, results, strict=True):
        yield Distance(float((values - result).abs_().max()), float(values.abs().max()))


def _same(unit: str, errors: dict[str, float]) -> float:
    """The error up to which another rival counts as computing the same function."""
    return 2.5 if unit == "levels" else 64 + 16 * errors["native"]


def tensors(result: object) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)  # type: ignore[arg-type]
