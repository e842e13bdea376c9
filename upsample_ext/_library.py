"""Loads the compiled extension, after checking that it was built for the running torch.

A library built against another minor version of torch would fail with "undefined symbol" or, worse, not fail.
The check reads what the build recorded (`_build_info.py`) before anything is loaded.
"""

import importlib
import re
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import torch

from upsample_ext import _installer
from upsample_ext._version import __version__


def rebuild() -> str:
    """The command that builds again and installs the result, in a checkout of this package."""
    return _installer.install("--force-reinstall", "--no-deps", "--no-build-isolation", ".")


def _how() -> str:
    return f"In the checkout of upsample_ext, with this Python, type:\n    {rebuild()}"


def _minor(version: str) -> str:
    """'2.13.0+cpu' -> '2.13', the part of torch's version within which its C++ interface is stable."""
    found = re.match(r"\d+\.\d+", version)
    return found.group() if found else version


def check_abi(built_torch: str, built_cuda: str | None, torch_now: str, cuda_now: str | None) -> None:
    """Raises ImportError when the extension cannot work with the running torch; names both and the remedy."""
    if _minor(built_torch) != _minor(torch_now):
        raise ImportError(
            f"upsample_ext {__version__} was built for torch {built_torch}, but torch {torch_now} is "
            f"installed. It must be built again. {_how()}"
        )
    if built_cuda is not None and (cuda_now is None or cuda_now.split(".")[0] != built_cuda.split(".")[0]):
        now = f"built for CUDA {cuda_now}" if cuda_now else "built without CUDA"
        raise ImportError(
            f"upsample_ext {__version__} was built for torch {built_torch} with CUDA {built_cuda}, but torch "
            f"{torch_now}, {now}, is installed. It must be built again. {_how()}"
        )


def check_platform(platform: str) -> None:
    if platform != "linux":
        raise ImportError(f"upsample_ext {__version__} runs on Linux only, this is {platform}.")


def _import_extension(built_torch: str, torch_now: str) -> ModuleType:
    try:
        return importlib.import_module("upsample_ext._C")
    except ModuleNotFoundError as error:
        if error.name != "upsample_ext._C":
            raise
        raise ImportError(f"upsample_ext {__version__} is not built for this Python. {_how()}") from None
    except (ImportError, OSError) as error:
        # A nightly, a vendor's container and a source build bear the minor version of the release to come
        raise ImportError(
            f"upsample_ext {__version__} was built for torch {built_torch}, and cannot be loaded with torch "
            f"{torch_now}, whose C++ interface or libraries differ ({_first_line(error)}). It must be built "
            f"again. {_how()}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _load() -> ModuleType:
    check_platform(sys.platform)
    try:
        from upsample_ext import _build_info
    except ImportError:
        raise ImportError(f"upsample_ext {__version__} is not built. {_how()}") from None
    check_abi(_build_info.torch, _build_info.cuda, str(torch.__version__), torch.version.cuda)
    extension = _import_extension(_build_info.torch, str(torch.__version__))
    if extension.refused_level() is not None:
        raise ValueError(
            f"UPSAMPLE_EXT_LEVEL: expected an instruction-set level that this processor can run "
            f"({', '.join(extension.levels())}), got {extension.refused_level()}"
        )
    return extension


if TYPE_CHECKING:
    from upsample_ext import _C

    C = _C
else:
    C = _load()
