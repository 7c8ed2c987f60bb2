"""Lots and movements: what the ledger is made of.

A lot is what one cause granted: so many points, minor units of a currency, or coupons. Every unit of it is at any time
in exactly one account, and a movement takes units from one account to another:

    issued -> pending -> active -> spent | expired | reversed
                     \\-> reversed

So for each lot `granted = pending + active + spent + expired + reversed`. Beside the lots stands the debt: units that
were taken back after they had been spent. It is owed by the customer, kind and currency by kind and currency, and paid
out of whatever becomes active next, which is to spend it.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.ruleset.campaigns.model import campaign_key

KINDS: Final = ("points", "cashback", "coupon", "tier")
POINTS, CASHBACK, COUPON, TIER = range(len(KINDS))

PRO_RATA: Final = "R1"  # refunded in part, taken back in part
VOID: Final = (
    "R2"  # all of it, once what remains of the payment is below the threshold, or anything where there is none
)
KEEP: Final = "R3"  # nothing
POLICIES: Final = (PRO_RATA, VOID, KEEP)
AWAITS: Final = "+"
"""After the policy of a lot that was granted before its payment settled: it goes where the payment has not done so by
the end of its hold."""

GRANT, ACTIVATE, SPEND, RETURN, EXPIRE, REVERSE_PENDING, REVERSE_ACTIVE, OWE, REPAY = range(1, 10)
"""Operations of movements. They are stored: a number is never used again for something else."""

DELTAS: Final[dict[int, tuple[tuple[str, int], ...]]] = {
    GRANT: (("pending", +1),),
    ACTIVATE: (("pending", -1), ("active", +1)),
    SPEND: (("active", -1),),
    RETURN: (("active", +1),),
    EXPIRE: (("active", -1),),
    REVERSE_PENDING: (("pending", -1),),
    REVERSE_ACTIVE: (("active", -1),),
    OWE: (("debt", +1),),
    REPAY: (("active", -1), ("debt", -1)),
}
"""What each operation does to the customer's buckets, as they are put out."""


class LedgerError(Exception):
    """A movement that the state does not allow: a fault of the caller, or state that is damaged."""


class Terms(NamedTuple):
    """What a lot is granted under.

    Attributes:
        campaign: its id; version: of it.
        kind: index in `KINDS`; currency: ISO 4217 for cashback, else "".
        payment: hash of the payment it was earned with, 0 for none.
        available_ms: when it becomes active; expires_ms: when what is left goes, 0 for never.
        policy: one of `POLICIES`, then `AWAITS` or nothing.
        threshold: with `VOID`: minor units of the payment that must remain; 0 where any refund voids.
    """

    campaign: str
    version: int
    kind: int
    currency: str = ""
    payment: int = 0
    available_ms: int = 0
    expires_ms: int = 0
    policy: str = PRO_RATA
    threshold: int = 0

    @property
    def key(self) -> str:
        """Of the campaign, by which budgets and tallies know it."""
        return campaign_key(self.campaign, self.version)

    @property
    def reversal(self) -> str:
        """One of `POLICIES`."""
        return self.policy.removesuffix(AWAITS)

    @property
    def awaits(self) -> bool:
        """Nothing comes of it before its payment has settled."""
        return self.policy.endswith(AWAITS)


@dataclass(slots=True)
class Lot:
    """One lot and where its units are. `owed`: taken back as debt; `frozen`: does not become active."""

    terms: Terms
    granted: int
    pending: int = 0
    active: int = 0
    spent: int = 0
    expired: int = 0
    reversed: int = 0
    owed: int = 0
    frozen: bool = False
    moves: int = 0

    @property
    def closed(self) -> bool:
        """Nothing is left that could be spent or expire."""
        return self.pending == 0 and self.active == 0

    def check(self) -> None:
        """Raise `LedgerError` unless every unit is somewhere, once."""
        parts = (self.pending, self.active, self.spent, self.expired, self.reversed)
        if min(parts) < 0 or sum(parts) != self.granted or not 0 <= self.owed <= self.granted:
            what = f"{self.granted} {KINDS[self.terms.kind]} of {self.terms.campaign}"
            raise LedgerError(f"a lot of {what} holds {parts}, {self.owed} owed")


class Movement(NamedTuple):
    """Units of a lot that changed their account.

    Attributes:
        op: what happened.
        lot: its number.
        number: which movement of that lot it is, from 1.
        amount: units, above 0.
        time_ms: event time.
        reference: hash of the refund, redemption or payment behind it; 0 for none.
    """

    op: int
    lot: int
    number: int
    amount: int
    time_ms: int
    reference: int = 0
