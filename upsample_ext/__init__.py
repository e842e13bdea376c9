"""upsample_ext: fast upsampling for PyTorch.

Drop-ins for `F.interpolate` and depthwise `F.conv_transpose2d`, with PyTorch's semantics and
deterministic gradients; upsampling fused with argmax, threshold, cross-entropy, add and concat; Caffe's fixed
bilinear transposed convolution; and `compare`, which shows why the two kinds of upsampling differ.
"""

from upsample_ext import _flops  # noqa: F401  (registers the FLOP counts of our ops)
from upsample_ext._version import __version__
from upsample_ext.add import upsample_add
from upsample_ext.argmax import upsample_argmax
from upsample_ext.compare import Comparison, compare
from upsample_ext.concat import upsample_concat
from upsample_ext.convert import Conversions, conversions, convert, revert
from upsample_ext.cross_entropy import upsample_cross_entropy
from upsample_ext.decompositions import decompositions
from upsample_ext.deconv import conv_transpose1d, conv_transpose2d
from upsample_ext.deconv_fixed import (
    bilinear_conv_transpose2d,
    fixed_conv_transpose1d,
    fixed_conv_transpose2d,
    linear_conv_transpose1d,
)
from upsample_ext.deconv_kernels import bilinear_kernel, caffe_upsample_params, make_bilinear_weights
from upsample_ext.fuse import fuse
from upsample_ext.info import Info, info
from upsample_ext.modules import (
    BilinearConvTranspose2d,
    DepthwiseConvTranspose1d,
    DepthwiseConvTranspose2d,
    DiagonalConvTranspose1d,
    DiagonalConvTranspose2d,
    LinearConvTranspose1d,
    Upsample,
    UpsampleCrossEntropyLoss,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
)
from upsample_ext.patch import patch
from upsample_ext.report import Report, report
from upsample_ext.resample import interpolate, upsample_bilinear2d
from upsample_ext.threshold import upsample_threshold

__all__ = [
    "BilinearConvTranspose2d",
    "Comparison",
    "Conversions",
    "DepthwiseConvTranspose1d",
    "DepthwiseConvTranspose2d",
    "DiagonalConvTranspose1d",
    "DiagonalConvTranspose2d",
    "Info",
    "LinearConvTranspose1d",
    "Report",
    "Upsample",
    "UpsampleCrossEntropyLoss",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "__version__",
    "bilinear_conv_transpose2d",
    "bilinear_kernel",
    "caffe_upsample_params",
    "compare",
    "conv_transpose1d",
    "conv_transpose2d",
    "conversions",
    "convert",
    "decompositions",
    "fixed_conv_transpose1d",
    "fixed_conv_transpose2d",
    "fuse",
    "info",
    "interpolate",
    "linear_conv_transpose1d",
    "make_bilinear_weights",
    "patch",
    "report",
    "revert",
    "upsample_add",
    "upsample_argmax",
    "upsample_bilinear2d",
    "upsample_concat",
    "upsample_cross_entropy",
    "upsample_threshold",
]
