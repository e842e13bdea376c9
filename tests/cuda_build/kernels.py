"""Compiles every csrc/cuda/*.cu with nvcc for every architecture and says what each kernel takes of a GPU.

    python tests/cuda_build/kernels.py                      # the table, and exit status 1 if a kernel fails
    python tests/cuda_build/kernels.py --arch 75 90         # for some architectures only
    python tests/cuda_build/kernels.py --notes              # ... which goes into docs/cuda_registers.md

A kernel fails if it spills registers, has a stack frame (an array in local memory), or states no
__launch_bounds__ (its occupancy would be a guess). No GPU is needed: nvcc is the machine's, or that of the
extra "cuda" of pyproject.toml. A GPU also runs the machine code of an older minor version (8.7 that of sm_86,
10.3 of sm_100, 12.1 of sm_120), and 11.0 runs PTX, which the build adds.
"""

import argparse
import functools
import hashlib
import os
import pathlib
import re
import runpy
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from toolkit import find_cuda_home  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "cuda_registers.md"
# nvcc compiles to PTX of a virtual architecture, and ptxas that to machine code of a real one. In a family,
# the PTX differs in its .target line alone (a test compares it), so that of the first member serves all.
FAMILIES = ((75,), (80, 86, 89), (90,), (100, 120))
ARCHITECTURES = tuple(architecture for family in FAMILIES for architecture in family)
WARPS = {75: 32, 80: 64, 86: 48, 89: 48, 90: 64, 100: 64, 120: 48}  # that a multiprocessor can hold
WARP = 32
NO_FAULT = "No kernel spills or has a stack frame."
SOURCES = "Digest of the sources:"


@dataclass
class Kernel:
    """One kernel as ptxas made it for one architecture."""

    symbol: str
    registers: int = 0
    shared: int = 0  # bytes, static
    stack: int = 0  # bytes
    spills: int = 0  # bytes stored and loaded
    threads: int | None = None  # of a block, by __launch_bounds__
    dynamic: bool = False  # takes shared memory whose size the launch says
    warps: int | None = None  # resident on a multiprocessor; at most, if dynamic

    def faults(self):
        """What is wrong with it, in words."""
        words = []
        if self.spills:
            words.append(f"spills {self.spills} bytes")
        if self.stack:
            words.append(f"has a stack frame of {self.stack} bytes")
        if self.threads is None:
            words.append("states no __launch_bounds__")
        return words


@dataclass
class Compilation:
    """One file for one architecture."""

    source: pathlib.Path
    architecture: int
    seconds: float  # of a processor, its PTX included
    cubin_bytes: int
    kernels: list[Kernel] = field(default_factory=list)


# ---- compiling -------------------------------------------------------------------------------------------


def sources():
    return sorted((ROOT / "csrc" / "cuda").glob("**/*.cu"))


@functools.cache
def nvcc_flags():
    """Those of setup.py."""
    return runpy.run_path(str(ROOT / "setup.py"), run_name="flags")["NVCC_FLAGS"]


def compile_for(cuda_home, source, architectures):
    """Compiles as setup.py does, but to machine code alone, for architectures of one family."""
    nvcc = [str(pathlib.Path(cuda_home) / "bin" / "nvcc"), "-std=c++17", *nvcc_flags(), f"-I{ROOT / 'csrc'}"]
    (family,) = {family[0] for family in FAMILIES for architecture in architectures if architecture in family}
    with tempfile.TemporaryDirectory() as folder:
        ptx, cubin = pathlib.Path(folder) / "kernels.ptx", pathlib.Path(folder) / "kernels.cubin"
        _, ptx_seconds = nvcc_output(
            [*nvcc, f"-arch=compute_{family}", "-ptx", "-o", ptx, source], source, family
        )
        results = []
        for architecture in architectures:
            command = [*nvcc, f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v", "-o", cubin, ptx]
            report, seconds = nvcc_output(command, source, architecture)
            result = Compilation(source, architecture, ptx_seconds + seconds, cubin.stat().st_size)
            result.kernels = read_ptxas(report)
            read_ptx(ptx.read_text(), result.kernels)
            results.append(result)
    return results


def nvcc_output(command, source, architecture):
    """What it prints, and the processor seconds it takes."""
    report, seconds, status = run_timed([str(word) for word in command])
    if status:
        raise RuntimeError(f"{source.name} for sm_{architecture}:\n{report}")
    return report, seconds


def run_timed(command):
    """What a command prints, the processor seconds that it and its children take, and its exit status."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return output.read(), usage.ru_utime + usage.ru_stime, process.returncode


def read_ptxas(report):
    """The kernels that `ptxas -v` tells of. A device function that was not inlined counts as its kernel's."""
    kernels, kernel = [], None
    for line in report.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            kernel = Kernel(found[1])
            kernels.append(kernel)
        elif kernel is None:
            continue
        elif found := re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line
        ):
            kernel.stack += int(found[1])
            kernel.spills += int(found[2]) + int(found[3])
        elif found := re.search(r"Used (\d+) registers", line):
            kernel.registers = int(found[1])
            shared = re.search(r"(\d+) bytes smem", line)
            kernel.shared = int(shared[1]) if shared else 0
    return kernels


def read_ptx(text, kernels):
    """Completes kernels with what their PTX says: threads of a block, dynamic shared memory."""
    external = re.findall(r"^\.extern \.shared .*?(\w+)\[\]", text, re.MULTILINE)
    entries = {
        found[1]: found[0] for found in re.finditer(r"\.entry (\w+)\(.*?^}", text, re.DOTALL | re.MULTILINE)
    }
    for kernel in kernels:
        entry = entries[kernel.symbol]
        if found := re.search(r"^\.maxntid (\d+)(?:, (\d+), (\d+))?", entry, re.MULTILINE):
            kernel.threads = int(found[1]) * int(found[2] or 1) * int(found[3] or 1)
        kernel.dynamic = any(re.search(rf"\b{name}\b", entry) for name in external)


def add_occupancy(cuda_home, compilations):
    """Fills in Kernel.warps, by the toolkit's cuda_occupancy.h."""
    asked = [(one, kernel) for one in compilations for kernel in one.kernels if kernel.threads is not None]
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "occupancy"
        source = pathlib.Path(__file__).with_name("occupancy.cpp")
        compiler = os.environ.get("CXX", "g++").split()
        include = pathlib.Path(cuda_home) / "include"
        subprocess.run([*compiler, "-O1", f"-I{include}", str(source), "-o", str(program)], check=True)
        lines = [
            f"{one.architecture // 10} {one.architecture % 10} {k.threads} {k.registers} {k.shared}"
            for one, k in asked
        ]
        answer = subprocess.run(
            [str(program)], input="\n".join(lines), capture_output=True, text=True, check=True
        ).stdout
    for (_, kernel), blocks in zip(asked, answer.split(), strict=True):
        if int(blocks) < 0:
            raise RuntimeError(f"cuda_occupancy.h gives no answer for {kernel}")
        kernel.warps = int(blocks) * -(-kernel.threads // WARP)


def compile_all(cuda_home, architectures, jobs=None):
    """Every file for every architecture, in parallel; the largest files first."""
    families = [[a for a in family if a in architectures] for family in FAMILIES]
    work = [(source, family) for source in sources() for family in families if family]
    work.sort(key=lambda item: -item[0].stat().st_size)
    with ThreadPoolExecutor(jobs or len(os.sched_getaffinity(0))) as pool:
        found = pool.map(lambda item: compile_for(cuda_home, *item), work)
        compilations = [one for of_a_family in found for one in of_a_family]
    compilations.sort(key=lambda one: (one.source.name, one.architecture))
    add_occupancy(cuda_home, compilations)
    return compilations


def faults(compilations):
    """One line for each fault of each kernel."""
    names = readable_names({kernel.symbol for one in compilations for kernel in one.kernels})
    return [
        f"{one.source.name}, sm_{one.architecture}: {' '.join(names[kernel.symbol])} {fault}"
        for one in compilations
        for kernel in one.kernels
        for fault in kernel.faults()
    ]


def digest(version):
    """Of what registers depend on: nvcc, its flags, the kernels and what they include, comments left out."""
    texts, waiting = {}, sources()
    while waiting:
        path = waiting.pop().resolve()
        if path not in texts:
            texts[path] = " ".join(re.sub(r"//.*", "", path.read_text()).split())
            included = re.findall(r'^\s*#include "(.*)"', path.read_text(), re.MULTILINE)
            waiting += [path.parent / name for name in included]
    parts = [version, *nvcc_flags(), *(texts[path] for path in sorted(texts))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def page_is_of_these_kernels(version):
    """Whether PAGE was written of what would be compiled now, for every architecture, and found no fault."""
    text = PAGE.read_text()
    return f"{SOURCES} {digest(version)}" in text and NO_FAULT in text and f"sm_{ARCHITECTURES[-1]}" in text


# ---- names -----------------------------------------------------------------------------------------------


def template_parameters():
    """For each kernel in csrc/cuda that is a template, the names of its parameters."""
    kernels = {}
    pattern = r"template\s*<([^{};]*?)>\s*__global__\s+void\s+(?:__launch_bounds__\([^;{]*?\)\s*)?(\w+)\("
    for path in (ROOT / "csrc" / "cuda").glob("**/*.cu*"):
        for found in re.finditer(pattern, path.read_text()):
            kernels[found[2]] = [parameter.split()[-1] for parameter in split_arguments(found[1])]
    return kernels


def split_arguments(text):
    """'a<b, c>, d' -> ['a<b, c>', 'd']"""
    arguments, depth = [""], 0
    for character in text:
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += character
    return [argument.strip() for argument in arguments]


def readable(demangled, parameters):
    """A kernel's name, the type in memory, and the rest of its template arguments, in words."""
    text = re.sub(r"^void |\bupsample_ext::|\bgpu::|\(anonymous namespace\)::", "", demangled)
    found = re.fullmatch(r"(\w+)(?:<(.*)>)?\(.*\)", text)
    if found is None:
        return demangled, "", ""
    name, arguments = found[1], split_arguments(found[2]) if found[2] else []
    names = parameters.get(name, [])
    if len(names) != len(arguments):
        names = [""] * len(arguments)
    element, words = "", []
    for parameter, argument in zip(names, arguments, strict=True):
        short = re.sub(r"_t\b", "", argument.split("<")[0])
        if parameter == "T":
            element = {"unsigned char": "uint8"}.get(short, short)
        elif parameter == "acc" and short in ("float", "double"):
            words += ["in double"] if short == "double" and element != "double" else []
        elif argument in ("true", "false"):
            words += [parameter.removeprefix("k").lower() or argument] if argument == "true" else []
        elif re.fullmatch(r"\d+[lu]*", argument):
            words.append(f"{parameter}={argument}".lstrip("="))
        elif short in ("int", "long", "long long"):
            words += ["64-bit"] if short != "int" else []
        else:
            words.append(short)
    return name, element, " ".join(words)


def readable_names(symbols):
    symbols = sorted(symbols)
    demangled = subprocess.run(
        ["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    parameters = template_parameters()
    return {symbol: readable(text, parameters) for symbol, text in zip(symbols, demangled, strict=True)}


# ---- the table -------------------------------------------------------------------------------------------


def markdown(compilations, version):
    """Two tables: of kernels, and of architectures."""
    architectures = sorted({one.architecture for one in compilations})
    kernels = {}
    for one in compilations:
        for kernel in one.kernels:
            kernels.setdefault((one.source.name, kernel.symbol), {})[one.architecture] = kernel
    names = readable_names({symbol for _, symbol in kernels})
    verdict = "KERNELS FAIL, see below." if faults(compilations) else NO_FAULT
    lines = [
        "Registers of a thread and, in brackets, warps that a multiprocessor holds at once, by",
        f"{version} and the toolkit's cuda_occupancy.h. {verdict}",
        f"{SOURCES} {digest(version)}.",
        "",
        "| file | kernel | type | variant | threads | shared bytes | "
        + " | ".join(f"sm_{a} (of {WARPS[a]})" for a in architectures)
        + " |",
        "|---|---|---|---|--:|--:|" + "--:|" * len(architectures),
    ]
    rows = []
    for (file, symbol), by_architecture in kernels.items():
        some = next(iter(by_architecture.values()))
        name, element, variant = names[symbol]
        shared = f"{some.shared} + launch's" if some.dynamic else str(some.shared)
        cells = []
        for architecture in architectures:
            kernel = by_architecture.get(architecture)
            most = "≤" if kernel and kernel.dynamic else ""
            cells.append("" if kernel is None else f"{kernel.registers} ({most}{kernel.warps})")
        rows.append((file, name, element, variant, str(some.threads), shared, *cells))
    lines += [f"| {' | '.join(row)} |" for row in sorted(rows)]
    lines += ["", "| architecture | kernels | machine code | processor time of nvcc |", "|---|--:|--:|--:|"]
    for architecture in architectures:
        of_it = [one for one in compilations if one.architecture == architecture]
        count = sum(len(one.kernels) for one in of_it)
        size, seconds = sum(one.cubin_bytes for one in of_it), sum(one.seconds for one in of_it)
        lines.append(f"| sm_{architecture} | {count} | {size / 1024:.0f} KiB | {seconds:.0f} s |")
    found = faults(compilations)
    if found:
        lines += ["", *(f"- {fault}" for fault in found)]
    return "\n".join(lines) + "\n"


def write_between_marks(path, text):
    """Puts the table in the place of the one that is there."""
    before, rest = path.read_text().split("<!-- kernels -->\n")
    after = rest.split("<!-- end of kernels -->\n")[1]
    marked = f"<!-- kernels -->\n{text}<!-- end of kernels -->\n"
    path.write_text(before + marked + after)


def nvcc_version(cuda_home):
    nvcc = pathlib.Path(cuda_home) / "bin" / "nvcc"
    text = subprocess.run([str(nvcc), "--version"], capture_output=True, text=True, check=True).stdout
    return f"nvcc {re.search(r'V([0-9.]+)', text)[1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--arch", type=int, nargs="+", default=ARCHITECTURES, choices=ARCHITECTURES, metavar="NN"
    )
    parser.add_argument("--notes", action="store_true", help="write the table into docs/cuda_registers.md")
    arguments = parser.parse_args()
    cuda_home = find_cuda_home()
    if cuda_home is None:
        sys.exit('no nvcc: set CUDA_HOME, or install the wheels of the extra "cuda" of pyproject.toml')
    compilations = compile_all(cuda_home, arguments.arch)
    text = markdown(compilations, nvcc_version(cuda_home))
    print(text, end="")
    if arguments.notes:
        if {one.architecture for one in compilations} != set(ARCHITECTURES):
            sys.exit("--notes is of all architectures")
        write_between_marks(PAGE, text)
    return 1 if faults(compilations) else 0


if __name__ == "__main__":
    sys.exit(main())
