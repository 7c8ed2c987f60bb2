"""Ledger, membership and activity of customers, from the documents alone: no code of the engine is used here.

One fold over the events of a history, each of which time has come up to. Amounts are minor units; of the lots only what
docs/engagement.md and docs/campaigns.md promise, of the campaigns the starters that earn, without holdouts.
"""

import calendar
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

DAY = 86_400_000
NEVER = 2**62
EXPONENTS = {"EUR": 2, "USD": 2, "JPY": 0, "KWD": 3, "XAF": 0}
RATES = {"USD": "1.25", "JPY": "160", "KWD": "0.32"}  # none of the franc
CASH_LIKE = {"4829", "6010", "6011", "6012", "6050", "6051", "6211", "6536", "6537", "6538", "6540", "7995"}
TIERS = {"basic": 0, "silver": 50_000, "gold": 200_000, "platinum": 500_000}
MONTHS = {"tier_gift": 11, "new_category": 10, "streak": 9, "welcome": 8, "method_adoption": 7, "tier_granted": 0}
"""After how many months the lots of a campaign expire; of the others after 12. All differ, so that no two are even."""


@dataclass
class Lot:
    campaign: str
    payment: str
    purse: tuple[str, str | None]
    granted: int
    available: int
    expires: int
    reversal: str
    pending: int = 0
    active: int = 0
    spent: int = 0
    gone: int = 0  # expired, taken back or owed


@dataclass
class Payment:
    currency: str
    settled: int = 0
    refunded: int = 0
    disputed: bool = False
    fraud: bool = False

    @property
    def lost(self) -> bool:
        return self.fraud or (self.disputed and self.refunded >= self.settled > 0)


@dataclass
class Visit:
    payment: str
    at: int
    base: int
    month: int
    category: str | None
    currency: str
    back: int = 0


@dataclass
class Customer:
    zone: str = "UTC"
    country: str | None = None
    registered: int = 0
    clock: int = 0
    tier: int = 0
    cycle: int = NEVER
    reached: int = 0
    activity: tuple[str, int] = ("potential", 0)
    lots: list[Lot] = field(default_factory=list)
    payments: dict[str, Payment] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)
    debts: dict[tuple[str, str | None], int] = field(default_factory=lambda: defaultdict(int))
    seen: set[tuple[str, ...]] = field(default_factory=set)
    given: dict[str, list[tuple[int, Fraction]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def last(self) -> int:
        return max((visit.at for visit in self.visits), default=0)

    def day(self, at: int) -> date:
        return datetime.fromtimestamp(at // 1000, ZoneInfo(self.zone)).date()

    def months_on(self, at: int, months: int) -> int:
        """The end of the local day so many months on, clamped."""
        day = self.day(at)
        year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
        end = date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1])) + timedelta(days=1)
        return round(datetime(end.year, end.month, end.day, tzinfo=ZoneInfo(self.zone)).timestamp() * 1000)

    def earned(self, at: int) -> int:
        day = self.day(at)
        since = day.year * 12 + day.month - 12
        kept = sum(visit.base - visit.back for visit in self.visits if visit.month > since)
        return sum(kept >= threshold for threshold in list(TIERS.values())[1:])


class Books:
    """What is put out, as it should be: changes of buckets by cause, and transitions."""

    def __init__(self) -> None:
        self.customers: dict[str, Customer] = defaultdict(Customer)
        self.moved: dict[str, dict[tuple[Any, ...], int]] = defaultdict(lambda: defaultdict(int))
        self.states: list[tuple[str, str, str, str, int]] = []

    def put(self, who: str, cause: str, purse: tuple[str, str | None], bucket: str, amount: int) -> None:
        self.moved[cause][who, *purse, bucket] += amount

    # Time

    def advance(self, who: str, now: int) -> None:
        customer = self.customers[who]
        while (at := min(self._due(customer), default=NEVER)) <= now:
            customer.clock = at
            self._time(who, customer, at)
        customer.clock = now

    def _due(self, customer: Customer) -> Iterator[int]:
        for lot in customer.lots:
            if lot.pending:
                yield lot.available
            if lot.active and lot.expires:
                yield lot.expires
        yield max(customer.cycle, customer.clock + 1)
        heard, span = customer.last or customer.registered, 30 if customer.activity[0] == "active" else 90
        if heard and customer.activity[0] != "churned":
            yield max(heard + span * DAY, customer.clock + 1)

    def _time(self, who: str, customer: Customer, at: int) -> None:
        cause = str(at)
        self._expire(who, customer, at)
        for lot in customer.lots:
            if lot.pending and lot.available <= at:
                self.put(who, cause, lot.purse, "pending", -lot.pending)
                self.put(who, cause, lot.purse, "active", lot.pending)
                lot.active, lot.pending = lot.active + lot.pending, 0
                self._repay(who, customer, lot.purse, cause)
        self._look(who, customer, at, cause)

    def _expire(self, who: str, customer: Customer, at: int) -> None:
        for lot in customer.lots:
            if lot.active and 0 < lot.expires <= at:
                self.put(who, str(at), lot.purse, "active", -lot.active)
                lot.gone, lot.active = lot.gone + lot.active, 0

    def _look(self, who: str, customer: Customer, at: int, cause: str) -> None:
        self._activity(who, customer, at)
        names, earned = list(TIERS), customer.earned(at)
        if earned > customer.tier:
            self.states.append((who, "membership", names[customer.tier], names[earned], at))
            customer.tier, customer.cycle, customer.reached = earned, customer.months_on(at, 12), at
            self.grant(who, cause, "tier_granted", "", ("tier", None), 1, at, 0, "R3")
            if self._given(customer, "tier_gift", at, 365 * DAY)[0] < 3:
                customer.given["tier_gift"].append((at, Fraction(1)))
                self.grant(who, cause, "tier_gift", "", ("points", None), 500 * earned, at, 14 * DAY, "R3")
        elif customer.cycle <= at and earned < customer.tier:
            self.states.append((who, "membership", names[customer.tier], names[customer.tier - 1], at))
            customer.tier -= 1
            customer.cycle = customer.months_on(at, 12) if customer.tier else NEVER
        elif customer.cycle <= at:
            customer.cycle = customer.months_on(customer.cycle, 12)

    def forfeit(self, who: str, customer: Customer, at: int, lost_at: int) -> None:
        """A payment of before the tier was reached is lost: so are the tiers that it alone had earned, one by one."""
        names = list(TIERS)
        while customer.tier > customer.earned(at) and lost_at <= customer.reached:
            self.states.append((who, "membership", names[customer.tier], names[customer.tier - 1], at))
            customer.tier -= 1
            customer.cycle = customer.months_on(at, 12) if customer.tier else NEVER

    def _activity(self, who: str, customer: Customer, at: int) -> None:
        while True:
            state, since = customer.activity
            heard = customer.last or customer.registered
            if state != "active" and customer.last and customer.last >= since:
                to, due = "active", customer.last
            elif state == "churned" or not heard:
                return
            else:
                to, due = (
                    ("potential", customer.last + 30 * DAY) if state == "active" else ("churned", heard + 90 * DAY)
                )
            if max(due, since) > at:
                return
            self.states.append((who, "activity", state, to, max(due, since)))
            customer.activity = to, max(due, since)

    # The ledger

    def grant(
        self, who: str, cause: str, campaign: str, payment: str, purse: tuple[str, str | None], amount: int, at: int,
        hold: int, reversal: str,
    ) -> None:  # fmt: skip
        if amount <= 0:
            return
        customer, months = self.customers[who], MONTHS.get(campaign, 12)
        expires = customer.months_on(at + hold, months) if months else 0
        lot = Lot(campaign, payment, purse, amount, at + hold, expires, reversal, pending=amount)
        customer.lots.append(lot)
        self.put(who, cause, purse, "pending", amount)

    def _repay(self, who: str, customer: Customer, purse: tuple[str, str | None], cause: str) -> None:
        for lot in sorted(customer.lots, key=lambda lot: lot.expires or NEVER):
            part = min(lot.active, customer.debts[purse]) if lot.purse == purse else 0
            lot.active, lot.spent = lot.active - part, lot.spent + part
            customer.debts[purse] -= part
            self.put(who, cause, purse, "active", -part)
            self.put(who, cause, purse, "debt", -part)

    def reclaim(self, who: str, customer: Customer, name: str, cause: str) -> None:
        payment = customer.payments[name]
        if not payment.settled:
            return
        left = max(0, payment.settled - payment.refunded)
        for lot in [lot for lot in customer.lots if lot.payment == name]:
            keep = lot.granted * left // payment.settled
            if lot.reversal == "R2":  # the streak, whose threshold is 5.00 of the payment's currency
                keep = lot.granted if left >= 5 * 10 ** EXPONENTS[payment.currency] or left == payment.settled else 0
            back = max(0, lot.granted - keep - lot.gone)
            for bucket in ("pending", "active"):
                part = min(back, getattr(lot, bucket))
                setattr(lot, bucket, getattr(lot, bucket) - part)
                back, lot.gone = back - part, lot.gone + part
                self.put(who, cause, lot.purse, bucket, -part)
            part = min(back, lot.spent)
            lot.gone += part
            customer.debts[lot.purse] += part
            self.put(who, cause, lot.purse, "debt", part)
            self._repay(who, customer, lot.purse, cause)

    def redeem(self, who: str, customer: Customer, points: int, cause: str) -> bool:
        lots = [lot for lot in customer.lots if lot.purse == ("points", None) and lot.active]
        if points > sum(lot.active for lot in lots):
            return False
        for lot in sorted(lots, key=lambda lot: lot.expires or NEVER):
            part = min(points, lot.active)
            lot.active, lot.spent, points = lot.active - part, lot.spent + part, points - part
            self.put(who, cause, lot.purse, "active", -part)
        return True

    @staticmethod
    def _given(customer: Customer, campaign: str, at: int, span: int | str) -> tuple[int, Fraction]:
        """How often and how much so far: in an elapsed time, or in this local day or month."""
        chars = {"day": 10, "month": 7}.get(str(span), 0)
        past = [
            amount
            for when, amount in customer.given[campaign]
            if (
                when > at - span
                if isinstance(span, int)
                else str(customer.day(when))[:chars] == str(customer.day(at))[:chars]
            )
        ]
        return len(past), sum(past, Fraction(0))
