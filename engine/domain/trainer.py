"""Where long pieces of pure work are done while a shard goes on.

What is asked and when the result is taken follows from the log alone, and the work is a pure function of what it is
given; so a trainer decides only *where* the time is spent, never what comes out. It is a port like those of
`engine/ports`, kept here because the pure rooms, which hold one, import no ports.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Handle(Protocol[T_co]):
    """Work that was handed in."""

    def result(self) -> T_co:
        """What came out, waiting for it if need be. Raises what the work raised."""


class Trainer(Protocol):
    """Does work that was handed in. Shipped: `Inline`, and `engine.adapters.trainer_thread.ThreadTrainer`."""

    def submit(self, job: Callable[[], T]) -> Handle[T]:
        """Take over a pure function of immutable data."""


class Inline:
    """Does the work at once, in the caller's time."""

    def submit(self, job: Callable[[], T]) -> Handle[T]:
        """Do it."""
        return _Finished(job())


class _Finished(Handle[T]):
    def __init__(self, value: T) -> None:
        self._value = value

    def result(self) -> T:
        return self._value
