"""A lane: one assigned partition of the log and the task that carries its records through its shard."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from engine.ports.clock import Clock
from engine.ports.log import EventLog, LogRecord, LogUnavailable, OffsetLost
from engine.ports.store import Fenced
from engine.service.backoff import Backoff
from engine.service.batching import BatchLimits, split
from engine.service.deadline import Deadline
from engine.service.dividing import process
from engine.service.outage import Outage, until_it_works
from engine.service.quarantine import REFUSED_MAX, MachineFault
from engine.service.shard import BatchOutcome, Shard

IDLE_ACKNOWLEDGE_S: Final = 0.5  # a shard without traffic tells the store what was relayed after this long

logger = logging.getLogger("steward.service")


class Lane:
    """Opens a shard, seeks its partition to the stored offset and processes what is put in, until stopped.

    Records come from the poll loop through `put`; nothing of a partition is asked for while its lane is not
    `wanting`, which is the back-pressure. When fenced, the lane drops what waits, opens the shard again and seeks.
    """

    def __init__(
        self,
        shard: Shard,
        log: EventLog,
        *,
        limits: BatchLimits,
        clock: Clock,
        backoff: Backoff,
        log_outage: Outage,
        idle_acknowledge_s: float = IDLE_ACKNOWLEDGE_S,
        on_batch: Callable[[BatchOutcome], None],
        on_fenced: Callable[[], None],
        on_fatal: Callable[[BaseException], None],
        on_caught_up: Callable[[int, int, float], None] = lambda shard, records, seconds: None,
    ) -> None:
        """`on_caught_up`: told, as the shard has processed what was on the log when it was opened, its number, how many
        records that were, and how many seconds it took."""
        self.shard = shard
        self._log = log
        self._limits = limits
        self._clock = clock
        self._backoff = backoff
        self._log_outage = log_outage
        self._idle_acknowledge_s = idle_acknowledge_s
        self._on_batch = on_batch
        self._on_fenced = on_fenced
        self._on_fatal = on_fatal
        self._on_caught_up = on_caught_up
        self._opening: tuple[int, float] | None = None  # where and when the lane began to catch up
        self._end: int | None = None  # of the log, as known then or first seen after that
        self._queue: deque[LogRecord] = deque()
        self._accepting = False
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def wanting(self) -> bool:
        """Whether records of this partition should be fetched."""
        return self._accepting and not self._stopping.is_set() and len(self._queue) < self._limits.queued_events_max

    @property
    def opened(self) -> bool:
        """Whether the shard is loaded: what it holds is what the store holds."""
        return self._accepting

    def start(self) -> None:
        """Begin: open, seek, process. Idempotent."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._guarded())

    def put(self, records: Sequence[LogRecord]) -> None:
        """Queue records that were read after the lane's seek. Dropped where the lane does not take any now."""
        if self._accepting and not self._stopping.is_set():
            self._queue.extend(records)
            self._wake.set()

    async def stop(self, deadline: Deadline, *, handed_over: bool = False) -> None:
        """Finish the batch in flight, send what is committed, acknowledge it; give up at the deadline.

        What is given up is not lost: an uncommitted batch is read again, and committed outputs wait in the outbox. With
        `handed_over` the partition has another owner, to whom outputs that are not on their way are left at once.
        """
        self._stopping.set()
        self._wake.set()
        await self._within(self._task, deadline)
        if handed_over:
            await self.shard.relay.leave(deadline)
            return
        await self.shard.relay.flush(deadline)
        await self._within(asyncio.get_running_loop().create_task(self._last_words()), deadline)
        await self.shard.relay.close()

    async def _last_words(self) -> None:
        with suppress(Fenced):
            await self.shard.acknowledge()

    async def _within(self, task: "asyncio.Task[None] | None", deadline: Deadline) -> None:
        """Wait for `task` until the deadline, then cancel it."""
        if task is None:
            return
        await asyncio.wait([task], timeout=deadline.left_s())
        if not task.done():
            logger.warning("shard %d did not finish in time; it goes on from its last commit", self.shard.number)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _guarded(self) -> None:
        try:
            await self._run()
        except Exception as error:
            self._on_fatal(error)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            await self._open()
            try:
                await self._process()
            except Fenced as fenced:
                self._accepting = False
                self._queue.clear()
                self._on_fenced()
                logger.warning("%s; its state is dropped and read again", fenced)
                await self._clock.sleep(self._backoff.next_s())

    async def _open(self) -> None:
        began_s, reached = self._clock.now_s(), self.shard.next_offset
        stored = await self.shard.open()
        partition = self.shard.number
        first, end, known = await until_it_works(
            lambda: self._log.bounds(partition), LogUnavailable, self._log_outage, self._backoff, self._clock
        )
        if 0 <= stored < first:
            raise OffsetLost(
                f"shard {partition} was processed up to offset {stored}, but the log begins at {first}: what comes "
                "next has been deleted; rebuild the state from a log that is whole"
            )
        if end is not None and stored > end:
            raise OffsetLost(
                f"shard {partition} was processed up to offset {stored}, but the log ends at {end}: it was truncated "
                "or made anew; rebuild the state from the log that is there"
            )
        if stored < 0 < first and max(reached, known) > 0:
            raise OffsetLost(
                f"shard {partition} was processed up to offset {max(reached, known)}, and now its state is gone, while "
                f"the log begins at {first}: put a snapshot back (steward rebuild), or take another consumer group to "
                "begin anew from what is left"
            )
        start = first if stored < 0 else stored
        self._opening, self._end = (start, began_s), end
        await until_it_works(
            lambda: self._log.seek(partition, start), LogUnavailable, self._log_outage, self._backoff, self._clock
        )
        logger.info("shard %d starts at offset %d", partition, start)
        self._accepting = True
        if end is not None:
            self._catch_up()  # there may be nothing to be done

    async def _process(self) -> None:
        while not self._stopping.is_set():
            if not self._queue:
                await self._idle()
                continue
            waiting = [self._queue.popleft() for _ in range(min(len(self._queue), self._limits.events_max))]
            for batch in split(waiting, self._limits):
                if self._stopping.is_set():
                    return
                try:
                    async for outcome in process(self.shard, batch):
                        self._on_batch(outcome)
                except MachineFault as fault:
                    logger.error("%s; looking for the record", fault, exc_info=fault.__cause__)
                    await self._isolate(batch)
                self._backoff.reset()
                self._catch_up()

    def _catch_up(self) -> None:
        """Tell, once, that what was waiting at the opening is done."""
        if self._opening is None:
            return
        if self._end is None:
            self._end = self._log.seen_end(self.shard.number)
        if self._end is not None and max(self.shard.next_offset, self._opening[0]) >= self._end:
            (start, began_s), self._opening = self._opening, None
            seconds, records = self._clock.now_s() - began_s, max(0, self._end - start)
            logger.info("shard %d caught up with %d records after %.2f s", self.shard.number, records, seconds)
            self._on_caught_up(self.shard.number, records, seconds)

    async def _isolate(self, batch: Sequence[LogRecord]) -> None:
        """Process a batch that failed record by record; those that fail alone are refused."""
        refused = 0
        stored = await self.shard.open()
        for record in batch:
            if record.offset < stored:
                continue
            try:
                self._on_batch(await self.shard.process([record]))
            except MachineFault as fault:
                refused += 1
                if refused > REFUSED_MAX:
                    raise
                await self.shard.open()
                self._on_batch(await self.shard.refuse(record, fault))

    async def _idle(self) -> None:
        """Wait for records. After a while without any the store is told what was relayed, and the lane has caught
        up where the log was seen to end here."""
        self._wake.clear()
        if self._queue or self._stopping.is_set():
            return
        try:
            await asyncio.wait_for(self._wake.wait(), self._idle_acknowledge_s)
        except TimeoutError:
            self._catch_up()
            await self.shard.acknowledge()
