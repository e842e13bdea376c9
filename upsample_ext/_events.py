"""What `report()` hears of: events are recorded while there is a report, and cost nothing otherwise."""

from typing import Protocol


class Listener(Protocol):
    def lazy(self) -> None: ...
    def fused(self, op: str) -> None: ...
    def image(self, reader: str) -> None: ...


listeners: list[Listener] = []


def record_lazy() -> None:
    """A resize was put off."""
    for listener in listeners:
        listener.lazy()


def record_fused(op: str) -> None:
    """A lazy resize was consumed by a fused op."""
    for listener in listeners:
        listener.fused(op)


def record_image(reader: str) -> None:
    """Something needed the image of a lazy resize."""
    for listener in listeners:
        listener.image(reader)
