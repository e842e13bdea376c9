"""The documentation: its code runs, its commands exist, its pictures and its pages are there.

A block of Python runs after those before it on its page, as a reader would type them. `<!-- needs NAME -->`
above one names what this version or machine may lack: a function of the package, or `cuda`.
"""

import doctest
import pathlib
import re
import shlex
from collections.abc import Iterator

import pytest
import torch

import upsample_ext
from upsample_ext.__main__ import main
from upsample_ext.patch import Handle

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.glob("*.md")) if DOCS.is_dir() else []
WITH_CODE = [page for page in [ROOT / "README.md", *PAGES] if page.exists()]
BLOCK = re.compile(r"(?:<!-- needs ([\w ]+) -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="needs the sources")


def lacking(needs: str) -> list[str]:
    """Which of these names this version or machine does not have."""
    return [
        name
        for name in needs.split()
        if not (torch.cuda.is_available() if name == "cuda" else hasattr(upsample_ext, name))
    ]


@pytest.fixture(autouse=True)
def patches_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Some of a page's patches are made for good."""
    made: list[Handle] = []
    enter = Handle._apply
    monkeypatch.setattr(Handle, "_apply", lambda handle: (made.append(handle), enter(handle)))
    yield
    for handle in made:
        handle.undo()


def run(code: str, page: pathlib.Path, line: int, names: dict[str, object]) -> None:
    """Runs a block; one with prompts as a doctest."""
    if ">>> " in code:
        test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
        runner = doctest.DocTestRunner(verbose=False)
        assert runner.run(test, clear_globs=False).failed == 0
        names.update(test.globs)
    else:
        exec(compile("\n" * line + code, str(page), "exec"), names)  # with the page's line numbers


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page):
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python"), "a block that is not one"
    names = {"model": torch.nn.Upsample(scale_factor=2)} if page.name == "README.md" else {}
    torch.manual_seed(0)
    before = torch.nn.functional.interpolate
    for block in blocks:
        if not lacking(block[1] or ""):
            run(block[2], page, text[: block.start(2)].count("\n"), names)
    torch.set_default_dtype(torch.float32)
    upsample_ext.patch("dispatcher").undo()
    assert torch.nn.functional.interpolate is before, "left patched"


def commands() -> list[tuple[pathlib.Path, str]]:
    """The lines of the documentation that are commands."""
    return [
        (page, line.strip().split("  #")[0])
        for page in WITH_CODE
        for line in page.read_text().splitlines()
        if re.match(r"    (python -m|scripts/|python )", line)
    ]


@pytest.mark.parametrize("page, command", commands(), ids=lambda v: v if isinstance(v, str) else v.name)
def test_the_commands_of_a_page_exist(page, command, tmp_path, monkeypatch, capsys):
    words = shlex.split(command)
    if words[:3] == ["python", "-m", "upsample_ext"]:
        pytest.importorskip("matplotlib")
        if "--image" in words:
            pytest.importorskip("skimage")
        monkeypatch.chdir(tmp_path)
        assert main(words[3:]) == 0, capsys.readouterr().err
    elif words[:2] == ["python", "-m"]:
        module = ROOT / words[2].replace(".", "/")
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists() or words[2] == "pytest"
    else:
        assert (ROOT / words[words[0] == "python"]).exists()


def test_the_pictures_are_there_and_small():
    for page in [ROOT / "README.md", *PAGES]:
        for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text()):
            picture = page.parent / name
            assert picture.exists(), f"{page.name}: {name}"
            assert picture.stat().st_size < 310_000


def test_links_lead_to_files():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]:
        for target in re.findall(r"(?<!!)\[[^\]]*\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_reference_has_every_public_name():
    """Those in no group of conf.py, too: they are added to the last page."""
    pytest.importorskip("sphinx")
    names = {"__file__": str(DOCS / "conf.py")}
    exec((DOCS / "conf.py").read_text(), names)
    text = "\n".join(names["reference"]().values())
    for name in upsample_ext.__all__:
        if name != "__version__":
            assert len(re.findall(rf"^\.\. auto\w+:: upsample_ext\.{name}$", text, re.MULTILINE)) == 1
    for file in names["ELSEWHERE"].values():
        assert (ROOT / file).exists()
