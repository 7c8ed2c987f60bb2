"""Time as the service sees it: for waiting and for measuring, never for deciding (decisions use event time)."""

from typing import Protocol


class Clock(Protocol):
    """A monotonic clock that can be waited on. The shipped fake is `engine.adapters.clocks.ManualClock`."""

    def now_s(self) -> float:
        """Seconds on a monotonic clock; only differences mean anything."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; lets other tasks run even for 0."""
