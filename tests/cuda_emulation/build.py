"""Builds the package with csrc/cuda's launchers and kernels running on CPU tensors: see README.md.

    python tests/cuda_emulation/build.py [plain] [sanitized] [traced]

Run `python setup.py build_ext --inplace` first: all but csrc/cuda is taken from there.
"""

import dataclasses
import fcntl
import os
import pathlib
import platform
import runpy
import subprocess
import sys
import sysconfig

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUT = ROOT / "build" / "cuda_emulation"
sys.path.insert(0, str(HERE))

import cuda_headers  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Flavour:
    """How kernels are compiled, and what is linked with them. Launchers are the same for all flavours."""

    kernel_flags: tuple[str, ...]
    runtime: tuple[str, ...] = ("fibre.cpp", "scheduler.cpp", "launch.cpp")
    runtime_flags: tuple[str, ...] = ()
    link_flags: tuple[str, ...] = ()


_SANITIZERS = "-fsanitize=address,undefined,float-cast-overflow"
FLAVOURS = {
    "plain": Flavour(("-O2", "-g1")),
    "sanitized": Flavour(
        ("-O1", "-g1", _SANITIZERS, "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
        runtime_flags=("-DCUDA_EMULATION_SANITIZED",),
        link_flags=(_SANITIZERS,),
    ),
    # g++ calls a function at each access, which tracer.cpp brings. Scalar replacement would split vectors.
    "traced": Flavour(
        # Loops of a few turns are unrolled, as nvcc does: their turns are then instructions of their own.
        (
            "-O1",
            "-g1",
            "-fno-tree-sra",
            "-fpeel-loops",
            "-funroll-loops",
            "-fsanitize=thread",
            "--param",
            "tsan-instrument-func-entry-exit=0",
        ),
        runtime=(*Flavour(()).runtime, "races.cpp", "tracer.cpp"),
    ),
}


def wrong_processor():
    """None on a processor that fibre.cpp knows, otherwise the reason not to build anything."""
    return None if platform.machine() == "x86_64" else "the emulation's fibres are written for x86-64"


def why_not():
    """None where the emulation can be built, otherwise the reason."""
    if wrong_processor():
        return wrong_processor()
    try:
        cuda_headers.include_directory()
    except cuda_headers.NoToolkit as error:
        return str(error)
    return None


def package_directory(flavour):
    """Where to run tests from: it holds the package, and links to all else of the checkout."""
    return OUT if flavour == "plain" else OUT / flavour


def library(flavour):
    return package_directory(flavour) / "upsample_ext" / ("_C" + sysconfig.get_config_var("EXT_SUFFIX"))


def faults_library(flavour):
    return OUT / f"faults_{flavour}.so"


def sanitizer_environment():
    """What a Python needs to load a sanitized library into torch."""

    def runtime(name):
        command = ["g++", f"-print-file-name={name}"]
        return os.path.realpath(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        )

    return {
        # The C++ library too: the sanitizer must find its __cxa_throw at start-up.
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libstdc++.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",  # Python leaks by design
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "CUSIM_ORDER": "shuffled",
        "CUSIM_SEED": "1",
    }


def environment(flavour):
    return sanitizer_environment() if flavour == "sanitized" else {}


# ---- the build file --------------------------------------------------------------------------------------


class Ninja:
    """The words of a build.ninja."""

    def __init__(self):
        self.lines = [
            "rule compile",
            "  command = g++ $flags -MMD -MF $out.d -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "  description = $in",
            "rule link",
            "  command = g++ -shared -o $out @$out.rsp $flags",
            "  rspfile = $out.rsp",
            "  rspfile_content = $in",
            "  description = $out",
        ]

    @staticmethod
    def _path(path):
        return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")

    def add(self, rule, output, inputs, flags, also=()):
        implicit = " | " + " ".join(map(self._path, also)) if also else ""
        inputs = " ".join(map(self._path, inputs))
        self.lines += [
            f"build {self._path(output)}: {rule} {inputs}{implicit}",
            "  flags = " + " ".join(flags).replace("$", "$$"),
        ]
        return output

    def run(self, path, targets):
        lines = [f"builddir = {self._path(path.parent)}", *self.lines]  # where ninja keeps its log
        path.write_text("\n".join(lines) + "\n")
        jobs = os.environ.get("MAX_JOBS", str(len(os.sched_getaffinity(0))))
        command = [sys.executable, "-m", "ninja", "-f", str(path), "-j", jobs, *map(str, targets)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            sys.exit(result.stdout + result.stderr)


def host_objects(extension):
    """The objects of the ordinary build but for those of the CPU launchers, csrc/units/cpu.cpp."""
    built = ROOT / "build" / f"temp.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    if not built.is_dir():
        sys.exit(f"{built} is not there: run `python setup.py build_ext --inplace` first")
    sources = [pathlib.Path(source) for source in extension.sources]
    return sorted(
        (built / source.with_suffix(".o"))
        for source in sources
        if "cuda" not in source.parts and source.name != "cpu.cpp"
    )


def write_rules(ninja, torch, extension):
    common = ["-fPIC", "-ffp-contract=off", "-fvisibility=hidden", f"-I{HERE}"]
    common += ["-isystem", str(cuda_headers.include_directory())]
    of_torch = [flag for flag in extension.extra_compile_args["cxx"] if flag.startswith("-isystem")]
    launcher_flags = ["-std=c++20", "-O1", "-g0", *common, "-DUPSAMPLE_EXT_CUDA_EMULATION=1"]
    launcher_flags += ["-DTORCH_EXTENSION_NAME=_C", "-DTORCH_API_INCLUDE_EXTENSION_H", *of_torch]
    launcher_flags += [f"-I{sysconfig.get_path('include')}", f"-I{ROOT / 'csrc'}"]
    launcher_flags += [f"-D{name}={value}".replace('"', '\\"') for name, value in extension.define_macros]
    launchers = [
        ninja.add("compile", OUT / "objects" / "launchers" / f"{source.name}.o", [source], launcher_flags)
        for source in sorted((ROOT / "csrc/cuda").glob("*.cpp"))
    ]
    torch_lib = pathlib.Path(torch.__file__).parent / "lib"
    script = HERE / "shared_memory.ld"
    of_torch = [f"-L{torch_lib}", f"-Wl,-rpath,{torch_lib}", "-lc10", "-ltorch", "-ltorch_cpu"]
    of_torch += ["-ltorch_python", *extension.extra_link_args]

    for name, flavour in FLAVOURS.items():
        objects = OUT / "objects" / name
        runtime_flags = ["-std=c++20", "-O2", "-g1", *common, *flavour.runtime_flags]
        kernel_flags = ["-std=c++17", *common, *flavour.kernel_flags, "-fdata-sections", "-Wno-psabi"]
        kernel_flags += ["-include", str(HERE / "cuda_emulation.h"), "-x", "c++"]
        runtime = [
            ninja.add("compile", objects / f"{source}.o", [HERE / source], runtime_flags)
            for source in flavour.runtime
        ]
        kernels = [
            ninja.add("compile", objects / f"{source.name}.o", [source], kernel_flags)
            for source in sorted((ROOT / "csrc/cuda/kernels").glob("*.cu"))
        ]
        link = [f"-Wl,-T,{script}", *flavour.link_flags, "-ldl"]
        ninja.add(
            "link",
            library(name),
            [*host_objects(extension), *launchers, *kernels, *runtime],
            [*link, *of_torch],
            [script],
        )
        faults = ninja.add("compile", objects / "faults.cu.o", [HERE / "faults.cu"], kernel_flags)
        ninja.add("link", faults_library(name), [faults, *runtime], link, [script])


def lay_out_package(flavour):
    """Links to everything but what is built, so that tests run from there as they do from the checkout."""
    folder = package_directory(flavour)
    package = folder / "upsample_ext"
    package.mkdir(parents=True, exist_ok=True)
    built = {"_build_info.py", library(flavour).name}
    links = {package / path.name: path for path in (ROOT / "upsample_ext").glob("*.py*") if path.is_file()}
    for name in ("tests", "benchmarks", "examples", "csrc", "docs"):
        links[folder / name] = ROOT / name
    for name in ("pyproject.toml", "setup.py", "README.md", "CHANGELOG.md"):
        links[folder / name] = ROOT / name
    for link in package.iterdir():  # of files that are no more
        if link.is_symlink() and link not in links:
            link.unlink()
    for link, target in links.items():
        if link.name not in built and not link.is_symlink():
            link.symlink_to(target)
    info = runpy.run_path(str(ROOT / "upsample_ext" / "_build_info.py"))
    words = [f"torch = {info['torch']!r}", f"cuda = {info['cuda']!r}", "cuda_arch_list = 'emulated'"]
    (package / "_build_info.py").write_text("\n".join(words) + "\n")


def build(flavours, faults_only=False):
    """Builds what is not up to date. Processes that ask at once wait for one another."""
    reason = why_not()
    if reason:
        sys.exit(reason)
    import torch

    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = os.getcwd()
        os.chdir(ROOT)  # setup.py looks for sources here
        try:
            extension, _ = runpy.run_path("setup.py", run_name="emulation")["extension_and_build"](torch)
        finally:
            os.chdir(before)
        ninja = Ninja()
        write_rules(ninja, torch, extension)
        targets = [faults_library(flavour) for flavour in flavours]
        if not faults_only:
            targets += [library(flavour) for flavour in flavours]
            for flavour in flavours:
                lay_out_package(flavour)
        ninja.run(OUT / "build.ninja", targets)


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["plain"]
    unknown = set(chosen) - set(FLAVOURS)
    if unknown:
        sys.exit(f"expected flavours of {', '.join(FLAVOURS)}, got {', '.join(sorted(unknown))}")
    build(chosen)
    for flavour in chosen:
        print(f"{flavour}: run tests from {package_directory(flavour)}")
