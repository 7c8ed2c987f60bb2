"""Forgetting: what is over goes after the horizon, and all of a customer who leaves but the keys."""

from typing import Self

from engine.engagement.ledger.books import Books
from engine.engagement.ledger.lots import REVERSE_ACTIVE, REVERSE_PENDING, Movement
from engine.engagement.ledger.payments import HORIZON_MS, is_old
from engine.engagement.ledger.redemption import RECALL_MS


class Forgetting(Books):
    """What is kept no longer."""

    __slots__ = ()

    def forget(self, now: int) -> None:
        """Drop what is over: redemptions that cannot be called off any more; payments of before the horizon with their
        lots, once all of them are closed; other closed lots. Business keys stay, so nothing comes out otherwise."""
        for redemption, (when, _) in list(self.spent.items()):
            if when < now - RECALL_MS:
                del self.spent[redemption]
        old = [payment for payment, entry in self.payments.items() if is_old(entry, now)]
        if not old and not any(self._ended(number, now) for number in self._earned.get(0, ())):
            return
        open_lots = {number for _, parts in self.spent.values() for number in parts}
        open_lots |= {number for number, lot in self.lots.items() if not lot.closed}
        for payment in old:
            mine = self._earned.get(payment, [])
            if open_lots.isdisjoint(mine):
                entry = self.payments.pop(payment)
                if entry.settled or entry.blocked:
                    self.done.add(payment)  # stands for the keys of its lots
                    self.done.difference_update(mine)
                for number in mine:
                    del self.lots[number]
                self._earned.pop(payment, None)
        for number in self._earned.get(0, [])[:]:
            if number not in open_lots and self._ended(number, now):
                del self.lots[number]
                self._earned[0].remove(number)

    def _ended(self, number: int, now: int) -> bool:
        """Whether a lot became active before the horizon."""
        return self.lots[number].terms.available_ms < now - HORIZON_MS

    def close(self, now: int) -> list[Movement]:
        """Take back all that is left, whatever it is held for: the customer leaves."""
        moved: list[Movement] = []
        for number in sorted(self.lots):
            lot = self.lots[number]
            for op, held in ((REVERSE_PENDING, lot.pending), (REVERSE_ACTIVE, lot.active)):
                if held:
                    moved.append(self._move(op, number, held, now))
        return moved

    def keys_only(self) -> Self:
        """A ledger that is closed, without what it says of the customer: business keys, by which nothing is earned
        twice, and debts."""
        over = {payment for payment, entry in self.payments.items() if entry.settled or entry.blocked}
        return type(self)(done=self.done | over, debts=dict(self.debts))
