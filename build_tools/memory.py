"""How much memory there is to build in, where a control group limits it too."""

import os
import pathlib
import re
from collections.abc import Iterator

# Limit, usage, and what of the usage the kernel takes back, in both versions of control groups
_FILES = {
    "v2": ("memory.max", "memory.current", "inactive_file"),
    "v1": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def _number(path: pathlib.Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # absent, or "max": no limit
        return None


def _free_in_group(folder: pathlib.Path, version: str) -> int | None:
    """Bytes that the processes of one control group may still take, None where it sets no limit."""
    limit_file, usage_file, reclaimable = _FILES[version]
    limit = _number(folder / limit_file)
    if limit is None:
        return None
    usage = _number(folder / usage_file) or 0
    try:
        found = re.search(rf"^{reclaimable} (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return max(0, limit - max(0, usage - (int(found[1]) if found else 0)))


def _groups(root: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """This process's control group for memory and all that it lies in, each as (folder, version).

    A container sees its own group at the mount's root; a path that is the host's leads nowhere from there.
    """
    mount = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = ["0::/", "0:memory:/"]
    for line in lines:
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


def available_gigabytes(root: str | pathlib.Path = "/") -> float:
    """Memory to build in: what the machine has free, or what a control group leaves where that is less."""
    root = pathlib.Path(root)
    free = []
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", (root / "proc/meminfo").read_text())
    except OSError:
        found = None
    if found:
        free.append(int(found[1]) * 1024)
    else:
        free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    free += [
        left for folder, version in _groups(root) if (left := _free_in_group(folder, version)) is not None
    ]
    return min(free) / 2**30
