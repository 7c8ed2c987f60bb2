"""What a referrer's ledger makes of what it hears of a payment that is another's, whatever comes when."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import KEEP, POINTS, PRO_RATA, VOID, Terms

PAYMENT, LOT, DAY = 77, 5, 86_400_000
STEPS = st.lists(
    st.tuples(st.sampled_from(["hear", "hear", "grant", "wait", "spend"]), st.integers(0, 40), st.integers(1, 300)),
    max_size=30,
)


def grant(ledger: Ledger, policy: str, now: int) -> None:
    terms = Terms("referral", 1, POINTS, "", PAYMENT, now + 2 * DAY, 0, policy)
    ledger.grant(LOT, terms, 300, now)
    ledger.reclaim(PAYMENT, now)


@settings(max_examples=300, deadline=None)
@given(settled=st.integers(1, 30), policy=st.sampled_from([PRO_RATA, VOID, KEEP]), steps=STEPS)
def test_any_order_and_number_of_letters_takes_back_what_the_largest_amounts_say(
    settled: int, policy: str, steps: list[tuple[str, int, int]]
) -> None:
    ledger, now, gone = Ledger(), DAY, 0
    for what, part, amount in [*steps, ("grant", 0, 1), ("hear", 0, 1)]:
        if what == "hear":
            gone = max(gone, part)
            ledger.hear(PAYMENT, settled, part, now)
        elif what == "grant":
            grant(ledger, policy, now)
        elif what == "wait":
            now += DAY
            ledger.advance(now)
        else:
            ledger.redeem((POINTS, ""), amount, now + part, now)
        ledger.check()
    lot, left = ledger.lots[LOT], max(0, settled - gone)
    kept = {PRO_RATA: 300 * left // settled, VOID: 300 if left == settled else 0, KEEP: 300}[policy]
    assert 300 - lot.reversed - lot.owed == kept
    again = Ledger()
    for fact in ledger.journal:
        again.learn(fact)
    assert (again.lots, again.payments, again.debts) == (ledger.lots, ledger.payments, ledger.debts)


def test_what_was_heard_before_says_nothing_new() -> None:
    ledger = Ledger()
    ledger.hear(PAYMENT, 30, 10, DAY)
    grant(ledger, PRO_RATA, DAY)
    ledger.journal.clear()
    for settled, refunded in ((30, 10), (30, 0), (0, 5)):
        assert ledger.hear(PAYMENT, settled, refunded, 2 * DAY) == []
    assert ledger.journal == []
    assert ledger.lots_of(PAYMENT) == [LOT]
