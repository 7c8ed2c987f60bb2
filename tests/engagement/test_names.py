"""Every name gives what its kind says for anybody, and the shares of docs and conditions mean what they say."""

import numpy as np
import pytest

from engine.engagement import calendar
from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.customer import Customer, Population
from engine.engagement.customer.habits import Paid
from engine.engagement.customer.names import NAMES, value_of
from engine.engagement.customer.states import TABLES
from engine.engagement.ledger.lots import POINTS, Terms
from engine.engagement.marketing import occasions
from engine.engagement.models import first_gap
from engine.engagement.models.bgnbd import BgNbd
from engine.ruleset.campaigns.model import DIMENSIONS, LEADS, PERIODS, TIMERS
from engine.ruleset.campaigns.names import CUSTOMER_KINDS
from engine.ruleset.types import Kind
from tests.engagement.paying import settle

START = 1_767_225_600_000
KINDS = {"number": float, "string": str, "bool": bool}


def regular() -> tuple[Customer, Population, int]:
    """Ten payments, one a week, at 19:30 in Shanghai; four fifths by wallet."""
    population = Population(alive=BgNbd(0.24, 30.0, 0.79, 2.43), tiers=(10_000, 20_000, 50_000))
    customer = Customer(zone="Asia/Shanghai", birth="1990-02-01", country="CN", referrer="c9")
    customer.seen(START)
    now = START
    for week in range(10):
        now = START + week * 7 * DAY_MS + 41_400_000
        customer.advance(now, population)
        settle(
            customer, Paid(now, week + 1, 1_000, 0, "card" if week % 5 == 0 else "wallet", "5411", "CNY"), population
        )
    customer.ledger.grant(1, Terms("c", 1, POINTS, expires_ms=now + 20 * DAY_MS), 300, now)
    customer.ledger.grant(2, Terms("c", 1, POINTS, available_ms=now + DAY_MS), 50, now)
    customer.advance(now, population)
    return customer, population, now


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_value_is_of_its_kind_or_missing(name: str) -> None:
    customer, population, now = regular()
    for who, instant in ((customer, now + 9 * DAY_MS), (Customer(), START)):
        found = value_of(name, who, instant, population)
        assert found is None or type(found) is KINDS[NAMES[name].kind]
    assert NAMES[name].meaning


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("payments", 10.0), ("peak_hour", 19.0), ("peak_share", 1.0), ("preferred_method", "wallet"),
        ("gap_days", 7.0), ("idle_days", 14.0), ("idle_ratio", 2.0), ("regularity", 1.0), ("spend_28d", 20.0),
        ("spend_prev_28d", 40.0), ("spend_12m", 100.0), ("mean_amount", 10.0), ("membership", "silver"),
        ("tier_level", 1.0), ("to_next_tier", 0.5), ("points_active", 300.0), ("points_pending", 50.0),
        ("points_expiring_30d", 300.0), ("refund_rate_90d", 0.0), ("referred", True), ("age_years", 36.0),
        ("consent_marketing", False), ("muted", False), ("new_category", False), ("new_currency", False),
        ("dispute_days", None), ("spend_rank", None), ("nps", None), ("streak_days", 0.0),
    ],
)  # fmt: skip
def test_what_a_regular_customer_is(name: str, value: object) -> None:
    customer, population, now = regular()
    found = value_of(name, customer, now + 14 * DAY_MS, population)
    assert found == (pytest.approx(value) if isinstance(value, float) else value)


def test_a_birthday_is_by_the_customers_own_calendar() -> None:
    customer, population, _ = regular()
    at = 1_769_875_200_000  # 2026-01-31T16:00:00Z: 1 February in Shanghai
    assert value_of("birthday_today", customer, at, population) is True
    assert value_of("birthday_today", customer, at - 1, population) is False


def after(days: int, category: str, currency: str) -> Customer:
    """The regular customer, and a payment so many days after the tenth."""
    customer, population, now = regular()
    settle(customer, Paid(now + days * DAY_MS, 99, 1_000, 0, "card", category, currency), population)
    return customer


@pytest.mark.parametrize(
    ("days", "category", "currency", "new"),
    [
        (1, "5411", "CNY", (False, False)),
        (1, "5812", "CNY", (True, False)),
        (1, "5411", "EUR", (False, True)),
        (89, "5411", "CNY", (False, False)),
        (90, "5411", "CNY", (False, True)),
        (179, "5411", "CNY", (False, True)),
        (180, "5411", "CNY", (True, True)),
        (1, "", "", (False, False)),
    ],
)
def test_new_is_what_was_not_there_in_the_days_before(
    days: int, category: str, currency: str, new: tuple[bool, bool]
) -> None:
    customer, population = after(days, category, currency), Population()
    now = customer.history.last_ms
    assert (
        value_of("new_category", customer, now, population),
        value_of("new_currency", customer, now, population),
    ) == new


def test_a_customer_without_payments_has_nothing_new() -> None:
    assert value_of("new_category", Customer(), START, Population()) is False


def test_the_last_chargeback_is_known_and_no_refund_counts_as_one() -> None:
    customer, population, now = regular()
    customer.refund(10, 500, now + DAY_MS, population)
    assert value_of("dispute_days", customer, now + 3 * DAY_MS, population) is None
    customer.disputed(now + DAY_MS)
    customer.disputed(now)
    assert value_of("dispute_days", customer, now + 3 * DAY_MS, population) == 2.0
    assert customer.history.refunds == 1


def test_the_rank_by_spending_is_the_share_of_those_who_keep_less() -> None:
    population = Population()
    crowd = [Customer() for _ in range(40)]
    for place, customer in enumerate(crowd):
        settle(customer, Paid(START, place + 1, (place + 1) * 1_000, 0, "card", "5411", "EUR"), population)
    ranks = [value_of("spend_rank", customer, START, population) for customer in crowd]
    assert ranks == sorted(ranks, key=lambda rank: rank or 0.0)
    assert ranks[0] == pytest.approx(0.0, abs=0.06)
    assert ranks[-1] == pytest.approx(1.0, abs=0.06)


def test_campaign_files_know_these_names_states_and_periods() -> None:
    """The room of rules knows none of engagement, so it has tables of its own."""
    words = {"number": Kind.NUMBER, "string": Kind.STRING, "bool": Kind.BOOL}
    assert {name: words[row.kind] for name, row in NAMES.items()} == CUSTOMER_KINDS
    for dimension, rows in TABLES.items():
        assert set(DIMENSIONS[dimension]) == {row.start for row in rows} | {row.end for row in rows}
        steps = {(start, end) for start, ends in LEADS[dimension].items() for end in ends}
        assert steps == {(row.start, row.end) for row in rows}
    assert DIMENSIONS.keys() == LEADS.keys() == TABLES.keys()
    assert PERIODS == calendar.PERIODS


def test_every_timer_of_campaign_files_comes_about() -> None:
    assert occasions._TIMERS.keys() == TIMERS.keys()


def test_after_one_payment_p_alive_is_the_share_of_those_who_still_came() -> None:
    """BG/NBD would say 1 for ever, whatever the silence."""
    draw = np.random.default_rng(8)
    gaps = np.where(draw.random(8_000) < 0.5, draw.exponential(25.0, 8_000), np.inf)
    came = gaps < 180
    population = Population(alive=BgNbd(0.24, 4.4, 0.79, 2.4))
    customer = Customer()
    settle(customer, Paid(START, 1, 1_000, 0, "card", "5411", "EUR"), population)
    assert value_of("p_alive", customer, START + 40 * DAY_MS, population) is None, "nothing is known of first gaps"
    population.gap = first_gap.fit(np.where(came, gaps, 180.0), came, 180)
    for days in (0, 10, 40, 90, 150):
        share = (came & (gaps >= days)).sum() / (gaps >= days).sum()
        assert value_of("p_alive", customer, START + days * DAY_MS, population) == pytest.approx(share, abs=1e-9)
    assert value_of("p_alive", customer, START + 400 * DAY_MS, population) == 0.0
    alone = Population(gap=population.gap)
    assert value_of("p_alive", customer, START, alone) == value_of("p_alive", customer, START, population)
    settle(customer, Paid(START + DAY_MS, 2, 1_000, 0, "card", "5411", "EUR"), population)
    assert value_of("p_alive", customer, START + 400 * DAY_MS, alone) is None
    late = value_of("p_alive", customer, START + 400 * DAY_MS, population)
    assert isinstance(late, float)
    assert 0.0 < late < 0.2


@pytest.mark.parametrize("exponent", [0, 2, 3])
def test_amounts_are_major_units_whatever_decimals_the_base_currency_has(exponent: int) -> None:
    population, customer = Population.under(exponent), Customer()
    population.alive = BgNbd(0.24, 30.0, 0.79, 2.43)
    for day, major in enumerate((100, 200, 4, 5, 196)):
        paid = Paid(START + day * DAY_MS, day + 1, major * 10**exponent, 0, "card", "5411", "XXX")
        made = settle(customer, paid, population)
        assert [one.end for one in made if one.dimension == "membership"] == (["silver"] if day == 4 else [])
    now = START + 4 * DAY_MS
    wanted = {"spend_28d": 505.0, "spend_prev_28d": 0.0, "spend_12m": 505.0, "mean_amount": 101.0,
              "streak_days": 2.0, "to_next_tier": pytest.approx(1 - 505 / 2_000)}  # fmt: skip
    assert {name: value_of(name, customer, now, population) for name in wanted} == wanted
    cents, same = Population.under(2), Customer()
    cents.alive = population.alive
    for paid in customer.history.paid:
        settle(same, paid._replace(minor=paid.minor * 100 // 10**exponent), cents)
    clv = [value_of("clv", one, now, of) for one, of in ((customer, population), (same, cents))]
    assert clv[0] == pytest.approx(clv[1])
    customer.advance(START + 56 * DAY_MS, population)
    assert customer.declined_ms == START + 56 * DAY_MS, "300 and more in four weeks, and then nothing"
