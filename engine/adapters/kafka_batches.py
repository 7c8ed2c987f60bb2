"""Outputs as batches of CloudEvents, one run per topic, for whichever producer sends them."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from engine.adapters.cloudevents import CONTENT_TYPE, cloud_event
from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_quiet import watched
from engine.domain.outputs import LETTER
from engine.ports.sink import SinkOutput, SinkUnavailable

BATCH_BYTES: Final = 512 * 1024  # half of what a broker takes by default
HEADERS: Final = [("content-type", CONTENT_TYPE)]


class OutputBatches:
    """Sends outputs through one producer.

    An output goes to the partition of its topic that has its shard's number, modulo the topic's count: input is keyed
    by customer, so a customer's outputs stay on one partition, in order.
    """

    def __init__(self, producer: Any, options: KafkaOptions) -> None:
        self._producer = producer
        self._options = options
        self._partitions: dict[str, int] = {}

    async def send(self, shard: int, outputs: Sequence[SinkOutput]) -> None:
        """Return once every output is acknowledged. Raises `KafkaError`, `SinkUnavailable`."""
        by_topic: dict[str, list[SinkOutput]] = {}
        for output in outputs:
            if output.kind != LETTER:
                by_topic.setdefault(self._options.outputs[output.kind], []).append(output)
        waits = [wait for topic, items in by_topic.items() for wait in await self._submit(topic, shard, items)]
        await asyncio.gather(*waits)

    async def partition(self, topic: str, shard: int) -> int:
        """The partition of `topic` that holds what `shard` makes."""
        count = self._partitions.get(topic)
        if count is None:
            count = self._partitions[topic] = len(await self._producer.partitions_for(topic))
        return shard % count

    async def _submit(self, topic: str, shard: int, outputs: Sequence[SinkOutput]) -> list[Any]:
        """Queue outputs of one topic; returns what to wait for."""
        partition = await self.partition(topic, shard)
        waits = []
        batch = self._producer.create_batch()
        for output in outputs:
            value = cloud_event(output)
            if not _append(batch, output, value):
                waits.append(watched(await self._producer.send_batch(batch, topic, partition=partition)))
                batch = self._producer.create_batch()
                if not _append(batch, output, value):
                    raise SinkUnavailable(f"an output of {len(value)} bytes is more than a batch of {topic} may hold")
        waits.append(watched(await self._producer.send_batch(batch, topic, partition=partition)))
        return waits


def _append(batch: Any, output: SinkOutput, value: bytes) -> bool:
    return batch.append(timestamp=None, key=output.key or None, value=value, headers=HEADERS) is not None
