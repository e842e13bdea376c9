"""The dtypes that tests are parametrised by."""

import torch

FLOATS = [torch.float32, torch.float64]
HALVES = [torch.float16, torch.bfloat16]
DTYPES = [*FLOATS, *HALVES]
