"""Workers that come, go and come back: who notices, and who does not have to wait for a session to end."""

from collections import Counter
from collections.abc import Callable

from tests.support.deployment import Deployment, Worker

PARTITIONS = 4
SESSION = {"STEWARD_KAFKA_SESSION_TIMEOUT": "5m", "STEWARD_KAFKA_REBALANCE_TIMEOUT": "5m"}
"""Longer than any wait of these tests: what goes on within them did not wait for it."""


def events(first: int, count: int) -> list[bytes]:
    return [b'{"event_id":"e%d","customer_id":"c%d"}' % (n, n % 40) for n in range(first, first + count)]


def starts(worker: Worker) -> Counter[str]:
    """How often the worker has opened each shard."""
    lines = [line.partition('"message":"shard ')[2] for line in worker.log.splitlines() if "starts at offset" in line]
    return Counter(line.split(" ")[0] for line in lines)


async def feed(deployment: Deployment, first: int) -> None:
    """Send some more events, and wait until every shard has committed all of its own."""
    await deployment.produce(events(first, 200))
    logged = await deployment.events()
    await deployment.until(lambda heads: all(heads[shard].offset == len(logged[shard]) for shard in heads))


async def test_a_member_that_joins_or_leaves_disturbs_only_what_moves(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy(partitions=PARTITIONS, **SESSION)
    await deployment.create_topics()
    first = deployment.start()
    await feed(deployment, 0)
    assert starts(first) == dict.fromkeys("0123", 1)
    second = deployment.start()
    second.wait_for("starts at offset")
    await feed(deployment, 200)
    moved = starts(second)
    assert set(moved.values()) == {1}
    assert len(moved) == PARTITIONS // 2
    assert starts(first) == dict.fromkeys("0123", 1), "a partition that stayed was opened again"
    code, _ = second.terminate()
    assert code == 0
    await feed(deployment, 400)
    assert starts(first) == {shard: 2 if shard in moved else 1 for shard in "0123"}
    sent = await deployment.outputs(ids=600)
    assert Counter(output.event["data"]["event_id"] for output in sent) == {f"e{n}": 1 for n in range(600)}


async def test_a_killed_worker_that_comes_back_gets_its_partitions_without_a_rebalance(
    deploy: Callable[..., Deployment],
) -> None:
    deployment = deploy(partitions=PARTITIONS, **SESSION)
    await deployment.create_topics()
    gone = deployment.start()
    gone.wait_for("starts at offset")
    killed = deployment.start()
    killed.wait_for("starts at offset")
    stays = deployment.start()
    stays.wait_for("starts at offset")
    await feed(deployment, 0)
    gone.terminate()  # its place is free, too
    await feed(deployment, 200)
    before = starts(stays)
    owned = set("0123") - {shard for shard, count in before.items() if count}
    killed.kill()
    back = deployment.start()
    await feed(deployment, 400)
    assert starts(stays) == before
    assert owned <= set(starts(back))
    sent = await deployment.outputs(ids=600)
    assert Counter(output.event["data"]["event_id"] for output in sent) == {f"e{n}": 1 for n in range(600)}


async def test_a_member_that_is_left_without_partitions_lets_go_of_them(deploy: Callable[..., Deployment]) -> None:
    deployment = deploy(partitions=1, **SESSION)
    await deployment.create_topics()
    first = deployment.start()
    first.wait_for("starts at offset")
    second = deployment.start()
    second.wait_for("outputs go out")
    await feed(deployment, 0)
    first.terminate()
    second.wait_for("starts at offset")
    third = deployment.start()  # in the place of the first, to which the one partition goes
    third.wait_for("starts at offset")
    second.wait_for("shard 0 has been left to its new owner")
    await feed(deployment, 200)
    assert starts(second) == {"0": 1}
    assert second.terminate()[0] == 0
    sent = await deployment.outputs(ids=400)
    assert Counter(output.event["data"]["event_id"] for output in sent) == {f"e{n}": 1 for n in range(400)}
