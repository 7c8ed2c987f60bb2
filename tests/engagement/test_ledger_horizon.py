"""What the ledger says of payments that it may have forgotten."""

import pytest

from engine.engagement.customer.names import value_of
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import POINTS, Terms
from engine.engagement.ledger.payments import HORIZON_MS
from tests.engagement.test_marketing import EARN, HOUR, START, Shop

DAY = 86_400_000


def test_a_payment_of_before_the_horizon_earns_nothing_forgotten_or_not() -> None:
    kept, forgotten = Ledger(), Ledger()
    for ledger in (kept, forgotten):
        ledger.settle(1, 100, 0)
    forgotten.forget(HORIZON_MS + DAY)
    assert (1 in kept.payments, 1 in forgotten.payments) == (True, False)
    for ledger in (kept, forgotten):
        assert ledger.grant(2, Terms("c", 1, POINTS, payment=1), 10, HORIZON_MS + DAY) == []
    assert len(kept.grant(3, Terms("c", 1, POINTS, payment=1), 10, HORIZON_MS)) == 1


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("what", ["payment.refunded", "payment.chargeback", "label.assigned"])
def test_what_is_given_back_after_the_horizon_takes_no_tier_and_only_of_lots_that_are_open(
    late: bool, what: str
) -> None:
    shop = Shop(EARN + "    hold: none\n")
    shop.pay("p1", START, 600)
    shop.pay("p2", START, 600)
    for number, points in enumerate((600, 100)):  # all of the first lot, some of the second
        shop.tell("points.redeemed", START + HOUR, number=points, reference=f"r{number}")
    now = START + HORIZON_MS + (DAY if late else -DAY)
    fields = {"label": "fraud"} if what == "label.assigned" else {"amount": 600}
    for payment in ("p1", "p2"):
        shop.tell(what, now, payment_id=payment, **fields)
    assert value_of("spend_12m", shop.customer, now, shop.marketing.population) == (1200 if late else 0)
    lost = late or what == "payment.refunded"  # a refund leaves the tier until the cycle ends
    assert value_of("membership", shop.customer, now, shop.marketing.population) == ("silver" if lost else "basic")
    debt = 100 if late else 700
    assert shop.points() == (0, 0, debt)
