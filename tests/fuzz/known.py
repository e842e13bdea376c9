"""Known faults that are not fixed yet: a failure for one of these reasons is not new.

Each has a program that fails while the fault exists. When it passes, `test_known_fault` fails: remove the
row, and failures of that kind are reported again.
"""

import dataclasses
import re

from .draw import Finding


@dataclasses.dataclass
class Fault:
    name: str
    program: str  # after IMPORTS
    # Regular expressions of what is of this kind: the target, kind and words of a finding, its program.
    targets: str
    kinds: str
    words: str = ""
    code: str = ""


IMPORTS = """
import numpy, torch, upsample_ext
import torch.nn.functional as F

def raised(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except Exception as error:
        return type(error)

"""

KNOWN: list[Fault] = [
    # Native multiplies the empty input by a number, and views the product in the result's shape.
    Fault(
        "strides of an empty convolution",
        """
x, weight = torch.zeros(5, 8, 7, 0).permute(3, 2, 1, 0), torch.zeros(7, 1, 3, 3)
strides = F.conv_transpose2d(x, weight, groups=7, padding=1).stride()
assert upsample_ext.conv_transpose2d(x, weight, groups=7, padding=1).stride() == strides, strides
""",
        targets="conv_transpose2d",
        kinds="^strides$",
        words=r"shape \(0,",
    ),
]


def fault(name: str, finding: Finding, program: str) -> Fault | None:
    """The known fault behind a finding, None if it is new."""
    for row in KNOWN:
        patterns = (
            (row.targets, name),
            (row.kinds, finding.kind),
            (row.words, finding.words),
            (row.code, program),
        )
        if all(re.search(pattern, text) for pattern, text in patterns):
            return row
    return None
