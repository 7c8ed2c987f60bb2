"""A customer's payments: the last ones one by one, the months before in sums, and the habits that follow from them.

Only settled payments count, in minor units of the base currency; one whose currency has no rate counts as a payment of
amount 0. All of it is a function of the set of payments and refunds taken in: the order does not matter, but for what
has left the list of single payments by then. A payment that was fraud, or all of which was charged back, is as one that
never was.
"""

import math
from bisect import insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

from engine.engagement.calendar import local_hour, local_month
from engine.engagement.customer.habits import Habits, Paid
from engine.engagement.ledger.payments import HORIZON_MS

PAID_MAX: Final = 200
MONTHS_MAX: Final = 24
YEAR: Final = 12
"""Months."""
TOLD_APART_MAX: Final = 8
"""Merchant categories, or currencies, told apart in the sum of a month; the rest is added up as ""."""
_REFUND_FIELDS: Final = 3  # of its fact: payment, how much, when; that of a void payment has no amount


@dataclass(slots=True)
class Month:
    """Sums of one local month: payments, their amount less refunds; payments by method, merchant category, local hour
    and currency."""

    payments: int = 0
    minor: int = 0
    methods: dict[str, int] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)
    hours: dict[int, int] = field(default_factory=dict)
    currencies: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class History:
    """See the module.

    Attributes:
        paid: the last `PAID_MAX` payments by time.
        months: by number, `year * 12 + month - 1`.
        payments, minor, refunds, refunded: of all time.
        first_ms, last_ms, refund_ms: of the first and the last payment, of the last refund; 0 before there is one.
        journal: what was taken in since whoever stores it took it.
        turn: another number after each change, as long as the object lives.
    """

    paid: list[Paid] = field(default_factory=list)
    months: dict[int, Month] = field(default_factory=dict)
    payments: int = 0
    minor: int = 0
    refunds: int = 0
    refunded: int = 0
    first_ms: int = 0
    last_ms: int = 0
    refund_ms: int = 0
    journal: list[tuple[object, ...]] = field(default_factory=list, compare=False)
    turn: int = field(default=0, compare=False)
    _habits: Habits = field(default_factory=Habits, compare=False)
    _year: tuple[int, int, int] | None = field(default=None, compare=False)  # what `year` gave last, and of which month
    _top: int | None = field(default=None, compare=False)  # the last month

    def pay(self, paid: Paid, zone: str) -> None:
        """Take in a payment that has settled."""
        self.journal.append((*paid, zone))
        self._pay(paid, zone)

    def refund(self, payment: int, back: int, now_ms: int, zone: str) -> None:
        """Take in how much of a payment has been given back by now, in all. Of a payment of before the ledger's horizon
        nothing changes any more."""
        self.journal.append((payment, back, now_ms, zone))
        self._refund(payment, back, now_ms, zone)

    def void(self, payment: int, now_ms: int, zone: str) -> None:
        """Take in that a payment is to count for nothing; of one of before the ledger's horizon nothing changes."""
        self.journal.append((payment, now_ms, zone))
        self._void(payment, now_ms, zone)

    def of(self, payment: int) -> Paid | None:
        """A payment of the last ones; None where it is not among them."""
        return next((paid for paid in reversed(self.paid) if paid.payment == payment), None)

    def learn(self, fact: tuple[Any, ...]) -> None:
        """Take in a fact of the journal again."""
        *what, zone = fact
        if len(what) == len(Paid._fields):
            self._pay(Paid(*what), zone)
        elif len(what) == _REFUND_FIELDS:
            payment, back, now_ms = what
            self._refund(payment, back, now_ms, zone)
        else:
            payment, now_ms = what
            self._void(payment, now_ms, zone)

    def _pay(self, paid: Paid, zone: str) -> None:
        some = self.paid
        last = not some or some[-1] <= paid
        if last:
            some.append(paid)
        else:
            insort(some, paid)
        gone = some.pop(0) if len(some) > PAID_MAX else None
        self._habits.add(some, paid, gone, last=last)
        self.turn += 1
        self.payments += 1
        self.minor += paid.minor
        self.first_ms = min(self.first_ms, paid.time_ms) if self.first_ms else paid.time_ms
        self.last_ms = max(self.last_ms, paid.time_ms)
        number = local_month(paid.time_ms, zone)
        month = self.months.get(number)
        if month is None:
            month = self.months[number] = Month()
            self._year = self._top = None
        elif self._year is not None and number > self._year[0] - YEAR:
            of, payments, minor = self._year
            self._year = of, payments + 1, minor + paid.minor
        month.payments += 1
        month.minor += paid.minor
        month.methods[paid.method] = month.methods.get(paid.method, 0) + 1
        hour = local_hour(paid.time_ms, zone)
        month.hours[hour] = month.hours.get(hour, 0) + 1
        _more(month.categories, paid.category)
        _more(month.currencies, paid.currency)
        if len(self.months) > MONTHS_MAX:
            for over in sorted(self.months)[:-MONTHS_MAX]:
                del self.months[over]

    def _refund(self, payment: int, back: int, now_ms: int, zone: str) -> None:
        paid = self._recent(payment, now_ms)
        more = min(back, paid.minor) - paid.refunded if paid is not None else 0
        if paid is not None and more > 0:
            self.paid[self.paid.index(paid)] = paid._replace(refunded=paid.refunded + more)
            self._habits.refund()
            self.turn += 1
            self._year = None
            month = self.months.get(local_month(paid.time_ms, zone))
            if month is not None:
                month.minor -= more
            self.minor -= more
            self.refunded += more
            self.refunds += 1
            self.refund_ms = max(self.refund_ms, now_ms)

    def _void(self, payment: int, now_ms: int, zone: str) -> None:
        paid = self._recent(payment, now_ms)
        if paid is None:
            return
        self.paid.remove(paid)
        self._habits.forget()
        self.turn += 1
        self._year = self._top = None
        self.payments -= 1
        self.minor -= paid.minor - paid.refunded
        self.refunded -= paid.refunded
        if self.payments == len(self.paid):  # earlier ones are not known one by one
            self.first_ms = self.paid[0].time_ms if self.paid else 0
        self.last_ms = self.paid[-1].time_ms if self.paid else 0
        number = local_month(paid.time_ms, zone)
        month = self.months.get(number)
        if month is not None:
            month.minor -= paid.minor - paid.refunded
            month.payments = max(0, month.payments - 1)
            _less(month.methods, paid.method)
            _less(month.hours, local_hour(paid.time_ms, zone))
            _less(month.categories, paid.category if paid.category in month.categories else "")
            _less(month.currencies, paid.currency if paid.currency in month.currencies else "")
            if not (month.payments or month.minor):
                del self.months[number]

    def _recent(self, payment: int, now_ms: int) -> Paid | None:
        """A payment that something can still happen to."""
        paid = self.of(payment)
        return paid if paid is not None and paid.time_ms >= now_ms - HORIZON_MS else None

    def year(self, month: int) -> tuple[int, int]:
        """Payments in a month and the eleven before, and what of them was kept, minor units."""
        if self._year is None or self._year[0] != month:
            mine = [one for number, one in self.months.items() if number > month - YEAR]
            self._year = month, sum(one.payments for one in mine), sum(one.minor for one in mine)
        return self._year[1:]

    def last_month(self) -> int:
        """The last month with a payment; -1 without one."""
        if self._top is None:
            self._top = max(self.months, default=-1)
        return self._top

    def spend(self, after_ms: int, until_ms: int) -> int:
        """Amount less refunds of the single payments in (after, until], minor units."""
        return sum(paid.minor - paid.refunded for paid in self.since(after_ms) if paid.time_ms <= until_ms)

    def since(self, after_ms: int) -> Iterator[Paid]:
        """The single payments after a time, the last first."""
        return takewhile(lambda paid: paid.time_ms > after_ms, reversed(self.paid))

    def gaps(self) -> list[int]:
        """Milliseconds between visits, oldest first, of the last few."""
        return self._habits.gaps(self.paid)

    def gap_ms(self) -> int:
        """The typical gap between visits, later ones counting more; 0 where there are fewer than two visits."""
        return self._habits.gap_ms(self.paid)

    def spread_ms(self) -> int:
        """By how much gaps between visits deviate from the typical one; 0 where there are fewer than two."""
        return self._habits.spread_ms(self.paid)

    def regularity(self) -> float:
        """How even the gaps are: 1 for all equal, 0 for as scattered as chance or more; NaN below three gaps."""
        gaps = self.gaps()
        if len(gaps) < 3:
            return float("nan")
        mean = sum(gaps) / len(gaps)
        spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1))
        return max(0.0, 1.0 - spread / mean)

    def peak(self, zone: str) -> tuple[int, float]:
        """The local hour at which the busiest two hours begin and their share of the payments; (-1, NaN) of none."""
        return self._habits.peak(self.paid, zone)

    def preferred(self) -> tuple[str, float]:
        """The method of most payments that name one and its share of them; ("", NaN) of none."""
        methods = Counter(paid.method for paid in self.paid if paid.method)
        if not methods:
            return "", float("nan")
        method = min(methods, key=lambda name: (-methods[name], name))
        return method, methods[method] / methods.total()

    def streak(self, now_ms: int, zone: str, minor_min: int) -> int:
        """Local days in a row, today or yesterday the last of them, each with payments of at least `minor_min` kept."""
        return self._habits.streak(self.paid, now_ms, zone, minor_min)

    def fresh(self, name: str, within_ms: int) -> bool:
        """Whether the last payment names a value of a field that none of so long before it has."""
        if not self.paid:
            return False
        found, after_ms = getattr(self.paid[-1], name), self.paid[-1].time_ms - within_ms
        if found == "":
            return False
        before = self.since(after_ms)
        next(before, None)
        return all(getattr(paid, name) != found for paid in before)

    def refund_share(self, after_ms: int) -> float:
        """Share of the amount paid since a time that was given back; 0 of nothing."""
        if not self.refunds:
            return 0.0
        recent = list(self.since(after_ms))
        total = sum(paid.minor for paid in recent)
        return sum(paid.refunded for paid in recent) / total if total else 0.0

    def refunded_since(self, after_ms: int) -> int:
        """Payments since a time of which something was given back."""
        if self.refund_ms <= after_ms:
            return 0  # of most customers there is nothing to look through
        return sum(1 for paid in self.since(after_ms) if paid.refunded)


def _more(counts: dict[str, int], name: str) -> None:
    """One more of a name, of those that are told apart."""
    if name not in counts and len(counts) >= TOLD_APART_MAX:
        name = ""
    counts[name] = counts.get(name, 0) + 1


def _less(counts: dict[Any, int], name: object) -> None:
    """One less of a name."""
    if counts.get(name, 0) > 1:
        counts[name] -= 1
    else:
        counts.pop(name, None)
