"""Every public function against its native expression: result, gradients, strides and exceptions.

If the two differ in a bit, both are compared with the expression in float64: our error may be twice native's
plus some roundings of the dtype. Infinities and NaN must be where native has them.
"""

import contextlib
import dataclasses
import re
import types
import warnings

import numpy
import torch
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map

import upsample_ext

from . import exact, inputs, uncut
from .draw import Draw, Finding, Verdict
from .targets import TARGETS, Target

MODES = {
    "": contextlib.nullcontext,
    "torch.no_grad()": torch.no_grad,
    "torch.inference_mode()": torch.inference_mode,
    "torch.autocast('cpu', torch.bfloat16)": lambda: torch.autocast("cpu", torch.bfloat16),
    "torch.autocast('cpu', torch.float16)": lambda: torch.autocast("cpu", torch.float16),
}
GRADIENTS = {
    "as the output": "torch.randn_like(output)",
    "contiguous": "torch.randn(output.shape, dtype=output.dtype)",
    "expanded": "torch.randn((), dtype=output.dtype).expand(output.shape)",
    "channels_last": "torch.randn_like(output).contiguous(memory_format=torch.channels_last)",
    "transposed": "torch.randn(output.mT.shape, dtype=output.dtype).mT",
}
LARGEST_RESULT = 2**26  # bytes: larger results are skipped, to save time
_HUGE = re.compile(r"\*\*|1e20")  # in an argument that may make such a result
OWN = types.SimpleNamespace(**{**vars(F), "interpolate": upsample_ext.interpolate})


def names() -> list[str]:
    return list(TARGETS)


@dataclasses.dataclass
class Case:
    target: Target
    arguments: dict[str, str]
    mode: str
    grad_output: str

    def evaluate(self) -> dict:
        """The arguments, the same each time."""
        torch.manual_seed(0)
        names = {"torch": torch, "numpy": numpy}
        return {name: eval(code, names) for name, code in self.arguments.items()}

    def program(self) -> str:
        """What shows both results, of plain torch."""
        arguments = "".join(f"        {name}={code},\n" for name, code in self.arguments.items())
        return _PROGRAM.format(
            name=self.target.name,
            native=self.target.source,
            arguments=arguments,
            mode=self.mode or "contextlib.nullcontext()",
            grad_output=GRADIENTS[self.grad_output],
        )


_PROGRAM = """\
import contextlib, math, numpy, operator, torch, upsample_ext
import torch.nn.functional as F
from torch.utils._pytree import tree_leaves

{native}

for function in (lambda **a: native(F, **a), upsample_ext.{name}):
    torch.manual_seed(0)
    arguments = dict(
{arguments}    )
    try:
        with {mode}:
            output = function(**arguments)
        print(getattr(output, "dtype", ""), output, *(t.stride() for t in tree_leaves(output)))
        wanted = [t for t in tree_leaves(arguments) if isinstance(t, torch.Tensor) and t.requires_grad]
        if wanted and output.requires_grad:
            torch.manual_seed(1)
            grad_output = {grad_output}
            for grad in torch.autograd.grad(output, wanted, grad_output, allow_unused=True):
                print(grad, grad.stride())
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}")
"""


def draw_case(target: Target, draw: Draw) -> Case:
    arguments = target.arguments(draw)
    if draw.happens("hostile", 0.12):
        name = draw.pick("hostile argument", list(arguments))
        if name != "out" or draw.happens("hostile out", 0.3):
            arguments[name] = draw.pick("hostile value", inputs.HOSTILE)
    mode = draw.pick("mode of torch", [""], list(MODES)[1:], chance=0.15)
    return Case(target, arguments, mode, draw.pick("grad_output", list(GRADIENTS)))


def program(name: str, draw: Draw) -> str:
    return draw_case(TARGETS[name], draw).program()


def judge(name: str, draw: Draw, stage) -> Verdict:
    case = draw_case(TARGETS[name], draw)
    stage("arguments")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case.evaluate()
        return _Comparison(case, stage).verdict()


@dataclasses.dataclass
class Outcome:
    """What a function gave, and the gradients to its arguments; or what it raised."""

    output: object = None
    error: Exception | None = None
    wanted: list = dataclasses.field(default_factory=list)
    gradients: list | None = None
    gradient_error: Exception | None = None
    arguments: dict = dataclasses.field(default_factory=dict)


class _Comparison:
    def __init__(self, case: Case, stage):
        self.case = case
        self.stage = stage
        self.findings: list[Finding] = []
        self.strides: list[Finding] = []  # reported last, so that they hide no other finding

    def verdict(self) -> Verdict:
        if self._too_large():
            return Verdict("too large to compare")
        self.stage("native")
        native = self._outcome(lambda **arguments: self.case.target.native(F, **arguments))
        self.stage("ours")
        ours = self._outcome(self.case.target.ours)
        self.stage("comparison")
        outcome = self._compare(ours, native)
        if self.findings and self.case.target.cuts_numbers and self._equals_uncut(ours):
            return Verdict("native cuts numbers")
        return Verdict(outcome, self.findings + self.strides)

    def _equals_uncut(self, ours) -> bool:
        comparison = _Comparison(self.case, self.stage)
        self.stage("native, uncut")
        comparison._compare(
            ours, self._outcome(lambda **arguments: self.case.target.native(uncut, **arguments))
        )
        return not comparison.findings and not comparison.strides

    def _find(self, kind, words):
        self.findings.append(Finding(kind, words))

    # ---- calls ----

    def _too_large(self) -> bool:
        """By a call on the meta device, which takes no memory, but time: only for cases that may be."""
        if not any(_HUGE.search(code) for code in self.case.arguments.values()):
            return False
        arguments = tree_map(
            lambda x: x.detach().to("meta") if isinstance(x, torch.Tensor) and x.is_floating_point() else x,
            self.case.evaluate(),
        )
        self.stage("native, on meta")
        try:
            with torch.no_grad():
                output = self.case.target.native(F, **arguments)
        except Exception:
            return False
        return any(t.numel() * t.element_size() > LARGEST_RESULT for t in _tensors(output))

    def _outcome(self, function, dtype=None) -> Outcome:
        """Of a function; the gradients to a random grad_output of `dtype`, by default the result's."""
        outcome = Outcome(arguments=self.case.evaluate())
        outcome.wanted = [t for t in _tensors(outcome.arguments) if t.requires_grad]
        try:
            with MODES[self.case.mode]():
                outcome.output = function(**outcome.arguments)
        except Exception as error:
            outcome.error = error
            return outcome
        output = outcome.output
        if isinstance(output, torch.Tensor) and output.requires_grad and outcome.wanted:
            try:
                outcome.gradients = self._gradients(output, outcome.wanted, dtype or output.dtype)
            except Exception as error:
                outcome.gradient_error = error
        return outcome

    def _gradients(self, output, wanted, dtype):
        form = self.case.grad_output
        if form == "channels_last" and output.dim() != 4 or form == "transposed" and output.dim() < 2:
            form = "contiguous"
        if form == "expanded" and dtype == torch.bfloat16:
            form = "contiguous"  # which ends native's convolution with SIGSEGV
        torch.manual_seed(1)
        like = torch.empty_like(output, dtype=dtype)  # random numbers are others in another dtype
        grad_output = eval(GRADIENTS[form], {"torch": torch, "output": like}).to(output.dtype)
        return torch.autograd.grad(output, wanted, grad_output, allow_unused=True)

    def _exact(self, dtype) -> Outcome:
        self.case, case = dataclasses.replace(self.case, mode=""), self.case

        def native(out=None, **arguments):
            if case.target.exact_coordinates:
                arguments = tree_map(
                    lambda x: exact.double(x) if isinstance(x, torch.Tensor) else x, arguments
                )
            return case.target.native(exact, **arguments)

        try:
            return self._outcome(native, dtype)
        finally:
            self.case = case

    # ---- comparison ----

    def _compare(self, ours: Outcome, native: Outcome) -> str:
        if native.error is not None or ours.error is not None:
            if native.error is not None and self._native_bytes_are_broken(ours):
                self._compare_bytes(ours)
                return "native is broken"
            self._compare_errors(ours.error, native.error, "")
            return "both raise"
        self._compare_structure(ours, native)
        outputs = _tensors(ours.output), _tensors(native.output)
        if len(outputs[0]) != len(outputs[1]):
            self._find("structure", f"native {native.output!r}, ours {ours.output!r}")
            return "differ"
        reference = _Once(lambda: self._exact(outputs[1][0].dtype))
        for i, (a, b) in enumerate(zip(*outputs, strict=True)):
            self._compare_tensors("", a, b, lambda i=i: _tensors(reference().output)[i], ours.arguments)
        if not outputs[0] and ours.output != native.output:
            self._find("values", f"native {native.output!r}, ours {ours.output!r}")
        if native.gradients is None and native.gradient_error is None:
            return "equal"
        if any(finding.kind in ("dtype", "shape") for finding in self.findings):
            return "differ"  # and so would their gradients
        if native.gradient_error is not None or ours.gradient_error is not None:
            self._compare_errors(ours.gradient_error, native.gradient_error, "gradient ")
            return "equal, both raise in backward"
        for i, (a, b) in enumerate(zip(ours.gradients or (), native.gradients, strict=False)):
            self._compare_gradient(i, a, b, reference, ours.arguments)
        return "equal, with gradients"

    def _compare_errors(self, ours, native, of):
        target = self.case.target
        if native is None:
            self._find(f"{of}refused", f"native works, ours {_told(ours)}")
        elif ours is None:
            words = "can't allocate memory|Inference tensors cannot be saved|calculation overflowed"
            if re.search(words, str(native)):
                return  # what needs or saves less may do more
            self._find(f"{of}accepted", f"ours works, native {_told(native)}")
        elif "INTERNAL ASSERT" in str(ours) and "INTERNAL ASSERT" not in str(native):
            self._find(f"{of}internal assert", _told(ours))
        elif target.raises and not of:
            if not isinstance(ours, (*target.raises, type(native))):
                self._find("exception type", f"documented {target.raises}, ours {_told(ours)}")
        elif type(ours) is not type(native):
            self._find(f"{of}exception type", f"native {_told(native)}, ours {_told(ours)}")
        elif re.search("can't allocate memory|counted in 64 bits|calculation overflowed", str(ours)):
            return  # natively some of these numbers are cut to 32 bits first
        elif target.same_messages and not of and _comparable(ours) != _comparable(native):
            self._find("message", f"native {_told(native)}, ours {_told(ours)}")

    def _compare_structure(self, ours, native):
        before, after = self.case.evaluate(), ours.arguments
        for name, value in before.items():
            if name != "out" and not all(
                _same_bits(a, b) for a, b in zip(_tensors(value), _tensors(after[name]), strict=True)
            ):
                self._find("input changed", name)
        if ours.arguments.get("out") is not None and ours.output is not ours.arguments["out"]:
            self._find("not out", "the result is not `out`")
        for a, b in zip(_tensors(ours.output), _tensors(native.output), strict=False):
            for name in ("requires_grad", "is_leaf", "layout", "device"):
                if getattr(a, name) != getattr(b, name):
                    self._find(name, f"native {getattr(b, name)}, ours {getattr(a, name)}")
            for name in ("is_inference", "is_neg", "is_conj"):
                if getattr(a, name)() != getattr(b, name)():
                    self._find(name, f"native {getattr(b, name)()}, ours {getattr(a, name)()}")
            if type(a) is not type(b):
                self._find("tensor type", f"native {type(b).__name__}, ours {type(a).__name__}")

    def _compare_gradient(self, i, ours, native, reference, arguments):
        if (ours is None) != (native is None):
            self._find("gradient is None", f"of tensor {i}: native {native}, ours {ours}")
        elif ours is not None:
            self._compare_tensors("gradient ", ours, native, lambda: reference().gradients[i], arguments)

    def _compare_tensors(self, of, ours, native, reference, arguments):
        """`reference` gives the float64 values, and is called only where a bit differs."""
        for name in ("dtype", "shape"):
            if getattr(ours, name) != getattr(native, name):
                self._find(f"{of}{name}", f"native {getattr(native, name)}, ours {getattr(ours, name)}")
                return
        if ours.layout != torch.strided or native.layout != torch.strided:
            return
        if ours.stride() != native.stride():
            words = f"shape {tuple(ours.shape)}: native {native.stride()}, ours {ours.stride()}"
            self.strides.append(Finding(f"{of}strides", words))
        if ours.is_meta or _same_bits(ours, native):
            return
        words = self._difference(ours.detach(), native.detach(), reference, arguments)
        if words:
            kind = "special values" if words.startswith("native has") else "values"
            self._find(of + kind, words)

    def _difference(self, ours, native, reference, arguments) -> str:
        """In words how our values are wrong; empty where they are not."""
        if ours.dtype == torch.bool or not (ours.is_floating_point() or ours.is_complex()):
            return self._discrete_difference(ours, native, reference)
        values = [_wide(t.detach()) for t in _tensors(arguments) if t.is_floating_point() or t.is_complex()]
        true = native
        # The matrices of the reference would spread an infinity over the whole plane.
        if all(t.isfinite().all() for t in values):
            with contextlib.suppress(Exception):  # of what native takes in one dtype only
                true = reference().detach()
        dtype = ours.dtype
        own_range = _wide(true.to(dtype))  # infinite where the dtype ends
        ours, native, true = _wide(ours), _wide(native), _wide(true)
        special = ~(ours.isfinite() & native.isfinite() & own_range.isfinite())
        right = _same(ours, native) | _same(ours, own_range) | (own_range.isfinite() & ours.isfinite())
        wrong = special & ~right
        if wrong.any():
            at = tuple(wrong.nonzero()[0].tolist())
            return f"native has {native[at]} at {at}, ours {ours[at]}"
        mine = (ours - true)[ours.isfinite() & own_range.isfinite()].abs()
        theirs = (native - true)[~special].abs()
        scale = max(self.case.target.scale, *map(_largest, values), _largest(true))
        precision = self._precision(arguments, dtype)
        roundings = 256 if precision.eps == torch.finfo(torch.float64).eps else 8  # of the reference too
        allowed = 2 * _largest(theirs) + roundings * (scale * precision.eps + precision.smallest_normal)
        if _largest(mine) <= allowed:
            return ""
        return f"error {_largest(mine):.3g}, native's {_largest(theirs):.3g}, allowed {allowed:.3g}"

    def _precision(self, arguments, dtype) -> torch.finfo:
        """Of the coarsest dtype that takes part."""
        dtypes = [dtype, *(t.dtype for t in _tensors(arguments) if t.is_floating_point() or t.is_complex())]
        if "autocast" in self.case.mode:
            dtypes.append(torch.bfloat16)
        return max(map(torch.finfo, dtypes), key=lambda precision: precision.eps)

    def _discrete_difference(self, ours, native, reference) -> str:
        if self.case.target.follows_own_resize:
            own = self._outcome(lambda **arguments: self.case.target.native(OWN, **arguments))
            if any(_same_bits(ours, t) for t in _tensors(own.output)):
                return ""
        if ours.dtype == torch.uint8 and self.case.target.has_native_uint8:
            return self._byte_difference(ours, reference())
        at = tuple((ours != native).nonzero()[0].tolist())
        return f"native {native[at]} at {at}, ours {ours[at]}"

    # ---- bytes, which native gets wrong or refuses where a size is 1 ----

    def _native_bytes_are_broken(self, ours) -> bool:
        return (
            self.case.target.has_native_uint8
            and ours.error is None
            and isinstance(ours.output, torch.Tensor)
            and ours.output.dtype == torch.uint8
            and 1 in ours.output.shape[-2:]
        )

    def _compare_bytes(self, ours):
        if words := self._byte_difference(ours.output, self._exact(torch.uint8).output):
            self._find("values", words)

    def _byte_difference(self, ours, true) -> str:
        added = self.case.target.name == "upsample_add"
        error = (ours.double() - (true % 256 if added else true)).abs()
        error = error.minimum(256 - error) if added else error
        return (
            f"error {error.max():.3g} of a byte, allowed 0.55" if error.numel() and error.max() > 0.55 else ""
        )


class _Once:
    """A function that is called when it is first needed."""

    def __init__(self, function):
        self._function = function
        self._result = None

    def __call__(self):
        if self._result is None:
            self._result = self._function()
            if self._result.error is not None:
                raise self._result.error
        return self._result


def _tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _wide(x):
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def _same(a, b):
    return (a == b) | (a.isnan() & b.isnan())


def _largest(x) -> float:
    x = x[x.isfinite()]
    return float(x.abs().max()) if x.numel() else 0.0


def _same_bits(a, b) -> bool:
    """Equal, all NaN being one."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.layout != torch.strided or a.is_meta:
        return True
    if a.numel() > LARGEST_RESULT:
        return True  # expanded: not to be read
    if a.is_floating_point() or a.is_complex():
        return torch.equal(
            _wide(a.detach()).nan_to_num(1.25), _wide(b.detach()).nan_to_num(1.25)
        ) and torch.equal(a.isnan(), b.isnan())
    return torch.equal(a, b)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _comparable(error: Exception) -> str:
    """Without addresses; and what is passed by name natively, ours may hand on by position."""
    return re.sub(r"0x\w+| \(position \d+\)|, (not|but found) .*", "", _told(error))
