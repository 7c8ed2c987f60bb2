from collections.abc import Sequence

import pytest

from engine.adapters.memory_log import MemoryRecord
from engine.ports.store import Fenced, Place
from engine.service.deadline import Deadline
from engine.service.marks import PartitionsChanged
from engine.service.quarantine import MachineFault
from engine.service.replies import REPLY_TO, REQUEST_ID
from tests.service.parts import FlakyStore, Parts, event, records
from tests.support.counting import replay


async def test_a_commit_holds_state_offset_and_outputs_and_the_next_one_acknowledges_them() -> None:
    parts = Parts()
    shard = parts.crew.shard(0)
    assert await shard.open() == -1
    outcome = await shard.process(records(0, 3))
    assert (outcome.records, outcome.next_offset, outcome.effects.accepted) == (3, 3, 3)
    assert len((await parts.store.open(0)).outbox) == 1
    assert await shard.relay.flush(Deadline(parts.clock, 1.0))
    await shard.process(records(3, 1))
    head = await parts.store.open(0)
    assert head.offset == 4
    assert [sequence for sequence, _ in head.outbox] == [1]
    assert await shard.relay.flush(Deadline(parts.clock, 1.0))
    await shard.acknowledge()
    assert not (await parts.store.open(0)).outbox
    assert parts.sink.ids() == replay([event(n) for n in range(4)])
    await shard.relay.close()


async def test_a_commit_whose_answer_was_lost_is_not_sent_again_and_its_outputs_go_out() -> None:
    parts = Parts()
    shard = parts.crew.shard(0)
    await shard.open()
    parts.store.lost_answers = 1
    await shard.process(records(0, 2))
    assert len(parts.store.commits) == 1
    await shard.process(records(2, 2))
    assert await shard.relay.flush(Deadline(parts.clock, 1.0))
    assert [output.id for _, _, output in parts.sink.sent] == replay([event(n) for n in range(4)])
    await shard.relay.close()


async def test_a_step_that_another_owner_made_meanwhile_is_not_taken_for_ones_own() -> None:
    """Between the load and the commit of a batch, the other cut the same one; then the commit's request was lost."""

    class Overtaken(FlakyStore):
        overtake = False

        async def load(self, shard: int, keys: Sequence[bytes], at: Place | None = None) -> list[bytes | None]:
            values = await super().load(shard, keys, at)
            if self.overtake:
                self.overtake = False
                await other.process(records(1, 2))
                self.lost_requests = 1
            return values

    store = Overtaken()
    mine, theirs = Parts(store), Parts(store)
    shard, other = mine.crew.shard(0), theirs.crew.shard(0)
    await shard.open()
    await shard.process(records(0, 1))
    await other.open()
    shard._partition.evict = shard._partition.counts.clear
    store.overtake = True
    await shard.process(records(1, 2))
    await shard.process(records(3, 1))
    assert await shard.relay.flush(Deadline(mine.clock, 1.0))
    assert sorted({output.id for _, _, output in mine.sink.sent}) == sorted(replay([event(n) for n in range(4)]))
    await shard.relay.close()
    await other.relay.close()


async def test_a_commit_that_never_arrived_is_sent_again_with_growing_waits() -> None:
    parts = Parts()
    shard = parts.crew.shard(0)
    await shard.open()
    parts.store.lost_requests = 4
    await shard.process(records(0, 2))
    assert len(parts.store.commits) == 1
    assert parts.clock.slept[:3] == sorted(parts.clock.slept[:3])
    assert len(parts.clock.slept) == 4
    await shard.relay.close()


async def test_a_store_that_is_read_but_not_written_is_one_outage(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()
    shard = parts.crew.shard(0)
    await shard.open()
    parts.store.lost_requests = 6  # its memory is full, say: it answers reads
    began = parts.clock.now_s()
    await shard.process(records(0, 2))
    told = [message for message in caplog.messages if message.startswith("the state store")]
    assert ["is not available" in told[0], "is back" in told[1]] == [True, True]
    assert len(told) == 2
    assert parts.clock.now_s() - began == pytest.approx(0.75 * 0.05 * (2**6 - 1))
    assert not parts.crew.store_outage.down
    await shard.relay.close()


async def test_a_fenced_shard_drops_its_memory_and_goes_on_from_what_the_other_owner_stored() -> None:
    store = FlakyStore()
    mine, theirs = Parts(store), Parts(store)
    shard, other = mine.crew.shard(0), theirs.crew.shard(0)
    await shard.open()
    await other.open()
    await other.process(records(0, 3))
    with pytest.raises(Fenced):
        await shard.process(records(0, 2))
    with pytest.raises(ValueError, match="not open"):
        await shard.process(records(0, 2))
    assert await shard.open() == 3
    await shard.process(records(3, 1))
    assert mine.machines[0].total == 4
    with pytest.raises(Fenced):
        await other.process(records(3, 1))
    await shard.relay.close()
    await other.relay.close()


async def test_another_owner_that_came_during_the_wait_is_noticed() -> None:
    store = FlakyStore()
    mine, theirs = Parts(store), Parts(store)
    shard, other = mine.crew.shard(0), theirs.crew.shard(0)
    await shard.open()
    await other.open()
    await other.process(records(0, 1))
    store.lost_requests = 1
    with pytest.raises(Fenced):
        await shard.process(records(0, 2))
    await shard.relay.close()
    await other.relay.close()


async def test_a_shard_that_comes_back_to_its_owner_is_not_loaded_again() -> None:
    parts = Parts()
    shard = parts.crew.shard(0)
    await shard.open()
    await shard.process(records(0, 2))
    await shard.relay.close()
    counts = parts.machines[0].counts
    assert await shard.open() == 2
    assert parts.machines[0].counts is counts
    shard.forget()
    assert await shard.open() == 2
    assert parts.machines[0].counts is not counts
    assert parts.machines[0].total == 2
    await shard.relay.close()


async def test_state_made_under_another_number_of_partitions_is_refused() -> None:
    store = FlakyStore()
    first = Parts(store, partitions=2).crew.shard(0)
    await first.open()
    await first.process(records(0, 1))
    await first.relay.close()
    with pytest.raises(PartitionsChanged, match="2 partitions, the topic has 3"):
        await Parts(store, partitions=3).crew.shard(0).open()


async def test_a_call_is_answered_with_its_decision_and_a_repeat_with_the_first_answer() -> None:
    parts = Parts()
    shard = parts.crew.shard(0)
    await shard.open()

    def call(offset: int, value: bytes, request: bytes) -> MemoryRecord:
        return MemoryRecord(offset, value, headers=[(REPLY_TO, b"node"), (REQUEST_ID, request)])

    await shard.process([call(0, event(1), b"a"), call(1, event(1), b"b"), MemoryRecord(2, event(2))])
    await shard.process([call(3, event(1), b"c"), call(4, b"{", b"d"), call(5, event(2), b"e")])
    first = b'{"event_id":"e1","customer_id":"c","count":1,"total":1}'
    told = [(channel, text) for commit in parts.store.commits for channel, text in commit.replies]
    assert told == [
        ("node", b'{"request":"a","status":"decision","body":%b}' % first),
        ("node", b'{"request":"b","status":"duplicate","body":%b}' % first),
        ("node", b'{"request":"c","status":"duplicate","body":%b}' % first),
        ("node", b'{"request":"d","status":"rejected","body":{"reason":"not_json","detail":"no event"}}'),
        ("node", b'{"request":"e","status":"duplicate","body":null}'),
    ]
    await shard.relay.close()


async def test_what_the_core_raises_drops_the_memory_and_a_refused_record_leaves_the_state_alone() -> None:
    parts = Parts()
    shard = parts.crew.shard(0)
    await shard.open()
    await shard.process(records(0, 2))

    def broken() -> None:
        raise ZeroDivisionError("4556737586899855")

    parts.crash = broken
    with pytest.raises(MachineFault) as raised:
        await shard.process([MemoryRecord(2, b'{"event_id":"4556737586899855","customer_id":"c"}')])
    parts.crash = lambda: None
    assert await shard.open() == 2
    outcome = await shard.refuse(MemoryRecord(2, b'{"event_id":"4556737586899855","customer_id":"c"}'), raised.value)
    assert outcome.effects.dead_lettered == 1
    letter = outcome.effects.outputs[0].data
    assert b'"reason":"processing_failed","detail":"ZeroDivisionError"' in letter
    assert b"4556737586899855" not in letter
    await shard.process(records(3, 1))
    assert parts.machines[0].total == 3
    await shard.relay.close()


async def test_an_owner_from_before_a_rollback_drops_nothing_that_others_have_still_to_send() -> None:
    """The same offset, reached through other batches: its sequence numbers mean other entries."""
    parts, store = Parts(), FlakyStore()
    early, late = Parts(store).crew.shard(0), Parts(store)
    await early.open()
    for number in range(6):
        await early.process(records(number, 1))
    assert await early.relay.flush(Deadline(parts.clock, 1.0))
    store._shards.clear()
    late.sink.failures = 1_000_000
    other = late.crew.shard(0)
    await other.open()
    await other.process(records(0, 1))
    await other.process(records(1, 5))
    before = await store.open(0)
    with pytest.raises(Fenced, match="other commits"):
        await early.acknowledge()
    assert (await store.open(0)).outbox == before.outbox
    await early.open()
    assert early.relay.entries == 2
    for shard in (early, other):
        await shard.relay.close()
