"""Every public function and class has an example in its docstring, and it prints what it says."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import upsample_ext

MODULES = [module.name for module in pkgutil.iter_modules(upsample_ext.__path__) if module.name[:1] != "_"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"upsample_ext.{name}")
    failed, _ = doctest.testmod(module)
    assert failed == 0


@pytest.mark.parametrize("name", [name for name in upsample_ext.__all__ if name != "__version__"])
def test_every_public_name_has_an_example(name):
    public = getattr(upsample_ext, name)
    if inspect.isclass(public) and name in ("Comparison", "Info", "Report"):
        pytest.skip("made by compare(), info() and report(), which have one")
    assert ">>> " in inspect.getdoc(public)
