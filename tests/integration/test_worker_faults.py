"""Servers that go away, a worker that is told to stop, records that are not events, offsets that are not there."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiokafka.admin import AIOKafkaAdminClient

from engine.adapters.embedded import EmbeddedKafka, RedisServer, embedded_redis_binary, installed_redis_binary
from engine.adapters.redis_replies import RedisReplies
from engine.service.replies import REPLY_TO, REQUEST_ID
from tests.support.counting import replay
from tests.support.deployment import STEWARD, Deployment, Sent
from tests.support.kafka import ApacheKafka


def events(first: int, count: int) -> list[bytes | None]:
    return [b'{"event_id":"e%d","customer_id":"c%d"}' % (n, n % 31) for n in range(first, first + count)]


async def settled(deployment: Deployment, seconds: float = 60.0) -> list[Sent]:
    """Wait until everything is processed and relayed, and check it against one pure run."""
    logged = await deployment.events()
    await deployment.until(
        lambda heads: all(heads[s].offset == len(logged[s]) and not heads[s].outbox for s in heads if logged[s]),
        seconds,
    )
    expected = {shard: replay(logged[shard], shard) for shard in logged}
    sent = await deployment.outputs(ids=sum(len(ids) for ids in expected.values()))
    for shard, ids in expected.items():
        found = [o.id for o in sent if o.partition == shard]
        assert sorted(set(found)) == sorted(ids)
    return sent


async def test_a_worker_told_to_stop_finishes_what_it_has_begun(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy(STEWARD_BATCH_EVENTS_MAX="20")
    await deployment.create_topics()
    await deployment.produce(events(0, 20_000))
    for _ in range(3):
        before = sum(head.offset for head in (await deployment.heads()).values())
        worker = deployment.start()
        await deployment.until(lambda heads, before=before: sum(h.offset for h in heads.values()) > before + 100)
        code, seconds = worker.terminate()
        assert code == 0, worker.log
        assert seconds < 10
        heads = await deployment.heads()
        assert not any(head.outbox for head in heads.values()), "committed outputs were not sent"
        assert "did not" not in worker.log
    assert sum(head.offset for head in heads.values()) < 20_000, "the work was done before the worker was stopped"
    deployment.start()
    sent = await settled(deployment)
    assert len(sent) == len({output.id for output in sent}), "a clean stop made a worker repeat outputs"


async def test_redis_goes_away_and_comes_back(kafka: ApacheKafka, tmp_path: Path) -> None:
    with (
        RedisServer(installed_redis_binary(), append_only=True) as redis,
        Deployment("redis-away", tmp_path, kafka.url, redis.start().url, STEWARD_BATCH_EVENTS_MAX="50") as deployment,
    ):
        redis.stop()
        await deployment.create_topics()
        await deployment.produce(events(0, 5_000))
        worker = deployment.start()
        worker.wait_for("the state store is not available")
        redis.start()
        await deployment.until(lambda heads: sum(head.offset for head in heads.values()) > 200)
        redis.stop()
        await deployment.produce(events(5_000, 1_000))
        worker.wait_for("is not available, waiting", 30)
        await asyncio.sleep(1.0)
        redis.start()
        await settled(deployment)
        assert worker.log.count("the state store is back") >= 2
        assert len([line for line in worker.log.splitlines() if "the state store is not available" in line]) <= 4
        assert worker.terminate()[0] == 0


async def test_kafka_goes_away_and_comes_back(redis: RedisServer, tmp_path: Path) -> None:
    with (
        ApacheKafka() as kafka,
        Deployment("kafka-away", tmp_path, kafka.start().url, redis.url, STEWARD_BATCH_EVENTS_MAX="50") as deployment,
    ):
        await deployment.create_topics()
        await deployment.produce(events(0, 5_000))
        kafka.stop()
        worker = deployment.start()
        worker.wait_for("the event log is not available")
        kafka.start()
        await deployment.until(lambda heads: sum(head.offset for head in heads.values()) > 200)
        kafka.stop()
        await asyncio.sleep(2.0)
        kafka.start()
        await deployment.produce(events(5_000, 1_000))
        await settled(deployment, 90)
        assert worker.process.poll() is None, worker.log
        assert len(worker.log.splitlines()) < 60, worker.log
        assert worker.terminate()[0] == 0


async def test_a_poison_pill_is_dead_lettered_once_and_stops_nothing(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy(STEWARD_TOPICS_CREATE="true")
    worker = deployment.start(STEWARD)
    worker.wait_for("shard 1 starts", 120)
    good = {
        "event_id": "good", "type": "payment.requested", "event_time": "2026-01-01T00:00:00Z", "customer_id": "c1",
        "payment_id": "p1", "amount": "10.00", "currency": "EUR",
    }  # fmt: skip
    pills = [
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"event_id": NaN',
        None,
        b"{" + b" " * 70_000 + b"}",
        b"\x00" * 100,
        b"1e400",
    ]
    await deployment.produce([*pills, msgspec.json.encode(good)])
    sent = await deployment.outputs(ids=len(pills) + 1)
    letters = [output.event["data"] for output in sent if output.topic.endswith("dead-letters")]
    places = [(letter["source"]["partition"], letter["source"]["offset"]) for letter in letters]
    assert len(places) == len(set(places)) == len(pills)
    assert all(letter["source"]["topic"] == deployment.settings.topics.events for letter in letters)
    decided = [output for output in sent if output.topic.endswith("decisions")]
    assert [output.event["data"]["event_id"] for output in decided] == ["good"]
    assert decided[0].key == b"c1"
    assert decided[0].event["subject"] == "c1"
    assert worker.terminate()[0] == 0


async def test_the_stored_offset_must_be_on_the_log(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy()
    await deployment.create_topics()
    await deployment.produce(events(0, 200))
    worker = deployment.start()
    await settled(deployment)
    worker.terminate()
    await deployment.produce(events(200, 200))
    for partition, values in (await deployment.events()).items():
        await deployment.forget_events(partition, len(values) - 2)
    late = deployment.start()
    assert await asyncio.to_thread(late.process.wait, 60) == 1
    assert "what comes next has been deleted" in late.log

    await deployment.admin(lambda admin: admin.delete_topics([deployment.settings.topics.events]))
    await asyncio.sleep(1.0)
    again = deployment.start()
    assert await asyncio.to_thread(again.process.wait, 60) == 1
    assert "which the log does not hold" in again.log
    assert "Traceback" not in again.log


async def test_a_call_through_the_log_is_answered_after_its_commit(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy()
    await deployment.create_topics()
    worker = deployment.start()
    settings = deployment.settings
    replies = RedisReplies(settings.redis.url)
    event = b'{"event_id":"e1","customer_id":"c1"}'
    async with replies.subscribe("node-1") as payloads:

        async def ask(value: bytes, request: bytes) -> dict[str, object]:
            await deployment.produce([value], [(REPLY_TO, b"node-1"), (REQUEST_ID, request)])
            return msgspec.json.decode(await asyncio.wait_for(anext(payloads), 30))

        first = await ask(event, b"r1")
        repeat = await ask(event, b"r2")
        junk = await ask(b"{", b"r3")
    body = {"event_id": "e1", "customer_id": "c1", "count": 1, "total": 1}
    assert first == {"request": "r1", "status": "decision", "body": body}
    assert repeat == {"request": "r2", "status": "duplicate", "body": body}
    assert junk == {"request": "r3", "status": "rejected", "body": {"reason": "not_json", "detail": "no event"}}
    assert worker.terminate()[0] == 0
    await replies.close()


async def test_the_worker_runs_on_the_embedded_servers(tmp_path: Path) -> None:
    with (
        RedisServer(embedded_redis_binary()) as redis,
        EmbeddedKafka() as kafka,
        Deployment(
            "embedded", tmp_path, kafka.start().url, redis.start().url,
            STEWARD_KAFKA_INSTANCE_ID="", STEWARD_KAFKA_SESSION_TIMEOUT="3s", STEWARD_KAFKA_HEARTBEAT="500ms",
        ) as deployment,
    ):  # fmt: skip
        worker = deployment.start()
        worker.wait_for("shard 1 starts")
        await deployment.produce(events(0, 2_000))
        await settled(deployment)
        assert worker.terminate()[0] == 0


async def test_a_worker_says_where_its_own_servers_are(tmp_path: Path) -> None:
    with Deployment("own", tmp_path, "embedded", "embedded", STEWARD_KAFKA_PARTITIONS="2") as deployment:
        worker = deployment.start()
        worker.wait_for("shard 1 starts")
        assert 0 < worker.log.find("loading kernels") < worker.log.find("kernels ready")
        found = re.search(r"the embedded broker is at kafka://(127\.0\.0\.1:\d+);", worker.log)
        assert found, worker.log
        admin = AIOKafkaAdminClient(bootstrap_servers=found[1])
        await admin.start()
        assert "own.events" in await admin.list_topics()
        await admin.close()
        path = re.search(r"the embedded store is at unix://(/[^\s\"]+\.sock)", worker.log)
        assert path, worker.log
        assert await asyncio.to_thread(Path(path[1]).is_socket)
        assert worker.terminate()[0] == 0


async def test_an_eviction_policy_that_drops_state_is_refused(kafka: ApacheKafka, tmp_path: Path) -> None:
    with (
        RedisServer(installed_redis_binary(), arguments=("--maxmemory-policy", "allkeys-lru")) as redis,
        Deployment("evicting", tmp_path, kafka.url, redis.start().url) as deployment,
    ):
        began = time.monotonic()
        worker = deployment.start()
        assert await asyncio.to_thread(worker.process.wait, 60) == 1
        assert time.monotonic() - began < 60
        assert "noeviction" in worker.log
        assert "Traceback" not in worker.log


async def test_an_empty_log_leaves_nothing_to_catch_up_with(deploy: Callable[..., Deployment]) -> None:
    """Idle time is not counted: the first records that come are news."""
    deployment = deploy()
    await deployment.create_topics()
    worker = deployment.start()
    for shard in deployment.partitions:
        worker.wait_for(f"shard {shard} caught up with 0 records")
