"""A ledger as it is stored: a snapshot, then the facts since.

A snapshot is best taken after `Ledger.forget`. It is rows of numbers (`engine.engagement.packing`) that
differ little from row to row, and what is no number. What the history of the customer says of a payment is not said
again: a payment is what it differs by, a lot comes with its payment.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from engine.engagement.ledger.keys import earned_number
from engine.engagement.ledger.ledger import DONE, LOT, MOVED, SECOND_MS, Fact, Ledger, Payment
from engine.engagement.ledger.lots import GRANT, KINDS, LedgerError, Lot, Terms
from engine.engagement.packing import Source, pack_tables, unpack_tables

EARNED: Final = 0
"""A fact that is only stored: a lot with its terms, the use of its key and its grant. Others are the ledger's own."""

_BLOCKED, _DISPUTED = 1, 2
_ACCOUNTS: Final = ("pending", "active", "spent", "expired", "reversed")
_MIXED: Final = len(_ACCOUNTS)  # a lot whose units are in more than one account
_NOTHING: Final = (0,) * (len(_ACCOUNTS) - 1)
_counts: Final = attrgetter(*_ACCOUNTS)
_NO_END: Final = -1
DAY_SECONDS: Final = 86_400

Name = tuple[str, int, str, str, str]
"""What many lots have in common: campaign, version, kind, currency, policy."""


class Told(NamedTuple):
    """A payment as the history has it: its key, second, amount and what of it was given back."""

    payment: int
    second: int = 0
    minor: int = 0
    refunded: int = 0


def dump(ledger: Ledger, told: Iterable[Told] = ()) -> tuple[Any, bytes]:
    """A snapshot: what is no number, and rows. The journal is empty after it."""
    ledger.journal.clear()
    known, payments = {one.payment: one for one in told}, ledger.payments
    last = max((one.second for one in known.values()), default=0)
    others = {*payments, *(lot.terms.payment for lot in ledger.lots.values())}.difference(known)
    known.update((payment, Told(0, last)) for payment in sorted(others))
    places = {payment: place for place, payment in enumerate(known)}
    lots = sorted(ledger.lots.items(), key=lambda item: (places[item[1].terms.payment], item[0]))
    names = sorted({_name(lot.terms) for _, lot in lots})
    entries = [_payment(payment, payments.get(payment), one) for payment, one in known.items()]
    starts = [place for place, *_ in pairwise([0, *(places[lot.terms.payment] for _, lot in lots)])]
    rows = [
        (places[lot.terms.payment] - start, names.index(_name(lot.terms)), *_lot(number, lot, ledger, known))
        for start, (number, lot) in zip(starts, lots, strict=True)
    ]
    keys = sorted(ledger.done.difference(ledger.lots))
    order = {number: place for place, (number, _) in enumerate(lots)}
    spent = [
        (redemption, when, [(order[number], units) for number, units in parts.items()])
        for redemption, (when, parts) in sorted(ledger.spent.items())
    ]
    debts = [(kind, currency, debt) for (kind, currency), debt in sorted(ledger.debts.items())]
    steps = [(key - before,) for before, key in pairwise([0, *keys])]
    return (names, debts, spent), pack_tables(entries, rows, steps)


def load(loose: Any, source: Source | None, facts: Iterable[Fact] = (), told: Sequence[Told] = ()) -> Ledger:
    """The ledger of a snapshot (of none: None and None) and the facts since; `told` as it was dumped. Raises
    `LedgerError` on damage."""
    ledger = Ledger()
    try:
        if source is not None:
            _load(ledger, loose, source, told)
        for fact in facts:
            for one in _unfolded(tuple(fact)):
                ledger.learn(one)
        ledger.check()
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError) as error:
        raise LedgerError(f"stored ledger is damaged: {error!r}") from error
    return ledger


def folded(journal: Sequence[Fact]) -> list[Fact]:
    """Facts as they are stored: a grant is one of them instead of three."""
    found: list[Fact] = []
    for fact in journal:
        if fact[0] == MOVED and fact[1] == GRANT and len(found) > 1 and found[-1][0] == LOT:
            (_, number, amount, *terms), used = found[-1], found[-2]
            if used == (DONE, number) and fact[2:5] == (number, 1, amount) and not fact[6]:
                found[-2:] = [(EARNED, fact[5], number, amount, *terms)]
                continue
        found.append(fact)
    return found


def _unfolded(fact: Fact) -> list[Fact]:
    if fact[0] != EARNED:
        return [fact]
    _, now, number, amount, *terms = fact
    return [(DONE, number), (LOT, number, amount, *terms), (MOVED, GRANT, number, 1, amount, now, 0)]


def _name(terms: Terms) -> Name:
    return terms.campaign, terms.version, KINDS[terms.kind], terms.currency, terms.policy


def _payment(payment: int, entry: Payment | None, told: Told) -> tuple[int, ...]:
    """A payment by what it differs by from what is told of it; one that the ledger does not know only has its key."""
    if entry is None:
        return payment - told.payment, 0, 0, 0, 0, 0, 0
    flags = _BLOCKED * entry.blocked + _DISPUTED * entry.disputed
    more = entry.settled - told.minor, entry.refunded - told.refunded, entry.seen_ms // SECOND_MS - told.second
    return payment - told.payment, 1, *more, flags, entry.risk


def _lot(number: int, lot: Lot, ledger: Ledger, known: dict[int, Told]) -> tuple[int, ...]:
    """A lot: its number where it does not follow from its payment; for how many seconds it is held; the days that it
    stands then, and the second of the day in which it ends, mostly midnight; the account that holds all of it, or what
    each holds."""
    terms, entry = lot.terms, ledger.payments.get(lot.terms.payment)
    seen = known[terms.payment].second if entry is None else entry.seen_ms // SECOND_MS
    available = terms.available_ms // SECOND_MS
    day, ends = divmod(terms.expires_ms // SECOND_MS, DAY_SECONDS)
    stands = day - available // DAY_SECONDS if terms.expires_ms else _NO_END
    counts = _counts(lot)
    account = counts.index(lot.granted) if lot.granted in counts else _MIXED
    parts = counts[1:] if account == _MIXED else _NOTHING
    follows = number == earned_number(terms.campaign, terms.version, terms.payment)
    rest = lot.granted, lot.owed, int(lot.frozen), account, lot.moves - account, *parts
    return 0 if follows else number, available - seen, stands, ends, terms.threshold, *rest


def _load(ledger: Ledger, loose: Any, source: Source, told: Sequence[Told]) -> None:
    names, debts, spent = loose
    payments, rows, keys = unpack_tables(source, 3)
    told = list({one.payment: one for one in told}.values())
    last = max((one.second for one in told), default=0)
    known: list[tuple[int, int]] = []  # keys, and the second when they were last heard of
    for place, (payment, present, settled, refunded, seen, flags, risk) in enumerate(payments):
        one = told[place] if place < len(told) else Told(0, last)
        payment += one.payment
        known.append((payment, one.second + seen))
        if present:
            flag = bool(flags & _BLOCKED), (one.second + seen) * SECOND_MS, risk, bool(flags & _DISPUTED)
            ledger.payments[payment] = Payment(one.minor + settled, one.refunded + refunded, *flag)
    place, numbers = 0, list[int]()
    for further, name, number, *row in rows:
        place += further
        number, lot = _loaded(names[name], number, row, *known[place])
        numbers.append(number)
        ledger.put(number, lot)
    ledger.done, key = set(ledger.lots), 0
    for (more,) in keys:
        key += more
        ledger.done.add(key)
    ledger.debts = {(kind, currency): debt for kind, currency, debt in debts}
    ledger.spent = {
        redemption: (when, {numbers[at]: units for at, units in parts}) for redemption, when, parts in spent
    }


def _loaded(name: Name, number: int, row: list[int], payment: int, seen: int) -> tuple[int, Lot]:
    campaign, version, kind, currency, policy = name
    held, stands, ends, threshold, granted, owed, frozen, account, moves, *parts = row
    available = seen + held
    expires = (available // DAY_SECONDS + stands) * DAY_SECONDS + ends if stands != _NO_END else 0
    times = available * SECOND_MS, expires * SECOND_MS
    terms = Terms(campaign, version, KINDS.index(kind), currency, payment, *times, policy, threshold)
    if account == _MIXED:
        counts = [granted - sum(parts), *parts]
    else:
        counts = [granted if place == account else 0 for place in range(len(_ACCOUNTS))]
    pending, active, spent, expired, taken = counts
    lot = Lot(terms, granted, pending, active, spent, expired, taken, owed, bool(frozen), moves + account)
    return number or earned_number(campaign, version, payment), lot
