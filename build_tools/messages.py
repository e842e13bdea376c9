"""What the build says to whoever started it, and the words to type."""

import os
import pathlib
import runpy
import sys
from collections.abc import Callable
from typing import NoReturn

ROOT = pathlib.Path(__file__).resolve().parent.parent
RULE = "=" * 80
_installer = runpy.run_path(str(ROOT / "upsample_ext" / "_installer.py"))
install: Callable[..., str] = _installer["install"]


def build() -> str:
    """The command that builds against what is installed and installs the result."""
    return install("--no-build-isolation", ".")


def say(line: str) -> None:
    print(f"upsample_ext: {line}", file=sys.stderr, flush=True)


def fail(*lines: str) -> NoReturn:
    """Ends the build with a message that stands out from what pip prints around it."""
    first, *rest = lines
    sys.exit("\n".join(["", RULE, f"upsample_ext: {first}", *rest, RULE]))


def check_platform(platform: str) -> None:
    if platform != "linux":
        fail(f"this package builds and runs on Linux only, this is {platform}.")


def check_writable() -> None:
    """A build writes beside the sources; files of an earlier build may belong to someone else."""
    for path in (ROOT, ROOT / "build", ROOT / "upsample_ext", *ROOT.glob("*.egg-info")):
        if path.exists() and not os.access(path, os.W_OK):
            fail(
                f"the build writes into the checkout, and {path} cannot be written. Type:",
                f"    cp -r {ROOT} ~/upsample_ext && cd ~/upsample_ext",
                f"    {build()}",
            )
