"""One customer's ledger: what may happen to it, and that it always adds up.

Every operation returns the movements it made, and made none where it was done before: grants are known by their
business key, refunds and redemptions by their reference, for as long as the ledger exists. What happens in which order
does not matter where it must not: a refund that comes before its payment is kept and applied when the payment settles.

Each change is noted in `journal` as a fact, and `engine.engagement.ledger.codec` makes the same ledger of the facts.
"""

from engine.engagement.ledger.forgetting import Forgetting
from engine.engagement.ledger.payments import is_old, second_of
from engine.engagement.ledger.redemption import Redemption
from engine.engagement.ledger.refunds import Refunds


class Ledger(Redemption, Refunds, Forgetting):
    """See the module. What it holds is in `engine.engagement.ledger.books.Books`; here is how payments fare until
    something of them comes back."""

    __slots__ = ()

    def settle(self, payment: int, minor: int, now: int) -> bool:
        """A payment has settled. False where it had before. Grants of it come next, then `reclaim`."""
        entry = self._entry(payment, now)
        if entry.settled or payment in self.done or (entry.blocked and is_old(entry, now)):
            return False
        self._know(payment, entry, seen_ms=second_of(now), settled=minor)
        return True

    def block(self, payment: int, now: int) -> None:
        """A payment is fraud: it earns nothing, whatever comes, and whether it has settled or not."""
        entry = self._entry(payment, now)
        if payment in self.done or ((entry.settled or entry.blocked) and is_old(entry, now)):
            return  # it is over, and may have been forgotten
        self._know(payment, entry, blocked=True)
