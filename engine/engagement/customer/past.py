"""A customer's history as it is stored in a snapshot: rows of numbers, and the words they stand for."""

from collections.abc import Container, Iterable, Iterator
from itertools import accumulate, compress
from operator import sub
from typing import Any, Final

from engine.engagement.customer.habits import Paid
from engine.engagement.customer.history import History, Month
from engine.engagement.ledger.codec import Told
from engine.engagement.packing import Source, pack_tables, unpack_tables

_SUMS: Final = ("payments", "minor", "refunds", "refunded", "first_ms", "last_ms", "refund_ms")
_APART: Final = ("methods", "categories", "currencies")
"""Of a month, what its payments are told apart by, beside hours. Their places are stored."""
_HOURS: Final = 24
_SECOND_MS: Final = 1_000
_PAID: Final = len(Paid._fields) + 1  # values of a fact that a payment settled
Fact = tuple[Any, ...]


def dump(history: History, known: Container[int], since_ms: int) -> tuple[Any, bytes, Told]:
    """What is no number, rows, and the payments that something can still happen to, which are `known` elsewhere or
    not older than `since_ms`: of others the key is gone. The journal is empty after it."""
    history.journal.clear()
    times, payments, minors, refunded, *texts = zip(*history.paid, strict=True) if history.paid else [()] * 7
    of = list(zip(*texts, strict=True))
    words = sorted(set(of))
    places = {word: place for place, word in enumerate(words)}
    seconds = [time_ms // _SECOND_MS for time_ms in times]
    kept = [key in known or (time_ms >= since_ms and key > 0) for key, time_ms in zip(payments, times, strict=True)]
    told = Told(*(list(compress(column, kept)) for column in (payments, seconds, minors, refunded)))
    gaps = list(map(sub, seconds[1:], seconds))
    paid = minors, refunded, list(map(places.__getitem__, of)), kept
    names = sorted({(kind, name) for month in history.months.values() for kind, some in _told(month) for name in some})
    months, counts = list(history.months.items()), list[tuple[int, ...]]()
    spots, last = {name: place for place, name in enumerate(names)}, 0
    for place, (_, month) in enumerate(months):
        for kind, some in _told(month):
            for name, count in some.items():
                counts.append((place - last, spots[kind, name], count))
                last = place
    sums = [getattr(history, name) for name in _SUMS]
    tables = (
        [gaps],
        paid,
        [told.payments],
        list(zip(*((number, month.payments, month.minor, _mask(month)) for number, month in months), strict=True)),
        [[month.hours[hour] for _, month in months for hour in sorted(month.hours)]],
        list(zip(*counts, strict=True)),
    )
    return (words, names, sums, seconds[:1]), pack_tables(*tables), told


def _mask(month: Month) -> int:
    """The hours of a month's payments, each a bit."""
    return sum(1 << hour for hour in month.hours)


def _told(month: Month) -> Iterator[tuple[int, dict[Any, int]]]:
    """What the payments of a month are told apart by, each by its place."""
    return enumerate(getattr(month, name) for name in _APART)


def folded(journal: Iterable[Fact], zone: str) -> list[Fact]:
    """Facts as they are stored: a payment has its second, and its zone where that is not the customer's now."""
    return [
        (fact[0] // _SECOND_MS, *fact[1:-1], None if fact[-1] == zone else fact[-1]) if len(fact) == _PAID else fact
        for fact in journal
    ]


def unfolded(facts: Iterable[Fact], zone: str) -> Iterator[Fact]:
    """The facts of `folded`; `zone` is the customer's after them."""
    for fact in facts:
        if len(fact) == _PAID:
            yield fact[0] * _SECOND_MS, *fact[1:-1], zone if fact[-1] is None else fact[-1]
        else:
            yield tuple(fact)


def keys(facts: Iterable[Fact]) -> Iterator[int]:
    """Keys of the payments that settled."""
    return (fact[1] for fact in facts if len(fact) == _PAID)


def load(loose: Any, source: Source) -> tuple[History, Told]:
    """The history and what `dump` told with it. Raises `ValueError` on damage."""
    words, names, sums, first = loose
    gaps, paid, keys, totals, times_of_day, counts = unpack_tables(source, 6)
    history, rows = History(), list(paid)
    seconds = list(accumulate([*first, *(gap for (gap,) in gaps)]))
    minors, refunded, of, kept = zip(*rows, strict=True) if rows else [()] * 4
    told = Told([key for (key,) in keys], *(list(compress(column, kept)) for column in (seconds, minors, refunded)))
    if len(told.payments) != sum(kept):
        raise ValueError(f"{len(told.payments)} keys of {sum(kept)} payments")
    left = iter(told.payments)
    payments = [next(left) if keeps else 0 for keeps in kept]
    texts = zip(*map(words.__getitem__, of), strict=True)
    times = [second * _SECOND_MS for second in seconds]
    history.paid = list(map(Paid._make, zip(times, payments, minors, refunded, *texts, strict=True)))
    by_hour = (count for (count,) in times_of_day)
    for number, payments_in, minor, mask in totals:
        hours = {hour: next(by_hour) for hour in range(_HOURS) if mask >> hour & 1}
        history.months[number] = Month(payments_in, minor, hours=hours)
    months, place = list(history.months.values()), 0
    for further, spot, count in counts:
        place += further
        kind, name = names[spot]
        getattr(months[place], _APART[kind])[name] = count
    for name, value in zip(_SUMS, sums, strict=True):
        setattr(history, name, value)
    return history, told
