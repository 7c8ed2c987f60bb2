"""What the ledger says of payments that it may have forgotten."""

from engine.engagement.ledger.ledger import HORIZON_MS, Ledger
from engine.engagement.ledger.lots import POINTS, Terms

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
