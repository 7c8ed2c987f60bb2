"""Waiting for something that is away, and saying so in one clear line instead of a thousand."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from engine.ports.clock import Clock
from engine.service.backoff import Backoff

T = TypeVar("T")
REMIND_EVERY_S = 60.0  # an operator who looks at the last minute of the log sees why nothing moves

logger = logging.getLogger("steward.service")


class Outage:
    """Whether one dependency (the store, the log, the sink) is away, and since when.

    One object is shared by everything that uses the dependency, so that eight partitions that lost one server report
    it once: a line when it goes, one a minute while it is away, one when it is back.
    """

    def __init__(self, what: str, clock: Clock) -> None:
        self.what = what
        self._clock = clock
        self._since_s: float | None = None
        self._said_s = 0.0

    @property
    def down(self) -> bool:
        """Whether the last use failed."""
        return self._since_s is not None

    def failed(self, error: BaseException) -> None:
        """Note a failed use."""
        now_s = self._clock.now_s()
        if self._since_s is None:
            self._since_s = self._said_s = now_s
            logger.warning("%s is not available, waiting for it: %s", self.what, error)
        elif now_s - self._said_s >= REMIND_EVERY_S:
            self._said_s = now_s
            logger.warning("%s is still not available after %.0f s: %s", self.what, now_s - self._since_s, error)

    def worked(self) -> None:
        """Note a use that worked."""
        if self._since_s is not None:
            logger.warning("%s is back after %.1f s", self.what, self._clock.now_s() - self._since_s)
            self._since_s = None


async def until_it_works(
    call: Callable[[], Awaitable[T]],
    error: type[Exception],
    outage: Outage,
    backoff: Backoff,
    clock: Clock,
    *,
    proves: bool = True,
) -> T:
    """Await `call()`, again after each `error` and a wait of `backoff`; any other exception goes to the caller.

    `proves` False: that it worked does not say that the outage is over, as reading does not where writing failed.
    """
    while True:
        try:
            result = await call()
        except error as failure:
            outage.failed(failure)
            await clock.sleep(backoff.next_s())
        else:
            if proves:
                outage.worked()
                backoff.reset()
            return result
