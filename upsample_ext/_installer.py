"""The commands that install something into the running Python, as messages name them.

Imports nothing from the package, so that the build can use it too.
"""

import os
import pathlib
import re
import shutil
import sys
import sysconfig
from importlib.machinery import PathFinder


def _made_by_uv() -> bool:
    try:
        words = (pathlib.Path(sys.prefix) / "pyvenv.cfg").read_text()
    except OSError:
        return False
    return re.search(r"^uv\s*=", words, re.MULTILINE) is not None


def _has_pip() -> bool:
    # On the path alone: a hook of setuptools takes any other search for pip for the start of pip, and then
    # stands back for the rest of the process. An isolated build hides the pip that started it.
    return PathFinder.find_spec("pip") is not None or os.path.isdir(
        os.path.join(sysconfig.get_path("purelib"), "pip")
    )


def pip() -> str:
    """`python -m pip`, or `uv pip` in an environment of uv's that has no pip.

    Both name this Python in full unless it is the one that `python` starts.
    """
    found = shutil.which("python")
    active = found is not None and os.path.dirname(found) == os.path.dirname(sys.executable)
    python = "python" if active else sys.executable
    if _has_pip():
        return f"{python} -m pip"
    if _made_by_uv() or "UV_INTERNAL__BUILD_DIR" in os.environ:
        return "uv pip"
    return f"{python} -m ensurepip && {python} -m pip"


def install(*what: str) -> str:
    """The command that installs this; `uv pip` is told which Python where that is not the active one."""
    words = pip()
    python = []
    if words == "uv pip" and os.environ.get("VIRTUAL_ENV") != sys.prefix:
        python = ["--python", sys.executable]
    return " ".join([words, "install", *python, *what])
