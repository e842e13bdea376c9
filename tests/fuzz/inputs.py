"""The arguments of a case as Python text, so that a case that fails prints as a program.

Every function takes a `Draw` and gives an expression; the first option everywhere is the simplest.
"""

from collections.abc import Sequence

from .draw import Draw

FLOATING = ["torch.float32", "torch.float64", "torch.float16", "torch.bfloat16"]
OTHER_DTYPES = [
    "torch.uint8",
    "torch.int64",
    "torch.int32",
    "torch.int16",
    "torch.int8",
    "torch.bool",
    "torch.complex64",
    "torch.complex128",
    "torch.uint16",
    "torch.float8_e4m3fn",
]
HAVE_GRADIENTS = [*FLOATING, "torch.complex64", "torch.complex128"]
IN_NUMPY = ["torch.float32", "torch.float64", "torch.float16", "torch.uint8", "torch.int64"]

EXTENTS = [1, 2, 3, 4, 5, 7, 8, 9]
LARGE_EXTENTS = [16, 17, 33, 40, 70]

# What takes the place of any argument at all.
HOSTILE = [
    "None",
    "0",
    "-1",
    "True",
    "1.5",
    "'a'",
    "2**31",
    "2**40",
    "2**62",
    "2**63 - 2",
    "2**63 - 1",
    "2**63",
    "-2**63",
    "10**30",
    "float('nan')",
    "float('inf')",
    "1e20",
    "-0.5",
    "()",
    "[]",
    "(2,)",
    "(2, 3)",
    "[2, 3, 4]",
    "(0, 3)",
    "(3, -1)",
    "(1, 2**31)",
    "(2**40, 1)",
    "(1, 2**62)",
    "(1, 2**63 - 2)",
    "(2**63 - 1, 1)",
    "(1, 2**64)",
    "(3.0, 2)",
    "(None, 2)",
    "(True, 2)",
    "('2', 3)",
    "torch.Size((3, 4))",
    "{}",
    "object()",
    "['mean']",
    "range(2, 4)",
    "iter([2, 3])",
    "numpy.int64(3)",
    "numpy.int32(2)",
    "numpy.uint8(3)",
    "numpy.float32(2)",
    "numpy.float64(1.5)",
    "numpy.bool_(True)",
    "numpy.array(3)",
    "numpy.array([3, 4])",
    "(numpy.int64(3), numpy.int64(4))",
    "[numpy.int64(3), 4]",
    "torch.tensor(3)",
    "torch.tensor(2.0)",
    "torch.tensor(True)",
    "torch.tensor([3, 4])",
    "[torch.tensor(3), torch.tensor(4)]",
    "torch.ones(3)",
    "torch.ones(2, 3)",
    "torch.ones(2, 3, 4)",
    "torch.ones(1, 2, 3, 4)",
    "torch.ones(1, 2, 3, 4, 5)",
    "torch.ones(0)",
    "torch.ones(1, 0, 3, 4)",
    "torch.ones(1, 2, 0, 4)",
    "torch.ones(1, 1, 1, 1).expand(1, 2, 3, 2**36)",
    "torch.ones(1, 2, 3, 4, dtype=torch.int64)",
    "torch.ones(1, 2, 3, 4, device='meta')",
    "torch.ones(1, 2, 3, 4).to_sparse()",
    "torch.ones(1, 2, 3, 4).numpy()",
    "[torch.ones(1, 2, 3, 4)]",
    "torch.float32",
    "torch.int8",
]


def dtype(draw: Draw) -> str:
    return draw.pick("dtype", FLOATING, OTHER_DTYPES, chance=0.12)


def extent(draw: Draw, name: str, largest: int = 70) -> int:
    """Of one dimension: mostly small, sometimes beyond a vector's width, now and then empty."""
    common = [n for n in EXTENTS if n <= largest]
    return draw.pick(name, common, [*(n for n in LARGE_EXTENTS if n <= largest), 0], chance=0.15)


def image_shape(draw: Draw, channels: int | None = None) -> tuple[int, ...]:
    """(N, C, H, W) mostly, else of another rank."""
    shape = (
        draw.pick("N", [1, 2, 3], [0]),
        extent(draw, "C") if channels is None else channels,
        extent(draw, "H"),
        extent(draw, "W"),
    )
    return draw.pick("rank", [shape], [shape[1:], shape[2:], (1, *shape)], chance=0.03)


def tensor(draw: Draw, shape: tuple[int, ...], dtype: str, values: str = "any", grad: float = 0.5) -> str:
    """A tensor of this shape in any memory layout, with gradient by this chance.

    `values` are "any", "finite", "moderate" (products are finite in half types too) or "positive".
    """
    of = draw.pick("values", ["normal", "small integers", "zero"], ["large", "tiny"], chance=0.3)
    if values == "moderate":
        of = draw.pick("values", ["normal", "small integers", "zero"])
    elif values == "positive":
        of = "positive"
    elif values == "any":
        of = draw.pick("special", [of], ["inf", "-inf", "nan", "all of them"], chance=0.08)
    layouts = _layouts(shape, dtype)
    layout = draw.pick("layout", ["contiguous", *(name for name in layouts if name != "contiguous")])
    code = layouts[layout](lambda of_shape: _values(of, of_shape, dtype))
    if draw.happens("inference tensor", 0.02):
        return f"torch.inference_mode()(lambda: {code})()"
    if dtype in HAVE_GRADIENTS and draw.happens("grad", grad):
        form = draw.pick(
            "leaf", ["{}.requires_grad_()"], ["torch.nn.Parameter({})", "({}.requires_grad_() * 1)"]
        )
        code = form.format(code)
    return code


def _values(values: str, shape: tuple[int, ...], dtype: str) -> str:
    if dtype not in HAVE_GRADIENTS:
        if dtype == "torch.float8_e4m3fn":
            return f"torch.randn({shape}).to({dtype})"
        largest = {"torch.bool": 2, "torch.uint8": 256}.get(dtype, 100)
        return f"torch.randint(0, {largest}, {shape}).to({dtype})"
    normal = f"torch.randn({shape}, dtype={dtype})"
    if values in ("inf", "-inf", "nan"):
        return f"{normal}.masked_fill(torch.rand({shape}) < 0.2, float('{values}'))"
    return {
        "normal": normal,
        "small integers": f"torch.randint(-2, 3, {shape}).to({dtype})",
        "positive": f"(torch.rand({shape}, dtype={dtype}) + 0.1)",
        "large": f"({normal} * 1e4)",
        "tiny": f"({normal} * 1e-40)",
        "zero": f"torch.zeros({shape}, dtype={dtype})",
        "all of them": f"(torch.randint(-2, 3, {shape}) / torch.randint(0, 2, {shape})).to({dtype})",
    }[values]


def _layouts(shape: tuple[int, ...], dtype: str) -> dict:
    """Name to a function that takes `make(shape) -> code` and gives code of a tensor of `shape`."""
    dims = range(len(shape))
    layouts = {
        "contiguous": lambda make: make(shape),
        "sliced": lambda make: f"{make(tuple(n + 3 for n in shape))}[{_index('1:-2', shape)}]",
        "steps": lambda make: f"{make(tuple(2 * n for n in shape))}[{_index('::2', shape)}]",
        "odd strides where the size is 1": lambda make: _with_odd_strides(make(shape), shape),
    }
    if len(shape) == 4:
        layouts["channels_last"] = lambda make: f"{make(shape)}.contiguous(memory_format=torch.channels_last)"
        layouts["channels of channels_last"] = lambda make: (
            f"{make((shape[0], shape[1] + 3, *shape[2:]))}"
            ".contiguous(memory_format=torch.channels_last)[:, 2:-1]"
        )
        for order in ((0, 1, 3, 2), (2, 1, 3, 0), (2, 0, 3, 1), (1, 0, 2, 3), (3, 2, 1, 0)):
            layouts[f"memory in order {order}"] = lambda make, order=order: (
                f"{make(tuple(shape[i] for i in order))}.permute({tuple(order.index(i) for i in dims)})"
            )
    elif len(shape) > 1:
        layouts["transposed"] = lambda make: f"{make((*shape[:-2], shape[-1], shape[-2]))}.mT"
    for dim in dims:
        layouts[f"expanded {dim}"] = lambda make, dim=dim: (
            f"{make(tuple(min(n, 1) if i == dim else n for i, n in enumerate(shape)))}.expand({shape})"
        )
    if dtype in HAVE_GRADIENTS:
        layouts["negative bit"] = lambda make: f"torch._neg_view({make(shape)})"
    if "complex" in dtype:
        layouts["conjugate bit"] = lambda make: f"{make(shape)}.conj()"
    if dtype in IN_NUMPY:
        layouts["numpy"] = lambda make: f"torch.from_numpy({make(shape)}.numpy())"
    return layouts


def _index(one: str, shape: tuple[int, ...]) -> str:
    return ", ".join([one] * len(shape)) or "..."


def _with_odd_strides(code: str, shape: tuple[int, ...]) -> str:
    """The stride of a dimension of size 1 may be any number, and nothing may read it."""
    odd = (12347, 0, 3, 5, 7)
    strides, step = [], 1
    for n in reversed(shape):
        strides.insert(0, odd[len(strides)] if n == 1 else step)
        step *= max(n, 1)
    return f"{code}.as_strided({shape}, {tuple(strides)})"


def pair(draw: Draw, name: str, common: list[int], rare: Sequence[int] = ()) -> str:
    """Two integers, or one for both, in every form in which people pass them."""
    draw = draw.of(name)
    h, w = (draw.pick(axis, common, rare) for axis in "hw")
    return draw.pick(
        "form",
        [f"({h}, {w})", f"{h}", f"[{h}, {w}]"],
        [
            f"torch.Size(({h}, {w}))" if min(h, w) >= 0 else f"({h}, {w})",
            f"numpy.int64({h})",
            f"(numpy.int64({h}), numpy.int64({w}))",
            f"(torch.tensor({h}), {w})",
            f"torch.tensor({h})",
        ],
        chance=0.1,
    )


def resize(draw: Draw) -> dict[str, str]:
    """size or scale_factor, and align_corners."""
    arguments = {}
    if draw.happens("by scale_factor", 0.4):
        h, w = (
            draw.pick(f"scale {axis}", ["2.0", "1.5", "0.5", "1.0", "3.0", "0.37", "4.0"]) for axis in "hw"
        )
        arguments["scale_factor"] = draw.pick(
            "scale form",
            [h, f"({h}, {w})"],
            ["2", "(2, 3)", f"numpy.float64({h})", f"numpy.float32({h})", f"[{h}, numpy.float64({w})]"],
            chance=0.2,
        )
    else:
        arguments["size"] = pair(draw, "size", [1, 2, 3, 4, 5, 8, 12, 16], [33, 100, 0])
    align_corners = draw.pick("align_corners", ["", "False", "True"])
    if align_corners:
        arguments["align_corners"] = align_corners
    return arguments
