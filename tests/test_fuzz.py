"""A fixed share of the fuzzer (tests/fuzz), the same cases each time. `python -m tests.fuzz` has others.

Known faults, a table in tests/fuzz/known.py, do not fail a case. Each has a separate test, which fails once
the fault is fixed.
"""

import inspect
import itertools

import pytest
from kernel_backend import EMULATED

import upsample_ext
from tests.fuzz import autograd, campaign, differential, inputs, known, schemas
from tests.fuzz.draw import Draw, shrink
from tests.fuzz.targets import NOT_FUZZED, TARGETS
from tests.fuzz.workers import Worker

pytestmark = pytest.mark.skipif(
    EMULATED, reason="worker processes load the package that is built, not the emulation"
)

SEED = 2026
CASES_OF_A_FUNCTION = 40
CASES_OF_AN_OP = 20


@pytest.fixture(scope="module")
def worker():
    with Worker() as worker:
        yield worker


def assert_no_news(results):
    news = [result.told(finding) for result in results for finding in result.new_findings()]
    assert not news, f"{len(news)} new failures, of which the first three:\n\n" + "\n\n".join(news[:3])


@pytest.mark.parametrize("name", differential.names())
def test_public_function(worker, name):
    assert_no_news(campaign.run(worker, "differential", [name], range(CASES_OF_A_FUNCTION), SEED))


@pytest.mark.parametrize("name", schemas.names())
def test_op_of_the_dispatcher(worker, name):
    assert_no_news(campaign.run(worker, "schemas", [name], range(CASES_OF_AN_OP), SEED))


@pytest.mark.parametrize("op", [*autograd.OPS, *autograd.OUT_OPS])
def test_experiments_with(worker, op):
    names = [name for name in autograd.names() if name.endswith(f": {op}")]
    assert_no_news(campaign.run(worker, "autograd", names, [0], SEED))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(row, id=row.name, marks=pytest.mark.xfail(reason=row.name, strict=True))
        for row in known.KNOWN
    ],
)
def test_known_fault(worker, fault):
    verdict = worker.judge("programs", known.IMPORTS + fault.program, {})
    assert not verdict.findings, verdict.findings[0].words


def test_every_public_function_is_fuzzed():
    functions = {name for name in upsample_ext.__all__ if inspect.isroutine(getattr(upsample_ext, name))}
    assert functions - NOT_FUZZED.keys() == TARGETS.keys()


def test_cases_are_the_same_each_time():
    def programs():
        return [
            campaign.suite_of(suite).program(name, Draw(f"{SEED}/{name}/{case}"))
            for suite, name in (("differential", "upsample_add"), ("schemas", schemas.names()[0]))
            for case in range(20)
        ]

    assert programs() == programs()
    assert len(set(programs())) > 30


def test_choices_are_a_case():
    draw = Draw(f"{SEED}/upsample_concat/1")
    program = differential.program("upsample_concat", draw)
    assert differential.program("upsample_concat", Draw(choices=draw.choices)) == program


def _with_noise(function, **arguments):
    return function(**arguments) * (1 + 1e-2)


def _without_nan(function, **arguments):
    return function(**arguments).nan_to_num()


def _in_float64(function, **arguments):
    return function(**arguments).double()


def _in_other_strides(function, **arguments):
    result = function(**arguments)
    return result.mT.contiguous().mT if result.dim() > 1 else result


def _with_other_exceptions(function, **arguments):
    try:
        return function(**arguments)
    except Exception as error:
        raise KeyError from error


def _with_other_gradients(function, **arguments):
    result = function(**arguments)
    if result.requires_grad:
        result.register_hook(lambda grad: grad * 1.02)
    return result


def _changing_inputs(function, **arguments):
    result = function(**arguments)
    if not arguments["input"].requires_grad:
        arguments["input"].zero_()
    return result


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (_with_noise, "values"),
        (_without_nan, "special values"),
        (_in_float64, "dtype"),
        (_in_other_strides, "strides"),
        (_with_other_exceptions, "exception type"),
        (_with_other_gradients, "gradient values"),
        (_changing_inputs, "input changed"),
    ],
)
def test_a_fault_is_found(monkeypatch, fault, kind):
    function = upsample_ext.upsample_add
    monkeypatch.setattr(upsample_ext, "upsample_add", lambda **arguments: fault(function, **arguments))
    found = {"torch.float32": set(), "torch.float16": set()}
    for dtype, case in itertools.product(found, range(60)):
        draw = Draw(f"{SEED}/upsample_add/{case}")
        differential.program("upsample_add", draw)
        choices = {**draw.choices, "dtype": inputs.FLOATING.index(dtype)}
        verdict = differential.judge("upsample_add", Draw(choices=choices), lambda stage: None)
        found[dtype] |= {finding.kind for finding in verdict.findings}
    assert all(kind in kinds for kinds in found.values()), found


def test_shrink():
    smaller = shrink({"a": 9, "b": 5, "c": 1}, lambda choices: choices.get("a", 0) >= 3 and "c" in choices)
    assert smaller == {"a": 3, "c": 1}


def test_a_crash_and_a_time_out_are_findings(worker, monkeypatch):
    """And the worker goes on with the next case."""

    def kinds(program):
        return [finding.kind for finding in worker.judge("programs", program, {}).findings]

    assert kinds("import os; os.abort()") == ["crash"]
    assert kinds("pass") == []
    monkeypatch.setattr("tests.fuzz.workers.SECONDS", 1)
    assert kinds("while True: pass") == ["time-out"]
    monkeypatch.undo()
    assert kinds("1 / 0") == ["raises"]
