"""What a benchmark row is: one op on one shape, and the sides that compute the same thing.

A ``Row`` is only a description; its ``make`` builds the ``Contest`` (tensors and callables) when it is the
row's turn, so that one row's memory is freed before the next one starts. The files of the ops (resample.py,
deconv.py, argmax.py, threshold.py, cross_entropy.py, add.py, concat.py) declare rows; ``contest`` below turns
two functions, ours and PyTorch's, into the sides of one pass.

To add an op: write a function that returns ``contest(...)`` for a row, and list its rows in the file's
``rows()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType

import torch
from torch import Tensor
from torch._functorch import config as functorch_config

Side = Callable[[], object]
Function = Callable[..., Tensor]

FORWARD, BACKWARD, BACKWARD_WEIGHT, BOTH = "forward", "backward", "backward weight", "both"
CONTIGUOUS, CHANNELS_LAST = "contiguous", "channels_last"

# Devices on which native's gradients are not deterministic by default: deterministic native is then a rival
# too.
NOT_DETERMINISTIC_ON = frozenset(("cuda",))

# Where a result is written. OUT: a preallocated tensor. MAPPED: a new tensor on pages the process already
# holds. FRESH: a new tensor on new pages, which the kernel faults in one by one.
OUT, MAPPED, FRESH = "out=", "mapped", "fresh"


@dataclass(frozen=True)
class Row:
    """One line of the table. ``make(row, device)`` builds its sides."""

    op: str
    shape: tuple[int, ...]
    to: str
    """The output size, as ``x8`` or ``224x224``."""
    make: Callable[[Row, torch.device], Contest]
    variant: str = ""
    """What else distinguishes it from similar rows: the kernel, align_corners."""
    direction: str = FORWARD
    dtype: torch.dtype = torch.float32
    layout: str = CONTIGUOUS
    output: str = MAPPED
    quick: bool = False
    """Whether it is measured under --quick."""
    compiled: str = "never"
    """When torch.compile is a rival (it takes a while to compile): "never", "full", "quick" (always)."""
    headline: bool = False
    """Whether it is in the markdown tables (--markdown) and docs/benchmarks.md."""
    memory: bool = False
    """Whether the peak memory of every side is measured: True for the fused ops, which exist to save it."""
    number: int | None = None
    """Of a case of --natural."""

    @property
    def input(self) -> str:
        return "x".join(map(str, self.shape))

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def name(self) -> str:
        """What --filter matches and --list prints."""
        what = (self.op, self.input, self.to, self.variant, self.direction)
        return " ".join(filter(None, (*what, self.dtype_name, self.layout, self.output)))


@dataclass(frozen=True)
class Distance:
    """The error of one result against the exact one."""

    error: float
    scale: float
    """The largest exact value; a dtype's ``eps`` times it is the unit in which errors are reported."""
    decisions: int = 0
    """How many labels, or bits of a mask, differ from the exact ones."""


Exact = tuple[Tensor, ...]
Measure = Callable[[Exact, tuple[Tensor, ...]], Sequence[Distance]]


@dataclass
class Contest:
    """The sides of one row: callables without arguments that each compute the whole thing once."""

    ours: Side
    rivals: dict[str, Side]
    """By name: "native", "deterministic" (native in deterministic mode), "chunked" (what one writes today to
    save memory), "opencv", "resize" (our own resize to the same size)."""
    floor: Side
    """Writing the output (``fill_``), reading grad_output (``sum``), or both: what no kernel can avoid."""
    floor_bytes: int
    moved_bytes: int
    """What must be read and written once: input and output, of a backward pass the gradients."""
    reference: Callable[[], Iterator[tuple[slice | EllipsisType, Exact]]]
    """The exact results in float64, batch item by batch item where they are independent of each other."""
    compiled: Callable[[], Side] | None = None
    """Builds the torch.compile side."""
    distances: Measure | None = None
    """The errors of results against the exact ones; None: the largest difference of values."""
    compared_in: torch.dtype | None = None
    """The dtype whose rounding is the unit of errors; None: the row's."""
    native_strides: bool = True
    """Whether our results must have native's strides."""
    native_levels: bool = False
    """Whether uint8 results may be as far from the exact ones as native's."""
    intermediate_bytes: int = 0
    """Size of the interpolated tensor if the result is smaller: rivals need room for it."""


def random_input(row: Row, device: torch.device) -> Tensor:
    """An input of the row's shape, dtype and layout, the same in every run."""
    generator = torch.Generator(device).manual_seed(0)
    if row.dtype == torch.uint8:
        values = torch.randint(0, 256, row.shape, generator=generator, dtype=torch.uint8, device=device)
    else:
        values = torch.randn(row.shape, generator=generator, device=device).to(row.dtype)
    return values.contiguous(memory_format=memory_format(row.layout))


def memory_format(layout: str) -> torch.memory_format:
    return torch.channels_last if layout == CHANNELS_LAST else torch.contiguous_format


def contest(
    row: Row,
    inputs: Sequence[Tensor],
    *,
    ours: Function,
    native: Function,
    others: dict[str, Function] | None = None,
    sides: dict[str, Side] | None = None,
    images: int = 1,
    grad_output: Function | None = None,
) -> Contest:
    """The contest of ``row.direction`` between functions of ``inputs``.

    ``others`` are further functions of the same inputs; ``sides`` are ready-made callables (OpenCV's). The
    reference is ``native`` in float64. Backward passes run on a retained graph, so that they time the
    gradient alone. The first ``images`` inputs are batches of images, the others parameters. ``grad_output``
    makes the gradient of a result; by default it has the result's strides.
    """
    every = tuple(range(len(inputs)))
    gradient_of = {FORWARD: (), BACKWARD: (0,), BACKWARD_WEIGHT: (1,), BOTH: every}[row.direction]
    leaves = [tensor.detach().requires_grad_(index in gradient_of) for index, tensor in enumerate(inputs)]
    with torch.no_grad():
        result = native(*inputs)
    gradient = (grad_output or _random_gradient)(result) if gradient_of else torch.ones_like(result)

    def side(function: Function) -> Side:
        return _side(row.direction, function, leaves, gradient_of, gradient)

    fill = torch.empty_like(result)
    floors: dict[str, Side] = {
        FORWARD: lambda: fill.fill_(1),
        BOTH: lambda: (fill.fill_(1), gradient.sum()),
    }
    rivals = {"native": side(native)}
    if row.direction != FORWARD and gradient.device.type in NOT_DETERMINISTIC_ON:
        rivals["deterministic"] = deterministic(side(native))
    rivals.update({name: side(function) for name, function in (others or {}).items()})
    rivals.update(sides or {})
    return Contest(
        ours=side(ours),
        rivals=rivals,
        floor=floors.get(row.direction, lambda: gradient.sum()),
        floor_bytes=(2 if row.direction == BOTH else 1) * bytes_of(result),
        moved_bytes=_moved(row.direction, inputs, gradient_of, result),
        reference=lambda: _reference(native, inputs, images, gradient_of, gradient),
        compiled=lambda: side(compiled(native)),
    )


def _random_gradient(result: Tensor) -> Tensor:
    generator = torch.Generator(result.device).manual_seed(1)
    values = torch.randn(result.shape, generator=generator, device=result.device)
    return torch.empty_like(result).copy_(values)


def bytes_of(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _moved(direction: str, inputs: Sequence[Tensor], gradient_of: Sequence[int], result: Tensor) -> int:
    moved = 0
    if direction in (FORWARD, BOTH):
        moved += bytes_of(*inputs, result)
    if gradient_of:
        moved += bytes_of(result, *(inputs[index] for index in gradient_of))
    if direction == BACKWARD_WEIGHT:
        moved += bytes_of(inputs[0])
    return moved


def deterministic(side: Side) -> Side:
    """``side`` under PyTorch's deterministic algorithms, but without their filling of new tensors."""

    def run() -> object:
        before = torch.get_deterministic_debug_mode()
        fills = torch.utils.deterministic.fill_uninitialized_memory
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        try:
            return side()
        finally:
            torch.set_deterministic_debug_mode(before)
            torch.utils.deterministic.fill_uninitialized_memory = fills

    return run


def compiled(function: Function) -> Function:
    """``function`` under torch.compile, after clearing everything that was compiled before."""
    torch.compiler.reset()
    # Several backward passes through one compiled graph need the buffers it would otherwise reuse.
    functorch_config.donated_buffer = False
    return torch.compile(function, fullgraph=True, dynamic=False)


def _side(
    direction: str, function: Function, leaves: list[Tensor], gradient_of: Sequence[int], grad_output: Tensor
) -> Side:
    if direction == FORWARD:
        return lambda: function(*leaves)
    wanted = [leaves[index] for index in gradient_of]
    if direction == BOTH:
        return lambda: torch.autograd.grad(function(*leaves), wanted, grad_output)
    output: list[Tensor] = []

    def backward() -> object:
        if not output:  # built at the first call: torch.compile compiles there, and may fail there
            output.append(function(*leaves))
        return torch.autograd.grad(output[0], wanted, grad_output, retain_graph=True)

    return backward


def _reference(
    native: Function, inputs: Sequence[Tensor], images: int, gradient_of: Sequence[int], grad_output: Tensor
) -> Iterator[tuple[slice, Exact]]:
    """``native`` in float64, one batch item at a time unless a parameter's gradient sums over them."""
    batch = inputs[0].shape[0]
    whole = any(index >= images for index in gradient_of)
    for item in [slice(0, batch)] if whole else [slice(n, n + 1) for n in range(batch)]:
        wide = [image[item].double() for image in inputs[:images]]
        wide += [parameter.double() for parameter in inputs[images:]]
        for index in gradient_of:
            wide[index].requires_grad_(True)
        result = native(*wide)
        if not gradient_of:
            yield item, (result,)
        else:
            wanted = [wide[index] for index in gradient_of]
            grads = torch.autograd.grad(result, wanted, grad_output[item].double())
            yield (slice(None) if whole else item), grads
