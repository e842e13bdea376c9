"""The page on other libraries' conventions: each result on it, and that our call gives the same."""

import conventions
import numpy as np
import pytest
from conventions import evaluate, large, rows, small

import upsample_ext

pytestmark = pytest.mark.skipif(not conventions.PAGE.exists(), reason="needs the sources")
ROWS = rows() if conventions.PAGE.exists() else []
EVALUATORS = {"onnx": conventions.onnx_reference, "onnxruntime": conventions.onnx_runtime}


def evaluated(call, names, onnx=None):
    """The result; a skip where the library, or this version of it, lacks what the call needs."""
    try:
        return evaluate(call, names, onnx)
    except ImportError as error:
        pytest.skip(f"needs {error.name}")
    except NotImplementedError as error:
        if "lanczos" in call and "lanczos" not in upsample_ext.resample.C.modes():
            pytest.skip(f"this torch has no lanczos: {error}")
        raise


def of_onnx(row):
    return [*EVALUATORS] if "Resize(" in row.call else [None]


CASES = [
    pytest.param(row, evaluator, id=f"{row.section}-{row.line}{'-' + evaluator if evaluator else ''}")
    for row in ROWS
    for evaluator in of_onnx(row)
]


@pytest.mark.parametrize("row, evaluator", CASES)
def test_the_page_shows_what_the_library_gives(row, evaluator):
    result = evaluated(row.call, small(), EVALUATORS.get(evaluator)).flatten()
    shown = [float(word) for word in row.result.replace(";", "").split()]
    assert len(shown) == result.size
    np.testing.assert_allclose(shown, result, rtol=0, atol=6e-5)


@pytest.mark.parametrize("row, evaluator", CASES)
def test_our_call_gives_the_same(row, evaluator):
    if row.ours is None:
        pytest.skip("the page says that there is none")
    for names in (small(), *map(large, range(5))):
        expected = evaluated(row.call, names, EVALUATORS.get(evaluator))
        ours = evaluated(row.ours, names)
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("row", [row for row in ROWS if row.ours is None], ids=lambda row: row.call)
def test_where_there_is_none_no_mode_of_ours_gives_it(row):
    modes = [
        {"mode": mode, "align_corners": align_corners, "antialias": antialias}
        for mode in ("nearest", "nearest-exact", "area", "bilinear", "bicubic")
        for align_corners in ((False, True) if mode in ("bilinear", "bicubic") else (None,))
        for antialias in ((False, True) if mode in ("bilinear", "bicubic") else (False,))
        if not (align_corners and antialias)
    ]
    images = [large(seed) for seed in range(5)]
    theirs = [evaluated(row.call, names) for names in images]
    image = "tx" if "(x" in row.call else "ty"
    for options in modes:
        size = [expected.shape for expected in theirs]
        ours = [
            upsample_ext.interpolate(names[image], s, **options).numpy()[0, 0]
            for names, s in zip(images, size, strict=True)
        ]
        assert not all(np.allclose(a, b, rtol=0, atol=1e-5) for a, b in zip(ours, theirs, strict=True)), (
            f"{options} gives it"
        )


def test_every_library_has_a_section():
    sections = {row.section for row in ROWS}
    assert {"PyTorch", "OpenCV", "Pillow", "TensorFlow", "ONNX", "Caffe"} <= sections
    assert len(ROWS) >= 35
