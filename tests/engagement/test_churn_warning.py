"""When a customer is taken to be at risk: late enough for the rhythm they have, in time for the one they had."""

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from engine.engagement.customer.customer import Customer, Population
from engine.engagement.customer.habits import GAP_FADE, GAPS, Paid
from engine.engagement.customer.states import DAY_MS, IDLE_MS_UNKNOWN, Facts, Transition, at_risk_ms
from tests.engagement.paying import settle

START = 1_767_571_200_000  # a Monday
DAYS = 600
CHANCE: Callable[[random.Random], float] = lambda draw: draw.expovariate(1.0)  # noqa: E731
STEADY: Callable[[random.Random], float] = lambda draw: draw.uniform(0.9, 1.1)  # noqa: E731


def life(days: list[float]) -> tuple[Customer, list[Transition]]:
    """A customer who pays on these days and then no more; and where their life went, for as long again."""
    customer, population, made = Customer(), Population(), list[Transition]()
    for number, day in enumerate(days, 1):
        now = START + round(day * 86_400) * 1_000
        made += [one for due in customer.advance(now, population) for one in due.transitions]
        made += settle(customer, Paid(now, number, 1_000, 0, "card", "", "EUR"), population)
    made += [one for due in customer.advance(START + 2 * DAYS * DAY_MS, population) for one in due.transitions]
    return customer, [one for one in made if one.dimension == "lifecycle"]


def paying(gap: float, shape: Callable[[random.Random], float], seed: int) -> list[float]:
    draw = random.Random(seed)

    def days() -> Iterator[float]:
        day = 0.0
        while day < DAYS:
            yield day
            day += max(gap * shape(draw), 0.05)

    return list(days())


def flaps(made: list[Transition], last_ms: int) -> int:
    """Warnings while they still paid."""
    return sum(one.end == "at_risk" and one.at_ms < last_ms for one in made)


@pytest.mark.parametrize(
    ("gap", "shape", "most", "warned"),
    [
        (1, CHANCE, 1, 14),
        (7, CHANCE, 4, 45),
        (30, CHANCE, 4, 120),
        (1, STEADY, 0, 7),
        (7, STEADY, 0, 15.4),
        (30, STEADY, 0, 66),
    ],
)
def test_who_pays_on_is_seldom_warned_of_and_who_stops_is_in_time(
    gap: float, shape: Callable[[random.Random], float], most: float, warned: float
) -> None:
    found = [life(paying(gap, shape, seed)) for seed in range(10)]
    assert sum(flaps(made, customer.history.last_ms) for customer, made in found) / 10 <= most
    for customer, made in found:
        after = [one for one in made if one.at_ms > customer.history.last_ms and one.end in ("at_risk", "lost")]
        assert [one.end for one in after] == ["at_risk", "lost"]
        assert (after[0].at_ms - customer.history.last_ms) / DAY_MS <= warned


def test_a_weekend_is_no_warning() -> None:
    _, made = life([day for day in range(120) if day % 7 < 5])
    assert [one.end for one in made][:4] == ["new", "active", "loyal", "at_risk"]
    assert made[3].at_ms == START + (119 + 7) * DAY_MS


@pytest.mark.parametrize(
    ("gap", "spread", "payments", "days"),
    [
        (7, 0, 9, 14), (7, 1, 9, 14), (7, 2, 9, 15), (7, 7, 9, 35), (7, 20, 9, 45), (1, 0, 9, 7), (1, 1, 9, 7),
        (1, 2, 9, 9), (30, 30, 9, 60), (30, 0, 9, 60), (7, 0, 3, 45), (0, 0, 9, 45), (0.1, 0, 9, 7),
    ],
)  # fmt: skip
def test_a_warning_comes_after_two_gaps_a_week_or_four_deviations(
    gap: float, spread: float, payments: int, days: float
) -> None:
    facts = Facts(START, START, START, payments, int(gap * DAY_MS), int(spread * DAY_MS))
    assert at_risk_ms(facts) == START + days * DAY_MS


def test_the_deviation_is_that_of_the_gaps_the_usual_one_is_of() -> None:
    days = paying(3, CHANCE, 1)[:30]
    customer, _ = life(days)
    times = [paid.time_ms for paid in customer.history.paid]
    gaps = [b - a for a, b in pairwise(times) if b - a >= 3_600_000][-GAPS:]
    weights = [GAP_FADE ** (len(gaps) - place - 1) for place in range(len(gaps))]
    mean = sum(w * gap for w, gap in zip(weights, gaps, strict=True)) / sum(weights)
    square = sum(w * (gap - mean) ** 2 for w, gap in zip(weights, gaps, strict=True)) / sum(weights)
    assert customer.history.spread_ms() == pytest.approx(square**0.5, abs=2)
    assert IDLE_MS_UNKNOWN > customer.history.spread_ms() > 0
