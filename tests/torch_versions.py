"""Features that older versions of torch lack, for tests that need them."""

import pytest
import torch
from torch._dynamo import compiled_autograd

TORCH = tuple(map(int, torch.__version__.split(".")[:2]))


def since_torch(version, reason):
    """Skips a test where torch is older than `version`, as (2, 11), with the reason."""
    return pytest.mark.skipif(version > TORCH, reason=f"torch {torch.__version__}: {reason}")


# F.interpolate of torch 2.5, 2.7 and 2.9 rounds some float32 coordinates otherwise than that of 2.11: ours
# are the same under all of them, and its own differ from those of 2.11 by up to 3e-6. 2.10 was not tried.
NATIVE_ROUNDS_AS_NOW = TORCH >= (2, 11)
native_rounds_as_now = since_torch((2, 11), "F.interpolate rounds some float32 coordinates otherwise")

# In torch 2.5 a rule of torch.library.register_vmap, of any custom op, ends in an internal assertion of torch
# when it runs inside another transform or under a dispatch mode, such as the one that records ops for tests.
# 2.6 was not tried; 2.7 has it right.
nested_vmap_rules = since_torch((2, 7), "vmap rules of custom ops fail inside other transforms or modes")

# torch.compile of torch 2.5 makes the gradient of a channels-last image contiguous, natively too. 2.6 was not
# tried; 2.7 keeps its strides.
COMPILED_GRADIENTS_KEEP_STRIDES = TORCH >= (2, 7)

# A checkpoint inside a graph that writes to what it has computed: torch 2.14 cannot cut its graph in two,
# natively either ("node source not in graph").
cuts_written_checkpoints = pytest.mark.skipif(
    TORCH >= (2, 14), reason=f"torch {torch.__version__}: cannot compile checkpoints that write"
)

# 2.10 was not tried.
fake_out_of_a_gpu = since_torch((2, 11), "out= with a fake tensor of a GPU asks for a driver")

# A context manager that compiles backward: its name since torch 2.6 or 2.7, and before.
enable_compiled_autograd = getattr(compiled_autograd, "_enable", None) or compiled_autograd.enable
