"""What campaigns may read of a customer: `customer.NAME` in their conditions, one row each."""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from engine.engagement.calendar import DAY_MS, birthday, local_date, local_day, parse_day
from engine.engagement.customer.customer import WINDOW_MS, Customer, Population
from engine.engagement.customer.states import MEMBERSHIP
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import POINTS
from engine.engagement.models.clv import lifetime_value

Value = float | str | bool | None
"""A number, a text or a truth; None for missing."""

EXPIRING_MS: Final = 30 * DAY_MS
CATEGORY_DAYS: Final = 180
CURRENCY_DAYS: Final = 90
STREAK_MIN: Final = 5
"""Major units of the base currency from which on a day counts for a streak."""


class Name(NamedTuple):
    """One name: "number", "string" or "bool"; what it means, for the docs; and how it comes about, at an instant."""

    kind: str
    meaning: str
    value: Callable[[Customer, int, Population], Value]


def value_of(name: str, customer: Customer, now_ms: int, population: Population) -> Value:
    """The value of `customer.NAME`; NaN is None."""
    found = NAMES[name].value(customer, now_ms, population)
    return found if found == found else None


def _points(ledger: Ledger, place: int) -> float:
    return float(ledger.balance((POINTS, ""))[place])


def _expiring(customer: Customer, now_ms: int, population: Population) -> Value:
    lots = customer.ledger.lots.values()
    soon = [lot.active for lot in lots if lot.terms.kind == POINTS and 0 < lot.terms.expires_ms <= now_ms + EXPIRING_MS]
    return float(sum(soon))


def _idle(customer: Customer, now_ms: int) -> float:
    return (now_ms - customer.history.last_ms) / DAY_MS if customer.history.last_ms else math.nan


def _gap(customer: Customer) -> float:
    return customer.history.gap_ms() / DAY_MS or math.nan


def _mean(customer: Customer) -> float:
    history = customer.history
    return history.minor / history.payments if history.payments else math.nan


def _clv(customer: Customer, now_ms: int, population: Population) -> Value:
    """Twelve months ahead, at what the customer has kept a payment so far, drawn towards what customers do."""
    history = customer.history
    if population.alive is None or not history.payments:
        return None
    mean = _mean(customer)
    if population.amount is not None and mean > 0:
        mean = float(population.amount.mean_amount(float(history.payments), mean))  # type: ignore[arg-type]
    return float(lifetime_value(population.alive, *customer.counted(now_ms), mean / population.major))  # type: ignore[arg-type]


def _age(customer: Customer, now_ms: int, population: Population) -> Value:
    born, today = parse_day(customer.birth), local_date(now_ms, customer.zone)
    if born is None or born > today:
        return None
    return float(today.year - born.year - (today < birthday(today.year, born)))


def _birthday(customer: Customer, now_ms: int, population: Population) -> Value:
    born, today = parse_day(customer.birth), local_date(now_ms, customer.zone)
    return born is not None and birthday(today.year, born) == today


def _new(name: str, days: int) -> Callable[[Customer, int, Population], Value]:
    """Whether the last payment's value of a field is new to the customer, within so many days."""

    return lambda customer, now_ms, population: customer.history.fresh(name, days * DAY_MS)


def _disputed(customer: Customer, now_ms: int, population: Population) -> Value:
    return (now_ms - customer.disputed_ms) / DAY_MS if customer.disputed_ms else None


def _tenure(customer: Customer, now_ms: int, population: Population) -> Value:
    if not customer.registered_ms:  # nobody has been seen yet, or the account was erased
        return None
    return float(local_day(now_ms, customer.zone) - local_day(customer.registered_ms, customer.zone))


NAMES: Final[dict[str, Name]] = {
    "lifecycle": Name("string", "prospect, new, active, loyal, at_risk, lost or won_back",
                      lambda c, now, p: c.states.of("lifecycle")),
    "value_tier": Name("string", "low, mid or high, by live quantiles", lambda c, now, p: c.states.of("value_tier")),
    "activity": Name("string", "active, potential or churned", lambda c, now, p: c.states.of("activity")),
    "membership": Name("string", "basic, silver, gold or platinum", lambda c, now, p: c.states.of("membership")),
    "tier_level": Name("number", "place of the membership: 0 for basic to 3 for platinum",
                       lambda c, now, p: float(MEMBERSHIP.index(c.states.of("membership")))),
    "to_next_tier": Name("number", "share of the next tier's threshold that is still to be spent; missing at the top",
                         lambda c, now, p: _to_next(c, now, p)),  # noqa: PLW0108 (defined below)
    "points_active": Name("number", "points that can be spent", lambda c, now, p: _points(c.ledger, 1)),
    "points_pending": Name("number", "points on hold", lambda c, now, p: _points(c.ledger, 0)),
    "points_debt": Name("number", "points owed", lambda c, now, p: _points(c.ledger, 2)),
    "points_expiring_30d": Name("number", "active points that expire within 30 days", _expiring),
    "payments": Name("number", "payments that have settled, this one included",
                     lambda c, now, p: float(c.history.payments)),
    "spend_28d": Name("number", "kept in the last 28 days, base currency",
                      lambda c, now, p: c.history.spend(now - WINDOW_MS, now) / p.major),
    "spend_prev_28d": Name("number", "kept in the 28 days before those",
                           lambda c, now, p: c.history.spend(now - 2 * WINDOW_MS, now - WINDOW_MS) / p.major),
    "spend_12m": Name("number", "kept in this month and the eleven before",
                      lambda c, now, p: c.spend_12m(now) / p.major),
    "mean_amount": Name("number", "mean amount kept a payment, of all time",
                        lambda c, now, p: _mean(c) / p.major),
    "tenure_days": Name("number", "local days since sign-up", _tenure),
    "idle_days": Name("number", "days since the last payment", lambda c, now, p: _idle(c, now)),
    "gap_days": Name("number", "typical days between visits, later ones counting more", lambda c, now, p: _gap(c)),
    "idle_ratio": Name("number", "idle_days / gap_days", lambda c, now, p: _idle(c, now) / _gap(c)),
    "regularity": Name("number", "1 for equal gaps, 0 for scattered ones", lambda c, now, p: c.history.regularity()),
    "p_alive": Name("number", "probability that they pay again (BG/NBD; after one payment, by first gaps)",
                    lambda c, now, p: c.p_alive(now, p)),
    "clv": Name("number", "value of the next twelve months, base currency", _clv),
    "value_rank": Name("number", "share of customers worth less, 0 to 1", lambda c, now, p: c.value_rank(p)),
    "spend_rank": Name("number", "share of customers who have kept less in twelve months, 0 to 1",
                       lambda c, now, p: c.spend_rank(p)),
    "new_category": Name("bool", f"the last payment's merchant category is not among those of {CATEGORY_DAYS} days",
                         _new("category", CATEGORY_DAYS)),
    "new_currency": Name("bool", f"the last payment's currency is not among those of {CURRENCY_DAYS} days",
                         _new("currency", CURRENCY_DAYS)),
    "dispute_days": Name("number", "days since a payment was last charged back", _disputed),
    "refund_rate_90d": Name("number", "share of what was paid in 90 days that was given back",
                            lambda c, now, p: c.history.refund_share(now - 90 * DAY_MS)),
    "refunds_90d": Name("number", "payments of 90 days of which something was given back",
                        lambda c, now, p: float(c.history.refunded_since(now - 90 * DAY_MS))),
    "peak_hour": Name("number", "local hour at which the busiest two hours begin",
                      lambda c, now, p: float(c.history.peak(c.zone)[0]) if c.history.paid else None),
    "peak_share": Name("number", "share of payments in those two hours", lambda c, now, p: c.history.peak(c.zone)[1]),
    "preferred_method": Name("string", "method of more than 60 % of the payments",
                             lambda c, now, p: _preferred(c)),
    "streak_days": Name("number", "local days in a row with 5.00 and more",
                        lambda c, now, p: float(c.history.streak(now, c.zone, STREAK_MIN * 10**p.exponent))),
    "nps": Name("number", "the last answer, 0 to 10", lambda c, now, p: c.feedback.nps),
    "csat": Name("number", "the last answer, 1 to 5", lambda c, now, p: c.feedback.csat),
    "muted": Name("bool", "marketing is silent after a bad answer", lambda c, now, p: c.muted(now)),
    "consent_marketing": Name("bool", "has agreed to marketing",
                              lambda c, now, p: c.consent.get("marketing", False)),
    "birthday_today": Name("bool", "it is their birthday, by their own calendar", _birthday),
    "age_years": Name("number", "whole years", _age),
    "country": Name("string", "as in the account", lambda c, now, p: c.country or None),
    "referred": Name("bool", "came by a referral", lambda c, now, p: bool(c.referrer)),
}  # fmt: skip

AMOUNTS: Final = frozenset({"spend_28d", "spend_prev_28d", "spend_12m", "mean_amount", "clv"})
"""Which of them are amounts, in major units of the base currency."""

PREFERRED_SHARE: Final = 0.6


def _preferred(customer: Customer) -> Value:
    method, share = customer.history.preferred()
    return method if share > PREFERRED_SHARE else None


def _to_next(customer: Customer, now_ms: int, population: Population) -> Value:
    level = MEMBERSHIP.index(customer.states.of("membership"))
    if level >= min(len(population.tiers), len(MEMBERSHIP) - 1):
        return None
    threshold = population.tiers[level]
    return max(0, threshold - customer.spend_12m(now_ms)) / threshold
