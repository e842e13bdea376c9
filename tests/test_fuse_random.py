"""Random programs give under `fuse()` what they give without: values, layouts, flags, gradients, errors.

A program is a list of statements that a `Writer` makes up while it runs them natively, so that it knows what
there is to read. It is then run again under `patch()`, whose images are those of `fuse()` bit for bit, and
under `fuse()`. `python tests/test_fuse_random.py 0 10000` runs programs of other seeds.
"""

import contextlib
import random
import sys
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from torch_versions import since_torch

import upsample_ext
from upsample_ext import _lazy_interpolate

pytestmark = since_torch((2, 11), "fuse() does what patch() does")

HALF = (torch.bfloat16, torch.float16)
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "some channels": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "every other column": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    "transposed": lambda x: x.mT.contiguous().mT,
    "expanded": lambda x: x[:1].expand_as(x),
}
VALUES = {
    "random": lambda x: x,
    "ties": lambda x: x.mul(2).round(),
    "constant": torch.zeros_like,
    "with NaN": lambda x: x.masked_fill(x > 2, torch.nan),
    "with infinity": lambda x: x.masked_fill(x > 2, torch.inf).masked_fill(x < -2, -torch.inf),
}
MODES = {
    "": "if True",
    "no_grad": "with torch.no_grad()",
    "enable_grad": "with torch.enable_grad()",
    "inference": "with torch.inference_mode()",
    "autocast": "with torch.autocast('cpu', torch.bfloat16)",
    "saved on CPU": "with torch.autograd.graph.save_on_cpu()",
}


def source(shape, layout, dtype, values, seed, grad):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return LAYOUTS[layout](VALUES[values](x).to(getattr(torch, dtype))).detach().requires_grad_(grad)


def filled(like, seed, dtype=None):
    """A plain tensor of the shape of another."""
    x = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))
    return x.to(dtype or like.dtype)


def labels(like, seed, classes=None):
    g = torch.Generator().manual_seed(seed)
    t = torch.randint(classes or max(1, like.shape[1]), (like.shape[0], *like.shape[2:]), generator=g)
    return t.masked_fill(torch.rand(t.shape, generator=g) < 0.1, -100)


def weighed(x):
    """A sum that depends on which element is where; of finite values only, whose gradients are finite."""
    return (x.float().nan_to_num().clamp(-9, 9) * torch.linspace(1, 2, x.numel()).view(x.shape)).sum()


class Square(torch.autograd.Function):
    """Takes its argument past `__torch_function__`."""

    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y)
        return y * y

    @staticmethod
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


class Writer:
    """Makes up a program; `names` are its variables, with their native values."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.names = {}
        self.lines = []
        self.namespace = environment()
        r = self.random
        for i in range(r.choice([1, 1, 1, 2])):
            shape = (r.choice([1, 2, 2, 3]), r.choice([1, 2, 4, 5]), r.randint(1, 7), r.randint(1, 7))
            dtype = r.choice(["float32"] * 5 + ["bfloat16", "float16", "float64"])
            values = r.choice(["random"] * 6 + list(VALUES))
            layout, grad = r.choice(list(LAYOUTS)), r.random() < 0.5
            self.add(f"x{i} = source({shape}, {layout!r}, {dtype!r}, {values!r}, {r.randrange(99)}, {grad})")
            if r.random() < 0.4:
                self.add(f"h{i} = x{i} * 1")
        self.add(self.resize())
        for _ in range(r.randint(1, 7)):
            self.add(r.choices(*STATEMENTS)[0](self))

    def add(self, statement):
        mode = self.random.choices(list(MODES), [30, 2, 2, 1, 1, 1])[0] if len(self.lines) > 3 else ""
        line = f"{MODES[mode]}: {statement}"
        self.lines.append(line)
        run_line(line, self.namespace)

    def tensor(self, dim=None, floating=True):
        """The name of a variable; the latest are the likeliest."""
        found = [
            name
            for name, value in self.namespace.items()
            if isinstance(value, torch.Tensor)
            and (dim is None or value.dim() == dim)
            and (not floating or value.is_floating_point())
        ]
        return self.random.choices(found, range(1, len(found) + 1))[0] if found else "x0"

    def value(self, name):
        return self.namespace[name]

    def new(self):
        return f"v{len(self.lines)}"

    def seed(self):
        return self.random.randrange(99)

    # ---- statements ----------------------------------------------------------------------------------------

    def resize(self):
        r, x = self.random, self.tensor(dim=4)
        h, w = r.randint(1, 20), r.randint(1, 20)
        if r.random() < 0.6:
            h, w = (n * r.choice([1, 2, 3]) for n in self.value(x).shape[-2:])
        size = r.choice([f"({h}, {w})", f"({h}, {w})", f"[{h}, {w}]", f"{h}", f"torch.Size(({h}, {w}))"])
        size = r.choice(
            [size] * 5 + [f"np.int64({h})", f"torch.tensor({h})", f"(np.int32({h}), {w})", "(4, 0)"]
        )
        factor = r.choice(["2", "2.0", "(2, 3)", "2.5", "(1.5, 3.1)", "np.float32(2.5)", "0.7", "(1.0, 2.0)"])
        corners = r.choice(["", ", align_corners=True", ", align_corners=False"])
        name = self.new()
        call = r.randrange(9)
        if call < 5:
            return f"{name} = F.interpolate({x}, {size}, None, 'bilinear'{corners})"
        if call < 7:
            corners += r.choice(["", "", ", recompute_scale_factor=True"])
            return f"{name} = F.interpolate({x}, scale_factor={factor}, mode='bilinear'{corners})"
        if call < 8:
            return f"{name} = torch.nn.Upsample({size}, mode='bilinear'{corners})({x})"
        return f"{name} = F.interpolate({x}, size={size}, mode={r.choice(['nearest', 'bicubic'])!r})"

    def key(self, shape):
        r, keys = self.random, []
        for n in shape[: r.randint(0, len(shape))]:
            a, b = sorted((r.randint(-n, n), r.randint(-n - 1, n + 1)))
            keys.append(
                r.choice(
                    [":", ":", f"{a}:{b}", f"{a}:", f":{b}", f"{r.randrange(-n, n) if n else 0}", "0", "0:1"]
                    + [f"{a}:{b}:1", "::2", "None", f"np.int64({b})", f"[0, {max(n - 1, 0)}]", f"{n}", "True"]
                    + [f"torch.tensor({a})", f"{a}:np.int64({b})", f"torch.tensor([{a}])", "False"]
                )
                if r.random() < 0.4
                else r.choice([":", f"{a}:{b}", "0", ":", f"{a}:"])
            )
        if r.random() < 0.25:
            keys.insert(r.randint(0, len(keys)), "...")
        return ", ".join(keys) or "..."

    def view(self):
        r, y, name = self.random, self.tensor(), self.new()
        shape = self.value(y).shape
        d = r.randint(-len(shape) - 1, len(shape))
        n = shape[d] if -len(shape) <= d < len(shape) else 1
        a = r.randint(-n, n)
        return f"{name} = " + r.choice(
            [f"{y}[{self.key(shape)}]"] * 8
            + [f"{y}.squeeze()", f"{y}.squeeze({d})", f"{y}.unsqueeze({d})", f"{y}.detach()", f"{y}.data"]
            + [f"{y}.narrow({d}, {a}, 1)", f"{y}.select({d}, {a})", f"{y}.chunk(2, {d})[0]", f"{y}.mT"]
            + [f"{y}.split(1, {d})[-1]", f"{y}.unbind({d})[-1]", f"list({y})[-1]", f"{y}.flatten(1)"]
            + [f"{y}.unbind()[0]", f"next(iter({y}))", f"{y}.permute(*reversed(range({y}.dim())))", y]
            + [f"{y}.contiguous()", f"{y}.float()", f"{y}.to(torch.float32)", f"{y}.to('cpu')", f"{y}.cpu()"]
            + [f"{y}.to({self.tensor()})", f"{y}.bfloat16()", f"{y}.clone()", f"copy.copy({y})"]
            + [f"{y}.view({y}.shape)", f"{y}.reshape(-1)", f"{y}.expand_as({y})", f"{y}.type_as({y})"]
            + [
                f"torch.detach({y})",
                f"torch.squeeze({y}, {d})",
                f"{y}.to({y}.dtype)",
                f"{y}.to(device='cpu')",
            ]
        )

    def activation(self):
        y, name = self.tensor(), self.new()
        d = self.random.choice([1, 1, 1, 0, -3, -1, None])
        return f"{name} = " + self.random.choice(
            [f"{y}.softmax({d})", f"{y}.log_softmax({d})", f"F.softmax({y}, dim={d})", f"F.sigmoid({y})"]
            + [
                f"torch.softmax({y}, {d})",
                f"F.log_softmax({y}, {d})",
                f"{y}.sigmoid()",
                f"torch.sigmoid({y})",
            ]
            + [f"{y}.softmax({d}, torch.float32)", f"{y}.relu()", f"{y} * 2", f"{y}.sin()", f"-{y}"]
        )

    def operand(self, y):
        value = self.value(y)
        number = round(self.random.gauss(0, 0.7), 2)
        return self.random.choice(
            [str(number), "0", "0.5", "0.0", "True", f"np.float32({number})", f"torch.tensor({number})"]
            + [f"filled({y}, {self.seed()})"] * 3
            + [f"filled({y}, {self.seed()}, torch.float32)", f"filled({y}, 1)[:1]", self.tensor(), y, "nan"]
            + [self.tensor(value.dim()), f"{y}.detach()", "1e40", "-inf", f"np.float64({number})", "3"]
        )

    def reader(self):
        r, y, name = self.random, self.tensor(), self.new()
        d = r.choice([1, 1, 1, 1, 0, -3, -1, 2, 7])
        o, keepdim = self.operand(y), r.choice(["", "", ", keepdim=True", ", True"])
        return f"{name} = " + r.choice(
            [
                f"{y}.argmax({d}{keepdim})",
                f"torch.argmax({y}, dim={d})",
                f"{y}.max({d}{keepdim})[{r.randrange(2)}]",
            ]
            + [
                f"torch.max({y}, {d})[1]",
                f"{y}.min({d})[1]",
                f"{y}.topk(1, {d})[1]",
                f"{y}.max()",
                f"{y}.argmax()",
            ]
            + [f"{y} {op} {o}" for op in (">", ">=", "<", "<=", ">", "==", "+", "+", "+", "-", "*")]
            # A tensor on the left of a comparison with a subclass is compared the other way round, by Python
            + [f"{round(r.gauss(0, 1), 2)} {op} {y}" for op in (">", "<=")]
            + [f"{o} {op} {y}" for op in ("+", "+", "-")]
            + [f"torch.add({y}, {o})", f"torch.add({y}, {o}, alpha=2)", f"{y}.gt({o})", f"torch.le({y}, {o})"]
            + [f"torch.cat([{y}, {o}, {y}], {d})", f"torch.cat(({self.tensor(4)}, {y}), 1)"]
            + [f"torch.stack([{y}, {y}])", f"torch.where({y} > 0, {y}, {o})", f"{y}[{y} > 0]", f"{y}.sum()"]
            + [
                f"checkpoint(lambda a: a.sigmoid() * {o}, {y}, use_reentrant={r.random() < 0.5})",
                f"checkpoint(lambda a: F.nll_loss({y}.log_softmax(1), labels({y}, 5)) * a.sum(), {y}, "
                "use_reentrant=False)",
                f"torch.vmap(lambda a: {y} + a)(torch.ones(2, 1))",
                f"torch.func.grad(lambda a: ({y} * a).sum())(torch.ones(()))",
                f"torch.autograd.grad(Square.apply({y}).sum(), x0, create_graph=True)[0]",
            ]
            + [f"torch.maximum({y}, {o})", f"{y}.mean({d})", f"Square.apply({y})", f"{y}.cumsum({d})"]
        )

    def loss(self):
        r, y, name = self.random, self.tensor(dim=4), self.new()
        reduction = r.choice(["mean", "mean", "sum", "none"])
        weight = r.choice(["", "", "", f", torch.linspace(0.1, 1, {self.value(y).shape[1]})"])
        target = f"labels({y}, {self.seed()})"
        wrong = r.choice([f"labels({y}, 1, 9)", f"{target}[:, 1:]", f"{target}.int()", f"filled({y}, 1)"])
        target = wrong if r.random() < 0.1 else target
        more = r.choice(["", "", ", label_smoothing=0.1", ", ignore_index=0"])
        return f"{name} = " + r.choice(
            [f"F.cross_entropy({y}, {target}{weight}, reduction={reduction!r}{more})"] * 4
            + [f"F.nll_loss({y}.log_softmax(1), {target}{weight}, reduction={reduction!r})"]
            + [f"F.nll_loss({y}, {target})", f"F.mse_loss({y}, filled({y}, 3))"]
            + [f"F.binary_cross_entropy_with_logits({y}, filled({y}, 3).sigmoid())"]
        )

    def write(self):
        r, y = self.random, self.tensor()
        o, name = self.operand(y), self.new()
        return r.choice(
            [f"{y}.neg_()", f"{y}[0] = {o}", f"{y}.data.mul_(2)", f"torch.neg(filled({y}, 1), out={y})"]
            + [f"{y} += {o}", f"{y} += filled({y}, 5)", f"{y}.add_({o})", f"{y} *= 2", f"{y}.zero_()"]
            + [f"{y}.detach().neg_()", f"{y}[{self.key(self.value(y).shape)}] = {o}", f"{y}.copy_({o})"]
            + [f"{y}.requires_grad_()", f"{y}.detach_()", f"{name} = F.relu({y}, inplace=True)"]
            + [
                f"{name} = {y}.add_({o})",
                f"{y}.add_(filled({y}, 2))",
                "x0.data.neg_()",
                f"{y}.unsqueeze_(0)",
            ]
            + [f"{name} = {y}.register_hook(lambda g: g * 2)", f"{y}.retain_grad()", f"{y}[0].neg_()"]
            + [f"for part in {y}: part.neg_()", f"{y}.clamp_(-1, 1)", f"{y}.masked_fill_({y} > 0, 0)"]
        )


STATEMENTS = (
    [Writer.resize, Writer.view, Writer.activation, Writer.reader, Writer.loss, Writer.write],
    [2, 6, 2, 6, 2, 3],
)


def environment():
    import copy

    names = {
        "checkpoint": checkpoint,
        "torch": torch,
        "F": F,
        "np": np,
        "copy": copy,
        "inf": float("inf"),
        "nan": float("nan"),
    }
    return names | {"source": source, "filled": filled, "labels": labels, "Square": Square}


def run_line(line, namespace):
    """The type of the exception that it raises."""
    try:
        exec(line, namespace)
    except Exception as error:
        return error
    return None


def run(lines):
    """What there is after the lines, the gradients of the sources, and what each line raised."""
    namespace = environment()
    errors = [run_line(line, namespace) for line in lines]
    tensors = {name: value for name, value in namespace.items() if isinstance(value, torch.Tensor)}
    flags = {name: described(value) for name, value in tensors.items()}
    parts = [value for name, value in tensors.items() if flags[name][-1][0] is True]
    if parts:
        errors.append(run_line("sum(map(weighed, parts)).backward()", {"parts": parts, "weighed": weighed}))
    for name, value in list(tensors.items()):
        if flags[name][-1] == (True, True) and value.grad is not None:
            tensors[f"{name}.grad"] = value.grad
    return flags, tensors, errors


def described(x):
    try:
        history = x.requires_grad, x.is_leaf
    except RuntimeError as error:  # one of many views, and it was written to
        history = str(error)
    return x.shape, x.dtype, x.stride(), x.storage_offset(), x.is_inference(), history


def is_same(x, y, tolerance):
    if not x.is_floating_point():
        return torch.equal(x, y)
    x, y = x.detach().double(), y.detach().double()
    largest = x[x.isfinite()].abs().max().item() if x.isfinite().any() else 0
    return torch.allclose(x, y, tolerance, tolerance * max(1, largest), equal_nan=True)


def fault(lines):
    """What is wrong, or nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with upsample_ext.patch():
            flags, tensors, errors = run(lines)
        with upsample_ext.fuse(), upsample_ext.report() if len(lines) % 3 == 0 else contextlib.nullcontext():
            lazy_flags, lazy_tensors, lazy_errors = run(lines)
    if any("fuse:" in str(error) for error in lazy_errors):
        return None  # documented
    for line, error, lazy_error in zip([*lines, "backward"], errors, lazy_errors, strict=False):
        if type(error) is not type(lazy_error):
            return f"{line}\n  raises {error!r}\n  but lazily {lazy_error!r}"
    if flags != lazy_flags:
        return "\n".join(
            f"{n}: {flags[n]}, lazily {lazy_flags.get(n)}" for n in flags if flags[n] != lazy_flags.get(n)
        )
    if tensors.keys() != lazy_tensors.keys():
        return f"{sorted(tensors)}, lazily {sorted(lazy_tensors)}"
    # Losses of half logits are computed in float32: documented
    tolerance = 0.2 if any("float16" in line for line in lines) else 1e-4
    for name, tensor in tensors.items():
        lazy = lazy_tensors[name]
        if not is_same(tensor, lazy, tolerance):
            difference = (tensor.double() - lazy.double()).abs()
            return f"{name} differs in {(difference > 1e-4).sum()} elements, by {difference.max()}"
    return None


@pytest.fixture(autouse=True)
def small_images_too(monkeypatch):
    monkeypatch.setattr(_lazy_interpolate, "_FEWEST_ELEMENTS", 0)


@pytest.mark.parametrize("seeds", [range(i, i + 50) for i in range(0, 500, 50)], ids=str)
def test_random_programs(seeds):
    for seed in seeds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lines = Writer(seed).lines
        found = fault(lines)
        assert not found, "\n".join([f"seed {seed}:", *lines, found])


def shrunk(lines):
    """The fewest of the lines that show a fault."""
    for i in reversed(range(len(lines))):
        fewer = lines[:i] + lines[i + 1 :]
        if fault(fewer):
            return shrunk(fewer)
    return lines


if __name__ == "__main__":
    _lazy_interpolate._FEWEST_ELEMENTS = 0
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    begin, end = map(int, sys.argv[1:3])
    for seed in range(begin, end):
        lines = Writer(seed).lines
        if fault(lines):
            lines = shrunk(lines)
            print(f"---- seed {seed}", *lines, fault(lines), sep="\n", flush=True)
    print(f"{end - begin} programs")
