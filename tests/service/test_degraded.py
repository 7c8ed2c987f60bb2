"""Calls answered without the state: in time, of what is certain to be decided later, and the same to every repeat."""

import asyncio
import json

import pytest

from engine.ports.store import StoreUnavailable
from engine.ports.sync import Busy, Undecided
from engine.service import given as given_module
from engine.service.breaker import Breaker
from engine.service.given import GivenAnswers, Told
from tests.support.answering import CLOCK, NOW_MS, TTL_S, answering, payment
from tests.support.http import FlakyStore, until


def control(kind: str, **fields: object) -> bytes:
    return json.dumps({"event_id": f"k-{kind}", "type": kind, "event_time": NOW_MS, **fields}).encode()


async def test_with_the_state_there_nothing_is_different():
    async with answering() as it:
        status, body = await it.decide(payment(1), 5.0)
        assert (status, body["degraded"], it.answered) == ("decision", ["warming:n"] if body["rules"] else [], [])
        assert (await it.decide(payment(1), 5.0)) == ("duplicate", body)


@pytest.mark.parametrize("frozen", [True, False])
async def test_a_store_that_is_gone_or_slow_is_answered_for_and_everything_is_decided_later(frozen):
    async with answering() as it:
        await it.reader.read()
        await it.decide(payment(1), 5.0)
        if frozen:
            it.store.gate.clear()
        else:
            it.store.down = True
        told = [await it.decide(payment(n, 2000 if n == 3 else 10)) for n in (2, 3, 4)]
        assert [status for status, _ in told] == ["degraded"] * 3
        assert [body["decision"] for _, body in told] == ["approve", "step_up", "approve"]
        assert told[1][1]["degraded"] == ["state_unavailable", "event_not_stored", "assumed:large"]
        assert [await it.decide(payment(n)) for n in (2, 3, 4)] == told  # repeats, whatever else they say
        it.store.down = False
        it.store.gate.set()
        await until(lambda: it.owner.shard.next_offset == 4)
        assert [await it.decide(payment(n), 5.0) for n in (2, 3, 4)] == told
        await it.given.keep()
        assert it.settled == ["same", "same", "stronger"]  # with the state, e4 is one too many within the hour
        assert it.answered == ["approve", "step_up", "approve"]
        await it.owner.drain(5.0)
        sent = [json.loads(output.data) for _, _, output in it.sink.sent if output.kind == "decision"]
        assert [body["event_id"] for body in sent] == ["e1", "e2", "e3", "e4"]
        assert not any("state_unavailable" in body["degraded"] for body in sent)


async def test_another_process_and_a_later_one_know_the_first_answer():
    store = FlakyStore()
    async with answering(store) as it:
        await it.reader.read()
        await it.decide(payment(1), 5.0)
        store.gate.clear()
        _, told = await it.decide(payment(2, 5000))
        store.gate.set()
        await until(lambda: it.owner.shard.next_offset == 2)
        await it.given.keep()
    async with answering(store) as it:
        assert await it.decide(payment(2, 5000), 5.0) == ("duplicate", told)


async def test_an_event_decided_before_keeps_its_first_answer():
    store = FlakyStore()
    async with answering(store) as it:
        _, first = await it.decide(payment(1), 5.0)
    async with answering(store) as it:
        await it.reader.read()
        await until(lambda: it.owner.rulesets)
        await asyncio.sleep(0.02)  # the call is younger than the answer
        store.gate.clear()
        assert await it.decide(payment(1)) == ("duplicate", first)  # the store can still be asked
        store.down = True
        assert (await it.decide(payment(1)))[0] == "degraded"  # the node cannot know
        store.down = False
        store.gate.set()
        await until(lambda: it.owner.shard.next_offset == 3)
        await it.given.keep()
        assert len(it.given) == 0
        assert await it.decide(payment(1), 5.0) == ("duplicate", first)


async def test_lists_changed_on_the_log_hold_without_the_state():
    async with answering() as it:
        await it.owner.announce(0, control("control.list", name="blocked", add=["new"]))
        await it.reader.read()
        it.store.down = True
        found = [await it.decide(payment(n, merchant_id=name)) for n, name in enumerate(("evil", "new", "other"))]
        assert [body["decision"] for _, body in found] == ["decline", "decline", "approve"]


async def test_what_cannot_be_answered_is_not_and_is_decided_later():
    async with answering(queued_max=2) as it:
        it.store.gate.clear()
        with pytest.raises(Undecided):  # nobody knows what is in force yet
            await it.decide(payment(1))
        assert not it.decider.degraded_ready
        await it.reader.read()
        assert not it.decider.degraded_ready  # nor before decisions could be had once
        assert await it.decider.not_ready() == []
        assert it.decider.degraded_ready
        with pytest.raises(Undecided):  # it carries no decision, and is in memory only
            await it.decide(payment(2).replace(b"payment.requested", b"payment.settled"))
        await it.decide(payment(3))
        with pytest.raises(Busy):
            await it.decide(payment(4))
        assert not it.decider.degraded_ready
        it.store.gate.set()
        await until(lambda: it.owner.shard.next_offset == 3)
        assert (await it.decide(payment(1), 5.0))[0] == "duplicate"


async def test_a_refused_event_is_told_so_and_a_bulk_call_is_passed_on():
    async with answering() as it:
        await it.reader.read()
        it.store.gate.clear()
        assert (await it.decide(payment(1, -5)))[0] == "rejected"
        with pytest.raises(Undecided):
            await it.decider.decide([payment(2), payment(3)], 0.05)
        _, told = await it.decide(payment(2))
        it.store.gate.set()
        results = await it.decider.decide([payment(2), payment(4)], 5.0)
        assert [result.status for result in results] == ["duplicate", "decision"]
        assert json.loads(results[0].body) == told


async def test_repeats_that_wait_at_the_same_time_are_told_the_same():
    async with answering() as it:
        await it.reader.read()
        it.store.gate.clear()
        calls = [asyncio.create_task(it.decide(payment(1, amount), 0.05)) for amount in (10, 5000, 10)]
        answers = await asyncio.gather(*calls)
        assert answers[0] == answers[1] == answers[2]
        assert len(it.given) == 1


async def test_what_was_read_last_stands_and_a_new_rule_set_is_read():
    async with answering() as it:
        await it.reader.read()
        first = it.reader.standing
        it.store.down = True
        with pytest.raises(StoreUnavailable):
            await it.reader.read()
        assert it.reader.standing is first
        it.store.down = False
        await it.reader.read()
        assert it.reader.standing is first  # nothing has changed, nothing is made anew
        other = await it.library.add({"b.yaml": "rules: [{id: all, when: amount > 1, then: {decision: review}}]"})
        await it.owner.announce(0, control("control.rules", ruleset=other.hash))
        await it.reader.read()
        it.store.gate.clear()
        _, body = await it.decide(payment(1))
        assert (body["ruleset"], body["decision"]) == (other.hash, "review")


class Book:
    """An answer book that says what it is told to."""

    async def answer(self, shard: int, key: bytes) -> bytes | None:
        return None

    def __init__(self) -> None:
        self.replies: dict[bytes, tuple[bool, bytes | None]] = {}
        self.asked: list[bytes] = []

    async def give(self, shard: int, key: bytes, body: bytes, ttl_s: int, age_s: float) -> tuple[bool, bytes | None]:
        self.asked.append(key)
        return self.replies.get(key, (True, None))


async def test_comparisons_end_and_nothing_is_held_without_bound(monkeypatch):
    monkeypatch.setattr(given_module, "GIVEN_MAX", 3)
    monkeypatch.setattr(given_module, "ROUND_MAX", 2)
    book, settled = Book(), []
    given = GivenAnswers(book, CLOCK, ttl_s=TTL_S, on_settled=settled.append)
    now_s = CLOCK.now_s()

    def note(name: bytes, age_s: float = 0.0) -> None:
        given.note(name, Told(0, b"{}", "review", now_s - age_s))

    for name in (b"a", b"b", b"c"):
        note(name)
    await given.keep()
    await given.keep()
    assert set(book.asked) == {b"a", b"b", b"c"}  # a long line does not stop at its first
    book.replies = {
        b"a": (True, b'{"decision":"approve"}'),
        b"b": (True, b"null"),
        b"c": (False, b'{"decision":"review"}'),
    }
    await given.keep()
    await given.keep()
    assert sorted(settled) == ["same", "unknown", "weaker"]
    assert [given.find(name) for name in (b"a", b"b", b"c", None)] == [b"{}", b"{}", None, None]
    note(b"d", given_module.SETTLED_S + 1)
    await given.keep()
    assert (settled[3:], len(given)) == (["unknown"], 3)
    note(b"e")
    assert len(given) == 3
    given = GivenAnswers(book, CLOCK, ttl_s=TTL_S, on_settled=settled.append)
    note(b"f", TTL_S + 1.0)
    await given.keep()
    assert len(given) == 0


async def test_a_breaker_closes_once_a_probe_works():
    works = False
    probes = 0

    async def probe() -> None:
        nonlocal probes
        probes += 1
        if not works:
            raise StoreUnavailable("not yet")

    breaker = Breaker(probe, StoreUnavailable, CLOCK, within_s=1.0)
    breaker.trip()
    breaker.trip()
    await until(lambda: probes == 2)
    assert breaker.away
    works = True
    await until(lambda: not breaker.away)
    breaker.trip()
    breaker.worked()
    assert not breaker.away
    breaker.trip()
    await breaker.close()
    assert breaker.away
