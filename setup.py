"""Builds the extension `upsample_ext._C` against the torch of the running Python.

Environment variables, all the user's and kept as they are (but for CXX="ccache g++": torch adds ccache):
    FORCE_CPU=1             build without CUDA whatever is there
    FORCE_CUDA=1            fail rather than build without CUDA (no GPU needs to be visible)
    TORCH_CUDA_ARCH_LIST    CUDA architectures; default: the visible GPUs', without one those of torch itself
    MAX_JOBS                parallel compilations; default: limited by processors and by memory
    CFLAGS, CXX, ...        as for every setuptools build; -O0 or -Og in CFLAGS makes a debug build

What is checked before anything is compiled, and how `pip install .` finds torch, is in build_tools/.
"""

import contextlib
import functools
import glob
import os
import pathlib
import re
import shlex
import subprocess
import sys

with contextlib.suppress(ImportError):  # requirements.check() then says what to type
    import setuptools  # first of all, for it replaces distutils

ROOT = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # build_tools lies beside this file

from build_tools import messages, requirements, toolchain  # noqa: E402
from build_tools.memory import available_gigabytes  # noqa: E402
from build_tools.messages import fail  # noqa: E402

sys.path.remove(str(ROOT))

TORCH_RANGE = ((2, 5), (2, 15))  # supported: first <= torch < second; the only place that says so
GIGABYTES_PER_JOB = 3  # what one compilation of torch's headers may take
# gcc 12 takes the undefined vectors in its own AVX-512 header for mistakes; clang does not know that warning.
WARNINGS = ["-Wall", "-Wextra", "-Wno-psabi", "-Wno-maybe-uninitialized", "-Wno-unknown-warning-option"]
# In kilobytes, the heap below which g++ collects no garbage: going over all of torch's headers time and again
# takes long, and saves little memory.
GCC_HEAP = "--param=ggc-min-heapsize=1500000"
# --fmad=false is nvcc's -ffp-contract=off: the kernels write fma where they mean it.
# Compressed, the machine code of all architectures is a fifth in size.
NVCC_FLAGS = ["-O3", "--fmad=false", "-Xfatbin", "-compress-all"]


def flag(name):
    return os.environ.get(name, "0").lower() not in ("", "0", "off", "false", "no")


def why_no_cuda(torch_version, torch_cuda, cuda_home, cuda_sources):
    """None when CUDA is to be built, otherwise the reason; FORCE_CUDA=1 makes an error of any reason."""
    force_cuda, force_cpu = flag("FORCE_CUDA"), flag("FORCE_CPU")
    if force_cuda and force_cpu:
        fail("FORCE_CUDA=1 and FORCE_CPU=1 contradict each other; unset one.")
    if force_cpu:
        return "FORCE_CPU=1"
    reason = None
    if not cuda_sources:
        reason = "this version has no CUDA kernels"
    elif not torch_cuda:
        reason = f"torch {torch_version} is built without CUDA"
    elif not cuda_home:
        reason = "no CUDA toolkit was found (set CUDA_HOME)"
    if force_cuda and reason:
        fail(f"FORCE_CUDA=1, but {reason}.")
    return reason


def openmp_link_flags(torch_directory, compiler_is_gcc=True):
    """Links with the OpenMP runtime that torch ships, so that the process has one pool of threads, not two.

    A wheel brings its own libgomp, at times under a name with a hash; -fopenmp at link time would ask for
    the system's as well. A torch that ships none uses the system's. clang's own runtime, libomp, would be a
    second one: csrc/cpu/parallel.h does without it.
    """
    shipped = [
        pathlib.Path(path)
        for folder in (torch_directory / "lib", torch_directory.parent / "torch.libs")
        for path in glob.glob(str(folder / "libgomp*.so*"))
    ]
    if len(shipped) != 1:
        return ["-fopenmp"] if compiler_is_gcc else ["-lgomp"]
    return [f"-L{shipped[0].parent}", f"-l:{shipped[0].name}"]


def default_jobs():
    """As many as the processors, and as fit in memory less a gigabyte, or a tenth, for everything else."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gigabytes = available_gigabytes()
    return max(1, min(processors, int((gigabytes - max(1, gigabytes / 10)) / GIGABYTES_PER_JOB)))


def default_cuda_architectures(torch):
    """TORCH_CUDA_ARCH_LIST for a machine without a visible GPU: torch's own, the newest two also as PTX.

    PTX serves what is newer than itself: of 12.0 the GPUs to come, of 10.0 those between (11.0).
    """
    flags = (
        torch._C._cuda_getArchFlags() or ""
    )  # "sm_80 sm_90 compute_90"; torch.cuda.get_arch_list() needs a GPU
    numbers = sorted({int(number) for number in re.findall(r"sm_(\d+)\b", flags)})
    if not numbers:
        fail("no GPU is visible and torch names no CUDA architecture; set TORCH_CUDA_ARCH_LIST.")
    names = [f"{number // 10}.{number % 10}" for number in numbers]
    return ";".join([*names[:-2], *(name + "+PTX" for name in names[-2:])])


def cuda_architectures(torch, cpp_extension):
    """The architectures that torch will have nvcc build for, as TORCH_CUDA_ARCH_LIST names them."""
    if not os.environ.get("TORCH_CUDA_ARCH_LIST") and not torch.cuda.device_count():
        os.environ["TORCH_CUDA_ARCH_LIST"] = default_cuda_architectures(torch)
    try:
        flags = cpp_extension._get_cuda_arch_flags()
    except ValueError as error:
        chosen = os.environ.get("TORCH_CUDA_ARCH_LIST")
        whose = f"TORCH_CUDA_ARCH_LIST={chosen!r}" if chosen else "the visible GPU"
        fail(
            f"torch {torch.__version__} does not build for {whose} ({error}). Type one of:",
            f"    TORCH_CUDA_ARCH_LIST=9.0+PTX {messages.build()}     (or another that it knows)",
            f"    FORCE_CPU=1 {messages.build()}     (CUDA tensors then go to PyTorch's own kernels)",
        )
    codes = re.findall(r"code=(sm|compute)_(\d+)(\d)([af]?)", " ".join(flags))
    names = {
        kind: {f"{major}.{minor}{suffix}" for of, major, minor, suffix in codes if of == kind}
        for kind in ("sm", "compute")
    }
    in_order = sorted(names["sm"] | names["compute"], key=lambda name: (float(name.rstrip("af")), name))
    return ";".join(name + ("+PTX" if name in names["compute"] else "") for name in in_order)


def find(*patterns):
    """Paths below csrc, relative to this file as setuptools wants them, in an order that never changes."""
    found = (path for pattern in patterns for path in (ROOT / "csrc").glob(pattern))
    return sorted(str(path.relative_to(ROOT)) for path in found)


def without_included(sources):
    """The sources to compile: a file of csrc/units stands for those that it includes.

    Whatever a source holds that includes torch's headers, g++ first parses these and instantiates the
    templates that they use, for ten seconds or more: few sources are best.
    """
    included = {
        os.path.normpath(pathlib.Path(unit).parent / name)
        for unit in find("units/*.cpp")
        for name in re.findall(r'^#include "(.*\.cpp)"$', (ROOT / unit).read_text(), re.MULTILINE)
    }
    return [source for source in sources if source not in included]


@functools.cache
def compiler_is_gcc():
    """False of clang, which defines the macros of g++ too."""
    from torch.utils import cpp_extension

    command = [*shlex.split(cpp_extension.get_cxx_compiler()), "-dM", "-E", "-x", "c++", os.devnull]
    try:
        predefined = subprocess.run(command, capture_output=True, text=True).stdout
    except OSError:
        return True  # there is none, which is said before anything is compiled
    return "__GNUC__" in predefined and "__clang__" not in predefined


def extension_and_build(torch):
    """The extension, the build_ext command for it, and the words of _build_info.py."""
    from torch.utils import cpp_extension

    cuda_sources = find("cuda/**/*.cu", "cuda/**/*.cpp")
    reason = why_no_cuda(torch.__version__, torch.version.cuda, cpp_extension.CUDA_HOME, cuda_sources)
    with_cuda = reason is None
    sources = without_included(path for path in find("**/*.cpp") if path not in cuda_sources)
    sources += cuda_sources if with_cuda else []

    architectures = ""
    if with_cuda:
        architectures = cuda_architectures(torch, cpp_extension)
    build_info = {
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda if with_cuda else None,
        "cuda_arch_list": architectures,
    }

    # -isystem silences warnings inside torch's headers; it takes precedence over the -I that torch adds.
    # A debug build is one with CFLAGS="-O0 -g"; distributions set -O2 for all, which would cost speed here.
    optimization = [] if re.search(r"-O[0g]\b", os.environ.get("CFLAGS", "")) else ["-O3"]
    of_gcc = ["-fopenmp", GCC_HEAP] if compiler_is_gcc() else []
    cxx = [*optimization, *of_gcc, "-ffp-contract=off", "-fvisibility=hidden", *WARNINGS]
    cxx += [f"-isystem{path}" for path in cpp_extension.include_paths()]
    if "-g" not in os.environ.get("CFLAGS", ""):
        cxx.append("-g0")  # Python's own -g would double memory and time
    # No path may stand among these: torch takes any flag with "arch" in it for a choice of architectures.
    nvcc = [*NVCC_FLAGS, "-Xcompiler", "-fopenmp,-ffp-contract=off,-fvisibility=hidden"]

    # The version is part of each compile command, so that objects of another torch are not taken for fresh.
    macros = [("UPSAMPLE_EXT_TORCH_VERSION", f'"{build_info["torch"]}"')]
    # Each source includes the headers of the operators that it calls, not those of all.
    macros.append(("AT_PER_OPERATOR_HEADERS", "1"))
    if with_cuda:
        macros.append(("UPSAMPLE_EXT_WITH_CUDA", "1"))
    make = cpp_extension.CUDAExtension if with_cuda else cpp_extension.CppExtension
    extension = make(
        "upsample_ext._C",
        sources=sources,
        depends=[*find("**/*.h", "**/*.cuh", "**/*.cpp"), "setup.py"],
        include_dirs=[str(ROOT / "csrc")],
        define_macros=macros,
        extra_compile_args={"cxx": cxx, "nvcc": nvcc},
        extra_link_args=openmp_link_flags(pathlib.Path(torch.__file__).resolve().parent, compiler_is_gcc()),
    )

    class Build(cpp_extension.BuildExtension):
        def run(self):
            os.environ.setdefault("MAX_JOBS", str(default_jobs()))
            print(f"upsample_ext: building for torch {build_info['torch']}, {os.environ['MAX_JOBS']} job(s)")
            record = pathlib.Path(self.get_ext_fullpath(extension.name)).parent / "_build_info.py"
            words = ["# Written by setup.py: what the extension beside this file was built for."]
            words = "\n".join([*words, *(f"{name} = {value!r}" for name, value in build_info.items())]) + "\n"
            if not record.exists() or record.read_text() != words:
                self.force = True  # a library built for another torch may be newer than every source
            super().run()
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(words)
            if not with_cuda:
                rule = "*" * 80
                print(
                    f"{rule}\nupsample_ext: built for the CPU ONLY, because {reason}.\n{rule}",
                    file=sys.stderr,
                )

    return extension, Build


def checked(build, torch, extension):
    """The build_ext command with the compilers tried before, and with last words that say what to type."""
    from torch.utils import cpp_extension

    class Build(build):
        def run(self):
            with_cuda = ("UPSAMPLE_EXT_WITH_CUDA", "1") in extension.define_macros
            toolchain.single_word_cxx(hasattr(cpp_extension, "_wrap_compiler"))
            toolchain.check_cxx()
            if with_cuda:
                toolchain.check_nvcc(cpp_extension.CUDA_HOME, torch.__version__, torch.version.cuda)
                flags = [*extension.extra_compile_args["nvcc"], *cpp_extension._get_cuda_arch_flags()]
                toolchain.check_cuda_compiles(cpp_extension.CUDA_HOME, flags)
            with toolchain.last_words(with_cuda):
                super().run()

    return Build


def main():
    messages.check_platform(sys.platform)
    requirements.check()
    messages.check_writable()
    import torch

    extension, build = extension_and_build(torch)
    minor = ".".join(torch.__version__.split(".")[:2])
    setuptools.setup(
        ext_modules=[extension],
        cmdclass={"build_ext": checked(build, torch, extension)},
        install_requires=[f"torch=={minor}.*"],  # the C++ interface is stable within a minor version only
    )


if __name__ == "__main__":
    main()
