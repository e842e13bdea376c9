"""Builds the package with csrc/cuda's launchers and kernels running on CPU tensors: see README.md."""

import os
import pathlib
import runpy
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent
CUDA_INCLUDE = pathlib.Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"


def newest(*patterns):
    return max(path.stat().st_mtime for pattern in patterns for path in ROOT.glob(pattern))


def main():
    import torch

    os.chdir(ROOT)
    setup = runpy.run_path("setup.py", run_name="emulation")
    extension, _ = setup["extension_and_build"](torch)
    out = ROOT / "build" / "cuda_emulation"
    objects = out / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    headers = newest("csrc/**/*.h", "csrc/**/*.cuh", "tests/cuda_emulation/*.h")
    common = ["-std=c++20", "-fPIC", "-ffp-contract=off", "-fvisibility=hidden", f"-I{HERE}", "-isystem", str(CUDA_INCLUDE)]
    macros = [f"-D{name}={value}" for name, value in extension.define_macros]
    jobs = []
    for source in sorted((ROOT / "csrc/cuda").glob("*.c*")):
        if source.suffix not in (".cu", ".cpp"):
            continue
        target = objects / (source.name + ".o")
        if target.exists() and target.stat().st_mtime > max(headers, source.stat().st_mtime):
            continue
        if source.suffix == ".cu":
            command = ["g++", "-O2", "-g1", *common, "-include", str(HERE / "cuda_sim.h"), "-x", "c++", "-c", str(source)]
        else:
            torch_flags = ["-DTORCH_EXTENSION_NAME=_C", "-DTORCH_API_INCLUDE_EXTENSION_H", f"-I{sysconfig.get_path('include')}"]
            command = ["g++", "-O1", "-g0", *common, "-DUPSAMPLE_EXT_CUDA_EMULATION=1", *torch_flags, *macros]
            command += [f"-I{path}" for path in extension.include_dirs]
            command += [flag for flag in extension.extra_compile_args["cxx"] if flag.startswith(("-isystem", "-W"))]
            command += ["-c", str(source)]
        jobs.append((command, target))

    def compile(job):
        command, target = job
        subprocess.run([*command, "-o", str(target)], check=True)

    with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS", "2"))) as pool:
        list(pool.map(compile, jobs))

    replaced = {path.stem for path in (ROOT / "csrc/cuda").glob("*.cpp")}
    (built,) = ROOT.glob("build/temp.*/csrc")
    host = [path for path in built.rglob("*.o") if not (path.parent.name == "cpu" and path.stem in replaced)]
    package = out / "upsample_ext"
    package.mkdir(exist_ok=True)
    for path in (ROOT / "upsample_ext").iterdir():
        link = package / path.name
        if path.suffix in (".py", ".typed") and path.name != "_build_info.py" and not link.exists():
            link.symlink_to(path)
    info = (ROOT / "upsample_ext/_build_info.py").read_text().replace("cuda_arch_list = ''", "cuda_arch_list = 'emulated'")
    (package / "_build_info.py").write_text(info)
    for name in ("tests", "benchmarks", "examples", "pyproject.toml", "csrc", "setup.py", "README.md", "CHANGELOG.md"):
        if not (out / name).exists():
            (out / name).symlink_to(ROOT / name)
    library = package / ("_C" + sysconfig.get_config_var("EXT_SUFFIX"))
    torch_lib = pathlib.Path(torch.__file__).parent / "lib"
    subprocess.run(
        ["g++", "-shared", "-o", str(library), *map(str, host), *map(str, objects.glob("*.o")), f"-L{torch_lib}", f"-Wl,-rpath,{torch_lib}",
         "-lc10", "-ltorch", "-ltorch_cpu", "-ltorch_python", *extension.extra_link_args],
        check=True,
    )
    print(library)


main()
