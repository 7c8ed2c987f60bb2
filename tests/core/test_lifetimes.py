"""Models of lifetimes: the sample is the customers of the lowest hashes, whoever comes when; what is in force follows
from the log; parameters that made a population are found again."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.lifetimes import (
    _ROW,
    HEAD_LIFETIMES,
    HEAD_SAMPLE,
    LAG_MS,
    PERIOD_MS,
    SAMPLE_MAX,
    DamagedLifetimes,
    Fitted,
    Lifetimes,
    Sample,
    Seen,
    fit,
)
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.ops import APPEND, DELETE, unpack
from engine.domain.trainer import Inline
from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.customer import Population
from tests.core.campaign_world import campaigns, run

NOW = 1_767_225_600_000


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=60), st.integers(1, 8), st.integers(0, 60))
def test_a_sample_goes_on_where_its_rows_end(notes: list[tuple[int, int]], size: int, cut: int) -> None:
    live, rows, stored = Sample(size=size), b"", b""
    for place, (number, payments) in enumerate(notes):
        if live.wants(number):
            seen = Seen(1, place, 0, 5, payments)
            live.put(number, seen)
            rows += _ROW.pack(number, *seen)
        if place == cut:
            rows = live.rows()
    stored = rows
    assert Sample(stored, size).of == live.of
    assert len(live.of) <= size


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 1_000), max_size=60, unique=True), st.randoms())
def test_a_sample_is_the_lowest_numbers_in_any_order(numbers: list[int], draw: random.Random) -> None:
    sample = Sample(size=10)
    draw.shuffle(numbers)
    for number in numbers:
        if sample.wants(number):
            sample.put(number, Seen(1, 1, 0, 5, 1))
    assert sorted(sample.of) == sorted(numbers)[:10]


def simulated(customers: int) -> bytes:
    """Customers of BG/NBD with r 0.8, alpha 12, a 0.8, b 2.5 over a year; amounts around a mean of their own."""
    draw, rows = random.Random(3), []
    for number in range(customers):
        rate, leaves = draw.gammavariate(0.8, 1 / 12), draw.betavariate(0.8, 2.5)
        at, times = 0.0, [0.0]
        while draw.random() >= leaves or len(times) == 1:
            at += draw.expovariate(rate)
            if at > 365:
                break
            times.append(at)
        spent = sum(draw.gammavariate(6, 500) for _ in times)
        ms = [NOW + round(time * DAY_MS) for time in times]
        rows.append(_ROW.pack(number, ms[0], ms[-1], ms[1] if len(ms) > 1 else 0, round(spent), len(ms)))
    return b"".join(rows)


def test_a_fit_finds_what_made_the_population() -> None:
    fitted = fit(simulated(SAMPLE_MAX), NOW + 365 * DAY_MS)
    assert fitted.alive is not None
    assert fitted.amount is not None
    assert fitted.gap is not None
    ahead = fitted.alive.r / fitted.alive.alpha
    assert ahead == pytest.approx(0.8 / 12, rel=0.2), "mean rate"
    x = np.array([3.0])
    assert fitted.amount.mean_amount(x, np.array([3_000.0]))[0] == pytest.approx(3_000.0, rel=0.05)
    assert fitted.gap.survival[0] == 1.0
    assert 0.0 < fitted.gap.survival[-1] < 0.8
    assert fit(simulated(50), NOW) == Fitted(None, None, None), "too few"


def test_what_is_in_force_follows_from_the_log_and_is_asked_for_again_after_a_restart() -> None:
    """Boundaries of 30 days: begun, asked for, taken into use after the lag; with a restart in between."""
    head: dict[bytes, bytes] = {}
    rows = simulated(300)

    def started() -> tuple[Lifetimes, Population]:
        population = Population()
        return Lifetimes(head, population, Inline(), backed=True), population

    def store(one: Lifetimes) -> None:
        for op in (unpacked for packed in one.ops() for unpacked in unpack(packed)):
            if op.kind == DELETE:
                head.pop(op.key, None)
            else:
                head[op.key] = (head.get(op.key, b"") if op.kind == APPEND else b"") + op.value

    first = NOW // PERIOD_MS * PERIOD_MS
    head[HEAD_SAMPLE] = rows
    one, population = started()
    one.begin(first)
    one.begin(first + PERIOD_MS - 3_600_000)
    assert population.alive is None
    one.begin(first + PERIOD_MS)
    store(one)
    again, later = started()
    for hour in range(0, LAG_MS, 3_600_000):
        one.begin(first + PERIOD_MS + hour)
        again.begin(first + PERIOD_MS + hour)
        assert population.alive is later.alive is None
    one.begin(first + PERIOD_MS + LAG_MS)
    again.begin(first + PERIOD_MS + LAG_MS)
    assert population.alive == later.alive == fit(rows, first + PERIOD_MS).alive
    store(again)
    _, stored = started()
    assert (stored.alive, stored.amount) == (later.alive, later.amount)
    assert stored.gap is not None
    assert later.gap is not None
    assert (stored.gap.survival == later.gap.survival).all()
    head[HEAD_LIFETIMES] = head[HEAD_LIFETIMES][:-1] + b"\x00"
    with pytest.raises(DamagedLifetimes, match="checksum"):
        started()


def months() -> list[bytes]:
    """Payments of 250 customers over 100 days, each at a rate of their own, some refunded, one customer erased."""
    draw, events = random.Random(5), list[dict[str, object]]()
    for customer in range(250):
        at, rate = draw.uniform(0, 60), draw.gammavariate(1.0, 0.1)
        while at < 100:
            number, ms = len(events), NOW + round(at * DAY_MS)
            body = {"event_id": f"e{number}", "customer_id": f"c{customer}", "payment_id": f"p{number}",
                    "amount": draw.randrange(5, 200), "currency": "EUR"}  # fmt: skip
            events.append({**body, "type": "payment.settled", "event_time": ms})
            if draw.random() < 0.1:
                back = {"event_id": f"b{number}", "type": "payment.refunded", "event_time": ms + 3_600_000}
                events.append({**body, **back})
            at += draw.expovariate(rate)
    events.append({"event_id": "x", "customer_id": "c7", "type": "account.erased", "event_time": NOW + 40 * DAY_MS})
    return [json.dumps(event).encode() for event in sorted(events, key=lambda event: str(event["event_time"]))]


def test_a_shard_fits_the_same_models_however_its_log_is_cut() -> None:
    records, ruleset = months(), campaigns()

    def population(partition: Partition) -> Population:
        return partition._engagement._campaigning._population

    settings = CoreSettings(customers_max=50)
    outputs, _, plain = run(ruleset, records, 100, settings=settings)
    assert population(plain).alive is not None, "the stream is of months, and a fit is in force"
    again, _, started = run(ruleset, records, 17, restart_every=7, settings=settings)
    assert [one.data for one in again] == [one.data for one in outputs]
    assert population(started).alive == population(plain).alive
    assert population(started).amount == population(plain).amount
