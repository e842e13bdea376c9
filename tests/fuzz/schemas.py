"""Calls every op of the dispatcher with arguments made from its schema: it must return or raise.

What the CPU accepts, the meta device must accept too, and return the same shapes, dtypes and strides.
"""

import re
import warnings

import numpy
import torch
from torch.utils._pytree import tree_leaves, tree_map

import upsample_ext  # noqa: F401  (registers the ops)

from . import inputs
from .draw import Draw, Finding, Verdict

EXPECTED = (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError)
# Of C++'s own library, or of an assertion that was thought never to fail.
_CPP_WORDS = re.compile(r"INTERNAL ASSERT|std::|vector::|basic_string|map::at|stoi|bad optional")
LARGEST_RESULT = 2**26  # bytes

HOSTILE_INTEGERS = [-1, 7, 255, 2**31, 2**40, 2**62, 2**63 - 2, 2**63 - 1, -(2**63)]
HOSTILE_FLOATS = ["float('nan')", "float('inf')", "0.0", "-1.0", "1e300", "1e-300", "1e20"]


def names() -> list[str]:
    return sorted(name for name in torch._C._dispatch_get_all_op_names() if name.startswith("upsample_ext::"))


def _overload(name: str):
    op, _, overload = name.removeprefix("upsample_ext::").partition(".")
    return getattr(getattr(torch.ops.upsample_ext, op), overload or "default")


# ---- arguments ---------------------------------------------------------------------------------------------

# What the name of an argument suggests. Of other names any value may come.
SCALARS = {
    "reduction": ["1", "2", "0"],
    "ignore_index": ["-100", "1", "255"],
    "label_smoothing": ["0.0", "0.1", "1.0"],
    "dtype": ["torch.int64", "torch.uint8", "torch.int32"],
    "mode": ["'nearest'", "'nearest-exact'", "'bilinear'", "'bicubic'", "'lanczos'", "'area'"],
}


def draw_arguments(schema, draw: Draw) -> dict[str, str]:
    """Python text by name. Sizes are shared, so that mostly they go together."""
    dtype = draw.pick("dtype", inputs.FLOATING, inputs.OTHER_DTYPES, chance=0.05)
    sizes = _Sizes(draw, {argument.name for argument in schema.arguments})
    return {
        argument.name: _argument(argument, draw.of(argument.name), sizes, dtype)
        for argument in schema.arguments
    }


class _Sizes:
    """Of one call: the shapes and lists that its arguments' names suggest."""

    def __init__(self, draw: Draw, names: set[str]):
        self.n, self.c = draw.pick("N", [1, 2, 3], [0], 0.04), draw.pick("C", [1, 2, 3, 5, 8], [0, 17, 33])
        self.lists = {
            "input_size": [draw.pick(axis, [1, 2, 3, 4, 5, 8], [0, 17, 33], 0.05) for axis in "HW"],
            "output_size": [draw.pick(f"{axis} out", [1, 2, 3, 4, 5, 8, 12], [0, 40], 0.05) for axis in "HW"],
            "kernel_size": [draw.pick(f"kernel {axis}", [1, 2, 3, 4], [0, 7], 0.05) for axis in "HW"],
            "stride": [draw.pick(f"stride {axis}", [1, 2, 3]) for axis in "HW"],
            "padding": [draw.pick(f"padding {axis}", [0, 1]) for axis in "HW"],
            "output_padding": [0, 0],
            "dilation": [draw.pick(f"dilation {axis}", [1, 2]) for axis in "HW"],
            "crops": [0, 0],
        }
        self.lists["sizes"] = self.lists["output_size"]  # of a chain of one stage, all of which is kept
        self.lists["crops"] += self.lists["sizes"]
        if "stride" in names:  # a transposed convolution
            self.lists["output_size"] = [
                (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
                for size, stride, padding, dilation, kernel in zip(
                    *(
                        self.lists[name]
                        for name in ("input_size", "stride", "padding", "dilation", "kernel_size")
                    ),
                    strict=True,
                )
            ]
        self.hostility = 0.4 if draw.happens("hostile lists", 0.1) else 0.03
        self._of_classes = "target" in names

    @property
    def image(self) -> tuple[int, ...]:
        return (self.n, self.c, *self.lists["input_size"])

    def shapes(self, name: str) -> list[tuple[int, ...]]:
        output_size = tuple(max(size, 0) for size in self.lists["output_size"])
        resized, kernel = (self.n, self.c, *output_size), tuple(self.lists["kernel_size"])
        return {
            "grad_output": [(), (self.n, *output_size)] if self._of_classes else [resized],
            "other": [resized, (1, self.c, *output_size), output_size],
            "out": [resized, (0,)],
            "target": [(self.n, *output_size)],
            "weight": [(self.c,)] if self._of_classes else [(self.c, 1, *kernel)],
            "bias": [(self.c,)],
            "kernel_h": [kernel[:1]],
            "kernel_w": [kernel[1:]],
        }.get(name, [self.image])


def _argument(argument, draw, sizes, dtype) -> str:
    kind = str(argument.real_type)
    if kind.startswith("Optional["):
        if draw.happens("none", 0.5):
            return "None"
        kind = kind.removeprefix("Optional[").removesuffix("]")
    if draw.happens("none at all", 0.01):
        return "None"
    if kind == "List[Tensor]":
        count = draw.pick("count", [1, 2, 3], [0, 70], chance=0.05)
        return f"[{', '.join(_tensor(argument.name, draw.of(str(i)), sizes, dtype) for i in range(count))}]"
    if kind.startswith("List["):
        return _list(argument.name, kind, draw, sizes)
    integers = [str(n) for n in HOSTILE_INTEGERS]
    scalars = {
        "bool": (["False", "True"], []),
        "int": (["1", "2", "0", "3"], integers),
        "SymInt": (["1", "2", "0", "3"], integers),
        "float": (["2.0", "1.0", "0.5", "0.1"], HOSTILE_FLOATS),
        "str": (["'bilinear'"], ["''", "'trilinear'"]),
        "ScalarType": (["torch.int64"], ["torch.float32", "torch.bool"]),
    }
    if kind == "Tensor":
        return _tensor(argument.name, draw, sizes, dtype)
    common, hostile = scalars[kind]  # a KeyError here asks for a line above
    return draw.pick("scalar", SCALARS.get(argument.name, common), hostile, chance=0.06)


def _list(name, kind, draw, sizes) -> str:
    """Mostly of the right length, with what its name suggests."""
    common = {"align_corners": 1, "crops": 4}.get(name, 2)
    length = draw.pick("length", [common], [0, 1, 3], chance=0.03)
    if kind == "List[float]":
        items = [draw.pick(str(i), ["2.0", "1.5", "0.5"], HOSTILE_FLOATS) for i in range(length)]
    else:
        suggested = (sizes.lists.get(name, [1, 1]) * 2)[:length]
        items = [draw.pick(str(i), [n], HOSTILE_INTEGERS, sizes.hostility) for i, n in enumerate(suggested)]
    return f"[{', '.join(map(str, items))}]"


def _tensor(name, draw, sizes, dtype) -> str:
    """Of a shape that the argument's name suggests; now and then of any other."""
    image = sizes.image
    others = [image, image[1:], image[2:], (1, *image), (image[1],), (), *sizes.shapes("weight")]
    shape = draw.pick("shape", sizes.shapes(name), others, chance=0.04)
    if name == "target" and shape and draw.happens("classes", 0.95):
        return f"torch.randint({draw.pick('least', [0], [-100, -1])}, {max(image[1], 1)}, {shape})"
    dtype = draw.pick("dtype", [dtype], [*inputs.FLOATING, *inputs.OTHER_DTYPES], chance=0.04)
    code = inputs.tensor(draw, shape, dtype, grad=0.2)
    if draw.happens("vast", 0.02) and len(shape) > 1 and shape[-1] > 0:
        return f"{code}[..., :1].expand({(*shape[:-1], 2**36)})"
    return f"{code}.to('meta')" if draw.happens("meta", 0.02) else code


# ---- verdict -----------------------------------------------------------------------------------------------

_PROGRAM = """\
import numpy, torch, upsample_ext

for device in ("cpu", "meta"):
    torch.manual_seed(0)
    arguments = dict(
{arguments}    )
    if device == "meta":
        arguments = torch.utils._pytree.tree_map_only(torch.Tensor, lambda t: t.to("meta"), arguments)
    try:
        output = torch.ops.upsample_ext.{op}(**arguments)
        print(device, *((t.dtype, t.shape, t.stride()) for t in torch.utils._pytree.tree_leaves(output)))
        if getattr(output, "requires_grad", False):
            output.abs().sum().backward()
    except Exception as error:
        print(device, type(error).__name__, error)
"""


def program(name: str, draw: Draw) -> str:
    arguments = draw_arguments(_overload(name)._schema, draw)
    text = "".join(f"        {argument}={code},\n" for argument, code in arguments.items())
    return _PROGRAM.format(op=name.removeprefix("upsample_ext::"), arguments=text)


def judge(name: str, draw: Draw, stage) -> Verdict:
    op = _overload(name)
    arguments = draw_arguments(op._schema, draw)
    stage("arguments")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _verdict(op, arguments, stage)


def _verdict(op, arguments, stage) -> Verdict:
    findings = []
    on_meta, real = tree_map(_to_meta, _evaluate(arguments)), _evaluate(arguments)
    stage("meta")
    meta, meta_error = _attempt(op, on_meta, findings)
    if any(t.numel() * t.element_size() > LARGEST_RESULT for t in _tensors((meta, on_meta.get("out")))):
        return Verdict("too large to run", findings)
    if _reads_all(op) and any(t.numel() > LARGEST_RESULT for t in _tensors(real)):
        return Verdict("too large to run", findings)
    stage("cpu")
    output, error = _attempt(op, real, findings)
    if error is not None:
        return Verdict(f"{type(error).__name__}", findings)
    if meta_error is not None:
        findings.append(Finding("meta refuses", f"{type(meta_error).__name__}: {meta_error}"))
        return Verdict("value", findings)
    for a, b in zip(_tensors((output, real.get("out"))), _tensors((meta, on_meta.get("out"))), strict=True):
        for what, on_cpu, on_meta_too in (
            ("dtype", a.dtype, b.dtype),
            ("shape", a.shape, b.shape),
            ("strides", a.stride(), b.stride()),
        ):
            if on_cpu != on_meta_too:
                findings.append(Finding(f"meta {what}", f"shape {a.shape}: CPU {on_cpu}, meta {on_meta_too}"))
    differentiable = [t for t in _tensors(output) if t.requires_grad]
    if differentiable:
        stage("backward")
        _attempt(lambda: sum(t.abs().sum() for t in differentiable).backward(), {}, findings)
        return Verdict("value, and backward", findings)
    return Verdict("value", findings)


def _reads_all(op) -> bool:
    """Whether the time goes by the size of an argument, not by the one that is asked for."""
    if "antialias" in {argument.name for argument in op._schema.arguments}:
        return True
    return not any(argument.name in ("output_size", "target", "other") for argument in op._schema.arguments)


def _attempt(function, arguments, findings):
    """The result or the exception, which is a finding where it is none of those expected."""
    try:
        return function(**arguments), None
    except Exception as error:
        words = f"{type(error).__name__}: {error}".split("\n")[0]
        if _CPP_WORDS.search(str(error)):
            findings.append(Finding("C++ exception", words))
        elif not isinstance(error, EXPECTED):
            findings.append(Finding("exception type", words))
        return None, error


def _evaluate(arguments):
    torch.manual_seed(0)
    names = {"torch": torch, "numpy": numpy}
    return {name: eval(code, names) for name, code in arguments.items()}


def _to_meta(x):
    """Of the same strides, which `.to` changes where memory overlaps."""
    if not isinstance(x, torch.Tensor):
        return x
    meta = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
    return meta.requires_grad_(x.requires_grad)


def _tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
