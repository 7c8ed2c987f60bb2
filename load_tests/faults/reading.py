"""What is on the topics for a reader of committed records, and what is in Redis."""

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import aiokafka
import msgspec
from redis import Redis

from engine.adapters.redis_keys import Keys

QUIET_S: Final = 3.0  # a log that gives nothing for so long has no more that is committed
SCAN_COUNT: Final = 2_000


class CloudEvent(msgspec.Struct):
    """What is looked at of an output."""

    id: str
    type: str
    data: msgspec.Raw


decode_event = msgspec.json.Decoder(CloudEvent).decode


async def read(
    bootstrap: str, topics: Sequence[str], partitions: Iterable[int], *, committed: bool = True
) -> AsyncIterator[Any]:
    """Every record that is on the topics now."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed" if committed else "read_uncommitted",
        max_partition_fetch_bytes=4 << 20,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        tps = [aiokafka.TopicPartition(name, partition) for name in topics for partition in partitions]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        seen = time.monotonic()
        while time.monotonic() < seen + QUIET_S:
            batches = await consumer.getmany(timeout_ms=100, max_records=20_000)
            if batches:
                seen = time.monotonic()
            for records in batches.values():
                for record in records:
                    yield record
            if not batches and all([await consumer.position(tp) >= ends[tp] for tp in tps]):
                return
    finally:
        await consumer.stop()


def connect(url: str) -> Redis:
    """A blocking client for looking."""
    return Redis.from_url(url, protocol=2, socket_timeout=30)


def outbox(client: Redis, prefix: str, shard: int) -> int:
    """Entries in the outbox of a shard."""
    return int(client.llen(Keys(prefix).base(shard) + b"O"))


def state(clients: Sequence[Redis], prefix: str, shard: int) -> dict[bytes, bytes]:
    """The state of a shard by key: what the engine's rooms put there, not what the store keeps for itself."""
    base = Keys(prefix).base(shard)
    found: dict[bytes, bytes] = {}
    for client in clients:
        keys = [
            key for key in client.scan_iter(base + b"*", count=SCAN_COUNT) if key[len(base) : len(base) + 1] >= b"a"
        ]
        for start in range(0, len(keys), SCAN_COUNT):
            part = keys[start : start + SCAN_COUNT]
            for key, value in zip(part, client.mget(part), strict=True):
                if value is not None:
                    found[key[len(base) :]] = value
    return found
