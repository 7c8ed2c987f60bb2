"""Base earn against a fold that only knows totals: any interleaving, any repeats, any reload."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.base_earn import BLOCKED, CHARGEBACK, REFUNDED, Account, record, settle, take_back

Step = tuple[str, int, int]  # what, payment, minor units (a refund's number doubles as its business key)


def run(steps: list[Step], *, reload: bool) -> tuple[Account, dict[int, int]]:
    """Apply the steps; returns the account and what the published entries add up to, by payment."""
    account, stored, balance = Account(), b"", dict.fromkeys(range(3), 0)
    for what, payment, minor in steps:
        if reload:
            account = Account.restore(stored)
        if what == "settle":
            written, kept = settle(account, payment, minor=minor, units=minor // 100, day=7, earns=True, limit=10**9)
            balance[payment] += kept
        elif what == "block":
            account.apply(BLOCKED, payment, 0, 0, 0, 0)
            written = record(BLOCKED, payment)
        else:
            code = REFUNDED if what == "refund" else CHARGEBACK
            written, lost = take_back(account, code, payment, payment * 10**7 + minor, minor)
            balance[payment] -= lost
        stored += written
    return account, balance


steps = st.lists(
    st.tuples(
        st.sampled_from(["settle", "refund", "refund", "chargeback", "block"]),
        st.integers(0, 2),
        st.integers(1, 90_000),
    ),
    max_size=20,
)


@given(steps)
@settings(deadline=None, max_examples=300)
def test_balance_is_what_the_payments_keep_in_any_order(given_steps: list[Step]) -> None:
    account, balance = run(given_steps, reload=False)
    assert (account, balance) == run(given_steps, reload=True)
    for payment in range(3):
        settled = next((m for what, p, m in given_steps if (what, p) == ("settle", payment)), 0)
        first = next((i for i, s in enumerate(given_steps) if s[:2] == ("settle", payment)), len(given_steps))
        blocked = any(s[:2] == ("block", payment) for s in given_steps[:first])
        entry = account.payments.get(payment)
        refunded = entry.refunded if entry else 0
        granted = 0 if blocked else settled // 100
        expected = granted * max(0, settled - refunded) // settled if settled else 0
        assert balance[payment] == expected >= 0


def test_three_refunds_of_a_third_take_back_exactly_everything() -> None:
    thirds: list[Step] = [("refund", 0, 3334), ("refund", 0, 3333), ("refund", 0, 3332)]
    _, balance = run([("settle", 0, 9999), *thirds], reload=False)
    assert balance[0] == 0


def test_a_repeat_under_a_new_event_id_changes_nothing() -> None:
    once: list[Step] = [("settle", 0, 10_000), ("refund", 0, 5_000)]
    assert run(once, reload=False) == run([once[0], *once, once[1]], reload=False)
    assert run(once, reload=False)[1][0] == 50


def test_the_daily_cap_holds_and_a_new_day_starts_over() -> None:
    account = Account()
    kept = [settle(account, p, minor=300_000, units=3_000, day=p // 3, earns=True, limit=5_000)[1] for p in range(4)]
    assert kept == [3_000, 2_000, 0, 3_000]


def test_a_refund_before_its_settlement_waits_for_it() -> None:
    _, balance = run([("refund", 0, 2_500), ("settle", 0, 10_000)], reload=False)
    assert balance[0] == 75
