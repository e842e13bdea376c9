"""Runs cases in another process, in bounded memory and time: a crash is the finding of its case."""

import gc
import importlib
import multiprocessing
import os
import resource
import signal
import tempfile

from .draw import Draw, Finding, Verdict

MEMORY = 6 * 2**30  # bytes of addresses; torch itself takes a part of them
SUITES = ("differential", "schemas", "autograd", "programs")
SECONDS = 60  # for one case; and for the start


class Worker:
    """`judge` as a suite has it, whatever happens."""

    def __init__(self):
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop()

    def judge(self, suite: str, name: str, choices: dict) -> Verdict:
        if self._process is None:
            self._start()
        self._connection.send((suite, name, choices))
        stage = "start"
        try:
            while self._connection.poll(SECONDS):
                answer = self._connection.recv()
                if not isinstance(answer, str):
                    return answer
                stage = answer
            found = Finding("time-out", f"more than {SECONDS} s in {stage}")
        except (EOFError, ConnectionResetError):
            self._process.join()
            found = Finding("crash", f"{_ending(self._process.exitcode)} in {stage}: {self._last_words()}")
        self._stop()
        return self._unless_native(found, stage)

    def _unless_native(self, found, stage):
        """What native does to itself is no finding."""
        return (
            Verdict(f"native: {found.kind}") if stage.startswith("native") else Verdict(found.kind, [found])
        )

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._errors = tempfile.NamedTemporaryFile("r")  # noqa: SIM115  (for as long as the worker)
        self._process = context.Process(target=_serve, args=(theirs, self._errors.name), daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(2 * SECONDS) or self._connection.recv() != "ready":
            raise RuntimeError("a fuzz worker did not start")

    def _stop(self):
        if self._process is not None:
            self._connection.close()
            self._process.join(1)
            self._process.kill()
            self._process.join()
            self._process = None

    def _last_words(self):
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else "no last words"


def _ending(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _serve(connection, errors_path):
    """The worker's own loop: cases in, stages and a verdict out."""
    import torch

    os.dup2(os.open(errors_path, os.O_WRONLY | os.O_APPEND), 2)
    torch.set_num_threads(1)
    suites = {name: importlib.import_module(f".{name}", __package__) for name in SUITES}
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send("ready")
    while True:
        try:
            suite, name, choices = connection.recv()
        except EOFError:
            return
        try:
            verdict = suites[suite].judge(name, Draw(choices=choices), connection.send)
        except Exception as error:
            verdict = Verdict("harness", [Finding("harness", f"{type(error).__name__}: {error}")])
        gc.collect()  # so that what this case has broken breaks here
        gc.freeze()  # so that the next time is as short
        connection.send(verdict)
