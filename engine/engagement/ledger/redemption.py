"""Redemption: units are spent, from the lots that expire first, and come back where it is called off: all, or the share
of the payment they were used on that is given back."""

from typing import Final

from engine.engagement.ledger.books import Purse, purse
from engine.engagement.ledger.facts import DONE, REDEEMED
from engine.engagement.ledger.lifecycle import Lifecycle
from engine.engagement.ledger.lots import ACTIVATE, RETURN, SPEND, Movement, Terms
from engine.engagement.ledger.payments import HORIZON_MS

RECALL_MS: Final = HORIZON_MS
"""A redemption can be called off so long after it: until the payment it was used on is over."""


class Redemption(Lifecycle):
    """Spending, and calling it off."""

    __slots__ = ()

    def redeem(
        self, of: Purse, amount: int, redemption: int, now: int, recall: int | None = None
    ) -> list[Movement] | None:
        """Spend from the lots that expire first. Nothing for a redemption seen before; None where there is not enough
        active, and then nothing changes.

        Args:
            of: what is spent.
            amount: units.
            redemption: its business key.
            now: the time.
            recall: by what it is called off (`give_back`): the payment it was used on, which may have several, or 0
                for nothing ever; by itself where it is None.
        """
        if redemption in self.done:
            return []
        if amount <= 0 or amount > self.balance(of)[1]:
            return None
        parts = self._first_to_expire(of, amount)
        self._note(DONE, redemption)
        key = redemption if recall is None else recall
        if key:
            together = dict(self.spent.get(key, (0, {}))[1])
            for number, part in parts:
                together[number] = together.get(number, 0) + part
            self._note(REDEEMED, key, now, together)
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

    def give_back(self, recall: int, now: int, kept: int = 0, of: int = 1) -> list[Movement]:
        """What was redeemed is called off but for `kept` of `of`: units return to their lots and keep their day of
        expiry; debts come first. What stays is rounded down, so that parts add up to the whole."""
        moved: list[Movement] = []
        when, parts = self.spent.get(recall, (0, {}))
        if when < now - RECALL_MS:
            return []
        stay = {number: part * kept // of for number, part in parts.items()}
        parts = {number: part - stay[number] for number, part in parts.items() if part > stay[number]}
        if parts:
            self._note(REDEEMED, recall, when, {number: part for number, part in stay.items() if part})
        for number, part in parts.items():
            moved.append(self._move(RETURN, number, part, now, recall))
            moved += self._repay(purse(self.lots[number]), now)
            self._await(self.lots[number].terms.expires_ms, number)
        return moved + self._expire(sorted(parts), now)
