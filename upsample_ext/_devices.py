"""Which devices this build has kernels for; tensors on any other are left to PyTorch.

A build without CUDA leaves all CUDA tensors to PyTorch, and a build whose machine code a GPU cannot run
leaves that GPU's tensors to PyTorch; our kernels would fail there with "no kernel image is available".
"""

import re
import warnings

import torch

from upsample_ext import _build_info
from upsample_ext._library import C, rebuild

KINDS = frozenset(("cpu", "meta", *(["cuda"] if C.build_info()["cuda"] else [])))
_warned = False


def serves(arch_list: str, capability: tuple[int, int]) -> bool:
    """Whether kernels built for TORCH_CUDA_ARCH_LIST run on a GPU of this compute capability.

    Machine code serves its own major version from its minor version on; PTX serves everything newer.
    """
    for architecture in re.split(r"[;\s]+", arch_list):
        found = re.fullmatch(r"(\d+)\.(\d+)[af]?(\+PTX)?", architecture)
        if found is None:
            continue
        built = int(found[1]), int(found[2])
        if capability >= built and (capability[0] == built[0] or found[3]):
            return True
    return False


def remedy(capability: tuple[int, int]) -> str:
    """The command for a build that supports a GPU of this compute capability."""
    return f"TORCH_CUDA_ARCH_LIST={capability[0]}.{capability[1]} {rebuild()}"


def _judge(index: int) -> bool:
    """Whether this build supports a GPU; called once for each. Warns about the first that it does not."""
    global _warned
    capability = torch.cuda.get_device_capability(index)
    if serves(_build_info.cuda_arch_list, capability):
        return True
    if not _warned:
        _warned = True
        warnings.warn(
            f"upsample_ext was built for GPUs of the architectures {_build_info.cuda_arch_list}, and "
            f"cuda:{index}, {torch.cuda.get_device_name(index)}, is {capability[0]}.{capability[1]}: "
            "PyTorch's own kernels run there instead. For ours, in the checkout of upsample_ext, with this "
            "Python, type:\n"
            f"    {remedy(capability)}",
            stacklevel=2,
        )
    return False


C.judge_gpus_with(_judge)


def _gpu_is_served(index: int) -> bool:
    """The library's cached answer; True if CUDA is not initialised: a CUDA tensor is then a fake one."""
    return not torch.cuda.is_initialized() or C.gpu_is_served(index)


# Makes torch.compile treat the answer as a constant. torch.compiler.assume_constant_result does the same, but
# takes a second to import the compiler.
_gpu_is_served._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_ours(device: torch.device) -> bool:
    """Whether this build has kernels that run on the device."""
    return device.type in KINDS and (device.type != "cuda" or _gpu_is_served(device.index or 0))
