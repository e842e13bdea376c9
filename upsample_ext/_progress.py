"""Progress of long computations, on stderr."""

import sys
import time

# Seconds before progress is first shown
_PATIENCE = 2.0
# Seconds between two messages, if they overwrite each other and if each is a line
_INTERVAL = {"terminal": 0.2, "lines": 10.0}


class Progress:
    """Shows the progress of a long computation: in one line of a terminal, otherwise in occasional lines."""

    def __init__(self) -> None:
        self._shown = False
        self.begin("")

    def begin(self, what: str) -> None:
        """Begins another computation, named in a word."""
        self._what, self._next = what, time.monotonic() + _PATIENCE

    def __call__(self, done: float) -> None:
        """Reports the fraction that is done, 0 to 1."""
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
        """Clears what was shown on the terminal."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._shown = False
