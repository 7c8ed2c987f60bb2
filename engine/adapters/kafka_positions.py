"""Reads how far a shard's outputs have gone, out of the relay's own topic."""

import asyncio
import logging
from typing import Any, Final

import aiokafka

from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_quiet import be_patient
from engine.adapters.relay_position import PositionRecord, decode
from engine.ports.sink import SinkUnavailable

TAIL_OFFSETS: Final = 2_048
"""Offsets read at the topic's end: a transaction takes two, its record and Kafka's marker."""

GROWTH: Final = 8  # the next look goes so many times further back, where the end held nothing of the shard
POLL_MS: Final = 50

logger = logging.getLogger("steward.kafka")


async def read_records(options: KafkaOptions, shard: int) -> list[PositionRecord]:
    """The last position records of `shard`, oldest first; none where it never sent in a transaction.

    Only to be called once the transactional id of the shard is this process's: earlier transactions of the shard are
    ended then. One of another shard on the same partition that is still open hides what was committed after its
    beginning, and is waited for. Raises `SinkUnavailable`, `KafkaError`, `TimeoutError`.
    """
    consumer = aiokafka.AIOKafkaConsumer(isolation_level="read_committed", auto_offset_reset="none", **options.client)
    be_patient(consumer._client)
    try:
        async with asyncio.timeout(options.request_timeout_s):
            await consumer.start()
            return await _read(consumer, options.relay, shard)
    finally:
        await consumer.stop()


async def _read(consumer: Any, topic: str, shard: int) -> list[PositionRecord]:
    partitions = await consumer._client._wait_on_metadata(topic)
    tp = aiokafka.TopicPartition(topic, shard % len(partitions))
    consumer.assign([tp])
    begin = (await consumer.beginning_offsets([tp]))[tp]
    stable = (await consumer.end_offsets([tp]))[tp]
    reach = TAIL_OFFSETS
    while True:
        start = max(begin, stable - reach)
        consumer.seek(tp, start)
        found = await _read_to_end(consumer, tp, b"%d" % shard)
        if found or start == begin:
            return found
        reach *= GROWTH


async def _read_to_end(consumer: Any, tp: Any, key: bytes) -> list[PositionRecord]:
    """Records of `key` from where the consumer stands to what was the partition's end when it began."""
    found: list[PositionRecord] = []
    end = None
    while end is None or await consumer.position(tp) < end:
        batches = await consumer.getmany(tp, timeout_ms=POLL_MS)
        if end is None:
            end = consumer.highwater(tp)
        for record in batches.get(tp, ()):
            if record.key == key and record.value is not None:
                try:
                    found.append(decode(record.value))
                except ValueError as error:
                    raise SinkUnavailable(f"offset {record.offset} of {tp.topic} [{tp.partition}]: {error}") from error
    return found
