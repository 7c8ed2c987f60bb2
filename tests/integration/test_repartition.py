"""A deployment of two partitions becomes one of three, with real servers, by the command line alone."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from aiokafka.admin import NewPartitions

from engine.adapters.embedded import RedisServer
from engine.adapters.redis_client import RedisClient, RedisOptions
from engine.core.controls import stretches
from engine.generator.stream import generate
from engine.partitions import partition_factory
from tests.support.deployment import ROOT, STEWARD, Deployment
from tests.support.kafka import ApacheKafka

EVENTS = 3_000
REPEATED = 300


def settings(directory: Path) -> dict[str, str]:
    """Rules of its own: those of the checkout may be changed while the test runs."""
    rules = shutil.copytree(ROOT / "rules", directory / "rules")
    return {"STEWARD_KAFKA_TRANSACTIONS": "on", "STEWARD_RULES": str(rules)}


def steward(deployment: Deployment, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "engine.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=deployment.environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def decisions(deployment: Deployment, values: list[bytes]) -> set[str]:
    """Ids of the decisions that one shard in memory makes of the same events."""
    partition = partition_factory(deployment.settings, backed=False)(0)
    found = set()
    for start, end in stretches(values, 500):
        effects = partition.apply(partition.decode(values[start:end]), lambda row: {"row": row})
        found |= {output.id for output in effects.outputs if output.kind == "decision"}
    return found


async def all_done(deployment: Deployment) -> None:
    logged = {shard: len(values) for shard, values in (await deployment.events()).items()}
    await deployment.until(
        lambda heads: all(heads[s].offset == n and not heads[s].outbox for s, n in logged.items()), 120
    )


async def keys(redis: RedisServer, prefix: str) -> int:
    client = RedisClient(redis.url, RedisOptions())
    found = [key async for key in client.scan(prefix.encode() + b":*", 1_000)]
    await client.close()
    return len(found)


def following(
    old: Deployment, directory: Path, kafka: ApacheKafka, redis: RedisServer, partitions: int, where: dict[str, str]
) -> Deployment:
    """The deployment after the move."""
    outputs = ("DECISIONS", "ALERTS", "REWARDS", "OFFERS", "LIFECYCLE", "DEAD_LETTERS", "RELAY", "EVENTS")
    topics = {f"STEWARD_TOPICS_{name}": f"{old.name}.{name.lower().replace('_', '-')}" for name in outputs}
    topics["STEWARD_TOPICS_EVENTS"] += ".v2"
    own = {"STEWARD_KAFKA_GROUP": old.name, "STEWARD_REDIS_PREFIX": f"{old.name}.v2"}
    environment = {**where, **topics, **own}
    return Deployment(f"{old.name}2", directory, kafka.url, redis.url, partitions=partitions, **environment)


async def test_two_partitions_become_three(kafka: ApacheKafka, redis: RedisServer, tmp_path: Path) -> None:
    where = {**settings(tmp_path), "STEWARD_BATCH_EVENTS_MAX": "100"}
    values = list(generate(EVENTS))
    half = EVENTS // 2
    with Deployment("moved", tmp_path, kafka.url, redis.url, **where) as old:
        await old.create_topics()
        code, told = steward(old, "repartition", "--partitions", "3")
        assert code == 2, told
        assert "there is no state under the prefix moved" in told
        worker = old.start(STEWARD)
        await old.produce(values[:half])
        await all_done(old)
        code, told = steward(old, "repartition", "--partitions", "3")
        assert (code, "workers are running" in told) == (2, True), told
        code, _ = worker.terminate()
        assert code == 0
        await old.produce(values[half : half + 1])
        code, told = steward(old, "repartition", "--partitions", "3")
        assert code == 2, told
        assert re.search(r"shard \d: 1 records or more are not processed: stop or switch the producers", told), told
        worker = old.start(STEWARD)
        await all_done(old)
        assert worker.terminate()[0] == 0

        name = old.settings.topics.events + ".v2"
        with following(old, tmp_path, kafka, redis, 3, where) as new:
            code, told = steward(old, "repartition", "--partitions", "3")
            assert code == 0, told
            print(told)
            assert "STEWARD_REDIS_PREFIX=moved.v2" in told
            assert f"STEWARD_TOPICS_EVENTS={name}" in told
            assert old.start(STEWARD).process.wait(60) == 1, "nobody starts on the old state"
            assert "out of service" in old._workers[-1].log
            await new.produce([*values[half + 1 :], *values[:REPEATED]])
            worker = new.start(STEWARD)
            await all_done(new)
            code, told = steward(new, "scale", "check")
            assert (code, "topic moved.events.v2: 3 partitions" in told) == (0, True), told
            wanted = decisions(old, values)
            sent = await old.outputs(ids=len(wanted))
            assert {output.id for output in sent if output.topic == old.settings.topics.decisions} == wanted
            assert max(Counter(output.id for output in sent).values()) == 1
            assert worker.terminate()[0] == 0
            code, told = steward(old, "repartition", "--undo")
            assert (code, "to go back now would lose them" in told) == (2, True), told
            assert await keys(redis, "moved") > 100
            code, told = steward(new, "repartition", "--drop-old", "moved")
            assert code == 0, told
            assert await keys(redis, "moved") == 0
            assert await keys(redis, "moved.v2") > 100


async def test_a_topic_that_has_grown_is_left_with_what_it_holds(
    kafka: ApacheKafka, redis: RedisServer, tmp_path: Path
) -> None:
    where = settings(tmp_path)
    values = list(generate(600))
    with Deployment("grown", tmp_path, kafka.url, redis.url, **where) as old:
        await old.create_topics()
        worker = old.start(STEWARD)
        await old.produce(values[:300])
        await all_done(old)
        assert worker.terminate()[0] == 0
        await old.admin(lambda admin: admin.create_partitions({old.settings.topics.events: NewPartitions(4)}))
        await old.produce(values[300:])
        code, told = steward(old, "scale", "check")
        assert (code, "move the state: steward repartition --partitions M --carry" in told) == (1, True), told
        code, told = steward(old, "repartition", "--partitions", "4")
        assert (code, "its state was made with 2 partitions, the topic has 4" in told) == (2, True), told
        code, told = steward(old, "repartition", "--partitions", "4", "--carry")
        assert code == 0, told
        assert "300 records that were not processed are on grown.events.v2" in told
        with following(old, tmp_path, kafka, redis, 4, where) as new:
            worker = new.start(STEWARD)
            await all_done(new)
            wanted = decisions(old, values)
            sent = await old.outputs(ids=len(wanted))
            assert {output.id for output in sent if output.topic == old.settings.topics.decisions} == wanted
            assert max(Counter(output.id for output in sent).values()) == 1
            assert worker.terminate()[0] == 0
