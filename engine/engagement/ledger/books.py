"""The books of a ledger: its lots, payments and debts, and how facts and movements change them.

What may happen, and why, is said by the classes above it. Here nothing is decided: a fact is taken in, new or stored
before, and each unit of a movement goes from one account to another.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heappush
from typing import Any, Final

from engine.engagement.ledger.facts import DONE, FROZEN, JUDGED, LOT, MOVED, PAYMENT, REDEEMED, Fact
from engine.engagement.ledger.lots import (
    ACTIVATE,
    EXPIRE,
    GRANT,
    OWE,
    REPAY,
    RETURN,
    REVERSE_ACTIVE,
    REVERSE_PENDING,
    SPEND,
    LedgerError,
    Lot,
    Movement,
    Terms,
)
from engine.engagement.ledger.payments import REFUSED, Payment, all_of, is_old, second_of, worse

Purse = tuple[int, str]
"""What balances are kept apart by: kind and currency."""


@dataclass(slots=True)
class Books:
    """See the module; `engine.engagement.ledger.ledger.Ledger` is what others hold.

    Attributes:
        lots: by number, which is a hash of the business key.
        payments: by the hash of their id.
        done: business keys of grants, refunds and redemptions.
        debts: what the customer owes, by purse; only what is above 0.
        spent: by redemption, when it was, the lots it took from and how much.
        journal: facts since whoever stores them took them.
        turn: another number after each change of what is active, as long as the object lives.
    """

    lots: dict[int, Lot] = field(default_factory=dict)
    payments: dict[int, Payment] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    debts: dict[Purse, int] = field(default_factory=dict)
    spent: dict[int, tuple[int, dict[int, int]]] = field(default_factory=dict)
    journal: list[Fact] = field(default_factory=list, compare=False)
    turn: int = field(default=0, compare=False)
    _timeline: list[tuple[int, int]] = field(default_factory=list, compare=False)  # a heap: instants and lots
    _earned: dict[int, list[int]] = field(default_factory=dict, compare=False)  # lots by payment

    # What there is

    def lots_of(self, payment: int) -> list[int]:
        """Numbers of the lots that a payment earned, as far as they are not forgotten."""
        return sorted(self._earned.get(payment, ()))

    def balance(self, of: Purse) -> tuple[int, int, int]:
        """Pending, active and debt of one purse."""
        mine = [lot for lot in self.lots.values() if purse(lot) == of]
        return sum(lot.pending for lot in mine), sum(lot.active for lot in mine), self.debts.get(of, 0)

    def over(self, payment: int, now: int) -> bool:
        """Whether a payment is of before the horizon: it may have been forgotten, and earns nothing any more."""
        entry = self.payments.get(payment)
        return payment in self.done or (
            entry is not None and is_old(entry, now) and (entry.settled > 0 or entry.blocked)
        )

    def check(self) -> None:
        """Raise `LedgerError` unless every unit is accounted for and nobody owes what they could pay."""
        for lot in self.lots.values():
            lot.check()
        for of, debt in self.debts.items():
            if debt <= 0 or self.balance(of)[1]:
                raise LedgerError(f"a debt of {debt} beside an active balance of {self.balance(of)[1]}")

    def _settled(self, lot: Lot) -> bool:
        """Whether the payment that a lot was earned with has."""
        entry = self.payments.get(lot.terms.payment)
        return entry is not None and entry.settled > 0

    def _entry(self, payment: int, now: int) -> Payment:
        """What is known of a payment; nothing of one that was heard of before the horizon and never settled."""
        entry = self.payments.get(payment)
        if entry is None or (is_old(entry, now) and not (entry.settled or entry.blocked)):
            return Payment(seen_ms=second_of(now))
        return entry

    # What is taken in

    def learn(self, fact: Fact) -> None:
        """Take in one fact, new or stored before. Raises `LedgerError` where it is of no known kind."""
        handle = _FACTS.get(fact[0])
        if handle is None:
            raise LedgerError(f"a fact of kind {fact[0]!r}")
        handle(self, *fact[1:])

    def take(self, movement: Movement) -> None:
        """Take in one movement. Raises `LedgerError` where the state does not allow it."""
        lot, amount = self.lots[movement.lot], movement.amount
        if movement.number != lot.moves + 1 or amount <= 0:
            raise LedgerError(f"movement {movement.number} of a lot that has had {lot.moves}")
        self.turn += movement.op in _ACTIVE
        lot.moves += 1
        for account, sign in _ACCOUNTS[movement.op]:
            setattr(lot, account, getattr(lot, account) + sign * amount)
        if movement.op in (OWE, REPAY):
            of = purse(lot)
            left = self.debts.get(of, 0) + (amount if movement.op == OWE else -amount)
            if left:
                self.debts[of] = left
            else:
                self.debts.pop(of, None)
        lot.check()

    def put(self, number: int, lot: Lot) -> None:
        """Hold a lot."""
        self.lots[number] = lot
        self._earned.setdefault(lot.terms.payment, []).append(number)
        heappush(self._timeline, (lot.terms.available_ms, number))
        self._await(lot.terms.expires_ms, number)

    def _granted(self, number: int, amount: int, *terms: Any) -> None:
        if number in self.lots:
            raise LedgerError(f"lot {number} is granted twice")
        self.put(number, Lot(Terms(*terms), amount))

    def _freeze(self, number: int, frozen: bool) -> None:
        lot = self.lots[number]
        lot.frozen = frozen
        heappush(self._timeline, (lot.terms.available_ms, number))

    def _judged(self, payment: int, risk: int, now: int) -> None:
        entry = self._entry(payment, now)
        if payment in self.done or ((entry.settled or entry.blocked) and is_old(entry, now)):
            return  # it is over, and may have been forgotten
        if risk == REFUSED and entry.settled:
            return  # money has moved; what was declined is another attempt under the same id
        known = replace(entry, blocked=True) if risk == REFUSED else replace(entry, risk=worse(entry, risk))
        self.payments[payment] = known

    def _redeemed(self, redemption: int, now: int, parts: dict[int, int]) -> None:
        if parts:
            self.spent[redemption] = now, parts
        else:
            self.spent.pop(redemption, None)

    # What is noted

    def _move(self, op: int, number: int, amount: int, now: int, reference: int = 0) -> Movement:
        movement = Movement(op, number, self.lots[number].moves + 1, amount, now, reference)
        self.take(movement)
        self.journal.append((MOVED, *movement))
        return movement

    def _know(self, payment: int, entry: Payment, **changed: int | bool) -> None:
        entry = Payment(*all_of(entry))
        for name, value in changed.items():
            setattr(entry, name, value)
        self._note(PAYMENT, payment, *all_of(entry))

    def _note(self, *fact: Any) -> None:
        self.learn(fact)
        self.journal.append(fact)

    def _await(self, due: int, number: int) -> None:
        """Come back to a lot at an instant; 0 for never."""
        if due:
            heappush(self._timeline, (due, number))


def purse(lot: Lot) -> Purse:
    """What a lot's units belong to."""
    return lot.terms.kind, lot.terms.currency


_ACCOUNTS: Final[dict[int, tuple[tuple[str, int], ...]]] = {
    GRANT: (("pending", 1),),
    ACTIVATE: (("pending", -1), ("active", 1)),
    SPEND: (("active", -1), ("spent", 1)),
    RETURN: (("spent", -1), ("active", 1)),
    EXPIRE: (("active", -1), ("expired", 1)),
    REVERSE_PENDING: (("pending", -1), ("reversed", 1)),
    REVERSE_ACTIVE: (("active", -1), ("reversed", 1)),
    OWE: (("owed", 1),),
    REPAY: (("active", -1), ("spent", 1)),  # of this lot; the debt may be of another
}
"""What each operation does to the accounts of its lot."""
_ACTIVE: Final = frozenset(op for op, parts in _ACCOUNTS.items() if any(account == "active" for account, _ in parts))

_FACTS: Final[dict[int, Callable[..., None]]] = {
    PAYMENT: lambda ledger, payment, *known: ledger.payments.__setitem__(payment, Payment(*known)),
    DONE: lambda ledger, key: ledger.done.add(key),
    LOT: Books._granted,
    MOVED: lambda ledger, *movement: ledger.take(Movement(*movement)),
    REDEEMED: Books._redeemed,
    FROZEN: Books._freeze,
    JUDGED: Books._judged,
}
