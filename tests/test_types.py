"""What a type checker knows of the package: the types of its functions and modules, and of the extension."""

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

import upsample_ext
from upsample_ext import _C

CALLS = pathlib.Path(__file__).with_name("typed_calls.py")
PACKAGE = pathlib.Path(upsample_ext.__file__).resolve().parent


@pytest.mark.slow
def test_a_typed_program_passes_and_its_mistakes_are_reported(pytestconfig):
    pytest.importorskip("mypy", reason="mypy is not installed (the extra lint has it)")
    options = ["--strict", "--follow-imports=silent", "--config-file=", "--no-error-summary"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, f"--cache-dir={pytestconfig.cache.mkdir('mypy')}", CALLS],
        env={**os.environ, "MYPYPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    assert not done.stderr, done.stderr
    errors = re.findall(r":(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    marked = [re.search(r"# refused: ([a-z-]+)$", line) for line in CALLS.read_text().splitlines()]
    mistakes = {number: found[1] for number, found in enumerate(marked, start=1) if found}
    assert {int(number): code for number, code in errors} == mistakes, done.stdout


def test_the_stub_names_what_the_extension_has():
    stub = ast.parse((PACKAGE / "_C.pyi").read_text())
    functions = {node.name: node.args for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert set(functions) == {name for name in vars(_C) if not name.startswith("__")}
    for name, arguments in functions.items():
        # pybind11 begins a docstring with the signature
        listed = re.match(rf"{name}\((.*)\) -> ", getattr(_C, name).__doc__)[1]
        parameters = re.findall(r"(\w+): ", listed)
        if parameters != [f"arg{i}" for i in range(len(parameters))]:
            assert parameters == [argument.arg for argument in arguments.args], name
        else:
            assert len(parameters) == len(arguments.posonlyargs), name
