"""Which devices are ours: decided by what the extension was built for, alike in every function.

A fake tensor may claim to be on a GPU on a machine without one, so these decisions are tested everywhere.
"""

import contextlib
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from dispatched_ops import dispatched_ops
from dtypes import HALVES
from torch._subclasses.fake_tensor import FakeTensorMode
from torch_versions import fake_out_of_a_gpu

import upsample_ext
from upsample_ext import _devices
from upsample_ext._library import C
from upsample_ext.info import serves

WITH_CUDA = C.build_info()["cuda"]


def image(*shape, **options):
    return torch.empty(shape or (2, 3, 5, 4), device="cuda", **options)


def labels(*shape):
    return torch.zeros(shape, dtype=torch.int64, device="cuda")


# A call of each public function, and the op of ours that it makes.
CALLS = {
    "upsample_bilinear2d": lambda: upsample_ext.interpolate(image(), scale_factor=2, mode="bilinear"),
    "upsample_bilinear2d.out": lambda: upsample_ext.upsample_bilinear2d(
        image(), size=(7, 9), out=image(2, 3, 7, 9)
    ),
    "depthwise_conv_transpose2d": lambda: upsample_ext.conv_transpose2d(
        image(), image(3, 1, 4, 4), image(3), stride=2, padding=1, groups=3
    ),
    "separable_conv_transpose2d": lambda: upsample_ext.bilinear_conv_transpose2d(image(), 2),
    "upsample_add": lambda: upsample_ext.upsample_add(image(), image(2, 3, 7, 9)),
    "upsample_concat": lambda: upsample_ext.upsample_concat([image(), image(2, 1, 3, 3)]),
    "upsample_argmax": lambda: upsample_ext.upsample_argmax(image(), scale_factor=2),
    "upsample_argmax_with_score": lambda: upsample_ext.upsample_argmax(
        image(), scale_factor=2, return_score=True
    ),
    "upsample_threshold": lambda: upsample_ext.upsample_threshold(image(), scale_factor=2),
    "upsample_cross_entropy": lambda: upsample_ext.upsample_cross_entropy(image(), labels(2, 10, 8)),
}


def ops_of(call):
    with FakeTensorMode():
        return {name.removeprefix("upsample_ext::") for name in dispatched_ops(call)[1] if "_ext::" in name}


def with_cuda(monkeypatch, yes):
    """Has the Python side decide as it would in a build with, or without, CUDA."""
    monkeypatch.setattr(_devices, "KINDS", frozenset(("cpu", "meta", *(["cuda"] if yes else []))))


@pytest.mark.parametrize("op", CALLS)
def test_a_build_with_cuda_takes_its_tensors_and_one_without_leaves_them_to_pytorch(op, monkeypatch):
    with_cuda(monkeypatch, True)
    assert ops_of(CALLS[op]) == {op}
    with_cuda(monkeypatch, False)
    if op.endswith(".out") and not torch.cuda.is_available():
        return  # PyTorch's own op then cannot even pretend to write there: some versions ask for the driver
    assert ops_of(CALLS[op]) == set()


@pytest.mark.parametrize("dtype", HALVES)
def test_autocast_of_the_gpu_casts_as_that_of_the_processor(dtype, monkeypatch):
    with_cuda(monkeypatch, True)
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    try:
        with FakeTensorMode():
            up = upsample_ext.conv_transpose2d(image(), image(3, 1, 4, 4), stride=2, groups=3)
            loss = upsample_ext.upsample_cross_entropy(image(dtype=dtype), labels(2, 10, 8), image(3))
            assert (up.dtype, loss.dtype) == (dtype, torch.float32)
            assert upsample_ext.interpolate(up, scale_factor=2, mode="bilinear").dtype == dtype
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
        torch.clear_autocast_cache()


def test_tensors_on_different_devices_end_as_in_pytorch(monkeypatch):
    with_cuda(monkeypatch, True)
    with FakeTensorMode():
        here = torch.empty(2, 3, 10, 8)
        for call in (
            lambda: upsample_ext.upsample_add(image(), here),
            lambda: upsample_ext.upsample_concat([image(), here]),
            lambda: upsample_ext.upsample_cross_entropy(image(), torch.zeros(2, 10, 8, dtype=torch.int64)),
        ):
            with pytest.raises(RuntimeError, match="cuda:0.*cpu|cpu.*cuda:0"):
                call()
    # That of a convolution comes from PyTorch's kernel, which a fake tensor may not reach
    with contextlib.suppress(RuntimeError):
        mixed = ops_of(lambda: upsample_ext.conv_transpose2d(image(), torch.empty(3, 1, 4, 4), groups=3))
        assert mixed == set()


def ops_with_kernels():
    """All ops of the package but those that are made of others."""
    names = {
        schema.name for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("upsample_ext::")
    }
    for schema in torch._C._jit_get_all_schemas():
        if schema.name in names:
            name = schema.name + (f".{schema.overload_name}" if schema.overload_name else "")
            if not torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd"):
                yield name


def test_what_is_decided_is_what_was_built():
    assert ("cuda" in _devices.KINDS) == WITH_CUDA
    assert (upsample_ext.info().built_for_cuda is not None) == WITH_CUDA


def test_every_op_has_a_kernel_for_every_device_of_the_build():
    names = sorted(ops_with_kernels())
    assert len(names) >= 17
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    assert [name for name in names if not has(name, "CPU")] == []
    assert [name for name in names if has(name, "CUDA") != WITH_CUDA] == []
    assert [name for name in names if not has(name, "Meta") and not name.endswith(".out")] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_error_is_pytorch_s():
    with pytest.raises((RuntimeError, AssertionError), match="NVIDIA driver|not compiled with CUDA"):
        upsample_ext.interpolate(image(), scale_factor=2, mode="bilinear")


@pytest.mark.skipif(not (torch.cuda.is_available() and WITH_CUDA), reason="needs a GPU and a build for it")
@pytest.mark.parametrize("op", CALLS)
def test_on_a_gpu_calls_reach_our_ops(op):
    names = dispatched_ops(CALLS[op])[1]
    assert {name.removeprefix("upsample_ext::") for name in names if "_ext::" in name} == {op}


@pytest.mark.skipif(not torch.cuda.is_available() or WITH_CUDA, reason="needs a GPU and a build without CUDA")
def test_a_build_without_cuda_gives_what_pytorch_gives_on_a_gpu():
    x = torch.rand(2, 3, 5, 4, device="cuda")
    expected = F.interpolate(x, scale_factor=2, mode="bilinear")
    assert torch.equal(upsample_ext.interpolate(x, scale_factor=2, mode="bilinear"), expected)
    with upsample_ext.patch("dispatcher"):
        assert torch.equal(F.interpolate(x, scale_factor=2, mode="bilinear"), expected)


def test_patch_overrides_the_devices_of_the_build():
    name = "aten::upsample_bilinear2d"
    with upsample_ext.patch("dispatcher"):
        overridden = torch._C._dispatch_dump(name).count("upsample_ext dispatcher override")
    assert overridden == (2 if WITH_CUDA else 1)


@pytest.mark.parametrize(
    ("built", "served", "not_served"),
    [
        ("8.0;9.0+PTX", [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)], [(7, 5)]),
        ("8.6", [(8, 6), (8, 9)], [(8, 0), (9, 0)]),
        ("9.0a", [(9, 0)], [(10, 0)]),
        ("10.0 12.0+PTX", [(10, 3), (12, 1)], [(9, 0), (11, 0)]),
        ("", [], [(9, 0)]),
    ],
)
def test_which_gpus_a_list_of_architectures_serves(built, served, not_served):
    assert [gpu for gpu in served if not serves(built, gpu)] == []
    assert [gpu for gpu in not_served if serves(built, gpu)] == []


def test_info_names_gpus_and_says_which_are_not_served(monkeypatch):
    assert len(upsample_ext.info().gpus) == torch.cuda.device_count()
    module = sys.modules["upsample_ext.info"]
    monkeypatch.setattr(module._build_info, "cuda", "13.0")
    monkeypatch.setattr(module._build_info, "cuda_arch_list", "8.0;9.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: ("NVIDIA H100", "NVIDIA B200")[index])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: ((9, 0), (10, 0))[index])
    text = str(upsample_ext.info())
    assert "13.0, kernels for 8.0 9.0" in text
    assert "NVIDIA H100 (9.0); NVIDIA B200 (10.0), NOT SERVED" in text
    assert "TORCH_CUDA_ARCH_LIST=10.0" in text


# ---- GPUs that the build has no machine code for ---------------------------------------------------------


@pytest.fixture
def two_gpus(monkeypatch):
    """A build for 9.0 beside an H100, which it serves, and a B200, which it does not: (asked, warnings)."""
    asked = []

    def capability(index):
        asked.append(index)
        return ((9, 0), (10, 0))[index]

    with_cuda(monkeypatch, True)
    monkeypatch.setattr(_devices._build_info, "cuda_arch_list", "8.0;9.0")
    monkeypatch.setattr(_devices, "_warned", False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: ("NVIDIA H100", "NVIDIA B200")[index])
    C.judge_gpus_with(_devices._judge)
    yield asked
    C.judge_gpus_with(_devices._judge)  # forgets the answers


def on_gpu(monkeypatch, index):
    """Has the calls make their images on this GPU."""
    monkeypatch.setitem(
        globals(), "image", lambda *shape, **options: blank(f"cuda:{index}", *shape, **options)
    )
    monkeypatch.setitem(
        globals(), "labels", lambda *shape: torch.zeros(shape, dtype=torch.int64, device=f"cuda:{index}")
    )


def blank(device, *shape, **options):
    return torch.empty(shape or (2, 3, 5, 4), device=device, **options)


@pytest.mark.parametrize(
    "op", [pytest.param(op, marks=fake_out_of_a_gpu) if op.endswith(".out") else op for op in CALLS]
)
def test_each_gpu_is_judged_by_itself(op, two_gpus, monkeypatch):
    on_gpu(monkeypatch, 0)
    assert ops_of(CALLS[op]) == {op}
    if op.endswith(".out") and not torch.backends.cuda.is_built():
        return
    on_gpu(monkeypatch, 1)
    with pytest.warns(UserWarning, match="cuda:1, NVIDIA B200, is 10.0"):
        assert ops_of(CALLS[op]) == set()


def test_the_first_gpu_that_is_not_served_warns_and_each_is_asked_once(two_gpus, recwarn):
    answers = [C.gpu_is_served(index) for index in (1, 0, 1, 0)]
    assert answers == [False, True, False, True]
    assert two_gpus == [1, 0]
    (warning,) = [str(warning.message) for warning in recwarn]
    for word in (
        "architectures 8.0;9.0",
        "cuda:1, NVIDIA B200, is 10.0",
        "PyTorch's own kernels",
        "TORCH_CUDA_ARCH_LIST=10.0 ",
        "pip install --force-reinstall --no-deps --no-build-isolation .",
    ):
        assert word in warning
    C.judge_gpus_with(_devices._judge)
    assert not C.gpu_is_served(1)
    assert len(recwarn) == 1  # once in a process


def test_a_warning_that_is_made_an_error_comes_out_once(two_gpus):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="PyTorch's own kernels"):
            C.gpu_is_served(1)
        assert not C.gpu_is_served(1)


def test_indices_that_no_gpu_has(two_gpus):
    for index in (-1, 128, 10**6):
        with pytest.raises(IndexError, match=f"gpu_is_served: expected the index of a GPU, got {index}"):
            C.gpu_is_served(index)


def test_a_judge_that_fails_is_asked_again(two_gpus):
    def fail(index):
        raise RuntimeError("no driver")

    C.judge_gpus_with(fail)
    with pytest.raises(RuntimeError, match="no driver"):
        C.gpu_is_served(0)
    C.judge_gpus_with(lambda index: index == 0)
    assert C.gpu_is_served(0)


def test_asking_never_starts_cuda(monkeypatch):
    """A fake CUDA tensor must not: a process that forks later could not use CUDA in its children."""
    with_cuda(monkeypatch, True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: pytest.fail("CUDA was started"))
    C.judge_gpus_with(_devices._judge)
    assert ops_of(CALLS["upsample_bilinear2d"]) == {"upsample_bilinear2d"}


def test_the_compiler_takes_the_answer_for_a_constant(two_gpus):
    def compiled(x):
        return x + 1 if _devices.is_ours(torch.device("cuda", 0)) else x - 1

    x = torch.zeros(2)
    assert torch.compile(compiled, backend="eager", fullgraph=True)(x).tolist() == [1, 1]
    torch._dynamo.reset()


def test_the_override_asks_for_cuda_tensors_only(two_gpus):
    with upsample_ext.patch("dispatcher"):
        F.interpolate(torch.rand(1, 1, 3, 3), scale_factor=2, mode="bilinear")
    assert two_gpus == []


@pytest.mark.skipif(not (torch.cuda.is_available() and WITH_CUDA), reason="needs a GPU and a build for it")
@pytest.mark.parametrize("level", ["none", "function", "dispatcher"])
def test_a_gpu_that_is_not_served_runs_pytorch_s_kernels(level, monkeypatch):
    x = torch.rand(2, 3, 5, 4, device="cuda", requires_grad=True)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear")
    monkeypatch.setattr(_devices._build_info, "cuda_arch_list", "1.0")
    monkeypatch.setattr(_devices, "_warned", False)
    C.judge_gpus_with(_devices._judge)
    try:
        with (
            pytest.warns(UserWarning, match="PyTorch's own kernels run there instead"),
            contextlib.nullcontext() if level == "none" else upsample_ext.patch(level),
        ):
            function = upsample_ext.interpolate if level == "none" else F.interpolate
            calls = dispatched_ops(lambda: function(x, scale_factor=2, mode="bilinear").sum().backward())[1]
            assert [name for name in calls if "upsample_ext::" in name] == []
            assert torch.equal(function(x, scale_factor=2, mode="bilinear"), expected)
    finally:
        monkeypatch.undo()
        C.judge_gpus_with(_devices._judge)
