import asyncio
import logging
from collections.abc import Callable, Sequence

import pytest

from engine.adapters.memory_log import MemoryRecord
from engine.ports.log import LogBounds, OffsetLost
from engine.ports.sink import SinkOutput
from engine.ports.store import Place, StoreUnavailable
from engine.service.batching import BatchLimits
from engine.service.deadline import Deadline
from engine.service.quarantine import MachineFault
from engine.service.shard import BatchOutcome
from tests.service.parts import Parts, event, records
from tests.support.counting import replay


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - no event is set for all that is waited for here
            await asyncio.sleep(0)


async def test_a_lane_seeks_to_the_stored_offset_and_to_the_oldest_record_where_there_is_none() -> None:
    parts = Parts()
    parts.log.append(0, *(event(n) for n in range(10)))
    parts.log.truncate(0, 4)
    lane = parts.crew.lane(0)
    lane.start()
    await until(lambda: lane.wanting)
    assert parts.log.position[0] == 4
    lane.put(parts.log.poll(0, 3))
    await until(lambda: lane.shard.next_offset == 7)
    await lane.stop(Deadline(parts.clock, 1.0))
    again = parts.crew.lane(0)
    again.start()
    await until(lambda: again.wanting)
    assert parts.log.position[0] == 7
    await again.stop(Deadline(parts.clock, 1.0))


@pytest.mark.parametrize(("keep", "message"), [(slice(8, None), "begins at 8"), (slice(0, 3), "ends at 3")])
async def test_an_offset_that_is_not_on_the_log_stops_the_worker(keep: slice, message: str) -> None:
    parts = Parts()
    parts.log.append(0, *(event(n) for n in range(12)))
    lane = parts.crew.lane(0)
    lane.start()
    await until(lambda: lane.wanting)
    lane.put(parts.log.poll(0, 5))
    await until(lambda: lane.shard.next_offset == 5)
    await lane.stop(Deadline(parts.clock, 1.0))
    parts.log.partitions[0] = parts.log.partitions[0][keep]
    again = parts.crew.lane(0)
    again.start()
    await until(lambda: bool(parts.fatal))
    assert isinstance(parts.fatal[0], OffsetLost)
    assert message in str(parts.fatal[0])
    assert not again.wanting


async def test_a_lane_that_is_full_does_not_want_more() -> None:
    parts = Parts()
    parts.crew.limits = BatchLimits(5, 1 << 20, 20)
    lane = parts.crew.lane(0)
    lane.put(records(0, 5))
    lane.start()
    await until(lambda: lane.wanting)
    lane.put(records(0, 20))
    assert not lane.wanting
    await until(lambda: lane.wanting)
    await until(lambda: lane.shard.next_offset == 20)
    await lane.stop(Deadline(parts.clock, 1.0))
    assert len(parts.sink.ids()) == 20, "records from before the seek were taken"


async def test_a_fenced_lane_drops_what_waits_and_seeks_again(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()
    parts.log.append(0, *(event(n) for n in range(9)))
    fenced: list[bool] = []
    parts.crew.on_fenced = lambda: fenced.append(True)
    other = parts.crew.shard(0)
    lane = parts.crew.lane(0)
    lane.start()
    await until(lambda: lane.wanting)
    await other.open()
    await other.process(records(0, 4))
    await other.relay.close()
    with caplog.at_level(logging.WARNING):
        lane.put(parts.log.poll(0, 9))
        await until(lambda: bool(fenced) and lane.wanting)
    assert parts.log.position[0] == 4
    assert "expected offset -1, stored 4" in caplog.text
    lane.put(parts.log.poll(0, 9))
    await until(lambda: lane.shard.next_offset == 9)
    await lane.stop(Deadline(parts.clock, 1.0))
    assert parts.sink.ids() == replay([event(n) for n in range(9)])


async def test_an_idle_lane_acknowledges_what_was_sent() -> None:
    parts = Parts()
    lane = parts.crew.lane(0)
    lane.start()
    await until(lambda: lane.wanting)
    lane.put(records(0, 3))
    await until(lambda: any(commit.relayed == 1 for commit in parts.store.commits))
    assert not (await parts.store.open(0)).outbox
    await lane.stop(Deadline(parts.clock, 1.0))


@pytest.mark.parametrize("elsewhere", [0, 2])
async def test_an_idle_lane_notices_that_its_store_went_back(elsewhere: int) -> None:
    parts = Parts()
    parts.log.append(0, *(event(n) for n in range(5)))
    fenced: list[bool] = []
    parts.crew.on_fenced = lambda: fenced.append(True)
    lane = parts.crew.lane(0)
    lane.start()
    await until(lambda: lane.wanting)
    lane.put(parts.log.poll(0, 5))
    await until(lambda: lane.shard.next_offset == 5 and any(commit.relayed == 1 for commit in parts.store.commits))
    parts.store._shards.clear()
    if elsewhere:
        other = parts.crew.shard(0)
        await other.open()
        await other.process(records(0, elsewhere))
        await other.relay.close()
    await until(lambda: bool(fenced) and lane.wanting)
    assert parts.log.position[0] == elsewhere
    await lane.stop(Deadline(parts.clock, 1.0))


async def test_an_idle_lane_does_not_wait_for_a_store_that_is_away() -> None:
    parts = Parts()
    lane = parts.crew.lane(0)
    lane.start()
    await until(lambda: lane.wanting)
    asked: list[int] = []

    async def away(shard: int, keys: Sequence[bytes], at: Place | None = None) -> list[bytes | None]:
        asked.append(shard)
        raise StoreUnavailable("away")

    parts.store.load = away  # type: ignore[method-assign]
    await until(lambda: len(asked) > 2)
    assert lane.wanting
    assert not parts.fatal
    await lane.stop(Deadline(parts.clock, 1.0))


async def test_a_record_the_core_fails_on_is_refused_and_its_neighbours_are_not() -> None:
    parts = Parts()
    batches: list[BatchOutcome] = []
    parts.crew.on_batch = batches.append
    lane = parts.crew.lane(0)
    lane.start()
    await until(lambda: lane.wanting)

    def fails_on_the_third() -> None:
        if "e2" in parts.machines[0].seen.get("c", set()):
            raise ZeroDivisionError

    parts.crash = fails_on_the_third
    lane.put(records(0, 5))
    await until(lambda: lane.shard.next_offset == 5)
    await lane.stop(Deadline(parts.clock, 1.0))
    kinds = [output.kind for _, _, output in parts.sink.sent]
    assert kinds == ["decision", "decision", "dead_letter", "decision", "decision"]
    assert sum(batch.effects.dead_lettered for batch in batches) == 1
    assert not parts.fatal


async def test_a_core_that_fails_on_everything_stops_the_worker() -> None:
    parts = Parts()
    lane = parts.crew.lane(0)
    lane.start()
    await until(lambda: lane.wanting)

    def broken() -> None:
        raise ZeroDivisionError

    parts.crash = broken
    lane.put(records(0, 50))
    await until(lambda: bool(parts.fatal))
    assert isinstance(parts.fatal[0], MachineFault)
    assert lane.shard.next_offset == 3
    parts.crash = lambda: None
    await lane.stop(Deadline(parts.clock, 0.1))


async def test_a_lane_that_cannot_finish_is_given_up_at_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()
    lane = parts.crew.lane(0)
    lane.start()
    await until(lambda: lane.wanting)
    parts.store.lost_requests = 1 << 60
    lane.put(records(0, 1))
    for _ in range(20):
        await asyncio.sleep(0)
    await lane.stop(Deadline(parts.clock, 0.05))
    assert "did not finish in time" in caplog.text
    assert (await parts.store.open(0)).offset == -1


async def test_a_partition_that_stays_goes_on_and_one_that_comes_back_begins_anew() -> None:
    parts = Parts(partitions=3)
    parts.log.append(1, *(event(n) for n in range(3)))
    owner = parts.crew.assignment()
    await owner.assign([0, 1], 1.0)
    await until(lambda: owner.wanted() == {0, 1})
    owner.deliver(1, records(0, 2))
    owner.deliver(2, records(0, 2))
    await until(lambda: owner.offsets() == {1: 2})
    first = parts.machines[0]
    await owner.assign([1], 1.0)
    assert (owner.held(), owner.wanted()) == ({1}, {1})
    owner.deliver(0, records(0, 1))
    owner.deliver(1, [MemoryRecord(2, event(2))])
    await until(lambda: owner.offsets() == {1: 3})
    assert len(parts.machines) == 2
    await owner.assign([0, 1], 1.0)
    await until(lambda: owner.wanted() == {0, 1})
    assert len(parts.machines) == 3
    assert first.total == 0
    await owner.drain(1.0)
    assert owner.lanes == {}
    assert owner.offsets() == {1: 3}


async def test_a_partition_that_comes_back_waits_until_its_last_lane_has_finished() -> None:
    parts = Parts()
    parts.log.append(0, *(event(n) for n in range(2)))
    owner = parts.crew.assignment()
    await owner.assign([0], 1.0)
    await until(lambda: owner.wanted() == {0})
    send, gate = parts.sink.send, asyncio.Event()

    async def held(shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        await gate.wait()
        await send(shard, first, outputs)

    parts.sink.send = held  # type: ignore[method-assign]
    owner.deliver(0, records(0, 2))
    await until(lambda: owner.offsets() == {0: 2})
    await owner.assign([], 60.0)
    assert owner.held() == set()
    again = asyncio.ensure_future(owner.assign([0], 60.0))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not again.done()
    gate.set()
    await again
    await until(lambda: owner.wanted() == {0})
    assert parts.sink.ids() == replay([event(n) for n in range(2)])
    await owner.drain(1.0)


async def test_what_goes_wrong_while_a_lane_is_let_go_of_stops_the_worker() -> None:
    parts = Parts()
    owner = parts.crew.assignment()
    await owner.assign([0], 1.0)
    await until(lambda: owner.wanted() == {0})

    async def broken(shard: int) -> None:
        raise ZeroDivisionError

    parts.sink.release = broken  # type: ignore[method-assign]
    await owner.assign([], 1.0)
    await until(lambda: bool(parts.fatal))
    assert isinstance(parts.fatal[0], ZeroDivisionError)
    await owner.drain(1.0)


@pytest.mark.parametrize("known", [-1, 5])
async def test_a_lost_state_is_not_taken_for_a_new_one_where_the_log_is_not_whole(known: int) -> None:
    parts = Parts()
    parts.log.append(0, *(event(n) for n in range(12)))
    lane = parts.crew.lane(0)
    if known < 0:  # a running worker has its own memory of it
        lane.start()
        await until(lambda: lane.wanting)
        lane.put(parts.log.poll(0, 5))
        await until(lambda: lane.shard.next_offset == 5)
    parts.store._shards.clear()
    parts.log.truncate(0, 3)
    bounds = parts.log.bounds

    async def told(partition: int) -> LogBounds:
        return (await bounds(partition))._replace(reached=known)

    parts.log.bounds = told  # type: ignore[method-assign]
    lane.start()
    if known < 0:
        lane.put(parts.log.poll(0, 3))
    await until(lambda: bool(parts.fatal))
    assert isinstance(parts.fatal[0], OffsetLost)
    assert "processed up to offset 5, and now its state is gone" in str(parts.fatal[0])
    assert parts.store._shards == {}


async def test_a_lane_tells_how_long_it_took_to_catch_up(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()
    told: list[tuple[int, int, float]] = []
    parts.crew.on_caught_up = lambda *what: told.append(what)
    parts.log.append(0, *(event(n) for n in range(12)))
    lane = parts.crew.lane(0)
    with caplog.at_level(logging.INFO, "steward.service"):
        lane.start()
        await until(lambda: lane.wanting)
        lane.put(parts.log.poll(0, 5))
        await until(lambda: lane.shard.next_offset == 5)
        assert told == []
        await parts.clock.sleep(2.5)
        lane.put(parts.log.poll(0, 7))
        await until(lambda: bool(told))
    assert told == [(0, 12, 2.5)]
    assert "shard 0 caught up with 12 records after 2.50 s" in caplog.text
    parts.log.append(0, event(12))
    lane.put(parts.log.poll(0, 5))
    await until(lambda: lane.shard.next_offset == 13)
    assert len(told) == 1
    await lane.stop(Deadline(parts.clock, 1.0))


@pytest.mark.parametrize("known", [True, False])
async def test_idle_time_on_a_log_that_was_empty_at_the_start_is_not_catching_up(known: bool) -> None:
    parts = Parts()
    told: list[tuple[int, int, float]] = []
    parts.crew.on_caught_up = lambda *what: told.append(what)
    parts.crew.idle_acknowledge_s = 0.01
    parts.log.partitions[0] = []
    if not known:  # only a fetch tells, as with Kafka
        bounds = parts.log.bounds

        async def unknown(partition: int) -> LogBounds:
            return (await bounds(partition))._replace(end=None)

        parts.log.bounds = unknown  # type: ignore[method-assign]
        parts.log.seen_end = lambda partition: len(parts.log.partitions[partition])  # type: ignore[method-assign]
    lane = parts.crew.lane(0)
    lane.start()
    async with asyncio.timeout(5):
        while not told:  # noqa: ASYNC110 - a moment of real time
            await asyncio.sleep(0.01)
    assert told == [(0, 0, 0.0)]
    await parts.clock.sleep(70.0)
    parts.log.append(0, *(event(n) for n in range(13)))
    lane.put(parts.log.poll(0, 13))
    await until(lambda: lane.shard.next_offset == 13)
    assert told == [(0, 0, 0.0)]
    await lane.stop(Deadline(parts.clock, 1.0))
