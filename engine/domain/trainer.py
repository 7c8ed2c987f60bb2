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
        return _Ended(job)


class _Ended(Handle[T]):
    """Work that has been done, or has failed."""

    def __init__(self, job: Callable[[], T]) -> None:
        self._error: Exception | None = None
        try:
            self._value = job()
        except Exception as error:
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value
