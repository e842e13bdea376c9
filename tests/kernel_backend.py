"""Which kernels a test runs: the CPU's, or CUDA's, on a device or emulated on CPU tensors."""

import torch

from upsample_ext import _build_info

EMULATED = _build_info.cuda_arch_list == "emulated"


def assert_same_sums(a, b):
    """Equal in every bit, but for the order of a sum where that depends on the layout.

    Our CPU kernels sum a gradient in the same order whatever its layout. On CUDA the order depends on the
    layout of grad_output, which a compiler is free to choose.
    """
    if EMULATED or a.is_cuda:
        torch.testing.assert_close(a, b)
    else:
        assert torch.equal(a, b)
