"""Workers killed at any moment, with real processes, Kafka and Redis."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from engine.generator.stream import generate
from engine.partitions import partition_factory
from tests.support.counting import replay
from tests.support.deployment import STEWARD, Deployment

KILLS = 12


async def test_a_worker_killed_again_and_again_loses_and_doubles_nothing(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy(STEWARD_BATCH_EVENTS_MAX="40")
    await deployment.create_topics()
    await deployment.produce(generate(12_000))
    logged = await deployment.events()
    draw = random.Random(5)
    offsets = {0: -1, 1: -1}
    for _ in range(KILLS):
        worker = deployment.start(STEWARD)
        before = dict(offsets)
        heads = await deployment.until(lambda heads, before=before: any(heads[s].offset > before[s] for s in heads))
        await asyncio.sleep(draw.random() * 0.2)
        worker.kill()
        offsets = {shard: head.offset for shard, head in (await deployment.heads()).items()}
        assert all(offsets[shard] >= heads[shard].offset for shard in offsets)
    assert any(offsets[shard] < len(logged[shard]) for shard in offsets), "the kills came after the work"
    last = deployment.start(STEWARD)
    await deployment.until(lambda heads: all(heads[s].offset == len(logged[s]) and not heads[s].outbox for s in heads))
    expected = {f"{shard}": pure_replay(deployment, shard, logged[shard]) for shard in (0, 1)}
    wanted = {identity for ids in expected.values() for identity in ids}
    sent = await deployment.outputs(ids=len(wanted))
    assert {output.id for output in sent} == wanted
    for shard in (0, 1):
        firsts = dict.fromkeys(o.id for o in sent if o.partition == shard and o.topic.endswith("decisions"))
        assert list(firsts) == [i for i in expected[str(shard)] if i.startswith("dec_")]
    decided = Counter(event for _, event in {(o.id, o.event["data"]["event_id"]) for o in sent if is_decision(o.topic)})
    assert set(decided.values()) == {1}
    code, seconds = last.terminate()
    assert code == 0
    assert seconds < 10


def is_decision(topic: str) -> bool:
    return topic.endswith(".decisions")


def pure_replay(deployment: Deployment, shard: int, values: list[bytes | None]) -> list[str]:
    """Ids of one undisturbed run over a partition, in memory and in one batch size that no worker used."""
    topic = deployment.settings.topics.events
    partition = partition_factory(deployment.settings, backed=False)(shard)
    ids = []
    for start in range(0, len(values), 777):
        decoded = partition.decode(values[start : start + 777])
        effects = partition.apply(
            decoded, lambda row, start=start: {"topic": topic, "partition": shard, "offset": start + row}
        )
        ids += [output.id for output in effects.outputs]
    return ids


async def test_workers_that_come_and_go_share_the_partitions(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy(
        STEWARD_BATCH_EVENTS_MAX="20", STEWARD_KAFKA_SESSION_TIMEOUT="3s", STEWARD_KAFKA_HEARTBEAT="500ms"
    )
    await deployment.create_topics()
    values = [b'{"event_id":"e%d","customer_id":"c%d"}' % (n, n % 31) for n in range(6_000)]
    first, second = deployment.start(), deployment.start()
    await deployment.produce(values[:3_000])
    await deployment.until(lambda heads: sum(head.offset for head in heads.values()) > 500)
    first.terminate()
    third = deployment.start()
    await deployment.produce(values[3_000:])
    second.kill()
    logged = await deployment.events()
    await deployment.until(lambda heads: all(heads[s].offset == len(logged[s]) and not heads[s].outbox for s in heads))
    expected = [replay(logged[shard], shard) for shard in (0, 1)]
    sent = await deployment.outputs(ids=len(values))
    for shard in (0, 1):
        assert list(dict.fromkeys(o.id for o in sent if o.partition == shard)) == expected[shard]
    assert third.terminate()[0] == 0
