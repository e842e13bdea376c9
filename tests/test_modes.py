"""`interpolate` in every mode but bilinear: the public functions over the op `resample`.

The op itself, its axes, gradients and transforms are in test_axes.py; layouts, strides, transforms, compile
and autocast of `interpolate` in test_contract.py. Where the device is emulated, native's CPU kernels are the
reference, and where their rules are not those of its CUDA kernels, `reference.cuda_interpolate`.
"""

import itertools

import numpy as np
import pytest
import reference
import torch
from dispatched_ops import dispatched_ops
from image_layouts import LAYOUTS
from kernel_backend import EMULATED
from native_interpolate import interpolate_of_any_rank
from torch import nn
from torch.nn import functional as F

import upsample_ext
from upsample_ext import _judge

SIZES = {1: [(9,), (4,)], 2: [(9, 13), (4, 3), (14, 3)], 3: [(5, 9, 7), (2, 3, 11)]}
SHAPES = {1: (2, 3, 7), 2: (2, 3, 7, 6), 3: (2, 3, 3, 7, 6)}
CASES = [
    (name, axes, antialias)
    for name, mode in _judge.MODES.items()
    for axes in range(mode.least_axes, mode.most_axes + 1)
    for antialias in [False] * mode.plain + [True] * mode.antialiased
    if not _judge.is_bilinear(name, antialias)
]
every_case = pytest.mark.parametrize(
    ("mode", "axes", "antialias"), CASES, ids=[f"{m}-{n}d{'-antialias' * a}" for m, n, a in CASES]
)
NEAREST = ("nearest", "nearest-exact")


def alignments(mode):
    return [None, True] if _judge.MODES[mode].aligns else [None]


def native_interpolate(x, size=None, mode="nearest", **arguments):
    """PyTorch's, whose lanczos is of the CPU alone."""
    where = "cpu" if mode == "lanczos" else x.device
    return interpolate_of_any_rank(x.to(where), size, mode=mode, **arguments).to(x.device)


def ours_and_native(x, **arguments):
    ours, ops = dispatched_ops(upsample_ext.interpolate, x, **arguments)
    assert "upsample_ext::resample" in ops
    return ours, native_interpolate(x, **arguments)


@pytest.mark.skipif(EMULATED, reason="native's kernels for CUDA copy what the CPU's multiply")
@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_same_size_spreads_infinities_as_natively(mode, axes, antialias, dtype, channels_last):
    x, grad = torch.randn(SHAPES[axes]).to(dtype), torch.randn(SHAPES[axes]).to(dtype)
    if channels_last:
        x, grad = (t.movedim(1, -1).contiguous().movedim(-1, 1) for t in (x, grad))
    if antialias and dtype is not torch.float32:
        pytest.skip("native has no antialias of half types")
    x[0, 1, ..., 2], x[1, 0, ..., 0], grad[1, 2, ..., 3] = float("inf"), float("nan"), -float("inf")
    for size in ({"size": SHAPES[axes][2:]}, {"scale_factor": 1.0}):
        found = []
        for interpolate in (upsample_ext.interpolate, interpolate_of_any_rank):
            leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
            y = interpolate(leaf, **size, mode=mode, antialias=antialias)
            # Natively the result of antialias is a copy, but its gradient is that of a filter.
            found.append((y.detach(), *([] if antialias else torch.autograd.grad(y, leaf, grad))))
        torch.testing.assert_close(*found, equal_nan=True)


@every_case
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_and_gradients_are_native_s(mode, axes, antialias, dtype, default_device):
    factors = [2, 0.6, [1.7, 0.8, 2.3][:axes]]
    calls = [{"size": size} for size in SIZES[axes]] + [{"scale_factor": factor} for factor in factors]
    calls += [{"scale_factor": 1.37, "recompute_scale_factor": True}]
    for call, corners in itertools.product(calls, alignments(mode)):
        arguments = {**call, "mode": mode, "align_corners": corners, "antialias": antialias}
        x = torch.randn(SHAPES[axes], dtype=dtype, requires_grad=True)
        ours, native = ours_and_native(x, **arguments)
        torch.testing.assert_close(ours, native)
        weight = torch.randn_like(native)
        (by_us,), (by_native,) = (torch.autograd.grad(y, x, weight) for y in (ours, native))
        torch.testing.assert_close(by_us, by_native)


@every_case
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_cuda_follows_native_s_cuda_kernels(mode, axes, antialias, dtype, device):
    """Where they differ from native's on the CPU: sizes that stay, with factors and without; infinities."""
    shape, keeps = SHAPES[axes], [1.1, 1.0, 1.15][:axes]
    calls = [{"size": shape[2:]}, {"size": (*shape[2:-1], 11)}, {"size": SIZES[axes][1]}]
    calls += [{"scale_factor": factors} for factors in (keeps, [*keeps[:-1], 2.3], [1.37] * axes)]
    image = torch.randn(shape, dtype=dtype, device=device)
    if not reference.follows_cuda(image):
        pytest.skip("of CUDA")
    image.flatten()[7::29] = torch.tensor([float("inf"), float("nan"), -float("inf")], device=device)[
        torch.arange(len(image.flatten()[7::29]), device=device) % 3
    ].to(dtype)
    finite = torch.randn(shape, dtype=dtype, device=device, requires_grad=True)
    for call, corners in itertools.product(calls, alignments(mode)):
        arguments = {**call, "mode": mode, "align_corners": corners, "antialias": antialias}
        for x in (image, finite) if mode != "lanczos" else (finite,):  # whose weights of 0 are nearly that
            ours = upsample_ext.interpolate(x, **arguments)
            expected = reference.cuda_interpolate(
                x.cpu(), ours.shape[2:], mode, antialias, bool(corners), call.get("scale_factor")
            ).to(dtype)
            torch.testing.assert_close(ours.cpu(), expected, equal_nan=True)
            if x.is_cuda and mode != "lanczos":  # which native lacks there
                torch.testing.assert_close(ours, interpolate_of_any_rank(x, **arguments), equal_nan=True)
        weight = torch.randn_like(ours)
        (by_us,) = torch.autograd.grad(ours, finite, weight)
        (by_reference,) = torch.autograd.grad(expected, finite, weight.cpu())
        torch.testing.assert_close(by_us, by_reference)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_at_most_twice_as_far_off_as_native(mode, axes, antialias, dtype, default_device):
    for size in SIZES[axes]:
        x = torch.randn(SHAPES[axes]).to(dtype)
        exact = native_interpolate(x.double(), size, mode, antialias=antialias)
        ours = upsample_ext.interpolate(x, size, mode=mode, antialias=antialias)
        assert ours.dtype == dtype
        # Natively there are no half types with antialias on the CPU: then one rounding of the exact value.
        native = exact.to(dtype) if antialias else F.interpolate(x, size, mode=mode)
        limit = (
            2 * (native.double() - exact).abs().max() + 1e-6 + (torch.finfo(dtype).eps if antialias else 0)
        )
        assert (ours.double() - exact).abs().max() <= limit


@every_case
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(mode, axes, antialias, layout, default_device):
    if axes != 2:
        pytest.skip("layouts are of (N, C, H, W)")
    for shape, size in (((2, 3, 7, 6), (9, 13)), ((1, 4, 6, 9), (3, 4)), ((1, 1, 5, 4), (11, 2))):
        x = LAYOUTS[layout](torch.randn(shape))
        ours, native = ours_and_native(x, size=size, mode=mode, antialias=antialias)
        torch.testing.assert_close(ours, native)
        assert ours.stride() == native.stride()


@every_case
def test_strides_of_results_and_gradients_are_native_s(mode, axes, antialias):
    formats = {1: [torch.contiguous_format], 2: [torch.contiguous_format, torch.channels_last]}
    formats[3] = [torch.contiguous_format, torch.channels_last_3d]
    for size, of_input, of_grad in itertools.product(SIZES[axes], formats[axes], formats[axes]):
        x = torch.randn(SHAPES[axes]).contiguous(memory_format=of_input).requires_grad_()
        strides = []
        # With antialias lines and volumes, which native lacks, have the strides that they have without.
        natively = {"antialias": antialias and axes == 2}
        for function, options in (
            (upsample_ext.interpolate, {"antialias": antialias}),
            (F.interpolate, natively),
        ):
            y = function(x, size, mode=mode, **options)
            grad_output = torch.ones(y.shape).contiguous(memory_format=of_grad)
            strides.append((y.stride(), torch.autograd.grad(y, x, grad_output)[0].stride()))
        assert strides[0] == strides[1]


FILTERED = [("linear", (2, 3, 13), (5,)), ("trilinear", (2, 2, 7, 9, 8), (3, 12, 4))]
of_lines_and_volumes = pytest.mark.parametrize(
    ("mode", "shape", "size"), FILTERED, ids=["linear", "trilinear"]
)


@of_lines_and_volumes
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_antialias_of_lines_and_volumes(mode, shape, size, dtype, default_device):
    """Beyond native: against its bilinear mode of each axis, in float64; half types but for a rounding."""
    strided = torch.randn(*shape[:-1], 2 * shape[-1], dtype=torch.float64).to(dtype)[..., ::2]
    images = [strided, strided.contiguous()]
    if len(shape) == 5:
        images.append(strided.contiguous(memory_format=torch.channels_last_3d))
    for x, corners in itertools.product(images, (False, True)):
        for to in ({"size": size}, {"scale_factor": 0.37}, {"scale_factor": 1.6}):
            arguments = {**to, "mode": mode, "align_corners": corners}
            leaf, plain_leaf, exact_leaf = (
                t.detach().requires_grad_() for t in (x, x, x.to(torch.promote_types(dtype, torch.float32)))
            )
            ours = upsample_ext.interpolate(leaf, **arguments, antialias=True)
            plain = F.interpolate(plain_leaf, **arguments)
            if reference.follows_cuda(x):
                factors = [to["scale_factor"]] * len(size) if "scale_factor" in to else None
                exact = reference.cuda_interpolate(
                    exact_leaf,
                    ours.shape[2:],
                    mode,
                    antialias=True,
                    align_corners=corners,
                    scale_factors=factors,
                )
            else:
                exact = interpolate_of_any_rank(exact_leaf.double(), **arguments, antialias=True)
            grad = torch.randn_like(ours)
            grads = [
                torch.autograd.grad(y, t, grad.to(y.dtype))[0]
                for y, t in ((ours, leaf), (plain, plain_leaf), (exact, exact_leaf))
            ]
            for found, native, expected in ((ours, plain, exact), grads):
                assert (found.dtype, found.shape, found.stride()) == (dtype, native.shape, native.stride())
                eps = torch.finfo(dtype).eps * (0.51 if dtype.itemsize == 2 else 16)
                assert (found.double() - expected).abs().max() <= eps * expected.abs().max() + 2e-6 * (
                    dtype != torch.float64
                )


@of_lines_and_volumes
def test_derivatives_and_transforms_of_filtered_lines_and_volumes(mode, shape, size):
    x = torch.randn(1, *shape[1:], dtype=torch.float64)[..., ::3].clone().requires_grad_()

    def function(t):
        return upsample_ext.interpolate(t, size, mode=mode, antialias=True)

    torch.autograd.gradcheck(function, x, check_forward_ad=True)
    torch.autograd.gradgradcheck(function, x)
    settings = (mode, True, False, None)
    torch.library.opcheck(torch.ops.upsample_ext.resample.default, (x, list(size), *settings))
    images = torch.randn(3, *shape)
    for in_dim in (0, 2):
        found = torch.vmap(function, in_dims=in_dim)(images.movedim(0, in_dim))
        torch.testing.assert_close(found, torch.stack([function(image) for image in images]))


@of_lines_and_volumes
def test_filtered_lines_and_volumes_are_compiled_exported_and_traced(mode, shape, size):
    def function(t):
        return upsample_ext.interpolate(t, size, mode=mode, antialias=True)

    class Layer(nn.Module):
        def forward(self, t):
            return function(t)

    x = torch.randn(shape, requires_grad=True)
    expected = function(x)
    (expected_grad,) = torch.autograd.grad(expected.square().sum(), x)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    found = compiled(x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), x)[0], expected_grad)
    program = torch.export.export(Layer(), (x,))
    torch.testing.assert_close(program.module()(x), expected)
    decomposed = program.run_decompositions(upsample_ext.decompositions())
    assert not any("upsample_ext" in str(node.target) for node in decomposed.graph.nodes)
    torch.testing.assert_close(decomposed.module()(x), expected)
    torch.testing.assert_close(torch.jit.trace(function, x)(x), expected)


@of_lines_and_volumes
def test_what_native_alone_takes_has_no_antialias_of_lines_and_volumes(mode, shape, size):
    """Bytes go to PyTorch, which says what it takes."""
    for x in (torch.zeros(shape, dtype=torch.uint8), torch.zeros(shape, dtype=torch.complex64)):
        with pytest.raises(ValueError, match="Anti-alias option is restricted"):
            upsample_ext.interpolate(x, size, mode=mode, antialias=True)


@pytest.mark.parametrize("mode", NEAREST)
@pytest.mark.parametrize(
    "dtype",
    [torch.bool, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32],
)
def test_label_maps_need_no_float(mode, dtype, default_device):
    for axes, layout in ((1, None), (2, "contiguous"), (2, "channels_last"), (2, "transposed"), (3, None)):
        for size in SIZES[axes]:
            x = torch.randint(0, 2 if dtype == torch.bool else 100, SHAPES[axes])
            labels = x.to(dtype) if layout is None else LAYOUTS[layout](x.to(dtype))
            expected = F.interpolate(x.double(), size, mode=mode).to(dtype)
            assert torch.equal(upsample_ext.interpolate(labels, size, mode=mode), expected)
    with pytest.raises(RuntimeError, match="not implemented for"):  # a NotImplementedError in later versions
        upsample_ext.interpolate(torch.zeros(1, 1, 2, 2, dtype=torch.complex64), scale_factor=2, mode=mode)


@pytest.mark.parametrize("mode", NEAREST)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.float64])
def test_nearest_picks_the_right_pixels(mode, dtype, level, default_device):
    """Rows of one to many 16-byte blocks, pixels of any number of bytes, neighbours near and far."""
    for channels, width, size in itertools.product(
        (1, 2, 3, 5, 24, 40), (1, 2, 5, 16, 33, 100), (1, 7, 64, 201)
    ):
        x = (torch.randn(2, channels, 3, width) * 100).to(dtype)
        for layout in (torch.contiguous_format, torch.channels_last):
            image = x.contiguous(memory_format=layout)
            ours = upsample_ext.interpolate(image, (5, size), mode=mode)
            native = F.interpolate(image, (5, size), mode=mode)
            assert torch.equal(ours, native)
            assert ours.stride() == native.stride()


def test_a_large_nearest_image_is_streamed_right(threads):
    x = torch.randn(1, 4, 1100, 1100)
    for image in (x, x.contiguous(memory_format=torch.channels_last), x[..., 1:-2], x.transpose(2, 3)):
        assert torch.equal(
            upsample_ext.interpolate(image, scale_factor=3), F.interpolate(image, scale_factor=3)
        )


def in_two_passes(x, size, mode, antialias):
    """Bytes along the width and then along the height, each rounded, by weights that are not."""
    for extent in ((x.shape[2], size[1]), size):
        x = F.interpolate(x.double(), extent, mode=mode, antialias=antialias).add(0.5).floor().clamp(0, 255)
    return x


@pytest.mark.parametrize(("mode", "antialias"), [("bicubic", False), ("bilinear", True), ("bicubic", True)])
def test_bytes_are_within_one_of_native(mode, antialias, level, device):
    """On CUDA, where native takes no bytes and ours rounds no weights to integers, of what those would be."""
    for shape, size in itertools.product(
        [(1, 3, 40, 50), (2, 1, 9, 7), (1, 4, 1, 30), (1, 16, 20, 21), (3, 2, 33, 5)],
        [(224, 224), (40, 25), (13, 50), (40, 50), (9, 90), (1, 3)],
    ):
        array = np.random.default_rng(0).integers(0, 256, (shape[0], *shape[2:], shape[1]), dtype=np.uint8)
        image = torch.from_numpy(array).permute(0, 3, 1, 2)
        for x in (image, image.contiguous(), image[..., 1:] if shape[3] > 1 else image):
            ours = upsample_ext.interpolate(x.to(device), size, mode=mode, antialias=antialias).cpu()
            native = F.interpolate(x, size, mode=mode, antialias=antialias)
            expected = (
                in_two_passes(x, size, mode, antialias) if EMULATED or device != "cpu" else native.int()
            )
            assert (ours - expected).abs().max() <= 1
            assert ours.stride() == native.stride() and ours.dtype == torch.uint8


@pytest.mark.parametrize(("mode", "antialias"), [("bicubic", False), ("bilinear", True), ("bicubic", True)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_bytes_are_native_s(channels, mode, antialias, level):
    """To the bit: weights become the same integers."""
    if EMULATED or level == "baseline":
        pytest.skip("sums of weights that are not rounded, or of floats")
    for in_size, size in itertools.product(
        [(9, 133), (40, 16)], [(18, 266), (30, 77), (20, 350), (9, 99), (23, 133), (10, 40), (50, 17), (3, 7)]
    ):
        x = torch.randint(0, 256, (2, channels, *in_size), dtype=torch.uint8)
        wide = torch.zeros(2, channels + 1, in_size[0] + 2, in_size[1] + 3, dtype=torch.uint8)
        wide[:, :channels, 1:-1, 2:-1] = x
        pixels = wide.contiguous(memory_format=torch.channels_last)
        crops = [image[:, :channels, 1:-1, 2:-1] for image in (wide, pixels)]
        array = x[:1].permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)[0][None]
        for image in (
            x,
            x.contiguous(memory_format=torch.channels_last),
            *crops,
            x.mT.contiguous().mT,
            array,
        ):
            ours = upsample_ext.interpolate(image, size, mode=mode, antialias=antialias)
            native = F.interpolate(image.contiguous(), size, mode=mode, antialias=antialias)
            assert torch.equal(ours, native)


@pytest.mark.parametrize(("mode", "antialias"), [("bicubic", False), ("bilinear", True)])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_few_long_lines_of_bytes_are_native_s(channels, mode, antialias, level):
    """By pixel they are filtered as planes."""
    if EMULATED or level == "baseline":
        pytest.skip("sums of weights that are not rounded, or of floats")
    for in_size, size in [((1, 6001), (1, 18003)), ((2, 20011), (3, 17001)), ((6001, 1), (18003, 1))]:
        x = torch.randint(0, 256, (1, channels, *in_size), dtype=torch.uint8)
        wide = F.pad(x, (1, 2, 1, 2)).contiguous(memory_format=torch.channels_last)
        crop = wide[:, :, 1:-2, 1:-2]
        native = F.interpolate(x, size, mode=mode, antialias=antialias)
        for image in (x.contiguous(memory_format=torch.channels_last), crop):
            ours = upsample_ext.interpolate(image, size, mode=mode, antialias=antialias)
            assert torch.equal(ours, native)
            assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 1, 3, 1), (1, 2)), ((2, 16, 2, 16), (26, 1)), ((1, 3, 40, 1), (7, 1))]
)
def test_bytes_of_one_column(shape, size, level, device):
    """Natively these are read where they are not."""
    x = torch.randint(0, 256, shape, dtype=torch.uint8)
    ours = upsample_ext.interpolate(x.to(device), size, mode="bicubic").cpu()
    assert (ours - in_two_passes(x, size, "bicubic", False)).abs().max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_bytes_of_an_image_become_one_pixel(channels):
    """Natively three channels end in an internal assertion."""
    x = torch.randint(0, 256, (1, channels, 9, 7), dtype=torch.uint8)
    exact = F.interpolate(x.double(), (1, 1), mode="bilinear", antialias=True)
    for image in (x, x.contiguous(memory_format=torch.channels_last)):
        ours = upsample_ext.interpolate(image, (1, 1), mode="bilinear", antialias=True)
        assert (ours - exact).abs().max() <= 1


@every_case
def test_gradients_do_not_depend_on_the_number_of_threads(mode, axes, antialias):
    before = torch.get_num_threads()
    shape, size = {
        1: ((2, 64, 3000), 2 * 3000),
        2: ((1, 48, 96, 80), (200, 61)),
        3: ((1, 8, 20, 30, 40), 33),
    }[axes]
    x = torch.randn(shape, requires_grad=True)
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            y = upsample_ext.interpolate(x, size, mode=mode, antialias=antialias)
            weight = torch.arange(y.numel()).view(y.shape).sin()
            found.append((y.detach(), *torch.autograd.grad(y, x, weight)))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@every_case
@pytest.mark.parametrize("level_of_patch", ["function", "dispatcher"])
def test_patched_native_calls_run_here(mode, axes, antialias, level_of_patch):
    x = torch.randn(SHAPES[axes], requires_grad=True)
    arguments = {"size": SIZES[axes][0], "mode": mode, "antialias": antialias}
    if antialias and axes != 2 and level_of_patch == "dispatcher":
        pytest.skip("F.interpolate refuses it before it calls an op")
    native = interpolate_of_any_rank(x, **arguments)
    (expected,) = torch.autograd.grad(native.pow(2).sum(), x)
    with upsample_ext.patch(level_of_patch):
        ours, ops = dispatched_ops(F.interpolate, x, **arguments)
        (grad,), backward = dispatched_ops(torch.autograd.grad, F.interpolate(x, **arguments).pow(2).sum(), x)
    torch.testing.assert_close(ours, native)
    torch.testing.assert_close(grad, expected)
    if level_of_patch == "function":
        assert "upsample_ext::resample" in ops and "upsample_ext::resample_backward" in backward


@pytest.mark.parametrize("by_name", [False, True])
def test_the_dispatcher_level_serves_every_native_op(by_name):
    """Those of all ranks, functional and into `out`, by the profiler's word; area is a pooling natively."""
    calls = {
        "upsample_nearest1d": ((2, 3, 7), [9], []),
        "upsample_nearest2d": ((2, 3, 7, 6), [9, 4], [1.3, None]),
        "upsample_nearest3d": ((2, 3, 3, 7, 6), [2, 9, 4], []),
        "_upsample_nearest_exact1d": ((2, 3, 7), [9], [1.3]),
        "_upsample_nearest_exact2d": ((2, 3, 7, 6), [9, 4], []),
        "_upsample_nearest_exact3d": ((2, 3, 3, 7, 6), [2, 9, 4], []),
        "upsample_linear1d": ((2, 3, 7), [9], [True]),
        "upsample_trilinear3d": ((2, 3, 3, 7, 6), [2, 9, 4], [False, None, 1.3, None]),
        "upsample_bicubic2d": ((2, 3, 7, 6), [9, 4], [False]),
        "_upsample_bilinear2d_aa": ((2, 3, 7, 6), [9, 4], [False]),
        "_upsample_bicubic2d_aa": ((2, 3, 7, 6), [9, 4], [True]),
    }
    for name, (shape, size, settings) in calls.items():
        op = getattr(torch.ops.aten, name).out if by_name else getattr(torch.ops.aten, name).default
        x = torch.randn(shape)
        out = {"out": torch.empty(0)} if by_name else {}
        native = op(x, size, *settings, **out).clone()
        activities = [torch.profiler.ProfilerActivity.CPU]
        with upsample_ext.patch("dispatcher"), torch.profiler.profile(activities=activities) as profile:
            ours = op(x, size, *settings, **({"out": torch.empty(0)} if by_name else {}))
        torch.testing.assert_close(ours, native)
        assert ours.stride() == native.stride()
        assert "upsample_ext::resample" in {event.key for event in profile.key_averages()}, name


def test_converted_layers_of_every_mode():
    model = nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Upsample(size=(9, 7), mode="bicubic"), nn.UpsamplingNearest2d(size=11)
    )
    x = torch.randn(1, 2, 4, 5)
    ours, ops = dispatched_ops(upsample_ext.convert(model), x)
    torch.testing.assert_close(ours, model(x))
    assert sum(name == "upsample_ext::resample" for name in ops) == 3


@pytest.mark.skipif(EMULATED, reason="native's CUDA kernels sample a kept axis forward too")
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("factors", [(1.1, 1.15), (1.1, 2.0), (0.5, 1.1), (1.0, 1.0)], ids=str)
def test_the_gradient_of_a_kept_antialiased_axis_is_that_of_the_result(mode, factors):
    """A result is copied along an axis whose size a factor keeps, and our gradient too.

    Natively it is that of a filter, by the factor, which the result is not. Of the CPU's kernels.
    """
    x = torch.randn(1, 1, 6, 5, dtype=torch.float64, requires_grad=True)

    def resized_by(interpolate):
        return lambda t: interpolate(t, scale_factor=factors, mode=mode, antialias=True)

    ours, native = resized_by(upsample_ext.interpolate), resized_by(F.interpolate)
    torch.testing.assert_close(ours(x), native(x))
    assert any(after == before for after, before in zip(ours(x).shape[2:], x.shape[2:], strict=True))
    assert torch.autograd.gradcheck(ours, x)
    gradients = [torch.autograd.grad(resize(x).square().sum(), x)[0] for resize in (ours, native)]
    if factors == (1.0, 1.0):  # then natively the filter copies too
        torch.testing.assert_close(*gradients)
    elif torch.allclose(*gradients):
        pytest.fail("native's gradient is right now: say so no more in interpolate's docstring")


@pytest.mark.parametrize("mode", ["nearest", "bicubic", "area", "bilinear"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_infinities_spread_as_natively(mode, value):
    for size in ((9, 13), (4, 3)):
        x = torch.randn(1, 2, 7, 6)
        x[0, 0, 3, 2] = x[0, 1, 0, 0] = x[0, 1, 6, 5] = value
        for image in (x, x.contiguous(memory_format=torch.channels_last)):
            antialias = mode == "bilinear"
            ours = upsample_ext.interpolate(image, size, mode=mode, antialias=antialias)
            native = F.interpolate(image, size, mode=mode, antialias=antialias)
            torch.testing.assert_close(ours, native, equal_nan=True)
