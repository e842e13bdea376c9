"""What a measurement depends on, for the header of every output."""

from __future__ import annotations

import datetime
import os
import platform
import time
from importlib import metadata
from pathlib import Path

import torch

import upsample_ext
from upsample_ext._library import C

from . import gems


def describe(device: torch.device, allocation: str, bandwidth: float | None = None) -> dict[str, str]:
    """Name -> value, in printing order."""
    facts = {"upsample_ext": _version(), "level": C.level(), "torch": torch.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["gpu"] = f"{properties.name} (sm_{properties.major}{properties.minor})"
        facts["gpu_memory"] = f"{properties.total_memory / 2**30:.0f} GiB"
        facts["driver"] = _driver()
        facts["cuda"] = str(torch.version.cuda)
        facts["built_for"] = upsample_ext.info().cuda_arch_list or "no CUDA: our side is PyTorch's"
        facts["cudnn"] = _cudnn()
        facts["triton"] = _distribution("triton")
        facts["flag_gems"] = gems.why_not() or _distribution("flag_gems", "flag-gems")
        facts["copy_gb_per_s"] = f"{bandwidth / 1e9:.0f}" if bandwidth else "not measured"
    facts |= {
        "cpu": _cpu_name(),
        "cores": str(os.cpu_count()),
        "aten_level": torch.backends.cpu.get_cpu_capability(),
        "huge_pages": _huge_pages(),
        "allocation": allocation,
        "opencv": _distribution("opencv-python-headless", "opencv-python"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
    }
    return facts


class Neighbours:
    """How much of the machine other programs use, from the creation of this object on (Linux only)."""

    def __init__(self) -> None:
        self._start = _processor_seconds()

    def share(self) -> float | None:
        """The share of all cores, 0 to 1; None if the system does not report it."""
        if self._start is None or (now := _processor_seconds()) is None:
            return None
        busy, total, own = (after - before for before, after in zip(self._start, now, strict=True))
        return max(0.0, busy - own) / total if total else 0.0


def _processor_seconds() -> tuple[float, float, float] | None:
    """Seconds since the start, summed over the cores: busy, all, and this process's."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = (int(field) for field in fields)
    busy = user + nice + system + irq + softirq + steal
    tick = os.sysconf("SC_CLK_TCK")
    return busy / tick, (busy + idle + iowait) / tick, time.process_time()


def _version() -> str:
    return getattr(upsample_ext, "__version__", None) or _distribution("upsample-ext")


def _distribution(*names: str) -> str:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "not installed"


def _cudnn() -> str:
    cudnn = torch.backends.cudnn
    rounding = "TF32" if cudnn.allow_tf32 else "no TF32"
    return f"{cudnn.version()}, {rounding}, {'the fastest' if cudnn.benchmark else 'its default'} algorithm"


def _driver() -> str:
    """The version of the GPU driver, which torch does not report."""
    try:
        return Path("/proc/driver/nvidia/version").read_text().split("Module")[1].split()[0]
    except (OSError, IndexError):
        return "unknown"


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _huge_pages() -> str:
    try:
        setting = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return "unknown"
    return setting.split("[")[1].split("]")[0]
