"""A customer's payments: the last ones one by one, the months before in sums, and the habits that follow from them.

Only settled payments count, in minor units of the base currency; one whose currency has no rate counts as a payment of
amount 0. All of it is a function of the set of payments and refunds taken in: the order does not matter, but for what
has left the list of single payments by then. A payment that was fraud, or all of which was charged back, is as one that
never was.
"""

import math
from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple

from engine.engagement.calendar import DAY_MS, local, local_day, local_hour
from engine.engagement.ledger.ledger import HORIZON_MS

PAID_MAX: Final = 200
MONTHS_MAX: Final = 24
CATEGORIES_MAX: Final = 8
"""Merchant categories told apart in the sum of a month; the rest is added up as ""."""

GAPS: Final = 12
"""Gaps between payments that the typical gap is taken from: half of the weight is in the last four."""
GAP_FADE: Final = 0.84
GAP_MS_MIN: Final = 3_600_000
"""Payments within an hour are one visit."""

_REFUND_FIELDS: Final = 3  # of its fact: payment, how much, when; that of a void payment has no amount

PEAK_HOURS: Final = 2
"""Width of the personal hour."""


class Paid(NamedTuple):
    """One payment, ordered by time.

    Attributes:
        time_ms: of settlement, whole seconds: habits need no finer; payment: hash of its id.
        minor: amount in minor units of the base currency; refunded: of it, given back.
        method, category, currency: as in the event, "" where missing.
    """

    time_ms: int
    payment: int
    minor: int
    refunded: int
    method: str
    category: str
    currency: str


@dataclass(slots=True)
class Month:
    """Sums of one local month: payments, their amount less refunds, payments by method and by category."""

    payments: int = 0
    minor: int = 0
    methods: dict[str, int] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class History:
    """See the module.

    Attributes:
        paid: the last `PAID_MAX` payments by time.
        months: by number, `year * 12 + month - 1`.
        payments, minor, refunds, refunded: of all time.
        first_ms, last_ms, refund_ms: of the first and the last payment, of the last refund; 0 before there is one.
        journal: what was taken in since whoever stores it took it.
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
    _gap: int | None = field(default=None, compare=False)  # what was worked out since the last payment
    _peak: tuple[str, int, float] | None = field(default=None, compare=False)
    _hours: tuple[str, Counter[int]] | None = field(default=None, compare=False)

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
        return next((paid for paid in self.paid if paid.payment == payment), None)

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
        insort(self.paid, paid)
        old = self.paid[:-PAID_MAX]
        del self.paid[:-PAID_MAX]
        self._gap = self._peak = None
        if self._hours is not None:
            of, hours = self._hours
            hours[local_hour(paid.time_ms, of)] += 1
            hours.subtract(local_hour(gone.time_ms, of) for gone in old)
        self.payments += 1
        self.minor += paid.minor
        self.first_ms = min(self.first_ms, paid.time_ms) if self.first_ms else paid.time_ms
        self.last_ms = max(self.last_ms, paid.time_ms)
        month = self.months.setdefault(month_of(paid.time_ms, zone), Month())
        month.payments += 1
        month.minor += paid.minor
        month.methods[paid.method] = month.methods.get(paid.method, 0) + 1
        known = paid.category in month.categories or len(month.categories) < CATEGORIES_MAX
        category = paid.category if known else ""
        month.categories[category] = month.categories.get(category, 0) + 1
        for over in sorted(self.months)[:-MONTHS_MAX]:
            del self.months[over]

    def _refund(self, payment: int, back: int, now_ms: int, zone: str) -> None:
        paid = self._recent(payment, now_ms)
        more = min(back, paid.minor) - paid.refunded if paid is not None else 0
        if paid is not None and more > 0:
            self.paid[self.paid.index(paid)] = paid._replace(refunded=paid.refunded + more)
            month = self.months.get(month_of(paid.time_ms, zone))
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
        self._gap = self._peak = self._hours = None
        self.payments -= 1
        self.minor -= paid.minor - paid.refunded
        self.refunded -= paid.refunded
        if self.payments == len(self.paid):  # earlier ones are not known one by one
            self.first_ms = self.paid[0].time_ms if self.paid else 0
        self.last_ms = self.paid[-1].time_ms if self.paid else 0
        number = month_of(paid.time_ms, zone)
        month = self.months.get(number)
        if month is not None:
            month.minor -= paid.minor - paid.refunded
            month.payments = max(0, month.payments - 1)
            _less(month.methods, paid.method)
            _less(month.categories, paid.category if paid.category in month.categories else "")
            if not (month.payments or month.minor):
                del self.months[number]

    def _recent(self, payment: int, now_ms: int) -> Paid | None:
        """A payment that something can still happen to."""
        paid = self.of(payment)
        return paid if paid is not None and paid.time_ms >= now_ms - HORIZON_MS else None

    def spend(self, after_ms: int, until_ms: int) -> int:
        """Amount less refunds of the single payments in (after, until], minor units."""
        return sum(paid.minor - paid.refunded for paid in self.paid if after_ms < paid.time_ms <= until_ms)

    def gaps(self) -> list[int]:
        """Milliseconds between visits, oldest first, of the last `GAPS`."""
        visits: list[int] = []
        for later, before in pairwise(reversed(self.paid)):
            if later.time_ms - before.time_ms >= GAP_MS_MIN:
                visits.append(later.time_ms - before.time_ms)
                if len(visits) == GAPS:
                    break
        return visits[::-1]

    def gap_ms(self) -> int:
        """The typical gap between visits, later ones counting more; 0 where there are fewer than two visits."""
        if self._gap is not None:
            return self._gap
        gaps, mean = self.gaps(), 0.0
        weight = 0.0
        for gap in gaps:
            mean, weight = GAP_FADE * mean + gap, GAP_FADE * weight + 1.0
        self._gap = int(mean / weight) if gaps else 0
        return self._gap

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
        if self._peak is not None and self._peak[0] == zone:
            return self._peak[1:]
        if self._hours is None or self._hours[0] != zone:
            self._hours = zone, Counter(local_hour(paid.time_ms, zone) for paid in self.paid)
        hours, total = self._hours[1], len(self.paid)
        if not total:
            return -1, float("nan")
        counts = [hours[hour] for hour in range(24)]
        shares = [sum(counts[hour - 24 + k] for k in range(PEAK_HOURS)) for hour in range(24)]
        most = max(shares)
        best = -max((counts[hour], -hour) for hour in range(24) if shares[hour] == most)[1]
        self._peak = zone, best, shares[best] / total
        return self._peak[1:]

    def preferred(self) -> tuple[str, float]:
        """The method of most payments that name one and its share of them; ("", NaN) of none."""
        methods = Counter(paid.method for paid in self.paid if paid.method)
        if not methods:
            return "", float("nan")
        method = min(methods, key=lambda name: (-methods[name], name))
        return method, methods[method] / methods.total()

    def streak(self, now_ms: int, zone: str, minor_min: int) -> int:
        """Local days in a row, today or yesterday the last of them, each with payments of at least `minor_min` kept."""
        sums: Counter[int] = Counter()
        for paid in self.paid:
            if paid.time_ms <= now_ms:
                sums[local_day(paid.time_ms, zone)] += paid.minor - paid.refunded
        day = local_day(now_ms, zone)
        day -= sums[day] < minor_min
        length = 0
        while sums[day - length] >= minor_min:
            length += 1
        return length

    def categories(self, after_ms: int) -> Counter[str]:
        """Payments by merchant category since a time."""
        return Counter(paid.category for paid in self.paid if paid.time_ms > after_ms)

    def refund_share(self, after_ms: int) -> float:
        """Share of the amount paid since a time that was given back; 0 of nothing."""
        recent = [paid for paid in self.paid if paid.time_ms > after_ms]
        total = sum(paid.minor for paid in recent)
        return sum(paid.refunded for paid in recent) / total if total else 0.0

    def refunded_since(self, after_ms: int) -> int:
        """Payments since a time of which something was given back."""
        if self.refund_ms <= after_ms:
            return 0  # of most customers there is nothing to look through
        return sum(1 for paid in self.paid if paid.refunded and paid.time_ms > after_ms)


def month_of(time_ms: int, zone: str) -> int:
    """The number of a local month, as in `History.months`."""
    at = local(time_ms, zone)
    return at.year * 12 + at.month - 1


def _less(counts: dict[str, int], name: str) -> None:
    """One less of a name."""
    if counts.get(name, 0) > 1:
        counts[name] -= 1
    else:
        counts.pop(name, None)


def days(milliseconds: int) -> float:
    """Milliseconds as days."""
    return milliseconds / DAY_MS
