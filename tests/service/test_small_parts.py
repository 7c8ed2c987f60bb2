"""Batching, framing, waiting: the parts that stand on their own."""

import logging
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.adapters.clocks import ManualClock
from engine.adapters.memory_log import MemoryRecord
from engine.core.controls import may_be_control
from engine.core.effects import OUTPUT_KINDS, Output
from engine.ports.store import StoreUnavailable
from engine.service.backoff import Backoff
from engine.service.batching import BatchLimits, split
from engine.service.deadline import Deadline
from engine.service.outage import REMIND_EVERY_S, Outage, until_it_works
from engine.service.outbox import Entry, decode, encode
from engine.service.replies import REPLY_TO, event_key, find_calls

outputs = st.builds(
    Output,
    st.sampled_from(OUTPUT_KINDS),
    st.binary(max_size=600),
    st.text(max_size=40),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=2000),
)


@given(st.integers(0, 2**64 - 1), st.lists(outputs, max_size=6))
def test_an_outbox_entry_reads_back_as_it_was(first: int, items: list[Output]) -> None:
    assert decode(encode(Entry(first, items))) == Entry(first, items)


@given(st.lists(outputs, min_size=1, max_size=3), st.data())
def test_a_damaged_outbox_entry_is_refused(items: list[Output], data: st.DataObject) -> None:
    payload = encode(Entry(1, items))
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(ValueError, match="truncated"):
        decode(payload[:cut])
    with pytest.raises(ValueError, match="trailing"):
        decode(payload + b"x")
    with pytest.raises(ValueError, match="version 9"):
        decode(b"\x09" + payload[1:])
    with pytest.raises(ValueError, match="unknown kind"):
        encode(Entry(0, [Output("gossip", b"", "x", 0, b"")]))


@given(st.lists(st.none() | st.binary(max_size=40), max_size=60), st.integers(1, 9), st.integers(1, 60))
def test_batches_keep_to_their_bounds_and_lose_nothing(values: list[bytes | None], events: int, size: int) -> None:
    records = [MemoryRecord(n, value) for n, value in enumerate(values)]
    batches = list(split(records, BatchLimits(events, size)))
    assert [record for batch in batches for record in batch] == records
    for batch in batches:
        assert 1 <= len(batch) <= events
        assert len(batch) == 1 or sum(len(record.value or b"") for record in batch) <= size
    for before, after in pairwise(batches):
        joined = sum(len(record.value or b"") for record in [*before, after[0]])
        assert len(before) == events or joined > size, "a batch was cut short"


def test_waits_double_up_to_a_bound_and_start_over_when_it_worked() -> None:
    backoff = Backoff(lambda: 1.0, first_s=0.1, max_s=1.0)
    assert [round(backoff.next_s(), 3) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert round(backoff.next_s(), 3) == 0.1
    low = Backoff(lambda: 0.0, first_s=0.1, max_s=1.0)
    assert round(low.next_s(), 3) == 0.05


async def test_a_deadline_is_shared_by_what_follows_each_other() -> None:
    clock = ManualClock()
    deadline = Deadline(clock, 2.0)
    await clock.sleep(1.5)
    assert deadline.left_s() == 0.5
    assert not deadline.passed()
    await clock.sleep(1.0)
    assert deadline.left_s() == 0.0
    assert deadline.passed()


async def test_an_outage_is_told_once_then_once_a_minute_then_its_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    outage = Outage("the store", clock)
    tries = 0

    async def call() -> str:
        nonlocal tries
        tries += 1
        if clock.now_s() < REMIND_EVERY_S * 1.5:
            raise StoreUnavailable("connection refused")
        return "done"

    with caplog.at_level(logging.INFO):
        assert await until_it_works(call, StoreUnavailable, outage, Backoff(lambda: 0.5), clock) == "done"
    assert tries > 10
    assert [record.message.split(" after")[0] for record in caplog.records] == [
        "the store is not available, waiting for it: connection refused",
        "the store is still not available",
        "the store is back",
    ]
    assert not outage.down


async def test_only_the_named_error_is_waited_for() -> None:
    clock = ManualClock()

    async def call() -> None:
        raise KeyError("a fault of ours")

    with pytest.raises(KeyError):
        await until_it_works(call, StoreUnavailable, Outage("the store", clock), Backoff(lambda: 0.5), clock)
    assert clock.slept == []


def test_calls_are_found_by_their_header_alone() -> None:
    plain = MemoryRecord(0, b"{}")
    other = MemoryRecord(1, b"{}", headers=[("traceparent", b"x")])
    asked = MemoryRecord(2, b"{}", headers=[(REPLY_TO, b"node"), ("steward-request-id", b"r" * 100)])
    far = MemoryRecord(3, b"{}", headers=[(REPLY_TO, b"n" * 1000)])
    assert [(call.row, call.channel, call.request) for call in find_calls([plain, other, asked, far])] == [
        (2, "node", "r" * 64)
    ]


def test_an_event_key_names_customer_and_event() -> None:
    key = event_key(b'{"customer_id":"ab","event_id":"c"}')
    assert key is not None
    assert len(key) == 16
    assert key != event_key(b'{"customer_id":"a","event_id":"bc"}')
    assert key == event_key(b' {"event_id" : "c", "amount": 1, "customer_id":"ab"}')
    assert [event_key(value) for value in (None, b"", b"[]", b'{"event_id":"c"}')] == [None] * 4


@given(st.lists(st.sampled_from([None, b"", b"{}", b"control", b".", b"control.", b"\\u006e", b"\\"]), max_size=40))
def test_what_may_be_a_control_event_begins_its_batch(values: list[bytes | None]) -> None:
    records = [MemoryRecord(n, value) for n, value in enumerate(values)]
    batches = list(split(records, BatchLimits(6, 30)))
    assert [record for batch in batches for record in batch] == records
    firsts = [batch[0].offset for batch in batches]
    assert {record.offset for record in records if may_be_control(record.value)} <= set(firsts)
    for before, after in pairwise(batches):
        joined = sum(len(record.value or b"") for record in [*before, after[0]])
        assert len(before) == 6 or joined > 30 or may_be_control(after[0].value), "a batch was cut short"
