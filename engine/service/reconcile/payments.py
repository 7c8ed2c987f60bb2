"""What our own events say should have been settled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from engine.core.decode import Decoded, Decoder
from engine.domain.events import (
    PaymentCancelled,
    PaymentCaptured,
    PaymentChargeback,
    PaymentRefunded,
    PaymentSettled,
)
from engine.domain.settlements import CREDIT, DEBIT, Direction
from engine.features.columns import Columns

MOVEMENTS_MAX: Final = 2_000_000
"""With as many lines some 3.6 GB of memory. More is reconciled a period at a time."""
_DIRECTIONS: Final[dict[type, tuple[str, Direction]]] = {
    PaymentSettled: ("payment.settled", CREDIT),
    PaymentCaptured: ("payment.captured", CREDIT),
    PaymentRefunded: ("payment.refunded", DEBIT),
    PaymentChargeback: ("payment.chargeback", DEBIT),
}


class TooMany(Exception):
    """More payments or lines than are held in memory at once."""


class Movement(NamedTuple):
    """Money that one event says has moved.

    Attributes:
        minor: amount in minor units of `currency`.
        expected: it lies in the period asked for; of others nothing is said where no line has them.
    """

    event_id: str
    type: str
    customer_id: str
    payment_id: str
    refund_id: str
    direction: Direction
    minor: int
    currency: str
    time_ms: int
    expected: bool = True


@dataclass(slots=True)
class Payments:
    """Collects movements from events.

    A payment that has settled is expected as it settled; one that was captured and neither settled nor cancelled is
    expected as captured, so that it is named where the files lack it. Refunds and chargebacks are debits.

    Attributes:
        since_ms, until_ms: the period, by event time; the end is left out.
        events, refused, repeats: how many records; those that are no events; repeats of an event id of a customer.
    """

    since_ms: int = 0
    until_ms: int = 1 << 62
    limit: int = MOVEMENTS_MAX
    events: int = 0
    refused: int = 0
    repeats: int = 0
    _decoder: Decoder = field(default_factory=Decoder)
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _captured: list[Movement] = field(default_factory=list)
    _others: list[Movement] = field(default_factory=list)
    _over: set[tuple[str, str]] = field(default_factory=set)

    def add(self, records: Sequence[bytes]) -> None:
        """Take in records as they stand on the log. Raises `TooMany`."""
        decoded: Decoded = self._decoder.decode(records)
        self.events += len(records)
        self.refused += len(decoded.rejects)
        columns = decoded.columns
        for row in range(columns.n):
            self._row(columns, row)
        if len(self._others) + len(self._captured) > self.limit:
            raise TooMany(f"over {self.limit:,} payments; reconcile a shorter history")

    def movements(self) -> list[Movement]:
        """What should have been settled, in the order of the events."""
        return [*(one for one in self._captured if _payment(one) not in self._over), *self._others]

    def _row(self, columns: Columns, row: int) -> None:
        event: Any = columns.events[row]
        kind = type(event)
        if kind is not PaymentCancelled and kind not in _DIRECTIONS:
            return
        identity = event.customer_id, event.event_id
        if identity in self._seen:
            self.repeats += 1
            return
        self._seen.add(identity)
        if kind is PaymentCancelled or kind is PaymentSettled:
            self._over.add((event.customer_id, event.payment_id))
        if kind is PaymentCancelled:
            return
        name, direction = _DIRECTIONS[kind]
        time_ms = int(columns.time_ms[row])
        movement = Movement(
            event.event_id, name, event.customer_id, event.payment_id, event.refund_id or "", direction,
            int(columns.minor[row]), event.currency, time_ms, self.since_ms <= time_ms < self.until_ms,
        )  # fmt: skip
        (self._captured if kind is PaymentCaptured else self._others).append(movement)


def _payment(movement: Movement) -> tuple[str, str]:
    return movement.customer_id, movement.payment_id


def collect(chunks: Iterator[Sequence[bytes]], payments: Payments) -> list[Movement]:
    """The movements of all chunks of records. Raises `TooMany`."""
    for records in chunks:
        payments.add(records)
    return payments.movements()
