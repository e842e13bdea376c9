"""upsample_argmax: every result is bit for bit the argmax of our own interpolate of the float32 input."""

import pytest
import torch
from dispatched_ops import dispatched_ops
from image_layouts import LAYOUTS
from torch.nn import functional as F

import upsample_ext

ops = torch.ops.upsample_ext
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INDEX_DTYPES = [torch.uint8, torch.int16, torch.int32, torch.int64]
RESIZES = [
    ((1, 19, 8, 16), (64, 128)),
    ((2, 5, 7, 4), (28, 5)),
    ((1, 150, 6, 11), (24, 44)),
    ((3, 1, 5, 7), (10, 14)),
    ((1, 2, 1, 1), (3, 5)),
    ((2, 3, 1, 9), (4, 9)),
    ((2, 3, 9, 1), (9, 4)),
    ((1, 4, 4, 6), (4, 6)),
    ((1, 7, 2, 129), (129, 2)),
    ((2, 3, 20, 33), (7, 9)),
    ((1, 3, 6, 700), (9, 31)),
    # Of so many classes a thread takes strips of the columns.
    ((2, 600, 2, 240), (4, 480)),
    ((1, 600, 3, 500), (4, 230)),
    ((1, 600, 2, 700), (3, 40)),
    ((1, 3, 5, 131), (7, 90)),
    ((1, 2, 5, 70), (13, 50)),
    ((1, 4, 3, 40), (7, 55)),
    ((0, 3, 4, 5), (8, 9)),
]


def resized(x, size, align_corners=False):
    return upsample_ext.upsample_bilinear2d(x.float(), size=size, align_corners=align_corners)


def check(x, size, align_corners=False):
    (index, score), names = dispatched_ops(
        upsample_ext.upsample_argmax, x, size, align_corners=align_corners, return_score=True
    )
    assert names == ["upsample_ext::upsample_argmax_with_score"]
    logits = resized(x, size, align_corners)
    assert torch.equal(index, logits.argmax(1)) and index.is_contiguous()
    exact = logits.double().softmax(1).amax(1)
    assert score.dtype == torch.float32 and score.shape == exact.shape
    native = ((logits.softmax(1).amax(1).double() - exact) / exact).abs()
    if x.numel():
        allowed = max(2 * native.max().item(), 4 * torch.finfo(torch.float32).eps)
        assert ((score.double() - exact) / exact).abs().max() <= allowed
    alone, names = dispatched_ops(upsample_ext.upsample_argmax, x, size, align_corners=align_corners)
    assert names == ["upsample_ext::upsample_argmax"] and torch.equal(alone, index)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "size"), RESIZES)
def test_is_the_argmax_of_our_interpolate(shape, size, dtype, align_corners, level, device):
    check((3 * torch.randn(shape, device=device)).to(dtype), size, align_corners)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 5, 4, 6), (1, 1, 3, 40), (3, 6, 1, 1), (1, 20, 5, 1)])
def test_every_layout(shape, layout, dtype, device):
    check(LAYOUTS[layout](torch.randn(shape, device=device).to(dtype)), (9, 14))


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
@pytest.mark.parametrize("width", [16, 21])
def test_index_dtypes(dtype, width, level, device):
    x = torch.randn(2, 200, 3, 5, device=device)
    index = upsample_ext.upsample_argmax(x, (7, width), dtype=dtype)
    assert index.dtype == dtype
    assert torch.equal(index.long(), resized(x, (7, width)).argmax(1))


def test_scale_factors_are_those_of_interpolate(device):
    x = torch.randn(1, 4, 7, 9, device=device)
    for scale in (2, 1.37, (0.8, 3.1)):
        logits = F.interpolate(x, scale_factor=scale, mode="bilinear")
        index = upsample_ext.upsample_argmax(x, scale_factor=scale)
        ours = upsample_ext.interpolate(x, scale_factor=scale, mode="bilinear")
        assert index.shape == logits.argmax(1).shape and torch.equal(index, ours.argmax(1))


def test_the_first_of_equals_wins(level, device):
    x = torch.zeros(1, 40, 3, 20, device=device)
    x[:, 7:] = 1.0
    assert (upsample_ext.upsample_argmax(x, (6, 40)) == 7).all()
    minus = torch.full((1, 5, 2, 20), -torch.inf, device=device)
    assert (upsample_ext.upsample_argmax(minus, (2, 20)) == 0).all()


def test_nan_and_infinities_as_argmax(level, device):
    x = torch.randn(1, 6, 5, 40, device=device)
    x[0, 2, 1, ::7] = torch.nan
    x[0, 4, 1, ::3] = torch.nan
    x[0, 1, 3, ::5] = torch.inf
    x[0, 3, 3, ::4] = torch.inf
    x[0, 5, 4] = -torch.inf
    for size in ((5, 40), (10, 80), (13, 55), (5, 60), (12, 40)):
        logits = resized(x, size)
        index, score = upsample_ext.upsample_argmax(x, size, return_score=True)
        assert torch.equal(index, logits.argmax(1))
        expected = logits.softmax(1).amax(1)
        torch.testing.assert_close(score, expected, equal_nan=True, rtol=1e-6, atol=1e-6)


def test_the_score_of_far_and_of_huge_logits(level, device):
    for scale in (1e-3, 30.0, 1e4, 1e30):
        x = scale * torch.randn(1, 50, 4, 30, device=device)
        score = upsample_ext.upsample_argmax(x, (8, 60), return_score=True)[1]
        expected = resized(x, (8, 60)).double().softmax(1).amax(1)
        torch.testing.assert_close(score.double(), expected, rtol=1e-6, atol=0)


def test_half_logits_are_compared_in_float32(device):
    x = torch.tensor([[[[1.0, 1.015625]], [[1.0078125, 1.0078125]]]], device=device).bfloat16()
    size = (1, 64)
    index = upsample_ext.upsample_argmax(x, size)
    assert torch.equal(index, resized(x, size).argmax(1))
    # What native's rounded logits give is something else: the reason to say so.
    assert not torch.equal(index, F.interpolate(x, size, mode="bilinear").argmax(1))


def test_every_thread_count_gives_the_same(threads):
    x = torch.randn(3, 30, 17, 23)
    results = []
    for count in (1, 2, 3, 7):
        threads(count)
        results.append(upsample_ext.upsample_argmax(x, (67, 91), return_score=True))
    for index, score in results[1:]:
        assert torch.equal(index, results[0][0]) and torch.equal(score, results[0][1])


# ---- errors and what is not ours -------------------------------------------------------------------------


def test_classes_that_do_not_fit(device):
    x = torch.randn(1, 257, 2, 2, device=device)
    upsample_ext.upsample_argmax(x[:, :256], (4, 4), dtype=torch.uint8)
    for run in (
        lambda: upsample_ext.upsample_argmax(x, (4, 4), dtype=torch.uint8),
        lambda: upsample_ext.upsample_argmax(x.int(), (4, 4), dtype=torch.uint8),
    ):
        with pytest.raises(RuntimeError, match="upsample_argmax: expected at most 255 . 1 classes.*got 257"):
            run()
    for dtype in (torch.int8, torch.float32, torch.bool):
        with pytest.raises(
            RuntimeError, match="upsample_argmax: expected dtype uint8, int16, int32 or int64"
        ):
            upsample_ext.upsample_argmax(x, (4, 4), dtype=dtype)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"size": (4, 4), "scale_factor": 2},
        {"size": (4, 4, 4)},
        {"size": (0, 4)},
        {"scale_factor": "2"},
        {"scale_factor": 0.01},
    ],
)
def test_wrong_arguments_raise_what_interpolate_raises(arguments):
    x = torch.randn(1, 3, 4, 4)
    with pytest.raises(Exception) as native:
        F.interpolate(x, mode="bilinear", **arguments)
    with pytest.raises(type(native.value)) as ours:
        upsample_ext.upsample_argmax(x, **arguments)
    assert str(ours.value) == str(native.value)


def test_wrong_shapes_raise_what_interpolate_raises():
    for x in (torch.randn(3, 4), torch.randn(1, 0, 4, 4), torch.randn(1, 3, 0, 4)):
        with pytest.raises(Exception) as native:
            F.interpolate(x, size=(4, 4), mode="bilinear")
        with pytest.raises(type(native.value)):
            upsample_ext.upsample_argmax(x, size=(4, 4))


def test_integers_take_the_native_expression():
    x = torch.randint(0, 255, (2, 5, 4, 6), dtype=torch.uint8)
    expected = F.interpolate(x.float(), size=(9, 7), mode="bilinear")
    index, score = upsample_ext.upsample_argmax(x, (9, 7), dtype=torch.int16, return_score=True)
    assert index.dtype == torch.int16 and torch.equal(index.long(), expected.argmax(1))
    assert torch.equal(score, expected.softmax(1).amax(1))


def test_the_op_checks_its_arguments():
    x = torch.randn(1, 3, 4, 4)
    with pytest.raises(RuntimeError, match="upsample_argmax: expected a 4-D input"):
        ops.upsample_argmax(x[0], (8, 8), False, None, None, torch.int64)
    with pytest.raises(RuntimeError, match="upsample_argmax: expected output_size greater than 0"):
        ops.upsample_argmax(x, (8, 0), False, None, None, torch.int64)
    with pytest.raises(NotImplementedError, match="upsample_argmax.*not implemented for 'Int'"):
        ops.upsample_argmax(x.int(), (8, 8), False, None, None, torch.int64)


# ---- transforms ------------------------------------------------------------------------------------------


def test_nothing_requires_grad(device):
    x = torch.randn(1, 3, 4, 4, device=device, requires_grad=True)
    index, score = upsample_ext.upsample_argmax(x, (8, 8), return_score=True)
    assert not index.requires_grad and not score.requires_grad


@pytest.mark.parametrize("in_dim", range(-5, 5))
def test_vmap(in_dim, device):
    x = torch.randn(2, 3, 4, 5, 6, device=device)

    def function(t):
        return upsample_ext.upsample_argmax(t, (7, 8), return_score=True)

    index, score = torch.vmap(function, in_dims=in_dim)(x)
    for i, item in enumerate(x.unbind(in_dim)):
        expected = function(item)
        assert torch.equal(index[i], expected[0]) and torch.equal(score[i], expected[1])
    assert torch.vmap(lambda t: upsample_ext.upsample_argmax(t, (7, 8)))(x[:0]).shape == (0, 3, 7, 8)


@pytest.mark.filterwarnings("ignore:.*opcheck")
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_opcheck(layout, device):
    x = LAYOUTS[layout](torch.randn(2, 3, 4, 5, device=device))
    for op in (ops.upsample_argmax.default, ops.upsample_argmax_with_score.default):
        torch.library.opcheck(op, (x, (7, 9), False, 1.7, None, torch.uint8))


def test_compiled_whole_graph_with_any_size(device):
    def function(x, like):
        return upsample_ext.upsample_argmax(x, like.shape[-2:], dtype=torch.uint8, return_score=True)

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for h, w in ((4, 6), (5, 9), (12, 7)):
        x, like = torch.randn(2, 3, h, w, device=device), torch.empty(2, 2 * h, w + 3, device=device)
        for ours, expected in zip(compiled(x, like), function(x, like), strict=True):
            assert torch.equal(ours, expected)


def test_export_and_trace(device):
    class Head(torch.nn.Module):
        def forward(self, x):
            return upsample_ext.upsample_argmax(x, scale_factor=2)

    x = torch.randn(1, 3, 4, 5, device=device)
    assert torch.equal(torch.export.export(Head(), (x,)).module()(x), Head()(x))
    assert torch.equal(torch.jit.trace(Head(), (x,))(x), Head()(x))


def test_subclasses_are_asked():
    class Logged(torch.Tensor):
        calls = []  # noqa: RUF012

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.calls.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    x = torch.randn(1, 3, 4, 5)
    index = upsample_ext.upsample_argmax(x.as_subclass(Logged), (8, 9))
    assert upsample_ext.upsample_argmax in Logged.calls
    assert torch.equal(index.as_subclass(torch.Tensor), upsample_ext.upsample_argmax(x, (8, 9)))
