"""The sole owner: synchronous calls straight into a shard, where no log stands in between."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from engine.core.controls import may_be_control
from engine.ports.clock import Clock
from engine.ports.copies import KeptJournal
from engine.ports.log import LogUnavailable
from engine.ports.store import Fenced, StoreUnavailable
from engine.ports.sync import IN_MEMORY, REJECTED, Busy, SyncResult, Undecided
from engine.service.backoff import Backoff
from engine.service.batching import BatchLimits
from engine.service.deadline import Deadline
from engine.service.dividing import process
from engine.service.outage import Outage
from engine.service.read_back import NO_HEADERS, Arrival, read_back
from engine.service.replies import EXPLAIN, NO_CONTROL, is_control
from engine.service.shard import BatchOutcome, Shard

PROBE_S: Final = 1.0  # a store that needs longer for one read is not ready
IDLE_ACKNOWLEDGE_S: Final = 0.5
HASTY_S: Final = 0.05  # for a decision while the store is known to be away
EXPLAINED: Final = ((EXPLAIN, b"true"),)
ANNOUNCED_MAX: Final = 100  # control events that may wait behind a full queue: a busy engine can still be told things

logger = logging.getLogger("steward.service")


class AnotherOwner(Exception):
    """Somebody else commits to the shard: this process must stop."""


class _Waiting(NamedTuple):
    value: bytes
    answer: asyncio.Future[SyncResult]
    headers: Sequence[tuple[str, bytes]] = NO_HEADERS


class SoleOwner:
    """`engine.ports.sync.Decider` and `engine.ports.announce.Announcer` over a shard that has no log (`NO_LOG`).

    Events that arrive while a batch is being committed make up the next batch, so that under load the cost of a commit
    is shared and without load nobody waits for company. Every answer is given after the commit that holds its event.

    Args:
        shard: made with `partitions=NO_LOG`.
        probe: reads something of the store; raises `StoreUnavailable`.
        limits: `queued_events_max` bounds what waits; past it callers are told to come back.
        store_outage: what the shard reports the store's absence to.
        on_batch: called after each commit.
        on_fatal: called once, with what ended the owner for good.
        hasty: somebody answers without the state where this one cannot in time: a call of one event gives up soon while
            the store is known to be away. The event stays in the queue.
        kept: the journal from before a rebuild, read back before anything else.
    """

    degraded_ready = False

    def __init__(
        self,
        shard: Shard,
        probe: Callable[[], Awaitable[object]],
        *,
        limits: BatchLimits,
        clock: Clock,
        store_outage: Outage,
        on_batch: Callable[[BatchOutcome], None],
        on_fatal: Callable[[BaseException], None],
        hasty: bool = False,
        kept: KeptJournal | None = None,
    ) -> None:
        self.shard = shard
        self._probe = probe
        self._limits = limits
        self._clock = clock
        self._outage = store_outage
        self._on_batch = on_batch
        self._on_fatal = on_fatal
        self._hasty = hasty
        self._kept = kept
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._opened = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def rulesets(self) -> dict[int, str]:
        """The hash of the rule set in force, by shard; empty while the shard is not open."""
        return {self.shard.number: self.shard.ruleset} if self._opened else {}

    @property
    def waiting(self) -> dict[int, int | None]:
        """Event time the shard has come to, where it waits for more; empty while it is not open."""
        return {self.shard.number: self.shard.waiting} if self._opened else {}

    @property
    def queued(self) -> int:
        """Events that wait for a batch."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to open the shard and then to decide; returns at once."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._guarded())

    async def decide(self, events: Sequence[bytes], seconds: float, *, explain: bool = False) -> list[SyncResult]:
        """See `Decider.decide`: all events are taken, or none."""
        if self._stopping:
            raise Busy("this process is stopping")
        if len(self._queue) + len(events) > self._limits.queued_events_max:
            raise Busy("too many events are waiting" if not self._outage.down else "the store is not available")
        loop = asyncio.get_running_loop()
        headers = EXPLAINED if explain else NO_HEADERS
        waiting = [_Waiting(event, loop.create_future(), headers) for event in events]
        for item in waiting:
            if is_control(item.value):
                item.answer.set_result(SyncResult(REJECTED, NO_CONTROL))
            else:
                self._queue.append(item)
        self._wake.set()
        if self._hasty and self._outage.down and len(events) == 1:
            seconds = min(seconds, HASTY_S)
        try:
            async with asyncio.timeout(seconds):
                return [await item.answer for item in waiting]
        except TimeoutError:
            told = "the store is not available" if self._outage.down else "the decision took too long"
            raise Undecided(told, IN_MEMORY, self.shard.number) from None

    @property
    def taking(self) -> bool:
        """Whether there is room for a further event and this process goes on."""
        return not self._stopping and len(self._queue) < self._limits.queued_events_max

    async def announce(self, shard: int, record: bytes) -> None:
        """See `engine.ports.announce.Announcer`: takes its place among the events; returns once it is committed."""
        if self._stopping:
            raise LogUnavailable("this process is stopping")
        if len(self._queue) >= self._limits.queued_events_max + ANNOUNCED_MAX:
            raise LogUnavailable("too many events are waiting")
        item = _Waiting(record, asyncio.get_running_loop().create_future())
        self._queue.append(item)
        self._wake.set()
        try:
            await item.answer
        except Busy as busy:
            raise LogUnavailable(str(busy)) from busy

    async def not_ready(self) -> list[str]:
        """See `Decider.not_ready`."""
        if self._stopping:
            return ["stopping"]
        try:
            await asyncio.wait_for(self._probe(), PROBE_S)
        except (StoreUnavailable, TimeoutError) as error:
            return [f"the store cannot be reached: {str(error) or 'no answer in time'}"]
        if not self._opened:
            return ["the shard is not open yet"]
        return ["the store was not available at the last commit"] if self._outage.down else []

    async def drain(self, seconds: float) -> bool:
        """Take nothing more, finish what waits, send and acknowledge the outputs; whether all was done in time."""
        deadline = Deadline(self._clock, seconds)
        self._stopping = True
        self._wake.set()
        finished = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=deadline.left_s())
            finished = self._task.done()
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        sent = await self.shard.relay.flush(deadline)
        with suppress(Fenced, TimeoutError):
            await asyncio.wait_for(self.shard.acknowledge(), max(0.1, deadline.left_s()))
        await self.shard.relay.close()
        return finished and sent and not self._queue

    async def _guarded(self) -> None:
        try:
            await self._run()
        except Exception as error:
            self._stopping = True
            _refuse(self._queue)
            self._on_fatal(error)

    async def _run(self) -> None:
        await self._open()
        while not (self._stopping and not self._queue):
            if self._queue:
                await self._batch()
            else:
                await self._idle()

    async def _open(self) -> None:
        offset = await self.shard.open()
        if self._kept is not None:
            backoff = Backoff(random.random)
            offset = await read_back(self.shard, self._kept, self._on_batch, self._clock, self._outage, backoff)
        self._opened = True
        logger.info("shard %d is open after %d events", self.shard.number, max(0, offset))

    async def _batch(self) -> None:
        batch = self._take()
        try:
            await self._process(batch)
        except BaseException:
            _refuse(batch)
            raise

    async def _process(self, batch: Sequence[_Waiting]) -> None:
        """Until all of it is committed and answered; what has been once is not processed again."""
        done = 0
        while done < len(batch):
            offset = max(0, self.shard.next_offset) - done
            arrivals = [Arrival(offset + i, batch[i].value, None, batch[i].headers) for i in range(done, len(batch))]
            try:
                async for outcome in process(self.shard, arrivals):
                    for row in range(outcome.records):
                        answer = batch[done + row].answer
                        if not answer.done():
                            answer.set_result(SyncResult(*outcome.outcomes[row]))
                    done += outcome.records
                    self._on_batch(outcome)
            except Fenced as fenced:
                await self._after_fence(fenced)

    async def _after_fence(self, fenced: Fenced) -> None:
        """A store that went back in time (a failover) is followed; one that went on without us has another owner."""
        self._opened = False
        if fenced.stored > fenced.expected:
            raise AnotherOwner(
                f"{fenced}: another process writes to this store. One `steward serve` owns all customers: give this "
                "one a store of its own, or put Kafka and workers between (STEWARD_KAFKA)"
            ) from fenced
        logger.error("%s: the store has lost its last commits; going on from what it has", fenced)
        await self._open()

    def _take(self) -> list[_Waiting]:
        batch = [self._queue.popleft()]
        size = len(batch[0].value)
        while self._queue and len(batch) < self._limits.events_max:
            value = self._queue[0].value
            size += len(value)
            if size > self._limits.bytes_max or may_be_control(value):
                break
            batch.append(self._queue.popleft())
        return batch

    async def _idle(self) -> None:
        """Wait for events; after a while without any, tell the store what the relay has sent."""
        self._wake.clear()
        if self._queue or self._stopping:
            return
        try:
            await asyncio.wait_for(self._wake.wait(), IDLE_ACKNOWLEDGE_S)
        except TimeoutError:
            try:
                await self.shard.acknowledge()
            except Fenced as fenced:
                await self._after_fence(fenced)


def _refuse(waiting: Iterable[_Waiting]) -> None:
    """Tell those who still wait that nothing comes any more."""
    for item in waiting:
        if not item.answer.done():
            item.answer.set_exception(Busy("this process is stopping"))
            item.answer.exception()  # seen: one whose caller has left is no fault of the loop's
