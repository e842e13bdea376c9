"""Runs an experiment on both sides, and says how they differ."""

import warnings

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from ..draw import Draw, Finding, Verdict
from .experiments import ALSO_RIGHT, EXPERIMENTS, OUT_EXPERIMENTS, UNCOMPARED
from .ops import OPS, OUT_OPS


def names() -> list[str]:
    pairs = [(e, op) for e in EXPERIMENTS for op in OPS] + [
        (e, op) for e in OUT_EXPERIMENTS for op in OUT_OPS
    ]
    return [f"{experiment}: {op}" for experiment, op in pairs]


_PROGRAM = """\
from tests.fuzz.autograd import EXPERIMENTS, OPS, OUT_EXPERIMENTS, OUT_OPS

run, op = (EXPERIMENTS | OUT_EXPERIMENTS)[{experiment!r}], (OPS | OUT_OPS)[{op!r}]
for function in (op.native, op.ours):
    try:
        print(run(function, op.inputs()))
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}")
"""


def program(name: str, draw: Draw) -> str:
    experiment, _, op = name.partition(": ")
    return _PROGRAM.format(experiment=experiment, op=op)


def judge(name: str, draw: Draw, stage) -> Verdict:
    experiment, _, op_name = name.partition(": ")
    op = (OPS | OUT_OPS)[op_name]
    run = (EXPERIMENTS | OUT_EXPERIMENTS)[experiment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stage("native")
        native, native_error = _attempt(run, op.native, op.inputs())
        stage("ours")
        ours, error = _attempt(run, op.ours, op.inputs())
    stage("comparison")
    finding = None if experiment in UNCOMPARED else _difference(ours, error, native, native_error)
    if finding and error is None and experiment in ALSO_RIGHT:
        right = _attempt(ALSO_RIGHT[experiment], op.native, op.inputs())
        finding = _difference(ours, None, *right)
    if error is not None and ("INTERNAL ASSERT" in str(error) or isinstance(error, MemoryError)):
        finding = Finding("internal assert", _told(error))
    return Verdict("both raise" if error and native_error else "compared", [finding] if finding else [])


def _attempt(run, function, inputs):
    try:
        return tree_map_only(torch.Tensor, lambda t: t.detach().clone(), run(function, inputs)), None
    except Exception as error:
        return None, error


def _difference(ours, error, native, native_error) -> Finding | None:
    if native_error is None and error is not None:
        return Finding("refused", f"native works, ours {_told(error)}")
    if native_error is not None and error is None:
        return Finding("accepted", f"ours works, native {_told(native_error)}")
    if error is not None:
        if type(error) is type(native_error):
            return None
        return Finding("exception type", f"native {_told(native_error)}, ours {_told(error)}")
    for a, b in zip(tree_leaves(ours), tree_leaves(native), strict=True):
        if (a is None) != (b is None):
            return Finding("is None", f"native {b}, ours {a}")
        if a is None:
            continue
        try:
            close = {"rtol": 1e-4, "atol": 1e-4} if a.dtype == torch.float32 else {}
            torch.testing.assert_close(a, b, equal_nan=True, **close)
        except AssertionError as difference:
            return Finding("values", str(difference).replace("\n", " "))
    return None


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
