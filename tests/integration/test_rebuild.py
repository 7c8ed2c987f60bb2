"""A Redis that lost everything, and a log that no longer begins at the beginning: snapshot and log give it all back."""

import asyncio
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.adapters.redis_copies import RedisCopies
from engine.generator.stream import generate
from engine.ports.copies import GONE, Piece
from tests.support.deployment import ROOT, STEWARD, Deployment
from tests.support.kafka import ApacheKafka

EVENTS = 6_000
BATCHES = {b"H", b"O", b"T"}  # what depends on where batches were cut


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(installed_redis_binary()) as server:
        yield server.start()


def steward(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=deployment.environment, capture_output=True, text=True, check=False)


async def held(deployment: Deployment) -> dict[int, dict[bytes, tuple[str, object]]]:
    """Every key of every shard, by what it holds."""
    settings = deployment.settings
    copies = RedisCopies(settings.redis.url, prefix=settings.redis.prefix)
    found: dict[int, dict[bytes, tuple[str, object]]] = {shard: {} for shard in deployment.partitions}

    async def take(shard: int, pieces: list[Piece]) -> None:
        for piece in pieces:
            if piece.name not in BATCHES and piece.kind != GONE:
                value = sorted(piece.value) if piece.kind == "set" else piece.value
                found[shard][piece.name] = piece.kind, value

    await copies.copy(list(deployment.partitions), take)  # type: ignore[arg-type]
    await copies.close()
    return found


def whole(deployment: Deployment, logged: dict[int, int]):  # type: ignore[no-untyped-def]
    return deployment.until(lambda heads: all(heads[s].offset == logged[s] and not heads[s].outbox for s in heads), 120)


async def test_a_lost_redis_comes_back_from_snapshot_and_log(
    kafka: ApacheKafka, redis: RedisServer, tmp_path: Path
) -> None:
    shelf = {"STEWARD_SNAPSHOTS_DIRECTORY": str(tmp_path / "snapshots"), "STEWARD_SNAPSHOTS_EVERY": "0s"}
    with Deployment(
        "rebuild",
        tmp_path,
        kafka.url,
        redis.url,
        partitions=1,  # with more, what a replay sees of entities that shards share may be newer than it was
        STEWARD_KAFKA_TRANSACTIONS="on",
        STEWARD_BATCH_EVENTS_MAX="50",
        **shelf,
    ) as deployment:
        await deployment.create_topics()
        values = list(generate(EVENTS))
        worker = deployment.start(STEWARD)
        await deployment.produce(values[:500])
        await deployment.until(lambda heads: heads[0].offset > 0, 120)
        taking = asyncio.ensure_future(asyncio.to_thread(steward, deployment, "snapshot"))
        for at in range(500, EVENTS, 250):  # while the worker goes on
            await deployment.produce(values[at : at + 250])
        taken = await taking
        assert taken.returncode == 0, taken.stderr
        offsets = {int(s): int(o) for s, o in re.findall(r"(\d+) at (\d+)", taken.stdout)}
        await deployment.produce(values[:200])  # repeats, which have no effect
        logged = {shard: len(events) for shard, events in (await deployment.events()).items()}
        await whole(deployment, logged)
        worker.kill()
        before, sent = await held(deployment), await deployment.outputs(ids=EVENTS // 3)

        await flush(redis)
        refused = steward(deployment, "rebuild", "--name", "19990101T000000.000Z")
        assert refused.returncode == 2, refused
        for shard, offset in offsets.items():
            assert 0 < offset < logged[shard]
            await deployment.forget_events(shard, offset)
        rebuilt = steward(deployment, "rebuild")
        assert rebuilt.returncode == 0, rebuilt.stderr
        assert "keys are back after" in rebuilt.stdout
        assert all(f"shard {shard} goes on at offset {offset}" in rebuilt.stdout for shard, offset in offsets.items())
        assert steward(deployment, "rebuild").returncode == 2  # not over a shard that is there
        began = time.monotonic()
        worker = deployment.start(STEWARD)
        await whole(deployment, logged)
        print(f"rebuilt in {time.monotonic() - began:.2f} s\n{rebuilt.stdout}")
        assert "caught up with" in worker.log
        again = await deployment.outputs(ids=len({output.id for output in sent}))
        assert sorted(output.id for output in again) == sorted(output.id for output in sent)
        assert max(Counter(output.id for output in again).values()) == 1
        after = await held(deployment)
        changed = {s: [k for k in before[s] | after[s] if before[s].get(k) != after[s].get(k)] for s in before}
        assert not any(changed.values()), changed
        assert worker.terminate()[0] == 0


async def test_without_a_snapshot_a_lost_state_over_a_trimmed_log_stops_the_worker(
    kafka: ApacheKafka, redis: RedisServer, tmp_path: Path
) -> None:
    with Deployment("lost", tmp_path, kafka.url, redis.url) as deployment:
        await deployment.create_topics()
        worker = deployment.start()
        await deployment.produce(b'{"event_id":"e%d","customer_id":"c%d"}' % (n, n % 9) for n in range(300))
        logged = {shard: len(events) for shard, events in (await deployment.events()).items()}
        await whole(deployment, logged)
        assert worker.terminate()[0] == 0
        await flush(redis)
        await deployment.forget_events(0, 10)
        worker = deployment.start()
        worker.wait_for("its state is gone")
        assert worker.process.wait(30) == 1
        assert "steward rebuild" in worker.log
        assert (await deployment.heads())[0].offset == -1


async def flush(redis: RedisServer) -> None:
    client = RedisClient(redis.url, RedisOptions())
    await client.call("FLUSHALL")
    await client.close()
