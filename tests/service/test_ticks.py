"""Ticks go to shards that wait and stand still, and to no other."""

import json

import pytest

from engine.adapters.clocks import ManualClock
from engine.core.controls import may_be_control
from engine.core.decode import Decoder
from engine.domain.events import ControlTick
from engine.ports.log import LogUnavailable
from engine.service.marks import NO_LOG
from engine.service.outage import Outage
from engine.service.sole import SoleOwner
from engine.service.ticks import BELIEVED_MS, Ticker
from tests.core.rig import HOUR, event
from tests.service.observing import Observing
from tests.service.parts import Parts

NOW = 1_760_000_000_000


class World:
    """Shards as the ticker sees them; `announce` moves the one that gets a tick, as its owner would."""

    def __init__(self, waiting: dict[int, int | None]) -> None:
        self.waiting = waiting
        self.now_ms = NOW
        self.ticks: list[tuple[int, int]] = []
        self.away = False
        clock = ManualClock()
        self.ticker = Ticker(
            lambda: self.waiting, self, clock=clock, outage=Outage("the log", clock), every_s=30.0,
            now_ms=lambda: self.now_ms,
        )  # fmt: skip

    async def announce(self, shard: int, record: bytes) -> None:
        if self.away:
            raise LogUnavailable("away")
        assert may_be_control(record)
        (placed,) = Decoder().decode([record]).controls
        assert isinstance(placed.event, ControlTick)
        time_ms = json.loads(record)["event_time"]
        self.ticks.append((shard, time_ms))
        self.waiting[shard] = time_ms

    async def look(self, passed_ms: int = 30_000) -> list[tuple[int, int]]:
        self.now_ms += passed_ms
        self.ticks.clear()
        await self.ticker.look()
        return list(self.ticks)


async def test_a_shard_that_waits_and_stands_still_gets_wall_time() -> None:
    world = World({0: NOW, 1: None, 2: NOW})
    assert await world.look() == []
    world.waiting[2] = NOW + 60_000
    assert await world.look() == [(0, NOW + 60_000)]
    assert await world.look() == [(0, NOW + 90_000), (2, NOW + 90_000)]
    world.waiting[0] = None
    assert await world.look() == [(2, NOW + 120_000)]


@pytest.mark.parametrize("off", [-400 * 86_400_000, -BELIEVED_MS - 60_000, 3_600_000])
async def test_a_shard_that_lives_in_another_time_goes_on_from_there(off: int) -> None:
    world = World({3: NOW + off})
    assert await world.look() == []
    assert await world.look() == [(3, NOW + off + 30_000)]
    assert await world.look(45_000) == [(3, NOW + off + 75_000)]


async def test_what_cannot_be_appended_is_left_to_the_next_look_and_a_clock_set_back_to_later() -> None:
    world = World({0: NOW})
    await world.look()
    world.away = True
    assert await world.look() == []
    world.away = False
    assert await world.look() == [(0, NOW + 90_000)]
    assert await world.look(-3_600_000) == []


async def test_it_looks_until_it_is_stopped() -> None:
    world = World({0: NOW})
    world.away = True

    class Ended(Exception):
        pass

    looks: list[float] = []

    async def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise Ended

    world.ticker._clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(Ended):
        await world.ticker.run()
    assert looks == [30.0] * 3


async def test_an_owner_without_a_log_is_woken_and_goes_to_sleep_again() -> None:
    parts = Parts()
    machine = Observing().machine(0, lambda: None)
    parts.crew.new_partition = lambda number: machine
    parts.crew.partitions = NO_LOG
    owner = SoleOwner(
        parts.crew.shard(0), lambda: parts.store.answer(0, b"probe"), limits=parts.crew.limits, clock=parts.clock,
        store_outage=parts.crew.store_outage, on_batch=lambda outcome: None, on_fatal=parts.fatal.append,
    )  # fmt: skip
    now_ms = NOW
    ticker = Ticker(
        lambda: owner.waiting, owner, clock=parts.clock, outage=parts.crew.store_outage, every_s=30.0,
        now_ms=lambda: now_ms,
    )  # fmt: skip
    owner.start()
    await owner.decide([json.dumps(event(1, "payment.captured", NOW)).encode()], 9.0)
    assert owner.waiting == {0: NOW}
    await ticker.look()
    for passed in range(1, 9):
        now_ms = NOW + passed * HOUR
        await ticker.look()
    assert owner.waiting == {0: None}
    assert await owner.drain(9.0)
    assert [body["event_id"] for _, _, output in parts.sink.sent if (body := json.loads(output.data))] == ["e1"]
    assert parts.fatal == []
