"""A customer's history as it is stored in a snapshot: rows of numbers, and the words they stand for."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from engine.engagement.customer.history import History, Month, Paid
from engine.engagement.ledger.codec import Told
from engine.engagement.packing import Source, pack_tables, unpack_tables

_SUMS: Final = ("payments", "minor", "refunds", "refunded", "first_ms", "last_ms", "refund_ms")
_SECOND_MS: Final = 1_000


def dump(history: History, keeps: Callable[[Paid], bool]) -> tuple[Any, bytes, list[Told]]:
    """What is no number, rows, and the payments that something can still happen to, which is for `keeps` to say: of
    others the key is gone. The journal is empty after it."""
    history.journal.clear()
    words = sorted({paid[4:] for paid in history.paid})
    places = {word: place for place, word in enumerate(words)}
    told = [
        Told(paid.payment, paid.time_ms // _SECOND_MS, paid.minor, paid.refunded)
        for paid in filter(keeps, history.paid)
    ]
    seconds = pairwise([0, *(paid.time_ms // _SECOND_MS for paid in history.paid)])
    rows = [
        (second - last, paid.minor, paid.refunded, places[paid[4:]], int(keeps(paid)))
        for (last, second), paid in zip(seconds, history.paid, strict=True)
    ]
    names = sorted({(0, name) for month in history.months.values() for name in month.methods}
                   | {(1, name) for month in history.months.values() for name in month.categories})  # fmt: skip
    months, counts = list(history.months.items()), list[tuple[int, ...]]()
    spots, last = {name: place for place, name in enumerate(names)}, 0
    for place, (_, month) in enumerate(months):
        for kind, some in enumerate((month.methods, month.categories)):
            for name, count in some.items():
                counts.append((place - last, spots[kind, name], count))
                last = place
    sums = [getattr(history, name) for name in _SUMS]
    totals = [(number, month.payments, month.minor) for number, month in months]
    keys = [(one.payment,) for one in told]
    return (words, names, sums), pack_tables(rows[:1], rows[1:], keys, totals, counts), told


def load(loose: Any, source: Source) -> tuple[History, list[Told]]:
    """The history and what `dump` told with it. Raises `ValueError` on damage."""
    words, names, sums = loose
    history, told, second = History(), list[Told](), 0
    first, rest, keys, totals, counts = unpack_tables(source, 5)
    kept = iter(keys)
    for gap, minor, refunded, word, keeps in [*first, *rest]:
        second += gap
        payment = next(kept)[0] if keeps else 0
        if keeps:
            told.append(Told(payment, second, minor, refunded))
        history.paid.append(Paid(second * _SECOND_MS, payment, minor, refunded, *words[word]))
    history.months = {number: Month(payments, minor) for number, payments, minor in totals}
    months, place = list(history.months.values()), 0
    for further, spot, count in counts:
        place += further
        kind, name = names[spot]
        (months[place].categories if kind else months[place].methods)[name] = count
    for name, value in zip(_SUMS, sums, strict=True):
        setattr(history, name, value)
    return history, told
