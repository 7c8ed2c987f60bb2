"""What the ledger knows of a payment: what settled, what came back, and how its decision stood.

It says what a payment's lots may keep, and when a payment is over.
"""

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from engine.engagement.ledger.lots import KEEP, VOID, Lot

SECOND_MS: Final = 1000

HORIZON_MS: Final = 180 * 86_400_000
"""A payment of before that is over: card schemes take disputes up to 120 days after it, in some cases 540."""

REFUSED: Final = 255
"""Instead of a risk: the payment was declined, or turned out to be fraud."""
APPROVED: Final = 100
"""Added to the risk of a payment that was approved all the same: nothing but its score tells against it."""


@dataclass(slots=True)
class Payment:
    """What the ledger knows of a payment, amounts in its minor units; `settled` 0 before it has. `seen_ms`: when it
    settled, or was first heard of until then; `risk`: of its decision, as in `judged`, 0 where nothing is known;
    `disputed`: it was charged back, in part at least."""

    settled: int = 0
    refunded: int = 0
    blocked: bool = False
    seen_ms: int = 0
    risk: int = 0
    disputed: bool = False

    @property
    def lost(self) -> bool:
        """It counts for nothing: it was declined, or fraud, or charged back and nothing is left of it."""
        return self.blocked or (self.disputed and self.refunded >= self.settled > 0)

    @property
    def doubted(self) -> bool:
        """Its decision was no plain approval."""
        return 0 < self.risk <= APPROVED

    @property
    def score(self) -> int:
        """The blended score of its decision in hundredths, rounded up; 0 where it is not known."""
        return self.risk - APPROVED if self.risk > APPROVED else self.risk


all_of: Final = attrgetter(*Payment.__slots__)
"""The values of a payment, in the order in which it takes them."""


def worse(entry: Payment, risk: int) -> int:
    """Of what decisions on one payment said, the worst: the highest score, doubted where one was."""
    later = Payment(risk=risk)
    return max(entry.score, later.score) + (0 if entry.doubted or later.doubted else APPROVED)


def kept(lot: Lot, entry: Payment) -> int:
    """Units of a lot that stay after the refunds of its payment."""
    policy = lot.terms.reversal
    if policy == KEEP:
        return lot.granted
    if entry.blocked:
        return 0
    left = max(0, entry.settled - entry.refunded)
    if policy == VOID:
        voided = left < lot.terms.threshold if lot.terms.threshold else left < entry.settled
        return 0 if voided else lot.granted
    return lot.granted * left // entry.settled


def is_old(entry: Payment, now: int) -> bool:
    """Whether a payment is of before the horizon."""
    return entry.seen_ms < now - HORIZON_MS


def second_of(time_ms: int) -> int:
    """The whole second of an instant."""
    return time_ms // SECOND_MS * SECOND_MS


def whole_second(time_ms: int) -> int:
    """An instant, rounded up to a whole second."""
    return -(-time_ms // SECOND_MS) * SECOND_MS
