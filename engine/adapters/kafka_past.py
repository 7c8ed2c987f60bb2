"""The topic that a deployment's state was made from, and who its customers are: the ledger's topic, and a file."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from aiokafka import TopicPartition

from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_reader import POLL_MS, consumer_of, read_topic, topic_bounds
from engine.ports.log import LogBounds

BATCH: Final = 1_000
LEFT_MAX: Final = 1_000  # more are not counted
ID_BYTES_MAX: Final = 512  # of a line: 128 characters


class KafkaPast:
    """Implements `engine.ports.generation.PastLog`.

    Args:
        options: of the deployment that is to be moved.
        customers: a file of customer ids, one a line; None for none.
    """

    def __init__(self, options: KafkaOptions, customers: Path | None = None) -> None:
        self._options = options
        self._file = customers

    async def bounds(self) -> Mapping[int, LogBounds]:
        """See `PastLog.bounds`."""
        return await topic_bounds(self._options, self._options.events)

    async def left(self, partition: int, offset: int) -> int:
        """See `PastLog.left`; at most `LEFT_MAX`. Markers of transactions are no records."""
        async with consumer_of(self._options) as consumer:
            place = TopicPartition(self._options.events, partition)
            consumer.assign([place])
            (end,) = (await consumer.end_offsets([place])).values()
            consumer.seek(place, offset)
            found = 0
            while found < LEFT_MAX and await consumer.position(place) < end:
                records = await consumer.getmany(timeout_ms=POLL_MS, max_records=LEFT_MAX)
                found += sum(record.offset < end for of in records.values() for record in of)
            return found

    async def records(self, since: Mapping[int, int]) -> AsyncIterator[tuple[int, Sequence[bytes | None]]]:
        """See `PastLog.records`."""
        held: list[bytes | None] = []
        at = -1
        async for partition, record in read_topic(self._options, self._options.events, since):
            if held and (partition != at or len(held) >= BATCH):
                yield at, held
                held = []
            at = partition
            held.append(record.value)
        if held:
            yield at, held

    async def customers(self) -> AsyncIterator[str]:
        """See `PastLog.customers`: everyone who ever got a reward, and everyone in the file."""
        rewards = self._options.outputs.get("reward")
        if rewards is not None:
            async for _, record in read_topic(self._options, rewards):
                if record.key:
                    yield record.key.decode("utf-8", "replace")
        if self._file is not None:
            with self._file.open("rb") as lines:
                for line in iter(lambda: lines.readline(ID_BYTES_MAX), b""):
                    customer = line.decode("utf-8", "replace").strip()
                    if customer:
                        yield customer
