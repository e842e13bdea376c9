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
    Fault(
        "strides of empty batches",
        """
x = torch.zeros(0, 1, 1, 1)
strides = (F.interpolate(x, (1, 1), mode="bilinear") > 0).stride()
assert upsample_ext.upsample_threshold(x, (1, 1)).stride() == strides, strides
""",
        targets="",
        kinds="strides",
        words=r"shape \(0,",
    ),
    Fault(
        "the Caffe layer saves its kernel",
        """
x = torch.ones(1, 1, 2, 2, requires_grad=True)
output = upsample_ext.bilinear_conv_transpose2d(x, 2, padding_mode="replicate").sum()
output.backward()
output.backward()
""",
        targets="backward_twice_without_retain_graph: bilinear_conv_transpose2d, replicate",
        kinds="refused",
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
