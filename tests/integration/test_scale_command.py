"""`steward scale check` against real servers: a deployment that fits, one whose topic has grown, a cluster."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from tests.support.cluster import RedisCluster
from tests.support.deployment import Deployment
from tests.support.kafka import ApacheKafka

CHECK = (sys.executable, "-m", "engine.cli", "scale", "check")


def check(deployment: Deployment, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        CHECK, check=False, env={**deployment.environment, **environment}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def events(count: int) -> list[bytes | None]:
    return [b'{"event_id":"e%d","customer_id":"c%d"}' % (n, n % 31) for n in range(count)]


async def test_it_fits_until_the_topic_grows(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy()
    assert check(deployment)[0] == 2, "there is no topic yet"
    await deployment.create_topics()
    await deployment.produce(events(200))
    code, told = check(deployment)
    assert code == 0
    assert sum(int(line.split()[5]) for line in told.splitlines() if re.match(r" +\d", line)) == 200, "all of it is lag"
    deployment.start()
    await deployment.until(lambda heads: sum(max(0, head.offset) for head in heads.values()) == 200)
    code, told = check(deployment)
    assert code == 0, told
    assert "2 partitions" in told
    assert "fits" in told
    await deployment.admin(lambda admin: admin.create_partitions({deployment.settings.topics.events: NewPartitions(4)}))
    code, told = check(deployment)
    assert code == 1
    assert "shard 0: its state was made with 2 partitions, the topic has 4" in told
    assert "steward repartition" in told


async def test_events_deleted_before_they_were_processed_are_named(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy()
    await deployment.create_topics()
    await deployment.produce(events(50))
    worker = deployment.start()
    await deployment.until(lambda heads: sum(max(0, head.offset) for head in heads.values()) == 50)
    worker.kill()
    await deployment.produce(events(100))
    ends = {shard: len(values) for shard, values in (await deployment.events()).items()}
    await deployment.forget_events(0, ends[0])
    code, told = check(deployment)
    assert code == 1
    assert f"but the log begins at {ends[0]}" in told


def test_a_cluster_shares_the_shards_out(kafka: ApacheKafka) -> None:
    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_topics([aiokafka.admin.NewTopic("spread.events", 12, 1)])
        await admin.close()

    asyncio.run(create())
    with RedisCluster() as cluster:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STEWARD_")},
            "STEWARD_KAFKA": kafka.url,
            "STEWARD_REDIS": cluster.url,
            "STEWARD_TOPICS_EVENTS": "spread.events",
        }
        done = subprocess.run(CHECK, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("shards by server")]
    counts = [int(part.split()[-1]) for part in line.partition(": ")[2].split(", ")]
    assert sum(counts) == 12
    assert max(counts) - min(counts) <= 2


@pytest.mark.parametrize("missing", ["STEWARD_KAFKA", "STEWARD_REDIS"])
def test_it_asks_for_both_servers(deploy: Callable[..., Deployment], missing: str) -> None:
    code, told = check(deploy(), **{missing: "embedded"})
    assert code == 2
    assert "name the Kafka and the Redis" in told
