"""What is fuzzed: every public function, with the native expression of its docstring.

To add one, write its native expression as a function of that name that takes `F` first, and decorate it with
the function that draws its arguments. `F` is torch.nn.functional, or something that computes its functions
more exactly (`exact.py`).
"""

import dataclasses
import inspect
import operator
from collections.abc import Callable

import numpy
import torch

import upsample_ext

from . import inputs
from .draw import Draw


@dataclasses.dataclass
class Target:
    name: str
    native: Callable
    arguments: Callable[[Draw], dict[str, str]]
    # The documented exceptions, where they are not native's own; and whether even the messages are native's.
    raises: tuple[type[Exception], ...] = ()
    same_messages: bool = False
    # Classes and truth values follow from our own resized image, which rounds otherwise than native's.
    follows_own_resize: bool = False
    has_native_uint8: bool = False
    # Of what is added up, where neither the arguments nor the result show it: probabilities are about 1.
    scale: float = 1e-300
    # True values are those of coordinates that are not rounded.
    exact_coordinates: bool = False
    # Native cuts strides and dilations to 32 bits: `uncut.py` is right too.
    cuts_numbers: bool = False

    @property
    def ours(self) -> Callable:
        return getattr(upsample_ext, self.name)

    @property
    def source(self) -> str:
        """Of the native expression and the functions here that it calls, as a program may contain it."""
        lines = inspect.getsource(self.native).splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith("def "))
        native = [lines[start].replace(f"def {self.name}(", "def native("), *lines[start + 1 :]]
        called = (globals()[name] for name in self.native.__code__.co_names if name in _HELPERS)
        helpers = [inspect.getsource(function) for function in called]
        return "\n\n".join([*helpers, "\n".join(native)])


TARGETS: dict[str, Target] = {}
# Functions here that native expressions call.
_HELPERS = ("_corners", "_integer", "_near", "_pair", "_picked")

# Public functions that take no tensor's values to anything native.
NOT_FUZZED = {
    "compare": "prints and draws; tests/test_compare.py",
    "conversions": "takes modules; tests/test_convert.py",
    "convert": "takes modules; tests/test_convert.py",
    "decompositions": "takes nothing; tests/test_decompositions.py",
    "info": "takes nothing",
    "patch": "makes a context; tests/test_patch.py",
    "revert": "takes modules; tests/test_convert.py",
}


def target(arguments: Callable[[Draw], dict[str, str]], **options):
    def register(native: Callable) -> Callable:
        TARGETS[native.__name__] = Target(native.__name__, native, arguments, **options)
        return native

    return register


# ---- resize ------------------------------------------------------------------------------------------------


def _picked(F, input, *arguments, **options):
    """By nearest also of labels, which native refuses."""
    dtype, nearest = getattr(input, "dtype", torch.float32), "nearest" in f"{arguments} {options}"
    is_label = not (dtype.is_floating_point or dtype.is_complex or dtype == torch.uint8)
    if is_label and nearest:
        return F.interpolate(input.double(), *arguments, **options).to(dtype)
    return F.interpolate(input, *arguments, **options)


def _interpolate_arguments(draw):
    dtype = inputs.dtype(draw)
    arguments = {"input": inputs.tensor(draw.of("input"), inputs.image_shape(draw), dtype)}
    arguments |= inputs.resize(draw)
    others = ["nearest", "nearest-exact", "linear", "bicubic", "trilinear", "area", "lanczos", "cubic"]
    mode = draw.pick("mode", ["bilinear"], others, chance=0.15)
    arguments["mode"] = repr(mode)
    if mode in ("nearest", "nearest-exact", "area") and draw.happens("no align_corners", 0.9):
        arguments.pop("align_corners", None)
    if draw.happens("recompute_scale_factor", 0.25 if "scale_factor" in arguments else 0.02):
        arguments["recompute_scale_factor"] = draw.pick("recompute", ["True", "False"])
    # Native has none of lines and volumes, see test_modes.py.
    if mode not in ("linear", "trilinear") and draw.happens("antialias", 0.05):
        arguments["antialias"] = "True"
    return arguments


@target(_interpolate_arguments, same_messages=True, has_native_uint8=True)
def interpolate(F, input, *arguments, **options):
    dtype = getattr(input, "dtype", torch.float32)
    if options.get("antialias") and dtype in (torch.float16, torch.bfloat16):  # which native lacks
        return F.interpolate(input.float(), *arguments, **options).to(dtype)
    return _picked(F, input, *arguments, **{"mode": "nearest", **options})


def _upsample_bilinear2d_arguments(draw):
    dtype = inputs.dtype(draw)
    shape = inputs.image_shape(draw)
    arguments = {"input": inputs.tensor(draw.of("input"), shape, dtype)} | inputs.resize(draw)
    if draw.happens("out", 0.5):
        arguments["out"] = _out(draw.of("out"), shape, dtype, arguments)
    return arguments


def _out(draw, shape, dtype, arguments):
    """Mostly what fits, in any layout; else what is to be resized, or refused."""
    fitting = _fitting_shape(shape, arguments)
    of_shape = draw.pick("shape", [fitting], [(0,), (1, 2, 3, 4)], chance=0.2)
    of_dtype = draw.pick("dtype", [dtype], inputs.FLOATING, chance=0.1)
    return inputs.tensor(draw, of_shape, of_dtype, grad=0.05)


def _fitting_shape(shape, arguments):
    """The shape of the result, or that of the input where there is none."""
    names = {"torch": torch, "numpy": numpy}
    sizes = {name: eval(code, names) for name, code in arguments.items() if name in ("size", "scale_factor")}
    try:
        resized = torch.nn.functional.interpolate(torch.empty(shape, device="meta"), **sizes, mode="bilinear")
    except Exception:  # which is what the case is to find
        return shape
    return tuple(resized.shape)


@target(_upsample_bilinear2d_arguments, has_native_uint8=True)
def upsample_bilinear2d(F, input, size=None, scale_factor=None, align_corners=False, *, out=None):
    if not (out is None or isinstance(out, torch.Tensor)):
        raise TypeError("expected out to be a tensor")  # first, as by the parser of a native op
    resized = F.interpolate(input, size, scale_factor, "bilinear", align_corners)
    if out is None:
        return resized
    if input.dtype == torch.uint8 and out.dtype == torch.uint8:
        return torch.ops.aten.clone.out(resized, out=out)  # native's own bytes go beyond an `out` in steps
    scales = (None, None)
    if scale_factor is not None:
        scales = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * 2
    output_size = list(resized.shape[2:])
    return torch._C._nn.upsample_bilinear2d(input, output_size, bool(align_corners), *scales, out=out)


# OverflowError is what all of PyTorch raises for an integer beyond 64 bits.
_DOCUMENTED = (TypeError, ValueError, RuntimeError, OverflowError)

# ---- transposed convolution --------------------------------------------------------------------------------


def _geometry(draw):
    arguments = {}
    if draw.happens("stride", 0.7):
        arguments["stride"] = inputs.pair(draw, "stride", [1, 2, 3, 4], [5, 8, 2**31, 2**63 - 2])
    if draw.happens("padding", 0.5):
        arguments["padding"] = inputs.pair(draw, "padding", [0, 1, 2], [3, 7, -1, 2**31, 2**63 - 1])
    if draw.happens("output_padding", 0.15):
        arguments["output_padding"] = inputs.pair(draw, "output_padding", [0, 1], [2, 3, -1, 2**62])
    if draw.happens("dilation", 0.3):
        arguments["dilation"] = inputs.pair(draw, "dilation", [1, 2, 3], [0, 5, 2**31, 2**62])
    return arguments


def _image_and_channels(draw, dtype, geometry, padded=False):
    channels = draw.pick("C", inputs.EXTENTS, [16, 17, 33, 0], chance=0.1)
    shape = (draw.pick("N", [1, 2, 3], [0]), channels, *(inputs.extent(draw, axis, 20) for axis in "HW"))
    shape = draw.pick("rank", [shape, shape[1:]], [shape[2:], (1, *shape)], chance=0.04)
    # Native multiplies an infinity by the zeros of its padding, and has a NaN where nothing was to be added.
    finite = "padding" in geometry or padded or dtype == "torch.bfloat16"  # of which it pads each row
    values = "finite" if finite else "any"
    return inputs.tensor(draw.of("input"), shape, dtype, values), channels


def _kernel_shape(draw):
    return tuple(draw.pick(f"kernel {axis}", [1, 2, 3, 4, 5], [0, 8, 11], chance=0.08) for axis in "hw")


def _conv_transpose2d_arguments(draw):
    dtype = inputs.dtype(draw)
    geometry = _geometry(draw)
    input, channels = _image_and_channels(draw, dtype, geometry)
    groups = draw.pick("groups", [channels], [1, 2], chance=0.05)
    shape = (channels, 1, *_kernel_shape(draw))
    arguments = {
        "input": input,
        "weight": inputs.tensor(draw.of("weight"), shape, dtype, "moderate"),
        "groups": str(groups),
    }
    if draw.happens("bias", 0.4):
        arguments["bias"] = inputs.tensor(draw.of("bias"), (channels,), dtype)
    return arguments | geometry


@target(_conv_transpose2d_arguments, same_messages=True, cuts_numbers=True)
def conv_transpose2d(F, input, weight, *arguments, **options):
    return F.conv_transpose2d(input, weight, *arguments, **options)


def _conv_transpose1d_arguments(draw):
    """Those of two axes, the images' rows one after the other and of each pair of numbers the first."""
    arguments = _conv_transpose2d_arguments(draw)
    for name in ("input", "weight"):
        arguments[name] = f"({arguments[name]}).flatten(-2)"
    for name in ("stride", "padding", "output_padding", "dilation"):
        if arguments.get(name, "").startswith(("(", "[")):
            arguments[name] = f"{arguments[name]}[:1]"
    return arguments


@target(_conv_transpose1d_arguments, cuts_numbers=True)
def conv_transpose1d(F, input, weight, *arguments, **options):
    return F.conv_transpose1d(input, weight, *arguments, **options)


def _pair(n):
    numbers = list(n) if isinstance(n, (tuple, list)) else [n]
    return [operator.index(i) for i in numbers * (2 if len(numbers) == 1 else 1)]


def _near(steps, counts):
    """A step between samples of which there is only one may be any number: here one of 32 bits."""
    return [min(step, 2**16) if n == 1 else step for step, n in zip(steps, counts, strict=True)]


def _fixed_conv_transpose2d_arguments(draw):
    dtype = inputs.dtype(draw)
    geometry = _geometry(draw)
    replicate = draw.happens("replicate", 0.3)
    input, channels = _image_and_channels(draw, dtype, geometry, replicate)
    of_kernel = draw.pick("kernel dtype", [dtype], inputs.FLOATING, chance=0.2)
    height, width = _kernel_shape(draw)
    form = draw.pick("kernel form", ["pair", "image", "image per channel"])
    if form == "pair":
        pair = (
            inputs.tensor(draw.of(f"kernel {n}"), (size,), of_kernel, "moderate", grad=0.02)
            for n, size in (("y", height), ("x", width))
        )
        kernel = f"({', '.join(pair)})"
    else:
        shape = (height, width) if form == "image" else (channels, height, width)
        kernel = inputs.tensor(draw.of("kernel"), shape, of_kernel, "moderate", grad=0.02)
    arguments = {"input": input, "kernel": kernel} | geometry
    if replicate:
        arguments["padding_mode"] = "'replicate'"
    return arguments


@target(_fixed_conv_transpose2d_arguments, raises=_DOCUMENTED, cuts_numbers=True)
def fixed_conv_transpose2d(
    F, input, kernel, stride=1, padding=0, output_padding=0, dilation=1, *, padding_mode="zeros"
):
    kernels = tuple(kernel) if isinstance(kernel, (tuple, list)) else (kernel,)
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError("expected an input of a floating dtype")
    if any(k.requires_grad or not (k.is_floating_point() or k.is_complex()) for k in kernels):
        raise TypeError("the kernel requires grad, or is not of a floating dtype")
    if padding_mode not in ("zeros", "replicate"):
        raise ValueError(f"unknown padding_mode {padding_mode!r}")
    if len(kernels) == 2 and all(k.dim() != 1 for k in kernels) or len(kernels) > 2:
        raise ValueError("expected a pair of 1-D kernels")
    kernel = torch.outer(*kernels) if len(kernels) == 2 else kernel
    weight = kernel.to(input.dtype)
    channels = input.shape[-3]
    weight = weight.expand(channels, *weight.shape[-2:]).unsqueeze(1)
    stride, padding, output_padding, dilation = (
        _pair(n) for n in (stride, padding, output_padding, dilation)
    )
    if min(padding) < 0 or min(stride) < 1 or min(dilation) < 1:  # also of no images
        raise RuntimeError("geometry")
    if any(extra >= max(s, d) for extra, s, d in zip(output_padding, stride, dilation, strict=True)):
        raise RuntimeError("geometry")
    stride, dilation = _near(stride, input.shape[-2:]), _near(dilation, weight.shape[2:])
    if padding_mode == "replicate":
        more = [
            max(0, -(-((k - 1) * d + extra) // s))
            for k, s, extra, d in zip(weight.shape[2:], stride, output_padding, dilation, strict=True)
        ]
        input = F.pad(input, (more[1], more[1], more[0], more[0]), mode="replicate")
        padding = [p + m * s for p, m, s in zip(padding, more, stride, strict=True)]
    return F.conv_transpose2d(input, weight, None, stride, padding, output_padding, channels, dilation)


def _fixed_conv_transpose1d_arguments(draw):
    dtype = inputs.dtype(draw)
    replicate = draw.happens("replicate", 0.3)
    geometry = {
        name: draw.pick(name, common, rare, chance=0.05)
        for name, common, rare in [
            ("stride", ["1", "2", "3", "(2,)"], ["0", "(1, 2)", "5"]),
            ("padding", ["0", "1", "[2]"], ["-1", "30"]),
            ("output_padding", ["0", "1"], ["4"]),
            ("dilation", ["1", "2"], ["0", "7"]),
        ]
    }
    *leading, height, width = inputs.image_shape(draw)
    shape = (*leading, height * width)
    shape = shape[1:] if draw.happens("unbatched", 0.15) else shape
    channels = shape[-2] if len(shape) > 1 else 1
    size = draw.pick("kernel size", [1, 2, 3, 4, 5, 9], [0, 16])
    of_kernel = draw.pick("kernel dtype", [dtype], inputs.FLOATING, chance=0.2)
    kernel_shape = draw.pick(
        "kernel form", [(size,), (channels, size)], [(1, 1, size), (channels + 1, size)], 0.05
    )
    arguments = {
        "input": inputs.tensor(draw.of("input"), shape, dtype, "finite" if replicate else "any"),
        "kernel": inputs.tensor(draw.of("kernel"), kernel_shape, of_kernel, "moderate", grad=0.02),
    } | geometry
    return arguments | ({"padding_mode": "'replicate'"} if replicate else {})


@target(_fixed_conv_transpose1d_arguments, raises=_DOCUMENTED)
def fixed_conv_transpose1d(
    F, input, kernel, stride=1, padding=0, output_padding=0, dilation=1, *, padding_mode="zeros"
):
    if input.dim() not in (2, 3):
        raise ValueError("expected an input of 2 or 3 dimensions")
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError("expected an input of a floating dtype")
    if kernel.requires_grad or not (kernel.is_floating_point() or kernel.is_complex()):
        raise TypeError("the kernel requires grad, or is not of a floating dtype")
    if kernel.dim() > 2 or (kernel.dim() == 2 and kernel.shape[0] != input.shape[-2]):
        raise ValueError("expected a kernel (kW,) or (C, kW)")
    channels, taps = input.shape[-2], kernel.shape[-1]
    stride, padding, output_padding, dilation = (
        operator.index(n[0] if isinstance(n, (tuple, list)) and len(n) == 1 else n)
        for n in (stride, padding, output_padding, dilation)
    )
    if padding < 0 or stride < 1 or dilation < 1 or not 0 <= output_padding < max(stride, dilation):
        raise RuntimeError("geometry")
    weight = kernel.to(input.dtype).expand(channels, taps).unsqueeze(1)
    if padding_mode == "replicate":
        more = max(0, -(-((taps - 1) * dilation + output_padding) // stride))
        input = F.pad(input, (more, more), mode="replicate")
        padding += more * stride
    return F.conv_transpose1d(input, weight, None, stride, padding, output_padding, channels, dilation)


def _bilinear_conv_transpose2d_arguments(draw):
    dtype = inputs.dtype(draw)
    replicate = draw.happens("replicate", 0.4) and "complex" not in dtype
    shape = inputs.image_shape(draw)
    shape = shape[1:] if draw.happens("unbatched", 0.15) else shape
    # With an infinity beside a weight of zero the two are not equal, as the docstring says. In bfloat16
    # native has a NaN at pixels that are not near the infinity.
    finite = replicate or dtype == "torch.bfloat16"
    arguments = {
        "input": inputs.tensor(draw.of("input"), shape, dtype, "finite" if finite else "any"),
        "factor": draw.pick("factor", ["1", "2", "3", "4", "5", "8"], ["0", "-1", "33", "2**31", "2**62"]),
    }
    return arguments | ({"padding_mode": "'replicate'"} if replicate else {})


@target(_bilinear_conv_transpose2d_arguments, raises=_DOCUMENTED, exact_coordinates=True)
def bilinear_conv_transpose2d(F, input, factor, *, padding_mode="zeros"):
    if input.dim() not in (3, 4):
        raise ValueError("expected an input of 3 or 4 dimensions")
    if padding_mode not in ("zeros", "replicate"):
        raise ValueError(f"unknown padding_mode {padding_mode!r}")
    size, stride, padding = upsample_ext.caffe_upsample_params(factor)
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError("expected an input of a floating dtype")  # even if it is empty
    if padding_mode == "replicate":
        if torch.is_autocast_enabled("cpu") and input.dtype != torch.float64:
            input = input.to(torch.get_autocast_dtype("cpu"))  # as that of a convolution
        image = input if input.dim() == 4 else input.unsqueeze(0)
        resized = F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
        return resized if input.dim() == 4 else resized.squeeze(0)
    channels = input.shape[-3]
    weight = upsample_ext.bilinear_kernel(size, dtype=torch.float64).expand(channels, 1, size, size)
    weight = weight.to(input.dtype)
    return F.conv_transpose2d(input, weight, stride=stride, padding=padding, groups=channels)


def _linear_conv_transpose1d_arguments(draw):
    arguments = _bilinear_conv_transpose2d_arguments(draw)
    arguments["input"] = f"({arguments['input']}).flatten(-2)"
    return arguments


@target(_linear_conv_transpose1d_arguments, raises=_DOCUMENTED, exact_coordinates=True)
def linear_conv_transpose1d(F, input, factor, *, padding_mode="zeros"):
    size, stride, padding = upsample_ext.caffe_upsample_params(factor)
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError("expected an input of a floating dtype")
    if padding_mode == "replicate":
        if torch.is_autocast_enabled("cpu") and input.dtype != torch.float64:
            input = input.to(torch.get_autocast_dtype("cpu"))
        line = input if input.dim() == 3 else input.unsqueeze(0)
        resized = F.interpolate(line, scale_factor=factor, mode="linear", align_corners=False)
        return resized if input.dim() == 3 else resized.squeeze(0)
    half = -(-size // 2)
    line = 1 - (torch.arange(size, dtype=torch.float64) / half - (size - 1) / (2 * half)).abs()
    weight = line.to(input.dtype).expand(input.shape[-2], 1, size)
    return F.conv_transpose1d(input, weight, stride=stride, padding=padding, groups=input.shape[-2])


def _kernel_arguments(draw):
    arguments = {"size": draw.pick("size", ["1", "2", "3", "4", "7", "16"], ["0", "-1", "True", "2.0"])}
    convention = draw.pick("convention", ["", "'centered'", "'caffe'"], ["'Caffe'", "None"])
    if convention:
        arguments["convention"] = convention
    if draw.happens("dtype", 0.5):
        arguments["dtype"] = draw.pick("dtype", [*inputs.FLOATING, "None"], inputs.OTHER_DTYPES)
    return arguments


def _integer(n):
    """Whatever stands for one of 64 bits to PyTorch, hence no truth value."""
    if isinstance(n, bool) or (isinstance(n, torch.Tensor) and n.dtype == torch.bool):
        raise TypeError("expected an integer")
    n = operator.index(n)
    if not -(2**63) <= n < 2**63:
        raise OverflowError("expected an integer of 64 bits")
    return n


@target(_kernel_arguments, raises=_DOCUMENTED)
def bilinear_kernel(F, size, *, convention="centered", dtype=None, device=None):
    size = _integer(size)
    if size < 1 or convention not in ("centered", "caffe"):
        raise ValueError("size, or convention")
    factor = -(-size // 2)
    center = (
        (size - 1) / (2 * factor)
        if convention == "centered"
        else (2 * factor - 1 - factor % 2) / (2 * factor)
    )
    line = 1 - (torch.arange(size, dtype=torch.float64, device=device) / factor - center).abs()
    if dtype is not None and not torch.empty(0, dtype=dtype).is_floating_point():
        raise TypeError("dtype")
    return torch.outer(line, line).to(dtype or torch.get_default_dtype())


def _weights_arguments(draw):
    channels = draw.pick("num_channels", ["1", "2", "5"], ["0", "-1", "2.0"])
    return _kernel_arguments(draw) | {"num_channels": channels}


@target(_weights_arguments, raises=_DOCUMENTED)
def make_bilinear_weights(F, size, num_channels, *, convention="centered", dtype=None, device=None):
    num_channels = _integer(num_channels)
    if num_channels < 1:
        raise ValueError("num_channels")
    kernel = upsample_ext.bilinear_kernel(size, convention=convention, dtype=dtype, device=device)
    return kernel.repeat(num_channels, 1, 1, 1)


@target(lambda draw: {"factor": draw.pick("factor", ["1", "2", "3", "8"], ["0"])}, raises=_DOCUMENTED)
def caffe_upsample_params(F, factor):
    factor = _integer(factor)
    if factor < 1:
        raise ValueError("factor")
    return 2 * factor - factor % 2, factor, -(-(factor - 1) // 2)


# ---- fused -------------------------------------------------------------------------------------------------


def _mode(draw):
    mode = draw.pick(
        "mode", ["", "'nearest'", "'bicubic'"], ["'nearest-exact'", "'area'", "'cubic'", "3"], 0.2
    )
    return {"mode": mode} if mode else {}


def _corners(mode, align_corners):
    """Natively modes that have no such choice take None alone."""
    return None if align_corners is False and mode in ("nearest", "nearest-exact", "area") else align_corners


def _upsample_argmax_arguments(draw):
    input = inputs.tensor(draw.of("input"), inputs.image_shape(draw), inputs.dtype(draw))
    arguments = {"input": input} | inputs.resize(draw)
    dtype = draw.pick(
        "index dtype", ["", "torch.uint8", "torch.int16", "torch.int32"], ["torch.float32", "torch.int8"]
    )
    if dtype:
        arguments["dtype"] = dtype
    if draw.happens("return_score", 0.3):
        arguments["return_score"] = "True"
    return arguments | _mode(draw)


@target(_upsample_argmax_arguments, follows_own_resize=True)
def upsample_argmax(
    F,
    input,
    size=None,
    scale_factor=None,
    align_corners=False,
    *,
    dtype=torch.int64,
    return_score=False,
    mode="bilinear",
):
    logits = F.interpolate(input.float(), size, scale_factor, mode, _corners(mode, align_corners))
    if not isinstance(dtype, torch.dtype) or dtype not in (
        torch.uint8,
        torch.int16,
        torch.int32,
        torch.int64,
    ):
        raise RuntimeError(f"expected an integer dtype, got {dtype}")
    if logits.shape[1] - 1 > torch.iinfo(dtype).max:
        raise RuntimeError("the classes do not fit the dtype")
    index = logits.argmax(1).to(dtype)
    return (index, logits.detach().softmax(1).amax(1)) if return_score else index


def _upsample_threshold_arguments(draw):
    input = inputs.tensor(draw.of("input"), inputs.image_shape(draw), inputs.dtype(draw))
    arguments = {"input": input} | inputs.resize(draw)
    common, rare = ["", "0.5", "-1", "1"], ["float('inf')", "float('nan')", "True", "2**60 + 1", "1e-45"]
    threshold = draw.pick("threshold", common, rare)
    return arguments | ({"threshold": threshold} if threshold else {}) | _mode(draw)


@target(_upsample_threshold_arguments, follows_own_resize=True)
def upsample_threshold(
    F, input, size=None, scale_factor=None, align_corners=False, *, threshold=0.0, mode="bilinear"
):
    resized = F.interpolate(input.float(), size, scale_factor, mode, _corners(mode, align_corners))
    return resized > threshold


def _upsample_cross_entropy_arguments(draw):
    dtype = draw.pick("dtype", inputs.FLOATING, inputs.OTHER_DTYPES, chance=0.05)
    shape = inputs.image_shape(draw)
    arguments = {
        "input": inputs.tensor(draw.of("input"), shape, dtype),
        "target": _classes(draw.of("target"), shape),
    }
    if draw.happens("weight", 0.3):
        of_weight = draw.pick("weight dtype", [dtype], inputs.FLOATING, chance=0.1)
        weight = inputs.tensor(draw.of("weight"), (shape[1],), of_weight, "positive", grad=0.03)
        arguments["weight"] = weight
    ignored = draw.pick(
        "ignore_index", ["", "1", "0", "255"], ["-1", "2**63 - 1", "None", "1.5"], chance=0.05
    )
    smoothing = draw.pick("label_smoothing", ["", "0.1", "1.0"], ["0", "1.5", "-0.1", "True"], chance=0.05)
    reduction = draw.pick("reduction", ["", "'sum'", "'none'", "'mean'"], ["'Mean'", "None"], chance=0.02)
    align_corners = draw.pick("align_corners", ["", "True"])
    options = {
        "ignore_index": ignored,
        "label_smoothing": smoothing,
        "reduction": reduction,
        "align_corners": align_corners,
    }
    return arguments | {name: code for name, code in options.items() if code}


def _classes(draw, input_shape):
    """Class indices mostly; else probabilities, or what is out of range."""
    batch, classes = input_shape[:2]
    size = tuple(draw.pick(axis, [1, 2, 3, 4, 5, 8, 12, 16], [33, 0]) for axis in "HW")
    kind = draw.pick("kind", ["index", "-100 too"], ["out of range", "probabilities", "int32", "uint8"], 0.15)
    least, most = {"out of range": (-3, classes + 2)}.get(kind, (0, classes))
    if kind == "probabilities":
        return f"torch.rand({(batch, classes, *size)}).softmax(1)"
    code = f"torch.randint({least}, {max(most, least + 1)}, {(batch, *size)})"
    if kind == "-100 too":
        return f"{code}.masked_fill(torch.rand({(batch, *size)}) < 0.3, -100)"
    if kind in ("int32", "uint8"):
        return f"{code}.to(torch.{kind})"
    return draw.pick(
        "layout", [code], [f"{code}.mT.contiguous().mT", f"{code}[:, :1].expand{(batch, *size)}"]
    )


@target(_upsample_cross_entropy_arguments, scale=1.0)
def upsample_cross_entropy(
    F,
    input,
    target,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    align_corners=False,
):
    logits = F.interpolate(input, target.shape[-2:], None, "bilinear", align_corners)
    return F.cross_entropy(
        logits,
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def _upsample_add_arguments(draw):
    dtype = inputs.dtype(draw)
    shape = inputs.image_shape(draw)
    size = tuple(draw.pick(f"other {axis}", [1, 2, 3, 4, 5, 8, 12, 16], [33, 0]) for axis in "HW")
    leading = shape[:2]
    broadcast = [(1, *leading[1:]), (*leading[:1], 1), (1, 1), leading[1:], (1,), (), (2, *leading), (4, 3)]
    of_other = (*draw.pick("broadcast", [leading], broadcast, chance=0.25), *size)
    other_dtype = draw.pick("other dtype", [dtype], [*inputs.FLOATING, "torch.int64"], chance=0.15)
    arguments = {
        "input": inputs.tensor(draw.of("input"), shape, dtype),
        "other": inputs.tensor(draw.of("other"), of_other, other_dtype),
    }
    corners = {"align_corners": "True"} if draw.happens("align_corners", 0.3) else {}
    return arguments | corners | _mode(draw)


@target(_upsample_add_arguments, has_native_uint8=True)
def upsample_add(F, input, other, align_corners=False, *, mode="bilinear"):
    return _picked(F, input, other.shape[-2:], None, mode, _corners(mode, align_corners)) + other


def _upsample_concat_arguments(draw):
    dtype = inputs.dtype(draw)
    batch = draw.pick("N", [1, 2, 3], [0])
    tensors = []
    for i in range(draw.pick("count", [1, 2, 3, 4], [0, 70], chance=0.03)):
        of = draw.of(str(i))
        shape = (batch, *(inputs.extent(of, axis, 17) for axis in "CHW"))
        of_dtype = of.pick("dtype", [dtype], inputs.FLOATING, chance=0.1)
        # An image of the size asked for is copied, where native multiplies by 1 and 0: see the docstring.
        tensors.append(inputs.tensor(of, shape, of_dtype, "finite"))
    form = draw.pick("form", ["[{}]", "({},)"], chance=0)
    arguments = {"inputs": form.format(", ".join(tensors)) if tensors else "[]"}
    if draw.happens("size", 0.5):
        arguments["size"] = inputs.pair(draw, "size", [1, 2, 3, 4, 5, 8, 12], [33, 0])
    corners = {"align_corners": "True"} if draw.happens("align_corners", 0.3) else {}
    return arguments | corners | _mode(draw)


@target(_upsample_concat_arguments, has_native_uint8=True)
def upsample_concat(F, inputs, size=None, align_corners=False, *, mode="bilinear"):
    if not isinstance(inputs, (tuple, list)) or not all(isinstance(t, torch.Tensor) for t in inputs):
        raise TypeError("expected a list or tuple of tensors")
    if not inputs:
        raise ValueError("expected inputs")
    size = inputs[0].shape[-2:] if size is None else size
    corners = _corners(mode, align_corners)
    return torch.cat([_picked(F, t, size, None, mode, corners) for t in inputs], 1)
