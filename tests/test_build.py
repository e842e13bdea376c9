"""What the build decides before it compiles, and what it says when it cannot begin."""

import importlib.util
import os
import pathlib
import shutil
import sys
import types

import pytest
import torch
from checkout import ROOT, needs_checkout, run, write_files


@pytest.fixture
def build(monkeypatch):
    """setup.py as a module, with none of the user's variables set."""
    for name in ("FORCE_CPU", "FORCE_CUDA", "MAX_JOBS", "TORCH_CUDA_ARCH_LIST"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("setup_of_upsample_ext", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_checkout
@pytest.mark.parametrize(
    ("torch_stub", "words"),
    [
        ("raise ImportError('No module named torch')", ["needs torch"]),
        ("__version__ = '2.4.1+cu124'", ["torch 2.4.1+cu124 is not supported", "2.5 <= torch < 2.15"]),
        ("__version__ = '2.15.0'", ["torch 2.15.0 is not supported", "2.5 <= torch < 2.15"]),
    ],
)
def test_build_without_a_fitting_torch_says_what_to_type(tmp_path, torch_stub, words):
    (tmp_path / "torch.py").write_text(torch_stub)
    result = run(
        *(sys.executable, "setup.py", "--version"), cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    for word in [*words, 'pip install "torch>=2.5,<2.15"', "pip install --no-build-isolation ."]:
        assert word in result.stderr


@needs_checkout
def test_every_source_is_compiled_once_by_itself_or_in_a_unit(build):
    """None is forgotten, and none is in two units, whose registrations would be made twice."""
    sources = build.find("**/*.cpp")
    compiled = build.without_included(sources)
    units = [path for path in compiled if "/units/" in path]
    included = [
        os.path.relpath((ROOT / unit).parent / line.split('"')[1], ROOT)
        for unit in units
        for line in (ROOT / unit).read_text().splitlines()
        if line.startswith("#include")
    ]
    assert units
    assert sorted([*compiled, *included]) == sources
    assert not [path for path in compiled if path.startswith("csrc/ops/")]


@needs_checkout
def test_cuda_is_built_exactly_where_all_of_it_is_there(build, monkeypatch):
    there = ("2.13.0", "13.0", "/cuda", ["csrc/cuda/kernels/resample.cu"])
    assert build.why_no_cuda(*there) is None
    assert "no CUDA kernels" in build.why_no_cuda(*there[:3], [])
    assert "without CUDA" in build.why_no_cuda("2.13.0+cpu", None, *there[2:])
    assert "CUDA_HOME" in build.why_no_cuda(*there[:2], None, there[3])
    monkeypatch.setenv("FORCE_CUDA", "1")
    assert build.why_no_cuda(*there) is None
    with pytest.raises(SystemExit, match="FORCE_CUDA=1, but torch 2.13.0 is built without CUDA"):
        build.why_no_cuda("2.13.0", None, *there[2:])
    monkeypatch.setenv("FORCE_CPU", "1")
    with pytest.raises(SystemExit, match="contradict"):
        build.why_no_cuda(*there)
    monkeypatch.setenv("FORCE_CUDA", "0")
    assert build.why_no_cuda(*there) == "FORCE_CPU=1"


@needs_checkout
def test_jobs_are_limited_by_memory(build, monkeypatch):
    monkeypatch.setattr(build.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    # A gigabyte is left to everything else, a tenth of a large memory: 6.1 GB hold one job, not two
    for gigabytes, jobs in ((1, 1), (6.1, 1), (7, 2), (40, 12), (1000, 16)):
        monkeypatch.setattr(build, "available_gigabytes", lambda gigabytes=gigabytes: gigabytes)
        assert build.default_jobs() == jobs
    monkeypatch.undo()
    assert 0 < build.available_gigabytes() < 1e5


@needs_checkout
def test_cuda_extension_honours_the_users_architectures(build, monkeypatch, tmp_path):
    """Everything up to the compiler itself, on a machine that needs neither a GPU nor a CUDA torch."""
    from torch.utils import cpp_extension

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", str(tmp_path))
    monkeypatch.setattr(build, "default_cuda_architectures", lambda _: "8.0;9.0+PTX")
    found = build.find
    monkeypatch.setattr(
        build,
        "find",
        lambda *patterns: (
            ["csrc/cuda/kernels/resample.cu"] if "cuda/**/*.cu" in patterns else found(*patterns)
        ),
    )
    for users, expected in ((None, "8.0;9.0+PTX"), ("7.5", "7.5")):
        if users:
            monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", users)
        else:
            monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "")
            monkeypatch.delenv("TORCH_CUDA_ARCH_LIST")
        extension, _ = build.extension_and_build(torch)
        assert os.environ["TORCH_CUDA_ARCH_LIST"] == expected
        assert "csrc/cuda/kernels/resample.cu" in extension.sources
        assert "csrc/units/ops.cpp" in extension.sources
        assert build.cuda_architectures(torch, cpp_extension) == expected
        assert ("UPSAMPLE_EXT_WITH_CUDA", "1") in extension.define_macros
        assert not [flag for flag in extension.extra_compile_args["nvcc"] if "arch" in flag]
        assert not [
            flag for flags in extension.extra_compile_args.values() for flag in flags if "-std" in flag
        ]


@needs_checkout
def test_launchers_and_kernels_of_one_stem_have_objects_of_their_own(build):
    from setuptools._distutils.ccompiler import new_compiler

    compiler = new_compiler()
    compiler.src_extensions.append(".cu")
    sources = build.find("**/*.cpp", "**/*.cu")
    objects = compiler.object_filenames(sources, output_dir="build")
    assert len(set(objects)) == len(sources)


@needs_checkout
def test_default_architectures_are_torch_s_and_ptx_of_the_newest_two(build, monkeypatch):
    from upsample_ext.info import serves

    of_torch = "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120"
    monkeypatch.setattr(torch._C, "_cuda_getArchFlags", lambda: of_torch, raising=False)
    default = build.default_cuda_architectures(torch)
    assert default == "7.5;8.0;8.6;9.0;10.0+PTX;12.0+PTX"
    for gpu in ((7, 5), (8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (10, 3), (11, 0), (12, 0), (12, 1)):
        assert serves(default, gpu), gpu
    monkeypatch.setattr(torch._C, "_cuda_getArchFlags", lambda: "", raising=False)
    with pytest.raises(SystemExit, match="TORCH_CUDA_ARCH_LIST"):
        build.default_cuda_architectures(torch)


@needs_checkout
def test_the_openmp_runtime_that_torch_ships_is_linked(build, tmp_path):
    home = tmp_path / "torch"
    (home / "lib").mkdir(parents=True)
    assert build.openmp_link_flags(home) == ["-fopenmp"]
    assert build.openmp_link_flags(home, compiler_is_gcc=False) == ["-lgomp"]
    (home / "lib" / "libgomp-a34b3233.so.1").touch()
    assert build.openmp_link_flags(home) == [f"-L{home / 'lib'}", "-l:libgomp-a34b3233.so.1"]
    (home / "lib" / "libgomp.so.1").touch()
    assert build.openmp_link_flags(home) == ["-fopenmp"]


# ---- memory that a control group limits --------------------------------------------------------------------


@pytest.fixture
def memory(build):
    return sys.modules["build_tools.memory"]


def gigabytes(number):
    return f"{int(number * 2**30)}\n"


@needs_checkout
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 20),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": gigabytes(8)}, 8),
        # A job of SLURM, without a namespace of its own: the limit stands at the path and above it
        (
            {
                "proc/self/cgroup": "0::/system.slice/job_7/step_0\n",
                "sys/fs/cgroup/system.slice/job_7/step_0/memory.max": "max\n",
                "sys/fs/cgroup/system.slice/job_7/memory.max": gigabytes(6),
                "sys/fs/cgroup/system.slice/job_7/memory.current": gigabytes(3),
                "sys/fs/cgroup/system.slice/job_7/memory.stat": f"anon 5\ninactive_file {2**30}\n",
                "sys/fs/cgroup/system.slice/memory.max": gigabytes(10),
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "9:cpu:/a\n5:memory:/kubepods/pod\n",
                "sys/fs/cgroup/memory/kubepods/pod/memory.limit_in_bytes": f"{2**63 - 4096}\n",
                "sys/fs/cgroup/memory/kubepods/memory.limit_in_bytes": gigabytes(5),
                "sys/fs/cgroup/memory/kubepods/memory.usage_in_bytes": gigabytes(2),
                "sys/fs/cgroup/memory/kubepods/memory.stat": f"total_inactive_file {2**29}\n",
            },
            3.5,
        ),
        # A container that sees the host's path, and its own group at the root
        ({"proc/self/cgroup": "0::/docker/0123\n", "sys/fs/cgroup/memory.max": gigabytes(7)}, 7),
        ({"proc/self/cgroup": "0::/../out\n", "sys/fs/cgroup/memory.max": gigabytes(7)}, 7),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "0\n"}, 0),
    ],
)
def test_memory_is_what_the_process_s_own_control_groups_leave(memory, tmp_path, files, expected):
    write_files(tmp_path, **{"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {20 * 2**20} kB\n", **files})
    assert memory.available_gigabytes(tmp_path) == expected


# ---- what the build says when it cannot begin --------------------------------------------------------------


@pytest.fixture
def toolchain(build):
    return sys.modules["build_tools.toolchain"]


@pytest.fixture
def requirements(build):
    return sys.modules["build_tools.requirements"]


def program(path, *lines):
    """A stand-in for a compiler: a shell script that answers so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def refusal(function, *arguments):
    """What a check that ends the build says."""
    with pytest.raises(SystemExit) as ended:
        function(*arguments)
    return str(ended.value)


@needs_checkout
@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_build_on_another_system_says_linux_only_before_it_imports_torch(tmp_path, platform):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    code = f"import sys, runpy; sys.platform = {platform!r}; runpy.run_path('setup.py', run_name='__main__')"
    result = run(sys.executable, "-c", code, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert result.returncode != 0
    assert f"on Linux only, this is {platform}" in result.stderr
    assert "Traceback" not in result.stderr and "torch was" not in result.stderr


@needs_checkout
def test_build_without_a_compiler_says_what_to_type(tmp_path):
    ninja = program(tmp_path / "ninja", "echo 1.11.1")
    environment = {**os.environ, "PATH": str(ninja.parent), "FORCE_CPU": "1"}
    environment.pop("CXX", None)
    for variables, named in (
        ({}, "c++, the C++ compiler, was not found"),
        ({"CXX": "g++-99"}, "CXX=g++-99 was not"),
    ):
        result = run(
            *(sys.executable, "setup.py", "build_ext", f"--build-lib={tmp_path}"),
            cwd=ROOT,
            env={**environment, **variables},
        )
        assert result.returncode != 0 and "Traceback" not in result.stderr
        last = "\n".join(result.stderr.splitlines()[-6:])
        for word in (named, "apt-get install g++", "pip install --no-build-isolation ."):
            assert word in last, result.stderr


@needs_checkout
@pytest.mark.parametrize(
    ("printed", "remedy"),
    [
        ("probe.cpp:2:10: fatal error: Python.h: No such file or directory", "apt-get install python3"),
        ("probe.cpp:3:10: fatal error: omp.h: No such file or directory", "libomp-dev"),
        ("g++: fatal error: cannot execute 'cc1plus'", "apt-get install g++"),
    ],
)
def test_a_compiler_that_fails_is_quoted(toolchain, monkeypatch, tmp_path, printed, remedy):
    compiler = program(tmp_path / "g++", f'echo "{printed}" >&2', "exit 1")
    monkeypatch.setenv("CXX", str(compiler))
    message = refusal(toolchain.check_cxx)
    assert printed in message and remedy in message and str(compiler) in message


@needs_checkout
def test_the_compiler_at_hand_passes_and_a_wrapper_of_two_words_too(toolchain, monkeypatch):
    toolchain.check_cxx()
    monkeypatch.setenv("CXX", "ccache g++")
    toolchain.single_word_cxx(wraps=False)
    assert os.environ["CXX"] == "ccache g++"
    toolchain.single_word_cxx(wraps=True)
    assert os.environ["CXX"] == "g++"
    monkeypatch.setenv("CXX", "g++ -m64 -g")
    assert "CXX names one program" in refusal(toolchain.single_word_cxx, True)


@needs_checkout
def test_everything_that_is_missing_is_named_at_once(requirements, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(requirements.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(requirements.importlib.metadata, "version", lambda _: "65.5.0")
    message = refusal(requirements.check)
    assert "needs ninja; with" in message and "it is not on PATH" in message
    assert "needs setuptools>=77.0.3; with" in message and "it is 65.5.0" in message
    assert 'pip install "setuptools>=77.0.3" ninja' in message
    assert "pip install --no-build-isolation ." in message
    program(tmp_path / "ninja")
    monkeypatch.setenv("PATH", "/elsewhere")
    assert (
        requirements._ninja_problem() is None
    )  # beside Python, where an environment that is not active has it
    assert shutil.which("ninja") == str(tmp_path / "ninja")


@needs_checkout
def test_a_checkout_that_cannot_be_written_is_named(build, monkeypatch):
    build.messages.check_writable()
    monkeypatch.setattr(os, "access", lambda path, _: pathlib.Path(path) != ROOT)
    message = refusal(build.messages.check_writable)
    assert (
        f"{ROOT} cannot be written" in message and "cp -r" in message and "--no-build-isolation ." in message
    )


@needs_checkout
def test_nvcc_of_another_cuda_than_torch_s(toolchain, tmp_path):
    program(tmp_path / "bin" / "nvcc", "echo 'Cuda compilation tools, release 12.4, V12.4.131'")
    message = refusal(toolchain.check_nvcc, str(tmp_path), "2.13.0+cu130", "13.0")
    for word in ("CUDA 12.4", "torch 2.13.0+cu130", "CUDA 13.0", f"CUDA_HOME is {tmp_path}", "FORCE_CPU=1"):
        assert word in message
    assert "CUDA_HOME=/" in message
    message = refusal(toolchain.check_nvcc, str(tmp_path), "2.13.0+cu126", "12.6")
    assert "no include/cuda_runtime_api.h" in message and "CUDA_HOME=/" in message
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "cuda_runtime_api.h").touch()
    toolchain.check_nvcc(str(tmp_path), "2.13.0+cu126", "12.6")  # another minor version passes, as with torch
    (tmp_path / "bin" / "nvcc").unlink()
    message = refusal(toolchain.check_nvcc, str(tmp_path), "2.13.0+cu130", "13.0")
    assert "does not run" in message and "FORCE_CPU=1" in message


@needs_checkout
@pytest.mark.parametrize(
    ("printed", "words"),
    [
        (
            "#error -- unsupported GNU version! gcc versions later than 13 are not supported!",
            ["CXX=g++-13 NVCC_CCBIN=g++-13", "TORCH_CUDA_ARCH_LIST=", "FORCE_CPU=1"],
        ),
        (
            "nvcc fatal   : Unsupported gpu architecture 'compute_120'",
            ["TORCH_CUDA_ARCH_LIST=", "CUDA_HOME=", "FORCE_CPU=1"],
        ),
    ],
)
def test_nvcc_that_cannot_compile_is_quoted(toolchain, monkeypatch, tmp_path, printed, words):
    monkeypatch.delenv("PYTORCH_NVCC", raising=False)
    program(tmp_path / "bin" / "nvcc", f'echo "{printed}" >&2', "exit 1")
    message = refusal(toolchain.check_cuda_compiles, str(tmp_path), ["-gencode=arch=compute_120,code=sm_120"])
    for word in [printed, f"CUDA_HOME={tmp_path}", *words]:
        assert word in message
    # What torch hands to nvcc: its flags, and CC as the host compiler
    program(tmp_path / "bin" / "nvcc", f'echo "$@" >>{tmp_path}/calls')
    monkeypatch.setenv("CC", "gcc-11")
    toolchain.check_cuda_compiles(str(tmp_path), ["-O3", "-gencode=arch=compute_90,code=sm_90"])
    dry, real = (tmp_path / "calls").read_text().splitlines()
    assert "--dryrun -O3 -gencode=arch=compute_90,code=sm_90 -ccbin gcc-11" in dry
    assert "gencode" not in real and "-ccbin gcc-11" in real


@needs_checkout
def test_the_compilers_are_tried_before_the_sources(build, monkeypatch, tmp_path):
    from torch.utils import cpp_extension

    class Command:
        ran = 0

        def run(self):
            Command.ran += 1

    def run_build(*macros):
        extension = types.SimpleNamespace(define_macros=macros, extra_compile_args={"nvcc": ["-O3"]})
        build.checked(Command, torch, extension)().run()

    monkeypatch.delenv("PYTORCH_NVCC", raising=False)
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", str(tmp_path))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0")
    with_cuda = ("UPSAMPLE_EXT_WITH_CUDA", "1")
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "cuda_runtime_api.h").touch()
    program(tmp_path / "bin" / "nvcc", "echo 'release 12.4, V12.4.131'")
    assert "CUDA 12.4" in refusal(run_build, with_cuda) and Command.ran == 0
    run_build()  # a build for the CPU asks no nvcc
    assert Command.ran == 1
    program(tmp_path / "bin" / "nvcc", "echo 'release 13.0, V13.0.88'", '[ "$1" = --version ]')
    assert "cannot compile a few lines of CUDA" in refusal(run_build, with_cuda) and Command.ran == 1
    program(tmp_path / "bin" / "nvcc", "echo 'release 13.2, V13.2.1'")
    run_build(with_cuda)
    assert Command.ran == 2
    monkeypatch.setenv("CXX", "g++-99")
    assert "CXX=g++-99 was not found" in refusal(run_build) and Command.ran == 2


@needs_checkout
def test_a_failed_compilation_ends_with_what_to_try(toolchain, capsys):
    def compile_sources(with_cuda):
        with toolchain.last_words(with_cuda):
            raise RuntimeError("Error compiling objects for extension")

    message = refusal(compile_sources, True)
    for word in (
        "Error compiling objects",
        "MAX_JOBS=1",
        "CXX=",
        "NVCC_CCBIN=",
        "TORCH_CUDA_ARCH_LIST=",
        "FORCE_CPU=1",
    ):
        assert word in message
    assert "FORCE_CPU" not in refusal(compile_sources, False)
    assert "RuntimeError" in capsys.readouterr().err  # the traceback stays, above it


@needs_checkout
def test_an_architecture_that_torch_does_not_know(build, monkeypatch):
    from torch.utils import cpp_extension

    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "99.0")
    message = refusal(build.cuda_architectures, torch, cpp_extension)
    assert "TORCH_CUDA_ARCH_LIST='99.0'" in message and "FORCE_CPU=1" in message


# ---- the torch that an isolated build is for ---------------------------------------------------------------


@pytest.fixture
def installed_torch(build):
    spec = importlib.util.find_spec("build_tools.installed_torch")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_checkout
def test_an_isolated_build_without_a_torch_fetches_one_and_says_so(installed_torch, monkeypatch, capsys):
    monkeypatch.setattr(installed_torch, "find", lambda: None)
    (requirement,) = installed_torch.requirements()
    assert requirement.startswith("torch>=")
    assert f"no torch is installed: the newest that fits, {requirement}" in capsys.readouterr().err


@needs_checkout
def test_the_environment_that_uv_installs_into_is_found(installed_torch, monkeypatch, tmp_path):
    """As uv itself looks for it, since the build runs in an environment of its own under uv's cache."""

    def environment(name, kind="pyvenv.cfg"):
        folder = tmp_path / name
        (folder / installed_torch._SITE_PACKAGES).mkdir(parents=True)
        (folder / kind).touch()
        return folder

    active, conda, named, outside = (environment(name) for name in ("active", "conda", "named", "outside"))
    beside = environment("project/.venv")
    folder = tmp_path / "project" / "src"
    folder.mkdir()
    monkeypatch.setattr(sys, "base_prefix", str(outside))
    monkeypatch.setattr(installed_torch, "_DEBIAN_PACKAGES", ())

    def found(variables=None, arguments=(), cwd=folder):
        arguments = ["/usr/bin/uv", "pip", "install", *arguments, "."]
        monkeypatch.setattr(installed_torch, "_parent", lambda: (variables or {}, arguments, cwd))
        (packages,) = installed_torch._folders()
        return packages.parent.parent.parent

    monkeypatch.setattr(sys, "prefix", str(tmp_path / "builds-v0" / ".tmp1234"))
    assert found() == beside
    assert found({"VIRTUAL_ENV": str(active), "CONDA_PREFIX": str(conda)}) == active
    assert found({"CONDA_PREFIX": str(conda)}) == conda
    assert found({"VIRTUAL_ENV": str(active)}, ["--python", f"{named}/bin/python"]) == named
    assert found({"VIRTUAL_ENV": str(active)}, [f"--python={named}"]) == named
    assert found({"VIRTUAL_ENV": str(active)}, ["--python", "3.12"]) == active
    assert found({"VIRTUAL_ENV": str(active)}, ["--system"]) == outside
    assert found(cwd=tmp_path) == outside
    (active / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    monkeypatch.setattr(installed_torch, "_parent", lambda: ({"VIRTUAL_ENV": str(active)}, [], folder))
    assert [path.parent.parent.parent for path in installed_torch._folders()] == [active, outside]
