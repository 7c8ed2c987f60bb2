"""Redemption: units are spent, from the lots that expire first, and come back where it is called off."""

from typing import Final

from engine.engagement.ledger.books import Purse, purse
from engine.engagement.ledger.facts import DONE, REDEEMED
from engine.engagement.ledger.lifecycle import Lifecycle
from engine.engagement.ledger.lots import ACTIVATE, RETURN, SPEND, Movement, Terms

RECALL_MS: Final = 30 * 86_400_000
"""A redemption can be called off so long after it."""


class Redemption(Lifecycle):
    """Spending, and calling it off."""

    __slots__ = ()

    def redeem(self, of: Purse, amount: int, redemption: int, now: int) -> list[Movement] | None:
        """Spend from the lots that expire first. Nothing for a redemption seen before; None where there is not enough
        active, and then nothing changes."""
        if redemption in self.done:
            return []
        if amount <= 0 or amount > self.balance(of)[1]:
            return None
        parts = self._first_to_expire(of, amount)
        self._note(DONE, redemption)
        self._note(REDEEMED, redemption, now, dict(parts))
        return [self._move(SPEND, number, part, now, redemption) for number, part in parts]

    def spend(self, number: int, amount: int, redemption: int, now: int) -> list[Movement] | None:
        """Spend from one lot. Nothing for a redemption seen before; None where there is not enough of it active."""
        if redemption in self.done:
            return []
        lot = self.lots.get(number)
        if lot is None or not 0 < amount <= lot.active:
            return None
        self._note(DONE, redemption)
        self._note(REDEEMED, redemption, now, {number: amount})
        return [self._move(SPEND, number, amount, now, redemption)]

    def consume(self, number: int, terms: Terms, amount: int, redemption: int, now: int) -> list[Movement]:
        """Grant a lot of what is used in the same instant: nobody has it, and what is taken back of it is owed. Nothing
        where its business key was granted before."""
        moved = self.grant(number, terms, amount, now)
        return moved and moved + [self._move(op, number, amount, now, redemption) for op in (ACTIVATE, SPEND)]

    def give_back(self, redemption: int, now: int) -> list[Movement]:
        """A redemption is called off: its units return to their lots and keep their day of expiry; debts come first."""
        moved: list[Movement] = []
        when, parts = self.spent.get(redemption, (0, {}))
        if when < now - RECALL_MS:
            return []
        if parts:
            self._note(REDEEMED, redemption, now, {})
        for number, part in parts.items():
            moved.append(self._move(RETURN, number, part, now, redemption))
            moved += self._repay(purse(self.lots[number]), now)
            self._await(self.lots[number].terms.expires_ms, number)
        return moved + self._expire(sorted(parts), now)
