"""The thread in which aiokafka's consumer lives: what Faust's own does, with our settings and without its crashes."""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import aiokafka
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from engine.adapters.kafka_quiet import be_patient
from engine.ports.log import LogBounds

if TYPE_CHECKING:
    from engine.adapters.faust_app import StewardApp

START_RETRY_S: Final = 1.0

logger = logging.getLogger("steward.kafka")


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs on its own event loop, so that heartbeats go on while the main loop computes a batch."""

    @property
    def steward(self) -> "StewardApp":
        """The app, which knows the options."""
        return cast("StewardApp", self.app)

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
        """First offset of a partition. Raises `KafkaError`.

        Not its end: the embedded broker answers that wrongly. A read beyond the end is refused by the broker itself.
        """
        partition = driver.ensure_aiokafka_TP(tp)
        first = await self._ensure_consumer().beginning_offsets([partition])
        return LogBounds(first[partition], None)

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
