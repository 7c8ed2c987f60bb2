"""A service that is taken to be away until a probe says otherwise, so that nobody waits for it in vain."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from engine.ports.clock import Clock

EVERY_S: Final = 0.25  # between two probes: how late its return may be noticed


class Breaker:
    """Tripped by whoever finds the service away; closes by itself once a probe works.

    Args:
        probe: uses the service; raises `error` where it is away.
        within_s: time a probe has.

    Attributes:
        away: the service is taken to be away.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[object]], error: type[Exception], clock: Clock, *, within_s: float
    ) -> None:
        self.away = False
        self._probe = probe
        self._error = error
        self._clock = clock
        self._within_s = within_s
        self._task: asyncio.Task[None] | None = None

    def trip(self) -> None:
        """The service was found away."""
        self.away = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def worked(self) -> None:
        """The service was found there by other means than the probe."""
        self.away = False

    async def close(self) -> None:
        """Stop probing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while self.away:
            await self._clock.sleep(EVERY_S)
            with suppress(self._error, TimeoutError):
                await asyncio.wait_for(self._probe(), self._within_s)
                self.away = False
