"""A ledger as it is stored: a snapshot, then the facts since.

A snapshot leaves out what is over and keeps its business keys. It holds columns, each as wide as its values need.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from engine.engagement.ledger.ledger import SECOND_MS, Fact, Ledger, Payment
from engine.engagement.ledger.lots import KINDS, LedgerError, Lot, Terms
from engine.engagement.packing import pack_rows, unpack_rows

VERSION: Final = 1
HOUR_SECONDS: Final = 3_600
HELD_MIN: Final = 1 << 40
"""Added to what may be below zero: a lot can be available before its payment was last heard of."""

_DISPUTED: Final = 2  # beside 1 for blocked
_COUNTS: Final = ("granted", "pending", "active", "spent", "expired", "reversed", "owed", "frozen", "moves")
_encode: Final = msgspec.msgpack.encode
_decode: Final = msgspec.msgpack.decode


def dump(ledger: Ledger, now: int) -> bytes:
    """A snapshot. What is over is forgotten in the ledger, too (`Ledger.forget`); its journal is empty after it."""
    ledger.forget(now)
    ledger.journal.clear()
    lots, known = sorted(ledger.lots.items()), dict(ledger.payments)
    for _, lot in lots:
        known.setdefault(lot.terms.payment, Payment())
    names = sorted({_name(lot.terms) for _, lot in lots})
    places = {payment: place for place, payment in enumerate(sorted(known))}
    payments = [
        (p, e.settled, e.refunded, e.blocked + _DISPUTED * e.disputed, e.seen_ms // SECOND_MS, e.risk)
        for p, e in sorted(known.items())
    ]
    rows = [_lot(number, lot, names, places, known) for number, lot in lots]
    keys = sorted(ledger.done.difference(ledger.lots))
    debts = [(kind, currency, debt) for (kind, currency), debt in sorted(ledger.debts.items())]
    packed = pack_rows(payments), pack_rows(rows), pack_rows([(key,) for key in keys])
    return _encode((VERSION, names, *packed, debts, sorted(ledger.spent.items())))


def load(snapshot: bytes, facts: Sequence[Fact] = ()) -> Ledger:
    """The ledger of a snapshot (empty for a new one) and the facts since. Raises `LedgerError` on damage."""
    ledger = Ledger()
    try:
        if snapshot:
            _load(ledger, _decode(snapshot))
        for fact in facts:
            ledger.learn(tuple(fact))
        ledger.check()
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError, struct.error) as error:
        raise LedgerError(f"stored ledger is damaged: {error!r}") from error
    return ledger


def _name(terms: Terms) -> tuple[str, int, str, str, str]:
    """What many lots have in common."""
    return terms.campaign, terms.version, KINDS[terms.kind], terms.currency, terms.policy


def _lot(
    number: int,
    lot: Lot,
    names: list[tuple[str, int, str, str, str]],
    places: dict[int, int],
    known: dict[int, Payment],
) -> tuple[int, ...]:
    """A lot as numbers that differ little from lot to lot: how long it is held rather than when it becomes active, when
    it expires in hours and the seconds past the hour."""
    terms, counts = lot.terms, [int(getattr(lot, name)) for name in _COUNTS]
    held = terms.available_ms // SECOND_MS - known[terms.payment].seen_ms // SECOND_MS + HELD_MIN
    expires = divmod(terms.expires_ms // SECOND_MS, HOUR_SECONDS)
    return number, names.index(_name(terms)), places[terms.payment], held, *expires, terms.threshold, *counts


def _load(ledger: Ledger, stored: Any) -> None:
    version, names, payments, lots, keys, debts, spent = stored
    if version != VERSION:
        raise ValueError(f"version {version}; this build reads version {VERSION}")
    known = list(unpack_rows(payments))
    for payment, settled, refunded, flags, seen, risk in known:
        if payment:
            blocked, disputed = bool(flags % _DISPUTED), bool(flags // _DISPUTED)
            ledger.payments[payment] = Payment(settled, refunded, blocked, seen * SECOND_MS, risk, disputed)
    for number, name, place, held_for, hour, second, threshold, *counts in unpack_rows(lots):
        campaign, campaign_version, kind, currency, policy = names[name]
        available = held_for - HELD_MIN + known[place][4]
        times = available * SECOND_MS, (hour * HOUR_SECONDS + second) * SECOND_MS
        terms = Terms(
            campaign, campaign_version, KINDS.index(kind), currency, known[place][0], *times, policy, threshold
        )
        held: dict[str, Any] = dict(zip(_COUNTS, counts, strict=True))
        ledger.put(number, Lot(terms, **{**held, "frozen": bool(held["frozen"])}))
    ledger.done = {*ledger.lots, *(key for (key,) in unpack_rows(keys))}
    ledger.debts = {(kind, currency): debt for kind, currency, debt in debts}
    ledger.spent = {redemption: (when, dict(parts)) for redemption, (when, parts) in spent}
