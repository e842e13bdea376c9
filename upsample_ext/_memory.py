"""How much memory a process may still allocate, control group limits included.

Imports nothing from the package, so that the build can use it too.
"""

import re
from collections.abc import Iterator
from pathlib import Path

# Limit, usage, and the part of the usage that the kernel can reclaim, in both versions of control groups
_FILES = {
    "v2": ("memory.max", "memory.current", "inactive_file"),
    "v1": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_bytes(root: Path = Path("/")) -> int | None:
    """The free memory of the machine, or what a control group of this process leaves if that is less.

    None if the machine does not report it.
    """
    free = [_free_in_group(folder, version) for folder, version in _groups(root)]
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    free.append(int(found[1]) * 1024 if found else None)
    return min((count for count in free if count is not None), default=None)


def _free_in_group(folder: Path, version: str) -> int | None:
    """Bytes that the processes of one control group may still take, None where it sets no limit."""
    limit_file, usage_file, reclaimable = _FILES[version]
    limit, usage = _text(folder / limit_file).strip(), _text(folder / usage_file).strip()
    if not limit.isdecimal():  # absent, or "max"
        return None
    found = re.search(rf"^{reclaimable} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
    used = (int(usage) if usage.isdecimal() else 0) - (int(found[1]) if found else 0)
    return max(0, int(limit) - max(0, used))


def _groups(root: Path) -> Iterator[tuple[Path, str]]:
    """This process's control group for memory, and all groups that contain it, each as (folder, version).

    A container sees its own group at the root of the mount; a path that is the host's does not exist there.
    """
    mount = root / "sys/fs/cgroup"
    for line in (_text(root / "proc/self/cgroup") or "0::/\n0:memory:/").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            tops, version = (mount, mount / "unified"), "v2"
        elif "memory" in controllers.split(","):
            tops, version = (mount / "memory", mount / controllers), "v1"
        else:
            continue
        for top in tops:
            folder = top / path.lstrip("/")
            while folder != top and top in folder.parents:
                yield folder, version
                folder = folder.parent
            yield top, version


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
