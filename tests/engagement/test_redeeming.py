"""Offers and coupons that are used, and what refunds of the payments behind them come to."""

from itertools import permutations
from typing import Final

import pytest

from engine.domain.outputs import Alert, Offer, Reward
from engine.engagement.calendar import DAY_MS
from engine.engagement.ledger.lots import CASHBACK, COUPON
from engine.engagement.ledger.verify import verify
from tests.engagement.test_marketing import START, Shop, of

HOUR: Final = 3_600_000
EUR: Final = (CASHBACK, "EUR")

VOUCHER: Final = """
  - id: voucher
    on: payment.settled
    when: customer.payments == 1
    then: {{offer: coupon, value: "8.00", currency: EUR, expires: 30d}}
    caps: [{{times: 5}}]
    budget: {{amount: "20.00", currency: EUR}}
    consent: marketing
    reversal: {}
"""
CASH: Final = """
  - id: cash
    on: payment.settled
    when: amount == 50
    then: {reward: cashback, amount: 10, currency: EUR}
    hold: none
    caps: [{times: 5}]
"""
COUPONS: Final = """
  - id: spend_100
    on: payment.authorised
    when: amount >= 100
    then: {reward: coupon, value: "8.00", currency: EUR}
    hold: 90m
    expires: 1 month
    caps: [{times: 5}]
    budget: {amount: "50.00", currency: EUR}
    reversal: R2
    threshold: 100
"""


def voucher(policy: str = "R2") -> tuple[Shop, str]:
    """A customer with an offer of 8 euros, sent, that came with payment p1; and its id."""
    shop = Shop(VOUCHER.format(policy) + CASH)
    shop.tell("account.consent_changed", START, consent={"marketing": True})
    (offer,) = of(shop.pay("p1", START), Offer)
    shop.at(START + HOUR)
    return shop, offer.offer_id


def step(shop: Shop, what: str, offer_id: str, now: int, back: float) -> None:
    if what == "use":
        shop.tell("offer.redeemed", now, offer_id=offer_id, payment_id="p2", reference="use")
    elif what == "pay":
        shop.pay("p2", now, 120)
    else:
        shop.tell("payment.refunded", now, payment_id="p2", amount=back, reference="back")


@pytest.mark.parametrize(
    ("policy", "back", "debt"), [("R2", 30, 800), ("R1", 30, 200), ("R1", 120, 800), ("R3", 120, 0)]
)
@pytest.mark.parametrize("order", list(permutations(["use", "pay", "back"])))
def test_a_used_offer_is_owed_once_its_payment_is_given_back_in_any_order(
    order: tuple[str, ...], policy: str, back: float, debt: int
) -> None:
    shop, offer_id = voucher(policy)
    for place, what in enumerate([*order, "use"]):  # and used again, under another event
        step(shop, what, offer_id, START + (2 + place) * HOUR, back)
    assert shop.customer.ledger.balance(EUR) == (0, 0, debt)
    tally, budget = shop.marketing.granting.effects.tally("voucher:1"), shop.marketing.granting.budgets.of["voucher:1"]
    assert (tally.used, tally.taken) == (800, debt)
    assert (budget.reserved, budget.spent) == (0, 800)
    shop.pay("p3", START + 9 * HOUR, 50)  # earns 10.00, of which the debt is paid
    shop.at(START + 10 * HOUR)
    assert shop.customer.ledger.balance(EUR) == (0, 1_000 - debt, 0)
    entries = of(shop.made, Reward)
    assert verify(entries).faults == []
    assert sum(float(entry.delta) for entry in entries if entry.bucket == "pending") == 0


@pytest.mark.parametrize("order", list(permutations(["use", "pay", "label"])))
def test_a_used_offer_is_owed_once_its_payment_is_fraud_in_any_order(order: tuple[str, ...]) -> None:
    shop, offer_id = voucher()
    for place, what in enumerate(order):
        now = START + (2 + place) * HOUR
        if what == "label":
            shop.tell("label.assigned", now, payment_id="p2", label="fraud")
        else:
            step(shop, what, offer_id, now, 0)
    assert shop.customer.ledger.balance(EUR) == (0, 0, 800)


def test_what_an_authorisation_earned_is_gone_with_a_label_that_comes_before_the_settlement() -> None:
    shop = Shop(COUPONS)
    shop.tell("payment.authorised", START, payment_id="p1", amount=120)
    made = of(shop.tell("label.assigned", START + HOUR // 4, payment_id="p1", label="fraud"), Reward)
    assert [(one.delta, one.why) for one in made] == [("-1", "the payment was fraud")]
    shop.pay("p1", START + 2 * HOUR, 120)
    shop.at(START + DAY_MS)
    assert shop.customer.ledger.balance((COUPON, "")) == (0, 0, 0)
    assert shop.marketing.granting.budgets.of["spend_100:1"].left == 5_000


def test_what_it_took_off_is_owed_where_the_event_says_so() -> None:
    shop, offer_id = voucher()
    told = {"offer_id": offer_id, "payment_id": "p2", "reference": "use", "amount": 3.5, "currency": "EUR"}
    shop.tell("offer.redeemed", START + 2 * HOUR, **told)
    step(shop, "pay", offer_id, START + 3 * HOUR, 0)
    step(shop, "back", offer_id, START + 4 * HOUR, 120)
    assert shop.customer.ledger.balance(EUR) == (0, 0, 350)
    assert shop.marketing.granting.effects.tally("voucher:1").used == 350


@pytest.mark.parametrize(("policy", "void"), [("R2", True), ("R1", False), ("R3", False)])
def test_an_unused_offer_that_was_sent_is_void_where_its_campaign_says_so(policy: str, void: bool) -> None:
    shop, offer_id = voucher(policy)
    made = of(shop.tell("payment.refunded", START + 2 * HOUR, payment_id="p1", amount=5), Offer)
    assert [(one.offer_id, one.status) for one in made] == ([(offer_id, "withdrawn")] if void else [])
    assert shop.marketing.granting.budgets.of["voucher:1"].left == (2_000 if void else 1_200)
    step(shop, "use", offer_id, START + 3 * HOUR, 0)
    assert shop.marketing.granting.effects.tally("voucher:1").used == (0 if void else 800)


def coupon() -> tuple[Shop, str]:
    """A customer with an active coupon for payment p1 of 120, and the name of its lot."""
    shop = Shop(COUPONS)
    made = shop.tell("payment.authorised", START, payment_id="p1", amount=120)
    shop.pay("p1", START + HOUR, 120)
    return shop, of(made, Reward)[0].lot_id


def test_a_coupon_is_spent_once_and_owed_once_the_payment_is_below_the_threshold() -> None:
    shop, lot = coupon()
    for _ in range(2):
        shop.tell("offer.redeemed", START + 2 * HOUR, offer_id=lot, reference="use")
    assert shop.customer.ledger.balance((COUPON, "")) == (0, 0, 0)
    shop.tell("payment.refunded", START + 3 * HOUR, payment_id="p1", amount=20)
    assert shop.customer.ledger.balance((COUPON, "")) == (0, 0, 0)  # 100 are left
    shop.tell("payment.refunded", START + 4 * HOUR, payment_id="p1", amount=0.01)
    assert shop.customer.ledger.balance((COUPON, "")) == (0, 0, 1)
    assert verify(of(shop.made, Reward)).faults == []


def test_a_coupon_that_is_not_there_is_refused_and_an_unknown_one_passed_over() -> None:
    shop, lot = coupon()
    shop.tell("payment.refunded", START + 2 * HOUR, payment_id="p1", amount=30)  # void
    told = shop.tell("offer.redeemed", START + 3 * HOUR, offer_id=lot, reference="a")
    assert (of(told, Reward), len(of(told, Alert))) == ([], 1)
    assert shop.tell("offer.redeemed", START + 4 * HOUR, offer_id="lot_0000000000000000", reference="b") == []
    assert shop.marketing.refused == {"no_coupon": 1}
    shop.customer.ledger.check()
