"""Outputs to Kafka: CloudEvents, in batches built per topic and partition."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import aiokafka
from aiokafka.errors import KafkaError

from engine.adapters.cloudevents import CONTENT_TYPE, cloud_event
from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_quiet import be_patient
from engine.ports.sink import SinkOutput, SinkUnavailable

BATCH_BYTES: Final = 512 * 1024  # half of what a broker takes by default
HEADERS: Final = [("content-type", CONTENT_TYPE)]

logger = logging.getLogger("steward.kafka")


class KafkaSink:
    """`engine.ports.sink.Sink` over one producer; `acks=all`, and idempotent where the broker can.

    An output goes to the partition of its topic that has its shard's number, modulo the topic's count: input is keyed
    by customer, so a customer's outputs stay on one partition, in order.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._producer: Any = None
        self._partitions: dict[str, int] = {}

    async def start(self) -> None:
        """Connect. Raises `SinkUnavailable`."""
        for idempotent in (True, False) if self._options.idempotent else (False,):
            producer = aiokafka.AIOKafkaProducer(
                acks="all",
                enable_idempotence=idempotent,
                max_batch_size=BATCH_BYTES,
                linger_ms=0,
                **self._options.client,
            )
            be_patient(producer.client)
            try:
                await asyncio.wait_for(producer.start(), self._options.request_timeout_s)
            except (KafkaError, TimeoutError, OSError) as error:
                await producer.stop()
                if not idempotent:
                    raise SinkUnavailable(f"Kafka at {self._options.bootstrap}: {error}") from error
            else:
                self._producer = producer
                if self._options.idempotent and not idempotent:
                    logger.info("the broker has no idempotent producer; a lost answer can repeat an output")
                return

    async def close(self) -> None:
        """Let go of the connection."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        """See `Sink.send`."""
        by_topic: dict[str, list[SinkOutput]] = {}
        for output in outputs:
            by_topic.setdefault(self._options.outputs[output.kind], []).append(output)
        try:
            waits = [wait for topic, items in by_topic.items() for wait in await self._submit(topic, shard, items)]
            await asyncio.gather(*waits)
        except (KafkaError, TimeoutError, OSError) as error:
            raise SinkUnavailable(f"Kafka at {self._options.bootstrap}: {error!r}") from error

    async def _submit(self, topic: str, shard: int, outputs: Sequence[SinkOutput]) -> list[Any]:
        """Queue outputs of one topic; returns what to wait for."""
        partition = shard % await self._partition_count(topic)
        waits = []
        batch = self._producer.create_batch()
        for output in outputs:
            value = cloud_event(output)
            if not self._append(batch, output, value):
                waits.append(await self._producer.send_batch(batch, topic, partition=partition))
                batch = self._producer.create_batch()
                if not self._append(batch, output, value):
                    raise SinkUnavailable(f"an output of {len(value)} bytes is more than a batch of {topic} may hold")
        waits.append(await self._producer.send_batch(batch, topic, partition=partition))
        return waits

    def _append(self, batch: Any, output: SinkOutput, value: bytes) -> bool:
        return batch.append(timestamp=None, key=output.key or None, value=value, headers=HEADERS) is not None

    async def _partition_count(self, topic: str) -> int:
        count = self._partitions.get(topic)
        if count is None:
            count = self._partitions[topic] = len(await self._producer.partitions_for(topic))
        return count
