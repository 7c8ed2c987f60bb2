"""Synchronous calls through the log: an owner in the same process stands for the worker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
import pytest

from engine.adapters.clocks import SystemClock
from engine.adapters.memory_log import MemoryRecord
from engine.adapters.memory_sink import MemorySink
from engine.adapters.memory_store import MemoryStore
from engine.ports.log import LogUnavailable
from engine.ports.store import StoreUnavailable
from engine.ports.sync import ON_LOG, Busy, SyncResult, Undecided
from engine.service.backoff import Backoff
from engine.service.outage import Outage
from engine.service.relay import Relay
from engine.service.shard import Shard
from engine.service.sync_log import LogDecider
from tests.support.http import FlakyStore, login, payment, until
from tests.support.judging import JudgingPartition

CLOCK = SystemClock()


def backoff() -> Backoff:
    return Backoff(lambda: 0.0, first_s=0.01, max_s=0.02)


class OwnedLog:
    """A log of one partition whose owner processes each record as it is written; `working` holds the owner back."""

    def __init__(self, store: MemoryStore, fatal: list[BaseException]) -> None:
        outage = Outage("the store", CLOCK)
        relay = Relay(0, MemorySink(), clock=CLOCK, backoff=backoff(), outage=outage, on_fatal=fatal.append)
        self.shard = Shard(
            0,
            JudgingPartition(),
            store,
            relay,
            clock=CLOCK,
            backoff=backoff(),
            outage=outage,
            source=lambda offset: {"offset": offset},
        )
        self.records: list[MemoryRecord] = []
        self.working = True
        self.away = False
        self.frozen = False

    async def write(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> int:
        if self.away:
            raise LogUnavailable("the test took the log away")
        if self.frozen:
            await asyncio.Event().wait()
        self.records.append(MemoryRecord(len(self.records), value, key, headers))
        if self.working:
            await self.work()
        return 0

    async def work(self) -> None:
        await self.shard.process(self.records[max(0, self.shard.next_offset) :])

    async def check(self) -> None:
        if self.frozen:
            await asyncio.Event().wait()
        if self.away:
            raise LogUnavailable("the test took the log away")


class BrokenLine:
    """Replies whose line breaks as often as told, then works."""

    def __init__(self, store: MemoryStore, breaks: int) -> None:
        self._store = store
        self.breaks = breaks

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if self.breaks:
            self.breaks -= 1
            raise StoreUnavailable("the test broke the line")
        async with self._store.subscribe(channel) as payloads:
            yield payloads


@asynccontextmanager
async def deciding(breaks: int = 0, hasty: bool = False) -> AsyncIterator[tuple[LogDecider, OwnedLog, FlakyStore]]:
    store, fatal = FlakyStore(), []
    log = OwnedLog(store, fatal)
    await log.shard.open()
    decider = LogDecider(
        JudgingPartition(),
        log,
        BrokenLine(store, breaks),
        store.answer,
        clock=CLOCK,
        backoff=backoff(),
        outage=Outage("the line of replies", CLOCK),
        on_fatal=fatal.append,
        hasty=hasty,
    )
    decider.start()
    await until(lambda: decider._listening)
    yield decider, log, store
    await decider.drain(1.0)
    await log.shard.relay.close()
    assert fatal == []


def event(fields: dict[str, str]) -> bytes:
    return orjson.dumps(fields)


async def test_a_call_is_written_keyed_by_customer_and_answered_by_the_owner():
    async with deciding() as (decider, log, _):
        (result,) = await decider.decide([event(payment(1, "anna"))], 5.0)
        assert result == SyncResult("decision", b'{"event_id":"e1","decision":"approve","number":1}')
        assert log.records[0].key == b"anna"
        assert {name for name, _ in log.records[0].headers} == {"steward-reply-to", "steward-request-id"}


async def test_a_repeat_gets_the_first_answer_and_an_event_without_a_decision_is_accepted():
    async with deciding() as (decider, _, _):
        (first,) = await decider.decide([event(payment(1))], 5.0)
        (again,) = await decider.decide([event(payment(1))], 5.0)
        assert again == SyncResult("duplicate", first.body)
        assert await decider.decide([event(login(1))], 5.0) == [SyncResult("accepted", b"null")]


async def test_what_would_be_refused_is_answered_at_once_and_not_written():
    async with deciding() as (decider, log, _):
        refused, taken = await decider.decide([b"{", event(payment(1))], 5.0)
        assert refused.status == "rejected"
        assert b'"reason":"not_json"' in refused.body
        assert taken.status == "decision"
        assert len(log.records) == 1


async def test_no_owner_means_no_decision_in_time_and_a_repeat_gets_it_later():
    async with deciding() as (decider, log, _):
        log.working = False
        with pytest.raises(Undecided) as undecided:
            await decider.decide([event(payment(1))], 0.05)
        assert (undecided.value.kept, undecided.value.shard) == (ON_LOG, 0)
        log.working = True
        await log.work()
        (result,) = await decider.decide([event(payment(1))], 5.0)
        assert (result.status, b'"number":1' in result.body) == ("duplicate", True)


async def test_a_reply_that_got_lost_is_looked_up_in_the_store():
    async with deciding() as (decider, log, _):
        log.working = False
        call = asyncio.create_task(decider.decide([event(payment(1))], 0.2))
        await until(lambda: log.records)
        record = log.records[0]
        # The owner publishes to a channel nobody hears, as when the line breaks between write and reply.
        log.records[0] = record._replace(headers=(("steward-reply-to", b"nobody"), ("steward-request-id", b"1")))
        await log.work()
        (result,) = await call
        assert (result.status, b'"number":1' in result.body) == ("decision", True)


async def test_a_broken_line_is_opened_again_and_until_then_calls_are_refused():
    async with deciding(breaks=3) as (decider, _, _):
        (result,) = await decider.decide([event(payment(1))], 5.0)
        assert result.status == "decision"
        decider._listening = False
        with pytest.raises(Busy, match="replies"):
            await decider.decide([event(payment(2))], 5.0)
        assert "replies cannot be received" in (await decider.not_ready())[0]


async def test_a_log_that_is_away_is_said():
    async with deciding() as (decider, log, _):
        assert await decider.not_ready() == []
        log.away = True
        with pytest.raises(Busy, match="took the log away"):
            await decider.decide([event(payment(1))], 5.0)
        assert "took the log away" in (await decider.not_ready())[0]


async def test_a_log_that_takes_nothing_in_time_is_not_asked_again_until_it_works():
    async with deciding() as (decider, log, _):
        log.frozen = True
        with pytest.raises(Undecided) as undecided:
            await decider.decide([event(payment(1))], 0.05)
        assert (undecided.value.kept, decider.taking) == ("", False)
        for number in range(2, 5):
            with pytest.raises(Busy, match="log is not available"):
                await decider.decide([event(payment(number))], 5.0)
        assert log.records == []
        log.frozen = False
        await until(lambda: decider.taking)
        assert (await decider.decide([event(payment(2))], 5.0))[0].status == "decision"


async def test_while_no_reply_can_be_heard_events_are_taken_for_somebody_else_to_answer():
    async with deciding(hasty=True) as (decider, log, store):
        log.working = decider._listening = False
        for number in (1, 2):
            with pytest.raises(Undecided) as undecided:
                await decider.decide([event(payment(number))], 60.0)  # far longer than this test may take
            assert undecided.value.kept == ON_LOG
        assert len(log.records) == 2
        decider._listening = True
        store.down = True
        assert "took the store away" in (await decider.not_ready())[0]
        decider._store.away = False
        with pytest.raises(Undecided):
            await decider.decide([event(payment(3))], 0.2)  # finds the store away; the next one does not wait for it
        with pytest.raises(Undecided):
            await decider.decide([event(payment(4))], 60.0)
        store.down = False
        log.working = True
        await log.work()
        await until(lambda: not decider._store.away)
        assert await decider.not_ready() == []
        (again,) = await decider.decide([event(payment(1))], 5.0)
        assert (again.status, b'"number":1' in again.body) == ("duplicate", True)


async def test_draining_waits_for_replies_and_takes_nothing_more():
    async with deciding() as (decider, log, _):
        log.working = False
        call = asyncio.create_task(decider.decide([event(payment(1))], 5.0))
        await until(lambda: log.records)
        draining = asyncio.create_task(decider.drain(5.0))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="stopping"):
            await decider.decide([event(payment(2))], 5.0)
        await log.work()
        assert await draining
        assert (await call)[0].status == "decision"


async def test_a_message_that_is_not_a_reply_is_ignored(caplog):
    async with deciding() as (decider, _, store):
        (queues,) = store._listeners.values()
        for queue in queues:
            queue.put_nowait(b"hello")
        assert (await decider.decide([event(payment(1))], 5.0))[0].status == "decision"
        assert "not one of ours" in caplog.text


def test_an_explanation_comes_with_the_decision_and_is_not_kept():
    async def run() -> None:
        async with deciding() as (decider, log, _):
            plain, explained = event(payment(1)), event(payment(2))
            assert [result.explanation for result in await decider.decide([plain], 5.0)] == [b""]
            (first,) = await decider.decide([explained], 5.0, explain=True)
            assert (first.status, first.explanation) == ("decision", b'{"of":"0"}')
            assert orjson.loads(first.body)["event_id"] == "e2"
            assert ("steward-explain", b"true") in log.records[-1].headers
            (again,) = await decider.decide([explained], 5.0, explain=True)
            assert again == SyncResult("duplicate", first.body)

    asyncio.run(run())
