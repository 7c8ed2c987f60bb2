"""What is carried on from payment to payment is what would be found by looking at all of them."""

import math
import operator
from collections import Counter
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.calendar import DAY_MS, HOUR_MS, local, local_day
from engine.engagement.customer import history as histories
from engine.engagement.customer.customer import Customer, Population
from engine.engagement.customer.habits import GAP_FADE, GAP_MS_MIN, GAPS, Habits, Paid
from engine.engagement.customer.history import History
from engine.engagement.models.bgnbd import BgNbd
from tests.engagement.paying import settle

START = 1_767_571_200_000
ZONES = ("", "America/New_York", "Asia/Kolkata")

steps = st.lists(
    st.tuples(
        st.sampled_from(["pay", "pay", "pay", "pay", "late", "refund", "void", "ask"]),
        st.sampled_from([0, 60_000, 2 * HOUR_MS, 12 * HOUR_MS, DAY_MS, DAY_MS, 3 * DAY_MS, 40 * DAY_MS]),
        st.sampled_from([100, 500, 900]),
        st.sampled_from(ZONES[:2]),
    ),
    max_size=60,
)


def naive_streak(some: list[Paid], now_ms: int, zone: str, minor_min: int) -> int:
    sums: Counter[int] = Counter()
    for paid in some:
        if paid.time_ms <= now_ms:
            sums[local_day(paid.time_ms, zone)] += paid.minor - paid.refunded
    day = local_day(now_ms, zone)
    day -= sums[day] < minor_min
    length = 0
    while sums[day - length] >= minor_min:
        length += 1
    return length


def naive_peak(some: list[Paid], zone: str) -> tuple[int, float]:
    counts = Counter(local(paid.time_ms, zone).hour for paid in some)
    found = [(counts[hour] + counts[(hour + 1) % 24], counts[hour], -hour) for hour in range(24)]
    most = max(found)
    return -most[2], most[0] / len(some)


def naive_spread(gaps: list[int]) -> float:
    weights = [GAP_FADE**age for age in reversed(range(len(gaps)))]
    total = sum(weights)
    if not gaps:
        return 0.0
    mean = sum(map(operator.mul, weights, gaps)) / total
    return math.sqrt(sum(w * (gap - mean) ** 2 for w, gap in zip(weights, gaps, strict=True)) / total)


def check(history: History, now_ms: int, zone: str) -> None:
    some = history.paid
    gaps = [later.time_ms - before.time_ms for before, later in pairwise(some)]
    assert history.gaps() == [gap for gap in gaps if gap >= GAP_MS_MIN][-GAPS:]
    assert history.gap_ms() == Habits().gap_ms(some)
    assert history.spread_ms() == Habits().spread_ms(some)
    assert abs(history.spread_ms() - naive_spread(history.gaps())) <= 1_000  # roundings of squares, in a second
    hour, share = history.peak(zone)
    assert (hour, share) == naive_peak(some, zone) if some else math.isnan(share)
    for minor_min in (500, 900):
        assert history.streak(now_ms, zone, minor_min) == naive_streak(some, now_ms, zone, minor_min)
    month = local(now_ms, zone).year * 12 + local(now_ms, zone).month - 1
    mine = [one for number, one in history.months.items() if number > month - 12]
    assert history.year(month) == (sum(one.payments for one in mine), sum(one.minor for one in mine))
    assert history.last_month() == max(history.months, default=-1)
    since = now_ms - 28 * DAY_MS
    kept = [paid.minor - paid.refunded for paid in some if since < paid.time_ms <= now_ms]
    assert history.spend(since, now_ms) == sum(kept)
    if some:
        within = [one.category for one in some[:-1] if one.time_ms > some[-1].time_ms - 180 * DAY_MS]
        assert history.fresh("category", 180 * DAY_MS) == (some[-1].category not in ("", *within))


@settings(max_examples=150, deadline=None)
@given(steps, st.sampled_from(ZONES), st.sampled_from([4, 20, 200]))
def test_habits_are_those_of_all_payments(steps: list[tuple[str, int, int, str]], zone: str, most: int) -> None:
    kept, histories.PAID_MAX = histories.PAID_MAX, most
    try:
        history, now = History(), START
        for number, (kind, after, minor, of) in enumerate(steps):
            now += after
            if kind in ("pay", "late"):
                at = now if kind == "pay" else now - 2 * DAY_MS
                history.pay(Paid(at, number, minor, 0, "card", f"{minor}" if number % 5 else "", "EUR"), of)
            elif kind == "refund" and history.paid:
                history.refund(history.paid[-(number % len(history.paid))].payment, minor, now, of)
            elif kind == "void" and history.paid:
                history.void(history.paid[-(number % len(history.paid))].payment, now, of)
            if number % 3:  # not after each: what is carried over must not be
                check(history, now, zone)
    finally:
        histories.PAID_MAX = kept


@settings(max_examples=100, deadline=None)
@given(steps)
def test_what_is_next_due_does_not_depend_on_what_was_worked_out_before(steps: list[tuple[str, int, int, str]]) -> None:
    population = Population(alive=BgNbd(0.24, 4.41, 0.79, 2.43), tiers=(2_000, 5_000, 9_000))
    customer, now, other = Customer(), START, Customer()
    for number, (kind, after, minor, zone) in enumerate(steps):
        now += after
        customer.advance(now, population)
        if kind in ("pay", "late"):
            settle(customer, Paid(now, number, minor * 10, 0, "card", "5411", "EUR"), population)
        elif kind == "refund" and customer.history.paid:
            customer.refund(customer.history.paid[-1].payment, minor, now, population)
        elif kind == "void" and customer.history.paid:
            customer.lose(customer.history.paid[0].payment, now, population)
        elif kind == "ask":
            customer.zone = zone
            customer.seen(now)
            settle(other, Paid(now, number, minor, 0, "card", "5411", "EUR"), population)
        cold = replace(customer, _timed=None, _bins=None, noted={},
                       history=replace(customer.history, _habits=Habits(), _year=None, _top=None))  # fmt: skip
        assert customer.next_due(population) == cold.next_due(population)
        assert customer.facts(now, population)._replace(fades=len) == cold.facts(now, population)._replace(fades=len)
        for rank in (population.recency, population.frequency, population.money):
            assert rank.customers == (customer.ranked is not None) + (other.ranked is not None)
