"""What a comparison says in words: where and why the ways of resizing differ, as it was measured."""

from typing import TYPE_CHECKING

import torch

from upsample_ext.comparison_differences import Difference
from upsample_ext.comparison_ways import ANTIALIAS, CENTRES, CORNERS, QUESTION, REPLICATE, ZEROS, Planes

if TYPE_CHECKING:
    from upsample_ext.compare import Comparison


def explain(c: "Comparison") -> list[str]:
    """The paragraphs of the explanation."""
    return _explain_question(c) if set(c.ways) == set(QUESTION) else _explain_modes(c)


def called(c: "Comparison", name: str) -> str:
    """How a way is called in a sentence."""
    if name in (CORNERS, CENTRES) and set(c.ways) <= set(QUESTION):
        return name
    return {CENTRES: "bilinear", ZEROS: "the transposed convolution"}.get(name, name)


def place(c: "Comparison", difference: Difference) -> str:
    """Where a difference is largest, in words."""
    n, channel, row, column = difference.where
    text = f"row {row}, column {column}"
    if c.input.shape[1] > 1:
        text += f" of channel {channel}"
    if c.input.shape[0] > 1:
        text += f" of image {n}"
    return text


def short(value: float) -> str:
    return f"{value:.4g}"


def _closeness(difference: float) -> str:
    return f"to rounding ({short(difference)})" if difference else "exactly"


# ---- the question: interpolation and transposed convolution ------------------------------------------------


def _explain_question(c: "Comparison") -> list[str]:
    differences = c.differences
    if all(d.equal for d in differences.values()):
        if c.factor == 1:
            return ["No difference: factor 1 gives the input back in all four ways."]
        return [
            "No difference on this input: all four ways agree to rounding. Their weights are not the same, "
            "though (see the tables), so other inputs do differ."
        ]
    return [
        _explain_headline(c),
        _explain_grid(c, differences[CORNERS]),
        _explain_zeros(c, differences[ZEROS]),
        _explain_replicate(differences[REPLICATE]),
    ]


def _explain_headline(c: "Comparison") -> str:
    question = c.difference(CORNERS, ZEROS)
    if question.equal:
        return (
            "interpolate(align_corners=True) and the transposed convolution agree on this input, to rounding."
        )
    reasons = []
    if not c.difference(CORNERS).equal:
        reasons.append("where they sample")
    if not c.difference(ZEROS).equal:
        reasons.append("what they read outside the image")
    return (
        "interpolate(align_corners=True) and the transposed convolution differ by up to "
        f"{short(question.largest)}, at {place(c, question)}, because of {' and '.join(reasons)}."
    )


def _explain_grid(c: "Comparison", grid: Difference) -> str:
    sizes = [(table.in_size, table.out_size) for table in (c.ways[CORNERS].height, c.ways[CORNERS].width)]
    steps = list(dict.fromkeys(f"({i} - 1)/({o} - 1) = {short((i - 1) / (o - 1))}" for i, o in sizes))
    keeps = "keeps the corner samples and " if _keeps_corners(c, grid.rounding) else ""
    start = 0.5 / c.factor - 0.5
    text = (
        f"interpolate(align_corners=True) {keeps}steps (in - 1)/(out - 1) of a sample per output, here "
        f"{' and '.join(steps)}; align_corners=False and the transposed convolution sample at half-pixel "
        f"centres, from {short(start)} in steps of 1/{c.factor}. "
    )
    if grid.equal:
        return text + "On this input that makes no difference."
    return (
        text + f"On this input that makes a difference of up to {short(grid.largest)}, at {place(c, grid)}."
    )


def _keeps_corners(c: "Comparison", rounding: float) -> bool:
    planes = Planes(c.ways[CORNERS])
    ends = [0, -1]
    for group in c._groups():
        planes.turn_to(group)
        output = torch.cat([planes.rows(slice(0, 1)), planes.rows(slice(-1, None))], 1)[..., ends]
        input = c.input.flatten(0, 1)[group][:, ends][..., ends]
        if not torch.allclose(output, input, rtol=0, atol=rounding, equal_nan=True):
            return False
    return True


def _explain_zeros(c: "Comparison", zeros: Difference) -> str:
    if zeros.inside is None:
        inside = "No output lies wholly inside this input."
    elif zeros.inside <= zeros.rounding:
        inside = f"Inside it agrees with align_corners=False {_closeness(zeros.inside)}."
    else:
        inside = f"Inside it differs from align_corners=False by up to {short(zeros.inside)}."
    if zeros.border is None:
        return f"The transposed convolution never reads outside the image here. {inside}"
    if zeros.border <= zeros.rounding:
        border = "On the border it agrees too, on this input"
    else:
        where = f", at {place(c, zeros)}" if zeros.largest == zeros.border else ""
        border = f"On the border it differs by up to {short(zeros.border)}{where}"
    rows, columns = c.ways[ZEROS].height.row_sums(), c.ways[ZEROS].width.row_sums()
    edge = min(float(rows.min()), float(columns.min()))
    corner = float(rows.min() * columns.min())
    return (
        f"The transposed convolution reads zeros outside the image. {inside} {border}: there its weights sum "
        f"to as little as {short(edge)} on an edge and {short(corner)} at a corner, which is what becomes "
        "of a constant 1."
    )


def _explain_replicate(replicate: Difference) -> str:
    if replicate.equal:
        return (
            'To make them equal, repeat the edge: with padding_mode="replicate" the transposed convolution '
            f"equals interpolate(align_corners=False) everywhere, {_closeness(replicate.largest)}."
        )
    return (
        'With padding_mode="replicate" the transposed convolution repeats the edge; on this input it is '
        f"still up to {short(replicate.largest)} from interpolate(align_corners=False), more than rounding."
    )


# ---- the modes ---------------------------------------------------------------------------------------------


def _explain_modes(c: "Comparison") -> list[str]:
    done = "Shrunk" if c.shrink else "Enlarged"
    others = {name: d for name, d in c.differences.items() if not d.equal}
    if not others:
        return [f"{done} by {c.factor}, all of these ways agree on this input, to rounding."]
    name, most = max(others.items(), key=lambda item: item[1].largest)
    headline = (
        f"{done} by {c.factor}, {called(c, name)} differs most from {called(c, c.reference)}, the reference: "
        f"by up to {short(most.largest)}, at {place(c, most)}."
    )
    return [headline, *(_explain_mode(c, name) for name in c.ways)]


def _explain_mode(c: "Comparison", name: str) -> str:
    does = _reads(c, name) if c.shrink else _DOES[name]
    return f"{does}{_beyond(c, name)}{_apart(c, name)}"


# What a way does that enlarges
_DOES = {
    "nearest": "nearest repeats samples: no new values, hard edges.",
    "nearest-exact": "nearest-exact repeats samples: no new values, hard edges.",
    CORNERS: "align_corners=True keeps the corner samples and stretches what is between.",
    CENTRES: "bilinear blends the two nearest samples of each axis, at half-pixel centres.",
    "bicubic": "bicubic weighs four samples of each axis, some negatively: sharper, with overshoot.",
    "area": "area averages the samples that an output covers.",
    ANTIALIAS: "antialias widens the filter of bilinear only where an image shrinks.",
    "bicubic-antialias": "bicubic-antialias weighs four samples of each axis, a little softer than bicubic.",
    ZEROS: "The transposed convolution reads zeros outside the image: its border fades.",
    REPLICATE: "The transposed convolution with its edge repeated has no border.",
}


def _reads(c: "Comparison", name: str) -> str:
    """What a way reads that shrinks: a sample without a weight in any output might as well not be there."""
    way = c.ways[name]
    taps = way.width.most_taps()
    share = way.height.share_read() * way.width.share_read()
    read = "every sample counts" if share == 1 else f"{100 * share:.3g}% of the samples are read"
    samples = f"up to {taps} samples" if taps > 1 else "one sample"
    return f"{called(c, name)} takes {samples} of each axis: {read}."


def _beyond(c: "Comparison", name: str) -> str:
    """By how much values leave the range of the input's."""
    low, high = c.ranges[name]
    bottom, top = (float(v) for v in torch.aminmax(c.input))
    if not (low < bottom - c._rounding or high > top + c._rounding):
        return ""
    return f" Values from {short(low)} to {short(high)}, the input's from {short(bottom)} to {short(top)}."


def _apart(c: "Comparison", name: str) -> str:
    """How far a way is from the reference."""
    if name == c.reference:
        return ""
    if (name, "nearest") in c._pairs and c.difference(name, "nearest").equal:
        return " Equal to nearest here."
    difference = c.difference(name)
    reference = called(c, c.reference)
    if difference.equal:
        return f" Equal to {reference} here."
    return f" Up to {short(difference.largest)} from {reference}."
