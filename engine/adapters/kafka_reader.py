"""Reading a topic from outside of the worker: all that it holds now, or single records by their place."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from engine.adapters.kafka_options import KafkaOptions
from engine.ports.log import LogBounds, LogRecord, LogUnavailable

POLL_MS: Final = 500
RECORDS_MAX: Final = 1_000  # of one poll
READ_COMMITTED: Final = "read_committed"


@asynccontextmanager
async def consumer_of(options: KafkaOptions) -> AsyncIterator[Any]:
    """A consumer of no group that sees what is committed. Raises `LogUnavailable`."""
    consumer = aiokafka.AIOKafkaConsumer(enable_auto_commit=False, isolation_level=READ_COMMITTED, **options.client)
    try:
        await consumer.start()
        yield consumer
    except (KafkaError, OSError, TimeoutError) as error:
        raise LogUnavailable(f"Kafka at {options.bootstrap}: {error!r}") from error
    finally:
        await consumer.stop()


async def read_topic(
    options: KafkaOptions, topic: str, since: Mapping[int, int] | None = None
) -> AsyncIterator[tuple[int, LogRecord]]:
    """Every `(partition, record)` that a topic holds at this moment, in order of offset within a partition.

    `since`: offsets to begin at, by partition. Raises `LogUnavailable`.
    """
    async with consumer_of(options) as consumer:
        places = [TopicPartition(topic, number) for number in sorted(await _partitions(consumer, topic))]
        if not places:
            return
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        for place in places:
            if since and place.partition in since:
                consumer.seek(place, min(since[place.partition], ends[place]))
        while any([await consumer.position(place) < ends[place] for place in places]):
            found = await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
            for place, records in found.items():
                for record in records:
                    if record.offset < ends[place]:
                        yield place.partition, record


async def topic_bounds(options: KafkaOptions, topic: str) -> dict[int, LogBounds]:
    """The oldest and the next offset of each partition; empty where there is no such topic. Raises `LogUnavailable`."""
    async with consumer_of(options) as consumer:
        places = [TopicPartition(topic, number) for number in await _partitions(consumer, topic)]
        if not places:
            return {}
        first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        return {place.partition: LogBounds(first[place], end[place]) for place in places}


async def read_records(
    options: KafkaOptions, wanted: Iterable[tuple[str, int, int]]
) -> dict[tuple[str, int, int], LogRecord]:
    """The records at the given `(topic, partition, offset)`; those that are gone from the log are left out.

    Raises `LogUnavailable`.
    """
    found: dict[tuple[str, int, int], LogRecord] = {}
    by_place: dict[TopicPartition, list[int]] = {}
    for topic, partition, offset in wanted:
        by_place.setdefault(TopicPartition(topic, partition), []).append(offset)
    async with consumer_of(options) as consumer:
        for place, offsets in by_place.items():
            if place.partition not in await _partitions(consumer, place.topic):
                continue
            consumer.assign([place])
            (first,) = (await consumer.beginning_offsets([place])).values()
            (end,) = (await consumer.end_offsets([place])).values()
            for offset in sorted(set(offsets)):
                if first <= offset < end:
                    consumer.seek(place, offset)
                    record = await consumer.getone(place)
                    if record.offset == offset:
                        found[place.topic, place.partition, offset] = record
    return found


async def _partitions(consumer: Any, topic: str) -> Sequence[int]:
    metadata = await consumer._client.fetch_all_metadata()  # partitions_for_topic waits for a topic that is not there
    return sorted(metadata.partitions_for_topic(topic) or ())
