"""Loading the extension: what is refused with which words, one pool of threads."""

import os
import shlex
import shutil
import sys

import pytest
import torch
from checkout import PACKAGE, ROOT, checked, run

import upsample_ext
from upsample_ext import _installer, _library


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


def test_import_of_a_build_for_another_cxx_interface_of_the_same_version(tmp_path):
    """A nightly, or a vendor's build, that calls itself by the same minor version but lacks a symbol."""
    shutil.copytree(PACKAGE, tmp_path / "upsample_ext", ignore=shutil.ignore_patterns("__pycache__"))
    (library,) = (tmp_path / "upsample_ext").glob("_C.*.so")
    source = tmp_path / "stub.cpp"
    lines = [
        'extern "C" void gone_from_torch();',
        'extern "C" void* PyInit__C() { gone_from_torch(); return 0; }',
    ]
    source.write_text("\n".join(lines))
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    checked(*compiler, "-shared", "-fPIC", source, "-o", library)
    result = run(sys.executable, "-c", "import upsample_ext", cwd=tmp_path)
    cause, _, error = result.stderr.partition("direct cause of the following exception")
    assert "undefined symbol: gone_from_torch" in cause
    (last,) = [line for line in error.splitlines() if line.startswith("ImportError: ")]
    assert (
        f"was built for torch {torch.__version__}, and cannot be loaded with torch {torch.__version__}"
        in last
    )
    assert "gone_from_torch" in last
    assert "pip install --force-reinstall --no-deps --no-build-isolation ." in error


def test_import_of_a_build_for_another_python(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "upsample_ext", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    result = run(sys.executable, "-c", "import upsample_ext", cwd=tmp_path)
    assert "is not built for this Python" in result.stderr and "pip install" in result.stderr
    assert result.stderr.count("Error: ") == 1, result.stderr


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_import_on_another_system_says_linux_only(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(ImportError, match=f"runs on Linux only, this is {platform}"):
        _library._load()


@pytest.mark.parametrize(
    ("has_pip", "configuration", "active", "words"),
    [
        (True, "", True, "python -m pip install ."),
        (True, "uv = 0.13.9", True, "python -m pip install ."),
        (True, "", False, "{prefix}/bin/python -m pip install ."),
        (False, "uv = 0.13.9", True, "uv pip install ."),
        (False, "uv = 0.13.9", False, "uv pip install --python {prefix}/bin/python ."),
        (False, "", True, "python -m ensurepip && python -m pip install ."),
    ],
)
def test_messages_use_the_installer_that_is_there(
    tmp_path, monkeypatch, has_pip, configuration, active, words
):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    (tmp_path / "pyvenv.cfg").write_text(f"home = /usr/bin\n{configuration}\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(_installer, "_has_pip", lambda: has_pip)
    monkeypatch.setenv("PATH", str(python.parent) if active else os.defpath)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path) if active else "/elsewhere")
    assert _installer.install(".") == words.format(prefix=tmp_path)


def test_the_words_do_not_hinder_setuptools():
    """A search for pip by find_spec has setuptools leave distutils alone, and then fail to be imported."""
    checked(sys.executable, "-c", "import upsample_ext, setuptools", cwd=ROOT)


def test_patch_releases_and_local_versions_are_compatible():
    _library.check_abi("2.13.0+cpu", None, "2.13.1+cu130", "13.0")
    _library.check_abi("2.13.0+cu130", "13.0", "2.13.0+cu131", "13.1")
    for built, now in (("2.1.0", "2.13.0"), ("2.13.0", "2.14.0a0+git12"), ("2.13.0", "3.13.0")):
        with pytest.raises(ImportError, match="was built for torch"):
            _library.check_abi(built, None, now, None)


# ---- threads -----------------------------------------------------------------------------------------------


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
