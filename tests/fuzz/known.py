"""Faults that are known and not mended yet: what fails for one of these reasons is no news.

Each has a program that fails while the fault is there. When it passes, `test_known_fault` fails: take the row
out, and the kind is watched.
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
        "C1: out= with a negative bit",
        """
memory = torch.zeros(1, 1, 8, 8, dtype=torch.complex64)
upsample_ext.upsample_bilinear2d(torch.ones(1, 1, 4, 4), (8, 8), out=memory.conj().imag)
""",
        targets=r"upsample_bilinear2d$|\.out$|out_with_negative_bit|out_in_complex_memory",
        kinds="crash|refused|C.. exception|internal assert",
        code="_neg_view|conj|out_with_negative_bit|out_in_complex_memory",
    ),
    Fault(
        "C2: overflow of the geometry",
        """
x, w = torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3)
assert raised(upsample_ext.fixed_conv_transpose2d, x, w[0, 0], stride=2**62)
""",
        targets="conv_transpose2d",
        kinds="crash|accepted|message|refused|exception|meta",
        code=r"\d{10}|2\*\*6|2\*\*31|2\*\*40",
    ),
    Fault(
        "C3: lengths of lists",
        """
x, k = torch.zeros(1, 1, 4, 4), torch.ones(3)
op = torch.ops.upsample_ext.separable_conv_transpose2d
assert raised(op, x, k, k, [2, 2], [0], [0, 0], [1, 1], False)
""",
        targets="separable_conv_transpose2d",
        kinds="crash|meta|accepted",
        code=r"\[\d*\]|\[\d+, \d+, \d+\]",
    ),
    Fault(
        "G1: out= in inference mode",
        """
x, out = torch.rand(1, 1, 2, 2), torch.full((1, 1, 4, 4), 5.0)
weight = torch.ones(1, 1, 4, 4, requires_grad=True)
product = (out * weight).sum()
with torch.inference_mode():
    upsample_ext.upsample_bilinear2d(x, (4, 4), out=out)
assert raised(product.backward)
""",
        targets="out_that_backward_needs_written_in_inference_mode",
        kinds="accepted",
    ),
    Fault(
        "V1: integers in the Caffe layer",
        """
x = torch.full((1, 1, 2, 2), 8)
assert raised(upsample_ext.bilinear_conv_transpose2d, x, 2)
""",
        targets="bilinear_conv_transpose2d",
        kinds="accepted|values|dtype",
        code=r"torch\.u?int|torch\.bool",
    ),
    Fault(
        "E1: logits changed in place",
        """
x = torch.zeros(1, 2, 3, 3, requires_grad=True)
logits = x * 1
loss = upsample_ext.upsample_cross_entropy(logits, torch.zeros(1, 6, 6, dtype=torch.int64))
logits.mul_(2)
(loss * 0.5).backward()
""",
        targets="(changed|base).*upsample_cross_entropy",
        kinds="refused",
    ),
    Fault(
        "E3: autocast of fixed kernels",
        """
x, k = torch.ones(1, 1, 3, 3), torch.ones(2)
with torch.autocast("cpu", torch.bfloat16):
    assert upsample_ext.fixed_conv_transpose2d(x, (k, k)).dtype == torch.bfloat16
""",
        targets="fixed_conv_transpose2d|bilinear_conv_transpose2d",
        kinds="dtype",
        code="autocast",
    ),
    Fault(
        "E4: out= under functionalize",
        """
def resize(x):
    return upsample_ext.upsample_bilinear2d(x, (8, 8), out=x.new_empty(1, 1, 8, 8))

torch.func.functionalize(resize)(torch.ones(1, 1, 4, 4))
""",
        targets="out_under_functionalize",
        kinds="refused",
    ),
    Fault(
        "E6: types of exceptions",
        """
x, classes = torch.zeros(1, 2, 3, 3), torch.zeros(1, 6, 6, dtype=torch.int64)
assert raised(upsample_ext.upsample_cross_entropy, x, classes, ignore_index=None) is TypeError
assert raised(upsample_ext.upsample_cross_entropy, x, classes, reduction=["mean"]) is ValueError
assert raised(upsample_ext.conv_transpose2d, x, torch.ones(2, 1, 2, 2), groups=2, stride=2**63) is ValueError
assert raised(upsample_ext.upsample_concat, [x], 2**63) is TypeError
assert raised(upsample_ext.upsample_bilinear2d, x, (4, 4), out="a") is TypeError
""",
        targets="cross_entropy|conv_transpose2d|upsample_concat|upsample_bilinear2d$|out_in_forward_mode|dual_as_out",
        kinds="^exception type",
        words="ignore_index|smoothing|reduction|stride|Expected a value of type|out=|unhashable|no attribute",
    ),
    Fault(
        "E6: results of no size",
        """
x, k = torch.ones(1, 1, 3, 3), torch.ones(2, 2)
assert upsample_ext.fixed_conv_transpose2d(x, k, padding=2).numel() == 0
""",
        targets="fixed_conv_transpose2d|bilinear_conv_transpose2d",
        kinds="refused",
        words="output size .* would be 0|non-empty in all",
    ),
    Fault(
        "numpy sizes",
        """
x, k = torch.ones(1, 1, 3, 3), torch.ones(2, 2)
upsample_ext.fixed_conv_transpose2d(x, k, stride=numpy.int64(2))
""",
        targets="fixed_conv_transpose2d|bilinear_conv_transpose2d|bilinear_kernel|weights|caffe",
        kinds="refused",
        words="to be an int",
    ),
    Fault(
        "strides of gradients",
        """
x, strides = torch.ones(1, 2, 1, 1, requires_grad=True), []
for function in (F.conv_transpose2d, upsample_ext.conv_transpose2d):
    output = function(x, torch.ones(2, 1, 1, 2), groups=2)
    grad_output = torch.ones_like(output).contiguous(memory_format=torch.channels_last)
    strides.append(torch.autograd.grad(output, x, grad_output)[0].stride())
assert strides[0] == strides[1], strides
a, b = (torch.ones(1, 1, 1, 1, requires_grad=True) for _ in range(2))
assert torch.autograd.grad(upsample_ext.upsample_concat([a, b]).sum(), a)[0].stride() == (1, 1, 1, 1)
""",
        targets="",
        kinds="gradient strides",
    ),
    Fault(
        "strides of empty batches",
        """
x = torch.zeros(0, 1, 1, 1)
strides = (F.interpolate(x, (1, 1), mode="bilinear") > 0).stride()
assert upsample_ext.upsample_threshold(x, (1, 1)).stride() == strides, strides
""",
        targets="",
        kinds="^strides",
        words=r"shape \(0,",
    ),
    Fault(
        "std::bad_alloc",
        """
x = torch.ones(1, 1, 1, 1).expand(1, 2, 3, 2**40)
assert raised(upsample_ext.upsample_threshold, x, (1, 1)) is not MemoryError
""",
        targets="",
        kinds="exception type|C.. exception|refused",
        words="bad_alloc",
    ),
    Fault(
        "rounded kernel of a complex128 image",
        """
x = torch.ones(1, 1, 1, 1, dtype=torch.complex128)
assert abs(upsample_ext.bilinear_conv_transpose2d(x, 3).flatten()[0].item() - 4 / 9) < 1e-15
""",
        targets="bilinear_conv_transpose2d",
        kinds="values",
        code="complex128",
    ),
    Fault(
        "meta strides of a cross-entropy's backward",
        """
strides = []
for device in ("cpu", "meta"):
    x = torch.ones(2, 2, 8, 1, device=device)
    gradient = torch.ones(2, 2, 1, 8, device=device).mT
    target = torch.zeros(2, 8, 5, dtype=torch.int64, device=device)
    backward = torch.ops.upsample_ext.upsample_cross_entropy_backward
    result = backward(torch.ones((), device=device), gradient, x, target, None, 1, -100, 0.0, False)
    strides.append(result.stride())
assert strides[0] == strides[1], strides
""",
        targets="upsample_cross_entropy_backward",
        kinds="meta strides|meta shape|meta dtype",
    ),
    Fault(
        "time by the stride",
        """
import time
x = torch.zeros(1, 2, 1, 7, requires_grad=True)
output = upsample_ext.conv_transpose2d(x, torch.ones(2, 1, 1, 4), groups=2, stride=(2**31, 1))
grad_output = torch.ones_like(output)
start = time.monotonic()
torch.autograd.grad(output, x, grad_output)
assert time.monotonic() - start < 2
""",
        targets="conv_transpose2d",
        kinds="time-out",
        code=r"stride=.*(\*\*|\d{9})",
    ),
    Fault(
        "out= forgets a numpy scale factor",
        """
x, factor = torch.arange(9.0).reshape(1, 1, 1, 9), numpy.float32(1.5)
expected = upsample_ext.upsample_bilinear2d(x, scale_factor=factor)
result = upsample_ext.upsample_bilinear2d(x, scale_factor=factor, out=torch.empty_like(expected))
assert torch.equal(result, expected), (result, expected)
""",
        targets="upsample_bilinear2d$",
        kinds="^values",
        code=r"scale_factor=.*(numpy|torch)[\s\S]*out=",
    ),
    Fault(
        "argmax takes numbers for a dtype",
        """
assert raised(upsample_ext.upsample_argmax, torch.ones(1, 1, 1, 1), (1, 1), dtype=3)
""",
        targets="upsample_argmax$",
        kinds="accepted",
        words="expected an integer dtype",
    ),
    Fault(
        "argmax's score has a gradient",
        """
x = torch.ones(1, 1, 1, 1, requires_grad=True)
assert not upsample_ext.upsample_argmax(x, numpy.int64(1), return_score=True)[1].requires_grad
""",
        targets="upsample_argmax$",
        kinds="requires_grad|is_leaf",
        code="return_score",
    ),
    Fault(
        "vmap over nothing",
        """
assert torch.vmap(torch.ops.upsample_ext.channel_sum)(torch.ones(0, 1, 2, 3, 4)).shape == (0, 2)
line = lambda x: upsample_ext.bilinear_conv_transpose2d(x, 2)
assert torch.vmap(line)(torch.ones(0, 1, 2, 3, 4)).shape == (0, 1, 2, 6, 8)
""",
        targets="over_nothing",
        kinds="refused|exception type",
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
    Fault(
        "a kernel made in inference mode",
        """
with torch.inference_mode():
    k = torch.ones(1)
upsample_ext.fixed_conv_transpose2d(torch.ones(1, 1, 1, 1, requires_grad=True), (k, k))
""",
        targets="fixed_conv_transpose2d",
        kinds="refused",
        words="Inference tensors cannot be saved",
    ),
    Fault(
        "bilinear_kernel takes anything for a dtype",
        """
assert raised(upsample_ext.bilinear_kernel, 3, dtype=0) is TypeError
""",
        targets="bilinear_kernel|make_bilinear_weights",
        kinds="exception type|accepted",
        code="dtype=",
    ),
    Fault(
        "out= takes numbers for align_corners",
        """
x, out = torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
assert raised(upsample_ext.upsample_bilinear2d, x, (1, 1), align_corners=0, out=out) is TypeError
""",
        targets="upsample_bilinear2d$",
        kinds="accepted|exception type",
        code="align_corners=(?!True|False)",
    ),
]


def fault(name: str, finding: Finding, program: str) -> Fault | None:
    """The known fault behind a finding, None where it is new."""
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
