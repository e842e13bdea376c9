"""The Python packages that a build needs, and what to type where they are missing or do not fit."""

import importlib.metadata
import os
import pathlib
import re
import runpy
import shutil
import sys
import sysconfig

from build_tools.messages import ROOT, build, fail, install

TorchRange = tuple[tuple[int, int], tuple[int, int]]

SETUPTOOLS = "setuptools>=77.0.3"  # older ones do not know an SPDX license


def _torch_range() -> TorchRange:
    """((2, 5), (2, 15)): first <= torch < second; setup.py has it, where every tool looks for it."""
    found: TorchRange = runpy.run_path(str(ROOT / "setup.py"), run_name="range")["TORCH_RANGE"]
    return found


def torch_requirement() -> str:
    low, high = (f"{major}.{minor}" for major, minor in _torch_range())
    return f"torch>={low},<{high}"


def check_torch_version(version: str) -> None:
    low, high = _torch_range()
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or not low <= (int(found[1]), int(found[2])) < high:
        first, beyond = (f"{major}.{minor}" for major, minor in (low, high))
        fail(
            f"torch {version} is not supported, only {first} <= torch < {beyond} is. Type:",
            f"    {install(_quoted(torch_requirement()))}",
            f"    {build()}",
        )


def _quoted(requirement: str) -> str:
    return f'"{requirement}"' if re.search("[<>]", requirement) else requirement


def _setuptools_problem() -> str | None:
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        return "is not installed"
    return f"is {version}" if int(version.split(".")[0]) < 77 else None


def _ninja_problem() -> str | None:
    """PyPI's ninja lies beside Python, which need not be on PATH, where torch looks for it."""
    if shutil.which("ninja"):
        return None
    for folder in (pathlib.Path(sys.executable).parent, pathlib.Path(sysconfig.get_path("scripts"))):
        if shutil.which("ninja", path=str(folder)):
            os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), str(folder)])
            return None
    return "is not on PATH"


def _torch_problem() -> str | None:
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        return f"cannot be imported ({error})"
    return None


def check() -> None:
    """Ends the build unless setuptools, ninja and a torch that fits are there; names all that is missing."""
    problems = {
        torch_requirement(): ("torch", _torch_problem()),
        SETUPTOOLS: (SETUPTOOLS, _setuptools_problem()),
        "ninja": ("ninja", _ninja_problem()),
    }
    missing = {words: (name, problem) for words, (name, problem) in problems.items() if problem}
    if missing:
        fail(
            *(
                f"building needs {name}; with {sys.executable} it {problem}."
                for name, problem in missing.values()
            ),
            "Type:",
            f"    {install(*map(_quoted, missing))}",
            f"    {build()}",
        )
    import torch

    check_torch_version(str(torch.__version__))
