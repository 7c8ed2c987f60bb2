"""The two brokers that tests and demo start do what the worker needs of them."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from engine.adapters.embedded import EmbeddedKafka
from tests.support.kafka import ApacheKafka

PARTITIONS = 4
READ_SECONDS = 30.0
QUIET_SECONDS = 1.0


@pytest.fixture(scope="module")
def apache() -> Iterator[ApacheKafka]:
    """A real Apache Kafka; a missing one fails the test and says what to run."""
    with ApacheKafka() as kafka:
        yield kafka.start()


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedKafka]:
    """The broker out of the wheel."""
    with EmbeddedKafka() as kafka:
        yield kafka.start()


async def _create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        made = await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        assert [error[1] for error in made.topic_errors] == [0]
        (told,) = await admin.describe_topics([topic])
        assert len(told["partitions"]) == PARTITIONS
    finally:
        await admin.close()


async def _read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """`count` values, and whatever else comes shortly after them."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    values: list[bytes] = []
    deadline = time.monotonic() + READ_SECONDS
    try:
        while time.monotonic() < deadline:
            found = await consumer.getmany(timeout_ms=100)
            values += [record.value for records in found.values() for record in records]
            if len(values) >= count:
                deadline = min(deadline, time.monotonic() + QUIET_SECONDS)
    finally:
        await consumer.stop()
    return values


@pytest.mark.parametrize("kind", ["apache", "embedded"])
def test_records_go_in_and_come_out(request: pytest.FixtureRequest, kind: str) -> None:
    bootstrap = request.getfixturevalue(kind).bootstrap
    sent = [b"value %d" % i for i in range(20)]

    async def body() -> None:
        await _create(bootstrap, "records")
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
            for value in sent:
                await producer.send_and_wait("records", value, key=value)
        assert sorted(await _read(bootstrap, "records", len(sent))) == sorted(sent)

    asyncio.run(body())


def test_apache_kafka_hides_what_a_transaction_took_back(apache: ApacheKafka) -> None:
    async def body() -> None:
        await _create(apache.bootstrap, "transactions")
        async with AIOKafkaProducer(bootstrap_servers=apache.bootstrap, transactional_id="relay") as producer:
            for turn in range(3):
                await producer.begin_transaction()
                await producer.send_and_wait("transactions", b"kept %d" % turn, partition=0)
                await producer.commit_transaction()
                await producer.begin_transaction()
                await producer.send_and_wait("transactions", b"taken back", partition=0)
                await producer.abort_transaction()
        assert await _read(apache.bootstrap, "transactions", 3) == [b"kept 0", b"kept 1", b"kept 2"]

    asyncio.run(body())


def test_a_killed_apache_kafka_starts_again_with_its_data(apache: ApacheKafka) -> None:
    async def send(value: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=apache.bootstrap, acks="all") as producer:
            await producer.send_and_wait("survives", value, partition=0)

    asyncio.run(_create(apache.bootstrap, "survives"))
    asyncio.run(send(b"before"))
    port, pid = apache.port, apache.pid
    apache.kill()
    apache.start()
    assert apache.port == port
    assert apache.pid != pid
    asyncio.run(send(b"after"))
    assert asyncio.run(_read(apache.bootstrap, "survives", 2)) == [b"before", b"after"]
