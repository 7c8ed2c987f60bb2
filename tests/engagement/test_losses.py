"""Payments that are to count for nothing: declined, fraud, charged back; against a customer who never made them."""

from collections.abc import Callable
from itertools import permutations
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.hashing import hash64
from engine.domain.outputs import Lifecycle
from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.habits import Paid
from engine.engagement.customer.history import PAID_MAX, History
from engine.engagement.customer.names import value_of
from engine.engagement.ledger.facts import judged
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.payments import REFUSED
from tests.engagement.test_marketing import EARN, START, Shop, of

HOUR: Final = 3_600_000
ZONE: Final = "Asia/Tokyo"

visits = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 90), st.sampled_from(["card", "wallet", ""]), st.booleans()),
    min_size=1,
    max_size=25,
)


def paid(number: int, day: int, minor: int, method: str) -> Paid:
    return Paid(START + day * DAY_MS + number * 1_000, number + 1, minor, 0, method, str(5400 + minor % 11), "EUR")


@settings(deadline=None, max_examples=150)
@given(visits, st.randoms(use_true_random=False))
def test_a_payment_that_is_void_is_as_one_that_never_was(
    visits: list[tuple[int, int, str, bool]], draw: object
) -> None:
    history, never = History(), History()
    facts: list[Callable[[], None]] = []
    for number, (day, minor, method, void) in enumerate(visits):
        one = paid(number, day, minor, method)
        history.pay(one, ZONE)
        if not void:
            never.pay(one, ZONE)
            never.refund(one.payment, minor // 2, one.time_ms, ZONE)
        facts.append(lambda one=one: history.refund(one.payment, one.minor // 2, one.time_ms, ZONE))  # type: ignore[misc]
        if void:
            facts += [lambda one=one: history.void(one.payment, one.time_ms, ZONE)] * 2  # type: ignore[misc]
    draw.shuffle(facts)  # type: ignore[attr-defined]
    for fact in facts:
        fact()
    assert history.peak(ZONE) == never.peak(ZONE) or not never.paid
    again = History()
    for noted in history.journal:
        again.learn(noted)
    for other in (never, again):
        for name in ("paid", "payments", "minor", "refunded", "first_ms", "last_ms"):
            assert getattr(history, name) == getattr(other, name)
        # Which categories of a month are told apart depends on which came first.
        assert {n: (m.payments, m.minor, m.methods) for n, m in history.months.items()} == {
            n: (m.payments, m.minor, m.methods) for n, m in other.months.items()
        }
        assert (history.gap_ms(), history.preferred()[0]) == (other.gap_ms(), other.preferred()[0])


def test_what_has_left_the_list_of_payments_keeps_its_place_when_a_later_one_is_void() -> None:
    history = History()
    for number in range(PAID_MAX + 10):
        history.pay(paid(number, number, 5, "card"), ZONE)
    history.void(PAID_MAX + 10, START, ZONE)
    history.void(1, START, ZONE)  # not known one by one any more
    assert (history.payments, len(history.paid), history.first_ms) == (PAID_MAX + 9, PAID_MAX - 1, START)
    assert history.last_ms == paid(PAID_MAX + 8, PAID_MAX + 8, 5, "").time_ms


LOSSES: Final = {
    "fraud": [("label", 0.0)],
    "declined": [("decline", 0.0)],
    "charged back": [("back", 900.0)],
    "refunded, then charged back": [("refund", 300.0), ("back", 900.0)],
}


def do(shop: Shop, what: str, amount: float, now: int) -> None:
    if what == "pay":
        shop.pay("bad", now, 900)
    elif what == "label":
        shop.tell("label.assigned", now, payment_id="bad", label="fraud")
    elif what == "decline":
        shop.customer.ledger._note(*judged(hash64("bad"), REFUSED, now))
    else:
        kind = "payment.chargeback" if what == "back" else "payment.refunded"
        shop.tell(kind, now, payment_id="bad", amount=amount, reference=what)


def regular() -> Shop:
    """Three days in a row, one too few for a streak of four; 300 spent, 200 too little for silver."""
    shop = Shop(EARN)
    for day in range(3):
        shop.pay(f"p{day}", START + day * DAY_MS, 100)
    return shop


ASKED: Final = ("payments", "spend_28d", "spend_12m", "streak_days", "gap_days", "mean_amount",
                "refund_rate_90d", "preferred_method", "points_pending")  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "order"),
    [(name, order) for name, steps in LOSSES.items() for order in permutations([("pay", 0.0), *steps])
     if name != "declined" or order[0][0] == "decline"],
)  # fmt: skip
def test_a_loss_counts_for_nothing_whether_it_is_known_before_the_payment_settles_or_after(
    loss: str, order: tuple[tuple[str, float], ...]
) -> None:
    shop, never = regular(), regular()
    now = START + 3 * DAY_MS
    for place, (what, amount) in enumerate(order):
        do(shop, what, amount, now + place * HOUR)
    end = now + 5 * HOUR
    for one in (shop, never):
        one.customer.look(end, one.marketing.population)
    for name in ASKED:
        found = [value_of(name, one.customer, end, one.marketing.population) for one in (shop, never)]
        assert found[0] == found[1], (loss, name)
    assert shop.customer.ranked == never.customer.ranked
    assert shop.customer.states.of("membership") == "basic"


def test_a_decline_that_comes_after_the_settlement_is_of_another_attempt_and_changes_nothing() -> None:
    shop, paid = regular(), regular()
    now = START + 3 * DAY_MS
    for one in (shop, paid):
        do(one, "pay", 0, now)
    do(shop, "decline", 0, now + HOUR)
    again = Ledger()
    for fact in shop.customer.ledger.journal:
        again.learn(fact)
    assert again == shop.customer.ledger == paid.customer.ledger
    for one in (shop, paid):
        one.pay("next", now + 2 * HOUR, 50)
        one.at(now + 60 * DAY_MS)
    assert shop.customer.history == paid.customer.history
    assert shop.points() == paid.points() == (0, 300 + 900 + 50, 0)


@pytest.mark.parametrize("order", list(permutations(["pay", "refund", "back"])))
def test_a_payment_charged_back_in_part_counts_with_what_is_left(order: tuple[str, ...]) -> None:
    shop = regular()
    for place, what in enumerate(order):
        do(shop, what, {"refund": 100, "back": 300}.get(what, 0), START + 3 * DAY_MS + place * HOUR)
    history, entry = shop.customer.history, shop.customer.ledger.payments[hash64("bad")]
    assert (history.payments, history.minor) == (4, 30_000 + 90_000 - entry.refunded)
    assert shop.points()[0] == history.minor // 100


def test_who_has_no_payment_left_is_not_ranked() -> None:
    shop = Shop(EARN)
    do(shop, "pay", 0, START)
    population = shop.marketing.population
    assert population.money.customers == 1
    do(shop, "label", 0, START + HOUR)
    assert (population.money.customers, shop.customer.history.first_ms) == (0, 0)
    shop.at(START + 400 * DAY_MS)
    do(shop, "pay", 0, START + 401 * DAY_MS)
    shop.pay("good", START + 402 * DAY_MS)
    assert (population.money.customers, shop.customer.history.payments) == (1, 1)


def member(*amounts: float) -> tuple[Shop, list[str]]:
    """Who has paid so much, day by day; and what tiers that led to."""
    shop = Shop(EARN)
    for day, amount in enumerate(amounts):
        shop.pay(f"p{day}", START + day * DAY_MS, amount)
    return shop, tiers(shop)


def tiers(shop: Shop) -> list[str]:
    return [one.to for one in of(shop.made, Lifecycle) if one.dimension == "membership"]


@pytest.mark.parametrize(
    ("amounts", "lost", "before", "after"),
    [
        ((5_000, 600), "p0", ["platinum"], ["gold", "silver"]),  # what is left earns silver
        ((5_000, 600), "p1", ["platinum"], []),  # it came after the tier
        ((600, 4_500), "p0", ["silver", "platinum"], ["gold"]),
        ((600, 10, 20), "p2", ["silver"], []),
        ((600, 10), "p0", ["silver"], ["basic"]),
    ],
)
def test_a_loss_takes_the_tiers_that_only_it_had_earned(
    amounts: tuple[float, ...], lost: str, before: list[str], after: list[str]
) -> None:
    for how in ("label.assigned", "payment.chargeback"):
        shop, found = member(*amounts)
        assert found == before
        amount = amounts[int(lost[1:])]
        shop.tell(how, START + 9 * DAY_MS, payment_id=lost, label="fraud", amount=amount)
        assert tiers(shop) == before + after
        shop.at(START + 300 * DAY_MS)
        assert tiers(shop) == before + after, "and nothing falls again before the cycle ends"


def test_who_kept_a_tier_from_the_year_before_does_not_lose_it_by_a_later_loss() -> None:
    shop, _ = member(600)
    now = START + 380 * DAY_MS  # the first year has ended, and is not earned again: basic
    shop.at(now)
    shop.pay("again", now, 550)
    later = now + 330 * DAY_MS
    shop.pay("small", later, 20)
    assert tiers(shop) == ["silver", "basic", "silver"]
    shop.tell("label.assigned", later + DAY_MS, payment_id="small", label="fraud")
    assert tiers(shop) == ["silver", "basic", "silver"]


def test_a_refund_waits_for_the_end_of_the_cycle() -> None:
    shop, _ = member(600)
    shop.tell("payment.refunded", START + DAY_MS, payment_id="p0", amount=600)
    assert tiers(shop) == ["silver"]
    shop.at(START + 400 * DAY_MS)
    assert tiers(shop) == ["silver", "basic"]


def test_what_comes_back_after_the_horizon_changes_nothing_whether_it_was_forgotten_or_not() -> None:
    """A value tier is due as soon as somebody looks: a payment that is over gives no cause to."""
    told = []
    for forgotten in (False, True):
        shop, now = Shop(EARN), START + 200 * DAY_MS
        shop.pay("p1", START)
        shop.tell("points.redeemed", START + 20 * DAY_MS, number=100)
        shop.at(now)
        for rank in (
            shop.marketing.population.recency,
            shop.marketing.population.frequency,
            shop.marketing.population.money,
        ):
            for _ in range(40):
                rank.move(None, 0.0)
        if forgotten:
            shop.customer.ledger.forget(now)
        assert (hash64("p1") in shop.customer.ledger.payments) == (not forgotten)
        told.append(shop.tell("payment.refunded", now, payment_id="p1", amount=50))
    assert told[0] == told[1] == []
