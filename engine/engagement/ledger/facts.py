"""Facts: what a ledger notes of each of its changes, and is made of again."""

from typing import Any

PAYMENT, DONE, LOT, MOVED, REDEEMED, FROZEN, JUDGED = range(1, 8)
"""What a fact is of. They are stored: a number is never used again for something else."""

Fact = tuple[Any, ...]
"""Its kind, and the values that `Ledger.learn` takes in."""


def judged(payment: int, risk: int, now: int) -> Fact:
    """The fact that a payment was not simply approved: `risk` 1 to 100, or `REFUSED`; or that it was, with a score that
    somebody asks for, `APPROVED` more. It can be stored without the ledger at hand: it changes nothing but that."""
    return JUDGED, payment, risk, now
