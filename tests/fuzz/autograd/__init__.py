"""What PyTorch can do to a differentiable function, tried on every op of ours and on its native expression.

A table of experiments times a table of ops. Both sides must raise the same type of exception, or give the
same values. To add an experiment, write a function (function, inputs) -> tensors in the file of its kind and
decorate it; to add an op, write a row of `ops.OPS`.
"""

from . import (  # noqa: F401  (their experiments become rows of the table)
    compilers,
    forward_mode,
    functions,
    gradcheck,
    hooks,
    in_place,
    out,
    reverse_mode,
    vmap,
)
from .experiments import ALSO_RIGHT, EXPERIMENTS, OUT_EXPERIMENTS, UNCOMPARED
from .judgement import judge, names, program
from .ops import OPS, OUT_OPS

__all__ = [
    "ALSO_RIGHT",
    "EXPERIMENTS",
    "OPS",
    "OUT_EXPERIMENTS",
    "OUT_OPS",
    "UNCOMPARED",
    "judge",
    "names",
    "program",
]
