"""PyTorch's own functions, captured when this package is first imported.

`patch()` replaces them in `torch.nn.functional`; calls that this package leaves to PyTorch must use these.
"""

import sys
from collections.abc import Callable
from types import FrameType

import torch
from torch import Tensor
from torch.nn import functional as F

interpolate = F.interpolate
upsample = F.upsample
conv_transpose1d = torch.conv_transpose1d
conv_transpose2d = torch.conv_transpose2d
# The op, which unlike the function has out=, which torch's stub omits
upsample_bilinear2d: Callable[..., Tensor] = torch._C._nn.upsample_bilinear2d


def is_wanted() -> bool:
    """Whether a graph is being recorded whose reader knows PyTorch's ops alone, by the tracer or the exporter."""
    if torch.compiler.is_compiling():
        return _is_exported_to_onnx()
    return torch._C._get_tracing_state() is not None and (_is_exported_to_onnx() or _is_traced_to_be_read())


def _is_exported_to_onnx() -> bool:
    onnx = sys.modules.get("torch.onnx")  # imported when it is first needed
    return onnx is not None and onnx.is_in_onnx_export()


def _is_traced_to_be_read() -> bool:
    """Whether the tracer makes a graph and no function that runs: for counters of operations, as fvcore's."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is torch.jit._trace.ONNXTracedModule.forward.__code__:
            return True
        frame = frame.f_back
    return False
