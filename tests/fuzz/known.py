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
    # An edge sample that is repeated has as many terms in its gradient as a long kernel has taps beyond the
    # edge, which are added one after the other; natively by sample, and then the samples.
    Fault(
        "rounding of a repeated edge's gradient",
        """
torch.manual_seed(0)
x, kernel = torch.randn(1, 4, 17, requires_grad=True), torch.randint(-2, 3, (40,)).float()

def gradient(x, ours):
    if ours:
        y = upsample_ext.fixed_conv_transpose1d(x, kernel, dilation=2, padding_mode="replicate")
    else:
        weight = kernel.to(x.dtype).expand(4, 1, 40)
        padded = F.pad(x, (78, 78), mode="replicate")
        y = F.conv_transpose1d(padded, weight, padding=78, groups=4, dilation=2)
    return torch.autograd.grad(y, x, torch.full_like(y, 0.6614))[0].double()

exact = gradient(x.detach().double().requires_grad_(), False)
ours, native = ((gradient(x, mine) - exact).abs().max().item() for mine in (True, False))
assert ours <= 2 * native, (ours, native)
""",
        targets="fixed_conv_transpose1d",
        kinds="^gradient values$",
        code="replicate",
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
