"""A ledger as it is stored: a snapshot, then the facts since.

A snapshot is best taken after `Ledger.forget`. It is rows of numbers (`engine.engagement.packing`) that
differ little from row to row, and what is no number. What the history of the customer says of a payment is not said
again: a payment is what it differs by, a lot comes with its payment.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from engine.engagement.ledger.facts import DONE, LOT, MOVED, PAYMENT, REDEEMED, Fact
from engine.engagement.ledger.keys import earned_number, earned_numbers
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import GRANT, KINDS, SPEND, LedgerError, Lot, Terms
from engine.engagement.ledger.payments import SECOND_MS, Payment
from engine.engagement.packing import Source, pack_tables, unpack_tables

EARNED, SPENT = 0, -1
"""Facts that are only stored: a lot with its terms, the use of its key and its grant; a redemption, the use of its key
and its movements. Others are the ledger's own, but for payments that have settled and of which nothing else is known:
those are four values long."""
_USUAL: Final = 4
_SAME: Final = -1  # instead of a payment: the next that settled; of a lot, that which the facts before are of
_known: Final = attrgetter(*(one.name for one in fields(Payment)))

_BLOCKED, _DISPUTED = 1, 2
_ACCOUNTS: Final = ("pending", "active", "spent", "expired", "reversed")
_MIXED: Final = len(_ACCOUNTS)  # a lot whose units are in more than one account
_counts: Final = attrgetter("granted", "owed", "frozen", "moves", *_ACCOUNTS)
_NO_END: Final = -1
DAY_MS: Final = 86_400_000

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
    entries = [_payment(payment, payments.get(payment), one) for payment, one in known.items()]
    heard = [one.second + entry[4] for one, entry in zip(known.values(), entries, strict=True)]
    lots = sorted(ledger.lots.items(), key=lambda item: (places[item[1].terms.payment], item[0]))
    names, columns = _lots(lots, places, heard)
    keys = sorted(ledger.done.difference(ledger.lots))
    order = {number: place for place, (number, _) in enumerate(lots)}
    spent = [
        (redemption, when, [(order[number], units) for number, units in parts.items()])
        for redemption, (when, parts) in sorted(ledger.spent.items())
    ]
    debts = [(kind, currency, debt) for (kind, currency), debt in sorted(ledger.debts.items())]
    return (names, debts, spent), pack_tables(list(zip(*entries, strict=True)), columns, [_steps(keys)])


def load(loose: Any, source: Source | None, facts: Iterable[Fact] = (), told: Sequence[Told] = ()) -> Ledger:
    """The ledger of a snapshot (of none: None and None) and the facts since; `told` as it was dumped. Raises
    `LedgerError` on damage."""
    ledger = Ledger()
    try:
        if source is not None:
            _load(ledger, loose, source, told)
        for fact in facts:
            ledger.learn(fact)
        ledger.check()
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError) as error:
        raise LedgerError(f"stored ledger is damaged: {error!r}") from error
    return ledger


def folded(journal: Sequence[Fact], keys: Iterable[int] = ()) -> list[Fact]:
    """Facts as they are stored: a grant is one of them instead of three, a redemption one with all its movements, and
    of a payment what is usual is left out. `keys` are those of payments that settled, in order, as they are stored
    beside."""
    found: list[Fact] = []
    settled, payment, skipped = iter(keys), 0, 0
    told = next(settled, None)
    for place, fact in enumerate(journal):
        if place < skipped:
            continue
        kind = fact[0]
        if kind == PAYMENT:
            payment, entry = fact[1], Payment(*fact[2:])
            if entry == Payment(entry.settled, seen_ms=entry.seen_ms):
                fact = PAYMENT, _SAME if payment == told else payment, entry.settled, entry.seen_ms // SECOND_MS
                told = next(settled, None) if payment == told else told
        elif kind == LOT and found and found[-1] == (DONE, fact[1]):
            _, number, amount, *terms = fact
            grant = journal[place + 1 : place + 2]
            if grant and grant[0][:5] == (MOVED, GRANT, number, 1, amount) and not grant[0][6]:
                fact, skipped = _earned(grant[0][5], number, amount, Terms(*terms), payment), place + 2
                found.pop()
        elif kind == REDEEMED and found and found[-1] == (DONE, fact[1]):
            _, redemption, now, parts = fact
            moved = journal[place + 1 : place + 1 + len(parts)]
            numbers = [one[3] for one in moved if one[0] == MOVED]
            spends = [
                (MOVED, SPEND, lot, n, part, now, redemption)
                for (lot, part), n in zip(parts.items(), numbers, strict=False)
            ]
            if parts and list(moved) == spends:
                fact, skipped = (SPENT, redemption, now, parts, numbers), place + 1 + len(parts)
                found.pop()
        found.append(fact)
    return found


def unfolded(facts: Iterable[Sequence[Any]], keys: Iterable[int] = ()) -> Iterator[Fact]:
    """The facts of `folded`."""
    settled, payment = iter(keys), 0
    for fact in facts:
        if fact[0] == PAYMENT:
            payment = fact[1] if fact[1] != _SAME else next(settled, _SAME)
            if payment == _SAME:
                raise LedgerError("a payment that settled is missing")
            usual = len(fact) == _USUAL
            yield PAYMENT, payment, *(_known(Payment(fact[2], seen_ms=fact[3] * SECOND_MS)) if usual else fact[2:])
        elif fact[0] == EARNED:
            _, now, number, amount, *rest = fact
            terms = Terms(*rest)
            of = terms.payment if terms.payment != _SAME else payment
            terms = terms._replace(
                payment=of, available_ms=terms.available_ms * SECOND_MS, expires_ms=terms.expires_ms * SECOND_MS
            )
            number = number or earned_number(terms.campaign, terms.version, of)
            yield DONE, number
            yield LOT, number, amount, *terms
            yield MOVED, GRANT, number, 1, amount, now, 0
        elif fact[0] == SPENT:
            _, redemption, now, parts, numbers = fact
            yield DONE, redemption
            yield REDEEMED, redemption, now, parts
            for (lot, part), number in zip(parts.items(), numbers, strict=True):
                yield MOVED, SPEND, lot, number, part, now, redemption
        else:
            yield tuple(fact)


def _earned(now: int, number: int, amount: int, terms: Terms, payment: int) -> Fact:
    """A lot that is granted: its number where it does not follow from its payment, its payment where it is not the one
    that the facts before are of; its times in seconds."""
    follows = number == earned_number(terms.campaign, terms.version, terms.payment)
    same = _SAME if terms.payment == payment else terms.payment
    times = terms.available_ms // SECOND_MS, terms.expires_ms // SECOND_MS
    brief = terms._replace(payment=same, available_ms=times[0], expires_ms=times[1])
    return EARNED, now, 0 if follows else number, amount, *brief


def _payment(payment: int, entry: Payment | None, told: Told) -> tuple[int, ...]:
    """A payment by what it differs by from what is told of it; one that the ledger does not know only has its key."""
    if entry is None:
        return payment - told.payment, 0, 0, 0, 0, 0, 0
    flags = _BLOCKED * entry.blocked + _DISPUTED * entry.disputed
    more = entry.settled - told.minor, entry.refunded - told.refunded, entry.seen_ms // SECOND_MS - told.second
    return payment - told.payment, 1, *more, flags, entry.risk


def _lots(
    lots: list[tuple[int, Lot]], places: dict[int, int], heard: list[int]
) -> tuple[list[Name], list[Sequence[int]]]:
    """What lots have in common, and columns: how far the payment is from that of the lot before; which of the names;
    the number where it does not follow from the payment; the seconds that a lot is held; the days that it stands then,
    and the second of the day in which it ends, mostly midnight; the account that holds all of it, or what each does."""
    if not lots:
        return [], []
    numbers, objects = zip(*lots, strict=True)
    terms = [lot.terms for lot in objects]
    campaign, version, kind, currency, payment, available, expires, policy, threshold = zip(*terms, strict=True)
    common = list(zip(campaign, version, kind, currency, policy, strict=True))
    names = sorted(set(common))
    spots, order = [places[one] for one in payment], {name: place for place, name in enumerate(names)}
    follow = earned_numbers(list(zip(campaign, version, strict=True)), payment)
    granted, owed, frozen, moves, *held = zip(*map(_counts, objects), strict=True)
    accounts = [
        row.index(units) if units in row else _MIXED
        for units, row in zip(granted, zip(*held, strict=True), strict=True)
    ]
    days = [end // DAY_MS - start // DAY_MS if end else _NO_END for start, end in zip(available, expires, strict=True)]
    columns = [
        _steps(spots),
        [order[name] for name in common],
        [0 if number == known else number for number, known in zip(numbers, follow, strict=True)],
        [start // SECOND_MS - heard[spot] for start, spot in zip(available, spots, strict=True)],
        days,
        [end % DAY_MS // SECOND_MS for end in expires],
        threshold,
        granted,
        owed,
        list(map(int, frozen)),
        accounts,
        [count - account for count, account in zip(moves, accounts, strict=True)],
        *(
            [units if account == _MIXED else 0 for units, account in zip(some, accounts, strict=True)]
            for some in held[1:]
        ),
    ]
    return [(one, number, KINDS[of], *rest) for one, number, of, *rest in names], columns


def _steps(numbers: list[int]) -> list[int]:
    """How far each number is from the one before it."""
    return [number - before for before, number in pairwise([0, *numbers])]


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
    kinds = [(campaign, version, KINDS.index(kind), *rest) for campaign, version, kind, *rest in names]
    some = list(rows)
    places = list(accumulate(row[0] for row in some))
    of = [known[place][0] for place in places]
    numbers = earned_numbers([kinds[row[1]][:2] for row in some], of)
    for at, ((_, name, number, *row), place) in enumerate(zip(some, places, strict=True)):
        numbers[at] = number or numbers[at]
        ledger.put(numbers[at], _loaded(kinds[name], row, *known[place]))
    ledger.done, key = set(ledger.lots), 0
    for (more,) in keys:
        key += more
        ledger.done.add(key)
    ledger.debts = {(kind, currency): debt for kind, currency, debt in debts}
    ledger.spent = {
        redemption: (when, {numbers[at]: units for at, units in parts}) for redemption, when, parts in spent
    }


def _loaded(name: tuple[Any, ...], row: list[int], payment: int, seen: int) -> Lot:
    held, stands, ends, threshold, granted, owed, frozen, account, moves, *parts = row
    available_ms = (seen + held) * SECOND_MS
    expires_ms = (available_ms // DAY_MS + stands) * DAY_MS + ends * SECOND_MS if stands != _NO_END else 0
    campaign, version, kind, currency, policy = name
    terms = Terms(campaign, version, kind, currency, payment, available_ms, expires_ms, policy, threshold)
    if account == _MIXED:
        counts = [granted - sum(parts), *parts]
    else:
        counts = [0] * _MIXED
        counts[account] = granted
    pending, active, spent, expired, taken = counts
    return Lot(terms, granted, pending, active, spent, expired, taken, owed, bool(frozen), moves + account)
