"""Where the CUDA toolkit is: the machine's own, or the one that PyPI's wheels put beside the running Python.

The wheels are those of the extra "cuda" in pyproject.toml, 270 MB unpacked; nothing of them needs a GPU.
"""

import os
import pathlib
import shutil
import sysconfig


def find_cuda_home() -> pathlib.Path | None:
    """The folder whose bin holds nvcc and whose include holds CUDA's headers; None where there is none."""
    candidates = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    on_path = shutil.which("nvcc")
    candidates.append(pathlib.Path(on_path).resolve().parent.parent if on_path else None)
    candidates.append("/usr/local/cuda")
    candidates.append(pathlib.Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13")
    for candidate in candidates:
        if candidate and (pathlib.Path(candidate) / "bin" / "nvcc").is_file():
            home = pathlib.Path(candidate)
            if (home / "include" / "cuda_fp16.h").is_file():
                return home
    return None


if __name__ == "__main__":
    found = find_cuda_home()
    print(found or 'no CUDA toolkit: set CUDA_HOME, or install the extra "cuda" of pyproject.toml')
    raise SystemExit(found is None)
