"""How much memory a process may still allocate, control group limits included."""

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
    free = []
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    if found:
        free.append(int(found[1]) * 1024)
    for folder, version in _groups(root):
        limit_file, usage_file, reclaimable = _FILES[version]
        limit, usage = _text(folder / limit_file).strip(), _text(folder / usage_file).strip()
        if limit.isdecimal() and usage.isdecimal():  # not "max", which is no limit
            found = re.search(rf"^{reclaimable} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
            free.append(max(0, int(limit) - int(usage) + (int(found[1]) if found else 0)))
    return min(free, default=None)


def _groups(root: Path) -> Iterator[tuple[Path, str]]:
    """This process's control group for memory, and all groups that contain it.

    In a container the path may be the host's and not exist; its own group is then the first folder.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        folder = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        yield folder, "v1" if controllers else "v2"
        for part in Path(path).parts[1:]:
            folder /= part
            yield folder, "v1" if controllers else "v2"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
