"""The demo's traffic: generated events into Kafka at a steady rate, and everything the engine puts out."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import Any, Final

import aiokafka
import msgspec
from aiokafka import TopicPartition

from engine.demo.tally import Tally
from engine.generator.stream import EVENTS_MAX, Settings, generate

TICK_S: Final = 0.05
EVENTS_A_DAY: Final = 2_000.0  # of event time
CUSTOMERS: Final = 700  # so few that they come back within a minute of the demo, earn, lapse and are won back
DAY_MS: Final = 86_400_000
HASTE: Final = 5.0  # settlements, refunds and labels come within hours of event time
FRAUD_RATE: Final = 0.02  # twice an ordinary share, so that there is something to see
POLL_MS: Final = 200


class _Sent(msgspec.Struct):
    event_id: str
    type: str
    customer_id: str
    event_time: str


class _Cloud(msgspec.Struct):
    id: str
    type: str
    data: msgspec.Raw


_SENT: Final = msgspec.json.Decoder(_Sent)
_CLOUD: Final = msgspec.json.Decoder(_Cloud)


def begins_ms(events: int | None) -> int:
    """When the stream begins, in event time: a bounded one ends about now, an endless one begins now.

    Event time runs faster than the clock, so that customers live through days in a minute.
    """
    return int(time.time() * 1000) - int((events or 0) / EVENTS_A_DAY * DAY_MS)


def stream(events: int | None, seed: int, start_ms: int, tally: Tally) -> Iterator[bytes]:
    """The generated events, from `start_ms` on; endless where `events` is None."""
    settings = Settings(
        seed=seed,
        customers=CUSTOMERS,
        start_ms=start_ms,
        rate=EVENTS_A_DAY,
        fraud_rate=FRAUD_RATE,
        haste=HASTE,
        world="engagement",
    )
    return generate(events or EVENTS_MAX - 1, settings, labels=tally.label)


async def feed(bootstrap: str, topic: str, events: Iterator[bytes], rate: float, tally: Tally) -> None:
    """Produce `events` to `topic`, keyed by customer, `rate` a second; and besides what customers answer to offers."""
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await producer.start()
    try:
        began = time.monotonic()
        sent = 0
        for tick in count(1):
            due = int((time.monotonic() - began) * rate) + 1 - sent
            lines = list(islice(events, max(0, due)))
            waits = [await _send(producer, topic, line, tally) for line in lines]
            for answer in tally.responses.due(tally.event_time) if lines else ():
                body, key = msgspec.json.encode(answer), answer.customer_id.encode()
                waits.append(await producer.send(topic, body, key=key))
            sent += len(lines)
            await asyncio.gather(*waits)
            if len(lines) < due:
                return
            await asyncio.sleep(max(0.0, began + tick * TICK_S - time.monotonic()))
    finally:
        await producer.stop()


async def _send(producer: Any, topic: str, line: bytes, tally: Tally) -> Any:
    event = _SENT.decode(line)
    tally.leaves(event.event_id, event.type, event.event_time)
    return await producer.send(topic, line.rstrip(), key=event.customer_id.encode())


async def watch(bootstrap: str, topics: Mapping[str, str], tally: Tally, ready: asyncio.Event) -> None:
    """Count what arrives on the output `topics` (by kind), from their beginning, until cancelled."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=20
    )
    await consumer.start()
    try:
        partitions = [
            TopicPartition(topic, partition)
            for topic in topics.values()
            for partition in (await _partitions(consumer, topic))
        ]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ready.set()
        while True:
            found = await consumer.getmany(timeout_ms=POLL_MS, max_records=2_000)
            for records in found.values():
                for record in records:
                    cloud = _CLOUD.decode(record.value)
                    tally.arrived(cloud.type.removeprefix("steward."), cloud.data)
                await asyncio.sleep(0)
    finally:
        await consumer.stop()


async def _partitions(consumer: Any, topic: str) -> set[int]:
    await consumer.topics()  # asks the broker for what exists
    return consumer.partitions_for_topic(topic) or {0}
