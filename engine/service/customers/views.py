"""A stored customer as people read them: JSON-ready objects."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from engine.domain.currencies import EXPONENTS
from engine.domain.money import format_minor
from engine.domain.times import DAY_MS, rfc3339
from engine.engagement.base_earn import Account
from engine.engagement.customer.customer import Customer, Population
from engine.engagement.customer.habits import Paid
from engine.engagement.customer.names import AMOUNTS, NAMES, value_of
from engine.engagement.ledger.entries import decimal
from engine.engagement.ledger.keys import lot_id, narrow
from engine.engagement.ledger.lots import CASHBACK, KINDS, Lot
from engine.engagement.marketing.abuse import Open as Alarm
from engine.engagement.marketing.offers import Open
from engine.service.customers.balances import Balances
from engine.service.customers.records import Held

MONTHS: Final = 12


def profile(held: Held, customer: Customer, population: Population, balances: Balances) -> dict[str, Any]:
    """Who they are and where they stand, as of their latest event."""
    times, feedback = held.times(), customer.feedback
    latest = max([customer.clock_ms, *times[-1:]])
    return {
        "customer_id": held.customer_id,
        "shard": held.shard,
        "registered_at": time(customer.registered_ms),
        "latest_event_at": time(times[-1]) if times else None,
        "ids_remembered": held.remembered(),
        "profile": {
            "timezone": customer.zone or None,
            "locale": customer.locale or None,
            "country": customer.country or None,
            "birth_date": customer.birth or None,
            "referrer_id": customer.referrer or None,
            "consent": customer.consent,
        },
        "states": {
            name: {"state": state, "since": time(since)} for name, (state, since) in customer.states.now.items()
        },
        "feedback": {"nps": feedback.nps, "csat": feedback.csat, "muted_until": time(feedback.muted_until_ms)},
        "figures": {name: _figure(name, value_of(name, customer, latest, population), population) for name in NAMES},
        "balances": balances_of(balances),
        "offers": [_offer(one) for one in customer.offers.of.values()],
        "suspected": [_suspected(held.customer_id, name, one) for name, one in customer.suspected.open.items()],
    }


def balances_of(balances: Balances) -> list[dict[str, Any]]:
    """Balances by kind and currency, exact."""
    return [
        {"kind": kind, "currency": currency or None, **{bucket: str(amount) for bucket, amount in buckets.items()}}
        for (kind, currency), buckets in sorted(balances.items())
    ]


def ledger(held: Held, customer: Customer, account: Account, balances: Balances) -> dict[str, Any]:
    """Balances, the lots they are made of, and what payments earned under the built-in base earn."""
    return {
        "customer_id": held.customer_id,
        "balances": balances_of(balances),
        "lots": [_lot(held.customer_id, number, lot) for number, lot in sorted(customer.ledger.lots.items())],
        "base_earn": [
            {"payment": f"{narrow(payment):012x}", "granted": one.granted, "kept": one.kept, "earns": not one.blocked}
            for payment, one in sorted(account.payments.items())
            if one.settled
        ],
    }


def payments(held: Held, customer: Customer, decisions: list[dict[str, Any]], currency: str) -> dict[str, Any]:
    """Payments (hashes stand for their ids), sums by month, decisions. Amounts are of the base currency."""
    history, places = customer.history, EXPONENTS.get(currency, 2)
    return {
        "customer_id": held.customer_id,
        "base_currency": currency,
        "count": history.payments,
        "kept": format_minor(history.minor, places),
        "payments": [_paid(paid, places) for paid in reversed(history.paid)],
        "months": [
            {"month": f"{number // MONTHS:04d}-{number % MONTHS + 1:02d}", "payments": month.payments,
             "kept": format_minor(month.minor, places), "methods": month.methods, "categories": month.categories,
             "hours": {f"{hour:02d}": count for hour, count in sorted(month.hours.items())},
             "currencies": month.currencies}
            for number, month in sorted(history.months.items(), reverse=True)
        ],
        "decisions": decisions,
    }  # fmt: skip


def course(customer: Customer) -> dict[str, Any]:
    """What is held besides: counters of caps, campaigns whose effect is being measured, instants for the engine."""
    return {
        "caps": {
            campaign: {str(place): asdict(counter) for place, counter in counters.items()}
            for campaign, counters in customer.counts.of.items()
        },
        "exposures": {
            campaign: {"at": rfc3339(one.at_ms), "held_out": one.held, "minor_before": one.before}
            for campaign, one in customer.exposures.of.items()
        },
        "advanced_to": time(customer.clock_ms),
        "charged_back_at": time(customer.disputed_ms),
    }


def time(time_ms: int) -> str | None:
    """A time; null for 0, which stands for never."""
    return rfc3339(time_ms) if time_ms else None


def _figure(name: str, value: float | str | bool | None, population: Population) -> float | str | bool | None:
    """JSON has no infinity; an amount has the decimals of the base currency, and no more."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return round(value, population.exponent) if name in AMOUNTS else value


def _paid(paid: Paid, places: int) -> dict[str, Any]:
    return {
        "settled_at": rfc3339(paid.time_ms),
        "payment": f"{paid.payment:012x}",
        "amount": format_minor(paid.minor, places),
        "refunded": format_minor(paid.refunded, places),
        "method": paid.method or None,
        "merchant_category": paid.category or None,
        "currency": paid.currency or None,
    }


def _lot(customer_id: str, number: int, lot: Lot) -> dict[str, Any]:
    terms = lot.terms
    places = EXPONENTS.get(terms.currency, 0) if terms.kind == CASHBACK else 0
    amounts: Mapping[str, int] = {
        name: getattr(lot, name) for name in ("granted", "pending", "active", "spent", "expired", "reversed")
    }
    return {
        "lot_id": lot_id(customer_id, number),
        "campaign_id": terms.campaign,
        "version": terms.version,
        "kind": KINDS[terms.kind],
        "currency": terms.currency or None,
        **{name: decimal(amount, places) for name, amount in amounts.items()},
        "frozen": lot.frozen,
        "available_at": time(terms.available_ms),
        "expires_at": time(terms.expires_ms),
    }


def _suspected(customer_id: str, alert_id: str, one: Alarm) -> dict[str, Any]:
    lots = [lot_id(customer_id, number) for number in one.lots]
    return {"alert_id": alert_id, "raised_on": time(one.day * DAY_MS), "codes": list(one.codes), "frozen_lots": lots}


def _offer(one: Open) -> dict[str, Any]:
    return {
        "offer_id": one.offer_id,
        "campaign_id": one.campaign,
        "offer": one.spec,
        "send_at": time(one.send_ms),
        "expires_at": time(one.expires_ms),
        "sent": one.sent,
    }
