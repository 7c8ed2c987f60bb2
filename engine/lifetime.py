"""The life of a serving process: told to stop, waiting for what it needs, failing, and ending in time."""

import asyncio
import logging
import os
import random
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from engine.bootstrap import FAULT
from engine.ports.clock import Clock
from engine.service.backoff import Backoff
from engine.service.outage import Outage, until_it_works

T = TypeVar("T")


class Lifetime:
    """One run of a process, from its first wait to its end. Make it inside the running loop.

    Args:
        clock: to wait by.
        drain_ms: how long after a signal the process may live; then it ends itself, whatever hangs: what is not
            committed will be read again.
        wait_max_ms: longest pause between two attempts to reach something that is away.
        logger: of the process.
        farewell: what is logged where it did not stop in time.

    Attributes:
        stopped: set by a signal or a failure.
        failure: what ended the process, None for a clean stop.
    """

    def __init__(self, clock: Clock, *, drain_ms: int, wait_max_ms: int, logger: logging.Logger, farewell: str) -> None:
        self.stopped = asyncio.Event()
        self.failure: BaseException | None = None
        self._clock = clock
        self._drain_ms = drain_ms
        self._wait_max_ms = wait_max_ms
        self._logger = logger
        self._farewell = farewell

    def heed_signals(self) -> None:
        """Stop on SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)

    def fail(self, error: BaseException) -> None:
        """Stop because of `error`; the first one counts."""
        self.failure = self.failure or error
        self.stopped.set()

    def backoff(self) -> Backoff:
        """Pauses between attempts."""
        return Backoff(random.random, max_s=self._wait_max_ms / 1000)

    async def wait_for(self, call: Callable[[], Awaitable[T]], error: type[Exception], what: str) -> T:
        """Call again and again while it raises `error`, with one clear line about `what` is away."""
        return await until_it_works(call, error, Outage(what, self._clock), self.backoff(), self._clock)

    async def unless_stopped(self, work: Awaitable[T]) -> T | None:
        """The result of `work`, or None where the stop came first."""
        task, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self.stopped.wait())
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        return task.result()

    def _on_signal(self) -> None:
        if self.stopped.is_set():
            return
        self._logger.info("stopping: finishing what has begun")
        self.stopped.set()
        guard = threading.Timer(self._drain_ms / 1000, self._give_up)
        guard.daemon = True
        guard.start()

    def _give_up(self) -> None:
        self._logger.error("%s", self._farewell)
        logging.shutdown()
        os._exit(FAULT)
