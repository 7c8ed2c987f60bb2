"""A ledger as it is stored: a snapshot, then the facts since.

A snapshot is best taken after `Ledger.forget`. It is rows of numbers (`engine.engagement.packing`) that
differ little from row to row, and what is no number. What the history of the customer says of a payment is not said
again: a payment is what it differs by, a lot comes with its payment.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from operator import attrgetter, sub
from typing import Any, Final, NamedTuple

import msgspec

from engine.engagement.ledger.facts import DONE, LOT, MOVED, PAYMENT, REDEEMED, Fact
from engine.engagement.ledger.keys import earned_number, earned_numbers
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import GRANT, KINDS, SPEND, LedgerError, Lot, Terms
from engine.engagement.ledger.payments import SECOND_MS, Payment, all_of
from engine.engagement.packing import Source, pack_tables, unpack_tables

EARNED, SPENT = 0, -1
"""Facts that are only stored: a lot with its terms, the use of its key and its grant; a redemption, the use of its key
and its movements. Others are the ledger's own, but for payments that have settled and of which nothing else is known:
those are four values long."""
_USUAL: Final = 4
_SAME: Final = -1  # instead of a payment: the next that settled; of a lot, that which the facts before are of

_BLOCKED, _DISPUTED = 1, 2
_ACCOUNTS: Final = ("pending", "active", "spent", "expired", "reversed")
_MIXED: Final = len(_ACCOUNTS)  # a lot whose units are in more than one account
_payment_of: Final = attrgetter("terms.payment")
_counts: Final = attrgetter("granted", "owed", "frozen", "moves", *_ACCOUNTS)
_NO_END: Final = -1
DAY_MS: Final = 86_400_000

Name = tuple[str, int, str, str, str]
"""What many lots have in common: campaign, version, kind, currency, policy."""


class Told(NamedTuple):
    """Payments as the history has them: keys, seconds, amounts and what of them was given back, column by column."""

    payments: Sequence[int] = ()
    seconds: Sequence[int] = ()
    minors: Sequence[int] = ()
    refunded: Sequence[int] = ()


def dump(ledger: Ledger, told: Told | None = None) -> tuple[Any, bytes]:
    """A snapshot: what is no number, and rows. The journal is empty after it."""
    ledger.journal.clear()
    told = _once(told or Told())
    of = list(map(_payment_of, ledger.lots.values()))
    others = sorted({*ledger.payments, *of}.difference(told.payments))
    places = {payment: place for place, payment in enumerate((*told.payments, *others))}
    payments, heard = _payments(ledger.payments, told, others) if places else ([], [])
    lots = sorted(zip(map(places.__getitem__, of), ledger.lots, ledger.lots.values(), strict=True))
    names, columns = _lots(lots, heard)
    keys = sorted(ledger.done.difference(ledger.lots))
    order = {number: place for place, (_, number, _) in enumerate(lots)} if ledger.spent else {}
    spent = [
        (redemption, when, [(order[number], units) for number, units in parts.items()])
        for redemption, (when, parts) in sorted(ledger.spent.items())
    ]
    debts = [(kind, currency, debt) for (kind, currency), debt in sorted(ledger.debts.items())]
    return (names, debts, spent), pack_tables(payments, columns, [_steps(keys)])


def load(loose: Any, source: Source | None, facts: Iterable[Fact] = (), told: Told | None = None) -> Ledger:
    """The ledger of a snapshot (of none: None and None) and the facts since; `told` as it was dumped. Raises
    `LedgerError` on damage."""
    ledger = Ledger()
    try:
        if source is not None:
            _load(ledger, loose, source, _once(told or Told()))
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
    left, payment, skipped = iter(keys), 0, 0
    told = next(left, None)
    for place, fact in enumerate(journal):
        if place < skipped:
            continue
        kind = fact[0]
        if kind == PAYMENT:
            _, payment, settled, _, _, seen_ms, _, _ = fact
            if fact[3:] == (0, False, seen_ms, 0, False):
                fact = PAYMENT, _SAME if payment == told else payment, settled, seen_ms // SECOND_MS
                told = next(left, None) if payment == told else told
        elif kind == LOT and found and found[-1] == (DONE, fact[1]):
            _, number, amount, *terms = fact
            grant = journal[place + 1 : place + 2]
            if grant and grant[0][:5] == (MOVED, GRANT, number, 1, amount) and not grant[0][6]:
                fact, skipped = _earned(grant[0][5], number, amount, terms, payment), place + 2
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
            yield PAYMENT, payment, *(all_of(Payment(fact[2], seen_ms=fact[3] * SECOND_MS)) if usual else fact[2:])
        elif fact[0] == EARNED:
            _, now, number, amount, *rest = fact
            campaign, version, kind, currency, of, available, expires, *more = rest
            of = of if of != _SAME else payment
            number = number or earned_number(campaign, version, of)
            times = available * SECOND_MS, expires * SECOND_MS
            yield DONE, number
            yield LOT, number, amount, campaign, version, kind, currency, of, *times, *more
            yield MOVED, GRANT, number, 1, amount, now, 0
        elif fact[0] == SPENT:
            _, redemption, now, parts, numbers = fact
            yield DONE, redemption
            yield REDEEMED, redemption, now, parts
            for (lot, part), number in zip(parts.items(), numbers, strict=True):
                yield MOVED, SPEND, lot, number, part, now, redemption
        else:
            yield tuple(fact)


def _earned(now: int, number: int, amount: int, terms: Sequence[Any], payment: int) -> Fact:
    """A lot that is granted: its number where it does not follow from its payment, its payment where it is not the one
    that the facts before are of; its times in seconds."""
    campaign, version, kind, currency, of, available_ms, expires_ms, *more = terms
    follows = number == earned_number(campaign, version, of)
    times = available_ms // SECOND_MS, expires_ms // SECOND_MS
    same = _SAME if of == payment else of
    return EARNED, now, 0 if follows else number, amount, campaign, version, kind, currency, same, *times, *more


def _once(told: Told) -> Told:
    """Each key once: of what was paid under one key, only the last can be told apart."""
    if len(set(told.payments)) == len(told.payments):
        return told
    return Told(*zip(*{one[0]: one for one in zip(*told, strict=True)}.values(), strict=True))


def _payments(payments: dict[int, Payment], told: Told, others: list[int]) -> tuple[list[Sequence[int]], list[int]]:
    """Columns of payments, those that are told and others, each by what it differs by from what is told of it; one that
    the ledger does not know only has its key. And the seconds when they were last heard of."""
    many, last = len(others), max(told.seconds, default=0)
    seconds, minors = [*told.seconds, *[last] * many], [*told.minors, *[0] * many]
    back = [*told.refunded, *[0] * many]
    keys = [0] * len(told.payments) + others
    entries = list(map(payments.get, (*told.payments, *others)))
    present = [int(entry is not None) for entry in entries]
    if not all(present):
        entries = [
            Payment(minor, refunded, seen_ms=second * SECOND_MS) if entry is None else entry
            for entry, second, minor, refunded in zip(entries, seconds, minors, back, strict=True)
        ]
    settled, refunded, blocked, seen, risk, disputed = zip(*map(all_of, entries), strict=True)
    heard = [seen_ms // SECOND_MS for seen_ms in seen]
    flags = [_BLOCKED * lost + _DISPUTED * also for lost, also in zip(blocked, disputed, strict=True)]
    more = _less(settled, minors), _less(refunded, back), _less(heard, seconds)
    return [keys, present, *more, flags, risk], heard


def _lots(lots: list[tuple[int, int, Lot]], heard: list[int]) -> tuple[list[Name], list[Sequence[int]]]:
    """What lots, each with the place of its payment and its number, have in common, and columns: how far the payment is
    from that of the lot before; which of the names; the number where it does not follow from the payment; the seconds
    that a lot is held; the days that it stands then, and the second of the day in which it ends, mostly midnight; the
    account that holds all of it, or what each does."""
    if not lots:
        return [], []
    spots, numbers, objects = zip(*lots, strict=True)
    terms = [lot.terms for lot in objects]
    campaign, version, kind, currency, payment, available, expires, policy, threshold = zip(*terms, strict=True)
    common = list(zip(campaign, version, kind, currency, policy, strict=True))
    names = sorted(set(common))
    order = {name: place for place, name in enumerate(names)}
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
        frozen,
        accounts,
        _less(moves, accounts),
        *_mixed(held[1:], accounts),
    ]
    return [(one, number, KINDS[of], *rest) for one, number, of, *rest in names], columns


def _mixed(held: Sequence[Sequence[int]], accounts: list[int]) -> list[list[int]]:
    """What is in each account, of the lots whose units are in more than one."""
    if _MIXED not in accounts:
        return [[0] * len(accounts)] * len(held)
    return [[units if account == _MIXED else 0 for units, account in zip(some, accounts, strict=True)] for some in held]


def _less(numbers: Iterable[int], others: Iterable[int]) -> list[int]:
    """How far each number is above the other."""
    return list(map(sub, numbers, others))


def _steps(numbers: Sequence[int]) -> list[int]:
    """How far each number is from the one before it."""
    return [number - before for before, number in pairwise([0, *numbers])]


def _load(ledger: Ledger, loose: Any, source: Source, told: Told) -> None:
    names, debts, spent = loose
    payments, rows, keys = unpack_tables(source, 3)
    last, many = max(told.seconds, default=0), len(told.payments)
    known: list[tuple[int, int]] = []  # keys, and the second when they were last heard of
    each = zip(*told, strict=True)
    for place, (payment, present, settled, refunded, seen, flags, risk) in enumerate(payments):
        key, second, minor, back = next(each) if place < many else (0, last, 0, 0)
        payment += key
        second += seen
        known.append((payment, second))
        if present:
            flag = bool(flags & _BLOCKED), second * SECOND_MS, risk, bool(flags & _DISPUTED)
            ledger.payments[payment] = Payment(minor + settled, back + refunded, *flag)
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
