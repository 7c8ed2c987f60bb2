"""History and ledger of a snapshot, row by row in plain Python: what the column by column ones must come to."""

from itertools import pairwise
from typing import Any

from engine.engagement.customer.history import History, Month
from engine.engagement.ledger.keys import earned_number
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import KINDS, Lot
from engine.engagement.ledger.payments import Payment
from tests.engagement.packing_oracle import pack_tables

DAY_MS, SECOND_MS = 86_400_000, 1_000
Told = tuple[int, int, int, int]
"""Key, second, amount and what of it was given back."""


def apart(month: Month) -> Any:
    return enumerate((month.methods, month.categories, month.currencies))


def history(of: History, known: dict[int, Payment], since_ms: int) -> tuple[Any, bytes, list[Told]]:
    words = sorted({paid[4:] for paid in of.paid})
    seconds = [paid.time_ms // SECOND_MS for paid in of.paid]
    rows, told = [], []
    for paid in of.paid:
        keep = paid.payment in known or (paid.time_ms >= since_ms and paid.payment > 0)
        rows.append((paid.minor, paid.refunded, words.index(paid[4:]), int(keep)))
        if keep:
            told.append((paid.payment, paid.time_ms // SECOND_MS, paid.minor, paid.refunded))
    names = sorted({(kind, name) for month in of.months.values()
                    for kind, some in apart(month) for name in some})  # fmt: skip
    counts, last = [], 0
    for place, month in enumerate(of.months.values()):
        for kind, some in apart(month):
            for name, count in some.items():
                counts.append((place - last, names.index((kind, name)), count))
                last = place
    sums = [of.payments, of.minor, of.refunds, of.refunded, of.first_ms, of.last_ms, of.refund_ms]
    packed = pack_tables(
        [[second - before for before, second in pairwise(seconds)]],
        list(zip(*rows, strict=True)),
        [[one[0] for one in told]],
        list(
            zip(
                *(
                    (number, month.payments, month.minor, sum(1 << hour for hour in month.hours))
                    for number, month in of.months.items()
                ),
                strict=True,
            )
        ),
        [[month.hours[hour] for month in of.months.values() for hour in sorted(month.hours)]],
        list(zip(*counts, strict=True)),
    )
    return (words, names, sums, seconds[:1]), packed, told


def ledger(of: Ledger, told: list[Told]) -> tuple[Any, bytes]:
    known = {one[0]: one for one in told}
    last = max((one[1] for one in known.values()), default=0)
    others = {*of.payments, *(lot.terms.payment for lot in of.lots.values())} - set(known)
    known.update((payment, (0, last, 0, 0)) for payment in sorted(others))
    rows = [payment_row(payment, of.payments.get(payment), one) for payment, one in known.items()]
    heard = {payment: one[1] + row[4] for (payment, one), row in zip(known.items(), rows, strict=True)}
    places = {payment: place for place, payment in enumerate(known)}
    lots = sorted(of.lots.items(), key=lambda item: (places[item[1].terms.payment], item[0]))
    names = sorted({name(lot) for _, lot in lots})
    lot_rows, before = [], 0
    for number, lot in lots:
        place = places[lot.terms.payment]
        lot_rows.append((place - before, names.index(name(lot)), *lot_row(number, lot, heard[lot.terms.payment])))
        before = place
    order = {number: place for place, (number, _) in enumerate(lots)}
    keys = sorted(of.done - set(of.lots))
    spent = [(redemption, when, [(order[number], units) for number, units in parts.items()])
             for redemption, (when, parts) in sorted(of.spent.items())]  # fmt: skip
    debts = [(kind, currency, debt) for (kind, currency), debt in sorted(of.debts.items())]
    packed = pack_tables(
        list(zip(*rows, strict=True)),
        list(zip(*lot_rows, strict=True)),
        [[key - before for before, key in pairwise([0, *keys])]],
    )
    return ([(one, number, KINDS[kind], *rest) for one, number, kind, *rest in names], debts, spent), packed


def payment_row(payment: int, entry: Payment | None, told: Told) -> tuple[int, ...]:
    key, second, minor, refunded = told
    if entry is None:
        return payment - key, 0, 0, 0, 0, 0, 0
    more = entry.settled - minor, entry.refunded - refunded, entry.seen_ms // SECOND_MS - second
    return payment - key, 1, *more, entry.blocked + 2 * entry.disputed, entry.risk


def name(lot: Lot) -> tuple[str, int, int, str, str]:
    of = lot.terms
    return of.campaign, of.version, of.kind, of.currency, of.policy


def lot_row(number: int, lot: Lot, heard: int) -> tuple[int, ...]:
    of = lot.terms
    follows = number == earned_number(of.campaign, of.version, of.payment)
    held = lot.pending, lot.active, lot.spent, lot.expired, lot.reversed
    account = held.index(lot.granted) if lot.granted in held else len(held)
    days = of.expires_ms // DAY_MS - of.available_ms // DAY_MS if of.expires_ms else -1
    times = of.available_ms // SECOND_MS - heard, days, of.expires_ms % DAY_MS // SECOND_MS
    parts = held[1:] if account == len(held) else (0, 0, 0, 0)
    units = lot.granted, lot.owed, int(lot.frozen), account, lot.moves - account
    return 0 if follows else number, *times, of.threshold, *units, *parts
