"""A ledger as it is stored: a snapshot, then the facts since.

What a ledger needs to be right for ever is little: a refund half a year later asks for the lot, a repeat after that
only whether its business key was used. So a snapshot leaves out lots that are closed and payments that were last heard
of more than `horizon_ms` ago, and keeps their keys. It holds columns, each as wide as its values need.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from engine.engagement.ledger.ledger import SECOND_MS, Fact, Ledger, Payment
from engine.engagement.ledger.lots import KINDS, LedgerError, Lot, Terms

VERSION: Final = 1
HORIZON_MS: Final = 180 * 86_400_000
"""Card schemes take disputes up to 120 days after a payment, in some cases up to 540: half a year has nearly all."""
RECALL_MS: Final = 30 * 86_400_000
"""A redemption can be called off so long after it."""

_COUNTS: Final = ("granted", "pending", "active", "spent", "expired", "reversed", "owed", "frozen", "moves")
_WIDTHS: Final = ("<u1", "<u2", "<u4", "<u8")
_encode: Final = msgspec.msgpack.encode
_decode: Final = msgspec.msgpack.decode


def dump(ledger: Ledger, now: int, horizon_ms: int = HORIZON_MS, recall_ms: int = RECALL_MS) -> bytes:
    """A snapshot. What is past the horizon is forgotten in the ledger, too; its journal is empty after it."""
    forget(ledger, now - horizon_ms, now - recall_ms)
    ledger.journal.clear()
    lots, known = sorted(ledger.lots.items()), dict(ledger.payments)
    for _, lot in lots:
        known.setdefault(lot.terms.payment, Payment())
    names = sorted({_name(lot.terms) for _, lot in lots})
    places = {payment: place for place, payment in enumerate(sorted(known))}
    payments = [(p, e.settled, e.refunded, e.blocked, -(-e.seen_ms // SECOND_MS)) for p, e in sorted(known.items())]
    rows = [_lot(number, lot, names, places) for number, lot in lots]
    keys = sorted(ledger.done.difference(ledger.lots))
    debts = [(kind, currency, debt) for (kind, currency), debt in sorted(ledger.debts.items())]
    return _encode((VERSION, names, _columns(payments), _columns(rows), _columns([(key,) for key in keys]), debts,
                    sorted(ledger.spent.items())))  # fmt: skip


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


def forget(ledger: Ledger, before_ms: int, redeemed_before_ms: int) -> None:
    """Drop redemptions from before `redeemed_before_ms`, and closed lots and payments last heard of before
    `before_ms`. Business keys stay."""
    for redemption, (when, _) in list(ledger.spent.items()):
        if when < redeemed_before_ms:
            del ledger.spent[redemption]
    recalled = {number for _, parts in ledger.spent.values() for number in parts}
    for number, lot in list(ledger.lots.items()):
        entry = ledger.payments.get(lot.terms.payment)
        last = max(lot.terms.available_ms, entry.seen_ms if entry is not None else 0)
        if lot.closed and last < before_ms and number not in recalled:
            ledger.drop(number)
    needed = {lot.terms.payment for lot in ledger.lots.values()}
    for payment, entry in list(ledger.payments.items()):
        if entry.seen_ms < before_ms and payment not in needed:
            del ledger.payments[payment]


def _name(terms: Terms) -> tuple[str, int, str, str, str]:
    """What many lots have in common."""
    return terms.campaign, terms.version, KINDS[terms.kind], terms.currency, terms.policy


def _lot(number: int, lot: Lot, names: list[tuple[str, int, str, str, str]], places: dict[int, int]) -> tuple[int, ...]:
    terms = lot.terms
    times = terms.available_ms // SECOND_MS, terms.expires_ms // SECOND_MS
    counts = [int(getattr(lot, name)) for name in _COUNTS]
    return number, names.index(_name(terms)), places[terms.payment], *times, terms.threshold, *counts


def _columns(rows: Sequence[tuple[int, ...]]) -> list[bytes]:
    """Each column of some rows: one digit for its width, then its values; nothing but the first where all are equal."""
    packed = []
    for column in zip(*rows, strict=True):
        low, high = min(column), max(column)
        kind = next(kind for kind in _WIDTHS if high < 1 << 8 * np.dtype(kind).itemsize)
        values = column[:1] if low == high else column
        packed.append(kind[-1:].encode() + np.array(values, kind).tobytes())
    return [len(rows).to_bytes(4, "little"), *packed]


def _rows(packed: Sequence[bytes]) -> Iterable[tuple[int, ...]]:
    count = int.from_bytes(packed[0], "little")
    columns = [np.frombuffer(column, f"<u{column[:1].decode()}", offset=1).tolist() for column in packed[1:]]
    return zip(*(column * count if len(column) == 1 else column for column in columns), strict=True)


def _load(ledger: Ledger, stored: Any) -> None:
    version, names, payments, lots, keys, debts, spent = stored
    if version != VERSION:
        raise ValueError(f"version {version}; this build reads version {VERSION}")
    known = list(_rows(payments))
    for payment, settled, refunded, blocked, seen in known:
        if payment:
            ledger.payments[payment] = Payment(settled, refunded, bool(blocked), seen * SECOND_MS)
    for number, name, place, available, expires, threshold, *counts in _rows(lots):
        campaign, campaign_version, kind, currency, policy = names[name]
        times = available * SECOND_MS, expires * SECOND_MS
        terms = Terms(
            campaign, campaign_version, KINDS.index(kind), currency, known[place][0], *times, policy, threshold
        )
        held: dict[str, Any] = dict(zip(_COUNTS, counts, strict=True))
        ledger.put(number, Lot(terms, **{**held, "frozen": bool(held["frozen"])}))
    ledger.done = {*ledger.lots, *(key for (key,) in _rows(keys))}
    ledger.debts = {(kind, currency): debt for kind, currency, debt in debts}
    ledger.spent = {redemption: (when, dict(parts)) for redemption, (when, parts) in spent}
