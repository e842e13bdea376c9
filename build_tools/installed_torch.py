"""Finds the torch of the environment that is installed into, from inside an isolated build.

`pip install .` builds in an environment of its own, which hides what is installed. A torch fetched into it
would replace the installed one, because the wheel requires the version that it was built for.
"""

import importlib.util
import os
import pathlib
import re
import site
import sys
import sysconfig
from collections.abc import Iterator

from build_tools.messages import say
from build_tools.requirements import check_torch_version, torch_requirement

_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_SITE_PACKAGES = f"lib/{_PYTHON}/site-packages"
_DEBIAN_PACKAGES = (f"/usr/local/lib/{_PYTHON}/dist-packages", "/usr/lib/python3/dist-packages")


def _parent() -> tuple[dict[str, str], list[str], pathlib.Path]:
    """Variables, arguments and folder of the process that started this build: uv, or python -m build."""
    process = pathlib.Path("/proc") / str(os.getppid())
    try:
        variables = (process / "environ").read_bytes().decode(errors="replace").split("\0")
        arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        folder = (process / "cwd").resolve()
    except OSError:
        return dict(os.environ), [], pathlib.Path(os.environ.get("PWD", "."))
    return dict(line.split("=", 1) for line in variables if "=" in line), arguments, folder


def _environment_beside(python: str) -> pathlib.Path | None:
    """The environment that a Python belongs to, or the folder itself; None for a version such as 3.12."""
    path = pathlib.Path(python)
    if "/" not in python:
        return None
    return path if path.is_dir() else path.parent.parent


def _targets() -> Iterator[pathlib.Path | None]:
    """Environments that a build in a temporary one may be for, as uv looks for them: the first is taken."""
    variables, arguments, folder = _parent()
    for option, value in zip(arguments, arguments[1:], strict=False):
        if option in ("--python", "-p"):
            yield _environment_beside(value)
    for argument in arguments:
        if argument.startswith("--python="):
            yield _environment_beside(argument.partition("=")[2])
    if "--system" not in arguments and not variables.get("UV_SYSTEM_PYTHON"):
        yield _environment_beside(variables.get("UV_PYTHON", ""))
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
            if variables.get(name):
                yield pathlib.Path(variables[name])
        if os.path.basename(arguments[0] if arguments else "").startswith("python"):
            # `python -m build` of an environment that is not active
            yield _environment_beside(arguments[0])
        for above in (folder, *folder.parents):
            yield above / ".venv"
    yield pathlib.Path(sys.base_prefix)


def _is_temporary(prefix: pathlib.Path) -> bool:
    """Whether this environment is one that uv, or python -m build, made for the build alone."""
    return prefix.parent.name.startswith("builds-v") or prefix.name.startswith("build-env-")


def _packages_of(target: pathlib.Path) -> list[pathlib.Path]:
    """Where an environment keeps its packages; nothing where it is none, or one of another Python."""
    base = pathlib.Path(sys.base_prefix)
    outside = [base / _SITE_PACKAGES, *(pathlib.Path(folder) for folder in _DEBIAN_PACKAGES)]
    if target == base:
        return [folder for folder in outside if folder.is_dir()]
    is_environment = (target / "pyvenv.cfg").exists() or (target / "conda-meta").exists()
    if not is_environment or not (target / _SITE_PACKAGES).is_dir():
        return []
    try:
        words = (target / "pyvenv.cfg").read_text()
    except OSError:
        words = ""
    sees_outside = re.search(r"^include-system-site-packages\s*=\s*true", words, re.MULTILINE)
    return [target / _SITE_PACKAGES, *(outside if sees_outside else [])]


def _folders() -> list[pathlib.Path]:
    """Where the environment that is installed into keeps its packages."""
    prefix = pathlib.Path(sys.prefix)
    if _is_temporary(prefix):
        targets = (target for target in _targets() if target is not None and target != prefix)
        return next(filter(None, map(_packages_of, targets)), [])
    # pip's isolation: the Python is the right one, only its packages are taken off sys.path
    folders = [sysconfig.get_path("platlib"), *site.getsitepackages()]
    if sys.prefix == sys.base_prefix:
        folders.append(site.getusersitepackages())
    return [pathlib.Path(folder) for folder in folders]


def reach() -> None:
    """Has this process find the installed packages too, after those of the build's own environment."""
    for folder in _folders():
        if os.path.isdir(folder):
            site.addsitedir(str(folder))


def find() -> tuple[str, str] | None:
    """(version, folder) of the torch that is installed, or None; has this process find it too."""
    found = importlib.util.find_spec("torch")
    if found is None:
        reach()
        found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    folder = pathlib.Path(found.origin).parent
    try:
        words = (folder / "version.py").read_text()
    except OSError:
        return None
    version = re.search(r"""^__version__\s*=\s*["']([^"']+)""", words, re.MULTILINE)
    return (version[1], str(folder.parent)) if version else None


def requirements() -> list[str]:
    """What an isolated build must fetch beside setuptools and ninja: no torch where a fitting one is."""
    found = find()
    if found is None:
        say(f"no torch is installed: the newest that fits, {torch_requirement()}, is fetched and installed.")
        return [torch_requirement()]
    version, folder = found
    check_torch_version(version)
    say(f"building against the installed torch {version} of {folder}.")
    return []
