"""aiokafka's consumer as a service of Faust's: with our settings, without its crashes, and not in a thread.

Faust runs the consumer in a thread of its own, so that code which blocks its agents does not stop heartbeats. Nothing
here blocks: a batch computes for some ten milliseconds. Two threads that share one interpreter lock do cost, though:
every answer of Redis or Kafka waits for the lock while the other thread holds it, and for the system to run that
thread if the machine is busy. So the thread's methods run on the main loop.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import aiokafka
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service
from mode.utils.futures import maybe_async

from engine.adapters.kafka_quiet import be_patient
from engine.ports.log import LogBounds

if TYPE_CHECKING:
    from engine.adapters.faust_app import StewardApp

START_RETRY_S: Final = 1.0

logger = logging.getLogger("steward.kafka")


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """What Faust takes for the consumer's thread."""

    def __init__(self, consumer: Any, *, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, **kwargs)

    @property
    def steward(self) -> "StewardApp":
        """The app, which knows the options."""
        return cast("StewardApp", self.app)

    async def maybe_start(self) -> bool:
        """Start, unless it has been."""
        if self._started.is_set():
            return False
        await self.start()
        return True

    async def start(self) -> None:
        """Start here, where a thread would have been made."""
        await self._default_start()

    async def stop(self) -> None:
        """Stop here, where a thread would have been joined."""
        await Service.stop(self)

    async def on_stop(self) -> None:
        """Leave the group and disconnect.

        aiokafka does not take leave for a member with a lasting name, whose partitions then rest until its session has
        ended. Nobody comes back from a stop in order so soon; whoever is killed may.
        """
        if self._consumer is not None:
            self._consumer._coordinator._group_instance_id = None
        await self._discard()
        self.set_shutdown()

    async def _stop_children(self) -> None:
        await self._default_stop_children()

    async def _stop_futures(self) -> None:
        await self._default_stop_futures()

    async def _stop_exit_stacks(self) -> None:
        await self._default_stop_exit_stacks()

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `fun`, which a thread would have been asked to do."""
        return await maybe_async(fun(*args, **kwargs))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Tell the consumer."""
        await self.consumer.on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Tell the consumer."""
        await self.consumer.on_partitions_assigned(assigned, generation_id)

    async def on_start(self) -> None:
        """Connect; a broker that went away between the worker's first look and now is waited for."""
        said = False
        while not self.should_stop:
            try:
                await super().on_start()
            except (KafkaError, OSError) as error:
                if not said:
                    logger.warning("Kafka at %s is not available, waiting for it: %s", self._where(), error)
                    said = True
                await self._discard()
                await asyncio.sleep(START_RETRY_S)
            else:
                return

    async def bounds(self, tp: TP) -> LogBounds:
        """First offset of a partition, and how far the group has come where that is not 0. Raises `KafkaError`.

        Not its end: the embedded broker answers that wrongly. A read beyond the end is refused by the broker itself.
        """
        partition = driver.ensure_aiokafka_TP(tp)
        consumer = self._ensure_consumer()
        first = (await consumer.beginning_offsets([partition]))[partition]
        reached = await consumer.committed(partition) if first else None
        return LogBounds(first, None, -1 if reached is None else reached)

    async def ends(self, tps: set[TP]) -> dict[int, int]:
        """The end of each partition that a fetch has seen, if it brought no record. None of those that have moved."""
        consumer = self._ensure_consumer()
        mine = {driver.ensure_aiokafka_TP(tp) for tp in tps} & consumer.assignment()
        seen = {place.partition: consumer.highwater(place) for place in mine}
        return {partition: end for partition, end in seen.items() if end is not None}

    def go_on(self) -> None:
        """Fetch on while a rebalance is under way; aiokafka would hold back what it reads until it is over."""
        subscription = self._ensure_consumer()._subscription.subscription
        if subscription is not None and subscription.assignment is not None:
            subscription._reassignment_in_progress = False

    @property
    def seat(self) -> object:
        """What stands for the current assignment; another one after each rebalance."""
        consumer = self._consumer
        subscription = consumer._subscription.subscription if consumer is not None else None
        return None if subscription is None else subscription.assignment

    async def move(self, tp: TP, offset: int) -> None:
        """Seek, on the loop the consumer belongs to. Raises `IllegalStateError` where it is not assigned."""
        self._ensure_consumer().seek(driver.ensure_aiokafka_TP(tp), offset)

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        options = self.steward.options
        self._assignor = RoundRobinPartitionAssignor
        consumer = aiokafka.AIOKafkaConsumer(
            client_id=self.app.conf.broker_client_id,
            group_id=options.group,
            group_instance_id=options.instance_id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_poll_records=options.poll_records_max,
            max_partition_fetch_bytes=options.fetch_max_bytes,
            fetch_max_wait_ms=options.fetch_wait_ms,
            session_timeout_ms=int(options.session_timeout_s * 1000),
            rebalance_timeout_ms=int(options.rebalance_timeout_s * 1000),
            heartbeat_interval_ms=int(options.heartbeat_s * 1000),
            **options.client,
        )
        be_patient(consumer._client)
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Write the group's offsets. Nothing depends on them, so a failure is logged and the next try comes soon."""
        consumer = self._ensure_consumer()
        assigned = self.assignment()
        wanted = {driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items() if tp in assigned}
        if not wanted:
            return False
        try:
            await consumer.commit(wanted)
        except (KafkaError, OSError) as error:
            logger.info("the group's offsets, which only show the lag, were not written: %s", error)
            return False
        return True

    async def _discard(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    def _where(self) -> Any:
        return self.steward.options.bootstrap
