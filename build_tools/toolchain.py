"""Tries the compilers on a few lines before they get the sources, so that a fault is said in a few words.

Torch compiles C++ with CXX (c++ where it is not set) and CUDA with CUDA_HOME's nvcc. Nvcc's own host compiler
is CC where that is set, else NVCC_CCBIN, else g++.
"""

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from typing import NoReturn

from build_tools.messages import build, fail, say

_CXX_PROBE = """
#include <Python.h>
#include <omp.h>
#include <vector>
int main() { return static_cast<int>(std::vector<int>(1, omp_get_max_threads() < 0)[0]); }
"""
_CUDA_PROBE = """
#include <vector>
__global__ void nothing() {}
"""
_INSTALL_CXX = "    apt-get install g++     (or: dnf install gcc-c++, conda install gxx_linux-64)"


def _run(command: Sequence[str]) -> tuple[int, str]:
    """(exit code, everything that it printed)."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        result = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return 127, str(error)
    return result.returncode, result.stdout


def _compile(command: Sequence[str], source: str, suffix: str) -> tuple[int, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"probe{suffix}"
        path.write_text(source)
        return _run([*command, "-c", str(path), "-o", str(path.with_suffix(".o"))])


def _last(printed: str, count: int = 6) -> list[str]:
    """The end of what a compiler printed, which is what it stumbled over."""
    return [f"    {line}" for line in printed.strip().splitlines()[-count:]]


def single_word_cxx(wraps: bool) -> None:
    """CXX="ccache g++" as torch takes it: recent ones put ccache in front themselves and quote the rest."""
    words = shlex.split(os.environ.get("CXX", ""))
    if not wraps or len(words) < 2:
        return
    if len(words) > 2 or os.path.basename(words[0]) not in ("ccache", "sccache"):
        fail(
            f"CXX names one program, and this torch would take all of {os.environ['CXX']!r} for its name.",
            "Flags go into CFLAGS. Type:",
            f"    CXX={words[0]} {build()}",
        )
    os.environ["CXX"] = words[1]


def check_cxx() -> None:
    command = shlex.split(os.environ.get("CXX") or "c++")
    program = command[0] if command else "c++"
    if not shutil.which(program):
        named = f"CXX={os.environ['CXX']}" if os.environ.get("CXX") else "c++, the C++ compiler,"
        fail(f"{named} was not found. Type:", _INSTALL_CXX, f"    {build()}")
    flags = ["-std=c++17", "-fopenmp", "-fPIC", f"-I{sysconfig.get_path('include')}"]
    code, printed = _compile([*command, *flags], _CXX_PROBE, ".cpp")
    if code == 0:
        return
    remedy = _INSTALL_CXX
    if "Python.h" in printed:
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        remedy = f"    apt-get install {name}-dev     (or: dnf install {name}-devel)"
    elif "omp.h" in printed:
        remedy = "    apt-get install libomp-dev     (or choose g++: CXX=g++)"
    fail(
        f"{shlex.join(command)} cannot compile a few lines of C++:",
        *_last(printed),
        "Type:",
        remedy,
        f"    {build()}",
    )


def _fitting_toolkits(major: str) -> list[pathlib.Path]:
    """Toolkits of this major version in the usual place, the newest last."""
    return sorted(
        (
            path
            for path in pathlib.Path("/usr/local").glob(f"cuda-{major}*")
            if (path / "bin" / "nvcc").exists()
        ),
        key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)],
    )


def check_nvcc(cuda_home: str, torch_version: str, torch_cuda: str) -> None:
    """torch's own rule in other words: the same major version of CUDA; another minor one is let pass."""
    nvcc = os.path.join(cuda_home, "bin", "nvcc")
    major = torch_cuda.split(".")[0]
    found = _fitting_toolkits(major)
    choose = [
        "Type one of:",
        f"    CUDA_HOME={found[-1] if found else f'/usr/local/cuda-{torch_cuda}'} {build()}"
        + ("" if found else f"     (where a toolkit of CUDA {major} is)"),
        f"    FORCE_CPU=1 {build()}     (CUDA tensors then go to PyTorch's own kernels)",
    ]
    code, printed = _run([nvcc, "--version"])
    if code:
        fail(f"CUDA_HOME is {cuda_home}, and {nvcc} does not run:", *_last(printed), *choose)
    version = re.search(r"release (\d+)\.(\d+)", printed)
    if version and version[1] != major:
        fail(
            f"CUDA_HOME is {cuda_home}, whose nvcc is of CUDA {version[1]}.{version[2]}, but torch "
            f"{torch_version} was built for CUDA {torch_cuda}.",
            *choose,
        )
    # torch takes the folder of any nvcc for a toolkit, of a script that calls one elsewhere too
    homes = [pathlib.Path(cuda_home), *pathlib.Path(cuda_home).glob("targets/*")]
    if not any((home / "include" / "cuda_runtime_api.h").is_file() for home in homes):
        fail(f"CUDA_HOME is {cuda_home}, where nvcc is but no include/cuda_runtime_api.h.", *choose)


def check_cuda_compiles(cuda_home: str, flags: Sequence[str]) -> None:
    """A host compiler or an architecture that nvcc does not know would end the build in pages of output."""
    nvcc = shlex.split(os.environ.get("PYTORCH_NVCC") or os.path.join(cuda_home, "bin", "nvcc"))
    host = ["-ccbin", os.environ["CC"]] if os.environ.get("CC") else []
    # Nvcc judges architectures by their names, and to compile for each takes a second: try the default one
    one = [flag for flag in flags if "gencode" not in flag]
    for command in ([*nvcc, "--dryrun", *flags, *host], [*nvcc, *one, *host]):
        code, printed = _compile(command, _CUDA_PROBE, ".cu")
        if code:
            explain_nvcc(cuda_home, printed)


def explain_nvcc(cuda_home: str, printed: str) -> NoReturn:
    lines = [
        f"nvcc of CUDA_HOME={cuda_home} cannot compile a few lines of CUDA:",
        *_last(printed),
        "Type one of:",
    ]
    if "nsupported gpu architecture" in printed:
        lines.append(f"    TORCH_CUDA_ARCH_LIST=9.0 {build()}     (what it knows: nvcc --list-gpu-arch)")
        lines.append(f"    CUDA_HOME=/usr/local/cuda-... {build()}     (a newer toolkit)")
    else:
        if os.environ.get("CC"):
            lines.append(
                "    (CC is set, and so it is nvcc's host compiler: unset it, or set it to one below)"
            )
        older = "12"
        known = re.search(r"gcc versions later than (\d+)", printed)
        if known:
            older = known[1]
        lines.append(
            f"    CXX=g++-{older} NVCC_CCBIN=g++-{older} {build()}     (a host compiler that this nvcc takes)"
        )
        lines.append(f"    TORCH_CUDA_ARCH_LIST=9.0 {build()}     (if it is the GPU that is not known)")
    lines.append(f"    FORCE_CPU=1 {build()}     (CUDA tensors then go to PyTorch's own kernels)")
    fail(*lines)


@contextlib.contextmanager
def last_words(with_cuda: bool) -> Iterator[None]:
    """Ends a failed compilation with what to try, in the place where people look: after all the output."""
    try:
        yield
    except (RuntimeError, subprocess.CalledProcessError) as error:
        text = str(error).splitlines()
        lines = [
            "the compilation failed; the first error above says of what:",
            *(f"    {line}" for line in text[:3]),
            "If a compiler was killed, memory ran out. What may help, before the same command:",
            "    MAX_JOBS=1              one compilation at a time",
            "    CXX=g++-12              another C++ compiler",
        ]
        if with_cuda:
            lines += [
                "    NVCC_CCBIN=g++-12       another host compiler for nvcc",
                "    TORCH_CUDA_ARCH_LIST=9.0    fewer, or older, GPU architectures",
                "    FORCE_CPU=1             no CUDA kernels: CUDA tensors then go to PyTorch",
            ]
        say("the traceback of the failed build:")
        traceback.print_exception(error)
        fail(*lines)
