"""torch.nn.functional with a conv_transpose2d that does not cut its numbers to 32 bits.

The native one does, and then refuses a call for the number that is left, or computes with it. Here a step
between samples of which there is only one, which may be any number, does not matter; and what no memory holds
raises RuntimeError.
"""

import math

from torch.nn import functional as F

from .targets import _near, _pair
from .workers import MEMORY

interpolate, cross_entropy, pad = F.interpolate, F.cross_entropy, F.pad


def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    stride, padding, output_padding, dilation = map(_pair, (stride, padding, output_padding, dilation))
    *planes, height, width = input.shape
    size = [
        (n - 1) * step - 2 * cut + spread * (kernel - 1) + extra + 1
        for n, kernel, step, cut, extra, spread in zip(
            (height, width), weight.shape[2:], stride, padding, output_padding, dilation, strict=True
        )
    ]
    bytes_of_samples = math.prod((*planes, *size)) * input.element_size()
    if min(size) > 0 and (
        bytes_of_samples > MEMORY or math.prod(max(n, 1) for n in (*planes, *size)) >= 2**63
    ):
        raise RuntimeError(f"a result of {bytes_of_samples} bytes")
    stride, dilation = _near(stride, (height, width)), _near(dilation, weight.shape[2:])
    return F.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
