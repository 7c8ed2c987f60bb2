"""Movements as the entries that are put out: one for each bucket a movement changes, so that balances are sums."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from engine.domain.ids import output_id
from engine.domain.outputs import Reward
from engine.domain.times import rfc3339
from engine.engagement.ledger.keys import lot_id
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import (
    ACTIVATE,
    CASHBACK,
    DELTAS,
    EXPIRE,
    GRANT,
    KINDS,
    OWE,
    REPAY,
    RETURN,
    REVERSE_ACTIVE,
    REVERSE_PENDING,
    SPEND,
    Movement,
)

HELD: Final = "the hold is over"
"""Of the two entries by which pending units become active."""
REPAID: Final = "pays what is owed"
"""Of the two entries by which active units pay a debt."""
_WHY = {
    ACTIVATE: HELD,
    SPEND: "redeemed",
    RETURN: "the redemption was called off",
    EXPIRE: "expired",
    REVERSE_PENDING: "taken back",
    REVERSE_ACTIVE: "taken back",
    OWE: "taken back after it was spent",
    REPAY: REPAID,
}


class Cause(NamedTuple):
    """What made movements: the event, or the instant of a timer; its occasion; and why, for people.

    Attributes:
        event_id: of the event, `timer` where time alone did it.
        occasion: the business key within campaign and customer: a payment id, a year, a redemption id.
        why: for people; of entries that only time makes, or that follow from others, their own text stands instead.
    """

    event_id: str
    occasion: str
    why: str = ""


def entries(
    ledger: Ledger, customer_id: str, moved: Iterable[Movement], cause: Cause, exponent: int = 2
) -> list[tuple[int, Reward]]:
    """The entries of movements, each with its event time.

    Args:
        ledger: that made them.
        customer_id: whose it is.
        moved: in order.
        cause: of all of them.
        exponent: of the currency of cashback: its deltas are in major units, exactly.
    """
    found = []
    for movement in moved:
        terms = ledger.lots[movement.lot].terms
        lot = lot_id(customer_id, movement.lot)
        for bucket, sign in DELTAS[movement.op]:
            grants = movement.op == GRANT
            amount = sign * movement.amount
            entry = Reward(
                entry_id=output_id("reward", customer_id, lot, str(movement.number), bucket),
                customer_id=customer_id,
                campaign_id=terms.campaign,
                kind=KINDS[terms.kind],
                delta=decimal(amount, exponent) if terms.kind == CASHBACK else str(amount),
                currency=terms.currency or None,
                bucket=bucket,  # type: ignore[arg-type]
                lot_id=lot,
                cause_event_id=cause.event_id,
                occasion=cause.occasion,
                available_at=rfc3339(terms.available_ms) if grants else None,
                expires_at=rfc3339(terms.expires_ms) if grants and terms.expires_ms else None,
                why=cause.why if cause.why and movement.op not in (ACTIVATE, EXPIRE, REPAY) else _WHY[movement.op],
            )
            found.append((movement.time_ms, entry))
    return found


def decimal(minor: int, exponent: int) -> str:
    """Minor units as an exact decimal of major units, such as `-12.05`."""
    if exponent == 0:
        return str(minor)
    whole, part = divmod(abs(minor), 10**exponent)
    return f"{'-' if minor < 0 else ''}{whole}.{part:0{exponent}d}"
