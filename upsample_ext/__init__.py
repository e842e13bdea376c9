"""upsample_ext: upsampling in PyTorch at the speed of memory.

Drop-ins for `F.interpolate(mode="bilinear")` and depthwise `F.conv_transpose2d`, with native's semantics
and deterministic gradients, the fixed bilinear transposed convolution of Caffe, and the answer to why the
two differ.
"""

from upsample_ext import _flops  # noqa: F401  (registers what our ops count)
from upsample_ext._version import __version__
from upsample_ext.compare import Comparison, compare
from upsample_ext.convert import convert
from upsample_ext.deconv import (
    bilinear_conv_transpose2d,
    bilinear_kernel,
    caffe_upsample_params,
    conv_transpose2d,
    fixed_conv_transpose2d,
    make_bilinear_weights,
)
from upsample_ext.fused import (
    upsample_add,
    upsample_argmax,
    upsample_concat,
    upsample_cross_entropy,
    upsample_threshold,
)
from upsample_ext.info import Info, info
from upsample_ext.interpolate import interpolate, upsample_bilinear2d
from upsample_ext.modules import (
    BilinearConvTranspose2d,
    DepthwiseConvTranspose2d,
    Upsample,
    UpsampleCrossEntropyLoss,
    UpsamplingBilinear2d,
)
from upsample_ext.patch import patch

__all__ = [
    "BilinearConvTranspose2d",
    "Comparison",
    "DepthwiseConvTranspose2d",
    "Info",
    "Upsample",
    "UpsampleCrossEntropyLoss",
    "UpsamplingBilinear2d",
    "__version__",
    "bilinear_conv_transpose2d",
    "bilinear_kernel",
    "caffe_upsample_params",
    "compare",
    "conv_transpose2d",
    "convert",
    "fixed_conv_transpose2d",
    "info",
    "interpolate",
    "make_bilinear_weights",
    "patch",
    "upsample_add",
    "upsample_argmax",
    "upsample_bilinear2d",
    "upsample_concat",
    "upsample_cross_entropy",
    "upsample_threshold",
]
