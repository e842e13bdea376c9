"""One judgement in two languages: the doors in C++ and the general path in Python take the same calls.

A door may leave a call to the general path, which sees more (symbols, subclasses, numpy's numbers); it must
never take one that the general path would leave to PyTorch, nor give another result.
"""

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops import as_tuple
from torch.nn import functional as F

from upsample_ext import (
    _judge,
    interpolate,
    resample,
    upsample_argmax,
    upsample_cross_entropy,
    upsample_threshold,
)
from upsample_ext._library import C

MODES = (*_judge.MODES, "Bilinear", "", None, "lanczos")
LABELS = (torch.int32, torch.bool)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.uint8, torch.complex64, *LABELS)
NUMBERS = st.one_of(st.integers(-1, 9), st.sampled_from([0.3, 0.5, 1.0, 2.5, -0.5, 0.0, 2**62, 1e300, True]))


@st.composite
def calls(draw):
    dims = draw(st.integers(1, 6))
    shape = [draw(st.integers(0, 2)), *(draw(st.integers(0, 5)) for _ in range(dims - 1))]
    if draw(st.booleans()):  # most calls are well-formed
        shape = [max(1, size) for size in shape]
    # integers above 9 would make images that do not fit into memory
    sizes = st.one_of(st.integers(-1, 9), st.lists(st.integers(0, 7), min_size=0, max_size=4), st.just(None))
    factors = st.one_of(NUMBERS, st.lists(NUMBERS, min_size=0, max_size=4), st.just(None))
    by_size = draw(st.booleans())
    return (
        torch.zeros(shape, dtype=draw(st.sampled_from(DTYPES))),
        draw(sizes) if by_size else None,
        None if by_size else draw(factors),
        draw(st.sampled_from(MODES)),
        draw(st.sampled_from([None, False, True, 1])),
        draw(st.sampled_from([None, False, True])),
        draw(st.booleans()),
    )


def general(input, size, scale_factor, mode, *others):
    antialias = others[-1]
    if not (isinstance(mode, str) and _judge.is_ours(input, mode, antialias)):
        return None
    return resample._general(input, size, scale_factor, mode, *others)


def is_beyond_native(call):
    """Label maps by nearest, and antialias of half types, of lines and of volumes."""
    dtype, mode, antialias = call[0].dtype, call[3], call[-1]
    if antialias:
        return dtype in (torch.bfloat16, torch.float16) or mode in ("linear", "trilinear")
    return dtype in LABELS and mode in ("nearest", "nearest-exact")


def outcome(function, *arguments):
    try:
        result = function(*arguments)
    except Exception as error:
        return type(error)
    return None if result is None else [(t.shape, t.stride(), t.dtype) for t in as_tuple(result)]


@settings(max_examples=600, deadline=None)
@given(calls())
def test_the_door_takes_what_the_general_path_takes(call):
    by_door, in_general = outcome(C.interpolate, *call), outcome(general, *call)
    assert by_door is None or by_door == in_general
    plain = all(
        not isinstance(number, bool)
        for value in call[1:3]
        for number in (value if isinstance(value, list) else [value])
    )
    if plain and in_general is not None and not isinstance(in_general, type):
        assert by_door == in_general


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (
            upsample_argmax,
            {
                "dtype": st.sampled_from([torch.int64, torch.uint8, torch.float32, None]),
                "return_score": st.sampled_from([False, True, 1]),
            },
        ),
        (upsample_threshold, {"threshold": st.sampled_from([0, 0.5, 2**60, float("nan")])}),
    ],
    ids=["argmax", "threshold"],
)
@settings(max_examples=200, deadline=None)
@given(calls(), st.data())
def test_the_doors_of_fused_ops_change_no_outcome(function, options, call, data):
    input, size, scale_factor, mode, align_corners, *_ = call
    options = data.draw(st.fixed_dictionaries(options))

    def ours():
        return function(input, size, scale_factor, align_corners, mode=mode, **options)

    with_door = outcome(ours)
    with mock.patch.object(C, function.__name__, return_value=None):
        assert with_door == outcome(ours)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_door_of_cross_entropy_changes_no_outcome(data):
    def draw(usual, *others):  # most calls are well-formed
        return data.draw(st.sampled_from([usual] * 8 + list(others)))

    dtype = data.draw(st.sampled_from(DTYPES))
    x = torch.zeros(draw((2, 3, 4, 5), (3, 4, 5), (2, 3, 0, 5), (0, 3, 4, 5)), dtype=dtype)
    size = draw((2, 6, 7), (1, 6, 7), (2, 0, 7), (2, 3, 6, 7))
    y = torch.zeros(size, dtype=draw(torch.int64, torch.int32, torch.uint8, torch.float32))
    arguments = (
        draw(None, torch.ones(3, dtype=dtype), torch.ones(4), torch.ones(3, dtype=torch.float64)),
        draw(-100, 0, 2.0, 2**70, True),
        draw("mean", "sum", "none", "median", None),
        draw(0.0, 0.1, 1, -0.5, 1.5, None),
        draw(False, True, None, 1),
    )
    with_door = outcome(upsample_cross_entropy, x, y, *arguments)
    with mock.patch.object(C, "upsample_cross_entropy", return_value=None):
        assert with_door == outcome(upsample_cross_entropy, x, y, *arguments)


@settings(max_examples=400, deadline=None)
@given(calls())
def test_what_is_taken_native_takes_too(call):
    ours = outcome(general, *call)
    if ours is not None and not isinstance(ours, type) and not is_beyond_native(call):
        assert outcome(F.interpolate, *call) == ours


@settings(max_examples=300, deadline=None)
@given(calls())
def test_what_native_refuses_raises_the_same(call):
    ours, native = outcome(interpolate, *call), outcome(F.interpolate, *call)
    refuses = isinstance(native, type) and issubclass(native, (RuntimeError, ValueError))
    assert ours == native or (is_beyond_native(call) and refuses)


@pytest.mark.parametrize("mode", _judge.MODES)
def test_every_mode_that_native_has_is_ours(mode):
    named = _judge.MODES[mode]
    for axes in range(named.least_axes, named.most_axes + 1):
        x = torch.rand(1, 2, *[4] * axes)
        for antialias in [False] * named.plain + [True] * named.antialiased:
            if not (antialias and axes != 2):  # which native lacks
                F.interpolate(x, scale_factor=2, mode=mode, antialias=antialias)
            assert C.interpolate(x, None, 2, mode, None, None, antialias) is not None
