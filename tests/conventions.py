"""The tables of `docs/conventions.md`: what each library gives, and which call of ours gives the same.

A row of a table is `| a call of the library | its result | our call, or why there is none |`. The test of the
same name evaluates both calls and compares; `python tests/conventions.py` writes the results that it finds
into the page.

In the calls `x` is an image that is enlarged to the size `up`, `y` one that is shrunk to `down`, `z` one that
is halved and `w` one that is enlarged by `n`; for our calls they are tensors, `tx` and so on, `(1, 1, H, W)`.
Where a library cannot be installed (Caffe), or is too large (TensorFlow), its formula is written down here.
"""

import importlib
import math
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

import upsample_ext

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "conventions.md"


class Row(NamedTuple):
    """A row of the page: where it stands, and its three cells."""

    section: str
    line: int
    call: str
    result: str
    ours: str | None


def rows() -> list[Row]:
    found, section = [], ""
    for number, line in enumerate(PAGE.read_text().splitlines()):
        if line.startswith("## "):
            section = line[3:]
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| `") else []
        if len(cells) == 3:
            call, result, ours = cells
            code = re.fullmatch(r"`([^`]*)`", ours)
            found.append(Row(section, number, call.strip("`"), result, code and code[1]))
    return found


def names_for(images: dict[str, np.ndarray], f, down, n: int) -> dict[str, object]:
    """What the names in the calls stand for, but for the libraries.

    Args:
        images: x, y, z and w.
        f: factors of x.
        down: size for y.
        n: factor of w.
    """
    return {
        **{name: getattr(upsample_ext, name) for name in upsample_ext.__all__},
        **images,
        **{f"t{name}": torch.from_numpy(image)[None, None] for name, image in images.items()},
        "up": tuple(extent * factor for extent, factor in zip(images["x"].shape, f, strict=True)),
        "down": down,
        "half": tuple(max(1, extent // 2) for extent in images["z"].shape),
        "f": f,
        "p": tuple(factor - 1 for factor in f),
        "tents": tuple(1 - torch.arange(1 - factor, factor).abs() / factor for factor in f),
        "n": n,
        "F": F,
        "caffe_deconvolution": caffe_deconvolution,
        "tf": TENSORFLOW,
    }


def small() -> dict[str, object]:
    """The images of the page."""
    rows = {
        "x": [[1, 2, 3, 4]],
        "y": [[1, 8, 2, 7, 3, 6, 4]],
        "z": [[1, 8, 2, 6, 3, 4]],
        "w": [[1, 2], [3, 4]],
    }
    images = {name: np.array(values, dtype=np.float32) for name, values in rows.items()}
    return names_for(images, (1, 2), (1, 3), 2)


def large(seed: int) -> dict[str, object]:
    """Random ones, of two unequal axes.

    Where a coordinate is a whole number, nearest picks a neighbour if it was rounded down, which libraries do
    at different sizes. An odd extent that is shrunk to one without a common divisor has no such coordinate.
    """
    random = np.random.default_rng(seed)
    height, width = (int(v) for v in random.integers(3, 12, 2))
    odd = 2 * height + 1, 2 * width + 1
    shapes = {"x": (height, width), "y": odd, "z": (2 * width, 2 * height), "w": (height, width)}
    images = {name: random.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    down = [
        int(random.choice([out for out in range(1, extent) if math.gcd(out, extent) == 1])) for extent in odd
    ]
    return names_for(
        images, tuple(int(v) for v in random.integers(1, 5, 2)), tuple(down), int(random.integers(1, 6))
    )


# What a call needs, by a word in it: a module, and the name under which the call knows it
_NEEDS = {
    "cv2.": ("cv2", "cv2"),
    "Image.": ("PIL.Image", "Image"),
    "torchvision.": ("torchvision.transforms.functional", "torchvision"),
    "skimage.": ("skimage.transform", "skimage"),
}


def evaluate(call: str, names: dict[str, object], onnx: Callable | None = None) -> np.ndarray:
    """The result of a call as `(H, W)` float64. ImportError: its library is not installed."""
    names = dict(names)
    for word, (module, name) in _NEEDS.items():
        if word in call:
            try:
                names[name] = importlib.import_module(module)
            except RuntimeError as error:  # torchvision's, where it was built for another torch
                raise ImportError(f"{module} cannot be loaded: {error}", name=module) from None
    if "Resize(" in call:
        names["Resize"] = onnx or onnx_reference
    result = np.asarray(eval(call, names), dtype=np.float64)
    return result.reshape(result.shape[-2:])


# ---- ONNX --------------------------------------------------------------------------------------------------


def _onnx_model(attributes: dict[str, object], size: tuple[int, int]):
    """A graph of one node, Resize to this size."""
    from onnx import TensorProto, helper

    image = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in ("X", "Y")]
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 1, *size])
    node = helper.make_node("Resize", ["X", "", "", "sizes"], ["Y"], **attributes)
    graph = helper.make_graph([node], "resize", image[:1], image[1:], [sizes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def onnx_reference(x: np.ndarray, size: tuple[int, int], **attributes) -> np.ndarray:
    evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator
    return evaluator(_onnx_model(attributes, size)).run(None, {"X": x[None, None]})[0]


def onnx_runtime(x: np.ndarray, size: tuple[int, int], **attributes) -> np.ndarray:
    runtime = importlib.import_module("onnxruntime")
    model = _onnx_model(attributes, size).SerializeToString()
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": x[None, None]})[0]


# ---- Caffe -------------------------------------------------------------------------------------------------


def caffe_deconvolution(x: np.ndarray, factor: int) -> np.ndarray:
    """The layer of Caffe's BilinearFiller example: `Deconvolution` of kernel 2f - f % 2, stride f, pad.

    Every input adds itself times the kernel to the output, from which pad is then cut at each side.
    """
    size, pad = 2 * factor - factor % 2, -(-(factor - 1) // 2)
    f = -(-size // 2)
    centre = (2 * f - 1 - f % 2) / (2 * f)
    line = np.array([1 - abs(i / f - centre) for i in range(size)])
    height, width = x.shape
    full = np.zeros(((height - 1) * factor + size, (width - 1) * factor + size))
    for i in range(height):
        for j in range(width):
            full[i * factor :, j * factor :][:size, :size] += float(x[i, j]) * np.outer(line, line)
    return full[pad : full.shape[0] - pad, pad : full.shape[1] - pad]


# ---- TensorFlow --------------------------------------------------------------------------------------------


def _triangle(v: np.ndarray) -> np.ndarray:
    return np.maximum(1 - abs(v), 0)


def _keys(v: np.ndarray) -> np.ndarray:
    v = abs(v)
    near, far = (1.5 * v - 2.5) * v * v + 1, ((-0.5 * v + 2.5) * v - 4) * v + 2
    return np.where(v < 1, near, np.where(v < 2, far, 0))


def _taps(rows: list[dict[int, float]], size: int) -> np.ndarray:
    """The matrix of an axis, from the weights of each output by source; sources outside are the edge."""
    matrix = np.zeros((len(rows), size))
    for row, taps in zip(matrix, rows, strict=True):
        for source, weight in taps.items():
            row[min(max(source, 0), size - 1)] += weight
    return matrix


def _linear(coordinates: np.ndarray, size: int) -> np.ndarray:
    below = np.floor(coordinates).astype(int)
    return _taps(
        [{b: 1 - (c - b), b + 1: c - b} for b, c in zip(below.tolist(), coordinates, strict=True)], size
    )


def _picked(coordinates: np.ndarray, size: int) -> np.ndarray:
    return _taps([{int(c): 1.0} for c in coordinates], size)


def _kernel(kernel, size: int, out: int, antialias: bool) -> np.ndarray:
    """ScaleAndTranslate: a kernel at half-pixel centres, widened to shrink; what is outside is left out."""
    scale = size / out
    width = max(scale, 1.0) if antialias else 1.0
    centres = (np.arange(out) + 0.5) * scale - 0.5
    matrix = kernel((np.arange(size)[None] - centres[:, None]) / width)
    return matrix / matrix.sum(1, keepdims=True)


def _area(size: int, out: int) -> np.ndarray:
    edges = np.arange(out + 1) * (size / out)
    low, high = edges[:-1, None], edges[1:, None]
    cell = np.arange(size)[None]
    return np.clip(np.minimum(high, cell + 1) - np.maximum(low, cell), 0, None) / (size / out)


def _aligned(size: int, out: int) -> np.ndarray:
    return np.arange(out) * ((size - 1) / (out - 1) if out > 1 else 0.0)


class _TensorFlow:
    """`tf.image.resize` and TensorFlow 1's functions, by the formulas of `image_resizer_state.h`."""

    class image:  # noqa: N801
        @staticmethod
        def resize(x, size, method="bilinear", antialias=False):
            def axis(size, out):
                half = (np.arange(out) + 0.5) * (size / out)
                if antialias or method == "bicubic":
                    return _kernel(_keys if method == "bicubic" else _triangle, size, out, antialias)
                if method == "bilinear":
                    return _linear(half - 0.5, size)
                return _picked(np.floor(half), size) if method == "nearest" else _area(size, out)

            return _separable(x, size, axis)

    class v1:  # noqa: N801
        @staticmethod
        def resize_bilinear(x, size, align_corners=False):
            def axis(size, out):
                return _linear(_aligned(size, out) if align_corners else np.arange(out) * (size / out), size)

            return _separable(x, size, axis)

        @staticmethod
        def resize_nearest_neighbor(x, size, align_corners=False):
            def axis(size, out):
                if align_corners:
                    return _picked(np.floor(_aligned(size, out) + 0.5), size)
                return _picked(np.floor(np.arange(out) * (size / out)), size)

            return _separable(x, size, axis)


def _separable(x: np.ndarray, size: tuple[int, int], axis: Callable) -> np.ndarray:
    a_h, a_w = (axis(extent, out) for extent, out in zip(x.shape, size, strict=True))
    return a_h @ x.astype(np.float64) @ a_w.T


class _InstalledTensorFlow:
    """The same by TensorFlow itself."""

    def __init__(self, tensorflow) -> None:
        def adapted(function):
            return lambda x, *rest, **named: function(x[None, ..., None], *rest, **named).numpy()[0, ..., 0]

        v1 = tensorflow.compat.v1.image
        self.image = type("image", (), {"resize": staticmethod(adapted(tensorflow.image.resize))})
        self.v1 = type(
            "v1",
            (),
            {
                name: staticmethod(adapted(getattr(v1, name)))
                for name in ("resize_bilinear", "resize_nearest_neighbor")
            },
        )


try:
    TENSORFLOW = _InstalledTensorFlow(importlib.import_module("tensorflow"))
except ImportError:
    TENSORFLOW = _TensorFlow()


# ---- the page ----------------------------------------------------------------------------------------------


def written(values: np.ndarray) -> str:
    """An image as the page has it, with up to four decimals."""
    return "; ".join(
        " ".join(np.format_float_positional(v, 4, trim="-") for v in row + 0.0) for row in values
    )


def _filled() -> Iterator[str]:
    results = {}
    for row in rows():
        try:
            results[row.line] = written(evaluate(row.call, small()))
        except ImportError as error:
            print(f"left as it was: {row.call}: {error}", file=sys.stderr)
    for number, line in enumerate(PAGE.read_text().splitlines()):
        if number in results:
            call, _, ours = (cell.strip() for cell in line.strip("|").split(" | "))
            line = f"| {call} | {results[number]} | {ours} |"
        yield line


if __name__ == "__main__":
    PAGE.write_text("\n".join(_filled()) + "\n")
