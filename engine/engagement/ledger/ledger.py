"""One customer's ledger: what may happen to it, and that it always adds up.

Every operation returns the movements it made, and made none where it was done before: grants are known by their
business key, refunds and redemptions by their reference, for as long as the ledger exists. What happens in which order
does not matter where it must not: a refund that comes before its payment is kept and applied when the payment settles.

Each change is noted in `journal` as a fact, and `engine.engagement.ledger.codec` makes the same ledger of the facts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any, Final

from engine.engagement.ledger.lots import (
    ACTIVATE,
    EXPIRE,
    GRANT,
    KEEP,
    OWE,
    REPAY,
    RETURN,
    REVERSE_ACTIVE,
    REVERSE_PENDING,
    SPEND,
    VOID,
    LedgerError,
    Lot,
    Movement,
    Terms,
)

NEVER: Final = 2**62
SECOND_MS: Final = 1000

HORIZON_MS: Final = 180 * 86_400_000
"""A payment of before that is over: card schemes take disputes up to 120 days after it, in some cases 540."""
RECALL_MS: Final = 30 * 86_400_000
"""A redemption can be called off so long after it."""

PAYMENT, DONE, LOT, MOVED, REDEEMED, FROZEN, JUDGED = range(1, 8)
"""What a fact is of. They are stored: a number is never used again for something else."""

REFUSED: Final = 255
"""Instead of a risk: the payment was declined, or turned out to be fraud."""
APPROVED: Final = 100
"""Added to the risk of a payment that was approved all the same: nothing but its score tells against it."""

Fact = tuple[Any, ...]
"""Its kind, and the values that `Ledger.learn` takes in."""

Purse = tuple[int, str]
"""What balances are kept apart by: kind and currency."""


@dataclass(slots=True)
class Payment:
    """What the ledger knows of a payment, amounts in its minor units; `settled` 0 before it has. `seen_ms`: when it
    settled, or was first heard of until then; `risk`: of its decision, as in `judged`, 0 where nothing is known;
    `disputed`: it was charged back, in part at least."""

    settled: int = 0
    refunded: int = 0
    blocked: bool = False
    seen_ms: int = 0
    risk: int = 0
    disputed: bool = False

    @property
    def lost(self) -> bool:
        """It counts for nothing: it was declined, or fraud, or charged back and nothing is left of it."""
        return self.blocked or (self.disputed and self.refunded >= self.settled > 0)

    @property
    def doubted(self) -> bool:
        """Its decision was no plain approval."""
        return 0 < self.risk <= APPROVED

    @property
    def score(self) -> int:
        """The blended score of its decision in hundredths, rounded up; 0 where it is not known."""
        return self.risk - APPROVED if self.risk > APPROVED else self.risk


@dataclass(slots=True)
class Ledger:
    """See the module.

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

    # What happens to payments

    def settle(self, payment: int, minor: int, now: int) -> bool:
        """A payment has settled. False where it had before. Grants of it come next, then `reclaim`."""
        entry = self._entry(payment, now)
        if entry.settled or payment in self.done or (entry.blocked and _old(entry, now)):
            return False
        self._know(payment, entry, seen_ms=_second(now), settled=minor)
        return True

    def block(self, payment: int, now: int) -> None:
        """A payment was declined: it earns nothing, whatever comes."""
        self._note(*judged(payment, REFUSED, now))

    def suspect(self, payment: int, risk: int, now: int) -> None:
        """A payment was not simply approved: how risky it looked, 1 to 100."""
        self._note(*judged(payment, risk, now))

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
            if lot.closed and _old(entry, now):
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
        seen_ms = _second(now) if settled and not entry.settled else entry.seen_ms
        entry = replace(entry, seen_ms=seen_ms)
        self._know(payment, entry, settled=max(settled, entry.settled), refunded=max(refunded, entry.refunded))
        return self.reclaim(payment, now)

    # What happens to lots

    def grant(self, number: int, terms: Terms, amount: int, now: int) -> list[Movement]:
        """Grant a lot, pending until `terms.available_ms`. Nothing where its business key was granted before.

        Instants are rounded up to whole seconds. Raises `LedgerError` where the amount is not above 0 or the terms
        contradict each other.
        """
        available_ms, expires_ms = _whole(terms.available_ms), _whole(terms.expires_ms)
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

    def over(self, payment: int, now: int) -> bool:
        """Whether a payment is of before the horizon: it may have been forgotten, and earns nothing any more."""
        entry = self.payments.get(payment)
        return payment in self.done or (entry is not None and _old(entry, now) and (entry.settled > 0 or entry.blocked))

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

    def close(self, now: int) -> list[Movement]:
        """Take back all that is left, whatever it is held for: the customer leaves."""
        moved: list[Movement] = []
        for number in sorted(self.lots):
            lot = self.lots[number]
            for op, held in ((REVERSE_PENDING, lot.pending), (REVERSE_ACTIVE, lot.active)):
                if held:
                    moved.append(self._move(op, number, held, now))
        return moved

    def keys_only(self) -> "Ledger":
        """A ledger that is closed, without what it says of the customer: business keys, by which nothing is earned
        twice, and debts."""
        over = {payment for payment, entry in self.payments.items() if entry.settled or entry.blocked}
        return Ledger(done=self.done | over, debts=dict(self.debts))

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

    # What there is

    def lots_of(self, payment: int) -> list[int]:
        """Numbers of the lots that a payment earned, as far as they are not forgotten."""
        return sorted(self._earned.get(payment, ()))

    def balance(self, of: Purse) -> tuple[int, int, int]:
        """Pending, active and debt of one purse."""
        mine = [lot for lot in self.lots.values() if purse(lot) == of]
        return sum(lot.pending for lot in mine), sum(lot.active for lot in mine), self.debts.get(of, 0)

    def next_due(self) -> int:
        """When something next becomes active or expires by itself; `NEVER` where nothing does."""
        while self._timeline:
            due, number = self._timeline[0]
            lot = self.lots.get(number)
            if lot is not None and (_activates(lot, due) or _expires(lot, due) or _lapses(lot, due)):
                return due
            heappop(self._timeline)
        return NEVER

    def check(self) -> None:
        """Raise `LedgerError` unless every unit is accounted for and nobody owes what they could pay."""
        for lot in self.lots.values():
            lot.check()
        for of, debt in self.debts.items():
            if debt <= 0 or self.balance(of)[1]:
                raise LedgerError(f"a debt of {debt} beside an active balance of {self.balance(of)[1]}")

    def forget(self, now: int) -> None:
        """Drop what is over: redemptions that cannot be called off any more; payments of before the horizon with their
        lots, once all of them are closed; other closed lots. Business keys stay, so nothing comes out otherwise."""
        for redemption, (when, _) in list(self.spent.items()):
            if when < now - RECALL_MS:
                del self.spent[redemption]
        open_lots = {number for _, parts in self.spent.values() for number in parts}
        open_lots |= {number for number, lot in self.lots.items() if not lot.closed}
        for payment, entry in list(self.payments.items()):
            mine = self._earned.get(payment, [])
            if _old(entry, now) and open_lots.isdisjoint(mine):
                del self.payments[payment]
                if entry.settled or entry.blocked:
                    self.done.add(payment)  # stands for the keys of its lots
                    self.done.difference_update(mine)
                for number in mine:
                    del self.lots[number]
                self._earned.pop(payment, None)
        for number in self._earned.get(0, [])[:]:
            if number not in open_lots and self.lots[number].terms.available_ms < now - HORIZON_MS:
                del self.lots[number]
                self._earned[0].remove(number)

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

    def _settled(self, lot: Lot) -> bool:
        """Whether the payment that a lot was earned with has."""
        entry = self.payments.get(lot.terms.payment)
        return entry is not None and entry.settled > 0

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

    def _await(self, due: int, number: int) -> None:
        """Come back to a lot at an instant; 0 for never."""
        if due:
            heappush(self._timeline, (due, number))

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

    def _move(self, op: int, number: int, amount: int, now: int, reference: int = 0) -> Movement:
        movement = Movement(op, number, self.lots[number].moves + 1, amount, now, reference)
        self.take(movement)
        self.journal.append((MOVED, *movement))
        return movement

    def _entry(self, payment: int, now: int) -> Payment:
        """What is known of a payment; nothing of one that was heard of before the horizon and never settled."""
        entry = self.payments.get(payment)
        if entry is None or (_old(entry, now) and not (entry.settled or entry.blocked)):
            return Payment(seen_ms=_second(now))
        return entry

    def _know(self, payment: int, entry: Payment, **changed: int | bool) -> None:
        entry = Payment(*_all_of(entry))
        for name, value in changed.items():
            setattr(entry, name, value)
        self._note(PAYMENT, payment, *_all_of(entry))

    def _note(self, *fact: Any) -> None:
        self.learn(fact)
        self.journal.append(fact)

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

    def _granted(self, number: int, amount: int, *terms: Any) -> None:
        if number in self.lots:
            raise LedgerError(f"lot {number} is granted twice")
        self.put(number, Lot(Terms(*terms), amount))

    def put(self, number: int, lot: Lot) -> None:
        """Hold a lot."""
        self.lots[number] = lot
        self._earned.setdefault(lot.terms.payment, []).append(number)
        heappush(self._timeline, (lot.terms.available_ms, number))
        self._await(lot.terms.expires_ms, number)

    def _freeze(self, number: int, frozen: bool) -> None:
        lot = self.lots[number]
        lot.frozen = frozen
        heappush(self._timeline, (lot.terms.available_ms, number))

    def _judged(self, payment: int, risk: int, now: int) -> None:
        entry = self._entry(payment, now)
        if payment in self.done or ((entry.settled or entry.blocked) and _old(entry, now)):
            return  # it is over, and may have been forgotten
        known = replace(entry, blocked=True) if risk == REFUSED else replace(entry, risk=_worse(entry, risk))
        self.payments[payment] = known

    def _redeemed(self, redemption: int, now: int, parts: dict[int, int]) -> None:
        if parts:
            self.spent[redemption] = now, parts
        else:
            self.spent.pop(redemption, None)


def judged(payment: int, risk: int, now: int) -> Fact:
    """The fact that a payment was not simply approved: `risk` 1 to 100, or `REFUSED`; or that it was, with a score that
    somebody asks for, `APPROVED` more. It can be stored without the ledger at hand: it changes nothing but that."""
    return JUDGED, payment, risk, now


def _worse(entry: Payment, risk: int) -> int:
    """Of what decisions on one payment said, the worst: the highest score, doubted where one was."""
    later = Payment(risk=risk)
    return max(entry.score, later.score) + (0 if entry.doubted or later.doubted else APPROVED)


def purse(lot: Lot) -> Purse:
    """What a lot's units belong to."""
    return lot.terms.kind, lot.terms.currency


def kept(lot: Lot, entry: Payment) -> int:
    """Units of a lot that stay after the refunds of its payment."""
    policy = lot.terms.reversal
    if policy == KEEP:
        return lot.granted
    if entry.blocked:
        return 0
    left = max(0, entry.settled - entry.refunded)
    if policy == VOID:
        voided = left < lot.terms.threshold if lot.terms.threshold else left < entry.settled
        return 0 if voided else lot.granted
    return lot.granted * left // entry.settled


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
    LOT: Ledger._granted,
    MOVED: lambda ledger, *movement: ledger.take(Movement(*movement)),
    REDEEMED: Ledger._redeemed,
    FROZEN: Ledger._freeze,
    JUDGED: Ledger._judged,
}


_all_of: Final = attrgetter(*Payment.__slots__)


def _old(entry: Payment, now: int) -> bool:
    return entry.seen_ms < now - HORIZON_MS


def _activates(lot: Lot, now: int) -> bool:
    return lot.pending > 0 and not lot.frozen and lot.terms.available_ms <= now


def _expires(lot: Lot, now: int) -> bool:
    return lot.active > 0 and 0 < lot.terms.expires_ms <= now


def _second(time_ms: int) -> int:
    return time_ms // SECOND_MS * SECOND_MS


def _lapses(lot: Lot, now: int) -> bool:
    return lot.frozen and lot.pending > 0 and 0 < lot.terms.expires_ms <= now


def _whole(time_ms: int) -> int:
    return -(-time_ms // SECOND_MS) * SECOND_MS
