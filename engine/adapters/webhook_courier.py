"""Carries what waits for one webhook endpoint to it: retries, a circuit breaker, and an end to trying."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from engine.adapters.webhook_post import Attempt
from engine.adapters.webhook_queue import Waiting, WebhookQueue
from engine.ports.sink import SinkUnavailable
from engine.ports.store import StoreUnavailable

CONCURRENCY: Final = 8  # attempts at once, for each endpoint and process
RETRY_FACTOR: Final = 4.0
FAILURES_MAX: Final = 5  # one after the other, until the endpoint is left alone
BREAK_FIRST_S: Final = 5.0
BREAK_MAX_S: Final = 300.0
LOOK_AGAIN_S: Final = 30.0  # at the latest, whatever is known of the queue
BUSY_LOOK_S: Final = 1.0  # while attempts are on their way
CANCEL_AGAIN_S: Final = 0.2
STORE_WAIT_S: Final = 1.0  # after the store was away

logger = logging.getLogger("steward.webhooks")

OnResult = Callable[[str, str], None]
"""Told of each attempt: the endpoint, and `delivered`, `failed`, `given_up` or `refused` (the queue was full)."""

GiveUp = Callable[[str, int, list[str], str], Awaitable[None]]
"""Tells that outputs are not delivered: endpoint, shard, ids, why. Returns when that is safe somewhere."""


class Post(Protocol):
    """What a courier needs of `Poster`."""

    async def post(self, identity: str, body: bytes, now_s: float) -> Attempt:
        """Try once."""

    async def close(self) -> None:
        """Close every connection."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a delivery is tried again: the first wait, the longest, and the age at which it is given up."""

    first_s: float = 5.0
    max_s: float = 6 * 3_600.0
    give_up_s: float = 3 * 86_400.0

    def wait_s(self, attempts: int, random: float) -> float:
        """Seconds after the failed attempt number `attempts`: from half to all of a span that grows fourfold."""
        span_s = min(self.max_s, self.first_s * RETRY_FACTOR ** min(attempts - 1, 20))
        return span_s * (0.5 + 0.5 * random)


class Breaker:
    """Leaves an endpoint alone after `FAILURES_MAX` failures in a row; then one try at a time, until one succeeds."""

    def __init__(self) -> None:
        self._failures = 0
        self._opened = 0
        self._until_s = 0.0

    @property
    def probing(self) -> bool:
        """Whether the endpoint has to show with one delivery that it is back."""
        return self._failures >= FAILURES_MAX

    def wait_s(self, now_s: float) -> float:
        """Seconds to leave the endpoint alone from now on."""
        return max(0.0, self._until_s - now_s)

    def worked(self) -> bool:
        """An attempt succeeded; whether the breaker was open."""
        was = self.probing
        self._failures = self._opened = 0
        self._until_s = 0.0
        return was

    def failed(self, now_s: float, attempt: Attempt) -> bool:
        """An attempt failed; whether the breaker opened by it."""
        self._failures = FAILURES_MAX if attempt.gone else self._failures + 1
        if not self.probing or self.wait_s(now_s):
            return False
        span_s = BREAK_MAX_S if attempt.gone else min(BREAK_MAX_S, BREAK_FIRST_S * 2.0 ** min(self._opened, 20))
        self._opened += 1
        self._until_s = now_s + max(span_s, min(attempt.retry_after_s, BREAK_MAX_S))
        return True


class Courier:
    """Delivers for one endpoint, out of the queues of the shards this process owns.

    Deliveries are independent: one that fails is tried later while others go on, so their order is not kept.
    """

    def __init__(
        self,
        endpoint: str,
        queue: WebhookQueue,
        poster: Post,
        *,
        patience: Patience,
        now_s: Callable[[], float],
        random: Callable[[], float],
        give_up: GiveUp,
        on_result: OnResult,
    ) -> None:
        """`now_s` is the time of day: when a delivery is due must mean the same to the next owner."""
        self._endpoint = endpoint
        self._queue = queue
        self._poster = poster
        self._patience = patience
        self._now_s = now_s
        self._random = random
        self._give_up = give_up
        self._on_result = on_result
        self._breaker = Breaker()
        self._shards: set[int] = set()
        self._running: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def take(self, shard: int) -> None:
        """Deliver what waits in `shard` too. Starts the courier."""
        self._shards.add(shard)
        self.wake()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def release(self, shard: int) -> None:
        """Deliver nothing more of `shard`; attempts on their way end, and are made again by its next owner."""
        self._shards.discard(shard)
        await _cancel([task for (owner, _), task in self._running.items() if owner == shard])

    def wake(self) -> None:
        """Something was queued."""
        self._wake.set()

    async def close(self) -> None:
        """Stop. What waits stays in the queue."""
        self._shards.clear()
        await _cancel([task for task in (self._task, *self._running.values()) if task is not None])
        self._task = None
        await self._poster.close()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                wait_s = await self._begin()
            except StoreUnavailable as error:
                logger.warning("webhook %s waits for the store: %s", self._endpoint, error)
                wait_s = STORE_WAIT_S
            except Exception:
                logger.exception("webhook %s: cannot read what waits", self._endpoint)
                wait_s = LOOK_AGAIN_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _begin(self) -> float:
        """Begin attempts of what is due; returns how long there is nothing else to begin."""
        now_s = self._now_s()
        left_alone_s = self._breaker.wait_s(now_s)
        if left_alone_s:
            await asyncio.sleep(min(left_alone_s, LOOK_AGAIN_S))
            return 0.0
        next_s = LOOK_AGAIN_S
        for shard in sorted(self._shards):
            room = (1 if self._breaker.probing else CONCURRENCY) - len(self._running)
            if room <= 0:
                return LOOK_AGAIN_S  # an attempt that ends wakes
            busy = {identity for owner, identity in self._running if owner == shard}
            for item in await self._queue.due(shard, self._endpoint, int(now_s * 1000), room + len(busy)):
                if item.id not in busy and room > 0 and shard in self._shards:
                    room -= 1
                    self._start(shard, item)
            due_ms = await self._queue.next_due_ms(shard, self._endpoint)
            if due_ms is not None:
                next_s = min(next_s, max(0.01, due_ms / 1000 - now_s))
        # What is due first may be on its way already: then the next look is soon, and sooner if an attempt ends.
        return max(next_s, BUSY_LOOK_S) if self._running else next_s

    def _start(self, shard: int, item: Waiting) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(shard, item))
        self._running[shard, item.id] = task
        task.add_done_callback(lambda ended: self._ended(shard, item.id, ended))

    def _ended(self, shard: int, identity: str, task: asyncio.Task[None]) -> None:
        self._running.pop((shard, identity), None)
        self.wake()
        if not task.cancelled() and task.exception() is not None:
            logger.error("webhook %s: delivering %s failed", self._endpoint, identity, exc_info=task.exception())

    async def _deliver(self, shard: int, item: Waiting) -> None:
        attempt = await self._poster.post(item.id, item.body, self._now_s())
        now_s = self._now_s()
        try:
            if attempt.ok:
                if self._breaker.worked():
                    logger.warning("webhook %s is back", self._endpoint)
                await self._queue.delivered(shard, self._endpoint, item.id)
                self._on_result(self._endpoint, "delivered")
            else:
                await self._failed(shard, item, attempt, now_s)
        except (StoreUnavailable, SinkUnavailable) as error:
            # Still queued, and so tried again: the receiver may see it twice, under one id.
            logger.warning("webhook %s: what became of %s is not noted: %s", self._endpoint, item.id, error)
            await asyncio.sleep(STORE_WAIT_S)

    async def _failed(self, shard: int, item: Waiting, attempt: Attempt, now_s: float) -> None:
        if self._breaker.failed(now_s, attempt):
            logger.warning(
                "webhook %s is left alone for %.0f s: %s", self._endpoint, self._breaker.wait_s(now_s), attempt.detail
            )
        self._on_result(self._endpoint, "failed")
        attempts = item.attempts + 1
        age_s = now_s - item.first_ms / 1000
        if age_s >= self._patience.give_up_s:
            why = f"given up after {attempts} attempts in {age_s:.0f} s, the last one: {attempt.detail}"
            await self._give_up(self._endpoint, shard, [item.id], why)
            await self._queue.delivered(shard, self._endpoint, item.id)
            self._on_result(self._endpoint, "given_up")
            return
        wait_s = max(self._patience.wait_s(attempts, self._random()), attempt.retry_after_s)
        await self._queue.postponed(shard, self._endpoint, item.id, int((now_s + wait_s) * 1000), attempts)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    """End tasks. They are told again until they end: a call of Redis can swallow a cancellation."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
