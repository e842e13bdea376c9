"""What scripts/gpu_tests.py asks of a pytest run: only these tests, a record of each, an end in time.

A run on a GPU may be killed, or lose its CUDA context to one faulty kernel, after which every later test
fails as well. So each test is written down when it starts and when it ends, a run stops where the context is
lost, and whoever started it goes on behind that test in a new process. It is off where none of the variables
is set:

    UPSAMPLE_EXT_TESTS    a file with the ids of the tests to run, one a line
    UPSAMPLE_EXT_RECORD   a file that gets a line of JSON when a test starts and when it ends
    UPSAMPLE_EXT_SECONDS  no test starts so many seconds after the run began
"""

import json
import os
import pathlib
import time

import torch

MESSAGE_LENGTH = 300


class RunRecord:
    """A pytest plugin. `lost` says whether the device can no longer be used."""

    def __init__(self, tests=None, record=None, seconds=None, lost=None):
        self.tests = set(pathlib.Path(tests).read_text().splitlines()) if tests else None
        self.record = pathlib.Path(record) if record else None
        self.end = time.monotonic() + float(seconds) if seconds else None
        self.lost = lost or context_is_lost
        self.worst = {}
        self.failed = False

    @classmethod
    def of_environment(cls, environment=os.environ):
        """None where nothing is asked for."""
        names = {"tests": "TESTS", "record": "RECORD", "seconds": "SECONDS"}
        asked = {key: environment.get(f"UPSAMPLE_EXT_{name}") for key, name in names.items()}
        return cls(**asked) if any(asked.values()) else None

    def write(self, **words):
        if self.record:
            with self.record.open("a") as file:  # closed at once: nothing is lost with the process
                file.write(json.dumps(words) + "\n")

    def pytest_collection_modifyitems(self, config, items):
        if self.tests is not None:
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in self.tests])
            items[:] = [item for item in items if item.nodeid in self.tests]

    def pytest_runtest_logstart(self, nodeid, location):
        self.write(test=nodeid, outcome="started")

    def pytest_runtest_logreport(self, report):
        """Set-up, call and take-down each make a report; the test is as good as the worst of them."""
        order = ("passed", "skipped", "failed")
        before, message, seconds = self.worst.get(report.nodeid, ("passed", "", 0.0))
        if order.index(report.outcome) > order.index(before):
            before, message = report.outcome, _message(report)
        self.worst[report.nodeid] = (before, message, seconds + report.duration)

    def pytest_runtest_logfinish(self, nodeid, location):
        outcome, message, seconds = self.worst.pop(nodeid, ("passed", "", 0.0))
        self.write(test=nodeid, outcome=outcome, seconds=round(seconds, 3), message=message)
        self.failed = outcome == "failed"

    def pytest_runtest_protocol(self, item, nextitem):
        """Between two tests: is there time, and a device, for another?"""
        if self.end is not None and time.monotonic() > self.end:
            item.session.shouldstop = "no time left"
        if self.failed and self.lost():
            item.session.shouldstop = "the CUDA context is lost"
        if item.session.shouldstop:
            raise item.session.Interrupted(item.session.shouldstop)


def context_is_lost():
    """Whether an earlier kernel's fault makes every further call fail."""
    if not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def _message(report):
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return str(report.longrepr[-1])[:MESSAGE_LENGTH]
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return " ".join(text.split())[:MESSAGE_LENGTH]
