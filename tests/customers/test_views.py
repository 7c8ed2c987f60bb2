"""What is told of a customer with a record of their own: a history, a ledger, offers, answers."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.times import rfc3339
from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.codec import Stored, load
from engine.engagement.customer.customer import Customer, Population
from engine.engagement.customer.habits import Paid
from engine.engagement.customer.names import NAMES
from engine.engagement.ledger.keys import lot_id
from engine.engagement.ledger.lots import CASHBACK, POINTS, Terms
from engine.engagement.marketing.offers import Open
from engine.ports.store import Head
from engine.service.customers import views
from engine.service.customers.balances import stored
from engine.service.customers.desk import _ledger
from engine.service.customers.records import Held
from tests.engagement.paying import settle

NOW = 20_000 * DAY_MS


def held(customer: Customer) -> Held:
    value, replaces = Stored().write(customer, NOW)
    assert replaces
    return Held("anna", 3, Head(5, 0, (), {}), b"", b"", value)


def customer() -> Customer:
    made = Customer(zone="Europe/Berlin", country="DE", birth="1990-02-28")
    settle(made, Paid(NOW - DAY_MS, 7, 1_250, 0, "card", "5411", "EUR"), Population())
    made.refund(7, 250, NOW, Population())
    made.agree({"marketing": True})
    made.answer("nps", 3.0, NOW)
    made.ledger.settle(7, 1_250, NOW)
    made.ledger.grant(11, Terms("welcome", 2, POINTS, "", 7, NOW + DAY_MS, 0), 200, NOW)
    made.ledger.grant(12, Terms("back", 1, CASHBACK, "JPY", 7, NOW + DAY_MS, NOW + 9 * DAY_MS), 30, NOW)
    made.offers.issue(Open("off_1", "survey", 1, "s", NOW, NOW + DAY_MS, 0, "marketing", 0, False))
    made.ledger.freeze([12], True)
    made.suspected.raised("alr_1", ("REFUND_CYCLING",), 12, NOW // DAY_MS)
    made.clock_ms = NOW
    return made


def test_profile() -> None:
    one = held(customer())
    told = views.profile(one, load(one.record)[0], Population(), stored(one.account, one.record))
    assert told["profile"] == {
        "timezone": "Europe/Berlin", "locale": None, "country": "DE", "birth_date": "1990-02-28", "referrer_id": None,
        "consent": {"marketing": True},
    }  # fmt: skip
    assert set(told["figures"]) == set(NAMES)
    assert told["figures"]["payments"] == 1.0
    assert told["figures"]["points_pending"] == 200.0
    assert told["figures"]["p_alive"] is None, "what is not known is null"
    assert told["feedback"]["nps"] == 3.0
    assert told["feedback"]["muted_until"] is not None
    assert told["offers"][0]["offer_id"] == "off_1"
    assert told["suspected"] == [
        {"alert_id": "alr_1", "raised_on": rfc3339(NOW // DAY_MS * DAY_MS), "codes": ["REFUND_CYCLING"],
         "frozen_lots": [lot_id(one.customer_id, 12)]}
    ]  # fmt: skip
    assert told["balances"] == [
        {"kind": "cashback", "currency": "JPY", "pending": "30", "active": "0", "debt": "0"},
        {"kind": "points", "currency": None, "pending": "200", "active": "0", "debt": "0"},
    ]
    orjson.dumps(told)


def test_ledger_and_payments() -> None:
    one = held(customer())
    told = _ledger(one)
    lots = {lot["lot_id"]: lot for lot in told["lots"]}
    assert lots[lot_id(one.customer_id, 11)]["granted"] == "200"
    assert lots[lot_id(one.customer_id, 12)]["currency"] == "JPY"
    assert lots[lot_id(one.customer_id, 12)]["granted"] == "30", "yen have no minor unit"
    paid: dict[str, Any] = views.payments(one, load(one.record)[0], [], "EUR")
    assert (paid["count"], paid["kept"]) == (1, "10.00")
    assert paid["payments"][0]["amount"] == "12.50"
    assert paid["payments"][0]["refunded"] == "2.50"
    assert paid["months"][0]["methods"] == {"card": 1}


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.integers(1, 10**9), st.sampled_from(["card", "wallet", ""])), max_size=30
    )
)
def test_any_history_can_be_told(rows: list[tuple[int, int, str]]) -> None:
    made = customer()
    for number, (days, minor, method) in enumerate(sorted(rows, reverse=True), 100):
        settle(made, Paid(NOW - days * DAY_MS, number, minor, 0, method, "", "EUR"), Population())
    one = held(made)
    again = load(one.record)[0]
    told = views.payments(one, again, [], "EUR")
    assert told["count"] == len(rows) + 1
    assert sum(month["payments"] for month in told["months"]) <= told["count"]
    orjson.dumps([told, views.profile(one, again, Population(), stored(one.account, one.record)), views.course(again)])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=9), st.sampled_from([0, 2, 3]))
def test_amounts_of_the_figures_are_exact_decimals(amounts: list[int], exponent: int) -> None:
    population, made = Population.under(exponent), Customer()
    for number, minor in enumerate(amounts, 1):
        settle(made, Paid(NOW - number * 1_000, number, minor, 0, "card", "", "EUR"), population)
    made.clock_ms = NOW
    one = held(made)
    told = views.profile(one, load(one.record)[0], population, stored(one.account, one.record))["figures"]
    spent, threshold = sum(amounts), population.tiers[0]
    assert Decimal(repr(told["spend_12m"])) == Decimal(spent).scaleb(-exponent) == Decimal(repr(told["spend_28d"]))
    assert abs(Fraction(repr(told["mean_amount"])) * 10**exponent - Fraction(spent, len(amounts))) <= Fraction(1, 2)
    digits = repr(told["mean_amount"]).partition(".")[2]
    assert len(digits.rstrip("0")) <= exponent
    if told["tier_level"] == 0:
        assert told["to_next_tier"] == float(Fraction(threshold - spent, threshold))


def test_the_share_that_is_left_to_a_tier_has_no_noise() -> None:
    made = Customer()
    settle(made, Paid(NOW, 1, 9_100, 0, "card", "", "EUR"), Population())
    made.clock_ms = NOW
    one = held(made)
    told = views.profile(one, load(one.record)[0], Population(), stored(one.account, one.record))
    assert repr(told["figures"]["to_next_tier"]) == "0.818"
