"""The topic that a deployment's state was made from, and who its customers are: the ledger's topic, and a file."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_reader import POLL_MS, consumer_of, read_topic, topic_bounds
from engine.ports.log import LogBounds, LogRecord, LogUnavailable

BATCH: Final = 1_000
LINGER_MS: Final = 5
CARRIED_FROM: Final = "steward-carried-from"  # header: old partition, offset there, new partition
LEFT_MAX: Final = 1_000  # more are not counted
ID_BYTES_MAX: Final = 512  # of a line: 128 characters


@contextmanager
def _unavailable(options: KafkaOptions) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise LogUnavailable(f"Kafka at {options.bootstrap}: {error!r}") from error


class KafkaPast:
    """Implements `engine.ports.generation.PastLog`.

    Args:
        options: of the deployment that is to be moved.
        topic: the new one.
        customers: a file of customer ids, one a line; None for none.
    """

    def __init__(self, options: KafkaOptions, topic: str, customers: Path | None = None) -> None:
        self._options = options
        self._topic = topic
        self._file = customers
        self._producer: Any = None
        self._sent: list[Awaitable[Any]] = []

    async def close(self) -> None:
        """Let go of the connection."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

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

    async def rest(self, since: Mapping[int, int]) -> AsyncIterator[tuple[int, LogRecord]]:
        """See `PastLog.rest`."""
        async for partition, record in read_topic(self._options, self._options.events, since):
            yield partition, record

    async def carried(self) -> set[str]:
        """See `PastLog.carried`."""
        found = set()
        async for _, record in read_topic(self._options, self._topic):
            found |= {place.decode() for name, place in record.headers if name == CARRIED_FROM}
        return found

    async def carry(self, partition: int, record: LogRecord, place: str) -> None:
        """See `PastLog.carry`."""
        headers = [*record.headers, (CARRIED_FROM, place.encode())]
        with _unavailable(self._options):
            if self._producer is None:
                self._producer = aiokafka.AIOKafkaProducer(acks="all", linger_ms=LINGER_MS, **self._options.client)
                await self._producer.start()
            send = self._producer.send(self._topic, record.value, key=record.key, partition=partition, headers=headers)
            self._sent.append(await send)
        if len(self._sent) >= BATCH:
            await self.settle()

    async def settle(self) -> None:
        """See `PastLog.settle`."""
        sent, self._sent = self._sent, []
        with _unavailable(self._options):
            await asyncio.gather(*sent)

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
