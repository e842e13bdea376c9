"""A new op is registered everywhere: each test here fails by itself where one registration is forgotten.

The dispatcher is asked for its ops, and the package for its public functions, so that no list of either is
kept for these tests. (Kernels for every device: test_devices.py. Fuzz targets of functions: test_fuzz.py.)
"""

import ast
import inspect
import itertools
import re
import sys

import pytest
import test_smoke
import torch
from checkout import ROOT, needs_checkout
from dispatched_ops import RecordedCalls, registered_ops
from ops import ROWS
from torch.utils.flop_counter import flop_registry

import upsample_ext
from tests.fuzz import autograd, schemas, targets

sys.path.insert(0, str(ROOT / "tests" / "cuda_emulation"))

import run_suite  # noqa: E402
import traffic  # noqa: E402

# Ops that no public function calls by itself, and what tests them instead.
CALLED_OTHERWISE = {
    "upsample_ext::upsample_bilinear2d.out": "upsample_bilinear2d(out=): test_resample.py",
}
FAMILIES = ("resample", "deconv", "argmax", "threshold", "add", "concat", "cross_entropy")
PRIVATE_FAMILIES = ("chain",)
# The sources that no family owns, by folder.
SHARED_SOURCES = {
    "csrc/ops/*.cpp": {"schemas", "traced"},
    "csrc/cpu/*.cpp": {"levels", "axis_cache", "copy_pixels", "pick_pixels"},
    "csrc/cuda/*.cpp": set(),
    "csrc/cpu/kernels/*.h": {
        *{
            "byte_pixels",
            "byte_rows",
            "byte_windows",
            "class_logits",
            "copy_image",
            "epilogue",
            "exp_log",
            "fixed_point",
            "horizontal",
        },
        *{"level_table", "pick_pixels", "simd", "strips", "vertical"},
    },
    "csrc/cuda/kernels/*.cu": set(),
    "csrc/cuda/kernels/*.cuh": {
        *{"batch_reduction", "class_logits", "config", "element", "epilogue", "launch", "softmax"},
        *{"thread_partition", "transposed_taps"},
    },
}
# Public functions that compute nothing of an image.
NO_OPS = {"bilinear_kernel", "caffe_upsample_params", "make_bilinear_weights"} | targets.NOT_FUZZED.keys()


def public_functions():
    functions = {name for name in upsample_ext.__all__ if inspect.isroutine(getattr(upsample_ext, name))}
    return functions - NO_OPS


@pytest.fixture(scope="module")
def reached():
    """The ops that the rows of ops.py call, forward and backward."""
    with RecordedCalls() as calls:
        for op in ROWS.values():
            op.results(op.ours, op.make())
    return {func.name() for func, _, _ in calls}


def test_every_op_has_a_row_in_the_contract(reached):
    assert set(registered_ops()) - reached == CALLED_OTHERWISE.keys()


def test_every_public_function_has_a_row_in_the_contract():
    assert public_functions() == {op.function.__name__ for op in ROWS.values() if op.public}


def test_every_op_has_a_vmap_rule():
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    without = {name for name in registered_ops() if not has(name, "FuncTorchBatched")}
    assert without == {"upsample_ext::upsample_bilinear2d.out"}  # writes to what may not be mapped


def test_every_op_of_a_convolution_has_a_flop_count():
    """As natively, where a resize counts as nothing."""
    convolutions = {name for name in registered_ops() if "conv_transpose2d" in name}
    counted = {str(op).replace(".", "::") for op in flop_registry if str(op).startswith("upsample_ext")}
    assert len(convolutions) >= 5 and counted == convolutions


def test_every_op_is_fuzzed():
    assert set(registered_ops()) <= set(schemas.names())


def test_every_differentiable_op_is_in_the_fuzzer_s_table():
    """By the public function that calls it, or by itself."""
    with RecordedCalls() as calls:
        for op in autograd.OPS.values():
            leaves = [t.requires_grad_() for t in op.inputs()]
            for output in (result,) if isinstance(result := op.ours(*leaves), torch.Tensor) else result:
                if output.requires_grad:
                    output.sum().backward()
    called = {func.name() for func, _, _ in calls}
    with_score = {  # of an op that is there, with another output
        "upsample_ext::upsample_argmax_with_score",
        "upsample_ext::upsample_chain_argmax_with_score",
    }
    assert set(registered_ops()) - called == CALLED_OTHERWISE.keys() | with_score


def test_every_public_function_has_a_benchmark():
    from benchmarks.__main__ import _all_rows

    measured = {row.op for device in ("cpu", "cuda") for row in _all_rows(device)}
    # Of two names of one op, one is measured.
    assert public_functions() - measured <= {"upsample_bilinear2d", "interpolate"} and measured


def test_every_op_has_a_smoke_case():
    with RecordedCalls() as calls:
        for name, test in inspect.getmembers(test_smoke, inspect.isfunction):
            if not name.startswith("test_"):
                continue
            choices = {"device": ["cpu"]} | {mark.args[0]: mark.args[1] for mark in test.pytestmark}
            choices |= {"dtype": [torch.float32], "layout": [test_smoke.contiguous]}
            wanted = inspect.signature(test).parameters
            for values in itertools.product(*(choices[name] for name in wanted)):
                test(**dict(zip(wanted, values, strict=True)))
    called = {func.name() for func, _, _ in calls}
    assert set(registered_ops()) - called == CALLED_OTHERWISE.keys()


@needs_checkout
def test_the_emulation_s_subset_has_tests_of_every_op():
    """And no tests that are no more."""
    files = set()
    for test in run_suite.SUBSET:
        name, _, function = test.partition("::")
        files.add(name.removeprefix("test_").removesuffix(".py"))
        tree = ast.parse((ROOT / "tests" / name).read_text())
        assert not function or function in {node.name for node in tree.body if hasattr(node, "name")}, test
    assert {*FAMILIES, "smoke"} <= files


@needs_checkout
def test_the_traffic_of_every_launcher_is_measured():
    launchers = {path.stem for path in (ROOT / "csrc" / "cuda").glob("*.cpp")}
    assert set(traffic.OPS.values()) | traffic.UNMEASURED.keys() == launchers


@needs_checkout
def test_every_family_has_one_stem_in_all_folders():
    for family in (*FAMILIES, *PRIVATE_FAMILIES):
        for path in (
            f"csrc/ops/{family}.cpp",
            f"csrc/cpu/{family}.cpp",
            f"csrc/cuda/{family}.cpp",
            f"tests/test_{family}.py",
            f"benchmarks/{family}.py",
            f"upsample_ext/{'_' if family in PRIVATE_FAMILIES else ''}{family}.py",
        ):
            assert (ROOT / path).is_file() or (family in PRIVATE_FAMILIES and "benchmarks" in path), path


@needs_checkout
@pytest.mark.parametrize("folder", SHARED_SOURCES)
def test_every_source_begins_with_its_family_s_stem(folder):
    """Launchers are named by it alone, but for the modes of resample; kernels add what they compute."""
    families = re.compile(rf"({'|'.join((*FAMILIES, *PRIVATE_FAMILIES))})(_\w+)?")
    stems = {path.stem for path in ROOT.glob(folder)}
    assert {stem for stem in stems if not families.fullmatch(stem)} == SHARED_SOURCES[folder]
    launchers = folder.endswith(".cpp")
    longer = {stem for stem in stems - SHARED_SOURCES[folder] if stem not in (*FAMILIES, *PRIVATE_FAMILIES)}
    assert not launchers or longer <= {"resample_modes"}


@needs_checkout
@pytest.mark.parametrize("script", ["test.sh --quick", "torch_matrix.sh", "sanitize.sh"])
def test_the_tests_that_a_script_names_exist(script):
    name = script.partition(" ")[0]
    words = (ROOT / "scripts" / name).read_text()
    if name == "sanitize.sh":
        named = re.findall(r"tests/test_(\w+)\.py", words)
    else:
        (chosen,) = re.findall(
            r"core=\((\w.*?)\)" if name == "torch_matrix.sh" else r"for name in (.*?); do", words, re.S
        )
        named = chosen.replace("\\\n", " ").split()
    assert len(named) > 5
    assert not [test for test in named if not (ROOT / "tests" / f"test_{test}.py").is_file()]
