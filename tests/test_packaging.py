"""What is packed and installed, and from where an isolated build takes its torch."""

import email
import importlib.metadata
import os
import pathlib
import shutil
import site
import sys
import tarfile
import venv
import zipfile
from importlib.machinery import PathFinder

import pytest
import torch
from checkout import NOT_PACKED, ROOT, TORCH_MINOR, checked, needs_checkout, run, write_files

import upsample_ext

# With `pytest -n 2 --dist loadgroup` one worker builds the package, once.
one_build = [needs_checkout, pytest.mark.slow, pytest.mark.xdist_group("packaging")]


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
    """A wheel made of the source distribution: a debug build, since optimizing takes minutes."""
    folder = tmp_path_factory.mktemp("wheel")
    checked(
        *(clean_python, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index"),
        *("--wheel-dir", folder, sdist),
        cwd=folder,
        env={**os.environ, "CFLAGS": "-O0"},
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
        for folder in ("build_tools", "csrc", "tests", "benchmarks", "scripts", "upsample_ext"):
            for path in (ROOT / folder).rglob("*"):
                if (
                    path.suffix in (".py", ".pyi", ".cpp", ".h", ".cu", ".cuh", ".sh")
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
        for path in [*(ROOT / "upsample_ext").glob("*.py"), *(ROOT / "upsample_ext").glob("*.pyi")]:
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


# ---- isolated builds take the torch that is installed ------------------------------------------------------


def packed(name, folder):
    """A wheel of an installed distribution, for a pip without an index."""
    distribution = importlib.metadata.distribution(name)
    wheel = folder / f"{name}-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in distribution.files:
            if ".." not in file.parts and file.suffix != ".pyc" and file.locate().is_file():
                archive.write(file.locate(), str(file))
    return wheel


def isolated_install(python, source, links):
    return run(
        *(
            python,
            "-m",
            "pip",
            "install",
            "-v",
            "--dry-run",
            "--no-deps",
            "--no-index",
            "--find-links",
            links,
            source,
        ),
        cwd=links,
    )


@pytest.mark.slow
@needs_checkout
def test_an_isolated_build_takes_the_installed_torch_or_refuses(clean_python, tmp_path):
    """Without an index, as any attempt to fetch a torch would fail."""
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=NOT_PACKED)
    for name in ("setuptools", "ninja"):
        packed(name, tmp_path)
    taken = isolated_install(clean_python, source, tmp_path)
    assert taken.returncode == 0, taken.stdout + taken.stderr
    assert f"building against the installed torch {torch.__version__} of" in taken.stdout + taken.stderr
    assert f"Would install upsample-ext-{upsample_ext.__version__}" in taken.stdout

    stub = tmp_path / "other"
    checked(sys.executable, "-m", "venv", "--without-pip", stub)
    (packages,) = stub.glob("lib/python*/site-packages")
    (packages / "pip.pth").write_text(str(pathlib.Path(PathFinder.find_spec("pip").origin).parent.parent))
    write_files(packages, **{"torch/__init__.py": "", "torch/version.py": "__version__ = '2.3.1+cu121'\n"})
    refused = isolated_install(stub / "bin" / "python", source, tmp_path)
    words = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "torch 2.3.1+cu121 is not supported" in words and "pip install --no-build-isolation ." in words


# ---- the two commands --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_tests_of_a_group_share_a_worker(tmp_path):
    """With pytest 9.2 and xdist 3.8 they do not: each worker builds the package, and no test fails."""
    (tmp_path / "test_groups.py").write_text(
        "import os, pytest\n"
        "@pytest.mark.xdist_group('one')\n"
        "@pytest.mark.parametrize('i', range(6))\n"
        "def test_group(i):\n"
        "    open(os.environ['PYTEST_XDIST_WORKER'], 'a').close()\n"
    )
    environment = {name: word for name, word in os.environ.items() if not name.startswith("PYTEST_")}
    options = ["-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"]
    checked(sys.executable, "-m", "pytest", *options, cwd=tmp_path, env=environment)
    assert len(list(tmp_path.glob("gw*"))) == 1


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
