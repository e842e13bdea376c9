"""How far long work is, told on stderr."""

import sys
import time

# Seconds of silence before work is called long
_PATIENCE = 2.0
# Seconds between two messages, where they overwrite each other and where each is a line
_INTERVAL = {"terminal": 0.2, "lines": 10.0}


class Progress:
    """Tells how far work is that takes long: in one line of a terminal, or in a line now and then."""

    def __init__(self) -> None:
        self._shown = False
        self.begin("")

    def begin(self, what: str) -> None:
        """Begins another piece of work, named in a word."""
        self._what, self._next = what, time.monotonic() + _PATIENCE

    def __call__(self, done: float) -> None:
        """Takes the part that is done, 0 to 1."""
        if sys.stderr is None:
            return
        if done >= 1:
            self.clear()
        elif time.monotonic() >= self._next:
            text = f"{self._what}: {int(100 * done)}%"
            terminal = sys.stderr.isatty()
            print(
                f"\r{text}\033[K" if terminal else text,
                end="" if terminal else "\n",
                file=sys.stderr,
                flush=True,
            )
            self._shown = terminal
            self._next = time.monotonic() + _INTERVAL["terminal" if terminal else "lines"]

    def clear(self) -> None:
        """Takes from the terminal what was shown there."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._shown = False
