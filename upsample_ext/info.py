"""Describes this installation: versions, build targets, instruction-set level, threads."""

from dataclasses import dataclass

import torch

from upsample_ext import _build_info
from upsample_ext._devices import serves
from upsample_ext._library import C
from upsample_ext._version import __version__


@dataclass(frozen=True)
class Info:
    """The result of `info()`; `print` shows it as a table.

    Attributes:
        version: of upsample_ext.
        torch: version of the torch that is running.
        built_for_torch: version of the torch that the extension was built against.
        built_for_cuda: CUDA version that the extension was built with, None in a CPU-only build.
        cuda_arch_list: the GPU architectures in the extension as TORCH_CUDA_ARCH_LIST names them, "" in a
            CPU-only build.
        gpus: name and compute capability of each GPU that torch sees, and whether the extension serves it.
        compiler: the C++ compiler that built it.
        level: the instruction-set level in use; UPSAMPLE_EXT_LEVEL in the environment forces a lower one.
        levels: all levels that this processor can run, lowest first.
        threads: `torch.get_num_threads()`.
        openmp: whether the extension's loops run in parallel.
    """

    version: str
    torch: str
    built_for_torch: str
    built_for_cuda: str | None
    cuda_arch_list: str
    gpus: tuple[str, ...]
    compiler: str
    level: str
    levels: tuple[str, ...]
    threads: int
    openmp: bool

    def __str__(self) -> str:
        openmp = "on" if self.openmp else "OFF: every loop runs on one thread"
        cuda = "no, CPU only: CUDA tensors go to PyTorch"
        if self.built_for_cuda:
            cuda = f"{self.built_for_cuda}, kernels for {self.cuda_arch_list.replace(';', ' ')}"
        rows = {
            "upsample_ext": self.version,
            "torch": f"{self.torch} (built for {self.built_for_torch})",
            "CUDA": cuda,
            "GPUs": "; ".join(self.gpus) or "none visible",
            "compiler": self.compiler,
            "SIMD level": f"{self.level} (of {', '.join(self.levels)})",
            "threads": f"{self.threads} (OpenMP {openmp})",
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _describe_gpu(index: int) -> str:
    major, minor = torch.cuda.get_device_capability(index)
    description = f"{torch.cuda.get_device_name(index)} ({major}.{minor})"
    if _build_info.cuda and not serves(_build_info.cuda_arch_list, (major, minor)):
        description += f", NOT SERVED, left to PyTorch: build again with TORCH_CUDA_ARCH_LIST={major}.{minor}"
    return description


def info() -> Info:
    """Describes this installation.

    Returns:
        An `Info`, with one attribute per property and a printable table as its `str`.

    Example:
        >>> import upsample_ext
        >>> print(upsample_ext.info())  # doctest: +SKIP
        upsample_ext  0.1.0
        torch         2.13.0+cpu (built for 2.13.0+cpu)
        CUDA          no, CPU only: CUDA tensors go to PyTorch
        GPUs          none visible
        compiler      gcc 12.2.0
        SIMD level    avx2 (of baseline, avx2)
        threads       2 (OpenMP on)
    """
    built = C.build_info()
    return Info(
        version=__version__,
        torch=str(torch.__version__),
        built_for_torch=_build_info.torch,
        built_for_cuda=_build_info.cuda,
        cuda_arch_list=_build_info.cuda_arch_list,
        gpus=tuple(_describe_gpu(i) for i in range(torch.cuda.device_count())),
        compiler=built["compiler"],
        level=C.level(),
        levels=tuple(C.levels()),
        threads=torch.get_num_threads(),
        openmp=built["openmp"],
    )
