"""Workers killed and a Redis set back by seconds: a reader of committed records sees each output once all the same."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.redis_client import RedisClient, RedisOptions
from tests.support.counting import replay
from tests.support.deployment import Deployment
from tests.support.kafka import ApacheKafka

EVENTS = 6_000
ROUNDS = 4
HALF = EVENTS // ROUNDS // 2
SNAPSHOT = "dump.rdb"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, which keeps nothing but the snapshots it is told to write."""
    with RedisServer(installed_redis_binary()) as server:
        yield server.start()


async def call(redis: RedisServer, command: str) -> None:
    client = RedisClient(redis.url, RedisOptions())
    try:
        await client.call(command)
    finally:
        await client.close()


async def copy_state(redis: RedisServer, copy: Path) -> None:
    await call(redis, "SAVE")
    shutil.copy(redis.directory / SNAPSHOT, copy)


async def set_back(redis: RedisServer, copy: Path) -> None:
    """Kill the server and start it with an older copy of its data."""
    redis.kill()
    shutil.copy(copy, redis.directory / SNAPSHOT)
    await asyncio.to_thread(redis.start)


@pytest.mark.parametrize("transactions", ["on", "off"])
async def test_each_output_once_over_kills_and_rollbacks(
    kafka: ApacheKafka, redis: RedisServer, tmp_path: Path, transactions: str
) -> None:
    name = f"once-{transactions}"
    with Deployment(
        name, tmp_path, kafka.url, redis.url, STEWARD_KAFKA_TRANSACTIONS=transactions, STEWARD_BATCH_EVENTS_MAX="20",
        STEWARD_KAFKA_SESSION_TIMEOUT="3s", STEWARD_KAFKA_HEARTBEAT="500ms",
    ) as deployment:  # fmt: skip
        await deployment.create_topics()
        draw = random.Random(7)
        copy = tmp_path / "copy.rdb"
        values = [b'{"event_id":"e%d","customer_id":"c%d"}' % (n, n % 31) for n in range(EVENTS)]
        worker = deployment.start()
        lost = 0
        for turn in range(ROUNDS):
            done = turn * EVENTS // ROUNDS
            await deployment.produce(values[done : done + HALF])
            await deployment.until(lambda heads, done=done: total(heads) > done + 100)
            await copy_state(redis, copy)
            early = total(await deployment.heads())
            await deployment.produce(values[done + HALF : done + 2 * HALF])  # after the copy, always
            await deployment.until(lambda heads, early=early: total(heads) > early + 300)
            await asyncio.sleep(draw.random() * 0.3)
            if turn % 2:
                worker.kill()
            lost += total(await deployment.heads()) - early
            if turn == ROUNDS - 1:
                await call(redis, "FLUSHALL")  # and once all of it is gone
            else:
                await set_back(redis, copy)
            if turn % 2:
                worker = deployment.start()
        logged = await deployment.events()
        await deployment.until(
            lambda heads: all(heads[s].offset == len(logged[s]) and not heads[s].outbox for s in heads)
        )
        expected = [replay(logged[shard], shard) for shard in (0, 1)]
        sent = await deployment.outputs(ids=len(values))
        doubled = {identity: count for identity, count in Counter(o.id for o in sent).items() if count > 1}
        firsts = [list(dict.fromkeys(o.id for o in sent if o.partition == shard)) for shard in (0, 1)]
        assert firsts == expected  # none lost, in order
        assert lost > 300 * ROUNDS - 100
        assert worker.terminate()[0] == 0
    if transactions == "on":
        assert not doubled
    else:
        assert doubled  # the same faults without transactions: this test can tell


def total(heads: dict) -> int:  # type: ignore[type-arg]
    return sum(max(0, head.offset) for head in heads.values())
