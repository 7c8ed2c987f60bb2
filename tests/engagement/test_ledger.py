"""The ledger against a fold with one row for each unit, over random interleavings of everything that can happen."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.ledger import codec
from engine.engagement.ledger.books import purse
from engine.engagement.ledger.facts import Fact
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import (
    CASHBACK,
    COUPON,
    DELTAS,
    EXPIRE,
    KEEP,
    POINTS,
    PRO_RATA,
    VOID,
    LedgerError,
    Movement,
    Terms,
)
from engine.engagement.ledger.redemption import RECALL_MS
from engine.engagement.packing import Source

DAY = 86_400_000
EUR = (CASHBACK, "EUR")
PURSES = ((POINTS, ""), EUR, (COUPON, ""))
Step = tuple[object, ...]


@dataclass(slots=True)
class Unit:
    """One unit of a lot, on its own."""

    lot: int
    terms: Terms
    account: str = "pending"


@dataclass(slots=True)
class Naive:
    """The same promises, each kept by looking at every unit."""

    units: list[Unit] = field(default_factory=list)
    owed: Counter[int] = field(default_factory=Counter)
    debt: Counter[tuple[int, str]] = field(default_factory=Counter)
    settled: dict[int, int] = field(default_factory=dict)
    refunded: Counter[int] = field(default_factory=Counter)
    seen: set[int] = field(default_factory=set)
    disputed: set[int] = field(default_factory=set)
    redeemed: dict[int, tuple[int, list[Unit]]] = field(default_factory=dict)  # when, and what

    def of(self, lot: int, account: str) -> list[Unit]:
        return [unit for unit in self.units if unit.lot == lot and unit.account == account]

    def active(self, of: tuple[int, str]) -> list[Unit]:
        found = [u for u in self.units if (u.terms.kind, u.terms.currency) == of and u.account == "active"]
        return sorted(found, key=lambda u: (u.terms.expires_ms or 2**62, u.lot))

    def advance(self, now: int) -> None:
        instants = {u.terms.available_ms for u in self.units} | {
            u.terms.expires_ms for u in self.units if u.terms.expires_ms
        }
        for instant in sorted(t for t in instants if t <= now):
            self.expire(instant)
            for unit in sorted(self.units, key=lambda u: (u.terms.available_ms, u.lot)):
                if unit.account == "pending" and unit.terms.available_ms <= instant:
                    unit.account = "active"
            self.repay()

    def expire(self, now: int) -> None:
        for unit in self.units:
            if unit.account == "active" and 0 < unit.terms.expires_ms <= now:
                unit.account = "expired"

    def repay(self) -> None:
        for of in PURSES:
            for unit in self.active(of)[: self.debt[of]]:
                unit.account = "spent"
                self.debt[of] -= 1

    def reclaim(self, payment: int) -> None:
        settled = self.settled.get(payment, 0)
        if not settled or not self.refunded[payment]:
            return
        left = max(0, settled - self.refunded[payment])
        for lot in sorted({u.lot for u in self.units if u.terms.payment == payment}):
            mine = [u for u in self.units if u.lot == lot]
            terms, granted = mine[0].terms, len(mine)
            keep = {PRO_RATA: granted * left // settled, KEEP: granted}.get(terms.policy)
            if keep is None:
                keep = 0 if left < (terms.threshold or settled) else granted
            gone = len(self.of(lot, "expired")) + len(self.of(lot, "reversed")) + self.owed[lot]
            for _ in range(granted - keep - gone):
                for account in ("pending", "active"):
                    if found := self.of(lot, account):
                        found[0].account = "reversed"
                        break
                else:
                    if self.of(lot, "spent"):
                        self.owed[lot] += 1
                        self.debt[(terms.kind, terms.currency)] += 1
        self.repay()


def play(ledger: Ledger, naive: Naive, steps: list[Step], now: int = 0) -> list[Movement]:
    """The same steps through both."""
    made: list[Movement] = []
    for what, *args in steps:
        numbers = [int(str(value)) for value in args]
        if what == "wait":
            now += numbers[0] * DAY
            made += ledger.advance(now)
            naive.advance(now)
        elif what == "earn":
            payment, lot, kind, amount, hold, expiry, policy = numbers
            of = PURSES[kind]
            terms = Terms("c", 1, *of, payment, now + hold * DAY, now + (hold + expiry) * DAY if expiry else 0,
                          (PRO_RATA, VOID, KEEP)[policy], 500 if policy == 1 and lot % 2 else 0)  # fmt: skip
            key = 1000 + lot
            made += ledger.grant(key, terms, amount, now)
            if key not in naive.seen:
                naive.seen.add(key)
                naive.units += [Unit(key, terms) for _ in range(amount)]
            made += ledger.reclaim(payment, now)
            naive.reclaim(payment)
        elif what == "settle":
            payment, minor = numbers
            if ledger.settle(payment, minor, now):
                naive.settled[payment] = minor
            made += ledger.reclaim(payment, now)
            naive.reclaim(payment)
        elif what in ("refund", "chargeback"):
            payment, reference, minor = numbers
            take = ledger.refund if what == "refund" else ledger.charge_back
            made += take(payment, 5000 + reference, minor, now)
            if 5000 + reference not in naive.seen:
                naive.seen.add(5000 + reference)
                before = naive.refunded[payment]
                again = what == "chargeback" and payment in naive.disputed
                naive.refunded[payment] = max(before, minor) if again else before + minor
                if what == "chargeback":
                    naive.disputed.add(payment)
                naive.reclaim(payment)
        elif what == "redeem":
            kind, redemption, amount, shared = numbers
            key = 9010 + shared if shared else 9000 + redemption  # a payment may have several
            found = ledger.redeem(PURSES[kind], amount, 9000 + redemption, now, key if shared else None)
            made += found or []
            there = naive.active(PURSES[kind])
            if 9000 + redemption not in naive.seen and amount <= len(there):
                naive.seen.add(9000 + redemption)
                naive.redeemed[key] = now, [*naive.redeemed.get(key, (now, []))[1], *there[:amount]]
                for unit in there[:amount]:
                    unit.account = "spent"
        else:
            key, kept = 9000 + numbers[0], numbers[1]
            made += ledger.give_back(key, now, kept, 3)
            when, units = naive.redeemed.get(key, (now, []))
            if now - when > RECALL_MS:
                units = []
            # A lot at a time, as the ledger: each pays debts before the next returns.
            for lot in dict.fromkeys(unit.lot for unit in units):
                mine = [u for u in units if u.lot == lot]
                back = mine[len(mine) * kept // 3 :]
                units = [u for u in units if u not in back]
                for unit in back:
                    unit.account = "active"
                naive.repay()
            if now - when <= RECALL_MS:
                naive.redeemed[key] = when, units
            naive.expire(now)
        ledger.check()
    return made


small = st.integers(1, 4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 20)),
        st.tuples(st.just("earn"), small, st.integers(0, 7), st.integers(0, 2), st.integers(1, 12), st.integers(0, 20),
                  st.integers(0, 30), st.integers(0, 2)),
        st.tuples(st.just("settle"), small, st.integers(1, 2_000)),
        st.tuples(st.just("refund"), small, st.integers(0, 9), st.integers(1, 900)),
        st.tuples(st.just("chargeback"), small, st.integers(0, 9), st.integers(1, 2_000)),
        st.tuples(st.just("redeem"), st.integers(0, 2), st.integers(0, 5), st.integers(1, 15), st.integers(0, 2)),
        st.tuples(st.just("give back"), st.one_of(st.integers(0, 5), st.integers(11, 12)), st.integers(0, 2)),
    ),
    max_size=30,
)  # fmt: skip


@settings(deadline=None, max_examples=1_500)
@given(steps)
def test_every_unit_is_where_a_fold_over_single_units_has_it(given_steps: list[Step]) -> None:
    ledger, naive = Ledger(), Naive()
    made = play(ledger, naive, given_steps)
    for number, lot in ledger.lots.items():
        counts = Counter(unit.account for unit in naive.units if unit.lot == number)
        held = {name: getattr(lot, name) for name in ("pending", "active", "spent", "expired", "reversed")}
        assert held == {name: counts[name] for name in held}
        assert lot.owed == naive.owed[number]
    assert ledger.debts == {of: debt for of, debt in naive.debt.items() if debt}
    assert balances(ledger, made) == {of: ledger.balance(of) for of in PURSES}


@settings(deadline=None, max_examples=300)
@given(steps, st.integers(0, 30))
def test_to_say_everything_twice_changes_nothing(given_steps: list[Step], cut: int) -> None:
    """Repeats of what carries a business key, anywhere later, move nothing."""
    ledger, naive = Ledger(), Naive()
    play(ledger, naive, given_steps)
    before = {number: (lot.pending, lot.active, lot.spent) for number, lot in ledger.lots.items()}
    repeats = [step for step in given_steps[:cut] if step[0] in ("earn", "settle", "refund", "chargeback")]
    now = sum(int(str(step[1])) for step in given_steps if step[0] == "wait") * DAY
    for what, *args in repeats:
        numbers = [int(str(value)) for value in args]
        if what == "earn":
            assert ledger.grant(1000 + numbers[1], Terms("c", 1, POINTS), 5, now) == []
        elif what == "settle":
            assert not ledger.settle(numbers[0], numbers[1], now)
        else:
            assert ledger.refund(numbers[0], 5000 + numbers[1], numbers[2], now) == []
    assert {number: (lot.pending, lot.active, lot.spent) for number, lot in ledger.lots.items()} == before


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 100_000), st.integers(1, 50_000), st.lists(st.integers(1, 400), min_size=1, max_size=9))
def test_refunds_in_parts_take_back_what_one_would(settled: int, points: int, shares: list[int]) -> None:
    parts = [max(1, settled * share // sum(shares)) for share in shares]
    ends = []
    for refunds in (parts, [sum(parts)]):
        ledger = Ledger()
        ledger.settle(7, settled, 0)
        ledger.grant(1, Terms("c", 1, POINTS, payment=7), points, 0)
        for number, minor in enumerate(refunds):
            ledger.refund(7, 100 + number, minor, 0)
        ends.append(ledger.balance((POINTS, "")))
    assert ends[0] == ends[1]
    assert ends[0][0] == points * max(0, settled - sum(parts)) // settled


def test_a_refund_before_its_payment_waits_for_it() -> None:
    early, late = Ledger(), Ledger()
    early.refund(7, 100, 250, 0)
    for ledger in (early, late):
        ledger.settle(7, 1_000, 1)
        ledger.grant(1, Terms("c", 1, POINTS, payment=7), 10, 1)
        ledger.reclaim(7, 1)
    late.refund(7, 100, 250, 2)
    assert early.balance((POINTS, "")) == late.balance((POINTS, "")) == (7, 0, 0)


def test_what_was_spent_is_owed_and_paid_by_the_next_earnings() -> None:
    ledger = Ledger()
    ledger.settle(7, 1_000, 0)
    ledger.grant(1, Terms("c", 1, POINTS, payment=7), 100, 0)
    ledger.advance(0)
    ledger.redeem((POINTS, ""), 80, 50, 1)
    ledger.refund(7, 60, 1_000, 2)
    assert ledger.balance((POINTS, "")) == (0, 0, 80)
    ledger.grant(2, Terms("c", 1, POINTS), 100, 3)
    ledger.advance(3)
    assert ledger.balance((POINTS, "")) == (0, 20, 0)
    assert ledger.redeem((POINTS, ""), 21, 51, 4) is None


def test_redeeming_takes_what_expires_first_and_returns_it_there() -> None:
    ledger = Ledger()
    for number, expires in ((1, 30), (2, 10), (3, 0)):
        ledger.grant(number, Terms("c", 1, POINTS, expires_ms=expires * DAY), 5, 0)
    ledger.advance(0)
    assert [(m.lot, m.amount) for m in ledger.redeem((POINTS, ""), 8, 50, DAY) or []] == [(2, 5), (1, 3)]
    back = ledger.give_back(50, 20 * DAY)  # lot 2 has expired meanwhile
    assert [(m.lot, m.amount) for m in back] == [(2, 5), (1, 3), (2, 5)]
    assert ledger.balance((POINTS, "")) == (0, 10, 0)
    assert ledger.lots[2].expired == 5
    assert ledger.give_back(50, 20 * DAY) == []


def test_what_was_spent_on_a_payment_returns_in_shares_that_add_up() -> None:
    ledger = Ledger()
    ledger.grant(1, Terms("c", 1, POINTS), 200, 0)
    ledger.advance(0)
    ledger.redeem((POINTS, ""), 70, 50, 1, 7)
    ledger.redeem((POINTS, ""), 30, 51, 1, 7)
    ledger.redeem((POINTS, ""), 10, 52, 1, 0)  # used on nothing that could be given back
    back = [sum(m.amount for m in ledger.give_back(7, 2, left, left + 1)) for left in (2, 1, 0)]
    assert back == [34, 33, 33]
    assert ledger.balance((POINTS, "")) == (0, 190, 0)
    assert ledger.spent == {}


def test_a_threshold_discount_is_voided_only_below_its_threshold() -> None:
    ledger = Ledger()
    ledger.settle(7, 12_000, 0)
    ledger.grant(1, Terms("full_reduction", 1, COUPON, payment=7, policy=VOID, threshold=10_000), 1, 0)
    assert ledger.refund(7, 60, 2_000, 1) == []
    assert [m.amount for m in ledger.refund(7, 61, 1, 2)] == [1]


def test_a_frozen_lot_waits_to_be_released() -> None:
    ledger = Ledger()
    ledger.grant(1, Terms("c", 1, POINTS, available_ms=DAY), 10, 0)
    ledger.freeze([1], True)
    assert ledger.advance(9 * DAY) == []
    ledger.freeze([1], False)
    assert [m.amount for m in ledger.advance(9 * DAY)] == [10]


def test_a_grant_of_nothing_and_damaged_state_are_refused() -> None:
    ledger = Ledger()
    with pytest.raises(LedgerError, match="a grant of 0"):
        ledger.grant(1, Terms("c", 1, POINTS), 0, 0)
    made = ledger.grant(1, Terms("c", 1, POINTS), 5, 0)
    with pytest.raises(LedgerError, match="movement 1 of a lot that has had 1"):
        ledger.take(made[0])
    with pytest.raises(LedgerError, match="holds"):
        ledger.take(made[0]._replace(number=2, op=3))


def balances(ledger: Ledger, made: list[Movement]) -> dict[tuple[int, str], tuple[int, int, int]]:
    """Balances as whoever adds up what was put out has them."""
    sums: Counter[tuple[tuple[int, str], str]] = Counter()
    for movement in made:
        for bucket, sign in DELTAS[movement.op]:
            sums[purse(ledger.lots[movement.lot]), bucket] += sign * movement.amount
    return {of: (sums[of, "pending"], sums[of, "active"], sums[of, "debt"]) for of in PURSES}


def dump(ledger: Ledger, now: int) -> bytes:
    ledger.forget(now)
    return msgspec.msgpack.encode(codec.dump(ledger))


def load(snapshot: bytes, facts: Sequence[Fact] = ()) -> Ledger:
    loose, packed = msgspec.msgpack.decode(snapshot) if snapshot else (None, None)
    return codec.load(loose, None if packed is None else Source(packed), codec.unfolded(facts))


@settings(deadline=None, max_examples=400)
@given(steps, st.integers(0, 30), st.booleans())
def test_what_is_stored_is_the_same_ledger(given_steps: list[Step], cut: int, compact: bool) -> None:
    """Stored as a snapshot in the middle and facts from there on, or as facts alone."""
    ledger, naive = Ledger(), Naive()
    play(ledger, naive, given_steps[:cut])
    snapshot = dump(ledger, 0) if compact else b""
    now = sum(int(str(step[1])) for step in given_steps[:cut] if step[0] == "wait") * DAY
    play(ledger, naive, given_steps[cut:], now)
    facts = msgspec.msgpack.decode(msgspec.msgpack.encode(codec.folded(ledger.journal)))
    again = load(snapshot, facts)
    assert again.lots == ledger.lots
    assert (again.done, again.debts, again.spent) == (ledger.done, ledger.debts, ledger.spent)
    for payment, entry in ledger.payments.items():
        other = again.payments[payment]
        assert (entry.settled, entry.refunded, entry.blocked) == (other.settled, other.refunded, other.blocked)
    assert dump(again, 0) == dump(ledger, 0)


def test_past_the_horizon_only_keys_and_balances_stay() -> None:
    ledger = Ledger()
    for number in range(200):
        ledger.settle(10_000 + number, 5_000, number * DAY)
        terms = Terms("base_earn", 1, POINTS, payment=10_000 + number, available_ms=(number + 14) * DAY,
                      expires_ms=(number + 365) * DAY)  # fmt: skip
        ledger.grant(number + 1, terms, 50, number * DAY)
        ledger.advance(number * DAY)
        if number % 10 == 9:
            ledger.redeem((POINTS, ""), 400, 20_000 + number, number * DAY)
    balance, long = ledger.balance((POINTS, "")), dump(ledger, 200 * DAY)
    short = dump(ledger, 600 * DAY)
    assert len(short) < len(long)
    again = load(short)
    assert again.balance((POINTS, "")) == balance
    assert again.grant(1, Terms("base_earn", 1, POINTS, payment=10_000), 50, 600 * DAY) == []


def test_damaged_bytes_are_refused() -> None:
    ledger = Ledger()
    ledger.grant(1, Terms("c", 1, POINTS), 5, 0)
    facts = list(ledger.journal)
    loose, packed = codec.dump(ledger)
    known: list[Fact] = [codec.folded(facts)[0]]
    cases: list[tuple[object, bytes, list[Fact]]] = [
        (loose, packed[:-1], []),
        (loose, b"\x01", []),
        (((), (), ()), packed, []),
        (loose, packed, facts),
        (loose, packed, known),
    ]
    for names, rows, since in cases:
        with pytest.raises(LedgerError):
            codec.load(names, Source(rows), since)
    for since in ([(99, 1)], facts[1:2] * 2, facts[2:], known * 2):
        with pytest.raises(LedgerError):
            load(b"", since)


@settings(deadline=None, max_examples=300)
@given(steps, st.lists(st.integers(0, 30), max_size=6), st.integers(1, 12))
def test_when_something_is_forgotten_makes_no_difference(
    given_steps: list[Step], cuts: list[int], stretch: int
) -> None:
    """The same steps, over years, with and without forgetting in between: the same movements."""
    slow: list[Step] = []
    for what, *args in given_steps:
        if what == "wait":
            args[0] = int(str(args[0])) * stretch * 3
        elif what == "earn":
            args[1] = int(str(args[1])) + 8 * int(str(args[0]))  # a key is of one payment: what was forgotten says so
        slow.append((what, *args))
    whole, parts = Ledger(), Ledger()
    expected = move(whole, slow, set())
    assert move(parts, slow, set(cuts)) == expected
    for ledger in (whole, parts):
        ledger.forget(sum(int(str(step[1])) for step in slow if step[0] == "wait") * DAY)
    assert {number: lot for number, lot in parts.lots.items() if not lot.closed} == {
        number: lot for number, lot in whole.lots.items() if not lot.closed
    }


def test_a_lot_that_was_forgotten_does_not_disturb_one_that_expires_at_its_instant() -> None:
    ledger, expires = Ledger(), 400 * DAY
    for payment in (1, 2):
        ledger.settle(payment, 100, 0)
        ledger.grant(payment, Terms("c", 1, POINTS, payment=payment, expires_ms=expires), 10, 0)
    ledger.advance(0)
    ledger.refund(1, 7, 100, DAY)
    ledger.forget(300 * DAY)
    assert set(ledger.lots) == {2}
    (gone,) = ledger.advance(expires)
    assert (gone.op, gone.lot, gone.amount) == (EXPIRE, 2, 10)


def move(ledger: Ledger, given_steps: list[Step], forget: set[int]) -> list[Movement]:
    """The movements of some steps, forgetting before those at `forget`."""
    made, now = list[Movement](), 0
    for place, step in enumerate(given_steps):
        if place in forget:
            ledger.forget(now)
        made += play(ledger, Naive(), [step], now)
        now += int(str(step[1])) * DAY if step[0] == "wait" else 0
    return made
