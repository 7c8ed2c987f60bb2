"""Refunds and chargebacks: what a payment earned goes as far as the payment does.

Pending units go first, then active ones; what was spent of them becomes debt.
"""

from collections.abc import Callable
from dataclasses import replace

from engine.engagement.ledger.books import purse
from engine.engagement.ledger.facts import DONE
from engine.engagement.ledger.lifecycle import Lifecycle
from engine.engagement.ledger.lots import OWE, REVERSE_ACTIVE, REVERSE_PENDING, Movement
from engine.engagement.ledger.payments import Payment, is_old, kept, second_of


class Refunds(Lifecycle):
    """What is taken back."""

    __slots__ = ()

    def refund(self, payment: int, reference: int, minor: int, now: int) -> list[Movement]:
        """So much more of a payment was given back. Nothing for a reference seen before."""
        return self._take_back(payment, reference, lambda entry: entry.refunded + minor, now)

    def charge_back(self, payment: int, reference: int, minor: int, now: int) -> list[Movement]:
        """The payment was disputed for `minor`, beside what had been refunded. Of a payment that was disputed before at
        least so much is gone: a dispute has several stages."""
        first = not self._entry(payment, now).disputed
        if reference not in self.done:
            self._know(payment, self._entry(payment, now), disputed=True)
        back = (lambda entry: entry.refunded + minor) if first else (lambda entry: max(entry.refunded, minor))
        return self._take_back(payment, reference, back, now)

    def call_off(self, payment: int, now: int) -> list[Movement]:
        """A payment will not settle: what was granted ahead of that goes. Nothing where it has."""
        ahead = [number for number in sorted(self._earned.get(payment, ())) if self.lots[number].terms.awaits]
        return [
            self._move(REVERSE_PENDING, number, lot.pending, now)
            for number in ahead
            if (lot := self.lots[number]).pending and not self._settled(lot)
        ]

    def withdraw(self, number: int, now: int) -> list[Movement]:
        """What is still pending of a lot goes."""
        lot = self.lots[number]
        return [self._move(REVERSE_PENDING, number, lot.pending, now)] if lot.pending else []

    def reclaim(self, payment: int, now: int, reference: int = 0) -> list[Movement]:
        """Take back what refunds of a payment so far ask for, of every lot it earned.

        The rounding is cumulative: what is kept of a lot is `granted * (settled - refunded) // settled`, so that parts
        add up to the whole. What has expired is gone already and is not asked for again.
        """
        entry = self.payments.get(payment)
        if entry is None or not (entry.blocked or (entry.settled and entry.refunded)):
            return []
        moved: list[Movement] = []
        for number in sorted(self._earned.get(payment, ())):
            lot = self.lots[number]
            if lot.closed and is_old(entry, now):
                continue  # it may have been forgotten
            gone = lot.expired + lot.reversed + lot.owed
            moved += self._reverse(number, max(0, lot.granted - kept(lot, entry) - gone), now, reference)
        return moved

    def hear(self, payment: int, settled: int, refunded: int, now: int) -> list[Movement]:
        """How a payment stands of which another ledger keeps account: minor units settled, and gone so far. They only
        grow, so they may be told twice, and in any order."""
        entry = self._entry(payment, now)
        if payment in self.done or (settled <= entry.settled and refunded <= entry.refunded):
            return []
        seen_ms = second_of(now) if settled and not entry.settled else entry.seen_ms
        entry = replace(entry, seen_ms=seen_ms)
        self._know(payment, entry, settled=max(settled, entry.settled), refunded=max(refunded, entry.refunded))
        return self.reclaim(payment, now)

    def _take_back(self, payment: int, reference: int, refunded: Callable[[Payment], int], now: int) -> list[Movement]:
        if reference in self.done:
            return []
        self._note(DONE, reference)
        entry = self._entry(payment, now)
        self._know(payment, entry, refunded=refunded(entry))
        return self.reclaim(payment, now, reference)

    def _reverse(self, number: int, amount: int, now: int, reference: int) -> list[Movement]:
        """Take back units of a lot: pending ones, then active, then what was spent of it becomes debt."""
        lot, moved = self.lots[number], list[Movement]()
        for op, held in ((REVERSE_PENDING, lot.pending), (REVERSE_ACTIVE, lot.active), (OWE, lot.spent)):
            part = min(amount, held)
            if part:
                moved.append(self._move(op, number, part, now, reference))
                amount -= part
        return moved + self._repay(purse(lot), now)
