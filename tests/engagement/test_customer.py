"""A customer over time: whatever finds what is due, it happens at the same instants; habits against naive counts."""

import itertools
import math
from collections import Counter
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement import calendar
from engine.engagement.calendar import DAY_MS, local
from engine.engagement.customer.customer import MUTE_MS, WINDOW_MS, Customer, Population
from engine.engagement.customer.habits import GAP_MS_MIN, Paid
from engine.engagement.customer.history import PAID_MAX, History
from engine.engagement.ledger.lots import POINTS, Terms
from engine.engagement.models.bgnbd import BgNbd
from tests.engagement.paying import settle

HOUR = 3_600_000
ZONES = ("", "Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe")
START = 1_767_225_600_000  # 2026-01-01

visits = st.lists(
    st.tuples(st.integers(0, 700 * DAY_MS), st.integers(0, 50_000), st.sampled_from(["card", "wallet", ""])),
    max_size=30,
).map(sorted)


def paid(at: int, minor: int, method: str = "card", payment: int = 0) -> Paid:
    return Paid(START + at, payment or at + 1, minor, 0, method, "5411", "EUR")


def live(steps: list[tuple[int, int, str]], looks: list[int], zone: str) -> tuple[list[object], Customer]:
    """What happened to somebody who paid so, time being brought up at further instants too."""
    population = Population(alive=BgNbd(0.24, 30.0, 0.79, 2.43), decline_minor=1_000)
    customer, log = Customer(zone=zone), list[object]()
    customer.seen(START)
    events = sorted([*((at, 0, minor, method) for at, minor, method in steps), *((at, 1, 0, "") for at in looks)])
    for number, (at, look, minor, method) in enumerate(events):
        log += customer.advance(START + at, population)
        if look:
            continue
        payment = paid(at, minor, method, number + 1)
        log += settle(customer, payment, population)
        if minor >= 100:
            terms = Terms("base_earn", 1, POINTS, payment=at + 1, available_ms=START + at + 14 * DAY_MS,
                          expires_ms=calendar.add_months(START + at, 12, zone))  # fmt: skip
            log.append(customer.ledger.grant(at + 1, terms, minor // 100, START + at))
    log += customer.advance(START + 1_200 * DAY_MS, population)
    customer.ledger.check()
    return [one for one in log if one], customer


@settings(deadline=None, max_examples=150)
@given(visits, st.lists(st.integers(0, 1_100 * DAY_MS), max_size=8), st.sampled_from(ZONES))
def test_time_is_found_the_same_by_timers_and_by_events(
    steps: list[tuple[int, int, str]], looks: list[int], zone: str
) -> None:
    """But for the tier by value, which is ranked whenever somebody looks (and alone has no rank)."""
    assert live(steps, [], zone)[0] == live(steps, looks, zone)[0]


def month_of(time_ms: int, zone: str) -> int:
    at = local(time_ms, zone)
    return at.year * 12 + at.month - 1


@settings(deadline=None, max_examples=100)
@given(visits, st.sampled_from(ZONES))
def test_habits_are_plain_counts(steps: list[tuple[int, int, str]], zone: str) -> None:
    history = History()
    for at, minor, method in reversed(steps):  # the order does not matter
        history.pay(paid(at, minor, method), zone)
    hours = Counter(local(START + at, zone).hour for at, *_ in steps)
    hour, share = history.peak(zone)
    if steps:
        assert share == max(hours[h] + hours[(h + 1) % 24] for h in range(24)) / len(steps)
        assert (hours[hour] + hours[(hour + 1) % 24]) / len(steps) == share
        assert history.first_ms == START + steps[0][0]
        assert history.spend(START, START + 400 * DAY_MS) == sum(m for at, m, _ in steps if 0 < at <= 400 * DAY_MS)
    methods = Counter(method for *_, method in steps if method)
    method, of = history.preferred()
    if methods:
        assert methods[method] == max(methods.values())
        assert of == methods[method] / sum(methods.values())
    else:
        assert (method, math.isnan(of)) == ("", True)
    assert sum(month.minor for month in history.months.values()) == sum(minor for _, minor, _ in steps)
    for number, month in history.months.items():
        mine = [(START + at, name) for at, _, name in steps if month_of(START + at, zone) == number]
        assert month.payments == len(mine)
        assert month.hours == Counter(local(time_ms, zone).hour for time_ms, _ in mine)
        assert month.methods == Counter(name for _, name in mine)
        assert month.currencies == {"EUR": len(mine)}
    gaps = [b[0] - a[0] for a, b in itertools.pairwise(steps) if b[0] - a[0] >= GAP_MS_MIN]
    assert (min(gaps[-12:]) - 1 <= history.gap_ms() <= max(gaps[-12:])) if gaps else history.gap_ms() == 0


def test_refunds_leave_what_was_kept() -> None:
    history = History()
    history.pay(paid(0, 10_000, payment=5), "")
    history.refund(5, 4_000, START, "")
    history.refund(5, 4_000, START, "")  # in all
    assert (history.minor, history.refunds) == (6_000, 1)
    history.refund(5, 12_000, START, "")  # more than was paid
    history.refund(6, 1_000, START, "")  # of a payment nobody knows
    assert (history.minor, history.refunded, history.spend(0, START)) == (0, 10_000, 0)
    assert history.refund_share(0) == 1.0


def test_only_the_last_payments_stay_and_all_are_counted() -> None:
    history = History()
    for number in range(PAID_MAX + 50):
        history.pay(paid(number * DAY_MS, 100), "")
    assert (len(history.paid), history.payments, history.minor) == (PAID_MAX, PAID_MAX + 50, 100 * (PAID_MAX + 50))
    assert history.paid[0].time_ms == START + 50 * DAY_MS


@pytest.mark.parametrize(("days", "length"), [([0, 1, 2, 3, 4, 5, 6], 7), ([0, 1, 3, 4, 5, 6], 4), ([0, 1], 0)])
def test_streaks_are_local_days_in_a_row(days: list[int], length: int) -> None:
    history = History()
    for day in days:  # 23:30 in Shanghai is 15:30 the same day in UTC
        history.pay(paid(day * DAY_MS + 15 * HOUR + HOUR // 2, 600), "Asia/Shanghai")
    assert history.streak(START + 6 * DAY_MS + 15 * HOUR + HOUR // 2, "Asia/Shanghai", 500) == length


def test_halved_spending_is_a_warning_before_the_silence_is() -> None:
    population, customer = Population(), Customer()
    states = []
    for week in range(20):
        at = START + week * 7 * DAY_MS
        customer.advance(at, population)
        settle(customer, Paid(at, week + 1, 20_000 if week < 9 else 4_000, 0, "card", "5411", "EUR"), population)
        states.append(customer.states.of("lifecycle"))
    assert states[8] == "active"
    assert "at_risk" in states[9:17]
    customer.advance(customer.history.last_ms + WINDOW_MS, population)
    assert customer.declined_ms > customer.history.last_ms or customer.states.of("lifecycle") in ("active", "loyal")


def test_a_bad_answer_mutes_marketing() -> None:
    customer = Customer()
    assert customer.answer("nps", 6, START)
    assert customer.muted(START + MUTE_MS - 1)
    assert not customer.muted(START + MUTE_MS)
    assert not customer.answer("csat", 3, START)
    assert (customer.feedback.nps, customer.feedback.csat) == (6, 3)


def test_who_fades_is_lost_when_the_model_says_so() -> None:
    """The instant that the formula is solved for is the one at which the probability crosses."""
    population, customer = Population(alive=BgNbd(0.24, 4.4, 0.79, 2.43)), Customer()
    for day in range(0, 40, 2):
        settle(customer, paid(day * DAY_MS, 1_000), population)
    at = customer.facts(customer.history.last_ms, population).fades_ms
    assert customer.p_alive(at - HOUR, population) > 0.1 >= customer.p_alive(at, population) - 1e-9


def test_value_is_ranked_among_customers() -> None:
    population, customers = Population(), [Customer() for _ in range(100)]
    for number, customer in enumerate(customers):
        settle(customer, paid(0, 1_000 * (number + 1)), population)
    for customer in customers:
        customer.look(START + 8 * DAY_MS, population)
    assert customers[99].states.of("value_tier") in ("mid", "high")
    assert (
        customers[0].value_rank(population)
        < customers[50].value_rank(population)
        < customers[99].value_rank(population)
    )
    assert population.money.customers == 100


def test_calendars_clamp_months_and_survive_clock_changes() -> None:
    end = calendar.add_months(calendar.instant(date(2026, 1, 31), 600, "Europe/Berlin"), 1, "Europe/Berlin")
    assert local(end - 1, "Europe/Berlin").date() == date(2026, 2, 28)
    spring = calendar.instant(date(2026, 3, 29), 150, "Europe/Berlin")  # 02:30 does not exist
    assert local(spring, "Europe/Berlin").strftime("%H:%M") == "03:30"
    autumn = calendar.instant(date(2026, 10, 25), 150, "Europe/Berlin")  # 02:30 comes twice
    assert local(autumn, "Europe/Berlin").strftime("%H:%M %Z") == "02:30 CEST"
    assert calendar.period(calendar.instant(date(2027, 1, 1), 0, ""), "week", "") == "2026-W53"


@given(st.integers(START, START + 900 * DAY_MS), st.dates(date(1920, 1, 1), date(2008, 12, 31)), st.sampled_from(ZONES))
def test_each_year_has_one_birthday(after: int, birth: date, zone: str) -> None:
    at, year = calendar.next_birthday(after, birth, 540, zone)
    shown = local(at, zone)
    assert at >= after
    assert (shown.year, shown.hour) == (year, 9)
    assert shown.date() == calendar.birthday(year, birth)
    following, next_year = calendar.next_birthday(at + 1, birth, 540, zone)
    assert (next_year, local(following, zone).year) == (year + 1, year + 1)


@given(st.integers(START, START + 400 * DAY_MS), st.integers(0, 1439), st.integers(0, 1439), st.sampled_from(ZONES))
def test_nothing_is_sent_in_quiet_hours(at: int, begins: int, ends: int, zone: str) -> None:
    if begins == ends:
        return
    until = calendar.quiet_until(at, (begins, ends), zone)
    shown = local(until, zone)
    minute = shown.hour * 60 + shown.minute
    skipped = shown.utcoffset() != local(until - 2 * HOUR, zone).utcoffset()  # an hour that does not exist
    assert skipped or not (begins <= minute < ends if begins < ends else minute >= begins or minute < ends)
    assert at <= until <= at + DAY_MS + 2 * HOUR
