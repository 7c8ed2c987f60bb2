import asyncio
from collections.abc import Sequence

import pytest

from engine.adapters.clocks import ManualClock
from engine.adapters.memory_sink import MemorySink
from engine.core.effects import Output
from engine.ports.sink import SinkOutput, SinkUnavailable
from engine.service.backoff import Backoff
from engine.service.deadline import Deadline
from engine.service.outage import Outage
from engine.service.outbox import Entry, encode
from engine.service.relay import SEND_OUTPUTS_MAX, Relay


def entry(first: int, count: int = 1) -> Entry:
    return Entry(first, [Output("decision", b"c", f"dec_{n}", n, b"{}") for n in range(first, first + count)])


class Bench:
    def __init__(self, queued_entries_max: int = 64) -> None:
        self.clock = ManualClock()
        self.sink = MemorySink()
        self.fatal: list[BaseException] = []
        self.relay = Relay(
            3,
            self.sink,
            clock=self.clock,
            backoff=Backoff(lambda: 0.0),
            outage=Outage("the sink", self.clock),
            on_fatal=self.fatal.append,
            queued_entries_max=queued_entries_max,
        )
        self.relay.adopt([], 0)

    async def flush(self) -> bool:
        return await self.relay.flush(Deadline(self.clock, 1.0))


async def test_outputs_go_out_in_order_and_are_acknowledged_by_entry() -> None:
    bench = Bench()
    for sequence in range(5):
        bench.relay.offer(sequence, entry(2 * sequence, 2))
    assert bench.relay.acknowledged == 0
    assert bench.relay.pending == 10
    bench.relay.start()
    assert await bench.flush()
    assert [(shard, ordinal, output.id) for shard, ordinal, output in bench.sink.sent] == [
        (3, n, f"dec_{n}") for n in range(10)
    ]
    assert bench.relay.acknowledged == 5
    assert bench.relay.pending == 0
    await bench.relay.close()


async def test_a_sink_that_fails_gets_the_same_again_after_growing_waits() -> None:
    bench = Bench()
    bench.sink.failures = 3
    bench.relay.offer(0, entry(0, 4))
    bench.relay.start()
    assert await bench.flush()
    assert bench.sink.ids() == ["dec_0", "dec_1", "dec_2", "dec_3"]
    assert len(bench.sink.sent) == 3 * 2 + 4
    assert bench.clock.slept == sorted(bench.clock.slept)
    assert len(bench.clock.slept) == 3
    assert bench.relay.acknowledged == 1
    await bench.relay.close()


async def test_a_full_queue_holds_the_shard_back_until_something_is_sent() -> None:
    bench = Bench(queued_entries_max=2)
    bench.relay.offer(0, entry(0))
    await asyncio.wait_for(bench.relay.room(), 1.0)
    bench.relay.offer(1, entry(1))
    waiting = asyncio.ensure_future(bench.relay.room())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    bench.relay.start()
    await asyncio.wait_for(waiting, 1.0)
    assert bench.relay.acknowledged > 0
    await bench.relay.close()


async def test_leftovers_of_the_store_are_adopted_once() -> None:
    bench = Bench()
    relay = Relay(
        3,
        bench.sink,
        clock=bench.clock,
        backoff=Backoff(lambda: 0.0),
        outage=Outage("the sink", bench.clock),
        on_fatal=bench.fatal.append,
    )
    leftovers = [(7, encode(entry(20, 2))), (8, encode(entry(22, 1)))]
    relay.adopt(leftovers, 9)
    assert relay.acknowledged == 7
    relay.adopt(leftovers, 9)
    relay.offer(9, entry(23))
    relay.start()
    assert await relay.flush(Deadline(bench.clock, 1.0))
    assert [ordinal for _, ordinal, _ in bench.sink.sent] == [20, 21, 22, 23]
    assert relay.acknowledged == 10
    await relay.close()


async def test_a_store_that_went_back_in_time_resets_the_sequence() -> None:
    bench = Bench()
    for sequence in range(4):
        bench.relay.offer(sequence, entry(sequence))
    bench.relay.start()
    assert await bench.flush()
    bench.relay.adopt([(1, encode(entry(1)))], 2)
    assert bench.relay.acknowledged == 1
    assert await bench.flush()
    bench.relay.offer(2, entry(2, 2))
    assert await bench.flush()
    assert bench.sink.ids() == ["dec_0", "dec_1", "dec_2", "dec_3"]
    assert bench.relay.acknowledged == 3
    await bench.relay.close()


async def test_sends_are_joined_up_to_a_bound() -> None:
    bench = Bench()
    calls: list[int] = []

    async def send(shard: int, first: int, outputs: list[Output]) -> None:
        calls.append(len(outputs))

    bench.sink.send = send  # type: ignore[method-assign, assignment]
    size = SEND_OUTPUTS_MAX // 2
    for sequence in range(3):
        bench.relay.offer(sequence, entry(sequence * size, size))
    bench.relay.offer(3, entry(5 * size))
    bench.relay.start()
    assert await bench.flush()
    assert calls == [2 * size, size, 1]
    await bench.relay.close()


class Paced(MemorySink):
    """Asks for a pause between calls, and notes when each began and how much it carried."""

    every_s = 0.01

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.calls: list[tuple[float, int]] = []

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        self.calls.append((round(self.clock.now_s(), 6), len(outputs)))
        await super().send(shard, first, outputs)


async def test_a_sink_that_asks_for_it_gets_its_calls_at_intervals_and_what_comes_meanwhile_together() -> None:
    bench = Bench()
    sink = bench.sink = bench.relay._sink = Paced(bench.clock)
    began = round(bench.clock.now_s(), 6)
    asleep, sleep = asyncio.Event(), bench.clock.sleep

    async def sleep_while_more_comes(seconds: float) -> None:
        if not asleep.is_set():
            asleep.set()
            bench.relay.offer(2, entry(2))
            bench.relay.offer(3, entry(3, 2))
        await sleep(seconds)

    bench.clock.sleep = sleep_while_more_comes  # type: ignore[method-assign]
    bench.relay.offer(0, entry(0))
    bench.relay.start()
    assert await bench.flush()
    bench.relay.offer(1, entry(1))
    assert await bench.flush()
    assert sink.calls == [(began, 1), (round(began + 0.01, 6), 4)]
    assert sink.ids() == [f"dec_{n}" for n in range(5)]
    await sleep(1.0)
    assert bench.clock.slept[:1] == [pytest.approx(0.01)]
    bench.relay.offer(4, entry(5))
    assert await bench.flush()
    assert sink.calls[2] == (round(began + 1.01, 6), 1)  # after a pause: at once
    await bench.relay.close()


async def test_a_call_that_is_full_is_not_held_up() -> None:
    bench = Bench()
    sink = bench.sink = bench.relay._sink = Paced(bench.clock)
    for sequence in range(3):
        bench.relay.offer(sequence, entry(sequence * SEND_OUTPUTS_MAX, SEND_OUTPUTS_MAX))
    bench.relay.start()
    assert await bench.flush()
    assert [at for at, _ in sink.calls] == [bench.clock.now_s()] * 3
    assert bench.clock.slept == []
    await bench.relay.close()


async def test_a_gap_in_the_sequence_and_a_broken_sink_are_faults() -> None:
    bench = Bench()
    with pytest.raises(ValueError, match="1 where 0 is next"):
        bench.relay.offer(1, entry(0))

    async def send(shard: int, first: int, outputs: list[Output]) -> None:
        raise KeyError("no such topic")

    bench.sink.send = send  # type: ignore[method-assign, assignment]
    bench.relay.offer(0, entry(0))
    bench.relay.start()
    assert not await bench.relay.flush(Deadline(bench.clock, 0.01))
    assert [type(error) for error in bench.fatal] == [KeyError]
    await bench.relay.close()


async def test_the_sink_is_told_whose_shards_it_serves() -> None:
    told: list[tuple[str, int]] = []

    class Watching(MemorySink):
        def take(self, shard: int) -> None:
            told.append(("take", shard))

        async def release(self, shard: int) -> None:
            told.append(("release", shard))

    clock = ManualClock()
    relay = Relay(
        3,
        Watching(),
        clock=clock,
        backoff=Backoff(lambda: 0.0),
        outage=Outage("the sink", clock),
        on_fatal=lambda error: None,
    )
    relay.adopt([], 0)
    relay.start()
    relay.start()
    await relay.close()
    await relay.close()
    assert told == [("take", 3), ("release", 3)]


async def test_a_sink_that_swallows_a_cancellation_does_not_keep_the_relay_open() -> None:
    bench = Bench()
    swallowed: list[int] = []

    async def send(shard: int, first: int, outputs: list[Output]) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            if swallowed:
                raise
            swallowed.append(first)

    bench.sink.send = send  # type: ignore[method-assign, assignment]
    bench.relay.offer(0, entry(0))
    bench.relay.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.wait_for(bench.relay.close(), 5.0)
    assert swallowed == [0]


async def test_a_relay_that_leaves_finishes_the_call_under_way_and_begins_no_other() -> None:
    bench = Bench()
    send, gate = bench.sink.send, asyncio.Event()

    async def held(shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        await gate.wait()
        await send(shard, first, outputs)

    bench.sink.send = held  # type: ignore[method-assign]
    bench.relay.offer(0, entry(0, 2))
    bench.relay.start()
    for _ in range(5):
        await asyncio.sleep(0)
    bench.relay.offer(1, entry(2, 2))
    leaving = asyncio.ensure_future(bench.relay.leave(Deadline(bench.clock, 60.0)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not leaving.done()
    gate.set()
    await leaving
    assert bench.sink.ids() == ["dec_0", "dec_1"]
    assert bench.relay.acknowledged == 1


@pytest.mark.parametrize("queued", [0, 1])
async def test_a_relay_that_leaves_does_not_try_again(queued: int) -> None:
    bench = Bench()
    tried: list[int] = []

    async def refused(shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        tried.append(first)
        bench.relay._leaving = True
        raise SinkUnavailable("another process has taken over the sending")

    bench.sink.send = refused  # type: ignore[method-assign]
    for number in range(queued):
        bench.relay.offer(number, entry(number))
    bench.relay.start()
    for _ in range(20):
        await asyncio.sleep(0)
    await bench.relay.leave(Deadline(bench.clock, 60.0))
    assert tried == [0] * queued
    assert not bench.fatal
