"""Offers of a timer or a transition, and what a refund, chargeback or label of fraud takes from them before they go."""

from pathlib import Path

import pytest

from engine.domain.outputs import Offer
from engine.engagement.calendar import DAY_MS
from tests.engagement.test_marketing import HOUR, START, Shop, of

SERVICE = (Path(__file__).resolve().parents[2] / "rules/engagement/service.yaml").read_text("utf-8")
SURVEY = "  - id: post_refund_nps\n" + SERVICE.split("- id: post_refund_nps\n")[1].split("  - id:")[0]
ISSUED = START + 3 * DAY_MS + 12 * HOUR
"""Two days after the refund, past ten: it goes out at ten the next day."""


def timed(timer: str, when: str = "customer.tenure_days >= 0") -> str:
    return f"""
  - id: say
    on: {{timer: {timer}, after: 2d}}
    when: {when}
    then: {{offer: service, value: hello, expires: 7d, send: "10:00"}}
    caps: [{{times: 100}}]
"""


def asked(text: str = SURVEY) -> Shop:
    """A customer of two payments, the last of them refunded in part, to whom the campaign has issued its offer."""
    shop = Shop(text)
    shop.tell("account.consent_changed", START, consent={"marketing": True})
    shop.pay("p0", START)
    shop.pay("p1", START + DAY_MS + 12 * HOUR)
    shop.tell("payment.refunded", START + DAY_MS + 12 * HOUR, payment_id="p1", amount=30)
    assert of(shop.at(ISSUED), Offer)[-1].status == "issued"
    return shop


def withdrawn(shop: Shop, what: str, payment: str) -> list[str]:
    made = shop.tell(what, ISSUED + HOUR, payment_id=payment, amount=20, label="fraud")
    shop.at(ISSUED + DAY_MS)
    assert shop.customer.offers.unsent() == []
    return [one.why for one in of(made, Offer) if one.status == "withdrawn"]


@pytest.mark.parametrize(("what", "payment", "why"), [
    ("payment.chargeback", "p1", ["charged back"]), ("label.assigned", "p1", ["the payment was fraud"]),
    ("payment.chargeback", "p0", ["charged back"]),  # the condition asks for nothing disputed
    ("label.assigned", "p0", []), ("payment.refunded", "p1", []), ("payment.refunded", "p0", []),
])  # fmt: skip
def test_the_survey_after_a_refund_is_withdrawn_with_the_payment_it_asks_about(
    what: str, payment: str, why: list[str]
) -> None:
    shop = asked()
    assert withdrawn(shop, what, payment) == why
    assert [one.sent for one in shop.customer.offers.of.values()] == ([] if why else [True])


@pytest.mark.parametrize("what", ["payment.chargeback", "label.assigned", "payment.refunded"])
@pytest.mark.parametrize(("timer", "payment"), [("since_first_payment", "p0"), ("since_last_payment", "p1")])
def test_an_offer_goes_with_the_payment_its_timer_runs_since(timer: str, payment: str, what: str) -> None:
    for other in ("p0", "p1"):
        shop = Shop(timed(timer))
        shop.pay("p0", START)
        shop.pay("p1", START + HOUR)
        shop.at(START + 2 * DAY_MS + 2 * HOUR)
        made = shop.tell(what, START + 2 * DAY_MS + 3 * HOUR, payment_id=other, amount=20, label="fraud")
        gone = [one.status for one in of(made, Offer)]
        assert gone == (["withdrawn"] if other == payment else [])


def test_what_time_alone_takes_away_is_sent_all_the_same() -> None:
    shop = Shop(timed("since_last_payment", "customer.idle_days <= 2"))
    shop.pay("p0", START - DAY_MS)
    shop.pay("p1", START)
    shop.at(START + 2 * DAY_MS)
    assert len(shop.customer.offers.unsent()) == 1
    made = shop.tell("payment.refunded", START + 2 * DAY_MS + 9 * HOUR, payment_id="p0", amount=20)
    assert of(made, Offer) == []
    shop.at(START + 3 * DAY_MS)
    assert [one.sent for one in shop.customer.offers.of.values()] == [True]


@pytest.mark.parametrize("minor", [20, 60])
def test_a_refund_takes_the_ground_of_an_offer_whose_condition_it_makes_untrue(minor: float) -> None:
    shop = Shop(timed("since_registration", "customer.refund_rate_90d < 0.5"))
    shop.pay("p0", START)
    shop.at(START + 2 * DAY_MS)
    made = shop.tell("payment.refunded", START + 2 * DAY_MS + HOUR, payment_id="p0", amount=minor)
    assert [one.status for one in of(made, Offer)] == (["withdrawn"] if minor > 50 else [])


def test_an_offer_of_a_transition_goes_with_what_its_condition_asked() -> None:
    text = timed("x", "missing(customer.dispute_days)").replace(
        "{timer: x, after: 2d}", "{transition: lifecycle, from: new, to: active}"
    )
    shop = Shop(text)
    for number in range(3):
        shop.pay(f"p{number}", START + number * DAY_MS + 12 * HOUR)
    assert len(shop.customer.offers.unsent()) == 1
    (offer,) = shop.customer.offers.unsent()
    made = shop.tell("payment.chargeback", offer.send_ms - HOUR, payment_id="p0", amount=1)
    assert [one.status for one in of(made, Offer)] == ["withdrawn"]
