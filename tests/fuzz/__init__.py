"""Random calls of the package, compared with the native expressions that it promises to equal.

Three suites, each a module with `names()`, `judge(name, draw, stage)` and `program(name, draw)`:

- `differential`: the public functions (`targets.py`), result, gradients, strides and exceptions;
- `schemas`: every op of the dispatcher, with arguments made from its schema;
- `autograd`: what PyTorch can do to a differentiable function.

`python -m tests.fuzz` runs them, each case in a worker process (`workers.py`); tests/test_fuzz.py a share.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # tests import each other by name
