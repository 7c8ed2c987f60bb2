"""The transactional sink on a real Apache Kafka: each output once for readers of committed records."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import aiokafka
import msgspec
import pytest

from engine.adapters.embedded import EmbeddedKafka
from engine.adapters.kafka_options import KafkaOptions
from engine.adapters.kafka_outputs import KafkaOutputs, TransactionsMissing, has_transactions
from engine.adapters.kafka_positions import read_records
from engine.adapters.kafka_topics import TopicsMissing, ensure_topics
from engine.adapters.kafka_transactions import KafkaTransactions
from engine.core.effects import Output
from engine.ports.log import LogUnavailable
from engine.ports.sink import SinkUnavailable
from tests.support.kafka import ApacheKafka

SHARD = 1


@pytest.fixture(scope="module")
def kafka() -> Iterator[ApacheKafka]:
    with ApacheKafka() as server:
        yield server.start()


@pytest.fixture
async def options(kafka: ApacheKafka, request: pytest.FixtureRequest) -> KafkaOptions:
    """Topics of the test's own, two partitions each."""
    name = request.node.name.replace("[", "-").replace("]", "")
    made = KafkaOptions(
        bootstrap=kafka.bootstrap,
        group=name,
        events=f"{name}.events",
        outputs={"decision": f"{name}.decisions", "alert": f"{name}.alerts"},
        relay=f"{name}.relay",
        partitions=2,
        request_timeout_s=10.0,
    )
    for _ in range(50):  # a topic has no partitions for a moment after it was made
        with suppress(LogUnavailable):
            await ensure_topics(made)
            break
        await asyncio.sleep(0.1)
    return made


@asynccontextmanager
async def sink_of(options: KafkaOptions) -> AsyncIterator[KafkaTransactions]:
    sink = KafkaTransactions(options)
    await sink.start()
    try:
        yield sink
    finally:
        await sink.close()


def made(first: int, last: int) -> list[Output]:
    """Every third is an alert, so that a transaction spans topics."""
    return [
        Output("decision" if n % 3 else "alert", b"c%d" % (n % 5), f"x_{n}", 1_000 + n, b'{"n":%d}' % n)
        for n in range(first, last)
    ]


async def arrived(options: KafkaOptions, level: str = "read_committed") -> dict[str, list[str]]:
    """Ids by topic, in order, as a reader of that isolation level sees them now."""
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=options.bootstrap, isolation_level=level)
    await consumer.start()
    found: dict[str, list[str]] = {kind: [] for kind in options.outputs}
    kinds = {topic: kind for kind, topic in options.outputs.items()}
    try:
        tps = [aiokafka.TopicPartition(topic, SHARD) for topic in kinds]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        quiet = 0
        while quiet < 3:
            batches = await consumer.getmany(timeout_ms=100)
            quiet = 0 if batches else quiet + 1
            for tp, records in batches.items():
                found[kinds[tp.topic]] += [msgspec.json.decode(record.value)["id"] for record in records]
    finally:
        await consumer.stop()
    return found


def wanted(outputs: list[Output]) -> dict[str, list[str]]:
    return {kind: [output.id for output in outputs if output.kind == kind] for kind in ("decision", "alert")}


async def test_outputs_and_position_arrive_together(options: KafkaOptions) -> None:
    async with sink_of(options) as sink:
        await sink.send(SHARD, 0, made(0, 10))
        await sink.send(SHARD, 10, made(10, 30))
    assert await arrived(options) == wanted(made(0, 30))
    records = await read_records(options, SHARD)
    assert [(record.first, record.next, record.origin) for record in records] == [(0, 10, "x_0"), (10, 30, "x_0")]
    assert await read_records(options, 0) == []


async def test_the_next_owner_leaves_out_what_was_sent(options: KafkaOptions) -> None:
    async with sink_of(options) as sink:
        for first in range(0, 50, 10):
            await sink.send(SHARD, first, made(first, first + 10))
    async with sink_of(options) as sink:
        await sink.send(SHARD, 20, made(20, 45))
        await sink.send(SHARD, 45, made(45, 60))
        await sink.send(SHARD, 0, made(0, 33))  # the store lost everything, while this owner lives
        await sink.send(SHARD, 33, made(33, 70))
    assert await arrived(options) == wanted(made(0, 70))


async def test_a_zombie_is_refused_and_its_open_transaction_taken_back(options: KafkaOptions) -> None:
    async with sink_of(options) as zombie, sink_of(options) as owner:
        await zombie.send(SHARD, 0, made(0, 10))
        held, commit = _hold_commits(zombie)
        sending = asyncio.ensure_future(zombie.send(SHARD, 10, made(10, 20)))
        await held.wait()
        assert await arrived(options, "read_uncommitted") == wanted(made(0, 20))
        assert await arrived(options) == wanted(made(0, 10))
        await owner.send(SHARD, 10, made(10, 25))  # the same outputs again: those of the zombie are not committed
        commit.set()
        with pytest.raises(SinkUnavailable, match="another process has taken over"):
            await sending
        assert await arrived(options) == wanted(made(0, 25))
        await zombie.send(SHARD, 10, made(10, 20))  # it tries again, and finds them sent
        with pytest.raises(SinkUnavailable):
            await owner.send(SHARD, 25, made(25, 30))  # it was fenced in its turn, and comes back
        await owner.send(SHARD, 25, made(25, 30))
    assert await arrived(options) == wanted(made(0, 30))


def _hold_commits(sink: KafkaTransactions) -> tuple[asyncio.Event, asyncio.Event]:
    """Make the next commit of `SHARD` wait: an event for its having come that far, and one to let it go on."""
    producer: Any = sink._lines[SHARD]._producer
    original, came, go = producer.commit_transaction, asyncio.Event(), asyncio.Event()

    async def held() -> None:
        came.set()
        await go.wait()
        await original()

    producer.commit_transaction = held
    return came, go


async def test_a_send_cancelled_at_any_moment_leaves_each_output_once(options: KafkaOptions) -> None:
    async with sink_of(options) as sink:
        await sink.send(SHARD, 0, made(0, 5))
        at, interrupted = 5, 0
        for turn in range(12):
            sending = asyncio.ensure_future(sink.send(SHARD, at, made(at, at + 5)))
            done, _ = await asyncio.wait([sending], timeout=0.003 * turn)
            if not done:
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
                interrupted += 1
                await sink.send(SHARD, at, made(at, at + 5))
            at += 5
    assert interrupted
    assert await arrived(options) == wanted(made(0, at))


async def test_a_broker_that_dies_and_comes_back(kafka: ApacheKafka, options: KafkaOptions) -> None:
    async with sink_of(replace(options, request_timeout_s=4.0)) as sink:
        await sink.send(SHARD, 0, made(0, 5))
        kafka.kill()
        with pytest.raises(SinkUnavailable):
            await asyncio.wait_for(sink.send(SHARD, 5, made(5, 10)), 60)
        await asyncio.to_thread(kafka.start)
        for _ in range(50):
            with suppress(SinkUnavailable):
                await sink.send(SHARD, 5, made(5, 10))
                break
    assert await arrived(options) == wanted(made(0, 10))


async def test_shards_that_share_a_partition_of_the_relay_wait_for_each_other(options: KafkaOptions) -> None:
    async with sink_of(options) as sink, sink_of(options) as other:
        await other.send(SHARD, 0, made(0, 2))
        await sink.send(SHARD + 2, 0, made(0, 1))
        held, commit = _hold_commits_of(sink, SHARD + 2)
        open_one = asyncio.ensure_future(sink.send(SHARD + 2, 1, made(1, 2)))
        await held.wait()
        await other.send(SHARD, 2, made(2, 12))  # committed, but behind the open transaction of shard 3
        reading = asyncio.ensure_future(read_records(options, SHARD))
        done, _ = await asyncio.wait([reading], timeout=0.5)
        assert not done
        commit.set()
        await open_one
        assert [(record.first, record.next) for record in await reading] == [(0, 2), (2, 12)]


def _hold_commits_of(sink: KafkaTransactions, shard: int) -> tuple[asyncio.Event, asyncio.Event]:
    sink._lines[SHARD] = sink._lines[shard]
    try:
        return _hold_commits(sink)
    finally:
        del sink._lines[SHARD]


async def test_the_position_is_found_behind_much_of_other_shards(
    options: KafkaOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.adapters.kafka_positions.TAIL_OFFSETS", 4)
    async with sink_of(options) as sink:
        await sink.send(SHARD, 0, made(0, 3))
        for n in range(20):
            await sink.send(SHARD + 2, n, made(n, n + 1))
    assert [record.next for record in await read_records(options, SHARD)] == [3]


async def test_auto_takes_transactions_where_there_are_some(options: KafkaOptions) -> None:
    assert await has_transactions(options)
    outputs = KafkaOutputs(options)
    with pytest.raises(SinkUnavailable, match="not connected yet"):
        await outputs.send(SHARD, 0, made(0, 1))
    await outputs.start()
    await outputs.send(SHARD, 0, made(0, 4))
    await outputs.release(SHARD)
    await outputs.send(SHARD, 2, made(2, 6))
    await outputs.close()
    assert await arrived(options) == wanted(made(0, 6))


async def test_without_transactions_repeats_are_sent_again(options: KafkaOptions) -> None:
    outputs = KafkaOutputs(replace(options, transactions="off"))
    await outputs.start()
    await outputs.send(SHARD, 0, made(0, 4))
    await outputs.send(SHARD, 0, made(0, 4))
    await outputs.close()
    assert await arrived(options) == {kind: 2 * ids for kind, ids in wanted(made(0, 4)).items()}


async def test_a_missing_relay_topic_is_created_or_named(options: KafkaOptions) -> None:
    with pytest.raises(TopicsMissing, match=r"cleanup\.policy=compact"):
        await KafkaOutputs(replace(options, create=False)).start()


async def test_a_broker_without_transactions_is_found_out() -> None:
    with EmbeddedKafka() as broker:
        broker.start()
        options = KafkaOptions(bootstrap=broker.bootstrap, group="g", events="e", outputs={"alert": "a"})
        assert not await has_transactions(options)
        with pytest.raises(TransactionsMissing, match="STEWARD_KAFKA_TRANSACTIONS=on"):
            await KafkaOutputs(replace(options, transactions="on")).start()
        outputs = KafkaOutputs(options)
        await outputs.start()
        await outputs.close()
    with pytest.raises(SinkUnavailable):
        await has_transactions(options)
