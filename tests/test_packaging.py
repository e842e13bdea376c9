"""Building, installing and loading: what is packed, what is refused with which words, one pool of threads."""

import email
import importlib.util
import os
import pathlib
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest
import torch

import upsample_ext
from upsample_ext import _library

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = pathlib.Path(upsample_ext.__file__).resolve().parent
TORCH_MINOR = ".".join(torch.__version__.split(".")[:2])
NOT_PACKED = shutil.ignore_patterns(
    ".*", "build", "dist", "demo_output", "__pycache__", "*.so", "*.egg-info", "_build_info.py"
)
needs_checkout = pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="needs the sources")
# With `pytest -n 2 --dist loadgroup` one worker builds the package, once.
one_build = [needs_checkout, pytest.mark.slow, pytest.mark.xdist_group("packaging")]


def run(*command, **options):
    options.setdefault("env", os.environ)
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def checked(*command, **options):
    result = run(*command, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


# ---- what is built, packed and installed -----------------------------------------------------------------


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution, made from a copy so that nothing left in the checkout slips into it."""
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=NOT_PACKED)
    shutil.copy(ROOT / ".clang-format", source)
    (source / "upsample_ext" / "_build_info.py").write_text("torch = 'left over'\n")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    checked(sys.executable, "-c", build, cwd=source)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory):
    """The Python of a new virtual environment that sees the packages of this one, torch among them."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    seen = {*site.getsitepackages(), str(pathlib.Path(torch.__file__).parent.parent)}
    (packages / "base.pth").write_text("\n".join(sorted(seen)))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def wheel(sdist, clean_python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    checked(
        *(clean_python, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index"),
        *("--wheel-dir", folder, sdist),
        cwd=folder,
    )
    (archive,) = folder.glob("*.whl")
    return archive


@pytest.fixture(scope="module")
def installed(wheel, clean_python):
    checked(clean_python, "-m", "pip", "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    return clean_python


class TestDistribution:
    pytestmark = one_build

    def test_sdist_contains_all_sources_and_nothing_built(self, sdist):
        with tarfile.open(sdist) as archive:
            names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
        for folder in ("csrc", "tests", "benchmarks", "scripts", "upsample_ext"):
            for path in (ROOT / folder).rglob("*"):
                if (
                    path.suffix in (".py", ".cpp", ".h", ".cu", ".cuh", ".sh")
                    and path.name != "_build_info.py"
                ):
                    assert str(path.relative_to(ROOT)) in names
        assert {"setup.py", "pyproject.toml", "LICENSE", "README.md", ".clang-format"} <= names
        assert "upsample_ext/py.typed" in names
        assert not [name for name in names if name.endswith((".so", ".pyc", ".o", "_build_info.py"))]

    def test_wheel_contains_the_package_and_no_sources(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        assert {name.split("/")[0] for name in names} == {
            "upsample_ext",
            f"upsample_ext-{upsample_ext.__version__}.dist-info",
        }
        assert not [name for name in names if name.endswith((".cpp", ".h", ".cu", ".cuh"))]
        for path in (ROOT / "upsample_ext").glob("*.py"):
            assert f"upsample_ext/{path.name}" in names
        assert "upsample_ext/py.typed" in names
        assert sum(name.startswith("upsample_ext/_C.") and name.endswith(".so") for name in names) == 1

    def test_wheel_metadata(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            information = f"upsample_ext-{upsample_ext.__version__}.dist-info"
            metadata = email.message_from_bytes(archive.read(f"{information}/METADATA"))
            assert (
                "upsample-ext = upsample_ext.__main__:main"
                in archive.read(f"{information}/entry_points.txt").decode()
            )
            assert f"{information}/licenses/LICENSE" in archive.namelist()
        assert metadata["Name"] == "upsample-ext"
        assert metadata["Version"] == upsample_ext.__version__
        assert metadata["License-Expression"] == "BSD-3-Clause"
        required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
        assert required == [f"torch=={TORCH_MINOR}.*"]
        assert {"plot", "bench", "test", "lint", "dev"} <= set(metadata.get_all("Provides-Extra"))

    def test_installed_package_runs_an_op(self, installed, tmp_path):
        code = (
            "import torch, upsample_ext; print(upsample_ext.__file__);"
            "x = torch.rand(1, 2, 3, 5, requires_grad=True);"
            "y = upsample_ext.upsample_bilinear2d(x, scale_factor=2); y.sum().backward();"
            "expected = torch.nn.functional.interpolate(x, scale_factor=2, mode='bilinear');"
            "torch.testing.assert_close(y, expected); assert x.grad.shape == x.shape"
        )
        where = checked(installed, "-c", code, cwd=tmp_path)
        assert pathlib.Path(where.strip()).is_relative_to(installed.parent.parent)

    def test_installed_console_script(self, installed, tmp_path):
        output = checked(installed.parent / "upsample-ext", "info", cwd=tmp_path)
        assert upsample_ext.__version__ in output and torch.__version__ in output


# ---- loading under the wrong torch -----------------------------------------------------------------------


def import_copy(folder, **recorded):
    """The error of importing a copy of the package whose record of the build says this, or is missing."""
    shutil.copytree(PACKAGE, folder / "upsample_ext", ignore=shutil.ignore_patterns("__pycache__"))
    record = folder / "upsample_ext" / "_build_info.py"
    if recorded:
        words = {"torch": str(torch.__version__), "cuda": None, "cuda_arch_list": "", **recorded}
        record.write_text("".join(f"{name} = {value!r}\n" for name, value in words.items()))
    else:
        record.unlink()
    result = run(sys.executable, "-c", "import upsample_ext", cwd=folder)
    assert result.returncode != 0
    assert "undefined symbol" not in result.stderr
    assert result.stderr.count("Error: ") == 1, result.stderr
    return result.stderr


def test_import_under_another_torch_names_both_versions_and_the_remedy(tmp_path):
    message = import_copy(tmp_path, torch="2.12.1+cu126")
    assert "ImportError" in message
    assert "2.12.1+cu126" in message and torch.__version__ in message
    assert "pip install --force-reinstall --no-deps --no-build-isolation ." in message


def test_import_of_a_cuda_build_under_a_torch_without_it(tmp_path):
    if torch.version.cuda:
        pytest.skip("this torch has CUDA")
    message = import_copy(tmp_path, cuda="13.0")
    assert "with CUDA 13.0" in message and "built without CUDA" in message
    assert "pip install" in message


def test_import_without_a_build_says_how_to_build(tmp_path):
    message = import_copy(tmp_path)
    assert "is not built" in message and "pip install" in message


def test_patch_releases_and_local_versions_are_compatible():
    _library.check_abi("2.13.0+cpu", None, "2.13.1+cu130", "13.0")
    _library.check_abi("2.13.0+cu130", "13.0", "2.13.0+cu131", "13.1")
    for built, now in (("2.1.0", "2.13.0"), ("2.13.0", "2.14.0a0+git12"), ("2.13.0", "3.13.0")):
        with pytest.raises(ImportError, match="was built for torch"):
            _library.check_abi(built, None, now, None)


# ---- the build's decisions -------------------------------------------------------------------------------


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
        ("__version__ = '2.12.1+cu126'", ["torch 2.12.1+cu126 is not supported", "2.13 <= torch < 2.15"]),
        ("__version__ = '2.15.0'", ["torch 2.15.0 is not supported", "2.13 <= torch < 2.15"]),
    ],
)
def test_build_without_a_fitting_torch_says_what_to_type(tmp_path, torch_stub, words):
    (tmp_path / "torch.py").write_text(torch_stub)
    result = run(
        *(sys.executable, "setup.py", "--version"), cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    for word in [*words, 'pip install "torch>=2.13,<2.15"', "pip install --no-build-isolation ."]:
        assert word in result.stderr


@needs_checkout
def test_cuda_is_built_exactly_where_all_of_it_is_there(build, monkeypatch):
    there = ("2.13.0", "13.0", "/cuda", ["csrc/cuda/resample.cu"])
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
    for gigabytes, jobs in ((1, 1), (7, 2), (1000, 16)):
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
        lambda *patterns: ["csrc/cuda/resample.cu"] if "cuda/**/*.cu" in patterns else found(*patterns),
    )
    for users, expected in ((None, "8.0;9.0+PTX"), ("7.5", "7.5")):
        if users:
            monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", users)
        else:
            monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "")
            monkeypatch.delenv("TORCH_CUDA_ARCH_LIST")
        extension, _ = build.extension_and_build(torch)
        assert os.environ["TORCH_CUDA_ARCH_LIST"] == expected
        assert "csrc/cuda/resample.cu" in extension.sources
        assert "csrc/bindings.cpp" in extension.sources
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
    build.name_objects(compiler)
    sources = build.find("**/*.cpp", "**/*.cu")
    objects = compiler.object_filenames(sources, output_dir="build")
    assert len(set(objects)) == len(sources)
    assert compiler.object_filenames(["csrc/x.cu", "csrc/x.cpp"]) == ["csrc/x.cu.o", "csrc/x.o"]


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
    (home / "lib" / "libgomp-a34b3233.so.1").touch()
    assert build.openmp_link_flags(home) == [f"-L{home / 'lib'}", "-l:libgomp-a34b3233.so.1"]
    (home / "lib" / "libgomp.so.1").touch()
    assert build.openmp_link_flags(home) == ["-fopenmp"]


# ---- threads ---------------------------------------------------------------------------------------------


def test_one_openmp_runtime_two_threads_and_set_num_threads():
    code = """
import re, torch, upsample_ext
from upsample_ext._library import C
torch.set_num_threads(2)
upsample_ext.upsample_bilinear2d(torch.rand(1, 8, 64, 64), scale_factor=4)
print(C.parallel_threads())
torch.set_num_threads(1)
print(C.parallel_threads())
torch.set_num_threads(2)
print(C.parallel_threads())
maps = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
print(*[path for path in sorted(maps) if re.search(r"/lib(gomp|omp|iomp5)[-.]", path)])
"""
    output = checked(sys.executable, "-c", code, cwd=ROOT).splitlines()
    assert output[:3] == ["2", "1", "2"]
    assert len(output[3].split()) == 1, output[3]


def test_info_names_what_is_running():
    information = upsample_ext.info()
    text = str(information)
    assert information.version == upsample_ext.__version__
    assert information.openmp is True
    assert information.threads == torch.get_num_threads()
    for word in (upsample_ext.__version__, torch.__version__, information.level, "OpenMP on"):
        assert word in text


# ---- the two commands ------------------------------------------------------------------------------------


@pytest.mark.skipif(not (ROOT / ".ci" / "run").is_file(), reason="needs the checkout")
def test_continuous_integration_runs_the_readme_s_test_command():
    readme = (ROOT / "README.md").read_text()
    assert "scripts/demo.sh" in readme and "scripts/test.sh" in readme
    commands = [
        line
        for line in (ROOT / ".ci" / "run").read_text().splitlines()
        if line and not line.startswith(("#", "set ", "cd "))
    ]
    assert commands == ["scripts/test.sh"]
    for script in ("scripts/demo.sh", "scripts/test.sh", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK)
        checked("bash", "-n", ROOT / script)
