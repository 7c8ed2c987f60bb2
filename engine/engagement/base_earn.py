"""Base earn: points for settled payments, taken back in proportion to refunds.

The first campaign, built in until campaigns are files. One point a major unit of the settled amount (in the base
currency where a rate is known, else in the payment's own), once a payment for ever, at most `daily_points_max` a
customer and UTC day; nothing for payments that were declined or for cash-like merchant categories. Points stay
pending until the refund window ends.

Reversal is cumulative: after each refund the payment keeps `granted * (settled - refunded) // settled` points, so
    three refunds of a
third take back exactly everything. A refund that arrives before its settlement is remembered and applied when the
settlement comes.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

SETTLED: Final = 1
REFUNDED: Final = 2
CHARGEBACK: Final = 3
BLOCKED: Final = 4

CAMPAIGN: Final = "base_earn"
CASH_LIKE: Final = frozenset(
    {"4829", "6010", "6011", "6012", "6050", "6051", "6211", "6536", "6537", "6538", "6540", "7995"}
)
"""ISO 18245 categories that move money rather than buy something: transfers, cash, securities, gambling."""
PEER_TO_PEER: Final = frozenset({"p2p", "peer_to_peer"})
"""Methods by which people pay each other: what goes to and fro would earn for ever."""

RECORD: Final = struct.Struct("<BQQqIH")
"""One stored record, 31 bytes: kind, payment, reference (hash of a refund's business key), minor, points, day."""


@dataclass(frozen=True, slots=True)
class BaseEarnSettings:
    """`refund_window_ms`: how long points stay pending. `daily_points_max`: cap a customer and UTC day."""

    refund_window_ms: int = 14 * 86_400_000
    daily_points_max: int = 5_000


@dataclass(slots=True)
class _Payment:
    settled: int = 0
    refunded: int = 0
    granted: int = 0
    kept: int = 0
    blocked: bool = False


@dataclass(slots=True)
class Account:
    """What one customer's ledger records add up to."""

    payments: dict[int, _Payment] = field(default_factory=dict)
    references: set[int] = field(default_factory=set)
    points_by_day: dict[int, int] = field(default_factory=dict)

    def apply(self, kind: int, payment: int, reference: int, minor: int, points: int, day: int) -> None:
        """Fold one stored record in."""
        entry = self.payments.get(payment)
        if entry is None:
            entry = self.payments[payment] = _Payment()
        if kind == SETTLED:
            entry.settled = minor
            entry.granted = points
            self.points_by_day[day] = self.points_by_day.get(day, 0) + points
        elif kind == REFUNDED:
            entry.refunded += minor
            self.references.add(reference)
        elif kind == CHARGEBACK:
            entry.refunded = max(entry.refunded, minor)
            self.references.add(reference)
        else:
            entry.blocked = True
        entry.kept = keeps(entry.granted, entry.settled, entry.refunded)

    @classmethod
    def restore(cls, value: bytes | None) -> "Account":
        """Rebuild from stored records; an empty account from `None`."""
        account = cls()
        for stored in RECORD.iter_unpack(value or b""):
            account.apply(*stored)
        return account


def keeps(granted: int, settled: int, refunded: int) -> int:
    """Points a payment keeps after `refunded` of `settled` minor units went back."""
    if settled <= 0:
        return granted
    return granted * max(0, settled - refunded) // settled


def record(kind: int, payment: int, reference: int = 0, minor: int = 0, points: int = 0, day: int = 0) -> bytes:
    """One record as stored."""
    return RECORD.pack(kind, payment, reference, minor, points, day)


def settle(
    account: Account, payment: int, *, minor: int, units: int, day: int, earns: bool, limit: int
) -> tuple[bytes, int]:
    """A payment settles. Returns the record to store (empty for a repeat) and the points it keeps now.

    Args:
        account: the customer's account, changed in place.
        payment: hash of the payment id, the business key.
        minor: settled amount in minor units.
        units: settled amount in whole major units, the points it is worth.
        day: UTC day since 1970 of the settlement.
        earns: false for categories that earn nothing.
        limit: cap of points a day.
    """
    entry = account.payments.get(payment)
    if entry is not None and entry.settled:
        return b"", 0
    blocked = entry is not None and entry.blocked
    room = max(0, limit - account.points_by_day.get(day, 0))
    points = min(units, room, 0xFFFFFFFF) if earns and not blocked else 0
    account.apply(SETTLED, payment, 0, minor, points, day)
    return record(SETTLED, payment, 0, minor, points, day), account.payments[payment].kept


def take_back(account: Account, kind: int, payment: int, reference: int, minor: int) -> tuple[bytes, int]:
    """A refund or chargeback. Returns the record to store (empty for a repeat) and the points to take back now."""
    if reference in account.references:
        return b"", 0
    before = account.payments[payment].kept if payment in account.payments else 0
    account.apply(kind, payment, reference, minor, 0, 0)
    return record(kind, payment, reference, minor), before - account.payments[payment].kept
