"""The clocks: the system's, and one that a test moves."""

import asyncio
import time


class SystemClock:
    """`engine.ports.clock.Clock` over the monotonic clock and the running event loop."""

    def now_s(self) -> float:
        """Seconds on the system's monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only when someone sleeps on it: waiting costs a test nothing and can be asserted on.

    Attributes:
        slept: every wait asked for, in seconds, in order.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        self.slept: list[float] = []

    def now_s(self) -> float:
        """Seconds slept so far."""
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        """Move the clock on and give every other task a turn."""
        self.slept.append(seconds)
        self._now_s += seconds
        await asyncio.sleep(0)
