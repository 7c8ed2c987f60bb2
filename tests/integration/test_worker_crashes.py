"""Workers killed at any moment, with real processes, Kafka and Redis."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from engine.generator.stream import generate
from engine.partitions import partition_factory
from engine.ports.store import Head
from tests.support.counting import replay
from tests.support.deployment import ROOT, STEWARD, Deployment

KILLS = 12
EVENTS_A_LIFE = 1_500


async def test_a_worker_killed_again_and_again_loses_and_doubles_nothing(deploy: Callable[..., Deployment]) -> None:
    # Rules on what is a customer's own: of entities that two partitions share, no replay of one of them knows all.
    deployment = deploy(STEWARD_BATCH_EVENTS_MAX="20", STEWARD_RULES=str(ROOT / "load_tests/faults/rules"))
    await deployment.create_topics()
    events = list(generate(KILLS * EVENTS_A_LIFE))
    draw = random.Random(5)
    interrupted = 0
    for life in range(KILLS):
        await deployment.produce(events[life * EVENTS_A_LIFE : (life + 1) * EVENTS_A_LIFE])
        before = total(await deployment.heads())
        worker = deployment.start(STEWARD)
        await deployment.until(lambda heads, before=before: total(heads) > before)
        await asyncio.sleep(draw.random() * 0.1)
        worker.kill()
        heads = await deployment.heads()
        interrupted += total(heads) < (life + 1) * EVENTS_A_LIFE or any(head.outbox for head in heads.values())
    assert interrupted, "every kill came after the work"
    logged = await deployment.events()
    last = deployment.start(STEWARD)
    await deployment.until(lambda heads: all(heads[s].offset == len(logged[s]) and not heads[s].outbox for s in heads))
    expected = {f"{shard}": pure_replay(deployment, shard, logged[shard]) for shard in (0, 1)}
    wanted = {identity for ids in expected.values() for identity in ids}
    sent = await deployment.outputs(ids=len(wanted))
    assert Counter(output.id for output in sent) == Counter(wanted)  # each once: the relay sends in transactions
    for shard in (0, 1):
        found = [o.id for o in sent if o.partition == shard and o.topic.endswith("decisions")]
        assert found == [i for i in expected[str(shard)] if i.startswith("dec_")]
    decided = Counter(event for _, event in {(o.id, o.event["data"]["event_id"]) for o in sent if is_decision(o.topic)})
    assert set(decided.values()) == {1}
    code, seconds = last.terminate()
    assert code == 0
    assert seconds < 10


def total(heads: dict[int, Head]) -> int:
    """Events committed."""
    return sum(max(0, head.offset) for head in heads.values())


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
        assert [o.id for o in sent if o.partition == shard] == expected[shard]
    assert third.terminate()[0] == 0
