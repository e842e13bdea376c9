"""patch(): which calls each level redirects, gradients through this package, and exact undoing."""

import copy
import importlib
import subprocess
import sys
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._decomp import decompositions
from torch.nn.functional import interpolate as interpolate_by_name
from torch_versions import nested_vmap_rules

import upsample_ext

patch_module = importlib.import_module("upsample_ext.patch")  # the package's `patch` is the class
DECOMPOSITION = decompositions._upsample_linear_vec
RESIZES = [
    *(f"{kind}{axes}d" for kind in ("upsample_nearest", "_upsample_nearest_exact") for axes in (1, 2, 3)),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"),
    *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
    *(["_upsample_lanczos2d_aa"] if hasattr(torch.ops.aten, "_upsample_lanczos2d_aa") else []),
]
OVERRIDDEN = [
    f"aten::{name}{form}" for name in RESIZES for form in ("", ".out", "_backward", "_backward.grad_input")
]
NATIVE = {
    name: getattr(F, name)
    for name in ("interpolate", "upsample", "upsample_bilinear", "conv_transpose1d", "conv_transpose2d")
}
DISPATCHER_TABLES = [torch._C._dispatch_dump(name) for name in OVERRIDDEN]


def untouched():
    """Whether PyTorch is as it was: the same objects in torch.nn.functional, the same dispatcher tables."""
    tables = [torch._C._dispatch_dump(name) for name in OVERRIDDEN]
    return (
        all(getattr(F, name) is function for name, function in NATIVE.items())
        and decompositions._upsample_linear_vec is DECOMPOSITION
        and tables == DISPATCHER_TABLES
    )


@pytest.fixture(autouse=True)
def leaves_no_trace():
    assert untouched()
    yield
    assert untouched()


def upsample_ops(function):
    """Names of the upsample_ext ops that ran while `function()` did."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    return {
        event.key.removeprefix("upsample_ext::") for event in profile.key_averages() if "_ext::" in event.key
    }


BILINEAR = {"scale_factor": 2, "mode": "bilinear"}
FORWARD, BACKWARD = "upsample_bilinear2d", "upsample_bilinear2d_backward"
LEVELS = ["function", "dispatcher"]


def image(*shape, **options):
    return torch.rand(shape or (2, 3, 5, 4), **options)


# ---- what is caught


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.interpolate(x, **BILINEAR),
        lambda x: torch.nn.functional.interpolate(x, (7, 9), None, "bilinear", True),
        lambda x: F.upsample(x, **BILINEAR),
        lambda x: F.upsample_bilinear(x, scale_factor=2),
        lambda x: nn.Upsample(**BILINEAR)(x),
        lambda x: nn.UpsamplingBilinear2d(scale_factor=2)(x),
    ],
    ids=[
        "interpolate",
        "positional",
        "upsample",
        "upsample_bilinear",
        "nn.Upsample",
        "nn.UpsamplingBilinear2d",
    ],
)
@pytest.mark.filterwarnings("ignore:`nn.functional.upsample")
def test_both_levels_catch(default_device, level, call):
    x = image()
    expected = call(x)
    assert upsample_ops(lambda: call(x)) == set()
    with upsample_ext.patch(level):
        assert upsample_ops(lambda: call(x)) == {FORWARD}
        torch.testing.assert_close(call(x), expected)
    assert upsample_ops(lambda: call(x)) == set()
    assert torch.equal(call(x), expected), "native again, to the last bit"


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w: F.conv_transpose2d(x, w, stride=2, groups=3),
        lambda x, w: nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1, groups=3)(x),
    ],
    ids=["function", "module"],
)
def test_function_level_catches_depthwise_transposed_convolution(default_device, call):
    x, w = image(), torch.rand(3, 1, 4, 4)
    with upsample_ext.patch():
        assert "depthwise_conv_transpose2d" in upsample_ops(lambda: call(x, w))
    with upsample_ext.patch("dispatcher"):
        assert upsample_ops(lambda: call(x, w)) == set()


def test_dispatcher_level_catches_what_was_imported_by_name(device):
    # Not default_device: a mode in force has native call itself by the name that is patched.
    x = image(device=device)
    with upsample_ext.patch():
        assert upsample_ops(lambda: interpolate_by_name(x, **BILINEAR)) == set()
    with upsample_ext.patch("dispatcher"):
        assert upsample_ops(lambda: interpolate_by_name(x, **BILINEAR)) == {FORWARD}


class OnAnotherDevice(torch.Tensor):
    """A tensor in CPU memory that claims not to be on the CPU, as Python code sees a GPU's tensor."""

    is_cpu = False


@pytest.fixture
def deterministic(monkeypatch):
    """Deterministic algorithms, and a dispatcher level that has kernels for another device than the CPU."""
    monkeypatch.setattr(patch_module._levels["dispatcher"], "devices", frozenset({"cpu"}))
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_dispatcher_level_is_reached_under_deterministic_algorithms(deterministic):
    """F.interpolate then takes a decomposition on devices like CUDA, because native's gradient is not."""
    x = image().as_subclass(OnAnotherDevice).requires_grad_()
    decomposition = decompositions._upsample_linear_vec

    def forward_and_backward():
        interpolate_by_name(x, **BILINEAR).sum().backward()

    assert upsample_ops(forward_and_backward) == set()
    outer = upsample_ext.patch("dispatcher")
    inner = upsample_ext.patch("dispatcher")
    assert upsample_ops(forward_and_backward) == {FORWARD, BACKWARD}
    outer.undo()
    assert upsample_ops(forward_and_backward) == {FORWARD, BACKWARD}
    for options in ({"scale_factor": 1.37}, {"size": (7, 9)}, {"size": (5, 9), "align_corners": True}):
        expected = NATIVE["interpolate"](x.detach().as_subclass(torch.Tensor), mode="bilinear", **options)
        found = interpolate_by_name(x.detach(), mode="bilinear", **options)
        torch.testing.assert_close(found.as_subclass(torch.Tensor), expected)
    inner.undo()
    assert upsample_ops(forward_and_backward) == set()
    assert decompositions._upsample_linear_vec is decomposition


def test_dispatcher_level_leaves_other_decompositions_alone(deterministic):
    """Called as F.interpolate does, which takes it for volumes since a later torch than for planes."""
    volume = image(1, 2, 3, 4, 5).as_subclass(OnAnotherDevice)
    plane = image().int().as_subclass(OnAnotherDevice)
    calls = [(volume, None, False, [2.0, 2.0, 2.0]), (plane, None, False, [2.0, 2.0])]
    expected = [decompositions._upsample_linear_vec(*call) for call in calls]
    with upsample_ext.patch("dispatcher"):
        found = [decompositions._upsample_linear_vec(*call) for call in calls]
    assert all(map(torch.equal, found, expected))


def test_a_decomposition_that_others_replaced_is_left_to_them(deterministic, caplog):
    handle = upsample_ext.patch("dispatcher")
    others = object()
    decompositions._upsample_linear_vec = others
    handle.undo()
    assert decompositions._upsample_linear_vec is others
    assert "left torch._decomp.decompositions._upsample_linear_vec alone" in caplog.text
    decompositions._upsample_linear_vec = DECOMPOSITION


def test_dispatcher_level_catches_callers_of_the_operator_and_of_torchscript(default_device):
    x = image()
    scripted = torch.jit.script(nn.Upsample(scale_factor=2.0, mode="bilinear"))
    with upsample_ext.patch("dispatcher"):
        assert upsample_ops(lambda: torch._C._nn.upsample_bilinear2d(x, (7, 9), False)) == {FORWARD}
        assert upsample_ops(lambda: torch.ops.aten.upsample_bilinear2d(x, [7, 9], False)) == {FORWARD}
        assert upsample_ops(lambda: torch.ops.aten.upsample_bilinear2d.vec(x, None, False, [2, 2])) == {
            FORWARD
        }
        assert upsample_ops(lambda: scripted(x)) == {FORWARD}


def torchvision_resize():
    """torchvision's function, which has imported `interpolate` by name, and its names of modes."""
    try:
        from torchvision.transforms import functional
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        pytest.skip(f"torchvision: {error}")
    return functional.resize, functional.InterpolationMode


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize(
    ("mode", "antialias"),
    [("bilinear", False), ("bilinear", True), ("bicubic", False), ("bicubic", True), ("nearest", False)],
)
def test_dispatcher_level_catches_torchvision(mode, antialias, dtype):
    resize, modes = torchvision_resize()
    x = (torch.rand(2, 3, 20, 30) * 255).to(dtype)
    arguments = {"size": [13, 41], "interpolation": modes(mode), "antialias": antialias}
    expected = resize(x, **arguments)
    with upsample_ext.patch("dispatcher"):
        result = []
        ops = upsample_ops(lambda: result.append(resize(x, **arguments)))
    bytes_filtered = dtype == torch.uint8 and mode == "bicubic"
    assert ops == {FORWARD if (mode, antialias) == ("bilinear", False) else "resample"} or bytes_filtered
    torch.testing.assert_close(result[0], expected, atol=1 if dtype == torch.uint8 else 1e-4, rtol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_gradients_go_through_ours(default_device, level):
    x = image(requires_grad=True)

    def gradient():
        return torch.autograd.grad(F.interpolate(x, **BILINEAR).square().sum(), x)[0]

    expected = gradient()
    with upsample_ext.patch(level):
        assert upsample_ops(gradient) == {FORWARD, BACKWARD}
        torch.testing.assert_close(gradient(), expected)


def test_a_backward_that_runs_after_the_patch_was_made_is_ours(default_device):
    """The dispatcher is asked when the gradient is computed, not when the graph was recorded."""
    x = image(requires_grad=True)
    y = F.interpolate(x, **BILINEAR)
    with upsample_ext.patch("dispatcher"):
        assert upsample_ops(lambda: y.sum().backward()) == {BACKWARD}


@nested_vmap_rules
@pytest.mark.parametrize("level", LEVELS)
def test_derivatives_of_every_kind(default_device, level):
    x = image(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    function = lambda t: F.interpolate(t, **BILINEAR)  # noqa: E731
    cube = lambda t: function(t).pow(3).sum()  # noqa: E731
    plain = x.detach()
    hessian = torch.func.hessian(cube)(plain)
    images = image(3, 1, 2, 3, 4, dtype=torch.float64)
    many = torch.func.vmap(torch.func.grad(cube), in_dims=1, out_dims=1)(images.transpose(0, 1))
    with upsample_ext.patch(level):
        assert torch.autograd.gradcheck(function, x, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(function, x)
        torch.testing.assert_close(torch.func.hessian(cube)(plain), hessian)
        torch.testing.assert_close(
            torch.func.vmap(torch.func.grad(cube), in_dims=1, out_dims=1)(images.transpose(0, 1)), many
        )


# ---- that it stays a drop-in


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8], ids=str
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_dtypes_and_layouts_are_native(default_device, level, dtype, memory_format):
    x = (255 * image(2, 5, 6, 7)).to(dtype).contiguous(memory_format=memory_format)
    # Native has no kernel for bytes on CUDA, ours has one.
    native = x.cpu() if dtype == torch.uint8 else x
    for options in (BILINEAR, {"size": (4, 13), "mode": "bilinear", "align_corners": True}):
        expected = F.interpolate(native, **options).to(default_device)
        with upsample_ext.patch(level):
            assert upsample_ops(lambda: F.interpolate(x, **options)) == {FORWARD}  # noqa: B023
            got = F.interpolate(x, **options)
        assert got.dtype == expected.dtype and got.stride() == expected.stride()
        tolerance = {torch.float16: 0.25, torch.bfloat16: 2.0, torch.uint8: 1}.get(dtype)
        bounds = {} if tolerance is None else {"atol": tolerance, "rtol": 0}
        torch.testing.assert_close(got, expected, **bounds)


def torch_samples(dtype, device):
    """PyTorch's own sample inputs of the operators that are routed here."""
    op_db = pytest.importorskip(
        "torch.testing._internal.common_methods_invocations", reason="torch's samples need expecttest"
    ).op_db

    names = ("nn.functional.interpolate", "nn.functional.upsample_bilinear", "nn.functional.conv_transpose2d")
    for info in op_db:
        if info.name in names and info.variant_test_name in ("", "bilinear"):
            for sample in info.sample_inputs(device, dtype, requires_grad=dtype.is_floating_point):
                yield info.name.removeprefix("nn.functional."), sample


def run_sample(name, sample):
    """The result of a function of torch.nn.functional as it now stands, and the gradients of its tensors."""
    result = getattr(F, name)(sample.input, *sample.args, **sample.kwargs)
    leaves = [t for t in (sample.input, *sample.args) if isinstance(t, torch.Tensor) and t.requires_grad]
    return result, torch.autograd.grad(result.square().sum(), leaves) if leaves else ()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.uint8], ids=str)
@pytest.mark.filterwarnings("ignore:`nn.functional.upsample")
def test_pytorchs_own_samples(default_device, level, dtype):
    if dtype == torch.uint8 and default_device == "cuda":
        pytest.skip("native has no kernel for bytes on CUDA")
    count = 0
    for name, sample in torch_samples(dtype, default_device):
        if dtype == torch.uint8 and name == "conv_transpose2d":
            continue
        expected, expected_grads = run_sample(name, sample)
        with upsample_ext.patch(level):
            result, grads = run_sample(name, sample)
        assert result.stride() == expected.stride()
        tolerance = {"atol": 1, "rtol": 0} if dtype == torch.uint8 else {}
        torch.testing.assert_close(result, expected, **tolerance)
        for grad, expected_grad in zip(grads, expected_grads, strict=True):
            torch.testing.assert_close(grad, expected_grad, rtol=1e-5, atol=1e-5)  # sums of many terms
        count += 1
    assert count > 5


INVALID = {
    "int32": (lambda: torch.zeros(1, 1, 2, 2, dtype=torch.int32), {"size": (4, 4), "mode": "bilinear"}),
    "int8": (lambda: torch.zeros(1, 1, 2, 2, dtype=torch.int8), {"size": (4, 4), "mode": "bilinear"}),
    "complex": (lambda: torch.zeros(1, 1, 2, 2, dtype=torch.complex64), {"size": (4, 4), "mode": "bilinear"}),
    "bool": (lambda: torch.zeros(1, 1, 2, 2, dtype=torch.bool), {"size": (4, 4), "mode": "bilinear"}),
    "3-D": (lambda: torch.zeros(1, 2, 2), {"size": (4, 4), "mode": "bilinear"}),
    "no channels": (lambda: torch.zeros(1, 0, 2, 2), {"size": (4, 4), "mode": "bilinear"}),
    "no rows": (lambda: torch.zeros(1, 1, 0, 2), {"size": (4, 4), "mode": "bilinear"}),
    "empty output": (lambda: torch.zeros(1, 1, 2, 2), {"size": (0, 4), "mode": "bilinear"}),
    "negative output": (lambda: torch.zeros(1, 1, 2, 2), {"size": (4, -1), "mode": "bilinear"}),
    "size and scale": (
        lambda: torch.zeros(1, 1, 2, 2),
        {"size": (4, 4), "scale_factor": 2, "mode": "bilinear"},
    ),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("make, options", INVALID.values(), ids=INVALID.keys())
def test_errors_are_native(default_device, level, make, options):
    x = make()
    with pytest.raises(Exception) as native:
        F.interpolate(x, **options)
    with upsample_ext.patch(level), pytest.raises(type(native.value)) as ours:
        F.interpolate(x, **options)
    assert str(ours.value) == str(native.value)


@pytest.mark.parametrize(
    "make, arguments",
    [
        (lambda: torch.zeros(1, 1, 4, 4, dtype=torch.uint8), ([4, 4], [1, 1, 2, 2], False)),
        (lambda: torch.zeros(1, 1, 4, 4), ([4, 5], [1, 1, 2, 2], False)),
        (lambda: torch.zeros(1, 2, 4, 4), ([4, 4], [1, 1, 2, 2], False)),
        (lambda: torch.zeros(1, 4, 4), ([4, 4], [1, 1, 2, 2], False)),
        (lambda: torch.zeros(1, 1, 4, 4), ([4, 4], [1, 1, 2], False)),
        (lambda: torch.zeros(1, 1, 4, 4), ([4], [1, 1, 2, 2], False)),
        (lambda: torch.zeros(1, 1, 4, 4), ([4, 4], [1, 1, 0, 2], False)),
    ],
    ids=["uint8", "size", "channels", "3-D", "short input_size", "short output_size", "empty"],
)
def test_errors_of_the_backward_operator_are_native(default_device, make, arguments):
    grad_output = make()
    with pytest.raises(Exception) as native:
        torch.ops.aten.upsample_bilinear2d_backward(grad_output, *arguments)
    with upsample_ext.patch("dispatcher"), pytest.raises(type(native.value)) as ours:
        torch.ops.aten.upsample_bilinear2d_backward(grad_output, *arguments)
    assert str(ours.value) == str(native.value)


def out_cases():
    yield "empty", lambda: torch.empty(0)
    yield "right size", lambda: torch.empty(2, 3, 10, 8)
    yield "own strides", lambda: torch.empty(2, 3, 10, 8).to(memory_format=torch.channels_last)
    yield "slice", lambda: torch.zeros(2, 3, 10, 17)[..., 1::2]


@pytest.mark.parametrize("make", [case[1] for case in out_cases()], ids=[case[0] for case in out_cases()])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_out_of_the_operators_follows_native(default_device, make, memory_format):
    x = image().contiguous(memory_format=memory_format)
    native, ours = make(), make()
    torch._C._nn.upsample_bilinear2d(x, (10, 8), False, out=native)
    with upsample_ext.patch("dispatcher"):
        assert FORWARD in upsample_ops(lambda: torch._C._nn.upsample_bilinear2d(x, (10, 8), False, out=ours))
    assert ours.stride() == native.stride()
    torch.testing.assert_close(ours, native)

    grad_output = image(2, 3, 20, 16).contiguous(memory_format=memory_format)
    native, ours = make(), make()
    operator = torch.ops.aten.upsample_bilinear2d_backward.grad_input
    operator(grad_output, [20, 16], [2, 3, 10, 8], False, grad_input=native)
    with upsample_ext.patch("dispatcher"):
        run = lambda: operator(grad_output, [20, 16], [2, 3, 10, 8], False, grad_input=ours)  # noqa: E731
        assert BACKWARD in upsample_ops(run)
    assert ours.stride() == native.stride()
    torch.testing.assert_close(ours, native)


@pytest.mark.parametrize(
    "out",
    [
        lambda: torch.empty(2, 3, 10, 8, dtype=torch.float64),
        lambda: torch.empty(1, 1, 1, 1).expand(2, 3, 10, 8),
    ],
)
def test_errors_of_out_are_native(default_device, out):
    x = image()
    with pytest.raises(Exception) as native:
        torch._C._nn.upsample_bilinear2d(x, (10, 8), False, out=out())
    with upsample_ext.patch("dispatcher"), pytest.raises(type(native.value)) as ours:
        torch._C._nn.upsample_bilinear2d(x, (10, 8), False, out=out())
    assert str(ours.value) == str(native.value)


def test_pooling_and_other_convolutions_are_native_to_the_last_bit(default_device):
    x, w = image(1, 4, 5, 6), torch.rand(4, 3, 3, 3)
    calls = [lambda: F.adaptive_avg_pool2d(x, (3, 3)), lambda: F.conv_transpose2d(x, w)]
    expected = [call() for call in calls]
    with upsample_ext.patch(), upsample_ext.patch("dispatcher"):
        for call, value in zip(calls, expected, strict=True):
            assert torch.equal(call(), value)
            assert upsample_ops(call) == set()


def test_deprecation_warnings_stay_and_point_at_the_caller(default_device):
    x = image()
    for function in (F.upsample, lambda x: F.upsample_bilinear(x, scale_factor=2)):
        options = BILINEAR if function is F.upsample else {}
        with upsample_ext.patch(), pytest.warns(UserWarning, match="is deprecated") as record:
            function(x, **options)
        assert record[0].filename == __file__


def test_autocast_and_inference_mode_work(default_device):
    x = image()
    with upsample_ext.patch("dispatcher"):
        with torch.autocast(default_device, torch.bfloat16):
            y = F.interpolate(x.bfloat16(), **BILINEAR)
        assert y.dtype == torch.bfloat16
        with torch.inference_mode():
            assert upsample_ops(lambda: F.interpolate(x, **BILINEAR)) == {FORWARD}


# ---- undoing


@pytest.mark.parametrize("level", LEVELS)
def test_a_plain_call_lasts_until_undone(level):
    handle = upsample_ext.patch(level)
    assert not untouched()
    assert repr(handle) == f"patch(level={level!r}, in force)"
    handle.undo()
    assert untouched()
    handle.undo()
    assert untouched()
    assert repr(handle) == f"patch(level={level!r}, undone)"


@pytest.mark.parametrize("level", LEVELS)
def test_it_is_undone_when_an_exception_leaves_the_block(level):
    with pytest.raises(KeyError), upsample_ext.patch(level):
        raise KeyError
    assert untouched()


@pytest.mark.parametrize("order", ["last first", "first first"])
def test_patches_nest_and_end_in_any_order(default_device, order):
    x = image()
    handles = [upsample_ext.patch(level) for level in ("function", "dispatcher", "function", "dispatcher")]
    assert upsample_ops(lambda: F.interpolate(x, **BILINEAR)) == {FORWARD}
    assert upsample_ops(lambda: interpolate_by_name(x, **BILINEAR)) == {FORWARD}
    for handle in handles[:2] if order == "first first" else handles[:1:-1]:
        handle.undo()
        handle.undo()
    assert F.interpolate is upsample_ext.interpolate, "two are still in force"
    assert upsample_ops(lambda: interpolate_by_name(x, **BILINEAR)) == {FORWARD}
    for handle in handles:
        handle.undo()
    assert untouched()


@pytest.mark.parametrize("level", LEVELS)
def test_one_object_may_be_entered_again(level):
    handle = upsample_ext.patch(level)
    with handle as entered:
        assert entered is handle
        with handle:
            assert not untouched()
        assert not untouched(), "the outer block still holds"
    assert untouched()
    with handle:
        assert not untouched()
    assert untouched()


def test_restores_what_it_found_even_if_that_was_not_pytorchs(monkeypatch):
    mine = lambda *args, **kwargs: "mine"  # noqa: E731
    with monkeypatch.context() as context:
        context.setattr(F, "interpolate", mine)
        with upsample_ext.patch():
            assert F.interpolate is upsample_ext.interpolate
            torch.testing.assert_close(F.interpolate(image(), **BILINEAR).shape, torch.Size([2, 3, 10, 8]))
        assert F.interpolate is mine


def test_does_not_undo_the_work_of_others(caplog):
    handle = upsample_ext.patch()
    mine = lambda *args, **kwargs: "mine"  # noqa: E731
    F.interpolate = mine
    handle.undo()
    assert F.interpolate is mine and F.conv_transpose2d is NATIVE["conv_transpose2d"]
    assert "left torch.nn.functional.interpolate alone" in caplog.text
    F.interpolate = NATIVE["interpolate"]


def test_unknown_level():
    with pytest.raises(ValueError, match='expected level to be "function" or "dispatcher", got \'kernel\''):
        upsample_ext.patch("kernel")


def test_many_threads_may_patch_and_undo():
    failures = []

    def work():
        for _ in range(50):
            with upsample_ext.patch():
                if F.interpolate is not upsample_ext.interpolate:
                    failures.append("not in force inside its own block")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_dispatcher_level_says_nothing_and_lets_others_be_heard():
    """PyTorch warns of an overridden kernel once per process: ours is silent and leaves it to others."""
    ours = """
import sys, torch, upsample_ext
for _ in range(2):
    with upsample_ext.patch("dispatcher"):
        pass
print("--- ours done", file=sys.stderr, flush=True)
"""
    others = """
import torch
library = torch.library.Library("aten", "IMPL")
library.impl("upsample_bilinear2d", lambda *args: None, "CPU")
"""

    def says(program):
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return run.stderr

    said_by_ours, said_by_others = says(ours + others).split("--- ours done")
    note = "Overriding a previously registered kernel"
    assert note not in said_by_ours
    assert (note in said_by_others) == (note in says(others))  # torch 2.14 has given the note up


def test_a_process_may_end_while_patched():
    program = "import upsample_ext; upsample_ext.patch(); upsample_ext.patch('dispatcher')"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
        == ""
    )


# ---- together with the rest


def test_patched_model_trains_as_the_native_one(default_device):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1, groups=4),
    )
    twin, x = copy.deepcopy(model), image()
    model(x).square().mean().backward()
    with upsample_ext.patch(), upsample_ext.patch("dispatcher"):
        twin(x).square().mean().backward()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.slow
def test_function_level_reaches_compiled_code(default_device):
    class Head(nn.Module):
        def forward(self, x):
            return F.interpolate(x, scale_factor=2, mode="bilinear")

    x = image()
    torch._dynamo.reset()
    compiled = torch.compile(Head(), fullgraph=True, backend="aot_eager")
    expected = compiled(x)
    assert upsample_ops(lambda: compiled(x)) == set()
    with upsample_ext.patch():
        assert upsample_ops(lambda: compiled(x)) == {FORWARD}, "compiled again"
        torch.testing.assert_close(compiled(x), expected)
    assert upsample_ops(lambda: compiled(x)) == set()
    assert torch.equal(compiled(x), expected)
