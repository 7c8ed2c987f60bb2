"""The life of a lot: granted, active after its hold, frozen and released, expired at its instant."""

from collections.abc import Callable, Iterable
from heapq import heappop
from typing import Final

from engine.engagement.ledger.books import Books, Purse, purse
from engine.engagement.ledger.facts import DONE, FROZEN, LOT, MOVED
from engine.engagement.ledger.lots import (
    ACTIVATE,
    EXPIRE,
    GRANT,
    REPAY,
    REVERSE_PENDING,
    LedgerError,
    Lot,
    Movement,
    Terms,
)
from engine.engagement.ledger.payments import whole_second

NEVER: Final = 2**62


class Lifecycle(Books):
    """What time, and those who grant and freeze, do to lots."""

    __slots__ = ()

    def grant(self, number: int, terms: Terms, amount: int, now: int) -> list[Movement]:
        """Grant a lot, pending until `terms.available_ms`. Nothing where its business key was granted before.

        Instants are rounded up to whole seconds. Raises `LedgerError` where the amount is not above 0 or the terms
        contradict each other.
        """
        available_ms, expires_ms = whole_second(terms.available_ms), whole_second(terms.expires_ms)
        if available_ms != terms.available_ms or expires_ms != terms.expires_ms:
            terms = terms._replace(available_ms=available_ms, expires_ms=expires_ms)
        if amount <= 0 or (terms.expires_ms and terms.expires_ms < terms.available_ms):
            raise LedgerError(f"{terms.campaign}: a grant of {amount} that expires before it is available")
        if number in self.done or self.over(terms.payment, now):
            return []
        movement = Movement(GRANT, number, 1, amount, now)  # what the three facts come to, at once
        self.done.add(number)
        self.put(number, Lot(terms, amount, pending=amount, moves=1))
        self.journal += (DONE, number), (LOT, number, amount, *terms), (MOVED, *movement)
        return [movement]

    def use(self, number: int) -> None:
        """A business key is used up without a lot: an offer was made."""
        self._note(DONE, number)

    def advance(self, now: int) -> list[Movement]:
        """What is due by now, in the order of time: lots expire at their instant, then others become active."""
        moved: list[Movement] = []
        while (due := self.next_due()) <= now:
            numbers = []
            while self._timeline and self._timeline[0][0] == due:
                numbers.append(heappop(self._timeline)[1])
            numbers = sorted({number for number in numbers if number in self.lots})  # others were forgotten
            moved += self._expire(numbers, due) + self._activate(numbers, due)
        return moved

    def next_due(self) -> int:
        """When something next becomes active or expires by itself; `NEVER` where nothing does."""
        while self._timeline:
            due, number = self._timeline[0]
            lot = self.lots.get(number)
            if lot is not None and (_activates(lot, due) or _expires(lot, due) or _lapses(lot, due)):
                return due
            heappop(self._timeline)
        return NEVER

    def freeze(self, numbers: Iterable[int], frozen: bool) -> None:
        """Lots in question stay pending until they are released; what is frozen when it expires is taken back."""
        for number in numbers:
            if self.lots[number].frozen != frozen:
                self._note(FROZEN, number, frozen)

    def frozen(self, numbers: Iterable[int]) -> list[int]:
        """Those of some lots of which something is frozen."""
        known = ((number, self.lots.get(number)) for number in numbers)
        return [number for number, lot in known if lot is not None and lot.frozen and lot.pending]

    def release(self, numbers: Iterable[int], now: int) -> list[Movement]:
        """Lots are in question no more: those whose time has come become active."""
        some = sorted(self.frozen(numbers))
        self.freeze(some, False)
        return self._activate(some, now)

    def forfeit(self, numbers: Iterable[int], now: int) -> list[Movement]:
        """Take back what is frozen of some lots."""
        return [self._move(REVERSE_PENDING, n, self.lots[n].pending, now) for n in sorted(self.frozen(numbers))]

    # How

    def _activate(self, numbers: list[int], now: int) -> list[Movement]:
        """Those of the lots that have waited long enough become active, and pay debts."""
        moved: list[Movement] = []
        for number in sorted(numbers, key=lambda number: (self.lots[number].terms.available_ms, number)):
            lot = self.lots[number]
            if _activates(lot, now) and lot.terms.awaits and not self._settled(lot):
                moved.append(self._move(REVERSE_PENDING, number, lot.pending, now))
            elif _activates(lot, now):
                moved.append(self._move(ACTIVATE, number, lot.pending, now))
                moved += self._repay(purse(lot), now)
                self._await(lot.terms.expires_ms, number)
        return moved

    def _expire(self, numbers: list[int], now: int) -> list[Movement]:
        """What is left of those of the lots that are past their day goes."""
        moved = []
        for number in numbers:
            lot = self.lots[number]
            if _expires(lot, now):
                moved.append(self._move(EXPIRE, number, lot.active, now))
            elif _lapses(lot, now):
                moved.append(self._move(REVERSE_PENDING, number, lot.pending, now))
        return moved

    def _repay(self, of: Purse, now: int) -> list[Movement]:
        """Pay a debt from what is active."""
        owed = min(self.debts.get(of, 0), self.balance(of)[1]) if of in self.debts else 0
        return [self._move(REPAY, number, part, now) for number, part in self._first_to_expire(of, owed)]

    def _first_to_expire(self, of: Purse, amount: int) -> list[tuple[int, int]]:
        """Lots and parts of them that make up an amount, those that expire first before the others."""
        found: list[tuple[int, int]] = []
        for number in self._ordered(lambda lot: lot.terms.expires_ms or NEVER) if amount else ():
            lot = self.lots[number]
            if lot.active and purse(lot) == of and amount:
                found.append((number, min(amount, lot.active)))
                amount -= found[-1][1]
        return found

    def _ordered(self, due: Callable[[Lot], int]) -> list[int]:
        """Numbers of the lots by a time, then by number: one order, however the ledger came to hold them."""
        return sorted(self.lots, key=lambda number: (due(self.lots[number]), number))


def _activates(lot: Lot, now: int) -> bool:
    return lot.pending > 0 and not lot.frozen and lot.terms.available_ms <= now


def _expires(lot: Lot, now: int) -> bool:
    return lot.active > 0 and 0 < lot.terms.expires_ms <= now


def _lapses(lot: Lot, now: int) -> bool:
    return lot.frozen and lot.pending > 0 and 0 < lot.terms.expires_ms <= now
