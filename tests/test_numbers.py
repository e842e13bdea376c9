"""Sizes, steps and factors that are not Python ints or floats: the fused path accepts what native accepts."""

import numpy as np
import pytest
import torch
from dispatched_ops import dispatched_ops as all_dispatched_ops
from torch.nn import functional as F

import upsample_ext
from upsample_ext._numbers import as_float, as_int, as_ints

X = torch.rand(1, 3, 4, 5)


def dispatched_ops(function, *arguments, **options):
    """The result and which of our ops ran; a tensor that is read as a number is an op of PyTorch's."""
    result, names = all_dispatched_ops(function, *arguments, **options)
    return result, [name for name in names if name.startswith("upsample_ext::")]


TARGET = torch.zeros(1, 8, 9, dtype=torch.int64)
RESIZES = {
    "upsample_bilinear2d": lambda **k: upsample_ext.interpolate(X, mode="bilinear", **k),
    "upsample_bilinear2d.out": lambda **k: upsample_ext.upsample_bilinear2d(X, out=torch.empty(0), **k),
    "upsample_argmax": lambda **k: upsample_ext.upsample_argmax(X, **k),
    "upsample_argmax_with_score": lambda **k: upsample_ext.upsample_argmax(X, return_score=True, **k),
    "upsample_threshold": lambda **k: upsample_ext.upsample_threshold(X, **k),
}
SIZES = [
    (np.int64(8), np.int32(9)),
    [np.uint8(8), 9],
    torch.Size([8, 9]),
    tuple(np.array([8, 9])),
    tuple(torch.tensor([8, 9])),
    (torch.tensor([8]), torch.tensor(9, dtype=torch.int16)),
]


@pytest.mark.parametrize("op", RESIZES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes(op, size):
    found, ops = dispatched_ops(RESIZES[op], size=size)
    assert ops == [f"upsample_ext::{op}"]
    torch.testing.assert_close(found, RESIZES[op](size=(8, 9)), rtol=0, atol=0)


@pytest.mark.parametrize("op", RESIZES)
@pytest.mark.parametrize("size", [np.int64(8), np.array(8), torch.tensor(8)], ids=repr)
def test_one_number_for_both(op, size):
    found, ops = dispatched_ops(RESIZES[op], size=size)
    assert ops == [f"upsample_ext::{op}"]
    torch.testing.assert_close(found, RESIZES[op](size=8), rtol=0, atol=0)


@pytest.mark.parametrize("op", RESIZES)
@pytest.mark.parametrize("factor", [np.float32(1.7), np.float64(2.5), np.float16(1.5), np.int64(2)], ids=repr)
def test_factors(op, factor):
    for given, plain in ((factor, float(factor)), ((factor, 2), (float(factor), 2))):
        found, ops = dispatched_ops(RESIZES[op], scale_factor=given)
        assert ops == [f"upsample_ext::{op}"]
        torch.testing.assert_close(found, RESIZES[op](scale_factor=plain), rtol=0, atol=0)


# What a call can be asked for, in every form: PyTorch takes some alone, some in a list, some as another item
# than the first, and some only where it multiplies itself.
FORMS = {
    "size": [
        8,
        np.int16(8),
        np.array(8),
        torch.tensor(8),
        torch.tensor([8]),
        torch.tensor([[8]]),
        (8, torch.tensor(9)),
        [torch.tensor([8]), np.int64(9)],
        torch.Size([8, 9]),
        torch.tensor([8, 9]),
        torch.tensor([8.0, 9.0]),
        torch.tensor(True),
        np.array([8, 9]),
        [np.array(8), np.array(9)],
        [8, np.array(9)],
        np.float64(8),
        range(8, 10),
        2**70,
    ],
    "scale_factor": [
        2,
        1.7,
        np.float32(1.7),
        True,
        np.bool_(True),
        (True, 2),
        (2, np.bool_(True)),
        [1.5, torch.tensor(2.0)],
        [np.float64(1.5), torch.tensor([2])],
        [1.5, np.array(2.0)],
        [1.5, torch.tensor([1.0, 2.0])],
        [torch.tensor(1.5), 2.0],
        torch.tensor(1.7),
        torch.tensor([1.7]),
        torch.tensor([1.7, 2.0]),
        torch.tensor([[1.4]], dtype=torch.float64),
        np.array(1.7),
        np.array([1.7, 2.0]),
        [np.array(1.5), torch.tensor(1.4)],
        torch.Size([2, 3]),
    ],
}
OF_FORMS = {
    "upsample_bilinear2d": (
        lambda **k: upsample_ext.interpolate(X, mode="bilinear", **k),
        lambda **k: F.interpolate(X, mode="bilinear", **k),
    ),
    "upsample_bilinear2d, recomputed": (
        lambda **k: upsample_ext.interpolate(X, mode="bilinear", recompute_scale_factor=True, **k),
        lambda **k: F.interpolate(X, mode="bilinear", recompute_scale_factor=True, **k),
    ),
    "resample": (
        lambda **k: upsample_ext.interpolate(X, mode="bicubic", **k),
        lambda **k: F.interpolate(X, mode="bicubic", **k),
    ),
    "resample, area": (
        lambda **k: upsample_ext.interpolate(X, mode="area", **k),
        lambda **k: F.interpolate(X, mode="area", **k),
    ),
    "upsample_argmax": (
        lambda **k: upsample_ext.upsample_argmax(X, **k),
        lambda **k: F.interpolate(X, mode="bilinear", **k).argmax(1),
    ),
    "upsample_threshold": (
        lambda **k: upsample_ext.upsample_threshold(X, threshold=0.4, **k),
        lambda **k: F.interpolate(X, mode="bilinear", **k) > 0.4,
    ),
    "upsample_concat": (
        lambda size: upsample_ext.upsample_concat([X, X], size),
        lambda size: torch.cat([F.interpolate(X, size, mode="bilinear")] * 2, 1),
    ),
}


KINDS = dict.fromkeys(OF_FORMS, list(FORMS)) | {
    "upsample_bilinear2d, recomputed": ["scale_factor"],  # a size cannot be
    "upsample_concat": ["size"],
}


@pytest.mark.parametrize(
    ("op", "kind", "value"),
    [(op, kind, value) for op in OF_FORMS for kind in KINDS[op] for value in FORMS[kind]],
    ids=repr,
)
def test_every_form_that_native_takes_runs_here_and_no_other(op, kind, value):
    check_form(op.partition(",")[0], *OF_FORMS[op], **{kind: value})


def check_form(op, ours, native, **arguments):
    try:
        expected = native(**arguments)
    except Exception as error:
        with pytest.raises(type(error)):
            ours(**arguments)
        return
    found, ops = dispatched_ops(ours, **arguments)
    assert ops == [f"upsample_ext::{op}"]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "threshold",
    [
        True,
        np.bool_(True),
        np.float32(0.3),
        np.float64(0.3),
        torch.tensor(0.3),
        torch.tensor(0.3, dtype=torch.float64),
        torch.tensor([0.3]),
        torch.tensor(0.3, dtype=torch.float16),
        torch.tensor(1),
        torch.tensor(True),
        torch.tensor(0.3, requires_grad=True),
        np.array(0.3),
        None,
        "a",
        1j,
    ],
    ids=repr,
)
def test_forms_of_a_threshold(threshold):
    check_form(
        "upsample_threshold",
        lambda: upsample_ext.upsample_threshold(X, 8, threshold=threshold),
        lambda: F.interpolate(X, 8, mode="bilinear") > threshold,
    )


@pytest.mark.parametrize(
    "options",
    [
        {name: value}
        for name, values in {
            "ignore_index": [
                1,
                np.uint8(1),
                torch.tensor(1),
                torch.tensor([1]),
                np.array(1),
                1.0,
                True,
                None,
            ],
            "label_smoothing": [
                1,
                True,
                np.bool_(False),
                np.float32(0.1),
                torch.tensor(0.1),
                torch.tensor(0),
                torch.tensor([0.1]),
                torch.tensor(0.1, requires_grad=True),
                np.array(0.1),
                "0",
            ],
        }.items()
        for value in values
    ],
    ids=repr,
)
def test_forms_of_the_loss_s_settings(options):
    check_form(
        "upsample_cross_entropy",
        lambda: upsample_ext.upsample_cross_entropy(X, TARGET, **options),
        lambda: F.cross_entropy(F.interpolate(X, TARGET.shape[1:], mode="bilinear"), TARGET, **options),
    )


def test_no_align_corners_is_false():
    for op, call in {
        "upsample_add": lambda a: upsample_ext.upsample_add(X, torch.ones(1, 3, 8, 9), a),
        "upsample_concat": lambda a: upsample_ext.upsample_concat([X, X], 8, a),
        "upsample_cross_entropy": lambda a: upsample_ext.upsample_cross_entropy(X, TARGET, align_corners=a),
    }.items():
        found, ops = dispatched_ops(call, None)
        assert ops == [f"upsample_ext::{op}"] and torch.equal(found, call(False))


def test_concat_and_the_settings_of_the_others():
    _, ops = dispatched_ops(upsample_ext.upsample_concat, [X, X], size=(np.int64(8), np.int64(9)))
    assert ops == ["upsample_ext::upsample_concat"]
    _, ops = dispatched_ops(upsample_ext.upsample_threshold, X, 8, threshold=np.float32(0.5))
    assert ops == ["upsample_ext::upsample_threshold"]
    options = {"ignore_index": np.int64(1), "label_smoothing": np.float32(0.25)}
    found, ops = dispatched_ops(upsample_ext.upsample_cross_entropy, X, TARGET, **options)
    assert ops == ["upsample_ext::upsample_cross_entropy"]
    assert found == upsample_ext.upsample_cross_entropy(X, TARGET, ignore_index=1, label_smoothing=0.25)


@pytest.mark.parametrize(
    "number", [np.int64(2), np.array(2), torch.tensor(2), [2], (np.int16(2), 2)], ids=repr
)
def test_steps_of_transposed_convolutions(number):
    weight = torch.rand(3, 1, 3, 3)
    found, ops = dispatched_ops(upsample_ext.conv_transpose2d, X, weight, stride=number, groups=np.int64(3))
    assert ops == ["upsample_ext::depthwise_conv_transpose2d"]
    torch.testing.assert_close(found, F.conv_transpose2d(X, weight, stride=2, groups=3))


def test_factors_of_the_caffe_layer():
    found = upsample_ext.bilinear_conv_transpose2d(X, np.int64(2))
    assert torch.equal(found, upsample_ext.bilinear_conv_transpose2d(X, 2))
    assert upsample_ext.bilinear_kernel(np.int32(4)).shape == (4, 4)


WRONG = [
    True,
    5.0,
    "5",
    None,
    np.float32(5),
    np.array([5]),
    np.array([5, 4]),
    torch.tensor(5.0),
    torch.tensor(True),
]


def test_what_is_no_int():
    for value in (*WRONG, torch.tensor([5, 5]), 2**63, -(2**63) - 1, np.uint64(2**63)):
        assert as_int(value) is None, value
    for value in (5, -(2**63), 2**63 - 1, np.int8(-5), torch.tensor([[5]])):
        assert as_int(value) == int(value) and type(as_int(value)) is int


def test_what_is_no_number():
    for value in ("5", None, np.array(5.0), torch.tensor(5.0), 5j, np.complex64(5)):
        assert as_float(value) is None, value
    for value in (5, 5.5, np.float32(0.1), np.int16(3), True, np.bool_(False)):
        assert as_float(value) == value and type(as_float(value)) in (int, float)


def test_pairs():
    assert as_ints((1, np.int64(2)), 2) == [1, 2] and as_ints(3, 2) == [3, 3]
    for value in ((1,), (1, 2, 3), (1, None), "12", {1, 2}, np.array([1, 2]), (1, np.array(2))):
        assert as_ints(value, 2) is None, value


@pytest.mark.parametrize("op", RESIZES)
@pytest.mark.parametrize("size", [value for value in WRONG if value is not None], ids=repr)
def test_wrong_sizes_raise_what_native_raises(op, size):
    with pytest.raises(Exception) as native:
        F.interpolate(X, size=size, mode="bilinear")
    with pytest.raises(native.type):
        RESIZES[op](size=size)


@pytest.mark.parametrize(
    "options",
    [
        {"ignore_index": None},
        {"ignore_index": 1.5},
        {"ignore_index": "a"},
        {"ignore_index": True},
        {"ignore_index": 2**63},
        {"reduction": ["mean"]},
        {"reduction": None},
        {"reduction": "Mean"},
        {"label_smoothing": "a"},
        {"label_smoothing": None},
        {"label_smoothing": 1.5},
        {"weight": [1.0, 2.0, 3.0]},
    ],
    ids=str,
)
def test_wrong_settings_of_the_loss_raise_what_native_raises(options):
    with pytest.raises(Exception) as native:
        F.cross_entropy(F.interpolate(X, TARGET.shape[1:], mode="bilinear"), TARGET, **options)
    with pytest.raises(native.type):
        upsample_ext.upsample_cross_entropy(X, TARGET, **options)


@pytest.mark.parametrize(
    "stride", [True, 2.0, "2", None, np.float32(2), 2**63, (2, 2**63), (2, 2, 2), -1, 0], ids=repr
)
def test_wrong_strides_raise_what_native_raises(stride):
    weight = torch.rand(3, 1, 3, 3)
    with pytest.raises(Exception) as native:
        F.conv_transpose2d(X, weight, stride=stride, groups=3)
    with pytest.raises(native.type):
        upsample_ext.conv_transpose2d(X, weight, stride=stride, groups=3)
