"""Entries add up to the ledger's balances, and the proof of it finds whatever is wrong with them."""

from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.outputs import Reward
from engine.engagement.ledger.entries import Cause, decimal, entries
from engine.engagement.ledger.keys import KEY_BITS, earned_number, lot_id, lot_number, narrow
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import CASHBACK, COUPON, POINTS, Terms
from engine.engagement.ledger.verify import BUCKETS, Account, verify

from .test_ledger import PURSES, Naive, Step, play, steps

KINDS = {POINTS: "points", CASHBACK: "cashback", COUPON: "coupon"}


def put_out(ledger: Ledger, given_steps: list[Step]) -> list[Reward]:
    made = play(ledger, Naive(), given_steps)
    return [entry for _, entry in entries(ledger, "c1", made, Cause("e1", "o1", "because"))]


def state(ledger: Ledger) -> dict[Account, dict[str, Decimal]]:
    found = {}
    for kind, currency in PURSES:
        amounts = [Decimal(amount) for amount in ledger.balance((kind, currency))]
        scale = Decimal("0.01") if kind == CASHBACK else Decimal(1)
        found["c1", KINDS[kind], currency] = {b: a * scale for b, a in zip(BUCKETS, amounts, strict=True)}
    return found


@settings(deadline=None, max_examples=300)
@given(steps)
def test_entries_prove_the_balances_of_the_state(given_steps: list[Step]) -> None:
    ledger = Ledger()
    rewards = put_out(ledger, given_steps)
    assert len({entry.entry_id for entry in rewards}) == len(rewards)
    proof = verify([*rewards, *rewards[: len(rewards) // 2]], state(ledger))
    assert proof.faults == []
    assert (proof.entries, proof.repeats) == (len(rewards), len(rewards) // 2)


@settings(deadline=None, max_examples=200)
@given(steps, st.data())
def test_an_entry_changed_or_lost_is_found(given_steps: list[Step], data: st.DataObject) -> None:
    ledger = Ledger()
    rewards = put_out(ledger, given_steps)
    if not rewards:
        return
    place = data.draw(st.integers(0, len(rewards) - 1))
    held = state(ledger)
    assert not verify([*rewards[:place], *rewards[place + 1 :]], held)
    other = msgspec.structs.replace(rewards[place], delta=str(Decimal(rewards[place].delta) + 1))
    assert not verify([*rewards[:place], other, *rewards[place + 1 :]], held)
    assert not verify([*rewards, other], held)


def test_faults_say_where_and_what() -> None:
    ledger = Ledger()
    made = ledger.grant(7, Terms("welcome", 1, POINTS), 100, 0)
    (first,) = [entry for _, entry in entries(ledger, "c1", made, Cause("e1", "first", "welcome"))]
    strange = msgspec.structs.replace
    cases = {
        "fall to -5": [first, strange(first, entry_id="x", bucket="active", delta="-5")],
        "a delta of 1e": [strange(first, delta="1e")],
        "a delta of NaN": [strange(first, delta="NaN")],
        "a delta of 1e3": [strange(first, delta="1e3")],
        "a delta of 0.00": [strange(first, delta="0.00")],
        "belongs to": [first, strange(first, entry_id="x", customer_id="c2")],
        "not with what was granted": [strange(first, bucket="active")],
        "beside 100 active": [
            first,
            strange(first, entry_id="x", bucket="pending", delta="-100"),
            strange(first, entry_id="y", bucket="active"),
            strange(first, entry_id="z", bucket="debt", delta="5"),
        ],
    }
    for words, rewards in cases.items():
        assert any(words in fault.what for fault in verify(rewards).faults), words


@settings(deadline=None, max_examples=200)
@given(steps, st.data())
def test_half_of_what_moves_between_buckets_is_missed_without_a_state(
    given_steps: list[Step], data: st.DataObject
) -> None:
    """What became active and what paid a debt: either entry lost, or another, wherever it stands, the last one too."""
    rewards = put_out(Ledger(), given_steps)
    assert verify(rewards)
    moved = [place for place, entry in enumerate(rewards) if entry.why in ("the hold is over", "pays what is owed")]
    if not moved:
        return
    place = data.draw(st.sampled_from(moved))
    assert not verify([*rewards[:place], *rewards[place + 1 :]])
    other = msgspec.structs.replace(rewards[place], delta=str(Decimal(rewards[place].delta) * 2))
    assert not verify([*rewards[:place], other, *rewards[place + 1 :]])


def test_a_grant_that_was_raised_is_missed_when_its_hold_is_over() -> None:
    ledger = Ledger()
    moved = ledger.grant(7, Terms("welcome", 1, POINTS), 50, 0) + ledger.advance(1)
    first, *others = (entry for _, entry in entries(ledger, "c1", moved, Cause("e1", "p1", "welcome")))
    raised = msgspec.structs.replace(first, delta="51")
    (fault,) = verify([raised, *others]).faults
    assert (fault.entry_id, fault.what) == (others[0].entry_id, "the hold is over, but 1 of the lot stay pending")


def test_what_an_entry_says() -> None:
    ledger = Ledger()
    number = lot_number("refund_goodwill", 1, "c1", "p1")
    made = ledger.grant(number, Terms("refund_goodwill", 1, CASHBACK, "EUR", available_ms=1_000), 1205, 500)
    ((time_ms, entry),) = entries(ledger, "c1", made, Cause("e1", "p1", "sorry"))
    assert (time_ms, entry.delta, entry.currency, entry.bucket, entry.why) == (500, "12.05", "EUR", "pending", "sorry")
    assert entry.available_at == "1970-01-01T00:00:01.000Z"
    assert entry.expires_at is None
    later = [e for _, e in entries(ledger, "c1", ledger.advance(2_000), Cause("timer", "p1", "sorry"))]
    assert [(e.bucket, e.delta, e.why) for e in later] == [
        ("pending", "-12.05", "the hold is over"),
        ("active", "12.05", "the hold is over"),
    ]


@given(st.integers(-(10**15), 10**15), st.integers(0, 4))
def test_decimals_are_exact(minor: int, exponent: int) -> None:
    assert Decimal(decimal(minor, exponent)) * 10**exponent == minor


def test_the_same_occasion_has_the_same_lot_and_others_have_others() -> None:
    keys = [("welcome", 1, "c1", "a"), ("welcome", 2, "c1", "a"), ("welcome", 1, "c2", "a"), ("welcome", 1, "c1", "b")]
    numbers = [lot_number(*key) for key in keys]
    assert len(set(numbers)) == len(keys)
    assert numbers == [lot_number(*key) for key in keys]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_keys_have_so_many_bits_and_none_is_nothing(first: int, second: int) -> None:
    assert (narrow(first) == 0) == (first == 0)
    assert narrow(first) < 2**KEY_BITS
    number = earned_number("base", 1, narrow(first))
    assert 0 < number < 2**KEY_BITS
    assert 0 < lot_number("base", 1, "c1", str(first)) < 2**KEY_BITS
    if narrow(first) != narrow(second):
        assert number != earned_number("base", 1, narrow(second))
    assert number != earned_number("base", 2, narrow(first))


def test_lots_of_different_customers_are_called_differently() -> None:
    numbers = [earned_number("base", 1, narrow(2**40 * n)) for n in range(1, 200)]
    assert len({lot_id(f"c{who}", number) for who in range(50) for number in numbers}) == 50 * len(numbers)
