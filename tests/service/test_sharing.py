"""Entities that customers of several partitions share: every touch once, whatever dies; seen by the next batch."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from engine.adapters.clocks import ManualClock
from engine.adapters.memory_log import MemoryLog, MemoryRecord
from engine.adapters.memory_sink import MemorySink
from engine.adapters.memory_store import MemoryStore
from engine.core.partition import Partition
from engine.core.sharing import LayoutsDiffer, seen_names
from engine.ports.store import StateStore
from engine.service.crew import Crew
from engine.service.shard import Shard
from tests.service import sharing
from tests.service.sharing import MINUTE, ONE, SETS, SMALL, T0, TWO, Sharing
from tests.service.simulator.loop import run
from tests.service.simulator.simulation import Simulation


def logs_of(simulation: Simulation) -> tuple[sharing.Held, sharing.Held]:
    """What all logs together hold, and what one shard would have made of all records."""
    got = sharing.touches(*sharing.stored(simulation.store, len(simulation.records)))
    records = [[record.value for record in simulation.records[p]] for p in sorted(simulation.records)]
    return got, sharing.touches(*sharing.alone(records))


@pytest.mark.parametrize(("seed", "partitions"), [(s, (2, 3, 5, 8)[s % 4]) for s in range(16)])
def test_every_touch_once_whatever_goes_wrong(seed: int, partitions: int) -> None:
    """Killed, paused and replaced owners, lost answers, late requests, and a store that goes back, whole or in part."""
    simulation = Simulation(seed, world=Sharing(), events=240 // partitions, partitions=partitions)
    run(simulation.run())
    got, want = logs_of(simulation)
    assert got == want
    assert sum(sum(held.values()) for held in want.values()) > 100
    assert min(sharing.label_rows(want).values()) > 30  # matured, and told


@pytest.mark.parametrize("seed", range(500, 506))
def test_shards_that_change_rules_at_different_times_understand_each_other(seed: int) -> None:
    draw = random.Random(seed)
    switches = {draw.randrange(5, 60): TWO, draw.randrange(60, 80): draw.choice([ONE, TWO])}
    simulation = Simulation(seed, world=Sharing(switches), events=100, partitions=3)
    run(simulation.run())
    got, want = logs_of(simulation)
    # Filters and fields that only one of the rule sets keeps come and go with it; the touches themselves stay.
    assert {name: times(held) for name, held in got.items()} == {name: times(held) for name, held in want.items()}


def times(held: Counter[tuple[Any, ...]]) -> Counter[Any]:
    """How often each event time is in a log."""
    found: Counter[Any] = Counter()
    for touch, count in held.items():
        found[touch[0]] += count
    return found


class Deployment:
    """Shards over one store, taken by hand."""

    def __init__(self, shards: int, store: StateStore | None = None) -> None:
        self.memory = MemoryStore()
        self.store = store or self.memory
        self.sink = MemorySink()
        self.fatal: list[BaseException] = []
        self.crew = Crew(
            new_partition=lambda number: Partition(ONE, SMALL, shard=number, rulesets=SETS.get),
            store=self.store,
            log=MemoryLog(),
            sink=self.sink,
            clock=ManualClock(),
            random=lambda: 0.5,
            on_fatal=self.fatal.append,
            partitions=shards,
        )
        self.offsets = [0] * shards

    def shard(self, number: int) -> Shard:
        return self.crew.shard(number)

    async def opened(self, number: int) -> Shard:
        shard = self.shard(number)
        await shard.open()
        return shard

    def logs(self) -> sharing.Held:
        """What all logs together hold."""
        return sharing.touches(*sharing.stored(self.memory, self.crew.partitions))

    async def process(self, shard: Shard, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
        """The decisions on events in one batch."""
        first = max(0, shard.next_offset)
        records = [MemoryRecord(first + i, json.dumps(body).encode()) for i, body in enumerate(bodies)]
        outcome = await shard.process(records)
        return [json.loads(body) for _, body in outcome.effects.decisions]


def payment(number: int, customer: str, ip: str = "192.0.2.1", **fields: Any) -> dict[str, Any]:
    return {
        "type": "payment.requested", "event_id": f"e{number}", "payment_id": f"p{number}", "customer_id": customer,
        "event_time": T0 + number * MINUTE, "amount": 10, "currency": "EUR", "ip": ip, "card_id": f"card{number}",
        "merchant_id": "m", "device_id": "d", **fields,
    }  # fmt: skip


def crowd(count: int) -> list[dict[str, Any]]:
    """Payments of three customers at four addresses and five merchants."""
    return [payment(i, f"a{i % 3}", ip=f"192.0.2.{i % 4}", merchant_id=f"m{i % 5}") for i in range(count)]


def logs_of_one(bodies: Sequence[dict[str, Any]]) -> sharing.Held:
    """What the logs of one shard hold after the same events."""
    return sharing.touches(*sharing.alone([[json.dumps(body).encode() for body in bodies]]))


def saw(decision: dict[str, Any]) -> dict[str, Any]:
    """`seen` of a decision, by name."""
    return dict(zip(seen_names(SETS[decision["ruleset"]]), decision["seen"], strict=True))


@pytest.mark.parametrize("shards", [2, 4, 8])
async def test_a_batch_sees_what_any_shard_committed_before_it(shards: int) -> None:
    deployment = Deployment(shards)
    owned = [await deployment.opened(number) for number in range(shards)]
    number = 0
    for turn in range(12):
        shard = owned[turn * 5 % shards]
        bodies = [payment(number + i, f"c{shard.number}") for i in range(1 + turn % 3)]
        for i, decision in enumerate(await deployment.process(shard, *bodies)):
            seen = saw(decision)
            assert (seen["ip_7d"], seen["ip_cards_7d"], seen["merchant_7d"]) == (
                number + 1,
                number + 1,
                10 * (number + 1),
            )
            assert seen["pair_gap"] == (60 if number else None)
            assert seen["device_age"] == 60 * number
            number += 1
            assert i < len(bodies)
    for shard in owned:
        await shard.relay.close()


async def test_one_partition_says_nothing_of_what_it_saw() -> None:
    deployment = Deployment(1)
    shard = await deployment.opened(0)
    [decision] = await deployment.process(shard, payment(0, "c"))
    await shard.relay.close()
    head = await deployment.store.open(0)
    assert "seen" not in decision
    assert (head.touches, head.touches_next, await deployment.store.layout()) == ((), 0, None)


async def test_what_an_owner_left_is_delivered_before_the_next_loads() -> None:
    deployment = Deployment(2)
    first, second = deployment.shard(0), deployment.shard(1)
    await first.open()
    undelivered = first._neighbours.deliver
    first._neighbours.deliver = nothing  # type: ignore[method-assign]
    await deployment.process(first, *(payment(i, "a", ip=f"192.0.2.{i}") for i in range(6)))
    again = await deployment.opened(0)
    await second.open()
    [decision] = await deployment.process(second, payment(9, "b"))
    assert saw(decision)["ip_7d"] == 2
    await undelivered()  # the first owner wakes up, and delivers what the next one has delivered
    [decision] = await deployment.process(second, payment(10, "b"))
    assert (saw(decision)["ip_7d"], saw(decision)["merchant_7d"]) == (3, 80)
    for shard in (first, second, again):
        await shard.relay.close()


async def nothing() -> None:
    """Dies instead of delivering."""


async def test_a_source_that_goes_back_in_other_batches_touches_once() -> None:
    deployment = Deployment(2)
    source, other = await deployment.opened(0), await deployment.opened(1)
    bodies = crowd(24)
    await deployment.process(source, *bodies[:8])
    kept = copy_of(deployment.memory, 0)
    for start, end in ((8, 9), (9, 17), (17, 24)):
        await deployment.process(source, *bodies[start:end])
    restore(deployment.memory, 0, kept)
    again = deployment.shard(0)
    assert await again.open() == 8
    for start, end in ((8, 15), (15, 20), (20, 24)):
        await deployment.process(again, *bodies[start:end])
    want = logs_of_one(bodies)
    mine = deployment.logs()
    at_home_elsewhere = {name for name in want if int.from_bytes(name[-8:], "little") % 2 == 1}
    assert {name: mine[name] for name in at_home_elsewhere} == {name: want[name] for name in at_home_elsewhere}
    assert mine == want
    for shard in (source, other, again):
        await shard.relay.close()


async def test_a_home_that_goes_back_is_given_again_what_it_lost() -> None:
    deployment = Deployment(2)
    source = await deployment.opened(0)
    bodies = crowd(24)
    await deployment.process(source, *bodies[:8])
    kept = copy_of(deployment.memory, 1)
    for start, end in ((8, 9), (9, 17)):
        await deployment.process(source, *bodies[start:end])
    restore(deployment.memory, 1, kept)
    await deployment.process(source, *bodies[17:])
    want = logs_of_one(bodies)
    assert deployment.logs() == want
    await source.relay.close()


async def test_a_home_that_lost_more_than_is_kept_is_complained_of(caplog: pytest.LogCaptureFixture) -> None:
    deployment = Deployment(2)
    source = await deployment.opened(0)
    bodies = [payment(i, "a", ip=f"192.0.2.{i}", merchant_id=f"m{i}") for i in range(30)]
    for start in range(0, 20, 5):
        await deployment.process(source, *bodies[start : start + 5])
        await deployment.crew.clock.sleep(60.0)
    assert len((await deployment.store.open(0)).touches) <= 3  # what is delivered for long goes with a later commit
    deployment.memory._shards[1].state.clear()
    deployment.memory._shards[1].applied.clear()
    await deployment.process(source, *bodies[20:])
    assert "no longer kept" in caplog.text
    assert (await deployment.store.open(0)).touches
    assert deployment.memory._shards[1].applied == {0: 30}
    await source.relay.close()


async def test_a_whole_store_that_goes_back_is_noticed_before_anything_is_delivered() -> None:
    """Were the last delivery taken, the home would believe that it has those before it."""
    deployment = Deployment(2)
    source, other = await deployment.opened(0), await deployment.opened(1)
    bodies = crowd(24)
    await deployment.process(source, *bodies[:8])
    kept = [copy_of(deployment.memory, shard) for shard in (0, 1)]
    await deployment.process(source, *bodies[8:16])
    deliver = source._neighbours.deliver
    source._neighbours.deliver = nothing  # type: ignore[method-assign]
    await deployment.process(source, *bodies[16:20])
    for shard in (0, 1):
        restore(deployment.memory, shard, kept[shard])
    with pytest.raises(Exception, match="expected offset 20, stored 8"):
        await deliver()
    source._neighbours.deliver = deliver  # type: ignore[method-assign]
    assert await source.open() == 8
    await deployment.process(source, *bodies[8:])
    want = logs_of_one(bodies)
    assert deployment.logs() == want
    for shard_ in (source, other):
        await shard_.relay.close()


async def test_a_shard_learns_the_layout_another_has_agreed_on_since() -> None:
    deployment = Deployment(2)
    ahead, behind = await deployment.opened(0), await deployment.opened(1)
    assert [saw(d)["ip_7d"] for d in await deployment.process(behind, payment(0, "b"))] == [1]
    switch = {"type": "control.rules", "event_id": "r", "event_time": T0, "ruleset": TWO.hash}
    decisions = await deployment.process(ahead, switch, *(payment(i, "a", amount=40) for i in range(1, 5)))
    assert [saw(decision)["ip_big_7d"] for decision in decisions] == [1, 2, 3, 4]
    [decision] = await deployment.process(behind, payment(5, "b"))  # touches with a field it does not know
    assert (decision["ruleset"], saw(decision)["ip_7d"]) == (ONE.hash, 6)
    assert saw(decision)["ip_cards_7d"] == 2  # the others were recorded under rules that ask for no card
    for shard in (ahead, behind):
        await shard.relay.close()


async def test_state_under_another_layout_is_refused() -> None:
    deployment = Deployment(2)
    shard = await deployment.opened(0)
    await deployment.process(shard, payment(0, "a"))
    deployment.memory._layout = (
        b'{"version":1,"groups":[{"by":["card"],"filters":[],"columns":[],"ages":false,"retired":false}]}'
    )
    with pytest.raises(LayoutsDiffer, match="another layout"):
        await deployment.shard(0).open()
    await shard.relay.close()


def copy_of(store: MemoryStore, shard: int) -> Any:
    """A shard as it is now."""
    held = store._shards[shard]
    return [
        held.offset, held.outbox_first, list(held.outbox), {key: bytes(value) for key, value in held.state.items()},
        held.touches_first, list(held.touches), dict(held.applied),
    ]  # fmt: skip


def restore(store: MemoryStore, shard: int, kept: Sequence[Any]) -> None:
    """Put a shard back."""
    held = store._shards[shard]
    held.offset, held.outbox_first, held.touches_first = kept[0], kept[1], kept[4]
    for target, values in ((held.outbox, kept[2]), (held.touches, kept[5])):
        target.clear()
        target.extend(values)
    held.state = {key: bytearray(value) for key, value in kept[3].items()}
    held.applied = dict(kept[6])
