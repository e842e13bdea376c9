"""PyTorch's own functions, captured when this package is first imported.

`patch()` replaces them in `torch.nn.functional`; calls that this package leaves to PyTorch must use these.
"""

import torch
from torch.nn import functional as F

interpolate = F.interpolate
upsample = F.upsample
conv_transpose2d = torch.conv_transpose2d
