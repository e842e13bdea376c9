"""The checkout that the tests are of, its package, and commands that are run with them."""

import os
import pathlib
import shutil
import subprocess

import pytest
import torch

import upsample_ext

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = pathlib.Path(upsample_ext.__file__).resolve().parent
TORCH_MINOR = ".".join(torch.__version__.split(".")[:2])
NOT_PACKED = shutil.ignore_patterns(
    ".*", "build", "dist", "demo_output", "__pycache__", "*.so", "*.egg-info", "_build_info.py"
)
needs_checkout = pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="needs the sources")


def run(*command, **options):
    options.setdefault("env", os.environ)
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def checked(*command, **options):
    result = run(*command, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def write_files(root, **files):
    for path, words in files.items():
        path = root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(words)
