"""Finds the headers of a CUDA toolkit: of an installed one, or of NVIDIA's wheels (the "test" extra)."""

import importlib.util
import os
import pathlib
import shutil

NEEDED = ("cuda_runtime_api.h", "cuda_fp16.h", "cuda_bf16.h", "crt/host_defines.h", "nv/target")


class NoToolkit(Exception):
    pass


def _installed():
    named = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    if named:  # the user's word: no other is looked for
        yield pathlib.Path(named[0]) / "include"
        return
    nvcc = shutil.which("nvcc")
    if nvcc:
        yield pathlib.Path(nvcc).resolve().parent.parent / "include"
    yield pathlib.Path("/usr/local/cuda/include")


def _wheels():
    """nvidia-cuda-runtime, nvidia-cuda-crt and nvidia-cuda-cccl share one folder, nvidia/cu13/include."""
    spec = importlib.util.find_spec("nvidia")
    for place in spec.submodule_search_locations if spec else ():
        yield from sorted(pathlib.Path(place).glob("cu*/include"), reverse=True)


def include_directory():
    """The first folder that holds all headers that we need."""
    tried = [*_installed(), *_wheels()]
    for folder in tried:
        if all((folder / name).is_file() for name in NEEDED):
            return folder
    raise NoToolkit(
        f"no folder with {', '.join(NEEDED)}; looked in {', '.join(map(str, tried))}. Set CUDA_HOME, or "
        "install nvidia-cuda-runtime, nvidia-cuda-crt and nvidia-cuda-cccl."
    )
