"""PyTorch's own functions, captured when this package is first imported.

`patch()` replaces them in `torch.nn.functional`; calls that this package leaves to PyTorch must use these.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

interpolate = F.interpolate
upsample = F.upsample
conv_transpose1d = torch.conv_transpose1d
conv_transpose2d = torch.conv_transpose2d
# The op, which unlike the function has out=, which torch's stub omits
upsample_bilinear2d: Callable[..., Tensor] = torch._C._nn.upsample_bilinear2d
