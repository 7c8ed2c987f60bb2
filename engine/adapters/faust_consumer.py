"""A Faust consumer that hands each partition's records to the shard's owner as lists.

Faust's own way, an event at a time through channels, streams and agents, takes some 90 µs an event; handing over the
lists aiokafka fetched takes four. What is kept is Faust's life cycle: the app, the consumer thread (so that
heartbeats go on while a batch computes), the group and its rebalances. What is replaced, and why:

- Acks. Faust marks messages as done when a stream moves on, also when it moved on because of an exception, drops the
  marks before the commit of a revoke, and with concurrency can commit past unfinished messages. Here nothing is acked:
  an offset is stored with the state it belongs to, and the group's offset only mirrors it, for lag monitoring.
- Seeks. After each rebalance Faust's recovery calls `perform_seek`, which goes to the group's offset and overrides
  whatever a listener of `on_partitions_assigned` had sought. `perform_seek` is where the shards are assigned here.
- Rebalances. Faust lets every partition finish before it goes along with one, and aiokafka delivers nothing until all
  members have joined: some seconds of rest for partitions that stay where they are. Here all go on, for the fence sees
  to it that two owners of a partition can only write the same history: fetching goes on as before until the new
  assignment is there, then from the same place for what stays.
- `isolation_level`, which Faust sets to read_committed only for its own transactions, and the reset policy: with
  `earliest` a consumer whose offset is off the log jumps silently; with `none` it stops with an error.
- The slow-processing detector, which looks at streams that do not exist here.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError, OffsetOutOfRangeError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import ServiceT

from engine.adapters.faust_thread import BatchConsumerThread
from engine.ports.log import LogBounds, LogUnavailable, OffsetLost

if TYPE_CHECKING:
    from engine.adapters.faust_app import StewardApp

POLL_S: Final = 0.2  # a partition whose shard has just opened is polled after this long at most
PAUSE_S: Final = 0.01  # between two looks while no partition is wanted

logger = logging.getLogger("steward.kafka")


class BatchConsumer(driver.Consumer):
    """Polls for the partitions that are wanted and delivers what comes."""

    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seeks: dict[int, tuple[int, asyncio.Future[None]]] = {}
        self._mirrored: dict[TP, int] = {}
        self._reached: dict[int, int] = {}  # by partition, the offset after the last record that was delivered
        self._seated: object = None  # the assignment of aiokafka's whose positions are ours

    @property
    def steward(self) -> "StewardApp":
        """The app, which knows the owner and the options."""
        return cast("StewardApp", self.app)

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """The last step of a rebalance: the assigned shards get an owner, which seeks once their state is loaded."""
        await self.steward.owner.assign(self._events(self.assignment()), self.steward.options.revoke_s)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """A rebalance begins: go on as if nothing had been."""
        if self.app.should_stop:
            await super().on_partitions_revoked(revoked)
        else:
            self._thread.go_on()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """A rebalance ends: what stays goes on where it is, in the new assignment as in the old one."""
        events = self.steward.options.events
        for partition in self.steward.owner.held() & set(self._events(assigned)):
            if partition in self._reached:
                await self._thread.move(TP(events, partition), self._reached[partition])
        self._seated = self._thread.seat
        if not assigned:  # Faust seeks nothing then
            await self.steward.owner.assign([], self.steward.options.revoke_s)
        await super().on_partitions_assigned(assigned, generation_id)

    async def wait_empty(self) -> None:
        """The app is stopping: finish what has begun."""
        await self.steward.owner.drain(self.steward.options.drain_s)
        await self.force_commit()

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Mirror the stored offsets as the group's, for lag monitoring.

        Not during a rebalance: the broker may refuse them then, on which aiokafka joins the group once more.
        """
        if self.app.rebalancing:
            return False
        events = self.steward.options.events
        offsets = {TP(events, partition): offset for partition, offset in self.steward.owner.offsets().items()}
        changed = {tp: offset for tp, offset in offsets.items() if self._mirrored.get(tp) != offset}
        if not changed:
            return False
        self._mirrored.update(changed)
        return bool(await self._commit(changed))

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's detector of slow streams: there are none."""

    async def bounds(self, partition: int) -> LogBounds:
        """See `EventLog.bounds`."""
        try:
            bounds = await self._thread.call_thread(self._thread.bounds, TP(self.steward.options.events, partition))
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogUnavailable(str(error)) from error
        return LogBounds(*bounds)

    async def move(self, partition: int, offset: int) -> None:
        """See `EventLog.seek`: done between two polls, so that no record read before arrives after."""
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        previous = self._seeks.get(partition)
        if previous is not None and not previous[1].done():
            previous[1].set_exception(LogUnavailable("superseded by another seek"))
        self._seeks[partition] = (offset, asked)
        await asked

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        """The body of Faust's fetcher: poll until told to stop."""
        try:
            while not (self._stopped.is_set() or fetcher.should_stop):
                await self._poll()
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise
        except OffsetOutOfRangeError as error:
            self.steward.on_fatal(OffsetLost(_lost(error)))
        except Exception as error:  # the worker ends, in order, with this as its reason
            self.steward.on_fatal(error)

    async def _poll(self) -> None:
        if not self.flow_active:
            await asyncio.sleep(PAUSE_S)
            return
        await self._perform_seeks()
        events = self.steward.options.events
        wanted = {TP(events, partition) for partition in self.steward.owner.wanted()}
        if not wanted:
            await asyncio.sleep(PAUSE_S)
            return
        found = await self._fetch(wanted)
        if self._thread.seat is not self._seated:  # read where the group's offset is, which is not where we are
            return
        for tp, records in found.items():
            self.steward.owner.deliver(tp.partition, records)
            self._reached[tp.partition] = records[-1].offset + 1
            self._observe(tp, len(records))
        unseen = {tp for tp in wanted - found.keys() if tp.partition not in self.steward.end_offsets}
        if unseen:  # a log without records has an end, too
            self.steward.end_offsets.update(await self._thread.call_thread(self._thread.ends, unseen))

    async def _fetch(self, wanted: set[TP]) -> Mapping[Any, Any]:
        began = time.monotonic()
        try:
            return await self._getmany(wanted, POLL_S)
        except OffsetOutOfRangeError:
            raise
        except KafkaError as error:
            if not error.retriable:
                raise
            logger.warning("fetching failed, trying again: %s", error)
            await asyncio.sleep(max(PAUSE_S, POLL_S - (time.monotonic() - began)))
            return {}

    def _observe(self, tp: Any, count: int) -> None:
        monitor = self.app.monitor
        monitor.messages_received_total += count
        self.steward.on_contact()
        highwater = self.highwater(tp)
        if highwater is not None:
            self.steward.end_offsets[tp.partition] = highwater
            monitor.track_tp_end_offset(tp, highwater)

    async def _perform_seeks(self) -> None:
        while self._seeks:
            partition, (offset, asked) = self._seeks.popitem()
            if asked.done():
                continue
            try:
                await self._thread.call_thread(self._thread.move, TP(self.steward.options.events, partition), offset)
            except IllegalStateError:
                asked.set_exception(LogUnavailable(f"partition {partition} is not assigned"))
            else:
                self._reached[partition] = offset
                self.steward.end_offsets.pop(partition, None)  # it may be of another time of ours
                if not asked.done():
                    asked.set_result(None)

    def _events(self, partitions: Iterable[Any]) -> list[int]:
        events = self.steward.options.events
        return [tp.partition for tp in partitions if tp.topic == events]


def _lost(error: OffsetOutOfRangeError) -> str:
    where = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    offsets = ", ".join(f"offset {offset} of partition {tp.partition}" for tp, offset in where.items())
    return (
        f"the state goes up to {offsets or error}, which the log does not hold: it was truncated, made anew or deleted "
        "up to there; rebuild the state from the log that is there"
    )


class ConsumerLog:
    """`engine.ports.log.EventLog` over the app's consumer."""

    def __init__(self, app: "StewardApp") -> None:
        self._app = app

    async def bounds(self, partition: int) -> LogBounds:
        """See `EventLog.bounds`."""
        return await self._app.batch_consumer.bounds(partition)

    def seen_end(self, partition: int) -> int | None:
        """See `EventLog.seen_end`."""
        return self._app.end_offsets.get(partition)

    async def seek(self, partition: int, offset: int) -> None:
        """See `EventLog.seek`."""
        await self._app.batch_consumer.move(partition, offset)
