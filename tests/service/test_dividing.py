"""No commit is larger than it may be, and nothing else changes for it."""

import pytest

from engine.adapters.clocks import ManualClock
from engine.adapters.memory_sink import MemorySink
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ports.store import Commit, Fenced
from engine.ruleset import compile
from engine.service.batching import BatchLimits, commit_bytes
from engine.service.deadline import Deadline
from engine.service.dividing import process
from engine.service.shard import BatchOutcome
from tests.service.parts import FlakyStore, Parts, event, records
from tests.support.counting import replay
from tests.support.owners import sole_owner

SIZE_MAX = 2_000
RULES = """
rules: [{id: big, description: d, when: amount > 20, then: {decision: review, reason: BIG}}]
models: {anomaly: null, fraud: null}
"""


def payment(number: int) -> bytes:
    return (
        b'{"event_id":"e%d","customer_id":"c%d","type":"payment.requested","event_time":1767268800000,'
        b'"payment_id":"p%d","amount":%d,"currency":"EUR"}' % (number, number % 5, number, number + 1)
    )


@pytest.mark.parametrize("size_max", [1, 700, SIZE_MAX, 1 << 20])
async def test_a_batch_that_is_too_much_for_one_commit_is_divided(size_max: int) -> None:
    parts, shapes = Parts(), []
    parts.crew.limits = BatchLimits(commit_bytes_max=size_max)
    shard = parts.crew.shard(0)
    await shard.open()
    async for outcome in process(shard, records(0, 40)):
        shapes.append((outcome.next_offset - outcome.records, outcome.records))
    assert [offset for offset, _ in shapes] == [sum(n for _, n in shapes[:i]) for i in range(len(shapes))]
    assert sum(count for _, count in shapes) == 40
    commits = [commit for commit in parts.store.commits if commit.ops]
    assert all(commit_bytes(c) <= size_max or c.next_offset - max(c.expected, 0) == 1 for c in commits)
    assert len(commits) == {1: 40, 1 << 20: 1}.get(size_max, len(commits))
    assert await shard.relay.flush(Deadline(parts.clock, 5.0))
    assert parts.sink.ids(0) == replay([event(n) for n in range(40)])
    await shard.relay.close()


async def test_another_owner_between_two_parts_is_noticed() -> None:
    parts = Parts()
    parts.crew.limits = BatchLimits(commit_bytes_max=SIZE_MAX)
    shard = parts.crew.shard(0)
    await shard.open()
    other = parts.crew.shard(0)
    batch = process(shard, records(0, 40))
    first = await anext(batch)
    await other.open()
    await other.process(records(first.next_offset, 5))
    with pytest.raises(Fenced):
        await anext(batch)
    assert await shard.open() == first.next_offset + 5
    for relay in (shard.relay, other.relay):
        await relay.close()


async def test_a_sole_owner_answers_every_part() -> None:
    store, sink, clock, fatal = FlakyStore(), MemorySink(), ManualClock(), []
    outcomes: list[BatchOutcome] = []
    owner = sole_owner(
        Partition(compile({"a.yaml": RULES}), CoreSettings()), store, sink, fatal, clock=clock, limits=BatchLimits(),
        on_batch=outcomes.append, shard={"commit_bytes_max": SIZE_MAX},
    )  # fmt: skip
    owner.start()
    events = [payment(n) for n in range(39)]
    answers = await owner.decide([*events, events[3]], 5.0)
    assert [answer.status for answer in answers] == ["decision"] * 39 + ["duplicate"]
    assert [b'"event_id":"e%d"' % n in answer.body for n, answer in enumerate(answers[:39])] == [True] * 39
    assert answers[39].body == answers[3].body
    assert 1 < len(outcomes) < 40
    assert sum(outcome.records for outcome in outcomes) == 40
    commits = [commit for commit in store.commits if commit.ops]
    assert all(
        commit_bytes(commit) <= SIZE_MAX for commit in commits if commit.next_offset - max(commit.expected, 0) > 1
    )
    assert await owner.drain(1.0)
    assert not fatal


def test_the_size_of_a_commit_is_that_of_its_parts() -> None:
    commit = Commit(0, -1, 1, b"12", b"345", 0, b"6", [(b"key", b"789", 60)], touches=b"0")
    assert commit_bytes(commit) == 10
